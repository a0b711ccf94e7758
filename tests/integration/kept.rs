//! Kept connections to an HTTP/1.1 upstream: what nobody asked for reaches nobody.

use std::{process::Child, sync::Arc, time::Duration};

use tokio::{task::JoinSet, time::interval};

use crate::support::{Gateway, ITEM, TAG, Upstream, Wire, eventually, tools::tool};

/// Processes that keep every core busy.
struct Busy(Vec<Child>);

impl Busy {
    fn cores() -> Self {
        let cores = std::thread::available_parallelism().unwrap().get();
        let spin = || {
            let mut shell = tool("sh");
            shell.args(["-c", "while :; do :; done"]).spawn().unwrap()
        };
        Self((0..2 * cores).map(|_| spin()).collect())
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        for spinning in &mut self.0 {
            spinning.kill().ok();
            spinning.wait().ok();
        }
    }
}

const WRONG: &str = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nwrong";

/// How a second answer follows the first.
#[derive(Debug, Clone, Copy)]
enum Follows {
    InOnePiece,
    Behind,
}

/// Answers a request for `/v1/<number>` with the number, and then with something that nobody has asked for.
async fn answer_twice(mut wire: Wire, follows: Follows) {
    while let Ok((head, _)) = wire.request().await {
        let number = head.split_whitespace().nth(1).unwrap();
        let number = number.trim_start_matches("/v1/");
        let length = number.len();
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{number}");
        let sent = match follows {
            Follows::InOnePiece => wire.send(format!("{answer}{WRONG}")).await,
            Follows::Behind => {
                wire.send(answer).await.ok();
                wire.send(WRONG).await
            }
        };
        if sent.is_err() {
            return;
        }
    }
}

