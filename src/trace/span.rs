//! The spans of one request.

use std::sync::Arc;

use http::{
    HeaderMap, HeaderName, HeaderValue,
    uri::{Authority, Scheme},
};
use opentelemetry::{
    Context, KeyValue,
    propagation::TextMapPropagator as _,
    trace::{Span as _, SpanKind, Status, TraceContextExt as _, TraceFlags, Tracer as _},
};
use opentelemetry_http::HeaderExtractor;
use opentelemetry_sdk::trace;

use super::Tracer;
use crate::metrics::label::{Method, Route};

/// The span of a request, from its head to the end of its answer.
#[derive(Debug)]
pub struct Span {
    inner: trace::Span,
    tracer: Arc<Tracer>,
    /// Whether its caller has named one.
    has_parent: bool,
    method: Method,
    route: Route,
}

/// How a request ended.
#[derive(Debug)]
pub struct Outcome<'a> {
    /// The status; 0 if the caller left before there was one.
    pub status: u16,
    /// Who gave the answer.
    pub source: &'static str,
    /// The code of an answer of the gateway, else empty.
    pub code: &'static str,
    /// The tenant as the log names it.
    pub tenant: String,
    /// The request id as the log has it.
    pub request_id: &'a str,
}

impl Tracer {
    /// Begins the span of a request, below the one that its caller names. `None` if the sampler leaves it out.
    pub fn begin(
        self: &Arc<Self>,
        headers: &HeaderMap,
        method: Method,
        scheme: &str,
    ) -> Option<Box<Span>> {
        let parent = self.parent(headers).unwrap_or_default();
        let builder = self
            .inner
            .span_builder(word(method))
            .with_kind(SpanKind::Server)
            .with_attributes([
                KeyValue::new("http.request.method", shown(method)),
                KeyValue::new("url.scheme", scheme.to_owned()),
            ]);
        let inner = self.inner.build_with_context(builder, &parent);
        inner.span_context().is_sampled().then(|| {
            Box::new(Span {
                inner,
                has_parent: parent.has_active_span(),
                tracer: Arc::clone(self),
                method,
                route: Route::Passthrough,
            })
        })
    }

    /// The span that a caller names, if it names one. One that is not well formed does not count (Trace Context 3.2).
    fn parent(&self, headers: &HeaderMap) -> Option<Context> {
        let mut named = HeaderMap::new();
        let mut values = headers.get_all(TRACEPARENT).iter();
        let value = values.next()?;
        if values.next().is_some() || !is_traceparent(value.as_bytes()) {
            return None;
        }
        named.insert(TRACEPARENT, value.clone());
        // A longer state is passed on, and not kept: spans wait in memory.
        let states = headers.get_all(TRACESTATE).iter();
        if states.map(HeaderValue::len).sum::<usize>() <= MAX_STATE {
            for state in headers.get_all(TRACESTATE) {
                named.append(TRACESTATE, state.clone());
            }
        }
        let context = Context::new();
        Some(
            self.propagator
                .extract_with_context(&context, &HeaderExtractor(&named)),
        )
    }
}

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");
/// The longest `tracestate` that a span keeps: what everybody must be able to pass on (Trace Context 3.3.1.5).
const MAX_STATE: usize = 512;

impl Span {
    /// Names the route.
    pub fn routed(&mut self, route: Route) {
        self.route = route;
        if let Some(template) = template(route) {
            self.inner
                .update_name(format!("{} {template}", word(self.method)));
            self.inner
                .set_attribute(KeyValue::new("http.route", template));
            self.inner
                .set_attribute(KeyValue::new("url.path", template));
        }
    }

    /// Names the verdict on a write, and the rule that it follows from.
    pub fn judged(&mut self, verdict: &'static str, rule: Option<&str>) {
        self.inner
            .set_attribute(KeyValue::new("referral_gateway.verdict", verdict));
        if let Some(rule) = rule {
            self.inner
                .set_attribute(KeyValue::new("referral_gateway.rule", rule.to_owned()));
        }
    }

    /// As `traceparent` has it.
    pub fn traceparent(&self) -> Option<HeaderValue> {
        traceparent(&self.inner)
    }

    /// Begins the span of one time that a request of this method is sent, after so many other times.
    pub fn attempt(
        &self,
        method: Method,
        (scheme, authority): (&Scheme, &Authority),
        others: usize,
    ) -> Attempt {
        let path = template(self.route).unwrap_or_default();
        let port = authority
            .port_u16()
            .unwrap_or(match scheme == &Scheme::HTTPS {
                true => 443,
                false => 80,
            });
        let mut attributes = vec![
            KeyValue::new("http.request.method", shown(method)),
            KeyValue::new("server.address", authority.host().to_owned()),
            KeyValue::new("server.port", i64::from(port)),
            KeyValue::new("url.full", format!("{scheme}://{authority}{path}")),
        ];
        if let Ok(others @ 1..) = i64::try_from(others) {
            attributes.push(KeyValue::new("http.request.resend_count", others));
        }
        let name = match path {
            "" => word(method).to_owned(),
            path => format!("{} {path}", word(method)),
        };
        let tracer = &self.tracer;
        let builder = tracer.inner.span_builder(name);
        let builder = builder
            .with_kind(SpanKind::Client)
            .with_attributes(attributes);
        let parent = Context::new().with_remote_span_context(self.inner.span_context().clone());
        Attempt {
            inner: tracer.inner.build_with_context(builder, &parent),
            continues: self.has_parent,
        }
    }

