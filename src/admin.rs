//! The telemetry and the admin listener: probes, metrics, and questions of operators.

use std::{
    net::{IpAddr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    time::Instant,
};

use arc_swap::ArcSwap;
use aws_lc_rs::constant_time::verify_slices_are_equal;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header, uri::Authority};
use http_body_util::{BodyExt, Limited};
use humantime::format_rfc3339_seconds;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value, json};

use crate::{
    body::{Body, Inbound},
    cache::Snapshots,
    metrics::Metrics,
    policy::Policy,
    rate_limit::RateLimit,
    server::{Handler, tls},
    telemetry::Logging,
    upstream::{Failure, Health, Upstream},
};

/// The addresses of the telemetry and the admin listener.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Serves `/metrics`, `/healthz`, `/livez`, `/readyz`.
    pub telemetry_listen: SocketAddr,
    /// TLS of that listener; without it, clear text.
    pub telemetry_tls: Option<tls::Settings>,
    /// Serves `/config`, `/policies`, `/log-level`.
    pub listen: SocketAddr,
    /// The bearer token of the admin listener; without one it must be loopback.
    pub token: Option<SecretString>,
}

/// What the listeners show.
pub struct Status {
    /// All metrics.
    pub metrics: Arc<Metrics>,
    /// Policy and settings in force.
    pub in_force: ArcSwap<InForce>,
    /// The log.
    pub logging: Logging,
    /// The limits.
    pub rate_limit: Arc<RateLimit>,
    /// The snapshot cache.
    pub snapshots: Arc<Snapshots>,
    /// The state of the gateway.
    pub readiness: Readiness,
    /// The upstream.
    pub upstream: Arc<Upstream>,
}

/// Policy and settings in force, which a reload replaces.
pub struct InForce {
    /// The policy.
    pub policy: Arc<Policy>,
    /// The settings with their origins, redacted.
    pub config: Value,
    /// The bearer token of the admin listener.
    pub token: Option<SecretString>,
    /// The most tenants with limits of their own.
    pub max_tenants: usize,
}

/// The state of the gateway: starting, ready or draining.
#[derive(Debug, Clone, Default)]
pub struct Readiness(Arc<AtomicU8>);

const READY: u8 = 1;
const DRAINING: u8 = 2;

impl Readiness {
    /// Requests are served.
    pub fn set_ready(&self) {
        self.0.store(READY, Ordering::Release);
    }

    /// The program ends soon.
    pub fn set_draining(&self) {
        self.0.store(DRAINING, Ordering::Release);
    }

    fn name(&self) -> &'static str {
        match self.0.load(Ordering::Acquire) {
            READY => "ready",
            DRAINING => "draining",
            _ => "starting",
        }
    }
}

/// The longest filter that `PUT /log-level` takes, in bytes.
const MAX_FILTER: usize = 1024;

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

/// Answers on the admin listener.
#[derive(Clone)]
pub struct Admin(pub Arc<Status>);

impl Handler for Admin {
    async fn handle(&self, request: Request<Inbound>) -> Response<Body> {
        let in_force = self.0.in_force.load_full();
        if let Some(refused) = refuse(request.headers(), in_force.token.as_ref()) {
            return refused;
        }
        let (method, path) = (request.method().clone(), request.uri().path().to_owned());
        // hyper sends no body in answer to HEAD.
        let method = match method.as_str() {
            "HEAD" => "GET",
            method => method,
        };
        match (path.as_str(), method) {
            ("/config", "GET") => json(&in_force.config),
            ("/policies", "GET") => json(&in_force.policies()),
            ("/log-level", "GET") => plain(StatusCode::OK, format!("{}\n", self.0.logging.level())),
            ("/log-level", "PUT") => self.set_log_level(request).await,
            ("/config" | "/policies", _) => not_allowed("GET, HEAD"),
            ("/log-level", _) => not_allowed("GET, HEAD, PUT"),
            _ => plain(
                StatusCode::NOT_FOUND,
                "No such path. This listener serves /config, /policies and /log-level.\n",
            ),
        }
    }

    fn unread(status: u16, _: Option<u8>) -> Vec<u8> {
        unread(status)
    }
}

