//! Rules that somebody else writes: what they see of a request, and what comes of it.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::{
    Answer, Gateway, ID, ITEM, LIST, TAG, Upstream, body,
    gateway::Builder,
    reply,
    token::{TENANT, token},
};

const STATES: &str = "states:
  New:    { next: [New, Active, Closed], substatus: [Pending, Received] }
  Active: { next: [Active, Closed], substatus: [Accepted] }
  Closed: { next: [Closed], substatus: [Won, Lost, Declined, Expired], substatus_may_change: false }
";

/// A policy of one rule, with further keys.
fn rule(expression: &str, keys: &str) -> Builder {
    Gateway::policy(&format!(
        "name: own
rules:
  - id: own
    check: expression
    expression: |-
{}
    message: \"This is not our way.\"
    fix: \"Do it our way.\"
    on: [PUT, PATCH, POST]
{keys}{STATES}",
        expression
            .lines()
            .map(|line| format!("      {line}"))
            .collect::<Vec<_>>()
            .join("\n")
    ))
}

const ENFORCE: &str = "    mode: enforce\n";

const CAP: &str = "!has(body.details) || !has(body.details.dealValue)
|| double(body.details.dealValue) <= 100000.0
|| (has(body.statusReason) && body.statusReason.matches('\\\\S'))";
const APPLICATION: &str = "request.application != 'forbidden'";
const REASON: &str = "!has(body.substatus) || !(body.substatus in ['Declined', 'Lost'])
|| (has(body.statusReason) && body.statusReason.matches('\\\\S'))";

fn add(path: &str, value: &Value) -> Value {
    json!({"op": "replace", "path": path, "value": value})
}

#[track_caller]
fn check(answer: &Answer, passes: bool, told: &str) {
    if passes {
        assert!(
            answer.status < 300 && !answer.is_ours(),
            "{told}: {}",
            answer.text()
        );
    } else {
        assert_eq!(answer.status, 403, "{told}: {}", answer.text());
        let problem = answer.problem();
        assert!(
            ["expression_not_met", "expression_failed"].contains(&&*problem.code),
            "{told}: {}",
            problem.code
        );
        let finding = problem.finding(&problem.code);
        assert_eq!(
            (&finding["rule"], &finding["fix"]),
            (&json!("own"), &json!("Do it our way."))
        );
        assert!(
            finding["message"]
                .as_str()
                .unwrap()
                .starts_with("This is not our way.")
        );
    }
}

#[tokio::test]
async fn a_large_deal_needs_a_reason_however_it_is_sent() {
    let upstream = Upstream::start().await;
    let gateway = rule(CAP, ENFORCE).start(&upstream).await;
    for (value, reason, passes) in [
        (json!(100_000), None, true),
        (json!("100000.00"), None, true),
        (json!(100_001), None, false),
        (json!("1e9"), None, false),
        (json!(100_001), Some(" "), false),
        (json!(100_001), Some("signed by the board"), true),
        (json!(null), None, false),
        (json!("a lot"), None, false),
    ] {
        for (deal, details, why) in [
            ("dealValue", "details", "statusReason"),
            ("DealValue", "DETAILS", "StatusReason"),
        ] {
            let mut object = json!({ details: { deal: value } });
            let mut patch = vec![add(&format!("/{details}/{deal}"), &value)];
            if let Some(reason) = reason {
                object[why] = reason.into();
                patch.push(add(&format!("/{why}"), &reason.into()));
            }
            let (object, patch) = (object.to_string(), Value::from(patch).to_string());
            let put = gateway.put(ITEM, &object).if_match(&upstream.tag(ID));
            check(&put.send().await, passes, &object);
            check(&gateway.patch(ITEM, &object).send().await, passes, &object);
            check(&gateway.patch(ITEM, &patch).send().await, passes, &patch);
        }
    }
}

