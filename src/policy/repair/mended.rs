//! A repaired body: the received one without some of its bytes.

use std::ops::Range;

use bytes::Bytes;

/// A repaired body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mended {
    /// The body to send in place of the received one.
    pub body: Bytes,
    /// The ranges of the received body that are removed: at least one, in order, not adjacent, none empty.
    pub cuts: Vec<Range<usize>>,
}

impl Mended {
    /// `body` without these ranges; `None` if there are none.
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
