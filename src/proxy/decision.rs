//! The record of one judged write: its metrics, and its decision record for the log and for operators.

use std::{fmt, sync::Arc};

use tracing::{Level, enabled};

use super::exchange::Exchange;
use crate::{
    metrics::{Metrics, label::TransitionVerdict},
    policy::{
        Mode,
        judging::{End, Judged, Standing},
        repair::Repair,
    },
    referral::ReferralId,
    telemetry::{Line, Recent, Record},
    tenant::Name,
};

/// Counts what each rule made of a write, and writes the decision record.
pub(super) fn record(metrics: &Metrics, recent: &Recent, judged: &Judged<'_>, seen: &mut Exchange) {
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
    let decision = Decision::of(judged, seen);
    let rule = decision.leading.as_ref().map(|(rule, _)| &**rule);
    seen.judged(decision.verdict, rule);
    let is_logged = enabled!(target: "referral_gateway::decision", Level::INFO);
    recent.add("referral_gateway::decision", "Judged", decision, is_logged);
}

/// What is told of one decision. It owns all of it, since it is written when somebody asks.
struct Decision {
    verdict: &'static str,
    leading: Option<(Arc<str>, Mode)>,
    code: &'static str,
    findings: Vec<(Arc<str>, Mode, &'static str)>,
    repaired: Vec<(Arc<str>, Repair)>,
    route: &'static str,
    method: &'static str,
    referral: Option<ReferralId>,
    from: Box<str>,
    to: Box<str>,
    bound: bool,
    unjudged: &'static str,
    age_ms: u64,
    tenant: Named,
    request_id: Box<str>,
    policy_digest: Box<str>,
}

/// The name of a tenant in logs.
enum Named {
    Alias(Box<str>),
    Hash(u64),
    Anonymous,
    Unknown,
}

impl Decision {
    fn of(judged: &Judged<'_>, seen: &Exchange) -> Self {
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
        let findings = verdict.findings().iter();
        Self {
            verdict: word,
            leading: leading.map(|finding| (Arc::clone(&finding.rule), finding.mode)),
            code: code.unwrap_or_default(),
            findings: findings
                .map(|finding| (Arc::clone(&finding.rule), finding.mode, finding.code))
                .collect(),
            repaired: judged.repairs().to_vec(),
            route: seen.route(),
            method: judged.method().as_str(),
            referral: judged.id().cloned(),
            from: from.into(),
            to: judged.next_status().unwrap_or_default().into(),
            bound,
            unjudged,
            age_ms,
            tenant: match seen.tenant_name() {
                Name::Alias(alias) => Named::Alias(alias.into()),
                Name::Hash(hash) => Named::Hash(hash),
                Name::Anonymous => Named::Anonymous,
                Name::Unknown => Named::Unknown,
            },
            request_id: seen.request_id().into(),
            policy_digest: judged.policy().digest.as_str().into(),
        }
    }
}

impl Record for Decision {
    fn write(&self, line: &mut Line) {
        let findings = Blanks(&self.findings, |(rule, mode, code), f| {
            write!(f, "{rule}:{mode}:{code}")
        });
        let repaired = Blanks(&self.repaired, |(rule, repair), f| {
            write!(f, "{rule}:{repair}")
        });
        let (rule, mode) = match &self.leading {
            Some((rule, mode)) => (&**rule, mode.as_str()),
            None => ("", ""),
        };
        let referral = self.referral.as_ref().map(ReferralId::as_str);
        line.text("verdict", self.verdict);
        line.text("rule", rule);
        line.text("mode", mode);
        line.text("code", self.code);
        line.shown("findings", findings);
        line.shown("repaired", repaired);
        line.text("route", self.route);
        line.text("method", self.method);
        line.text("referral", referral.unwrap_or_default());
        line.text("from", &self.from);
        line.text("to", &self.to);
        line.truth("bound", self.bound);
        line.text("unjudged", self.unjudged);
        line.number("snapshot_age_ms", self.age_ms);
        line.shown("tenant", self.tenant.name());
        line.text("request_id", &self.request_id);
        line.text("policy_digest", &self.policy_digest);
    }
}

impl Named {
    fn name(&self) -> Name<'_> {
        match self {
            Self::Alias(alias) => Name::Alias(alias),
            Self::Hash(hash) => Name::Hash(*hash),
            Self::Anonymous => Name::Anonymous,
            Self::Unknown => Name::Unknown,
        }
    }
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
