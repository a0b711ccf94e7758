//! What happened in the last minutes: the counters, kept every few seconds.

use std::{
    collections::VecDeque,
    fmt,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use serde_json::{Value, json};

use crate::metrics::{Metrics, Reading, label::Source};

/// The pause between two samples.
pub const STEP: Duration = Duration::from_secs(5);
/// The samples of a quarter of an hour, and the one before.
const SAMPLES: usize = 181;

/// The last samples.
#[derive(Default)]
pub struct History(Mutex<VecDeque<Sample>>);

/// The counters at one time.
#[derive(Debug, Clone)]
pub(super) struct Sample {
    at: Instant,
    /// Seconds since 1970.
    unix: u64,
    /// Answers by source, in the order of [`Source::ALL`].
    answers: Vec<u64>,
    pub(super) counts: Counts,
    durations: Buckets,
    overheads: Buckets,
    upstream: Buckets,
}

/// Counters, or what was added to them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Counts {
    /// Answers that the gateway itself is to blame for.
    pub(super) own_failures: u64,
    /// Writes that rules refused.
    pub(super) denied: u64,
    /// Requests that the limits held back.
    pub(super) limited: u64,
    /// Requests that waited for the end of a cooldown.
    pub(super) cooled: u64,
    /// Answers of the service.
    pub(super) upstream_answers: u64,
    /// Of these, those with a status of 500 and more.
    pub(super) upstream_5xx: u64,
    /// Requests without a usable answer of the service.
    pub(super) upstream_errors: u64,
    /// Of these, those whose answer broke off: it counts as an answer too.
    pub(super) upstream_cut: u64,
    /// Writes whose state could not be read from the service.
    pub(super) unread_states: u64,
    /// All answers.
    pub(super) answers: u64,
}

/// Upper bounds in seconds, and how many observations are at or below each.
type Buckets = Vec<(f64, u64)>;

/// What happened between two samples.
#[derive(Debug)]
pub(super) struct Window {
    /// How long it was.
    pub(super) length: Duration,
    pub(super) counts: Counts,
    /// Answers by source.
    pub(super) answers: Vec<(Source, u64)>,
    durations: Buckets,
    overheads: Buckets,
    upstream: Buckets,
}

impl History {
    /// Adds a sample.
    pub fn add(&self, metrics: &Metrics) {
        let sample = Sample::of(&metrics.read(), Instant::now());
        let mut samples = self.lock();
        if samples.len() == SAMPLES {
            samples.pop_front();
        }
        samples.push_back(sample);
    }

    /// What happened from so long ago, at most, until now.
    pub(super) fn since(&self, longest: Duration, now: &Sample) -> Window {
        let samples = self.lock();
        let is_in = |sample: &&Sample| now.at.saturating_duration_since(sample.at) <= longest;
        match samples.iter().find(is_in) {
            Some(first) => Window::between(first, now),
            None => Window::between(now, now),
        }
    }

    /// Rates and times of each step, the newest last; `null` where there was nothing to measure.
    pub(super) fn to_json(&self) -> Value {
        let samples = self.lock();
        let steps: Vec<_> = samples
            .iter()
            .zip(samples.iter().skip(1))
            .map(|(before, after)| (after.unix, Window::between(before, after)))
            .collect();
        drop(samples);
        let of_each = |value: &dyn Fn(&Window) -> Value| -> Value {
            steps.iter().map(|(_, window)| value(window)).collect()
        };
        let rates: serde_json::Map<String, Value> = Source::ALL
            .iter()
            .map(|&source| {
                let rates = of_each(&|window| rounded(window.per_second(window.of(source))));
                (source.as_str().to_owned(), rates)
            })
            .collect();
        json!({
            "step_seconds": STEP.as_secs(),
            "at": steps.iter().map(|(at, _)| *at).collect::<Vec<_>>(),
            "answers_per_second": rates,
            "p50_ms": of_each(&|window| millis(window.duration(0.5))),
            "p99_ms": of_each(&|window| millis(window.duration(0.99))),
            "own_p99_ms": of_each(&|window| millis(window.overhead(0.99))),
            "upstream_p99_ms": of_each(&|window| millis(window.upstream(0.99))),
            "upstream_errors_per_second":
                of_each(&|window| rounded(window.per_second(window.counts.upstream_errors))),
        })
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Sample>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for History {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("History").finish_non_exhaustive()
    }
}

impl Sample {
    pub(super) fn of(reading: &Reading, at: Instant) -> Self {
        let by_source = reading.counts("http_requests_total", ["source"]);
        let answers: Vec<u64> = Source::ALL
            .iter()
            .map(|source| {
                let count = by_source.get(&[source.as_str().to_owned()]);
                count.copied().unwrap_or_default()
            })
            .collect();
        let limits = |is_meant: fn(&str) -> bool| {
            reading.count_where("ratelimit_decisions_total", "outcome", is_meant)
        };
        let unix = SystemTime::now().duration_since(UNIX_EPOCH);
        Self {
            at,
            unix: unix.unwrap_or_default().as_secs(),
            counts: Counts {
                own_failures: reading
                    .count_where("request_errors_total", "kind", |kind| kind == "panic"),
                denied: reading.count_where("policy_decisions_total", "verdict", |verdict| {
                    verdict == "deny"
                }),
                limited: limits(|outcome| matches!(outcome, "limited" | "concurrency")),
                cooled: limits(|outcome| outcome == "cooldown"),
                upstream_answers: reading.total("upstream_requests_total"),
                upstream_5xx: reading.count_where("upstream_requests_total", "code", |code| {
                    code.starts_with('5')
                }),
                upstream_errors: reading.total("upstream_errors_total"),
                upstream_cut: reading
                    .count_where("upstream_errors_total", "kind", |kind| kind == "body"),
                unread_states: reading.count_where("snapshot_lookups_total", "result", |result| {
                    result == "failed"
                }),
                answers: answers.iter().sum(),
            },
            answers,
            durations: reading.buckets("http_request_duration_seconds"),
            overheads: reading.buckets("http_request_overhead_seconds"),
            upstream: reading.buckets("upstream_request_duration_seconds"),
        }
    }
}

impl Counts {
    fn since(&self, before: &Self) -> Self {
        let added = |count: fn(&Self) -> u64| count(self).saturating_sub(count(before));
        Self {
            own_failures: added(|counts| counts.own_failures),
            denied: added(|counts| counts.denied),
            limited: added(|counts| counts.limited),
            cooled: added(|counts| counts.cooled),
            upstream_answers: added(|counts| counts.upstream_answers),
            upstream_5xx: added(|counts| counts.upstream_5xx),
            upstream_errors: added(|counts| counts.upstream_errors),
            upstream_cut: added(|counts| counts.upstream_cut),
            unread_states: added(|counts| counts.unread_states),
            answers: added(|counts| counts.answers),
        }
    }
}

impl Window {
    fn between(before: &Sample, after: &Sample) -> Self {
        let answers = Source::ALL
            .iter()
            .zip(after.answers.iter().zip(&before.answers));
        Self {
            length: after.at.saturating_duration_since(before.at),
            counts: after.counts.since(&before.counts),
            answers: answers
                .map(|(source, (after, before))| (*source, after.saturating_sub(*before)))
                .collect(),
            durations: added(&before.durations, &after.durations),
            overheads: added(&before.overheads, &after.overheads),
            upstream: added(&before.upstream, &after.upstream),
        }
    }

