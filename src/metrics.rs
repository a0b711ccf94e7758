//! Every metric, in one table. Labels come from closed sets, never from a request.

use std::{
    collections::HashSet,
    sync::{Mutex, OnceLock, PoisonError},
    time::Duration,
};

use http::Method;
use prometheus::{
    Encoder, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge,
    IntGaugeVec, Opts, Registry, TextEncoder,
    core::{Collector as _, MetricVec, MetricVecBuilder},
};

mod process;

/// The methods as labels; any other method is `other`.
const METHODS: [&str; 8] = [
    "GET", "HEAD", "OPTIONS", "PUT", "PATCH", "POST", "DELETE", "other",
];
/// Whose side a connection is on.
const SIDES: [&str; 2] = ["downstream", "upstream"];
/// How a connection began.
const CONNECTION_OUTCOMES: [(&str, &str); 5] = [
    ("downstream", "accepted"),
    ("downstream", "refused"),
    ("downstream", "failed"),
    ("upstream", "connected"),
    ("upstream", "failed"),
];
/// What goes wrong on the way from the downstream.
const REQUEST_ERRORS: [&str; 8] = [
    "malformed",
    "header_too_large",
    "uri_too_long",
    "header_timeout",
    "body_timeout",
    "body_incomplete",
    "client_gone",
    "panic",
];
/// What goes wrong on the way to the upstream and back.
const UPSTREAM_ERRORS: [&str; 6] = [
    "connect_failed",
    "connect_timeout",
    "closed",
    "bad_answer",
    "response_timeout",
    "body",
];
/// What became of a request of a tenant.
const TENANT_OUTCOMES: [&str; 3] = ["passed", "refused", "failed"];
/// The label of every tenant without an alias.
pub const OTHER_TENANT: &str = "_other";
/// What a reload reads.
const RELOADS: [&str; 2] = ["settings", "policy"];
/// How a reload ends.
const RELOAD_RESULTS: [&str; 3] = ["success", "unchanged", "failure"];
/// Verdicts on a rule.
const VERDICTS: [&str; 6] = ["pass", "would_deny", "warn", "deny", "repaired", "unjudged"];

/// Every metric of the gateway.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    requests: Family<IntCounterVec>,
    request_seconds: Family<HistogramVec>,
    overhead_seconds: Family<HistogramVec>,
    /// Requests under way.
    pub in_flight: IntGauge,
    connections_open: IntGaugeVec,
    connections: IntCounterVec,
    request_errors: IntCounterVec,
    upstream_requests: Family<IntCounterVec>,
    upstream_seconds: Family<HistogramVec>,
    upstream_errors: IntCounterVec,
    upstream_throttled: IntCounterVec,
    decisions: IntCounterVec,
    transitions: IntCounterVec,
    repairs: IntCounterVec,
    policy_info: IntGaugeVec,
    preconditions: Family<IntCounterVec>,
    precondition_failures: IntCounterVec,
    /// Writes that the upstream accepted though the named entity tag was known to be outdated.
    pub precondition_ignored: IntCounter,
    snapshot_lookups: Family<IntCounterVec>,
    snapshot_updates: IntCounterVec,
    snapshot_evictions: IntCounterVec,
    /// Referrals remembered.
    pub snapshot_entries: IntGauge,
    limit_decisions: Family<IntCounterVec>,
    limit_tenants: IntGaugeVec,
    /// Cooldowns in force.
    pub cooldowns_active: IntGauge,
    tenant_requests: IntCounterVec,
    deprecated: Family<IntCounterVec>,
    reloads: IntCounterVec,
    last_reload: IntGaugeVec,
    state: IntGaugeVec,
    /// Held while series come and go together, and while all are read.
    shown: Mutex<Shown>,
    /// Log records that were dropped because nobody read them.
    pub log_dropped: IntCounter,
}

