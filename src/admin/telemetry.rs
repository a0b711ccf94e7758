//! The telemetry listener: probes and metrics.

use std::{sync::Arc, time::Instant};

use http::{Method, Request, Response, StatusCode};
use humantime::format_rfc3339_seconds;

use super::{
    Status,
    answer::{not_allowed, plain, text, unread},
};
use crate::{
    body::{Body, Inbound},
    policy::Policy,
    server::Handler,
    upstream::{Failure, Health},
};

/// Answers on the telemetry listener: harmless reads.
#[derive(Clone)]
pub struct Telemetry(pub Arc<Status>);

impl Handler for Telemetry {
    async fn handle(&self, request: Request<Inbound>) -> Response<Body> {
        let reads = matches!(*request.method(), Method::GET | Method::HEAD);
        match request.uri().path() {
            "/metrics" | "/healthz" | "/livez" | "/readyz" if !reads => not_allowed("GET, HEAD"),
            "/metrics" => text(
                StatusCode::OK,
                "text/plain; version=0.0.4",
                self.0.metrics_text(),
            ),
            "/healthz" | "/livez" => plain(StatusCode::OK, "ok\n"),
            "/readyz" => self.0.readyz(request.uri().query()),
            _ => plain(
                StatusCode::NOT_FOUND,
                "No such path. This listener serves /metrics, /healthz, /livez and /readyz.\n",
            ),
        }
    }

    fn unread(status: u16, _: Option<u8>) -> Vec<u8> {
        unread(status)
    }
}

impl Status {
    /// All metrics; those that are cheaper to ask than to keep are asked now.
    fn metrics_text(&self) -> String {
        self.metrics
            .snapshot_entries
            .set(i64::try_from(self.snapshots.len()).unwrap_or(i64::MAX));
        self.metrics
            .cooldowns_active
            .set(i64::try_from(self.rate_limit.cooldowns(Instant::now())).unwrap_or(i64::MAX));
        let max_tenants = self.in_force.load().max_tenants;
        self.metrics
            .set_tenants(self.rate_limit.tracked(), max_tenants);
        self.metrics.text()
    }

    /// Ready means: settings loaded, listeners bound, not draining. It never depends on the upstream.
    fn readyz(&self, query: Option<&str>) -> Response<Body> {
        let state = self.readiness.name();
        let status = if state == "ready" {
            StatusCode::OK
        } else {
            StatusCode::SERVICE_UNAVAILABLE
        };
        if query.is_some_and(|query| {
            query
                .split('&')
                .any(|name| name == "verbose" || name.starts_with("verbose="))
        }) {
            let Policy { name, digest, .. } = &*self.in_force.load().policy;
            let upstream = upstream_lines(self.upstream.health());
            let text = format!("state: {state}\npolicy: {name} {digest}\n{upstream}");
            return plain(status, text);
        }
        plain(
            status,
            if state == "ready" {
                "ok\n".to_owned()
            } else {
                format!("{state}\n")
            },
        )
    }
}

/// What `/readyz?verbose` says of the upstream.
fn upstream_lines(health: &Health) -> String {
    let upstream = health.upstream();
    let never = || "never".to_owned();
    let success = health.last_success();
    let success = success.map_or_else(never, |at| format_rfc3339_seconds(at).to_string());
    let failure = health.last_failure().map_or_else(never, |failure| {
        let Failure { at, kind, cause } = failure;
        format!("{} {kind}: {cause}", format_rfc3339_seconds(at))
    });
    format!(
        "upstream: {upstream}\nupstream_last_success: {success}\nupstream_last_failure: {failure}\n"
    )
}
