//! What is remembered, for whom, and for how long.

use super::{states::MAX_STATES, *};
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
    assert!(snapshots.learn(&one, &r1, &tag("\"a\"").into(), &state("New")));
    assert!(!snapshots.learn(&one, &r1, &tag("\"a\"").into(), &state("New")));
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
        snapshots.learn(&one, &r1, &tag(&format!("\"{n}\"")).into(), &state("New"));
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
        snapshots.learn(
            &caller(1, 1),
            &id("r1"),
            &tag("\"a\"").into(),
            &state("New"),
        );
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
    snapshots.learn(&one, &r1, &tag("\"a\"").into(), &state("New"));
    assert!(!snapshots.is_empty());
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
    snapshots.learn(&one, &r1, &tag("\"a\"").into(), &state("New"));
    assert_eq!(
        known(&snapshots.look_up(&one, &r1, tag("\"a\""))),
        "unknown"
    );
}

/// Snapshots of at most ten seconds, of one referral: New at each of these tags, seen so long ago, the newest first.
fn aged(tags: &[(&str, Duration)]) -> (Snapshots, Caller, ReferralId) {
    let (mut snapshots, _) = snapshots(Scope::Principal, MAX_AGE);
    let (one, r1) = (caller(1, 1), id("r1"));
    let now = Instant::now();
    for (text, ago) in tags.iter().rev() {
        // The cache learns it as soon as it is made, and grows older.
        snapshots.start = now;
        snapshots.learn(&one, &r1, &tag(text).into(), &state("New"));
        set_age(&snapshots, &one, &r1, *ago);
    }
    snapshots.start = now
        .checked_sub(LONG)
        .expect("a time since the start of the machine");
    (snapshots, one, r1)
}

/// The age of a cache in these tests.
const LONG: Duration = Duration::from_secs(60);

/// The newest version was seen so long before [`LONG`].
fn set_age(snapshots: &Snapshots, caller: &Caller, id: &ReferralId, ago: Duration) {
    let key = snapshots.key(caller, id);
    let mut entries = snapshots.entries.lock(key);
    let newest = entries.get_mut(key).expect("an entry");
    newest.see(LONG - ago);
}

const MAX_AGE: Duration = Duration::from_secs(10);

/// How old the newest version is, and how many versions are known.
fn newest(snapshots: &Snapshots, caller: &Caller, id: &ReferralId) -> (Duration, usize) {
    let key = snapshots.key(caller, id);
    let entries = snapshots.entries.lock(key);
    let newest = entries.get(key).expect("an entry");
    (newest.age(snapshots.now()), newest.all().count())
}

#[test]
fn a_tag_seen_again_is_no_news_and_lives_on() {
    let ago = MAX_AGE / 2;
    let (snapshots, one, r1) = aged(&[("\"a\"", ago), ("\"b\"", ago)]);
    assert!(newest(&snapshots, &one, &r1).0 >= ago);

    assert!(!snapshots.learn(&one, &r1, &tag("\"a\"").into(), &state("New")));

    let (age, versions) = newest(&snapshots, &one, &r1);
    assert!(age < ago, "{age:?}");
    assert_eq!(versions, 2);
}

#[test]
fn another_state_at_a_known_tag_takes_its_place() {
    let (snapshots, one, r1) = aged(&[("\"a\"", Duration::ZERO)]);

    assert!(snapshots.learn(&one, &r1, &tag("\"a\"").into(), &state("Active")));

    assert_eq!(known(&snapshots.look_up(&one, &r1, tag("\"a\""))), "Active");
    assert_eq!(newest(&snapshots, &one, &r1).1, 1);
}

