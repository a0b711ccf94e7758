//! A running gateway and `explain` judge each write alike: verdict, findings, the word for each rule, repairs, why a rule
//! was not evaluated, status, code, and the bytes sent. Metrics, decision record and answer of the one are held against
//! the report of the other, for every shipped policy, every mode, and every way in which the state becomes known or not.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;

use super::{
    commands::{ended, program, write},
    support::{
        Answer, Gateway, ID, ITEM, LIST, TAG, Upstream, body, referral::shown, reply, token,
        upstream::Seen,
    },
};

const SHIPPED: &str = include_str!("../../policies/referrals.yaml");
const ROLLOUT: &str = include_str!("../../policies/rollout.yaml");
const LEGACY: &str = include_str!("../../policies/legacy.yaml");

/// How the state of the referral becomes known.
struct World {
    name: &'static str,
    settings: &'static str,
    /// Whether the gateway has learnt it from a GET of the same caller.
    is_known: bool,
    /// Status, substatus and tag as the service shows them; `explain` is given the same.
    shows: Option<(&'static str, &'static str, &'static str)>,
}

const OTHER_TAG: &str = "\"0b00b1c2-0000-0100-0000-65f01d429999\"";

const WORLDS: [World; 11] = [
    World {
        name: "known",
        settings: "",
        is_known: true,
        shows: Some(("Active", "Accepted", TAG)),
    },
    World {
        name: "known as final",
        settings: "",
        is_known: true,
        shows: Some(("Closed", "Won", TAG)),
    },
    World {
        name: "fetched",
        settings: "",
        is_known: false,
        shows: Some(("Active", "Accepted", TAG)),
    },
    World {
        name: "moved on",
        settings: "",
        is_known: false,
        shows: Some(("Closed", "Won", OTHER_TAG)),
    },
    World {
        name: "moved on, refused",
        settings: "snapshots: { stale: refuse }",
        is_known: false,
        shows: Some(("Closed", "Won", OTHER_TAG)),
    },
    World {
        name: "moved on from what is known",
        settings: "snapshots: { stale: refuse }",
        is_known: true,
        shows: Some(("Active", "Accepted", OTHER_TAG)),
    },
    World {
        name: "failing",
        settings: "",
        is_known: false,
        shows: Some(("Odd", "Accepted", TAG)),
    },
    World {
        name: "failing, forwarded",
        settings: "snapshots: { unknown_state_failed: forward }",
        is_known: false,
        shows: Some(("Odd", "Accepted", TAG)),
    },
    World {
        name: "known as odd",
        settings: "",
        is_known: true,
        shows: Some(("Odd", "Accepted", TAG)),
    },
    World {
        name: "unknown, refused",
        settings: "snapshots: { unknown_state: refuse }",
        is_known: false,
        shows: None,
    },
    World {
        name: "unknown, forwarded",
        settings: "snapshots: { unknown_state: forward }",
        is_known: false,
        shows: None,
    },
];

/// A write without `Host`, length and request id.
struct Request {
    method: &'static str,
    fields: String,
    body: String,
}

fn put(fields: &str, body: &str) -> Request {
    Request {
        method: "PUT",
        fields: fields.to_owned(),
        body: body.to_owned(),
    }
}

fn patch(fields: &str, body: &str) -> Request {
    Request {
        method: "PATCH",
        ..put(fields, body)
    }
}

/// Writes that differ in what the state says of them.
fn about_state() -> Vec<Request> {
    let tag = &format!("If-Match: {TAG}\r\n");
    vec![
        put(tag, &body("Active", "Accepted")),
        put(tag, &body("New", "Pending")),
        put(tag, &body("Closed", "Lost")),
        put("If-Match: \"another\"\r\n", &body("New", "Pending")),
        patch(
            "",
            r#"[{"op":"replace","path":"/status","value":"Closed"},{"op":"add","path":"/substatus","value":"Won"}]"#,
        ),
        patch(
            tag,
            r#"[{"op":"replace","path":"/substatus","value":"Lost"}]"#,
        ),
        patch(tag, r#"{"status":"New"}"#),
        // Refused without the state, mended and refused, mended and sent.
        put(
            tag,
            &body("Active", "Accepted").replacen('{', r#"{"id":"other","links":1,"#, 1),
        ),
        put(
            "",
            &body("Closed", "Accepted").replacen('{', r#"{"links":1,"#, 1),
        ),
        put(
            "",
            &body("Active", "Accepted").replacen('{', r#"{"links":{"a":[]},"#, 1),
        ),
    ]
}

/// Writes on which the rules differ whatever the state.
fn about_form() -> Vec<Request> {
    let tag = &format!("If-Match: {TAG}\r\n");
    let good = &body("Active", "Accepted");
    let bare = &format!("If-Match: {}\r\n", TAG.trim_matches('"'));
    let large = &format!(r#"{{"name":"{}"}}"#, "n".repeat(3000));
    let odd = r#"{"status":"Odd","substatus":"Accepted"}"#;
    vec![
        put("", r#"{"status":"Active","substatus":"Accepted"}"#),
        put("", good),
        put(bare, good),
        put(bare, odd),
        put("If-Match: *\r\n", &good.replacen('{', r#"{"links":1,"#, 1)),
        put(
            &format!("If-Match: \\\"{}\\\"\r\n", TAG.trim_matches('"')),
            good,
        ),
        put(tag, &good.replace(r#""team":[]"#, r#""team":[1,]"#)),
        put(
            bare,
            &good
                .replace(r#""team":[]"#, r#""team":[1,]"#)
                .replacen("Active", "Sold", 1),
        ),
        put(
            tag,
            &good.replace(&json!(TAG).to_string(), r#""\"other\"""#),
        ),
        put(tag, odd),
        put(tag, ""),
        put(tag, "{"),
        put(tag, "[]"),
        put(bare, large),
        put(
            tag,
            r#"{"status":"Active","Status":"New","substatus":"Accepted"}"#,
        ),
        put(
            &format!("{tag}Content-Type: text/plain\r\nContent-Encoding: gzip\r\n"),
            good,
        ),
        put(
            &format!("{tag}Content-Digest: a\r\n"),
            &good.replacen('{', r#"{"links":1,"#, 1),
        ),
        patch("", r#"[{"op":"test","path":"/name","value":"n"}]"#),
        patch("", r#"{"name":"n"}"#),
        patch("", r#"[{"op":"remove","path":"/status"}]"#),
        patch(
            "",
            r#"[{"op":"add","path":"/links","value":1},{"op":"add","path":"/name","value":1},]"#,
        ),
        Request {
            method: "POST",
            ..put("", good)
        },
        Request {
            method: "POST",
            ..put("", "[]")
        },
    ]
}

/// Everything that a write was counted for: `metric{labels}` to how often.
type Counts = BTreeMap<String, u64>;

async fn counts(gateway: &Gateway) -> Counts {
    let metrics = gateway.metrics().await;
    let lines = metrics.lines().filter(|line| {
        line.starts_with("referral_gateway_policy_decisions_total{")
            || line.starts_with("referral_gateway_policy_repairs_total{")
    });
    lines
        .map(|line| {
            let (series, value) = line.rsplit_once(' ').unwrap();
            (series.to_owned(), value.parse().unwrap())
        })
        .collect()
}

/// What was counted between two looks.
fn counted(before: &Counts, after: &Counts) -> Counts {
    let grown = after.iter().filter_map(|(series, value)| {
        let more = value - before.get(series).copied().unwrap_or_default();
        (more > 0).then(|| (series.clone(), more))
    });
    grown.collect()
}

/// What `explain` says of rules and repairs, as a gateway counts it.
fn told_counts(told: &Value) -> Counts {
    let mut counts = Counts::new();
    for rule in told["rules"].as_array().unwrap() {
        let text = |name: &str| rule[name].as_str().unwrap();
        let series = format!(
            "referral_gateway_policy_decisions_total{{mode=\"{}\",rule=\"{}\",verdict=\"{}\"}}",
            text("mode"),
            text("rule"),
            text("verdict")
        );
        *counts.entry(series).or_default() += 1;
    }
    for repair in sent_repairs(told) {
        let (_, repair) = repair.split_once(':').unwrap();
        let series = format!("referral_gateway_policy_repairs_total{{repair=\"{repair}\"}}");
        *counts.entry(series).or_default() += 1;
    }
    counts
}

/// The repairs of a write that is sent, as `rule:repair`.
fn sent_repairs(told: &Value) -> Vec<String> {
    if told["verdict"] == "refuse" {
        return Vec::new();
    }
    let repairs = told["repairs"].as_array().unwrap().iter();
    repairs
        .map(|repair| {
            let text = |name: &str| repair[name].as_str().unwrap();
            format!("{}:{}", text("rule"), text("repair"))
        })
        .collect()
}

/// The findings that were left, as `rule:mode:code`, in the order of the alphabet.
fn told_findings(told: &Value) -> Vec<String> {
    let mut findings = Vec::new();
    for rule in told["rules"].as_array().unwrap() {
        if rule["verdict"] == "repaired" {
            continue;
        }
        for finding in rule["findings"].as_array().unwrap() {
            let text = |value: &Value| value.as_str().unwrap().to_owned();
            findings.push(
                [
                    text(&rule["rule"]),
                    text(&rule["mode"]),
                    text(&finding["code"]),
                ]
                .join(":"),
            );
        }
    }
    findings.sort();
    findings
}

fn words(text: &Value) -> Vec<String> {
    let text = text.as_str().unwrap();
    text.split_whitespace().map(str::to_owned).collect()
}

fn sorted<T: Ord>(mut words: Vec<T>) -> Vec<T> {
    words.sort();
    words
}

fn text_or_empty(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// Holds the decision record of the gateway against the report of `explain`.
#[track_caller]
fn check_record(record: &Value, told: &Value, about: &str) {
    assert_eq!(record["verdict"], told["verdict"], "{about}");
    assert_eq!(
        sorted(words(&record["findings"])),
        told_findings(told),
        "{about}"
    );
    assert_eq!(words(&record["repaired"]), sent_repairs(told), "{about}");
    assert_eq!(
        text_or_empty(&record["unjudged"]),
        text_or_empty(&told["unjudged"]),
        "{about}"
    );
    assert_eq!(
        text_or_empty(&record["from"]),
        text_or_empty(&told["state"]["status"]),
        "{about}"
    );
    assert_eq!(
        record["bound"].as_bool(),
        Some(told["state"]["bound"].as_bool().unwrap_or_default()),
        "{about}"
    );
    assert_eq!(
        text_or_empty(&record["to"]),
        text_or_empty(&told["to"]),
        "{about}"
    );
    assert_eq!(record["policy_digest"], told["policy"]["digest"], "{about}");
    for key in ["route", "referral"] {
        assert_eq!(
            text_or_empty(&record[key]),
            text_or_empty(&told[key]),
            "{about}"
        );
    }
    assert_eq!(record["method"], told["request"]["method"], "{about}");
}

/// Holds what the caller and the upstream saw against the report of `explain`.
#[track_caller]
fn check_end(answer: &Answer, sent: Option<&Seen>, told: &Value, about: &str) {
    if answer.is_ours() {
        assert_eq!(told["answer"]["status"], answer.status, "{about}");
        let code = &answer.json()["error"]["innerError"]["code"];
        assert_eq!(&told["answer"]["code"], code, "{about}");
        assert_eq!(told["answer"]["body"], answer.json(), "{about}");
        let mut fields = answer.head.fields.clone();
        // The server adds these to each answer.
        let added = ["date", "content-length", "keep-alive", "timestamp"];
        fields.retain(|(name, _)| !added.contains(&name.as_str()));
        assert_eq!(pairs(&told["answer"]["headers"]), sorted(fields), "{about}");
        assert!(sent.is_none(), "{about}");
        return;
    }
    let sent = sent.expect("it was sent");
    let digest: String = Sha256::digest(&sent.body)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    assert_eq!(told["sent"]["body_sha256"], digest, "{about}");
    let fields = sent.headers.iter();
    let fields = fields.map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()));
    let (mut told_fields, mut fields) = (pairs(&told["sent"]["headers"]), sorted(fields.collect()));
    // `explain` shows no secrets.
    told_fields.retain(|(name, _)| name != "authorization");
    fields.retain(|(name, _)| name != "authorization");
    assert_eq!(told_fields, fields, "{about}");
    let annotations = answer.head.fields.iter();
    let annotations = annotations
        .filter(|(name, _)| matches!(name.as_str(), "warning" | "referral-gateway-repaired"));
    assert_eq!(
        pairs(&told["annotations"]),
        sorted(annotations.cloned().collect()),
        "{about}"
    );
    assert_eq!(told["answer"], Value::Null, "{about}");
}

/// Pairs of a field name and a value, in the order of the alphabet.
fn pairs(fields: &Value) -> Vec<(String, String)> {
    let fields = fields.as_array().unwrap().iter();
    let pair = |field: &Value| {
        let text = |at: usize| field[at].as_str().unwrap().to_owned();
        (text(0), text(1))
    };
    sorted(fields.map(pair).collect())
}

/// How often each word was said of a rule, in one world.
async fn compare_in(world: &World, document: &str) -> BTreeMap<String, usize> {
    let (status, substatus, tag) = world.shows.unwrap_or(("Active", "Accepted", TAG));
    let upstream = Upstream::with(move |seen| async move {
        if seen.method != "GET" {
            return Some(reply(204, ""));
        }
        Some(reply_json(shown(ID, status, substatus, tag)))
    })
    .await;
    let settings = format!(
        "downstream: {{ max_judged_body: 2KiB }}\n{}\n",
        world.settings
    );
    let gateway = Gateway::policy(document)
        .settings(&settings)
        .start(&upstream)
        .await;
    let folder = TempDir::new().unwrap();
    let config = write(&folder, "settings.yaml", &settings);
    let document = write(&folder, "policy.yaml", document);
    let url = upstream.url();
    let mut arguments = vec![
        "explain",
        "--config",
        &config,
        "--policy",
        &document,
        "--upstream",
        &url,
        "--output",
        "json",
    ];
    let given = ["--status", status, "--substatus", substatus, "--etag", tag];
    let snapshot = write(&folder, "snapshot.json", &shown(ID, status, substatus, tag));
    match world.shows {
        // A flag takes only a status of the policy's table.
        Some(("Odd", ..)) => arguments.extend(["--snapshot", &snapshot]),
        Some(_) => arguments.extend(given),
        None => {}
    }

    let jwt = token("t", "o", "app");
    let credential = match world.is_known {
        true => format!("Authorization: Bearer {jwt}\r\n"),
        false => String::new(),
    };
    let mut requests = about_state();
    if world.name == "known" {
        requests.extend(about_form());
    }
    let mut said = BTreeMap::new();
    for (number, request) in requests.iter().enumerate() {
        if world.is_known {
            let read = gateway.get(ITEM).bearer(&jwt);
            assert_eq!(read.send().await.status, 200);
        }
        let id = format!("00000000-0000-4000-8000-{number:012}");
        let target = if request.method == "POST" { LIST } else { ITEM };
        let text = format!(
            "{} {target} HTTP/1.1\r\nHost: gateway\r\nContent-Length: {}\r\nclient-request-id: {id}\r\n{credential}{}\r\n{}",
            request.method,
            request.body.len(),
            request.fields,
            request.body
        );
        let (before, arrived) = (counts(&gateway).await, upstream.seen().len());
        let mut wire = gateway.wire().await;
        wire.send(&text).await.unwrap();
        let answer = wire.answer(request.method).await;
        let counted = counted(&before, &counts(&gateway).await);
        let record = gateway
            .record("the decision", |line| {
                line["target"] == "referral_gateway::decision" && line["request_id"] == *id
            })
            .await;
        let mut seen = upstream.seen().split_off(arrived);
        seen.retain(|seen| seen.method != "GET");
        let sent = seen.first();

        let file = write(&folder, "request", &text);
        let mut command = program(&arguments);
        command.arg(&file);
        let explained = ended(&mut command);
        let about = format!(
            "{}: {} {}{}\n{record}\n{}{}",
            world.name, request.method, request.fields, request.body, explained.out, explained.err
        );
        let told: Value = serde_json::from_str(&explained.out).expect(&about);
        // What is given to `explain` is what it remembers. A gateway that would have to ask for it does not do so for a
        // write that is refused anyway.
        if world.is_known || record["unjudged"] != "refused" {
            assert_eq!(counted, told_counts(&told), "{about}");
            check_record(&record, &told, &about);
        }
        check_end(&answer, sent, &told, &about);
        for rule in told["rules"].as_array().unwrap() {
            *said
                .entry(text_or_empty(&rule["verdict"]).to_owned())
                .or_default() += 1;
        }
        *said
            .entry(text_or_empty(&told["unjudged"]).to_owned())
            .or_default() += 1;
    }
    said
}

fn reply_json(body: String) -> super::support::Reply {
    let mut answer = reply(200, body);
    let json = "application/json".parse().unwrap();
    answer.headers_mut().insert("content-type", json);
    answer
}

/// Compares in every world; each of `words` must have been said.
async fn compare(document: &str, words: &[&str]) {
    let mut said = BTreeMap::new();
    for world in &WORLDS {
        for (word, times) in compare_in(world, document).await {
            *said.entry(word).or_insert(0) += times;
        }
    }
    for word in words {
        assert!(said.contains_key(*word), "nothing was {word}: {said:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_shipped_policy_judges_alike_in_a_gateway_and_in_explain() {
    let words = [
        "pass",
        "warn",
        "deny",
        "unjudged",
        "refused",
        "unknown_state",
        "moved_on",
        "fetch_failed",
        "state_unknown",
        "stale_etag",
    ];
    compare(SHIPPED, &words).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollout_judges_alike_in_a_gateway_and_in_explain() {
    let words = [
        "pass",
        "would_deny",
        "unjudged",
        "unknown_state",
        "moved_on",
        "fetch_failed",
    ];
    compare(ROLLOUT, &words).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn repairs_judge_alike_in_a_gateway_and_in_explain() {
    compare(LEGACY, &["pass", "warn", "deny", "repaired", "unjudged"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn warnings_judge_alike_in_a_gateway_and_in_explain() {
    let document = SHIPPED.replace("mode: enforce", "mode: warn");
    compare(&document, &["pass", "warn", "unjudged"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_that_are_off_judge_alike_in_a_gateway_and_in_explain() {
    let document = LEGACY
        .replace("mode: enforce", "mode: off")
        .replace("mode: warn", "mode: enforce");
    compare(&document, &["pass", "deny", "repaired"]).await;
}
