//! Callers that write bytes: when they write and when they read is up to them.

use super::{Refused, TOO_LARGE, body, refused, start};
use crate::support::{Answer, Gateway, ITEM, LIST, TAG, Upstream, Wire, wire::Head, within};

/// The maximum of a body that the gateway certainly reads to its end, so that the connection is kept.
const SMALL: usize = 20_000;

/// How often a caller tries.
const TRIES: usize = 10;

/// So many callers come at once that are too many: the gateway listens to few of them.
const TOO_MANY: usize = 3;

/// A request in two parts: its head, and its body.
fn parts(request: &[u8]) -> (&[u8], &[u8]) {
    let end = request.windows(4).position(|window| window == b"\r\n\r\n");
    request.split_at(end.unwrap() + 4)
}

/// A body in chunks.
fn chunked(body: &[u8]) -> Vec<u8> {
    let chunks = body
        .chunks(7_000)
        .map(|chunk| [format!("{:x}\r\n", chunk.len()).as_bytes(), chunk, b"\r\n"].concat());
    let mut bytes: Vec<u8> = chunks.flatten().collect();
    bytes.extend(b"0\r\n\r\n");
    bytes
}

/// Sends everything before it reads anything, as a caller does that waits for each write.
async fn write(wire: &mut Wire, bytes: &[u8]) {
    within("room for a write", wire.send(bytes)).await.unwrap();
}

/// Whether an answer says that the connection is closed.
fn is_last(head: &Head) -> bool {
    head.field("connection")
        .is_some_and(|value| value.eq_ignore_ascii_case("close"))
}

/// The next request on the connection works, or the answer has said that it is closed, and it is, in order.
async fn goes_on(gateway: &Gateway, wire: &mut Wire, answer: &Answer) {
    if is_last(&answer.head) {
        let end = within("the end of the connection", wire.some()).await;
        assert_eq!(end.unwrap(), b"", "{answer:?}");
    } else {
        assert_eq!(gateway.get(ITEM).on(wire).await.status, 200, "{answer:?}");
    }
}

/// No request inside a body was taken for one.
fn nothing_hidden(upstream: &Upstream) {
    for seen in upstream.seen() {
        let target = seen.target();
        let request = (seen.method.as_str(), &*target);
        assert!(
            [("GET", ITEM), ("POST", LIST)].contains(&request),
            "{seen:?}"
        );
    }
}

#[tokio::test]
async fn a_caller_that_writes_all_before_it_reads_gets_the_whole_answer() {
    let upstream = Upstream::start().await;
    let gateway = start(&upstream, "").await;
    for refused in refused() {
        let request = refused.call(&gateway).bytes();
        for _ in 0..TRIES {
            let mut wire = gateway.wire().await;
            write(&mut wire, &request).await;
            let answer = wire.answer(refused.method).await;
            refused.check(&answer);
            assert!(refused.size > SMALL || !is_last(&answer.head), "{answer:?}");
            goes_on(&gateway, &mut wire, &answer).await;
        }
    }
    nothing_hidden(&upstream);
}

#[tokio::test]
async fn a_body_may_come_after_the_answer() {
    let upstream = Upstream::start().await;
    let gateway = start(&upstream, "").await;
    for refused in refused() {
        let request = refused.call(&gateway).bytes();
        let (head, body) = parts(&request);
        for _ in 0..TRIES {
            let mut wire = gateway.wire().await;
            write(&mut wire, head).await;
            let answer = wire.answer(refused.method).await;
            refused.check(&answer);
            assert!(refused.size > SMALL || !is_last(&answer.head), "{answer:?}");
            write(&mut wire, body).await;
            goes_on(&gateway, &mut wire, &answer).await;
        }
    }
    nothing_hidden(&upstream);
}

#[tokio::test]
async fn a_body_in_chunks_may_come_before_or_after_the_answer() {
    let upstream = Upstream::start().await;
    let gateway = start(&upstream, "").await;
    for refused in refused() {
        let head = refused
            .head(&gateway)
            .header("Transfer-Encoding", "chunked");
        let (head, body) = (head.bytes(), chunked(&body(refused.size)));
        // Nothing, some and all of the body come before the answer. What is too large must come before it.
        let shares = match refused.status.as_u16() {
            413 => vec![body.len()],
            _ => vec![0, body.len() / 2, body.len()],
        };
        for before in shares {
            let mut wire = gateway.wire().await;
            write(&mut wire, &head).await;
            write(&mut wire, &body[..before]).await;
            let answer = wire.answer(refused.method).await;
            refused.check(&answer);
            write(&mut wire, &body[before..]).await;
            goes_on(&gateway, &mut wire, &answer).await;
        }
    }
    nothing_hidden(&upstream);
}

