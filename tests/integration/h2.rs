//! Cleartext HTTP/2 by prior knowledge: the same promises in other frames.

use std::io;

use bytes::Bytes;
use http::{HeaderMap, Request, Response, Version};
use http_body_util::{BodyExt as _, Full, combinators::BoxBody};
use hyper::{
    body::Frame,
    client::conn::http2::{SendRequest, handshake},
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::Value;
use tokio::{net::TcpStream, sync::watch, task::JoinHandle};

use crate::support::{
    Gateway, ID, ITEM, Reply, TAG, Upstream, Wire, body, tls, token::usual, upstream::piped, within,
};

type Sender = SendRequest<Full<Bytes>>;

async fn connect(gateway: &Gateway) -> (Sender, JoinHandle<()>) {
    let stream = TcpStream::connect(gateway.address).await.unwrap();
    let (sender, connection) = handshake(TokioExecutor::new(), TokioIo::new(stream))
        .await
        .unwrap();
    let task = tokio::spawn(async move {
        connection.await.ok();
    });
    (sender, task)
}

fn request(
    gateway: &Gateway,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: impl Into<Bytes>,
) -> Request<Full<Bytes>> {
    let builder = Request::builder()
        .method(method)
        .uri(format!("http://{}{path}", gateway.address));
    let builder = builder.header("Authorization", format!("Bearer {}", usual()));
    let builder = headers.iter().fold(builder, |builder, (name, value)| {
        builder.header(*name, *value)
    });
    builder.body(Full::new(body.into())).unwrap()
}

async fn send(
    sender: &mut Sender,
    request: Request<Full<Bytes>>,
) -> (http::response::Parts, Bytes) {
    let answer: Response<_> = within("an answer", sender.send_request(request))
        .await
        .unwrap();
    let (head, body) = answer.into_parts();
    (
        head,
        within("the body", body.collect()).await.unwrap().to_bytes(),
    )
}

const JSON: (&str, &str) = ("Content-Type", "application/json");

#[tokio::test]
async fn requests_pass_and_are_judged_over_h2() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start(&upstream).await;
    let (mut sender, _task) = connect(&gateway).await;

    let (head, body_bytes) = send(
        &mut sender,
        request(&gateway, "GET", ITEM, &[("X-Unknown", "1")], ""),
    )
    .await;
    assert_eq!(head.status, 200);
    assert!(String::from_utf8_lossy(&body_bytes).contains(ID));
    assert!(
        head.headers.get("connection").is_none() && head.headers.get("transfer-encoding").is_none()
    );

    let (head, text) = send(
        &mut sender,
        request(&gateway, "PUT", ITEM, &[JSON], body("Closed", "Won")),
    )
    .await;
    assert_eq!(head.status, 428);
    let problem: Value = serde_json::from_slice(&text).unwrap();
    assert_eq!(problem["error"]["innerError"]["code"], "if_match_missing");
    assert!(
        head.headers["proxy-status"]
            .to_str()
            .unwrap()
            .starts_with("referral-gateway;")
    );
    assert_eq!(upstream.count("PUT"), 0);

    let good = request(
        &gateway,
        "PUT",
        ITEM,
        &[JSON, ("If-Match", TAG)],
        body("Closed", "Won"),
    );
    let (head, _) = send(&mut sender, good).await;
    assert_eq!(head.status, 200);
    assert!(
        head.headers["via"]
            .to_str()
            .unwrap()
            .ends_with("referral-gateway")
    );
    let put = upstream.only("PUT");
    assert_eq!(put.body, body("Closed", "Won").as_bytes());
    assert_eq!(put.header("if-match").as_deref(), Some(TAG));
    assert_eq!(put.header("host").unwrap(), upstream.address.to_string());
    assert_eq!(put.target(), ITEM);
    assert_eq!(
        upstream.only("GET").header("x-unknown").as_deref(),
        Some("1")
    );
}

#[tokio::test]
async fn two_if_match_fields_and_other_tricks_do_not_pass_over_h2() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start(&upstream).await;
    let (mut sender, _task) = connect(&gateway).await;

    for (headers, status) in [
        (vec![JSON, ("If-Match", TAG), ("If-Match", "*")], 428),
        (
            vec![JSON, ("If-Match", TAG), ("X-HTTP-Method-Override", "PATCH")],
            400,
        ),
        (vec![JSON, ("If-Match", TAG), ("If_Match", "*")], 400),
        (
            vec![JSON, ("If-Match", TAG), ("Content-Encoding", "gzip")],
            415,
        ),
        (
            vec![JSON, ("If-Match", TAG), ("Host", "elsewhere.example")],
            400,
        ),
    ] {
        let (head, _) = send(
            &mut sender,
            request(&gateway, "PUT", ITEM, &headers, body("Closed", "Won")),
        )
        .await;
        assert_eq!(head.status, status, "{headers:?}");
    }
    let detour = request(
        &gateway,
        "PUT",
        "/v1.0/engagements/x/../referrals/y",
        &[JSON],
        "{}",
    );
    assert!(send(&mut sender, detour).await.0.status.is_client_error());

    assert!(upstream.seen().is_empty(), "{:?}", upstream.seen());
}

