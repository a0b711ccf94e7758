//! A stop in the middle of requests loses none of them: neither on kept connections nor on new ones.
//!
//! It stops the gateway a few times, or as often as `REFERRAL_GATEWAY_STOPS` says.

use std::{
    env,
    net::SocketAddr,
    sync::{Arc, OnceLock},
    time::Duration,
};

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::version::TLS13;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    task::JoinSet,
};
use tokio_rustls::TlsConnector;

use crate::support::{
    Gateway, ITEM, TAG, Upstream, Wire, eventually,
    gateway::Builder,
    tls::{Authority, Pair},
    token::usual,
    wire::Call,
    within,
};

const SETTINGS: &str = "snapshots: { unknown_state: forward }";
const OPERATIONS: &str = r#"[{"op":"replace","path":"/name","value":"x"}]"#;

fn stops() -> usize {
    env::var("REFERRAL_GATEWAY_STOPS").map_or(3, |stops| stops.parse().unwrap())
}

fn write(address: SocketAddr) -> Vec<u8> {
    let call = Call::new(address, "PATCH", ITEM).if_match(TAG);
    call.header("Content-Type", "application/json")
        .body(OPERATIONS)
        .bytes()
}

/// Writes until nobody listens; how many writes were answered.
async fn kept(address: SocketAddr) -> usize {
    let mut answered = 0;
    while let Ok(stream) = TcpStream::connect(address).await {
        answered += on(Wire::new(stream), address, usize::MAX).await;
    }
    answered
}

/// The same over TLS.
async fn kept_over_tls(address: SocketAddr, connector: TlsConnector) -> usize {
    let mut answered = 0;
    while let Ok(stream) = TcpStream::connect(address).await {
        // A handshake that the end cuts has sent no request.
        if let Ok(stream) = connector
            .connect("localhost".try_into().unwrap(), stream)
            .await
        {
            answered += on(Wire::new(stream), address, usize::MAX).await;
        }
    }
    answered
}

/// The same with a connection for each write.
async fn new_ones(address: SocketAddr) -> usize {
    let mut answered = 0;
    while let Ok(stream) = TcpStream::connect(address).await {
        answered += on(Wire::new(stream), address, 1).await;
    }
    answered
}

/// Writes on one connection until an answer says that it ends.
async fn on<S: AsyncRead + AsyncWrite + Unpin>(
    mut wire: Wire<S>,
    address: SocketAddr,
    most: usize,
) -> usize {
    for number in 1..=most {
        wire.send(write(address))
            .await
            .expect("a write was lost while it was sent");
        let answer = within("an answer", wire.try_answer("PATCH")).await;
        let answer = answer.expect("a write was lost after it was sent");
        assert_eq!(answer.status, 204, "{}", answer.text());
        if answer.header("connection") == Some("close") {
            return number;
        }
    }
    most
}

/// Writes over HTTP/2 until the connection ends, then on a new one.
async fn over_http2(address: SocketAddr) -> usize {
    let mut answered = 0;
    while let Ok(stream) = TcpStream::connect(address).await {
        let shaking = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await;
        let Ok((mut sender, connection)) = shaking else {
            continue;
        };
        tokio::spawn(connection);
        while sender.ready().await.is_ok() {
            let request = Request::patch(format!("http://{address}{ITEM}"))
                .header("Authorization", format!("Bearer {}", usual()))
                .header("Content-Type", "application/json")
                .header("If-Match", TAG)
                .body(Full::new(Bytes::from(OPERATIONS)));
            match within("an answer", sender.send_request(request.unwrap())).await {
                Ok(answer) => {
                    assert_eq!(answer.status(), 204);
                    within("a body", answer.into_body().collect())
                        .await
                        .unwrap();
                    answered += 1;
                }
                // It was not sent, since the connection had ended.
                Err(error) if error.is_canceled() || error.is_closed() || is_goaway(&error) => {
                    break;
                }
                Err(error) => panic!("a write was lost: {error:?}"),
            }
        }
    }
    answered
}

