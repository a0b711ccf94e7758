//! What is not judged flows through, whatever its size, and nobody waits for its end.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicUsize, Ordering},
};

use bytes::Bytes;
use http::Response;
use http_body_util::BodyExt as _;
use hyper::body::{Frame, Incoming};
use tokio::sync::oneshot;

use crate::support::{
    Gateway, ITEM, LIST, TAG, Upstream, body, eventually, reply, settled,
    upstream::{full, piped},
    within,
};

const MIB: usize = 1024 * 1024;
/// More than twice what the buffers of the sockets on the way take when nobody reads.
const LARGE: usize = 128 * MIB;

/// What the gateway may need beyond what it needs at rest, in KiB, while a large body passes.
const ROOM: usize = 24 * 1024;

async fn count(mut body: Incoming, sum: &AtomicUsize) -> bool {
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else { return false };
        sum.fetch_add(frame.data_ref().map_or(0, Bytes::len), Ordering::SeqCst);
    }
    true
}

#[tokio::test]
async fn a_large_answer_passes_and_a_slow_reader_costs_no_memory() {
    let sent = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&sent);
    let upstream = Upstream::streaming(move |_| {
        let (sender, body) = piped();
        let counter = Arc::clone(&counter);
        tokio::spawn(async move {
            let piece = Bytes::from(vec![b'x'; 64 * 1024]);
            for _ in 0..LARGE / piece.len() {
                if sender.send(Ok(Frame::data(piece.clone()))).await.is_err() {
                    return;
                }
                counter.fetch_add(piece.len(), Ordering::SeqCst);
            }
        });
        async { Response::new(body) }
    })
    .await;
    let gateway = Gateway::start(&upstream).await;
    let before = gateway.memory("VmHWM");

    for path in ["/anything", LIST] {
        sent.store(0, Ordering::SeqCst);
        let mut wire = gateway.get(path).open().await;
        let head = within("the head", wire.head()).await.unwrap();
        assert!(head.line.contains(" 200 "), "{head:?}");
        // Nobody reads: the upstream must be held back long before the end.
        let held_back = settled(|| sent.load(Ordering::SeqCst)).await;
        assert!(
            held_back < LARGE / 2,
            "{path}: {held_back} bytes were taken for a client that reads nothing"
        );

        let mut length = 0;
        let mut tail = Vec::new();
        while !tail.ends_with(b"\r\n0\r\n\r\n") {
            let piece = within("more of the body", wire.some()).await.unwrap();
            assert!(
                !piece.is_empty(),
                "{path}: the body ended after {length} bytes"
            );
            length += piece.len();
            tail.extend_from_slice(&piece);
            tail.drain(..tail.len().saturating_sub(16));
        }
        assert!(length >= LARGE, "{path}: {length}");
    }

    let grown = gateway.memory("VmHWM") - before;
    assert!(grown < ROOM, "{grown} KiB more than at rest");
}

#[tokio::test]
async fn a_large_request_passes_and_a_slow_upstream_costs_no_memory() {
    let read = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&read);
    let (start, started) = oneshot::channel::<()>();
    let started = Arc::new(Mutex::new(Some(started)));
    let upstream = Upstream::streaming(move |request| {
        let counter = Arc::clone(&counter);
        let started = started.lock().unwrap().take();
        async move {
            if let Some(started) = started {
                started.await.ok();
            }
            match count(request.into_body(), &counter).await {
                true => reply(201, "{}"),
                false => reply(400, ""),
            }
        }
    })
    .await;
    let gateway = Gateway::start(&upstream).await;
    let before = gateway.memory("VmHWM");

    let written = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&written);
    let address = gateway.address;
    let client = tokio::spawn(async move {
        let mut wire = crate::support::Wire::open(address).await;
        wire.send(format!(
            "POST /anything HTTP/1.1\r\nHost: a\r\nContent-Length: {LARGE}\r\n\r\n"
        ))
        .await
        .unwrap();
        let piece = vec![b'x'; 64 * 1024];
        for _ in 0..LARGE / piece.len() {
            wire.send(&piece).await.unwrap();
            counter.fetch_add(piece.len(), Ordering::SeqCst);
        }
        wire.answer("POST").await
    });
    let held_back = settled(|| written.load(Ordering::SeqCst)).await;
    assert!(
        held_back < LARGE / 2,
        "{held_back} bytes were taken for an upstream that reads nothing"
    );
    start.send(()).unwrap();

    let answer = within("the answer", client).await.unwrap();
    assert_eq!(answer.status, 201);
    assert_eq!(read.load(Ordering::SeqCst), LARGE);
    let grown = gateway.memory("VmHWM") - before;
    assert!(grown < ROOM, "{grown} KiB more than at rest");
}

