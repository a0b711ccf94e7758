//! HTTP/2: the answer is whole, then the stream is reset without an error, and the other streams go on.

use std::future::poll_fn;

use bytes::Bytes;
use h2::{
    Reason, SendStream,
    client::{ResponseFuture, SendRequest},
};
use http::Request;
use serde_json::Value;
use tokio::net::TcpStream;

use super::{Refused, body, refused, start};
use crate::support::{Gateway, ITEM, TAG, Upstream, within};

type Sender = SendRequest<Bytes>;

/// How often the connection's whole window is spent on refused bodies.
const ROUNDS: usize = 5;

async fn connect(gateway: &Gateway) -> Sender {
    let stream = TcpStream::connect(gateway.address).await.unwrap();
    let (sender, connection) = h2::client::handshake(stream).await.unwrap();
    tokio::spawn(async move { connection.await.ok() });
    sender
}

/// Sends the head of a request; its body follows, if it has one.
async fn begin(
    sender: &mut Sender,
    refused: &Refused,
    gateway: &Gateway,
) -> (ResponseFuture, SendStream<Bytes>) {
    let request = Request::builder()
        .method(refused.method)
        .uri(format!("http://{}{}", gateway.address, refused.target));
    let fields = refused.fields.iter();
    let request = fields.fold(request, |request, (name, value)| {
        request.header(*name, value)
    });
    let request = match refused.size {
        0 => request,
        size => request.header("Content-Length", size),
    };
    within("room for a stream", poll_fn(|cx| sender.poll_ready(cx)))
        .await
        .unwrap();
    sender
        .send_request(request.body(()).unwrap(), refused.size == 0)
        .unwrap()
}

/// Sends a body until it has ended or the other side resets the stream, which it then gives back.
async fn feed(stream: &mut SendStream<Bytes>, mut body: Bytes) -> Option<Reason> {
    while !body.is_empty() {
        stream.reserve_capacity(body.len());
        let capacity = within("a window", poll_fn(|cx| stream.poll_capacity(cx))).await;
        let Some(Ok(size)) = capacity else {
            return Some(reset(stream).await);
        };
        let piece = body.split_to(size.min(body.len()));
        let is_last = body.is_empty();
        if stream.send_data(piece, is_last).is_err() {
            return Some(reset(stream).await);
        }
    }
    None
}

/// Waits until the other side resets the stream.
async fn reset(stream: &mut SendStream<Bytes>) -> Reason {
    within("RST_STREAM", poll_fn(|cx| stream.poll_reset(cx)))
        .await
        .unwrap()
}

/// Reads an answer to its end.
async fn whole(answer: ResponseFuture) -> (u16, Vec<u8>) {
    let (head, mut stream) = within("an answer", answer).await.unwrap().into_parts();
    let mut bytes = Vec::new();
    while let Some(piece) = within("the body", stream.data()).await {
        let piece = piece.unwrap();
        stream.flow_control().release_capacity(piece.len()).unwrap();
        bytes.extend(piece);
    }
    (head.status.as_u16(), bytes)
}

#[track_caller]
fn check(refused: &Refused, (status, text): &(u16, Vec<u8>)) {
    let value: Value = serde_json::from_slice(text).unwrap();
    let code = value["error"]["innerError"]["code"].as_str();
    assert_eq!(
        (*status, code),
        (refused.status.as_u16(), Some(refused.code))
    );
}

fn get() -> Refused {
    Refused::new("GET", ITEM, 0, 200, "-")
}

#[tokio::test]
async fn a_stream_whose_body_is_not_wanted_is_reset_without_an_error_behind_the_answer() {
    let upstream = Upstream::start().await;
    let gateway = start(&upstream, "").await;
    let mut sender = connect(&gateway).await;
    for refused in refused() {
        let (answer, mut stream) = begin(&mut sender, &refused, &gateway).await;

        check(&refused, &whole(answer).await);
        assert_eq!(reset(&mut stream).await, Reason::NO_ERROR, "{refused:?}");

        let (answer, _) = begin(&mut sender, &get(), &gateway).await;
        assert_eq!(whole(answer).await.0, 200);
    }
}

#[tokio::test]
async fn refused_bodies_leave_the_other_streams_their_room() {
    let upstream = Upstream::start().await;
    // The one that goes on waits for the others.
    let patient = "downstream: { body_timeout: 5m, min_body_rate: 0 }";
    let gateway = start(&upstream, patient).await;
    let mut sender = connect(&gateway).await;
    let good = crate::support::body("Closed", "Won");
    let good_put = Refused::new("PUT", ITEM, good.len(), 200, "-").with("If-Match", TAG.to_owned());
    let (good_answer, mut good_stream) = begin(&mut sender, &good_put, &gateway).await;

    for _ in 0..ROUNDS {
        for refused in refused() {
            let (answer, mut stream) = begin(&mut sender, &refused, &gateway).await;
            let body = Bytes::from(body(refused.size));
            let (told, ended) = tokio::join!(whole(answer), feed(&mut stream, body));
            check(&refused, &told);
            assert!(
                matches!(ended, None | Some(Reason::NO_ERROR)),
                "{ended:?} {refused:?}"
            );
        }
    }

    assert_eq!(feed(&mut good_stream, good.into()).await, None);
    assert_eq!(whole(good_answer).await.0, 200);
    assert_eq!(upstream.count("PUT"), 1);
}
