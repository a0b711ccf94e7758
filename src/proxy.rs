//! The way of a request.

use std::{
    fmt,
    hash::{BuildHasher, RandomState},
    panic::AssertUnwindSafe,
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::{Context, Poll, ready},
    time::{Duration, Instant, SystemTime},
};

use arc_swap::ArcSwap;
use dashmap::DashMap;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Version, header};
use hyper::body::Incoming;
use tokio::{runtime::Handle, sync::OnceCell};
use tokio_util::task::TaskTracker;
use tracing::{error, info};

use self::{
    exchange::{Exchange, Tail},
    judge::{Decision, Fetched},
    learn::{Holds, Learner},
    route::Route,
};
use crate::{
    body::Body,
    cache::Snapshots,
    metrics::{self, Metrics},
    policy::{self, IfMatch, Policy, Verdict},
    problem::{Addressee, Problem},
    rate_limit::{Class, Permit, RateLimit, Terms},
    referral::{EntityTag, ReferralId},
    tenant::{Caller, RepeatedCredential, Tenants},
    upstream::{self, Kind, Sent, Upstream},
};

pub mod exchange;
pub mod headers;
mod judge;
pub mod learn;
pub mod route;

pub use judge::is_alike;

#[cfg(test)]
mod tests;

/// What requests are handled by, as far as it may change while the program runs.
///
/// Each request takes it once, when it begins, and keeps it to its end: no request sees parts of two.
#[derive(Debug)]
pub struct InForce {
    /// How requests are handled.
    pub settings: Settings,
    /// The rules.
    pub policy: Arc<Policy>,
    /// Tells callers apart.
    pub tenants: Tenants,
    /// How much each tenant may ask for.
    pub terms: Terms,
}

/// How requests are handled that need more than being passed on.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Upper bound of the body of a judged request, in bytes.
    pub max_judged_body: usize,
    /// Longest wait between two pieces of a request's body.
    pub body_timeout: Duration,
    /// What to do when the state at the named entity tag is not known.
    pub unknown_state: UnknownState,
    /// What to do when asking the upstream for that state failed.
    pub unknown_state_failed: UnknownStateFailed,
    /// What to do when the referral is known to have moved on from the named entity tag.
    pub stale: Stale,
}

/// What to do when the state at the named entity tag is not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnknownState {
    /// Ask the upstream, with the caller's own credentials.
    Fetch,
    /// Let the write pass, and record that its transition was not judged.
    Forward,
    /// Answer 503.
    Refuse,
}

/// What to do when asking the upstream for the state failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnknownStateFailed {
    /// Answer 503.
    Refuse,
    /// Let the write pass, and record that its transition was not judged.
    Forward,
}

/// What to do when a fetch shows another entity tag than the one the caller named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stale {
    /// Let the upstream answer 412.
    Forward,
    /// Answer 412 here.
    Refuse,
}

