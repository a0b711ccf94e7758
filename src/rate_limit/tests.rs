//! What a limit promises, on a clock that stands still until it is moved.

use governor::clock::FakeRelativeClock;

use super::*;
use crate::tenant::Tenant;

fn settings(max_tenants: usize) -> Settings {
    let quota = |per_minute, burst| Quota {
        per_minute: NonZeroU32::new(per_minute).expect("not 0"),
        burst: NonZeroU32::new(burst).expect("not 0"),
    };
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

fn limits(max_tenants: usize) -> (RateLimit<FakeRelativeClock>, FakeRelativeClock) {
    let clock = FakeRelativeClock::default();
    clock.advance(Duration::from_secs(1));
    (
        RateLimit::with_clock(&settings(max_tenants), clock.clone()),
        clock,
    )
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
fn stranger(tenant: u128, credential: u128) -> Caller {
    caller(tenant, credential, Payer::Stranger(credential))
}

/// How many requests pass one after the other.
fn passes(limits: &RateLimit<FakeRelativeClock>, caller: &Caller, class: Class) -> usize {
    (0..1000)
        .take_while(|_| limits.admit(caller, class).is_ok())
        .count()
}

#[test]
fn a_burst_passes_and_then_the_rate() {
    let (limits, clock) = limits(10);
    let one = member(1);
    assert_eq!(passes(&limits, &one, Class::Writes), 2);
    let refusal = limits
        .admit(&one, Class::Writes)
        .expect_err("the quota is spent");
    assert_eq!(
        (refusal.cause, refusal.retry_after, refusal.limit),
        (Cause::Rate, Duration::from_secs(10), 2)
    );
    assert_eq!(refusal.whose, Whose::Tenant);
    clock.advance(Duration::from_secs(10));
    assert_eq!(passes(&limits, &one, Class::Writes), 1);
}

#[test]
fn reads_and_writes_and_tenants_do_not_spend_each_others_quota() {
    let (limits, _) = limits(10);
    assert_eq!(passes(&limits, &member(1), Class::Writes), 2);
    let colleague = caller(1, 2, Payer::Tenant);
    assert_eq!(passes(&limits, &colleague, Class::Writes), 0);
    assert_eq!(passes(&limits, &member(1), Class::Reads), 3);
    assert_eq!(passes(&limits, &member(2), Class::Writes), 2);
}

#[test]
fn a_known_tenant_has_its_own_limits() {
    let (limits, _) = limits(10);
    let known = Caller::for_test(
        Tenant {
            key: 9,
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
    let (limits, clock) = limits(10);
    let one = member(1);
    let held: Vec<_> = (0..3)
        .map(|_| limits.admit(&one, Class::Reads).expect("a place"))
        .collect();
    let last = limits.admit(&one, Class::Writes).expect("the last place");
    clock.advance(Duration::from_secs(60));
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
    let (limits, _) = limits(100);
    assert_eq!(passes(&limits, &stranger(1, 66), Class::Writes), 2);
    assert_eq!(passes(&limits, &stranger(2, 66), Class::Writes), 0);
    let refused = limits.admit(&stranger(2, 66), Class::Writes);
    assert_eq!(refused.expect_err("spent").whose, Whose::Credential);
    assert_eq!(passes(&limits, &member(1), Class::Writes), 2);
}

#[test]
fn strangers_together_are_bounded() {
    let (limits, _) = limits(1000);
    let passed: usize = (0..50)
        .map(|n| passes(&limits, &stranger(1, 1000 + n), Class::Writes))
        .sum();
    assert_eq!(passed, 2 * STRANGERS_SHARE as usize);
    let refused = limits.admit(&stranger(1, 7), Class::Writes);
    assert_eq!(refused.expect_err("spent").whose, Whose::Strangers);
    assert_eq!(passes(&limits, &member(1), Class::Writes), 2);
}

#[test]
fn beyond_the_bound_new_tenants_share_one_bucket() {
    let (limits, _) = limits(3);
    for tenant in 0..3 {
        assert_eq!(passes(&limits, &member(tenant), Class::Writes), 2);
    }
    let shared: usize = (3..50)
        .map(|tenant| passes(&limits, &member(tenant), Class::Writes))
        .sum();
    assert_eq!((shared, limits.tracked()), (2, 3));
}

#[test]
fn forgetting_never_refills_a_bucket() {
    let (limits, clock) = limits(10);
    let one = member(1);
    assert_eq!(passes(&limits, &one, Class::Writes), 2);
    limits.sweep();
    assert_eq!(
        (passes(&limits, &one, Class::Writes), limits.tracked()),
        (0, 1)
    );
    clock.advance(Duration::from_secs(19));
    limits.sweep();
    assert_eq!(limits.tracked(), 1);
    clock.advance(Duration::from_secs(2));
    limits.sweep();
    assert_eq!(limits.tracked(), 0);
    assert_eq!(passes(&limits, &one, Class::Writes), 2);
}

#[test]
fn a_tenant_with_a_request_under_way_is_not_forgotten() {
    let (limits, clock) = limits(10);
    let held = limits.admit(&member(1), Class::Reads).expect("a place");
    clock.advance(Duration::from_secs(3600));
    limits.sweep();
    assert_eq!(limits.tracked(), 1);
    drop(held);
    limits.sweep();
    assert_eq!(limits.tracked(), 0);
}

#[test]
fn a_cooldown_holds_one_class_of_one_tenant_for_as_long_as_asked() {
    let (limits, clock) = limits(10);
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
        clock.advance(Duration::from_secs(held));
        assert_eq!(limits.cooldowns(), 0);
        clock.advance(Duration::from_secs(60));
    }
}

#[test]
fn a_fetch_on_behalf_of_a_write_is_charged_and_never_refused() {
    let (limits, _) = limits(10);
    let one = member(1);
    let permit = limits.admit(&one, Class::Writes).expect("a place");
    for _ in 0..5 {
        limits.charge_read(&permit);
    }
    assert_eq!(passes(&limits, &one, Class::Reads), 0);
}
