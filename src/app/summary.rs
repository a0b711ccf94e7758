//! One line about a whole run, for runs that end before anybody scrapes their metrics.

use tracing::info;

use crate::metrics::{Metrics, label::Source};

/// Logs how many requests there were, by source, and the codes of the gateway's own answers.
pub(super) fn log(metrics: &Metrics) {
    let [upstream, policy, ratelimit, cooldown, gateway] = [
        Source::Upstream,
        Source::Policy,
        Source::RateLimit,
        Source::Cooldown,
        Source::Gateway,
    ]
    .map(|source| metrics.requests_of(source));
    let requests = upstream + policy + ratelimit + cooldown + gateway;
    let codes = metrics.refusals.all().into_iter();
    let codes: Vec<_> = codes
        .map(|(code, count)| format!("{code} {count}"))
        .collect();
    info!(
        target: "referral_gateway",
        requests,
        upstream,
        policy,
        ratelimit,
        cooldown,
        gateway,
        codes = codes.join(", "),
        "Requests of this run"
    );
}
