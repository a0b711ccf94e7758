//! Callers that never end the body of a request that was refused: they get their answer, and are cut.

use std::time::Duration;

use super::{Refused, refused, start};
use crate::support::{Gateway, Upstream, Wire, within};

/// How much more memory they may cost, in KiB.
const ALLOWANCE: usize = 16 * 1024;

/// How a caller frames a body that it never ends.
const FRAMINGS: [(&str, &str); 2] = [
    ("Content-Length", "1000000000000"),
    ("Transfer-Encoding", "chunked"),
];

/// What a caller does behind the answer.
#[derive(Debug, Clone, Copy)]
enum Manner {
    Silent,
    Dripping,
    Flooding,
}

/// Sends a request without its body, gets the answer, and goes on until the gateway closes the connection.
async fn cut(gateway: &Gateway, refused: &Refused, framing: (&str, &str), manner: Manner) -> Wire {
    let mut wire = gateway.wire().await;
    let head = refused.head(gateway).header(framing.0, framing.1);
    wire.send(head.bytes()).await.unwrap();
    refused.check(&wire.answer(refused.method).await);
    let flood = ["fffa\r\n", &"x".repeat(0xfffa), "\r\n"].concat();
    let end = async {
        match manner {
            Manner::Silent => assert!(wire.is_closed().await),
            Manner::Dripping => send(&mut wire, "1\r\nx\r\n", Duration::from_millis(20)).await,
            // Slower than it could: other tests run at the same time.
            Manner::Flooding => send(&mut wire, &flood, Duration::from_millis(5)).await,
        }
    };
    within(&format!("the end of {manner:?} with {framing:?}"), end).await;
    wire
}

/// Sends a chunk again and again until the connection is closed.
async fn send(wire: &mut Wire, chunk: &str, pause: Duration) {
    let mut tick = tokio::time::interval(pause);
    while wire.send(chunk).await.is_ok() {
        tick.tick().await;
    }
}

#[tokio::test]
async fn a_caller_that_never_ends_its_body_is_cut_and_costs_no_memory() {
    let upstream = Upstream::start().await;
    let gateway = start(&upstream, "downstream: { body_timeout: 1s }").await;
    let peak = gateway.memory("VmHWM");
    let refused = refused();
    let unknown = refused
        .iter()
        .find(|refused| refused.status == 404)
        .unwrap();

    let callers = FRAMINGS.into_iter().flat_map(|framing| {
        [Manner::Silent, Manner::Dripping, Manner::Flooding]
            .map(|manner| cut(&gateway, unknown, framing, manner))
    });
    let [a, b, c, d, e, f] = <[_; 6]>::try_from(callers.collect::<Vec<_>>())
        .ok()
        .unwrap();
    let open = tokio::join!(a, b, c, d, e, f);

    // The callers are there still.
    gateway
        .until_metric("connections_open", &[("side", "downstream")], 0.0)
        .await;
    drop(open);
    let grown = gateway.memory("VmHWM") - peak;
    assert!(grown < ALLOWANCE, "{grown} KiB");
    assert!(upstream.seen().iter().all(|seen| seen.method == "POST"));
}

#[tokio::test]
async fn a_caller_that_sends_without_end_is_cut_after_a_bounded_amount() {
    let upstream = Upstream::start().await;
    let gateway = start(&upstream, "").await;
    let refused = refused();
    let unknown = refused
        .iter()
        .find(|refused| refused.status == 404)
        .unwrap();
    let mut wire = gateway.wire().await;
    let head = unknown
        .head(&gateway)
        .header("Content-Length", "1000000000000");
    wire.send(head.bytes()).await.unwrap();
    unknown.check(&wire.answer(unknown.method).await);

    // As fast as it can.
    let piece = "x".repeat(1024 * 1024);
    let mut pieces = 0;
    while wire.send(&piece).await.is_ok() {
        pieces += 1;
        assert!(pieces < 300, "{pieces} MiB are read and dropped");
    }
}
