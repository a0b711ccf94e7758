//! The settings file: names and shapes. `keys` says how each value is read.
//!
//! Every layer (defaults, file, environment, flags) has this shape; the doc comments are the
//! descriptions in `schema config`.

use std::{collections::BTreeMap, fmt};

use schemars::JsonSchema;
use serde::{
    Deserialize, Deserializer, Serialize,
    de::{Error, SeqAccess, Visitor},
};

/// The built-in values, the lowest layer.
pub(super) const DEFAULTS: &str = include_str!("defaults.yaml");

/// The JSON Schema of the settings file, for editors.
pub fn schema() -> serde_json::Value {
    schemars::schema_for!(File).to_value()
}

/// Settings of referral-gateway. All of them have defaults.
#[derive(Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "referral-gateway settings")]
pub(super) struct File {
    /// The data listener: IP address and port.
    listen: Option<Address>,
    /// TLS of the data listener; without it, clear text.
    tls: Option<Tls>,
    /// Metrics and probes.
    telemetry: Option<Telemetry>,
    /// The admin listener.
    admin: Option<Admin>,
    /// The service.
    upstream: Option<Upstream>,
    /// Limits and time-outs of callers.
    downstream: Option<Downstream>,
    /// The policy.
    policy: Option<Policy>,
    /// How the gateway identifies the tenant.
    pub(super) tenants: Option<Tenants>,
    /// Request limits of a tenant.
    rate_limit: Option<RateLimit>,
    /// The snapshot cache.
    snapshots: Option<Snapshots>,
    /// Shutdown.
    drain: Option<Drain>,
    /// Log records.
    log: Option<Log>,
}

/// An IP address and a port; port 0 takes any free one.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(transparent)]
#[schemars(extend("examples" = ["127.0.0.1:4280", "[::1]:4280"]))]
struct Address(String);

/// A duration with its unit.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(transparent)]
#[schemars(extend("examples" = ["250ms", "5s", "1m30s"]))]
struct Time(String);

/// A number of bytes.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(transparent)]
#[schemars(extend("type" = ["string", "integer"], "examples" = ["32KiB", "1MiB", 65536]))]
struct Size(String);

/// The path of a file; a relative one is relative to the settings file that names it.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(transparent)]
struct Path(String);

/// Names, as a list or as one text with commas between them.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(transparent)]
#[schemars(extend("examples" = [["crm.example", "spiffe://example/crm"]]))]
struct Names(Vec<String>);

impl<'de> Deserialize<'de> for Names {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NamesVisitor)
    }
}

struct NamesVisitor;

impl<'de> Visitor<'de> for NamesVisitor {
    type Value = Names;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of names")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Names, E> {
        let names = text
            .split(',')
            .map(str::trim)
            .filter(|name| !name.is_empty());
        let names: Vec<_> = names.map(str::to_owned).collect();
        match names.is_empty() {
            true => Err(E::custom("no name; leave the setting out, or write one")),
            false => Ok(Names(names)),
        }
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Names, A::Error> {
        let mut names = Vec::new();
        while let Some(name) = list.next_element()? {
            names.push(name);
        }
        Ok(Names(names))
    }
}

#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Telemetry {
    /// Serves `/metrics`, `/healthz`, `/livez`, `/readyz`.
    listen: Option<Address>,
    /// TLS of this listener; without it, clear text.
    tls: Option<Tls>,
}

#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Tls {
    /// The certificate that the listener shows, PEM, followed by those that lead to its authority. Read again when it changes.
    cert_file: Option<Path>,
    /// The private key of that certificate, PEM, without a passphrase. Read again when it changes.
    key_file: Option<Path>,
    /// The authorities of client certificates, PEM. With it, each client must show a certificate.
    client_ca_file: Option<Path>,
    /// Host names and URIs. A client's certificate must have one of them as subject alternative name; without any, each
    /// certificate of those authorities is accepted.
    client_names: Option<Names>,
}

#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Admin {
    /// Serves `/config`, `/policies`, `/log-level`. Loopback, unless `token_file` is given.
    listen: Option<Address>,
    /// A file with the bearer token that the admin listener asks for.
    token_file: Option<Path>,
}

#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Upstream {
    /// Scheme and host of the service (plain http only on loopback), or `simulator`.
    #[schemars(extend("examples" = ["https://api.partner.microsoft.com", "simulator"]))]
    url: Option<String>,
    /// Certificates trusted beside the platform's, PEM.
    ca_file: Option<Path>,
    /// The certificate that the gateway shows to the service, PEM. Read again when it changes.
    client_cert_file: Option<Path>,
    /// The private key of that certificate, PEM, without a passphrase. Read again when it changes.
    client_key_file: Option<Path>,
    /// What URLs of the service in answers become: `true` (the gateway as the caller has reached it), `false` (unchanged), or the
    /// origin that callers reach the gateway by.
    #[schemars(extend("type" = ["string", "boolean"], "examples" = [true, false, "https://gateway.example"]))]
    rewrite_urls: Option<String>,
    /// From the first attempt to a connection that can carry a request, TLS included.
    connect_timeout: Option<Time>,
    /// Longest wait for the head of the answer, from the connection or the last piece of the request's body.
    response_timeout: Option<Time>,
    /// Longest pause between two pieces of a response body.
    idle_body_timeout: Option<Time>,
    /// An unused connection is closed after this long.
    pool_idle_timeout: Option<Time>,
    /// Most open connections to the service, of HTTP/1.1 and HTTP/2 together.
    #[schemars(range(min = 1, max = 100_000))]
    max_connections: Option<u64>,
}

