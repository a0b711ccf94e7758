//! All metrics at one moment, to be asked.

use std::collections::BTreeMap;

use prometheus::proto::{Metric, MetricFamily};

use super::PREFIX;

/// All metrics at one moment.
#[derive(Debug)]
pub struct Reading(pub(super) Vec<MetricFamily>);

impl Reading {
    /// The counts of a metric, added up by the values of these labels. Series at 0 are there. `name` has no prefix.
    pub fn counts<const N: usize>(
        &self,
        name: &str,
        labels: [&str; N],
    ) -> BTreeMap<[String; N], u64> {
        let mut counts = BTreeMap::new();
        for series in self.series(name) {
            let values = labels.map(|label| value(series, label).to_owned());
            *counts.entry(values).or_default() += count(series);
        }
        counts
    }

    /// The sum over all series of a metric that `is_meant` accepts by the value of this label.
    pub fn count_where(&self, name: &str, label: &str, is_meant: impl Fn(&str) -> bool) -> u64 {
        let series = self.series(name);
        series
            .filter(|series| is_meant(value(series, label)))
            .map(count)
            .sum()
    }

    /// The sum over all series of a metric.
    pub fn total(&self, name: &str) -> u64 {
        self.series(name).map(count).sum()
    }

    /// The observations of a histogram, all series together: upper bounds, and how many are at or below each. The last
    /// bound is infinite.
    pub fn buckets(&self, name: &str) -> Vec<(f64, u64)> {
        let mut all: Vec<(f64, u64)> = Vec::new();
        let mut observations = 0;
        for series in self.series(name) {
            let histogram = series.get_histogram();
            observations += histogram.get_sample_count();
            for (at, bucket) in histogram.get_bucket().iter().enumerate() {
                match all.get_mut(at) {
                    Some((_, below)) => *below += bucket.cumulative_count(),
                    None => all.push((bucket.upper_bound(), bucket.cumulative_count())),
                }
            }
        }
        all.push((f64::INFINITY, observations));
        all
    }

    fn series(&self, name: &str) -> impl Iterator<Item = &Metric> {
        let family = self.0.iter().find(|family| {
            family
                .name()
                .strip_prefix(PREFIX)
                .is_some_and(|known| known == name)
        });
        debug_assert!(family.is_some(), "there is no metric {name}");
        family.into_iter().flat_map(MetricFamily::get_metric)
    }
}

/// The value of a series that is no histogram.
fn count(series: &Metric) -> u64 {
    // A series has one of the two; the other is read as 0.
    let value = series.get_counter().get_value() + series.get_gauge().get_value();
    value.max(0.0) as u64
}

fn value<'s>(series: &'s Metric, label: &str) -> &'s str {
    let mut labels = series.get_label().iter();
    let label = labels.find(|known| known.name() == label);
    label.map_or("", |label| label.value())
}
