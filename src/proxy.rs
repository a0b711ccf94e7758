//! The way of a request.

use std::time::Duration;

/// How requests are handled that need more than being passed on.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Upper bound of the body of a judged request, in bytes.
    pub max_judged_body: usize,
    /// Longest wait between two pieces of a request's body.
    pub body_timeout: Duration,
    /// What to do when the state at the named entity tag is not known.
    pub unknown_state: UnknownState,
    /// What to do when asking the upstream for that state failed.
    pub unknown_state_failed: UnknownStateFailed,
    /// What to do when the referral is known to have moved on from the named entity tag.
    pub stale: Stale,
}

/// What to do when the state at the named entity tag is not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnknownState {
    /// Ask the upstream, with the caller's own credentials.
    Fetch,
    /// Let the write pass, and record that its transition was not judged.
    Forward,
    /// Answer 503.
    Refuse,
}

/// What to do when asking the upstream for the state failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnknownStateFailed {
    /// Answer 503.
    Refuse,
    /// Let the write pass, and record that its transition was not judged.
    Forward,
}

/// What to do when a fetch shows another entity tag than the one the caller named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stale {
    /// Let the upstream answer 412.
    Forward,
    /// Answer 412 here.
    Refuse,
}