/// What has series of its own for as long as it is in force.
#[derive(Debug, Default)]
struct Shown {
    /// Digest and name.
    policy: (String, String),
    /// Each rule with each of its modes.
    rules: HashSet<(String, &'static str)>,
    statuses: HashSet<String>,
    tenants: HashSet<String>,
}

impl Metrics {
    /// All metrics, every series that can be told in advance at 0.
    pub fn new() -> Self {
        let table = Table(Registry::new());
        let metrics = Self {
            requests: Family::new(table.counters("http_requests_total", "Requests answered, by who gave the answer.", &["route", "method", "code", "source"])),
            request_seconds: Family::new(table.histograms("http_request_duration_seconds", "From the head of a request to the last byte of its answer.", &["route", "method"], &LATENCY)),
            overhead_seconds: Family::new(table.histograms("http_request_overhead_seconds", "Time spent in the gateway itself, without waiting for downstream or upstream.", &["route"], &OVERHEAD)),
            in_flight: table.gauge("http_requests_in_flight", "Requests under way."),
            connections_open: table.gauges("connections_open", "Open connections.", &["side"]),
            connections: table.counters("connections_total", "Connections begun.", &["side", "outcome"]),
            request_errors: table.counters("request_errors_total", "What went wrong on the way from the downstream.", &["kind"]),
            upstream_requests: Family::new(table.counters("upstream_requests_total", "Requests answered by the upstream.", &["method", "code"])),
            upstream_seconds: Family::new(table.histograms("upstream_request_duration_seconds", "From sending a request to the head of the upstream's answer.", &["method"], &LATENCY)),
            upstream_errors: table.counters("upstream_errors_total", "Requests that got no usable answer from the upstream.", &["kind"]),
            upstream_throttled: table.counters("upstream_throttled_total", "Answers of the upstream that ask to wait (429, or 503 with Retry-After).", &["route"]),
            decisions: table.counters("policy_decisions_total", "What a rule made of a judged request.", &["rule", "mode", "verdict"]),
            transitions: table.counters("policy_transitions_total", "Judged status transitions.", &["from", "to", "verdict"]),
            repairs: table.counters("policy_repairs_total", "Repairs of writes that passed.", &["repair"]),
            policy_info: table.gauges("policy_info", "The policy in force.", &["digest", "name"]),
            preconditions: Family::new(table.counters("preconditions_total", "Forms of If-Match on writes to a referral.", &["kind", "method"])),
            precondition_failures: table.counters("precondition_failures_total", "Answers 412 of the upstream, by whether the snapshots foretold them.", &["predicted"]),
            precondition_ignored: table.counter("precondition_ignored_total", "Writes accepted by the upstream though the named entity tag was known to be outdated."),
            snapshot_lookups: Family::new(table.counters("snapshot_lookups_total", "Lookups of the state of a referral.", &["result"])),
            snapshot_updates: table.counters("snapshot_updates_total", "Snapshots learnt, by the answer they came from.", &["from"]),
            snapshot_evictions: table.counters("snapshot_evictions_total", "Snapshots removed.", &["cause"]),
            snapshot_entries: table.gauge("snapshot_entries", "Referrals remembered."),
            limit_decisions: Family::new(table.counters("ratelimit_decisions_total", "Whether a request was admitted.", &["class", "outcome"])),
            limit_tenants: table.gauges("ratelimit_tenants", "Tenants and unproven credentials remembered, and how many may be.", &["state"]),
            cooldowns_active: table.gauge("cooldowns_active", "Tenants and classes held back because the upstream asked for it."),
            tenant_requests: table.counters("tenant_requests_total", "Requests by tenant.", &["tenant", "outcome"]),
            deprecated: Family::new(table.counters("deprecated_requests_total", "Uses of the obsolete PUT.", &["route"])),
            reloads: table.counters("config_reloads_total", "Reloads of settings and policy.", &["what", "result"]),
            last_reload: table.gauges("config_last_reload_successful", "Whether what was read last could be used: 1 if so.", &["what"]),
            shown: Mutex::default(),
            state: table.gauges("state", "The state of the gateway: 1 for the one it is in.", &["state"]),
            log_dropped: table.counter("log_records_dropped_total", "Log records dropped because standard output was not read in time."),
            registry: table.0,
        };
        let build = IntGaugeVec::new(opts("build_info", "The running build."), &["version"]);
        if let Ok(build) = build {
            build.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
            let _ = metrics.registry.register(Box::new(build));
        }
        let _ = metrics
            .registry
            .register(Box::new(process::Collector::new()));
        metrics.begin();
        metrics
    }

