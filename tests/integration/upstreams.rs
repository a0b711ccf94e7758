//! Upstreams that refuse, break, stall or talk nonsense: an honest answer, never a hang.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use http::{Response, Version};
use socket2::{Domain, Socket, Type};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};

use crate::support::{
    Answer, Gateway, ITEM, LIST, NOWHERE, TAG, Upstream, Wire, at_once, before, body, eventually,
    reply, tls, upstream::full, within,
};

/// Short waits, and a PUT that needs no state.
const HASTY: &str =
    "upstream: { connect_timeout: 1s, response_timeout: 1500ms, idle_body_timeout: 1s }
snapshots: { unknown_state: forward }
";

async fn put(gateway: &Gateway) -> Answer {
    gateway
        .put(ITEM, body("Closed", "Won"))
        .if_match(TAG)
        .send()
        .await
}

#[tokio::test]
async fn an_upstream_that_is_not_there() {
    let url = format!("http://{NOWHERE}");
    let gateway = Gateway::with(HASTY).start_at(&url).await;

    for answer in [
        gateway.get(ITEM).send().await,
        put(&gateway).await,
        gateway.call("POST", LIST).body("{}").send().await,
    ] {
        assert_eq!(answer.status, 502, "{}", answer.text());
        assert_eq!(answer.problem().code, "upstream_connect_failed");
    }
    let record = gateway
        .record("its cause", |line| {
            line["code"] == "upstream_connect_failed"
        })
        .await;
    let cause = record["cause"].as_str().unwrap();
    assert!(cause.contains("refused"), "{record}");
    assert_eq!(gateway.telemetry("/readyz").await.status, 200);
}

#[tokio::test]
async fn a_put_that_needs_a_state_nobody_can_give_is_refused_for_now() {
    let url = format!("http://{NOWHERE}");
    let gateway = Gateway::with("").start_at(&url).await;

    let answer = put(&gateway).await;

    assert_eq!(
        (answer.status, answer.problem().code.as_str()),
        (503, "state_unknown")
    );
    assert!(answer.header("retry-after").is_some());
}

