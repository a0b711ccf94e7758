//! What a limit promises, on a clock that stands still until it is moved.

use std::{
    cell::Cell,
    num::{NonZeroU32, NonZeroUsize},
    sync::atomic::AtomicUsize,
    thread,
};

use proptest::prelude::*;

use super::{terms::UNPROVEN_SHARE, *};
use crate::tenant::Tenant;

fn quota(per_minute: u32, burst: u32) -> Quota {
    Quota {
        per_minute: NonZeroU32::new(per_minute).expect("not 0"),
        burst: NonZeroU32::new(burst).expect("not 0"),
    }
}

/// The key of the tenant with limits of its own.
const KNOWN: u128 = 9;

fn settings(max_tenants: usize) -> Settings {
    let concurrency = NonZeroU32::new(4).expect("not 0");
    Settings {
        default: Limits {
            reads: quota(60, 3),
            writes: quota(6, 2),
            concurrency,
        },
        known: vec![Limits {
            reads: quota(60, 1),
            writes: quota(6, 1),
            concurrency: NonZeroU32::MIN,
        }],
        max_tenants: NonZeroUsize::new(max_tenants).expect("not 0"),
        cooldown: Cooldown {
            default: Duration::from_secs(30),
            max: Duration::from_secs(300),
        },
    }
}

/// Limits with a clock of their own.
struct Clocked {
    rate_limit: RateLimit,
    terms: Terms,
    now: Cell<Instant>,
}

fn limits(max_tenants: usize) -> Clocked {
    let now = Instant::now();
    Clocked {
        rate_limit: RateLimit::new(now),
        terms: Terms::new(&settings(max_tenants), [KNOWN]),
        now: Cell::new(now + Duration::from_secs(1)),
    }
}

impl Clocked {
    fn advance(&self, time: Duration) {
        self.now.set(self.now.get() + time);
    }

    fn admit(&self, caller: &Caller, class: Class) -> Result<Permit, Refusal> {
        let now = self.now.get();
        self.rate_limit.admit(&self.terms, caller, class, now)
    }

    fn charge_read(&self, permit: &Permit) {
        self.rate_limit
            .charge_read(&self.terms, permit, self.now.get());
    }

    fn cool_down(&self, permit: &Permit, class: Class, asked: Option<Duration>) -> Duration {
        let now = self.now.get();
        self.rate_limit
            .cool_down(&self.terms, permit, class, asked, now)
    }

    fn cooldowns(&self) -> usize {
        self.rate_limit.cooldowns(self.now.get())
    }

    fn sweep(&self) {
        self.rate_limit.sweep(&self.terms, self.now.get());
    }

    fn tracked(&self) -> usize {
        self.rate_limit.tracked()
    }
}

fn caller(tenant: u128, principal: u128, payer: Payer) -> Caller {
    let tenant = Tenant {
        key: tenant,
        known: None,
    };
    Caller::for_test(tenant, principal, payer)
}

fn member(tenant: u128) -> Caller {
    caller(tenant, 1, Payer::Tenant)
}

/// A caller that only says it is of that tenant.
fn unproven(tenant: u128, credential: u128) -> Caller {
    caller(tenant, credential, Payer::Unproven(credential))
}

/// How many requests pass one after the other.
fn passes(limits: &Clocked, caller: &Caller, class: Class) -> usize {
    (0..1000)
        .take_while(|_| limits.admit(caller, class).is_ok())
        .count()
}

#[test]
fn a_burst_passes_and_then_the_rate() {
    let limits = limits(10);
    let one = member(1);
    assert_eq!(passes(&limits, &one, Class::Writes), 2);
    let refusal = limits
        .admit(&one, Class::Writes)
        .expect_err("the quota is spent");
    assert_eq!(
        (refusal.cause, refusal.retry_after, refusal.limit),
        (Cause::Rate, Duration::from_secs(10), 2)
    );
    assert_eq!(refusal.holder, Holder::Tenant);
    limits.advance(Duration::from_secs(10));
    assert_eq!(passes(&limits, &one, Class::Writes), 1);
}

#[test]
fn reads_and_writes_and_tenants_do_not_spend_each_others_quota() {
    let limits = limits(10);
    assert_eq!(passes(&limits, &member(1), Class::Writes), 2);
    let colleague = caller(1, 2, Payer::Tenant);
    assert_eq!(passes(&limits, &colleague, Class::Writes), 0);
    assert_eq!(passes(&limits, &member(1), Class::Reads), 3);
    assert_eq!(passes(&limits, &member(2), Class::Writes), 2);
}

