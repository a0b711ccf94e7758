//! Sends a request, gets an answer.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{
    HeaderValue, Request, Response, Uri, Version, header,
    uri::{Authority, PathAndQuery, Scheme},
};
use hyper::body::Incoming;
use rustls::{RootCertStore, pki_types::CertificateDer};
use tracing::info;

use self::{
    connector::{Dialer, connector, uri},
    pool::Pool,
};
use crate::{
    body::{self, Body},
    metrics::{
        Metrics,
        label::{Method, Side, UpstreamError},
    },
};

mod connector;
mod pool;

pub use connector::Proxy;

/// Whom we call, and how long we wait.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where requests go.
    pub target: Target,
    /// Certificates trusted beside the platform's.
    pub authorities: Vec<CertificateDer<'static>>,
    /// From the first attempt to a connection that can carry a request, TLS included.
    pub connect_timeout: Duration,
    /// From the last byte of the request to the head of the answer.
    pub response_timeout: Duration,
    /// Longest wait between two pieces of an answer's body.
    pub idle_body_timeout: Duration,
    /// An unused connection is closed after this long.
    pub pool_idle_timeout: Duration,
}

/// Where requests go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// The simulator inside this program.
    Simulator,
    /// A service at a URL without path; plain `http` only on a loopback address.
    Service {
        /// `https`, or `http` for a loopback address.
        scheme: Scheme,
        /// Host and port as they go into the `Host` field.
        authority: Authority,
    },
}

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
}

/// Why a request got no usable answer.
#[derive(Debug)]
pub struct Error {
    /// What happened.
    pub kind: Kind,
    /// Whether the request may have reached the upstream.
    pub sent: Sent,
    /// The innermost cause, short.
    pub detail: String,
}

/// What happened instead of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// No connection.
    ConnectFailed,
    /// No connection in time.
    ConnectTimeout,
    /// The connection broke before the answer's head was complete.
    Closed,
    /// What came was no answer.
    BadAnswer,
    /// No answer in time.
    Timeout,
    /// The request's own body ended before its time.
    RequestBroken,
    /// The request's own body came too slowly.
    RequestTooSlow,
}

/// Whether a request may have reached the upstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sent {
    /// Not a byte of it.
    No,
    /// Nobody knows.
    Maybe,
}

/// No connection in time.
#[derive(Debug, thiserror::Error)]
#[error("no connection within {0:?}")]
struct ConnectTimeout(Duration);

/// The upstream cannot be used: known before anything is sent.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// No certificate to verify the upstream by.
    #[error("no trusted certificates: the platform has none and upstream.ca_file names none")]
    NoRoots,
    /// The environment variable names a proxy that the gateway cannot use.
    #[error("not a proxy that is asked over plain HTTP")]
    Proxy(&'static str),
    /// rustls refuses the settings.
    #[error("TLS cannot be set up: {0}")]
    Tls(#[from] rustls::Error),
}

impl SetupError {
    /// What to do about it.
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::NoRoots => {
                "install the platform's certificates (ca-certificates), or name a PEM file by upstream.ca_file"
            }
            Self::Proxy(_) => "write http://HOST:PORT, or name the upstream in NO_PROXY",
            Self::Tls(_) => "correct the certificates of upstream.ca_file",
        }
    }
}