/// Whether the client had heard of the end, so that it opened no stream.
fn is_goaway(error: &hyper::Error) -> bool {
    let cause =
        std::error::Error::source(error).and_then(|cause| cause.downcast_ref::<h2::Error>());
    cause.is_some_and(|cause| cause.is_go_away() && cause.reason() == Some(h2::Reason::NO_ERROR))
}

/// Stops gateways of these settings while callers write; each of their writes is answered, and no other one arrives.
async fn stop_under_load(gateway: fn() -> Builder, call: impl Fn(&mut JoinSet<usize>, SocketAddr)) {
    for _ in 0..stops() {
        let upstream = Upstream::start().await;
        let mut gateway = gateway().start(&upstream).await;
        let mut callers = JoinSet::new();
        call(&mut callers, gateway.address);
        eventually("some writes", async || upstream.count("PATCH") > 50).await;

        gateway.signal("TERM");

        let answered: usize = within("the callers", callers.join_all()).await.iter().sum();
        assert_eq!(gateway.exit().await.code(), Some(0));
        assert_eq!(upstream.count("PATCH"), answered);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_loses_no_request() {
    stop_under_load(
        || Gateway::with(SETTINGS),
        |callers, address| {
            for _ in 0..3 {
                callers.spawn(kept(address));
                callers.spawn(over_http2(address));
            }
        },
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_serves_the_connections_that_wait_to_be_accepted() {
    stop_under_load(
        || Gateway::with(SETTINGS),
        |callers, address| {
            for _ in 0..4 {
                callers.spawn(new_ones(address));
            }
        },
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_loses_no_request_over_tls() {
    static TRUST: OnceLock<(Authority, Pair)> = OnceLock::new();
    let made = || {
        let authority = Authority::new("A root");
        let pair = authority.issue(&["localhost"]);
        (authority, pair)
    };
    let (authority, _) = TRUST.get_or_init(made);
    let connector = TlsConnector::from(Arc::new(authority.client(&TLS13)));
    stop_under_load(
        || {
            let (_, pair) = TRUST.get().unwrap();
            Gateway::with(SETTINGS)
                .settings("tls: { cert_file: '@/tls.crt', key_file: '@/tls.key' }")
                .file("tls.crt", &pair.certificate)
                .file("tls.key", &pair.key)
        },
        |callers, address| {
            for _ in 0..4 {
                callers.spawn(kept_over_tls(address, connector.clone()));
            }
        },
    )
    .await;
}

#[tokio::test]
async fn an_idle_connection_may_ask_once_more_and_does_not_hold_the_end_up() {
    let upstream = Upstream::start().await;
    let mut gateway = Gateway::with(SETTINGS).start(&upstream).await;
    let mut asks = gateway.wire().await;
    let mut rests = gateway.wire().await;
    for wire in [&mut asks, &mut rests] {
        assert_eq!(gateway.get(ITEM).on(wire).await.status, 200);
    }
    // Long enough for hyper's buffers to be given back.
    tokio::time::sleep(Duration::from_millis(200)).await;

    gateway.signal("TERM");
    gateway
        .record("the drain", |record| {
            record["message"]
                .as_str()
                .is_some_and(|text| text.starts_with("Draining"))
        })
        .await;
    let answer = gateway.get(ITEM).on(&mut asks).await;

    assert_eq!(
        (answer.status, answer.header("connection")),
        (200, Some("close"))
    );
    assert!(rests.is_closed().await);
    assert_eq!(gateway.exit().await.code(), Some(0));
}

#[tokio::test]
async fn a_client_that_does_not_read_the_end_does_not_hold_it_up() {
    let upstream = Upstream::start().await;
    let settings = "drain: { max: 5s }";
    let mut gateway = Gateway::with(settings).start(&upstream).await;
    // The preface, empty SETTINGS, and what confirms the gateway's.
    let begin = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0\0\0\0\x04\x01\0\0\0\0";
    let mut wire = gateway.wire().await;
    wire.send(begin).await.unwrap();
    wire.some().await.unwrap();

    gateway.signal("TERM");

    assert_eq!(gateway.exit().await.code(), Some(0));
    let lines = gateway.lines().join("\n");
    assert!(
        lines.contains("Drained; all requests are finished"),
        "{lines}"
    );
}
