//! Sends a request, gets an answer.

use std::{
    error::Error as _,
    fmt,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{
    HeaderValue, Request, Response, Uri, Version, header,
    uri::{Authority, Scheme},
};
use hyper::body::Incoming;
use hyper_util::{
    client::legacy::{Client, connect::capture_connection},
    rt::{TokioExecutor, TokioTimer},
};
use rustls::{
    RootCertStore,
    pki_types::{CertificateDer, pem::PemObject},
};
use tracing::info;

use self::connector::{Connector, Dialer};
use crate::{
    body::{self, Body},
    metrics::{self, Metrics},
};

mod connector;

/// Whom we call, and how long we wait.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where requests go.
    pub target: Target,
    /// Certificates trusted beside the platform's, PEM.
    pub ca_file: Option<PathBuf>,
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
    client: Client<Connector, Body>,
    scheme: Scheme,
    authority: Authority,
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

/// The way to the upstream cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// Nothing to trust the upstream by.
    #[error("no trusted certificates: the platform has none and upstream.ca_file names none")]
    NoRoots,
    /// The file of trusted certificates is unusable.
    #[error("upstream.ca_file: `{}` {why}; give a readable PEM file with at least one certificate", .file.display())]
    CaFile {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The environment names a proxy that cannot be asked.
    #[error(
        "{0}: not a proxy that is asked over plain HTTP; write http://HOST:PORT, or name the upstream in NO_PROXY"
    )]
    Proxy(&'static str),
    /// rustls refuses the settings.
    #[error("TLS cannot be set up: {0}")]
    Tls(#[from] rustls::Error),
}

/// Connections kept for later, per target.
const MAX_IDLE: usize = 1024;
/// Upper bound of an answer's header section and of the buffer it is read into, in bytes.
const MAX_ANSWER_HEAD: usize = 64 * 1024;
/// Upper bound of an answer's header fields.
const MAX_ANSWER_FIELDS: usize = 200;

impl Upstream {
    /// A pool for this target; connections are opened when they are needed.
    ///
    /// # Errors
    ///
    /// When there is nothing to trust the upstream by, or no way to the proxy that the environment names.
    ///
    /// # Panics
    ///
    /// When the target is the simulator, which has no address of its own: `app` starts it and names its address.
    pub fn new(settings: &Settings, metrics: &Arc<Metrics>) -> Result<Self, SetupError> {
        let (scheme, authority) = match &settings.target {
            Target::Service { scheme, authority } => (scheme.clone(), authority.clone()),
            Target::Simulator => {
                unreachable!("the simulator is started before its address is used")
            }
        };
        let target = Uri::builder()
            .scheme(scheme.clone())
            .authority(authority.clone())
            .path_and_query("/")
            .build();
        let target = target.unwrap_or_default();
        let (dialer, proxy) = Dialer::new(&target, metrics.open_connections("upstream"))?;
        if let Some(proxy) = proxy {
            info!(%proxy, "Reaching the upstream through a proxy");
        }
        let tls = if scheme == Scheme::HTTPS {
            tls(settings.ca_file.as_deref())?
        } else {
            rustls::ClientConfig::builder()
                .with_root_certificates(RootCertStore::empty())
                .with_no_client_auth()
        };
        let connector = Connector::new(dialer, tls, settings.connect_timeout, Arc::clone(metrics));
        let client = Client::builder(TokioExecutor::new())
            .timer(TokioTimer::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(settings.pool_idle_timeout)
            .pool_max_idle_per_host(MAX_IDLE)
            .http1_max_buf_size(MAX_ANSWER_HEAD)
            .http1_max_headers(MAX_ANSWER_FIELDS)
            .http2_max_header_list_size(u32::try_from(MAX_ANSWER_HEAD).unwrap_or(u32::MAX))
            .http2_keep_alive_interval(Duration::from_secs(30))
            .http2_keep_alive_timeout(Duration::from_secs(20))
            .build(connector);
        Ok(Self {
            client,
            scheme,
            authority,
            response_timeout: settings.response_timeout,
            idle_body_timeout: settings.idle_body_timeout,
            metrics: Arc::clone(metrics),
        })
    }

    /// Sends a request to its path at the upstream and waits for the head of the answer.
    ///
    /// The client underneath repeats a request by itself only if a pooled connection closed before a byte of it was sent.
    ///
    /// # Errors
    ///
    /// When no usable answer came.
    pub async fn send(&self, mut request: Request<Body>) -> Result<Response<Incoming>, Error> {
        let method = metrics::method_name(request.method());
        let mut parts = http::uri::Parts::default();
        parts.scheme = Some(self.scheme.clone());
        parts.authority = Some(self.authority.clone());
        parts.path_and_query = request.uri().path_and_query().cloned();
        *request.uri_mut() = Uri::from_parts(parts).unwrap_or_default();
        // What is spoken to the upstream is settled with it, not with the downstream.
        *request.version_mut() = Version::HTTP_11;
        // The client names the upstream itself, as HTTP/1.1 or HTTP/2 wants it.
        request.headers_mut().remove(header::HOST);
        // Without being told, the client drops a body of unknown length on methods that rarely have one.
        let is_open = http_body::Body::size_hint(request.body()).exact().is_none();
        if is_open && !request.headers().contains_key(header::CONTENT_LENGTH) {
            request.headers_mut().insert(
                header::TRANSFER_ENCODING,
                HeaderValue::from_static("chunked"),
            );
        }

        let began = Instant::now();
        let outcome = self.answer(request).await;
        match &outcome {
            Ok(answer) => {
                self.metrics
                    .upstream_answer(method, answer.status().as_u16(), began.elapsed());
            }
            Err(error) => self.metrics.upstream_error(error.kind.as_str()),
        }
        outcome
    }

    /// The body of an answer on its way to the downstream.
    pub fn body(&self, answer: Incoming) -> Body {
        if http_body::Body::is_end_stream(&answer) {
            Body::empty()
        } else {
            Body::streamed(answer, self.idle_body_timeout)
        }
    }

    /// The time for an answer runs from the moment there is a connection, which the connector bounds, and anew with
    /// each piece of the request's body, as an upload may take as long as it likes.
    async fn answer(&self, mut request: Request<Body>) -> Result<Response<Incoming>, Error> {
        let progress = (!http_body::Body::is_end_stream(request.body())).then(Progress::begin);
        if let Some(progress) = &progress {
            let watcher = Box::new(Watcher(Arc::clone(progress)));
            request = request.map(|body| body.observed(watcher));
        }
        let mut captured = capture_connection(&mut request);
        let mut answer = self.client.request(request);
        let early = {
            let mut connected = std::pin::pin!(captured.wait_for_connection_metadata());
            tokio::select! {
                biased;
                answer = &mut answer => Some(answer),
                _ = &mut connected => None,
            }
        };
        if let Some(answer) = early {
            return usable(answer.map_err(|error| Error::of(&error))?);
        }
        let connected = Instant::now();
        loop {
            let last = progress
                .as_ref()
                .map_or(connected, |progress| progress.last().max(connected));
            let until = last + self.response_timeout;
            if until <= Instant::now() {
                return Err(Error::timeout(self.response_timeout));
            }
            if let Ok(answer) = tokio::time::timeout_at(until.into(), &mut answer).await {
                return usable(answer.map_err(|error| Error::of(&error))?);
            }
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
}

impl Progress {
    fn begin() -> Arc<Self> {
        Arc::new(Self {
            began: Instant::now(),
            last: AtomicU64::new(0),
        })
    }

    fn last(&self) -> Instant {
        self.began + Duration::from_millis(self.last.load(Ordering::Relaxed))
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

    fn end(self: Box<Self>, _: body::End) {
        self.0.touch();
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
    /// The name in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ConnectFailed => "connect_failed",
            Self::ConnectTimeout => "connect_timeout",
            Self::Closed => "closed",
            Self::BadAnswer => "bad_answer",
            Self::Timeout => "response_timeout",
            Self::RequestBroken | Self::RequestTooSlow => "body",
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

    fn of(error: &hyper_util::client::legacy::Error) -> Self {
        let chain: Vec<&(dyn std::error::Error + 'static)> =
            std::iter::successors(error.source(), |error| (*error).source()).collect();
        let find = |wanted: &dyn Fn(&(dyn std::error::Error + 'static)) -> Option<Kind>| {
            chain.iter().find_map(|error| wanted(*error))
        };
        let request = find(&|error| {
            Some(match error.downcast_ref::<body::Error>()? {
                body::Error::Read(_) => Kind::RequestBroken,
                body::Error::Idle(_) => Kind::RequestTooSlow,
            })
        });
        let (kind, sent) = if let Some(kind) = request {
            (kind, Sent::Maybe)
        } else if error.is_connect() {
            let timeout = find(&|error| {
                error
                    .downcast_ref::<ConnectTimeout>()
                    .map(|_| Kind::ConnectTimeout)
            });
            (timeout.unwrap_or(Kind::ConnectFailed), Sent::No)
        } else {
            let parse = find(&|error| {
                error
                    .downcast_ref::<hyper::Error>()
                    .filter(|error| error.is_parse())
                    .map(|_| Kind::BadAnswer)
            });
            (parse.unwrap_or(Kind::Closed), Sent::Maybe)
        };
        // `Box<dyn Error>` hides in an `io::Error`, which shows the same text: the last one is the most exact.
        let detail = chain
            .last()
            .map_or_else(|| error.to_string(), ToString::to_string);
        Self {
            kind,
            sent,
            detail: detail
                .chars()
                .filter(|letter| !letter.is_control())
                .take(200)
                .collect(),
        }
    }
}

fn tls(ca_file: Option<&Path>) -> Result<rustls::ClientConfig, SetupError> {
    let mut roots = RootCertStore::empty();
    let native = rustls_native_certs::load_native_certs();
    let (mut loaded, _) = roots.add_parsable_certificates(native.certs);
    if loaded == 0 {
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        loaded = roots.len();
    }
    if let Some(file) = ca_file {
        let wrong = |why: String| SetupError::CaFile {
            file: file.to_owned(),
            why,
        };
        let certificates = CertificateDer::pem_file_iter(file)
            .map_err(|error| wrong(format!("cannot be read ({error})")))?;
        let mut added = 0;
        for certificate in certificates {
            let certificate =
                certificate.map_err(|error| wrong(format!("is not PEM ({error})")))?;
            roots
                .add(certificate)
                .map_err(|error| wrong(format!("holds an unusable certificate ({error})")))?;
            added += 1;
        }
        if added == 0 {
            return Err(wrong("holds no certificate".to_owned()));
        }
        loaded += added;
    }
    if roots.is_empty() {
        return Err(SetupError::NoRoots);
    }
    info!(roots = loaded, "Loaded trusted certificates");
    Ok(rustls::ClientConfig::builder()
        .with_root_certificates(roots)
        .with_no_client_auth())
}
