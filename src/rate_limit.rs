//! Admits requests or refuses them: quotas, concurrency, and the cooldowns that the upstream asks for, per tenant.
//!
//! What a tenant has spent ([`RateLimit`]) is kept apart from what it may spend ([`Terms`]), which a reload can change.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use dashmap::DashMap;

use self::slot::Slot;
use crate::tenant::{Caller, Payer, PrehashedKey};

mod quota;
mod slot;
mod terms;

#[cfg(test)]
mod tests;

pub use quota::Quota;
pub use terms::{Class, Cooldown, Limits, Settings, Terms};

/// Decides which request may pass now. The state of a tenant is one [`Slot`], so that one look-up serves all its limits.
pub struct RateLimit {
    slots: DashMap<u128, Arc<Slot>, PrehashedKey>,
    tracked: AtomicUsize,
    /// Shared by all tenants beyond `max_tenants`.
    overflow: Arc<Slot>,
    /// Shared by all unproven credentials, in addition to each one's own.
    unproven: Slot,
    start: Instant,
    /// The last sweep, in microseconds since `start`.
    swept: AtomicU64,
}

/// Why a request may not pass now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refusal {
    /// The limit's kind.
    pub cause: Cause,
    /// Who the limit is for.
    pub holder: Holder,
    /// The class of the request.
    pub class: Class,
    /// When to try again.
    pub retry_after: Duration,
    /// The limit: requests at once.
    pub limit: u32,
    /// The steady rate, in requests a minute.
    pub per_minute: u32,
}

/// What kind of limit refuses a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// The quota is spent.
    Rate,
    /// Too many requests are in flight.
    Concurrency,
    /// The upstream asked the tenant to wait.
    Cooldown,
}

/// Who a limit is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Holder {
    /// The caller's tenant.
    Tenant,
    /// The caller's credential alone, which is not proven.
    Credential,
    /// All credentials together that are not proven.
    AllUnproven,
}

/// A request in flight: it counts for its tenant until the permit is dropped.
#[derive(Debug)]
pub struct Permit {
    slot: Arc<Slot>,
    /// Selects the allowance; `None` is the default one.
    key: Option<u128>,
}

/// The shortest pause between two sweeps that requests cause.
const SWEEP_PAUSE: Duration = Duration::from_secs(1);

impl RateLimit {
    /// Tracks no tenant yet. `now` is the earliest time that any call may name.
    pub fn new(now: Instant) -> Self {
        Self {
            slots: DashMap::default(),
            tracked: AtomicUsize::new(0),
            overflow: Arc::default(),
            unproven: Slot::default(),
            start: now,
            swept: AtomicU64::new(0),
        }
    }

    /// Admits a request or refuses it. Keep the permit until the answer is complete.
    ///
    /// # Errors
    ///
    /// When the caller must wait.
    pub fn admit(
        &self,
        terms: &Terms,
        caller: &Caller,
        class: Class,
        now: Instant,
    ) -> Result<Permit, Refusal> {
        let now = self.micros(now);
        let (slot, key) = self.slot(terms, caller, now);
        let allowance = terms.of(key);
        let limits = allowance.limits;
        let holder = match caller.payer {
            Payer::Tenant => Holder::Tenant,
            Payer::Unproven(_) => Holder::Credential,
        };
        let refusal = |cause, wait| Refusal::new(cause, holder, class, limits, wait);
        if let Some(wait) = slot.cooldown(class, now) {
            return Err(refusal(Cause::Cooldown, wait));
        }
        let at_once = slot.in_flight.fetch_add(1, Ordering::AcqRel);
        let permit = Permit { slot, key };
        if at_once >= limits.concurrency.get() {
            return Err(Refusal {
                limit: limits.concurrency.get(),
                ..refusal(Cause::Concurrency, Duration::from_secs(1))
            });
        }
        let drawn = permit.slot.draw(allowance, class, now);
        drawn.map_err(|wait| refusal(Cause::Rate, wait))?;
        if holder == Holder::Credential {
            let shared = terms.unproven();
            let drawn = self.unproven.draw(shared, class, now);
            drawn.map_err(|wait| {
                Refusal::new(Cause::Rate, Holder::AllUnproven, class, shared.limits, wait)
            })?;
        }
        Ok(permit)
    }

