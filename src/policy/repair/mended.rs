//! A body without its fault: bytes cut out of it, and nothing else.

use std::ops::Range;

use bytes::Bytes;

/// A body without its fault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mended {
    /// What is to be sent in place of the body that came.
    pub body: Bytes,
    /// The ranges of the body that came which are gone: at least one, in order, apart, none empty. All else is the same.
    pub cuts: Vec<Range<usize>>,
}

impl Mended {
    /// `body` without these ranges; nothing if there are none.
    pub(super) fn cut(body: &[u8], cuts: Vec<Range<usize>>) -> Option<Self> {
        if cuts.is_empty() {
            return None;
        }
        let gone: usize = cuts.iter().map(ExactSizeIterator::len).sum();
        let mut rest = Vec::with_capacity(body.len().saturating_sub(gone));
        let mut from = 0;
        for cut in &cuts {
            rest.extend_from_slice(body.get(from..cut.start)?);
            from = cut.end;
        }
        rest.extend_from_slice(body.get(from..)?);
        Some(Self {
            body: rest.into(),
            cuts,
        })
    }
}
