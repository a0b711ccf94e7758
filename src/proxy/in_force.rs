//! The part of the configuration that a reload may change.

use std::{sync::Arc, time::Duration};

use crate::{
    metrics::{Decisions, Metrics},
    policy::{
        Mode, Policy, Rule,
        judging::{self, Decision},
    },
    rate_limit::Terms,
    rebase::RewriteUrls,
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
    /// Counts what they make of writes.
    pub decisions: RuleDecisions,
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
    /// What URLs of the service in answers become.
    pub rewrite_urls: RewriteUrls,
    /// What to do about a state that is not known.
    pub judging: judging::Settings,
}

/// The series of each rule in each of its modes, so that counting looks nothing up.
///
/// They are those of one policy: after a reload, requests that are under way count for the old one, whose own series have
/// ended. What both have is counted on.
#[derive(Debug)]
pub struct RuleDecisions(Vec<Vec<(Mode, Decisions)>>);

impl RuleDecisions {
    /// The series of these rules. The metrics must have been told of the policy, else they may end them.
    pub fn of(policy: &Policy, metrics: &Metrics) -> Self {
        let mut places: Vec<_> = policy.rules.iter().map(|_| Vec::new()).collect();
        for (rule, mode) in policy.modes().filter(|(_, mode)| *mode != Mode::Off) {
            if let Some(place) = places.get_mut(rule.place) {
                place.push((mode, metrics.decisions(&rule.id, mode.as_str())));
            }
        }
        Self(places)
    }

    /// Counts what a rule made of a write.
    pub(super) fn count(&self, rule: &Rule, decision: Decision) {
        let mut modes = self.0.get(rule.place).into_iter().flatten();
        let decisions = modes.find(|(mode, _)| *mode == rule.mode);
        debug_assert!(decisions.is_some(), "{}: {}", rule.id, rule.mode);
        if let Some((_, decisions)) = decisions {
            decisions.inc(decision);
        }
    }
}
