//! The way of the spans to the collector: a queue, and a task that empties it.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use opentelemetry::Context;
use opentelemetry_otlp::SpanExporter;
use opentelemetry_sdk::{
    error::OTelSdkResult,
    trace::{Span, SpanData, SpanExporter as _, SpanProcessor},
};
use tokio::{
    sync::{mpsc, oneshot},
    time::timeout,
};
use tracing::warn;

use super::Settings;
use crate::{
    metrics::{Metrics, label::SpanOutcome},
    pace::Pace,
};

/// Takes spans that have ended, and drops them when it is full.
#[derive(Debug)]
pub(super) struct Queue {
    spans: mpsc::Sender<SpanData>,
    metrics: Arc<Metrics>,
}

/// A queue for so many spans.
pub(super) fn queue(size: usize, metrics: &Arc<Metrics>) -> (Queue, mpsc::Receiver<SpanData>) {
    let (spans, received) = mpsc::channel(size);
    let metrics = Arc::clone(metrics);
    (Queue { spans, metrics }, received)
}

impl SpanProcessor for Queue {
    fn on_start(&self, _: &mut Span, _: &Context) {}

    fn on_end(&self, span: SpanData) {
        if self.spans.try_send(span).is_err() {
            self.metrics.spans(SpanOutcome::Dropped, 1);
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        Ok(())
    }
}

/// Empties the queue.
pub(super) struct Exporter {
    exporter: SpanExporter,
    spans: mpsc::Receiver<SpanData>,
    batch: usize,
    delay: Duration,
    timeout: Duration,
    metrics: Arc<Metrics>,
    pace: Pace,
}

impl Exporter {
    pub(super) fn new(
        exporter: SpanExporter,
        spans: mpsc::Receiver<SpanData>,
        settings: &Settings,
        metrics: &Arc<Metrics>,
    ) -> Self {
        Self {
            exporter,
            spans,
            batch: settings.batch,
            delay: settings.delay,
            timeout: settings.timeout,
            metrics: Arc::clone(metrics),
            pace: Pace::default(),
        }
    }

    /// Exports until it is stopped, and then what is left.
    pub(super) async fn run(mut self, mut stopped: oneshot::Receiver<()>) {
        let mut batch = Vec::new();
        loop {
            let is_over = tokio::select! {
                biased;
                _ = &mut stopped => true,
                () = self.fill(&mut batch) => false,
            };
            self.export(&mut batch).await;
            if is_over {
                break;
            }
        }
        self.spans.close();
        while self.spans.recv_many(&mut batch, self.batch).await > 0 {
            self.export(&mut batch).await;
        }
    }

    /// Waits for a span, and then for a full batch, or as long as spans may wait.
    async fn fill(&mut self, batch: &mut Vec<SpanData>) {
        if self.spans.recv_many(batch, self.batch).await == 0 {
            return std::future::pending().await;
        }
        let filling = async {
            while batch.len() < self.batch {
                let room = self.batch - batch.len();
                if self.spans.recv_many(batch, room).await == 0 {
                    break;
                }
            }
        };
        let _ = timeout(self.delay, filling).await;
    }

    async fn export(&mut self, batch: &mut Vec<SpanData>) {
        if batch.is_empty() {
            return;
        }
        let count = batch.len();
        let exporting = self.exporter.export(std::mem::take(batch));
        // The exporter gives each repetition as long again.
        let outcome = match timeout(self.timeout, exporting).await {
            Ok(outcome) => outcome.map_err(|error| error.to_string()),
            Err(_) => Err("it took too long".to_owned()),
        };
        let Err(error) = outcome else {
            self.metrics.spans(SpanOutcome::Exported, count);
            return;
        };
        self.metrics.spans(SpanOutcome::Failed, count);
        if let Some(times) = self.pace.event(Instant::now()) {
            warn!(
                error,
                spans = count,
                times,
                "Spans were not exported; check the collector and OTEL_EXPORTER_OTLP_ENDPOINT"
            );
        }
    }
}
