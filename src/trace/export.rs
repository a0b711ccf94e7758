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
    metrics::{Metrics, label::Exported},
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
            self.metrics.spans(Exported::Dropped, 1);
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
        let outcome = self.exporter.export(std::mem::take(batch)).await;
        let Err(error) = outcome else {
            self.metrics.spans(Exported::Exported, count);
            return;
        };
        self.metrics.spans(Exported::Failed, count);
        if let Some(times) = self.pace.event(Instant::now()) {
            warn!(
                %error,
                spans = count,
                times,
                "Spans were not exported; check the collector and OTEL_EXPORTER_OTLP_ENDPOINT"
            );
        }
    }
}