    /// Every series that can be told in advance, at 0.
    fn begin(&self) {
        for (route, methods) in [
            (
                "referral_item",
                &["GET", "HEAD", "OPTIONS", "PUT", "PATCH", "DELETE"][..],
            ),
            ("referral_list", &["GET", "HEAD", "OPTIONS"]),
            ("referral_create", &["POST"]),
            ("passthrough", &METHODS),
        ] {
            for method in methods {
                self.request_seconds.begin([route, *method]);
                for (code, source) in [
                    ("200", "upstream"),
                    ("429", "ratelimit"),
                    ("429", "cooldown"),
                    ("502", "gateway"),
                    ("504", "gateway"),
                ] {
                    self.requests.begin([route, *method, code, source]);
                }
            }
            self.overhead_seconds.begin([route]);
            self.upstream_throttled.with_label_values(&[route]);
        }
        for (route, method, codes) in [
            (
                "referral_item",
                "PUT",
                &["400", "409", "412", "413", "415", "422", "428"][..],
            ),
            (
                "referral_item",
                "PATCH",
                &["400", "409", "412", "413", "415", "422", "428"],
            ),
            ("referral_create", "POST", &["400", "413", "415", "422"]),
        ] {
            for code in codes {
                self.requests.begin([route, method, *code, "policy"]);
            }
        }
        for side in SIDES {
            self.connections_open.with_label_values(&[side]);
        }
        for (side, outcome) in CONNECTION_OUTCOMES {
            self.connections.with_label_values(&[side, outcome]);
        }
        for kind in REQUEST_ERRORS {
            self.request_errors.with_label_values(&[kind]);
        }
        for method in METHODS {
            self.upstream_requests.begin([method, "200"]);
            self.upstream_seconds.begin([method]);
        }
        for kind in UPSTREAM_ERRORS {
            self.upstream_errors.with_label_values(&[kind]);
        }
        for method in ["PUT", "PATCH", "DELETE"] {
            for kind in ["strong", "missing", "unusable"] {
                self.preconditions.begin([kind, method]);
            }
        }
        for predicted in ["yes", "no"] {
            self.precondition_failures.with_label_values(&[predicted]);
        }
        for result in [
            "hit",
            "miss",
            "unproven",
            "fetched",
            "moved_on",
            "failed",
            "not_asked",
        ] {
            self.snapshot_lookups.begin([result]);
        }
        for from in ["get", "list", "put", "patch", "post", "fetch"] {
            self.snapshot_updates.with_label_values(&[from]);
        }
        for cause in ["age", "size", "forgotten"] {
            self.snapshot_evictions.with_label_values(&[cause]);
        }
        for class in ["reads", "writes"] {
            for outcome in ["allowed", "limited", "concurrency", "cooldown"] {
                self.limit_decisions.begin([class, outcome]);
            }
        }
        for state in ["tracked", "max"] {
            self.limit_tenants.with_label_values(&[state]);
        }
        for what in RELOADS {
            for result in RELOAD_RESULTS {
                self.reloads.with_label_values(&[what, result]);
            }
            self.last_reload.with_label_values(&[what]).set(1);
        }
        self.set_known_tenants([]);
        self.deprecated.begin(["referral_item"]);
        self.set_state("starting");
    }

    /// These tenants, and all others together, have series of their own; those of other tenants end.
    pub fn set_known_tenants<'a>(&self, aliases: impl IntoIterator<Item = &'a str>) {
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        let aliases = aliases.into_iter().chain([OTHER_TENANT]);
        shown.tenants = aliases.map(str::to_owned).collect();
        for alias in &shown.tenants {
            for outcome in TENANT_OUTCOMES {
                self.tenant_requests.with_label_values(&[alias, outcome]);
            }
        }
        self.end_others(&shown);
    }

