//! The metrics of one name, with typed labels.

use std::{marker::PhantomData, sync::OnceLock};

use prometheus::{
    HistogramVec, IntCounter, IntCounterVec, IntGaugeVec,
    core::{Collector as _, MetricVec, MetricVecBuilder},
};

use super::label::Label;

/// The metrics of one name. It remembers its series by their labels, so that counting neither hashes text nor takes a
/// lock.
#[derive(Debug)]
pub(super) struct Family<V: Vector, L> {
    all: V,
    known: [OnceLock<(usize, V::Series)>; PLACES],
    labels: PhantomData<L>,
}

pub(super) type Counters<L> = Family<IntCounterVec, L>;
pub(super) type Gauges<L> = Family<IntGaugeVec, L>;
pub(super) type Histograms<L> = Family<HistogramVec, L>;

/// Series that a family remembers. If two share a place, the second is looked up each time.
const PLACES: usize = 64;

impl<V: Vector, L: Labels> Family<V, L> {
    pub(super) fn new(all: V) -> Self {
        Self {
            all,
            known: [const { OnceLock::new() }; PLACES],
            labels: PhantomData,
        }
    }

    /// Shows the series at 0.
    pub(super) fn begin(&self, labels: L) {
        self.series(labels);
    }

    pub(super) fn begin_all(&self, labels: &[L]) {
        for &labels in labels {
            self.begin(labels);
        }
    }

    pub(super) fn series(&self, labels: L) -> V::Series {
        self.all.series(labels.values().as_ref())
    }

    pub(super) fn with(&self, labels: L, change: impl FnOnce(&V::Series)) {
        let index = labels.index();
        let place = self.known.get(index % PLACES);
        match place.and_then(OnceLock::get) {
            Some((known, series)) if *known == index => change(series),
            _ => {
                let series = self.series(labels);
                change(&series);
                let _ = place.map(|place| place.set((index, series)));
            }
        }
    }
}

impl<L: Labels> Counters<L> {
    pub(super) fn inc(&self, labels: L) {
        self.with(labels, IntCounter::inc);
    }

    pub(super) fn add(&self, labels: L, count: u64) {
        self.with(labels, |series| series.inc_by(count));
    }

    /// The sum of all series with this label.
    pub(super) fn sum<A: Label>(&self, label: A) -> u64 {
        let families = self.all.collect();
        let series = families.iter().flat_map(|family| family.get_metric());
        let counted = series.filter(|series| {
            let mut labels = series.get_label().iter();
            labels.any(|pair| pair.name() == A::NAME && pair.value() == label.value())
        });
        // A counter of whole numbers is shown as a float.
        counted
            .map(|series| series.get_counter().get_value() as u64)
            .sum()
    }
}

impl<L: Labels> Gauges<L> {
    pub(super) fn set(&self, labels: L, value: i64) {
        self.with(labels, |series| series.set(value));
    }
}

impl<L: Labels> Histograms<L> {
    pub(super) fn observe(&self, labels: L, value: f64) {
        self.with(labels, |series| series.observe(value));
    }
}

/// The labels of one family: a label, or a tuple of labels.
pub(super) trait Labels: Copy {
    type Texts: AsRef<[&'static str]>;
    fn names() -> Self::Texts;
    fn values(self) -> Self::Texts;
    /// Differs for different values.
    fn index(self) -> usize;
}

impl<A: Label> Labels for A {
    type Texts = [&'static str; 1];

    fn names() -> Self::Texts {
        [A::NAME]
    }

    fn values(self) -> Self::Texts {
        [self.value()]
    }

    fn index(self) -> usize {
        Label::index(self)
    }
}

impl<A: Label, B: Label> Labels for (A, B) {
    type Texts = [&'static str; 2];

    fn names() -> Self::Texts {
        [A::NAME, B::NAME]
    }

    fn values(self) -> Self::Texts {
        [self.0.value(), self.1.value()]
    }

    fn index(self) -> usize {
        self.0.index() * B::COUNT + self.1.index()
    }
}

impl<A: Label, B: Label, C: Label, D: Label> Labels for (A, B, C, D) {
    type Texts = [&'static str; 4];

    fn names() -> Self::Texts {
        [A::NAME, B::NAME, C::NAME, D::NAME]
    }

    fn values(self) -> Self::Texts {
        [
            self.0.value(),
            self.1.value(),
            self.2.value(),
            self.3.value(),
        ]
    }

    fn index(self) -> usize {
        let first = (self.0, self.1).index();
        (first * C::COUNT + self.2.index()) * D::COUNT + self.3.index()
    }
}

/// A vector of series, as the `prometheus` crate keeps it.
pub(super) trait Vector {
    type Series;
    fn series(&self, values: &[&str]) -> Self::Series;
}

impl<B: MetricVecBuilder> Vector for MetricVec<B> {
    type Series = B::M;
    fn series(&self, values: &[&str]) -> B::M {
        self.with_label_values(values)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use prometheus::Opts;

    use super::*;
    use crate::metrics::label::{Code, Method, Route, Source};

    #[test]
    fn each_series_counts_for_itself_also_where_places_are_shared() {
        type All = (Route, Method, Code, Source);
        let vector = IntCounterVec::new(Opts::new("n", "n"), All::names().as_ref());
        let family: Counters<All> = Family::new(vector.expect("a valid name"));
        let mut counted = HashMap::new();
        for round in 0..2 {
            for &route in Route::ALL {
                for &method in Method::ALL {
                    for status in [0, 200, 299, 404, 409, 509, 599, 999] {
                        for &source in Source::ALL {
                            let labels = (route, method, Code::of(status), source);
                            family.inc(labels);
                            let count = counted.entry(labels.values()).or_insert(0);
                            *count += 1;
                            assert_eq!(family.series(labels).get(), *count, "{labels:?} {round}");
                        }
                    }
                }
            }
        }
    }
}
