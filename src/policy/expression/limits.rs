//! The bounds of an expression and of its evaluation.

use crate::referral;

/// The longest expression, in bytes.
pub(super) const MAX_BYTES: usize = 2048;

/// How deep parentheses, brackets and calls may nest in the text.
pub(super) const MAX_NESTING: usize = 24;

/// How deep the parts of an expression may nest. Each level takes 40 KB of stack in a debug build.
pub(super) const MAX_DEPTH: usize = 24;

/// The stack of the thread that reads an expression. The crate's parser stops by itself at 96 levels, and takes
/// 250 KB for each in a debug build.
pub(super) const PARSER_STACK: usize = 32 << 20;

/// The most work of all loops together: for each item, [`PART`] for each part of the step, and for each mention of the body
/// or of a record its bytes.
pub(super) const MAX_WORK: usize = 64 << 20;

/// The cost of one part of a loop's step.
pub(super) const PART: usize = 64;

/// The most text that one evaluation may search with `matches`, in bytes. With the largest and slowest pattern this takes
/// most of a second; with a usual pattern, a millisecond.
pub(super) const MAX_MATCHED: usize = 64 << 10;

/// How large a compiled pattern may be, in bytes: its size bounds the time for each byte of text.
pub(super) const MAX_PATTERN: usize = 128 << 10;

/// How deep the objects and lists of a body may nest.
pub(super) const MAX_BODY_DEPTH: usize = referral::MAX_DEPTH;

/// How many values a body may have.
pub(super) const MAX_VALUES: usize = 20_000;