    /// The policy in force: its rules with their modes, and its statuses, have series of their own; those of other
    /// policies end.
    pub fn set_policy<'a>(
        &self,
        digest: &str,
        name: &str,
        rules: impl Iterator<Item = (&'a str, &'static str)>,
        statuses: &[&str],
    ) {
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        shown.policy = (digest.to_owned(), name.to_owned());
        shown.rules = rules.map(|(rule, mode)| (rule.to_owned(), mode)).collect();
        shown.statuses = statuses.iter().map(|&status| status.to_owned()).collect();
        self.policy_info.with_label_values(&[digest, name]).set(1);
        for (rule, mode) in &shown.rules {
            for verdict in VERDICTS {
                self.decisions.with_label_values(&[rule, *mode, verdict]);
            }
        }
        for from in statuses {
            for to in statuses {
                for verdict in ["pass", "deny"] {
                    self.transitions.with_label_values(&[*from, *to, verdict]);
                }
            }
        }
        self.end_others(&shown);
    }

    /// Ends the series of tenants, rules and statuses that are not in force any more.
    fn end_others(&self, shown: &Shown) {
        retain(&self.policy_info, ["digest", "name"], |labels| {
            labels == [&shown.policy.0, &shown.policy.1]
        });
        retain(
            &self.decisions,
            ["rule", "mode", "verdict"],
            |[rule, mode, _]| {
                let modes = shown.rules.iter().filter(|(id, _)| id == rule);
                modes.into_iter().any(|(_, shown)| *shown == mode)
            },
        );
        retain(
            &self.transitions,
            ["from", "to", "verdict"],
            |[from, to, _]| shown.statuses.contains(from) && shown.statuses.contains(to),
        );
        retain(
            &self.tenant_requests,
            ["tenant", "outcome"],
            |[alias, _]| shown.tenants.contains(alias),
        );
    }

    /// Settings or a policy were read while the gateway runs.
    pub fn reload(&self, what: &str, result: &str) {
        self.reloads.with_label_values(&[what, result]).inc();
        let usable = i64::from(result != "failure");
        self.last_reload.with_label_values(&[what]).set(usable);
    }

    /// A request is over.
    pub fn request(
        &self,
        route: &'static str,
        method: &'static str,
        code: u16,
        source: &'static str,
        took: Duration,
    ) {
        self.requests
            .with([route, method, code_label(code), source], IntCounter::inc);
        self.request_seconds
            .with([route, method], |series| series.observe(took.as_secs_f64()));
    }

    /// The gateway's own share of the time to the head of an answer.
    pub fn overhead(&self, route: &'static str, took: Duration) {
        self.overhead_seconds
            .with([route], |series| series.observe(took.as_secs_f64()));
    }

    /// A connection began.
    pub fn connection(&self, side: &str, outcome: &str) {
        self.connections.with_label_values(&[side, outcome]).inc();
    }

    /// The gauge of open connections of one side.
    pub fn open_connections(&self, side: &str) -> IntGauge {
        self.connections_open.with_label_values(&[side])
    }

    /// Something went wrong on the way from the downstream.
    pub fn request_error(&self, kind: &str) {
        self.request_errors.with_label_values(&[kind]).inc();
    }

    /// The upstream answered.
    pub fn upstream_answer(&self, method: &'static str, code: u16, took: Duration) {
        self.upstream_requests
            .with([method, code_label(code)], IntCounter::inc);
        self.upstream_seconds
            .with([method], |series| series.observe(took.as_secs_f64()));
    }

    /// The upstream gave no usable answer.
    pub fn upstream_error(&self, kind: &str) {
        self.upstream_errors.with_label_values(&[kind]).inc();
    }

    /// The upstream asked to wait.
    pub fn upstream_throttled(&self, route: &str) {
        self.upstream_throttled.with_label_values(&[route]).inc();
    }

    /// A rule was evaluated.
    pub fn decision(&self, rule: &str, mode: &str, verdict: &str) {
        self.decisions
            .with_label_values(&[rule, mode, verdict])
            .inc();
    }

    /// A transition was judged; both are statuses of the table.
    pub fn transition(&self, from: &str, to: &str, verdict: &str) {
        self.transitions
            .with_label_values(&[from, to, verdict])
            .inc();
    }

    /// A repair that the policy may make.
    pub fn begin_repair(&self, repair: &str) {
        self.repairs.with_label_values(&[repair]);
    }

    /// A request was mended and sent.
    pub fn repaired(&self, repair: &str) {
        self.repairs.with_label_values(&[repair]).inc();
    }

    /// A write to a referral carried this form of `If-Match`.
    pub fn precondition(&self, kind: &'static str, method: &'static str) {
        self.preconditions.with([kind, method], IntCounter::inc);
    }

    /// The upstream answered 412.
    pub fn precondition_failed(&self, predicted: bool) {
        self.precondition_failures
            .with_label_values(&[if predicted { "yes" } else { "no" }])
            .inc();
    }

    /// The state of a referral was looked up.
    pub fn snapshot_lookup(&self, result: &'static str) {
        self.snapshot_lookups.with([result], IntCounter::inc);
    }

    /// A snapshot was learnt.
    pub fn snapshot_update(&self, from: &str) {
        self.snapshot_updates.with_label_values(&[from]).inc();
    }

    /// A snapshot was removed.
    pub fn snapshot_evicted(&self, cause: &str) {
        self.snapshot_evictions.with_label_values(&[cause]).inc();
    }

    /// A request was admitted or not.
    pub fn limit_decision(&self, class: &'static str, outcome: &'static str) {
        self.limit_decisions.with([class, outcome], IntCounter::inc);
    }

    /// Tenants remembered by the limits, and how many may be.
    pub fn set_tenants(&self, tracked: usize, max: usize) {
        for (state, count) in [("tracked", tracked), ("max", max)] {
            self.limit_tenants
                .with_label_values(&[state])
                .set(i64::try_from(count).unwrap_or(i64::MAX));
        }
    }

    /// A request of a tenant is over; `tenant` is a configured alias or [`OTHER_TENANT`].
    pub fn tenant_request(&self, tenant: &str, outcome: &str) {
        self.tenant_requests
            .with_label_values(&[tenant, outcome])
            .inc();
    }

    /// The obsolete PUT was used.
    pub fn deprecated(&self, route: &'static str) {
        self.deprecated.with([route], IntCounter::inc);
    }

    /// The gateway is in this state now.
    pub fn set_state(&self, now: &str) {
        for state in ["starting", "ready", "draining"] {
            self.state
                .with_label_values(&[state])
                .set(i64::from(state == now));
        }
    }

    /// All metrics in Prometheus' text format.
    pub fn text(&self) -> String {
        let shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        // A request under way may have brought back a series of what it began with.
        self.end_others(&shown);
        let mut text = Vec::new();
        let _ = TextEncoder::new().encode(&self.registry.gather(), &mut text);
        String::from_utf8(text).unwrap_or_default()
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

const LATENCY: [f64; 12] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0,
];
const OVERHEAD: [f64; 10] = [
    0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.05, 0.25,
];

