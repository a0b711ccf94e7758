//! Connects to the upstream once, step by step and by the parts that every request uses, and says what each step met.
//!
//! It sends one request without a credential. Whatever the other side says is bounded.

use std::{
    future::{Ready, ready},
    io,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant, SystemTime},
};

use http::{StatusCode, Uri, header};
use hyper_rustls::MaybeHttpsStream;
use tokio::{net::TcpStream, time::timeout_at};
use tower_service::Service;

pub use self::{
    certificate::Certificate,
    clock::Skew,
    step::{Outcome, Step},
};
use self::{names::look_up, remedy::Remedy};
use super::{
    Proxy, Settings, Target, Trust, Upstream,
    cause::plain,
    connector::{Choice, Connected, Counted, connector, uri, whole_authority},
    issuer::Shown,
    tunnel::{BoxError, NoTunnel},
};
use crate::{identity, metrics::Metrics};

mod certificate;
mod clock;
mod names;
mod question;
mod remedy;
mod step;

/// What came of one connection.
#[derive(Debug, Default)]
pub struct Report {
    /// The steps in their order, up to the first one that failed.
    pub steps: Vec<Step>,
    /// What the upstream showed, its own certificate first, whether it is trusted or not.
    pub certificates: Vec<Certificate>,
    /// How far this machine's clock is from the upstream's.
    pub skew: Option<Skew>,
}

impl Report {
    /// Whether no step failed.
    pub fn is_ok(&self) -> bool {
        self.steps.iter().all(|step| step.result != Outcome::Failed)
    }
}

/// A step after which no further one makes sense.
struct Stop;

/// The end of a certificate is told so long before.
const SOON: Duration = Duration::from_secs(14 * 24 * 3600);

/// Connects to the upstream of the settings and sends one request without a credential. Within
/// `upstream.connect_timeout` and `upstream.response_timeout`, as a request would be.
///
/// The simulator inside this program has no address: there are no steps then.
pub async fn check(settings: &Settings, trust: Trust, proxy: Proxy) -> Report {
    let Target::Service { scheme, authority } = &settings.target else {
        return Report::default();
    };
    let shown = Shown::default();
    let mut attempt = Attempt {
        target: uri(scheme, authority),
        first_hop: proxy.first_hop(&uri(scheme, authority)),
        choice: proxy.choice(),
        proxy: proxy.address(),
        remedy: Remedy::of(authority, &proxy),
        deadline: tokio::time::Instant::now() + settings.connect_timeout,
        settings,
        report: Report::default(),
    };
    let trust = trust.showing(&shown);
    let tls = trust.config.clone();
    let client_ends = trust.client_valid.as_ref().map(|valid| *valid.end());
    let upstream = Upstream::new(settings, trust, proxy, &Arc::new(Metrics::new()));
    // How it ended stands in the steps.
    let _ = attempt.all(&upstream, tls, client_ends, &shown).await;
    attempt.report
}

/// One connection that is being opened.
struct Attempt<'s> {
    target: Uri,
    first_hop: Uri,
    choice: Choice,
    /// Host and port of the proxy.
    proxy: Option<String>,
    remedy: Remedy,
    /// The end of `upstream.connect_timeout`.
    deadline: tokio::time::Instant,
    settings: &'s Settings,
    report: Report,
}

