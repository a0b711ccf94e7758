//! From the first connection to the last: start, limits of a connection, drain, end.

use std::time::{Duration, Instant};

use tokio::{net::TcpStream, sync::watch};

use crate::support::{Gateway, ITEM, TAG, Upstream, Wire, before, body, eventually, wire::Call};

/// An upstream that holds what comes until it is told to let go.
async fn holding() -> (Upstream, watch::Sender<bool>) {
    let (go, held) = watch::channel(false);
    let upstream = Upstream::with(move |_| {
        let mut held = held.clone();
        async move {
            held.wait_for(|go| *go).await.ok();
            None
        }
    })
    .await;
    (upstream, go)
}

#[tokio::test]
async fn the_line_that_says_it_is_up_names_what_is_in_force() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start(&upstream).await;

    assert_eq!(gateway.ready["level"], "INFO");
    assert!(
        gateway.ready["upstream"]
            .as_str()
            .unwrap()
            .contains(&upstream.address.to_string())
    );
    assert_eq!(gateway.ready["policy"], "referrals");
    assert!(gateway.ready["policy_digest"].as_str().unwrap().len() >= 8);
    assert!(gateway.ready["timestamp"].is_string());
}

#[tokio::test]
async fn probes_answer_without_the_upstream() {
    let gateway = Gateway::with("").start_at("http://127.0.0.1:9").await;

    for path in [
        "/healthz",
        "/livez",
        "/readyz",
        "/readyz?verbose",
        "/metrics",
    ] {
        let answer = gateway.telemetry(path).await;
        assert_eq!(answer.status, 200, "{path}");
    }
    let verbose = gateway.telemetry("/readyz?verbose").await.text();
    assert!(!verbose.is_empty());
}

#[tokio::test]
async fn each_listener_serves_its_own_paths_alone() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start(&upstream).await;

    for path in [ITEM, "/config", "/policies", "/log-level", "/nothing"] {
        assert_eq!(gateway.telemetry(path).await.status, 404, "{path}");
    }
    for path in [ITEM, "/nothing"] {
        assert_eq!(
            gateway.admin("GET", path).send().await.status,
            404,
            "{path}"
        );
    }
    assert!(upstream.seen().is_empty());
    for (number, path) in ["/metrics", "/healthz", "/readyz", "/config", "/log-level"]
        .into_iter()
        .enumerate()
    {
        assert!(!gateway.get(path).send().await.is_ours(), "{path}");
        assert_eq!(
            upstream.seen()[number].target(),
            path,
            "the data listener has no path of ours"
        );
    }
    for method in ["POST", "PUT", "DELETE"] {
        let answer = Call::new(gateway.telemetry, method, "/metrics")
            .send()
            .await;
        assert!(
            matches!(answer.status, 404 | 405),
            "{method}: {}",
            answer.status
        );
    }
}

#[tokio::test]
async fn head_is_answered_wherever_get_is_on_the_own_listeners() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start(&upstream).await;
    for (address, path) in [
        (gateway.telemetry, "/healthz"),
        (gateway.telemetry, "/livez"),
        (gateway.telemetry, "/readyz"),
        (gateway.telemetry, "/readyz?verbose"),
        (gateway.telemetry, "/nothing"),
        (gateway.admin, "/config"),
        (gateway.admin, "/policies"),
        (gateway.admin, "/log-level"),
        (gateway.admin, "/nothing"),
    ] {
        let asked = async |method| {
            let answer = Call::new(address, method, path).send().await;
            let mut fields = answer.head.fields.clone();
            fields.retain(|(name, _)| name != "date");
            (answer.status, fields, answer.body)
        };
        let (status, fields, body) = asked("GET").await;
        let length = ("content-length".to_owned(), body.len().to_string());
        assert!(!body.is_empty() && fields.contains(&length), "{path}");
        assert_eq!(asked("HEAD").await, (status, fields, Vec::new()), "{path}");
    }
    // Its text changes with each request.
    let metrics = Call::new(gateway.telemetry, "HEAD", "/metrics")
        .send()
        .await;
    let length: usize = metrics.header("content-length").unwrap().parse().unwrap();
    assert!(metrics.status == 200 && length > 1000, "{metrics:?}");

    for (path, allowed, text) in [
        ("/config", "GET, HEAD", "GET and HEAD"),
        ("/policies", "GET, HEAD", "GET and HEAD"),
        ("/log-level", "GET, HEAD, PUT", "GET, HEAD and PUT"),
    ] {
        let answer = gateway.admin("DELETE", path).send().await;
        assert_eq!(
            (answer.status, answer.header("allow")),
            (405, Some(allowed))
        );
        assert_eq!(answer.text(), format!("This path accepts {text}.\n"));
    }
}