#[tokio::test]
async fn the_first_event_arrives_before_the_last_is_sent() {
    let (first_seen, wait) = oneshot::channel::<()>();
    let wait = Arc::new(Mutex::new(Some(wait)));
    let upstream = Upstream::streaming(move |_| {
        let wait = wait.lock().unwrap().take();
        async move {
            let (sender, body) = piped();
            tokio::spawn(async move {
                sender
                    .send(Ok(Frame::data("data: one\n\n".into())))
                    .await
                    .ok();
                if let Some(wait) = wait {
                    wait.await.ok();
                }
                sender
                    .send(Ok(Frame::data("data: two\n\n".into())))
                    .await
                    .ok();
            });
            Response::builder()
                .header("Content-Type", "text/event-stream")
                .body(body)
                .unwrap()
        }
    })
    .await;
    let gateway = Gateway::start(&upstream).await;

    let mut wire = gateway.get("/events").open().await;
    within("the head", wire.head()).await.unwrap();
    let mut text = String::new();
    while !text.contains("data: one\n\n") {
        text.push_str(
            &String::from_utf8(within("the first event", wire.some()).await.unwrap()).unwrap(),
        );
    }
    assert!(!text.contains("two"));
    first_seen.send(()).unwrap();
    while !text.contains("data: two\n\n") {
        text.push_str(
            &String::from_utf8(within("the second event", wire.some()).await.unwrap()).unwrap(),
        );
    }
}

#[tokio::test]
async fn the_first_bytes_of_a_request_arrive_before_the_last_are_sent() {
    let read = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&read);
    let upstream = Upstream::streaming(move |request| {
        let counter = Arc::clone(&counter);
        async move {
            count(request.into_body(), &counter).await;
            reply(200, "thanks")
        }
    })
    .await;
    // Where no rule looks at a POST, the collection is no exception.
    let policy = include_str!("../../policies/referrals.yaml").replace(", POST]", "]");
    let gateway = Gateway::policy(&policy).start(&upstream).await;

    for path in ["/anything", LIST] {
        read.store(0, Ordering::SeqCst);
        let mut wire = gateway.wire().await;
        wire.send(format!(
            "POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhello"
        ))
        .await
        .unwrap();
        eventually("the first half", async || read.load(Ordering::SeqCst) == 5).await;
        wire.send("world").await.unwrap();
        assert_eq!(wire.answer("POST").await.text(), "thanks");
    }
}

#[tokio::test]
async fn an_answer_may_come_while_the_request_is_still_being_sent() {
    let upstream = Upstream::streaming(|_| async { reply(403, "not you") }).await;
    let gateway = Gateway::start(&upstream).await;

    let mut wire = gateway.wire().await;
    wire.send("POST /anything HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\nhello")
        .await
        .unwrap();

    let answer = wire.answer("POST").await;
    assert_eq!((answer.status, answer.text().as_str()), (403, "not you"));
}

