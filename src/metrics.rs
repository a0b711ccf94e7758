//! Every metric. Label values come from closed sets, settings and policy, never from a request.

use std::{ops::RangeInclusive, time::Duration};

use prometheus::{Encoder, IntCounter, IntGauge, Registry, TextEncoder};

use self::{
    family::{Counters, Gauges},
    label::{
        AdminRefusal, Admission, Certificate, Class, Code, ConnectionOutcome, Eviction, Listener,
        Method, NotRewritten, OwnFailure, Precondition, Predicted, ReloadResult, ReloadSubject,
        RequestError, Route, Side, SnapshotLookup, SnapshotOrigin, Source, SpanOutcome, State,
        TenantCount, TenantOutcome, TlsFailure, TransitionVerdict,
    },
    requests::Requests,
    series::Series,
    table::Table,
    upstream::Upstream,
};

use crate::version;

mod begin;
mod family;
pub mod label;
mod process;
mod reading;
mod refusals;
mod requests;
mod series;
mod table;
pub mod upstream;

pub use reading::Reading;
pub use refusals::Refusals;
pub use series::Decisions;

/// What the name of each metric begins with.
const PREFIX: &str = "referral_gateway_";

/// The label of every tenant without an alias.
pub const OTHER_TENANT: &str = "_other";

/// Every metric of the gateway.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    requests: Requests,
    /// The answers of the gateway itself, by code.
    pub refusals: Refusals,
    /// Requests in flight.
    pub in_flight: IntGauge,
    connections_open: Gauges<Side>,
    connections: Counters<(Side, ConnectionOutcome)>,
    request_errors: Counters<RequestError>,
    own_failures: Counters<OwnFailure>,
    /// URLs of the service that were re-based on the gateway.
    pub urls_rewritten: IntCounter,
    not_rewritten: Counters<NotRewritten>,
    tls_failures: Counters<(Listener, TlsFailure)>,
    certificate_starts: Gauges<Certificate>,
    certificate_ends: Gauges<Certificate>,
    /// What happens on the upstream side.
    pub upstream: Upstream,
    preconditions: Counters<(Precondition, Method)>,
    precondition_failures: Counters<Predicted>,
    /// Writes that the upstream accepted although their entity tag was known to be outdated.
    pub precondition_ignored: IntCounter,
    snapshot_lookups: Counters<SnapshotLookup>,
    snapshot_updates: Counters<SnapshotOrigin>,
    snapshot_evictions: Counters<Eviction>,
    /// Referrals in the snapshot cache.
    pub snapshot_entries: IntGauge,
    limit_decisions: Counters<(Class, Admission)>,
    limit_tenants: Gauges<TenantCount>,
    /// Active cooldowns.
    pub cooldowns_active: IntGauge,
    admin_refusals: Counters<AdminRefusal>,
    deprecated: Counters<Route>,
    reloads: Counters<(ReloadSubject, ReloadResult)>,
    last_reload: Gauges<ReloadSubject>,
    state: Gauges<State>,
    spans: Counters<SpanOutcome>,
    /// Log records dropped because standard output did not take them in time.
    pub log_dropped: IntCounter,
    in_force: Series,
}

