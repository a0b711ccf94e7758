//! Opens connections to the upstream: directly, or through the proxy that the environment names.

use std::{
    env,
    future::Future,
    io::{self, IoSlice, Read as _},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use http::{
    Uri,
    uri::{Authority, Scheme},
};
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_rustls::{HttpsConnector, MaybeHttpsStream};
use hyper_util::{
    client::{
        legacy::connect::{self, Connection, HttpConnector},
        proxy::matcher::{Intercept, Matcher},
    },
    rt::TokioIo,
};
use prometheus::IntGauge;
use socket2::SockRef;
use tokio::net::TcpStream;
use tower_service::Service;

use super::{
    no_proxy::NoProxy,
    settings::{SetupError, Target},
    tunnel::{self, BoxError, NoTunnel},
};

/// A connection, with TLS or without.
pub(super) type Connected = MaybeHttpsStream<Counted>;

/// Opens connections, with TLS where the target's scheme asks for it.
pub(super) type Connector = HttpsConnector<Dialer>;

/// A connector that gets its TCP connections from `dialer`.
pub(super) fn connector<D>(dialer: D, tls: rustls::ClientConfig) -> HttpsConnector<D> {
    let builder = hyper_rustls::HttpsConnectorBuilder::new()
        .with_tls_config(tls)
        .https_or_http();
    builder.enable_http1().enable_http2().wrap_connector(dialer)
}

/// Opens the TCP connection.
#[derive(Debug, Clone)]
pub(super) struct Dialer {
    tcp: HttpConnector,
    proxy: Option<Intercept>,
    open: IntGauge,
}

impl Dialer {
    /// Connects through the proxy, if there is one.
    pub(super) fn new(proxy: Proxy, open: IntGauge) -> Self {
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_keepalive(Some(Duration::from_secs(60)));
        Self {
            tcp,
            proxy: proxy.intercept,
            open,
        }
    }

    /// A TCP connection to a target, or to the proxy on the way to it.
    pub(super) async fn dial(&mut self, target: &Uri) -> Result<TcpStream, BoxError> {
        let stream = match &self.proxy {
            None => self.tcp.call(target.clone()).await?,
            Some(proxy) => {
                let dialled = self.tcp.call(proxy.uri().clone()).await;
                dialled.map_err(|error| NoTunnel::Unreachable(error.into()))?
            }
        };
        Ok(stream.into_inner())
    }

    /// A dialled connection, as one to the target itself.
    pub(super) async fn tunnel(
        &self,
        mut stream: TcpStream,
        target: &Uri,
    ) -> Result<Counted, BoxError> {
        if let Some(proxy) = &self.proxy {
            tunnel::open(&mut stream, &whole_authority(target), proxy.basic_auth()).await?;
        }
        Ok(Counted::new(TokioIo::new(stream), self.open.clone()))
    }
}

/// The proxy between the gateway and the upstream, if there is one.
pub struct Proxy {
    intercept: Option<Intercept>,
    choice: Choice,
}

/// Why there is a proxy, or none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Choice {
    /// This variable names it.
    NamedBy(&'static str),
    /// This variable exempts the host.
    ExemptBy(&'static str),
    /// No variable names one.
    Unnamed,
    /// Plain HTTP uses none.
    PlainHttp,
}

impl Proxy {
    /// The proxy that `HTTPS_PROXY`, `ALL_PROXY` and `NO_PROXY` name for a target. Plain HTTP never uses one.
    ///
    /// # Errors
    ///
    /// When the variables name a proxy that the gateway cannot use.
    pub fn of(target: &Target) -> Result<Self, SetupError> {
        match target {
            Target::Service { scheme, authority } if *scheme == Scheme::HTTPS => {
                proxy_of(&uri(scheme, authority))
            }
            Target::Service { .. } | Target::Simulator => Ok(Self::none(Choice::PlainHttp)),
        }
    }

    fn none(choice: Choice) -> Self {
        Self {
            intercept: None,
            choice,
        }
    }

    /// Why there is one, or none.
    pub(super) fn choice(&self) -> Choice {
        self.choice
    }

    /// The URL that is connected to first on the way to a target: its own, or that of the proxy.
    pub(super) fn first_hop(&self, target: &Uri) -> Uri {
        let proxy = self.intercept.as_ref();
        proxy.map_or(target, Intercept::uri).clone()
    }

    /// Its host and port, without credentials.
    pub(super) fn address(&self) -> Option<String> {
        let authority = self.intercept.as_ref()?.uri().authority()?.as_str();
        let host = authority
            .rsplit_once('@')
            .map_or(authority, |(_, host)| host);
        Some(host.to_owned())
    }
}

/// The URL of a target.
pub(super) fn uri(scheme: &Scheme, authority: &Authority) -> Uri {
    let uri = Uri::builder()
        .scheme(scheme.clone())
        .authority(authority.clone())
        .path_and_query("/")
        .build();
    uri.unwrap_or_default()
}

/// The proxy that the environment names for `target`.
fn proxy_of(target: &Uri) -> Result<Proxy, SetupError> {
    let first = |names: &[&'static str]| {
        names.iter().find_map(|name| {
            let value = env::var_os(name).filter(|value| !value.is_empty())?;
            Some((*name, value.to_string_lossy().into_owned()))
        })
    };
    let named = first(&["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"]);
    let Some((variable, value)) = named else {
        return Ok(Proxy::none(Choice::Unnamed));
    };
    let host = target.host().unwrap_or_default();
    if let Some((variable, exempt)) = first(&["NO_PROXY", "no_proxy"])
        && NoProxy::of(&exempt).covers(host, port_of(target))
    {
        return Ok(Proxy::none(Choice::ExemptBy(variable)));
    }
    let proxy = Matcher::builder().https(value).build().intercept(target);
    match proxy {
        Some(proxy) if is_plain_http(proxy.uri()) => Ok(Proxy {
            intercept: Some(proxy),
            choice: Choice::NamedBy(variable),
        }),
        // Any other proxy would get everything in clear text too, including the password.
        _ => Err(SetupError::Proxy(variable)),
    }
}

/// Whether a URL says `http`, and its port, if there is one, is a number.
fn is_plain_http(uri: &Uri) -> bool {
    let has_port = |authority: &Authority| {
        authority.as_str().len() == authority.host().len()
            || authority.port_u16().is_some_and(|port| port > 0)
    };
    uri.scheme() == Some(&Scheme::HTTP) && uri.authority().is_some_and(has_port)
}

impl Service<Uri> for Dialer {
    type Response = Counted;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Counted, BoxError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.tcp.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let mut dialer = self.clone();
        Box::pin(async move {
            let stream = dialer.dial(&uri).await?;
            dialer.tunnel(stream, &uri).await
        })
    }
}

/// Host and port, also where the URL leaves the port out.
pub(super) fn whole_authority(uri: &Uri) -> String {
    format!("{}:{}", uri.host().unwrap_or_default(), port_of(uri))
}

/// A proxy is used for `https` alone.
fn port_of(uri: &Uri) -> u16 {
    uri.port_u16().unwrap_or(443)
}

/// A connection that is counted while it is open.
#[derive(Debug)]
pub(super) struct Counted {
    stream: TokioIo<TcpStream>,
    open: IntGauge,
    recheck: Recheck,
}

/// Asks a kept connection to look at the socket itself before the next request is written: tokio may not have noticed yet
/// that bytes, or an end, wait there.
#[derive(Debug, Clone, Default)]
pub(super) struct Recheck(Arc<AtomicBool>);

/// How much of what waits on the socket the look takes, in bytes.
const LOOK: usize = 512;

impl Recheck {
    /// A request is about to be written.
    pub(super) fn ask(&self) {
        self.0.store(true, Ordering::Release);
    }

    fn is_asked(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }

    fn is_done(&self) {
        self.0.store(false, Ordering::Release);
    }
}

/// Asks this connection to look at its socket.
pub(super) fn recheck(connected: &Connected) -> Recheck {
    let tcp = match connected {
        MaybeHttpsStream::Http(tcp) => tcp,
        MaybeHttpsStream::Https(tls) => tls.inner().get_ref().0.inner(),
    };
    tcp.recheck.clone()
}

impl Counted {
    fn new(stream: TokioIo<TcpStream>, open: IntGauge) -> Self {
        open.inc();
        Self {
            stream,
            open,
            recheck: Recheck::default(),
        }
    }

    /// Reads what waits on the socket, without asking tokio whether something does.
    fn look(&self, buffer: &mut ReadBufCursor<'_>) -> Option<io::Result<()>> {
        let mut room = [0; LOOK];
        let room = room.get_mut(..LOOK.min(buffer.remaining()))?;
        match (&*SockRef::from(self.stream.inner())).read(room) {
            Ok(read) => {
                buffer.put_slice(room.get(..read)?);
                Some(Ok(()))
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => None,
            Err(error) => Some(Err(error)),
        }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.open.dec();
    }
}

impl Connection for Counted {
    fn connected(&self) -> connect::Connected {
        self.stream.connected()
    }
}

impl Read for Counted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        if self.recheck.is_asked()
            && let Some(read) = self.look(&mut buffer)
        {
            return Poll::Ready(read);
        }
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl Write for Counted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.recheck.is_done();
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.recheck.is_done();
        Pin::new(&mut self.stream).poll_write_vectored(cx, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
