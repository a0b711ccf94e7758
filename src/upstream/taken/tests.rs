use std::{
    pin::Pin,
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use bytes::Bytes;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, duplex},
    sync::oneshot,
};

use super::*;
use crate::{
    metrics::Metrics,
    upstream::{connector::Recheck, error::Resent},
};

fn kept() -> Arc<Kept> {
    let metrics = Arc::new(Metrics::new());
    Arc::new(Kept::new(Duration::from_secs(30), 10, metrics))
}

fn question() -> Option<Request<Body>> {
    Some(Request::new(Body::empty()))
}

fn poll<T>(future: Pin<&mut impl Future<Output = T>>) -> Poll<T> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

#[tokio::test]
async fn who_waits_for_an_http2_answer_holds_no_sender() {
    let (near, _upstream) = duplex(4096);
    let handshake = http2::handshake(TokioExecutor::new(), TokioIo::new(near));
    let (sender, connection) = handshake.await.expect("it is open");
    let (mut connection, kept) = (pin!(connection), kept());
    let (taken, mut request) = (
        Taken::new(Way::Http2(sender), kept.line_stream(), kept, Instant::now()),
        question(),
    );

    let mut sending = pin!(taken.send(&mut request));
    assert!(poll(sending.as_mut()).is_pending());

    // hyper takes no more requests when nobody can send one.
    assert!(poll(connection.as_mut()).is_ready());
    assert!(poll(sending.as_mut()).is_pending());
}

#[tokio::test]
async fn a_body_that_waits_for_a_stream_when_the_connection_ends_was_not_sent() {
    let (near, upstream) = duplex(4096);
    let handshake = http2::handshake(TokioExecutor::new(), TokioIo::new(near));
    let (sender, connection) = handshake.await.expect("it is open");
    tokio::spawn(connection);
    let kept = kept();
    let taken = || {
        let way = Way::Http2(sender.clone());
        Taken::new(way, kept.line_stream(), Arc::clone(&kept), Instant::now())
    };
    let mut builder = h2::server::Builder::new();
    let handshake = builder.max_concurrent_streams(1).handshake(upstream);
    let mut upstream: h2::server::Connection<_, Bytes> = handshake.await.expect("a client");

    let mut question = question();
    let mut first = pin!(taken().send(&mut question));
    assert!(poll(first.as_mut()).is_pending());
    let opened = upstream
        .accept()
        .await
        .expect("the first")
        .expect("a request");
    let mut request = Some(Request::new(Body::from(Bytes::from_static(b"a body"))));
    let mut second = pin!(taken().send(&mut request));
    assert!(poll(second.as_mut()).is_pending());
    // hyper takes it, and has no stream for it.
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
    upstream.abrupt_shutdown(h2::Reason::NO_ERROR);
    assert!(upstream.accept().await.is_none());

    let Err(failure) = second.await else {
        unreachable!("nobody has answered");
    };
    assert!(failure.error.is_user(), "{}", failure.error);
    assert_eq!(failure.resent, Some(Resent::ClosedUnused));
    drop(opened);
}

#[tokio::test]
async fn who_waits_for_an_http1_answer_lets_go_of_a_connection_that_has_ended() {
    let (near, mut upstream) = duplex(4096);
    let handshake = http1::handshake(TokioIo::new(near));
    let (sender, connection) = handshake.await.expect("it is open");
    tokio::spawn(connection);
    let (attended, watched) = oneshot::channel();
    let line = Line {
        sender,
        born: Instant::now(),
        attended,
        recheck: Recheck::default(),
    };
    let kept = kept();
    let (taken, mut request) = (
        Taken::new(Way::Http1(line), kept.line_stream(), kept, Instant::now()),
        question(),
    );

    let mut sending = pin!(taken.send(&mut request));
    let mut head = [0; 64];
    tokio::select! {
        _ = &mut sending => unreachable!("nobody has answered"),
        read = upstream.read(&mut head) => assert!(read.is_ok_and(|read| read > 0)),
    }
    drop(watched);
    assert!(poll(sending.as_mut()).is_pending());

    // An answer may have come before the end.
    let answer = b"HTTP/1.1 204 No Content\r\n\r\n";
    upstream.write_all(answer).await.expect("it is open");
    let Ok((answer, back)) = sending.await else {
        unreachable!("it has answered");
    };
    assert_eq!(answer.status(), 204);
    assert!(back.line.is_none());
}
