//! Admit or not: quotas, requests at once, and the wait that the upstream asked for, per tenant.

use std::{
    hash::{Hash, Hasher},
    num::{NonZeroU32, NonZeroUsize},
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use dashmap::DashMap;
use governor::{
    RateLimiter,
    clock::{Clock, DefaultClock, Reference},
    middleware::NoOpMiddleware,
    nanos::Nanos,
    state::StateStore,
};

use crate::tenant::{AsIs, Caller, Payer};

#[cfg(test)]
mod tests;

/// How much one tenant may ask for.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Limits of a tenant without an override.
    pub default: Limits,
    /// Limits by tenant, in the order of `tenant::Settings::known`.
    pub known: Vec<Limits>,
    /// Tenants remembered at once; further ones share one bucket.
    pub max_tenants: NonZeroUsize,
    /// How long a tenant is held back after the upstream asked for it.
    pub cooldown: Cooldown,
}

/// The limits of one tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// GET, HEAD, OPTIONS.
    pub reads: Quota,
    /// Every other method.
    pub writes: Quota,
    /// Requests under way at once.
    pub concurrency: NonZeroU32,
}

/// A rate with a burst.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quota {
    /// The steady rate, in requests a minute.
    pub per_minute: NonZeroU32,
    /// Requests that may come at once after a pause.
    pub burst: NonZeroU32,
}

/// How long a tenant is held back after the upstream asked for it.
#[derive(Debug, Clone, Copy)]
pub struct Cooldown {
    /// When the upstream said no time.
    pub default: Duration,
    /// The longest time the upstream is believed.
    pub max: Duration,
}

/// Whether a request reads or writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// GET, HEAD, OPTIONS.
    Reads,
    /// Every other method.
    Writes,
}

impl Class {
    /// Both classes.
    pub const ALL: [Self; 2] = [Self::Reads, Self::Writes];

    /// The name in metrics and texts.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Reads => "reads",
            Self::Writes => "writes",
        }
    }
}

/// Why a request may not pass at this moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refusal {
    /// What holds it back.
    pub cause: Cause,
    /// Whose limit that is.
    pub whose: Whose,
    /// The class of the request.
    pub class: Class,
    /// When it is worth trying again.
    pub retry_after: Duration,
    /// The limit that holds it back: how many may come, or be under way, at once.
    pub limit: u32,
    /// The steady rate, in requests a minute.
    pub per_minute: u32,
}

/// What holds a request back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// The quota of the tenant, or of the stranger, is spent.
    Rate,
    /// Too many requests of the tenant are under way.
    Concurrency,
    /// The upstream asked the tenant to wait.
    Cooldown,
}

/// Whose limit holds a request back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whose {
    /// That of the caller's tenant.
    Tenant,
    /// That of the caller's credential alone, whose tenant is not proven.
    Credential,
    /// That of all credentials together whose tenants are not proven.
    Strangers,
}

impl Cause {
    /// The name in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Rate => "limited",
            Self::Concurrency => "concurrency",
            Self::Cooldown => "cooldown",
        }
    }
}

/// Strangers together may ask for this many times what one tenant may.
const STRANGERS_SHARE: u32 = 10;

type Limiter<C> = RateLimiter<Key, Buckets, C, NoOpMiddleware<<C as Clock>::Instant>>;

/// Decides which request may pass now. All state of a tenant stands in one [`Slot`]; governor does the arithmetic (GCRA).
pub struct RateLimit<C: Clock = DefaultClock> {
    slots: DashMap<u128, Arc<Slot>, AsIs>,
    tracked: AtomicUsize,
    max_tenants: usize,
    /// Shared by all tenants for whom there is no slot left.
    overflow: Arc<Slot>,
    /// Shared by all strangers, beside each one's own.
    strangers: Arc<Slot>,
    /// The default, then one for each known tenant, then the one of the strangers.
    quotas: Vec<QuotaSet<C>>,
    cooldown: Cooldown,
    clock: C,
    start: C::Instant,
    swept: AtomicU64,
}

struct QuotaSet<C: Clock> {
    limits: Limits,
    reads: Limiter<C>,
    writes: Limiter<C>,
}

/// What is remembered of one tenant. All times are nanoseconds since the program started; 0 is never.
#[derive(Debug, Default)]
struct Slot {
    quota: usize,
    buckets: [AtomicU64; 2],
    cool_until: [AtomicU64; 2],
    in_flight: AtomicU32,
}

/// The bucket of one class in one slot.
#[derive(Clone)]
struct Key(Arc<Slot>, Class);

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) && self.1 == other.1
    }
}

impl Eq for Key {}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        Arc::as_ptr(&self.0).hash(state);
    }
}

/// Keeps a bucket's state in its slot, so that a tenant is looked up once for all its limits.
#[derive(Debug, Default)]
struct Buckets;

impl StateStore for Buckets {
    type Key = Key;