#[tokio::test]
async fn a_cookie_in_crumbs_is_one_cookie_again() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start(&upstream).await;
    let (mut sender, _task) = connect(&gateway).await;

    send(
        &mut sender,
        request(
            &gateway,
            "GET",
            "/anything",
            &[("Cookie", "a=b"), ("Cookie", "c=d")],
            "",
        ),
    )
    .await;

    // RFC 9113 8.2.3: crumbs are joined before they leave HTTP/2.
    assert_eq!(
        upstream
            .only("GET")
            .headers
            .get_all("cookie")
            .iter()
            .map(|value| value.to_str().unwrap())
            .collect::<Vec<_>>(),
        ["a=b; c=d"]
    );
}

/// A body of unknown length, and a field that follows it.
fn followed(data: &'static str, name: &'static str, value: &str) -> BoxBody<Bytes, io::Error> {
    let (sender, body) = piped();
    let mut trailers = HeaderMap::new();
    trailers.insert(name, value.parse().unwrap());
    tokio::spawn(async move {
        sender.send(Ok(Frame::data(data.into()))).await.ok();
        sender.send(Ok(Frame::trailers(trailers))).await.ok();
    });
    body
}

async fn summed() -> Option<Reply> {
    let builder = Response::builder().header("Trailer", "X-Sum");
    Some(builder.body(followed("hello", "x-sum", "42")).unwrap())
}

#[tokio::test]
async fn trailers_pass_both_ways_over_h2() {
    let (authority, config) = tls::identity(&["h2"]);
    for (upstream, version) in [
        (Upstream::with(|_| summed()).await, Version::HTTP_11),
        (
            Upstream::with_tls(config, |_| summed()).await,
            Version::HTTP_2,
        ),
    ] {
        let gateway = Gateway::with("upstream: { ca_file: '@/ca.pem' }")
            .file("ca.pem", &authority)
            .start(&upstream)
            .await;
        let stream = TcpStream::connect(gateway.address).await.unwrap();
        let (mut sender, connection) = handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .unwrap();
        tokio::spawn(async move { connection.await.ok() });

        let post = Request::post(format!("http://{}/anything", gateway.address))
            .header("TE", "trailers")
            .header("Trailer", "X-Total")
            .body(followed("abc", "x-total", "3"))
            .unwrap();
        let answer = within("an answer", sender.send_request(post))
            .await
            .unwrap();

        assert_eq!(answer.status(), 200, "{version:?}");
        let answer = within("its end", answer.into_body().collect())
            .await
            .unwrap();
        let sum = answer.trailers().and_then(|trailers| trailers.get("x-sum"));
        assert_eq!(sum.unwrap(), "42", "{version:?}");
        assert_eq!(answer.to_bytes(), "hello", "{version:?}");
        let seen = upstream.only("POST");
        assert_eq!((seen.version, &*seen.body), (version, &b"abc"[..]));
        let total = seen.trailers.as_ref().and_then(|all| all.get("x-total"));
        assert_eq!(total.unwrap(), "3", "{version:?}");
    }
}

#[tokio::test]
async fn trailers_of_a_judged_write_are_refused_over_h2() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start(&upstream).await;
    let stream = TcpStream::connect(gateway.address).await.unwrap();
    let (mut sender, connection) = handshake(TokioExecutor::new(), TokioIo::new(stream))
        .await
        .unwrap();
    tokio::spawn(async move { connection.await.ok() });

    let mut trailers = HeaderMap::new();
    trailers.insert("if-match", "*".parse().unwrap());
    let put = Request::put(format!("http://{}{ITEM}", gateway.address))
        .header("Content-Type", "application/json")
        .header("If-Match", TAG)
        .body(
            Full::new(Bytes::from(body("Closed", "Won")))
                .with_trailers(async move { Some(Ok(trailers)) }.into_boxed()),
        )
        .unwrap();
    let answer = within("an answer", sender.send_request(put)).await.unwrap();

    assert_eq!(answer.status(), 400);
    assert_eq!(upstream.count("PUT"), 0);
}

/// A boxed future, which may be moved while it is polled.
trait Boxed: Future + Sized + Send + 'static {
    fn into_boxed(self) -> std::pin::Pin<Box<dyn Future<Output = Self::Output> + Send>> {
        Box::pin(self)
    }
}

impl<F: Future + Send + 'static> Boxed for F {}

