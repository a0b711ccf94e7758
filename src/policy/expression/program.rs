//! A checked expression: its code, the inputs that it reads, and the cost of its loops.

use cel::parser::Expression as Code;
use regex::Regex;

use super::{
    error::EvalError,
    limits::{MAX_WORK, PART},
};

/// A checked expression.
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

/// The prefix of the names of compiled patterns. No name in an expression can begin with it.
pub(super) const PATTERN: &str = "@pattern";

/// The inputs that an expression reads.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Reads {
    pub(super) body: bool,
    pub(super) headers: bool,
    pub(super) query: bool,
    pub(super) referral: bool,
}

/// The cost of the loops of an expression.
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
    /// Refuses loops that take too long over lists of `items` items, with a body of `body` bytes and other inputs of
    /// `records` bytes.
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
