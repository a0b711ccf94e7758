//! What crosses the gateway in either direction, and in which form.

use http::Response;

use crate::support::{
    Gateway, ID, ITEM, LIST, TAG, Upstream, Wire, body, reply,
    upstream::{full, piped},
    within,
};

/// An upstream that answers every request with these bytes and keeps the heads that arrived.
async fn saying(answer: &'static str) -> (Upstream, tokio::sync::mpsc::UnboundedReceiver<String>) {
    let (sender, receiver) = tokio::sync::mpsc::unbounded_channel();
    let upstream = Upstream::raw(move |mut wire, _| {
        let sender = sender.clone();
        async move {
            while let Ok((head, _)) = wire.request().await {
                sender.send(head).ok();
                if wire.send(answer).await.is_err() {
                    return;
                }
            }
        }
    })
    .await;
    (upstream, receiver)
}

/// The values of a field in a head that arrived.
fn values(head: &str, name: &str) -> Vec<String> {
    head.lines()
        .filter_map(|line| line.split_once(':'))
        .filter(|(n, _)| n.eq_ignore_ascii_case(name))
        .map(|(_, value)| value.trim().to_owned())
        .collect()
}

#[tokio::test]
async fn hop_by_hop_fields_of_a_request_stay_here() {
    let (upstream, mut heads) = saying("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
    let gateway = Gateway::start(&upstream).await;

    let answer = gateway
        .get("/anything")
        .header("Connection", "keep-alive, X-Hop")
        .header("Connection", "x-second-hop")
        .header("Keep-Alive", "timeout=5")
        .header("Proxy-Connection", "keep-alive")
        .header("Upgrade", "websocket")
        .header("X-Hop", "1")
        .header("X-Second-Hop", "2")
        .header("X-Kept", "3")
        .send()
        .await;

    assert_eq!(answer.status, 200);
    let head = heads.recv().await.unwrap();
    for name in [
        "Keep-Alive",
        "Proxy-Connection",
        "Upgrade",
        "X-Hop",
        "X-Second-Hop",
    ] {
        assert!(values(&head, name).is_empty(), "{name} in {head}");
    }
    assert!(!head.to_ascii_lowercase().contains("x-hop"), "{head}");
    assert_eq!(values(&head, "X-Kept"), ["3"]);
}

#[tokio::test]
async fn hop_by_hop_fields_of_an_answer_stay_here() {
    let (upstream, _heads) = saying(
        "HTTP/1.1 200 OK\r\nConnection: keep-alive, X-Hop\r\nX-Hop: 1\r\nKeep-Alive: timeout=5\r\nProxy-Connection: x\r\nX-Kept: 2\r\nContent-Length: 2\r\n\r\nok",
    )
    .await;
    let gateway = Gateway::start(&upstream).await;

    let answer = gateway.get("/anything").send().await;

    assert_eq!((answer.status, answer.text().as_str()), (200, "ok"));
    for name in ["X-Hop", "Proxy-Connection"] {
        assert_eq!(answer.header(name), None, "{name}");
    }
    // The gateway's own.
    assert_eq!(answer.head.all("Keep-Alive"), ["timeout=120"]);
    assert_eq!(answer.header("X-Kept"), Some("2"));
}

#[tokio::test]
async fn a_connection_field_that_names_a_guarded_one_is_refused() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start(&upstream).await;

    for named in [
        "If-Match",
        "if-match",
        "keep-alive, IF-MATCH",
        "close,If-Match",
        "Authorization",
        "Content-Type",
        "Content-Length",
        "content-encoding",
        "Host",
        "Cookie",
    ] {
        for call in [
            gateway.put(ITEM, body("Active", "Accepted")).if_match(TAG),
            gateway.get(ITEM),
        ] {
            let answer = call.header("Connection", named).send().await;
            assert_eq!(answer.status, 400, "{named}: {}", answer.text());
            assert_eq!(
                answer.problem().code,
                "connection_names_guarded_field",
                "{named}"
            );
        }
    }

    assert!(upstream.seen().is_empty());
}

