//! Many callers, an upstream that breaks, and numbers that must agree afterwards.

use std::{
    collections::{BTreeMap, HashMap},
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use serde_json::Value;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    task::JoinSet,
};

use crate::support::{
    Gateway, LIST, Numbers, Upstream, caller::Caller, eventually, token, upstream::Seen, wire::Call,
};

const CALLERS: usize = 200;
const ROUNDS: usize = 8;

/// A connection that is reset once so many bytes have crossed it.
struct Fragile {
    stream: TcpStream,
    budget: usize,
}

impl Fragile {
    fn new(stream: TcpStream, number: usize) -> Self {
        // A request and its answer are about two thousand bytes: one in a hundred meets its end.
        let mut numbers = Numbers::from_seed(0x5eed + 77 * u64::try_from(number).unwrap());
        numbers.below(2);
        socket2::SockRef::from(&stream)
            .set_linger(Some(Duration::ZERO))
            .unwrap();
        Self {
            stream,
            budget: numbers.below(400_000),
        }
    }

    fn spend(&mut self, bytes: usize) -> io::Result<()> {
        self.budget = self.budget.saturating_sub(bytes);
        if self.budget == 0 {
            Err(io::ErrorKind::ConnectionReset.into())
        } else {
            Ok(())
        }
    }
}

impl AsyncRead for Fragile {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buffer))?;
        let read = buffer.filled().len() - before;
        Poll::Ready(self.spend(read))
    }
}

impl AsyncWrite for Fragile {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.stream).poll_write(cx, bytes))?;
        self.spend(written)?;
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// What a caller was told about one PUT of its own.
struct Told {
    mark: String,
    status: Option<u16>,
    code: String,
}

/// Reads and writes a referral of its own, round after round.
async fn call(address: std::net::SocketAddr, number: usize, rounds: usize) -> Vec<Told> {
    let id = format!("5f1c2d3e-0002-4a4a-9b9b-{number:012}");
    let path = format!("{LIST}/{id}");
    let bearer = token(
        &format!("tenant {}", number % 7),
        &format!("caller {number}"),
        "app",
    );
    let mut caller = Caller::new(address);
    let mut told = Vec::new();
    let mut tag = None;
    for round in 0..rounds {
        let Some(known) = tag.take() else {
            let Some(answer) = caller
                .ask("GET", &Call::new(address, "GET", &path).bearer(&bearer))
                .await
            else {
                continue;
            };
            match answer.status {
                200 => tag = answer.json()["eTag"].as_str().map(str::to_owned),
                502 | 504 => {}
                status => panic!("a read was answered {status}: {}", answer.text()),
            }
            continue;
        };
        let mark = format!("caller-{number}-round-{round}");
        let body =
            format!(r#"{{"id":"{id}","status":"Active","substatus":"Accepted","name":"{mark}"}}"#);
        let put = Call::new(address, "PUT", &path)
            .bearer(&bearer)
            .header("Content-Type", "application/json")
            .if_match(&known)
            .body(body);
        let answer = caller.ask("PUT", &put).await;
        if let Some(answer) = &answer
            && answer.status == 200
        {
            tag = answer.json()["eTag"].as_str().map(str::to_owned);
        }
        let code = answer
            .as_ref()
            .filter(|answer| answer.is_ours())
            .map(|answer| answer.problem().code)
            .unwrap_or_default();
        told.push(Told {
            mark,
            status: answer.map(|answer| answer.status),
            code,
        });
    }
    told
}

fn mark(body: &[u8]) -> String {
    serde_json::from_slice::<Value>(body)
        .ok()
        .and_then(|body| body["name"].as_str().map(str::to_owned))
        .unwrap_or_default()
}

/// How often each mark is in these bodies.
fn times<'a>(bodies: impl IntoIterator<Item = &'a [u8]>) -> HashMap<String, usize> {
    let mut times = HashMap::new();
    for body in bodies {
        *times.entry(mark(body)).or_default() += 1;
    }
    times
}

async fn fragile() -> Upstream {
    let upstream = Upstream::behind(Fragile::new).await;
    for number in 0..CALLERS {
        upstream.hold(
            &format!("5f1c2d3e-0002-4a4a-9b9b-{number:012}"),
            "Active",
            "Accepted",
            "\"first\"",
        );
    }
    upstream
}

