//! Where requests go, and how long the gateway waits.

use std::time::Duration;

use http::uri::{Authority, Scheme};
use rustls::pki_types::CertificateDer;

use crate::identity::Identity;

/// Where requests go, and how long the gateway waits.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where requests go.
    pub target: Target,
    /// Certificates trusted in addition to the platform's.
    pub authorities: Vec<CertificateDer<'static>>,
    /// What the gateway shows to an upstream that asks for a certificate.
    pub client: Option<Identity>,
    /// From the first attempt to a connection that can carry a request, TLS included.
    pub connect_timeout: Duration,
    /// From the last byte of the request to the head of the answer.
    pub response_timeout: Duration,
    /// The longest pause between two pieces of an answer's body.
    pub idle_body_timeout: Duration,
    /// An idle connection is closed after this long.
    pub pool_idle_timeout: Duration,
    /// The most connections at once, of both protocols.
    pub max_connections: usize,
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

/// Why the upstream cannot be used, known before anything is sent.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// No certificate to verify the upstream by.
    #[error("no trusted certificates: the platform has none and upstream.ca_file names none")]
    NoRoots,
    /// The environment variable names a proxy that the gateway cannot use.
    #[error("this proxy type is not supported")]
    Proxy(&'static str),
    /// rustls refuses the settings.
    #[error("TLS cannot be set up: {0}")]
    Tls(#[from] rustls::Error),
    /// The trusted certificates cannot be used.
    #[error("TLS cannot be set up: {0}")]
    Verifier(#[from] rustls::client::VerifierBuilderError),
}

impl SetupError {
    /// How to fix it.
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::NoRoots => {
                "install the platform's certificates (ca-certificates), or name a PEM file by upstream.ca_file"
            }
            Self::Proxy(_) => "use http://HOST:PORT, or add the upstream host to NO_PROXY",
            Self::Tls(_) | Self::Verifier(_) => "correct the certificates of upstream.ca_file",
        }
    }
}
