//! A checked expression: its code, what it looks at, and what its loops cost.

use cel::parser::Expression as Code;
use regex::Regex;

use super::{
    error::EvalError,
    limits::{MAX_WORK, PART},
};

/// What checking makes of the text of an expression.
#[derive(Debug, Clone)]
pub(super) struct Program {
    pub(super) code: Code,
    pub(super) reads: Reads,
    pub(super) loops: Option<Loops>,
    /// Member names and texts in it.
    pub(super) names: Vec<String>,
    /// The patterns of `matches`; the code names them by [`PATTERN`] and their index.
    pub(super) patterns: Vec<Regex>,
}

/// What the name of a compiled pattern begins with. No name in an expression can.
pub(super) const PATTERN: &str = "@pattern";

/// What an expression looks at.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Reads {
    pub(super) body: bool,
    pub(super) headers: bool,
    pub(super) query: bool,
    pub(super) referral: bool,
}

/// What the loops of an expression cost.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Loops {
    /// How many parts the steps have together, and bytes of text written in them in units of [`PART`].
    pub(super) parts: usize,
    /// How often the steps mention the body.
    pub(super) mentions: usize,
    /// How often the steps mention anything else of the request.
    pub(super) records: usize,
    /// The length of the longest list that is written out.
    pub(super) written: usize,
}

impl Loops {
    /// Whether the loops end in time, over lists of so many items, with so many bytes of the body and of records.
    pub(super) fn check(self, items: usize, body: usize, records: usize) -> Result<(), EvalError> {
        let step = (self.parts * PART)
            .saturating_add(self.mentions.saturating_mul(body))
            .saturating_add(self.records.saturating_mul(records));
        if items.saturating_mul(step) > MAX_WORK {
            return Err(EvalError::TooMuchWork);
        }
        Ok(())
    }
}
