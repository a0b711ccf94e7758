//! The rules on PATCH: what is refused, by which state it is judged, and that what passes is untouched.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use http::Response;
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::support::{
    Answer, Gateway, ID, ITEM, LIST, TAG, Upstream, body, referral, reply, upstream::full,
};

const SHIPPED: &str = include_str!("../../policies/referrals.yaml");
const NEXT: &str = "\"0b00b1c2-0000-0100-0000-000000000777\"";

/// One operation on a member of the referral.
fn replace(path: &str, value: &str) -> Value {
    json!({"op": "replace", "path": path, "value": value})
}

fn closing(substatus: &str) -> String {
    json!([
        replace("/status", "Closed"),
        replace("/substatus", substatus)
    ])
    .to_string()
}

fn code(answer: &Answer) -> String {
    if answer.is_ours() {
        answer.problem().code
    } else {
        String::new()
    }
}

#[tokio::test]
async fn a_bad_patch_never_reaches_the_upstream() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start(&upstream).await;
    let operations = [
        (
            r#"{"op":"replace","path":"status","value":"New"}"#,
            400,
            "pointer_malformed",
        ),
        (
            r#"{"op":"replace","path":"//status","value":"New"}"#,
            400,
            "pointer_malformed",
        ),
        (
            r#"{"op":"replace","path":"/status/","value":"New"}"#,
            400,
            "pointer_malformed",
        ),
        (
            r#"{"op":"replace","path":"/","value":{"status":"New"}}"#,
            400,
            "pointer_malformed",
        ),
        (
            r#"{"op":"replace","path":"/~2","value":1}"#,
            400,
            "pointer_malformed",
        ),
        (
            r#"{"op":"replace","path":"/x/../status","value":1}"#,
            400,
            "pointer_malformed",
        ),
        (
            r#"{"op":"replace","path":"/%73tatus","value":"New"}"#,
            400,
            "pointer_ambiguous",
        ),
        (
            r#"{"op":"replace","path":"/\u017ftatus","value":"New"}"#,
            400,
            "pointer_ambiguous",
        ),
        (
            r#"{"op":"replace","path":"/~01status","value":"New"}"#,
            400,
            "pointer_ambiguous",
        ),
        (
            r#"{"op":"replace","path":["status","links"],"value":"New"}"#,
            400,
            "operation_malformed",
        ),
        (r#""replace""#, 400, "operation_malformed"),
        (r#"{"path":"/name","value":1}"#, 400, "operation_incomplete"),
        (r#"{"op":"add","value":1}"#, 400, "operation_incomplete"),
        (
            r#"{"op":"add","path":"/name"}"#,
            400,
            "operation_incomplete",
        ),
        (
            r#"{"op":"copy","path":"/name"}"#,
            400,
            "operation_incomplete",
        ),
        (
            r#"{"op":"2","path":"/status","value":"New"}"#,
            400,
            "operation_unknown",
        ),
        (
            r#"{"op":"add","path":"/a","Path":"/status","value":1}"#,
            400,
            "duplicate_member",
        ),
        (
            r#"{"op":"add","path":"/a","path\u200b":"/status","value":1}"#,
            400,
            "ambiguous_member",
        ),
        (r#"{"op":"add","path":"","value":7}"#, 400, "not_an_object"),
        (
            r#"{"op":"add","path":"/links","value":{}}"#,
            422,
            "links_present",
        ),
        (
            r#"{"op":"add","path":"/Links/self","value":{}}"#,
            422,
            "links_present",
        ),
        (r#"{"op":"remove","path":"/links"}"#, 422, "links_present"),
        (r#"{"op":"remove","path":"/status"}"#, 422, "status_unclear"),
        (
            r#"{"op":"test","path":"/Status","value":"Active"}"#,
            422,
            "status_unclear",
        ),
        (
            r#"{"op":"move","from":"/name","path":"/substatus"}"#,
            422,
            "substatus_unclear",
        ),
        (
            r#"{"op":"add","path":"/status/x","value":1}"#,
            422,
            "status_unclear",
        ),
        (
            r#"{"op":"add","path":"/status","value":"closed"}"#,
            422,
            "status_unknown",
        ),
        (
            r#"{"op":"add","path":"/STATUS","value":2}"#,
            422,
            "status_not_a_string",
        ),
        (
            r#"{"op":"add","path":"/status","value":"Closed"}"#,
            422,
            "substatus_not_allowed",
        ),
        (
            r#"{"op":"add","path":"/substatus","value":"Won"}"#,
            422,
            "substatus_not_allowed",
        ),
        (
            r#"{"op":"add","path":"","value":{"name":"x"}}"#,
            422,
            "status_missing",
        ),
        (
            r#"{"op":"add","path":"","value":{"status":"New","substatus":"Pending"}}"#,
            409,
            "transition_not_allowed",
        ),
    ];
    let whole = [
        ("", 400, "empty_body"),
        ("[{},]", 400, "malformed_json"),
        ("\"status\"", 400, "not_an_object"),
        (
            r#"{"status":"New","Status":"New"}"#,
            400,
            "duplicate_member",
        ),
        (r#"{"links":null}"#, 422, "links_present"),
        (r#"{"status":null}"#, 422, "status_not_a_string"),
        (
            r#"{"status":"New","substatus":"Pending"}"#,
            409,
            "transition_not_allowed",
        ),
    ];

    let operations = operations.map(|(operation, status, code)| {
        let body = format!("[{},\n{operation}]", replace("/name", "x"));
        (body, status, code)
    });
    let whole = whole.map(|(body, status, code)| (body.to_owned(), status, code));
    for (body, status, code) in operations.into_iter().chain(whole) {
        for path in [ITEM.to_owned(), format!("{ITEM}//")] {
            let answer = gateway.patch(&path, &body).send().await;

            assert_eq!(answer.status, status, "{body}: {}", answer.text());
            let problem = answer.problem();
            assert_eq!(problem.code, code, "{body}");
            let fix = problem.finding(code)["fix"].as_str();
            assert!(fix.is_some_and(|fix| !fix.is_empty()), "{body}");
        }
    }

    assert_eq!(upstream.count("PATCH"), 0);
}

#[tokio::test]
async fn a_fault_is_told_with_the_number_and_the_place_of_its_operation() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start(&upstream).await;

    let body = "[\n  {\"op\":\"add\",\"path\":\"/name\",\"value\":\"x\"},\n  {\"op\":\"add\",\"path\":\"status\",\"value\":\"New\"}\n]";
    let answer = gateway.patch(ITEM, body).send().await;

    let problem = answer.problem();
    let message = problem.finding("pointer_malformed")["message"].to_string();
    for piece in ["Operation 2", "line 3 column 3", "`status`"] {
        assert!(message.contains(piece), "{piece}: {message}");
    }
}

#[tokio::test]
async fn a_good_patch_passes_byte_for_byte_with_its_slashes_and_its_type() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start(&upstream).await;
    let array = " [\r\n {\"value\" : \"Won\", \"op\":\"add\", \"path\" : \"\\/subst\\u0061tus\" } , {\"op\":\"replace\",\"path\":\"/STATUS\",\"value\":\"Closed\"},{\"op\":\"add\",\"path\":\"/a~1b\",\"value\":1.50e+3,\"value2\":0}]\n";
    let object = "{ \"dealValue\" : 12500.50, \"Status\":\"Closed\",\"substatus\":\"Lost\", \"x\":[1,1], \"x\":null }";

    for (body, content_type, path) in [
        (array, Some("application/json"), ITEM.to_owned()),
        (
            array,
            Some("application/json-patch+json"),
            format!("{ITEM}/"),
        ),
        (
            array,
            Some("Application/JSON; charset=utf-8"),
            format!("{ITEM}//"),
        ),
        (array, None, format!("/v1.0/engagments/referrals('{ID}')/")),
        (
            object,
            Some("application/json"),
            format!("/v1.0//referrals/{ID}/"),
        ),
        (
            object,
            Some("application/merge-patch+json"),
            ITEM.to_owned(),
        ),
        (object, None, format!("{ITEM}?$expand=x")),
        ("[]", Some("application/json"), ITEM.to_owned()),
        ("{}", Some("application/json"), ITEM.to_owned()),
    ] {
        let call = gateway.call("PATCH", &path).body(body);
        let call = content_type
            .iter()
            .fold(call, |call, value| call.header("Content-Type", value));
        let answer = call.send().await;

        assert_eq!(answer.status, 204, "{path} {body}: {}", answer.text());
        assert_eq!(answer.header("warning"), None);
        let seen = upstream.seen().pop().unwrap();
        assert_eq!((seen.method.as_str(), seen.target()), ("PATCH", path));
        assert_eq!(seen.body, body.as_bytes());
        assert_eq!(seen.header("content-type").as_deref(), content_type);
        assert_eq!(seen.header("content-length"), Some(body.len().to_string()));
        assert_eq!(seen.header("if-match"), None, "none is filled in");
    }
}

#[tokio::test]
async fn a_type_that_contradicts_the_shape_is_refused() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start(&upstream).await;

    for (content_type, body, code) in [
        ("application/json-patch+json", "{}", "media_type_mismatch"),
        ("application/merge-patch+json", "[]", "media_type_mismatch"),
        ("text/json", "{}", "media_type_unsupported"),
        ("application/vnd.x+json", "{}", "media_type_unsupported"),
        (
            "application/json;charset=utf-7",
            "[]",
            "charset_unsupported",
        ),
    ] {
        let answer = gateway
            .patch(ITEM, body)
            .set("Content-Type", content_type)
            .send()
            .await;
        assert_eq!(
            (answer.status, answer.problem().code.as_str()),
            (415, code),
            "{content_type} {body}"
        );
    }
    let coded = gateway
        .patch(ITEM, "[]")
        .header("Content-Encoding", "gzip")
        .send()
        .await;
    assert_eq!(code(&coded), "content_encoding_unsupported");
    assert!(upstream.seen().is_empty());
}

#[tokio::test]
async fn every_cell_is_judged_by_the_outcome_in_every_form() {
    let states = [
        ("New", "Pending"),
        ("New", "Received"),
        ("Active", "Accepted"),
        ("Closed", "Won"),
        ("Closed", "Expired"),
    ];
    let upstream = Upstream::start().await;
    let gateway = Gateway::start(&upstream).await;

    for from in states {
        for to in states {
            let (status, substatus) = (replace("/status", to.0), replace("/substatus", to.1));
            for (body, to) in [
                (json!([status, substatus]), to),
                (json!([substatus, status]), to),
                (json!({"status": to.0, "substatus": to.1}), to),
                (json!([status]), (to.0, from.1)),
                (json!({"status": to.0}), (to.0, from.1)),
                (json!([substatus]), (from.0, to.1)),
                (json!({"substatus": to.1}), (from.0, to.1)),
            ] {
                upstream.hold(ID, from.0, from.1, TAG);
                let before = upstream.count("PATCH");

                let answer = gateway.patch(ITEM, body.to_string()).send().await;

                let goes_back = matches!(
                    (from.0, to.0),
                    ("Active", "New") | ("Closed", "New" | "Active")
                );
                let expected = if !states.contains(&to) {
                    (422, "substatus_not_allowed")
                } else if goes_back {
                    (409, "transition_not_allowed")
                } else if from.0 == "Closed" && from.1 != to.1 {
                    (409, "closed_substatus_change")
                } else {
                    (204, "")
                };
                assert_eq!(
                    (answer.status, code(&answer).as_str()),
                    expected,
                    "{from:?} {body}"
                );
                assert_eq!(
                    upstream.count("PATCH") - before,
                    usize::from(answer.status == 204),
                    "{from:?} {body}"
                );
            }
        }
    }
}

#[tokio::test]
async fn a_deal_registration_on_a_closed_referral_passes_without_a_question() {
    let upstream = Upstream::start().await;
    upstream.hold(ID, "Closed", "Won", TAG);
    let gateway = Gateway::start(&upstream).await;

    for body in [
        r#"[{"op":"add","path":"/registrations/-","value":{"type":"AzureIPCoSell","status":"New"}}]"#,
        r#"[{"op":"replace","path":"/registrations/0/contract/value","value":30000}]"#,
        r#"[{"op":"replace","path":"/statusReason","value":"signed"}]"#,
        r#"{"externalReferenceId":"CRM-1"}"#,
    ] {
        let answer = gateway.patch(&format!("{ITEM}/"), body).send().await;
        assert_eq!(answer.status, 204, "{body}: {}", answer.text());
    }

    assert_eq!((upstream.count("GET"), upstream.count("PATCH")), (0, 4));
    let passed = [("rule", "transition"), ("verdict", "pass")];
    assert_eq!(
        gateway.metric("policy_decisions_total", &passed).await as usize,
        4
    );
}

#[tokio::test]
async fn without_if_match_the_state_is_asked_for_each_time_and_the_verdict_is_unbound() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start(&upstream).await;
    gateway.get(ITEM).send().await;

    // Somebody else closes it meanwhile.
    upstream.hold(ID, "Closed", "Won", NEXT);
    let refused = gateway
        .patch(
            ITEM,
            json!([
                replace("/status", "Active"),
                replace("/substatus", "Accepted")
            ])
            .to_string(),
        )
        .header("client-request-id", "unbound-1")
        .send()
        .await;
    assert_eq!(
        (refused.status, code(&refused).as_str()),
        (409, "transition_not_allowed")
    );
    let passed = gateway
        .patch(ITEM, closing("Won"))
        .header("client-request-id", "unbound-2")
        .send()
        .await;
    assert_eq!(passed.status, 204);

    assert_eq!((upstream.count("GET"), upstream.count("PATCH")), (3, 1));
    for (id, verdict, to) in [
        ("unbound-1", "refuse", "Active"),
        ("unbound-2", "pass", "Closed"),
    ] {
        let record = gateway
            .record("the decision", |line| {
                line["request_id"] == id && !line["verdict"].is_null()
            })
            .await;
        for (field, value) in [
            ("verdict", json!(verdict)),
            ("method", json!("PATCH")),
            ("bound", json!(false)),
            ("from", json!("Closed")),
            ("to", json!(to)),
            ("unjudged", json!("")),
        ] {
            assert_eq!(record[field], value, "{id} {field}");
        }
    }
    let denied = [("from", "Closed"), ("to", "Active"), ("verdict", "deny")];
    assert_eq!(
        gateway.metric("policy_transitions_total", &denied).await as usize,
        1
    );
}

#[tokio::test]
async fn with_if_match_the_verdict_is_bound_to_that_version() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start(&upstream).await;
    gateway.get(ITEM).send().await;

    // It was Active at that tag, wherever it stands now: if it has moved on, the service says 412.
    upstream.hold(ID, "Closed", "Won", NEXT);
    let answer = gateway
        .patch(ITEM, closing("Lost"))
        .if_match(TAG)
        .header("client-request-id", "bound-1")
        .send()
        .await;

    assert_eq!(answer.status, 204, "{}", answer.text());
    assert_eq!(upstream.count("GET"), 1);
    assert_eq!(
        upstream.only("PATCH").header("if-match").as_deref(),
        Some(TAG)
    );
    let record = gateway
        .record("the decision", |line| {
            line["request_id"] == "bound-1" && !line["verdict"].is_null()
        })
        .await;
    assert_eq!(
        (&record["bound"], &record["from"]),
        (&json!(true), &json!("Active"))
    );

    let stale = Gateway::with("snapshots: { stale: refuse }")
        .start(&upstream)
        .await;
    let answer = stale
        .patch(ITEM, closing("Lost"))
        .if_match(TAG)
        .send()
        .await;
    assert_eq!((answer.status, code(&answer).as_str()), (412, "stale_etag"));
}

#[tokio::test]
async fn an_unusable_if_match_binds_nothing() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start(&upstream).await;
    gateway.get(ITEM).send().await;
    upstream.hold(ID, "Closed", "Won", NEXT);

    let bare = TAG.trim_matches('"');
    let cases: [&[&str]; 7] = [
        &["*"],
        &[&format!("W/{TAG}")],
        &[bare],
        &[""],
        &[TAG, TAG],
        &[&format!("{TAG}, {NEXT}")],
        &[&format!("\\{}", TAG.replace("\"", "\\\""))],
    ];
    for (number, tags) in cases.into_iter().enumerate() {
        let body = json!({"status": "Active", "substatus": "Accepted"}).to_string();
        let call = tags
            .iter()
            .fold(gateway.patch(ITEM, body), |call, tag| call.if_match(tag));
        let answer = call.send().await;

        assert_eq!(
            (answer.status, code(&answer).as_str()),
            (409, "transition_not_allowed"),
            "{tags:?}"
        );
        assert_eq!(upstream.count("GET"), 2 + number, "{tags:?}");

        let call = tags
            .iter()
            .fold(gateway.patch(ITEM, r#"{"name":"x"}"#), |call, tag| {
                call.if_match(tag)
            });
        assert_eq!(call.send().await.status, 204, "{tags:?}");
    }
    let unusable = [("kind", "unusable"), ("method", "PATCH")];
    assert_eq!(
        gateway.metric("preconditions_total", &unusable).await as usize,
        14
    );
}

#[tokio::test]
async fn if_match_is_asked_of_a_patch_when_the_document_says_so() {
    let policy = SHIPPED.replace(
        "check: if_match, on: [PUT]",
        "check: if_match, on: [PUT, PATCH]",
    );
    let upstream = Upstream::start().await;
    let gateway = Gateway::policy(&policy).start(&upstream).await;

    for (tags, code) in [
        (&[][..], "if_match_missing"),
        (&["*"], "if_match_wildcard"),
        (&["abc"], "if_match_unquoted"),
        (&[TAG, TAG], "if_match_repeated"),
    ] {
        let call = tags
            .iter()
            .fold(gateway.patch(ITEM, "{}"), |call, tag| call.if_match(tag));
        let answer = call.send().await;
        assert_eq!((answer.status, answer.problem().code.as_str()), (428, code));
    }
    let answer = gateway.patch(ITEM, "{}").if_match(TAG).send().await;
    assert_eq!((answer.status, upstream.count("PATCH")), (204, 1));
}

#[tokio::test]
async fn an_unbound_patch_is_not_judged_by_an_answer_that_was_asked_for_before_it() {
    let (go, held) = watch::channel(false);
    let asked = Arc::new(AtomicUsize::new(0));
    let upstream = Upstream::with(move |seen| {
        let mut held = held.clone();
        let is_first = seen.method == "GET" && asked.fetch_add(1, Ordering::SeqCst) == 0;
        async move {
            if !is_first {
                return None;
            }
            held.wait_for(|go| *go).await.ok();
            Some(crate::support::upstream::json(
                200,
                referral::shown(ID, "Active", "Accepted", TAG),
            ))
        }
    })
    .await;
    let gateway = Gateway::start(&upstream).await;

    let mut first = gateway.patch(ITEM, closing("Won")).open().await;
    upstream.arrived("GET", 1).await;
    // Whoever sends the second knows that it is closed.
    upstream.hold(ID, "Closed", "Lost", NEXT);
    let second = gateway.patch(ITEM, closing("Won")).send().await;
    assert_eq!(
        (second.status, code(&second).as_str()),
        (409, "closed_substatus_change")
    );
    go.send(true).unwrap();
    assert_eq!(first.answer("PATCH").await.status, 204);
    assert_eq!((upstream.count("GET"), upstream.count("PATCH")), (2, 1));
}

/// Answers a PATCH with the referral, closed as lost at [`NEXT`], when that is asked for.
async fn representing() -> Upstream {
    Upstream::with(|seen| async move {
        let asks = seen.header("prefer").as_deref() == Some("return=representation");
        (seen.method == "PATCH" && asks).then(|| {
            Response::builder()
                .header("Content-Type", "application/json")
                .header("Preference-Applied", "return=representation")
                .body(full(referral::shown(ID, "Closed", "Lost", NEXT)))
                .unwrap()
        })
    })
    .await
}

#[tokio::test]
async fn an_answer_with_the_referral_teaches_and_a_204_makes_forget() {
    let upstream = representing().await;
    let gateway = Gateway::start(&upstream).await;
    let known = async |tag: &str| {
        let before = upstream.count("GET");
        let answer = gateway
            .patch(ITEM, r#"{"substatus":"Lost"}"#)
            .if_match(tag)
            .send()
            .await;
        assert!(
            !answer.is_ours() || answer.status == 422,
            "{}",
            answer.text()
        );
        upstream.count("GET") == before
    };

    let answer = gateway
        .patch(ITEM, closing("Lost"))
        .header("Prefer", "return=representation")
        .send()
        .await;
    assert_eq!(
        (answer.status, answer.json()["status"].as_str()),
        (200, Some("Closed"))
    );
    assert_eq!(
        answer.header("preference-applied"),
        Some("return=representation")
    );
    assert_eq!(
        gateway
            .metric("snapshot_updates_total", &[("from", "patch")])
            .await as usize,
        1
    );

    assert!(known(NEXT).await, "what the answer showed is known");
    assert!(
        !known(NEXT).await,
        "a 204 tells no tag, so nothing is known any more"
    );
}

#[tokio::test]
async fn a_snapshot_without_a_substatus_is_asked_for_again_where_the_pair_counts() {
    let page = json!({"value": [{"id": ID, "status": "New", "eTag": TAG}]}).to_string();
    let upstream =
        Upstream::with(move |seen| {
            let page = page.clone();
            async move {
                (seen.target.path() == LIST).then(|| crate::support::upstream::json(200, page))
            }
        })
        .await;
    upstream.hold(ID, "New", "Received", TAG);
    let gateway = Gateway::start(&upstream).await;
    gateway
        .get(&format!("{LIST}?$select=id,status,eTag"))
        .send()
        .await;

    let answer = gateway
        .patch(ITEM, r#"{"status":"New"}"#)
        .if_match(TAG)
        .send()
        .await;

    assert_eq!(answer.status, 204, "{}", answer.text());
    assert_eq!(upstream.count("GET"), 2);
}

#[tokio::test]
async fn other_operations_pass_with_a_warning_where_they_touch_nothing_guarded() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start(&upstream).await;

    for body in [
        r#"[{"op":"remove","path":"/campaignId"}]"#,
        r#"[{"op":"test","path":"/name","value":"x"}]"#,
        r#"[{"op":"Replace","path":"/name","value":"x"}]"#,
    ] {
        let answer = gateway.patch(ITEM, body).send().await;
        assert_eq!(answer.status, 204, "{body}");
        let warning = answer.header("warning").expect("a Warning");
        assert!(
            warning.starts_with("299 referral-gateway \"operation_unsupported: Operation 1"),
            "{warning}"
        );
    }

    let policy = SHIPPED.replace(
        "check: patch_operations, on: [PATCH], mode: warn",
        "check: patch_operations, on: [PATCH], mode: enforce",
    );
    let strict = Gateway::policy(&policy).start(&upstream).await;
    let answer = strict
        .patch(ITEM, r#"[{"op":"remove","path":"/campaignId"}]"#)
        .send()
        .await;
    assert_eq!(
        (answer.status, code(&answer).as_str()),
        (422, "operation_unsupported")
    );
    assert_eq!(upstream.count("PATCH"), 3);
}

#[tokio::test]
async fn too_much_is_answered_shortly() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start(&upstream).await;
    let operation = replace("/name", "x").to_string();
    let many = |operation: &str, number: usize| format!("[{}]", vec![operation; number].join(","));
    let long = "x".repeat(1024 * 1024);
    let nearly = "~1".repeat(500_000);
    let guarded = replace(&format!("/status{nearly}"), "x").to_string();
    let unknown = json!({"op": &long[..900_000], "path": "/x", "value": 1}).to_string();

    for (body, status, code) in [
        (many(&operation, 10_000), 400, "too_many_operations"),
        (many("{}", 100_000), 400, "operation_incomplete"),
        (many("1", 400_000), 400, "operation_malformed"),
        (
            many(r#"{"op":"test","path":"/status","value":1}"#, 10_000),
            400,
            "too_many_operations",
        ),
        (
            format!("[{}]", replace("/name", &long)),
            413,
            "body_too_large",
        ),
        (format!("[{guarded}]"), 400, "pointer_ambiguous"),
        (format!("[{unknown}]"), 400, "operation_unknown"),
        ("[".repeat(1_000_000), 400, "nested_too_deep"),
        (
            format!("[{}", "{\"op\":".repeat(100_000)),
            400,
            "nested_too_deep",
        ),
    ] {
        let answer = gateway.patch(ITEM, &body).send().await;
        let start = &body[..60];
        assert_eq!(
            (answer.status, answer.problem().code.as_str()),
            (status, code),
            "{start}"
        );
        assert!(
            answer.body.len() < 16 * 1024,
            "{start}: {}",
            answer.body.len()
        );
    }
    assert!(upstream.seen().is_empty());

    let passes = gateway.patch(ITEM, many(&operation, 1000)).send().await;
    assert_eq!(passes.status, 204);
    let passes = gateway
        .patch(ITEM, format!("[{}]", replace("/notes", &long[..1_000_000])))
        .send()
        .await;
    assert_eq!(passes.status, 204);
}

#[tokio::test]
async fn a_patch_needs_its_state_only_if_it_touches_it() {
    for (status, told) in [(500, 503), (429, 503), (401, 401), (403, 403), (404, 404)] {
        let upstream = Upstream::with(move |seen| async move {
            (seen.method == "GET").then(|| reply(status, "no"))
        })
        .await;
        let gateway = Gateway::start(&upstream).await;

        let answer = gateway.patch(ITEM, r#"{"status":"Active"}"#).send().await;
        assert_eq!(answer.status, told, "{status}: {}", answer.text());
        assert_eq!(answer.is_ours(), told == 503);
        assert_eq!(upstream.count("PATCH"), 0);

        let answer = gateway.patch(ITEM, r#"{"name":"x"}"#).send().await;
        assert_eq!(answer.status, 204, "{status}");
    }
}

#[tokio::test]
async fn a_pair_that_cannot_be_judged_is_recorded_as_unjudged_where_it_only_watches() {
    let upstream =
        Upstream::with(|seen| async move { (seen.method == "GET").then(|| reply(500, "no")) })
            .await;
    for mode in ["audit", "warn"] {
        let policy = SHIPPED.replace("mode: enforce", &format!("mode: {mode}"));
        let gateway = Gateway::policy(&policy).start(&upstream).await;

        let answer = gateway.patch(ITEM, r#"{"status":"Active"}"#).send().await;

        assert_eq!(answer.status, 204, "{}", answer.text());
        for rule in ["substatus", "transition"] {
            let labels = [("rule", rule), ("mode", mode), ("verdict", "unjudged")];
            assert_eq!(
                gateway.metric("policy_decisions_total", &labels).await as usize,
                1,
                "{rule}"
            );
        }
    }
}

#[tokio::test]
async fn under_audit_and_warn_a_patch_is_forwarded_and_counted() {
    for mode in ["audit", "warn"] {
        let policy = SHIPPED.replace("mode: enforce", &format!("mode: {mode}"));
        let upstream = Upstream::start().await;
        let gateway = Gateway::policy(&policy).start(&upstream).await;

        for (body, rule, code) in [
            (
                r#"[{"op":"add","path":"status","value":1}]"#,
                "well-formed",
                "pointer_malformed",
            ),
            (
                r#"[{"op":"remove","path":"/links"}]"#,
                "links-removed",
                "links_present",
            ),
            (
                r#"{"status":"Closed"}"#,
                "substatus",
                "substatus_not_allowed",
            ),
            (
                r#"{"status":"New","substatus":"Pending"}"#,
                "transition",
                "transition_not_allowed",
            ),
        ] {
            let answer = gateway.patch(ITEM, body).send().await;

            assert_eq!(answer.status, 204, "{mode} {body}: {}", answer.text());
            assert_eq!(upstream.seen().pop().unwrap().body, body.as_bytes());
            let warned = answer
                .head
                .all("warning")
                .iter()
                .any(|text| text.contains(&format!("\"{code}: ")));
            assert_eq!(warned, mode == "warn", "{mode} {rule}");
            let verdict = if mode == "warn" { "warn" } else { "would_deny" };
            let labels = [("rule", rule), ("mode", mode), ("verdict", verdict)];
            assert!(
                gateway.metric("policy_decisions_total", &labels).await >= 1.0,
                "{mode} {rule}"
            );
        }
    }
}

#[tokio::test]
async fn a_patch_that_no_rule_looks_at_streams_untouched() {
    let policy = SHIPPED
        .lines()
        .filter(|line| !line.contains("patch_operations"))
        .map(|line| line.replace(", PATCH", "") + "\n")
        .collect::<String>();
    let upstream = Upstream::start().await;
    let gateway = Gateway::policy(&policy).start(&upstream).await;

    let answer = gateway.patch(ITEM, "[1,").send().await;

    assert_eq!(answer.status, 204);
    assert_eq!(upstream.only("PATCH").body, b"[1,");
}

#[tokio::test]
async fn a_chunked_patch_is_judged_whole_and_its_trailers_are_refused() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start(&upstream).await;
    let chunked = |body: &[&str], end: &str| {
        let chunks: String = body
            .iter()
            .map(|piece| format!("{:x}\r\n{piece}\r\n", piece.len()))
            .collect();
        format!(
            "PATCH {ITEM} HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}0\r\n{end}\r\n"
        )
    };

    let pieces = ["[{\"op\":\"add\",\"path\":\"/li", "nks\",\"value\":1}]"];
    assert!(
        gateway
            .raw(chunked(&pieces, ""))
            .await
            .contains("links_present")
    );
    let pieces = ["[{\"op\":\"add\",\"path\":\"/na", "me\",\"value\":1}]"];
    let answer = gateway.raw(chunked(&pieces, "X-Trailer: 1\r\n")).await;
    assert!(answer.contains("trailers_on_judged_write"), "{answer}");
    assert!(upstream.seen().is_empty());

    assert!(
        gateway
            .raw(chunked(&pieces, ""))
            .await
            .starts_with("HTTP/1.1 204")
    );
    assert_eq!(upstream.only("PATCH").body, pieces.concat().as_bytes());
}

#[tokio::test]
async fn a_put_after_an_unbound_patch_is_judged_by_what_the_patch_has_learnt() {
    let first = Arc::new(AtomicBool::new(true));
    let upstream = Upstream::with(move |seen| {
        let refused = seen.method == "PATCH" && first.swap(false, Ordering::SeqCst);
        async move { refused.then(|| reply(400, "not today")) }
    })
    .await;
    let gateway = Gateway::start(&upstream).await;
    let answer = gateway.patch(ITEM, closing("Won")).send().await;
    assert_eq!((answer.status, upstream.count("GET")), (400, 1));

    let answer = gateway
        .put(ITEM, body("Closed", "Won"))
        .if_match(TAG)
        .send()
        .await;

    assert_eq!(answer.status, 200, "{}", answer.text());
}

/// The conversations of a connector: close as lost, register a deal on a won one.
#[tokio::test]
async fn a_connector_talks_with_the_simulator_through_the_gateway() {
    let gateway = Gateway::with("").start_at("simulator").await;
    let patch = async |path: &str, body: Value| gateway.patch(path, body.to_string()).send().await;
    let state = async || {
        let seen = gateway.get(ITEM).send().await.json();
        let text = |name: &str| seen[name].as_str().unwrap_or_default().to_owned();
        (text("status"), text("substatus"))
    };
    assert_eq!(state().await, ("New".to_owned(), "Pending".to_owned()));

    // Accepting takes both: Active does not go with Pending.
    let half = patch(ITEM, json!([replace("/status", "Active")])).await;
    assert_eq!(
        (half.status, code(&half).as_str()),
        (422, "substatus_not_allowed")
    );
    let accepted = json!([
        replace("/substatus", "Accepted"),
        replace("/status", "Active")
    ]);
    assert_eq!(patch(ITEM, accepted).await.status, 204);
    assert_eq!(state().await, ("Active".to_owned(), "Accepted".to_owned()));

    let lost = json!([
        replace("/status", "Closed"),
        replace("/substatus", "Lost"),
        replace("/statusReason", "no budget"),
    ]);
    let answer = gateway
        .patch(ITEM, lost.to_string())
        .header("Prefer", "return=representation")
        .send()
        .await;
    assert_eq!(
        (answer.status, answer.json()["substatus"].as_str()),
        (200, Some("Lost"))
    );
    let tag = answer.json()["eTag"].as_str().unwrap().to_owned();

    // The answer told the tag and the state, so this needs no question.
    let asked = [("result", "fetched")];
    let before = gateway.metric("snapshot_lookups_total", &asked).await;
    let reopened = json!([
        replace("/status", "Active"),
        replace("/substatus", "Accepted")
    ]);
    let refused = gateway
        .patch(ITEM, reopened.to_string())
        .if_match(&tag)
        .send()
        .await;
    assert_eq!(
        (refused.status, code(&refused).as_str()),
        (409, "transition_not_allowed")
    );
    let after = gateway.metric("snapshot_lookups_total", &asked).await;
    assert!((after - before).abs() < f64::EPSILON, "{before} {after}");

    let registration = json!([{
        "op": "add",
        "path": "/registrations/-",
        "value": {
            "type": "AzureIPCoSell",
            "solutionDetails": [{ "id": "SOL-00001-TST", "currency": "USD", "value": 30000 }],
            "contract": { "currency": "USD", "value": 30000, "term": "Finite" },
        },
    }]);
    assert_eq!(patch(&format!("{ITEM}/"), registration).await.status, 204);
    let changed =
        json!([{ "op": "replace", "path": "/registrations/0/contract/value", "value": 40000 }]);
    assert_eq!(patch(&format!("{ITEM}//"), changed).await.status, 204);
    let stale = gateway
        .patch(ITEM, json!({"name": "x"}).to_string())
        .if_match(&tag)
        .send()
        .await;
    assert_eq!((stale.status, stale.is_ours()), (412, false));
    assert_eq!(state().await, ("Closed".to_owned(), "Lost".to_owned()));
}
