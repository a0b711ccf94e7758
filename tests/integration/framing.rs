//! Bytes that two readers may read differently never get past the gateway.

use crate::support::{Gateway, ITEM, TAG, Upstream, body};

/// The head of a PUT up to, and without, the fields that frame it.
fn put() -> String {
    format!(
        "PUT {ITEM} HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nIf-Match: {TAG}\r\n"
    )
}

/// A request that must not be seen by anybody: it hides in the body of the one before.
fn hidden() -> String {
    format!(
        "PUT {ITEM} HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{{}}"
    )
}

/// The statuses of all answers in what came back.
fn statuses(text: &str) -> Vec<&str> {
    let lines = text
        .match_indices("HTTP/1.1 ")
        .chain(text.match_indices("HTTP/1.0 "));
    let words = lines.filter_map(|(at, _)| text.get(at + 9..at + 12));
    // The explanation of a refusal may speak of HTTP/1.1 as well.
    words.filter(|word| word.parse::<u16>().is_ok()).collect()
}

/// Sends bytes that must be refused with one answer and the end of the connection.
async fn refused(
    gateway: &Gateway,
    upstream: &Upstream,
    name: &str,
    bytes: &[u8],
    expected: &[&str],
) {
    let text = gateway.raw(bytes).await;

    let statuses = statuses(&text);
    assert_eq!(statuses.len(), 1, "{name}: {text}");
    assert!(expected.contains(&statuses[0]), "{name}: {text}");
    assert!(upstream.seen().is_empty(), "{name}: {:?}", upstream.seen());
}

