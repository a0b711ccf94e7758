//! An upstream that speaks HTTP/2: what it says it has not processed is sent again, streams do not queue, and a silent
//! connection holds up nobody who comes later.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{sync::Semaphore, task::JoinSet};

use crate::support::{
    Answer, Gateway, ITEM, LIST, TAG, Upstream, at_once, body, eventually,
    origin::{Event, NO_ERROR, Origin, REFUSED_STREAM, in_front, origin},
    reply, tls, within,
};

async fn put(gateway: &Gateway) -> Answer {
    gateway
        .put(ITEM, body("Closed", "Won"))
        .if_match(TAG)
        .send()
        .await
}

/// The most that a stream's number can be.
const ALL: u32 = (1 << 31) - 1;

/// What the first connection does with the second request on it, which it does not process.
#[derive(Debug, Clone, Copy)]
enum Ending {
    GoAwayAndClose,
    GoAwayAndStay,
    TwoSteps,
    /// Not a graceful end.
    Enhance,
    Refuse,
}

const ENDINGS: [Ending; 5] = [
    Ending::GoAwayAndClose,
    Ending::GoAwayAndStay,
    Ending::TwoSteps,
    Ending::Enhance,
    Ending::Refuse,
];

impl Ending {
    async fn play(self, origin: &mut Origin) -> io::Result<()> {
        let first = origin.request().await?;
        origin.answer(first).await?;
        let second = origin.request().await?;
        match self {
            Self::GoAwayAndClose => origin.go_away(first, NO_ERROR).await,
            Self::GoAwayAndStay => {
                origin.go_away(first, NO_ERROR).await?;
                origin.ignore().await
            }
            Self::TwoSteps => {
                origin.go_away(ALL, NO_ERROR).await?;
                origin.go_away(first, NO_ERROR).await?;
                origin.ignore().await
            }
            // ENHANCE_YOUR_CALM
            Self::Enhance => origin.go_away(first, 11).await,
            Self::Refuse => {
                origin.reset(second, REFUSED_STREAM).await?;
                origin.answer_all().await
            }
        }
    }

    fn reason(self) -> &'static str {
        match self {
            Self::Refuse => "refused",
            _ => "goaway",
        }
    }
}

#[tokio::test]
async fn a_write_that_was_not_processed_goes_out_again_on_another_connection() {
    for ending in ENDINGS {
        let (authority, upstream) = origin(None, move |mut origin, number| async move {
            match number {
                0 => ending.play(&mut origin).await,
                _ => origin.answer_all().await,
            }
        })
        .await;
        let gateway = in_front(&authority, "").start(&upstream).await;
        assert_eq!(gateway.get(ITEM).send().await.status, 200, "{ending:?}");

        let answer = put(&gateway).await;

        assert_eq!(answer.status, 200, "{ending:?}: {}", answer.text());
        assert_eq!(upstream.connections(), 2, "{ending:?}");
        let labels = [("reason", ending.reason())];
        let resent = gateway.metric("upstream_requests_resent_total", &labels);
        assert_eq!(resent.await, 1.0, "{ending:?}");
    }
}

#[tokio::test]
async fn a_body_that_is_streamed_is_not_sent_twice_but_its_caller_is_told_that_nothing_was_written()
{
    for ending in ENDINGS {
        let (authority, upstream) = origin(None, move |mut origin, number| async move {
            match number {
                0 => ending.play(&mut origin).await,
                _ => origin.answer_all().await,
            }
        })
        .await;
        let gateway = in_front(&authority, "").start(&upstream).await;
        assert_eq!(gateway.get(ITEM).send().await.status, 200, "{ending:?}");

        let answer = gateway.call("POST", "/v1/other").body("x").send().await;

        let seen = (answer.status, answer.problem().code.clone());
        assert_eq!(
            seen,
            (503, "upstream_not_processed".to_owned()),
            "{ending:?}"
        );
        assert_eq!(answer.header("retry-after"), Some("1"));
        assert!(answer.text().contains("Nothing was written."));
    }
}