/// Everything a request needs on its way.
pub struct Gateway {
    in_force: ArcSwap<InForce>,
    limits: headers::Limits,
    fetch_timeout: Duration,
    rate_limit: Arc<RateLimit>,
    snapshots: Arc<Snapshots>,
    upstream: Arc<Upstream>,
    metrics: Arc<Metrics>,
    fetches: DashMap<(u128, ReferralId), Arc<OnceCell<Fetched>>>,
    request_ids: (RandomState, RandomState, AtomicU64),
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
            upstream: parts.upstream,
            metrics: parts.metrics,
            fetches: DashMap::new(),
            request_ids: (RandomState::new(), RandomState::new(), AtomicU64::new(0)),
            draining: AtomicBool::new(false),
            writes: TaskTracker::new(),
        }
    }

    /// Answers one request, whatever happens.
    ///
    /// A write that was sent is finished even if its caller leaves, so that its outcome is known and recorded; a read is not.
    pub async fn handle(self: Arc<Self>, request: Request<Incoming>) -> Response<Body> {
        let addressee = Addressee {
            request_id: headers::request_id(request.headers(), || self.fresh_id()),
            problem_json: wants_problem_json(request.headers()),
        };
        let seen = Exchange::begin(
            &self.metrics,
            self.in_force(),
            request.method(),
            addressee.clone(),
        );
        // Boxed: hyper keeps room for this future as long as the connection lives.
        if route::is_read(request.method()) {
            return Box::pin(self.respond(request, seen)).await;
        }
        let gateway = Arc::clone(&self);
        let sent = seen.sent();
        Lasting {
            writing: Some(Box::pin(
                async move { gateway.respond(request, seen).await },
            )),
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
    async fn respond(&self, request: Request<Incoming>, mut seen: Exchange) -> Response<Body> {
        let version = request.version();
        let outcome = {
            let passing = pin!(self.pass(request, &mut seen));
            caught(passing).await
        };
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
        let (mut answer, learner) = match outcome {
            Ok(Passed { answer, learner }) => {
                seen.relayed(answer.status().as_u16());
                (answer, learner)
            }
            Err(problem) => {
                close |= problem.ends_connection();
                seen.answered(&problem);
                let mut answer = problem.answer(&seen.addressee);
                answer
                    .headers_mut()
                    .append(header::VIA, headers::via(Version::HTTP_11));
                (answer, None)
            }
        };
        // HTTP/2 says the same by GOAWAY, and only for all its streams together.
        if close && version != Version::HTTP_2 {
            answer
                .headers_mut()
                .insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        answer.map(|body| body.observed(Box::new(Tail { seen, learner })))
    }

    /// Everything that can happen to a request, in the order it happens.
    async fn pass(
        &self,
        request: Request<Incoming>,
        seen: &mut Exchange,
    ) -> Result<Passed, Problem> {
        let in_force = Arc::clone(seen.in_force());
        let (mut head, body) = request.into_parts();
        let route = Route::of(&head.method, head.uri.path());
        if let Ok(route) = &route {
            seen.set_route(route, &head.headers);
        }
        let route = route?;
        headers::admit(&head, self.limits)?;

        if matches!(route, Route::Other | Route::Create) && headers::is_batch(&head) {
            return Err(Problem::BatchNotSupported);
        }

        let caller = in_force
            .tenants
            .identify(&head.headers)
            .map_err(|RepeatedCredential| Problem::RepeatedCredential)?;
        seen.set_tenant(caller.tenant);
        let class = if route::is_read(&head.method) {
            Class::Reads
        } else {
            Class::Writes
        };
        seen.set_permit(self.admit(&in_force.terms, &caller, class)?);

        let version = head.version;
        headers::to_upstream(&mut head.headers, version);
        headers::add_request_id(&mut head.headers, &seen.addressee.request_id);
        self.count_precondition(&head, &route);

        let judged = judged_as(&head.method, &route).and_then(|method| {
            let alias = in_force.tenants.token_alias(&head.headers, &caller);
            let policy = in_force.policy.of(alias);
            policy.judges(method).then_some((method, policy))
        });
        let (request, verdict) = match judged {
            Some((method, policy)) => {
                // Boxed, so that requests that are not judged do not carry its state along.
                let judging = self.judge(policy, head, body, method, route.id(), &caller, seen);
                match Box::pin(judging).await? {
                    Decision::Forward(request, verdict) => (request, verdict),
                    Decision::Relay(answer) => {
                        return Ok(Passed {
                            answer,
                            learner: None,
                        });
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
        let answer = self.send(request).await;
        seen.waited(since);
        let answer = answer.map_err(|error| self.lost(error, write.as_ref(), &caller))?;
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
        Ok(Passed {
            answer: Self::relay(answer, &verdict),
            learner,
        })
    }

    /// May it pass now?
    fn admit(&self, terms: &Terms, caller: &Caller, class: Class) -> Result<Permit, Problem> {
        let admitted = self.rate_limit.admit(terms, caller, class, Instant::now());
        let outcome = admitted
            .as_ref()
            .map_or_else(|refusal| refusal.cause.as_str(), |_| "allowed");
        self.metrics.limit_decision(class.as_str(), outcome);
        admitted.map_err(Problem::Limited)
    }

    /// Sends a request; a read without a body is sent once more if its connection broke before the answer.
    async fn send(&self, request: Request<Body>) -> Result<Response<Body>, upstream::Error> {
        if !route::is_read(request.method()) || !http_body::Body::is_end_stream(request.body()) {
            return self.upstream.send(request).await;
        }
        let (head, body) = request.into_parts();
        let again = head.clone();
        match self.upstream.send(Request::from_parts(head, body)).await {
            Err(error) if error.kind == Kind::Closed => {
                let again = Request::from_parts(again, Body::empty());
                Box::pin(self.upstream.send(again)).await
            }
            outcome => outcome,
        }
    }

    /// No answer came. After a write that may have arrived, nothing is known of the referral any more.
    fn lost(&self, error: upstream::Error, write: Option<&Write>, caller: &Caller) -> Problem {
        if let (Some(write), Sent::Maybe) = (write, error.sent) {
            if let Some(id) = &write.id {
                self.snapshots.forget(caller, id);
            }
            if !matches!(error.kind, Kind::RequestBroken | Kind::RequestTooSlow) {
                return Problem::OutcomeUnknown(error);
            }
        }
        Problem::Upstream(error)
    }

    /// What an answer says about its caller: whether the credential is good, and whether to wait.
    fn note(
        &self,
        answer: &Response<Body>,
        route: &Route,
        class: Class,
        asks_options: bool,
        caller: &Caller,
        seen: &Exchange,
    ) {
        let status = answer.status();
        let in_force = seen.in_force();
        // Anybody may ask for the options of a resource: that answer proves nothing.
        if (route.is_referral() && !asks_options) || status == StatusCode::UNAUTHORIZED {
            note_credential(status, caller, &in_force.tenants);
        }
        let retry_after = answer.headers().get(header::RETRY_AFTER);
        let throttled = status == StatusCode::TOO_MANY_REQUESTS
            || (status == StatusCode::SERVICE_UNAVAILABLE && retry_after.is_some());
        if let (true, Some(permit)) = (throttled, seen.permit()) {
            let asked = retry_after.and_then(waiting_time);
            let wait =
                self.rate_limit
                    .cool_down(&in_force.terms, permit, class, asked, Instant::now());
            self.metrics.upstream_throttled(route.as_str());
            info!(
                tenant = seen.tenant_name(),
                status = status.as_u16(),
                wait_s = wait.as_secs(),
                "The service asked a tenant to wait"
            );
        }
    }

    /// What an answer says about the referral that was written or asked for.
    fn note_write(
        &self,
        answer: &Response<Body>,
        write: &Write,
        outdated: Option<bool>,
        is_learnt: bool,
        caller: &Caller,
    ) {
        let status = answer.status();
        if status == StatusCode::PRECONDITION_FAILED {
            self.metrics.precondition_failed(outdated == Some(true));
        }
        if status.is_success() && outdated == Some(true) {
            self.metrics.precondition_ignored.inc();
        }
        if let Some(id) = &write.id
            // What is about to be learnt takes the place of what was known, when it is.
            && ((status.is_success() && !is_learnt)
                || status.is_server_error()
                || matches!(status.as_u16(), 404 | 410 | 412))
        {
            self.snapshots.forget(caller, id);
        }
    }

    /// What an answer teaches of where referrals stand.
    fn lesson(
        &self,
        answer: &Response<Body>,
        route: &Route,
        method: &Method,
        caller: &Caller,
    ) -> Lesson {
        let headers = answer.headers();
        if let (Route::Item(id), 404 | 410) = (route, answer.status().as_u16()) {
            self.snapshots.forget(caller, id);
        }
        // Nobody could use what is learnt without a credential.
        if caller.credential.is_none() || !learn::is_json(headers) {
            return Lesson::None;
        }
        let (holds, from) = match (route, method.as_str(), answer.status().as_u16()) {
            (Route::Item(id), "GET", 200) => (Holds::One(id.clone()), "get"),
            (Route::Item(id), "PUT", 200 | 201) => (Holds::One(id.clone()), "put"),
            (Route::Item(id), "PATCH", 200) => (Holds::One(id.clone()), "patch"),
            (Route::Create, "POST", 200 | 201) => (Holds::New, "post"),
            (Route::List, "GET", 200) => (Holds::Many, "list"),
            _ => return Lesson::None,
        };
        let tag = learn::header_tag(headers);
        if let (Holds::One(id), Some(tag)) = (&holds, tag)
            && self.snapshots.is_known_tag(caller, id, tag)
        {
            return Lesson::Known;
        }
        let Some(coding) = learn::Coding::of(headers) else {
            return Lesson::None;
        };
        Lesson::Body(Box::new(Learner {
            snapshots: Arc::clone(&self.snapshots),
            metrics: Arc::clone(&self.metrics),
            caller: caller.clone(),
            holds,
            from,
            tag: tag.map(|tag| tag.as_bytes().into()),
            coding,
            pieces: learn::Pieces::default(),
            is_write: !route::is_read(method),
        }))
    }

    /// The upstream's answer as the downstream is to see it.
    fn relay(mut answer: Response<Body>, verdict: &Verdict) -> Response<Body> {
        let version = answer.version();
        headers::to_downstream(answer.headers_mut(), version);
        annotate(answer.headers_mut(), verdict);
        answer
    }

    fn count_precondition(&self, head: &http::request::Parts, route: &Route) {
        if !matches!(route, Route::Item(_))
            || !matches!(head.method, Method::PUT | Method::PATCH | Method::DELETE)
        {
            return;
        }
        let kind = match IfMatch::of(&head.headers) {
            IfMatch::Strong(_) => "strong",
            IfMatch::Missing => "missing",
            _ => "unusable",
        };
        self.metrics
            .precondition(kind, metrics::method_name(&head.method));
        if head.method == Method::PUT {
            self.metrics.deprecated(route.as_str());
        }
    }

    /// A GUID that nobody can foretell, without a system call for each request.
    fn fresh_id(&self) -> HeaderValue {
        let (one, two, count) = &self.request_ids;
        let count = count.fetch_add(1, Ordering::Relaxed);
        let bits = u128::from(one.hash_one(count)) << 64 | u128::from(two.hash_one(count));
        let id = uuid::Builder::from_random_bytes(bits.to_le_bytes()).into_uuid();
        HeaderValue::from_str(&id.to_string()).unwrap_or(HeaderValue::from_static("unknown"))
    }
}

impl fmt::Debug for Gateway {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gateway")
            .field("policy", &self.in_force.load().policy.name)
            .finish_non_exhaustive()
    }
}

/// Tells the downstream what was mended, and what it is warned of.
pub fn annotate(headers: &mut HeaderMap, verdict: &Verdict) {
    if !verdict.repairs().is_empty() {
        let names: Vec<_> = verdict
            .repairs()
            .iter()
            .map(|(_, repair)| repair.as_str())
            .collect();
        if let Ok(value) = names.join(", ").parse() {
            headers.insert(headers::REPAIRED, value);
        }
    }
    for finding in verdict.warnings() {
        // A document's own message may hold any letter, a header's text may not.
        let plain = |letter| match letter {
            '\\' | '"' => '\'',
            ' '..='~' => letter,
            _ => '?',
        };
        let text: String = finding.message.chars().map(plain).collect();
        // RFC 7234 5.5: 299 is a lasting warning of no particular kind.
        let value = format!("299 {} \"{}: {text}\"", headers::PSEUDONYM, finding.code);
        if let Ok(value) = value.parse() {
            headers.append(header::WARNING, value);
        }
    }
}

/// The method by which rules look at a request, if it is one that they can look at.
pub fn judged_as(method: &Method, route: &Route) -> Option<policy::Method> {
    match (route, method) {
        (Route::Item(_), &Method::PUT) => Some(policy::Method::Put),
        (Route::Item(_), &Method::PATCH) => Some(policy::Method::Patch),
        (Route::Create, &Method::POST) => Some(policy::Method::Post),
        _ => None,
    }
}

/// RFC 9110 10.2.3 aside, only the service's own 2xx shows that it accepted a credential.
fn note_credential(status: StatusCode, caller: &Caller, tenants: &Tenants) {
    if status.is_success() {
        tenants.prove(caller);
    } else if status == StatusCode::UNAUTHORIZED {
        tenants.disprove(caller);
    }
}

fn streamed(body: Incoming, pause: Duration) -> Body {
    if http_body::Body::is_end_stream(&body) {
        Body::empty()
    } else {
        Body::streamed(body, pause)
    }
}

/// The upstream's answer, and what may be learnt from its body.
struct Passed {
    answer: Response<Body>,
    learner: Option<Box<Learner>>,
}

/// What an answer teaches of where referrals stand.
enum Lesson {
    /// Nothing.
    None,
    /// What is known already: a tag belongs to one state.
    Known,
    /// What its body says, once it has passed by.
    Body(Box<Learner>),
}

/// A write to a referral or to the collection.
struct Write {
    id: Option<ReferralId>,
    tag: Option<Box<[u8]>>,
}

impl Write {
    /// The write that is sent: a repair may have given it the tag that it names.
    fn of(request: &Request<Body>, route: &Route) -> Option<Self> {
        let tag = || {
            IfMatch::of(request.headers())
                .tag()
                .map(|tag| tag.as_bytes().into())
        };
        (!route::is_read(request.method())).then(|| Self {
            id: route.id().cloned(),
            tag: tag(),
        })
    }

    /// Whether the version that the write names is known to be outdated.
    fn is_outdated(&self, snapshots: &Snapshots, caller: &Caller) -> Option<bool> {
        let tag = EntityTag::parse(self.tag.as_deref()?)?;
        snapshots
            .is_newest(caller, self.id.as_ref()?, tag)
            .map(|newest| !newest)
    }
}

impl From<route::Refused> for Problem {
    fn from(refused: route::Refused) -> Self {
        match refused {
            route::Refused::UnknownMethod => Self::UnknownMethod,
            route::Refused::MethodNotAllowed(method, allowed) => {
                Self::MethodNotAllowed(method, allowed)
            }
            route::Refused::SuspiciousPath => Self::SuspiciousPath,
            route::Refused::Batch => Self::BatchNotSupported,
            route::Refused::UnknownReferralRoute => Self::UnknownReferralRoute,
        }
    }
}

impl From<headers::Refused> for Problem {
    fn from(refused: headers::Refused) -> Self {
        match refused {
            headers::Refused::TooLarge => Self::HeaderTooLarge,
            headers::Refused::TargetTooLong => Self::UriTooLong,
            headers::Refused::BadTarget => Self::BadTarget,
            headers::Refused::BadHost => Self::BadHost,
            headers::Refused::HostMismatch => Self::HostMismatch,
            headers::Refused::BadFraming => Self::BadFraming,
            headers::Refused::ConnectionNames(name) => Self::ConnectionNamesGuardedField(name),
            headers::Refused::MethodOverride(name) => Self::MethodOverride(name),
            headers::Refused::UrlOverride(name) => Self::UrlOverride(name),
            headers::Refused::AmbiguousName(name) => Self::AmbiguousFieldName(name),
            headers::Refused::Loop => Self::Loop,
        }
    }
}

/// A write on its way. When its caller leaves, it is finished in a task of its own if the upstream may have it, and
/// dropped if not.
struct Lasting<'g, F: Future<Output = Response<Body>> + Send + 'static> {
    writing: Option<Pin<Box<F>>>,
    sent: Arc<AtomicBool>,
    writes: &'g TaskTracker,
}

impl<F: Future<Output = Response<Body>> + Send + 'static> Future for Lasting<'_, F> {
    type Output = Response<Body>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let writing = self
            .writing
            .as_mut()
            .expect("a future is not polled after it was ready");
        let answer = ready!(writing.as_mut().poll(cx));
        self.writing = None;
        Poll::Ready(answer)
    }
}

impl<F: Future<Output = Response<Body>> + Send + 'static> Drop for Lasting<'_, F> {
    fn drop(&mut self) {
        if let Some(writing) = self.writing.take()
            && self.sent.load(Ordering::Acquire)
            && let Ok(runtime) = Handle::try_current()
        {
            self.writes.spawn_on(writing, &runtime);
        }
    }
}

/// `Retry-After`: seconds, or a date (RFC 9110 10.2.3).
fn waiting_time(value: &HeaderValue) -> Option<Duration> {
    let text = value.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = httpdate::parse_http_date(text).ok()?;
    Some(date.duration_since(SystemTime::now()).unwrap_or_default())
}

/// Whether a caller takes `application/problem+json`.
pub fn wants_problem_json(headers: &HeaderMap) -> bool {
    let values = headers.get_all(header::ACCEPT).iter();
    values
        .filter_map(|value| value.to_str().ok())
        .any(|text| text.contains("application/problem+json"))
}

/// Runs `step`, or tells the text of its panic: a bug costs one request, not the connection or the process.
async fn caught<F: Future>(mut step: Pin<&mut F>) -> Result<F::Output, String> {
    std::future::poll_fn(move |cx| {
        match std::panic::catch_unwind(AssertUnwindSafe(|| step.as_mut().poll(cx))) {
            Ok(Poll::Ready(outcome)) => Poll::Ready(Ok(outcome)),
            Ok(Poll::Pending) => Poll::Pending,
            Err(panic) => {
                let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
                Poll::Ready(Err(text
                    .or_else(|| panic.downcast_ref::<String>().cloned())
                    .unwrap_or_default()))
            }
        }
    })
    .await
}
