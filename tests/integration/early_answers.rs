//! Answers that the gateway gives before it has read the body: their callers get them, whole, every time.
//!
//! The clients that people use stand in `early_answers/`, as small programs.

use std::{path::Path, process::Command};

use http::StatusCode;
use serde_json::Value;
use tempfile::TempDir;

use crate::support::{
    Gateway, ITEM, LIST, TAG, Upstream, eventually, token,
    token::usual,
    tools::shell,
    wire::{Answer, Call},
};

mod endless;
mod http1;
mod http2;

/// How often each client tries each request.
const TRIES: usize = 20;

/// The maximum of a judged body is 1 MiB.
const TOO_LARGE: usize = 5_000_000;

/// A tenant that may write once a minute.
const SPENT: &str = "11111111-aaaa-4000-8000-000000000429";

/// A request that is refused before its body is read.
#[derive(Debug, Clone)]
struct Refused {
    method: &'static str,
    target: String,
    fields: Vec<(&'static str, String)>,
    size: usize,
    status: StatusCode,
    code: &'static str,
}

impl Refused {
    fn new(
        method: &'static str,
        target: &str,
        size: usize,
        status: u16,
        code: &'static str,
    ) -> Self {
        let caller = usual();
        let fields = vec![
            ("Authorization", format!("Bearer {caller}")),
            ("Content-Type", "application/json".to_owned()),
            ("If-Match", TAG.to_owned()),
        ];
        Self {
            method,
            target: target.to_owned(),
            fields,
            size,
            status: StatusCode::from_u16(status).unwrap(),
            code,
        }
    }

    /// The same with another field, or another value of one.
    fn with(mut self, name: &'static str, value: String) -> Self {
        self.fields.retain(|(given, _)| *given != name);
        self.fields.push((name, value));
        self
    }

    /// The request as an argument of a client.
    fn argument(&self) -> String {
        argument(
            self.method,
            &self.target,
            self.size,
            self.status,
            self.code,
            &self.fields,
        )
    }

    /// The request with its body.
    fn call(&self, gateway: &Gateway) -> Call {
        self.head(gateway).body(body(self.size))
    }

    /// The request without its body, and without a field that says where it ends.
    fn head(&self, gateway: &Gateway) -> Call {
        let call = gateway.call(self.method, &self.target);
        self.fields
            .iter()
            .fold(call, |call, (name, value)| call.set(name, value))
    }