#[tokio::test]
async fn both_directions_flow_at_once() {
    let upstream = Upstream::streaming(|request| async move {
        let (sender, body) = piped();
        let mut incoming = request.into_body();
        tokio::spawn(async move {
            while let Some(Ok(frame)) = incoming.frame().await {
                if let Ok(data) = frame.into_data() {
                    sender.send(Ok(Frame::data(data))).await.ok();
                }
            }
        });
        Response::new(body)
    })
    .await;
    let gateway = Gateway::start(&upstream).await;

    let mut wire = gateway.wire().await;
    wire.send("POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
        .await
        .unwrap();
    within("the head", wire.head()).await.unwrap();
    for word in ["one!", "two!", "six!"] {
        wire.send(format!("4\r\n{word}\r\n")).await.unwrap();
        let mut text = String::new();
        while !text.contains(word) {
            text.push_str(
                &String::from_utf8(within("the echo", wire.some()).await.unwrap()).unwrap(),
            );
        }
    }
    wire.send("0\r\n\r\n").await.unwrap();
}

#[tokio::test]
async fn a_read_whose_client_has_gone_is_cancelled_upstream() {
    let (gone, left) = oneshot::channel();
    let gone = Arc::new(Mutex::new(Some(gone)));
    let upstream = Upstream::raw(move |mut wire, _| {
        let gone = gone.lock().unwrap().take();
        async move {
            wire.request().await.ok();
            if let Some(gone) = gone {
                gone.send(()).ok();
                wire.is_closed().await;
            }
        }
    })
    .await;
    let gateway = Gateway::start(&upstream).await;

    let wire = gateway.get("/slow").open().await;
    within("the request", left).await.unwrap();
    wire.reset();

    gateway
        .until_metric("http_requests_in_flight", &[], 0.0)
        .await;
    gateway
        .until_metric("connections_open", &[("side", "upstream")], 0.0)
        .await;
}

#[tokio::test]
async fn a_read_whose_client_leaves_in_the_middle_of_the_answer_is_cancelled_upstream() {
    let (ended, end) = oneshot::channel();
    let ended = Arc::new(Mutex::new(Some(ended)));
    let upstream = Upstream::raw(move |mut wire, _| {
        let ended = ended.lock().unwrap().take();
        async move {
            wire.request().await.ok();
            wire.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
                .await
                .ok();
            let piece = format!("4000\r\n{}\r\n", "x".repeat(0x4000));
            while wire.send(&piece).await.is_ok() {}
            if let Some(ended) = ended {
                ended.send(()).ok();
            }
        }
    })
    .await;
    let gateway = Gateway::start(&upstream).await;

    let mut wire = gateway.get("/endless").open().await;
    within("some of the answer", wire.some()).await.unwrap();
    wire.reset();

    within("the end of the upstream's connection", end)
        .await
        .unwrap();
}

#[tokio::test]
async fn a_write_that_was_sent_is_finished_and_recorded_though_its_client_has_gone() {
    let (arrived, sent) = oneshot::channel();
    let (go, gone) = oneshot::channel::<()>();
    let parts = Arc::new(Mutex::new(Some((arrived, gone))));
    let upstream = Upstream::with(move |seen| {
        let parts = (seen.method == "PUT")
            .then(|| parts.lock().unwrap().take())
            .flatten();
        async move {
            if let Some((arrived, gone)) = parts {
                arrived.send(()).ok();
                gone.await.ok();
            }
            None
        }
    })
    .await;
    let gateway = Gateway::start(&upstream).await;

    let call = gateway
        .put(ITEM, body("Closed", "Won"))
        .if_match(TAG)
        .header("client-request-id", "left-early");
    let wire = call.open().await;
    within("the PUT at the upstream", sent).await.unwrap();
    wire.reset();
    gateway
        .until_metric("connections_open", &[("side", "downstream")], 0.0)
        .await;
    go.send(()).unwrap();

    gateway
        .until_metric("upstream_requests_total", &[("method", "PUT")], 1.0)
        .await;
    assert_eq!(upstream.applied().len(), 1);
    gateway
        .record("the record of the write", |line| {
            line.to_string().contains("left-early") && line.to_string().contains("200")
        })
        .await;
    gateway
        .until_metric("http_requests_in_flight", &[], 0.0)
        .await;
}

#[tokio::test]
async fn a_client_that_leaves_before_its_put_has_arrived_whole_changes_nothing() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start(&upstream).await;

    let bytes = gateway
        .put(ITEM, body("Closed", "Won"))
        .if_match(TAG)
        .bytes();
    let mut wire = gateway.wire().await;
    wire.send(&bytes[..bytes.len() - 1]).await.unwrap();
    gateway
        .until_metric("http_requests_in_flight", &[], 1.0)
        .await;
    wire.reset();
    gateway
        .until_metric("http_requests_in_flight", &[], 0.0)
        .await;

    assert_eq!(upstream.count("PUT"), 0);
}

#[tokio::test]
async fn learning_from_an_answer_does_not_hold_it_back() {
    let (go, wait) = oneshot::channel::<()>();
    let wait = Arc::new(Mutex::new(Some(wait)));
    let upstream = Upstream::streaming(move |_| {
        let wait = wait.lock().unwrap().take();
        async move {
            let (sender, body) = piped();
            tokio::spawn(async move {
                sender.send(Ok(Frame::data("{\"id\":".into()))).await.ok();
                if let Some(wait) = wait {
                    wait.await.ok();
                }
                sender.send(Ok(Frame::data("1}".into()))).await.ok();
            });
            Response::builder()
                .header("Content-Type", "application/json")
                .body(body)
                .unwrap()
        }
    })
    .await;
    let gateway = Gateway::start(&upstream).await;

    let mut wire = gateway.get(ITEM).open().await;
    within("the head", wire.head()).await.unwrap();
    let piece = within("the first piece", wire.some()).await.unwrap();
    assert!(String::from_utf8_lossy(&piece).contains("{\"id\":"));
    go.send(()).unwrap();
}