impl Attempt<'_> {
    async fn all(
        &mut self,
        upstream: &Upstream,
        tls: rustls::ClientConfig,
        client_ends: Option<i64>,
        shown: &Shown,
    ) -> Result<(), Stop> {
        self.resolve().await?;
        let stream = self.dial(upstream).await?;
        let stream = self.tunnel(upstream, stream).await?;
        let connected = self.shake_hands(stream, tls, client_ends, shown).await?;
        self.agree(&connected);
        self.ask(upstream, connected).await
    }

    fn add(&mut self, step: Step) {
        self.report.steps.push(step);
    }

    fn stop(&mut self, step: Step) -> Stop {
        self.add(step);
        Stop
    }

    /// What a step says that the time ended in.
    fn too_late(&self) -> String {
        let limit = humantime::format_duration(self.settings.connect_timeout);
        format!("no connection within {limit} (upstream.connect_timeout)")
    }

    async fn resolve(&mut self) -> Result<(), Stop> {
        let host = self.first_hop.host().unwrap_or_default().to_owned();
        let whose = match self.proxy {
            Some(_) => " (the proxy, which looks up the upstream itself)",
            None => "",
        };
        let limit = self.settings.connect_timeout;
        let mut step = look_up(&host, whose, self.deadline, limit).await;
        if let (Some(remedy), None) = (&mut step.remedy, &self.proxy) {
            remedy.push_str(remedy::OR_A_PROXY);
        }
        self.end(step)
    }

    async fn dial(&mut self, upstream: &Upstream) -> Result<TcpStream, Stop> {
        let began = Instant::now();
        let mut dialer = upstream.dialer.clone();
        let dialled = timeout_at(self.deadline, dialer.dial(&self.target)).await;
        let took = began.elapsed();
        match dialled {
            Ok(Ok(stream)) => {
                let peer = stream
                    .peer_addr()
                    .map_or_else(|_| String::new(), |peer| peer.to_string());
                self.add(Step::ok("tcp", format!("connected to {peer}")).taking(took));
                Ok(stream)
            }
            Ok(Err(error)) => {
                let cause = plain(&*error);
                let remedy = self.remedy.of_tcp(&cause);
                Err(self.stop(Step::failed("tcp", cause.alone(), remedy).taking(took)))
            }
            Err(_) => {
                let (seen, remedy) = (self.too_late(), self.remedy.of_silence());
                Err(self.stop(Step::failed("tcp", seen, remedy).taking(took)))
            }
        }
    }

    async fn tunnel(&mut self, upstream: &Upstream, stream: TcpStream) -> Result<Counted, Stop> {
        let began = Instant::now();
        let tunnelled = upstream.dialer.tunnel(stream, &self.target);
        let tunnelled = timeout_at(self.deadline, tunnelled).await;
        let took = began.elapsed();
        let step = match &tunnelled {
            Ok(Ok(_)) => match (self.choice, &self.proxy) {
                (Choice::NamedBy(variable), Some(proxy)) => {
                    let target = whole_authority(&self.target);
                    let seen = format!("{proxy}, named by {variable}, made a tunnel to {target}");
                    Step::ok("proxy", seen).taking(took)
                }
                (Choice::ExemptBy(variable), _) => {
                    Step::ok("proxy", format!("none: {variable} exempts the host"))
                }
                (Choice::PlainHttp, _) => Step::ok("proxy", "none: upstream.url is plain HTTP"),
                _ => Step::ok("proxy", "none: neither HTTPS_PROXY nor ALL_PROXY is set"),
            },
            Ok(Err(error)) => {
                let cause = plain(&**error);
                let remedy = self.remedy.of_proxy(error.downcast_ref::<NoTunnel>());
                Step::failed("proxy", cause.alone(), remedy).taking(took)
            }
            Err(_) => {
                let remedy = self.remedy.of_proxy(None);
                Step::failed("proxy", self.too_late(), remedy).taking(took)
            }
        };
        self.end(step)?;
        match tunnelled {
            Ok(Ok(stream)) => Ok(stream),
            _ => Err(Stop),
        }
    }

    async fn shake_hands(
        &mut self,
        stream: Counted,
        tls: rustls::ClientConfig,
        client_ends: Option<i64>,
        shown: &Shown,
    ) -> Result<Connected, Stop> {
        let began = Instant::now();
        let mut connector = connector(Opened(Some(stream)), tls);
        let connecting = connector.call(self.target.clone());
        let connected = timeout_at(self.deadline, connecting).await;
        let took = began.elapsed();
        let chain = shown.chain();
        self.report.certificates = chain
            .iter()
            .take(certificate::MAX)
            .map(Certificate::of)
            .collect();
        let step = match &connected {
            Ok(Ok(connected)) => self.secured(connected, client_ends),
            Ok(Err(error)) => {
                let cause = plain(&**error);
                Step::failed("tls", cause.alone(), self.remedy.of_tls(&cause))
            }
            Err(_) => Step::failed("tls", self.too_late(), remedy::HANDSHAKE),
        };
        let is_plain = matches!(&connected, Ok(Ok(MaybeHttpsStream::Http(_))));
        self.end(match is_plain {
            true => step,
            false => step.taking(took),
        })?;
        match connected {
            Ok(Ok(connected)) => Ok(connected),
            _ => Err(Stop),
        }
    }

    /// The step of a handshake that succeeded.
    fn secured(&self, connected: &Connected, client_ends: Option<i64>) -> Step {
        let MaybeHttpsStream::Https(stream) = connected else {
            return Step::ok("tls", "none: upstream.url is plain HTTP");
        };
        let (_, session) = stream.inner().get_ref();
        let version = match session.protocol_version() {
            Some(rustls::ProtocolVersion::TLSv1_3) => "TLS 1.3",
            _ => "TLS 1.2",
        };
        let cipher = session.negotiated_cipher_suite();
        let cipher = cipher
            .and_then(|cipher| cipher.suite().as_str())
            .unwrap_or_default();
        let group = session.negotiated_key_exchange_group();
        let group = group
            .and_then(|group| group.name().as_str())
            .unwrap_or_default();
        let seen = format!("{version}, {cipher}, {group}");
        let now = SystemTime::now();
        if let Some(first) = self
            .report
            .certificates
            .iter()
            .find(|one| one.ends_within(SOON, now))
        {
            let seen = format!("{seen}; a certificate ends at {}", first.not_after);
            return Step::warning("tls", seen, remedy::RENEW_THEIRS);
        }
        match client_ends {
            Some(end) if certificate::is_within(end, SOON, now) => {
                let end = identity::written(end);
                let seen = format!("{seen}; the certificate that the gateway shows ends at {end}");
                Step::warning("tls", seen, remedy::RENEW_OURS)
            }
            Some(end) => {
                let end = identity::written(end);
                let seen = format!(
                    "{seen}; the gateway shows a certificate, valid until {end}, to an upstream that asks"
                );
                Step::ok("tls", seen)
            }
            None => Step::ok("tls", seen),
        }
    }

    fn agree(&mut self, connected: &Connected) {
        let MaybeHttpsStream::Https(stream) = connected else {
            self.add(Step::ok("alpn", "none: HTTP/1.1 without TLS"));
            return;
        };
        let (_, session) = stream.inner().get_ref();
        self.add(match session.alpn_protocol() {
            Some(b"h2") => Step::ok("alpn", "h2: HTTP/2"),
            Some(_) => Step::warning("alpn", "http/1.1: no HTTP/2", remedy::NO_HTTP2),
            None => Step::warning("alpn", "none: HTTP/1.1", remedy::NO_HTTP2),
        });
    }

    async fn ask(&mut self, upstream: &Upstream, connected: Connected) -> Result<(), Stop> {
        let opening = upstream.pool.take_opened(connected);
        let taken = match timeout_at(self.deadline, opening).await {
            Ok(Ok(taken)) => taken,
            Ok(Err(error)) => {
                let cause = plain(&*error);
                return Err(self.stop(Step::failed(
                    "http",
                    cause.alone(),
                    self.remedy.of_closed(&cause),
                )));
            }
            Err(_) => {
                return Err(self.stop(Step::failed("http", self.too_late(), remedy::HANDSHAKE)));
            }
        };
        let (sent, began) = (SystemTime::now(), Instant::now());
        let answer = upstream.ask_on(taken).await;
        let (took, received) = (began.elapsed(), SystemTime::now());
        let answer = match answer {
            Ok(answer) => answer,
            Err(error) => {
                let remedy = self.remedy.of_answer(error.kind);
                return Err(self.stop(Step::failed("http", error.detail, remedy).taking(took)));
            }
        };
        self.add(self.answered(answer.status()).taking(took));
        let date = answer.headers().get(header::DATE);
        let (skew, step) = clock::step(date, sent, received);
        self.report.skew = skew;
        self.end(step)
    }

    fn answered(&self, status: StatusCode) -> Step {
        let seen = match status.canonical_reason() {
            Some(reason) => format!("{} {reason}", status.as_str()),
            None => status.as_str().to_owned(),
        };
        match status.as_u16() {
            401 => Step::ok("http", format!("{seen}, as expected without a token")),
            200..=299 => Step::ok("http", format!("{seen}, without a token")),
            500.. => Step::failed("http", seen, remedy::FAILS),
            407 => Step::failed("http", seen, remedy::INTERCEPTED),
            300..=399 => Step::warning("http", seen, remedy::INTERCEPTED),
            429 => Step::warning("http", seen, remedy::THROTTLED),
            403 => Step::warning("http", seen, remedy::FORBIDDEN),
            _ => Step::warning("http", seen, remedy::OTHER_SERVICE),
        }
    }

    /// Adds a step that may be the last.
    fn end(&mut self, step: Step) -> Result<(), Stop> {
        let failed = step.result == Outcome::Failed;
        self.add(step);
        match failed {
            true => Err(Stop),
            false => Ok(()),
        }
    }
}

/// A TCP connection that is open already, for a connector that adds TLS.
struct Opened(Option<Counted>);

impl Service<Uri> for Opened {
    type Response = Counted;
    type Error = BoxError;
    type Future = Ready<Result<Counted, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let opened = self.0.take();
        ready(opened.ok_or_else(|| io::Error::from(io::ErrorKind::NotConnected).into()))
    }
}