    fn measure_and_replace<T, F, E>(&self, key: &Key, measure: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        let bucket = key.0.bucket(key.1);
        let mut seen = bucket.load(Ordering::Acquire);
        loop {
            let (outcome, next) = measure((seen != 0).then(|| seen.into()))?;
            match bucket.compare_exchange_weak(
                seen,
                next.as_u64(),
                Ordering::AcqRel,
                Ordering::Acquire,
            ) {
                Ok(_) => return Ok(outcome),
                Err(changed) => seen = changed,
            }
        }
    }
}

impl Slot {
    fn new(quota: usize) -> Arc<Self> {
        Arc::new(Self {
            quota,
            ..Self::default()
        })
    }

    fn bucket(&self, class: Class) -> &AtomicU64 {
        let [reads, writes] = &self.buckets;
        match class {
            Class::Reads => reads,
            Class::Writes => writes,
        }
    }

    fn cool_until(&self, class: Class) -> &AtomicU64 {
        let [reads, writes] = &self.cool_until;
        match class {
            Class::Reads => reads,
            Class::Writes => writes,
        }
    }

    /// Whether forgetting it changes nothing: buckets full, nothing under way, no cooldown.
    fn is_fresh(&self, now: u64) -> bool {
        self.in_flight.load(Ordering::Acquire) == 0
            && self
                .buckets
                .iter()
                .chain(&self.cool_until)
                .all(|time| time.load(Ordering::Acquire) <= now)
    }
}

/// A place among the requests of a tenant that are under way; given back when dropped.
#[derive(Debug)]
pub struct Permit {
    slot: Arc<Slot>,
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.slot.in_flight.fetch_sub(1, Ordering::AcqRel);
    }
}

impl RateLimit {
    /// Limits by these settings.
    pub fn new(settings: &Settings) -> Self {
        Self::with_clock(settings, DefaultClock::default())
    }
}

impl<C: Clock + Clone> RateLimit<C> {
    fn with_clock(settings: &Settings, clock: C) -> Self {
        let all = settings.default;
        let share = |quota: Quota| Quota {
            per_minute: quota
                .per_minute
                .saturating_mul(NonZeroU32::new(STRANGERS_SHARE).unwrap_or(NonZeroU32::MIN)),
            burst: quota
                .burst
                .saturating_mul(NonZeroU32::new(STRANGERS_SHARE).unwrap_or(NonZeroU32::MIN)),
        };
        let strangers = Limits {
            reads: share(all.reads),
            writes: share(all.writes),
            ..all
        };
        let every = [all]
            .into_iter()
            .chain(settings.known.iter().copied())
            .chain([strangers]);
        let quotas: Vec<_> = every.map(|limits| QuotaSet::new(limits, &clock)).collect();
        Self {
            slots: DashMap::default(),
            tracked: AtomicUsize::new(0),
            max_tenants: settings.max_tenants.get(),
            overflow: Slot::new(0),
            strangers: Slot::new(quotas.len() - 1),
            quotas,
            cooldown: settings.cooldown,
            // Taken after the limiters were made, so that no bucket looks full before it is.
            start: clock.now(),
            clock,
            swept: AtomicU64::new(0),
        }
    }

    /// Lets a request pass, or says what holds it back. The permit is to be kept until the answer is over.
    ///
    /// # Errors
    ///
    /// When the caller must wait.
    pub fn admit(&self, caller: &Caller, class: Class) -> Result<Permit, Refusal> {
        let slot = self.slot(caller);
        let whose = match caller.payer {
            Payer::Tenant => Whose::Tenant,
            Payer::Stranger(_) => Whose::Credential,
        };
        let now = self.now();
        let cool_until = slot.cool_until(class).load(Ordering::Acquire);
        if cool_until > now {
            let retry_after = Duration::from_nanos(cool_until - now);
            return Err(self.refusal(&slot, whose, class, Cause::Cooldown, retry_after));
        }
        let limits = self.limits(&slot);
        let at_once = slot.in_flight.fetch_add(1, Ordering::AcqRel);
        let permit = Permit { slot };
        if at_once >= limits.concurrency.get() {
            let refusal = self.refusal(
                &permit.slot,
                whose,
                class,
                Cause::Concurrency,
                Duration::from_secs(1),
            );
            return Err(Refusal {
                limit: limits.concurrency.get(),
                ..refusal
            });
        }
        self.draw(&permit.slot, whose, class)?;
        if whose == Whose::Credential {
            self.draw(&self.strangers, Whose::Strangers, class)?;
        }
        Ok(permit)
    }

    /// Draws one read from the caller's bucket without ever refusing it: the gateway's own GET on the caller's behalf.
    pub fn charge_read(&self, permit: &Permit) {
        let _ = self.draw(&permit.slot, Whose::Tenant, Class::Reads);
    }

