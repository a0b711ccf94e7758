//! Every setting: its key, how its text is read, and whether a reload takes a new value into force.
//!
//! This is the only place that names them in code. The shape of the settings file stands in `file`, the defaults in
//! `defaults.yaml`, and what the values are for in the `Settings` of each part.

use std::{
    net::SocketAddr,
    num::{NonZeroU32, NonZeroU64, NonZeroUsize},
    path::PathBuf,
    time::Duration,
};

use http::HeaderName;

use super::value::{self, Fault};
use crate::{
    cache::Scope,
    identity::Name,
    policy::judging::{Stale, UnknownState, UnknownStateFailed},
    rebase::RewriteUrls,
    telemetry::Format,
    upstream::Target,
};

/// A setting that always has a value.
pub(super) struct Key<T> {
    /// The dotted name.
    pub(super) name: &'static str,
    /// Reads the text of a value.
    pub(super) parse: fn(&str) -> Result<T, Fault>,
    /// What a reload does with a new value.
    pub(super) change: Change,
}

/// A setting that may be left out.
pub(super) struct Optional<T>(pub(super) Key<T>);

/// What a reload does with a new value of a setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    /// It comes into force.
    Reload,
    /// It waits for a restart.
    Restart,
}

const fn reload<T>(name: &'static str, parse: fn(&str) -> Result<T, Fault>) -> Key<T> {
    Key {
        name,
        parse,
        change: Change::Reload,
    }
}

const fn restart<T>(name: &'static str, parse: fn(&str) -> Result<T, Fault>) -> Key<T> {
    Key {
        name,
        parse,
        change: Change::Restart,
    }
}

/// A file of a listener. A reload reads the content anew; only another path waits for a restart.
const fn file(name: &'static str) -> Optional<PathBuf> {
    Optional(restart(name, value::path))
}

/// The settings of one listener's TLS.
pub(super) struct TlsKeys {
    pub(super) certificate: Optional<PathBuf>,
    pub(super) key: Optional<PathBuf>,
    pub(super) client_authorities: Optional<PathBuf>,
    pub(super) client_names: Key<Vec<Name>>,
}

impl TlsKeys {
    /// Whether one of these settings, which wait for a restart, is a file of this listener.
    pub(super) fn wait(&self, waiting: &[String]) -> bool {
        let files = [&self.certificate, &self.key, &self.client_authorities];
        files
            .iter()
            .any(|file| waiting.iter().any(|key| key == file.0.name))
    }
}

pub(super) const LISTEN: Key<SocketAddr> = restart("listen", value::address);
pub(super) const TLS: TlsKeys = TlsKeys {
    certificate: file("tls.cert_file"),
    key: file("tls.key_file"),
    client_authorities: file("tls.client_ca_file"),
    client_names: reload("tls.client_names", value::names),
};
pub(super) const TELEMETRY_TLS: TlsKeys = TlsKeys {
    certificate: file("telemetry.tls.cert_file"),
    key: file("telemetry.tls.key_file"),
    client_authorities: file("telemetry.tls.client_ca_file"),
    client_names: reload("telemetry.tls.client_names", value::names),
};
pub(super) const TELEMETRY_LISTEN: Key<SocketAddr> = restart("telemetry.listen", value::address);
pub(super) const ADMIN_LISTEN: Key<SocketAddr> = restart("admin.listen", value::address);
pub(super) const TOKEN_FILE: Optional<PathBuf> = file("admin.token_file");

pub(super) const UPSTREAM_URL: Key<Target> = restart("upstream.url", value::target);
pub(super) const CA_FILE: Optional<PathBuf> = Optional(reload("upstream.ca_file", value::path));
pub(super) const CLIENT_CERT_FILE: Optional<PathBuf> =
    Optional(reload("upstream.client_cert_file", value::path));
pub(super) const CLIENT_KEY_FILE: Optional<PathBuf> =
    Optional(reload("upstream.client_key_file", value::path));
pub(super) const REWRITE_URLS: Key<RewriteUrls> =
    reload("upstream.rewrite_urls", value::rewrite_urls);
pub(super) const CONNECT_TIMEOUT: Key<Duration> = restart("upstream.connect_timeout", value::time);
pub(super) const RESPONSE_TIMEOUT: Key<Duration> =
    restart("upstream.response_timeout", value::time);
pub(super) const IDLE_BODY_TIMEOUT: Key<Duration> =
    restart("upstream.idle_body_timeout", value::time);
pub(super) const POOL_IDLE_TIMEOUT: Key<Duration> =
    restart("upstream.pool_idle_timeout", value::time);
pub(super) const UPSTREAM_CONNECTIONS: Key<NonZeroUsize> =
    restart("upstream.max_connections", |text| {
        value::number(text, 100_000)
    });