#[test]
fn a_known_tenant_has_its_own_limits() {
    let limits = limits(10);
    let known = Caller::for_test(
        Tenant {
            key: KNOWN,
            known: Some(0),
        },
        1,
        Payer::Tenant,
    );
    let held = limits.admit(&known, Class::Reads).expect("the first");
    let refusal = limits
        .admit(&known, Class::Writes)
        .expect_err("one at once");
    assert_eq!((refusal.cause, refusal.limit), (Cause::Concurrency, 1));
    drop(held);
    assert_eq!(passes(&limits, &known, Class::Writes), 1);
}

#[test]
fn requests_at_once_are_bounded_and_places_are_given_back() {
    let limits = limits(10);
    let one = member(1);
    let held: Vec<_> = (0..3)
        .map(|_| limits.admit(&one, Class::Reads).expect("a place"))
        .collect();
    let last = limits.admit(&one, Class::Writes).expect("the last place");
    limits.advance(Duration::from_secs(60));
    assert_eq!(
        limits
            .admit(&one, Class::Reads)
            .expect_err("no place")
            .cause,
        Cause::Concurrency
    );
    drop((held, last));
    assert_eq!(passes(&limits, &one, Class::Reads), 3);
}

#[test]
fn a_forged_tenant_can_neither_spend_a_quota_nor_dodge_its_own() {
    let limits = limits(100);
    assert_eq!(passes(&limits, &unproven(1, 66), Class::Writes), 2);
    assert_eq!(passes(&limits, &unproven(2, 66), Class::Writes), 0);
    let refused = limits.admit(&unproven(2, 66), Class::Writes);
    assert_eq!(refused.expect_err("spent").holder, Holder::Credential);
    assert_eq!(passes(&limits, &member(1), Class::Writes), 2);
}

#[test]
fn unproven_credentials_together_are_bounded() {
    let limits = limits(1000);
    let passed: usize = (0..50)
        .map(|n| passes(&limits, &unproven(1, 1000 + n), Class::Writes))
        .sum();
    assert_eq!(passed, 2 * UNPROVEN_SHARE.get() as usize);
    let refused = limits.admit(&unproven(1, 7), Class::Writes);
    assert_eq!(refused.expect_err("spent").holder, Holder::AllUnproven);
    assert_eq!(passes(&limits, &member(1), Class::Writes), 2);
}

#[test]
fn beyond_the_bound_new_tenants_share_one_bucket() {
    let limits = limits(3);
    for tenant in 0..3 {
        assert_eq!(passes(&limits, &member(tenant), Class::Writes), 2);
    }
    let shared: usize = (3..50)
        .map(|tenant| passes(&limits, &member(tenant), Class::Writes))
        .sum();
    assert_eq!((shared, limits.tracked()), (2, 3));
}

#[test]
fn room_for_new_tenants_is_looked_for_once_in_a_while() {
    let limits = limits(2);
    let come = |tenant| drop(limits.admit(&member(tenant), Class::Reads));
    let tracked = || limits.rate_limit.tracked();
    limits.advance(Duration::from_secs(10));
    come(1);
    come(2);

    // Nothing can be forgotten yet.
    limits.advance(Duration::from_millis(500));
    come(3);
    assert_eq!(tracked(), 2);

    // Both buckets are full again, but the last look is not long ago.
    limits.advance(Duration::from_millis(700));
    come(3);
    assert_eq!(tracked(), 2);

    limits.advance(Duration::from_millis(400));
    come(3);
    assert_eq!(tracked(), 1);
}

#[test]
fn forgetting_never_refills_a_bucket() {
    let limits = limits(10);
    let one = member(1);
    assert_eq!(passes(&limits, &one, Class::Writes), 2);
    limits.sweep();
    assert_eq!(
        (passes(&limits, &one, Class::Writes), limits.tracked()),
        (0, 1)
    );
    limits.advance(Duration::from_secs(19));
    limits.sweep();
    assert_eq!(limits.tracked(), 1);
    limits.advance(Duration::from_secs(2));
    limits.sweep();
    assert_eq!(limits.tracked(), 0);
    assert_eq!(passes(&limits, &one, Class::Writes), 2);
}

#[test]
fn a_tenant_with_a_request_under_way_is_not_forgotten() {
    let limits = limits(10);
    let held = limits.admit(&member(1), Class::Reads).expect("a place");
    limits.advance(Duration::from_secs(3600));
    limits.sweep();
    assert_eq!(limits.tracked(), 1);
    drop(held);
    limits.sweep();
    assert_eq!(limits.tracked(), 0);
}

#[test]
fn a_slot_is_small() {
    // 100 000 of them are tracked by default.
    assert!(size_of::<Slot>() <= 40, "{}", size_of::<Slot>());
}