    /// The upstream asked this caller to wait. Returns for how long that class of its requests is held back.
    pub fn cool_down(&self, permit: &Permit, class: Class, asked: Option<Duration>) -> Duration {
        let wait = asked
            .unwrap_or(self.cooldown.default)
            .min(self.cooldown.max);
        let until = self.now().saturating_add(nanos(wait));
        permit
            .slot
            .cool_until(class)
            .fetch_max(until, Ordering::AcqRel);
        wait
    }

    /// Forgets tenants of whom nothing needs to be known: their buckets are full again.
    pub fn sweep(&self) {
        let now = self.now();
        self.swept.store(now, Ordering::Release);
        self.slots.retain(|_, slot| {
            // A slot that somebody holds is in use, whatever its counters say.
            let keep = Arc::strong_count(slot) > 1 || !slot.is_fresh(now);
            if !keep {
                self.tracked.fetch_sub(1, Ordering::AcqRel);
            }
            keep
        });
        if self.slots.capacity() > 4 * self.slots.len() + 1024 {
            self.slots.shrink_to_fit();
        }
    }

    /// Tenants remembered now.
    pub fn tracked(&self) -> usize {
        self.tracked.load(Ordering::Acquire)
    }

    /// Cooldowns in force now.
    pub fn cooldowns(&self) -> usize {
        let now = self.now();
        let cooling = |slot: &Slot| {
            slot.cool_until
                .iter()
                .filter(|until| until.load(Ordering::Acquire) > now)
                .count()
        };
        self.slots.iter().map(|slot| cooling(&slot)).sum::<usize>() + cooling(&self.overflow)
    }

    fn slot(&self, caller: &Caller) -> Arc<Slot> {
        let (key, quota) = match caller.payer {
            Payer::Stranger(credential) => (credential, 0),
            Payer::Tenant => (
                caller.tenant.key,
                caller.tenant.known.map_or(0, |known| known + 1),
            ),
        };
        if let Some(slot) = self.slots.get(&key) {
            return Arc::clone(&slot);
        }
        if self.tracked() >= self.max_tenants
            && self
                .now()
                .saturating_sub(self.swept.load(Ordering::Acquire))
                > nanos(SWEEP_PAUSE)
        {
            self.sweep();
        }
        match self.slots.entry(key) {
            dashmap::Entry::Occupied(slot) => Arc::clone(slot.get()),
            dashmap::Entry::Vacant(place) => {
                // The bound holds exactly: a place is taken before the slot is made.
                if self.tracked.fetch_add(1, Ordering::AcqRel) >= self.max_tenants {
                    self.tracked.fetch_sub(1, Ordering::AcqRel);
                    return Arc::clone(&self.overflow);
                }
                Arc::clone(&place.insert(Slot::new(quota)))
            }
        }
    }

    fn draw(&self, slot: &Arc<Slot>, whose: Whose, class: Class) -> Result<(), Refusal> {
        let Some(quota) = self.quotas.get(slot.quota) else {
            return Ok(());
        };
        let limiter = match class {
            Class::Reads => &quota.reads,
            Class::Writes => &quota.writes,
        };
        limiter
            .check_key(&Key(Arc::clone(slot), class))
            .map_err(|until| {
                self.refusal(
                    slot,
                    whose,
                    class,
                    Cause::Rate,
                    until.wait_time_from(self.clock.now()),
                )
            })
    }

    fn refusal(
        &self,
        slot: &Slot,
        whose: Whose,
        class: Class,
        cause: Cause,
        retry_after: Duration,
    ) -> Refusal {
        let limits = self.limits(slot);
        let quota = match class {
            Class::Reads => limits.reads,
            Class::Writes => limits.writes,
        };
        Refusal {
            cause,
            whose,
            class,
            retry_after,
            limit: quota.burst.get(),
            per_minute: quota.per_minute.get(),
        }
    }

    fn limits(&self, slot: &Slot) -> Limits {
        let quota = self.quotas.get(slot.quota).or_else(|| self.quotas.first());
        quota.expect("there is always the default quota").limits
    }

    /// Nanoseconds since the start; never 0.
    fn now(&self) -> u64 {
        self.clock
            .now()
            .duration_since(self.start)
            .as_u64()
            .saturating_add(1)
    }
}

impl<C: Clock> std::fmt::Debug for RateLimit<C> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RateLimit")
            .field("tracked", &self.tracked)
            .finish_non_exhaustive()
    }
}

impl<C: Clock + Clone> QuotaSet<C> {
    fn new(limits: Limits, clock: &C) -> Self {
        let limiter = |quota: Quota| {
            let rate = governor::Quota::per_minute(quota.per_minute).allow_burst(quota.burst);
            RateLimiter::new(rate, Buckets, clock.clone())
        };
        Self {
            limits,
            reads: limiter(limits.reads),
            writes: limiter(limits.writes),
        }
    }
}

/// The pause between two sweeps that a request may cause.
const SWEEP_PAUSE: Duration = Duration::from_secs(1);

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
