//! A write before it is judged: as it was received, and as its rules have repaired it.

use std::{
    ops::Range,
    sync::{Arc, OnceLock},
};

use bytes::Bytes;
use http::HeaderMap;

use super::clearance::Clearance;
use crate::{
    policy::{
        Body, Context, Converted, Finding, IfMatch, Method, Policy, Verdict, facts::Facts,
        mend::Mended, repair::Repair,
    },
    referral::ReferralId,
};

/// A write as it was received. `T` is what a driver keeps of a body that is too large.
#[derive(Debug)]
pub struct Received<'a, T> {
    /// The method.
    pub method: Method,
    /// The referral that the URL names; a POST names none.
    pub id: Option<&'a ReferralId>,
    /// The header section, hop-by-hop fields removed.
    pub headers: HeaderMap,
    /// The body.
    pub body: Payload<T>,
    /// What only expressions ask for.
    pub context: Context<'a>,
}

/// The body of a write.
#[derive(Debug)]
pub enum Payload<T> {
    /// All its bytes.
    Whole(Bytes),
    /// It is larger than the limit, so no rule sees it.
    TooLarge {
        /// The limit, in bytes.
        limit: usize,
        /// The body, as the driver holds it.
        body: T,
    },
}

/// A write that is ready to be judged: its rules in mode `repair` have repaired what they can.
#[derive(Debug)]
pub struct Write<'a, T> {
    pub(super) policy: &'a Policy,
    pub(super) received: Received<'a, T>,
    pub(super) mending: Option<Mending>,
    /// What the rules found in the write as it was received, if that is how it is judged.
    pub(super) first: Option<Verdict>,
}

/// The repairs that were made on a write.
#[derive(Debug)]
pub struct Mending {
    /// The repairs in their order, each with the rule that asked for it.
    pub repairs: Vec<(Arc<str>, Repair)>,
    /// For each change of the body: the repair, and the ranges that it cut out of the body as it was before that.
    pub cuts: Vec<(Repair, Vec<Range<usize>>)>,
    /// What the rules found before the repairs.
    pub findings: Vec<Finding>,
    /// The header section before the repairs.
    pub headers: HeaderMap,
    /// The body before the repairs.
    pub body: Bytes,
}

impl<'a, T> Received<'a, T> {
    /// Applies the repairs of the policy's rules in mode `repair`, once: the result is judged like any other write.
    pub fn mend(mut self, policy: &'a Policy) -> Write<'a, T> {
        let mut first = None;
        let mut mending = None;
        if policy.repairs(self.method) {
            let facts = self.facts();
            let verdict = policy.check_all(&facts);
            let mended = verdict
                .asks_for_repair()
                .then(|| policy.mend(&facts))
                .flatten();
            match mended {
                Some(mended) => mending = Some(self.replace(mended, verdict)),
                None => first = Some(verdict),
            }
        }
        Write {
            policy,
            received: self,
            mending,
            first,
        }
    }

    fn replace(&mut self, mended: Mended, verdict: Verdict) -> Mending {
        let headers = std::mem::replace(&mut self.headers, mended.headers);
        let body = std::mem::replace(&mut self.body, Payload::Whole(mended.body));
        Mending {
            repairs: mended.repairs,
            cuts: mended.cuts,
            findings: verdict.into_findings(),
            headers,
            body: match body {
                Payload::Whole(bytes) => bytes,
                Payload::TooLarge { .. } => Bytes::new(),
            },
        }
    }

    pub(super) fn facts(&self) -> Facts<'_> {
        Facts {
            method: self.method,
            id: self.id,
            headers: &self.headers,
            if_match: IfMatch::of(&self.headers),
            body: match &self.body {
                Payload::Whole(bytes) => Body::read(self.method, bytes),
                Payload::TooLarge { limit, .. } => Body::TooLarge { limit: *limit },
            },
            context: self.context,
            converted: Converted::default(),
            is_sound: OnceLock::new(),
        }
    }
}

impl<T> Write<'_, T> {
    /// The header section, as it is judged.
    pub fn headers(&self) -> &HeaderMap {
        &self.received.headers
    }

    /// The body, as it is judged.
    pub fn body(&self) -> &Payload<T> {
        &self.received.body
    }

    /// The repairs that were made, if any.
    pub fn mending(&self) -> Option<&Mending> {
        self.mending.as_ref()
    }

    /// Header section and body to send, for the clearance that judging this write gave.
    pub fn into_parts(self, _: Clearance) -> (HeaderMap, Payload<T>) {
        (self.received.headers, self.received.body)
    }
}
