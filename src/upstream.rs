//! Sends a request, gets an answer.

use std::{
    fmt,
    pin::{Pin, pin},
    sync::Arc,
    time::{Duration, Instant},
};

use http::{
    HeaderValue, Request, Response, header,
    uri::{Authority, Scheme},
};
use hyper::body::Incoming;
use tracing::info;

use self::{
    connector::{Dialer, connector, uri},
    error::is_unsolicited,
    failure::Refusals,
    pool::Pool,
    progress::Progress,
    taken::Return,
};
use crate::{
    body::{self, Body, Inbound},
    metrics::{
        Metrics,
        label::{self, Certificate, ConnectionOutcome, Method, Side},
    },
    trace::{Attempt, Span},
};

mod address;
mod attend;
mod bounded;
mod cause;
pub mod check;
mod connector;
mod error;
mod failure;
mod frames;
mod health;
mod issuer;
mod kept;
mod no_proxy;
mod pool;
mod progress;
mod settings;
mod signals;
mod stream;
mod taken;
mod trust;
mod tunnel;
mod way;
mod wire;

pub use cause::Reason;
pub use connector::Proxy;
pub use error::{Error, Kind, Sent};
pub use frames::{Frame, Frames};
pub use health::{Failure, Health};
pub use settings::{Settings, SetupError, Target};
pub use trust::{Trust, check_authority, platform_roots};

/// The client side: a pool of connections to one target.
pub struct Upstream {
    pool: Pool,
    dialer: Dialer,
    scheme: Scheme,
    authority: Authority,
    /// The authority as `Host` has it.
    host: HeaderValue,
    response_timeout: Duration,
    idle_body_timeout: Duration,
    metrics: Arc<Metrics>,
    health: Health,
}

/// How many times a request is sent that the upstream has provably not processed.
const MAX_ATTEMPTS: usize = 4;
/// What [`Upstream::send`] must be given.
const A_REQUEST: &str = "a request to send";

impl Upstream {
    /// A pool for this target; connections are opened when they are needed.
    ///
    /// # Panics
    ///
    /// When the target is the simulator, which has no address of its own: `app` starts it and names its address.
    pub fn new(settings: &Settings, trust: Trust, proxy: Proxy, metrics: &Arc<Metrics>) -> Self {
        let (scheme, authority) = match &settings.target {
            Target::Service { scheme, authority } => (scheme.clone(), authority.clone()),
            Target::Simulator => {
                unreachable!("the simulator is started before its address is used")
            }
        };
        let target = uri(&scheme, &authority);
        trust.tell();
        metrics.set_certificate(Certificate::UpstreamClient, trust.client_valid.as_ref());
        if let Some(proxy) = proxy.address() {
            info!(proxy, "Using a proxy for the upstream");
        }
        let dialer = Dialer::new(proxy, metrics.open_connections(Side::Upstream));
        let host = HeaderValue::from_str(authority.as_str())
            .expect("an authority is made of visible ASCII letters");
        let health = Health::new(format!("{scheme}://{authority}"), metrics);
        Self {
            pool: Pool::new(
                connector(dialer.clone(), trust.config),
                target,
                pool::Settings {
                    connect_timeout: settings.connect_timeout,
                    idle_timeout: settings.pool_idle_timeout,
                    patience: settings.idle_body_timeout,
                    response_timeout: settings.response_timeout,
                    max_connections: settings.max_connections,
                },
                Arc::clone(metrics),
            ),
            dialer,
            scheme,
            authority,
            host,
            response_timeout: settings.response_timeout,
            idle_body_timeout: settings.idle_body_timeout,
            metrics: Arc::clone(metrics),
            health,
        }
    }

    /// Verifies new connections by this; open ones stay.
    pub fn set_trust(&self, trust: Trust) {
        trust.tell();
        self.metrics
            .set_certificate(Certificate::UpstreamClient, trust.client_valid.as_ref());
        self.pool
            .set_connector(connector(self.dialer.clone(), trust.config));
    }

    /// Its host, with the port if one is written.
    pub fn authority(&self) -> &Authority {
        &self.authority
    }