/// Metrics of one name that remember their series by the addresses of their labels, which are constants: so a request
/// neither hashes text nor takes a lock to count.
#[derive(Debug)]
struct Family<V: Vector> {
    all: V,
    known: [OnceLock<(Labels, V::Series)>; REMEMBERED],
}

type Labels = [&'static str; 4];

/// Series that a family remembers. One more, or two that fall on the same place, are looked up each time.
const REMEMBERED: usize = 64;

/// What a [`Family`] needs of the metrics of one name.
trait Vector {
    type Series;
    fn series(&self, labels: &[&str]) -> Self::Series;
}

impl Vector for IntCounterVec {
    type Series = IntCounter;
    fn series(&self, labels: &[&str]) -> IntCounter {
        self.with_label_values(labels)
    }
}

impl Vector for HistogramVec {
    type Series = Histogram;
    fn series(&self, labels: &[&str]) -> Histogram {
        self.with_label_values(labels)
    }
}

impl<V: Vector> Family<V> {
    fn new(all: V) -> Self {
        Self {
            all,
            known: [const { OnceLock::new() }; REMEMBERED],
        }
    }

    /// Shows the series from the start, at 0.
    fn begin<const N: usize>(&self, labels: [&'static str; N]) {
        self.all.series(&labels);
    }

    fn with<const N: usize>(&self, labels: [&'static str; N], change: impl FnOnce(&V::Series)) {
        let mut key: Labels = [""; 4];
        key.iter_mut().zip(labels).for_each(|(to, from)| *to = from);
        let mixed = labels.iter().fold(0usize, |mixed, label| {
            (mixed.rotate_left(5) ^ label.as_ptr().addr()).wrapping_mul(0x9e37_79b9_7f4a_7c15)
        });
        let place = self.known.get(mixed >> (usize::BITS - REMEMBERED.ilog2()));
        match place.and_then(OnceLock::get) {
            Some((known, series)) if is_same(known, &key) => change(series),
            _ => {
                let series = self.all.series(&labels);
                change(&series);
                let _ = place.map(|place| place.set((key, series)));
            }
        }
    }
}

/// Two labels at one address are one text; the same text at another address only costs a lookup.
fn is_same(one: &Labels, other: &Labels) -> bool {
    one.iter()
        .zip(other)
        .all(|(one, other)| one.as_ptr() == other.as_ptr() && one.len() == other.len())
}

/// Ends the series whose labels are not to be kept.
fn retain<B: MetricVecBuilder, const N: usize>(
    all: &MetricVec<B>,
    names: [&str; N],
    keep: impl Fn([&str; N]) -> bool,
) {
    for family in all.collect() {
        for series in family.get_metric() {
            let labels = names.map(|name| {
                let mut labels = series.get_label().iter();
                let label = labels.find(|label| label.name() == name);
                label.map_or("", |label| label.value())
            });
            if !keep(labels) {
                let _ = all.remove_label_values(&labels);
            }
        }
    }
}

/// Registers what it makes. Names and labels are constants of this file, so a failure would be a bug that the first test shows.
struct Table(Registry);

fn opts(name: &str, help: &str) -> Opts {
    Opts::new(format!("referral_gateway_{name}"), help)
}

impl Table {
    fn add<M: prometheus::core::Collector + Clone + 'static>(
        &self,
        made: prometheus::Result<M>,
    ) -> M {
        let metric = made.expect("names and labels are valid constants");
        self.0
            .register(Box::new(metric.clone()))
            .expect("every name is used once");
        metric
    }

    fn counters(&self, name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
        self.add(IntCounterVec::new(opts(name, help), labels))
    }

    fn counter(&self, name: &str, help: &str) -> IntCounter {
        self.add(IntCounter::with_opts(opts(name, help)))
    }

    fn gauges(&self, name: &str, help: &str, labels: &[&str]) -> IntGaugeVec {
        self.add(IntGaugeVec::new(opts(name, help), labels))
    }

    fn gauge(&self, name: &str, help: &str) -> IntGauge {
        self.add(IntGauge::with_opts(opts(name, help)))
    }

    fn histograms(&self, name: &str, help: &str, labels: &[&str], buckets: &[f64]) -> HistogramVec {
        self.add(HistogramVec::new(
            HistogramOpts::from(opts(name, help)).buckets(buckets.to_vec()),
            labels,
        ))
    }
}

/// The label of a method.
pub fn method_name(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::OPTIONS => "OPTIONS",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::POST => "POST",
        Method::DELETE => "DELETE",
        _ => "other",
    }
}

/// The statuses that have a label of their own: those of the service's and the gateway's documents.
fn code_label(code: u16) -> &'static str {
    match code {
        200 => "200",
        201 => "201",
        202 => "202",
        204 => "204",
        206 => "206",
        301 => "301",
        302 => "302",
        304 => "304",
        307 => "307",
        308 => "308",
        400 => "400",
        401 => "401",
        403 => "403",
        404 => "404",
        405 => "405",
        406 => "406",
        408 => "408",
        409 => "409",
        410 => "410",
        411 => "411",
        412 => "412",
        413 => "413",
        414 => "414",
        415 => "415",
        416 => "416",
        422 => "422",
        423 => "423",
        428 => "428",
        429 => "429",
        431 => "431",
        500 => "500",
        501 => "501",
        502 => "502",
        503 => "503",
        504 => "504",
        507 => "507",
        509 => "509",
        0 => "none",
        _ => "other",
    }
}