    /// The answers of one source.
    pub(super) fn of(&self, source: Source) -> u64 {
        let mut answers = self.answers.iter();
        let of_source = answers.find(|(known, _)| *known == source);
        of_source.map_or(0, |(_, count)| *count)
    }

    /// So many in the window, as a rate; 0 of no time.
    pub(super) fn per_second(&self, count: u64) -> f64 {
        match self.length.as_secs_f64() {
            0.0 => 0.0,
            seconds => count as f64 / seconds,
        }
    }

    /// A quantile of the whole time of requests, in seconds.
    pub(super) fn duration(&self, of: f64) -> Option<f64> {
        quantile(&self.durations, of)
    }

    /// A quantile of the gateway's own time.
    pub(super) fn overhead(&self, of: f64) -> Option<f64> {
        quantile(&self.overheads, of)
    }

    /// A quantile of the service's time.
    pub(super) fn upstream(&self, of: f64) -> Option<f64> {
        quantile(&self.upstream, of)
    }
}

fn added(before: &Buckets, after: &Buckets) -> Buckets {
    let pairs = after.iter().enumerate();
    pairs
        .map(|(at, (bound, count))| {
            let before = before.get(at).map_or(0, |(_, count)| *count);
            (*bound, count.saturating_sub(before))
        })
        .collect()
}

/// A quantile of observations, as Prometheus' `histogram_quantile` estimates it: evenly spread within a bucket, and at the
/// highest finite bound if it is above. `None` without observations.
fn quantile(buckets: &Buckets, of: f64) -> Option<f64> {
    let (_, all) = buckets.last()?;
    if *all == 0 {
        return None;
    }
    let rank = of * *all as f64;
    let (mut low, mut below) = (0.0, 0);
    for &(bound, count) in buckets {
        if count as f64 >= rank && count > below {
            if bound.is_infinite() {
                return Some(low);
            }
            let part = (rank - below as f64) / (count - below) as f64;
            return Some(low + (bound - low) * part.max(0.0));
        }
        (low, below) = match bound.is_infinite() {
            true => (low, below),
            false => (bound, count),
        };
    }
    Some(low)
}

/// Seconds as milliseconds with two decimals.
pub(super) fn millis(seconds: Option<f64>) -> Value {
    seconds.map_or(Value::Null, |seconds| {
        json!((seconds * 100_000.0).round() / 100.0)
    })
}

/// A rate with three decimals.
pub(super) fn rounded(rate: f64) -> Value {
    json!((rate * 1000.0).round() / 1000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_those_of_prometheus() {
        let buckets = |counts: [u64; 4]| -> Buckets {
            [0.1, 0.2, 0.4, f64::INFINITY]
                .into_iter()
                .zip(counts)
                .collect()
        };
        for (counts, of, expected) in [
            ([0, 0, 0, 0], 0.5, None),
            ([10, 10, 10, 10], 0.5, Some(0.05)),
            ([10, 10, 10, 10], 1.0, Some(0.1)),
            ([0, 10, 10, 10], 0.5, Some(0.15)),
            ([5, 5, 10, 10], 0.9, Some(0.36)),
            ([0, 0, 0, 10], 0.5, Some(0.4)),
            ([5, 5, 5, 10], 0.99, Some(0.4)),
        ] {
            let found = quantile(&buckets(counts), of);
            let is_same = match (found, expected) {
                (Some(found), Some(expected)) => (found - expected).abs() < 1e-9,
                (found, expected) => found.is_none() && expected.is_none(),
            };
            assert!(is_same, "{counts:?} {of}: {found:?}, not {expected:?}");
        }
    }
}
