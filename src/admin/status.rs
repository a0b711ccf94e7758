//! `/status`: what is going on, at a glance.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use humantime::format_rfc3339_seconds;
use serde_json::{Value, json};

use super::{
    Status,
    history::{Sample, Window, millis, rounded},
    verdict::{Facts, SPAN, Verdict},
};
use crate::{
    metrics::{
        Reading,
        label::{Certificate, Source},
    },
    upstream::Failure,
};

/// How far back rates and times look.
const MINUTE: Duration = Duration::from_secs(60);

impl Status {
    /// What is going on. docs/admin.md lists its members.
    pub(super) fn status(&self) -> Value {
        let now = Instant::now();
        let reading = self.metrics.read();
        let sample = Sample::of(&reading, now);
        let minute = self.history.since(MINUTE, &sample);
        let rules = rules(&reading);
        let certificates = certificates(&reading);
        let verdict = self.verdict(&sample, &rules, &certificates, now);
        let in_force = self.in_force.load();
        let (started, began) = self.started;
        json!({
            "verdict": verdict.to_json(),
            "state": self.readiness.name(),
            "version": env!("CARGO_PKG_VERSION"),
            "started": time(started),
            "uptime_seconds": now.saturating_duration_since(began).as_secs(),
            "policy": {
                "name": in_force.policy.name,
                "digest": in_force.policy.digest,
                "rules": in_force.policy.rules.len(),
            },
            "last_reload": self.last_reload().as_ref().map(super::Reloaded::to_json),
            "certificates": certificates
                .iter()
                .map(|(name, end)| json!({
                    "certificate": name,
                    "expires": time(UNIX_EPOCH + Duration::from_secs(*end)),
                }))
                .collect::<Vec<_>>(),
            "traffic": traffic(&minute, self.metrics.in_flight.get()),
            "rules": rules.iter().map(Rule::to_json).collect::<Vec<_>>(),
            "transitions": transitions(&reading),
            "upstream": self.upstream_now(&reading, &minute),
            "tenants": {
                "tracked": self.rate_limit.tracked(),
                "max": in_force.max_tenants,
                "cooldowns": self.rate_limit.cooldowns(now),
                "limited": sample.counts.limited,
                "cooled_down": sample.counts.cooled,
            },
            "snapshots": self.snapshots.len(),
        })
    }

    fn last_reload(&self) -> Option<super::Reloaded> {
        let reloaded = self.reloaded.lock();
        reloaded
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .clone()
    }

    fn verdict(
        &self,
        sample: &Sample,
        rules: &[Rule],
        certificates: &[(&'static str, u64)],
        now: Instant,
    ) -> Verdict {
        let health = self.upstream.health();
        let failure = health.last_failure();
        let leading = rules.iter().max_by_key(|rule| rule.count("deny"));
        let unix = SystemTime::now().duration_since(UNIX_EPOCH);
        Verdict::of(&Facts {
            state: self.readiness.name(),
            in_flight: self.metrics.in_flight.get(),
            reload_failed: self
                .last_reload()
                .filter(|reloaded| !reloaded.is_ok())
                .map(|reloaded| reloaded.at),
            counts: self.history.since(SPAN, sample).counts,
            leading_rule: leading.map(|rule| (rule.rule.as_str(), rule.count("deny"))),
            last_success: health.last_success(),
            last_failure: failure
                .as_ref()
                .map(|failure| (failure.at, failure.cause.as_str())),
            cooldowns: self.rate_limit.cooldowns(now),
            certificate: certificates.iter().min_by_key(|(_, end)| *end).copied(),
            now: unix.unwrap_or_default().as_secs(),
        })
    }

    fn upstream_now(&self, reading: &Reading, minute: &Window) -> Value {
        let health = self.upstream.health();
        let failure = health.last_failure().map(|failure| {
            let Failure { at, kind, cause } = failure;
            json!({ "at": time(at), "kind": kind, "cause": cause })
        });
        json!({
            "url": health.upstream(),
            "last_success": health.last_success().map(time),
            "last_failure": failure,
            "codes": by_one(reading.counts("upstream_requests_total", ["code"])),
            "errors": by_one(reading.counts("upstream_errors_total", ["kind"])),
            "throttled": reading.total("upstream_throttled_total"),
            "p99_ms": millis(minute.upstream(0.99)),
        })
    }
}

/// What a rule made of writes, in one of its modes.
struct Rule {
    rule: String,
    mode: String,
    verdicts: BTreeMap<String, u64>,
}

impl Rule {
    fn count(&self, verdict: &str) -> u64 {
        self.verdicts.get(verdict).copied().unwrap_or_default()
    }

    fn to_json(&self) -> Value {
        json!({ "rule": self.rule, "mode": self.mode, "verdicts": self.verdicts })
    }
}

fn rules(reading: &Reading) -> Vec<Rule> {
    let mut rules: Vec<Rule> = Vec::new();
    let counts = reading.counts("policy_decisions_total", ["rule", "mode", "verdict"]);
    for ([rule, mode, verdict], count) in counts {
        match rules.last_mut() {
            Some(last) if last.rule == rule && last.mode == mode => {
                last.verdicts.insert(verdict, count);
            }
            _ => rules.push(Rule {
                rule,
                mode,
                verdicts: BTreeMap::from([(verdict, count)]),
            }),
        }
    }
    rules
}

/// The transitions that were judged.
fn transitions(reading: &Reading) -> Vec<Value> {
    let counts = reading.counts("policy_transitions_total", ["from", "to", "verdict"]);
    let judged = counts.into_iter().filter(|(_, count)| *count > 0);
    judged
        .map(|([from, to, verdict], count)| {
            json!({ "from": from, "to": to, "verdict": verdict, "count": count })
        })
        .collect()
}

/// The certificates that the gateway shows, and when each expires, in seconds since 1970.
fn certificates(reading: &Reading) -> Vec<(&'static str, u64)> {
    let ends = reading.counts("certificate_not_after_timestamp_seconds", ["certificate"]);
    let all = Certificate::ALL.iter().filter_map(|certificate| {
        let name = certificate.as_str();
        let end = *ends.get(&[name.to_owned()])?;
        (end > 0).then_some((name, end))
    });
    all.collect()
}

fn traffic(minute: &Window, in_flight: i64) -> Value {
    let rates: serde_json::Map<String, Value> = Source::ALL
        .iter()
        .map(|&source| {
            let rate = minute.per_second(minute.of(source));
            (source.as_str().to_owned(), rounded(rate))
        })
        .collect();
    json!({
        "window_seconds": minute.length.as_secs(),
        "in_flight": in_flight,
        "answers_per_second": rates,
        "p50_ms": millis(minute.duration(0.5)),
        "p99_ms": millis(minute.duration(0.99)),
        "own_p99_ms": millis(minute.overhead(0.99)),
    })
}

/// Counts above 0 by one label.
fn by_one(counts: BTreeMap<[String; 1], u64>) -> BTreeMap<String, u64> {
    let counted = counts.into_iter().filter(|(_, count)| *count > 0);
    counted.map(|([label], count)| (label, count)).collect()
}

fn time(at: SystemTime) -> String {
    format_rfc3339_seconds(at).to_string()
}