#[tokio::test]
async fn via_is_added_both_ways_and_nothing_is_said_about_the_caller() {
    let (upstream, mut heads) =
        saying("HTTP/1.1 200 OK\r\nVia: 1.1 cdn\r\nContent-Length: 0\r\n\r\n").await;
    let gateway = Gateway::start(&upstream).await;

    let answer = gateway
        .get("/anything")
        .header("Via", "1.0 proxy")
        .send()
        .await;

    assert_eq!(
        answer.head.all("via").join(", "),
        "1.1 cdn, 1.1 referral-gateway"
    );
    let head = heads.recv().await.unwrap();
    assert_eq!(
        values(&head, "via").join(", "),
        "1.0 proxy, 1.1 referral-gateway"
    );
    for line in head.lines() {
        let name = line.to_ascii_lowercase();
        assert!(
            !name.starts_with("x-forwarded")
                && !name.starts_with("forwarded")
                && !name.starts_with("x-real-ip"),
            "{line}"
        );
    }
    assert!(!answer.is_ours());
}

#[tokio::test]
async fn end_to_end_fields_pass_both_ways_as_they_are() {
    let (upstream, mut heads) = saying(
        "HTTP/1.1 200 Fine\r\nDate: Mon, 01 Jan 2024 00:00:00 GMT\r\nServer: kestrel\r\nSet-Cookie: a=1; Path=/\r\nSet-Cookie: b=2\r\nRequest-ID: r-1\r\nETag: \"x\"\r\nx-ms-ags-diagnostic: {\"a\":[1,2]}\r\nX-Empty:\r\nCache-Control: private\r\nContent-Length: 0\r\n\r\n",
    )
    .await;
    let gateway = Gateway::start(&upstream).await;
    let sent = [
        ("Accept", "application/json;q=0.5, */*"),
        ("Accept-Encoding", "gzip, br;q=0.1"),
        ("Prefer", "return=representation"),
        ("MS-RequestId", "f0e1"),
        ("MS-CorrelationId", "c0ffee"),
        ("Request-ID", "|a.b."),
        (
            "traceparent",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        ),
        ("X-Caller-Id", "60858c1b-2062-40ad-b42c-996b6b5b047d"),
        ("X-Unknown", "a  b,\"c\""),
        ("Cookie", "a=b; c=d"),
        ("User-Agent", "crm/1.0 (x; y)"),
        ("If-None-Match", "W/\"1\", \"2\""),
    ];

    let call = sent
        .iter()
        .fold(gateway.get("/anything"), |call, (name, value)| {
            call.header(name, value)
        });
    let answer = call
        .header("X-Twice", "1")
        .header("X-Twice", "2")
        .send()
        .await;

    let head = heads.recv().await.unwrap();
    for (name, value) in sent {
        assert_eq!(values(&head, name), [value], "{name}");
    }
    assert_eq!(values(&head, "X-Twice"), ["1", "2"]);
    assert_eq!(values(&head, "Host"), [upstream.address.to_string()]);
    for (name, value) in [
        ("Date", "Mon, 01 Jan 2024 00:00:00 GMT"),
        ("Server", "kestrel"),
        ("Request-ID", "r-1"),
        ("ETag", "\"x\""),
        ("x-ms-ags-diagnostic", "{\"a\":[1,2]}"),
        ("X-Empty", ""),
        ("Cache-Control", "private"),
    ] {
        assert_eq!(answer.head.all(name), [value], "{name}");
    }
    assert_eq!(answer.head.all("set-cookie"), ["a=1; Path=/", "b=2"]);
}