/// The requests of one caller, one after the other.
async fn asked(gateway: &Gateway, caller: usize) {
    let mut wire = gateway.wire().await;
    for round in 0..25 {
        let number = caller * 100 + round;
        let answer = gateway.get(&format!("/v1/{number}")).on(&mut wire).await;
        assert_eq!((answer.status, answer.text()), (200, number.to_string()));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_nobody_asked_for_reaches_nobody() {
    for follows in [Follows::InOnePiece, Follows::Behind] {
        let upstream = Upstream::raw(move |wire, _| answer_twice(wire, follows)).await;
        let gateway = Gateway::with("rate_limit: { reads: { per_minute: 60000, burst: 6000 } }")
            .start(&upstream)
            .await;
        let _busy = Busy::cores();

        let gateway = Arc::new(gateway);
        let mut callers = JoinSet::new();
        for caller in 0..16 {
            let gateway = Arc::clone(&gateway);
            callers.spawn(async move { asked(&gateway, caller).await });
        }
        callers.join_all().await;

        let unsolicited = [("side", "upstream"), ("outcome", "unsolicited")];
        let count = gateway.metric("connections_total", &unsolicited).await;
        assert!(count > 0.0, "{follows:?}");
    }
}

/// What follows an answer that has no body ends the connection too.
#[tokio::test]
async fn a_body_where_none_may_be_reaches_nobody() {
    for (method, answer) in [
        ("GET", "HTTP/1.1 204 No Content\r\n\r\nbody"),
        (
            "GET",
            "HTTP/1.1 304 Not Modified\r\nContent-Length: 4\r\n\r\nbody",
        ),
        ("HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nbody"),
        (
            "HEAD",
            "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        ),
    ] {
        let upstream = Upstream::raw(move |mut wire, number| async move {
            while wire.request().await.is_ok() {
                let sent = match number {
                    0 => wire.send(answer).await,
                    _ => {
                        wire.send("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nright")
                            .await
                    }
                };
                if sent.is_err() {
                    return;
                }
            }
        })
        .await;
        let gateway = Gateway::start(&upstream).await;

        let first = gateway.call(method, "/v1/one").send().await;
        assert!(first.status < 400, "{method} {answer:?}");
        let second = gateway.get("/v1/two").send().await;

        assert_eq!(
            (second.status, second.text().as_str()),
            (200, "right"),
            "{answer:?}"
        );
        assert_eq!(upstream.connections(), 2, "{answer:?}");
        let unsolicited = [("side", "upstream"), ("outcome", "unsolicited")];
        gateway
            .until_metric("connections_total", &unsolicited, 1.0)
            .await;
    }
}

/// The head of an answer, of so many bytes.
fn head(bytes: usize) -> Vec<u8> {
    let (begin, end) = (
        "HTTP/1.1 200 OK\r\nX-Long: ",
        "\r\nContent-Length: 0\r\n\r\n",
    );
    let filling = "x".repeat(bytes - begin.len() - end.len());
    format!("{begin}{filling}{end}").into_bytes()
}

#[tokio::test]
async fn the_bound_of_an_answers_head_does_not_depend_on_how_it_is_cut() {
    const BOUND: usize = 64 * 1024;
    for (bytes, status) in [(BOUND, 200), (BOUND + 1, 502), (BOUND + 30_000, 502)] {
        for cut in [1_000, 16_000, 65_536, 200_000] {
            let upstream = Upstream::raw(move |mut wire, _| async move {
                while wire.request().await.is_ok() {
                    for piece in head(bytes).chunks(cut) {
                        if wire.send(piece).await.is_err() {
                            return;
                        }
                        tokio::task::yield_now().await;
                    }
                }
            })
            .await;
            let gateway = Gateway::start(&upstream).await;
            let answer = gateway.get("/v1/one").send().await;
            assert_eq!(answer.status, status, "{bytes} bytes cut by {cut}");
        }
    }
}

#[tokio::test]
async fn a_write_does_not_wait_behind_one_that_is_answered_and_still_being_sent() {
    // More than the sockets hold.
    const LARGE: usize = 8 * 1024 * 1024;
    let upstream = Upstream::raw(|mut wire, _| async move {
        wire.head().await.unwrap();
        wire.send("HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n")
            .await
            .unwrap();
        std::future::pending::<()>().await;
    })
    .await;
    let gateway = Gateway::with(
        "upstream: { max_connections: 1, connect_timeout: 500ms, response_timeout: 20s }
downstream: { max_judged_body: 10MiB }
snapshots: { unknown_state: forward }
",
    )
    .start(&upstream)
    .await;
    let put = |name: &str| {
        let body = format!(r#"{{"status":"Active","substatus":"Accepted","name":"{name}"}}"#);
        gateway.put(ITEM, body).if_match(TAG)
    };
    assert_eq!(put(&"x".repeat(LARGE)).send().await.status, 413);

    let answer = put("small").send().await;

    assert_eq!(answer.status, 503, "{}", answer.text());
    assert_eq!(answer.problem().code, "upstream_busy");
}

#[tokio::test]
async fn a_caller_that_sends_on_behind_its_answer_keeps_no_connection() {
    let upstream = Upstream::raw(|mut wire, _| async move {
        wire.head().await.unwrap();
        let answer = "HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n";
        wire.send(answer).await.unwrap();
        // It reads the rest nevertheless.
        wire.rest().await;
    })
    .await;
    let gateway = Gateway::with(
        "upstream: { max_connections: 1, connect_timeout: 200ms, idle_body_timeout: 1s }\n",
    )
    .start(&upstream)
    .await;
    let mut slow = gateway.wire().await;
    let call = gateway
        .call("POST", "/v1.0/other")
        .header("Transfer-Encoding", "chunked");
    slow.send([&call.bytes()[..], b"1\r\nx\r\n"].concat())
        .await
        .unwrap();
    assert_eq!(slow.answer("POST").await.status, 401);

    let sends_on = async {
        let mut tick = interval(Duration::from_millis(100));
        loop {
            tick.tick().await;
            slow.send("1\r\nx\r\n").await.ok();
        }
    };
    tokio::select! {
        () = sends_on => {}
        () = eventually("a connection for others", async || {
            gateway.get(ITEM).send().await.status == 401
        }) => {}
    }
}

#[tokio::test]
async fn only_reads_are_repeated_when_a_connection_ends_before_the_answer() {
    for (method, code, sendings) in [
        ("GET", "upstream_closed", 2),
        ("HEAD", "", 2),
        ("DELETE", "outcome_unknown", 1),
        ("POST", "outcome_unknown", 1),
    ] {
        let upstream = Upstream::raw(|mut wire, _| async move {
            wire.head().await.ok();
        })
        .await;
        let gateway = Gateway::with("snapshots: { unknown_state: forward }\n")
            .start(&upstream)
            .await;

        let call = gateway.call(method, "/v1.0/other");
        let answer = call.send().await;

        // A write that may have taken effect gets a status that no client repeats.
        let status = if code == "outcome_unknown" { 409 } else { 502 };
        assert_eq!(answer.status, status, "{method}: {}", answer.text());
        if !code.is_empty() {
            assert_eq!(answer.problem().code, code, "{method}");
        }
        assert_eq!(upstream.connections(), sendings, "{method}");
    }
}