#[tokio::test]
async fn a_drain_finishes_what_is_under_way_and_then_ends() {
    let (upstream, go) = holding().await;
    let mut gateway = Gateway::with("drain: { max: 20s }\nsnapshots: { unknown_state: forward }")
        .start(&upstream)
        .await;
    let mut idle = gateway.wire().await;
    idle.send("").await.unwrap();
    let mut read = gateway.get(ITEM).open().await;
    let mut write = gateway
        .put(ITEM, body("Closed", "Won"))
        .if_match(TAG)
        .open()
        .await;
    upstream.arrived("GET", 1).await;
    upstream.arrived("PUT", 1).await;

    gateway.signal("TERM");
    assert!(
        idle.is_closed().await,
        "a connection without a request is closed"
    );
    eventually("readiness to end", async || {
        gateway.telemetry("/readyz").await.status == 503
    })
    .await;
    assert_eq!(
        gateway.telemetry("/livez").await.status,
        200,
        "the process lives as long as it drains"
    );
    go.send(true).unwrap();

    for wire in [&mut read, &mut write] {
        let answer = wire.answer("GET").await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert!(wire.is_closed().await);
    }
    assert_eq!(gateway.exit().await.code(), Some(0));
    assert_eq!(upstream.applied().len(), 1);
}

#[tokio::test]
async fn a_drain_waits_for_a_write_whose_caller_has_left() {
    let (upstream, go) = holding().await;
    let mut gateway = Gateway::with("drain: { max: 20s }\nsnapshots: { unknown_state: forward }")
        .start(&upstream)
        .await;
    let write = gateway.put(ITEM, body("Closed", "Won")).if_match(TAG);
    let write = write.open().await;
    upstream.arrived("PUT", 1).await;
    write.reset();
    gateway
        .until_metric("connections_open", &[("side", "downstream")], 0.0)
        .await;

    gateway.signal("TERM");
    eventually("the data listener to end", async || {
        TcpStream::connect(gateway.address).await.is_err()
    })
    .await;
    assert!(gateway.is_running());
    go.send(true).unwrap();

    gateway
        .record("the record of the write", |line| {
            (&line["method"], &line["status"]) == (&"PUT".into(), &200.into())
        })
        .await;
    assert_eq!(gateway.exit().await.code(), Some(0));
    assert_eq!(upstream.applied().len(), 1);
}

#[tokio::test]
async fn an_answer_given_while_draining_says_that_the_connection_ends() {
    let (upstream, go) = holding().await;
    let mut gateway = Gateway::start(&upstream).await;
    let mut wire = gateway.get(ITEM).open().await;
    upstream.arrived("GET", 1).await;

    gateway.signal("INT");
    gateway
        .until_metric("state", &[("state", "draining")], 1.0)
        .await;
    go.send(true).unwrap();

    let answer = wire.answer("GET").await;
    assert_eq!(
        answer
            .header("connection")
            .map(str::to_ascii_lowercase)
            .as_deref(),
        Some("close")
    );
    assert_eq!(gateway.exit().await.code(), Some(0));
}