#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Downstream {
    /// Longest wait for the first byte of a connection, and from a request's first byte to the end of its header section.
    header_timeout: Option<Time>,
    /// Longest pause between two pieces of a request body.
    body_timeout: Option<Time>,
    /// Least bytes a second of a judged request body, after five seconds; 0 for none.
    #[schemars(range(max = 1_073_741_824))]
    min_body_rate: Option<u64>,
    /// A connection without a request is closed after this long.
    idle_timeout: Option<Time>,
    /// Largest header section of a request: 8KiB to 1MiB.
    max_header_bytes: Option<Size>,
    /// Most header fields of a request.
    #[schemars(range(min = 1, max = 1000))]
    max_headers: Option<u64>,
    /// Largest body of a judged request: at most 64MiB.
    max_judged_body: Option<Size>,
    /// Most open connections.
    #[schemars(range(min = 1, max = 1_000_000))]
    max_connections: Option<u64>,
}

#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Policy {
    /// `builtin`, the path of a policy document, or of a folder with exactly one.
    document: Option<Path>,
}

#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Tenants {
    /// The header that names the tenant when the token has no `tid`.
    header: Option<String>,
    /// A JSON Web Key Set. With it, a token names a tenant only if one of its RSA keys has signed the token.
    jwks_file: Option<Path>,
    /// Tenants with an alias for logs, metrics and policies.
    pub(super) known: Option<BTreeMap<String, Option<Known>>>,
}

#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Known {
    /// The `tid` claim of its tokens, or the value of the tenant header.
    id: Option<String>,
    /// Limits of this tenant; the common limits apply to what is left out.
    rate_limit: Option<Limits>,
}

#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Limits {
    /// GET, HEAD, OPTIONS.
    reads: Option<Quota>,
    /// Every other method.
    writes: Option<Quota>,
    /// Most requests in flight.
    #[schemars(range(min = 1))]
    concurrency: Option<u32>,
}

#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct RateLimit {
    /// GET, HEAD, OPTIONS.
    reads: Option<Quota>,
    /// Every other method.
    writes: Option<Quota>,
    /// Most requests of one tenant in flight.
    #[schemars(range(min = 1))]
    concurrency: Option<u32>,
    /// Most tenants with limits of their own; further ones share one bucket.
    #[schemars(range(min = 1, max = 10_000_000))]
    max_tenants: Option<u64>,
    /// How long a tenant is held back after a 429 or 503 of the upstream.
    cooldown: Option<Cooldown>,
}

#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Quota {
    /// The steady rate, in requests a minute.
    #[schemars(range(min = 1))]
    per_minute: Option<u32>,
    /// Burst size: requests at once after a pause.
    #[schemars(range(min = 1))]
    burst: Option<u32>,
}

#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Cooldown {
    /// Wait if the service gives no time.
    default: Option<Time>,
    /// Longest wait, whatever the service asks for.
    max: Option<Time>,
}

#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Snapshots {
    /// Most referrals in the cache.
    #[schemars(range(min = 1, max = 100_000_000))]
    max_entries: Option<u64>,
    /// A snapshot expires after this long.
    max_age: Option<Time>,
    /// Who shares a snapshot: one user of one application, or all callers of a tenant.
    scope: Option<Scope>,
    /// What to do when the cache has no state for the entity tag in `If-Match`.
    unknown_state: Option<UnknownState>,
    /// What to do when fetching that state fails.
    unknown_state_failed: Option<ForwardOrRefuse>,
    /// What to do when the referral has a newer entity tag than the one in `If-Match`.
    stale: Option<ForwardOrRefuse>,
}

#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Scope {
    Principal,
    Tenant,
}

#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum UnknownState {
    Fetch,
    Forward,
    Refuse,
}

#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum ForwardOrRefuse {
    Forward,
    Refuse,
}

#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Drain {
    /// The gateway still accepts connections for this long after the signal.
    min: Option<Time>,
    /// Requests in flight are cut this long after the signal.
    max: Option<Time>,
}

#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Log {
    /// A level, or a filter such as `warn,referral_gateway::access=off`.
    level: Option<String>,
    /// The form of a line: `auto` is text on a terminal, JSON elsewhere.
    format: Option<Format>,
}

#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Format {
    Auto,
    Text,
    Json,
}