#[tokio::test]
async fn who_waits_for_100_continue_gets_the_answer_alone() {
    let upstream = Upstream::start().await;
    let gateway = start(&upstream, "").await;
    for refused in refused() {
        let call = refused.call(&gateway).header("Expect", "100-continue");
        let request = call.bytes();
        let (head, body) = parts(&request);
        // RFC 9110 10.1.1: unless the answer says close, the caller sends the body that it has announced.
        for sends in [false, true] {
            let mut wire = gateway.wire().await;
            write(&mut wire, head).await;
            let first = within("an answer", wire.head()).await.unwrap();
            let status = format!("HTTP/1.1 {} ", refused.status.as_u16());
            assert!(first.line.starts_with(&status), "{first:?}");
            let length = first.field("content-length").unwrap().parse().unwrap();
            within("its body", wire.exactly(length)).await.unwrap();
            if sends {
                write(&mut wire, body).await;
            }
            if is_last(&first) {
                assert!(wire.is_closed().await);
            } else if sends {
                assert_eq!(gateway.get(ITEM).on(&mut wire).await.status, 200);
            }
        }
    }
    nothing_hidden(&upstream);
}

#[tokio::test]
async fn requests_behind_a_refused_one_are_answered_or_left_alone() {
    let upstream = Upstream::start().await;
    let gateway = start(&upstream, "").await;
    for refused in refused() {
        let before = upstream.count("GET");
        let get = gateway.get(ITEM).bytes();
        let mut wire = gateway.wire().await;
        write(
            &mut wire,
            &[refused.call(&gateway).bytes(), get.clone(), get].concat(),
        )
        .await;
        let answer = wire.answer(refused.method).await;
        refused.check(&answer);
        if is_last(&answer.head) {
            assert!(refused.size > SMALL, "{answer:?}");
            assert!(wire.is_closed().await);
            assert_eq!(upstream.count("GET"), before);
        } else {
            for _ in 0..2 {
                assert_eq!(wire.answer("GET").await.status, 200);
            }
            assert_eq!(upstream.count("GET"), before + 2);
        }
    }
    nothing_hidden(&upstream);
}

#[tokio::test]
async fn a_refused_request_behind_others_waits_for_its_turn() {
    let upstream = Upstream::start().await;
    let gateway = start(&upstream, "").await;
    for refused in refused() {
        let mut wire = gateway.wire().await;
        write(
            &mut wire,
            &[gateway.get(ITEM).bytes(), refused.call(&gateway).bytes()].concat(),
        )
        .await;
        assert_eq!(wire.answer("GET").await.status, 200);
        let answer = wire.answer(refused.method).await;
        refused.check(&answer);
        goes_on(&gateway, &mut wire, &answer).await;
    }
    nothing_hidden(&upstream);
}

#[tokio::test]
async fn whoever_was_too_slow_with_a_body_and_sends_the_rest_gets_the_408() {
    let upstream = Upstream::start().await;
    let gateway = start(
        &upstream,
        "downstream: { body_timeout: 500ms, max_judged_body: 8MiB }",
    )
    .await;
    let slow = Refused::new("PUT", ITEM, TOO_LARGE, 408, "body_timeout");
    let request = slow.call(&gateway).bytes();
    let (first, rest) = request.split_at(request.len() / 10);
    for tries in 1..=TRIES {
        let mut wire = gateway.wire().await;
        write(&mut wire, first).await;
        gateway
            .until_metric("http_requests_total", &[("code", "408")], tries as f64)
            .await;
        write(&mut wire, rest).await;
        let answer = wire.answer("PUT").await;
        slow.check(&answer);
        assert!(is_last(&answer.head), "{answer:?}");
        goes_on(&gateway, &mut wire, &answer).await;
    }
    nothing_hidden(&upstream);
}

#[tokio::test]
async fn one_connection_too_many_gets_its_answer_though_it_has_sent_its_request() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::with("downstream: { max_connections: 1 }")
        .start(&upstream)
        .await;
    let mut only = gateway.wire().await;
    assert_eq!(gateway.get(ITEM).on(&mut only).await.status, 200);

    for size in [0, 500, SMALL] {
        let put = gateway.put(ITEM, body(size)).if_match(TAG).bytes();
        // The system accepts connections and bytes for a process that is stopped.
        gateway.signal("STOP");
        let mut wires = Vec::new();
        for _ in 0..TOO_MANY {
            let mut wire = gateway.wire().await;
            write(&mut wire, &put).await;
            wires.push(wire);
        }
        gateway.signal("CONT");
        for mut wire in wires {
            let answer = wire.answer("PUT").await;
            let code = answer.problem().code;
            assert_eq!((answer.status, &*code), (503, "too_many_connections"));
            assert!(is_last(&answer.head), "{answer:?}");
            goes_on(&gateway, &mut wire, &answer).await;
        }
    }
    assert_eq!(gateway.get(ITEM).on(&mut only).await.status, 200);
    nothing_hidden(&upstream);
}
