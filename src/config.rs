//! Every setting, typed: what the text of flags, environment, file and defaults means.

mod file;
mod files;
mod layers;
mod problem;
mod settings;
mod value;

use std::{
    collections::HashMap,
    ffi::OsString,
    fmt,
    net::{IpAddr, SocketAddr},
    num::{NonZeroU32, NonZeroUsize},
    path::{Path, PathBuf},
    time::Duration,
};

use http::uri::{Authority, Scheme};
use rustls::pki_types::{CertificateDer, pem::PemObject};
use secrecy::SecretString;
use serde_json::{Map, Value, json};

use crate::{
    admin, cache,
    policy::{Policy, judging},
    proxy, rate_limit, server, telemetry, tenant,
    upstream::{self, Target},
    yaml,
};
use layers::{Layers, Origin, as_text};
use value::Fault;

pub use files::Files;
pub use problem::Problem;
pub use settings::{Drain, PolicySource, Settings};

/// The policy document that is in force when none is named.
const BUILTIN_POLICY: &str = include_str!("../policies/referrals.yaml");

/// Where settings are read from, beside the built-in defaults.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// The settings file; without one, the file that `REFERRAL_GATEWAY_CONFIG` names.
    pub file: Option<PathBuf>,
    /// The environment; variables that are not ours are skipped.
    pub environment: Vec<(OsString, OsString)>,
    /// Flag, setting and value of each flag that was given.
    pub flags: Vec<(&'static str, &'static str, String)>,
}

/// Settings that can be run with, and where each of them comes from.
#[derive(Debug)]
pub struct Config {
    /// The settings of every part.
    pub settings: Settings,
    layers: Layers,
    files: Files,
    simulated: bool,
    waiting: Vec<String>,
}

/// Settings, and the policy that they name.
#[derive(Debug)]
pub struct Loaded {
    /// The settings.
    pub config: Config,
    /// The policy.
    pub policy: Policy,
    /// All files that were read.
    pub files: Files,
}

/// Everything that is wrong with the settings and with the policy that they name.
#[derive(Debug)]
pub struct Error {
    settings: Vec<Problem>,
    policy: Vec<Problem>,
    /// All files that were read.
    pub files: Files,
}

impl Error {
    /// An error of the settings alone.
    pub fn in_settings(problems: Vec<Problem>, files: Files) -> Self {
        Self {
            settings: problems,
            policy: Vec::new(),
            files,
        }
    }

    /// All that is wrong: the settings first, then the policy.
    pub fn problems(&self) -> impl Iterator<Item = &Problem> {
        self.of_settings().iter().chain(self.of_policy())
    }

    /// What is wrong with the settings.
    pub fn of_settings(&self) -> &[Problem] {
        &self.settings
    }

