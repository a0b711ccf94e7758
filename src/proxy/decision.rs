//! The record of one judged write: its metrics, and its decision record in the log.

use tracing::{Level, enabled, info};

use super::exchange::Exchange;
use crate::{
    metrics::{Metrics, label::TransitionVerdict},
    policy::judging::{End, Judged, Standing},
    referral::ReferralId,
};

/// Counts what each rule made of a write, and writes the decision record.
pub(super) fn record(metrics: &Metrics, judged: &Judged<'_>, seen: &Exchange) {
    for (_, repair) in judged.repairs() {
        metrics.repaired(repair.as_str());
    }
    for (rule, decision) in judged.rules() {
        metrics.decision(&rule.id, rule.mode.as_str(), decision);
    }
    if let Some(transition) = judged.transition() {
        let verdict = match transition.is_allowed {
            true => TransitionVerdict::Pass,
            false => TransitionVerdict::Deny,
        };
        metrics.transition(transition.from, transition.to, verdict);
    }
    if enabled!(target: "referral_gateway::decision", Level::INFO) {
        log(judged, seen);
    }
}

fn log(judged: &Judged<'_>, seen: &Exchange) {
    let verdict = judged.verdict();
    let findings: Vec<String> = verdict
        .findings()
        .iter()
        .map(|finding| format!("{}:{}:{}", finding.rule, finding.mode, finding.code))
        .collect();
    let repaired: Vec<String> = judged
        .repairs()
        .iter()
        .map(|(rule, repair)| format!("{rule}:{repair}"))
        .collect();
    let (from, bound, age_ms, unjudged) = match judged.standing() {
        Standing::At {
            state,
            bound,
            age_ms,
        } => (&*state.status, *bound, *age_ms, ""),
        Standing::NotAsked => ("", false, 0, ""),
        Standing::Unjudged(why) => ("", false, 0, why.as_str()),
    };
    let leading = verdict.leading().or_else(|| verdict.findings().first());
    let (word, leading, code) = match judged.end() {
        End::Send(_) => ("pass", leading, leading.map(|finding| finding.code)),
        End::Refuse => ("refuse", leading, leading.map(|finding| finding.code)),
        End::Relay => ("relay", leading, leading.map(|finding| finding.code)),
        // No rule's finding refuses this write.
        End::StateUnknown { .. } | End::StaleEtag => ("refuse", None, Some(unjudged)),
    };
    info!(
        target: "referral_gateway::decision",
        verdict = word,
        rule = leading.map(|finding| &*finding.rule).unwrap_or_default(),
        mode = leading.map(|finding| finding.mode.as_str()).unwrap_or_default(),
        code = code.unwrap_or_default(),
        findings = findings.join(" "),
        repaired = repaired.join(" "),
        route = seen.route(),
        method = judged.method().as_str(),
        referral = judged.id().map(ReferralId::as_str).unwrap_or_default(),
        from,
        to = judged.next_status().unwrap_or_default(),
        bound,
        unjudged,
        snapshot_age_ms = age_ms,
        tenant = seen.tenant_name(),
        request_id = seen.request_id(),
        policy_digest = judged.policy().digest,
        "Judged"
    );
}