#[tokio::test]
async fn a_request_with_two_ends_is_refused_and_nothing_after_it_is_read() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start(&upstream).await;
    let good = body("Active", "Accepted");
    let length = good.len();
    let chunked = format!("{length:x}\r\n{good}\r\n0\r\n\r\n");
    let (put, hidden) = (put(), hidden());
    let cases = [
        (
            "length before encoding",
            format!("{put}Content-Length: {length}\r\nTransfer-Encoding: chunked\r\n\r\n{chunked}"),
        ),
        (
            "encoding before length",
            format!("{put}Transfer-Encoding: chunked\r\nContent-Length: {length}\r\n\r\n{chunked}"),
        ),
        (
            "CL.TE",
            format!(
                "{put}Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{hidden}"
            ),
        ),
        (
            "TE.CL",
            format!(
                "{put}Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n{hidden}"
            ),
        ),
        (
            "two lengths",
            format!("{put}Content-Length: {length}\r\nContent-Length: 2\r\n\r\n{good}{hidden}"),
        ),
        (
            "two lengths in a line",
            format!("{put}Content-Length: {length}, 2\r\n\r\n{good}{hidden}"),
        ),
        (
            "length with a sign",
            format!("{put}Content-Length: +{length}\r\n\r\n{good}{hidden}"),
        ),
        (
            "negative length",
            format!("{put}Content-Length: -1\r\n\r\n{good}{hidden}"),
        ),
        (
            "length in hexadecimal",
            format!("{put}Content-Length: 0x10\r\n\r\n{good}{hidden}"),
        ),
        (
            "length with a blank",
            format!("{put}Content-Length: 1 0\r\n\r\n{good}{hidden}"),
        ),
        (
            "length with a letter",
            format!("{put}Content-Length: {length}x\r\n\r\n{good}{hidden}"),
        ),
        (
            "empty length",
            format!("{put}Content-Length:\r\n\r\n{good}{hidden}"),
        ),
        (
            "length too large for a number",
            format!("{put}Content-Length: 99999999999999999999999\r\n\r\n{good}"),
        ),
        (
            "gzip, chunked",
            format!("{put}Transfer-Encoding: gzip, chunked\r\n\r\n{chunked}"),
        ),
        (
            "chunked, gzip",
            format!("{put}Transfer-Encoding: chunked, gzip\r\n\r\n{chunked}"),
        ),
        (
            "chunked twice",
            format!("{put}Transfer-Encoding: chunked, chunked\r\n\r\n{chunked}"),
        ),
        (
            "chunked on two lines",
            format!(
                "{put}Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n{chunked}"
            ),
        ),
        (
            "identity and chunked",
            format!(
                "{put}Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n\r\n{chunked}"
            ),
        ),
        (
            "xchunked",
            format!("{put}Transfer-Encoding: xchunked\r\n\r\n{chunked}"),
        ),
        (
            "chunked;x",
            format!("{put}Transfer-Encoding: chunked;x=y\r\n\r\n{chunked}"),
        ),
        (
            "quoted chunked",
            format!("{put}Transfer-Encoding: \"chunked\"\r\n\r\n{chunked}"),
        ),
        (
            "identity",
            format!("{put}Transfer-Encoding: identity\r\nContent-Length: {length}\r\n\r\n{good}"),
        ),
        (
            "empty encoding",
            format!("{put}Transfer-Encoding:\r\nContent-Length: {length}\r\n\r\n{good}"),
        ),
        (
            "vertical tab in the encoding",
            format!("{put}Transfer-Encoding: \x0bchunked\r\n\r\n{chunked}"),
        ),
        (
            "blank before the colon of the encoding",
            format!("{put}Transfer-Encoding : chunked\r\n\r\n{chunked}"),
        ),
        (
            "blank before the colon of the length",
            format!("{put}Content-Length : {length}\r\n\r\n{good}"),
        ),
        (
            "tab before the colon",
            format!("{put}Content-Length\t: {length}\r\n\r\n{good}"),
        ),
        (
            "folded encoding",
            format!("{put}Transfer-Encoding:\r\n chunked\r\n\r\n{chunked}"),
        ),
        (
            "folded field",
            format!("{put}X-Folded: a\r\n b\r\nContent-Length: {length}\r\n\r\n{good}"),
        ),
        (
            "a fragment in the target",
            format!(
                "{}Content-Length: {length}\r\n\r\n{good}",
                put.replace(" HTTP/1.1", "#x HTTP/1.1")
            ),
        ),
        (
            "folded If-Match",
            format!(
                "PUT {ITEM} HTTP/1.1\r\nHost: a\r\nIf-Match:\r\n\t{TAG}\r\nContent-Length: {length}\r\n\r\n{good}"
            ),
        ),
        (
            "fold at the first field",
            format!("PUT {ITEM} HTTP/1.1\r\n Host: a\r\nContent-Length: {length}\r\n\r\n{good}"),
        ),
        (
            "encoding in HTTP/1.0",
            format!(
                "{}Transfer-Encoding: chunked\r\n\r\n{chunked}",
                put.replace("HTTP/1.1", "HTTP/1.0")
            ),
        ),
    ];

    for (name, bytes) in cases {
        refused(&gateway, &upstream, name, bytes.as_bytes(), &["400", "501"]).await;
    }
}

