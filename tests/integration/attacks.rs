//! What somebody tried who wanted a bad PUT through, another's state, or the gateway's places.

use crate::support::{
    Gateway, ITEM, LIST, TAG, Upstream, body, reply, token,
    token::{TENANT, signed},
    upstream::full,
};

use http::Response;

#[tokio::test]
async fn the_options_of_a_referral_prove_no_credential() {
    let mine = token(TENANT, "me", "app");
    let known = format!("Bearer {mine}");
    let upstream = Upstream::with(move |seen| {
        let is_known = seen.header("authorization").as_deref() == Some(&*known);
        async move {
            match seen.method.as_str() {
                "OPTIONS" => Some(reply(200, "")),
                _ => (!is_known).then(|| reply(401, "who are you?")),
            }
        }
    })
    .await;
    let gateway = Gateway::start(&upstream).await;
    assert_eq!(gateway.get(ITEM).bearer(&mine).send().await.status, 200);

    let forged = signed(TENANT, "me", "app", "forged");
    let options = gateway.call("OPTIONS", ITEM).bearer(&forged).send().await;
    assert_eq!(options.status, 200);
    let answer = gateway
        .put(ITEM, body("New", "Pending"))
        .if_match(TAG)
        .bearer(&forged)
        .send()
        .await;

    assert_eq!(
        (answer.status, answer.is_ours()),
        (401, false),
        "{}",
        answer.text()
    );
    assert_eq!(upstream.count("PUT"), 0);
}

#[tokio::test]
async fn a_lone_percent_sign_is_no_path() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start(&upstream).await;

    for path in [
        "/v1.0/engagements%u002freferrals/r1",
        "/v1.0/engagements/r%u0065f%u0065rrals/r1",
        "/v1.0/x%u002f..%u002fengagements%u002freferrals/r1",
        "/v1.0/%u0024batch",
        "/v1.0/engagements/referra%6/r1",
        "/v1.0/%c0%af",
    ] {
        let answer = gateway.put(path, "{}").send().await;
        assert_eq!(
            (answer.status, answer.problem().code.as_str()),
            (400, "suspicious_path"),
            "{path}"
        );
    }
    assert!(upstream.seen().is_empty());
}

#[tokio::test]
async fn requests_inside_a_request_are_refused() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start(&upstream).await;

    for (path, content_type) in [
        ("/v1.0/$batch;x", "application/json"),
        ("/v1.0/$batch%20", "application/json"),
        ("/anything", "multipart/mixed; boundary=b"),
        ("/anything", "Application/HTTP"),
        (LIST, "multipart/mixed; boundary=b"),
    ] {
        let answer = gateway
            .call("POST", path)
            .header("Content-Type", content_type)
            .body("--b\r\n\r\nPUT /v1.0/engagements/referrals/r1 HTTP/1.1\r\n\r\n{}")
            .send()
            .await;
        assert_eq!(
            (answer.status, answer.problem().code.as_str()),
            (501, "batch_not_supported"),
            "{path} {content_type}"
        );
    }
    assert!(upstream.seen().is_empty());
}

#[tokio::test]
async fn what_a_query_may_have_computed_teaches_nothing() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start(&upstream).await;
    for query in ["?$compute='New'%20as%20status", "?$select=id,status", "?x"] {
        gateway.get(&format!("{ITEM}{query}")).send().await;
    }

    let gets = upstream.count("GET");
    let answer = gateway
        .put(ITEM, body("New", "Pending"))
        .if_match(TAG)
        .send()
        .await;

    assert_eq!((answer.status, upstream.count("GET")), (409, gets + 1));
}

#[tokio::test]
async fn a_tag_that_a_lenient_reader_takes_for_the_current_one_is_judged() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start(&upstream).await;
    let bare = TAG.trim_matches('"');

    for tag in [
        format!("\"{}\"", bare.to_uppercase()),
        format!("\"{{{bare}}}\""),
        format!("\"'{bare}'\""),
        format!("\"{}\"", bare.replace('-', "")),
    ] {
        let answer = gateway
            .put(ITEM, body("New", "Pending"))
            .if_match(&tag)
            .send()
            .await;
        assert_eq!(
            (answer.status, answer.problem().code.as_str()),
            (409, "transition_not_allowed"),
            "{tag}"
        );
    }
    for (tag, code) in [
        ("\"\"", "if_match_empty"),
        ("\"*\"", "if_match_wildcard"),
        ("\"a,b\"", "if_match_several"),
    ] {
        let answer = gateway
            .put(ITEM, body("Closed", "Won"))
            .if_match(tag)
            .send()
            .await;
        assert_eq!(
            (answer.status, answer.problem().code.as_str()),
            (428, code),
            "{tag}"
        );
    }
    assert_eq!(upstream.count("PUT"), 0);
}

