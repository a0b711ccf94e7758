//! The settings of every part, as the program runs with them.

use std::{fmt, net::SocketAddr, path::PathBuf, time::Duration};

use crate::{
    admin, cache, offline, proxy, proxy::headers, rate_limit, server, telemetry, tenant, upstream,
};

/// The settings of every part.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The data listener.
    pub listen: SocketAddr,
    /// TLS of the data listener; without it, clear text.
    pub tls: Option<server::tls::Settings>,
    /// The other listeners.
    pub admin: admin::Settings,
    /// The service behind the gateway.
    pub upstream: upstream::Settings,
    /// Limits and time-outs of connections.
    pub server: server::Settings,
    /// How judged requests are handled.
    pub proxy: proxy::Settings,
    /// Where the policy document is.
    pub policy: PolicySource,
    /// How the tenant of a request is found.
    pub tenants: tenant::Settings,
    /// Request limits of a tenant.
    pub rate_limit: rate_limit::Settings,
    /// The snapshot cache.
    pub snapshots: cache::Settings,
    /// Shutdown.
    pub drain: Drain,
    /// Log records.
    pub log: telemetry::Settings,
}

impl Settings {
    /// The bounds of a request's header section.
    pub fn header_limits(&self) -> headers::Limits {
        headers::Limits {
            max_bytes: self.server.max_header_bytes,
            max_fields: self.server.max_headers,
        }
    }

    /// Those of a gateway without a network.
    pub fn offline(&self) -> offline::Settings<'_> {
        offline::Settings {
            proxy: &self.proxy,
            limits: self.header_limits(),
            tenants: &self.tenants,
            target: &self.upstream.target,
        }
    }
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

/// How long a shutdown may take.
#[derive(Debug, Clone, Copy)]
pub struct Drain {
    /// The gateway still accepts connections for this long after the signal.
    pub min: Duration,
    /// Requests in flight are cut this long after the signal.
    pub max: Duration,
}
