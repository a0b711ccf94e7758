//! Asks a running gateway: one request on a connection of its own.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
};

use anyhow::Context as _;
use bytes::Bytes;
use http::{Request, Response, Uri, header::HOST};
use http_body_util::Full;
use hyper::{body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use rustls::{
    ClientConfig, DigitallySignedStruct, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    pki_types::{CertificateDer, ServerName, UnixTime},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};
use tokio_rustls::TlsConnector;

/// A listener of a gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Server {
    is_tls: bool,
    authority: String,
    host: String,
    port: u16,
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.is_tls { "https" } else { "http" };
        write!(f, "{scheme}://{}", self.authority)
    }
}

impl Server {
    /// The listener that a URL names, and its path with the query.
    pub(super) fn parse(url: &str) -> Option<(Self, String)> {
        let uri: Uri = url.parse().ok()?;
        let authority = uri.authority()?;
        let (is_tls, default) = match uri.scheme_str()? {
            "http" => (false, 80),
            "https" => (true, 443),
            _ => return None,
        };
        let port = authority.port_u16().unwrap_or(default);
        if authority.as_str().contains('@') || port == 0 {
            return None;
        }
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        let server = Self {
            is_tls,
            authority: authority.to_string(),
            host: authority.host().trim_matches(['[', ']']).to_owned(),
            port,
        };
        Some((server, path.to_owned()))
    }

    /// Whether it is asked over TLS, whose certificate nobody verifies.
    pub(super) fn is_tls(&self) -> bool {
        self.is_tls
    }

    /// The listener at an address of this machine. One on every address is asked on loopback.
    pub(super) fn at(listener: SocketAddr, is_tls: bool) -> Self {
        let ip = match listener.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
            ip => ip,
        };
        Self {
            is_tls,
            authority: SocketAddr::new(ip, listener.port()).to_string(),
            host: ip.to_string(),
            port: listener.port(),
        }
    }

    /// The answer to a request. Its body can be read as it comes.
    pub(super) async fn send(
        &self,
        mut request: Request<Full<Bytes>>,
    ) -> anyhow::Result<Response<Incoming>> {
        let host = self.authority.parse().context("not a host")?;
        request.headers_mut().insert(HOST, host);
        let stream = TcpStream::connect((self.host.as_str(), self.port))
            .await
            .context("cannot connect")?;
        if !self.is_tls {
            return send_on(stream, request).await;
        }
        let name = ServerName::try_from(self.host.clone()).context("not a host")?;
        let connector = TlsConnector::from(Arc::new(unverified()));
        let stream = connector.connect(name, stream).await.context("no TLS")?;
        send_on(stream, request).await
    }
}

async fn send_on<S>(stream: S, request: Request<Full<Bytes>>) -> anyhow::Result<Response<Incoming>>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    // The connection does the work of the request; it ends with the answer.
    tokio::spawn(connection);
    sender.send_request(request).await.context("no answer")
}

/// A probe asks whether something answers. It sends nothing that is secret, and it must work with a certificate for other
/// names than the address that it calls.
fn unverified() -> ClientConfig {
    ClientConfig::builder()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Unverified))
        .with_no_client_auth()
}

/// Takes every certificate.
#[derive(Debug)]
struct Unverified;

impl ServerCertVerifier for Unverified {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let provider = rustls::crypto::aws_lc_rs::default_provider();
        provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}