    /// Whether the upstream answers.
    pub fn health(&self) -> &Health {
        &self.health
    }

    /// Sends a request, which it takes, to its path at the upstream and waits for the head of the answer. The body is
    /// streamed. Returns how long that took from `now` on, too.
    ///
    /// A request is sent again if the upstream has provably not processed it: its connection closed before it was sent, or
    /// the upstream says so (RFC 9113 6.8, 8.7). A read without a body is also repeated once if its connection broke before
    /// the answer.
    ///
    /// # Errors
    ///
    /// When no usable answer came.
    ///
    /// # Panics
    ///
    /// When there is no request.
    // By reference: else each future on the way would hold the request, and copy it to the next one.
    pub async fn send(
        &self,
        request: &mut Option<Request<Body>>,
        now: Instant,
        span: Option<&Span>,
    ) -> (Result<Response<Body>, Error>, Duration) {
        let method = Method::from(request.as_ref().expect(A_REQUEST).method());
        let mut attempt = None;
        let trace = span.map(|span| (span, method));
        let outcome = self.answer(request, now, trace, &mut attempt).await;
        let then = Instant::now();
        let took = then.saturating_duration_since(now);
        match &outcome {
            Ok(answer) => {
                if let Some(attempt) = attempt {
                    attempt.answered(answer.status().as_u16());
                }
                self.health.answered(then);
                self.metrics
                    .upstream
                    .answered(method, answer.status().as_u16(), took);
            }
            Err(error) => {
                if let Some(attempt) = attempt {
                    attempt.failed(error.kind.label().as_str());
                }
                self.health.failed(error);
                self.metrics.upstream.failed(error.kind.label());
            }
        }
        (outcome, took)
    }

    async fn answer(
        &self,
        request: &mut Option<Request<Body>>,
        began: Instant,
        trace: Option<(&Span, Method)>,
        attempt: &mut Option<Attempt>,
    ) -> Result<Response<Body>, Error> {
        let (mut is_repeatable, progress) = {
            let request = request.as_mut().expect(A_REQUEST);
            let has_body = !http_body::Body::is_end_stream(request.body());
            let is_streamed = !request.body().is_held();
            (
                !has_body && request.method().is_safe(),
                is_streamed.then(|| Progress::of(request)),
            )
        };
        let mut now = began;
        let (mut attempts, mut refused_by) = (0, Refusals::default());
        loop {
            if let Some((span, method)) = trace {
                let target = (&self.scheme, &self.authority);
                *attempt = Some(span.attempt(method, target, attempts));
            }
            attempts += 1;
            let is_last = attempts == MAX_ATTEMPTS;
            // Those that were kept may all have been closed, and of a shared one others may use up what it carries.
            let taken = match is_last && refused_by.is_empty() {
                true => Box::pin(self.pool.take_new()).await?,
                false => self.pool.take(&refused_by, now).await?,
            };
            let (is_http2, since) = (taken.is_http2(), taken.since());
            // Only HTTP/2 tells that a request was not processed after it was sent.
            let may_go_again = (is_http2 || is_repeatable) && !is_last;
            let mut copy = None;
            if let Some(request) = request.as_mut() {
                self.address(request, is_http2);
                if let Some(attempt) = attempt {
                    attempt.tell(request.headers_mut());
                }
                if may_go_again {
                    copy = copy_of(request).map(Box::new);
                }
            }
            let sent = {
                let sending = pin!(taken.send(request));
                self.within_time(sending, since, progress.as_deref())
                    .await?
            };
            let failure = match sent {
                Ok((answer, back)) => {
                    let answer = usable(answer)?;
                    let body =
                        |incoming| self.body(Inbound::of(incoming, is_http2), back, progress);
                    return Ok(answer.map(body));
                }
                Err(failure) => failure,
            };
            let Some(reason) = failure.resent else {
                let of_body = progress.as_ref().and_then(|progress| progress.failure());
                let error = Error::of_sending(&failure.error, of_body);
                if !(is_repeatable && !is_last && error.kind == Kind::Closed) {
                    return Err(error);
                }
                is_repeatable = false;
                resent(attempt, label::Resent::ReadClosed);
                self.metrics.upstream.resent(label::Resent::ReadClosed);
                *request = copy.map(|copy| *copy);
                now = Instant::now();
                continue;
            };
            if is_unsolicited(&failure.error) {
                self.metrics
                    .connection(Side::Upstream, ConnectionOutcome::Unsolicited);
            }
            if let Some(connection) = failure.refused_by {
                refused_by.add(connection);
            }
            if request.is_none() {
                *request = copy.map(|copy| *copy);
            }
            if is_last || request.is_none() {
                return Err(Error::unsent(&failure.error, reason));
            }
            resent(attempt, reason.label());
            self.metrics.upstream.resent(reason.label());
            now = Instant::now();
        }
    }