#[tokio::test]
async fn a_large_get_of_a_referral_passes_whole() {
    let large = "x".repeat(8 * MIB);
    let text = large.clone();
    let upstream = Upstream::streaming(move |_| {
        let text = text.clone();
        async move {
            Response::builder()
                .header("Content-Type", "application/json")
                .body(full(text))
                .unwrap()
        }
    })
    .await;
    let gateway = Gateway::start(&upstream).await;

    let answer = gateway.get(ITEM).send().await;

    assert_eq!(answer.body.len(), large.len());
}

#[tokio::test]
async fn bodies_that_wait_to_be_judged_take_so_much_memory_and_no_more() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::with("downstream: { max_judged_body: 60MiB }")
        .start(&upstream)
        .await;
    let size = 55 * MIB;
    let head = format!(
        "PUT {ITEM} HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: {size}\r\n\r\n"
    );
    let begun = vec![b' '; size - 1];
    let mut first = gateway.wire().await;
    first.send(&head).await.unwrap();
    first.send(&begun).await.unwrap();
    let mut second = gateway.wire().await;
    second.send(&head).await.unwrap();
    // It is cut off while it sends.
    second.send(&begun).await.ok();

    let answer = second.answer("PUT").await;

    assert_eq!(
        (answer.status, answer.problem().code.as_str()),
        (503, "too_many_bodies")
    );
    assert_eq!(answer.header("retry-after"), Some("5"));
    let own = [("code", "too_many_bodies")];
    gateway.until_metric("own_failures_total", &own, 1.0).await;
    drop(first);
    eventually("room for another", async || {
        gateway
            .put(ITEM, body("Active", "Accepted"))
            .if_match(TAG)
            .send()
            .await
            .status
            == 200
    })
    .await;
}

/// No rule refuses, so what is too large to judge is sent.
const AUDIT: &str = "name: p
rules:
  - { id: links, check: links_removed, on: [PUT], mode: audit }
states:
  New: { next: [New], substatus: [Pending] }
";

#[tokio::test]
async fn a_body_too_large_to_judge_passes_whole_where_no_rule_refuses() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::policy(AUDIT)
        .settings("downstream: { max_judged_body: 1KiB }")
        .start(&upstream)
        .await;
    // In one piece that is too large, and in pieces of which each is small.
    for pieces in [vec![4000], vec![300; 10], vec![1024, 1], vec![1023, 1, 1]] {
        let mut wire = gateway.wire().await;
        wire.send(format!(
            "PUT {ITEM} HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
        ))
        .await
        .unwrap();
        let mut sent = Vec::new();
        for (number, length) in pieces.iter().enumerate() {
            let piece = vec![b'a' + number as u8; *length];
            wire.send(format!("{length:x}\r\n")).await.unwrap();
            wire.send([&piece[..], b"\r\n"].concat()).await.unwrap();
            sent.extend(piece);
        }
        wire.send("0\r\n\r\n").await.unwrap();
        wire.answer("PUT").await;
        let seen = upstream.seen();
        assert_eq!(seen.last().unwrap().body, sent, "{pieces:?}");
    }
}

#[tokio::test]
async fn a_connection_goes_on_behind_a_body_in_chunks() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start(&upstream).await;
    let mut wire = gateway.wire().await;
    // Judged and refused, streamed.
    for (method, target, status) in [("PUT", ITEM, 428), ("POST", "/v1.0/other", 200)] {
        wire.send(format!(
            "{method} {target} HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{{}}\r\n0\r\n\r\n"
        ))
        .await
        .unwrap();

        let answer = wire.answer(method).await;

        assert_eq!(answer.status, status, "{method}: {}", answer.text());
        assert_eq!(answer.header("connection"), None, "{method}");
    }
}

#[tokio::test]
async fn a_streamed_write_whose_body_stops_coming_is_no_unknown_outcome() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::policy(AUDIT)
        .settings("downstream: { max_judged_body: 1KiB, body_timeout: 500ms }")
        .start(&upstream)
        .await;
    let mut wire = gateway.wire().await;
    let head = format!("PUT {ITEM} HTTP/1.1\r\nHost: h\r\nContent-Length: 5000\r\n\r\n");
    wire.send(head + &"a".repeat(2000)).await.unwrap();
    let answer = wire.answer("PUT").await;
    assert_eq!(
        (answer.status, answer.problem().code.as_str()),
        (408, "body_timeout")
    );
}