#[tokio::test]
async fn a_request_id_is_kept_or_made_and_named_in_our_own_answers() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start(&upstream).await;

    let refused = gateway
        .put(ITEM, "{}")
        .header("Client-Request-Id", "ABC-1")
        .send()
        .await;
    assert_eq!(refused.header("client-request-id"), Some("ABC-1"));
    assert_eq!(refused.problem().value["instance"], "ABC-1");
    let made = gateway.put(ITEM, "{}").send().await;
    let made = made.header("client-request-id").unwrap().to_owned();
    assert_eq!(made.len(), 36, "{made}");

    gateway
        .get(ITEM)
        .header("client-request-id", "abc-2")
        .send()
        .await;
    gateway.get(ITEM).send().await;
    let ids: Vec<_> = upstream
        .seen()
        .iter()
        .map(|seen| seen.header("client-request-id").unwrap())
        .collect();
    assert_eq!(ids[0], "abc-2");
    assert_eq!(ids[1].len(), 36, "{}", ids[1]);
    assert_ne!(ids[1], made);
}

#[tokio::test]
async fn a_credential_passes_as_it_is() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start(&upstream).await;

    for credential in [
        "bearer  x.y.z",
        "Basic dXNlcjpwYXNz",
        "Bearer not-a-token",
        "Custom a=b, c=d",
    ] {
        gateway
            .get(ITEM)
            .set("Authorization", credential)
            .send()
            .await;
        assert_eq!(
            upstream
                .seen()
                .last()
                .unwrap()
                .header("authorization")
                .as_deref(),
            Some(credential)
        );
    }
    gateway.get(ITEM).without("Authorization").send().await;
    assert_eq!(
        upstream.seen().last().unwrap().header("authorization"),
        None
    );
}

#[tokio::test]
async fn an_answer_to_head_has_the_length_and_no_body() {
    let (upstream, mut heads) =
        saying("HTTP/1.1 200 OK\r\nContent-Length: 1234\r\nETag: \"x\"\r\n\r\n").await;
    let gateway = Gateway::start(&upstream).await;

    let mut wire = gateway.wire().await;
    for _ in 0..2 {
        let answer = gateway.call("HEAD", ITEM).on(&mut wire).await;
        assert_eq!(
            (answer.status, answer.header("content-length")),
            (200, Some("1234"))
        );
        assert_eq!(answer.header("etag"), Some("\"x\""));
        assert!(heads.recv().await.unwrap().starts_with("HEAD "));
    }
}

#[tokio::test]
async fn answers_without_a_body_stay_without() {
    for (answer, status) in [
        ("HTTP/1.1 204 No Content\r\nRequest-ID: 1\r\n\r\n", 204),
        (
            "HTTP/1.1 304 Not Modified\r\nETag: \"x\"\r\nContent-Length: 77\r\n\r\n",
            304,
        ),
        ("HTTP/1.1 304 Not Modified\r\nETag: \"x\"\r\n\r\n", 304),
    ] {
        let (upstream, _heads) = saying(answer).await;
        let gateway = Gateway::start(&upstream).await;
        let mut wire = gateway.wire().await;
        for _ in 0..2 {
            // The second exchange shows that the first left nothing behind on the connection.
            let relayed = gateway.get(ITEM).on(&mut wire).await;
            assert_eq!(relayed.status, status);
            assert_eq!(relayed.header("transfer-encoding"), None);
        }
    }
}

#[tokio::test]
async fn an_upgrade_is_not_passed_on_and_not_accepted() {
    let (upstream, mut heads) =
        saying("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\nnot http").await;
    let gateway = Gateway::start(&upstream).await;

    let answer = gateway
        .get("/anything")
        .header("Connection", "Upgrade")
        .header("Upgrade", "websocket")
        .header("Sec-WebSocket-Version", "13")
        .send()
        .await;

    assert!(values(&heads.recv().await.unwrap(), "upgrade").is_empty());
    assert_eq!(
        (answer.status, answer.problem().code.as_str()),
        (502, "upstream_bad_answer")
    );
}

