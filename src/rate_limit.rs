//! Admits requests or refuses them: quotas, concurrency, and the cooldowns that the upstream asks for, per tenant.
//!
//! What a tenant has spent ([`RateLimit`]) is kept apart from what it may spend ([`Terms`]), which a reload can change.

use std::{
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use self::slot::Slot;
use crate::{
    table::{Shard, Table},
    tenant::{Caller, Payer},
};

mod quota;
mod slot;
mod terms;
mod usage;

#[cfg(test)]
mod tests;

pub use quota::Quota;
pub use terms::{Class, Cooldown, Limits, Settings, Terms};
pub use usage::{Holding, OfClass, Usage, Whose};

/// Decides which request may pass now. The state of a tenant is one [`Slot`], so that one look-up serves all its limits.
pub struct RateLimit {
    /// The slots of tenants and unproven credentials, and [`OVERFLOW`].
    slots: Table<Slot>,
    /// Shared by all unproven credentials, in addition to each one's own.
    unproven: Mutex<Slot>,
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
///
/// Its slot is found by key, since slots move in their table. It is there: a slot with a request in flight is kept.
#[derive(Debug)]
pub struct Permit {
    slots: Arc<Shard<Slot>>,
    key: u128,
}

/// The key of the slot that all tenants beyond `max_tenants` share. No tenant has it: their keys are keyed hashes. It has
/// the default allowance, and is never forgotten.
const OVERFLOW: u128 = u128::MAX;

/// The slots that the table is made for.
const SLOTS: usize = 100_000;

/// The shortest pause between two sweeps that requests cause.
const SWEEP_PAUSE: Duration = Duration::from_secs(1);

impl RateLimit {
    /// Tracks no tenant yet. `now` is the earliest time that any call may name.
    pub fn new(now: Instant) -> Self {
        let slots = Table::new(SLOTS);
        slots
            .lock(OVERFLOW.into())
            .add(1, OVERFLOW.into(), Slot::default());
        Self {
            slots,
            unproven: Mutex::default(),
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
        let (holder, key) = match caller.payer {
            Payer::Tenant => (Holder::Tenant, caller.tenant.key),
            Payer::Unproven(credential) => (Holder::Credential, credential),
        };
        let allowance = terms.of(key);
        let mut slots = self.slots.lock(key.into());
        let known = slots.get_mut(key.into());
        let known = known.map(|slot| slot.enter(allowance, class, now));
        drop(slots);
        let (key, entered) = match known {
            Some(entered) => (key, entered),
            None => self.enter_new(terms, key, class, now),
        };
        entered.map_err(|(cause, wait)| {
            let limits = terms.of(key).limits;
            Refusal::new(cause, holder, class, limits, wait)
        })?;
        let permit = Permit {
            slots: Arc::clone(self.slots.shard(key.into())),
            key,
        };
        if holder == Holder::Credential {
            let shared = terms.unproven();
            let mut slot = self.unproven.lock().unwrap_or_else(PoisonError::into_inner);
            let drawn = slot.draw(shared, class, now);
            drawn.map_err(|wait| {
                Refusal::new(Cause::Rate, Holder::AllUnproven, class, shared.limits, wait)
            })?;
        }
        Ok(permit)
    }

    /// How long requests of that class wait for the end of a cooldown; `None` if there is none.
    pub fn cooldown(&self, permit: &Permit, class: Class, now: Instant) -> Option<Duration> {
        let now = self.micros(now);
        permit.with(|slot| slot.cooldown(class, now))?
    }

    /// Charges the caller for the gateway's own GET: draws one read if there is one, and never refuses. `terms` are those
    /// that the permit was given by.
    pub fn charge_read(&self, terms: &Terms, permit: &Permit, now: Instant) {
        let allowance = terms.of(permit.key);
        let now = self.micros(now);
        permit.with(|slot| slot.draw(allowance, Class::Reads, now).ok());
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
        permit.with(|slot| slot.cool_down(class, until));
        wait
    }

    /// Forgets tenants with the state of a new tenant.
    pub fn sweep(&self, terms: &Terms, now: Instant) {
        self.sweep_at(terms, self.micros(now));
    }

    fn sweep_at(&self, terms: &Terms, now: u64) {
        self.swept.store(now, Ordering::Release);
        self.slots.retain(|key, slot| {
            let key = key.into();
            key == OVERFLOW || !slot.is_fresh(terms.of(key), now)
        });
    }

    /// The number of tenants and unproven credentials tracked.
    pub fn tracked(&self) -> usize {
        self.slots.count().saturating_sub(1)
    }

    /// The number of cooldowns in force.
    pub fn cooldowns(&self, now: Instant) -> usize {
        let now = self.micros(now);
        let mut cooldowns = 0;
        self.slots.each(|_, slot| cooldowns += slot.cooldowns(now));
        cooldowns
    }

    /// The request of a caller whose slot is not there. It gets a new one, or shares that of all further tenants: returns
    /// the key of its slot.
    fn enter_new(
        &self,
        terms: &Terms,
        key: u128,
        class: Class,
        now: u64,
    ) -> (u128, Result<(), (Cause, Duration)>) {
        let swept = self.swept.load(Ordering::Acquire);
        // One thread sweeps; the others go on.
        if self.tracked() >= terms.max_tenants()
            && now.saturating_sub(swept) > micros(SWEEP_PAUSE)
            && let Ok(_) =
                self.swept
                    .compare_exchange(swept, now, Ordering::AcqRel, Ordering::Acquire)
        {
            self.sweep_at(terms, now);
        }
        let max = terms.max_tenants().saturating_add(1);
        let mut slots = self.slots.lock(key.into());
        // Another request of the caller may have been quicker.
        let is_there = slots.get(key.into()).is_some();
        let key = if is_there || slots.add(max, key.into(), Slot::default()) {
            key
        } else {
            drop(slots);
            slots = self.slots.lock(OVERFLOW.into());
            OVERFLOW
        };
        let slot = slots.get_mut(key.into());
        let slot = slot.expect(
            "it was looked up or added under the same lock, and the shared one is never forgotten",
        );
        (key, slot.enter(terms.of(key), class, now))
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
            limit: match cause {
                Cause::Concurrency => limits.concurrency.get(),
                Cause::Rate | Cause::Cooldown => quota.burst.get(),
            },
            per_minute: quota.per_minute.get(),
        }
    }
}

impl Permit {
    fn with<T>(&self, use_slot: impl FnOnce(&mut Slot) -> T) -> Option<T> {
        self.slots.lock().get_mut(self.key.into()).map(use_slot)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.with(Slot::leave);
    }
}

impl fmt::Debug for RateLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RateLimit")
            .field("tracked", &self.tracked())
            .finish_non_exhaustive()
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}