/// Refuses web pages in a browser, also where a name resolves to this listener (DNS rebinding).
fn refuse(headers: &HeaderMap, token: Option<&SecretString>) -> Option<Response<Body>> {
    let cross_site = headers.contains_key(header::ORIGIN)
        || headers
            .get("sec-fetch-site")
            .is_some_and(|site| site != "none" && site != "same-origin");
    if cross_site {
        return Some(plain(
            StatusCode::FORBIDDEN,
            "Requests from web pages are refused here.\n",
        ));
    }
    match token {
        None => {
            let host = headers
                .get(header::HOST)
                .and_then(|host| host.to_str().ok()?.parse::<Authority>().ok());
            let local = host.is_some_and(|host| is_loopback(host.host()));
            (!local).then(|| {
                plain(
                    StatusCode::FORBIDDEN,
                    "Address this listener as localhost, 127.0.0.1 or [::1].\n",
                )
            })
        }
        Some(token) => {
            let given = headers
                .get(header::AUTHORIZATION)
                .and_then(|value| value.to_str().ok());
            let given = given
                .and_then(|value| value.split_once(' '))
                .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
            let same = given.is_some_and(|(_, given)| {
                verify_slices_are_equal(given.trim().as_bytes(), token.expose_secret().as_bytes())
                    .is_ok()
            });
            (!same).then(|| {
                let mut answer = plain(
                    StatusCode::UNAUTHORIZED,
                    "Send the token of admin.token_file as Authorization: Bearer.\n",
                );
                answer
                    .headers_mut()
                    .insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
                answer
            })
        }
    }
}

impl Admin {
    async fn set_log_level(&self, request: Request<Inbound>) -> Response<Body> {
        let Ok(body) = Limited::new(request.into_body(), MAX_FILTER)
            .collect()
            .await
        else {
            return plain(
                StatusCode::PAYLOAD_TOO_LARGE,
                "A log filter has at most 1024 bytes.\n",
            );
        };
        let body = body.to_bytes();
        let filter = String::from_utf8_lossy(&body);
        match self.0.logging.set_level(filter.trim()) {
            Ok(()) => plain(StatusCode::OK, format!("{}\n", self.0.logging.level())),
            Err(error) => plain(StatusCode::BAD_REQUEST, format!("{error}\n")),
        }
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

impl InForce {
    fn policies(&self) -> Value {
        let rules = self.policy.rules.iter().map(|rule| {
            let methods: Vec<_> = rule.on.iter().map(|method| method.as_str()).collect();
            let modes = rule.modes.iter();
            let modes: Map<_, _> = modes
                .map(|(alias, mode)| (alias.clone(), mode.as_str().into()))
                .collect();
            json!({
                "id": &*rule.id,
                "check": rule.check,
                "methods": methods,
                "mode": rule.mode.as_str(),
                "modes": modes,
                "status": rule.status.map(|status| status.as_u16()),
            })
        });
        json!([{
            "name": self.policy.name,
            "digest": self.policy.digest,
            "rules": rules.collect::<Vec<_>>(),
            "document": &*self.policy.text,
        }])
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

fn is_loopback(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost")
        || address
            .parse::<IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

fn text(status: StatusCode, media_type: &'static str, body: impl Into<Bytes>) -> Response<Body> {
    let mut answer = Response::new(Body::from(body.into()));
    *answer.status_mut() = status;
    answer
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    answer
        .headers_mut()
        .insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}

fn plain(status: StatusCode, body: impl Into<Bytes>) -> Response<Body> {
    text(status, "text/plain; charset=utf-8", body)
}

fn json(value: &Value) -> Response<Body> {
    text(StatusCode::OK, "application/json", format!("{value:#}\n"))
}

fn not_allowed(methods: &'static str) -> Response<Body> {
    let named = match methods.rsplit_once(", ") {
        Some((others, last)) => format!("{others} and {last}"),
        None => methods.to_owned(),
    };
    let mut answer = plain(
        StatusCode::METHOD_NOT_ALLOWED,
        format!("This path accepts {named}.\n"),
    );
    answer
        .headers_mut()
        .insert(header::ALLOW, HeaderValue::from_static(methods));
    answer
}

fn unread(status: u16) -> Vec<u8> {
    format!("HTTP/1.1 {status} Refused\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
        .into_bytes()
}