    /// The response time-out starts when the request was `connected`, and again with each piece of the request's body: an
    /// upload may take any time.
    async fn within_time<T>(
        &self,
        mut answer: Pin<&mut impl Future<Output = T>>,
        connected: Instant,
        progress: Option<&Progress>,
    ) -> Result<T, Error> {
        let Some(progress) = progress else {
            let until = connected + self.response_timeout;
            let timed = tokio::time::timeout_at(until.into(), answer).await;
            return timed.map_err(|_| Error::timeout(self.response_timeout));
        };
        loop {
            let until = progress.last().max(connected) + self.response_timeout;
            if until <= Instant::now() {
                return Err(Error::timeout(self.response_timeout));
            }
            if let Ok(answer) = tokio::time::timeout_at(until.into(), &mut answer).await {
                return Ok(answer);
            }
        }
    }

    /// The body of an answer for the downstream. Its connection is reused when both bodies are complete.
    fn body(&self, incoming: Inbound, back: Return, progress: Option<Arc<Progress>>) -> Body {
        let back: Box<dyn body::Origin> = Box::new(Back { back, progress });
        if http_body::Body::is_end_stream(&incoming) {
            back.complete();
            return Body::empty();
        }
        Body::streamed(incoming, self.idle_body_timeout).from_origin(back)
    }
}

/// Returns a connection to the pool when the answer is complete. If the request is not, its connection takes no other: an
/// answer may come early.
struct Back {
    back: Return,
    progress: Option<Arc<Progress>>,
}

impl body::Origin for Back {
    fn complete(self: Box<Self>) {
        match self.progress {
            Some(progress) if !progress.is_complete() => {}
            _ => self.back.give_back(),
        }
    }
}

impl fmt::Debug for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upstream")
            .field("authority", &self.authority)
            .finish_non_exhaustive()
    }
}

/// Ends the span of an attempt that another one follows.
fn resent(attempt: &mut Option<Attempt>, reason: label::Resent) {
    if let Some(attempt) = attempt.take() {
        attempt.failed(reason.as_str());
    }
}

/// A request that can be sent once more: one with its whole body in memory.
fn copy_of(request: &Request<Body>) -> Option<Request<Body>> {
    let body = request.body().copy()?;
    let mut copy = Request::new(body);
    *copy.method_mut() = request.method().clone();
    *copy.uri_mut() = request.uri().clone();
    *copy.version_mut() = request.version();
    *copy.headers_mut() = request.headers().clone();
    Some(copy)
}

/// Refuses an answer that switches protocols, which nobody asked for, and one with ambiguous framing (RFC 9112 6.3).
fn usable(answer: Response<Incoming>) -> Result<Response<Incoming>, Error> {
    if answer.status().is_informational() {
        let detail = format!(
            "it answered {} to a request without Upgrade",
            answer.status().as_u16()
        );
        return Err(Error::new(Kind::BadAnswer, Sent::Maybe, detail));
    }
    let headers = answer.headers();
    let mut codings = headers.get_all(header::TRANSFER_ENCODING).iter();
    if let Some(coding) = codings.next() {
        let plain = coding.as_bytes().eq_ignore_ascii_case(b"chunked") && codings.next().is_none();
        if !plain || headers.contains_key(header::CONTENT_LENGTH) {
            let detail = "its Transfer-Encoding is not `chunked` alone";
            return Err(Error::new(Kind::BadAnswer, Sent::Maybe, detail));
        }
    }
    Ok(answer)
}