/// What a raw upstream does with a request it has read.
#[derive(Debug, Clone, Copy)]
enum Deed {
    Close,
    Reset,
    HalfAHead,
    Say(&'static str),
    Flood,
    Stall,
}

async fn doing(deed: Deed) -> (Upstream, Arc<std::sync::Mutex<Vec<String>>>) {
    let heads = Arc::new(std::sync::Mutex::new(Vec::new()));
    let seen = Arc::clone(&heads);
    let upstream = Upstream::raw(move |mut wire, _| {
        let seen = Arc::clone(&seen);
        async move {
            while let Ok((head, _)) = wire.request().await {
                seen.lock().unwrap().push(head);
                match deed {
                    Deed::Close => return,
                    Deed::Reset => return wire.reset(),
                    Deed::HalfAHead => {
                        wire.send("HTTP/1.1 200 OK\r\nContent-Le").await.ok();
                        return;
                    }
                    Deed::Say(text) => {
                        wire.send(text).await.ok();
                    }
                    Deed::Flood => {
                        wire.send("HTTP/1.1 200 OK\r\n").await.ok();
                        let line = format!("X-Flood: {}\r\n", "x".repeat(8000));
                        for _ in 0..2000 {
                            if wire.send(&line).await.is_err() {
                                return;
                            }
                        }
                    }
                    Deed::Stall => {
                        wire.is_closed().await;
                    }
                }
            }
        }
    })
    .await;
    (upstream, heads)
}

#[tokio::test]
async fn an_upstream_that_breaks_or_stalls_before_its_answer() {
    let garbage = "\x15\x03\x01\x00\x02\x02\x46 hello there\r\n\r\n";
    let cases = [
        ("closed", Deed::Close, 502, "upstream_closed"),
        ("reset", Deed::Reset, 502, "upstream_closed"),
        ("half a head", Deed::HalfAHead, 502, "upstream_closed"),
        ("garbage", Deed::Say(garbage), 502, "upstream_bad_answer"),
        (
            "an old answer",
            Deed::Say("200 OK\r\n\r\n"),
            502,
            "upstream_bad_answer",
        ),
        (
            "a bad status",
            Deed::Say("HTTP/1.1 2x0 OK\r\n\r\n"),
            502,
            "upstream_bad_answer",
        ),
        (
            "a bad field",
            Deed::Say("HTTP/1.1 200 OK\r\nX Y: z\r\nContent-Length: 0\r\n\r\n"),
            502,
            "upstream_bad_answer",
        ),
        (
            "two lengths",
            Deed::Say("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nabc"),
            502,
            "upstream_bad_answer",
        ),
        ("too large a head", Deed::Flood, 502, "upstream_bad_answer"),
        (
            "a switch of protocols",
            Deed::Say(
                "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n",
            ),
            502,
            "upstream_bad_answer",
        ),
        ("nothing", Deed::Stall, 504, "upstream_timeout"),
    ];

    for (name, deed, status, code) in cases {
        let (upstream, heads) = doing(deed).await;
        let gateway = Gateway::with(HASTY).start(&upstream).await;

        let read = gateway.get(ITEM).send().await;
        assert_eq!(read.status, status, "{name}: {}", read.text());
        let given = read.problem().code;
        // How a cut head is called depends on where it was cut.
        assert!(
            given == code || (name == "half a head" && given == "upstream_bad_answer"),
            "{name}: {given}"
        );
        let reads = heads.lock().unwrap().len();
        assert!(
            (1..=2).contains(&reads),
            "{name}: a read was sent {reads} times"
        );

        heads.lock().unwrap().clear();
        let write = put(&gateway).await;
        // The write names a version, so a repetition does no harm.
        assert_eq!(write.status, 502, "{name}: {}", write.text());
        let problem = write.problem();
        assert_eq!(problem.code, "outcome_unknown", "{name}");
        assert!(
            problem.value["error"]["message"]
                .as_str()
                .unwrap()
                .to_lowercase()
                .contains("read"),
            "{name}"
        );
        let puts = heads
            .lock()
            .unwrap()
            .iter()
            .filter(|head| head.starts_with("PUT "))
            .count();
        assert_eq!(puts, 1, "{name}: a PUT was sent {puts} times");

        assert_eq!(
            gateway
                .call("POST", LIST)
                .body("{}")
                .send()
                .await
                .problem()
                .code,
            "outcome_unknown",
            "{name}"
        );
        gateway
            .until_metric("http_requests_in_flight", &[], 0.0)
            .await;
    }
}

#[tokio::test]
async fn a_body_that_breaks_off_is_not_made_to_look_whole() {
    for answer in [
        "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly this",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nonly this\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nonly this\r\nzz\r\n",
    ] {
        for path in [ITEM, "/anything"] {
            let upstream = Upstream::raw(move |mut wire, _| async move {
                wire.request().await.ok();
                wire.send(answer).await.ok();
            })
            .await;
            let gateway = Gateway::with(HASTY).start(&upstream).await;

            let mut wire = gateway.get(path).open().await;
            let head = within("the head", wire.head()).await.unwrap();
            assert!(head.line.contains(" 200 "));
            let text = String::from_utf8(wire.rest().await).unwrap();
            assert!(!text.ends_with("0\r\n\r\n"), "{answer}: {text}");
            assert!(text.len() < 100);
        }
    }
}

#[tokio::test]
async fn a_body_that_stalls_is_cut() {
    for path in [ITEM, "/anything"] {
        let upstream = Upstream::raw(|mut wire, _| async move {
            wire.request().await.ok();
            wire.send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly this")
                .await
                .ok();
            wire.is_closed().await;
        })
        .await;
        let gateway = Gateway::with(HASTY).start(&upstream).await;

        let mut wire = gateway.get(path).open().await;
        within("the head", wire.head()).await.unwrap();
        let rest = before(Duration::from_secs(30), "the end", wire.rest()).await;
        assert_eq!(rest, b"only this");
        gateway
            .until_metric("connections_open", &[("side", "upstream")], 0.0)
            .await;
    }
}

#[tokio::test]
async fn a_body_that_never_stops_but_never_stalls_is_not_cut() {
    let upstream = Upstream::raw(|mut wire, _| async move {
        wire.request().await.ok();
        wire.send("HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\n")
            .await
            .ok();
        // Pauses of a quarter of the limit, twice the limit in all.
        let mut tick = tokio::time::interval(Duration::from_millis(500));
        for _ in 0..8 {
            tick.tick().await;
            wire.send("x").await.ok();
        }
        wire.is_closed().await;
    })
    .await;
    let gateway = Gateway::with("upstream: { idle_body_timeout: 2s }")
        .start(&upstream)
        .await;

    assert_eq!(gateway.get("/slow").send().await.text(), "xxxxxxxx");
}

#[tokio::test]
async fn a_redirect_is_relayed_and_not_followed() {
    let elsewhere = Upstream::start().await;
    // Another name than the upstream's, whose URLs would be re-based.
    let location = format!("http://localhost:{}/x", elsewhere.address.port());
    let sent = location.clone();
    let upstream = Upstream::with(move |_| {
        let location = sent.clone();
        async move {
            Some(
                Response::builder()
                    .status(307)
                    .header("Location", location)
                    .body(full(""))
                    .unwrap(),
            )
        }
    })
    .await;
    let gateway = Gateway::with(HASTY).start(&upstream).await;

    for answer in [gateway.get(ITEM).send().await, put(&gateway).await] {
        assert_eq!(
            (answer.status, answer.header("location")),
            (307, Some(location.as_str()))
        );
    }
    assert_eq!((elsewhere.connections(), upstream.seen().len()), (0, 2));
}

#[tokio::test]
async fn errors_of_the_upstream_are_its_own() {
    for status in [
        400, 401, 403, 404, 405, 409, 412, 418, 429, 500, 502, 503, 504, 507,
    ] {
        let upstream =
            Upstream::with(move |_| async move { Some(reply(status, "as it is")) }).await;
        let gateway = Gateway::with(HASTY).start(&upstream).await;

        let answer = put(&gateway).await;

        assert_eq!(
            (answer.status, answer.text().as_str()),
            (status, "as it is")
        );
        assert!(
            !answer.is_ours() && answer.header("client-request-id").is_none(),
            "{answer:?}"
        );
    }
}

/// Answers the first request on its first connection, and then breaks at the next.
async fn tired(number: usize, mut wire: Wire) {
    let mut answered = 0;
    while wire.request().await.is_ok() {
        if number == 0 && answered == 1 {
            return;
        }
        wire.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
            .await
            .ok();
        answered += 1;
    }
}

#[tokio::test]
async fn a_read_on_a_connection_that_had_died_is_repeated_once() {
    let upstream = Upstream::raw(|wire, number| tired(number, wire)).await;
    let gateway = Gateway::with(HASTY).start(&upstream).await;

    for _ in 0..3 {
        let answer = gateway.get("/anything").send().await;
        assert_eq!((answer.status, answer.text().as_str()), (200, "ok"));
    }

    assert_eq!(upstream.connections(), 2);
}

#[tokio::test]
async fn a_write_on_a_connection_that_died_under_it_is_not_repeated() {
    for call in ["PUT", "PATCH", "DELETE"] {
        let upstream = Upstream::raw(|wire, number| tired(number, wire)).await;
        let gateway = Gateway::with(HASTY).start(&upstream).await;
        assert_eq!(gateway.get("/anything").send().await.status, 200);

        let answer = match call {
            "PUT" => put(&gateway).await,
            _ => {
                gateway
                    .call(call, ITEM)
                    .header("Content-Type", "application/json")
                    .body("[]")
                    .send()
                    .await
            }
        };

        let status = if call == "PUT" { 502 } else { 409 };
        assert_eq!(
            (answer.status, answer.problem().code.as_str()),
            (status, "outcome_unknown"),
            "{call}"
        );
        assert_eq!(upstream.connections(), 1, "{call}: it was sent again");
    }
}

#[tokio::test]
async fn a_write_after_a_pause_in_which_the_connection_was_closed_passes() {
    let upstream = Upstream::raw(|mut wire, _| async move {
        // One answer a connection, without saying so.
        if wire.request().await.is_ok() {
            wire.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
                .await
                .ok();
        }
    })
    .await;
    let gateway = Gateway::with(HASTY).start(&upstream).await;

    for _ in 0..3 {
        assert_eq!(gateway.get("/anything").send().await.status, 200);
        gateway
            .until_metric("connections_open", &[("side", "upstream")], 0.0)
            .await;
        assert_eq!(put(&gateway).await.status, 200);
        gateway
            .until_metric("connections_open", &[("side", "upstream")], 0.0)
            .await;
    }
}

#[tokio::test]
async fn connections_are_used_again() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start(&upstream).await;

