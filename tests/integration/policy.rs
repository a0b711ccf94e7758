//! The rules on PUT: what is refused, with which words, and that what passes is untouched.

use crate::support::{
    Answer, Gateway, ID, ITEM, TAG, Upstream, body, referral, referral::text, reply,
};

const RULES: [&str; 7] = [
    "well-formed",
    "if-match",
    "links-removed",
    "substatus",
    "transition",
    "same-id",
    "same-etag",
];

/// The document as shipped, but every rule in `mode`, save those named.
fn document(mode: &str, other: &[(&str, &str)]) -> String {
    let rules: String = RULES
        .iter()
        .map(|id| {
            let mode = other
                .iter()
                .find(|(rule, _)| rule == id)
                .map_or(mode, |(_, mode)| mode);
            format!(
                "  - {{ id: {id}, check: {}, on: [PUT], mode: {mode} }}\n",
                id.replace('-', "_")
            )
        })
        .collect();
    format!(
        "name: custom
rules:
{rules}states:
  New:    {{ next: [New, Active, Closed], substatus: [Pending, Received] }}
  Active: {{ next: [Active, Closed], substatus: [Accepted] }}
  Closed: {{ next: [Closed], substatus: [Won, Lost, Declined, Expired], substatus_may_change: false }}
"
    )
}

