//! Two hundred callers of each kind, upstreams that break in each way, reloads: what callers are told is what was done, and
//! nothing is left over.

use std::{
    env, fs,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{sync::watch, task::JoinSet, time::interval};

use self::{
    callers::{CALLERS, Person},
    http2::Fault,
    ledger::{Ledger, Manners, Told},
};
use crate::support::{Gateway, eventually};

mod callers;
mod http1;
mod http2;
mod ledger;
mod script;

/// How long a run takes, in seconds, if the environment does not say.
const SECONDS: u64 = 15;
/// The setting that trusts an upstream.
const TRUST: &str = "ca_file: \"@/ca.pem\", ";
/// How many times longer it takes at most, until callers have been told each of `EACH`.
const LONGER: u32 = 4;
/// What a run shows.
const EACH: [Told; 5] = [
    Told::Passed,
    Told::Refused,
    Told::Unknown,
    Told::NoAnswer,
    Told::Cut,
];
/// What the process may grow after a quarter of the run, in KiB.
const GROWTH: usize = 48 * 1024;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_callers_are_told_is_what_a_breaking_upstream_of_http1_did() {
    let ledger = Arc::new(Ledger::new(Manners::Rude));
    let upstream = http1::upstream(&ledger).await;
    let gateway = Gateway::with(&settings("", 1000)).start(&upstream).await;

    run("HTTP/1.1", "", &gateway, &ledger).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_callers_are_told_is_what_a_breaking_upstream_of_http2_did() {
    over_http2("HTTP/2", Manners::Rude, Fault::ALL).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_upstream_of_http2_says_it_did_not_process_is_never_of_unknown_outcome() {
    let name = "HTTP/2 without resets of whole connections";
    over_http2(name, Manners::Telling, Fault::TELLING).await;
}

async fn over_http2(name: &str, manners: Manners, faults: &'static [Fault]) {
    let ledger = Arc::new(Ledger::new(manners));
    let (authority, upstream) = http2::upstream(&ledger, faults).await;
    let gateway = Gateway::with(&settings(TRUST, 1000))
        .file("ca.pem", &authority)
        .start(&upstream)
        .await;

    run(name, TRUST, &gateway, &ledger).await;

    for reason in ["goaway", "refused"] {
        let labels = [("reason", reason)];
        let resent = gateway.metric("upstream_requests_resent_total", &labels);
        assert!(resent.await > 0.0, "{reason}: {ledger:?}");
    }
}

/// Settings with that many requests of a tenant at once.
fn settings(upstream: &str, concurrency: usize) -> String {
    format!(
        "upstream: {{ {upstream}response_timeout: 3s, pool_idle_timeout: 2s }}
snapshots: {{ unknown_state: forward }}
log: {{ level: \"info,referral_gateway::access=off,referral_gateway::decision=off\" }}
rate_limit:
  reads: {{ per_minute: 6000000, burst: 1000000 }}
  writes: {{ per_minute: 6000000, burst: 1000000 }}
  concurrency: {concurrency}
"
    )
}

/// How long a run takes.
fn length() -> Duration {
    let seconds =
        env::var("REFERRAL_GATEWAY_FAULT_RUN").map_or(SECONDS, |seconds| seconds.parse().unwrap());
    Duration::from_secs(seconds)
}

/// Lets all callers write for the time of a run, and checks what they were told and what is left.
async fn run(name: &str, upstream: &str, gateway: &Gateway, ledger: &Arc<Ledger>) {
    let descriptors = descriptors(gateway);
    let (stop, stopped) = watch::channel(false);
    let mut callers = JoinSet::new();
    for number in 0..CALLERS {
        let person = Person::new(number, gateway.address, ledger);
        callers.spawn(person.write_until(stopped.clone()));
    }

    let memory = reload_until_the_end(gateway, upstream, ledger).await;
    stop.send(true).unwrap();
    callers.join_all().await;

    gateway
        .until_metric("http_requests_in_flight", &[], 0.0)
        .await;
    gateway
        .until_metric("upstream_streams_open", &[], 0.0)
        .await;
    // The run's own connections are idle, and close.
    gateway
        .until_metric("upstream_connections_open", &[], 0.0)
        .await;
    eventually("descriptors to be closed", async || {
        self::descriptors(gateway) <= descriptors + 2
    })
    .await;
    ledger.check();
    let metrics = gateway.metrics().await;
    let told = metrics.lines().filter(|line| is_of_interest(line));
    let told = told.collect::<Vec<_>>().join("\n");
    eprintln!("{name}: {ledger:#?}\n{told}\nKiB by second: {memory:?}");
    let missing = EACH.iter().find(|told| ledger.count(**told) == 0);
    assert_eq!(missing, None, "nobody was told this: {ledger:?}");
    let warm = memory[memory.len() / 4].1;
    let end = gateway.memory("VmRSS");
    assert!(end < warm + GROWTH, "{warm} KiB grew to {end} KiB");
    let lines = gateway.lines();
    let panic = lines.iter().find(|line| line.contains("panicked"));
    assert_eq!(panic, None);
}

/// Whether a line of the metrics is part of the report of a run.
fn is_of_interest(line: &str) -> bool {
    let names = ["resent", "given_up", "upstream_errors", "connections_total"];
    !line.starts_with('#') && !line.ends_with(" 0") && names.iter().any(|name| line.contains(name))
}

/// Reloads settings with another limit each second. Returns the size of the process each second, in KiB.
async fn reload_until_the_end(
    gateway: &Gateway,
    upstream: &str,
    ledger: &Ledger,
) -> Vec<(u64, usize)> {
    let is_over = |elapsed| {
        elapsed > length() * LONGER
            || elapsed > length() && EACH.iter().all(|told| ledger.count(*told) > 0)
    };
    let began = Instant::now();
    let mut tick = interval(Duration::from_secs(1));
    let mut memory = Vec::new();
    while !is_over(began.elapsed()) {
        tick.tick().await;
        let concurrency = if memory.len() % 4 == 3 { 20 } else { 1000 };
        gateway.replace_settings(&settings(upstream, concurrency));
        gateway.signal("HUP");
        memory.push((began.elapsed().as_secs(), gateway.memory("VmRSS")));
    }
    let changed = [("what", "settings"), ("result", "success")];
    assert!(gateway.metric("config_reloads_total", &changed).await > 1.0);
    memory
}

/// The open descriptors of the process.
fn descriptors(gateway: &Gateway) -> usize {
    let folder = format!("/proc/{}/fd", gateway.pid());
    fs::read_dir(folder).unwrap().count()
}
