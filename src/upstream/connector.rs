//! Opens connections to the upstream: directly, or through the proxy that the environment names.

use std::{
    future::Future,
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use http::Uri;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_rustls::HttpsConnector;
use hyper_util::{
    client::{
        legacy::connect::{Connected, Connection, HttpConnector, proxy::Tunnel},
        proxy::matcher::Matcher,
    },
    rt::TokioIo,
};
use prometheus::IntGauge;
use tokio::net::TcpStream;
use tower_service::Service;

pub(super) type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Opens connections, with TLS where the target's scheme asks for it.
pub(super) type Connector = HttpsConnector<Dialer>;

/// A connector that opens TCP connections by `dialer`.
pub(super) fn connector(dialer: Dialer, tls: rustls::ClientConfig) -> Connector {
    let builder = hyper_rustls::HttpsConnectorBuilder::new()
        .with_tls_config(tls)
        .https_or_http();
    builder.enable_http1().enable_http2().wrap_connector(dialer)
}

/// Opens the TCP connection.
#[derive(Debug, Clone)]
pub(super) struct Dialer {
    way: Way,
    open: IntGauge,
}

#[derive(Debug, Clone)]
enum Way {
    Direct(HttpConnector),
    Proxy(Tunnel<HttpConnector>),
}

impl Dialer {
    /// The way to `target`: `HTTPS_PROXY`, `ALL_PROXY` and `NO_PROXY` say whether through a proxy, which plain HTTP never uses.
    ///
    /// Returns the proxy's address too, for the log.
    pub(super) fn new(target: &Uri, open: IntGauge) -> (Self, Option<String>) {
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_keepalive(Some(Duration::from_secs(60)));
        let is_tls = target.scheme() == Some(&http::uri::Scheme::HTTPS);
        let proxy = is_tls
            .then(|| Matcher::from_env().intercept(target))
            .flatten();
        match proxy {
            None => (
                Self {
                    way: Way::Direct(tcp),
                    open,
                },
                None,
            ),
            Some(proxy) => {
                let mut tunnel = Tunnel::new(proxy.uri().clone(), tcp);
                if let Some(credentials) = proxy.basic_auth() {
                    tunnel = tunnel.with_auth(credentials.clone());
                }
                let address = proxy.uri().authority().map(|authority| {
                    match authority.as_str().rsplit_once('@') {
                        Some((_, host)) => host.to_owned(),
                        None => authority.to_string(),
                    }
                });
                (
                    Self {
                        way: Way::Proxy(tunnel),
                        open,
                    },
                    address,
                )
            }
        }
    }
}

impl Service<Uri> for Dialer {
    type Response = Counted;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Counted, BoxError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        match &mut self.way {
            Way::Direct(tcp) => tcp.poll_ready(cx).map_err(Into::into),
            Way::Proxy(tunnel) => tunnel.poll_ready(cx).map_err(Into::into),
        }
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let open = self.open.clone();
        match &mut self.way {
            Way::Direct(tcp) => {
                let dialling = tcp.call(uri);
                Box::pin(async move { Ok(Counted::new(dialling.await?, open)) })
            }
            Way::Proxy(tunnel) => {
                let dialling = tunnel.call(uri);
                Box::pin(async move { Ok(Counted::new(dialling.await?, open)) })
            }
        }
    }
}

/// A connection that is counted while it is open.
#[derive(Debug)]
pub(super) struct Counted {
    stream: TokioIo<TcpStream>,
    open: IntGauge,
}

impl Counted {
    fn new(stream: TokioIo<TcpStream>, open: IntGauge) -> Self {
        open.inc();
        Self { stream, open }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.open.dec();
    }
}

impl Connection for Counted {
    fn connected(&self) -> Connected {
        self.stream.connected()
    }
}

impl Read for Counted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl Write for Counted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
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
