//! Asks a running gateway whether it is ready; what a container's `HEALTHCHECK` runs.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use http::{Request, StatusCode, Uri, header::HOST};
use http_body_util::Empty;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::{
    ClientConfig, DigitallySignedStruct, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    pki_types::{CertificateDer, ServerName, UnixTime},
};
use serde_json::json;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::TlsConnector;

use super::{
    output::{Output, OutputFlag, print},
    runtime::block_on,
};
use crate::config::{self, Sources};

/// A healthy gateway answers sooner.
const DEADLINE: Duration = Duration::from_secs(3);

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// URL to ask [default: the telemetry listener of the settings]
    #[arg(long, value_parser = Url::parse)]
    pub(super) url: Option<Url>,
    #[command(flatten)]
    output: OutputFlag,
}

/// Asks, and says what the answer is.
pub(super) fn healthcheck(arguments: Arguments, sources: Sources) -> anyhow::Result<ExitCode> {
    let url = match arguments.url {
        Some(url) => url,
        None => {
            let settings = config::load(sources)?.settings.admin;
            Url::of(settings.telemetry_listen, settings.telemetry_tls.is_some())?
        }
    };
    block_on(ask(url, arguments.output.output))?
}

async fn ask(url: Url, output: Output) -> anyhow::Result<ExitCode> {
    let answer = url.ask().await;
    let is_ready = matches!(&answer, Ok(status) if status.is_success());
    match output {
        Output::Text => match &answer {
            Ok(status) if is_ready => print(&format!("ready: {url} answers {status}\n"))?,
            Ok(status) => print(&format!("not ready: {url} answers {status}\n"))?,
            Err(error) => print(&format!("not ready: {url}: {error:#}\n"))?,
        },
        Output::Json => {
            let status = answer.as_ref().ok().map(|status| status.as_u16());
            let error = answer.as_ref().err().map(|error| format!("{error:#}"));
            let answer = json!({ "ready": is_ready, "url": url.to_string(), "status": status, "error": error });
            print(&format!("{answer:#}\n"))?
        }
    };
    Ok(if is_ready {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// The URL of a readiness probe.
#[derive(Debug, Clone)]
pub(super) struct Url {
    is_tls: bool,
    authority: String,
    host: String,
    port: u16,
    path: String,
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.is_tls { "https" } else { "http" };
        write!(f, "{scheme}://{}{}", self.authority, self.path)
    }
}

impl Url {
    /// A URL as given; without a path it asks for `/readyz`.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let wrong = || "write a URL such as http://127.0.0.1:4281/readyz".to_owned();
        let uri: Uri = text.parse().map_err(|_| wrong())?;
        let authority = uri.authority().ok_or_else(wrong)?;
        let (is_tls, default) = match uri.scheme_str() {
            Some("http") => (false, 80),
            Some("https") => (true, 443),
            _ => return Err(wrong()),
        };
        let port = authority.port_u16().unwrap_or(default);
        if authority.as_str().contains('@') || port == 0 {
            return Err(wrong());
        }
        let path = match uri.path_and_query().map_or("/", |path| path.as_str()) {
            "/" => "/readyz",
            path => path,
        };
        Ok(Self {
            is_tls,
            authority: authority.to_string(),
            host: authority.host().trim_matches(['[', ']']).to_owned(),
            port,
            path: path.to_owned(),
        })
    }

    /// The probe of a telemetry listener of this machine.
    pub(super) fn of(listener: SocketAddr, is_tls: bool) -> anyhow::Result<Self> {
        ensure!(
            listener.port() != 0,
            "telemetry.listen has port 0, so its port is known to the running gateway alone; \
             name it: --url http://127.0.0.1:<port>"
        );
        let ip = match listener.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
            ip => ip,
        };
        Ok(Self {
            is_tls,
            authority: SocketAddr::new(ip, listener.port()).to_string(),
            host: ip.to_string(),
            port: listener.port(),
            path: "/readyz".to_owned(),
        })
    }

    /// The status of the answer. It is an error if none comes within 3 seconds.
    pub(super) async fn ask(&self) -> anyhow::Result<StatusCode> {
        let answer = timeout(DEADLINE, self.get()).await;
        answer.with_context(|| format!("no answer within {} s", DEADLINE.as_secs()))?
    }

    async fn get(&self) -> anyhow::Result<StatusCode> {
        let stream = TcpStream::connect((self.host.as_str(), self.port))
            .await
            .context("cannot connect")?;
        if !self.is_tls {
            return self.get_on(stream).await;
        }
        let name = ServerName::try_from(self.host.clone()).context("not a host")?;
        let connector = TlsConnector::from(Arc::new(unverified()));
        let stream = connector.connect(name, stream).await.context("no TLS")?;
        self.get_on(stream).await
    }

    async fn get_on<S>(&self, stream: S) -> anyhow::Result<StatusCode>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        let request = Request::get(&self.path)
            .header(HOST, &self.authority)
            .body(Empty::<Bytes>::new())?;
        // The connection does the work of the request; it ends with this function.
        tokio::select! {
            answer = sender.send_request(request) => Ok(answer.context("no answer")?.status()),
            Err(error) = connection => Err(error).context("no answer"),
        }
    }
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

#[cfg(test)]
mod tests {
    use super::Url;

    #[test]
    fn a_url_without_a_path_asks_for_readiness() {
        for (text, expected) in [
            ("http://127.0.0.1:4281", "http://127.0.0.1:4281/readyz"),
            ("http://[::1]:9/", "http://[::1]:9/readyz"),
            ("https://gateway", "https://gateway/readyz"),
            (
                "http://gateway/livez?verbose",
                "http://gateway/livez?verbose",
            ),
        ] {
            assert_eq!(
                Url::parse(text).map(|url| url.to_string()),
                Ok(expected.to_owned())
            );
        }
        for text in [
            "ftp://127.0.0.1:4281",
            "127.0.0.1:4281",
            "http://a@b",
            "http://h:0",
            "",
            "/readyz",
        ] {
            Url::parse(text).expect_err(text);
        }
    }

    #[test]
    fn a_listener_on_every_address_is_asked_on_loopback() {
        for (listener, expected) in [
            ("0.0.0.0:4281", "http://127.0.0.1:4281/readyz"),
            ("[::]:4281", "http://[::1]:4281/readyz"),
            ("10.1.2.3:4281", "http://10.1.2.3:4281/readyz"),
        ] {
            let url = Url::of(listener.parse().expect("an address"), false).expect("a url");
            assert_eq!(url.to_string(), expected);
        }
        let error = Url::of("127.0.0.1:0".parse().expect("an address"), false).expect_err("port 0");
        assert!(
            error
                .to_string()
                .ends_with("name it: --url http://127.0.0.1:<port>")
        );
    }
}