#[tokio::test]
async fn a_client_that_expects_100_continue_gets_it_before_it_sends_the_body() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start(&upstream).await;

    for (call, status) in [
        (gateway.put(ITEM, body("Closed", "Won")).if_match(TAG), 200),
        (
            gateway
                .call("POST", LIST)
                .header("Content-Type", "application/json")
                .body("{\"name\":\"x\"}"),
            201,
        ),
    ] {
        let bytes = call.clone().header("Expect", "100-continue").bytes();
        let at = bytes
            .windows(4)
            .position(|window| window == b"\r\n\r\n")
            .unwrap()
            + 4;
        let mut wire = gateway.wire().await;
        wire.send(&bytes[..at]).await.unwrap();
        let interim = within("100 Continue", wire.head()).await.unwrap();
        assert!(interim.line.starts_with("HTTP/1.1 100"), "{interim:?}");

        wire.send(&bytes[at..]).await.unwrap();
        assert_eq!(wire.answer("POST").await.status, status);
    }
}

#[tokio::test]
async fn a_refusal_that_needs_no_body_does_not_ask_for_it() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start(&upstream).await;

    for (request, status) in [
        (
            format!(
                "PUT {LIST}/x/y HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n"
            ),
            404,
        ),
        (
            format!(
                "PUT {ITEM} HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nExpect: 100-continue\r\nContent-Length: 5000000\r\n\r\n"
            ),
            413,
        ),
    ] {
        let mut wire = gateway.wire().await;
        wire.send(request).await.unwrap();
        let head = within("an answer", wire.head()).await.unwrap();
        assert!(
            head.line.starts_with(&format!("HTTP/1.1 {status}")),
            "{head:?}"
        );
    }
}

#[tokio::test]
async fn trailers_pass_both_ways() {
    let upstream = Upstream::with(|_| async {
        let (sender, piped) = piped();
        tokio::spawn(async move {
            let mut trailers = http::HeaderMap::new();
            trailers.insert("x-sum", "42".parse().unwrap());
            sender
                .send(Ok(hyper::body::Frame::data("hello".into())))
                .await
                .ok();
            sender
                .send(Ok(hyper::body::Frame::trailers(trailers)))
                .await
                .ok();
        });
        Some(
            Response::builder()
                .header("Trailer", "X-Sum")
                .body(piped)
                .unwrap(),
        )
    })
    .await;
    let gateway = Gateway::start(&upstream).await;

    let answer = gateway
        .call("POST", "/anything")
        .header("TE", "trailers")
        .header("Trailer", "X-Total")
        .header("Transfer-Encoding", "chunked")
        .body("3\r\nabc\r\n0\r\nX-Total: 3\r\n\r\n")
        .send()
        .await;

    let seen = upstream.only("POST");
    assert_eq!(seen.body, b"abc");
    assert_eq!(
        seen.trailers
            .as_ref()
            .and_then(|trailers| trailers.get("x-total"))
            .unwrap(),
        "3"
    );
    assert_eq!(answer.text(), "hello");
    assert!(
        answer
            .trailers
            .iter()
            .any(|(name, value)| name.eq_ignore_ascii_case("x-sum") && value == "42"),
        "{answer:?}"
    );
}

#[tokio::test]
async fn an_encoded_answer_is_relayed_in_its_encoding_and_none_is_added() {
    let packed = b"\x1f\x8b not really packed".as_slice();
    let upstream = Upstream::with(move |_| async move {
        Some(
            Response::builder()
                .header("Content-Encoding", "gzip")
                .header("Vary", "Accept-Encoding")
                .body(full(packed))
                .unwrap(),
        )
    })
    .await;
    let gateway = Gateway::start(&upstream).await;

    for path in [ITEM, LIST, "/anything"] {
        let answer = gateway
            .get(path)
            .header("Accept-Encoding", "gzip")
            .send()
            .await;
        assert_eq!(answer.header("content-encoding"), Some("gzip"), "{path}");
        assert_eq!(answer.body, packed, "{path}");
    }
}