/// A connection that was closed before anything was sent on it costs one of these, and another is tried.
const MAX_ATTEMPTS: usize = 4;

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
        if let Some(proxy) = proxy.address() {
            info!(proxy, "Reaching the upstream through a proxy");
        }
        let dialer = Dialer::new(proxy, metrics.open_connections(Side::Upstream));
        let host = HeaderValue::from_str(authority.as_str())
            .expect("an authority is made of visible ASCII letters");
        Self {
            pool: Pool::new(
                connector(dialer.clone(), trust.config),
                target,
                settings.connect_timeout,
                settings.pool_idle_timeout,
                settings.idle_body_timeout,
                Arc::clone(metrics),
            ),
            dialer,
            scheme,
            authority,
            host,
            response_timeout: settings.response_timeout,
            idle_body_timeout: settings.idle_body_timeout,
            metrics: Arc::clone(metrics),
        }
    }

    /// Asks this of connections that are opened from here on; those that are open stay.
    pub fn set_trust(&self, trust: Trust) {
        trust.tell();
        self.pool
            .set_connector(connector(self.dialer.clone(), trust.config));
    }

    /// Sends a request to its path at the upstream and waits for the head of the answer, whose body comes as it comes.
    ///
    /// A request is repeated only if a connection that was kept closed before a byte of it was sent.
    ///
    /// # Errors
    ///
    /// When no usable answer came.
    pub async fn send(&self, request: Request<Body>) -> Result<Response<Body>, Error> {
        let method = Method::from(request.method());
        let began = Instant::now();
        let outcome = self.answer(request).await;
        match &outcome {
            Ok(answer) => {
                self.metrics
                    .upstream_answer(method, answer.status().as_u16(), began.elapsed());
            }
            Err(error) => self.metrics.upstream_error(error.kind.label()),
        }
        outcome
    }

    async fn answer(&self, mut request: Request<Body>) -> Result<Response<Body>, Error> {
        let progress = (!request.body().is_held()).then(Progress::begin);
        if let Some(progress) = &progress {
            let watcher = Box::new(Watcher(Arc::clone(progress)));
            request = request.map(|body| body.observed(watcher));
        }
        let mut attempts = 0;
        loop {
            attempts += 1;
            let taken = self
                .pool
                .take()
                .await
                .map_err(|error| Error::of_connecting(&*error))?;
            let is_last = !taken.is_reused || attempts == MAX_ATTEMPTS;
            self.address(&mut request, taken.is_http2());
            match self
                .within_time(taken.send(request), progress.as_deref())
                .await?
            {
                Ok((answer, back)) => {
                    let answer = usable(answer)?;
                    return Ok(answer.map(|incoming| self.body(incoming, back, progress)));
                }
                Err(mut error) => match error.take_message() {
                    Some(unsent) if !is_last => request = unsent,
                    unsent => {
                        let sent = if unsent.is_some() {
                            Sent::No
                        } else {
                            Sent::Maybe
                        };
                        return Err(Error::of_sending(&error.into_error(), sent));
                    }
                },
            }
        }
    }

    /// Names the upstream as the version of HTTP wants it (RFC 9112 3.2.1, RFC 9113 8.3.1), whatever the caller named.
    fn address(&self, request: &mut Request<Body>, is_http2: bool) {
        // An empty path, or one of nothing but a fragment, calls itself `/` and would be sent as nothing.
        let path = request.uri().path_and_query();
        let path = match path.filter(|path| path.as_str() != "/") {
            Some(path) => path.clone(),
            None => PathAndQuery::from_static("/"),
        };
        let is_path = request.uri().authority().is_none();
        // What is spoken to the upstream is settled with it, not with the downstream.
        *request.version_mut() = Version::HTTP_11;
        if is_http2 {
            let mut parts = http::uri::Parts::default();
            parts.scheme = Some(self.scheme.clone());
            parts.authority = Some(self.authority.clone());
            parts.path_and_query = Some(path);
            *request.uri_mut() = Uri::from_parts(parts).unwrap_or_default();
            *request.version_mut() = Version::HTTP_2;
            request.headers_mut().remove(header::HOST);
            request.headers_mut().remove(header::TRANSFER_ENCODING);
            return;
        }
        if !is_path || path.as_str() == "/" {
            *request.uri_mut() = path.into();
        }
        request
            .headers_mut()
            .insert(header::HOST, self.host.clone());
        // Without being told, hyper drops a body of unknown length on methods that rarely have one.
        let is_open = http_body::Body::size_hint(request.body()).exact().is_none();
        if is_open && !request.headers().contains_key(header::CONTENT_LENGTH) {
            request.headers_mut().insert(
                header::TRANSFER_ENCODING,
                HeaderValue::from_static("chunked"),
            );
        }
    }

    /// The time for an answer runs from the moment there is a connection, and anew with each piece of the request's
    /// body, as an upload may take as long as it likes.
    async fn within_time<T>(
        &self,
        answer: impl Future<Output = T>,
        progress: Option<&Progress>,
    ) -> Result<T, Error> {
        let Some(progress) = progress else {
            let timed = tokio::time::timeout(self.response_timeout, answer).await;
            return timed.map_err(|_| Error::timeout(self.response_timeout));
        };
        let connected = Instant::now();
        let mut answer = std::pin::pin!(answer);
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

    /// The body of an answer on its way to the downstream. Its connection can be used again when both bodies are over.
    fn body(
        &self,
        incoming: Incoming,
        back: Option<pool::Return>,
        progress: Option<Arc<Progress>>,
    ) -> Body {
        let back = back.map(|back| Box::new(Back { back, progress }) as Box<dyn body::Origin>);
        if http_body::Body::is_end_stream(&incoming) {
            if let Some(back) = back {
                back.complete();
            }
            return Body::empty();
        }
        let body = Body::streamed(incoming, self.idle_body_timeout);
        match back {
            Some(back) => body.from_origin(back),
            None => body,
        }
    }
}