#[tokio::test]
async fn a_malformed_head_is_refused() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start(&upstream).await;
    let good = body("Active", "Accepted");
    let end = format!("Content-Length: {}\r\n\r\n{good}", good.len());
    let put = put();
    let cases: [(&str, String); 20] = [
        (
            "If-Match with a blank before the colon",
            format!("{}{end}", put.replace("If-Match:", "If-Match :")),
        ),
        ("a bare CR in a value", format!("{put}X-A: a\rb\r\n{end}")),
        (
            "a bare CR before the end",
            format!("{put}X-A: a\r\r\n{end}"),
        ),
        ("NUL in a value", format!("{put}X-A: a\0b\r\n{end}")),
        ("a control in a value", format!("{put}X-A: a\x01b\r\n{end}")),
        ("DEL in a value", format!("{put}X-A: a\x7fb\r\n{end}")),
        ("NUL in a name", format!("{put}X\0A: a\r\n{end}")),
        ("a blank in a name", format!("{put}X A: a\r\n{end}")),
        ("an empty name", format!("{put}: a\r\n{end}")),
        ("no colon", format!("{put}X-A\r\n{end}")),
        ("a name in quotes", format!("{put}\"X-A\": a\r\n{end}")),
        (
            "a name beyond ASCII",
            format!("{put}Ïf-Match: \"x\"\r\n{end}"),
        ),
        (
            "two blanks in the first line",
            format!("{}{end}", put.replace(" HTTP/1.1", "  HTTP/1.1")),
        ),
        (
            "a blank in the target",
            format!("{}{end}", put.replace("/referrals", "/ referrals")),
        ),
        (
            "a tab in the first line",
            format!("{}{end}", put.replace("PUT ", "PUT\t")),
        ),
        ("no version", format!("PUT {ITEM}\r\nHost: a\r\n{end}")),
        (
            "another version",
            format!("{}{end}", put.replace("HTTP/1.1", "HTTP/1.2")),
        ),
        (
            "HTTP/2.0 in a line",
            format!("{}{end}", put.replace("HTTP/1.1", "HTTP/2.0")),
        ),
        (
            "something else",
            "\x16\x03\x01\x02\x00\x01\x00\x01\u{fc}\x03\x03 hello\r\n\r\n".to_owned(),
        ),
        ("a blank at the beginning", format!(" {put}{end}")),
    ];

    for (name, bytes) in cases {
        let text = gateway.raw(bytes.as_bytes()).await;
        // What is not even HTTP may be let go without a word.
        assert!(
            matches!(statuses(&text).as_slice(), [] | ["400" | "501" | "505"]),
            "{name}: {text}"
        );
        assert!(
            !text.is_empty()
                || matches!(
                    name,
                    "something else" | "no version" | "another version" | "HTTP/2.0 in a line"
                ),
            "{name}: no answer"
        );
        assert!(upstream.seen().is_empty(), "{name}");
    }
}

#[tokio::test]
async fn lines_that_end_in_a_bare_lf_hide_nothing() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start(&upstream).await;
    let good = body("Active", "Accepted");
    let length = good.len();
    let cases = [
        format!(
            "PUT {ITEM} HTTP/1.1\nHost: a\nContent-Type: application/json\nContent-Length: {length}\n\n{good}"
        ),
        format!(
            "PUT {ITEM} HTTP/1.1\r\nHost: a\r\nX-A: b\nIf-Match: *\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{good}"
        ),
        format!(
            "{}Transfer-Encoding: chunked\r\n\r\n{length:x}\n{good}\n0\n\n",
            put()
        ),
        format!(
            "{}X-A: b\nTransfer-Encoding: chunked\nContent-Length: 4\r\n\r\n0\r\n\r\n{}",
            put(),
            hidden()
        ),
    ];

    for bytes in cases {
        let mut wire = gateway.wire().await;
        wire.send(&bytes).await.unwrap();
        wire.half_close().await;
        let text = String::from_utf8_lossy(&wire.rest().await).into_owned();
        assert!(
            matches!(statuses(&text).as_slice(), ["400" | "428"]),
            "{bytes}: {text}"
        );
        assert!(upstream.seen().is_empty(), "{bytes}");
    }
}