#[tokio::test]
async fn an_upstream_that_processes_nothing_is_not_asked_for_ever() {
    for refuses in [false, true] {
        let requests = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&requests);
        let (authority, upstream) = origin(None, move |mut origin, _| {
            let counter = Arc::clone(&counter);
            async move {
                loop {
                    let stream = origin.request().await?;
                    counter.fetch_add(1, Ordering::SeqCst);
                    match refuses {
                        true => origin.reset(stream, REFUSED_STREAM).await?,
                        false => origin.go_away(0, NO_ERROR).await?,
                    }
                }
            }
        })
        .await;
        let gateway = in_front(&authority, "").start(&upstream).await;

        let answer = put(&gateway).await;

        assert_eq!(answer.status, 503, "{}", answer.text());
        assert_eq!(answer.problem().code, "upstream_not_processed");
        assert_eq!(answer.header("retry-after"), Some("1"));
        assert!(answer.text().contains("Nothing was written."));
        assert_eq!(requests.load(Ordering::SeqCst), 4, "refuses: {refuses}");
        assert_eq!(upstream.connections(), 4, "refuses: {refuses}");

        // Those that refused one request are there for the next.
        assert_eq!(put(&gateway).await.status, 503);
        let connections = if refuses { 4 } else { 8 };
        assert_eq!(upstream.connections(), connections, "refuses: {refuses}");
    }
}