#[tokio::test]
async fn spellings_of_one_token_and_new_cookies_make_no_new_caller() {
    let upstream = Upstream::with(|_| async { Some(reply(401, "no")) }).await;
    let gateway = Gateway::with("rate_limit: { reads: { per_minute: 1, burst: 2 } }")
        .start(&upstream)
        .await;
    let mine = token(TENANT, "me", "app");

    let mut passed = 0;
    for number in 0..12 {
        let blanks = ["Bearer ", "bearer ", "BEARER  ", "Bearer\t"][number % 4];
        let answer = gateway
            .get(ITEM)
            .set("Authorization", &format!("{blanks}{mine}"))
            .header("Cookie", &format!("c={number}"))
            .send()
            .await;
        passed += usize::from(answer.status == 401);
    }

    assert_eq!(passed, 2);
}

#[tokio::test]
async fn texts_in_place_of_ids_never_reach_the_log() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start(&upstream).await;

    gateway
        .get(ITEM)
        .header("traceparent", "John Doe <john.doe@example.com> +1 555")
        .header("client-request-id", "jane.doe@example.com")
        .send()
        .await;
    gateway
        .get(ITEM)
        .header("client-request-id", "a-plain-id")
        .send()
        .await;
    gateway
        .record("the second request", |line| {
            line["request_id"] == "a-plain-id"
        })
        .await;

    assert!(
        !gateway
            .lines()
            .iter()
            .any(|line| line.contains("doe@example") || line.contains("Doe"))
    );
}

#[tokio::test]
async fn an_answer_with_two_ends_is_no_answer() {
    for fields in [
        "Content-Length: 2\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: gzip, chunked",
    ] {
        let upstream = Upstream::raw(move |mut wire, _| async move {
            wire.request().await.ok();
            wire.send(format!(
                "HTTP/1.1 200 OK\r\n{fields}\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
            ))
            .await
            .ok();
            wire.is_closed().await;
        })
        .await;
        let gateway = Gateway::start(&upstream).await;

        let answer = gateway.get(ITEM).send().await;

        assert_eq!(
            (answer.status, answer.problem().code.as_str()),
            (502, "upstream_bad_answer"),
            "{fields}"
        );
    }
}

#[tokio::test]
async fn a_get_with_a_body_of_unknown_length_keeps_it() {
    let upstream = Upstream::with(|_| async { Some(Response::new(full("ok"))) }).await;
    let gateway = Gateway::start(&upstream).await;

    let mut wire = gateway.wire().await;
    wire.send("GET /search HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n").await.unwrap();

    assert_eq!(wire.answer("GET").await.status, 200);
    assert_eq!(upstream.only("GET").body, b"hello");
}

const HASTY: &str =
    "downstream: { header_timeout: 300ms, idle_timeout: 500ms, body_timeout: 500ms }
upstream: { connect_timeout: 300ms, response_timeout: 500ms, idle_body_timeout: 500ms }";

#[tokio::test]
async fn an_idle_http2_connection_ends_though_the_other_side_confirms_nothing() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::with(HASTY).start(&upstream).await;
    let settings = [0, 0, 0, 4, 0, 0, 0, 0, 0];
    // A header block that is never ended (HEADERS without END_HEADERS).
    let unended = [0, 0, 1, 1, 1, 0, 0, 0, 1, 0x82];

    for more in [&[][..], &unended] {
        let mut wire = gateway.wire().await;
        wire.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
        wire.send([&settings[..], more].concat()).await.unwrap();
        wire.rest().await;
    }

    gateway
        .until_metric("connections_open", &[("side", "downstream")], 0.0)
        .await;
}

#[tokio::test]
async fn an_answer_that_nobody_reads_is_given_up() {
    let upstream =
        Upstream::with(|_| async { Some(Response::new(full(vec![b'x'; 40 << 20]))) }).await;
    let gateway = Gateway::with(HASTY).start(&upstream).await;

    let _silent = gateway.get("/large").open().await;
    upstream.arrived("GET", 1).await;

    gateway
        .until_metric("connections_open", &[("side", "downstream")], 0.0)
        .await;
    gateway
        .until_metric("http_requests_in_flight", &[], 0.0)
        .await;
}