/// Checks what the callers were told against what the upstream did.
fn agree(upstream: &Upstream, told: &[Told]) -> BTreeMap<String, usize> {
    let applied = upstream.applied();
    let applied = times(applied.iter().map(Vec::as_slice));
    let seen: Vec<Seen> = upstream
        .seen()
        .into_iter()
        .filter(|seen| seen.method == "PUT")
        .collect();
    let arrived = times(
        seen.iter()
            .filter(|seen| seen.is_complete)
            .map(|seen| seen.body.as_slice()),
    );
    assert!(
        applied.values().all(|times| *times == 1),
        "a PUT was applied twice"
    );
    assert!(
        arrived.values().all(|times| *times == 1),
        "a PUT arrived twice"
    );

    let mut outcomes = BTreeMap::new();
    for Told { mark, status, code } in told {
        let was_applied = applied.contains_key(mark);
        match status {
            Some(200) => assert!(was_applied, "{mark} was reported as passed and was not"),
            Some(502) if code == "outcome_unknown" => {}
            Some(502..=504) => assert!(
                !was_applied,
                "{mark} was reported as not sent ({code}) and was applied"
            ),
            None => {}
            Some(status) => panic!("{mark} was answered {status} {code}"),
        }
        *outcomes.entry(format!("{status:?} {code}")).or_default() += 1;
    }
    outcomes
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_two_hundred_callers_are_told_agrees_with_what_a_breaking_upstream_did() {
    let upstream = fragile().await;
    let gateway = Gateway::start(&upstream).await;

    let mut callers = JoinSet::new();
    for number in 0..CALLERS {
        callers.spawn(call(gateway.address, number, ROUNDS));
    }
    let told: Vec<Told> = callers.join_all().await.into_iter().flatten().collect();

    let outcomes = agree(&upstream, &told);
    let answered = told.iter().filter(|told| told.status.is_some()).count();
    assert_eq!(
        answered,
        told.len(),
        "a caller got no answer at all: {outcomes:?}"
    );
    assert!(
        outcomes
            .get("Some(200) ")
            .is_some_and(|passed| *passed > CALLERS * (ROUNDS - 1) / 2),
        "{outcomes:?}"
    );
    assert!(upstream.connections() > 5, "the upstream never broke");
    gateway
        .until_metric("http_requests_in_flight", &[], 0.0)
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drain_in_the_middle_of_it_loses_nothing_that_was_accepted() {
    let upstream = fragile().await;
    let mut gateway = Gateway::start(&upstream).await;

    let mut callers = JoinSet::new();
    for number in 0..CALLERS {
        callers.spawn(call(gateway.address, number, ROUNDS));
    }
    upstream.arrived("PUT", CALLERS).await;
    gateway.signal("TERM");
    let told: Vec<Told> = callers.join_all().await.into_iter().flatten().collect();

    assert_eq!(gateway.exit().await.code(), Some(0));
    agree(&upstream, &told);
    // Whatever was applied was sent by a caller that was told so, or that it cannot be known.
    let applied = upstream.applied();
    let silent: HashMap<&str, Option<u16>> = told
        .iter()
        .map(|told| (told.mark.as_str(), told.status))
        .collect();
    for body in &applied {
        let status = silent.get(mark(body).as_str()).copied().flatten();
        assert!(
            matches!(status, Some(200 | 502 | 504)),
            "{} was applied and its caller was told {status:?}",
            mark(body)
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_tenants_and_random_requests_leave_memory_and_series_bounded() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::with("log: { level: \"info,referral_gateway::access=warn\" }\nsnapshots: { unknown_state: forward, max_entries: 500 }\nrate_limit: { max_tenants: 1000, reads: { per_minute: 6000000, burst: 1000000 }, writes: { per_minute: 6000000, burst: 1000000 } }")
        .start(&upstream)
        .await;
    let flood = async |first: usize, number: usize| {
        let next = Arc::new(AtomicUsize::new(first));
        let end = first + number;
        let mut callers = JoinSet::new();
        for seed in 0..8 {
            let (next, address) = (Arc::clone(&next), gateway.address);
            callers.spawn(async move {
                let mut caller = Caller::new(address);
                let mut numbers = Numbers::from_seed(seed * 1000 + 1);
                loop {
                    let number = next.fetch_add(1, Ordering::SeqCst);
                    if number >= end {
                        return;
                    }
                    let methods = ["GET", "GET", "POST", "PUT", "PATCH", "OPTIONS", "LOCK"];
                    let method = methods[numbers.below(methods.len())];
                    let path = match numbers.below(3) {
                        0 => LIST.to_owned(),
                        1 => format!("{LIST}/{number:032x}"),
                        _ => format!("/{}/{number}", "p".repeat(numbers.below(200))),
                    };
                    let call = Call::new(address, method, &path)
                        .bearer(&token(
                            &format!("tenant {number}"),
                            &format!("user {number}"),
                            "app",
                        ))
                        .header(
                            &format!("X-Random-{number}"),
                            &"v".repeat(numbers.below(300)),
                        )
                        .header("Content-Type", "application/json")
                        .if_match(&format!("\"{number}\""))
                        .body(r#"{"status":"Active","substatus":"Accepted"}"#);
                    caller.ask(method, &call).await.expect("an answer");
                }
            });
        }
        callers.join_all().await;
    };

    flood(0, 4_000).await;
    let before = gateway.memory("VmRSS");
    let series = gateway.metrics().await.lines().count();
    flood(4_000, 6_000).await;
    let after = gateway.memory("VmRSS");

    assert!(
        after < before + 16 * 1024,
        "{before} KiB after four thousand tenants, {after} KiB after ten thousand"
    );
    assert_eq!(gateway.metrics().await.lines().count(), series);
    eventually(
        "the store of snapshots to be within its bound",
        async || gateway.metric("snapshot_entries", &[]).await <= 500.0,
    )
    .await;
}