/// Gives a connection back when the answer is over, unless the request is not: an answer may come early.
struct Back {
    back: pool::Return,
    progress: Option<Arc<Progress>>,
}

impl body::Origin for Back {
    fn complete(self: Box<Self>) {
        match self.progress {
            Some(progress) if !progress.is_complete() => self.back.leave(progress),
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

/// When the last piece of a request's body was sent.
#[derive(Debug)]
struct Progress {
    began: Instant,
    last: AtomicU64,
    is_complete: AtomicBool,
}

impl Progress {
    fn begin() -> Arc<Self> {
        Arc::new(Self {
            began: Instant::now(),
            last: AtomicU64::new(0),
            is_complete: AtomicBool::new(false),
        })
    }

    fn last(&self) -> Instant {
        self.began + Duration::from_millis(self.last.load(Ordering::Relaxed))
    }

    fn is_complete(&self) -> bool {
        self.is_complete.load(Ordering::Acquire)
    }

    fn touch(&self) {
        let now = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last.store(now, Ordering::Relaxed);
    }
}

struct Watcher(Arc<Progress>);

impl body::Observer for Watcher {
    fn data(&mut self, _: &Bytes) {
        self.0.touch();
    }

    fn end(self: Box<Self>, how: body::End) {
        self.0.touch();
        if how == body::End::Complete {
            self.0.is_complete.store(true, Ordering::Release);
        }
    }
}

/// Nobody asked for another protocol, so an answer that switches to one is no answer; nor is one whose end two readers
/// could see at two places (RFC 9112 6.3).
fn usable(answer: Response<Incoming>) -> Result<Response<Incoming>, Error> {
    if answer.status().is_informational() {
        let detail = format!(
            "it answered {} to a request without Upgrade",
            answer.status().as_u16()
        );
        return Err(Error {
            kind: Kind::BadAnswer,
            sent: Sent::Maybe,
            detail,
        });
    }
    let headers = answer.headers();
    let mut codings = headers.get_all(header::TRANSFER_ENCODING).iter();
    if let Some(coding) = codings.next() {
        let plain = coding.as_bytes().eq_ignore_ascii_case(b"chunked") && codings.next().is_none();
        if !plain || headers.contains_key(header::CONTENT_LENGTH) {
            let detail = "its Transfer-Encoding is not `chunked` alone".to_owned();
            return Err(Error {
                kind: Kind::BadAnswer,
                sent: Sent::Maybe,
                detail,
            });
        }
    }
    Ok(answer)
}

impl Kind {
    /// The label in metrics.
    fn label(self) -> UpstreamError {
        match self {
            Self::ConnectFailed => UpstreamError::ConnectFailed,
            Self::ConnectTimeout => UpstreamError::ConnectTimeout,
            Self::Closed => UpstreamError::Closed,
            Self::BadAnswer => UpstreamError::BadAnswer,
            Self::Timeout => UpstreamError::ResponseTimeout,
            Self::RequestBroken | Self::RequestTooSlow => UpstreamError::Body,
        }
    }
}

impl Error {
    fn timeout(limit: Duration) -> Self {
        Self {
            kind: Kind::Timeout,
            sent: Sent::Maybe,
            detail: format!("no answer within {limit:?}"),
        }
    }

    fn of_connecting(error: &(dyn std::error::Error + 'static)) -> Self {
        let is_timeout = chain(error).any(|error| error.is::<ConnectTimeout>());
        let kind = if is_timeout {
            Kind::ConnectTimeout
        } else {
            Kind::ConnectFailed
        };
        let detail = if chain(error).any(is_no_tls) {
            "the upstream does not speak TLS on this port".to_owned()
        } else {
            innermost(error)
        };
        Self {
            kind,
            sent: Sent::No,
            detail,
        }
    }

    fn of_sending(error: &hyper::Error, sent: Sent) -> Self {
        let request = chain(error).find_map(|error| {
            Some(match error.downcast_ref::<body::Error>()? {
                body::Error::Read(_) => Kind::RequestBroken,
                body::Error::Idle(_) => Kind::RequestTooSlow,
            })
        });
        let kind = match request {
            Some(kind) => kind,
            None if error.is_parse() => Kind::BadAnswer,
            None => Kind::Closed,
        };
        Self {
            kind,
            sent,
            detail: innermost(error),
        }
    }
}

fn chain<'e>(
    error: &'e (dyn std::error::Error + 'static),
) -> impl Iterator<Item = &'e (dyn std::error::Error + 'static)> {
    std::iter::successors(Some(error), |error| error.source())
}

/// Whether the first bytes of the other side were no TLS, as those of plain HTTP are not.
fn is_no_tls(error: &(dyn std::error::Error + 'static)) -> bool {
    // `source` skips what an `io::Error` holds itself, which may be another one.
    let held = std::iter::successors(error.downcast_ref::<std::io::Error>(), |error| {
        error.get_ref()?.downcast_ref()
    });
    let held = held.last().and_then(std::io::Error::get_ref);
    matches!(
        held.and_then(|held| held.downcast_ref()),
        Some(rustls::Error::InvalidMessage(
            rustls::InvalidMessage::InvalidContentType
        ))
    )
}

/// The text of the innermost cause, which is the most exact, bounded.
fn innermost(error: &(dyn std::error::Error + 'static)) -> String {
    // `Box<dyn Error>` hides in an `io::Error`, which shows the same text.
    let text = chain(error).last().unwrap_or(error).to_string();
    text.chars()
        .filter(|letter| !letter.is_control())
        .take(200)
        .collect()
}

/// How the upstream shows that it is the upstream.
pub struct Trust {
    config: rustls::ClientConfig,
    /// How many certificates are trusted; none where the target needs no TLS.
    roots: usize,
}

impl Trust {
    /// The platform's certificates, which are read anew, and those of the settings.
    ///
    /// # Errors
    ///
    /// When there is nothing to trust the upstream by.
    pub fn load(settings: &Settings) -> Result<Self, SetupError> {
        let mut roots = RootCertStore::empty();
        let is_tls =
            matches!(&settings.target, Target::Service { scheme, .. } if *scheme == Scheme::HTTPS);
        if is_tls {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            if roots.is_empty() {
                roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
            }
            for authority in &settings.authorities {
                roots.add(authority.clone())?;
            }
            if roots.is_empty() {
                return Err(SetupError::NoRoots);
            }
        }
        let count = roots.len();
        let config = rustls::ClientConfig::builder().with_root_certificates(roots);
        Ok(Self {
            config: config.with_no_client_auth(),
            roots: count,
        })
    }

    /// The log may not have begun when the certificates are loaded, so this is told where they come into force.
    fn tell(&self) {
        if self.roots > 0 {
            info!(roots = self.roots, "Loaded trusted certificates");
        }
    }
}

/// Whether a certificate can be trusted at all.
///
/// # Errors
///
/// When it is none, or of a form that cannot be used.
pub fn check_authority(certificate: &CertificateDer<'_>) -> Result<(), rustls::Error> {
    RootCertStore::empty().add(certificate.clone().into_owned())
}
