//! The telemetry and the admin listener: probes, metrics, and what operators ask.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU8, Ordering},
    },
    time::{Instant, SystemTime},
};

use arc_swap::ArcSwap;
use secrecy::SecretString;
use serde_json::Value;

use crate::{
    cache::Snapshots,
    metrics::Metrics,
    offline,
    policy::Policy,
    proxy::Gateway,
    rate_limit::RateLimit,
    server::tls,
    telemetry::{Logging, Recent},
    upstream::Upstream,
};

mod access;
mod answer;
mod control;
mod decisions;
mod explain;
mod history;
mod listener;
mod page;
mod policies;
mod snapshots;
mod status;
mod telemetry;
mod tenants;
mod verdict;

pub use control::{Control, Orders, Reloaded};
pub use decisions::Followers;
pub use history::{History, STEP};
pub use listener::Admin;
pub use telemetry::Telemetry;

/// The addresses of the telemetry and the admin listener.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Serves `/metrics`, `/healthz`, `/livez`, `/readyz`.
    pub telemetry_listen: SocketAddr,
    /// TLS of that listener; without it, clear text.
    pub telemetry_tls: Option<tls::Settings>,
    /// Serves what operators ask.
    pub listen: SocketAddr,
    /// The bearer token of the admin listener; without one it must be loopback.
    pub token: Option<SecretString>,
}

/// What the listeners show, and what operators can change.
pub struct Status {
    /// All metrics.
    pub metrics: Arc<Metrics>,
    /// Policy and settings in force.
    pub in_force: ArcSwap<InForce>,
    /// The log.
    pub logging: Logging,
    /// The gateway.
    pub gateway: Arc<Gateway>,
    /// The limits.
    pub rate_limit: Arc<RateLimit>,
    /// The snapshot cache.
    pub snapshots: Arc<Snapshots>,
    /// The upstream.
    pub upstream: Arc<Upstream>,
    /// The last decision records.
    pub decisions: Arc<Recent>,
    /// Who follows them.
    pub followers: Followers,
    /// The state of the gateway.
    pub readiness: Readiness,
    /// What happened in the last minutes.
    pub history: History,
    /// The last reload.
    pub reloaded: Mutex<Option<Reloaded>>,
    /// Held while a captured request is judged.
    pub explaining: Arc<tokio::sync::Mutex<()>>,
    /// Hands on what operators ask for.
    pub control: Control,
    /// When the program started.
    pub started: (SystemTime, Instant),
}

/// Policy and settings in force, which a reload replaces.
pub struct InForce {
    /// The policy.
    pub policy: Arc<Policy>,
    /// The settings with their origins, redacted.
    pub config: Value,
    /// The bearer token of the admin listener.
    pub token: Option<SecretString>,
    /// The most tenants with limits of their own.
    pub max_tenants: usize,
    /// Judges captured requests by the same settings and policy.
    pub offline: offline::Gateway,
}

/// The state of the gateway: starting, ready or draining.
#[derive(Debug, Clone, Default)]
pub struct Readiness(Arc<AtomicU8>);

const READY: u8 = 1;
const DRAINING: u8 = 2;

impl Readiness {
    /// Requests are served.
    pub fn set_ready(&self) {
        self.0.store(READY, Ordering::Release);
    }

    /// The program ends soon.
    pub fn set_draining(&self) {
        self.0.store(DRAINING, Ordering::Release);
    }

    fn name(&self) -> &'static str {
        match self.0.load(Ordering::Acquire) {
            READY => "ready",
            DRAINING => "draining",
            _ => "starting",
        }
    }
}
