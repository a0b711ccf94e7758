//! What operators and machines may ask of the gateway itself.

use std::net::SocketAddr;

use secrecy::SecretString;

/// Where the gateway answers questions about itself.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Serves `/metrics`, `/healthz`, `/livez`, `/readyz`.
    pub telemetry_listen: SocketAddr,
    /// Serves `/config`, `/policies`, `/log-level`.
    pub listen: SocketAddr,
    /// The bearer token asked for on the admin listener; without one it must be loopback.
    pub token: Option<SecretString>,
}