/// Threads that come and go as fast as they can, while others sweep: the highest number of requests at once.
fn at_once(rate_limit: &RateLimit, terms: &Terms, caller: &Caller, now: Instant) -> usize {
    let (inside, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..2000 {
                    if let Ok(permit) = rate_limit.admit(terms, caller, Class::Reads, now) {
                        most.fetch_max(inside.fetch_add(1, Ordering::AcqRel) + 1, Ordering::AcqRel);
                        thread::yield_now();
                        inside.fetch_sub(1, Ordering::AcqRel);
                        drop(permit);
                    }
                    rate_limit.sweep(terms, now);
                }
            });
        }
    });
    most.into_inner()
}

#[test]
fn threads_and_sweeps_never_make_room_for_more_requests_at_once() {
    let now = Instant::now();
    let mut settings = settings(2);
    settings.default.reads = quota(u32::MAX, u32::MAX);
    let terms = Terms::new(&settings, []);
    let rate_limit = RateLimit::new(now);
    let now = now + Duration::from_secs(1);
    let _others =
        [member(1), member(2)].map(|tenant| rate_limit.admit(&terms, &tenant, Class::Reads, now));
    for caller in [member(1), member(3)] {
        assert!(at_once(&rate_limit, &terms, &caller, now) <= 4);
        let held: Vec<_> = (0..9)
            .filter_map(|_| rate_limit.admit(&terms, &caller, Class::Reads, now).ok())
            .collect();
        let free = if caller.tenant.key == 1 { 3 } else { 4 };
        assert_eq!(held.len(), free, "all places are given back");
    }
}

#[test]
fn requests_of_one_class_fill_up_neither_bucket_sooner() {
    let limits = limits(10);
    let one = member(1);
    assert_eq!(passes(&limits, &one, Class::Reads), 3);
    assert_eq!(passes(&limits, &one, Class::Writes), 2);
    for _ in 0..9 {
        limits.advance(Duration::from_millis(1000));
        assert_eq!(passes(&limits, &one, Class::Reads), 1);
        assert_eq!(passes(&limits, &one, Class::Writes), 0);
    }
    limits.advance(Duration::from_millis(1000));
    assert_eq!(passes(&limits, &one, Class::Writes), 1);
}

#[test]
fn a_bucket_that_was_never_drawn_from_is_full_under_any_terms() {
    let mut limits = limits(10);
    let one = member(1);
    assert_eq!(passes(&limits, &one, Class::Reads), 3);
    limits.terms = terms(quota(6, 50));
    assert_eq!(passes(&limits, &one, Class::Writes), 50);
}

#[test]
fn a_cooldown_holds_one_class_of_one_tenant_for_as_long_as_asked() {
    let limits = limits(10);
    let (one, other) = (member(1), member(2));
    for (asked, held) in [(Some(7), 7), (None, 30), (Some(86_400), 300)] {
        let permit = limits.admit(&one, Class::Writes).expect("a place");
        assert_eq!(
            limits.cool_down(&permit, Class::Writes, asked.map(Duration::from_secs)),
            Duration::from_secs(held)
        );
        drop(permit);
        assert_eq!(limits.cooldowns(), 1);
        let refusal = limits.admit(&one, Class::Writes).expect_err("it must wait");
        assert_eq!(
            (refusal.cause, refusal.retry_after),
            (Cause::Cooldown, Duration::from_secs(held))
        );
        assert!(limits.admit(&one, Class::Reads).is_ok());
        assert!(limits.admit(&other, Class::Writes).is_ok());
        limits.advance(Duration::from_secs(held));
        assert_eq!(limits.cooldowns(), 0);
        limits.advance(Duration::from_secs(60));
    }
}

#[test]
fn a_tenant_is_not_forgotten_while_it_has_to_wait() {
    let limits = limits(10);
    let minute = Duration::from_secs(60);
    let permit = limits.admit(&member(1), Class::Writes).expect("a place");
    limits.cool_down(&permit, Class::Writes, Some(minute));
    drop(permit);

    // Its bucket has long been full again.
    limits.advance(minute - Duration::from_millis(1));
    limits.sweep();
    assert_eq!((limits.tracked(), limits.cooldowns()), (1, 1));

    limits.advance(Duration::from_millis(1));
    limits.sweep();
    assert_eq!((limits.tracked(), limits.cooldowns()), (0, 0));
}

#[test]
fn a_fetch_on_behalf_of_a_write_is_charged_and_never_refused() {
    let limits = limits(10);
    let one = member(1);
    let permit = limits.admit(&one, Class::Writes).expect("a place");
    for _ in 0..5 {
        limits.charge_read(&permit);
    }
    assert_eq!(passes(&limits, &one, Class::Reads), 0);
}

