//! What an answer of the gateway looks like.

#![expect(clippy::indexing_slicing, reason = "a missing member fails the test")]

use http_body_util::BodyExt;

use serde_json::Value;

use super::*;
use crate::{
    problem::Repeat,
    rate_limit::{self, Cause, Holder},
    upstream::{self, Kind, Sent},
};

fn to() -> Addressee {
    Addressee {
        request_id: HeaderValue::from_static("id-1"),
        problem_json: false,
    }
}

async fn body(answer: Response<Body>) -> Value {
    let bytes = answer
        .into_body()
        .collect()
        .await
        .expect("a body")
        .to_bytes();
    serde_json::from_slice(&bytes).expect("JSON")
}

#[tokio::test]
async fn an_answer_has_the_services_shape_and_rfc_9457s() {
    let answer = Problem::BadHost.answer(&to());
    assert_eq!(answer.status(), 400);
    assert_eq!(
        answer.headers()["proxy-status"],
        "referral-gateway; error=http_request_error; details=\"bad_host\""
    );
    assert_eq!(answer.headers()["client-request-id"], "id-1");
    let body = body(answer).await;
    assert_eq!(body["error"]["code"], "invalidRequest");
    assert_eq!(body["error"]["innerError"]["code"], "bad_host");
    assert_eq!(body["type"], "urn:referral-gateway:bad_host");
    assert_eq!(
        (&body["status"], &body["title"], &body["instance"]),
        (&400.into(), &"Bad Request".into(), &"id-1".into())
    );
    assert_eq!(body["detail"], body["error"]["message"]);
}

#[test]
fn problem_json_is_sent_to_who_asks_for_it() {
    let answer = Problem::BadHost.answer(&Addressee {
        problem_json: true,
        ..to()
    });
    assert_eq!(answer.headers()["content-type"], "application/problem+json");
}

#[test]
fn a_wait_is_told_in_whole_seconds_and_never_0() {
    for (millis, seconds) in [(0, 1), (1, 1), (999, 1), (1000, 1), (1001, 2), (59_500, 60)] {
        assert_eq!(whole_seconds(Duration::from_millis(millis)), seconds);
    }
    let refusal = rate_limit::Refusal {
        cause: Cause::Rate,
        holder: Holder::Tenant,
        class: rate_limit::Class::Writes,
        retry_after: Duration::from_millis(1500),
        limit: 30,
        per_minute: 120,
    };
    let answer = Problem::Limited(refusal).answer(&to());
    let headers = answer.headers();
    assert_eq!(
        (&headers["retry-after"], &headers["ratelimit-limit"]),
        (&HeaderValue::from(2), &HeaderValue::from(30))
    );
    assert_eq!(
        (&headers["ratelimit-remaining"], &headers["ratelimit-reset"]),
        (&HeaderValue::from(0), &HeaderValue::from(2))
    );
}

#[tokio::test]
async fn a_lost_write_says_that_nobody_knows() {
    let kinds = [Kind::Closed, Kind::BadAnswer, Kind::Timeout];
    let repeats = [
        (Repeat::Safe, 502, "safe"),
        (Repeat::Unsafe, 409, "may take effect twice"),
    ];
    for (kind, (repeat, status, words)) in kinds
        .into_iter()
        .flat_map(|kind| repeats.map(|repeat| (kind, repeat)))
    {
        let error = upstream::Error::new(kind, Sent::Maybe, "x".repeat(300));
        let answer = Problem::OutcomeUnknown(error, repeat).answer(&to());
        assert_eq!(answer.status(), status);
        // Some clients repeat whatever answer has it.
        assert_eq!(answer.headers().get(header::RETRY_AFTER), None);
        let told = body(answer).await;
        let message = told["error"]["message"].as_str().expect("a text");
        assert!(message.contains(words), "{message}");
        let error = upstream::Error::new(kind, Sent::Maybe, "x".repeat(3000));
        let answer = Problem::OutcomeUnknown(error, repeat).answer(&to());
        let body = body(answer).await;
        assert_eq!(body["error"]["innerError"]["code"], "outcome_unknown");
        assert!(
            body["error"]["message"]
                .as_str()
                .is_some_and(|text| text.len() <= MAX_MESSAGE)
        );
    }
}

#[test]
fn what_never_became_a_request_is_answered_in_the_same_shape() {
    for (status, code) in [
        (400, "malformed_request"),
        (414, "uri_too_long"),
        (431, "header_too_large"),
        (503, "too_many_connections"),
        (505, "malformed_request"),
    ] {
        let text = String::from_utf8(unread(status, None)).expect("text");
        let (head, body) = text.split_once("\r\n\r\n").expect("a head");
        assert!(
            head.contains("connection: close") && head.contains("proxy-status: referral-gateway"),
            "{head}"
        );
        assert!(
            head.contains(&format!("content-length: {}\r\n", body.len())),
            "{head}"
        );
        let body: Value = serde_json::from_str(body).expect("JSON");
        assert_eq!(body["error"]["innerError"]["code"], code);
    }
}

#[test]
fn a_stray_byte_is_the_cause_of_a_400_alone() {
    for (status, names_it) in [(400, true), (414, false), (431, false), (503, false)] {
        let text = String::from_utf8(unread(status, Some(b'<'))).expect("text");
        assert_eq!(text.contains("%3C"), names_it, "{status}");
    }
}