#[tokio::test]
async fn bad_chunks_never_make_a_put() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start(&upstream).await;
    let good = body("Active", "Accepted");
    let length = good.len();
    let head = format!("{}Transfer-Encoding: chunked\r\n\r\n", put());
    let cases = [
        ("no size", format!("\r\n{good}\r\n0\r\n\r\n")),
        (
            "a size that is no number",
            format!("zz\r\n{good}\r\n0\r\n\r\n"),
        ),
        (
            "a negative size",
            format!("-{length:x}\r\n{good}\r\n0\r\n\r\n"),
        ),
        (
            "a size with a prefix",
            format!("0x{length:x}\r\n{good}\r\n0\r\n\r\n"),
        ),
        (
            "a size with a sign",
            format!("+{length:x}\r\n{good}\r\n0\r\n\r\n"),
        ),
        (
            "a size too large for a number",
            format!("fffffffffffffffff\r\n{good}\r\n0\r\n\r\n"),
        ),
        (
            "a size that is too small",
            format!("2\r\n{good}\r\n0\r\n\r\n"),
        ),
        (
            "no end of the chunk",
            format!("{length:x}\r\n{good}0\r\n\r\n"),
        ),
        (
            "another end of the chunk",
            format!("{length:x}\r\n{good}XX0\r\n\r\n"),
        ),
        (
            "a bare CR after the size",
            format!("{length:x}\r{good}\r\n0\r\n\r\n"),
        ),
        (
            "a line end in an extension",
            format!("{length:x};a\nb\r\n{good}\r\n0\r\n\r\n"),
        ),
        (
            "a malformed trailer",
            format!("{length:x}\r\n{good}\r\n0\r\nX A: b\r\n\r\n"),
        ),
    ];

    for (name, chunks) in cases {
        let mut wire = gateway.wire().await;
        wire.send(format!("{head}{chunks}{}", hidden())).await.ok();
        let text = String::from_utf8_lossy(&wire.rest().await).into_owned();
        assert!(
            matches!(statuses(&text).as_slice(), [] | ["400" | "413"]),
            "{name}: {text}"
        );
        assert!(
            upstream.seen().iter().all(|seen| seen.method != "PUT"),
            "{name}"
        );
    }
}

#[tokio::test]
async fn a_streamed_body_with_bad_chunks_is_never_completed_upstream() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start(&upstream).await;

    let head = "POST /anything HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    let text = gateway
        .raw(format!(
            "{head}5\r\nhello\r\nzz\r\nmore\r\n0\r\n\r\n{}",
            hidden()
        ))
        .await;

    assert!(matches!(statuses(&text).as_slice(), [] | ["400"]), "{text}");
    assert!(
        upstream.seen().iter().all(|seen| !seen.is_complete),
        "{:?}",
        upstream.seen()
    );
    assert_eq!(upstream.count("PUT"), 0);
}

#[tokio::test]
async fn a_body_that_ends_too_early_never_makes_a_put() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start(&upstream).await;
    let good = body("Active", "Accepted");

    for bytes in [
        format!("{}Content-Length: {}\r\n\r\n{good}", put(), good.len() + 1),
        format!(
            "{}Transfer-Encoding: chunked\r\n\r\n{:x}\r\n{good}\r\n",
            put(),
            good.len()
        ),
        format!(
            "{}Transfer-Encoding: chunked\r\n\r\n{:x}\r\n{good}\r\n0\r\n",
            put(),
            good.len()
        ),
    ] {
        let mut wire = gateway.wire().await;
        wire.send(&bytes).await.unwrap();
        wire.half_close().await;
        let text = String::from_utf8_lossy(&wire.rest().await).into_owned();
        assert!(
            matches!(statuses(&text).as_slice(), [] | ["400"]),
            "{bytes}: {text}"
        );
    }

    assert!(upstream.seen().is_empty());
}

#[tokio::test]
async fn trailers_that_end_in_a_bare_lf_have_not_ended() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start(&upstream).await;
    let lines = [
        "0\r\n\n",
        "0\r\nX: y\n\n",
        "0\r\nX: y\n\r\n",
        "0\r\nX: y\r\n\n",
        "0\r\n\nGET / HTTP/1.1\n",
    ];
    for lines in lines {
        let mut wire = gateway.wire().await;
        let head = gateway.call("POST", "/anything").without("Content-Length");
        let head = head.header("Transfer-Encoding", "chunked").bytes();
        wire.send(&head).await.unwrap();
        wire.send(format!("3\r\nabc\r\n{lines}")).await.unwrap();
        wire.half_close().await;
        let answer = wire.answer("POST").await;
        assert_eq!(answer.problem().code, "incomplete_body", "{lines:?}");
        assert!(wire.is_closed().await);
    }
    assert!(upstream.seen().iter().all(|seen| !seen.is_complete));
}

