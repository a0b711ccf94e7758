//! The settings of every part, as the program runs with them.

use std::{fmt, net::SocketAddr, path::PathBuf, time::Duration};

use crate::{admin, cache, proxy, rate_limit, server, telemetry, tenant, upstream};

/// The settings of every part.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The data listener.
    pub listen: SocketAddr,
    /// The other listeners.
    pub admin: admin::Settings,
    /// Whom we call.
    pub upstream: upstream::Settings,
    /// What a connection may ask.
    pub server: server::Settings,
    /// How judged requests are handled.
    pub proxy: proxy::Settings,
    /// Which policy is in force.
    pub policy: PolicySource,
    /// How a tenant is told.
    pub tenants: tenant::Settings,
    /// How much a tenant may ask.
    pub rate_limit: rate_limit::Settings,
    /// What is remembered of referrals.
    pub snapshots: cache::Settings,
    /// How the program ends.
    pub drain: Drain,
    /// What is logged.
    pub log: telemetry::Settings,
}

/// Where the policy document comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PolicySource {
    /// The document compiled in: `policies/referrals.yaml`.
    Builtin,
    /// A file, or a folder with exactly one document.
    Path(PathBuf),
}

impl fmt::Display for PolicySource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Builtin => f.write_str("builtin"),
            Self::Path(path) => write!(f, "{}", path.display()),
        }
    }
}

/// How the program ends.
#[derive(Debug, Clone, Copy)]
pub struct Drain {
    /// Connections are still accepted for this long after the signal.
    pub min: Duration,
    /// What is in flight may take until this long after the signal.
    pub max: Duration,
}
