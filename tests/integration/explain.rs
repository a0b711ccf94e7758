//! `explain` says of a captured request what the gateway does with it, and shows no secret.

use std::fs::File;

use referral_gateway::capture;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;

use super::{
    commands::{Ended, ended, program, run, write},
    support::{
        Answer, Gateway, ID, ITEM, LIST, TAG, Upstream, body, referral::shown, reply, token,
    },
};

const SHIPPED: &str = include_str!("../../policies/referrals.yaml");

/// The shipped document with other words in some places.
fn policy(changes: &[(&str, &str)]) -> String {
    changes.iter().fold(SHIPPED.to_owned(), |text, (from, to)| {
        assert!(text.contains(from), "{from}");
        text.replace(from, to)
    })
}

/// Everything that can be repaired is; one rule is somebody's own, one tenant is watched only.
fn mending() -> String {
    policy(&[
        (
            "check: well_formed, on: [PUT, PATCH, POST], mode: enforce",
            "check: well_formed, on: [PUT, PATCH, POST], mode: repair, repairs: [trailing-comma]",
        ),
        (
            "check: if_match, on: [PUT], mode: enforce",
            "check: if_match, on: [PUT], mode: repair, modes: { contoso: audit }, repairs: [quote-if-match, unescape-if-match, if-match-from-body]",
        ),
        (
            "check: links_removed, on: [PUT, PATCH], mode: enforce",
            "check: links_removed, on: [PUT, PATCH], mode: repair, repairs: [strip-links]",
        ),
        (
            "rules:\n",
            "rules:\n  - { id: no-robots, check: expression, on: [PUT, PATCH], mode: enforce, expression: \"request.application != 'robot' && referral.status != 'New'\", message: A robot may not write. }\n",
        ),
    ])
}

/// Runs it on a request given by standard input.
#[track_caller]
fn explain(folder: &TempDir, request: impl AsRef<[u8]>, arguments: &[&str]) -> Ended {
    let path = folder.path().join("stdin");
    std::fs::write(&path, request).unwrap();
    let mut command = program(&["explain"]);
    command.args(arguments).stdin(File::open(path).unwrap());
    ended(&mut command)
}

fn raw(method: &str, target: &str, fields: &str, body: &str) -> String {
    format!(
        "{method} {target} HTTP/1.1\r\nHost: gateway\r\nContent-Length: {}\r\n{fields}\r\n{body}",
        body.len()
    )
}

fn put(fields: &str, body: &str) -> String {
    raw("PUT", ITEM, fields, body)
}

fn patch(fields: &str, body: &str) -> String {
    raw("PATCH", ITEM, fields, body)
}

/// An upstream whose referral stays Active and Accepted at [`TAG`], whatever is written.
async fn still() -> Upstream {
    Upstream::with(|seen| async move {
        if seen.method != "GET" {
            return Some(reply(204, ""));
        }
        let mut answer = reply(200, shown(ID, "Active", "Accepted", TAG));
        answer.headers_mut().insert("etag", TAG.parse().unwrap());
        Some(answer)
    })
    .await
}

