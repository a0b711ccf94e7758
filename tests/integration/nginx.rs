//! A real nginx as the upstream: it ends its connections after some requests and at each reload, and nothing is lost or
//! done twice.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use tokio::{sync::Semaphore, task::JoinSet};

use crate::support::{
    Gateway, ID, ITEM, TAG, Upstream,
    caller::Caller,
    eventually,
    nginx::{Nginx, Options},
    origin::in_front,
    reply,
};

/// Callers at once, where no other number matters.
const CALLERS: usize = 16;
/// Reloads of one test.
const RELOADS: usize = 4;
/// Writes between two reloads.
const BETWEEN: usize = 300;

/// A gateway before nginx before an upstream that counts what it does.
struct Chain {
    gateway: Arc<Gateway>,
    nginx: Nginx,
    upstream: Upstream,
    /// How often each write was done, by its name.
    applied: Arc<Mutex<HashMap<String, usize>>>,
    /// The number of writes that were asked.
    asked: Arc<AtomicUsize>,
    /// The writes whose callers were told that nobody knows whether they are done.
    unknown: Arc<Mutex<Vec<String>>>,
}

/// How many writes callers ask.
#[derive(Clone)]
enum Until {
    /// So many.
    Number(usize),
    /// As many as there is time for.
    Over(Arc<AtomicBool>),
}

impl Until {
    fn is_reached(&self, number: usize) -> bool {
        match self {
            Self::Number(all) => number >= *all,
            Self::Over(is_over) => is_over.load(Ordering::SeqCst),
        }
    }
}

impl Chain {
    async fn start(options: Options) -> Self {
        let gate = Arc::new(Semaphore::new(Semaphore::MAX_PERMITS));
        Self::behind(gate, options).await
    }

    /// One with an upstream that answers as many requests as the gate lets through.
    async fn behind(gate: Arc<Semaphore>, options: Options) -> Self {
        let applied = Arc::new(Mutex::new(HashMap::new()));
        let record = Arc::clone(&applied);
        let upstream = Upstream::with(move |seen| {
            // Also what was sent again.
            let head = (
                seen.method.as_str(),
                &*seen.target(),
                seen.header("if-match"),
            );
            assert_eq!(head, ("PUT", ITEM, Some(TAG.to_owned())));
            let name: serde_json::Value = serde_json::from_slice(&seen.body).unwrap();
            let name = name["name"].as_str().unwrap().to_owned();
            *record.lock().unwrap().entry(name).or_default() += 1;
            let gate = Arc::clone(&gate);
            async move {
                gate.acquire().await.unwrap().forget();
                Some(reply(200, "{}"))
            }
        })
        .await;
        let nginx = Nginx::start(&upstream, options).await;
        let gateway = in_front(&nginx.authority, "response_timeout: 20s")
            .start_at(&nginx.url())
            .await;
        Self {
            gateway: Arc::new(gateway),
            nginx,
            upstream,
            applied,
            asked: Arc::default(),
            unknown: Arc::default(),
        }
    }

    /// Writes with so many callers at once. Each must be told of every write that it is done, or that this is unknown.
    fn write(&self, callers: usize, until: &Until) -> JoinSet<()> {
        let mut calls = JoinSet::new();
        for _ in 0..callers {
            let gateway = Arc::clone(&self.gateway);
            let (asked, until) = (Arc::clone(&self.asked), until.clone());
            let unknown = Arc::clone(&self.unknown);
            calls.spawn(async move {
                let mut caller = Caller::new(gateway.address);
                loop {
                    let number = asked.fetch_add(1, Ordering::SeqCst);
                    if until.is_reached(number) {
                        asked.fetch_sub(1, Ordering::SeqCst);
                        return;
                    }
                    let call = gateway.put(ITEM, body(number)).if_match(TAG);
                    let answer = caller.ask("PUT", &call).await.unwrap();
                    if answer.status != 200 {
                        assert_eq!(answer.problem().code, "outcome_unknown");
                        unknown.lock().unwrap().push(name(number));
                    }
                }
            });
        }
        calls
    }

    /// Every write that was asked was done once, and its caller was told so.
    fn check(&self) {
        assert_eq!(*self.unknown.lock().unwrap(), Vec::<String>::new());
        self.check_told();
    }