#[tokio::test]
async fn a_refused_deal_needs_a_reason_however_it_is_sent() {
    let upstream = Upstream::start().await;
    let gateway = rule(REASON, ENFORCE).start(&upstream).await;
    for (substatus, reason, passes) in [
        ("Won", None, true),
        ("Lost", None, false),
        ("Declined", Some(""), false),
        ("Declined", Some("no time"), true),
    ] {
        for (name, why) in [("substatus", "statusReason"), ("SubStatus", "STATUSREASON")] {
            let mut object = json!({ "status": "Closed", name: substatus });
            let mut patch = vec![add(&format!("/{name}"), &substatus.into())];
            if let Some(reason) = reason {
                object[why] = reason.into();
                patch.push(add(&format!("/{why}"), &reason.into()));
            }
            let (object, patch) = (object.to_string(), Value::from(patch).to_string());
            let put = gateway.put(ITEM, &object).if_match(&upstream.tag(ID));
            check(&put.send().await, passes, &object);
            check(&gateway.patch(ITEM, &object).send().await, passes, &object);
            check(&gateway.patch(ITEM, &patch).send().await, passes, &patch);
        }
    }
}

#[tokio::test]
async fn an_application_may_be_kept_from_writing() {
    let upstream = Upstream::start().await;
    let gateway = rule(APPLICATION, ENFORCE).start(&upstream).await;
    for (application, passes) in [("forbidden", false), ("welcome", true)] {
        let token = token(TENANT, "user", application);
        let put = gateway
            .put(ITEM, body("Active", "Accepted"))
            .if_match(&upstream.tag(ID));
        check(&put.bearer(&token).send().await, passes, application);
        let patch = gateway.patch(ITEM, r#"{"name":"x"}"#).bearer(&token);
        check(&patch.send().await, passes, application);
        let read = gateway.get(ITEM).bearer(&token).send().await;
        assert_eq!(read.status, 200, "a read is no write");
    }
}

#[tokio::test]
async fn an_expression_without_a_value_refuses_unless_the_rule_says_otherwise() {
    for (on_error, passes) in [
        ("", false),
        ("    on_error: deny\n", false),
        ("    on_error: pass\n", true),
    ] {
        let upstream = Upstream::start().await;
        let gateway = rule(
            "body.details.dealValue < 5",
            &format!("{ENFORCE}{on_error}"),
        )
        .start(&upstream)
        .await;
        for text in [
            r#"{"name":"Pat Example"}"#,
            r#"{"details":{"dealValue":"Pat Example"}}"#,
            r#"{"details":{"dealValue":1,"DEALVALUE":7}}"#,
            r#"[{"op":"move","from":"/a","path":"/details/dealValue"}]"#,
        ] {
            let answer = gateway.patch(ITEM, text).send().await;
            check(&answer, passes, text);
            assert!(passes || answer.problem().code == "expression_failed");
            assert!(!answer.text().contains("Pat Example"), "{}", answer.text());
        }
        // What has a value is judged by it in either case; what cannot be read is refused in either case.
        let answer = gateway
            .patch(ITEM, r#"{"details":{"dealValue":7}}"#)
            .send()
            .await;
        check(&answer, false, "7 < 5");
        let answer = gateway.patch(ITEM, r#"{"details":"#).send().await;
        assert_eq!(
            (answer.status, &*answer.problem().code),
            (400, "malformed_json")
        );
    }
}

#[tokio::test]
async fn an_expression_sees_tenant_and_request() {
    let upstream = Upstream::start().await;
    let known = format!("tenants:\n  known: {{ contoso: {{ id: \"{TENANT}\" }} }}\n");
    for expression in [
        "tenant.alias == 'contoso'".to_owned(),
        format!("tenant.id == '{TENANT}'"),
        "request.application == 'app'".to_owned(),
        "request.method == 'PATCH' && request.route == 'referral_item'".to_owned(),
        "'x-reason' in request.headers && !('x-other' in request.headers)".to_owned(),
        "request.query.why == 'a b' && request.query.WHY == 'a b' && !has(request.query.other)"
            .to_owned(),
    ] {
        let gateway = rule(&expression, ENFORCE)
            .settings(&known)
            .start(&upstream)
            .await;
        let call = gateway
            .patch(&format!("{ITEM}?why=a%20b"), r#"{"name":"x"}"#)
            .header("X-Reason", "secret");
        let mine = token(TENANT, "user", "app");
        check(&call.clone().bearer(&mine).send().await, true, &expression);
        let other = gateway
            .put(ITEM, body("Active", "Accepted"))
            .header("X-Other", "1")
            .bearer(&token("other", "user", "other"));
        check(&other.send().await, false, &expression);
    }
}

#[tokio::test]
async fn an_expression_about_the_referral_asks_once_where_it_stands() {
    let upstream = Upstream::start().await;
    let gateway = rule("referral.known && referral.status != 'Closed'", ENFORCE)
        .start(&upstream)
        .await;
    check(
        &gateway.patch(ITEM, r#"{"name":"x"}"#).send().await,
        true,
        "Active",
    );
    assert_eq!((upstream.count("GET"), upstream.count("PATCH")), (1, 1));

    upstream.hold(ID, "Closed", "Won", TAG);
    check(
        &gateway.patch(ITEM, r#"{"name":"x"}"#).send().await,
        false,
        "Closed",
    );
    assert_eq!((upstream.count("GET"), upstream.count("PATCH")), (2, 1));

    // A new referral stands nowhere yet: the rule is judged without, and nothing is asked.
    let post = gateway
        .call("POST", LIST)
        .header("Content-Type", "application/json")
        .body("{}");
    check(&post.send().await, false, "POST");
    assert_eq!((upstream.count("GET"), upstream.count("POST")), (2, 0));
}

#[tokio::test]
async fn an_expression_about_a_referral_that_is_not_known_is_unjudged() {
    let upstream = Upstream::start().await;
    let gateway = rule("referral.status == 'New'", ENFORCE)
        .settings("snapshots: { unknown_state: forward }")
        .start(&upstream)
        .await;

    check(
        &gateway.patch(ITEM, r#"{"name":"x"}"#).send().await,
        true,
        "unknown",
    );

    assert_eq!((upstream.count("GET"), upstream.count("PATCH")), (0, 1));
    let unjudged = [("rule", "own"), ("verdict", "unjudged")];
    gateway
        .until_metric("policy_decisions_total", &unjudged, 1.0)
        .await;
    let record = gateway
        .record("the decision", |line| line["message"] == "Judged")
        .await;
    assert_eq!(record["unjudged"], "unknown_state");
}

#[tokio::test]
async fn a_mode_says_what_comes_of_an_expression() {
    for (mode, status, verdict) in [
        ("off", 204, ""),
        ("audit", 204, "would_deny"),
        ("warn", 204, "warn"),
        ("enforce", 418, "deny"),
    ] {
        let upstream = Upstream::start().await;
        let keys = format!("    mode: {mode}\n    status: 418\n");
        let gateway = rule("has(body.a)", &keys).start(&upstream).await;

        let answer = gateway.patch(ITEM, r#"{"name":"x"}"#).send().await;

        assert_eq!(answer.status, status, "{mode}");
        let warning = answer.header("warning");
        assert_eq!(
            warning,
            (mode == "warn")
                .then_some(r#"299 referral-gateway "expression_not_met: This is not our way.""#),
        );
        if !verdict.is_empty() {
            let labels = [("rule", "own"), ("mode", mode), ("verdict", verdict)];
            gateway
                .until_metric("policy_decisions_total", &labels, 1.0)
                .await;
        }
    }
}

#[tokio::test]
async fn a_message_in_any_letters_reaches_the_caller() {
    let document = |mode: &str| {
        format!(
            "name: own\nrules:\n  - {{ id: own, check: expression, expression: 'has(body.a)', message: 'Grund \"fehlt\", größer.', on: [PATCH], mode: {mode} }}\n{STATES}"
        )
    };
    let upstream = Upstream::start().await;

    let gateway = Gateway::policy(&document("warn")).start(&upstream).await;
    let answer = gateway.patch(ITEM, "{}").send().await;
    assert_eq!(
        answer.header("warning"),
        Some(r#"299 referral-gateway "expression_not_met: Grund 'fehlt', gr??er.""#)
    );

    let gateway = Gateway::policy(&document("enforce")).start(&upstream).await;
    let answer = gateway.patch(ITEM, "{}").send().await;
    let problem = answer.problem();
    assert_eq!(
        problem.finding("expression_not_met")["message"],
        "Grund \"fehlt\", größer."
    );
}

#[tokio::test]
async fn a_megabyte_of_values_is_answered_soon() {
    let upstream = Upstream::start().await;
    let gateway = rule(
        "body.list.all(item, item != 'x') && !body.list.exists(item, string(item).matches('(a|b)*c'))",
        ENFORCE,
    )
    .start(&upstream)
    .await;
    let started = Instant::now();
    let many = |item: &str, size: usize| {
        let items = vec![item; size / (item.len() + 1)].join(",");
        format!(r#"{{"list":[{items}]}}"#)
    };
    for text in [
        many("1", 1_048_000),
        many("\"\"", 1_048_000),
        many("[]", 1_048_000),
        many("{\"a\":{}}", 1_048_000),
        many("1", 39_000),
        format!(r#"{{"list":["{}"]}}"#, "ab".repeat(524_000)),
        format!(
            "[{}]",
            vec![r#"{"op":"add","path":"/list/-","value":1}"#; 1000].join(",")
        ),
    ] {
        let answer = gateway.patch(ITEM, &text).send().await;
        assert!([204, 403].contains(&answer.status), "{}", answer.text());
        assert!(answer.body.len() < 4096);
    }
    assert!(
        started.elapsed() < Duration::from_secs(30),
        "{:?}",
        started.elapsed()
    );
    assert_eq!(gateway.get(ITEM).send().await.status, 200);
}

#[tokio::test]
async fn nothing_of_the_body_is_told_or_kept() {
    let upstream = Upstream::with(|_| async { Some(reply(200, "{}")) }).await;
    let gateway = rule(
        "body.team[0].email.endsWith('@contoso.com') && double(body.value) < 7.0 && body.a.b.c == 1",
        "    mode: warn\n",
    )
    .start(&upstream)
    .await;
    let secret = "Pat-Secret";
    for text in [
        format!(r#"{{"team":[{{"email":"{secret}@example.com"}}]}}"#),
        format!(r#"{{"team":"{secret}"}}"#),
        format!(r#"{{"team":[{{"email":"x@contoso.com"}}],"value":"{secret}"}}"#),
        format!(r#"{{"team":[{{"email":"x@contoso.com"}}],"value":1,"a":{{"{secret}":1}}}}"#),
        format!(r#"{{"{secret}":1,"{}":2}}"#, secret.to_lowercase()),
        format!(r#"[{{"op":"move","from":"/{secret}","path":"/{secret}/0"}}]"#),
    ] {
        let answer = gateway.patch(ITEM, &text).send().await;
        let told = format!("{answer:?}").to_lowercase();
        assert!(answer.header("warning").is_some(), "{text}: {told}");
        assert!(!told.contains("pat-secret"), "{told}");
    }
    gateway
        .until_metric("policy_decisions_total", &[("verdict", "warn")], 6.0)
        .await;
    let metrics = gateway.metrics().await.to_lowercase();
    let lines = gateway.lines().join("\n").to_lowercase();
    assert!(!metrics.contains("pat-secret") && !lines.contains("pat-secret"));
}
