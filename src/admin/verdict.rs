//! What is the matter, in one sentence: the first thing that somebody who is called at night wants to know.

use std::time::{Duration, SystemTime};

use humantime::format_rfc3339_seconds;
use serde_json::{Value, json};

use super::history::Counts;

/// How far back a verdict looks.
pub(super) const SPAN: Duration = Duration::from_secs(5 * 60);
/// A certificate that expires sooner than this is told.
const SOON: Duration = Duration::from_secs(7 * 24 * 3600);
/// The part of the requests to the service without a usable answer that is too much, and how many there must be.
const FAILING: (f64, u64) = (0.05, 5);

/// All that a verdict depends on.
#[derive(Debug, Clone)]
pub(super) struct Facts<'f> {
    /// `starting`, `ready` or `draining`.
    pub(super) state: &'static str,
    pub(super) in_flight: i64,
    /// When the last reload failed, if it did.
    pub(super) reload_failed: Option<SystemTime>,
    /// What was counted in the last [`SPAN`].
    pub(super) counts: Counts,
    /// The rule that refused most writes in all, and how many.
    pub(super) leading_rule: Option<(&'f str, u64)>,
    /// The upstream's last answer.
    pub(super) last_success: Option<SystemTime>,
    /// The last request without one: when, and why.
    pub(super) last_failure: Option<(SystemTime, &'f str)>,
    /// Tenants and classes that wait because the service asked for it.
    pub(super) cooldowns: usize,
    /// Which certificate expires first, and when, in seconds since 1970.
    pub(super) certificate: Option<(&'static str, u64)>,
    /// Seconds since 1970.
    pub(super) now: u64,
}

/// What is the matter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Verdict {
    /// A stable name.
    pub(super) code: &'static str,
    /// `ok`, `info`, `warning` or `critical`.
    pub(super) level: &'static str,
    /// Whose matter it is: `gateway`, `policy`, `limits`, `service` or `nobody`.
    pub(super) concerns: &'static str,
    /// The sentence.
    pub(super) text: String,
}

impl Verdict {
    pub(super) fn to_json(&self) -> Value {
        json!({
            "code": self.code,
            "level": self.level,
            "concerns": self.concerns,
            "text": self.text,
        })
    }

    /// The first thing that is the matter.
    pub(super) fn of(facts: &Facts<'_>) -> Self {
        let told = |code, level, concerns, text: String| Self {
            code,
            level,
            concerns,
            text,
        };
        let minutes = SPAN.as_secs() / 60;
        let counts = &facts.counts;
        match facts.state {
            "draining" => {
                let text = format!(
                    "The gateway is ending. {} under way.",
                    number(facts.in_flight.unsigned_abs(), "request is", "requests are")
                );
                return told("draining", "info", "gateway", text);
            }
            "ready" => {}
            _ => {
                let text = "The gateway is starting.".to_owned();
                return told("starting", "info", "gateway", text);
            }
        }
        if let Some(at) = facts.reload_failed {
            let text = format!(
                "The last reload failed, at {}. Settings and policy from before it are in force.",
                format_rfc3339_seconds(at)
            );
            return told("reload_failed", "warning", "gateway", text);
        }
        if counts.own_failures > 0 {
            let text = format!(
                "The gateway itself failed {} in the last {minutes} minutes.",
                number(counts.own_failures, "request", "requests")
            );
            return told("own_failures", "critical", "gateway", text);
        }
        if let Some((at, cause)) = facts.last_failure
            && facts.last_success.is_none_or(|success| success < at)
        {
            let last = match facts.last_success {
                Some(success) => format!(
                    "Its last answer came at {}",
                    format_rfc3339_seconds(success)
                ),
                None => "It has not answered since the start".to_owned(),
            };
            let text = format!("The service does not answer: {cause}. {last}.");
            return told("upstream_failing", "critical", "service", text);
        }
        let (part, least) = FAILING;
        let asked = counts.upstream_answers + counts.upstream_errors - counts.upstream_cut;
        let is_much = |count: u64| count >= least && count as f64 > part * asked as f64;
        if is_much(counts.upstream_errors) {
            let text = format!(
                "The service gave no usable answer to {} of {} in the last {minutes} minutes.",
                counts.upstream_errors,
                number(asked, "request", "requests")
            );
            return told("upstream_errors", "warning", "service", text);
        }
        if is_much(counts.upstream_5xx) {
            let text = format!(
                "The service answered {} of {} with an error of its own (5xx) in the last {minutes} minutes.",
                counts.upstream_5xx,
                number(asked, "request", "requests")
            );
            return told("upstream_errors", "warning", "service", text);
        }
        if counts.unread_states > 0 {
            let text = format!(
                "The state of {} could not be read from the service in the last {minutes} minutes; \
                 the log says why (unjudged).",
                number(counts.unread_states, "referral", "referrals")
            );
            return told("states_unread", "warning", "service", text);
        }
        if facts.cooldowns > 0 {
            let text = format!(
                "The service asked to wait: {} held back until then.",
                number(
                    facts.cooldowns as u64,
                    "tenant's reads or writes are",
                    "tenants' reads or writes are"
                )
            );
            return told("throttled", "warning", "service", text);
        }
        if counts.limited > 0 {
            let text = format!(
                "The limits held back {} in the last {minutes} minutes.",
                number(counts.limited, "request", "requests")
            );
            return told("limited", "info", "limits", text);
        }
        if counts.denied > 0 {
            let most = facts
                .leading_rule
                .map_or_else(String::new, |(rule, count)| {
                    format!(" Since the start, rule {rule} refused most: {count}.")
                });
            let text = format!(
                "The policy refused {} in the last {minutes} minutes.{most}",
                number(counts.denied, "write", "writes")
            );
            return told("denied", "info", "policy", text);
        }
        if let Some((certificate, end)) = facts.certificate
            && end < facts.now.saturating_add(SOON.as_secs())
        {
            let days = end.saturating_sub(facts.now) / (24 * 3600);
            let text = format!(
                "The certificate `{certificate}` expires in {}.",
                number(days, "day", "days")
            );
            return told("certificate", "warning", "gateway", text);
        }
        match counts.answers {
            0 => told(
                "idle",
                "ok",
                "nobody",
                format!("Ready. No requests in the last {minutes} minutes."),
            ),
            all => told(
                "healthy",
                "ok",
                "nobody",
                format!(
                    "Ready. {} in the last {minutes} minutes, and nothing is the matter.",
                    number(all, "request", "requests")
                ),
            ),
        }
    }
}

fn number(count: u64, one: &str, more: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { more })
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    type Change = fn(&mut Facts<'_>);

    fn quiet() -> Facts<'static> {
        Facts {
            state: "ready",
            in_flight: 0,
            reload_failed: None,
            counts: Counts::default(),
            leading_rule: None,
            last_success: Some(at(100)),
            last_failure: None,
            cooldowns: 0,
            certificate: None,
            now: 1000,
        }
    }

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(seconds)
    }

    #[test]
    fn the_first_thing_that_is_the_matter_is_told() {
        // Each step adds what is told before all steps above it.
        let steps: [(&str, &str, Change); 12] = [
            ("idle", "nobody", |_| {}),
            ("healthy", "nobody", |facts| facts.counts.answers = 100),
            ("certificate", "gateway", |facts| {
                facts.certificate = Some(("data", facts.now + SOON.as_secs() - 1));
            }),
            ("denied", "policy", |facts| facts.counts.denied = 1),
            ("limited", "limits", |facts| facts.counts.limited = 1),
            ("throttled", "service", |facts| facts.cooldowns = 1),
            ("states_unread", "service", |facts| {
                facts.counts = Counts {
                    unread_states: 1,
                    ..facts.counts
                };
            }),
            ("upstream_errors", "service", |facts| {
                facts.counts.upstream_answers = 94 + 5;
                facts.counts.upstream_5xx = 5;
            }),
            ("upstream_errors", "service", |facts| {
                facts.counts.upstream_answers = 94;
                facts.counts.upstream_errors = 5;
            }),
            ("upstream_failing", "service", |facts| {
                facts.last_failure = Some((at(101), "connection refused"));
            }),
            ("own_failures", "gateway", |facts| {
                facts.counts.own_failures = 1;
            }),
            ("reload_failed", "gateway", |facts| {
                facts.reload_failed = Some(at(1));
            }),
        ];
        let mut facts = quiet();
        for (code, concerns, add) in steps {
            add(&mut facts);
            let verdict = Verdict::of(&facts);
            assert_eq!(
                (verdict.code, verdict.concerns),
                (code, concerns),
                "{facts:?}"
            );
        }
        for state in ["starting", "draining"] {
            facts.state = state;
            assert_eq!(Verdict::of(&facts).code, state);
        }

        // And what is not enough.
        let not_enough: [Change; 5] = [
            |facts| facts.certificate = Some(("data", 1000 + SOON.as_secs())),
            |facts| facts.last_failure = Some((at(99), "connection refused")),
            |facts| facts.counts.upstream_errors = 4,
            |facts| {
                facts.counts.upstream_answers = 95;
                facts.counts.upstream_errors = 5;
            },
            |facts| facts.counts.cooled = 3,
        ];
        for add in not_enough {
            let mut facts = quiet();
            facts.counts.answers = 1;
            add(&mut facts);
            assert_eq!(Verdict::of(&facts).code, "healthy", "{facts:?}");
        }
    }

    #[test]
    fn the_sentences_are_whole() {
        let mut facts = quiet();
        facts.counts.denied = 2;
        facts.leading_rule = Some(("if-match", 7));
        assert_eq!(
            Verdict::of(&facts).text,
            "The policy refused 2 writes in the last 5 minutes. Since the start, rule if-match refused most: 7."
        );
        facts.last_failure = Some((at(101), "connection refused"));
        assert_eq!(
            Verdict::of(&facts).text,
            "The service does not answer: connection refused. Its last answer came at 1970-01-01T00:01:40Z."
        );
        facts.last_success = None;
        assert_eq!(
            Verdict::of(&facts).text,
            "The service does not answer: connection refused. It has not answered since the start."
        );
        facts.state = "draining";
        facts.in_flight = 1;
        assert_eq!(
            Verdict::of(&facts).text,
            "The gateway is ending. 1 request is under way."
        );
    }
}
