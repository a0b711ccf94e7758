//! Every way through the judging: which question follows which answer, and what each end says.
#![expect(clippy::panic, reason = "a test that fails here says so by stopping")]

use http::{HeaderMap, HeaderValue, header};

use super::{state, with_mode};
use crate::{
    policy::{
        Check, Context, Method, Mode, Policy,
        judging::{
            Clearance, Decision, End, Judged, Payload, Received, Settings, Stale, Standing, Step,
            Told, Unjudged, UnknownState, UnknownStateFailed,
        },
    },
    referral::{ReferralId, State},
};

/// What a driver knows, and the settings.
#[derive(Clone)]
struct World {
    tag: Option<&'static str>,
    recalled: Option<State>,
    told: Option<Told>,
    settings: Settings,
}

/// The questions that were asked, and the end.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    asked: Vec<&'static str>,
    standing: Standing,
    end: End,
    transition: Decision,
}

const SEND: End = End::Send(Clearance(()));

const SETTINGS: Settings = Settings {
    unknown_state: UnknownState::Fetch,
    unknown_state_failed: UnknownStateFailed::Refuse,
    stale: Stale::Forward,
};

impl World {
    fn new() -> Self {
        Self {
            tag: Some("\"one\""),
            recalled: None,
            told: None,
            settings: SETTINGS,
        }
    }

    fn judge(&self, policy: &Policy, body: &str) -> Seen {
        let id = ReferralId::parse("r1").expect("an id");
        let mut headers = HeaderMap::new();
        if let Some(tag) = self.tag {
            headers.insert(header::IF_MATCH, HeaderValue::from_static(tag));
        }
        let mut write = Received {
            method: Method::Patch,
            id: Some(&id),
            headers,
            body: Payload::from(body.as_bytes()),
            context: Context::default(),
        }
        .mend(policy);
        let mut asked = Vec::new();
        let mut step = write.judge(self.settings);
        let judged: Judged<'_> = loop {
            step = match step {
                Step::Recall(question) => {
                    asked.push("memory");
                    assert_eq!(Some(question.tag().as_bytes()), self.tag.map(str::as_bytes));
                    let age = 3000;
                    question.answer(self.recalled.clone().map(|state| (state, age)))
                }
                Step::Ask(question) => {
                    asked.push("service");
                    let told = self.told.clone().expect("the service is not asked");
                    break question.answer(told);
                }
                Step::Done(judged) => break judged,
            };
        };
        let transition = judged
            .rules()
            .find(|(rule, _)| rule.check == Check::Transition)
            .map(|(_, decision)| decision)
            .expect("the rule");
        Seen {
            asked,
            standing: judged.standing().clone(),
            end: judged.into_parts().1,
            transition,
        }
    }
}

fn told(tag: &str, state: State) -> Option<Told> {
    Some(Told::State {
        tag: Some(tag.as_bytes().into()),
        state,
    })
}

fn at(state: State, bound: bool, seconds: u64) -> Standing {
    Standing::At {
        state,
        bound,
        age_ms: seconds * 1000,
    }
}

fn unknown(why: &str) -> End {
    End::StateUnknown {
        why: why.to_owned().into(),
    }
}

const TO_ACTIVE: &str = r#"{"status":"Active","substatus":"Accepted"}"#;
const NO_STATUS: &str = "the service's answer has no status that the policy knows";
const NOT_ASKED: &str = "it was not seen yet, and snapshots.unknown_state is refuse";

