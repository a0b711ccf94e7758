//! Mode `repair`: what arrives is what was sent without its fault, and the caller is told.

use http::{Request, Response};
use http_body_util::BodyExt as _;
use hyper::{body::Frame, client::conn::http2::handshake};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::Value;
use tokio::net::TcpStream;

use crate::support::{
    Answer, Gateway, ID, ITEM, LIST, TAG, Upstream, body,
    gateway::sum,
    reply,
    token::usual,
    upstream::{full, piped},
    within,
};

const REPAIRED: &str = "referral-gateway-repaired";

/// All that can be mended is; the rest is refused.
fn policy() -> String {
    "name: mends
rules:
  - { id: form, check: well_formed, on: [PUT, PATCH, POST], mode: repair, repairs: [trailing-comma] }
  - { id: tag, check: if_match, on: [PUT], mode: repair, repairs: [quote-if-match, unescape-if-match, if-match-from-body] }
  - { id: links, check: links_removed, on: [PUT, PATCH], mode: repair, repairs: [strip-links] }
  - { id: pair, check: substatus, on: [PUT, PATCH], mode: enforce }
  - { id: move, check: transition, on: [PUT, PATCH], mode: enforce }
  - { id: same, check: same_etag, on: [PUT], mode: enforce }
states:
  New:    { next: [New, Active, Closed], substatus: [Pending, Received] }
  Active: { next: [Active, Closed], substatus: [Accepted] }
  Closed: { next: [Closed], substatus: [Won, Lost, Declined, Expired], substatus_may_change: false }
"
    .to_owned()
}

async fn start(upstream: &Upstream) -> Gateway {
    Gateway::policy(&policy()).start(upstream).await
}

/// The PUT of the service's own documentation: no `If-Match`, the `eTag` in the body, a comma after the last member.
fn documented() -> String {
    let tag = serde_json::to_string(TAG).unwrap();
    format!(
        r#" {{
    "id": "{ID}",
    "engagementId": "7a7a7a7a-0001-4b4b-8c8c-00000000e001",
    "createdDateTime": "2018-11-06T18:40:42.6178337Z",
    "status": "Closed",
    "substatus": "Won",
    "statusReason": "Customer engagement was a \"success\",}}",
    "target": [
        {{
            "type": "BusinessProfileLocation",
            "id": "01e2abcd-52b0-4af3-a3ae-1fd1530b3563"
        }}
    ],
    "details": {{
        "dealValue": 50000.00,
        "requirements": {{ "products": [ {{ "name": "Größe" }} ] }}
    }},
    "eTag": {tag},
}}
"#
    )
}

/// Text without the comma before its last bracket.
fn without_comma(text: &str) -> String {
    let at = text.rfind(',').unwrap();
    format!("{}{}", &text[..at], &text[at + 1..])
}

#[track_caller]
fn refused(answer: &Answer, status: u16, code: &str) {
    assert_eq!(answer.status, status, "{}", answer.text());
    assert_eq!(answer.problem().code, code);
    assert_eq!(answer.header(REPAIRED), None);
}

#[tokio::test]
async fn the_documented_put_arrives_as_a_correct_one() {
    let upstream = Upstream::start().await;
    let gateway = start(&upstream).await;
    let sent = documented();

    let answer = gateway.put(ITEM, &sent).header("X-Other", "1").send().await;

    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(
        answer.header(REPAIRED),
        Some("trailing-comma, if-match-from-body")
    );
    let put = upstream.only("PUT");
    let expected = without_comma(&sent);
    assert_eq!(String::from_utf8_lossy(&put.body), expected);
    let length = expected.len().to_string();
    for (name, value) in [
        ("if-match", TAG),
        ("content-length", &length),
        ("content-type", "application/json"),
        ("x-other", "1"),
    ] {
        assert_eq!(put.header(name).as_deref(), Some(value), "{name}");
    }
    assert_eq!(put.header(REPAIRED), None);
    assert_eq!(upstream.applied(), [expected.as_bytes()]);
}

