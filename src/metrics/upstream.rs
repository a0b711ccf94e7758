//! What is counted on the upstream side.

use std::time::Duration;

use prometheus::IntGauge;

use super::{
    family::{Counters, Gauges, Histograms},
    label::{Code, GivenUp, Method, Protocol, Resent, Route, UpstreamError},
    requests::LATENCY,
    table::Table,
};

/// What is counted on the upstream side.
#[derive(Debug)]
pub struct Upstream {
    requests: Counters<(Method, Code)>,
    seconds: Histograms<Method>,
    errors: Counters<UpstreamError>,
    throttled: Counters<Route>,
    connections: Gauges<Protocol>,
    streams: Gauges<Protocol>,
    resent: Counters<Resent>,
    given_up: Counters<GivenUp>,
    /// When the upstream last answered, in seconds since 1970; 0 before that.
    pub last_success: IntGauge,
    /// When a request last got no usable answer, in seconds since 1970; 0 before that.
    pub last_failure: IntGauge,
}

/// The statuses whose series begin at 0: those that the service documents for a method, and those that tell that it, or a
/// proxy before it, is in trouble. A series that begins at 1 hides its first answer from `increase()`.
fn answers_of(method: Method) -> &'static [u16] {
    match method {
        Method::Get | Method::Head | Method::Options => {
            &[200, 400, 401, 403, 404, 429, 500, 502, 503, 504]
        }
        Method::Put | Method::Patch | Method::Delete => &[
            200, 204, 400, 401, 403, 404, 409, 412, 429, 500, 502, 503, 504,
        ],
        Method::Post => &[200, 201, 400, 401, 403, 404, 409, 429, 500, 502, 503, 504],
        // The gateway sends no such method.
        Method::Other => &[],
    }
}

impl Upstream {
    pub(super) fn new(table: &Table) -> Self {
        Self {
            requests: table.counters(
                "upstream_requests_total",
                "Requests answered by the upstream.",
            ),
            seconds: table.histograms(
                "upstream_request_duration_seconds",
                "Time from sending a request to the head of the upstream's answer.",
                &LATENCY,
            ),
            errors: table.counters(
                "upstream_errors_total",
                "Requests without a usable answer from the upstream, by kind of error.",
            ),
            throttled: table.counters(
                "upstream_throttled_total",
                "Upstream answers that ask to wait: 429, or 503 with Retry-After.",
            ),
            connections: table.gauges(
                "upstream_connections_open",
                "Open connections to the upstream by protocol.",
            ),
            streams: table.gauges(
                "upstream_streams_open",
                "Requests under way on upstream connections by protocol.",
            ),
            resent: table.counters(
                "upstream_requests_resent_total",
                "Requests sent again because the upstream had not processed them, and repeated reads, by reason.",
            ),
            given_up: table.counters(
                "upstream_connections_given_up_total",
                "Upstream connections that are no longer chosen for requests, by reason.",
            ),
            last_success: table.gauge(
                "upstream_last_success_timestamp_seconds",
                "Time of the upstream's last answer; 0 before the first.",
            ),
            last_failure: table.gauge(
                "upstream_last_failure_timestamp_seconds",
                "Time of the last request without a usable answer from the upstream; 0 before the first.",
            ),
        }
    }

    pub(super) fn begin(&self) {
        for &method in Method::ALL {
            for &code in answers_of(method) {
                self.requests.begin((method, Code::of(code)));
            }
            self.seconds.begin(method);
        }
        self.errors.begin_all(UpstreamError::ALL);
        self.throttled.begin_all(Route::ALL);
        for &protocol in Protocol::ALL {
            self.connections.begin(protocol);
            self.streams.begin(protocol);
        }
        self.resent.begin_all(Resent::ALL);
        self.given_up.begin_all(GivenUp::ALL);
    }

    /// The upstream answered.
    pub fn answered(&self, method: Method, code: u16, took: Duration) {
        self.requests.inc((method, Code::of(code)));
        self.seconds.observe(method, took.as_secs_f64());
    }

    /// The upstream gave no usable answer.
    pub fn failed(&self, kind: UpstreamError) {
        self.errors.inc(kind);
    }

    /// The upstream asked to wait.
    pub fn throttled(&self, route: Route) {
        self.throttled.inc(route);
    }

    /// The gauge of open connections of a protocol.
    pub fn connections(&self, protocol: Protocol) -> IntGauge {
        self.connections.series(protocol)
    }

    /// The gauge of requests under way on connections of a protocol.
    pub fn streams(&self, protocol: Protocol) -> IntGauge {
        self.streams.series(protocol)
    }

    /// A request is sent again.
    pub fn resent(&self, reason: Resent) {
        self.resent.inc(reason);
    }

    /// A connection takes no further request.
    pub fn given_up(&self, reason: GivenUp) {
        self.given_up.inc(reason);
    }
}