#[tokio::test]
async fn an_idle_connection_that_has_served_is_closed_by_a_drain() {
    let upstream = Upstream::start().await;
    let mut gateway = Gateway::start(&upstream).await;
    let mut wire = gateway.wire().await;
    assert_eq!(gateway.get(ITEM).on(&mut wire).await.status, 200);

    gateway.signal("TERM");

    assert!(wire.is_closed().await);
    assert_eq!(gateway.exit().await.code(), Some(0));
}

#[tokio::test]
async fn while_it_drains_it_accepts_for_as_long_as_it_was_told() {
    let upstream = Upstream::start().await;
    let mut gateway = Gateway::with("drain: { min: 3s, max: 20s }")
        .start(&upstream)
        .await;

    gateway.signal("TERM");
    eventually("readiness to end", async || {
        gateway.telemetry("/readyz").await.status == 503
    })
    .await;
    let mut wire = gateway.get(ITEM).open().await;
    let answer = wire.answer("GET").await;

    assert_eq!(answer.status, 200);
    assert_eq!(
        answer
            .header("connection")
            .map(str::to_ascii_lowercase)
            .as_deref(),
        Some("close")
    );
    assert_eq!(gateway.exit().await.code(), Some(0));
}

#[tokio::test]
async fn a_drain_accepts_nothing_more() {
    let (upstream, go) = holding().await;
    let mut gateway = Gateway::start(&upstream).await;
    let mut wire = gateway.get(ITEM).open().await;
    upstream.arrived("GET", 1).await;

    gateway.signal("TERM");
    eventually("the listener to close", async || {
        TcpStream::connect(gateway.address).await.is_err()
    })
    .await;
    go.send(true).unwrap();

    assert_eq!(wire.answer("GET").await.status, 200);
    assert_eq!(gateway.exit().await.code(), Some(0));
}

#[tokio::test]
async fn what_takes_longer_than_a_drain_may_is_cut() {
    let (upstream, _go) = holding().await;
    let mut gateway = Gateway::with("drain: { max: 500ms }")
        .start(&upstream)
        .await;
    let mut wire = gateway.get(ITEM).open().await;
    upstream.arrived("GET", 1).await;

    gateway.signal("TERM");

    let status = before(Duration::from_secs(25), "the end", async {
        wire.rest().await;
        gateway.exit().await
    })
    .await;
    assert!(matches!(status.code(), Some(0 | 1)), "{status}");
}

#[tokio::test]
async fn a_second_signal_ends_it_at_once() {
    let (upstream, _go) = holding().await;
    let mut gateway = Gateway::start(&upstream).await;
    let _wire = gateway.get(ITEM).open().await;
    upstream.arrived("GET", 1).await;

    gateway.signal("TERM");
    eventually("readiness to end", async || {
        gateway.telemetry("/readyz").await.status == 503
    })
    .await;
    gateway.signal("TERM");

    assert_eq!(gateway.exit().await.code(), Some(1));
}

#[tokio::test]
async fn whoever_sends_a_head_too_slowly_is_cut() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::with("downstream: { header_timeout: 500ms }")
        .start(&upstream)
        .await;

    for beginning in [
        "P",
        "GET",
        "GET / HTTP/1.1\r\nHost: a\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nX: y",
        "PRI * HTTP/2.0\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n",
    ] {
        let mut wire = gateway.wire().await;
        wire.send(beginning).await.unwrap();
        let rest = before(Duration::from_secs(10), beginning, wire.rest()).await;
        let text = String::from_utf8_lossy(&rest).into_owned();
        assert!(
            text.is_empty() || text.starts_with("HTTP/1.1 408"),
            "{beginning:?}: {text}"
        );
    }

    assert!(upstream.seen().is_empty());
}

#[tokio::test]
async fn a_head_that_comes_in_drops_is_cut_as_well() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::with("downstream: { header_timeout: 500ms }")
        .start(&upstream)
        .await;
    let mut wire = gateway.wire().await;
    wire.send("GET / HTTP/1.1\r\nHost: a\r\nX: ").await.unwrap();

    before(
        Duration::from_secs(10),
        "the end of the connection",
        async {
            let mut tick = tokio::time::interval(Duration::from_millis(50));
            loop {
                tick.tick().await;
                if wire.send("y").await.is_err() {
                    return;
                }
            }
        },
    )
    .await;
    assert!(upstream.seen().is_empty());
}