#[tokio::test]
async fn a_body_of_unknown_length_is_not_given_one_and_a_known_length_stays() {
    let (upstream, mut heads) =
        saying("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n").await;
    let gateway = Gateway::start(&upstream).await;

    let answer = gateway.call("POST", "/anything").body("hello").send().await;
    assert_eq!(
        (
            answer.header("transfer-encoding"),
            answer.header("content-length")
        ),
        (Some("chunked"), None)
    );
    assert_eq!(answer.text(), "abc");
    let head = heads.recv().await.unwrap();
    assert_eq!(values(&head, "content-length"), ["5"]);
    assert!(values(&head, "transfer-encoding").is_empty());

    let chunked = gateway
        .call("POST", "/anything")
        .header("Transfer-Encoding", "chunked")
        .body("5\r\nhello\r\n0\r\n\r\n");
    chunked.send().await;
    let head = heads.recv().await.unwrap();
    assert_eq!(values(&head, "transfer-encoding"), ["chunked"]);
    assert!(values(&head, "content-length").is_empty());
}

#[tokio::test]
async fn a_get_without_a_body_is_not_given_one() {
    let (upstream, mut heads) = saying("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
    let gateway = Gateway::start(&upstream).await;

    gateway
        .get(ITEM)
        .header("Content-Type", "application/json")
        .send()
        .await;

    let head = heads.recv().await.unwrap();
    assert!(
        values(&head, "transfer-encoding").is_empty() && values(&head, "content-length").is_empty(),
        "{head}"
    );
}

#[tokio::test]
async fn a_client_that_wants_to_close_is_obeyed() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start(&upstream).await;

    for call in [gateway.get(ITEM), gateway.put(ITEM, "{}")] {
        let mut wire = call.header("Connection", "close").open().await;
        wire.answer("GET").await;
        assert!(wire.is_closed().await);
    }
}

#[tokio::test]
async fn a_client_of_http_1_0_is_answered_and_let_go() {
    let upstream = Upstream::with(|_| async { Some(reply(200, "hello")) }).await;
    let gateway = Gateway::start(&upstream).await;

    let mut wire: Wire = gateway.wire().await;
    wire.send("GET /anything HTTP/1.0\r\nHost: a\r\n\r\n")
        .await
        .unwrap();
    let text = String::from_utf8(wire.rest().await).unwrap();

    assert!(
        text.starts_with("HTTP/1.") && text.contains(" 200 ") && text.ends_with("hello"),
        "{text}"
    );
    assert!(
        !text.to_ascii_lowercase().contains("transfer-encoding"),
        "{text}"
    );
}

#[tokio::test]
async fn the_referral_itself_is_relayed_byte_for_byte() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::with("upstream: { rewrite_urls: false }")
        .start(&upstream)
        .await;

    let answer = gateway.get(ITEM).send().await;

    assert_eq!(
        answer.text(),
        crate::support::referral::shown(ID, "Active", "Accepted", TAG)
    );
    assert_eq!(
        answer.header("content-type"),
        Some("application/json; odata.metadata=minimal")
    );
}

/// The `Max-Forwards` lines that arrive when these are sent.
async fn forwarded(
    gateway: &Gateway,
    upstream: &Upstream,
    method: &str,
    values: &[&str],
) -> Vec<String> {
    let call = gateway.call(method, "/anything");
    let call = values
        .iter()
        .fold(call, |call, value| call.header("Max-Forwards", value));
    let answer = call.send().await;
    assert_eq!(answer.status, 200, "{method} {values:?}: {}", answer.text());
    assert!(!answer.is_ours(), "{method} {values:?}");
    let seen = upstream.seen().pop().unwrap();
    let lines = seen.headers.get_all("max-forwards").iter();
    lines
        .map(|line| line.to_str().unwrap().to_owned())
        .collect()
}

#[tokio::test]
async fn max_forwards_of_options_is_counted_down() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start(&upstream).await;
    for (value, expected) in [
        ("1", "0"),
        ("10", "9"),
        ("007", "6"),
        ("18446744073709551615", "18446744073709551614"),
        // RFC 9110 7.6.2: the greatest value that is supported.
        ("99999999999999999999999", "18446744073709551614"),
    ] {
        let lines = forwarded(&gateway, &upstream, "OPTIONS", &[value]).await;
        assert_eq!(lines, [expected], "{value}");
    }
    // Nothing says how often these may be forwarded.
    for values in [
        &[][..],
        &[""],
        &["-1"],
        &["+1"],
        &["1.0"],
        &["one"],
        &["0, 0"],
        &["0", "0"],
        &["5", "5"],
    ] {
        let lines = forwarded(&gateway, &upstream, "OPTIONS", values).await;
        assert_eq!(lines, values);
    }
    for method in ["GET", "PUT", "DELETE"] {
        for value in ["0", "3"] {
            let lines = forwarded(&gateway, &upstream, method, &[value]).await;
            assert_eq!(lines, [value], "{method}");
        }
    }
}

