//! The expression of a rule, and what it leads to.

use super::Expression;

/// The expression of a rule, and the texts of its finding.
#[derive(Debug)]
pub struct Condition {
    /// The expression that must be true.
    pub expression: Expression,
    /// The message: what the rule expects.
    pub message: String,
    /// The fix: how to change the request.
    pub fix: Option<String>,
    /// The outcome of an expression that has no value.
    pub on_error: OnError,
}

/// The outcome of an expression that has no value: a missing member, a value of the wrong type, too much work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OnError {
    /// A finding, so that nothing passes unjudged.
    #[default]
    Deny,
    /// No finding.
    Pass,
}
