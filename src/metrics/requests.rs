//! The metrics of requests.

use std::time::Duration;

use super::{
    family::{Counters, Histograms},
    label::{Code, Method, Route, Source},
    table::Table,
};

/// Requests by answer, and the time that they took.
#[derive(Debug)]
pub(super) struct Requests {
    answered: Counters<(Route, Method, Code, Source)>,
    seconds: Histograms<(Route, Method)>,
    overhead: Histograms<Route>,
}

/// Upper bounds in seconds.
pub(super) const LATENCY: [f64; 12] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0,
];
/// Upper bounds in seconds.
const OVERHEAD: [f64; 10] = [
    0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.05, 0.25,
];

impl Requests {
    pub(super) fn new(table: &Table) -> Self {
        Self {
            answered: table.counters(
                "http_requests_total",
                "Requests by route, method, status and source of the answer.",
            ),
            seconds: table.histograms(
                "http_request_duration_seconds",
                "Time from the head of a request to the last byte of its answer.",
                &LATENCY,
            ),
            overhead: table.histograms(
                "http_request_overhead_seconds",
                "Time in the gateway itself until the head of the answer, without waiting for downstream or upstream.",
                &OVERHEAD,
            ),
        }
    }

    pub(super) fn begin(&self) {
        for &route in Route::ALL {
            let methods = match route {
                Route::ReferralItem => &[
                    Method::Get,
                    Method::Head,
                    Method::Options,
                    Method::Put,
                    Method::Patch,
                    Method::Delete,
                ][..],
                Route::ReferralList => &[Method::Get, Method::Head, Method::Options],
                Route::ReferralCreate => &[Method::Post],
                Route::Passthrough => Method::ALL,
            };
            for &method in methods {
                self.seconds.begin((route, method));
                for (code, source) in [
                    (200, Source::Upstream),
                    (429, Source::RateLimit),
                    (429, Source::Cooldown),
                    (500, Source::Gateway),
                    (502, Source::Gateway),
                    (503, Source::Gateway),
                    (504, Source::Gateway),
                ] {
                    self.answered.begin((route, method, Code::of(code), source));
                }
                // A write whose outcome is unknown.
                if matches!(
                    method,
                    Method::Put | Method::Patch | Method::Post | Method::Delete
                ) {
                    let code = Code::of(409);
                    self.answered.begin((route, method, code, Source::Gateway));
                }
                let refusals = match (route, method) {
                    (Route::ReferralItem, Method::Put | Method::Patch) => {
                        &[400, 409, 412, 413, 415, 422, 428][..]
                    }
                    (Route::ReferralCreate, Method::Post) => &[400, 413, 415, 422],
                    _ => &[],
                };
                for &code in refusals {
                    let code = Code::of(code);
                    self.answered.begin((route, method, code, Source::Policy));
                }
            }
            self.overhead.begin(route);
        }
    }

    pub(super) fn count(
        &self,
        route: Route,
        method: Method,
        code: Code,
        source: Source,
        took: Duration,
    ) {
        self.answered.inc((route, method, code, source));
        self.seconds.observe((route, method), took.as_secs_f64());
    }

    pub(super) fn of_source(&self, source: Source) -> u64 {
        self.answered.sum(source)
    }

    pub(super) fn overhead(&self, route: Route, took: Duration) {
        self.overhead.observe(route, took.as_secs_f64());
    }
}