#[tokio::test]
async fn options_that_may_not_be_forwarded_are_answered_here() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start(&upstream).await;

    for (target, route, allowed) in [
        (
            ITEM,
            "referral_item",
            "GET, HEAD, OPTIONS, PUT, PATCH, DELETE",
        ),
        (LIST, "referral_list", "GET, HEAD, OPTIONS, POST"),
        (
            "/anything",
            "passthrough",
            "GET, HEAD, OPTIONS, PUT, PATCH, POST, DELETE",
        ),
    ] {
        let id = &*route.replace('_', "-");
        let call = gateway.call("OPTIONS", target).header("Max-Forwards", "0");
        let answer = call.header("client-request-id", id).send().await;

        assert_eq!(answer.status, 200, "{target}");
        assert!(answer.is_ours() && answer.body.is_empty(), "{answer:?}");
        for (name, value) in [
            ("allow", allowed),
            ("content-length", "0"),
            ("client-request-id", id),
            ("via", "1.1 referral-gateway"),
            ("cache-control", "no-store"),
        ] {
            assert_eq!(answer.header(name), Some(value), "{target}");
        }
        let labels = [
            ("method", "OPTIONS"),
            ("route", route),
            ("code", "200"),
            ("source", "gateway"),
        ];
        gateway
            .until_metric("http_requests_total", &labels, 1.0)
            .await;
        gateway
            .record("the answer", |line| {
                line["request_id"] == id && line["status"] == 200 && line["source"] == "gateway"
            })
            .await;
    }
    gateway
        .until_metric("tenant_requests_total", &[("outcome", "passed")], 3.0)
        .await;
    let trace = gateway.call("TRACE", ITEM).header("Max-Forwards", "0");
    assert_eq!(trace.send().await.status, 405);
    assert!(upstream.seen().is_empty());
}

#[tokio::test]
async fn options_that_may_not_be_forwarded_spend_a_read() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::with("rate_limit: { reads: { per_minute: 1, burst: 2 } }")
        .start(&upstream)
        .await;
    let call = gateway.call("OPTIONS", ITEM).header("Max-Forwards", "0");

    for status in [200, 200, 429] {
        assert_eq!(call.clone().send().await.status, status);
    }
}

#[tokio::test]
async fn a_preflight_is_the_services_and_an_answer_of_the_gateway_allows_no_page() {
    let upstream = Upstream::with(async |seen| {
        let answer =
            Response::builder().header("Access-Control-Allow-Origin", "https://app.example");
        (seen.method == "OPTIONS").then(|| {
            let answer = answer
                .status(204)
                .header("Access-Control-Allow-Methods", "GET, PATCH");
            answer.body(full("")).unwrap()
        })
    })
    .await;
    let gateway = Gateway::start(&upstream).await;

    let preflight = gateway
        .call("OPTIONS", ITEM)
        .without("Authorization")
        .header("Origin", "https://app.example")
        .header("Access-Control-Request-Method", "PATCH")
        .send()
        .await;
    let seen = upstream.only("OPTIONS");
    assert_eq!(
        seen.header("access-control-request-method").as_deref(),
        Some("PATCH")
    );
    assert_eq!(
        seen.header("origin").as_deref(),
        Some("https://app.example")
    );
    assert_eq!(preflight.status, 204);
    assert_eq!(
        preflight.header("access-control-allow-methods"),
        Some("GET, PATCH")
    );

    let refused = gateway
        .put(ITEM, "{}")
        .header("Origin", "https://app.example")
        .send()
        .await;
    assert!(refused.is_ours());
    assert_eq!(refused.header("access-control-allow-origin"), None);
}