    /// Ends it.
    pub fn end(mut self, outcome: &Outcome<'_>) {
        let Outcome {
            status,
            source,
            code,
            tenant,
            request_id,
        } = outcome;
        let span = &mut self.inner;
        if *status > 0 {
            span.set_attribute(KeyValue::new(
                "http.response.status_code",
                i64::from(*status),
            ));
        }
        span.set_attribute(KeyValue::new("referral_gateway.source", *source));
        if !code.is_empty() {
            span.set_attribute(KeyValue::new("referral_gateway.code", *code));
        }
        if !tenant.is_empty() {
            span.set_attribute(KeyValue::new("referral_gateway.tenant", tenant.clone()));
        }
        span.set_attribute(KeyValue::new(
            "referral_gateway.request_id",
            (*request_id).to_owned(),
        ));
        // An error of the caller is none of the server.
        if *status >= 500 {
            let kind = if code.is_empty() {
                status.to_string()
            } else {
                (*code).to_owned()
            };
            fail(span, kind);
        }
        span.end();
    }
}

/// The span of one time that a request is sent, until the head of its answer.
#[derive(Debug)]
pub struct Attempt {
    inner: trace::Span,
    /// Whether the trace is one of the caller.
    continues: bool,
}

impl Attempt {
    /// Names this span to the service, in place of the one that the caller named. The state of the caller's trace stays.
    pub fn tell(&self, headers: &mut HeaderMap) {
        if let Some(value) = traceparent(&self.inner) {
            headers.insert(TRACEPARENT, value);
        }
        if !self.continues {
            headers.remove(TRACESTATE);
        }
    }

    /// Ends it with the status of the answer.
    pub fn answered(mut self, status: u16) {
        let code = KeyValue::new("http.response.status_code", i64::from(status));
        self.inner.set_attribute(code);
        if status >= 400 {
            fail(&mut self.inner, status.to_string());
        }
    }

    /// Ends it without an answer.
    pub fn failed(mut self, kind: &'static str) {
        fail(&mut self.inner, kind.to_owned());
    }
}

/// Whether it names a span: `00-<32 hex>-<16 hex>-<2 hex>`, in lower case, with no id of zeros. A later version may have
/// more behind a hyphen; there is no version `ff` (Trace Context 3.2.2).
pub fn is_traceparent(value: &[u8]) -> bool {
    let Some((known, more)) = value.split_at_checked(55) else {
        return false;
    };
    let is_formed = known.iter().enumerate().all(|(at, byte)| match at {
        2 | 35 | 52 => *byte == b'-',
        _ => matches!(byte, b'0'..=b'9' | b'a'..=b'f'),
    });
    let is_zero =
        |part: Option<&[u8]>| part.is_none_or(|part| part.iter().all(|byte| *byte == b'0'));
    let has_ids = !is_zero(known.get(3..35)) && !is_zero(known.get(36..52));
    let ends = match known.get(..2) {
        Some(b"ff") => false,
        Some(b"00") => more.is_empty(),
        _ => more.is_empty() || more.starts_with(b"-"),
    };
    is_formed && has_ids && ends
}

/// A span as `traceparent` has it (Trace Context 3.2.2).
fn traceparent(span: &trace::Span) -> Option<HeaderValue> {
    let context = span.span_context();
    let (trace, span) = (context.trace_id(), context.span_id());
    let flags = context.trace_flags() & TraceFlags::SAMPLED;
    HeaderValue::try_from(format!("00-{trace}-{span}-{flags:02x}")).ok()
}

fn fail(span: &mut trace::Span, kind: String) {
    span.set_attribute(KeyValue::new("error.type", kind));
    span.set_status(Status::error(""));
}

/// The method in the name of a span.
fn word(method: Method) -> &'static str {
    match method {
        Method::Other => "HTTP",
        method => method.as_str(),
    }
}

/// The method as an attribute.
fn shown(method: Method) -> &'static str {
    match method {
        Method::Other => "_OTHER",
        method => method.as_str(),
    }
}

/// The path of a route. Other paths are not exported.
fn template(route: Route) -> Option<&'static str> {
    match route {
        Route::ReferralItem => Some("/v1.0/engagements/referrals/{id}"),
        Route::ReferralList | Route::ReferralCreate => Some("/v1.0/engagements/referrals"),
        Route::Passthrough => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_names_a_span_is_a_traceparent() {
        let (trace, span) = ("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7");
        for good in [
            format!("00-{trace}-{span}-01"),
            format!("01-{trace}-{span}-00"),
            format!("cc-{trace}-{span}-01-what the future will be"),
        ] {
            assert!(is_traceparent(good.as_bytes()), "{good}");
        }
        for bad in [
            String::new(),
            format!("00-{trace}-{span}-1"),
            format!("00-{trace}-{span}-01-"),
            format!("00-{trace}-{span}-011"),
            format!("01-{trace}-{span}-01.x"),
            format!("ff-{trace}-{span}-01"),
            format!("0-{trace}-{span}-01x"),
            "00-1-1-01".to_owned(),
            format!("00-{}-{span}-01", trace.to_uppercase()),
            format!("00-{}-{span}-01", "0".repeat(32)),
            format!("00-{trace}-{}-01", "0".repeat(16)),
            format!("00-{}-{span}-01", trace.replacen('4', "+", 1)),
            format!("00_{trace}_{span}_01"),
        ] {
            assert!(!is_traceparent(bad.as_bytes()), "{bad}");
        }
    }
}
