//! Traces: one span for each request, one below it for each time that it is sent, exported by OTLP.
//!
//! They are on when the environment names a collector. Else nothing of this is made, and `traceparent` and `tracestate`
//! pass as they are. Names and attributes are those of OpenTelemetry's semantic conventions for HTTP (1.44, HTTP spans),
//! except that no id and no query is exported: a URL is that of the route.

mod export;
mod settings;
mod span;

use std::{collections::HashMap, fmt, sync::Arc, time::Duration};

use hyper_rustls::HttpsConnectorBuilder;
use opentelemetry::{KeyValue, trace::TracerProvider as _};
use opentelemetry_http::hyper::HyperClient;
use opentelemetry_otlp::{SpanExporter, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::{
    Resource,
    propagation::TraceContextPropagator,
    trace::{SdkTracer, SdkTracerProvider, SpanExporter as _},
};
use rustls::RootCertStore;
use tokio::{sync::oneshot, task::JoinHandle};

use self::export::Exporter;
use crate::{metrics::Metrics, version};

pub use settings::{Environment, Settings, Warning};
pub use span::{Attempt, Outcome, Span, is_traceparent};

/// The longest wait for the last spans at the end of the program.
const FLUSH: Duration = Duration::from_secs(2);

/// Begins spans.
pub struct Tracer {
    inner: SdkTracer,
    propagator: TraceContextPropagator,
}

/// The export of spans, while the gateway runs.
pub struct Export {
    tracer: Arc<Tracer>,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Export {
    /// Starts to export with these header fields, over TLS to a collector whose certificate is of one of these roots.
    ///
    /// # Errors
    ///
    /// When the environment names a collector that cannot be one.
    pub fn start(
        settings: &Settings,
        headers: HashMap<String, String>,
        roots: RootCertStore,
        metrics: &Arc<Metrics>,
    ) -> anyhow::Result<Self> {
        let tls = rustls::ClientConfig::builder()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_or_http()
            .enable_http1()
            .build();
        let client = HyperClient::new(connector, settings.timeout, None);
        let mut exporter = SpanExporter::builder()
            .with_http()
            .with_http_client(client)
            .with_timeout(settings.timeout)
            .with_headers(headers)
            .build()?;
        exporter.set_resource(&resource());
        let (queue, spans) = export::queue(settings.queue, metrics);
        // The sampler and the limits of spans are those of the environment.
        let provider = SdkTracerProvider::builder()
            .with_span_processor(queue)
            .build();
        let tracer = Tracer {
            inner: provider.tracer("referral-gateway"),
            propagator: TraceContextPropagator::new(),
        };
        let (stop, stopped) = oneshot::channel();
        let exporter = Exporter::new(exporter, spans, settings, metrics);
        Ok(Self {
            tracer: Arc::new(tracer),
            stop,
            task: tokio::spawn(exporter.run(stopped)),
        })
    }

    /// What begins the spans.
    pub fn tracer(&self) -> &Arc<Tracer> {
        &self.tracer
    }

    /// Exports what has ended so far, and waits for it a while.
    pub async fn end(self) {
        let _ = self.stop.send(());
        let _ = tokio::time::timeout(FLUSH, self.task).await;
    }
}

/// Who makes the spans: what `OTEL_RESOURCE_ATTRIBUTES` and `OTEL_SERVICE_NAME` say, else our name.
fn resource() -> Resource {
    const NAME: &str = "service.name";
    let detected = Resource::builder().build();
    let is_named = detected
        .get(&NAME.into())
        .is_some_and(|name| !name.as_str().starts_with("unknown_service"));
    let mut builder = Resource::builder();
    if !is_named {
        builder = builder.with_service_name("referral-gateway");
    }
    builder
        .with_attribute(KeyValue::new("service.version", version::VERSION))
        .build()
}

impl fmt::Debug for Tracer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tracer").finish_non_exhaustive()
    }
}
