//! What is tracked of one tenant: its buckets, its cooldowns, its requests in flight.

use std::{
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
    time::Duration,
};

use super::{
    quota::{REQUEST, Rate},
    terms::{Allowance, Class},
};

/// The state of one tenant. All times are microseconds since the program started; 0 is never.
#[derive(Debug, Default)]
pub(super) struct Slot {
    buckets: [Mutex<Bucket>; 2],
    cool_until: [AtomicU64; 2],
    pub(super) in_flight: AtomicU32,
}

/// A token bucket: what is left of a quota.
///
/// Its content does not depend on the quota. Under another quota it keeps its content, up to its new size, and fills up
/// at the new rate from the next draw on.
#[derive(Debug, Clone, Copy)]
struct Bucket {
    /// In parts of a [`REQUEST`]. A bucket that was never drawn from holds `u64::MAX`, more than any size.
    content: u64,
    /// The last draw.
    at: u64,
}

impl Default for Bucket {
    fn default() -> Self {
        let content = u64::MAX;
        Self { content, at: 0 }
    }
}

impl Bucket {
    fn content(&self, rate: &Rate, now: u64) -> u64 {
        let passed = now.saturating_sub(self.at);
        self.content
            .saturating_add(rate.added(passed))
            .min(rate.full())
    }

    /// Takes one request out, or returns how long to wait for it.
    fn draw(&mut self, rate: &Rate, now: u64) -> Result<(), Duration> {
        self.content = self.content(rate, now);
        // Another thread may have read a later time before this one drew.
        self.at = self.at.max(now);
        rate.check(self.content)?;
        self.content = self.content.saturating_sub(REQUEST);
        Ok(())
    }
}

impl Slot {
    /// Draws one request of this class, or returns how long to wait for it.
    pub(super) fn draw(
        &self,
        allowance: &Allowance,
        class: Class,
        now: u64,
    ) -> Result<(), Duration> {
        self.bucket(class).draw(allowance.rate(class), now)
    }

    /// The end of the cooldown of this class.
    pub(super) fn cool_until(&self, class: Class) -> &AtomicU64 {
        let [reads, writes] = &self.cool_until;
        match class {
            Class::Reads => reads,
            Class::Writes => writes,
        }
    }

    /// How long a cooldown of this class lasts from now on; `None` if there is none.
    pub(super) fn cooldown(&self, class: Class, now: u64) -> Option<Duration> {
        let until = self.cool_until(class).load(Ordering::Acquire);
        (until > now).then(|| Duration::from_micros(until - now))
    }

    /// The number of cooldowns in force.
    pub(super) fn cooldowns(&self, now: u64) -> usize {
        let ends = self.cool_until.iter();
        ends.filter(|end| end.load(Ordering::Acquire) > now).count()
    }

    /// Whether forgetting the slot changes nothing: buckets full, no request in flight, no cooldown.
    pub(super) fn is_fresh(&self, allowance: &Allowance, now: u64) -> bool {
        let is_full = |class| {
            let rate = allowance.rate(class);
            self.bucket(class).content(rate, now) >= rate.full()
        };
        self.in_flight.load(Ordering::Acquire) == 0
            && self.cooldowns(now) == 0
            && Class::ALL.into_iter().all(is_full)
    }

    fn bucket(&self, class: Class) -> MutexGuard<'_, Bucket> {
        let [reads, writes] = &self.buckets;
        let bucket = match class {
            Class::Reads => reads,
            Class::Writes => writes,
        };
        bucket.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