    /// Compares an answer with the expected one.
    #[track_caller]
    fn check(&self, answer: &Answer) {
        let code = answer.problem().code;
        assert_eq!(
            (answer.status, &*code),
            (self.status.as_u16(), self.code),
            "{self:?}"
        );
    }
}

/// A body that is full of requests: a gateway that reads it as such is found out.
fn body(size: usize) -> Vec<u8> {
    let hidden = b"GET /hidden HTTP/1.1\r\nHost: hidden\r\n\r\n";
    hidden.iter().copied().cycle().take(size).collect()
}

/// One request for each way to refuse early, with small and with large bodies.
fn refused() -> Vec<Refused> {
    let spent = format!("Bearer {}", token(SPENT, "me", "app"));
    let limited = |size| {
        Refused::new("PUT", ITEM, size, 429, "rate_limited").with("Authorization", spent.clone())
    };
    let unknown = format!("{LIST}/x/y/z");
    vec![
        limited(20_000),
        limited(1_000_000),
        Refused::new("PUT", ITEM, TOO_LARGE, 413, "body_too_large"),
        Refused::new("PUT", &unknown, 500, 404, "unknown_referral_route"),
        Refused::new("POST", ITEM, 20_000, 405, "method_not_allowed"),
        Refused::new("PUT", ITEM, 200_000, 400, "method_override")
            .with("X-HTTP-Method-Override", "PATCH".to_owned()),
    ]
}

/// A request as an argument of a client.
fn argument(
    method: &str,
    target: &str,
    size: usize,
    status: StatusCode,
    code: &str,
    fields: &[(&str, String)],
) -> String {
    let mut text = format!("{method} {target} {size} {} {code}", status.as_u16());
    for (name, value) in fields {
        text.push_str(&format!("\n{name}: {value}"));
    }
    text
}

/// A gateway at which [`SPENT`] has spent its writes.
async fn start(upstream: &Upstream, settings: &str) -> Gateway {
    let few = "{ writes: { per_minute: 1, burst: 1 } }";
    let known = format!("tenants: {{ known: {{ spent: {{ id: {SPENT}, rate_limit: {few} }} }} }}");
    let gateway = Gateway::with(&known)
        .settings(settings)
        .start(upstream)
        .await;
    let post = gateway
        .call("POST", LIST)
        .bearer(&token(SPENT, "me", "app"));
    let post = post.header("Content-Type", "application/json").body("{}");
    // The first write proves the credential, which then has a bucket of its own.
    eventually("the end of the writes", async || {
        post.send().await.status == 429
    })
    .await;
    gateway
}

/// Runs a client, and demands that it gets every answer and that no next request suffers.
async fn check(mut client: Command) {
    let upstream = Upstream::start().await;
    let gateway = start(&upstream, "").await;
    let refused = refused();
    let caller = [("Authorization", format!("Bearer {}", usual()))];
    client
        .arg(format!("http://{}", gateway.address))
        .arg(TRIES.to_string())
        .arg(argument("GET", ITEM, 0, StatusCode::OK, "-", &caller))
        .args(refused.iter().map(Refused::argument));

    // The upstream answers on this thread.
    let ended = tokio::task::spawn_blocking(move || client.output().unwrap());
    let ended = ended.await.unwrap();

    let errors = String::from_utf8_lossy(&ended.stderr);
    assert!(ended.status.success(), "{errors}");
    let counts: Value = serde_json::from_slice(&ended.stdout).unwrap();
    let counts = counts.as_object().unwrap();
    assert_eq!(counts.len(), refused.len(), "{counts:?}");
    let is_fine = |count: &Value| {
        count["right"] == TRIES
            && count["lost"] == serde_json::json!([])
            && count["broken"] == serde_json::json!([])
    };
    assert!(counts.values().all(is_fine), "{}", told(counts));
    assert_eq!(upstream.count("PUT"), 0);
    assert_eq!(upstream.count("GET"), TRIES * refused.len());
}

/// The counts of a client, a line for each request, with the first error of each kind.
fn told(counts: &serde_json::Map<String, Value>) -> String {
    let lines = counts.iter().map(|(name, count)| {
        let number = |what: &str| count[what].as_array().unwrap().len();
        format!(
            "\n{name}: right {}, lost {} {}, next requests broken {} {}",
            count["right"],
            number("lost"),
            count["lost"][0],
            number("broken"),
            count["broken"][0],
        )
    });
    lines.collect()
}

/// A client in JavaScript.
fn node(file: &str) -> Command {
    let mut command = shell("node");
    command.arg(client(file));
    command
}

/// A client in Python: Debian's, with Debian's modules alone.
fn python(file: &str) -> Command {
    let mut command = shell("/usr/bin/python3");
    command.arg("-BEs").arg(client(file));
    command
}

fn client(file: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/integration/early_answers")
        .join(file)
}

#[tokio::test]
async fn node_fetch_gets_every_answer() {
    check(node("fetch.mjs")).await;
}

#[tokio::test]
async fn node_http_gets_every_answer_on_connections_that_are_kept() {
    check(node("http_agent.mjs")).await;
}

#[tokio::test]
async fn python_http_client_gets_every_answer() {
    let mut client = python("http_client.py");
    client.arg("whole");
    check(client).await;
}

#[tokio::test]
async fn python_http_client_gets_every_answer_to_bodies_in_pieces() {
    let mut client = python("http_client.py");
    client.arg("pieces");
    check(client).await;
}

#[tokio::test]
async fn python_requests_gets_every_answer() {
    check(python("requests_session.py")).await;
}

#[tokio::test]
async fn python_httpx_gets_every_answer() {
    check(python("httpx_client.py")).await;
}

#[tokio::test]
async fn python_aiohttp_gets_every_answer() {
    check(python("aiohttp_session.py")).await;
}

#[tokio::test]
async fn java_gets_every_answer() {
    let classes = TempDir::new().unwrap();
    let mut compiler = shell("javac");
    compiler
        .arg("-d")
        .arg(classes.path())
        .arg(client("JavaClient.java"));
    let compiled = tokio::task::spawn_blocking(move || compiler.output().unwrap());
    let compiled = compiled.await.unwrap();
    assert!(
        compiled.status.success(),
        "{}",
        String::from_utf8_lossy(&compiled.stderr)
    );

    let mut client = shell("java");
    client.arg("-cp").arg(classes.path()).arg("JavaClient");
    check(client).await;
}