#[tokio::test]
async fn each_fault_is_mended_counted_and_recorded() {
    let upstream = Upstream::start().await;
    let gateway = start(&upstream).await;
    let good = body("Active", "Accepted");
    let bare = TAG.trim_matches('"');
    let escaped = format!(r#"\"{bare}\""#);
    let with_links = good.replacen('{', "{ \"links\": { \"self\": [1, 2] }, ", 1);
    for (name, rule, call, arrives) in [
        (
            "trailing-comma",
            "form",
            gateway
                .put(ITEM, good.replacen("[]", "[7,]", 1))
                .if_match(TAG),
            good.replacen("[]", "[7]", 1),
        ),
        (
            "strip-links",
            "links",
            gateway.put(ITEM, &with_links).if_match(TAG),
            good.replacen('{', "{ ", 1),
        ),
        (
            "quote-if-match",
            "tag",
            gateway.put(ITEM, &good).if_match(bare),
            good.clone(),
        ),
        (
            "unescape-if-match",
            "tag",
            gateway.put(ITEM, &good).if_match(&escaped),
            good.clone(),
        ),
        (
            "if-match-from-body",
            "tag",
            gateway.put(ITEM, &good),
            good.clone(),
        ),
    ] {
        // The store holds the tag anew, so that each write is the first.
        upstream.hold(ID, "Active", "Accepted", TAG);
        let before = upstream.count("PUT");

        let answer = call.header("client-request-id", name).send().await;

        assert_eq!(answer.status, 200, "{name}: {}", answer.text());
        assert_eq!(answer.head.all(REPAIRED), [name]);
        let put = upstream
            .seen()
            .into_iter()
            .rfind(|seen| seen.method == "PUT")
            .unwrap();
        assert_eq!(upstream.count("PUT"), before + 1, "{name}");
        assert_eq!(String::from_utf8_lossy(&put.body), arrives, "{name}");
        assert_eq!(put.header("if-match").as_deref(), Some(TAG), "{name}");
        let length = arrives.len().to_string();
        assert_eq!(put.header("content-length"), Some(length), "{name}");
        gateway
            .until_metric("policy_repairs_total", &[("repair", name)], 1.0)
            .await;
        let record = gateway
            .record("the decision", |line| {
                line["message"] == "Judged" && line["request_id"] == name
            })
            .await;
        assert_eq!(record["repaired"], format!("{rule}:{name}"), "{record}");
        assert_eq!(
            (&record["verdict"], &record["findings"]),
            (&"pass".into(), &"".into())
        );
    }
    let repaired = [("verdict", "repaired"), ("mode", "repair")];
    for (rule, times) in [("form", 1.0), ("links", 1.0), ("tag", 3.0)] {
        let labels = [repaired[0], repaired[1], ("rule", rule)];
        let counted = gateway.metric("policy_decisions_total", &labels).await;
        assert!((counted - times).abs() < f64::EPSILON, "{rule}: {counted}");
    }
    // How callers write If-Match is told as they wrote it.
    let unusable = [("kind", "unusable")];
    let counted = gateway.metric("preconditions_total", &unusable).await;
    assert!((counted - 2.0).abs() < f64::EPSILON, "{counted}");
}

#[tokio::test]
async fn what_needs_no_repair_passes_untouched_and_is_not_called_repaired() {
    let upstream = Upstream::with(|seen| async move {
        let answer = Response::builder().header("Referral-Gateway-Repaired", "strip-links");
        let status = if seen.method == "GET" { 404 } else { 200 };
        Some(answer.status(status).body(full("{}")).unwrap())
    })
    .await;
    let gateway = start(&upstream).await;
    let put = gateway.put(ITEM, body("Active", "Accepted"));

    // What the upstream calls repaired was not repaired here, in the answer to a write, to a read, or to our own question.
    let relayed = put.clone().if_match(TAG).send().await;
    assert_eq!((relayed.status, relayed.header(REPAIRED)), (404, None));
    assert_eq!(upstream.count("PUT"), 0);
    for call in [
        gateway.get("/anything"),
        gateway.call("POST", "/anything"),
        gateway
            .call("POST", LIST)
            .header("Content-Type", "application/json")
            .body("{}"),
    ] {
        let answer = call.send().await;
        assert!(!answer.is_ours());
        assert_eq!(answer.header(REPAIRED), None, "{answer:?}");
    }
    let mended = gateway
        .call("POST", LIST)
        .header("Content-Type", "application/json")
        .body(r#"{"name":1,}"#);
    assert_eq!(mended.send().await.head.all(REPAIRED), ["trailing-comma"]);
}

#[tokio::test]
async fn nothing_is_called_repaired_that_is_not_sent() {
    let upstream = Upstream::with(|seen| async move {
        (seen.method == "GET").then(|| reply(500, "no state today"))
    })
    .await;
    let gateway = start(&upstream).await;
    let bad_status = body("Sold", "Accepted").replacen('{', r#"{"links":{},"#, 1);

    // One fault is mended, and another is left.
    refused(
        &gateway.put(ITEM, &bad_status).if_match(TAG).send().await,
        422,
        "status_unknown",
    );
    refused(
        &gateway
            .put(
                ITEM,
                documented().replacen("\"status\"", "\"ID\":1,\"status\"", 1),
            )
            .send()
            .await,
        400,
        "duplicate_member",
    );
    // All are mended, and where the referral stands cannot be told.
    refused(
        &gateway.put(ITEM, documented()).send().await,
        503,
        "state_unknown",
    );

    assert_eq!(upstream.count("PUT"), 0);
    let metrics = gateway.metrics().await;
    let repairs = sum(&metrics, "policy_repairs_total", &[]);
    let repaired = [("verdict", "repaired")];
    let decisions = sum(&metrics, "policy_decisions_total", &repaired);
    assert!(repairs + decisions < f64::EPSILON, "{repairs} {decisions}");
    for line in gateway.lines() {
        let line: Value = serde_json::from_str(&line).unwrap_or_default();
        if line["message"] == "Judged" {
            assert_eq!(line["repaired"], "", "{line}");
        }
    }
}

#[tokio::test]
async fn a_refusal_of_a_mended_body_says_that_its_places_are_those_after_the_repair() {
    let upstream = Upstream::start().await;
    let gateway = start(&upstream).await;
    let sent = documented().replacen("\"status\"", "\"ID\":1,\"status\"", 1);

    let problem = gateway.put(ITEM, sent).send().await.problem();

    let detail = problem.value["detail"].as_str().unwrap();
    assert!(
        detail.contains("line 5") && detail.contains("the body after trailing-comma."),
        "{detail}"
    );
    let plain = gateway.put(ITEM, r#"{"id":1,"ID":2}"#).if_match(TAG);
    let detail = plain.send().await.problem().value["detail"].to_string();
    assert!(!detail.contains("those after"), "{detail}");
}

#[tokio::test]
async fn a_chunked_upload_is_mended_and_framed_anew() {
    let upstream = Upstream::start().await;
    let gateway = start(&upstream).await;
    let sent = documented();
    let mut pieces = Vec::new();
    for piece in sent.as_bytes().chunks(100) {
        pieces.extend(format!("{:x}\r\n", piece.len()).into_bytes());
        pieces.extend(piece);
        pieces.extend(b"\r\n");
    }
    pieces.extend(b"0\r\n\r\n");

    let answer = gateway
        .call("PUT", ITEM)
        .header("Content-Type", "application/json")
        .header("Transfer-Encoding", "chunked")
        .body(pieces)
        .send()
        .await;

    assert_eq!(answer.status, 200, "{}", answer.text());
    let put = upstream.only("PUT");
    let expected = without_comma(&sent);
    assert_eq!(String::from_utf8_lossy(&put.body), expected);
    assert_eq!(
        put.header("content-length"),
        Some(expected.len().to_string())
    );
    assert_eq!(put.header("transfer-encoding"), None);
}

#[tokio::test]
async fn a_body_is_mended_over_h2_with_and_without_a_length() {
    let upstream = Upstream::start().await;
    let gateway = start(&upstream).await;
    let stream = TcpStream::connect(gateway.address).await.unwrap();
    let (mut sender, connection) = handshake(TokioExecutor::new(), TokioIo::new(stream))
        .await
        .unwrap();
    let _task = tokio::spawn(connection);
    let expected = without_comma(&documented());

    for has_length in [true, false] {
        upstream.hold(ID, "Active", "Accepted", TAG);
        let sent = if has_length {
            full(documented())
        } else {
            let (pieces, sent) = piped();
            pieces
                .send(Ok(Frame::data(documented().into())))
                .await
                .unwrap();
            sent
        };
        let request = Request::builder()
            .method("PUT")
            .uri(format!("http://{}{ITEM}", gateway.address))
            .header("Authorization", format!("Bearer {}", usual()))
            .header("Content-Type", "application/json")
            .body(sent)
            .unwrap();
        let answer = within("an answer", sender.send_request(request))
            .await
            .unwrap();
        assert_eq!(answer.status(), 200, "{has_length}");
        assert_eq!(
            answer.headers()[REPAIRED],
            "trailing-comma, if-match-from-body"
        );
        within("the body", answer.into_body().collect())
            .await
            .unwrap();
        let put = upstream
            .seen()
            .into_iter()
            .rfind(|seen| seen.method == "PUT")
            .unwrap();
        assert_eq!(String::from_utf8_lossy(&put.body), expected, "{has_length}");
        assert_eq!(
            put.header("content-length"),
            Some(expected.len().to_string()),
            "{has_length}"
        );
        assert_eq!(put.header("if-match").as_deref(), Some(TAG));
    }
}

#[tokio::test]
async fn a_tag_never_comes_from_what_the_gateway_has_seen() {
    let upstream = Upstream::start().await;
    let gateway = start(&upstream).await;
    assert_eq!(gateway.get(ITEM).send().await.status, 200);
    let without_tag = body("Closed", "Won").replacen("eTag", "tag", 1);

    refused(
        &gateway.put(ITEM, &without_tag).send().await,
        428,
        "if_match_missing",
    );
    refused(
        &gateway
            .put(
                ITEM,
                without_tag.replacen("tag\":", "eTag\":null,\"x\":", 1),
            )
            .send()
            .await,
        428,
        "if_match_missing",
    );

    assert_eq!(upstream.count("PUT"), 0);
}

#[tokio::test]
async fn a_write_is_judged_by_the_tag_that_a_repair_found() {
    let upstream = Upstream::start().await;
    upstream.hold(ID, "Closed", "Won", TAG);
    let gateway = start(&upstream).await;
    assert_eq!(gateway.get(ITEM).send().await.status, 200);

    let answer = gateway.put(ITEM, body("Active", "Accepted")).send().await;
    refused(&answer, 409, "transition_not_allowed");
    assert_eq!((upstream.count("GET"), upstream.count("PUT")), (1, 0));

    // Another version has come since: the service says so, and that was to be foreseen.
    upstream.hold(ID, "Active", "Accepted", "\"newer\"");
    assert_eq!(gateway.get(ITEM).send().await.status, 200);
    let answer = gateway.put(ITEM, body("Closed", "Won")).send().await;
    assert_eq!(answer.status, 412);
    assert_eq!(answer.head.all(REPAIRED), ["if-match-from-body"]);
    gateway
        .until_metric("precondition_failures_total", &[("predicted", "yes")], 1.0)
        .await;
}

#[tokio::test]
async fn a_body_beyond_the_limit_is_refused_and_never_cut() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::policy(&policy())
        .settings("downstream: { max_judged_body: 1KiB }")
        .start(&upstream)
        .await;
    let long = body("Closed", "Won").replacen("synthetic", &"x".repeat(2000), 1);
    for call in [
        gateway.put(ITEM, &long).if_match(TAG.trim_matches('"')),
        gateway
            .put(ITEM, long.replacen('{', r#"{"links":1,"#, 1))
            .if_match(TAG),
    ] {
        refused(&call.send().await, 413, "body_too_large");
    }
    assert!(upstream.seen().is_empty());
}

#[tokio::test]
async fn who_does_not_know_the_outcome_is_told_what_was_mended() {
    let upstream = Upstream::with(|seen| async move {
        if seen.method == "PUT" {
            std::future::pending::<()>().await;
        }
        None
    })
    .await;
    let gateway = Gateway::with("upstream: { response_timeout: 1s }")
        .policy(&policy())
        .start(&upstream)
        .await;
    let mended = body("Active", "Accepted").replacen('{', r#"{"links":{},"#, 1);

    let answer = gateway.put(ITEM, mended).if_match(TAG).send().await;

    assert_eq!(answer.problem().code, "outcome_unknown");
    assert_eq!(answer.header(REPAIRED), Some("strip-links"));
    let refused = gateway.put(ITEM, "{").if_match(TAG).send().await;
    assert_eq!((refused.status, refused.header(REPAIRED)), (400, None));
}