    for _ in 0..10 {
        assert_eq!(gateway.get(ITEM).send().await.status, 200);
    }

    assert_eq!(upstream.connections(), 1);
}

#[tokio::test]
async fn a_connection_that_nobody_uses_is_closed_after_a_while() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::with("upstream: { pool_idle_timeout: 1s }")
        .start(&upstream)
        .await;
    assert_eq!(gateway.get(ITEM).send().await.status, 200);
    assert_eq!(upstream.connections(), 1);

    // The upstream leaves it open.
    gateway
        .until_metric("connections_open", &[("side", "upstream")], 0.0)
        .await;

    assert_eq!(gateway.get(ITEM).send().await.status, 200);
    assert_eq!(upstream.connections(), 2);
}

#[tokio::test]
async fn a_put_passes_over_tls_in_whichever_protocol_is_agreed_on() {
    for (protocols, version) in [
        (vec!["h2", "http/1.1"], Version::HTTP_2),
        (vec!["http/1.1"], Version::HTTP_11),
        (vec![], Version::HTTP_11),
    ] {
        let (authority, config) = tls::identity(&protocols);
        let upstream = Upstream::with_tls(config, |_| std::future::ready(None)).await;
        let gateway = Gateway::with("upstream: { ca_file: \"@/ca.pem\" }")
            .file("ca.pem", &authority)
            .start(&upstream)
            .await;

        let answer = put(&gateway).await;

        assert_eq!(answer.status, 200, "{protocols:?}: {}", answer.text());
        let seen = upstream.only("PUT");
        assert_eq!(
            (seen.version, seen.body.as_slice()),
            (version, body("Closed", "Won").as_bytes())
        );
        assert_eq!(seen.header("if-match").as_deref(), Some(TAG));
        assert_eq!(seen.target.path(), ITEM);
        let authority = upstream.address.to_string();
        assert_eq!(
            seen.header("host")
                .or_else(|| seen.target.authority().map(ToString::to_string)),
            Some(authority)
        );
        assert!(seen.header("connection").is_none() || version == Version::HTTP_11);
    }
}