#[tokio::test]
async fn a_connection_without_requests_is_closed_after_a_while() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::with("downstream: { idle_timeout: 1s, header_timeout: 2s }")
        .start(&upstream)
        .await;

    let mut silent = gateway.wire().await;
    let mut wire = gateway.wire().await;
    assert_eq!(gateway.get(ITEM).on(&mut wire).await.status, 200);

    assert!(wire.is_closed().await);
    assert!(silent.is_closed().await);
}

#[tokio::test]
async fn a_connection_that_rested_answers_again_and_is_closed_when_it_rests_too_long() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::with("downstream: { idle_timeout: 3s }")
        .start(&upstream)
        .await;
    let mut wire = gateway.wire().await;
    assert_eq!(gateway.get(ITEM).on(&mut wire).await.status, 200);

    // Longer than a connection keeps its buffers.
    let silence = tokio::time::timeout(Duration::from_millis(1500), wire.some()).await;
    assert!(silence.is_err(), "a connection that rests says nothing");
    let request = gateway
        .put(ITEM, body("Closed", "Won"))
        .if_match(TAG)
        .bytes();
    let (first, rest) = request.split_at(7);
    wire.send(first).await.unwrap();
    let silence = tokio::time::timeout(Duration::from_millis(1500), wire.some()).await;
    assert!(
        silence.is_err(),
        "nothing is said to a request that has begun"
    );
    wire.send(rest).await.unwrap();
    assert_eq!(wire.answer("PUT").await.status, 200);
    // Two at once, and then nothing.
    let get = gateway.get(ITEM).bytes();
    wire.send([&*get, &*get].concat()).await.unwrap();
    assert_eq!(wire.answer("GET").await.status, 200);
    assert_eq!(wire.answer("GET").await.status, 200);
    let began = Instant::now();
    assert!(wire.is_closed().await);

    assert!(began.elapsed() > Duration::from_secs(2));
}

#[tokio::test]
async fn a_body_that_stops_coming_is_408() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::with("downstream: { body_timeout: 500ms }")
        .start(&upstream)
        .await;

    let bytes = gateway
        .put(ITEM, body("Closed", "Won"))
        .if_match(TAG)
        .bytes();
    let mut wire = gateway.wire().await;
    wire.send(&bytes[..bytes.len() - 1]).await.unwrap();

    let answer = before(Duration::from_secs(30), "408", wire.answer("PUT")).await;
    assert_eq!(
        (answer.status, answer.problem().code.as_str()),
        (408, "body_timeout")
    );
    assert!(wire.is_closed().await);
    assert!(upstream.seen().is_empty());
}

