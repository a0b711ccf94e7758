//! What is remembered, for whom, and for how long.

use super::*;
use crate::tenant::{Payer, Tenant};

fn snapshots(scope: Scope, max_age: Duration) -> (Snapshots, Arc<Metrics>) {
    let metrics = Arc::new(Metrics::new());
    (
        Snapshots::new(
            &Settings {
                max_entries: 100,
                max_age,
                scope,
            },
            &metrics,
        ),
        metrics,
    )
}

fn caller(tenant: u128, principal: u128) -> Caller {
    Caller::for_test(
        Tenant {
            key: tenant,
            known: None,
        },
        principal,
        Payer::Tenant,
    )
}

fn id(text: &str) -> ReferralId {
    ReferralId::parse(text).expect("an id")
}

fn tag(text: &str) -> EntityTag<'_> {
    EntityTag::parse(text.as_bytes()).expect("a tag")
}

fn state(status: &str) -> State {
    State {
        status: status.into(),
        substatus: None,
    }
}

#[track_caller]
fn known(found: &Lookup) -> &str {
    match found {
        Lookup::Known(state, _) => &state.status,
        Lookup::OtherTag => "other tag",
        Lookup::Unknown => "unknown",
    }
}

const MINUTE: Duration = Duration::from_secs(60);

#[test]
fn a_state_is_known_at_its_tag_only() {
    let (snapshots, _) = snapshots(Scope::Principal, MINUTE);
    let (one, r1) = (caller(1, 1), id("r1"));
    assert_eq!(
        known(&snapshots.look_up(&one, &r1, tag("\"a\""))),
        "unknown"
    );
    assert!(snapshots.learn(&one, &r1, tag("\"a\""), &state("New")));
    assert!(!snapshots.learn(&one, &r1, tag("\"a\""), &state("New")));
    assert_eq!(
        known(&snapshots.look_up(&one, &id("R1"), tag("\"a\""))),
        "New"
    );
    assert_eq!(
        known(&snapshots.look_up(&one, &r1, tag("\"b\""))),
        "other tag"
    );
}

#[test]
fn a_few_tags_of_one_referral_are_kept_and_the_newest_is_known() {
    let (snapshots, _) = snapshots(Scope::Principal, MINUTE);
    let (one, r1) = (caller(1, 1), id("r1"));
    for n in 0..=TAGS_PER_REFERRAL {
        snapshots.learn(&one, &r1, tag(&format!("\"{n}\"")), &state("New"));
    }
    assert_eq!(
        known(&snapshots.look_up(&one, &r1, tag("\"0\""))),
        "other tag"
    );
    assert_eq!(known(&snapshots.look_up(&one, &r1, tag("\"1\""))), "New");
    assert_eq!(snapshots.is_newest(&one, &r1, tag("\"4\"")), Some(true));
    assert_eq!(snapshots.is_newest(&one, &r1, tag("\"1\"")), Some(false));
    assert_eq!(snapshots.is_newest(&one, &id("r2"), tag("\"1\"")), None);
}

#[test]
fn nobody_reads_what_another_learnt() {
    for (scope, shared) in [(Scope::Principal, "unknown"), (Scope::Tenant, "New")] {
        let (snapshots, _) = snapshots(scope, MINUTE);
        snapshots.learn(&caller(1, 1), &id("r1"), tag("\"a\""), &state("New"));
        assert_eq!(
            known(&snapshots.look_up(&caller(1, 2), &id("r1"), tag("\"a\""))),
            shared,
            "{scope:?}"
        );
        assert_eq!(
            known(&snapshots.look_up(&caller(2, 3), &id("r1"), tag("\"a\""))),
            "unknown",
            "{scope:?}"
        );
    }
}

#[test]
fn what_is_forgotten_or_old_is_unknown() {
    let (snapshots, metrics) = snapshots(Scope::Principal, MINUTE);
    let (one, r1) = (caller(1, 1), id("r1"));
    snapshots.learn(&one, &r1, tag("\"a\""), &state("New"));
    snapshots.forget(&one, &r1);
    assert_eq!(
        known(&snapshots.look_up(&one, &r1, tag("\"a\""))),
        "unknown"
    );
    assert!(snapshots.is_empty());
    assert!(
        metrics
            .text()
            .contains("snapshot_evictions_total{cause=\"forgotten\"} 1")
    );

    let (snapshots, _) = self::snapshots(Scope::Principal, Duration::ZERO);
    snapshots.learn(&one, &r1, tag("\"a\""), &state("New"));
    assert_eq!(
        known(&snapshots.look_up(&one, &r1, tag("\"a\""))),
        "unknown"
    );
}

#[test]
fn each_tag_of_a_referral_has_an_age_of_its_own() {
    let max_age = Duration::from_secs(10);
    let (snapshots, _) = snapshots(Scope::Principal, max_age);
    let (one, r1) = (caller(1, 1), id("r1"));
    let seen = |tag: &[u8], ago| Seen {
        tag: tag.into(),
        state: state("New"),
        at: Instant::now()
            .checked_sub(ago)
            .expect("a time since the start"),
    };
    snapshots.entries.insert(
        snapshots.key(&one, &r1),
        Arc::new([
            seen(b"\"newest\"", Duration::ZERO),
            seen(b"\"older\"", max_age / 2),
            seen(b"\"oldest\"", max_age * 2),
        ]),
    );

    let age = |text| match snapshots.look_up(&one, &r1, tag(text)) {
        Lookup::Known(_, age) => Some(age),
        Lookup::OtherTag | Lookup::Unknown => None,
    };
    assert!(age("\"newest\"").is_some_and(|age| age < max_age / 2));
    assert!(age("\"older\"").is_some_and(|age| age >= max_age / 2));
    assert_eq!(age("\"oldest\""), None);
}

#[test]
fn entries_are_bounded() {
    let (snapshots, _) = snapshots(Scope::Principal, MINUTE);
    for n in 0..2000 {
        snapshots.learn(
            &caller(1, 1),
            &id(&format!("r{n}")),
            tag("\"a\""),
            &state("New"),
        );
    }
    assert!(snapshots.len() <= 100, "{}", snapshots.len());
}
