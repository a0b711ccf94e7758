//! Learns the state of referrals from the answers that pass through.
//!
//! The downstream gets the original bytes without delay; the gateway reads a bounded copy on the side.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, header};

use super::Route;
use crate::{
    cache::Snapshots,
    metrics::{Metrics, label::SnapshotOrigin},
    rebase::{self, Coding},
    referral::{EntityTag, ReferralId, Sighting, Tags},
    tenant::Caller,
};

/// An answer with more bytes than this teaches nothing.
const MAX_BYTES: usize = 1024 * 1024;
/// A coded answer that decodes to more bytes than this teaches nothing.
const MAX_DECODED: usize = 4 * 1024 * 1024;

/// Reads one answer on the side.
pub struct Learner {
    /// The snapshots that it updates.
    pub snapshots: Arc<Snapshots>,
    /// The metrics that count the updates.
    pub metrics: Arc<Metrics>,
    /// The caller of the request.
    pub caller: Caller,
    /// What the answer holds.
    pub holds: Holds,
    /// The kind of the answer, as a metric label.
    pub from: SnapshotOrigin,
    /// The tag in the answer's header section.
    pub tag: Option<Box<[u8]>>,
    /// The content coding of the body.
    pub coding: Coding,
    /// The bytes so far.
    pub pieces: Pieces,
    /// Whether the answer is to an accepted write. Then older snapshots are outdated, whatever is learnt.
    pub is_write: bool,
}

/// What an answer holds.
#[derive(Debug, Clone)]
pub enum Holds {
    /// The referral that was asked for.
    One(ReferralId),
    /// A new referral.
    New,
    /// A page of referrals.
    Many,
}

/// The pieces of a body, bounded.
#[derive(Debug, Default)]
pub struct Pieces {
    pieces: Vec<Bytes>,
    bytes: usize,
}

impl Pieces {
    /// Keeps a piece; `false` when there are too many bytes.
    pub fn add(&mut self, piece: &Bytes) -> bool {
        self.bytes += piece.len();
        if self.bytes <= MAX_BYTES {
            self.pieces.push(piece.clone());
        }
        self.bytes <= MAX_BYTES
    }

    /// The body; a single piece is not copied.
    pub fn join(mut self) -> Bytes {
        if self.pieces.len() == 1 {
            return self.pieces.pop().unwrap_or_default();
        }
        let mut whole = BytesMut::with_capacity(self.bytes);
        for piece in self.pieces {
            whole.extend_from_slice(&piece);
        }
        whole.freeze()
    }
}

/// The body decoded; `None` if it is broken or decodes to too much.
pub(super) fn decode(coding: Coding, body: Bytes) -> Option<Bytes> {
    rebase::decode(coding, body, MAX_DECODED)
}

/// Options of a list that leave its items as they are; any other may rename or compute members (`OData` 4.01).
const PLAIN_OPTIONS: [&str; 7] = [
    "$filter",
    "$orderby",
    "$top",
    "$skip",
    "$skiptoken",
    "$count",
    "$select",
];

/// Whether a query leaves the referrals in the answer as they are.
pub fn is_plain_query(route: &Route, query: Option<&str>) -> bool {
    let Some(query) = query else { return true };
    matches!(route, Route::List)
        && query.split('&').all(|option| {
            let name = option
                .split('=')
                .next()
                .unwrap_or_default()
                .to_ascii_lowercase()
                .replace("%24", "$");
            PLAIN_OPTIONS.contains(&&*name)
        })
}

/// Whether an answer says that it is JSON, or has no `Content-Type`.
pub fn is_json(headers: &HeaderMap) -> bool {
    rebase::is_json(headers).unwrap_or(true)
}

/// The strong entity tag in an answer's header section.
pub fn header_tag(headers: &HeaderMap) -> Option<EntityTag<'_>> {
    EntityTag::parse(headers.get(header::ETAG)?.as_bytes())
}