#[tokio::test]
async fn an_upstream_that_processes_one_request_a_connection_processes_all() {
    let (authority, upstream) = origin(None, |mut origin, _| async move {
        let first = origin.request().await?;
        origin.go_away(first, NO_ERROR).await?;
        origin.answer(first).await?;
        loop {
            // Their order is not that in which they are complete.
            let stream = origin.request().await?;
            if stream < first {
                origin.answer(stream).await?;
            }
        }
    })
    .await;
    let gateway = in_front(&authority, "").start(&upstream).await;
    let mut calls = JoinSet::new();
    for _ in 0..16 {
        let call = gateway.put(ITEM, body("Closed", "Won")).if_match(TAG);
        calls.spawn(async move { call.send().await });
    }

    while let Some(answer) = calls.join_next().await {
        let answer = answer.unwrap();
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
}

#[tokio::test]
async fn a_write_that_may_have_been_processed_is_not_sent_again() {
    // Its stream is not above the last one; then the connection ends without an answer.
    for code in [NO_ERROR, 11] {
        let (authority, upstream) = origin(None, move |mut origin, _| async move {
            let stream = origin.request().await?;
            origin.go_away(stream, code).await
        })
        .await;
        let gateway = in_front(&authority, "").start(&upstream).await;

        let answer = put(&gateway).await;

        assert_eq!(answer.status, 502, "{}", answer.text());
        assert_eq!(answer.problem().code, "outcome_unknown");
        assert_eq!(upstream.connections(), 1);
    }
    // RST_STREAM with another code says nothing about it.
    let (authority, upstream) = origin(None, |mut origin, _| async move {
        let stream = origin.request().await?;
        origin.reset(stream, 8).await?;
        origin.answer_all().await
    })
    .await;
    let gateway = in_front(&authority, "").start(&upstream).await;
    assert_eq!(put(&gateway).await.problem().code, "outcome_unknown");
    assert_eq!(upstream.connections(), 1);
}

#[tokio::test]
async fn requests_that_were_processed_are_answered_after_goaway() {
    let (authority, upstream) = origin(None, |mut origin, number| async move {
        if number > 0 {
            return origin.answer_all().await;
        }
        // Their order is not that in which they are complete.
        let streams = [origin.request().await?, origin.request().await?];
        let first = streams.into_iter().min().unwrap();
        origin.go_away(first, NO_ERROR).await?;
        origin.answer(first).await?;
        origin.ignore().await
    })
    .await;
    let gateway = in_front(&authority, "").start(&upstream).await;

    let (one, other) = tokio::join!(put(&gateway), put(&gateway));

    assert_eq!((one.status, other.status), (200, 200));
    assert_eq!(upstream.connections(), 2);
}

/// An origin that holds every answer back until it is told. It counts the requests.
async fn holding(max_streams: Option<u32>) -> (String, Upstream, Arc<AtomicUsize>, Arc<Semaphore>) {
    let (requests, gate) = (Arc::new(AtomicUsize::new(0)), Arc::new(Semaphore::new(0)));
    let (counter, waiting) = (Arc::clone(&requests), Arc::clone(&gate));
    let (authority, upstream) = origin(max_streams, move |mut origin, _| {
        let (counter, waiting) = (Arc::clone(&counter), Arc::clone(&waiting));
        async move {
            let mut held = Vec::new();
            loop {
                tokio::select! {
                    biased;
                    permit = waiting.acquire(), if !held.is_empty() => {
                        permit.unwrap().forget();
                        origin.answer(held.remove(0)).await?;
                    }
                    stream = origin.request() => {
                        held.push(stream?);
                        counter.fetch_add(1, Ordering::SeqCst);
                    }
                }
            }
        }
    })
    .await;
    (authority, upstream, requests, gate)
}

#[tokio::test]
async fn streams_do_not_queue() {
    let (authority, upstream, requests, gate) = holding(Some(20)).await;
    let gateway = in_front(&authority, "pool_idle_timeout: 1s")
        .start(&upstream)
        .await;
    let calls = at_once((0..120).map(|_| gateway.get(ITEM)));

    // None has been answered yet.
    eventually("all requests at the origin", async || {
        requests.load(Ordering::SeqCst) == 120
    })
    .await;
    let http2 = [("protocol", "http2")];
    assert_eq!(gateway.metric("upstream_streams_open", &http2).await, 120.0);
    let connections = gateway.metric("upstream_connections_open", &http2).await;
    assert!((6.0..=8.0).contains(&connections), "{connections}");
    assert_eq!(upstream.connections() as f64, connections);

    gate.add_permits(120);
    assert_eq!(calls.join_all().await, vec![200; 120]);
    gateway
        .until_metric("upstream_streams_open", &http2, 0.0)
        .await;
    // Those that are idle go.
    gateway
        .until_metric("upstream_connections_open", &http2, 0.0)
        .await;
    let idle = [("reason", "idle")];
    let given_up = gateway.metric("upstream_connections_given_up_total", &idle);
    assert_eq!(given_up.await, connections);
}

#[tokio::test]
async fn a_connection_that_ends_is_let_go_before_the_next_request() {
    let (authority, upstream) = origin(Some(20), |mut origin, _| async move {
        let first = origin.request().await?;
        origin.answer(first).await?;
        origin.close().await
    })
    .await;
    let gateway = in_front(&authority, "pool_idle_timeout: 1h")
        .start(&upstream)
        .await;

    assert_eq!(gateway.get(ITEM).send().await.status, 200);

    let closed = [("reason", "closed")];
    gateway
        .until_metric("upstream_connections_given_up_total", &closed, 1.0)
        .await;
}

#[tokio::test]
async fn a_silent_connection_that_nobody_uses_keeps_no_place() {
    let (authority, upstream) = origin(Some(20), |mut origin, number| async move {
        match number {
            0 => {
                origin.is_silent = true;
                loop {
                    origin.event().await?;
                }
            }
            _ => origin.answer_all().await,
        }
    })
    .await;
    let settings = "max_connections: 1, connect_timeout: 200ms, response_timeout: 9s";
    let gateway = in_front(&authority, settings).start(&upstream).await;
    let mut first = at_once([gateway.get(ITEM)]);
    gateway
        .until_metric("upstream_streams_open", &[("protocol", "http2")], 1.0)
        .await;
    let silent = [("reason", "silent")];
    eventually("silence", async || {
        gateway.get(LIST).send().await;
        let given_up = gateway.metric("upstream_connections_given_up_total", &silent);
        given_up.await == 1.0
    })
    .await;

    // The others have timed out before it, or found no place.
    while first.join_next().await.is_some() {}
    eventually("no streams", async || {
        gateway.metric("upstream_streams_open", &[]).await == 0.0
    })
    .await;

    assert_eq!(gateway.get(ITEM).send().await.status, 200);
}

#[tokio::test]
async fn callers_that_leave_do_not_wear_out_a_connection() {
    let resets = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&resets);
    let (authority, upstream) = origin(Some(100), move |mut origin, number| {
        let counter = Arc::clone(&counter);
        async move {
            if number > 0 {
                return origin.answer_all().await;
            }
            loop {
                if let Event::Reset(_) = origin.event().await? {
                    counter.fetch_add(1, Ordering::SeqCst);
                }
            }
        }
    })
    .await;
    let gateway = in_front(&authority, "").start(&upstream).await;
    let streams = async |number| {
        let http2 = [("protocol", "http2")];
        gateway
            .until_metric("upstream_streams_open", &http2, number)
            .await;
    };
    for _ in 0..10 {
        let mut leaving = Vec::new();
        for _ in 0..10 {
            leaving.push(gateway.get(ITEM).open().await);
        }
        streams(10.0).await;
        for wire in leaving {
            wire.reset();
        }
        streams(0.0).await;
    }
    eventually("all resets", async || resets.load(Ordering::SeqCst) == 100).await;

    assert_eq!(gateway.get(ITEM).send().await.status, 200);

    assert_eq!(upstream.connections(), 2);
    let resets = [("reason", "resets")];
    let given_up = gateway.metric("upstream_connections_given_up_total", &resets);
    assert_eq!(given_up.await, 1.0);
}