    /// Every write was done once, but for those of which callers were told that this is unknown.
    fn check_told(&self) {
        let applied = self.applied.lock().unwrap();
        let twice: Vec<_> = applied.iter().filter(|(_, times)| **times != 1).collect();
        assert!(twice.is_empty(), "{twice:?}");
        let unknown = self.unknown.lock().unwrap();
        let not_done = unknown.iter().filter(|name| !applied.contains_key(*name));
        let asked = self.asked.load(Ordering::SeqCst);
        assert_eq!(applied.len() + not_done.count(), asked);
    }

    async fn resent(&self, reason: &str) -> f64 {
        let labels = [("reason", reason)];
        self.gateway
            .metric("upstream_requests_resent_total", &labels)
            .await
    }

    /// Reloads nginx again and again while callers write.
    async fn reload_under_load(&self) {
        let is_over = Arc::new(AtomicBool::new(false));
        let mut calls = self.write(CALLERS, &Until::Over(Arc::clone(&is_over)));
        for _ in 0..RELOADS {
            let before = self.asked.load(Ordering::SeqCst);
            eventually("writes between reloads", async || {
                !calls.is_empty() && self.asked.load(Ordering::SeqCst) >= before + BETWEEN
            })
            .await;
            self.nginx.reload().await;
        }
        is_over.store(true, Ordering::SeqCst);
        while let Some(call) = calls.join_next().await {
            call.unwrap();
        }
    }
}

fn name(number: usize) -> String {
    format!("write {number}")
}

fn body(number: usize) -> String {
    format!(r#"{{"id":"{ID}","status":"Active","substatus":"Accepted","name":"write {number}"}}"#)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_of_three_requests_lose_nothing() {
    let chain = Chain::start(Options {
        http: "keepalive_requests 3;",
        ..Options::default()
    })
    .await;

    let calls = chain.write(CALLERS, &Until::Number(200));
    calls.join_all().await;

    chain.check();
    assert!(chain.resent("goaway").await > 0.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_of_a_thousand_requests_lose_nothing() {
    let chain = Chain::start(Options {
        http: "keepalive_requests 1000;",
        ..Options::default()
    })
    .await;

    let calls = chain.write(CALLERS, &Until::Number(5_000));
    calls.join_all().await;

    chain.check();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reloads_lose_nothing() {
    let chain = Chain::start(Options::default()).await;

    chain.reload_under_load().await;

    chain.check();
    assert!(chain.resent("goaway").await > 0.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reloads_that_end_old_workers_after_a_second_lose_nothing() {
    let chain = Chain::start(Options {
        main: "worker_shutdown_timeout 1s;",
        ..Options::default()
    })
    .await;

    chain.reload_under_load().await;

    chain.check();
}

#[tokio::test]
async fn few_streams_a_connection_hold_nothing_up() {
    let gate = Arc::new(Semaphore::new(0));
    let chain = Chain::behind(
        Arc::clone(&gate),
        Options {
            http: "http2_max_concurrent_streams 4;",
            ..Options::default()
        },
    )
    .await;

    let calls = chain.write(40, &Until::Number(40));
    chain.upstream.arrived("PUT", 40).await;

    let http2 = [("protocol", "http2")];
    let streams = chain.gateway.metric("upstream_streams_open", &http2);
    assert_eq!(streams.await, 40.0);
    gate.add_permits(40);
    calls.join_all().await;
    chain.check();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_http1_connections_of_three_requests_lose_nothing() {
    let chain = Chain::start(Options {
        is_http1: true,
        http: "keepalive_requests 3;",
        ..Options::default()
    })
    .await;

    let calls = chain.write(CALLERS, &Until::Number(200));
    calls.join_all().await;

    chain.check();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_http1_callers_are_told_what_reloads_leave_unknown() {
    let chain = Chain::start(Options {
        is_http1: true,
        ..Options::default()
    })
    .await;

    chain.reload_under_load().await;

    // The old worker closes idle connections with the requests that have just been sent on them, and HTTP/1.1 has no word
    // for that.
    chain.check_told();
    let (asked, unknown) = (chain.asked.load(Ordering::SeqCst), &chain.unknown);
    let unknown = unknown.lock().unwrap().len();
    assert!(unknown <= RELOADS * CALLERS && unknown < asked / 10);
}