/// Whether an answer has more than one `ETag`: nobody can tell which one is meant.
pub fn repeats_tag(headers: &HeaderMap) -> bool {
    headers.get_all(header::ETAG).iter().nth(1).is_some()
}

impl Learner {
    /// Keeps a piece of the body; `false` when there is nothing to learn any more.
    pub fn add(&mut self, piece: &Bytes) -> bool {
        self.pieces.add(piece)
    }

    /// The body does not arrive whole: after a write, forgets the referral.
    pub fn give_up(&self) {
        if let (true, Holds::One(id)) = (self.is_write, &self.holds) {
            self.snapshots.forget(&self.caller, id);
        }
    }

    /// The body is complete: updates the snapshots.
    pub fn learn(mut self) {
        let pieces = std::mem::take(&mut self.pieces);
        let Some(body) = decode(self.coding, pieces.join()) else {
            return self.give_up();
        };
        match &self.holds {
            Holds::Many => {
                for seen in Sighting::of_list(&body) {
                    let id = seen.id.as_deref().and_then(ReferralId::parse);
                    remember(
                        &self.snapshots,
                        &self.metrics,
                        &self.caller,
                        id.as_ref(),
                        None,
                        &seen,
                        self.from,
                    );
                }
            }
            Holds::One(id) if self.snapshots.is_known_version(&self.caller, id, &body) => {}
            Holds::One(id) => {
                self.give_up();
                // An answer about another referral than the requested one says nothing about either.
                if let Some(seen) = Sighting::of_one(&body)
                    .filter(|seen| seen.id.as_deref().is_some_and(|other| id.is(other)))
                {
                    remember(
                        &self.snapshots,
                        &self.metrics,
                        &self.caller,
                        Some(id),
                        self.tag.as_deref(),
                        &seen,
                        self.from,
                    );
                }
            }
            Holds::New => {
                if let Some(seen) = Sighting::of_one(&body) {
                    let id = seen.id.as_deref().and_then(ReferralId::parse);
                    remember(
                        &self.snapshots,
                        &self.metrics,
                        &self.caller,
                        id.as_ref(),
                        self.tag.as_deref(),
                        &seen,
                        self.from,
                    );
                }
            }
        }
    }
}

/// Remembers one referral if the answer names its id, its state and a tag.
fn remember(
    snapshots: &Snapshots,
    metrics: &Metrics,
    caller: &Caller,
    id: Option<&ReferralId>,
    header_tag: Option<&[u8]>,
    seen: &Sighting,
    from: SnapshotOrigin,
) {
    let tags = Tags::of(header_tag, seen.tag.as_deref());
    if let (Some(id), Some(state), Some(tags)) = (id, &seen.state, tags)
        && snapshots.learn(caller, id, &tags, state)
    {
        metrics.snapshot_update(from);
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use flate2::{Compression, write::GzEncoder};

    use super::*;

    #[test]
    fn a_body_is_kept_up_to_a_megabyte() {
        let mut pieces = Pieces::default();
        assert!(pieces.add(&Bytes::from(vec![b'a'; MAX_BYTES - 1])));
        assert!(pieces.add(&Bytes::from_static(b"b")));
        assert!(!pieces.add(&Bytes::from_static(b"c")));
        assert!(pieces.join().ends_with(b"ab"));
    }

    #[test]
    fn a_body_is_decoded_up_to_four_megabytes() {
        for (more, is_decoded) in [(0, true), (1, false)] {
            let length = MAX_DECODED + more;
            let mut coded = GzEncoder::new(Vec::new(), Compression::fast());
            coded.write_all(&vec![b'a'; length]).expect("memory");
            let coded = Bytes::from(coded.finish().expect("memory"));
            let decoded = decode(Coding::Gzip, coded);
            assert_eq!(decoded.is_some(), is_decoded, "{more}");
        }
    }
}