#[tokio::test]
async fn many_streams_share_a_connection() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start(&upstream).await;
    let (sender, _task) = connect(&gateway).await;

    let mut calls = tokio::task::JoinSet::new();
    for number in 0..150 {
        let mut sender = sender.clone();
        let request = request(&gateway, "GET", &format!("/anything/{number}"), &[], "");
        calls.spawn(async move {
            sender.ready().await.unwrap();
            send(&mut sender, request).await.0.status.as_u16()
        });
    }

    assert_eq!(
        within("all answers", calls.join_all()).await,
        vec![200; 150]
    );
    assert_eq!(upstream.count("GET"), 150);
}

#[tokio::test]
async fn a_stream_that_is_given_up_cancels_its_read_alone() {
    let (go, held) = watch::channel(false);
    let upstream = Upstream::with(move |seen| {
        let mut held = held.clone();
        async move {
            if seen.target.path() == "/slow" {
                held.wait_for(|go| *go).await.ok();
            }
            None
        }
    })
    .await;
    let gateway = Gateway::start(&upstream).await;
    let (sender, _task) = connect(&gateway).await;

    let mut slow = sender.clone();
    let given_up = tokio::spawn({
        let request = request(&gateway, "GET", "/slow", &[], "");
        async move { send(&mut slow, request).await }
    });
    upstream.arrived("GET", 1).await;
    given_up.abort();
    gateway
        .until_metric("http_requests_in_flight", &[], 0.0)
        .await;

    let mut sender = sender;
    assert_eq!(
        send(&mut sender, request(&gateway, "GET", ITEM, &[], ""))
            .await
            .0
            .status,
        200
    );
    drop(go);
}

#[tokio::test]
async fn a_drain_says_goaway_and_finishes_the_streams() {
    let (go, held) = watch::channel(false);
    let upstream = Upstream::with(move |_| {
        let mut held = held.clone();
        async move {
            held.wait_for(|go| *go).await.ok();
            None
        }
    })
    .await;
    let mut gateway = Gateway::start(&upstream).await;
    let (mut sender, task) = connect(&gateway).await;
    let pending = tokio::spawn({
        let mut sender = sender.clone();
        let request = request(&gateway, "GET", ITEM, &[], "");
        async move { send(&mut sender, request).await.0.status }
    });
    upstream.arrived("GET", 1).await;

    gateway.signal("TERM");
    gateway
        .until_metric("state", &[("state", "draining")], 1.0)
        .await;
    go.send(true).unwrap();

    assert_eq!(within("the answer", pending).await.unwrap(), 200);
    within("the end of the connection", task).await.unwrap();
    assert!(sender.ready().await.is_err());
    assert_eq!(gateway.exit().await.code(), Some(0));
}

#[tokio::test]
async fn what_begins_like_h2_and_is_not_is_refused() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start(&upstream).await;

    for bytes in [
        "PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nthis is no frame at all, whatever it looks like",
        "PRI * HTTP/1.1\r\nHost: a\r\n\r\n",
    ] {
        let mut wire: Wire = gateway.wire().await;
        wire.send(bytes).await.unwrap();
        wire.half_close().await;
        wire.rest().await;
    }

    assert!(upstream.seen().is_empty());
    assert_eq!(gateway.get(ITEM).send().await.status, 200);
}

#[tokio::test]
async fn trailers_of_a_small_answer_whose_links_are_edited_pass_over_h2() {
    let authority = tls::Authority::new("A root");
    let config = authority
        .issue(&["127.0.0.1"])
        .server(&[&rustls::version::TLS13], &["h2"]);
    let upstream = Upstream::with_tls(config, |_| async {
        let text = r#"{"@odata.nextLink":"https://api.partner.microsoft.com/x"}"#;
        let (sender, body) = piped();
        tokio::spawn(async move {
            sender.send(Ok(Frame::data(text.into()))).await.ok();
            let mut trailers = HeaderMap::new();
            trailers.insert("x-sum", "7".parse().unwrap());
            sender.send(Ok(Frame::trailers(trailers))).await.ok();
        });
        let answer = Response::builder().header("Content-Type", "application/json");
        Some(
            answer
                .header("Content-Length", text.len())
                .body(body)
                .unwrap(),
        )
    })
    .await;
    let gateway = Gateway::with("upstream: { ca_file: '@/ca.pem' }")
        .file("ca.pem", &authority.pem)
        .start(&upstream)
        .await;
    let (mut sender, _) = connect(&gateway).await;

    let sending = sender.send_request(request(&gateway, "GET", "/v1.0/other", &[], ""));
    let answer = within("an answer", sending).await.unwrap();
    let body = within("the body", answer.into_body().collect())
        .await
        .unwrap();

    assert_eq!(body.trailers().unwrap()["x-sum"], "7");
    let text = String::from_utf8(body.to_bytes().to_vec()).unwrap();
    assert_eq!(
        text,
        format!(r#"{{"@odata.nextLink":"http://{}/x"}}"#, gateway.address)
    );
}
