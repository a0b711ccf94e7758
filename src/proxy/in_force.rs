//! The part of the configuration that a reload may change.

use std::{sync::Arc, time::Duration};

use crate::{
    policy::{Policy, judging},
    rate_limit::Terms,
    tenant::Tenants,
};

/// What requests are handled by, as far as it may change while the program runs.
///
/// Each request takes it once, when it begins, and keeps it to its end: no request sees parts of two.
#[derive(Debug)]
pub struct InForce {
    /// How requests are handled.
    pub settings: Settings,
    /// The rules.
    pub policy: Arc<Policy>,
    /// Tells callers apart.
    pub tenants: Tenants,
    /// How much each tenant may ask for.
    pub terms: Terms,
}

/// How requests are handled that need more than being passed on.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Upper bound of the body of a judged request, in bytes.
    pub max_judged_body: usize,
    /// Longest wait between two pieces of a request's body.
    pub body_timeout: Duration,
    /// Least bytes a second of a judged request's body, after a grace; 0 for none.
    pub min_body_rate: u32,
    /// What to do about a state that is not known.
    pub judging: judging::Settings,
}
