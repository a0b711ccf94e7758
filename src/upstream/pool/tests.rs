use std::{
    io::Write as _,
    net::{TcpListener, TcpStream},
};

use http::Request;
use http_body_util::BodyExt as _;

use super::*;
use crate::{
    body::Body,
    upstream::{
        Proxy, Trust,
        connector::{Dialer, connector, uri},
        error::Resent,
        settings::{self, Target},
    },
};

/// An upstream that this thread plays itself, and the pool of its connections.
fn played() -> (TcpListener, Pool, Arc<Metrics>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address").to_string();
    let authority = address.parse().expect("an authority");
    let seconds = Duration::from_secs;
    let settings = settings::Settings {
        target: Target::Service {
            scheme: http::uri::Scheme::HTTP,
            authority,
        },
        authorities: Vec::new(),
        client: None,
        connect_timeout: seconds(30),
        response_timeout: seconds(30),
        idle_body_timeout: seconds(30),
        pool_idle_timeout: seconds(30),
        max_connections: 10,
    };
    let Target::Service { scheme, authority } = &settings.target else {
        unreachable!("it was made above");
    };
    let trust = Trust::load(&settings).expect("nothing to verify");
    let proxy = Proxy::of(&settings.target).expect("no proxy on loopback");
    let metrics = Arc::new(Metrics::new());
    let dialer = Dialer::new(proxy, metrics.open_connections(Side::Upstream));
    let pool = Pool::new(
        connector(dialer, trust.config),
        uri(scheme, authority),
        Settings {
            connect_timeout: seconds(30),
            idle_timeout: seconds(30),
            patience: seconds(30),
            response_timeout: seconds(30),
            max_connections: 10,
        },
        Arc::clone(&metrics),
    );
    (listener, pool, metrics)
}

fn question() -> Request<Body> {
    let mut request = Request::new(Body::empty());
    *request.uri_mut() = Uri::from_static("/");
    request
}

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// One request and its answer on a new connection, which goes back to the pool.
async fn first_exchange(pool: &Pool, listener: &TcpListener) -> TcpStream {
    let taken = pool
        .take(&Refusals::default(), Instant::now())
        .await
        .expect("a connection");
    let (mut upstream, _) = listener.accept().expect("a connection");
    let mut request = Some(question());
    let answering = async { upstream.write_all(ANSWER).expect("an open connection") };
    let (answer, ()) = tokio::join!(taken.send(&mut request), async {
        // The connection is ready by then, and has the request.
        tokio::task::yield_now().await;
        answering.await;
    });
    let (answer, back) = match answer {
        Ok(answered) => answered,
        Err(failure) => unreachable!("{}", failure.error),
    };
    answer.into_body().collect().await.expect("a body");
    back.give_back();
    upstream
}

/// Whether the pool has opened another connection.
fn has_another(listener: &TcpListener) -> bool {
    listener.set_nonblocking(true).expect("a listener");
    listener.accept().is_ok()
}

#[tokio::test]
async fn a_new_connection_is_opened_although_one_is_kept() {
    let (listener, pool, _) = played();
    let _upstream = first_exchange(&pool, &listener).await;
    tokio::task::yield_now().await;

    let _taken = pool.take_new().await.expect("a connection");

    assert!(has_another(&listener));
}

/// A runtime of one thread looks for events only when no task can run, so it has not heard yet of what waits on the
/// socket when the next request is written: as on a busy machine.
#[tokio::test]
async fn what_waits_on_a_kept_connection_ends_it_before_it_is_used_again() {
    let answer: fn(&mut TcpStream) = |upstream| upstream.write_all(ANSWER).expect("it is open");
    let end: fn(&mut TcpStream) = |upstream| {
        upstream
            .shutdown(std::net::Shutdown::Both)
            .expect("it is open");
    };
    for (deed, is_counted) in [(answer, true), (end, false)] {
        let (listener, pool, _) = played();
        let mut upstream = first_exchange(&pool, &listener).await;
        // The connection is ready again.
        tokio::task::yield_now().await;

        deed(&mut upstream);
        let taken = pool
            .take(&Refusals::default(), Instant::now())
            .await
            .expect("a connection");
        let mut request = Some(question());
        let Err(failure) = taken.send(&mut request).await else {
            unreachable!("a request got an answer that was sent before it");
        };

        assert_eq!(failure.resent, Some(Resent::ClosedUnused));
        assert!(request.is_some());
        assert_eq!(is_unsolicited(&failure.error), is_counted);
    }
}