pub(super) const HEADER_TIMEOUT: Key<Duration> = restart("downstream.header_timeout", value::time);
pub(super) const BODY_TIMEOUT: Key<Duration> = reload("downstream.body_timeout", value::time);
pub(super) const MIN_BODY_RATE: Key<u32> = reload("downstream.min_body_rate", |text| {
    value::number_or_zero(text, 1 << 30)
});
pub(super) const IDLE_TIMEOUT: Key<Duration> = restart("downstream.idle_timeout", value::time);
pub(super) const MAX_HEADER_BYTES: Key<usize> = restart("downstream.max_header_bytes", |text| {
    value::size(text, 8 << 10, 1 << 20)
});
pub(super) const MAX_HEADERS: Key<NonZeroUsize> =
    restart("downstream.max_headers", |text| value::number(text, 1000));
pub(super) const MAX_JUDGED_BODY: Key<usize> = reload("downstream.max_judged_body", |text| {
    value::size(text, 1, 64 << 20)
});
pub(super) const MAX_CONNECTIONS: Key<NonZeroUsize> =
    restart("downstream.max_connections", |text| {
        value::number(text, 1_000_000)
    });

pub(super) const DOCUMENT: Key<PathBuf> = reload("policy.document", value::path);

pub(super) const TENANT_HEADER: Optional<HeaderName> =
    Optional(reload("tenants.header", value::tenant_header));
pub(super) const JWKS_FILE: Optional<PathBuf> = Optional(reload("tenants.jwks_file", value::path));
/// Below `tenants.known.<alias>`.
pub(super) const TENANT_ID: Key<String> = reload("id", value::tenant_id);

pub(super) const READS_PER_MINUTE: Key<NonZeroU32> = reload("rate_limit.reads.per_minute", count);
pub(super) const READS_BURST: Key<NonZeroU32> = reload("rate_limit.reads.burst", count);
pub(super) const WRITES_PER_MINUTE: Key<NonZeroU32> = reload("rate_limit.writes.per_minute", count);
pub(super) const WRITES_BURST: Key<NonZeroU32> = reload("rate_limit.writes.burst", count);
pub(super) const CONCURRENCY: Key<NonZeroU32> = reload("rate_limit.concurrency", count);
/// The limits that a known tenant may have of its own, below `tenants.known.<alias>`.
pub(super) const LIMITS: [&str; 5] = [
    READS_PER_MINUTE.name,
    READS_BURST.name,
    WRITES_PER_MINUTE.name,
    WRITES_BURST.name,
    CONCURRENCY.name,
];
pub(super) const MAX_TENANTS: Key<NonZeroUsize> = reload("rate_limit.max_tenants", |text| {
    value::number(text, 10_000_000)
});
pub(super) const COOLDOWN_DEFAULT: Key<Duration> =
    reload("rate_limit.cooldown.default", value::time);
pub(super) const COOLDOWN_MAX: Key<Duration> = reload("rate_limit.cooldown.max", value::time);

pub(super) const MAX_ENTRIES: Key<NonZeroU64> = restart("snapshots.max_entries", |text| {
    value::number(text, 100_000_000)
});
pub(super) const MAX_AGE: Key<Duration> = restart("snapshots.max_age", value::time);
pub(super) const SCOPE: Key<Scope> = restart("snapshots.scope", |text| {
    let words = [("principal", Scope::Principal), ("tenant", Scope::Tenant)];
    value::one_of(text, &words)
});
pub(super) const UNKNOWN_STATE: Key<UnknownState> = reload("snapshots.unknown_state", |text| {
    let words = [
        ("fetch", UnknownState::Fetch),
        ("forward", UnknownState::Forward),
        ("refuse", UnknownState::Refuse),
    ];
    value::one_of(text, &words)
});
pub(super) const UNKNOWN_STATE_FAILED: Key<UnknownStateFailed> =
    reload("snapshots.unknown_state_failed", |text| {
        let words = [
            ("refuse", UnknownStateFailed::Refuse),
            ("forward", UnknownStateFailed::Forward),
        ];
        value::one_of(text, &words)
    });
pub(super) const STALE: Key<Stale> = reload("snapshots.stale", |text| {
    let words = [("forward", Stale::Forward), ("refuse", Stale::Refuse)];
    value::one_of(text, &words)
});

pub(super) const DRAIN_MIN: Key<Duration> = restart("drain.min", value::time_or_zero);
pub(super) const DRAIN_MAX: Key<Duration> = restart("drain.max", value::time);

pub(super) const LOG_LEVEL: Key<String> = reload("log.level", value::log_level);
pub(super) const LOG_FORMAT: Key<Format> = restart("log.format", |text| {
    let words = [
        ("auto", Format::Auto),
        ("text", Format::Text),
        ("json", Format::Json),
    ];
    value::one_of(text, &words)
});

fn count(text: &str) -> Result<NonZeroU32, Fault> {
    value::number(text, u32::MAX.into())
}
