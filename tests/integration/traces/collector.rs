//! A collector of traces, and what it receives.

use std::{collections::BTreeMap, io::Read as _};

use flate2::read::GzDecoder;
use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest,
    common::v1::{AnyValue, KeyValue, any_value::Value},
    trace::v1::{Span as Encoded, span::SpanKind, status::StatusCode},
};
use prost::Message as _;

use crate::support::{Upstream, eventually, reply};

/// A collector of traces.
pub(super) struct Collector(pub(super) Upstream);

/// A span that a collector has received.
#[derive(Debug, Clone)]
pub(super) struct Span {
    pub(super) kind: SpanKind,
    pub(super) name: String,
    pub(super) trace: String,
    pub(super) id: String,
    pub(super) parent: String,
    pub(super) state: String,
    pub(super) is_error: bool,
    pub(super) attributes: BTreeMap<String, String>,
    /// Of the whole process.
    pub(super) resource: BTreeMap<String, String>,
}

impl Collector {
    /// One that answers with this status.
    pub(super) async fn answering(status: u16) -> Self {
        Self(Upstream::with(move |_| async move { Some(reply(status, "")) }).await)
    }

    pub(super) async fn start() -> Self {
        Self::answering(200).await
    }

    /// The spans so far.
    pub(super) fn spans(&self) -> Vec<Span> {
        let mut spans = Vec::new();
        for seen in self.0.seen().iter().filter(|seen| seen.is_complete) {
            assert_eq!(
                (seen.method.as_str(), seen.target().as_str()),
                ("POST", "/v1/traces")
            );
            let is_packed = seen.header("content-encoding").is_some();
            let mut bytes = seen.body.clone();
            if is_packed {
                bytes.clear();
                GzDecoder::new(&seen.body[..])
                    .read_to_end(&mut bytes)
                    .unwrap();
            }
            let all = ExportTraceServiceRequest::decode(&bytes[..]).unwrap();
            for of_resource in all.resource_spans {
                let resource = named(&of_resource.resource.unwrap().attributes);
                let scopes = of_resource.scope_spans.into_iter();
                for span in scopes.flat_map(|scope| scope.spans) {
                    spans.push(Span::of(span, resource.clone()));
                }
            }
        }
        spans
    }

    /// The spans, once there are so many.
    pub(super) async fn until(&self, count: usize) -> Vec<Span> {
        eventually("the spans", async || self.spans().len() >= count).await;
        let spans = self.spans();
        assert_eq!(spans.len(), count, "{spans:#?}");
        spans
    }

    /// The span of the request, and those below it in the order that they began, once there are so many below it.
    pub(super) async fn request(&self, attempts: usize) -> (Span, Vec<Span>) {
        let mut spans = self.until(attempts + 1).await;
        let at = spans
            .iter()
            .position(|span| span.kind == SpanKind::Server)
            .unwrap();
        let server = spans.remove(at);
        for span in &spans {
            assert_eq!(span.kind, SpanKind::Client);
            assert_eq!(
                (&span.trace, &span.parent),
                (&server.trace, &server.id),
                "{span:?}"
            );
        }
        (server, spans)
    }
}

impl Span {
    fn of(span: Encoded, resource: BTreeMap<String, String>) -> Self {
        assert!(
            span.start_time_unix_nano > 0 && span.end_time_unix_nano >= span.start_time_unix_nano
        );
        Self {
            kind: span.kind(),
            trace: hex(&span.trace_id),
            id: hex(&span.span_id),
            parent: hex(&span.parent_span_id),
            state: span.trace_state,
            is_error: span
                .status
                .is_some_and(|status| status.code() == StatusCode::Error),
            attributes: named(&span.attributes),
            name: span.name,
            resource,
        }
    }

    pub(super) fn attribute(&self, name: &str) -> &str {
        self.attributes.get(name).map_or("", String::as_str)
    }

    /// As the `traceparent` of what comes below it.
    pub(super) fn traceparent(&self) -> String {
        format!("00-{}-{}-01", self.trace, self.id)
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn named(attributes: &[KeyValue]) -> BTreeMap<String, String> {
    let text =
        |value: &Option<AnyValue>| match value.as_ref().and_then(|value| value.value.as_ref()) {
            Some(Value::StringValue(text)) => text.clone(),
            Some(Value::IntValue(number)) => number.to_string(),
            other => panic!("{other:?}"),
        };
    let pairs = attributes
        .iter()
        .map(|pair| (pair.key.clone(), text(&pair.value)));
    pairs.collect()
}
