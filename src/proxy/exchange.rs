//! The record of one request and its answer, for log and metrics. It is written once, when the answer ends.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue};
use tracing::{Level, enabled};

use super::{InForce, learn::Learner};
use crate::{
    body::{End, Observer},
    metrics::{
        Metrics,
        label::{Method, OwnFailure, RequestError, Route, Source, TenantOutcome, UpstreamError},
    },
    problem::{self, Addressee, Fault, Problem},
    rate_limit::Permit,
    referral::ReferralId,
    telemetry,
    tenant::{Name, Tenant},
    trace::{self, Span},
};

/// The record of one request and its answer.
#[derive(Debug)]
pub struct Exchange {
    metrics: Arc<Metrics>,
    in_force: Arc<InForce>,
    began: Instant,
    waited: Duration,
    method: Method,
    route: Route,
    referral: Option<ReferralId>,
    tenant: Option<Tenant>,
    trace: Option<HeaderValue>,
    span: Option<Box<Span>>,
    /// What an answer of the gateway takes from the request.
    pub addressee: Addressee,
    /// Fields that tell the caller how the request was repaired or warned of.
    pub annotations: HeaderMap,
    permit: Option<Permit>,
    answer: Option<Given>,
    cause: Option<String>,
    /// Only writes go on without their callers.
    sent: Option<Arc<AtomicBool>>,
    answer_bytes: u64,
}

/// The answer that was given.
#[derive(Debug, Clone, Copy)]
struct Given {
    status: u16,
    source: Source,
    code: &'static str,
}

impl Exchange {
    /// Begins the record when the head of a request was read.
    pub fn begin(
        metrics: &Arc<Metrics>,
        in_force: Arc<InForce>,
        method: &http::Method,
        addressee: Addressee,
        span: Option<Box<Span>>,
    ) -> Self {
        metrics.in_flight.inc();
        Self {
            metrics: Arc::clone(metrics),
            in_force,
            began: Instant::now(),
            waited: Duration::ZERO,
            method: method.into(),
            route: Route::Passthrough,
            referral: None,
            tenant: None,
            trace: None,
            span,
            addressee,
            annotations: HeaderMap::new(),
            permit: None,
            answer: None,
            cause: None,
            sent: None,
            answer_bytes: 0,
        }
    }

    /// The settings and policy that handle the request.
    pub fn in_force(&self) -> &Arc<InForce> {
        &self.in_force
    }

    /// Sets the route.
    pub fn set_route(&mut self, route: &super::Route, headers: &HeaderMap) {
        self.route = route.label();
        if let Some(span) = &mut self.span {
            span.routed(self.route);
        }
        if enabled!(Level::INFO) {
            self.referral = route.id().cloned();
            self.trace = match &self.span {
                Some(span) => span.traceparent(),
                None => headers
                    .get("traceparent")
                    .filter(|value| trace::is_traceparent(value.as_bytes()))
                    .cloned(),
            };
        }
    }

    /// The span of the request, if it is traced.
    pub fn span(&self) -> Option<&Span> {
        self.span.as_deref()
    }

    /// Notes the verdict on a write, and the rule that it follows from.
    pub fn judged(&mut self, verdict: &'static str, rule: Option<&str>) {
        if let Some(span) = &mut self.span {
            span.judged(verdict, rule);
        }
    }

    /// Sets the tenant.
    pub fn set_tenant(&mut self, tenant: Tenant) {
        self.tenant = Some(tenant);
    }

    /// Keeps the limiter's permit until the answer ends.
    pub fn set_permit(&mut self, permit: Permit) {
        self.permit = Some(permit);
    }

    /// The limiter's permit.
    pub fn permit(&self) -> Option<&Permit> {
        self.permit.as_ref()
    }

    /// Notes that the upstream may have the request from here on.
    pub fn set_sent(&self) {
        if let Some(sent) = &self.sent {
            sent.store(true, Ordering::Release);
        }
    }

    /// Whether the upstream may have the request.
    pub fn sent(&mut self) -> Arc<AtomicBool> {
        Arc::clone(self.sent.get_or_insert_default())
    }