#[tokio::test]
async fn a_target_that_is_too_long_is_414() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start(&upstream).await;

    for length in [70_000, 200_000] {
        let text = gateway
            .raw(format!(
                "GET /{} HTTP/1.1\r\nHost: a\r\n\r\n",
                "x".repeat(length)
            ))
            .await;
        assert_eq!(statuses(&text), ["414"], "{length}: {text}");
    }

    assert!(upstream.seen().is_empty());
}

#[tokio::test]
async fn too_many_and_too_long_fields_are_431() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start(&upstream).await;
    let many = |number: usize| {
        (0..number)
            .map(|n| format!("X-{n}: v\r\n"))
            .collect::<String>()
    };
    let start = format!("GET {ITEM} HTTP/1.1\r\nHost: a\r\n");

    for (name, bytes) in [
        ("101 fields", format!("{start}{}\r\n", many(100))),
        ("1000 fields", format!("{start}{}\r\n", many(1000))),
        (
            "a long value",
            format!("{start}X: {}\r\n\r\n", "v".repeat(33 * 1024)),
        ),
        (
            "a long name",
            format!("{start}{}: v\r\n\r\n", "x".repeat(33 * 1024)),
        ),
        (
            "many long values",
            format!(
                "{start}{}\r\n",
                many(50).replace(": v", &format!(": {}", "v".repeat(1024)))
            ),
        ),
        ("no end", format!("{start}X: {}", "v".repeat(500_000))),
    ] {
        let text = gateway.raw(bytes).await;
        assert_eq!(statuses(&text), ["431"], "{name}: {text}");
    }
    assert!(upstream.seen().is_empty());

    let mut wire = gateway.wire().await;
    wire.send(format!("{start}{}\r\n", many(90))).await.unwrap();
    assert_eq!(wire.answer("GET").await.status, 200);
    wire.send(format!("{start}X: {}\r\n\r\n", "v".repeat(20 * 1024)))
        .await
        .unwrap();
    assert_eq!(wire.answer("GET").await.status, 200);
}

#[tokio::test]
async fn a_target_may_have_16_kib_and_not_a_byte_more() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start(&upstream).await;

    for (length, status) in [(16 * 1024, "200"), (16 * 1024 + 1, "414")] {
        let target = "x".repeat(length - 1);
        let request = format!("GET /{target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        let text = gateway.raw(request).await;
        assert_eq!(statuses(&text), [status], "{length}: {text}");
    }
}

#[tokio::test]
async fn a_request_may_come_by_the_gateway_three_times() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start(&upstream).await;

    for (times, status) in [(3, "200"), (4, "502")] {
        let named = ["1.1 referral-gateway"; 4][..times].join(", ");
        let mut request =
            format!("GET {ITEM} HTTP/1.1\r\nHost: a\r\nConnection: close\r\nVia: {named}\r\n")
                .into_bytes();
        // A field that is no text names nobody.
        request.extend(b"Via: 1.1 \xff\r\n\r\n");
        let text = gateway.raw(request).await;
        assert_eq!(statuses(&text), [status], "{times}: {text}");
    }
    assert_eq!(upstream.seen().len(), 1);
}

#[tokio::test]
async fn how_long_a_header_section_may_be_is_as_set() {
    let upstream = Upstream::start().await;
    for (settings, fields, length, status) in [
        ("max_headers: 10", 9, 1, 200),
        ("max_headers: 10", 10, 1, 431),
        ("max_headers: 150", 140, 1, 200),
        ("max_headers: 150", 151, 1, 431),
        ("max_header_bytes: 8KiB", 5, 1500, 200),
        ("max_header_bytes: 8KiB", 5, 2000, 431),
        ("max_header_bytes: 64KiB", 5, 10_000, 200),
        ("max_header_bytes: 64KiB", 5, 14_000, 431),
    ] {
        let gateway = Gateway::with(&format!("downstream: {{ {settings} }}"))
            .start(&upstream)
            .await;
        let value = "v".repeat(length);
        // `Host` is one more.
        let call = (0..fields).fold(
            gateway.get("/anything").without("Authorization"),
            |call, number| call.header(&format!("X-{number}"), &value),
        );
        let answer = call.send().await;
        assert_eq!(answer.status, status, "{settings}, {fields} of {length}");
    }
}