#[tokio::test]
async fn a_read_is_sent_four_times_at_most() {
    let requests = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&requests);
    let (authority, upstream) = origin(Some(100), move |mut origin, _| {
        let counter = Arc::clone(&counter);
        async move {
            loop {
                let stream = origin.request().await?;
                match counter.fetch_add(1, Ordering::SeqCst) % 4 {
                    0 => {
                        origin.abort();
                        return Ok(());
                    }
                    _ => origin.reset(stream, REFUSED_STREAM).await?,
                }
            }
        }
    })
    .await;
    let gateway = in_front(&authority, "").start(&upstream).await;

    let answer = gateway.get(ITEM).send().await;

    assert_eq!(answer.problem().code, "upstream_not_processed");
    // A sending on the connection that has just ended reaches nobody.
    let sendings = requests.load(Ordering::SeqCst);
    assert!((3..=4).contains(&sendings), "{sendings}");
}

#[tokio::test]
async fn an_upstream_that_allows_no_streams_is_told_at_once() {
    let (authority, upstream) = origin(
        Some(0),
        |mut origin, _| async move { origin.ignore().await },
    )
    .await;
    let gateway = in_front(&authority, "").start(&upstream).await;

    let answer = put(&gateway).await;

    assert_eq!(answer.problem().code, "upstream_connect_failed");
    assert!(
        answer.text().contains("allows no streams"),
        "{}",
        answer.text()
    );
    assert_eq!(upstream.connections(), 1);
}

/// A caller that gets nothing may repeat the write by itself.
#[tokio::test]
async fn an_answer_that_breaks_off_at_once_still_has_its_head() {
    for code in [2, REFUSED_STREAM] {
        let (authority, upstream) = origin(None, move |mut origin, _| async move {
            let stream = origin.request().await?;
            origin.break_off(stream, code).await?;
            origin.answer_all().await
        })
        .await;
        let gateway = in_front(&authority, "").start(&upstream).await;
        let call = gateway.put(ITEM, body("Closed", "Won")).if_match(TAG);
        let mut wire = call.open().await;

        let head = within("the head", wire.head()).await.unwrap();
        assert!(head.line.contains(" 200 "), "{head:?}");
        wire.rest().await;

        let cut = gateway
            .record("what cut it", |record| {
                record["cause"] == "the answer of the service broke off"
            })
            .await;
        assert_eq!(cut["status"], 200, "{cut}");
    }
}