    /// The route's name.
    pub fn route(&self) -> &'static str {
        self.route.as_str()
    }

    /// The route's label in metrics.
    pub fn route_label(&self) -> Route {
        self.route
    }

    /// The name of the tenant in logs.
    pub fn tenant_name(&self) -> Name<'_> {
        self.tenant
            .map_or(Name::Unknown, |tenant| self.in_force.tenants.name(tenant))
    }

    /// The request id for the log: only letters, digits and hyphens, at most 40, else empty.
    pub fn request_id(&self) -> &str {
        let text = self.addressee.request_id.to_str().unwrap_or_default();
        let is_plain = text.len() <= 40
            && text
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        if is_plain { text } else { "" }
    }

    /// When the head of the request was read.
    pub fn began(&self) -> Instant {
        self.began
    }

    /// Counts this time as waiting for somebody else, not as the gateway's overhead.
    pub fn waited(&mut self, time: Duration) {
        self.waited += time;
    }

    /// Notes that the gateway passes on the upstream's answer.
    pub fn relayed(&mut self, status: u16) {
        self.given(Given {
            status,
            source: Source::Upstream,
            code: "",
        });
    }

    /// Notes that the gateway answers with a problem.
    pub fn answered(&mut self, problem: &Problem) {
        let fault = problem.fault();
        let source = match fault {
            Fault::Policy => Source::Policy,
            Fault::Limit => Source::RateLimit,
            Fault::Cooldown => Source::Cooldown,
            Fault::Downstream | Fault::Gateway | Fault::Upstream => Source::Gateway,
        };
        let error = match problem.code() {
            "body_timeout" => Some(RequestError::BodyTimeout),
            "incomplete_body" => Some(RequestError::BodyIncomplete),
            "header_too_large" => Some(RequestError::HeaderTooLarge),
            "uri_too_long" => Some(RequestError::UriTooLong),
            "internal_error" => Some(RequestError::Panic),
            "bad_host" | "host_mismatch" | "bad_target" | "bad_framing" => {
                Some(RequestError::Malformed)
            }
            _ => None,
        };
        if let Some(error) = error {
            self.metrics.request_error(error);
        }
        if fault == Fault::Gateway {
            let mut codes = OwnFailure::ALL.iter();
            if let Some(&code) = codes.find(|code| code.as_str() == problem.code()) {
                self.metrics.own_failure(code);
            }
        }
        self.cause = problem.cause().map(str::to_owned);
        self.given(Given {
            status: problem.status().as_u16(),
            source,
            code: problem.code(),
        });
    }

    /// Notes that the gateway gives an answer of its own that is no problem.
    pub fn answered_itself(&mut self, status: u16) {
        self.given(Given {
            status,
            source: Source::Gateway,
            code: "",
        });
    }

    fn given(&mut self, answer: Given) {
        self.answer = Some(answer);
        self.metrics
            .overhead(self.route, self.began.elapsed().saturating_sub(self.waited));
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        let took = self.began.elapsed();
        let Given {
            status,
            source,
            code,
        } = self.answer.unwrap_or_else(|| {
            // The caller left before there was an answer.
            self.metrics.request_error(RequestError::ClientGone);
            Given {
                status: 0,
                source: Source::Gateway,
                code: "client_gone",
            }
        });
        self.metrics.in_flight.dec();
        self.metrics
            .request(self.route, self.method, status, source, took);
        if !code.is_empty() {
            self.metrics.refusals.count(code);
        }
        let outcome = match (source, status) {
            (Source::Upstream, _) | (_, 200..=299) => TenantOutcome::Passed,
            (Source::Gateway, 0 | 500..) => TenantOutcome::Failed,
            // It has a status that clients do not repeat.
            (Source::Gateway, _) if code == problem::OUTCOME_UNKNOWN => TenantOutcome::Failed,
            _ => TenantOutcome::Refused,
        };
        let tenants = &self.in_force.tenants;
        let alias = self.tenant.and_then(|tenant| tenants.alias(tenant));
        self.metrics.tenant_request(alias, outcome);
        if let Some(span) = self.span.take() {
            span.end(&trace::Outcome {
                status,
                source: source.as_str(),
                code,
                tenant: self.tenant_name().to_string(),
                request_id: self.request_id(),
            });
        }
        if enabled!(target: "referral_gateway::access", Level::INFO) {
            telemetry::record("referral_gateway::access", "Answered", |line| {
                line.text("method", self.method.as_str());
                line.text("route", self.route.as_str());
                line.text(
                    "referral",
                    self.referral
                        .as_ref()
                        .map(ReferralId::as_str)
                        .unwrap_or_default(),
                );
                line.number("status", status.into());
                line.text("source", source.as_str());
                line.text("code", code);
                line.text("cause", self.cause.as_deref().unwrap_or_default());
                line.shown("tenant", self.tenant_name());
                line.text("request_id", self.request_id());
                let trace = self.trace.as_ref().and_then(|trace| trace.to_str().ok());
                line.text("traceparent", trace.unwrap_or_default());
                line.millis("duration_ms", took);
                line.millis("waited_ms", self.waited);
                line.number("sent_bytes", self.answer_bytes);
            });
        }
    }
}

/// Observes an answer's body to its end: learns from it, then writes the record.
pub struct Tail {
    /// The record, written when it is dropped.
    pub seen: Exchange,
    /// Learns from the body, if there is something to learn.
    pub learner: Option<Box<Learner>>,
}

impl Tail {
    /// That of an answer which nothing is learnt from so far.
    pub fn of(seen: Exchange) -> Self {
        let learner = None;
        Self { seen, learner }
    }
}

impl Observer for Tail {
    fn passed_on(&mut self, bytes: usize) {
        self.seen.answer_bytes += bytes as u64;
    }

    fn data(&mut self, data: &Bytes) {
        if let Some(learner) = &mut self.learner
            && !learner.add(data)
        {
            learner.give_up();
            self.learner = None;
        }
    }

    fn end(self: Box<Self>, how: End) {
        let Self { mut seen, learner } = *self;
        if let (End::Failed | End::Stalled | End::Dropped, Some(learner)) = (how, &learner) {
            learner.give_up();
        }
        match how {
            End::Complete => {
                if let Some(learner) = learner {
                    learner.learn();
                }
            }
            End::Failed | End::Stalled => {
                seen.cause = Some("the answer of the service broke off".to_owned());
                seen.metrics.upstream.failed(UpstreamError::Body);
            }
            End::Dropped => seen.metrics.request_error(RequestError::ClientGone),
        }
    }
}
