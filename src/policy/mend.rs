//! Mends a request by the repairs of its rules, one after the other, each judged again.
//!
//! What is mended comes from the request alone: nothing here can see a snapshot, so no tag comes from memory.

use std::{
    ops::Range,
    sync::{Arc, OnceLock},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, header};

use super::{
    Body, Context, Converted, IfMatch, Method, Mode, Policy, Rule, Verdict,
    facts::Facts,
    repair::{self, Repair},
};

/// A request without the faults that could be mended.
#[derive(Debug)]
pub(super) struct Mended {
    /// The header section to send.
    pub(super) headers: HeaderMap,
    /// The body to send.
    pub(super) body: Bytes,
    /// The repairs that were made, each with the rule that asked for it.
    pub(super) repairs: Vec<(Arc<str>, Repair)>,
    /// For each change of the body: the repair, and the ranges that it cut out of the body as it was before that.
    pub(super) cuts: Vec<(Repair, Vec<Range<usize>>)>,
}

/// Fields that vouch for the bytes of a body: whoever checks them would refuse another body.
const DIGESTS: [HeaderName; 7] = [
    HeaderName::from_static("content-md5"),
    HeaderName::from_static("content-digest"),
    HeaderName::from_static("repr-digest"),
    HeaderName::from_static("digest"),
    HeaderName::from_static("signature"),
    HeaderName::from_static("x-ms-content-sha256"),
    HeaderName::from_static("x-ms-signature"),
];

impl Policy {
    /// Whether a rule may repair a request with this method.
    pub(super) fn repairs(&self, method: Method) -> bool {
        self.active(method)
            .any(|rule| rule.mode == Mode::Repair && !rule.repairs.is_empty())
    }

    /// The request as its rules in mode `repair` mend it; `None` if none of them finds a fault that it can mend.
    ///
    /// The result is a request like any other, and must be judged again.
    pub(super) fn mend(&self, facts: &Facts<'_>) -> Option<Mended> {
        if matches!(facts.body, Body::TooLarge { .. }) {
            return None;
        }
        let mut mended = Mended {
            headers: facts.headers.clone(),
            body: Bytes::copy_from_slice(facts.body.bytes()),
            repairs: Vec::new(),
            cuts: Vec::new(),
        };
        for repair in Repair::ALL {
            let asks = |rule: &&Rule| rule.mode == Mode::Repair && rule.repairs.contains(&repair);
            let Some(rule) = self.active(facts.method).find(asks) else {
                continue;
            };
            let now = Facts {
                method: facts.method,
                id: facts.id,
                headers: &mended.headers,
                if_match: IfMatch::of(&mended.headers),
                body: Body::read(facts.method, &mended.body),
                context: Context::default(),
                converted: Converted::default(),
                is_sound: OnceLock::new(),
            };
            let mut found = Verdict::default();
            self.check(rule, &now, &mut found);
            if found.findings().is_empty() {
                continue;
            }
            if let Some(change) = Change::of(repair, &now) {
                mended.repairs.push((Arc::clone(&rule.id), repair));
                mended.make(repair, change);
            }
        }
        (!mended.repairs.is_empty()).then_some(mended)
    }
}

/// What a repair makes of a request.
enum Change {
    Body(repair::Mended),
    IfMatch(HeaderValue),
}

impl Change {
    fn of(repair: Repair, facts: &Facts<'_>) -> Option<Self> {
        let may_change_body = || !DIGESTS.iter().any(|name| facts.headers.contains_key(name));
        let tag = |write: fn(&[u8]) -> Option<HeaderValue>| {
            let mut lines = facts.headers.get_all(header::IF_MATCH).iter();
            match (lines.next(), lines.next()) {
                (Some(line), None) => write(line.as_bytes().trim_ascii()).map(Self::IfMatch),
                _ => None,
            }
        };
        match repair {
            Repair::TrailingComma if may_change_body() => {
                repair::trailing_comma(facts.body.bytes()).map(Self::Body)
            }
            Repair::StripLinks if may_change_body() => {
                repair::strip_links(facts.body.bytes()).map(Self::Body)
            }
            Repair::TrailingComma | Repair::StripLinks => None,
            Repair::QuoteIfMatch => tag(repair::quote),
            Repair::UnescapeIfMatch => tag(repair::unescape),
            Repair::IfMatchFromBody => match (facts.if_match, &facts.body) {
                (IfMatch::Missing, Body::Object { members, .. }) => {
                    repair::from_body(members).map(Self::IfMatch)
                }
                _ => None,
            },
        }
    }
}

impl Mended {
    fn make(&mut self, repair: Repair, change: Change) {
        match change {
            Change::Body(repair::Mended { body, cuts }) => {
                if self.headers.contains_key(header::CONTENT_LENGTH) {
                    self.headers
                        .insert(header::CONTENT_LENGTH, body.len().into());
                }
                self.body = body;
                self.cuts.push((repair, cuts));
            }
            Change::IfMatch(tag) => {
                self.headers.insert(header::IF_MATCH, tag);
            }
        }
    }
}