#[tokio::test]
async fn what_the_way_of_a_request_promises_holds_over_h2_upstream_too() {
    let (authority, config) = tls::identity(&["h2"]);
    let broken = Arc::new(AtomicBool::new(false));
    let trap = Arc::clone(&broken);
    let upstream = Upstream::with_tls(config, move |_| {
        let broken = trap.load(Ordering::SeqCst);
        async move {
            if broken {
                std::future::pending::<()>().await;
            }
            None
        }
    })
    .await;
    let settings = format!(
        "{}\n",
        HASTY.replace("upstream: {", "upstream: { ca_file: \"@/ca.pem\",")
    );
    let gateway = Gateway::with(&settings)
        .file("ca.pem", &authority)
        .start(&upstream)
        .await;

    let calls = at_once((0..50).map(|_| gateway.get(ITEM)));
    assert_eq!(calls.join_all().await, vec![200; 50]);
    assert!(upstream.connections() <= 50);

    broken.store(true, Ordering::SeqCst);
    let answer = put(&gateway).await;
    assert_eq!(
        (answer.status, answer.problem().code.as_str()),
        (502, "outcome_unknown")
    );
    assert_eq!(upstream.count("PUT"), 1);
}

#[tokio::test]
async fn an_upstream_that_cannot_prove_who_it_is_gets_nothing() {
    let (_, config) = tls::identity(&["http/1.1"]);
    let (another, _) = tls::identity(&[]);
    let upstream = Upstream::with_tls(config, |_| std::future::ready(None)).await;
    let settings = format!(
        "{}\n",
        HASTY.replace("upstream: {", "upstream: { ca_file: \"@/ca.pem\",")
    );
    let gateway = Gateway::with(&settings)
        .file("ca.pem", &another)
        .start(&upstream)
        .await;

    for answer in [gateway.get(ITEM).send().await, put(&gateway).await] {
        assert_eq!(
            (answer.status, answer.problem().code.as_str()),
            (502, "upstream_connect_failed")
        );
    }
    assert!(upstream.seen().is_empty());
}

#[tokio::test]
async fn an_upstream_that_speaks_plain_http_where_tls_is_asked_for_is_told() {
    let upstream = Upstream::raw(|mut wire, _| async move {
        let answer = "HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n";
        wire.send(answer).await.ok();
        wire.is_closed().await;
    })
    .await;
    let url = upstream.url().replace("http:", "https:");
    let gateway = Gateway::with(HASTY).start_at(&url).await;

    let answer = gateway.get(ITEM).send().await;

    assert_eq!(answer.status, 502, "{}", answer.text());
    let told = "the upstream does not speak TLS on this port";
    assert!(answer.text().contains(told), "{}", answer.text());
}