/// `enforced` is the end where the rule is enforced, `watched` the standing where it is in `audit`; where no rule
/// enforces, the write is sent.
#[track_caller]
fn check(
    world: &World,
    body: &str,
    asked: &[&'static str],
    enforced: (Standing, End, Decision),
    watched: (Standing, Decision),
) {
    let (standing, end, transition) = enforced;
    assert_eq!(
        world.judge(&with_mode(Check::Transition, Mode::Enforce), body),
        Seen {
            asked: asked.to_vec(),
            standing,
            end,
            transition
        }
    );
    let (standing, transition) = watched;
    assert_eq!(
        world.judge(&with_mode(Check::Transition, Mode::Audit), body),
        Seen {
            asked: asked.to_vec(),
            standing,
            end: SEND,
            transition
        }
    );
}

/// As [`check`], where the state is not known.
#[track_caller]
fn check_unjudged(
    world: &World,
    asked: &[&'static str],
    enforced: (Unjudged, End),
    watched: Unjudged,
) {
    check(
        world,
        TO_ACTIVE,
        asked,
        (
            Standing::Unjudged(enforced.0),
            enforced.1,
            Decision::Unjudged,
        ),
        (Standing::Unjudged(watched), Decision::Unjudged),
    );
}

#[test]
fn a_state_in_memory_judges_and_nobody_is_asked() {
    for (from, end, enforced, watched) in [
        ("New", SEND, Decision::Pass, Decision::Pass),
        ("Closed", End::Refuse, Decision::Deny, Decision::WouldDeny),
    ] {
        let from = state(from, "Accepted");
        let world = World {
            recalled: Some(from.clone()),
            ..World::new()
        };
        check(
            &world,
            TO_ACTIVE,
            &["memory"],
            (at(from.clone(), true, 3), end, enforced),
            (at(from, true, 3), watched),
        );
    }
}

#[test]
fn a_write_that_leaves_the_state_alone_asks_nobody() {
    check(
        &World::new(),
        r#"{"name":"x"}"#,
        &[],
        (Standing::NotAsked, SEND, Decision::Pass),
        (Standing::NotAsked, Decision::Pass),
    );
}

#[test]
fn the_service_is_asked_for_what_memory_does_not_have() {
    let from = state("Closed", "Won");
    for (tag, asked, bound) in [
        (Some("\"one\""), &["memory", "service"][..], true),
        (None, &["service"], false),
    ] {
        let world = World {
            tag,
            told: told("\"one\"", from.clone()),
            ..World::new()
        };
        check(
            &world,
            TO_ACTIVE,
            asked,
            (at(from.clone(), bound, 0), End::Refuse, Decision::Deny),
            (at(from.clone(), bound, 0), Decision::WouldDeny),
        );
    }
}

#[test]
fn a_remembered_state_that_the_table_does_not_know_is_asked_for() {
    let from = state("New", "Pending");
    let world = World {
        recalled: Some(state("Odd", "x")),
        told: told("\"one\"", from.clone()),
        ..World::new()
    };
    check(
        &world,
        TO_ACTIVE,
        &["memory", "service"],
        (at(from.clone(), true, 0), SEND, Decision::Pass),
        (at(from, true, 0), Decision::Pass),
    );
}

#[test]
fn a_remembered_state_without_a_substatus_does_not_judge_a_change_of_it() {
    let without = |status: &str| State {
        status: status.into(),
        substatus: None,
    };
    let world = World {
        recalled: Some(without("Closed")),
        told: told("\"one\"", state("Closed", "Won")),
        ..World::new()
    };
    for (substatus, end, enforced, watched) in [
        ("Won", SEND, Decision::Pass, Decision::Pass),
        ("Lost", End::Refuse, Decision::Deny, Decision::WouldDeny),
    ] {
        let from = at(state("Closed", "Won"), true, 0);
        check(
            &world,
            &format!(r#"{{"status":"Closed","substatus":"{substatus}"}}"#),
            &["memory", "service"],
            (from.clone(), end, enforced),
            (from, watched),
        );
    }
    // What may follow an open status depends on the status alone.
    let world = World {
        recalled: Some(without("New")),
        ..World::new()
    };
    let from = at(without("New"), true, 3);
    check(
        &world,
        TO_ACTIVE,
        &["memory"],
        (from.clone(), SEND, Decision::Pass),
        (from, Decision::Pass),
    );
}

#[test]
fn a_tag_that_a_lenient_reader_takes_for_the_named_one_judges() {
    let from = state("Closed", "Won");
    let world = World {
        told: told("W/\"ONE\"", from.clone()),
        ..World::new()
    };
    // `W/` has a letter more, so it is another tag; without it the two are alike.
    assert_eq!(
        world
            .judge(&with_mode(Check::Transition, Mode::Enforce), TO_ACTIVE)
            .standing,
        Standing::Unjudged(Unjudged::MovedOn)
    );
    let world = World {
        told: told("'O-n e'", from.clone()),
        ..World::new()
    };
    check(
        &world,
        TO_ACTIVE,
        &["memory", "service"],
        (at(from.clone(), true, 0), End::Refuse, Decision::Deny),
        (at(from, true, 0), Decision::WouldDeny),
    );
}

#[test]
fn a_referral_that_has_moved_on_is_left_to_the_service_or_refused() {
    let mut world = World {
        told: told("\"two\"", state("Closed", "Won")),
        ..World::new()
    };
    let asked = ["memory", "service"];
    check_unjudged(&world, &asked, (Unjudged::MovedOn, SEND), Unjudged::MovedOn);
    world.settings.stale = Stale::Refuse;
    check_unjudged(
        &world,
        &asked,
        (Unjudged::StaleEtag, End::StaleEtag),
        Unjudged::MovedOn,
    );
}

#[test]
fn settings_decide_about_a_state_that_memory_does_not_have() {
    let mut world = World::new();
    world.settings.unknown_state = UnknownState::Forward;
    check_unjudged(
        &world,
        &["memory"],
        (Unjudged::UnknownState, SEND),
        Unjudged::UnknownState,
    );
    world.settings.unknown_state = UnknownState::Refuse;
    check_unjudged(
        &world,
        &["memory"],
        (Unjudged::StateUnknown, unknown(NOT_ASKED)),
        Unjudged::UnknownState,
    );
    world.tag = None;
    check_unjudged(
        &world,
        &[],
        (Unjudged::StateUnknown, unknown(NOT_ASKED)),
        Unjudged::UnknownState,
    );
}

#[test]
fn settings_decide_about_a_service_without_a_usable_answer() {
    for (told, why) in [
        (Told::Failed("it broke".into()), "it broke"),
        (
            Told::State {
                tag: None,
                state: state("Odd", "x"),
            },
            NO_STATUS,
        ),
    ] {
        let mut world = World {
            told: Some(told),
            ..World::new()
        };
        let asked = ["memory", "service"];
        check_unjudged(
            &world,
            &asked,
            (Unjudged::StateUnknown, unknown(why)),
            Unjudged::FetchFailed,
        );
        world.settings.unknown_state_failed = UnknownStateFailed::Forward;
        check_unjudged(
            &world,
            &asked,
            (Unjudged::FetchFailed, SEND),
            Unjudged::FetchFailed,
        );
    }
}

#[test]
fn a_refusal_of_the_service_is_the_answer_unless_rules_only_watch() {
    let world = World {
        told: Some(Told::Refused),
        ..World::new()
    };
    check_unjudged(
        &world,
        &["memory", "service"],
        (Unjudged::FetchRefused, End::Relay),
        Unjudged::FetchRefused,
    );
    let world = World {
        told: Some(Told::NotGiven),
        ..World::new()
    };
    check_unjudged(
        &world,
        &["memory", "service"],
        (Unjudged::NotGiven, SEND),
        Unjudged::NotGiven,
    );
}

#[test]
fn nobody_is_asked_on_behalf_of_a_write_that_is_refused_anyway() {
    let mut policy = with_mode(Check::Transition, Mode::Enforce);
    for rule in &mut policy.rules {
        if rule.check == Check::LinksRemoved {
            rule.mode = Mode::Enforce;
        }
    }
    let body = r#"{"status":"Active","substatus":"Accepted","links":{}}"#;
    let mut world = World::new();
    let refused = Seen {
        asked: vec!["memory"],
        standing: Standing::Unjudged(Unjudged::Refused),
        end: End::Refuse,
        transition: Decision::Unjudged,
    };
    assert_eq!(world.judge(&policy, body), refused);
    world.settings.unknown_state = UnknownState::Refuse;
    assert_eq!(world.judge(&policy, body), refused);
    // Memory costs nothing, so all findings are told.
    world.recalled = Some(state("Closed", "Won"));
    let seen = world.judge(&policy, body);
    assert_eq!((seen.end, seen.transition), (End::Refuse, Decision::Deny));
}

#[test]
fn a_status_that_the_table_does_not_know_leaves_the_transition_unjudged() {
    check(
        &World::new(),
        r#"{"status":"Odd","substatus":"Accepted"}"#,
        &[],
        (Standing::NotAsked, End::Refuse, Decision::Deny),
        (Standing::NotAsked, Decision::Unjudged),
    );
}

#[test]
fn a_write_that_is_repaired_and_refused_says_what_each_rule_made_of_it() {
    let policy = Policy::parse(
        "name: test
rules:
  - { id: tag, check: if_match, on: [PUT], mode: repair, repairs: [quote-if-match] }
  - { id: links, check: links_removed, on: [PUT], mode: repair, repairs: [strip-links] }
  - { id: pair, check: substatus, on: [PUT], mode: enforce }
states:
  Active: { next: [Active], substatus: [Accepted] }
",
        "p.yaml",
    )
    .expect("a policy");
    let id = ReferralId::parse("r1").expect("an id");
    let sent = [
        ("tag", Decision::Repaired, vec!["if_match_unquoted"]),
        ("links", Decision::Repaired, vec!["links_present"]),
        ("pair", Decision::Pass, vec![]),
    ];
    // Nothing is sent, so nothing was repaired.
    let refused = [
        ("tag", Decision::Pass, vec![]),
        ("links", Decision::Pass, vec![]),
        ("pair", Decision::Deny, vec!["substatus_unknown"]),
    ];
    for (substatus, end, repairs, expected) in [
        ("Accepted", SEND, 2, sent),
        ("Odd", End::Refuse, 0, refused),
    ] {
        let body = format!(r#"{{"status":"Active","substatus":"{substatus}","links":{{}}}}"#);
        let mut write = Received {
            method: Method::Put,
            id: Some(&id),
            headers: HeaderMap::from_iter([(header::IF_MATCH, HeaderValue::from_static("abc"))]),
            body: Payload::from(body.as_bytes()),
            context: Context::default(),
        }
        .mend(&policy);
        let Step::Done(judged) = write.judge(SETTINGS) else {
            panic!("no rule needs the state");
        };
        let rules: Vec<_> = judged
            .rules()
            .map(|(rule, decision)| {
                let findings = judged.findings_of(rule);
                let codes: Vec<_> = findings.iter().map(|finding| finding.code).collect();
                (&*rule.id, decision, codes)
            })
            .collect();
        assert_eq!(rules, expected);
        assert_eq!((judged.end(), judged.repairs().len()), (&end, repairs));
    }
}
