//! Whether the upstream answers: what the log, the probe and the metrics say of it.
//!
//! An outage is one line at its first failure and one at its end. While it lasts, or if the upstream comes and goes, each
//! line is written at most once a minute and counts the requests that failed.

use std::{
    fmt,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use prometheus::IntGauge;
use tracing::{info, warn};

use super::error::{Error, Kind};
use crate::{metrics::Metrics, pace::Pace};

#[cfg(test)]
mod tests;

/// Whether the upstream answers. A success costs no lock, except the first one after a failure.
pub struct Health {
    upstream: String,
    began: Instant,
    /// When a success has something to say, in milliseconds since `began`.
    say_at: AtomicU64,
    last_success: IntGauge,
    /// When a success is next noted there, in milliseconds since `began`.
    note_at: AtomicU64,
    last_failure: IntGauge,
    story: Mutex<Story>,
}

/// The last request that failed.
#[derive(Debug, Clone)]
pub struct Failure {
    /// When it failed.
    pub at: SystemTime,
    /// The label of its kind in metrics.
    pub kind: &'static str,
    /// The cause in plain words, bounded.
    pub cause: String,
}

/// A success has nothing to say.
const NEVER: u64 = u64::MAX;

impl Health {
    pub(super) fn new(upstream: String, metrics: &Metrics) -> Self {
        Self {
            upstream,
            began: Instant::now(),
            say_at: AtomicU64::new(NEVER),
            last_success: metrics.upstream.last_success.clone(),
            note_at: AtomicU64::new(0),
            last_failure: metrics.upstream.last_failure.clone(),
            story: Mutex::default(),
        }
    }

    /// The upstream answered.
    pub(super) fn answered(&self, now: Instant) {
        let millis = self.millis(now);
        // Once a second: it reads another clock, and requests on other cores need not wait for the line of memory.
        if self.note_at.load(Ordering::Relaxed) <= millis {
            let wall = SystemTime::now().duration_since(UNIX_EPOCH);
            let wall = wall.unwrap_or_default();
            let left = 1000 - u64::from(wall.subsec_millis());
            self.note_at.store(millis + left, Ordering::Relaxed);
            self.last_success
                .set(i64::try_from(wall.as_secs()).unwrap_or(i64::MAX));
        }
        if self.say_at.load(Ordering::Relaxed) <= millis {
            self.say_answered(now);
        }
    }

    /// A request got no usable answer.
    pub(super) fn failed(&self, error: &Error) {
        if !is_of_upstream(error.kind) {
            return;
        }
        self.last_failure.set(unix_seconds());
        // The next success is later than this failure.
        self.note_at.store(0, Ordering::Relaxed);
        let kind = error.kind.label().as_str();
        let mut story = self.lock();
        story.last = Some(Failure {
            at: SystemTime::now(),
            kind,
            cause: error.detail.clone(),
        });
        let is_unreachable = matches!(error.kind, Kind::ConnectFailed | Kind::ConnectTimeout);
        let due = story.failed(is_unreachable, Instant::now());
        self.say_at.store(0, Ordering::Relaxed);
        drop(story);
        if let Some(failed_requests) = due {
            let (upstream, cause) = (&self.upstream, &error.detail);
            let what = match is_unreachable {
                true => "Cannot reach upstream",
                false => "No usable answer from upstream",
            };
            warn!(
                target: "referral_gateway",
                kind,
                failed_requests,
                error = error.exact(),
                "{what} {upstream}: {cause}"
            );
        }
    }

    /// The URL of the upstream.
    pub fn upstream(&self) -> &str {
        &self.upstream
    }

    /// When the upstream answered last, to the second.
    pub fn last_success(&self) -> Option<SystemTime> {
        let seconds = u64::try_from(self.last_success.get()).ok()?;
        (seconds > 0).then(|| UNIX_EPOCH + Duration::from_secs(seconds))
    }

    /// The last request that got no usable answer.
    pub fn last_failure(&self) -> Option<Failure> {
        self.lock().last.clone()
    }

    fn say_answered(&self, now: Instant) {
        let mut story = self.lock();
        let word = story.answered(now);
        let say_at = match word {
            Word::Nothing | Word::Back { .. } => NEVER,
            Word::Later(next) => self.millis(next),
        };
        self.say_at.store(say_at, Ordering::Relaxed);
        drop(story);
        if let Word::Back { away, failed } = word {
            let upstream = &self.upstream;
            info!(
                target: "referral_gateway",
                away_ms = u64::try_from(away.as_millis()).unwrap_or(u64::MAX),
                failed_requests = failed,
                "Upstream {upstream} answers again"
            );
        }
    }

    fn millis(&self, at: Instant) -> u64 {
        let since = at.saturating_duration_since(self.began);
        u64::try_from(since.as_millis()).unwrap_or(NEVER - 1)
    }

    fn lock(&self) -> MutexGuard<'_, Story> {
        // The guarded state is consistent at every step, so a panic elsewhere cannot break it.
        self.story.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Health")
            .field("upstream", &self.upstream)
            .finish_non_exhaustive()
    }
}

/// Whether a failure is the upstream's, and not that of the request's own body.
fn is_of_upstream(kind: Kind) -> bool {
    match kind {
        Kind::ConnectFailed
        | Kind::ConnectTimeout
        | Kind::NotProcessed
        | Kind::Closed
        | Kind::BadAnswer
        | Kind::Timeout => true,
        // A limit of the gateway; requests that it cannot send say nothing about the upstream.
        Kind::Busy => false,
        Kind::RequestBroken | Kind::RequestTooSlow => false,
    }
}

fn unix_seconds() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| i64::try_from(since.as_secs()).unwrap_or(0))
}

/// What happened, and what was said of it.
#[derive(Debug, Default)]
struct Story {
    last: Option<Failure>,
    /// The failures that no line has called over.
    outage: Option<Outage>,
    unreachable: Pace,
    unusable: Pace,
    back: Pace,
}

#[derive(Debug)]
struct Outage {
    since: Instant,
    failed: u64,
    /// The first answer after the last failure.
    until: Option<Instant>,
}

/// What a success has to say.
#[derive(Debug, PartialEq, Eq)]
enum Word {
    Nothing,
    /// The outage is over, but the line that says so is not due yet.
    Later(Instant),
    Back {
        away: Duration,
        failed: u64,
    },
}

impl Story {
    /// A failure. If it is to be logged: how many of its kind there were since the last logged one.
    fn failed(&mut self, is_unreachable: bool, now: Instant) -> Option<u64> {
        let outage = self.outage.get_or_insert(Outage {
            since: now,
            failed: 0,
            until: None,
        });
        outage.failed += 1;
        outage.until = None;
        let pace = match is_unreachable {
            true => &mut self.unreachable,
            false => &mut self.unusable,
        };
        pace.event(now)
    }

    fn answered(&mut self, now: Instant) -> Word {
        let Some(outage) = &mut self.outage else {
            return Word::Nothing;
        };
        let until = *outage.until.get_or_insert(now);
        if let Some(next) = self.back.next().filter(|next| now < *next) {
            return Word::Later(next);
        }
        let word = Word::Back {
            away: until.saturating_duration_since(outage.since),
            failed: outage.failed,
        };
        self.back.event(now);
        self.outage = None;
        word
    }
}