    /// What is wrong with the policy.
    pub fn of_policy(&self) -> &[Problem] {
        &self.policy
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, problem) in self.problems().enumerate() {
            let end_of_line = if number == 0 { "" } else { "\n" };
            write!(f, "{end_of_line}{problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {}

/// Reads the settings of all sources, and checks them.
pub fn load(sources: Sources) -> Result<Config, Error> {
    match read(sources) {
        (Some(config), problems, _) if problems.is_empty() => Ok(config),
        (_, settings, files) => Err(Error {
            settings,
            policy: Vec::new(),
            files,
        }),
    }
}

/// Reads the settings of all sources and the policy that they name, and checks both.
pub fn load_all(sources: Sources) -> Result<Loaded, Error> {
    let (config, settings, mut files) = read(sources);
    let policy = config.as_ref().map(|config| {
        let policy = read_policy(&config.settings.policy, &mut files);
        let policy = policy.map_err(|wrong| match wrong {
            NoPolicy::Document(problems) => problems,
            NoPolicy::Path(fault) => {
                let problem = config.layers.problem("policy.document", fault);
                problem.into_iter().collect()
            }
        })?;
        let unknown = unknown_tenants(&policy, &config.settings);
        if unknown.is_empty() {
            Ok(policy)
        } else {
            Err(unknown)
        }
    });
    match (config, policy) {
        (Some(config), Some(Ok(policy))) if settings.is_empty() => Ok(Loaded {
            config,
            policy,
            files,
        }),
        (_, policy) => Err(Error {
            settings,
            policy: policy.and_then(Result::err).unwrap_or_default(),
            files,
        }),
    }
}

/// Reads a policy document by itself: which tenants the settings know is another question.
pub fn load_policy(source: &PolicySource) -> Result<Policy, Error> {
    let mut files = Files::default();
    match read_policy(source, &mut files) {
        Ok(policy) => Ok(policy),
        Err(wrong) => Err(Error {
            settings: Vec::new(),
            policy: match (wrong, source) {
                (NoPolicy::Document(problems), _) => problems,
                (NoPolicy::Path(fault), PolicySource::Path(path)) => {
                    vec![Problem::in_file(path.display(), fault)]
                }
                (NoPolicy::Path(fault), PolicySource::Builtin) => {
                    vec![Problem::in_file("builtin", fault)]
                }
            },
            files,
        }),
    }
}

/// The settings, all that is wrong with them, and the files that were read.
fn read(sources: Sources) -> (Option<Config>, Vec<Problem>, Files) {
    let mut files = Files::default();
    let mut reading = Reading {
        problems: Vec::new(),
        layers: Layers::read(sources, &mut files),
        files,
    };
    reading.problems.append(&mut reading.layers.problems);
    let settings = reading.settings();
    let Reading {
        layers,
        problems,
        files,
    } = reading;
    let config = settings.map(|settings| Config {
        settings,
        layers,
        files: files.clone(),
        simulated: false,
        waiting: Vec::new(),
    });
    (config, problems, files)
}

/// Tenants that the policy names and the settings do not.
fn unknown_tenants(policy: &Policy, settings: &Settings) -> Vec<Problem> {
    let known = || settings.tenants.known.iter().map(|known| &*known.alias);
    policy
        .tenants()
        .filter(|(alias, _)| known().all(|other| other != *alias))
        .map(|(alias, place)| {
            let remedy = yaml::nearest(alias, known()).map_or_else(
                || {
                    "name an alias of the settings, or add it there (--config says which file)"
                        .to_owned()
                },
                |nearest| format!("did you mean `{nearest}`?"),
            );
            let what = format!("modes: `{alias}` is no alias of tenants.known");
            Problem::at(place, Fault::new(what, remedy))
        })
        .collect()
}

/// Why there is no policy.
#[derive(Debug)]
enum NoPolicy {
    /// The path does not lead to a document.
    Path(Fault),
    /// The document cannot be used.
    Document(Vec<Problem>),
}

fn read_policy(source: &PolicySource, files: &mut Files) -> Result<Policy, NoPolicy> {
    match source {
        PolicySource::Builtin => parse_policy(BUILTIN_POLICY, "builtin"),
        PolicySource::Path(path) => {
            let document = document_in(path, files).map_err(NoPolicy::Path)?;
            let text = files.text_of(&document).map_err(|error| {
                if error.place.is_some() {
                    return NoPolicy::Document(vec![error.into()]);
                }
                let what = if document == *path {
                    error.what
                } else {
                    format!("{}: {}", error.file, error.what)
                };
                NoPolicy::Path(Fault::new(what, error.remedy))
            })?;
            parse_policy(&text, &document.display().to_string())
        }
    }
}

fn parse_policy(text: &str, file: &str) -> Result<Policy, NoPolicy> {
    Policy::parse(text, file)
        .map_err(|error| NoPolicy::Document(error.into_iter().map(Problem::from).collect()))
}

/// The path itself, or the one document of a folder. Folders inside it (tests) do not count.
fn document_in(path: &Path, files: &mut Files) -> Result<PathBuf, Fault> {
    if !path.is_dir() {
        return Ok(path.to_owned());
    }
    let documents = files.documents_in(path).map_err(|error| {
        let remedy = "give a folder that this user may read";
        Fault::new(format!("cannot be read: {error}"), remedy)
    })?;
    let remedy = "name the document itself, or keep exactly one *.yaml in the folder";
    match documents.as_slice() {
        [one] => Ok(one.clone()),
        [] => Err(Fault::new("no *.yaml in this folder", remedy)),
        several => {
            let names: Vec<_> = several
                .iter()
                .filter_map(|path| path.file_name()?.to_str())
                .collect();
            let what = format!(
                "{} documents in this folder ({})",
                several.len(),
                names.join(", ")
            );
            Err(Fault::new(what, remedy))
        }
    }
}

/// What a reload may change: keys, and beginnings of keys. Whatever else changes waits for a restart.
const RELOADABLE: &[&str] = &[
    "downstream.body_timeout",
    "downstream.max_judged_body",
    "log.level",
    "policy.",
    "rate_limit.",
    "snapshots.stale",
    "snapshots.unknown_state",
    "tenants.",
    "upstream.ca_file",
];

/// The JSON Schema of the settings file.
pub fn schema() -> Value {
    schemars::schema_for!(file::File).to_value()
}

impl Config {
    /// Whether the simulator stands in for the service.
    pub fn wants_simulator(&self) -> bool {
        self.settings.upstream.target == Target::Simulator
    }

    /// The simulator listens there.
    pub fn put_simulator_at(&mut self, address: SocketAddr) {
        self.simulated = true;
        if let Ok(authority) = address.to_string().parse() {
            self.settings.upstream.target = Target::Service {
                scheme: Scheme::HTTP,
                authority,
            };
        }
    }

    /// The settings in force as YAML, with the origin of each as a comment if wished. No secret is among them.
    pub fn show(&self, origins: bool) -> String {
        let mut lines = String::new();
        show(&self.nested(), "", &mut lines, &|key| {
            let leaf = self.layers.leaves.get(key).filter(|_| origins)?;
            Some(leaf.origin.to_string())
        });
        lines
    }

    /// The settings in force, and the origin of each by its dotted key. No secret is among them.
    pub fn to_json(&self) -> Value {
        let origins = self.layers.leaves.iter();
        let origins: Map<String, Value> = origins
            .map(|(key, leaf)| (key.clone(), leaf.origin.to_string().into()))
            .collect();
        let mut shown = json!({ "settings": self.nested(), "origins": origins });
        if let (Value::Object(shown), false) = (&mut shown, self.waiting.is_empty()) {
            let waiting = self.waiting.iter().cloned().collect();
            shown.insert("waiting_for_restart".to_owned(), waiting);
        }
        shown
    }

    /// These settings with everything from `new` that may change while the program runs. The others stay as they are; see
    /// [`Self::waiting`].
    pub fn renewed(&self, new: Self) -> Self {
        let Self {
            settings,
            mut layers,
            files,
            ..
        } = new;
        let mut waiting = Vec::new();
        for (key, leaf) in &mut layers.leaves {
            let is_reloadable = RELOADABLE.iter().any(|start| key.starts_with(start));
            if let (false, Some(running)) = (is_reloadable, self.layers.leaves.get(key))
                && running.value != leaf.value
            {
                leaf.clone_from(running);
                waiting.push(key.clone());
            }
        }
        let old = &self.settings;
        // The listener stays where it is, so it keeps the token that it was protected by if another file is named, or none.
        let token = if waiting.iter().any(|key| key == "admin.token_file") {
            old.admin.token.clone()
        } else {
            settings.admin.token
        };
        let settings = Settings {
            admin: admin::Settings {
                token,
                ..old.admin.clone()
            },
            upstream: upstream::Settings {
                authorities: settings.upstream.authorities,
                ..old.upstream.clone()
            },
            proxy: settings.proxy,
            policy: settings.policy,
            tenants: settings.tenants,
            rate_limit: settings.rate_limit,
            log: telemetry::Settings {
                level: settings.log.level,
                ..old.log.clone()
            },
            ..old.clone()
        };
        Self {
            settings,
            layers,
            files,
            simulated: self.simulated,
            waiting,
        }
    }

    /// The settings that were changed and wait for a restart.
    pub fn waiting(&self) -> &[String] {
        &self.waiting
    }

    /// Whether both were read from the same files, which said the same.
    pub fn is_same_as(&self, other: &Self) -> bool {
        self.files == other.files
    }

    /// The upstream's URL, or `simulator`.
    pub fn upstream(&self) -> String {
        match &self.settings.upstream.target {
            _ if self.simulated => "simulator".to_owned(),
            Target::Simulator => "simulator".to_owned(),
            Target::Service { scheme, authority } => format!("{scheme}://{authority}"),
        }
    }

    /// What may be meant otherwise than it works.
    pub fn warnings(&self) -> Vec<String> {
        let empty = self.layers.empty.iter().map(|path| {
            format!(
                "{}: the file is empty, so it sets nothing; `config show` prints one to begin with",
                path.display()
            )
        });
        let tenants = &self.settings.tenants;
        let odd = tenants.known.iter().filter(|known| {
            tenants.header.is_none()
                && (known.id.len() != 36 || uuid::Uuid::try_parse(&known.id).is_err())
        });
        let odd = odd.map(|known| {
            let key = format!("tenants.known.{}.id", known.alias);
            let place = self.layers.leaves.get(&key);
            format!(
                "{}: `{key}` is {}: no GUID, as the `tid` of a token is, and without tenants.header nothing else names a tenant; write the tenant's id",
                place.map_or_else(String::new, |leaf| leaf.origin.to_string()),
                yaml::quoted(&known.id)
            )
        });
        empty.chain(odd).collect()
    }

    fn nested(&self) -> Map<String, Value> {
        let mut root = Map::new();
        for (key, leaf) in &self.layers.leaves {
            let mut names = key.split('.');
            let Some(last) = names.next_back() else {
                continue;
            };
            let inner = names.try_fold(&mut root, |map, name| {
                let empty = || Value::Object(Map::new());
                map.entry(name).or_insert_with(empty).as_object_mut()
            });
            if let Some(inner) = inner {
                inner.insert(last.to_owned(), leaf.value.clone());
            }
        }
        root
    }
}

fn show(
    map: &Map<String, Value>,
    prefix: &str,
    lines: &mut String,
    origin: &impl Fn(&str) -> Option<String>,
) {
    let indent = "  ".repeat(prefix.matches('.').count());
    for (name, value) in map {
        let key = format!("{prefix}{name}");
        let value = match value {
            Value::Object(inner) => {
                lines.push_str(&format!("{indent}{name}:\n"));
                show(inner, &format!("{key}."), lines, origin);
                continue;
            }
            Value::String(text) => yaml::scalar(text),
            other => other.to_string(),
        };
        let comment = origin(&key).map_or_else(String::new, |origin| format!("  # {origin}"));
        lines.push_str(&format!("{indent}{name}: {value}{comment}\n"));
    }
}

/// The reading of the layers: a wrong value is noted, and its default stands in for it, so that
/// one run finds everything that is wrong.
struct Reading {
    layers: Layers,
    problems: Vec<Problem>,
    files: Files,
}

impl Reading {
    fn settings(&mut self) -> Option<Settings> {
        let (known, limits) = self.known()?.into_iter().unzip();
        let upstream = self.upstream()?;
        let idle_timeout = self.read("downstream.idle_timeout", value::time)?;
        let silence = upstream.connect_timeout + upstream.response_timeout;
        let settings = Settings {
            listen: self.read("listen", value::address)?,
            admin: self.admin()?,
            server: server::Settings {
                header_timeout: self.read("downstream.header_timeout", value::time)?,
                idle_timeout,
                write_timeout: silence.max(upstream.idle_body_timeout).max(idle_timeout),
                max_header_bytes: self.size("downstream.max_header_bytes", 8 << 10, 1 << 20)?,
                max_headers: self.number("downstream.max_headers", 1000)?,
                max_connections: self.number("downstream.max_connections", 1_000_000)?,
            },
            proxy: self.proxy()?,
            policy: self.policy()?,
            tenants: tenant::Settings {
                header: self.optional("tenants.header", value::tenant_header),
                key_set: self.key_set(),
                known,
            },
            rate_limit: rate_limit::Settings {
                default: self.limits("rate_limit")?,
                known: limits,
                max_tenants: NonZeroUsize::new(self.number("rate_limit.max_tenants", 10_000_000)?)?,
                cooldown: rate_limit::Cooldown {
                    default: self.read("rate_limit.cooldown.default", value::time)?,
                    max: self.read("rate_limit.cooldown.max", value::time)?,
                },
            },
            snapshots: cache::Settings {
                max_entries: self.number("snapshots.max_entries", 100_000_000)?,
                max_age: self.read("snapshots.max_age", value::time)?,
                scope: self.word(
                    "snapshots.scope",
                    &[
                        ("principal", cache::Scope::Principal),
                        ("tenant", cache::Scope::Tenant),
                    ],
                )?,
            },
            upstream,
            drain: Drain {
                min: self.read("drain.min", value::time_or_zero)?,
                max: self.read("drain.max", value::time)?,
            },
            log: self.log()?,
        };
        self.check_together(&settings);
        Some(settings)
    }

    fn admin(&mut self) -> Option<admin::Settings> {
        let token = self.path("admin.token_file").and_then(|path| {
            let token = read_token(&path, &mut self.files);
            token
                .map_err(|fault| self.report("admin.token_file", fault))
                .ok()
        });
        Some(admin::Settings {
            telemetry_listen: self.read("telemetry.listen", value::address)?,
            listen: self.read("admin.listen", value::address)?,
            token,
        })
    }

    fn upstream(&mut self) -> Option<upstream::Settings> {
        let authorities = self.path("upstream.ca_file").and_then(|path| {
            let authorities = read_certificates(&path, &mut self.files);
            authorities
                .map_err(|fault| self.report("upstream.ca_file", fault))
                .ok()
        });
        Some(upstream::Settings {
            target: self.read("upstream.url", value::target)?,
            authorities: authorities.unwrap_or_default(),
            connect_timeout: self.read("upstream.connect_timeout", value::time)?,
            response_timeout: self.read("upstream.response_timeout", value::time)?,
            idle_body_timeout: self.read("upstream.idle_body_timeout", value::time)?,
            pool_idle_timeout: self.read("upstream.pool_idle_timeout", value::time)?,
        })
    }

    fn proxy(&mut self) -> Option<proxy::Settings> {
        use judging::{Stale, UnknownState, UnknownStateFailed};

        Some(proxy::Settings {
            max_judged_body: self.size("downstream.max_judged_body", 1, 64 << 20)?,
            body_timeout: self.read("downstream.body_timeout", value::time)?,
            judging: judging::Settings {
                unknown_state: self.word(
                    "snapshots.unknown_state",
                    &[
                        ("fetch", UnknownState::Fetch),
                        ("forward", UnknownState::Forward),
                        ("refuse", UnknownState::Refuse),
                    ],
                )?,
                unknown_state_failed: self.word(
                    "snapshots.unknown_state_failed",
                    &[
                        ("refuse", UnknownStateFailed::Refuse),
                        ("forward", UnknownStateFailed::Forward),
                    ],
                )?,
                stale: self.word(
                    "snapshots.stale",
                    &[("forward", Stale::Forward), ("refuse", Stale::Refuse)],
                )?,
            },
        })
    }

    fn policy(&mut self) -> Option<PolicySource> {
        let written = self.read("policy.document", value::path)?;
        if written == Path::new("builtin") {
            return Some(PolicySource::Builtin);
        }
        self.path("policy.document").map(PolicySource::Path)
    }

    fn log(&mut self) -> Option<telemetry::Settings> {
        use telemetry::Format;

        Some(telemetry::Settings {
            level: self.read("log.level", value::log_level)?,
            format: self.word(
                "log.format",
                &[
                    ("auto", Format::Auto),
                    ("text", Format::Text),
                    ("json", Format::Json),
                ],
            )?,
        })
    }

    fn key_set(&mut self) -> Option<tenant::KeySet> {
        let path = self.path("tenants.jwks_file")?;
        let keys = read_key_set(&path, &mut self.files);
        keys.map_err(|fault| self.report("tenants.jwks_file", fault))
            .ok()
    }

    /// The tenants known by an alias, with their limits.
    fn known(&mut self) -> Option<Vec<(tenant::Known, rate_limit::Limits)>> {
        let mut known = Vec::new();
        let mut aliases = HashMap::new();
        for (alias, origin) in self.layers.aliases.clone() {
            let key = format!("tenants.known.{alias}");
            if let Err(fault) = value::alias(&alias) {
                let what = format!("{} is {}", yaml::quoted(&key), fault.what);
                self.note(Problem::new(&origin, Fault::new(what, fault.remedy)));
                continue;
            }
            let limits = self.limits(&format!("{key}.rate_limit"))?;
            let id_key = format!("{key}.id");
            if !self.layers.leaves.contains_key(&id_key) {
                let what = format!("`{key}` lacks the key `id`");
                self.note(Problem::new(
                    &origin,
                    Fault::new(what, "add `id: <tid of the tenant>`"),
                ));
                continue;
            }
            let Some(id) = self.read(&id_key, value::tenant_id) else {
                continue;
            };
            match aliases.insert(id.to_ascii_lowercase(), alias.clone()) {
                Some(other) => {
                    let what = format!("also the id of `tenants.known.{other}`");
                    self.report(&id_key, Fault::new(what, "give each tenant one alias"));
                }
                None => known.push((tenant::Known { alias, id }, limits)),
            }
        }
        Some(known)
    }

    fn limits(&mut self, prefix: &str) -> Option<rate_limit::Limits> {
        let mut count = |key: &str| {
            let number: u32 = self.number(&format!("{prefix}.{key}"), u32::MAX.into())?;
            NonZeroU32::new(number)
        };
        Some(rate_limit::Limits {
            reads: rate_limit::Quota {
                per_minute: count("reads.per_minute")?,
                burst: count("reads.burst")?,
            },
            writes: rate_limit::Quota {
                per_minute: count("writes.per_minute")?,
                burst: count("writes.burst")?,
            },
            concurrency: count("concurrency")?,
        })
    }

    /// What no setting alone can show to be wrong.
    fn check_together(&mut self, settings: &Settings) {
        self.check_order(
            "drain.min",
            settings.drain.min,
            "drain.max",
            settings.drain.max,
        );
        let cooldown = settings.rate_limit.cooldown;
        let (default, max) = ("rate_limit.cooldown.default", "rate_limit.cooldown.max");
        self.check_order(default, cooldown.default, max, cooldown.max);

        let listeners = [
            ("listen", settings.listen),
            ("telemetry.listen", settings.admin.telemetry_listen),
            ("admin.listen", settings.admin.listen),
        ];
        for (at, (later, theirs)) in listeners.iter().enumerate() {
            for (earlier, ours) in listeners.iter().take(at) {
                if overlap(*ours, *theirs) {
                    let (key, other) = self.written(later, earlier);
                    let what = format!("taken by `{other}` already");
                    self.report(
                        key,
                        Fault::new(what, "give each listener a port of its own, or port 0"),
                    );
                }
            }
        }

        let admin = settings.admin.listen.ip().to_canonical();
        if !admin.is_loopback() && settings.admin.token.is_none() {
            let remedy = "write a loopback address such as 127.0.0.1:4282, or set admin.token_file";
            self.report(
                "admin.listen",
                Fault::new("not loopback, and no token protects it", remedy),
            );
        }
        if let Target::Service { scheme, authority } = &settings.upstream.target
            && calls(scheme, authority, settings.listen)
        {
            let remedy = "write the address of the service";
            self.report(
                "upstream.url",
                Fault::new("the gateway's own `listen`", remedy),
            );
        }
    }

    fn check_order(&mut self, low: &str, least: Duration, high: &str, most: Duration) {
        if least <= most {
            return;
        }
        let (key, other) = self.written(low, high);
        let than = if key == low { "more" } else { "less" };
        let what = format!(
            "{than} than `{other}`, which is `{}`",
            self.text(other).unwrap_or_default()
        );
        self.report(
            key,
            Fault::new(what, format!("let `{low}` be at most `{high}`")),
        );
    }

    /// The one of two settings that somebody has written, then the other.
    fn written<'a>(&self, one: &'a str, other: &'a str) -> (&'a str, &'a str) {
        let is_default = |key: &str| {
            let leaf = self.layers.leaves.get(key);
            leaf.is_none_or(|leaf| leaf.origin == Origin::Default)
        };
        if is_default(one) && !is_default(other) {
            (other, one)
        } else {
            (one, other)
        }
    }

    fn number<T: TryFrom<u64>>(&mut self, key: &str, most: u64) -> Option<T> {
        let number = self.read(key, |text| value::number(text, most))?;
        T::try_from(number).ok()
    }

    fn size(&mut self, key: &str, least: u64, most: u64) -> Option<usize> {
        let size = self.read(key, |text| value::size(text, least, most))?;
        usize::try_from(size).ok()
    }

    fn word<T: Copy>(&mut self, key: &str, words: &[(&str, T)]) -> Option<T> {
        self.read(key, |text| value::one_of(text, words))
    }

    /// A path of the settings file is relative to that file, any other to the working directory.
    fn path(&mut self, key: &str) -> Option<PathBuf> {
        let path = self.optional(key, value::path)?;
        match self.layers.leaves.get(key).map(|leaf| &leaf.origin) {
            Some(Origin::File { path: file, .. }) => Some(file.with_file_name("").join(path)),
            _ => Some(path),
        }
    }

    fn optional<T>(&mut self, key: &str, parse: impl Fn(&str) -> Result<T, Fault>) -> Option<T> {
        self.text(key)?;
        self.read(key, parse)
    }

    /// The value of a setting; of a wrong one, which is noted, the default.
    fn read<T>(&mut self, key: &str, parse: impl Fn(&str) -> Result<T, Fault>) -> Option<T> {
        match parse(&self.text(key)?) {
            Ok(value) => Some(value),
            Err(fault) => {
                self.report(key, fault);
                let default = &self.layers.leaves.get(key)?.default;
                parse(&as_text(default)?).ok()
            }
        }
    }

    fn text(&self, key: &str) -> Option<String> {
        as_text(&self.layers.leaves.get(key)?.value)
    }

    fn report(&mut self, key: &str, fault: Fault) {
        if let Some(problem) = self.layers.problem(key, fault) {
            self.note(problem);
        }
    }

    /// A limit that tenants inherit is read once for each of them, but is wrong only once.
    fn note(&mut self, problem: Problem) {
        if !self.problems.contains(&problem) {
            self.problems.push(problem);
        }
    }
}

/// Whether two listeners cannot both have their address.
fn overlap(one: SocketAddr, other: SocketAddr) -> bool {
    let is_any = |address: SocketAddr| address.ip().is_unspecified();
    one.port() != 0
        && one.port() == other.port()
        && (one.ip() == other.ip() || is_any(one) || is_any(other))
}

/// Whether a URL leads to a listener of this machine.
fn calls(scheme: &Scheme, authority: &Authority, listen: SocketAddr) -> bool {
    let default = if *scheme == Scheme::HTTPS { 443 } else { 80 };
    let host = authority.host().trim_matches(['[', ']']);
    let same = match host.parse::<IpAddr>() {
        Ok(ip) => ip == listen.ip() || (ip.is_loopback() && listen.ip().is_unspecified()),
        Err(_) => {
            host == "localhost" && (listen.ip().is_loopback() || listen.ip().is_unspecified())
        }
    };
    same && authority.port_u16().unwrap_or(default) == listen.port()
}

fn read_token(path: &Path, files: &mut Files) -> Result<SecretString, Fault> {
    let text = read_text(path, files)?;
    let token = text.trim();
    if token.len() < 16 || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        let remedy = "write at least 16 letters, digits or signs, and nothing else, for example from `openssl rand -hex 32`";
        return Err(Fault::new("not the file of a usable token", remedy));
    }
    Ok(SecretString::from(token))
}

fn read_key_set(path: &Path, files: &mut Files) -> Result<tenant::KeySet, Fault> {
    let text = read_text(path, files)?;
    let remedy = "save in it what the `jwks_uri` of the tokens' issuer answers";
    if text.len() > yaml::MAX_BYTES {
        return Err(Fault::new(too_large(), remedy));
    }
    tenant::KeySet::parse(&text).map_err(|error| Fault::new(error.to_string(), remedy))
}

fn read_certificates(
    path: &Path,
    files: &mut Files,
) -> Result<Vec<CertificateDer<'static>>, Fault> {
    let remedy = "give a PEM file with at least one certificate, readable by this user";
    let wrong = |what: String| Fault::new(what, remedy);
    let bytes = files
        .bytes_of(path)
        .map_err(|error| wrong(format!("cannot be read: {error}")))?;
    if bytes.len() > yaml::MAX_BYTES {
        return Err(wrong(too_large()));
    }
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    let certificates = certificates.map_err(|error| wrong(format!("not PEM: {error}")))?;
    if certificates.is_empty() {
        return Err(wrong("no certificate in that file".to_owned()));
    }
    for certificate in &certificates {
        upstream::check_authority(certificate)
            .map_err(|error| wrong(format!("a file with an unusable certificate: {error}")))?;
    }
    Ok(certificates)
}

fn read_text(path: &Path, files: &mut Files) -> Result<String, Fault> {
    let text = files.text_of(path);
    text.map_err(|error| Fault::new(error.what, error.remedy))
}

fn too_large() -> String {
    format!("more than {} bytes", yaml::MAX_BYTES)
}

#[cfg(test)]
mod tests;