#[tokio::test]
async fn a_body_that_breaks_off_is_its_callers_fault() {
    let (authority, upstream) = origin(
        None,
        |mut origin, _| async move { origin.answer_all().await },
    )
    .await;
    let gateway = in_front(&authority, "")
        .settings("downstream: { body_timeout: 500ms }")
        .start(&upstream)
        .await;
    for (rest, seen) in [
        ("zz\r\n", (400, "incomplete_body")),
        ("", (408, "body_timeout")),
    ] {
        let mut wire = gateway.wire().await;
        wire.send(format!(
            "POST /v1/other HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n{rest}"
        ))
        .await
        .unwrap();
        let answer = wire.answer("POST").await;
        assert_eq!((answer.status, answer.problem().code.as_str()), seen);
    }
}

#[tokio::test]
async fn a_limit_that_shrinks_is_kept() {
    let (authority, upstream) = origin(Some(100), |mut origin, _| async move {
        let first = origin.request().await?;
        origin.allow(1).await?;
        origin.answer(first).await?;
        origin.ignore().await
    })
    .await;
    let gateway = in_front(&authority, "").start(&upstream).await;
    assert_eq!(gateway.get(ITEM).send().await.status, 200);

    let first = gateway.get(ITEM).open().await;
    gateway
        .until_metric("upstream_streams_open", &[("protocol", "http2")], 1.0)
        .await;
    assert_eq!(upstream.connections(), 1);
    let second = gateway.get(ITEM).open().await;

    eventually("a second connection", async || upstream.connections() == 2).await;
    drop((first, second));
}

#[tokio::test]
async fn more_requests_than_connections_and_streams_are_refused_for_now() {
    let (authority, upstream, requests, gate) = holding(Some(2)).await;
    let gateway = in_front(&authority, "max_connections: 2, connect_timeout: 500ms")
        .start(&upstream)
        .await;
    let calls = at_once((0..4).map(|_| gateway.get(ITEM)));
    eventually("all streams to be open", async || {
        requests.load(Ordering::SeqCst) == 4
    })
    .await;

    let answer = put(&gateway).await;

    assert_eq!(answer.status, 503, "{}", answer.text());
    assert_eq!(answer.problem().code, "upstream_busy");
    assert_eq!(answer.header("retry-after"), Some("1"));
    assert_eq!(requests.load(Ordering::SeqCst), 4);
    assert_eq!(upstream.connections(), 2);
    let busy = gateway.metric("upstream_errors_total", &[("kind", "busy")]);
    assert_eq!(busy.await, 1.0);

    // One that waits gets the stream that becomes free.
    let call = gateway.put(ITEM, body("Closed", "Won")).if_match(TAG);
    let waiting = tokio::spawn(async move { call.send().await.status });
    gateway
        .until_metric("http_requests_in_flight", &[], 5.0)
        .await;
    gate.add_permits(5);
    assert_eq!(calls.join_all().await, vec![200; 4]);
    assert_eq!(waiting.await.unwrap(), 200);
}

#[tokio::test]
async fn who_waits_for_a_stream_hears_of_a_larger_limit() {
    let gate = Arc::new(Semaphore::new(0));
    let opened = Arc::clone(&gate);
    let (authority, upstream) = origin(Some(1), move |mut origin, _| {
        let gate = Arc::clone(&gate);
        async move {
            let first = origin.request().await?;
            gate.acquire().await.unwrap().forget();
            origin.allow(2).await?;
            let second = origin.request().await?;
            origin.answer(first).await?;
            origin.answer(second).await
        }
    })
    .await;
    let gateway = in_front(&authority, "max_connections: 1, connect_timeout: 30s")
        .start(&upstream)
        .await;
    let calls = at_once((0..2).map(|_| gateway.get(ITEM)));
    gateway
        .until_metric("http_requests_in_flight", &[], 2.0)
        .await;

    opened.add_permits(1);

    assert_eq!(calls.join_all().await, vec![200; 2]);
}