impl Metrics {
    /// All metrics. Every series with labels known in advance begins at 0.
    pub fn new() -> Self {
        let table = Table::default();
        let metrics = Self {
            requests: Requests::new(&table),
            refusals: Refusals::default(),
            in_flight: table.gauge("http_requests_in_flight", "Requests in flight."),
            connections_open: table.gauges("connections_open", "Open connections."),
            connections: table.counters("connections_total", "Connection attempts by outcome."),
            request_errors: table.counters(
                "request_errors_total",
                "Errors on the downstream side by kind.",
            ),
            own_failures: table.counters(
                "own_failures_total",
                "Answers that the gateway itself is to blame for, not its caller and not the upstream, by code.",
            ),
            urls_rewritten: table.counter(
                "url_rewrites_total",
                "URLs of the service in answers that were re-based on the gateway.",
            ),
            not_rewritten: table.counters(
                "url_rewrites_skipped_total",
                "Answers, and with reason `context` URLs, that could not be re-based.",
            ),
            tls_failures: table.counters(
                "tls_handshake_failures_total",
                "TLS handshakes of clients that failed, by listener and reason.",
            ),
            certificate_starts: table.gauges(
                "certificate_not_before_timestamp_seconds",
                "The time from which a certificate that the gateway shows is valid, in seconds since 1970; 0 if there is none.",
            ),
            certificate_ends: table.gauges(
                "certificate_not_after_timestamp_seconds",
                "The time at which a certificate that the gateway shows expires, in seconds since 1970; 0 if there is none.",
            ),
            upstream: Upstream::new(&table),
            preconditions: table.counters(
                "preconditions_total",
                "Writes to a referral by the form of If-Match and method.",
            ),
            precondition_failures: table.counters(
                "precondition_failures_total",
                "Upstream 412 responses, by whether the snapshot cache predicted them.",
            ),
            precondition_ignored: table.counter(
                "precondition_ignored_total",
                "Writes accepted by the upstream although their entity tag was known to be outdated.",
            ),
            snapshot_lookups: table.counters(
                "snapshot_lookups_total",
                "Lookups of the state of a referral by result.",
            ),
            snapshot_updates: table.counters(
                "snapshot_updates_total",
                "Snapshots stored, by the answer they came from.",
            ),
            snapshot_evictions: table
                .counters("snapshot_evictions_total", "Snapshots removed, by cause."),
            snapshot_entries: table.gauge("snapshot_entries", "Referrals in the snapshot cache."),
            limit_decisions: table.counters(
                "ratelimit_decisions_total",
                "Decisions of the rate limiter.",
            ),
            limit_tenants: table.gauges(
                "ratelimit_tenants",
                "Tenants and unproven credentials: how many are tracked, and the maximum.",
            ),
            cooldowns_active: table.gauge(
                "cooldowns_active",
                "Cooldowns in force, one for each tenant and class (reads, writes).",
            ),
            admin_refusals: table.counters(
                "admin_refused_total",
                "Requests to the admin listener that were refused, by reason.",
            ),
            deprecated: table.counters(
                "deprecated_requests_total",
                "PUT requests of a referral, which Microsoft calls obsolete.",
            ),
            reloads: table.counters(
                "config_reloads_total",
                "Reloads of settings and policy by result.",
            ),
            last_reload: table.gauges(
                "config_last_reload_successful",
                "1 if the last reload succeeded, else 0.",
            ),
            state: table.gauges("state", "1 for the current state of the gateway, else 0."),
            log_dropped: table.counter(
                "log_records_dropped_total",
                "Log records dropped because standard output did not take them in time.",
            ),
            spans: table.counters("spans_total", "Spans of traces by outcome."),
            in_force: Series::new(&table),
            registry: {
                table
                    .open_gauges("build_info", "The running build.", &["version", "commit"])
                    .with_label_values(&[version::VERSION, version::commit().unwrap_or_default()])
                    .set(1);
                table.into_registry()
            },
        };
        let _ = metrics
            .registry
            .register(Box::new(process::Collector::new()));
        metrics.begin();
        metrics
    }