    /// How long requests of that class wait for the end of a cooldown; `None` if there is none.
    pub fn cooldown(&self, permit: &Permit, class: Class, now: Instant) -> Option<Duration> {
        permit.slot.cooldown(class, self.micros(now))
    }

    /// Charges the caller for the gateway's own GET: draws one read if there is one, and never refuses. `terms` are those
    /// that the permit was given by.
    pub fn charge_read(&self, terms: &Terms, permit: &Permit, now: Instant) {
        let allowance = terms.of(permit.key);
        let _ = permit.slot.draw(allowance, Class::Reads, self.micros(now));
    }

    /// The upstream asked this caller to wait. Returns how long requests of that class wait.
    pub fn cool_down(
        &self,
        terms: &Terms,
        permit: &Permit,
        class: Class,
        asked: Option<Duration>,
        now: Instant,
    ) -> Duration {
        let cooldown = terms.cooldown();
        let wait = asked.unwrap_or(cooldown.default).min(cooldown.max);
        let until = self.micros(now).saturating_add(micros(wait));
        permit
            .slot
            .cool_until(class)
            .fetch_max(until, Ordering::AcqRel);
        wait
    }

    /// Forgets tenants with the state of a new tenant.
    pub fn sweep(&self, terms: &Terms, now: Instant) {
        self.sweep_at(terms, self.micros(now));
    }

    fn sweep_at(&self, terms: &Terms, now: u64) {
        self.swept.store(now, Ordering::Release);
        self.slots.retain(|key, slot| {
            // A slot with another owner is in use, whatever its counters say.
            let keep = Arc::strong_count(slot) > 1 || !slot.is_fresh(terms.of(Some(*key)), now);
            if !keep {
                self.tracked.fetch_sub(1, Ordering::AcqRel);
            }
            keep
        });
        if self.slots.capacity() > 4 * self.slots.len() + 1024 {
            self.slots.shrink_to_fit();
        }
    }

    /// The number of tenants and unproven credentials tracked.
    pub fn tracked(&self) -> usize {
        self.tracked.load(Ordering::Acquire)
    }

    /// The number of cooldowns in force.
    pub fn cooldowns(&self, now: Instant) -> usize {
        let now = self.micros(now);
        let tracked = self.slots.iter().map(|slot| slot.cooldowns(now));
        tracked.sum::<usize>() + self.overflow.cooldowns(now)
    }

    /// The state of a caller, and the key of its allowance.
    fn slot(&self, terms: &Terms, caller: &Caller, now: u64) -> (Arc<Slot>, Option<u128>) {
        let (key, allowance) = match caller.payer {
            Payer::Unproven(credential) => (credential, None),
            Payer::Tenant => (caller.tenant.key, Some(caller.tenant.key)),
        };
        if let Some(slot) = self.slots.get(&key) {
            return (Arc::clone(&slot), allowance);
        }
        if self.tracked() >= terms.max_tenants()
            && now.saturating_sub(self.swept.load(Ordering::Acquire)) > micros(SWEEP_PAUSE)
        {
            self.sweep_at(terms, now);
        }
        match self.slots.entry(key) {
            dashmap::Entry::Occupied(slot) => (Arc::clone(slot.get()), allowance),
            dashmap::Entry::Vacant(place) => {
                // The bound holds exactly: the place is counted before the slot is made.
                if self.tracked.fetch_add(1, Ordering::AcqRel) >= terms.max_tenants() {
                    self.tracked.fetch_sub(1, Ordering::AcqRel);
                    return (Arc::clone(&self.overflow), None);
                }
                (Arc::clone(&place.insert(Arc::default())), allowance)
            }
        }
    }

    fn micros(&self, now: Instant) -> u64 {
        micros(now.saturating_duration_since(self.start))
    }
}

impl Refusal {
    fn new(
        cause: Cause,
        holder: Holder,
        class: Class,
        limits: Limits,
        retry_after: Duration,
    ) -> Self {
        let quota = limits.of(class);
        Self {
            cause,
            holder,
            class,
            retry_after,
            limit: quota.burst.get(),
            per_minute: quota.per_minute.get(),
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.slot.in_flight.fetch_sub(1, Ordering::AcqRel);
    }
}

impl fmt::Debug for RateLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RateLimit")
            .field("tracked", &self.tracked)
            .finish_non_exhaustive()
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}
