//! Makes and registers metrics.

use prometheus::{
    HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
    core::Collector,
};

use super::{
    PREFIX,
    family::{Counters, Family, Gauges, Histograms, Labels},
};

/// Registers the metrics that it makes. Names and labels are constants of this module, so a failure is a bug that the
/// first test shows.
#[derive(Debug, Default)]
pub(super) struct Table(Registry);

impl Table {
    pub(super) fn counters<L: Labels>(&self, name: &str, help: &str) -> Counters<L> {
        Family::new(self.open_counters(name, help, L::names().as_ref()))
    }

    pub(super) fn gauges<L: Labels>(&self, name: &str, help: &str) -> Gauges<L> {
        Family::new(self.open_gauges(name, help, L::names().as_ref()))
    }

    /// `buckets` are upper bounds in seconds.
    pub(super) fn histograms<L: Labels>(
        &self,
        name: &str,
        help: &str,
        buckets: &[f64],
    ) -> Histograms<L> {
        let opts = HistogramOpts::from(opts(name, help)).buckets(buckets.to_vec());
        Family::new(self.add(HistogramVec::new(opts, L::names().as_ref())))
    }

    pub(super) fn counter(&self, name: &str, help: &str) -> IntCounter {
        self.add(IntCounter::with_opts(opts(name, help)))
    }

    pub(super) fn gauge(&self, name: &str, help: &str) -> IntGauge {
        self.add(IntGauge::with_opts(opts(name, help)))
    }

    /// Counters with label values that settings or the policy name.
    pub(super) fn open_counters(&self, name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
        self.add(IntCounterVec::new(opts(name, help), labels))
    }

    /// Gauges with label values that settings or the policy name.
    pub(super) fn open_gauges(&self, name: &str, help: &str, labels: &[&str]) -> IntGaugeVec {
        self.add(IntGaugeVec::new(opts(name, help), labels))
    }

    /// The registry of all metrics that were made.
    pub(super) fn into_registry(self) -> Registry {
        self.0
    }

    fn add<M: Collector + Clone + 'static>(&self, made: prometheus::Result<M>) -> M {
        let metric = made.expect("names and labels are valid constants");
        self.0
            .register(Box::new(metric.clone()))
            .expect("every name is used once");
        metric
    }
}

fn opts(name: &str, help: &str) -> Opts {
    Opts::new(format!("{PREFIX}{name}"), help)
}