#[tokio::test]
async fn our_answer_to_what_cannot_be_read_is_in_our_form() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start(&upstream).await;
    let long = format!(
        "GET {ITEM} HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n",
        "v".repeat(40_000)
    );
    let cases = [
        (
            "GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"
                .to_owned(),
            400,
            "bad_framing",
        ),
        (
            "GET / HTTP/1.1\r\nHost: a\r\nX-A : b\r\n\r\n".to_owned(),
            400,
            "malformed_request",
        ),
        (long, 431, "header_too_large"),
        (
            format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(30_000)),
            414,
            "uri_too_long",
        ),
    ];

    for (bytes, status, code) in cases {
        let mut wire = gateway.wire().await;
        wire.send(bytes).await.ok();
        let answer = wire.answer("GET").await;
        assert_eq!(answer.status, status);
        assert_eq!(answer.problem().code, code);
    }
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start(&upstream).await;

    let mut bytes = Vec::new();
    bytes.extend(gateway.get(ITEM).bytes());
    bytes.extend(gateway.put(ITEM, "{}").bytes());
    bytes.extend(
        gateway
            .put(ITEM, body("Closed", "Won"))
            .if_match(TAG)
            .bytes(),
    );
    bytes.extend(gateway.get("/anything").bytes());
    let mut wire = gateway.wire().await;
    wire.send(bytes).await.unwrap();

    let mut statuses = Vec::new();
    for _ in 0..4 {
        statuses.push(wire.answer("GET").await.status);
    }
    assert_eq!(statuses, [200, 428, 200, 200]);
    assert_eq!(upstream.applied(), [body("Closed", "Won").into_bytes()]);
}

#[tokio::test]
async fn a_refused_put_leaves_the_connection_usable() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start(&upstream).await;
    let mut wire = gateway.wire().await;

    for _ in 0..3 {
        assert_eq!(
            gateway
                .put(ITEM, body("Active", "Accepted"))
                .on(&mut wire)
                .await
                .status,
            428
        );
        assert_eq!(
            gateway
                .put(ITEM, "{,}")
                .if_match(TAG)
                .on(&mut wire)
                .await
                .status,
            400
        );
        assert_eq!(gateway.get(ITEM).on(&mut wire).await.status, 200);
    }
}

#[tokio::test]
async fn a_client_that_half_closes_gets_its_answer() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start(&upstream).await;

    for call in [
        gateway.get(ITEM),
        gateway.put(ITEM, body("Closed", "Won")).if_match(TAG),
        gateway.call("POST", "/anything").body("hello"),
    ] {
        let mut wire = gateway.wire().await;
        wire.send(call.bytes()).await.unwrap();
        wire.half_close().await;
        assert_eq!(wire.answer("GET").await.status, 200);
        assert!(wire.is_closed().await);
    }
}

#[tokio::test]
async fn a_request_that_comes_byte_by_byte_is_the_same_request() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start(&upstream).await;
    let mut wire = gateway.wire().await;

    for byte in gateway
        .put(ITEM, body("Closed", "Won"))
        .if_match(TAG)
        .bytes()
    {
        wire.send([byte]).await.unwrap();
        tokio::task::yield_now().await;
    }

    assert_eq!(wire.answer("PUT").await.status, 200);
    assert_eq!(upstream.only("PUT").body, body("Closed", "Won").as_bytes());
}

#[tokio::test]
async fn an_answer_of_the_upstream_cannot_split_into_two() {
    let upstream = Upstream::raw(|mut wire, _| async move {
        while wire.request().await.is_ok() {
            let answer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nforged";
            if wire.send(answer).await.is_err() {
                return;
            }
        }
    })
    .await;
    let gateway = Gateway::start(&upstream).await;

    for _ in 0..4 {
        let answer = gateway.get("/anything").send().await;
        assert!(
            answer.text() != "forged",
            "an answer nobody asked for was relayed"
        );
    }
}