/// Sends a request whose last bytes come one by one, for six seconds.
async fn trickled(wire: &mut Wire, bytes: &[u8]) -> std::io::Result<()> {
    let (first, last) = bytes.split_at(bytes.len() - 120);
    wire.send(first).await?;
    let mut tick = tokio::time::interval(Duration::from_millis(50));
    for byte in last {
        tick.tick().await;
        wire.send([*byte]).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_judged_body_has_a_least_rate_and_a_streamed_one_has_none() {
    let upstream = Upstream::start().await;
    let [default, none] = ["", "downstream: { min_body_rate: 0 }"]
        .map(|settings| Gateway::with(settings).start(&upstream));
    let (default, none) = (default.await, none.await);
    let put = |gateway: &Gateway| {
        let call = gateway.put(ITEM, body("Closed", "Won"));
        call.if_match(TAG).bytes()
    };
    let post = default.call("POST", "/anything").body([b'x'; 200]).bytes();
    let (mut judged, mut streamed) = (default.wire().await, default.wire().await);
    let mut free = none.wire().await;

    let (judged_bytes, free_bytes) = (put(&default), put(&none));
    let (sent, _, _) = tokio::join!(
        trickled(&mut judged, &judged_bytes),
        async {
            trickled(&mut streamed, &post).await.unwrap();
            assert_eq!(streamed.answer("POST").await.status, 200);
        },
        async {
            trickled(&mut free, &free_bytes).await.unwrap();
            assert_eq!(free.answer("PUT").await.status, 200);
        },
    );

    // The gateway may have closed the connection before the last byte.
    drop(sent);
    let answer = judged.answer("PUT").await;
    assert_eq!(
        (answer.status, answer.problem().code.as_str()),
        (408, "body_timeout")
    );
    assert!(answer.text().contains("too few for 240 a second"));
    assert_eq!(upstream.count("PUT"), 1);
}

#[tokio::test]
async fn a_streamed_body_that_stops_coming_is_given_up() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::with("downstream: { body_timeout: 500ms }")
        .start(&upstream)
        .await;

    let mut wire = gateway.wire().await;
    wire.send("POST /anything HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhello")
        .await
        .unwrap();

    let text = String::from_utf8_lossy(&wire.rest().await).into_owned();
    assert!(!text.contains(" 200 "), "{text}");
    assert!(upstream.seen().iter().all(|seen| !seen.is_complete));
    gateway
        .until_metric("http_requests_in_flight", &[], 0.0)
        .await;
}

#[tokio::test]
async fn one_connection_too_many_is_told_so_and_room_is_used_again() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::with("downstream: { max_connections: 5 }")
        .start(&upstream)
        .await;
    let mut open = Vec::new();
    for _ in 0..5 {
        let mut wire = gateway.wire().await;
        assert_eq!(gateway.get(ITEM).on(&mut wire).await.status, 200);
        open.push(wire);
    }

    let mut sixth = gateway.wire().await;
    sixth.send(gateway.get(ITEM).bytes()).await.ok();
    let text = String::from_utf8_lossy(&sixth.rest().await).into_owned();
    assert!(
        text.is_empty() || text.starts_with("HTTP/1.1 503"),
        "{text}"
    );
    assert_eq!(
        gateway.get(ITEM).on(&mut open[0]).await.status,
        200,
        "those that are in are not disturbed"
    );

    open.clear();
    eventually("room", async || {
        let mut wire = Wire::open(gateway.address).await;
        wire.send(gateway.get(ITEM).bytes()).await.is_ok()
            && wire
                .try_answer("GET")
                .await
                .is_ok_and(|answer| answer.status == 200)
    })
    .await;
}

#[tokio::test]
async fn it_survives_having_no_file_descriptors_left() {
    let upstream = Upstream::start().await;
    let mut gateway = Gateway::with("")
        .after("ulimit -n 40")
        .start(&upstream)
        .await;

    let mut open = Vec::new();
    for _ in 0..80 {
        let wire = Wire::open(gateway.address).await;
        open.push(wire);
    }
    for wire in open.iter_mut().take(5) {
        wire.send(gateway.get("/anything").bytes()).await.ok();
    }
    assert!(gateway.is_running());
    open.clear();

    eventually("the gateway to recover", async || {
        let mut wire = Wire::open(gateway.address).await;
        wire.send(gateway.get(ITEM).bytes()).await.is_ok()
            && wire
                .try_answer("GET")
                .await
                .is_ok_and(|answer| answer.status == 200)
    })
    .await;
    assert!(gateway.is_running());
}

#[tokio::test]
async fn traffic_goes_on_when_nobody_reads_the_log() {
    let upstream = Upstream::start().await;
    let mut gateway = Gateway::start(&upstream).await;
    gateway.close_log();

    for _ in 0..30 {
        assert_eq!(gateway.get(ITEM).send().await.status, 200);
    }

    assert!(gateway.is_running());
    gateway.signal("TERM");
    assert_eq!(gateway.exit().await.code(), Some(0));
}