#[tokio::test]
async fn a_put_without_a_usable_if_match_never_reaches_the_upstream() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start(&upstream).await;
    let cases: [(&[&str], &str, &str); 17] = [
        (&[], "if_match_missing", ""),
        (&[""], "if_match_empty", ""),
        (&["   "], "if_match_empty", ""),
        (&["*"], "if_match_wildcard", "*"),
        (&[r#"W/"abc""#], "if_match_weak", "abc"),
        (&["abc"], "if_match_unquoted", "abc"),
        (
            &["0a00b1c2-0000-0100-0000-65f01d420000"],
            "if_match_unquoted",
            "0a00b1c2-0000-0100-0000-65f01d420000",
        ),
        (&[r#"\"abc\""#], "if_match_escaped", "abc"),
        (&[r#""\"abc\"""#], "if_match_escaped", "abc"),
        (&[r#""abc"#], "if_match_malformed", "abc"),
        (&[r#"abc""#], "if_match_malformed", "abc"),
        (&[r#""a b""#], "if_match_malformed", "a b"),
        (&[r#""abc" x"#], "if_match_malformed", "abc"),
        (&[r#""a", "b""#], "if_match_several", ""),
        (&[r#""a","b""#], "if_match_several", ""),
        (&[TAG, TAG], "if_match_repeated", ""),
        (&[TAG, "*"], "if_match_repeated", ""),
    ];

    for (tags, code, shown) in cases {
        let call = tags.iter().fold(
            gateway.put(ITEM, body("Active", "Accepted")),
            |call, tag| call.if_match(tag),
        );
        let answer = call.send().await;

        assert_eq!(answer.status, 428, "{tags:?}: {}", answer.text());
        let problem = answer.problem();
        assert_eq!(problem.code, code, "{tags:?}");
        assert_eq!(problem.findings(), [code], "{tags:?}");
        let finding = problem.finding(code);
        assert_eq!(finding["rule"], "if-match");
        let fix = finding["fix"].as_str().unwrap();
        assert!(
            fix.contains('"') || fix.contains("eTag"),
            "{tags:?}: the right form is not shown: {fix}"
        );
        let words = finding.to_string();
        assert!(
            words.contains(shown),
            "{tags:?}: the value received is not shown: {words}"
        );
    }

    assert!(upstream.seen().is_empty(), "{:?}", upstream.seen());
}

#[tokio::test]
async fn the_order_of_two_if_match_lines_does_not_matter() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start(&upstream).await;

    for names in [["If-Match", "if-match"], ["IF-MATCH", "If-Match"]] {
        let call = gateway
            .put(ITEM, body("Active", "Accepted"))
            .header(names[0], "")
            .header(names[1], TAG);
        assert_eq!(call.send().await.problem().code, "if_match_repeated");
    }

    assert!(upstream.seen().is_empty());
}

#[tokio::test]
async fn a_body_with_links_or_with_a_wrong_status_never_reaches_the_upstream() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start(&upstream).await;
    let cases = [
        (r#"{@,"links":{}}"#, "links_present"),
        (r#"{@,"links":null}"#, "links_present"),
        (r#"{@,"links":[]}"#, "links_present"),
        (r#"{@,"links":false}"#, "links_present"),
        (r#"{@,"Links":{"self":{}}}"#, "links_present"),
        (r#"{@,"LINKS":{}}"#, "links_present"),
        (r#"{@,"\u006cinks":{}}"#, "links_present"),
        (r#"{@,"\u004CINK\u0053":{}}"#, "links_present"),
        (r#"{"substatus":"Accepted"}"#, "status_missing"),
        (
            r#"{"status":null,"substatus":"Accepted"}"#,
            "status_not_a_string",
        ),
        (
            r#"{"status":1,"substatus":"Accepted"}"#,
            "status_not_a_string",
        ),
        (
            r#"{"status":["Active"],"substatus":"Accepted"}"#,
            "status_not_a_string",
        ),
        (
            r#"{"status":{"x":"Active"},"substatus":"Won"}"#,
            "status_not_a_string",
        ),
        (
            r#"{"status":true,"substatus":"Accepted"}"#,
            "status_not_a_string",
        ),
        (
            r#"{"status":"Open","substatus":"Accepted"}"#,
            "status_unknown",
        ),
        (
            r#"{"status":"active","substatus":"Accepted"}"#,
            "status_unknown",
        ),
        (
            r#"{"status":" Active ","substatus":"Accepted"}"#,
            "status_unknown",
        ),
        (r#"{"status":"1","substatus":"Accepted"}"#, "status_unknown"),
        (r#"{"status":"","substatus":"Accepted"}"#, "status_unknown"),
        (r#"{"status":"None","substatus":"None"}"#, "status_unknown"),
        (
            r#"{"status":"Active,Closed","substatus":"Won"}"#,
            "status_unknown",
        ),
        (r#"{"status":"Active"}"#, "substatus_missing"),
        (
            r#"{"status":"Active","substatus":null}"#,
            "substatus_not_a_string",
        ),
        (
            r#"{"status":"Active","substatus":3}"#,
            "substatus_not_a_string",
        ),
        (
            r#"{"status":"Active","substatus":"accepted"}"#,
            "substatus_unknown",
        ),
        (
            r#"{"status":"Active","substatus":"Error"}"#,
            "substatus_unknown",
        ),
        (
            r#"{"status":"Active","substatus":"None"}"#,
            "substatus_unknown",
        ),
        (
            r#"{"status":"Active","substatus":"Won"}"#,
            "substatus_not_allowed",
        ),
        (
            r#"{"status":"Active","substatus":"Pending"}"#,
            "substatus_not_allowed",
        ),
        (
            r#"{"status":"New","substatus":"Accepted"}"#,
            "substatus_not_allowed",
        ),
        (
            r#"{"status":"Closed","substatus":"Accepted"}"#,
            "substatus_not_allowed",
        ),
        (
            r#"{"status":"Closed","substatus":"Received"}"#,
            "substatus_not_allowed",
        ),
        (
            r#"{@,"id":"5f1c2d3e-0001-4a4a-9b9b-00000000a002"}"#,
            "id_mismatch",
        ),
        (
            r#"{@,"ID":"5f1c2d3e-0001-4a4a-9b9b-00000000a002"}"#,
            "id_mismatch",
        ),
        (r#"{@,"id":7}"#, "id_mismatch"),
    ];

    for (form, code) in cases {
        let answer = gateway.put(ITEM, text(form)).if_match(TAG).send().await;

        assert_eq!(answer.status, 422, "{form}: {}", answer.text());
        let problem = answer.problem();
        assert_eq!(problem.code, code, "{form}: {:#}", problem.value);
        let fix = problem.finding(code)["fix"].as_str();
        assert!(fix.is_some_and(|fix| !fix.is_empty()), "{form}");
    }

    assert_eq!(upstream.count("PUT"), 0);
}

#[tokio::test]
async fn an_unknown_value_is_answered_with_the_nearest_known_one() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start(&upstream).await;

    for (status, substatus, code, nearest) in [
        ("closed", "Won", "status_unknown", "Closed"),
        ("Actve", "Accepted", "status_unknown", "Active"),
        (" New ", "Pending", "status_unknown", "New"),
        ("Closed", "won", "substatus_unknown", "Won"),
        ("Closed", "Expird", "substatus_unknown", "Expired"),
    ] {
        let answer = gateway
            .put(ITEM, body(status, substatus))
            .if_match(TAG)
            .send()
            .await;
        let problem = answer.problem();
        let fix = problem.finding(code)["fix"].as_str().unwrap().to_owned();
        assert!(fix.contains(nearest), "{status}/{substatus}: {fix}");
    }
}

#[tokio::test]
async fn a_name_that_only_contains_a_guarded_one_is_not_guarded() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start(&upstream).await;

    for form in [
        r#"{@,"linksto":1,"_links":2,"link":3}"#,
        r#"{@,"details":{"links":{},"status":"x","status":"y"}}"#,
        r#"{@,"statusReason":"links","statusReason":"status"}"#,
        r#"{@,"team":[{"id":"other"}],"target":[{"id":1}]}"#,
    ] {
        upstream.hold(ID, "Active", "Accepted", TAG);
        let answer = gateway.put(ITEM, text(form)).if_match(TAG).send().await;
        assert_eq!(answer.status, 200, "{form}: {}", answer.text());
    }
}

#[tokio::test]
async fn an_entity_tag_passes_character_for_character() {
    let upstream =
        Upstream::with(|seen| async move { (seen.method == "PUT").then(|| reply(200, "{}")) })
            .await;
    let gateway = Gateway::with("snapshots: { unknown_state: forward }")
        .start(&upstream)
        .await;
    let tags = [
        TAG,
        "\"!#$%&'()*+-./:;<=>?@[]^_`{|}~\"",
        "\"é\"",
        "\"W/x\"",
        "\"ABCdef\"",
    ];

    for (number, tag) in tags.into_iter().enumerate() {
        let answer = gateway.put(ITEM, text("{@}")).if_match(tag).send().await;

        assert_eq!(answer.status, 200, "{tag}: {}", answer.text());
        assert_eq!(
            upstream.seen()[number].header("if-match").as_deref(),
            Some(tag)
        );
    }
}

const SEED_SHAPE: &str = r#" {
    "id": "49d90c72-0000-4f61-aacc-2cb57970448c",
    "engagementId": "37ef26aa-0000-4533-9f93-a69bd33ab1e5",
    "createdDateTime": "2018-11-06T18:40:42.6178337Z",
    "updatedDateTime": "2018-11-06T18:40:42.6178337Z",
    "status": "Closed",
    "substatus": "Won",
    "statusReason": "Customer engagement was a success!",
    "type": "Independent",
    "consent": {
        "consentToToShareInfoWithOthers": true,
        "consentToContact": true
    },
    "details": {
        "dealValue": 50000,
        "currency": "USD"
    },
    "team": [],
    "eTag": "\"2500ec5a-0000-0000-0000-5bf4967d0000\"",

}
"#;

#[tokio::test]
async fn the_documented_example_is_refused_with_both_its_faults_and_passes_when_they_are_mended() {
    let id = "49d90c72-0000-4f61-aacc-2cb57970448c";
    let tag = "\"2500ec5a-0000-0000-0000-5bf4967d0000\"";
    let path = format!("/v1.0/engagements/referrals/{id}");
    let upstream = Upstream::start().await;
    upstream.hold(id, "Active", "Accepted", tag);
    let gateway = Gateway::start(&upstream).await;

    let refused = gateway.put(&path, SEED_SHAPE).send().await;
    assert_eq!(refused.status, 400);
    let problem = refused.problem();
    assert_eq!(problem.code, "malformed_json");
    assert_eq!(problem.findings(), ["malformed_json", "if_match_missing"]);
    assert!(upstream.seen().is_empty());

    let mended = SEED_SHAPE.replace("\",\n\n}", "\"\n}");
    let passed = gateway.put(&path, &mended).if_match(tag).send().await;
    assert_eq!(passed.status, 200, "{}", passed.text());
    assert_eq!(upstream.only("PUT").body, mended.as_bytes());
}

#[tokio::test]
async fn every_finding_is_reported_and_the_first_rule_decides_the_status() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start(&upstream).await;

    let sent = r#"{"id":"other","links":{},"status":"Open","substatus":"Won"}"#;
    let answer = gateway.put(ITEM, sent).send().await;
    assert_eq!(answer.status, 428);
    let problem = answer.problem();
    assert_eq!(
        problem.findings(),
        [
            "if_match_missing",
            "links_present",
            "status_unknown",
            "id_mismatch"
        ]
    );
    let rules: Vec<_> = problem
        .findings()
        .iter()
        .map(|code| problem.finding(code)["rule"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(rules, ["if-match", "links-removed", "substatus", "same-id"]);
    assert!(upstream.seen().is_empty());

    let sent = r#"{"id":"other","links":{},"status":"Active","substatus":"Won"}"#;
    let answer = gateway.put(ITEM, sent).if_match(TAG).send().await;
    assert_eq!(answer.status, 422);
    let problem = answer.problem();
    assert_eq!(problem.code, "links_present");
    assert!(
        problem.findings().ends_with(&["id_mismatch"]),
        "{:?}",
        problem.findings()
    );
    assert!(problem.findings().contains(&"substatus_not_allowed"));
    assert_eq!(upstream.count("PUT"), 0);
}

#[tokio::test]
async fn a_caller_that_asks_for_problem_json_gets_it() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start(&upstream).await;
    let call = gateway.put(ITEM, body("Active", "Accepted"));

    for (accept, expected) in [
        ("application/json", "application/json"),
        ("*/*", "application/json"),
        ("application/problem+json", "application/problem+json"),
        (
            "application/problem+json, application/json;q=0.5",
            "application/problem+json",
        ),
        ("application/problem+json;q=0", "application/json"),
        ("application/problem+jsonx", "application/json"),
        (
            "application/problem+json;q=0.4, */*;q=0.5",
            "application/json",
        ),
    ] {
        let answer = call.clone().header("Accept", accept).send().await;
        answer.problem();
        assert!(
            answer.header("content-type").unwrap().starts_with(expected),
            "{accept}"
        );
    }
    let two_lines = call
        .header("Accept", "application/json;q=0.5")
        .header("Accept", "application/problem+json");
    let answer = two_lines.send().await;
    assert_eq!(
        answer.header("content-type"),
        Some("application/problem+json")
    );
}

#[tokio::test]
async fn a_tag_in_the_body_that_differs_is_a_warning_by_default() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start(&upstream).await;

    let sent = referral::of(ID, "Active", "Accepted", "\"another\"");
    let answer = gateway.put(ITEM, &sent).if_match(TAG).send().await;

    assert_eq!(answer.status, 200, "{}", answer.text());
    let warning = answer.header("warning").expect("a Warning");
    assert!(
        warning.starts_with("299 referral-gateway \"etag_mismatch: "),
        "{warning}"
    );
    assert_eq!(upstream.only("PUT").body, sent.as_bytes());
    assert_eq!(upstream.only("PUT").header("warning"), None);
}

#[tokio::test]
async fn a_rule_that_is_switched_to_enforce_refuses() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::policy(&document("enforce", &[]))
        .start(&upstream)
        .await;

    let sent = referral::of(ID, "Active", "Accepted", "\"another\"");
    let answer = gateway.put(ITEM, sent).if_match(TAG).send().await;

    assert_eq!(
        (answer.status, answer.problem().code.as_str()),
        (412, "etag_mismatch")
    );
    assert_eq!(upstream.count("PUT"), 0);
}

/// A PUT that one rule alone finds fault with.
struct Fault {
    rule: &'static str,
    code: &'static str,
    status: u16,
    tag: Option<&'static str>,
    body: String,
}

impl Fault {
    fn new(rule: &'static str, code: &'static str, status: u16, body: String) -> Self {
        let tag = (rule != "if-match").then_some(TAG);
        Self {
            rule,
            code,
            status,
            tag,
            body,
        }
    }

    async fn send(&self, gateway: &Gateway) -> Answer {
        let call = gateway.put(ITEM, &self.body);
        let call = self.tag.iter().fold(call, |call, tag| call.if_match(tag));
        call.send().await
    }
}

/// One fault for each rule.
fn faults() -> [Fault; 7] {
    let good = body("Active", "Accepted");
    let differs = referral::of(ID, "Active", "Accepted", "\"x\"");
    let backwards = body("New", "Pending");
    [
        Fault::new("well-formed", "malformed_json", 400, text("{@,}")),
        Fault::new("if-match", "if_match_missing", 428, good),
        Fault::new(
            "links-removed",
            "links_present",
            422,
            text(r#"{@,"links":{}}"#),
        ),
        Fault::new(
            "substatus",
            "substatus_not_allowed",
            422,
            body("Active", "Won"),
        ),
        Fault::new("transition", "transition_not_allowed", 409, backwards),
        Fault::new("same-id", "id_mismatch", 422, text(r#"{@,"id":"x"}"#)),
        Fault::new("same-etag", "etag_mismatch", 412, differs),
    ]
}

#[tokio::test]
async fn each_rule_refuses_alone_when_all_others_are_off() {
    for fault in faults() {
        let (rule, code) = (fault.rule, fault.code);
        let upstream = Upstream::start().await;
        let gateway = Gateway::policy(&document("off", &[(rule, "enforce")]))
            .start(&upstream)
            .await;

        let answer = fault.send(&gateway).await;

        assert_eq!(answer.status, fault.status, "{rule}: {}", answer.text());
        let problem = answer.problem();
        assert_eq!(problem.findings(), [code], "{rule}");
        assert_eq!(problem.finding(code)["mode"], "enforce");
        assert_eq!(upstream.count("PUT"), 0, "{rule}");
    }
}

#[tokio::test]
async fn a_rule_that_is_off_finds_nothing() {
    for fault in faults() {
        let (rule, code) = (fault.rule, fault.code);
        if rule == "well-formed" {
            continue; // Without a body that can be read no other rule can be sure: such a body is refused.
        }
        let upstream = Upstream::start().await;
        let gateway = Gateway::policy(&document("enforce", &[(rule, "off")]))
            .start(&upstream)
            .await;

        let answer = fault.send(&gateway).await;

        assert!(!answer.is_ours(), "{rule}: {}", answer.text());
        assert_eq!(answer.header("warning"), None, "{rule}");
        assert_eq!(upstream.only("PUT").body, fault.body.as_bytes(), "{rule}");
        assert!(!answer.text().contains(code));
    }
}

#[tokio::test]
async fn under_audit_and_warn_all_is_forwarded_and_counted() {
    for mode in ["audit", "warn"] {
        let upstream = Upstream::start().await;
        let gateway = Gateway::policy(&document(mode, &[])).start(&upstream).await;
        for (number, fault) in faults().into_iter().enumerate() {
            let (rule, code) = (fault.rule, fault.code);
            upstream.hold(ID, "Active", "Accepted", TAG);
            let before = gateway
                .metric("policy_decisions_total", &[("rule", rule), ("mode", mode)])
                .await;

            let answer = fault.send(&gateway).await;

            assert!(!answer.is_ours(), "{mode} {rule}: {}", answer.text());
            let puts: Vec<_> = upstream
                .seen()
                .into_iter()
                .filter(|seen| seen.method == "PUT")
                .collect();
            assert_eq!(puts.len(), number + 1, "{mode} {rule}");
            assert_eq!(puts[number].body, fault.body.as_bytes(), "{mode} {rule}");
            let warned = answer
                .head
                .all("warning")
                .iter()
                .any(|text| text.contains(&format!("\"{code}: ")));
            assert_eq!(warned, mode == "warn", "{mode} {rule}: {:?}", answer.head);
            let after = gateway
                .metric("policy_decisions_total", &[("rule", rule), ("mode", mode)])
                .await;
            assert!(after > before, "{mode} {rule}: {before} -> {after}");
        }
    }
}

#[tokio::test]
async fn an_unreadable_body_is_refused_as_long_as_any_rule_on_the_body_is_enforced() {
    for rule in ["links-removed", "substatus", "transition", "same-id"] {
        let upstream = Upstream::start().await;
        let document = document("off", &[(rule, "enforce"), ("well-formed", "audit")]);
        let gateway = Gateway::policy(&document).start(&upstream).await;

        let answer = gateway
            .put(ITEM, text(r#"{@,"links":{},}"#))
            .if_match(TAG)
            .send()
            .await;

        assert!(answer.is_ours(), "{rule}: {}", answer.text());
        assert_eq!(upstream.count("PUT"), 0, "{rule}");
    }
}

#[tokio::test]
async fn a_rule_may_answer_with_a_status_of_its_own() {
    let upstream = Upstream::start().await;
    let document = document("enforce", &[]).replace(
        "check: if_match, on: [PUT], mode: enforce",
        "check: if_match, on: [PUT], mode: enforce, status: 412",
    );
    let gateway = Gateway::policy(&document).start(&upstream).await;

    let answer = gateway.put(ITEM, body("Active", "Accepted")).send().await;

    assert_eq!(
        (answer.status, answer.problem().code.as_str()),
        (412, "if_match_missing")
    );
}

#[tokio::test]
async fn the_tables_of_states_come_from_the_document() {
    let upstream = Upstream::start().await;
    let document = document("enforce", &[])
        .replace("next: [Active, Closed]", "next: [Active]")
        .replace("substatus: [Accepted]", "substatus: [Accepted, Engaged]");
    let gateway = Gateway::policy(&document).start(&upstream).await;

    let closing = gateway
        .put(ITEM, body("Closed", "Won"))
        .if_match(TAG)
        .send()
        .await;
    assert_eq!(
        (closing.status, closing.problem().code.as_str()),
        (409, "transition_not_allowed")
    );

    let engaged = gateway
        .put(ITEM, body("Active", "Engaged"))
        .if_match(TAG)
        .send()
        .await;
    assert_eq!(engaged.status, 200, "{}", engaged.text());
}

#[tokio::test]
async fn the_substatus_of_a_closed_referral_may_change_when_the_document_says_so() {
    let document = document("enforce", &[])
        .replace("substatus_may_change: false", "substatus_may_change: true");
    for (document, status) in [(Some(document), 200), (None, 409)] {
        let upstream = Upstream::start().await;
        upstream.hold(ID, "Closed", "Won", TAG);
        let gateway = match &document {
            Some(document) => Gateway::policy(document).start(&upstream).await,
            None => Gateway::start(&upstream).await,
        };

        let answer = gateway
            .put(ITEM, body("Closed", "Lost"))
            .if_match(TAG)
            .send()
            .await;

        assert_eq!(answer.status, status, "{}", answer.text());
        if status == 409 {
            assert_eq!(answer.problem().code, "closed_substatus_change");
        }
    }
}

#[tokio::test]
async fn every_transition_is_judged_against_the_state_at_the_named_tag() {
    let states = [
        ("New", "Pending"),
        ("Active", "Accepted"),
        ("Closed", "Won"),
    ];
    let allowed = [
        ("New", "New"),
        ("New", "Active"),
        ("New", "Closed"),
        ("Active", "Active"),
        ("Active", "Closed"),
        ("Closed", "Closed"),
    ];
    let upstream = Upstream::start().await;
    let gateway = Gateway::start(&upstream).await;

    for (from, substatus) in states {
        for (to, new) in states {
            let id = format!("5f1c2d3e-0001-4a4a-9b9b-{:06}{:06}", from.len(), to.len());
            upstream.hold(&id, from, substatus, TAG);
            let path = format!("/v1.0/engagements/referrals/{id}");
            let before = upstream.count("PUT");

            let answer = gateway
                .put(&path, referral::of(&id, to, new, TAG))
                .if_match(TAG)
                .send()
                .await;

            if allowed.contains(&(from, to)) {
                assert_eq!(answer.status, 200, "{from} -> {to}: {}", answer.text());
            } else {
                assert_eq!(answer.status, 409, "{from} -> {to}: {}", answer.text());
                assert_eq!(answer.problem().code, "transition_not_allowed");
                assert_eq!(upstream.count("PUT"), before, "{from} -> {to}");
            }
        }
    }
}

#[tokio::test]
async fn a_refusal_names_no_state_to_a_credential_that_is_not_proven() {
    let upstream = Upstream::with(|seen| async move {
        seen.header("authorization")
            .is_some_and(|value| value.contains("forged"))
            .then(|| reply(401, "no"))
    })
    .await;
    upstream.hold(ID, "Closed", "Declined", TAG);
    let gateway = Gateway::start(&upstream).await;
    assert_eq!(gateway.get(ITEM).send().await.status, 200);

    let answer = gateway
        .put(ITEM, body("Active", "Accepted"))
        .if_match(TAG)
        .bearer("forged")
        .send()
        .await;

    assert_eq!((answer.status, answer.text().as_str()), (401, "no"));
    assert!(!answer.text().contains("Declined"));
}