#[tokio::test]
async fn a_letter_that_no_target_may_hold_is_named() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start(&upstream).await;
    let absolute = format!("http://{}/x?a=<b>", gateway.address);
    for (target, seen, instead) in [
        (&b"/x?a=\"b\""[..], "a raw `\"`", "%22"),
        (b"/x<y", "a raw `<`", "%3C"),
        (b"/x?a=>", "a raw `>`", "%3E"),
        (b"/x`y", "a raw ```", "%60"),
        (b"/x y", "a space", "%20"),
        (b"/x y z?a b", "a space", "%20"),
        (b"/x#y", "a raw `#`", "%23"),
        (b"/x\ty", "the byte 0x09", "%09"),
        (b"/x\0y", "the byte 0x00", "%00"),
        (b"/x\x7fy", "the byte 0x7F", "%7F"),
        (b"/x\xffy", "the byte 0xFF", "%FF"),
        (b"/x\xc3", "the byte 0xC3", "%C3"),
        // The first one counts.
        (b"/x>y<z", "a raw `>`", "%3E"),
        (absolute.as_bytes(), "a raw `<`", "%3C"),
    ] {
        let shown = String::from_utf8_lossy(target);
        // A whole request before it gets its answer first.
        let mut bytes = b"GET /before HTTP/1.1\r\nHost: a\r\n\r\nPUT ".to_vec();
        bytes.extend_from_slice(target);
        bytes.extend_from_slice(b" HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n");
        // hyper refuses a blank as soon as it sees what stands in the place of the version.
        let steps = if seen == "a space" { 1 } else { 2 };
        for step in [bytes.len(), 7].into_iter().take(steps) {
            let mut wire = gateway.wire().await;
            for piece in bytes.chunks(step) {
                wire.send(piece).await.ok();
            }
            assert_eq!(wire.answer("GET").await.status, 200, "{shown}");
            let answer = wire.answer("PUT").await;
            assert!(wire.is_closed().await, "{shown}");

            let problem = answer.problem();
            assert_eq!((answer.status, &*problem.code), (400, "malformed_request"));
            let message = problem.value["error"]["message"].as_str().unwrap();
            assert_eq!(
                message,
                format!(
                    "The request target contains {seen}, which must be percent-encoded. Write {instead} in its place."
                )
            );
        }
    }
    assert_eq!(upstream.count("PUT"), 0);
}

#[tokio::test]
async fn a_target_that_only_looks_odd_is_forwarded_as_it_is() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start(&upstream).await;
    for target in ["/x\"{y}|z^\\", "/x?a={b}|`^\\", "/x?a=\u{e9}", "/x?y?z[]"] {
        assert_eq!(gateway.get(target).send().await.status, 200, "{target}");
        assert_eq!(upstream.seen().pop().unwrap().target(), target);
    }
}

#[tokio::test]
async fn a_request_that_is_malformed_elsewhere_is_told_no_wrong_cause() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start(&upstream).await;
    for request in [
        "GET /x HTTP/1.1 \r\nHost: a\r\n\r\n",
        "GET /x  HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET  /x HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /x{y} HTTP/1.1\r\nHost : a\r\n\r\n",
        "GET /x\r\nHost: a\r\n\r\n",
        // The first request is the malformed one.
        "GET /x HTTP/1.1\r\nHost : a\r\n\r\nGET /<> HTTP/1.1\r\nHost: a\r\n\r\n",
    ] {
        let mut wire = gateway.wire().await;
        wire.send(request).await.unwrap();
        let answer = wire.answer("GET").await;
        assert_eq!(answer.status, 400, "{request}");
        let text = answer.text();
        assert!(text.contains("not well-formed HTTP"), "{request}: {text}");
    }
}
