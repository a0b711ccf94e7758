//! The record of one judged write: its metrics, and its decision record for the log and for operators.

use std::fmt;

use tracing::{Level, enabled};

use super::exchange::Exchange;
use crate::{
    metrics::{Metrics, label::TransitionVerdict},
    policy::judging::{End, Judged, Standing},
    referral::ReferralId,
    telemetry::{self, Recent},
};

/// Counts what each rule made of a write, and writes the decision record.
pub(super) fn record(metrics: &Metrics, recent: &Recent, judged: &Judged<'_>, seen: &Exchange) {
    for (_, repair) in judged.repairs() {
        metrics.repaired(repair.as_str());
    }
    for (rule, decision) in judged.rules() {
        seen.in_force().decisions.count(rule, decision);
    }
    if let Some(transition) = judged.transition() {
        let verdict = match transition.is_allowed {
            true => TransitionVerdict::Pass,
            false => TransitionVerdict::Deny,
        };
        metrics.transition(transition.from, transition.to, verdict);
    }
    let is_logged = enabled!(target: "referral_gateway::decision", Level::INFO);
    keep(recent, is_logged, judged, seen);
}

fn keep(recent: &Recent, is_logged: bool, judged: &Judged<'_>, seen: &Exchange) {
    let verdict = judged.verdict();
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
    let findings = Blanks(verdict.findings(), |finding, f| {
        write!(f, "{}:{}:{}", finding.rule, finding.mode, finding.code)
    });
    let repaired = Blanks(judged.repairs(), |(rule, repair), f| {
        write!(f, "{rule}:{repair}")
    });
    telemetry::record_kept(
        "referral_gateway::decision",
        "Judged",
        is_logged,
        recent,
        |line| {
            line.text("verdict", word);
            line.text(
                "rule",
                leading.map(|finding| &*finding.rule).unwrap_or_default(),
            );
            line.text(
                "mode",
                leading
                    .map(|finding| finding.mode.as_str())
                    .unwrap_or_default(),
            );
            line.text("code", code.unwrap_or_default());
            line.shown("findings", &findings);
            line.shown("repaired", &repaired);
            line.text("route", seen.route());
            line.text("method", judged.method().as_str());
            line.text(
                "referral",
                judged.id().map(ReferralId::as_str).unwrap_or_default(),
            );
            line.text("from", from);
            line.text("to", judged.next_status().unwrap_or_default());
            line.truth("bound", bound);
            line.text("unjudged", unjudged);
            line.number("snapshot_age_ms", age_ms);
            line.shown("tenant", seen.tenant_name());
            line.text("request_id", seen.request_id());
            line.text("policy_digest", &judged.policy().digest);
        },
    );
}

/// Items with blanks between them.
struct Blanks<'a, T, S: Fn(&T, &mut fmt::Formatter<'_>) -> fmt::Result>(&'a [T], S);

impl<T, S: Fn(&T, &mut fmt::Formatter<'_>) -> fmt::Result> fmt::Display for Blanks<'_, T, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, item) in self.0.iter().enumerate() {
            if at > 0 {
                f.write_str(" ")?;
            }
            self.1(item, f)?;
        }
        Ok(())
    }
}