#[test]
fn an_answer_that_names_the_newest_tag_teaches_nothing_for_a_while() {
    let (young, old) = (MAX_AGE / 8, MAX_AGE / 2);
    for (known, named, teaches_nothing) in [
        ([("\"one\"", young), ("\"two\"", young)], "one", true),
        ([("\"one\"", old), ("\"two\"", young)], "one", false),
        ([("\"one\"", young), ("\"two\"", young)], "two", false),
        ([("\"one\"", young), ("\"two\"", young)], "three", false),
    ] {
        let (snapshots, one, r1) = aged(&known);
        let quoted = format!("\"{named}\"");
        let body = format!(r#"{{"eTag":"\"{named}\""}}"#);
        assert_eq!(
            (
                snapshots.is_known_tag(&one, &r1, tag(&quoted)),
                snapshots.is_known_version(&one, &r1, body.as_bytes())
            ),
            (teaches_nothing, teaches_nothing),
            "{named} of {known:?}"
        );
    }
    let (snapshots, one, _) = aged(&[("\"one\"", young)]);
    assert!(!snapshots.is_known_tag(&one, &id("r2"), tag("\"one\"")));
    assert!(!snapshots.is_known_version(&one, &id("r2"), br#"{"eTag":"\"one\""}"#));
}

#[test]
fn each_tag_of_a_referral_has_an_age_of_its_own() {
    let (snapshots, one, r1) = aged(&[
        ("\"newest\"", Duration::ZERO),
        ("\"older\"", MAX_AGE / 2),
        ("\"oldest\"", MAX_AGE * 2),
    ]);

    let age = |text| match snapshots.look_up(&one, &r1, tag(text)) {
        Lookup::Known(_, age) => Some(age),
        Lookup::OtherTag | Lookup::Unknown => None,
    };
    assert!(age("\"newest\"").is_some_and(|age| age < MAX_AGE / 2));
    assert!(age("\"older\"").is_some_and(|age| age >= MAX_AGE / 2));
    assert_eq!(age("\"oldest\""), None);
}

#[test]
fn entries_are_bounded() {
    let (snapshots, _) = snapshots(Scope::Principal, MINUTE);
    for n in 0..2000 {
        snapshots.learn(
            &caller(1, 1),
            &id(&format!("r{n}")),
            &tag("\"a\"").into(),
            &state("New"),
        );
    }
    assert!(snapshots.len() <= 100, "{}", snapshots.len());
}

#[test]
fn a_full_cache_forgets_first_what_no_write_asks_for() {
    let (snapshots, metrics) = snapshots(Scope::Principal, MINUTE);
    let one = caller(1, 1);
    let learn = |text: &str| snapshots.learn(&one, &id(text), &tag("\"a\"").into(), &state("New"));
    assert!(learn("asked-for"));
    assert_eq!(
        known(&snapshots.look_up(&one, &id("asked-for"), tag("\"a\""))),
        "New"
    );
    for n in 0..500 {
        assert!(learn(&format!("r{n}")));
    }
    assert_eq!(
        known(&snapshots.look_up(&one, &id("asked-for"), tag("\"a\""))),
        "New"
    );
    assert_eq!(snapshots.len(), 100);
    let text = metrics.text();
    assert!(
        text.contains("snapshot_evictions_total{cause=\"size\"} 401"),
        "{text}"
    );
}

#[test]
fn an_entry_is_small() {
    // A referral with one version, and each further version or second tag: 100 000 referrals are remembered by default.
    assert!(size_of::<Version>() <= 40, "{}", size_of::<Version>());
    assert!(Version::size_of_rest() <= 64, "{}", Version::size_of_rest());
}

#[test]
fn a_service_that_invents_states_fills_no_memory() {
    let (snapshots, _) = snapshots(Scope::Principal, MINUTE);
    let one = caller(1, 1);
    let learn = |snapshots: &Snapshots, n: usize| {
        let id = id(&format!("r{}", n % 50));
        let tags = tag(&format!("\"{n}\"")).into();
        snapshots.learn(&one, &id, &tags, &state(&format!("state {n}")))
    };
    // What was forgotten makes room for more.
    for n in 0..3 * MAX_STATES {
        assert!(learn(&snapshots, n), "{n}");
    }

    let (many, _) = self::snapshots(Scope::Principal, MINUTE);
    let many = Snapshots {
        max_entries: 2 * MAX_STATES,
        ..many
    };
    for n in 0..=MAX_STATES {
        let id = id(&format!("r{n}"));
        many.learn(
            &one,
            &id,
            &tag("\"a\"").into(),
            &state(&format!("state {n}")),
        );
    }
    // One beyond the maximum belongs to its referral alone.
    for n in [0, 1, MAX_STATES] {
        let seen = many.look_up(&one, &id(&format!("r{n}")), tag("\"a\""));
        assert_eq!(known(&seen), format!("state {n}"));
    }
    assert!(many.learn(&one, &id("r1"), &tag("\"a\"").into(), &state("another")));
    assert_eq!(
        known(&many.look_up(&one, &id("r1"), tag("\"a\""))),
        "another"
    );
}

#[test]
fn a_version_is_known_at_each_of_its_tags() {
    let (snapshots, _) = snapshots(Scope::Principal, MINUTE);
    let (one, r1) = (caller(1, 1), id("r1"));
    let both = Tags::of(Some(b"\"a-gzip\""), Some(b"\"a\"")).expect("two tags");
    snapshots.learn(&one, &r1, &tag("\"old\"").into(), &state("New"));
    assert!(snapshots.learn(&one, &r1, &both, &state("Active")));
    assert!(!snapshots.learn(&one, &r1, &both, &state("Active")));

    for text in ["\"a\"", "\"a-gzip\""] {
        assert_eq!(known(&snapshots.look_up(&one, &r1, tag(text))), "Active");
        assert_eq!(snapshots.is_newest(&one, &r1, tag(text)), Some(true));
        assert!(snapshots.is_known_tag(&one, &r1, tag(text)));
        let body = serde_json::json!({ "eTag": text }).to_string();
        assert!(snapshots.is_known_version(&one, &r1, body.as_bytes()));
    }
    assert_eq!(known(&snapshots.look_up(&one, &r1, tag("\"old\""))), "New");

    // The next version has one of them no longer; what is known of both is one version.
    snapshots.learn(&one, &r1, &tag("\"a\"").into(), &state("Closed"));
    assert_eq!(known(&snapshots.look_up(&one, &r1, tag("\"a\""))), "Closed");
    let gone = snapshots.look_up(&one, &r1, tag("\"a-gzip\""));
    assert_eq!(known(&gone), "other tag");
}
