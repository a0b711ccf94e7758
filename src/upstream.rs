//! Sends a request, gets an answer.

use std::{path::PathBuf, time::Duration};

use http::uri::{Authority, Scheme};

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
