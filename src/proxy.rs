//! The way of a request.

use std::{
    fmt,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use http::{HeaderValue, Method, Request, Response, Version, header, uri::Scheme};
use tokio_util::task::TaskTracker;
use tracing::error;

use self::{
    accept::wants_problem_json,
    bodies::{Rooms, streamed},
    entry::annotate,
    exchange::{Exchange, Tail},
    fetch::Fetches,
    judge::{Judge, Judgement},
    lasting::{Lasting, caught},
    learn::Learner,
    outcome::{Lesson, Write},
    request_ids::RequestIds,
    route::Route,
};
use crate::{
    body::{Body, Inbound},
    cache::Snapshots,
    metrics::{Metrics, label},
    policy::Verdict,
    problem::{Addressee, Problem},
    rate_limit::{Cause, Class, Permit, RateLimit, Terms},
    rebase::{Asked, Hosts},
    telemetry::Recent,
    tenant::Caller,
    trace::Tracer,
    upstream::Upstream,
};

pub mod accept;
mod bodies;
mod decision;
pub mod entry;
pub mod exchange;
mod fetch;
pub mod headers;
mod in_force;
mod judge;
mod lasting;
pub mod learn;
pub mod max_forwards;
mod outcome;
mod relay;
mod request_ids;
mod retry_after;
pub mod route;

pub use crate::rebase::RewriteUrls;
pub use in_force::{InForce, RuleDecisions, Settings};

#[cfg(test)]
mod tests;

/// Everything a request needs on its way.
pub struct Gateway {
    in_force: ArcSwap<InForce>,
    limits: headers::Limits,
    fetch_timeout: Duration,
    rate_limit: Arc<RateLimit>,
    snapshots: Arc<Snapshots>,
    upstream: Arc<Upstream>,
    /// Those of the service.
    hosts: Arc<Hosts>,
    metrics: Arc<Metrics>,
    decisions: Arc<Recent>,
    tracer: Option<Arc<Tracer>>,
    fetches: Fetches,
    rooms: Rooms,
    request_ids: RequestIds,
    draining: AtomicBool,
    writes: TaskTracker,
}

/// The parts that a gateway is made of.
pub struct Parts {
    /// What requests are handled by at first.
    pub in_force: InForce,
    /// Bounds of a request's header section.
    pub limits: headers::Limits,
    /// Longest time for the gateway's own GET, its body included.
    pub fetch_timeout: Duration,
    /// Admits requests.
    pub rate_limit: Arc<RateLimit>,
    /// Remembers states.
    pub snapshots: Arc<Snapshots>,
    /// Sends requests.
    pub upstream: Arc<Upstream>,
    /// Counts.
    pub metrics: Arc<Metrics>,
    /// Keeps the last decision records.
    pub decisions: Arc<Recent>,
    /// Begins the spans of requests, if they are traced.
    pub tracer: Option<Arc<Tracer>>,
}

impl Gateway {
    /// A gateway of these parts.
    pub fn new(parts: Parts) -> Self {
        Self {
            in_force: ArcSwap::from_pointee(parts.in_force),
            limits: parts.limits,
            fetch_timeout: parts.fetch_timeout,
            rate_limit: parts.rate_limit,
            snapshots: parts.snapshots,
            hosts: Arc::new(Hosts::of(parts.upstream.authority())),
            upstream: parts.upstream,
            metrics: parts.metrics,
            decisions: parts.decisions,
            tracer: parts.tracer,
            fetches: Fetches::new(),
            rooms: Rooms::default(),
            request_ids: RequestIds::default(),
            draining: AtomicBool::new(false),
            writes: TaskTracker::new(),
        }
    }

    /// Answers one request, whatever happens. `scheme` is that of the listener.
    ///
    /// A write that was sent is finished even if its caller leaves, so that its outcome is known and recorded; a read is not.
    pub async fn handle(
        self: Arc<Self>,
        request: Request<Inbound>,
        scheme: &'static Scheme,
    ) -> Response<Body> {
        let addressee = Addressee {
            request_id: headers::request_id(request.headers(), || self.request_ids.fresh()),
            problem_json: wants_problem_json(request.headers()),
        };
        let span = self.tracer.as_ref();
        let span = span.and_then(|tracer| {
            tracer.begin(request.headers(), request.method().into(), scheme.as_str())
        });
        let mut tail = Box::new(Tail::of(Exchange::begin(
            &self.metrics,
            self.in_force(),
            request.method(),
            addressee,
            span,
        )));
        // Boxed: hyper keeps room for this future as long as the connection lives.
        if route::is_read(request.method()) {
            return Box::pin(self.respond(request, scheme, tail)).await;
        }
        let gateway = Arc::clone(&self);
        let sent = tail.seen.sent();
        Lasting {
            writing: Some(Box::pin(async move {
                gateway.respond(request, scheme, tail).await
            })),
            sent,
            writes: &self.writes,
        }
        .await
    }

    /// What requests that begin now are handled by.
    pub fn in_force(&self) -> Arc<InForce> {
        self.in_force.load_full()
    }

    /// Handles requests that begin from here on by this; those under way keep what they have.
    pub fn put_in_force(&self, new: InForce) {
        self.in_force.store(Arc::new(new));
    }

    /// From here on each answer asks its connection to be closed.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    /// Waits for the writes whose callers have left.
    pub async fn finish_writes(&self) {
        self.writes.close();
        self.writes.wait().await;
    }

    /// Turns what happened into an answer, and hands the record to the answer's body.
    async fn respond(
        &self,
        request: Request<Inbound>,
        scheme: &Scheme,
        mut tail: Box<Tail>,
    ) -> Response<Body> {
        let version = request.version();
        let outcome = {
            let passing = pin!(self.pass(request, scheme, &mut tail.seen));
            caught(passing).await
        };
        let Tail { seen, learner } = &mut *tail;
        let outcome = match outcome {
            Ok(outcome) => outcome,
            Err(panic) => {
                error!(
                    request_id = seen.request_id(),
                    panic, "A bug: the handling of a request panicked"
                );
                Err(Problem::Internal)
            }
        };
        let mut close = self.draining.load(Ordering::Relaxed);
        let mut answer = match outcome {
            Ok(Passed::Relayed(answer, learnt_by)) => {
                seen.relayed(answer.status().as_u16());
                *learner = learnt_by;
                answer
            }
            Ok(Passed::Options(allowed)) => {
                let answer = max_forwards::answer(allowed, &seen.addressee);
                seen.answered_itself(answer.status().as_u16());
                ours(answer.map(Body::from))
            }
            Err(problem) => {
                close |= problem.ends_connection();
                seen.answered(&problem);
                let mut answer = problem.answer(&seen.addressee);
                if let Problem::OutcomeUnknown(..) = problem {
                    answer
                        .headers_mut()
                        .extend(std::mem::take(&mut seen.annotations));
                }
                ours(answer)
            }
        };
        // HTTP/2 says the same by GOAWAY, and only for all its streams together.
        if close && version != Version::HTTP_2 {
            answer
                .headers_mut()
                .insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        let mut answer = answer.map(|body| body.observed(tail));
        if answer.body().is_to_settle() {
            Box::pin(answer.body_mut().settle()).await;
        }
        answer
    }

    /// Everything that can happen to a request, in the order it happens.
    async fn pass(
        &self,
        request: Request<Inbound>,
        scheme: &Scheme,
        seen: &mut Exchange,
    ) -> Result<Passed, Problem> {
        let in_force = Arc::clone(seen.in_force());
        let (mut head, body) = request.into_parts();
        let (route, caller) = entry::check(&head, self.limits, &in_force.tenants, |route| {
            seen.set_route(route, &head.headers);
        })?;
        seen.set_tenant(caller.tenant);
        let class = if route::is_read(&head.method) {
            Class::Reads
        } else {
            Class::Writes
        };
        seen.set_permit(self.admit(&in_force.terms, &caller, class, seen.began())?);
        if max_forwards::ends_here(&head) {
            return Ok(Passed::Options(route::allowed(head.uri.path())));
        }

        let asked = Asked::of(&head, scheme, &in_force.settings.rewrite_urls);
        entry::prepare(&mut head, &seen.addressee.request_id);
        self.count_precondition(&head, &route);

        let alias = || in_force.tenants.token_alias(&head.headers, &caller);
        let judged = entry::judged_by(&in_force.policy, alias, &head.method, &route);
        // Until the upstream has answered.
        let mut held = self.rooms.enter(caller.payer);
        let (request, verdict) = match judged {
            Some((method, policy)) => {
                let judge = Judge {
                    gateway: self,
                    policy,
                    method,
                    id: route.id(),
                    caller: &caller,
                };
                // Boxed, so that requests that are not judged do not carry its state along.
                match Box::pin(judge.judge(head, body, &mut held, seen)).await? {
                    Judgement::Forward(request, verdict) => (request, verdict),
                    Judgement::Relay(answer) => {
                        return Ok(Passed::Relayed(self.rebased(answer, asked), None));
                    }
                }
            }
            None => (
                Request::from_parts(head, streamed(body, in_force.settings.body_timeout)),
                Verdict::default(),
            ),
        };

        let method = request.method().clone();
        let write = Write::of(&request, &route);
        let is_plain = learn::is_plain_query(&route, request.uri().query());
        let outdated = write
            .as_ref()
            .and_then(|write| write.is_outdated(&self.snapshots, &caller));
        seen.set_sent();
        let since = Instant::now();
        let mut request = Some(request);
        let sending = self.upstream.send(&mut request, since, seen.span());
        let (answer, waited) = sending.await;
        seen.waited(waited);
        let answer = answer.map_err(|error| {
            // Whoever has to look what became of the write must know what was sent.
            annotate(&mut seen.annotations, &verdict);
            self.lost(error, write.as_ref(), &caller)
        })?;
        self.note(
            &answer,
            &route,
            class,
            method == Method::OPTIONS,
            &caller,
            seen,
        );
        let lesson = if is_plain {
            self.lesson(&answer, &route, &method, &caller)
        } else {
            Lesson::None
        };
        if let Some(write) = &write {
            let is_learnt = !matches!(lesson, Lesson::None);
            self.note_write(&answer, write, outdated, is_learnt, &caller);
        }
        let learner = match lesson {
            Lesson::Body(learner) => Some(learner),
            Lesson::Known | Lesson::None => None,
        };
        let answer = Self::relay(self.rebased(answer, asked), &verdict);
        Ok(Passed::Relayed(answer, learner))
    }

    /// May it pass now?
    fn admit(
        &self,
        terms: &Terms,
        caller: &Caller,
        class: Class,
        now: Instant,
    ) -> Result<Permit, Problem> {
        let admitted = self.rate_limit.admit(terms, caller, class, now);
        let class = match class {
            Class::Reads => label::Class::Reads,
            Class::Writes => label::Class::Writes,
        };
        let outcome = match admitted.as_ref().map_err(|refusal| refusal.cause) {
            Ok(_) => label::Admission::Allowed,
            Err(Cause::Rate) => label::Admission::Limited,
            Err(Cause::Concurrency) => label::Admission::Concurrency,
            Err(Cause::Cooldown) => label::Admission::Cooldown,
        };
        self.metrics.limit_decision(class, outcome);
        admitted.map_err(Problem::Limited)
    }
}

impl fmt::Debug for Gateway {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gateway")
            .field("policy", &self.in_force.load().policy.name)
            .finish_non_exhaustive()
    }
}

/// An answer that the gateway itself gives.
fn ours(mut answer: Response<Body>) -> Response<Body> {
    let headers = answer.headers_mut();
    headers.append(header::VIA, headers::via(Version::HTTP_11));
    answer
}

/// What comes of a request that is not refused.
enum Passed {
    /// The upstream's answer, and what may be learnt from its body.
    Relayed(Response<Body>, Option<Box<Learner>>),
    /// OPTIONS that may not be forwarded; the methods of its path follow.
    Options(&'static str),
}