#[tokio::test]
async fn a_connection_that_has_refused_a_request_is_better_than_none() {
    let (authority, upstream) = origin(Some(20), |mut origin, _| async move {
        let first = origin.request().await?;
        origin.reset(first, REFUSED_STREAM).await?;
        origin.answer_all().await
    })
    .await;
    let gateway = in_front(&authority, "max_connections: 1, connect_timeout: 500ms")
        .start(&upstream)
        .await;

    let answer = put(&gateway).await;

    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(upstream.connections(), 1);
}

#[tokio::test]
async fn connections_of_http1_are_bounded_too() {
    let gate = Arc::new(Semaphore::new(0));
    let waiting = Arc::clone(&gate);
    let upstream = Upstream::with(move |_| {
        let waiting = Arc::clone(&waiting);
        async move {
            waiting.acquire().await.unwrap().forget();
            Some(reply(200, "{}"))
        }
    })
    .await;
    let gateway = Gateway::with(
        "upstream: { max_connections: 3, connect_timeout: 500ms }
snapshots: { unknown_state: forward }
",
    )
    .start(&upstream)
    .await;
    let calls = at_once((0..3).map(|_| gateway.get(LIST)));
    upstream.arrived("GET", 3).await;
    let http1 = [("protocol", "http1")];
    assert_eq!(gateway.metric("upstream_streams_open", &http1).await, 3.0);

    let answer = put(&gateway).await;

    assert_eq!(answer.problem().code, "upstream_busy", "{}", answer.text());
    assert_eq!((answer.status, upstream.count("PUT")), (503, 0));
    gate.add_permits(100);
    assert_eq!(calls.join_all().await, vec![200; 3]);
    assert_eq!(put(&gateway).await.status, 200);
    assert_eq!(upstream.connections(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_connection_is_enough_for_all_who_wait_for_it() {
    let upstream = Upstream::start().await;
    let (authority, shared) = origin(
        Some(1),
        |mut origin, _| async move { origin.answer_all().await },
    )
    .await;
    let one = "max_connections: 1, connect_timeout: 10s";
    let many = "rate_limit: { concurrency: 1000, reads: { per_minute: 60000, burst: 6000 } }";
    for gateway in [
        in_front(&authority, one).start(&shared).await,
        Gateway::with(&format!("upstream: {{ {one} }}\n{many}"))
            .start(&upstream)
            .await,
    ] {
        let mut callers = JoinSet::new();
        for _ in 0..20 {
            let (call, mut wire) = (gateway.get(ITEM), gateway.wire().await);
            callers.spawn(async move {
                for _ in 0..50 {
                    let answer = call.on(&mut wire).await;
                    assert_eq!(answer.status, 200, "{}", answer.text());
                }
            });
        }
        callers.join_all().await;
    }
    assert_eq!((upstream.connections(), shared.connections()), (1, 1));
}

#[tokio::test]
async fn a_silent_connection_costs_only_the_requests_on_it() {
    let (authority, upstream) = origin(None, |mut origin, number| async move {
        let first = origin.request().await?;
        origin.answer(first).await?;
        match number {
            0 => origin.ignore().await,
            _ => origin.answer_all().await,
        }
    })
    .await;
    let gateway = in_front(&authority, "response_timeout: 35s")
        .start(&upstream)
        .await;
    assert_eq!(gateway.get(ITEM).send().await.status, 200);

    let mut waiting = JoinSet::new();
    let asking = async {
        let mut tick = tokio::time::interval(Duration::from_millis(200));
        loop {
            tick.tick().await;
            let call = gateway.get(ITEM);
            waiting.spawn(async move { call.send().await.status });
            if let Some(ended) = waiting.try_join_next() {
                return ended.unwrap();
            }
        }
    };
    // Sooner than any time-out.
    let answered = crate::support::before(Duration::from_secs(30), "an answer", asking).await;

    assert_eq!(answered, 200);
    assert_eq!(upstream.connections(), 2);
    assert_eq!(put(&gateway).await.status, 200);
    let silent = [("reason", "silent")];
    let given_up = gateway.metric("upstream_connections_given_up_total", &silent);
    assert_eq!(given_up.await, 1.0);
}

#[tokio::test]
async fn a_connection_stays_silent_when_its_requests_have_timed_out() {
    let (authority, upstream) = origin(None, |mut origin, number| async move {
        let first = origin.request().await?;
        origin.answer(first).await?;
        match number {
            0 => origin.ignore().await,
            _ => origin.answer_all().await,
        }
    })
    .await;
    let gateway = in_front(&authority, "response_timeout: 8s")
        .start(&upstream)
        .await;
    assert_eq!(put(&gateway).await.status, 200);
    assert_eq!(put(&gateway).await.problem().code, "outcome_unknown");

    for _ in 0..3 {
        assert_eq!(put(&gateway).await.status, 200);
    }

    assert_eq!(upstream.connections(), 2);
    let silent = [("reason", "silent")];
    let given_up = gateway.metric("upstream_connections_given_up_total", &silent);
    assert_eq!(given_up.await, 1.0);
}

#[tokio::test]
async fn an_idle_connection_that_allows_no_more_streams_gives_its_place_up() {
    let (authority, upstream) = origin(Some(10), |mut origin, number| async move {
        let first = origin.request().await?;
        if number == 0 {
            origin.allow(0).await?;
        }
        origin.answer(first).await?;
        origin.answer_all().await
    })
    .await;
    let gateway = in_front(&authority, "max_connections: 1")
        .start(&upstream)
        .await;
    assert_eq!(put(&gateway).await.status, 200);

    assert_eq!(put(&gateway).await.status, 200);

    assert_eq!(upstream.connections(), 2);
}

#[tokio::test]
async fn an_upstream_that_ends_each_new_connection_is_not_asked_for_ever() {
    let (authority, upstream) = origin(None, |mut origin, _| async move {
        origin.go_away(0, NO_ERROR).await?;
        origin.ignore().await
    })
    .await;
    let gateway = in_front(&authority, "").start(&upstream).await;

    let answer = put(&gateway).await;

    assert!(matches!(answer.status, 502 | 503), "{}", answer.text());
    assert!(answer.text().contains("Nothing was"), "{}", answer.text());
    let connections = upstream.connections();
    assert!((1..=5).contains(&connections), "{connections}");
}

#[tokio::test]
async fn a_connection_that_answers_pings_is_not_silent() {
    let pings = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&pings);
    let (authority, upstream) = origin(None, move |mut origin, _| {
        origin.pings = Arc::clone(&counter);
        async move {
            // The first answer comes with the second request.
            let first = origin.request().await?;
            let second = origin.request().await?;
            origin.answer(first).await?;
            origin.answer(second).await
        }
    })
    .await;
    let gateway = in_front(&authority, "").start(&upstream).await;
    let call = gateway.get(ITEM);
    let slow = tokio::spawn(async move { call.send().await.status });
    // By then a connection that answers none is silent.
    eventually("two PINGs", async || pings.load(Ordering::SeqCst) == 2).await;

    assert_eq!(gateway.get(ITEM).send().await.status, 200);

    assert_eq!(slow.await.unwrap(), 200);
    assert_eq!(upstream.connections(), 1);
}

#[tokio::test]
async fn callers_that_do_not_read_hold_up_nobody_on_their_connection() {
    let (authority, config) = tls::identity(&["h2"]);
    let upstream = Upstream::with_tls(config, |seen| async move {
        (seen.target().ends_with("/large")).then(|| reply(200, vec![b'x'; 16 << 20]))
    })
    .await;
    let gateway = in_front(&authority, "").start(&upstream).await;
    assert_eq!(gateway.get(ITEM).send().await.status, 200);

    let mut slow = Vec::new();
    for _ in 0..12 {
        let mut wire = gateway.call("GET", "/v1/large").open().await;
        assert!(wire.head().await.unwrap().line.contains(" 200 "));
        slow.push(wire);
    }

    let answer = within("an answer beside them", gateway.get(ITEM).send()).await;
    assert_eq!(answer.status, 200);
    assert_eq!(upstream.connections(), 1);
}
