//! The errors of compiling and of evaluating an expression.

use super::limits::{MAX_BODY_DEPTH, MAX_DEPTH, MAX_VALUES};

/// A text that is not a usable expression: what is wrong, where, and what to write.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what}; {remedy}")]
pub struct CompileError {
    /// The place in the text, in bytes from 0.
    pub offset: usize,
    /// The line in the text, from 1.
    pub line: usize,
    /// The column in the line, in characters from 1.
    pub column: usize,
    /// What is wrong.
    pub what: String,
    /// What to write.
    pub remedy: String,
}

impl CompileError {
    pub(super) fn new(
        text: &str,
        offset: usize,
        what: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        let offset = text.floor_char_boundary(offset);
        let before = text.get(..offset).unwrap_or_default();
        let line = before.rsplit('\n').next().unwrap_or_default();
        Self {
            offset,
            line: before.matches('\n').count() + 1,
            column: line.chars().count() + 1,
            what: what.into(),
            remedy: remedy.into(),
        }
    }

    pub(super) fn too_deep(text: &str, offset: usize) -> Self {
        let what = format!("its parts nest deeper than {MAX_DEPTH} levels");
        Self::new(text, offset, what, "split it into several rules")
    }
}

/// Why an expression has no value for a request. The text names nothing that the request holds.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EvalError {
    /// The body was not read.
    #[error("the body could not be read")]
    Unread,
    /// The body is not JSON.
    #[error("the body is not JSON in UTF-8")]
    NotJson,
    /// The body is neither a JSON object nor a JSON Patch.
    #[error("the body is not one JSON object, nor a JSON Patch in a PATCH")]
    NotAnObject,
    /// The body nests too deeply.
    #[error(
        "the body nests objects or lists deeper than {} levels",
        MAX_BODY_DEPTH
    )]
    TooDeep,
    /// The body has too many values.
    #[error("the body has more than {} values", MAX_VALUES)]
    TooManyValues,
    /// Two members have one name, and JSON readers differ in which one they take.
    #[error("an object of the body has two members of one name, compared without case")]
    RepeatedMember,
    /// The value that a JSON Patch sets is unknown.
    #[error("the value that operation {operation} of the JSON Patch sets is unknown: {why}")]
    Patch {
        /// Counted from 1.
        operation: usize,
        /// The reason.
        why: &'static str,
    },
    /// The query is ambiguous or not UTF-8.
    #[error("the query names a parameter twice, compared without case, or is not UTF-8")]
    Query,
    /// The loops would take too long.
    #[error("the loops of the expression would take too long on this body")]
    TooMuchWork,
    /// The state of the referral is unknown.
    #[error("the state of the referral is unknown")]
    UnknownState,
    /// A member is missing.
    #[error("the member {} is missing", .0.as_deref().unwrap_or("that the expression reads"))]
    Missing(Option<String>),
    /// A member's name has look-alike letters, which only some readers take for plain ones.
    #[error(
        "the member {0} is written with look-alike letters or blanks, which only some readers ignore"
    )]
    LookAlike(String),
    /// A value has the wrong type.
    #[error("a value has the wrong type: {0}")]
    Type(String),
    /// A number is out of the range of its type, or a divisor is zero.
    #[error("the result of a calculation is out of range")]
    Range,
    /// A position is beyond the end of a list.
    #[error("a position is beyond the end of its list")]
    Position,
    /// A function does not accept its argument.
    #[error("{0}() cannot use the value it is given")]
    Function(String),
    /// Anything else.
    #[error("the expression could not be evaluated")]
    Internal,
}