#[tokio::test]
async fn an_upstream_that_does_not_shake_hands_is_given_up() {
    let upstream = Upstream::raw(|mut wire, _| async move {
        wire.is_closed().await;
    })
    .await;
    let gateway = Gateway::with(HASTY)
        .start_at(&upstream.url().replace("http:", "https:"))
        .await;

    for answer in [gateway.get(ITEM).send().await, put(&gateway).await] {
        assert_eq!(
            (answer.status, answer.problem().code.as_str()),
            (504, "upstream_connect_timeout")
        );
    }
}

#[tokio::test]
async fn an_upstream_that_accepts_no_connection_is_given_up() {
    // Linux answers no SYN while a queue is full, and one of length 0 holds a single connection.
    let listener = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    listener
        .bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into())
        .unwrap();
    listener.listen(0).unwrap();
    let address = listener.local_addr().unwrap().as_socket().unwrap();
    let _queued = std::net::TcpStream::connect(address).unwrap();
    let gateway = Gateway::with("upstream: { connect_timeout: 500ms }")
        .start_at(&format!("http://{address}"))
        .await;

    let answer = before(
        Duration::from_secs(5),
        "an answer",
        gateway.get(ITEM).send(),
    )
    .await;

    assert_eq!(
        (answer.status, answer.problem().code.as_str()),
        (504, "upstream_connect_timeout")
    );
}

#[tokio::test]
async fn the_time_for_an_answer_starts_when_the_request_has_been_sent() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::with("upstream: { response_timeout: 2s }")
        .start(&upstream)
        .await;

    let mut wire = gateway.wire().await;
    wire.send("POST /anything HTTP/1.1\r\nHost: a\r\nContent-Length: 8\r\n\r\n")
        .await
        .unwrap();
    // Slower in all than the time-out for an answer.
    let mut tick = tokio::time::interval(Duration::from_millis(500));
    for _ in 0..8 {
        tick.tick().await;
        wire.send("x").await.unwrap();
    }

    assert_eq!(wire.answer("POST").await.status, 200);
    assert_eq!(upstream.only("POST").body, b"xxxxxxxx");
}

#[tokio::test]
async fn errors_are_counted_by_kind() {
    let (upstream, _heads) = doing(Deed::Stall).await;
    let gateway = Gateway::with(HASTY).start(&upstream).await;

    gateway.get(ITEM).send().await;

    eventually("the error to be counted", async || {
        gateway.metric("upstream_errors_total", &[]).await > 0.0
    })
    .await;
    eventually("the answer to be counted", async || {
        gateway
            .metric(
                "http_requests_total",
                &[("method", "GET"), ("source", "gateway"), ("code", "504")],
            )
            .await
            > 0.0
    })
    .await;
}

#[tokio::test]
async fn an_upstream_that_does_not_take_a_body_holds_no_connection_for_ever() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let mut held = Vec::new();
        for answer in ["HTTP/1.1 413 No\r\nContent-Length: 0\r\n\r\n", ""] {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.read_exact(&mut [0; 64]).await.unwrap();
            stream.write_all(answer.as_bytes()).await.unwrap();
            held.push(stream);
        }
        std::future::pending::<()>().await;
    });
    let gateway = Gateway::with(HASTY).start_at(&url).await;

    for status in [413, 409] {
        let mut wire = gateway.wire().await;
        wire.send("POST /upload HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999\r\n\r\n")
            .await
            .unwrap();
        let piece = vec![b'x'; 1024 * 1024];
        // More than the buffers on the way take.
        let sending = async { while wire.send(&piece).await.is_ok() {} };
        tokio::time::timeout(Duration::from_secs(1), sending)
            .await
            .ok();
        assert_eq!(wire.answer("POST").await.status, status);
        drop(wire);
        for side in ["upstream", "downstream"] {
            gateway
                .until_metric("connections_open", &[("side", side)], 0.0)
                .await;
        }
    }
}

#[tokio::test]
async fn a_read_that_gets_no_answer_in_time_is_not_repeated() {
    let upstream = Upstream::with(|_| std::future::pending()).await;
    let gateway = Gateway::with("upstream: { response_timeout: 500ms }")
        .start(&upstream)
        .await;
    let answer = gateway.get(ITEM).send().await;
    assert_eq!(
        (answer.status, answer.problem().code.as_str()),
        (504, "upstream_timeout")
    );
    assert_eq!(upstream.count("GET"), 1);
}
