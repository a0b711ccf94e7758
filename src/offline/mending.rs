//! The repairs of a captured request, with the bytes that they cut.

use std::{ops::Range, sync::Arc};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, header};

use crate::policy::{judging, repair::Repair};

/// Bytes around a cut that are kept to show where it was.
const CONTEXT: usize = 24;

/// The repairs of one request.
#[derive(Debug)]
pub struct Mending {
    /// The repairs, each with the rule that asked for it.
    pub repairs: Vec<(Arc<str>, Repair)>,
    /// What was cut out of the body, in the order of the repairs.
    pub cuts: Vec<Cut>,
    /// `If-Match` as it was received and as it is sent, if that was repaired.
    pub if_match: Option<(Option<HeaderValue>, HeaderValue)>,
}

/// Bytes that were cut out of a body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cut {
    /// The repair that did it.
    pub repair: Repair,
    /// Where they began in the body as it was before this repair.
    pub at: usize,
    /// The bytes.
    pub bytes: Bytes,
    /// Some bytes ahead of them.
    pub before: Bytes,
    /// Some bytes behind them.
    pub after: Bytes,
}

impl Mending {
    /// `sent` is the header section after the repairs.
    pub(super) fn of(mended: &judging::Mending, sent: &HeaderMap) -> Self {
        let mut cuts = Vec::new();
        let mut before = mended.body.clone();
        for (repair, ranges) in &mended.cuts {
            let piece = |range: Range<usize>| {
                let start = range.start.min(before.len());
                before.slice(start..range.end.clamp(start, before.len()))
            };
            cuts.extend(ranges.iter().map(|range| Cut {
                repair: *repair,
                at: range.start,
                bytes: piece(range.clone()),
                before: piece(range.start.saturating_sub(CONTEXT)..range.start),
                after: piece(range.end..range.end.saturating_add(CONTEXT)),
            }));
            let mut rest = Vec::with_capacity(before.len());
            let mut from = 0;
            for range in ranges {
                rest.extend_from_slice(&piece(from..range.start));
                from = range.end;
            }
            rest.extend_from_slice(&piece(from..before.len()));
            before = rest.into();
        }
        let (came, goes) = (
            mended.headers.get(header::IF_MATCH),
            sent.get(header::IF_MATCH),
        );
        Self {
            repairs: mended.repairs.clone(),
            cuts,
            if_match: goes
                .filter(|goes| came != Some(goes))
                .map(|goes| (came.cloned(), goes.clone())),
        }
    }
}
