//! File descriptors: their limit is raised, shared out, and running out of them is not the end.

use std::{sync::Arc, time::Duration};

use rustix::process::{Pid, Resource, Rlimit, prlimit};
use serde_json::Value;
use tokio::sync::Barrier;

use crate::support::{
    Gateway, ITEM, Upstream, Wire, before, eventually, reply,
    wire::{Answer, Call},
};

/// A limit far below what the default of `downstream.max_connections` needs.
const LOW: &str = "ulimit -n 128";
/// Idle callers stay.
const PATIENT: &str = "downstream: { header_timeout: 1h, idle_timeout: 1h }\n";

/// The warning about the limit, if there is one.
fn warning(gateway: &Gateway) -> Option<Value> {
    let lines = gateway.lines().into_iter();
    let mut records = lines.filter_map(|line| serde_json::from_str::<Value>(&line).ok());
    records.find(|record| record["level"] == "WARN" && record["limit"].is_u64())
}

/// Opens connections, so many that no other has room.
async fn full(gateway: &Gateway) -> Vec<Wire> {
    let room = warning(gateway).unwrap()["connections"].as_u64().unwrap();
    let mut open = Vec::new();
    for _ in 0..room {
        open.push(gateway.wire().await);
    }
    open
}

async fn refused(gateway: &Gateway) -> Answer {
    let mut wire = gateway.wire().await;
    let answer = before(Duration::from_secs(5), "a refusal", wire.try_answer("GET")).await;
    answer.unwrap()
}

#[tokio::test]
async fn a_limit_that_is_too_low_is_told_at_the_start() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::with("").after(LOW).start(&upstream).await;

    let record = warning(&gateway).expect("a warning");

    let message = record["message"].as_str().unwrap();
    for part in [
        "128",
        "11320",
        "downstream.max_connections",
        "LimitNOFILE=",
        "ulimit -n",
        "container",
    ] {
        assert!(message.contains(part), "{part} in {message}");
    }
    assert_eq!(
        (&record["limit"], &record["needed"]),
        (&128.into(), &11_320.into())
    );
}

#[tokio::test]
async fn the_limit_is_raised_as_far_as_the_system_allows() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::with("downstream: { max_connections: 50 }")
        .after("ulimit -Sn 64; ulimit -Hn 700")
        .start(&upstream)
        .await;

    let metrics = gateway.metrics().await;

    assert!(metrics.contains("\nprocess_max_fds 700\n"), "{metrics}");
    assert_eq!(warning(&gateway), None);
}

#[tokio::test]
async fn callers_beyond_the_limit_are_refused_at_once_and_the_probes_answer() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::with(PATIENT).after(LOW).start(&upstream).await;
    let mut open = full(&gateway).await;

    // More than there are descriptors.
    for _ in 0..150 {
        let answer = refused(&gateway).await;
        assert_eq!(
            (answer.status, answer.problem().code.as_str()),
            (503, "too_many_connections")
        );
    }

    for path in ["/livez", "/readyz?verbose", "/metrics"] {
        assert_eq!(gateway.telemetry(path).await.status, 200, "{path}");
    }
    let policies = gateway.admin("GET", "/policies").send().await;
    assert_eq!(policies.status, 200);
    for wire in &mut open {
        assert_eq!(gateway.get(ITEM).on(wire).await.status, 200);
    }
}

#[tokio::test]
async fn each_caller_that_is_in_has_a_connection_to_the_upstream() {
    let barrier = Arc::new(std::sync::OnceLock::<Barrier>::new());
    let all = Arc::clone(&barrier);
    let upstream = Upstream::with(move |_| {
        let all = Arc::clone(&all);
        async move {
            all.get().unwrap().wait().await;
            Some(reply(200, "together"))
        }
    })
    .await;
    let gateway = Gateway::with(PATIENT).after(LOW).start(&upstream).await;
    let open = full(&gateway).await;
    let callers = open.len();
    // The last to come is this test.
    barrier.set(Barrier::new(callers + 1)).unwrap();

    let mut answers = tokio::task::JoinSet::new();
    for mut wire in open {
        let call = gateway.get("/anything");
        answers.spawn(async move { call.on(&mut wire).await.status });
    }
    upstream.arrived("GET", callers).await;

    for path in ["/livez", "/metrics"] {
        assert_eq!(gateway.telemetry(path).await.status, 200, "{path}");
    }
    barrier.get().unwrap().wait().await;
    assert_eq!(answers.join_all().await, vec![200; callers]);
    assert_eq!(upstream.connections(), callers);
}

#[tokio::test]
async fn connections_that_cannot_be_accepted_are_logged_once() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start(&upstream).await;
    let mut telemetry = Wire::open(gateway.telemetry).await;
    let metrics = Call::new(gateway.telemetry, "GET", "/metrics");
    metrics.on(&mut telemetry).await;
    let pid = Pid::from_raw(gateway.pid().try_into().unwrap());
    let none_left = Rlimit {
        current: Some(1),
        maximum: Some(1024),
    };
    prlimit(pid, Resource::Nofile, none_left).unwrap();

    let _waiting = gateway.wire().await;

    let failed = "connections_total{outcome=\"failed\",side=\"downstream\"} ";
    eventually("several failures", async || {
        let text = metrics.on(&mut telemetry).await.text();
        let (_, count) = text.split_once(failed).expect("the metric");
        count.lines().next().unwrap().parse::<f64>().unwrap() >= 4.0
    })
    .await;
    let lines = gateway.lines();
    let told = lines.iter().filter(|line| line.contains("Cannot accept"));
    assert_eq!(told.count(), 1, "{lines:?}");
}