    /// Gives each of these tenants, and all others together, a series; those of other tenants end.
    pub fn set_known_tenants<'a>(&self, aliases: impl IntoIterator<Item = &'a str>) {
        self.in_force
            .set_tenants(aliases.into_iter().chain([OTHER_TENANT]));
    }

    /// Gives the rules of the policy in force, with their modes, and its statuses their series; those of other policies
    /// end.
    pub fn set_policy<'a>(
        &self,
        digest: &str,
        name: &str,
        rules: impl Iterator<Item = (&'a str, &'static str)>,
        statuses: &[&str],
    ) {
        self.in_force.set_policy(digest, name, rules, statuses);
    }

    /// Settings or a policy were read while the gateway runs.
    pub fn reload(&self, what: ReloadSubject, result: ReloadResult) {
        self.reloads.inc((what, result));
        let succeeded = result != ReloadResult::Failure;
        self.last_reload.set(what, succeeded.into());
    }

    /// A request is over; `code` 0 means that it got no answer.
    pub fn request(&self, route: Route, method: Method, code: u16, source: Source, took: Duration) {
        self.requests
            .count(route, method, Code::of(code), source, took);
    }

    /// The requests so far whose answers came from this source.
    pub fn requests_of(&self, source: Source) -> u64 {
        self.requests.of_source(source)
    }

    /// The time that the gateway itself took up to the head of an answer.
    pub fn overhead(&self, route: Route, took: Duration) {
        self.requests.overhead(route, took);
    }

    /// A connection was opened or refused, or failed to open.
    pub fn connection(&self, side: Side, outcome: ConnectionOutcome) {
        self.connections.inc((side, outcome));
    }

    /// The gauge of open connections of one side.
    pub fn open_connections(&self, side: Side) -> IntGauge {
        self.connections_open.series(side)
    }

    /// An error on the downstream side.
    pub fn request_error(&self, kind: RequestError) {
        self.request_errors.inc(kind);
    }

    /// So many spans are exported, or not.
    pub fn spans(&self, outcome: SpanOutcome, count: usize) {
        self.spans.add(outcome, count as u64);
    }

    /// The gateway itself is to blame for an answer.
    pub fn own_failure(&self, code: OwnFailure) {
        self.own_failures.inc(code);
    }

    /// An answer, or a URL in it, could not be re-based.
    pub fn not_rewritten(&self, reason: NotRewritten) {
        self.not_rewritten.inc(reason);
    }

    /// A TLS handshake of a client failed.
    pub fn tls_failed(&self, listener: Listener, reason: TlsFailure) {
        self.tls_failures.inc((listener, reason));
    }

    /// When a certificate that the gateway shows is valid, in seconds since 1970; `None`: there is none.
    pub fn set_certificate(&self, certificate: Certificate, valid: Option<&RangeInclusive<i64>>) {
        let (start, end) = valid.map_or((0, 0), |valid| (*valid.start(), *valid.end()));
        self.certificate_starts.set(certificate, start);
        self.certificate_ends.set(certificate, end);
    }

    /// The series of a rule of the policy in force, in the mode of this name.
    pub fn decisions(&self, rule: &str, mode: &'static str) -> Decisions {
        self.in_force.decisions(rule, mode)
    }

    /// A transition between two statuses of the policy was judged.
    pub fn transition(&self, from: &str, to: &str, verdict: TransitionVerdict) {
        self.in_force.transition(from, to, verdict);
    }

    /// Gives a repair of this name its series.
    pub fn begin_repair(&self, repair: &'static str) {
        self.in_force.begin_repair(repair);
    }

    /// A request was repaired and sent.
    pub fn repaired(&self, repair: &'static str) {
        self.in_force.repaired(repair);
    }

    /// A write to a referral carried this form of `If-Match`.
    pub fn precondition(&self, kind: Precondition, method: Method) {
        self.preconditions.inc((kind, method));
    }

    /// The upstream answered 412.
    pub fn precondition_failed(&self, predicted: Predicted) {
        self.precondition_failures.inc(predicted);
    }

    /// The state of a referral was looked up.
    pub fn snapshot_lookup(&self, result: SnapshotLookup) {
        self.snapshot_lookups.inc(result);
    }

    /// A snapshot was stored.
    pub fn snapshot_update(&self, from: SnapshotOrigin) {
        self.snapshot_updates.inc(from);
    }

    /// A snapshot was removed.
    pub fn snapshot_evicted(&self, cause: Eviction) {
        self.snapshot_evictions.inc(cause);
    }

    /// The limits admitted a request or refused it.
    pub fn limit_decision(&self, class: Class, outcome: Admission) {
        self.limit_decisions.inc((class, outcome));
    }

    /// How many tenants the limits track, and the maximum.
    pub fn set_tenants(&self, tracked: usize, max: usize) {
        for (state, count) in [(TenantCount::Tracked, tracked), (TenantCount::Max, max)] {
            let count = i64::try_from(count).unwrap_or(i64::MAX);
            self.limit_tenants.set(state, count);
        }
    }

    /// A request of a tenant is over; `alias` is a configured one.
    pub fn tenant_request(&self, alias: Option<&str>, outcome: TenantOutcome) {
        self.in_force.tenant_request(alias, outcome);
    }

    /// A request to the admin listener was refused.
    pub fn admin_refused(&self, reason: AdminRefusal) {
        self.admin_refusals.inc(reason);
    }

    /// The obsolete PUT was used.
    pub fn deprecated(&self, route: Route) {
        self.deprecated.inc(route);
    }

    /// The gateway enters this state.
    pub fn set_state(&self, current: State) {
        for &state in State::ALL {
            self.state.set(state, (state == current).into());
        }
    }

    /// All metrics at this moment.
    pub fn read(&self) -> Reading {
        let _settled = self.in_force.settle();
        Reading(self.registry.gather())
    }

    /// All metrics in Prometheus' text format.
    pub fn text(&self) -> String {
        let mut text = Vec::new();
        let _ = TextEncoder::new().encode(&self.read().0, &mut text);
        String::from_utf8(text).unwrap_or_default()
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}
