//! Admit or not: quotas, requests at once, and the wait that the upstream asked for, per tenant.
//!
//! What a tenant has spent ([`RateLimit`]) is kept apart from what it may spend ([`Terms`]), which can change while it does.

use std::{
    collections::HashMap,
    fmt,
    num::{NonZeroU32, NonZeroUsize},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use dashmap::DashMap;
use governor::{
    RateLimiter,
    clock::Clock,
    middleware::NoOpMiddleware,
    nanos::Nanos,
    state::{StateStore, direct::NotKeyed},
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

impl Quota {
    /// The same for governor, which counts in nanoseconds: a burst that would take centuries to fill up is cut.
    fn governed(self) -> governor::Quota {
        let rate = governor::Quota::per_minute(self.per_minute);
        let period = u64::try_from(rate.replenish_interval().as_nanos()).unwrap_or(u64::MAX);
        let longest = u32::try_from(LONGEST_FILL / period.max(1)).unwrap_or(u32::MAX);
        let burst = NonZeroU32::new(longest).map_or(self.burst, |longest| self.burst.min(longest));
        rate.allow_burst(burst)
    }
}

/// How long a bucket may take to fill up, in nanoseconds: 100 years.
const LONGEST_FILL: u64 = 100 * 365 * 86_400 * 1_000_000_000;

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

    /// The name in texts.
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

/// Strangers together may ask for this many times what one tenant may.
const STRANGERS_SHARE: NonZeroU32 = NonZeroU32::new(10).expect("10 is not 0");

/// The pause between two sweeps that a request may cause.
const SWEEP_PAUSE: Duration = Duration::from_secs(1);

/// What the content of a bucket is counted in: a quota of one request a minute adds one of these each microsecond, so
/// that nothing is ever rounded. A request takes so many.
const REQUEST: u64 = 60_000_000;

/// What each tenant may ask for, by the settings in force.
#[derive(Debug)]
pub struct Terms {
    default: Limits,
    known: HashMap<u128, Limits, AsIs>,
    strangers: Limits,
    max_tenants: usize,
    cooldown: Cooldown,
}

impl Terms {
    /// The terms of these settings; `keys` are those of the known tenants, in the order of [`Settings::known`].
    pub fn new(settings: &Settings, keys: impl IntoIterator<Item = u128>) -> Self {
        let share = |quota: Quota| Quota {
            per_minute: quota.per_minute.saturating_mul(STRANGERS_SHARE),
            burst: quota.burst.saturating_mul(STRANGERS_SHARE),
        };
        let default = settings.default;
        Self {
            default,
            known: keys
                .into_iter()
                .zip(settings.known.iter().copied())
                .collect(),
            strangers: Limits {
                reads: share(default.reads),
                writes: share(default.writes),
                ..default
            },
            max_tenants: settings.max_tenants.get(),
            cooldown: settings.cooldown,
        }
    }

    /// How many tenants and strangers may be remembered.
    pub fn max_tenants(&self) -> usize {
        self.max_tenants
    }

    /// The limits of the tenant with this key, or of a stranger, whose key is no tenant's.
    fn of(&self, key: u128) -> Limits {
        self.known.get(&key).copied().unwrap_or(self.default)
    }
}

impl Limits {
    fn of(&self, class: Class) -> Quota {
        match class {
            Class::Reads => self.reads,
            Class::Writes => self.writes,
        }
    }
}

/// Decides which request may pass now. All that is remembered of a tenant stands in one [`Slot`], so that it is looked
/// up once for all its limits.
pub struct RateLimit {
    slots: DashMap<u128, Arc<Slot>, AsIs>,
    tracked: AtomicUsize,
    /// Shared by all tenants for whom there is no slot left.
    overflow: Arc<Slot>,
    /// Shared by all strangers, beside each one's own.
    strangers: Slot,
    start: Instant,
    swept: AtomicU64,
}

/// What is remembered of one tenant. All times are microseconds since the program started; 0 is never.
#[derive(Debug, Default)]
struct Slot {
    buckets: [Mutex<Bucket>; 2],
    cool_until: [AtomicU64; 2],
    in_flight: AtomicU32,
}

/// What may still be drawn of a quota: a token bucket.
///
/// Its content means the same under every quota. So when another one comes into force, a bucket is neither filled nor
/// emptied by it, and is filled at the new rate from the next draw on.
#[derive(Debug, Clone, Copy)]
struct Bucket {
    /// In parts of a [`REQUEST`]. One that was never drawn from is full, however much that is.
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
    fn full(quota: Quota) -> u64 {
        u64::from(quota.governed().burst_size().get()) * REQUEST
    }

    fn content(&self, quota: Quota, now: u64) -> u64 {
        let passed = now.saturating_sub(self.at);
        let added = passed.saturating_mul(quota.per_minute.get().into());
        self.content.saturating_add(added).min(Self::full(quota))
    }

    /// Takes one request out, or says how long to wait for it.
    fn draw(&mut self, quota: Quota, now: u64) -> Result<(), Duration> {
        self.content = self.content(quota, now);
        // Another thread's clock may have been read later than this one's.
        self.at = self.at.max(now);
        let drawn = Self::full(quota) - self.content;
        let limiter = Gcra::new(quota.governed(), Ahead::of(drawn, quota), Here);
        limiter.check().map_err(|until| {
            // governor cuts the period of a rate to whole nanoseconds, a content is exact to the microsecond.
            let wait = until.wait_time_from(Duration::ZERO).as_nanos();
            Duration::from_micros(u64::try_from(wait.div_ceil(1000)).unwrap_or(u64::MAX))
        })?;
        self.content = self.content.saturating_sub(REQUEST);
        Ok(())
    }
}

/// Decides about one draw, by the generic cell rate algorithm.
type Gcra = RateLimiter<NotKeyed, Ahead, Here, NoOpMiddleware<Duration>>;

/// How far the theoretical arrival time lies ahead: what was drawn and is not filled up yet, in the time that filling it
/// up takes. A bucket keeps a content, not this, since this means something under one quota only.
struct Ahead(Nanos);

impl Ahead {
    fn of(drawn: u64, quota: Quota) -> Self {
        let period = quota.governed().replenish_interval().as_nanos();
        let ahead = (u128::from(drawn) * period).div_ceil(REQUEST.into());
        Self(u64::try_from(ahead).unwrap_or(u64::MAX).into())
    }
}

impl StateStore for Ahead {
    type Key = NotKeyed;

    fn measure_and_replace<T, F, E>(&self, _: &NotKeyed, measure: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        measure(Some(self.0)).map(|(outcome, _)| outcome)
    }
}

/// The moment of a draw: time is told by who asks.
#[derive(Clone)]
struct Here;

impl Clock for Here {
    type Instant = Duration;

    fn now(&self) -> Duration {
        Duration::ZERO
    }
}

impl Slot {
    fn bucket(&self, class: Class) -> MutexGuard<'_, Bucket> {
        let [reads, writes] = &self.buckets;
        let bucket = match class {
            Class::Reads => reads,
            Class::Writes => writes,
        };
        bucket.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn cool_until(&self, class: Class) -> &AtomicU64 {
        let [reads, writes] = &self.cool_until;
        match class {
            Class::Reads => reads,
            Class::Writes => writes,
        }
    }

    fn draw(&self, limits: Limits, whose: Whose, class: Class, now: u64) -> Result<(), Refusal> {
        let quota = limits.of(class);
        let drawn = self.bucket(class).draw(quota, now);
        drawn.map_err(|wait| Refusal::new(Cause::Rate, whose, class, limits, wait))
    }

    /// Whether forgetting it changes nothing: buckets full, nothing under way, no cooldown.
    fn is_fresh(&self, limits: Limits, now: u64) -> bool {
        let is_full = |class| {
            let quota = limits.of(class);
            self.bucket(class).content(quota, now) >= Bucket::full(quota)
        };
        self.in_flight.load(Ordering::Acquire) == 0
            && self
                .cool_until
                .iter()
                .all(|time| time.load(Ordering::Acquire) <= now)
            && Class::ALL.into_iter().all(is_full)
    }
}

impl Refusal {
    fn new(
        cause: Cause,
        whose: Whose,
        class: Class,
        limits: Limits,
        retry_after: Duration,
    ) -> Self {
        let quota = limits.of(class);
        Self {
            cause,
            whose,
            class,
            retry_after,
            limit: quota.burst.get(),
            per_minute: quota.per_minute.get(),
        }
    }
}

/// A place among the requests of a tenant that are under way; given back when dropped.
#[derive(Debug)]
pub struct Permit {
    slot: Arc<Slot>,
    /// The limits by which it was given.
    limits: Limits,
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.slot.in_flight.fetch_sub(1, Ordering::AcqRel);
    }
}

impl RateLimit {
    /// Remembers nobody yet. No `now` that it is told may be before this one.
    pub fn new(now: Instant) -> Self {
        Self {
            slots: DashMap::default(),
            tracked: AtomicUsize::new(0),
            overflow: Arc::default(),
            strangers: Slot::default(),
            start: now,
            swept: AtomicU64::new(0),
        }
    }

    /// Lets a request pass, or says what holds it back. The permit is to be kept until the answer is over.
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
        let (slot, limits) = self.slot(terms, caller, now);
        let whose = match caller.payer {
            Payer::Tenant => Whose::Tenant,
            Payer::Stranger(_) => Whose::Credential,
        };
        let cool_until = slot.cool_until(class).load(Ordering::Acquire);
        if cool_until > now {
            let retry_after = Duration::from_micros(cool_until - now);
            return Err(Refusal::new(
                Cause::Cooldown,
                whose,
                class,
                limits,
                retry_after,
            ));
        }
        let at_once = slot.in_flight.fetch_add(1, Ordering::AcqRel);
        let permit = Permit { slot, limits };
        if at_once >= limits.concurrency.get() {
            let wait = Duration::from_secs(1);
            return Err(Refusal {
                limit: limits.concurrency.get(),
                ..Refusal::new(Cause::Concurrency, whose, class, limits, wait)
            });
        }
        permit.slot.draw(limits, whose, class, now)?;
        if whose == Whose::Credential {
            self.strangers
                .draw(terms.strangers, Whose::Strangers, class, now)?;
        }
        Ok(permit)
    }

    /// Draws one read from the caller's bucket without ever refusing it: the gateway's own GET on the caller's behalf.
    pub fn charge_read(&self, permit: &Permit, now: Instant) {
        let _ = permit
            .slot
            .draw(permit.limits, Whose::Tenant, Class::Reads, self.micros(now));
    }

    /// The upstream asked this caller to wait. Returns for how long that class of its requests is held back.
    pub fn cool_down(
        &self,
        terms: &Terms,
        permit: &Permit,
        class: Class,
        asked: Option<Duration>,
        now: Instant,
    ) -> Duration {
        let wait = asked
            .unwrap_or(terms.cooldown.default)
            .min(terms.cooldown.max);
        let until = self.micros(now).saturating_add(micros(wait));
        permit
            .slot
            .cool_until(class)
            .fetch_max(until, Ordering::AcqRel);
        wait
    }

    /// Forgets tenants of whom nothing needs to be known: their buckets are full again.
    pub fn sweep(&self, terms: &Terms, now: Instant) {
        self.sweep_at(terms, self.micros(now));
    }

    fn sweep_at(&self, terms: &Terms, now: u64) {
        self.swept.store(now, Ordering::Release);
        self.slots.retain(|key, slot| {
            // A slot that somebody holds is in use, whatever its counters say.
            let keep = Arc::strong_count(slot) > 1 || !slot.is_fresh(terms.of(*key), now);
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

    /// Cooldowns in force.
    pub fn cooldowns(&self, now: Instant) -> usize {
        let now = self.micros(now);
        let cooling = |slot: &Slot| {
            slot.cool_until
                .iter()
                .filter(|until| until.load(Ordering::Acquire) > now)
                .count()
        };
        self.slots.iter().map(|slot| cooling(&slot)).sum::<usize>() + cooling(&self.overflow)
    }

    /// What is remembered of a caller, and what it may ask for.
    fn slot(&self, terms: &Terms, caller: &Caller, now: u64) -> (Arc<Slot>, Limits) {
        let (key, limits) = match caller.payer {
            Payer::Stranger(credential) => (credential, terms.default),
            Payer::Tenant => (caller.tenant.key, terms.of(caller.tenant.key)),
        };
        if let Some(slot) = self.slots.get(&key) {
            return (Arc::clone(&slot), limits);
        }
        if self.tracked() >= terms.max_tenants
            && now.saturating_sub(self.swept.load(Ordering::Acquire)) > micros(SWEEP_PAUSE)
        {
            self.sweep_at(terms, now);
        }
        match self.slots.entry(key) {
            dashmap::Entry::Occupied(slot) => (Arc::clone(slot.get()), limits),
            dashmap::Entry::Vacant(place) => {
                // The bound holds exactly: a place is taken before the slot is made.
                if self.tracked.fetch_add(1, Ordering::AcqRel) >= terms.max_tenants {
                    self.tracked.fetch_sub(1, Ordering::AcqRel);
                    return (Arc::clone(&self.overflow), terms.default);
                }
                (Arc::clone(&place.insert(Arc::default())), limits)
            }
        }
    }

    fn micros(&self, now: Instant) -> u64 {
        micros(now.saturating_duration_since(self.start))
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
