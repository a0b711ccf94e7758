//! What is tracked of one tenant: its buckets, its cooldowns, its requests in flight.

use std::time::Duration;

use super::{
    Cause,
    quota::{REQUEST, Rate},
    terms::{Allowance, Class},
    usage::{OfClass, Usage},
};

/// The state of one tenant. All times are microseconds since the program started; 0 is never.
#[derive(Debug)]
pub(super) struct Slot {
    /// The token bucket of each class: what is left of its quota, in parts of a [`REQUEST`]. One that was never drawn from
    /// holds `u64::MAX`, more than any size.
    ///
    /// A content does not depend on the quota. Under another quota a bucket keeps its content, up to its new size, and fills
    /// up at the new rate from the next draw on.
    content: [u64; 2],
    /// The last draw, of whichever class: it fills up both buckets.
    at: u64,
    /// The ends of the cooldowns; few tenants ever have one.
    cool_until: Option<Box<[u64; 2]>>,
    /// Requests.
    in_flight: u32,
}

impl Default for Slot {
    fn default() -> Self {
        Self {
            content: [u64::MAX; 2],
            at: 0,
            cool_until: None,
            in_flight: 0,
        }
    }
}

impl Slot {
    /// A request begins: counts it as in flight and draws it, or returns why it must wait and for how long.
    pub(super) fn enter(
        &mut self,
        allowance: &Allowance,
        class: Class,
        now: u64,
    ) -> Result<(), (Cause, Duration)> {
        if let Some(wait) = self.cooldown(class, now) {
            return Err((Cause::Cooldown, wait));
        }
        if self.in_flight >= allowance.limits.concurrency.get() {
            return Err((Cause::Concurrency, Duration::from_secs(1)));
        }
        let drawn = self.draw(allowance, class, now);
        drawn.map_err(|wait| (Cause::Rate, wait))?;
        self.in_flight += 1;
        Ok(())
    }

    /// A request is over.
    pub(super) fn leave(&mut self) {
        self.in_flight = self.in_flight.saturating_sub(1);
    }

    /// Draws one request of this class, or returns how long to wait for it.
    pub(super) fn draw(
        &mut self,
        allowance: &Allowance,
        class: Class,
        now: u64,
    ) -> Result<(), Duration> {
        self.content = Class::ALL.map(|each| match *of(&self.content, each) {
            u64::MAX if each != class => u64::MAX,
            _ => self.content(allowance.rate(each), each, now),
        });
        // Another thread may have read a later time before this one drew.
        self.at = self.at.max(now);
        let content = of_mut(&mut self.content, class);
        allowance.rate(class).check(*content)?;
        *content = content.saturating_sub(REQUEST);
        Ok(())
    }

    /// Requests of this class wait until then, or longer if they do already.
    pub(super) fn cool_down(&mut self, class: Class, until: u64) {
        let end = of_mut(self.cool_until.get_or_insert_default(), class);
        *end = until.max(*end);
    }

    /// How long a cooldown of this class lasts from now on; `None` if there is none.
    pub(super) fn cooldown(&self, class: Class, now: u64) -> Option<Duration> {
        let until = *of(self.cool_until.as_deref()?, class);
        (until > now).then(|| Duration::from_micros(until - now))
    }

    /// The number of cooldowns in force.
    pub(super) fn cooldowns(&self, now: u64) -> usize {
        let classes = Class::ALL.into_iter();
        classes
            .filter_map(|class| self.cooldown(class, now))
            .count()
    }

    /// How much of its limits it uses now.
    pub(super) fn usage(&self, allowance: &Allowance, now: u64) -> Usage {
        let of_class = |class| {
            let rate = allowance.rate(class);
            let full = rate.full().max(1);
            let left = self.content(rate, class, now);
            OfClass {
                spent: (full.saturating_sub(left)) as f64 / full as f64,
                cooldown: self.cooldown(class, now),
            }
        };
        Usage {
            reads: of_class(Class::Reads),
            writes: of_class(Class::Writes),
            in_flight: self.in_flight,
        }
    }

    /// Whether forgetting the slot changes nothing: buckets full, no request in flight, no cooldown.
    pub(super) fn is_fresh(&self, allowance: &Allowance, now: u64) -> bool {
        let is_full = |class| {
            let rate = allowance.rate(class);
            self.content(rate, class, now) >= rate.full()
        };
        self.in_flight == 0 && self.cooldowns(now) == 0 && Class::ALL.into_iter().all(is_full)
    }

    /// What the bucket of this class holds by now.
    fn content(&self, rate: &Rate, class: Class, now: u64) -> u64 {
        let passed = now.saturating_sub(self.at);
        of(&self.content, class)
            .saturating_add(rate.added(passed))
            .min(rate.full())
    }
}

fn of<T>([reads, writes]: &[T; 2], class: Class) -> &T {
    match class {
        Class::Reads => reads,
        Class::Writes => writes,
    }
}

fn of_mut<T>([reads, writes]: &mut [T; 2], class: Class) -> &mut T {
    match class {
        Class::Reads => reads,
        Class::Writes => writes,
    }
}