/// The requests by which `explain` and a running gateway are compared.
fn requests() -> Vec<String> {
    let tag = &format!("If-Match: {TAG}\r\n");
    let good = &body("Active", "Accepted");
    let bare = tag
        .trim_start_matches("If-Match: ")
        .trim()
        .trim_matches('"');
    let robot = token("t", "o", "robot");
    let contoso = token("T-1", "o", "app");
    let large = format!(r#"{{"name":"{}"}}"#, "n".repeat(3000));
    vec![
        // What passes.
        put(tag, good),
        put(
            &format!(
                "{tag}client-request-id: mine\r\nContent-Type: application/json; charset=utf-8\r\nX-Other: a\r\nX-Other: b\r\n"
            ),
            good,
        ),
        put(
            &format!(
                "{tag}Connection: close, X-Gone\r\nX-Gone: 1\r\nKeep-Alive: 5\r\nTE: trailers\r\n"
            ),
            good,
        ),
        put(
            &format!("{tag}Authorization: Bearer {contoso}\r\nCookie: a=b\r\n"),
            good,
        ),
        patch("", r#"[{"op":"replace","path":"/name","value":"n"}]"#),
        patch("", r#"{"name":"n"}"#),
        patch(
            tag,
            r#"[{"op":"replace","path":"/status","value":"Closed"},{"op":"add","path":"/substatus","value":"Won"}]"#,
        ),
        raw("GET", &format!("{ITEM}?$select=id&sig=abc"), "", ""),
        raw("DELETE", ITEM, tag, ""),
        raw("POST", LIST, "", good),
        raw("POST", "/v1.0/other?a=b#fragment", "", "anything"),
        raw("OPTIONS", ITEM, "Max-Forwards: 3\r\n", ""),
        raw("OPTIONS", ITEM, "Max-Forwards: 0, 0\r\n", ""),
        format!(
            "POST /v1.0/other HTTP/1.1\r\nHost: gateway\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
        ),
        format!(
            "PUT {ITEM} HTTP/1.1\r\nHost: gateway\r\nTransfer-Encoding: chunked\r\n{tag}\r\n{:x}\r\n{good}\r\n0\r\n\r\n",
            good.len()
        ),
        format!(
            "PUT http://gateway{ITEM} HTTP/1.1\r\nHost: gateway\r\nContent-Length: {}\r\n{tag}\r\n{good}",
            good.len()
        ),
        format!("GET {ITEM} HTTP/1.1\r\nHost: gateway\r\n\r\n"),
        // What passes with a warning.
        put(
            tag,
            &good.replace(
                &format!("\"eTag\":{}", json!(TAG)),
                "\"eTag\":\"\\\"other\\\"\"",
            ),
        ),
        patch("", r#"[{"op":"test","path":"/name","value":"n"}]"#),
        // What may be mended.
        put("", good),
        put("", r#"{"status":"Active","substatus":"Accepted"}"#),
        put(&format!("If-Match: {bare}\r\n"), good),
        put(&format!("If-Match: \\\"{bare}\\\"\r\n"), good),
        put(
            tag,
            &good.replacen('{', r#"{"links":{"self":{"uri":"u"}},"#, 1),
        ),
        put(
            "",
            &good
                .replacen('{', r#"{"links":1,"#, 1)
                .replace("\"team\":[]", "\"team\":[1,]"),
        ),
        put("If-Match: *\r\n", &good.replacen('{', r#"{"links":1,"#, 1)),
        patch(
            "",
            r#"[{"op":"add","path":"/links","value":1},{"op":"add","path":"/name","value":1},]"#,
        ),
        put(
            &format!("{tag}Content-Digest: a\r\n"),
            &good.replacen('{', r#"{"links":1,"#, 1),
        ),
        // What rules refuse.
        put(tag, &body("New", "Pending")),
        put(tag, &body("Active", "Pending")),
        put("If-Match: \"moved on\"\r\n", good),
        put("If-Match: \"moved-on\"\r\n", &body("New", "Pending")),
        put(tag, ""),
        put(tag, "{"),
        put(
            tag,
            r#"{"status":"Active","Status":"New","substatus":"Accepted"}"#,
        ),
        put(tag, &large),
        put(
            &format!("{tag}Content-Type: text/plain\r\nContent-Encoding: gzip\r\n"),
            good,
        ),
        put(&format!("{tag}Accept: application/problem+json\r\n"), "[]"),
        put(&format!("{tag}Authorization: Bearer {robot}\r\n"), good),
        patch("", r#"[{"op":"replace","path":"/status","value":"New"}]"#),
        patch(
            "",
            r#"[{"op":"replace","path":"/status","value":"Closed"}]"#,
        ),
        patch("", r#"[{"op":"remove","path":"/status"}]"#),
        patch("", r#"{"status":"New","substatus":"Pending"}"#),
        raw("POST", LIST, "", "[]"),
        // What is refused before that.
        raw(
            "PUT",
            &ITEM.replace("referrals/", "referrals/%2e%2e/"),
            tag,
            good,
        ),
        raw("PUT", LIST, "", good),
        raw("PUT", &format!("{ITEM}/registrations/x"), tag, good),
        raw("put", ITEM, tag, good),
        raw("TRACE", ITEM, "", ""),
        raw("POST", "/v1.0/$batch", "", "{}"),
        raw(
            "POST",
            "/v1.0/other",
            "Content-Type: multipart/mixed; boundary=b\r\n",
            "x",
        ),
        put(&format!("{tag}X-HTTP-Method-Override: PATCH\r\n"), good),
        put(&format!("{tag}X-Original-URL: /x\r\n"), good),
        put(&format!("{tag}If_Match: x\r\n"), good),
        put(&format!("{tag}Connection: If-Match\r\n"), good),
        put(
            &format!("{tag}Authorization: Bearer a\r\nAuthorization: Bearer b\r\n"),
            good,
        ),
        put(&format!("{tag}Host: other\r\n"), good),
        format!(
            "PUT {ITEM} HTTP/1.1\r\nContent-Length: {}\r\n{tag}\r\n{good}",
            good.len()
        ),
        format!(
            "PUT http://other{ITEM} HTTP/1.1\r\nHost: gateway\r\nContent-Length: {}\r\n{tag}\r\n{good}",
            good.len()
        ),
        put(
            &format!(
                "{tag}Via: 1.1 referral-gateway, 1.1 referral-gateway, 1.1 referral-gateway, 1.1 referral-gateway\r\n"
            ),
            good,
        ),
        raw("OPTIONS", "*", "", ""),
        raw("GET", &format!("/{}", "a".repeat(17_000)), "", ""),
        raw("GET", "/", &"X: 1\r\n".repeat(101), ""),
        raw("GET", "/", &format!("X: {}\r\n", "x".repeat(9_000)), ""),
        raw("GET", "/a\"b<>", "", ""),
        raw("GET", "/a\"b", "", ""),
        raw("GET", "/a{b}|c^`", "", ""),
        raw("GET", "/a?b=\"c\"", "", ""),
        raw("GET", "/a?{b}|c^`", "", ""),
        raw("GET", "/a#b", "", ""),
        raw("GET", "/a?\u{e9}", "", ""),
        raw("GET", "/a<", &"X: 1\r\n".repeat(101), ""),
        raw("GET", &format!("/{}<", "a".repeat(17_000)), "", ""),
        raw("GET", "/", "Bad Name: 1\r\n", ""),
        raw("GET", "/", "Bad: a\u{1}b\r\n", ""),
        raw("G@T", "/", "", ""),
    ]
}

/// Long enough to see which request it is about.
fn short(text: &str) -> String {
    text.chars().take(2000).collect()
}

fn without_instance(mut value: Value) -> Value {
    value["instance"].take();
    value
}

/// The header section of a request as `explain` prints it, in an order of its own.
fn printed(headers: &http::HeaderMap) -> Vec<(String, String)> {
    let pair = |(name, value): (&http::HeaderName, &http::HeaderValue)| {
        let value = capture::masked_header_value(name.as_str(), value.as_bytes());
        (name.to_string(), value)
    };
    without_fresh_id(headers.iter().map(pair).collect())
}

/// A request without an id gets a new one each time.
fn without_fresh_id(mut fields: Vec<(String, String)>) -> Vec<(String, String)> {
    fields.retain(|(name, value)| name != "client-request-id" || value.len() != 36);
    fields.sort();
    fields
}

#[track_caller]
fn check_refusal(told: &Value, answer: &Answer, request: &str) {
    let request = short(request);
    let given = &told["answer"];
    assert_eq!(given["status"], answer.status, "{request}");
    assert_eq!(
        without_instance(given["body"].clone()),
        without_instance(answer.json()),
        "{request}"
    );
    let code = &answer.json()["error"]["innerError"]["code"];
    assert_eq!(&given["code"], code, "{request}");
    for [name, value] in
        serde_json::from_value::<Vec<[String; 2]>>(given["headers"].clone()).unwrap()
    {
        if !["client-request-id", "request-id"].contains(&&*name) {
            assert_eq!(answer.header(&name), Some(&*value), "{request}");
        }
    }
}

/// Tells apart what both do with each request: the answer when it is refused, else what arrives.
async fn compare(document: &str, settings: &str) -> (usize, usize) {
    let upstream = still().await;
    let gateway = Gateway::policy(document)
        .settings(settings)
        .start(&upstream)
        .await;
    let folder = TempDir::new().unwrap();
    let config = write(&folder, "settings.yaml", settings);
    let document = write(&folder, "policy.yaml", document);
    let snapshot = write(
        &folder,
        "snapshot.json",
        &shown(ID, "Active", "Accepted", TAG),
    );
    let url = upstream.url();
    let (mut refused, mut passed) = (0, 0);
    for request in requests() {
        let before = upstream.seen().len();
        let mut wire = gateway.wire().await;
        wire.send(&request).await.unwrap();
        let method = request.split(' ').next().unwrap();
        let answer = wire.answer(method).await;
        let mut seen = upstream.seen().split_off(before);

        let explained = explain(
            &folder,
            &request,
            &[
                "--config",
                &config,
                "--policy",
                &document,
                "--upstream",
                &url,
                "--snapshot",
                &snapshot,
                "--output",
                "json",
            ],
        );
        let about = short(&format!("{request:?}\n{}{}", explained.out, explained.err));
        let told = explained.json();
        if answer.is_ours() {
            refused += 1;
            assert_eq!(explained.code, Some(3), "{about}");
            assert_eq!(told["verdict"], "refuse", "{about}");
            assert_eq!(told["sent"], Value::Null, "{about}");
            check_refusal(&told, &answer, &request);
            seen.retain(|seen| seen.method != "GET");
            assert!(seen.is_empty(), "{about}");
            continue;
        }
        passed += 1;
        assert_eq!(explained.code, Some(0), "{about}");
        assert_eq!(told["verdict"], "pass", "{about}");
        let seen = seen.pop().expect("it arrived");
        let sent = &told["sent"];
        assert_eq!(sent["method"], seen.method.as_str(), "{about}");
        let target = capture::masked_target(&seen.target());
        assert_eq!(sent["target"], target, "{about}");
        let digest: String = Sha256::digest(&seen.body)
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        assert_eq!(sent["body_bytes"], seen.body.len(), "{about}");
        assert_eq!(sent["body_sha256"], digest, "{about}");
        let fields = serde_json::from_value(sent["headers"].clone()).unwrap();
        assert_eq!(without_fresh_id(fields), printed(&seen.headers), "{about}");

        let added: Vec<[String; 2]> = serde_json::from_value(told["annotations"].clone()).unwrap();
        let came = answer.head.fields.iter().filter(|(name, _)| {
            ["warning", "referral-gateway-repaired"].contains(&&*name.to_ascii_lowercase())
        });
        let came: Vec<[String; 2]> = came
            .map(|(name, value)| [name.to_ascii_lowercase(), value.clone()])
            .collect();
        assert_eq!(added, came, "{about}");
    }
    (passed, refused)
}

#[tokio::test(flavor = "multi_thread")]
async fn explain_says_what_a_running_gateway_does() {
    let settings = "downstream: { max_judged_body: 2KiB, max_header_bytes: 20KiB }\n";
    let (passed, refused) = compare(SHIPPED, settings).await;
    assert!(passed > 10 && refused > 30, "{passed} {refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn explain_mends_what_a_running_gateway_mends() {
    let settings = "downstream: { max_judged_body: 2KiB, max_header_bytes: 8KiB }\n\
                    tenants: { known: { contoso: { id: t-1 } } }\n";
    let (passed, refused) = compare(&mending(), settings).await;
    assert!(passed > 20 && refused > 30, "{passed} {refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn explain_lets_pass_what_a_running_gateway_only_watches() {
    let document = SHIPPED
        .replace("mode: enforce", "mode: audit")
        .replace("mode: warn", "mode: off")
        .replacen("mode: audit", "mode: warn", 3);
    let settings = "downstream: { max_judged_body: 2KiB }\n";
    let (passed, refused) = compare(&document, settings).await;
    assert!(passed > 30 && refused > 20, "{passed} {refused}");
}

#[test]
fn every_form_of_a_capture_is_judged_alike() {
    let folder = TempDir::new().unwrap();
    let url = format!("https://api.partner.microsoft.com{ITEM}");
    let sent = r#"{"status":"Active","substatus":"Won"}"#;
    let har = json!({ "log": { "entries": [
        { "request": { "method": "GET", "url": "https://h/", "headers": [] } },
        { "request": {
            "method": "PUT", "url": url,
            "headers": [{ "name": "If-Match", "value": TAG }, { "name": "Content-Type", "value": "application/json" }],
            "postData": { "mimeType": "application/json", "text": sent },
        } },
    ] } });
    let head = format!("If-Match: {TAG}\nContent-Type: application/json");
    let forms = [
        (
            "raw.txt",
            format!("PUT {ITEM} HTTP/1.1\nHost: api.partner.microsoft.com\n{head}\n\n{sent}"),
            None,
        ),
        ("one.http", format!("PUT {url}\n{head}\n\n{sent}\n"), None),
        (
            "two.http",
            format!("GET https://h/\n\n### bad\nPUT {url}\n{head}\n\n{sent}\n"),
            Some("bad"),
        ),
        (
            "two.http",
            format!("GET https://h/\n\n### bad\nPUT {url}\n{head}\n\n{sent}\n"),
            Some("2"),
        ),
        ("one.har", har.to_string(), None),
        (
            "one.sh",
            format!(
                "curl -X PUT '{url}' -H 'If-Match: {TAG}' -H 'Content-Type: application/json' -d '{sent}'\n"
            ),
            None,
        ),
    ];
    for (name, text, which) in forms {
        let file = write(&folder, name, &text);
        let mut arguments = vec!["explain", &*file, "--output", "json"];
        arguments.extend(which.iter().flat_map(|which| ["--which", which]));
        let told = run(&arguments);
        assert_eq!(told.code, Some(3), "{name}: {}{}", told.out, told.err);
        let told = told.json();
        assert_eq!(told["referral"], ID, "{name}");
        assert_eq!(told["request"]["method"], "PUT", "{name}");
        assert_eq!(told["request"]["body_bytes"], sent.len(), "{name}");
        assert_eq!(told["answer"]["code"], "substatus_not_allowed", "{name}");
        assert_eq!(
            told["notices"].as_array().unwrap().len(),
            usize::from(name == "one.har"),
            "{name}"
        );
    }
}

#[test]
fn the_exit_code_says_whether_it_passes() {
    let folder = TempDir::new().unwrap();
    let tag = &format!("If-Match: {TAG}\r\n");
    let good = &put(tag, &body("Active", "Accepted"));
    let bad = &put("", &body("Active", "Accepted"));
    let warned = &put("If-Match: \"other\"\r\n", &body("Active", "Accepted"));
    let watched = write(
        &folder,
        "watched.yaml",
        &SHIPPED.replace("mode: enforce", "mode: audit"),
    );
    let broken = write(&folder, "broken.yaml", "rules: 1\n");
    let stray = write(&folder, "stray.json", r#"{"name":"n"}"#);
    let at = ["--status", "New", "--substatus", "Pending"];
    let closed = ["--status", "Closed", "--substatus", "Won", "--etag", TAG];
    let cases: [(&str, &[&str], i32, &str, &str); 20] = [
        (good, &at, 0, "verdict   passes\n", ""),
        (good, &[], 0, "passes as far as it could be judged\n", ""),
        (good, &["-"], 0, "give --status or --snapshot", ""),
        (warned, &at, 0, "warn        same-etag (warn)", ""),
        (
            bad,
            &["--policy", &watched],
            0,
            "would_deny  if-match (audit)",
            "",
        ),
        (bad, &[], 3, "verdict   refused: 428 if_match_missing\n", ""),
        (
            good,
            &closed,
            3,
            "verdict   refused: 409 transition_not_allowed\n",
            "",
        ),
        (
            "GET / HTTP/1.1\n",
            &[],
            3,
            "verdict   refused: 400 bad_host\n          The Host header is missing",
            "",
        ),
        (
            "",
            &[],
            2,
            "",
            "referral-gateway: -: line 1: there is nothing to read",
        ),
        (
            "\n\nwhat is this\n",
            &[],
            2,
            "",
            "-: line 3: expected a request line",
        ),
        (
            "GET / HTTP/1.1\nHost: h\nno colon\n",
            &[],
            2,
            "",
            "-: line 3: expected a header",
        ),
        (
            "GET / HTTP/1.1\n",
            &["--which", "2"],
            2,
            "",
            "-: line 1: there is no request `2`",
        ),
        (
            good,
            &["/nowhere/at.all"],
            2,
            "",
            "/nowhere/at.all: no such file",
        ),
        (
            good,
            &["--status", "Actve"],
            2,
            "",
            "--status `Actve`: not in the policy's table; write one of Active, Closed, New",
        ),
        (
            good,
            &["--status", "Closed"],
            2,
            "",
            "also give --substatus",
        ),
        (
            good,
            &["--status", "New", "--etag", "abc"],
            2,
            "",
            "--etag `abc`: not an entity tag; write it with its double quotes",
        ),
        (
            good,
            &["--tenant", "contoso"],
            2,
            "",
            "--tenant `contoso`: the settings have no such tenant; give the settings file with --config",
        ),
        (
            good,
            &["--snapshot", &stray],
            2,
            "",
            "stray.json: line 1: no referral with a status",
        ),
        (
            good,
            &["--listen", "127.0.0.1:0"],
            2,
            "",
            "--listen is not supported by this command",
        ),
        (good, &["--policy", &broken], 1, "", "broken.yaml:1:"),
    ];
    for (request, arguments, code, out, err) in cases {
        let explained = explain(&folder, request, arguments);
        let about = format!(
            "{arguments:?} {request}\n{}{}",
            explained.out, explained.err
        );
        assert_eq!(explained.code, Some(code), "{about}");
        assert!(explained.out.contains(out), "{about}");
        assert!(explained.err.contains(err), "{about}");
        assert_eq!(explained.err.is_empty(), err.is_empty(), "{about}");
        assert_eq!(explained.out.is_empty(), code == 1 || code == 2, "{about}");
    }
}

#[test]
fn a_snapshot_is_the_services_answer_to_a_get() {
    let folder = TempDir::new().unwrap();
    let request = put(&format!("If-Match: {TAG}\r\n"), &body("Active", "Accepted"));
    let other = "9f1c2d3e-0001-4a4a-9b9b-00000000a009";
    for (snapshot, code, state, bound) in [
        (
            shown(ID, "Closed", "Won", TAG),
            3,
            json!("Closed"),
            json!(true),
        ),
        (
            shown(ID, "New", "Pending", TAG),
            0,
            json!("New"),
            json!(true),
        ),
        (
            shown(ID, "Closed", "Won", "\"new\""),
            0,
            Value::Null,
            Value::Null,
        ),
        (
            shown(other, "Closed", "Won", TAG),
            0,
            Value::Null,
            Value::Null,
        ),
    ] {
        let file = write(&folder, "snapshot.json", &snapshot);
        let told = explain(
            &folder,
            &request,
            &["--snapshot", &file, "--output", "json"],
        );
        assert_eq!(told.code, Some(code), "{snapshot}{}", told.out);
        let told = told.json();
        assert_eq!(told["state"]["status"], state, "{snapshot}");
        assert_eq!(told["state"]["bound"], bound, "{snapshot}");
        let is_other = snapshot.contains(other);
        assert_eq!(
            told["notices"].to_string().contains("another referral"),
            is_other
        );
    }
}

#[test]
fn no_secret_and_nothing_personal_is_printed() {
    let folder = TempDir::new().unwrap();
    let jwt = token("tenant", "user", "app");
    let document = write(
        &folder,
        "policy.yaml",
        &mending().replace("modes: { contoso: audit }, ", ""),
    );
    let body = format!(
        r#"{{"customer":"Example Bakery","notes":"{}","status":"Active","substatus":"Accepted","links":{{"a":"{}"}},"email":"{}pat@example.com"}}"#,
        "n".repeat(100),
        "l".repeat(1000),
        "e".repeat(100),
    );
    let request = raw(
        "PUT",
        &format!("{ITEM}?sig=s3cret&code=s3cret"),
        &format!(
            "Authorization: Bearer {jwt}\r\nCookie: a=s3cret\r\nX-Api-Key: s3cret\r\nX-Odd: {jwt}\r\nIf-Match: abc\r\n"
        ),
        &body,
    );
    for output in ["text", "json"] {
        for arguments in [&["--policy", &*document][..], &[]] {
            let mut arguments = arguments.to_vec();
            arguments.extend(["--output", output]);
            let told = explain(&folder, &request, &arguments);
            assert!(told.out.contains("sig=***"), "{}", told.out);
            for secret in ["s3cret", &jwt, "Bakery", "pat@", &"l".repeat(300)] {
                assert!(!told.out.contains(secret), "{secret}: {}", told.out);
            }
        }
    }
    let mended = explain(&folder, &request, &["--policy", &document]);
    assert_eq!(mended.code, Some(0), "{}{}", mended.out, mended.err);
    for part in [
        "authorization: Bearer ***",
        "repaired    if-match (repair)",
        "  - If-Match: abc\n  + If-Match: \"abc\"\n",
        "    - \"links\":{\"a\":\"lll",
        "referral-gateway-repaired: strip-links, quote-if-match",
    ] {
        assert!(mended.out.contains(part), "{part}: {}", mended.out);
    }
}

#[test]
fn the_tenant_can_be_given() {
    let folder = TempDir::new().unwrap();
    let document = policy(&[(
        "check: if_match, on: [PUT], mode: enforce",
        "check: if_match, on: [PUT], mode: enforce, modes: { contoso: warn }",
    )]);
    let document = write(&folder, "policy.yaml", &document);
    let config = write(
        &folder,
        "settings.yaml",
        "tenants: { known: { contoso: { id: t-1 } } }\n",
    );
    let with_token = |tid| format!("Authorization: Bearer {}\r\n", token(tid, "o", "a"));
    for (fields, given, code, told_by) in [
        (String::new(), &[][..], 3, "nothing"),
        (String::new(), &["--tenant", "contoso"], 0, "flag"),
        (with_token("T-1"), &[], 0, "token"),
        (with_token("t-2"), &[], 3, "request"),
        (with_token("t-2"), &["--tenant", "contoso"], 0, "flag"),
    ] {
        let mut arguments = vec![
            "--config", &config, "--policy", &document, "--output", "json",
        ];
        arguments.extend(given);
        let told = explain(
            &folder,
            put(&fields, &body("Active", "Accepted")),
            &arguments,
        );
        assert_eq!(
            told.code,
            Some(code),
            "{fields} {given:?} {}{}",
            told.out,
            told.err
        );
        assert_eq!(
            told.json()["tenant"]["told_by"],
            told_by,
            "{fields} {given:?}"
        );
    }
}

#[test]
fn control_characters_do_not_reach_the_terminal() {
    let folder = TempDir::new().unwrap();
    let odd = "PUT\u{9b}31m /a\u{9b}31m HTTP/1.1\nHost: h\nX: \u{9b}31m\n\n\u{1b}[31m";
    for output in ["text", "json"] {
        let told = explain(&folder, odd, &["--output", output]);
        assert_eq!(told.code, Some(3), "{}{}", told.out, told.err);
        let is_plain = |c: char| c == '\n' || !c.is_control();
        assert!(told.out.chars().all(is_plain), "{:?}", told.out);
    }
}

#[test]
fn the_file_of_a_curl_command_is_given_by_a_flag() {
    let folder = TempDir::new().unwrap();
    let command = format!(
        "curl -X PUT 'https://h{ITEM}' -H 'If-Match: {TAG}' \\\n -H 'Content-Type: application/json' -d @good.json"
    );
    let good = body("Active", "Accepted");
    let file = write(&folder, "good.json", &good);
    let missing = explain(&folder, &command, &[]);
    assert_eq!(missing.code, Some(2), "{}", missing.out);
    assert_eq!(
        missing.err,
        "referral-gateway: -: line 2: the value of -d is a file, and captures do not include files: write its text here, or give `explain` the file with --body FILE\n"
    );

    let told = explain(&folder, &command, &["--body", &file, "--output", "json"]);
    assert_eq!(told.code, Some(0), "{}{}", told.out, told.err);
    assert_eq!(told.json()["request"]["body_bytes"], good.len());

    let large = write(&folder, "large.json", &" ".repeat(capture::MAX_BYTES + 1));
    let raw = put("", &good);
    for (request, body, why) in [
        (
            &raw,
            file.as_str(),
            "-: line 1: the capture does not take its body from a file",
        ),
        (&command, "/nowhere/at.all", "/nowhere/at.all: no such file"),
        (
            &command,
            &large,
            "large.json: more than 4194304 bytes; shorten it",
        ),
    ] {
        let told = explain(&folder, request, &["--body", body]);
        assert_eq!((told.code, told.out.as_str()), (Some(2), ""), "{body}");
        assert!(told.err.contains(why), "{}", told.err);
    }
}

#[test]
fn a_template_or_a_mask_is_never_judged_as_a_value() {
    let folder = TempDir::new().unwrap();
    let tag = format!("If-Match: {TAG}\r\n");
    let good = body("Active", "Accepted");
    for (request, expected) in [
        (
            put("If-Match: {{etag}}\r\n", &good),
            "referral-gateway: -: the header `If-Match` contains the unfilled template `{{etag}}`; write the value that was sent, or remove the header\n",
        ),
        (
            put("If-Match: ••••\r\n", &good.replace("Accepted", "***")),
            "referral-gateway: -: the header `If-Match` contains a mask; write the value that was sent, or remove the header\n\
             referral-gateway: -: line 1 of the body contains a mask as `substatus`; write the value that was sent\n",
        ),
        (
            raw("PUT", "https://{{host}}/v1.0/referrals/x", &tag, &good),
            "referral-gateway: -: line 1: the URL contains an unfilled template such as `{{host}}`; write its value\n",
        ),
    ] {
        let told = explain(&folder, &request, &[]);
        assert_eq!((told.code, told.out.as_str()), (Some(2), ""), "{request}");
        assert_eq!(told.err, expected, "{request}");
    }

    let masked = put(
        &format!("{tag}Authorization: Bearer ••••\r\n"),
        &good.replacen('{', "{\"email\":\"<redacted>\",", 1),
    );
    let told = explain(&folder, &masked, &["--output", "json"]);
    assert_eq!(told.code, Some(0), "{}{}", told.out, told.err);
    let notices = told.json()["notices"].clone();
    assert_eq!(
        notices[0],
        "The header `Authorization` contains a mask, so it names no tenant and no application."
    );
    assert_eq!(
        notices[1],
        "Line 1 of the body contains a mask as `email`. A rule that reads this member gives no reliable verdict."
    );
}

#[test]
fn a_body_in_chunks_is_decoded_whatever_the_file_is_called() {
    let folder = TempDir::new().unwrap();
    let good = body("Active", "Accepted");
    let (first, second) = good.split_at(10);
    let request = |size: usize| {
        format!(
            "PUT {ITEM} HTTP/1.1\r\nHost: gateway\r\nIf-Match: {TAG}\r\nContent-Type: application/json\r\n\
             Transfer-Encoding: chunked\r\n\r\n{size:x}\r\n{first}\r\n{:x}\r\n{second}\r\n0\r\n\r\n",
            second.len()
        )
    };
    for name in ["raw.txt", "raw.http"] {
        let file = write(&folder, name, &request(first.len()));
        let told = run(&["explain", &file, "--output", "json"]);
        assert_eq!(told.code, Some(0), "{name} {}{}", told.out, told.err);
        assert_eq!(told.json()["request"]["body_bytes"], good.len(), "{name}");

        let file = write(&folder, name, &request(first.len() - 1));
        let told = run(&["explain", &file]);
        assert_eq!((told.code, told.out.as_str()), (Some(2), ""), "{name}");
        let why = format!(
            "{name}: line 7: the chunk is shorter than what follows: expected a line end after it\n"
        );
        assert!(told.err.ends_with(&why), "{}", told.err);
    }
}

#[test]
fn a_curl_command_is_judged_with_the_headers_that_curl_adds() {
    let folder = TempDir::new().unwrap();
    let document = policy(&[(
        "rules:\n",
        "rules:\n  - { id: no-curl, check: expression, on: [PUT], mode: enforce, expression: \"!('user-agent' in request.headers) || !('accept' in request.headers)\", message: Not by hand. }\n",
    )]);
    let document = write(&folder, "policy.yaml", &document);
    let good = body("Active", "Accepted");
    let command = format!(
        "curl -X PUT 'https://h{ITEM}' -H 'If-Match: {TAG}' -H 'Content-Type: application/json' -d '{good}'"
    );
    for (more, code) in [("", 3), (" -H User-Agent:", 0), (" -H Accept:", 0)] {
        let told = explain(
            &folder,
            format!("{command}{more}"),
            &["--policy", &document, "--output", "json"],
        );
        assert_eq!(told.code, Some(code), "{}{}", told.out, told.err);
    }
    // Without a Content-Type of one's own, -d sends a form.
    let form = command.replace(" -H 'Content-Type: application/json'", "");
    let told = explain(&folder, form, &["--output", "json"]).json();
    assert_eq!(told["answer"]["code"], "media_type_unsupported");
}
