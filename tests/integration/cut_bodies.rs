//! Bodies over HTTP/2 whose stream is reset with `NO_ERROR`, which hyper takes for their end: no part passes as the whole.

use std::net::SocketAddr;

use bytes::Bytes;
use h2::{Reason, SendStream, client::SendRequest};
use http::Request;
use tokio::{net::TcpStream, sync::mpsc};

use crate::support::{
    Gateway, ITEM, LIST, TAG, Upstream, Wire,
    origin::{NO_ERROR, in_front, origin},
    token::usual,
    within,
};

async fn connect(address: SocketAddr) -> SendRequest<Bytes> {
    let stream = TcpStream::connect(address).await.unwrap();
    let (sender, connection) = h2::client::handshake(stream).await.unwrap();
    tokio::spawn(async move {
        connection.await.ok();
    });
    sender.ready().await.unwrap()
}

/// Begins a request with the first piece of its body.
async fn begun(
    gateway: &Gateway,
    sender: &mut SendRequest<Bytes>,
    method: &str,
    target: &str,
    length: Option<&str>,
) -> SendStream<Bytes> {
    let mut request = Request::builder()
        .method(method)
        .uri(format!("http://{}{target}", gateway.address))
        .header("Authorization", format!("Bearer {}", usual()))
        .header("Content-Type", "application/json")
        .header("If-Match", TAG);
    if let Some(length) = length {
        request = request.header("Content-Length", length);
    }
    let request = request.body(()).unwrap();
    let (_, mut body) = sender.send_request(request, false).unwrap();
    body.send_data(PIECE, false).unwrap();
    body
}

/// It could be a whole body.
const PIECE: Bytes = Bytes::from_static(br#"{"status":"New","substatus":"Pending"}"#);

#[tokio::test]
async fn a_judged_write_whose_caller_resets_it_is_not_sent() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::with("snapshots: { unknown_state: forward }\n")
        .start(&upstream)
        .await;
    let mut sender = connect(gateway.address).await;
    for (method, target) in [("PUT", ITEM), ("POST", LIST)] {
        // Also where nothing but the end is missing.
        for length in [None, Some("1000"), Some("38")] {
            let mut body = begun(&gateway, &mut sender, method, target, length).await;
            gateway
                .until_metric("http_requests_in_flight", &[], 1.0)
                .await;

            body.send_reset(Reason::NO_ERROR);

            gateway
                .until_metric("http_requests_in_flight", &[], 0.0)
                .await;
        }
    }
    assert_eq!(upstream.seen().len(), 0);
}

#[tokio::test]
async fn a_streamed_write_whose_caller_resets_it_is_cut_at_the_upstream() {
    let (told, mut seen) = mpsc::unbounded_channel();
    let upstream = Upstream::raw(move |mut wire, _| {
        let told = told.clone();
        async move {
            let head = wire.head().await.unwrap();
            let first = wire.some().await.unwrap();
            told.send((head, first)).unwrap();
            told.send((Default::default(), wire.rest().await)).unwrap();
        }
    })
    .await;
    let gateway = Gateway::start(&upstream).await;
    let mut sender = connect(gateway.address).await;
    let mut body = begun(&gateway, &mut sender, "POST", "/v1.0/other", None).await;
    let (head, _) = within("the first piece", seen.recv()).await.unwrap();
    assert_eq!(head.field("transfer-encoding"), Some("chunked"));

    body.send_reset(Reason::NO_ERROR);

    let (_, rest) = within("the end", seen.recv()).await.unwrap();
    assert!(!rest.ends_with(b"0\r\n\r\n"), "{rest:?}");
}

/// How an upstream cuts an answer.
#[derive(Debug, Clone, Copy)]
enum Cut {
    Reset,
    GoAway,
}

#[tokio::test]
async fn an_answer_whose_upstream_cuts_it_is_cut_for_its_caller() {
    for cut in [Cut::Reset, Cut::GoAway] {
        let (authority, upstream) = origin(None, move |mut origin, _| async move {
            let stream = origin.request().await?;
            origin.begin_answer(stream).await?;
            origin.data(stream, b"the first half", false).await?;
            match cut {
                Cut::Reset => origin.reset(stream, NO_ERROR).await?,
                Cut::GoAway => origin.go_away(0, NO_ERROR).await?,
            }
            origin.ignore().await
        })
        .await;
        let gateway = in_front(&authority, "").start(&upstream).await;

        let mut wire = gateway.get(ITEM).open().await;
        let head = within("an answer", wire.head()).await.unwrap();
        let rest = within("its body", wire.rest()).await;

        assert_eq!(head.field("transfer-encoding"), Some("chunked"), "{cut:?}");
        assert!(!rest.ends_with(b"0\r\n\r\n"), "{cut:?}: {rest:?}");
    }
}

#[tokio::test]
async fn a_whole_answer_stays_whole_though_the_upstream_wants_no_more_of_the_request() {
    let (authority, upstream) = origin(None, |mut origin, _| async move {
        let stream = origin.headers().await?;
        // RFC 9113 8.1.
        origin.answer_and_reset(stream, NO_ERROR).await?;
        origin.ignore().await
    })
    .await;
    let gateway = in_front(&authority, "").start(&upstream).await;
    let mut wire: Wire = gateway.wire().await;
    let call = gateway
        .call("POST", "/v1.0/other")
        .header("Content-Length", "1000000");
    wire.send([&call.bytes()[..], b"the first piece"].concat())
        .await
        .unwrap();

    let answer = wire.answer("POST").await;

    assert_eq!((answer.status, answer.text().as_str()), (200, "{}"));
}
