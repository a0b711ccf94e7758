//! The rules on POST of the collection: what is refused, and that what passes is untouched.

use crate::support::{Gateway, LIST, Upstream};

const SHIPPED: &str = include_str!("../../policies/referrals.yaml");

#[tokio::test]
async fn a_post_that_is_not_one_plain_json_object_never_reaches_the_upstream() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start(&upstream).await;
    let large = format!("{{\"name\":\"{}\"}}", "x".repeat(1024 * 1024));

    for (content_type, body, status, code) in [
        ("application/json", "", 400, "empty_body"),
        (
            "application/json",
            "{\"name\":\"x\",}",
            400,
            "malformed_json",
        ),
        (
            "application/json",
            "[{\"name\":\"x\"}]",
            400,
            "not_an_object",
        ),
        (
            "application/json",
            r#"{"status":"New","STATUS":"Closed"}"#,
            400,
            "duplicate_member",
        ),
        (
            "application/json",
            r#"{"ſtatus":"New"}"#,
            400,
            "ambiguous_member",
        ),
        ("application/json", &large, 413, "body_too_large"),
        ("text/plain", "{}", 415, "media_type_unsupported"),
        (
            "application/json; charset=utf-16",
            "{}",
            415,
            "charset_unsupported",
        ),
    ] {
        let answer = gateway
            .call("POST", LIST)
            .header("Content-Type", content_type)
            .body(body)
            .send()
            .await;

        assert_eq!(
            (answer.status, answer.problem().code.as_str()),
            (status, code),
            "{}",
            answer.text()
        );
    }

    assert!(upstream.seen().is_empty());
    let denied = [("rule", "well-formed"), ("verdict", "deny")];
    assert_eq!(
        gateway.metric("policy_decisions_total", &denied).await as usize,
        8
    );
}

#[tokio::test]
async fn a_post_passes_byte_for_byte_whatever_its_status() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start(&upstream).await;

    for (number, body) in [
        "{}",
        " {\r\n \"name\" : \"x\", \"name\": \"y\", \"dealValue\": 1.50e3 }\n",
        // The portal's own sheet says so.
        r#"{"status":"New","substatus":"Accepted"}"#,
        r#"{"id":"x","links":{},"eTag":null,"status":"Open"}"#,
    ]
    .into_iter()
    .enumerate()
    {
        for path in [LIST.to_owned(), format!("{LIST}/")] {
            let answer = gateway
                .call("POST", &path)
                .header("Content-Type", "application/json")
                .body(body)
                .send()
                .await;

            assert_eq!(answer.status, 201, "{path} {body}: {}", answer.text());
            let seen = upstream.seen().pop().unwrap();
            assert_eq!((seen.target(), seen.body), (path, body.into()), "{number}");
        }
    }
    assert_eq!(upstream.count("GET"), 0);
}

#[tokio::test]
async fn the_status_of_a_post_is_judged_when_the_document_says_so() {
    let policy = SHIPPED.replace(
        "check: substatus, on: [PUT, PATCH]",
        "check: substatus, on: [PUT, PATCH, POST]",
    );
    let upstream = Upstream::start().await;
    let gateway = Gateway::policy(&policy).start(&upstream).await;

    for (body, code) in [
        (
            r#"{"status":"New","substatus":"Accepted"}"#,
            Some("substatus_not_allowed"),
        ),
        (
            r#"{"status":"new","substatus":"Pending"}"#,
            Some("status_unknown"),
        ),
        (r#"{"status":"Closed"}"#, Some("substatus_missing")),
        (r#"{"substatus":"Won"}"#, Some("status_missing")),
        (r#"{"status":"New","substatus":"Pending"}"#, None),
        (r#"{"name":"x"}"#, None),
    ] {
        let before = upstream.count("POST");
        let answer = gateway
            .call("POST", LIST)
            .header("Content-Type", "application/json")
            .body(body)
            .send()
            .await;

        match code {
            Some(code) => {
                assert_eq!(
                    (answer.status, answer.problem().code.as_str()),
                    (422, code),
                    "{body}"
                );
                assert_eq!(upstream.count("POST"), before, "{body}");
            }
            None => assert_eq!(answer.status, 201, "{body}: {}", answer.text()),
        }
    }
    assert_eq!(upstream.count("GET"), 0);
}

#[tokio::test]
async fn a_judged_post_is_recorded_without_a_referral() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start(&upstream).await;

    gateway
        .call("POST", LIST)
        .header("client-request-id", "post-1")
        .body("{}")
        .send()
        .await;

    let record = gateway
        .record("the decision", |line| {
            line["request_id"] == "post-1" && !line["verdict"].is_null()
        })
        .await;
    for (field, value) in [
        ("verdict", "pass"),
        ("route", "referral_create"),
        ("method", "POST"),
        ("referral", ""),
        ("unjudged", ""),
    ] {
        assert_eq!(record[field], value, "{field}");
    }
}
