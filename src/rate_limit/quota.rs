//! A rate with a burst, and the arithmetic of a draw: the generic cell rate algorithm, by `governor`.

use std::{num::NonZeroU32, time::Duration};

use governor::{
    RateLimiter, clock::Clock, middleware::NoOpMiddleware, nanos::Nanos, state::StateStore,
};

/// A rate with a burst.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quota {
    /// The steady rate, in requests a minute.
    pub per_minute: NonZeroU32,
    /// Requests that may come at once after a pause.
    pub burst: NonZeroU32,
}

/// The unit of a bucket's content: at one request a minute, one unit is added each microsecond, so that nothing is ever
/// rounded. A request takes this many.
pub(super) const REQUEST: u64 = 60_000_000;

/// The longest time that a bucket may take to fill up, in nanoseconds: 100 years.
const LONGEST_FILL: u64 = 100 * 365 * 86_400 * 1_000_000_000;

/// A quota, ready to draw by. It is made once, when its settings come into force.
#[derive(Debug)]
pub(super) struct Rate {
    per_minute: u64,
    full: u64,
    /// Nanoseconds for one request.
    period: u64,
    limiter: Limiter,
}

/// Decides about draws. The bucket that is drawn from keeps the state, so the key of a draw is that state.
type Limiter = RateLimiter<Ahead, Stateless, AtZero, NoOpMiddleware<Duration>>;

impl Rate {
    pub(super) fn new(quota: Quota) -> Self {
        let rate = governor::Quota::per_minute(quota.per_minute);
        let period = u64::try_from(rate.replenish_interval().as_nanos()).unwrap_or(u64::MAX);
        // governor counts in nanoseconds: a burst that would take centuries to fill up is cut.
        let longest = u32::try_from(LONGEST_FILL / period.max(1)).unwrap_or(u32::MAX);
        let burst =
            NonZeroU32::new(longest).map_or(quota.burst, |longest| quota.burst.min(longest));
        Self {
            per_minute: quota.per_minute.get().into(),
            full: u64::from(burst.get()) * REQUEST,
            period,
            limiter: RateLimiter::new(rate.allow_burst(burst), Stateless, AtZero),
        }
    }

    /// The content of a full bucket.
    pub(super) fn full(&self) -> u64 {
        self.full
    }

    /// The content that is added in this time, in microseconds.
    pub(super) fn added(&self, micros: u64) -> u64 {
        micros.saturating_mul(self.per_minute)
    }

    /// Whether a bucket with this content has a request left, or the time until it has.
    pub(super) fn check(&self, content: u64) -> Result<(), Duration> {
        let drawn = u128::from(self.full.saturating_sub(content));
        let ahead = (drawn * u128::from(self.period)).div_ceil(REQUEST.into());
        let ahead = Ahead(u64::try_from(ahead).unwrap_or(u64::MAX));
        self.limiter.check_key(&ahead).map_err(|until| {
            // governor cuts the period of a rate to whole nanoseconds, a content is exact to the microsecond.
            let wait = until.wait_time_from(Duration::ZERO).as_nanos();
            Duration::from_micros(u64::try_from(wait.div_ceil(1000)).unwrap_or(u64::MAX))
        })
    }
}

/// How far the theoretical arrival time lies ahead, in nanoseconds: the time that it takes to refill what was drawn. It
/// depends on the quota, so a bucket keeps a content instead.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Ahead(u64);

/// Reads the state from the key, and leaves it to the bucket to change it.
#[derive(Debug)]
struct Stateless;

impl StateStore for Stateless {
    type Key = Ahead;

    fn measure_and_replace<T, F, E>(&self, ahead: &Ahead, measure: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        measure(Some(ahead.0.into())).map(|(outcome, _)| outcome)
    }
}

/// A clock at the moment of the draw, from which [`Ahead`] counts.
#[derive(Debug, Clone)]
struct AtZero;

impl Clock for AtZero {
    type Instant = Duration;

    fn now(&self) -> Duration {
        Duration::ZERO
    }
}