/// The same limits with these writes for every tenant.
fn terms(writes: Quota) -> Terms {
    let mut settings = settings(10);
    settings.default.writes = writes;
    Terms::new(&settings, [])
}

#[test]
fn other_terms_neither_fill_nor_empty_a_bucket() {
    // What was in the bucket stays in it, up to its new size; what comes in then comes at the new rate.
    for (spent, writes, at_once, after_10_seconds) in [
        (2, quota(6, 2), 0, 1),
        (2, quota(600, 2), 0, 2),
        (2, quota(6, 50), 0, 1),
        (2, quota(600, 50), 0, 50),
        (1, quota(6, 50), 1, 1),
        (1, quota(1, 1), 1, 0),
    ] {
        let mut limits = limits(10);
        let one = member(1);
        for _ in 0..spent {
            limits.admit(&one, Class::Writes).expect("within the burst");
        }
        limits.terms = terms(writes);
        let found = passes(&limits, &one, Class::Writes);
        assert_eq!(found, at_once, "{spent} spent, then {writes:?}");
        limits.advance(Duration::from_secs(10));
        let found = passes(&limits, &one, Class::Writes);
        assert_eq!(found, after_10_seconds, "{spent} spent, then {writes:?}");
    }
}

#[test]
fn a_tenant_that_becomes_known_keeps_what_it_has_spent_and_has_to_wait_for() {
    let mut limits = limits(10);
    let one = member(1);
    let permit = limits.admit(&one, Class::Reads).expect("the first");
    limits.cool_down(&permit, Class::Reads, None);
    drop(permit);
    assert_eq!(passes(&limits, &one, Class::Writes), 2);

    let mut settings = settings(10);
    settings.known.push(settings.default);
    limits.terms = Terms::new(&settings, [KNOWN, 1]);
    assert_eq!(passes(&limits, &one, Class::Writes), 0);
    assert_eq!(passes(&limits, &member(KNOWN), Class::Writes), 1);
    let refusal = limits.admit(&one, Class::Reads).expect_err("it must wait");
    assert_eq!(refusal.cause, Cause::Cooldown);
}

#[test]
fn who_is_forgotten_under_other_terms_has_a_full_bucket_by_them() {
    let mut limits = limits(10);
    let one = member(1);
    assert_eq!(passes(&limits, &one, Class::Writes), 2);
    limits.terms = terms(quota(1, 2));
    limits.advance(Duration::from_secs(21));
    limits.sweep();
    assert_eq!(limits.tracked(), 1, "full by the old rate only");
    assert_eq!(passes(&limits, &one, Class::Writes), 0);
    limits.advance(Duration::from_secs(120));
    limits.sweep();
    assert_eq!(limits.tracked(), 0);
}

#[test]
fn the_largest_numbers_that_settings_can_have_are_only_large() {
    let mut limits = limits(10);
    let one = member(1);
    for (per_minute, burst) in [(u32::MAX, u32::MAX), (1, u32::MAX), (u32::MAX, 1)] {
        limits.terms = terms(quota(per_minute, burst));
        for _ in 0..3 {
            limits.advance(Duration::from_secs(1 << 32));
            assert!(limits.admit(&one, Class::Writes).is_ok());
        }
    }
}

proptest! {
    /// Whatever comes into force, and how often: no tenant gets more than the largest burst and the highest rate would give.
    #[test]
    fn changing_the_terms_over_and_over_gains_nothing(
        steps in prop::collection::vec((0..20_000_u64, 1..600_u32, 1..40_u32, 0..50_usize, any::<bool>(), any::<bool>()), 1..60)
    ) {
        let mut limits = limits(10);
        let one = member(1);
        let (mut passed, mut millis, mut rate, mut burst) = (0, 0, 6, 2);
        for (wait, per_minute, size, calls, sweeps, reads) in steps {
            limits.advance(Duration::from_millis(wait));
            millis += wait;
            // The time before this is paid for by whichever rate is higher.
            (rate, burst) = (rate.max(per_minute), burst.max(size));
            limits.terms = terms(quota(per_minute, size));
            if sweeps {
                limits.sweep();
            }
            if reads {
                let _ = limits.admit(&one, Class::Reads);
            }
            passed += (0..calls).filter(|_| limits.admit(&one, Class::Writes).is_ok()).count();
            let most = f64::from(burst) + f64::from(rate) * millis as f64 / 60_000.0;
            prop_assert!(passed as f64 <= most, "{passed} of {most}");
        }
    }
}
