//! From the values of all layers to the settings of all parts.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
};

use super::{
    contents::{self, Contents},
    files::Files,
    keys::{self, Key, Optional, TlsKeys},
    layers::{Layers, as_text},
    origin::Origin,
    problem::Problem,
    settings::{Drain, PolicySource, Settings},
    together,
    value::{self, Fault},
};
use crate::{
    admin, cache, policy::judging, proxy, rate_limit, server, telemetry, tenant, upstream, yaml,
};
use crate::{
    identity::{Identity, Purpose, Wrong},
    server::tls,
};

/// Reads the settings of these layers, with the contents of the files that they name, and returns all problems.
pub(super) fn all(layers: &mut Layers, files: &mut Files) -> (Settings, Vec<Problem>) {
    let mut reading = Reading::of(layers);
    let contents = reading.contents(files);
    let settings = reading.settings(contents);
    let mut problems = reading.problems;
    let together = together::check(&settings, layers);
    problems.extend(together);
    (settings, problems)
}

/// Reads the settings of layers without problems.
pub(super) fn again(layers: &mut Layers, contents: Contents) -> Settings {
    Reading::of(layers).settings(contents)
}

/// A wrong value is noted, and its default stands in for it, so that one run finds everything that is wrong.
struct Reading<'a> {
    layers: &'a mut Layers,
    problems: Vec<Problem>,
}

impl<'a> Reading<'a> {
    fn of(layers: &'a mut Layers) -> Self {
        Self {
            layers,
            problems: Vec::new(),
        }
    }

    fn contents(&mut self, files: &mut Files) -> Contents {
        Contents {
            token: self.content(&keys::TOKEN_FILE, contents::token, files),
            tls: self.tls(&keys::TLS, files),
            telemetry_tls: self.tls(&keys::TELEMETRY_TLS, files),
            authorities: self
                .content(&keys::CA_FILE, contents::certificates, files)
                .unwrap_or_default(),
            client: self.identity(
                &keys::CLIENT_CERT_FILE,
                &keys::CLIENT_KEY_FILE,
                Purpose::Client,
                files,
            ),
            key_set: self.content(&keys::JWKS_FILE, contents::key_set, files),
        }
    }

    fn settings(&mut self, contents: Contents) -> Settings {
        let (known, limits) = self.known().into_iter().unzip();
        let upstream = upstream::Settings {
            target: self.read(&keys::UPSTREAM_URL),
            authorities: contents.authorities,
            client: contents.client,
            connect_timeout: self.read(&keys::CONNECT_TIMEOUT),
            response_timeout: self.read(&keys::RESPONSE_TIMEOUT),
            idle_body_timeout: self.read(&keys::IDLE_BODY_TIMEOUT),
            pool_idle_timeout: self.read(&keys::POOL_IDLE_TIMEOUT),
            max_connections: self.read(&keys::UPSTREAM_CONNECTIONS).get(),
        };
        let tls = self.named(contents.tls, &keys::TLS);
        let telemetry_tls = self.named(contents.telemetry_tls, &keys::TELEMETRY_TLS);
        let idle_timeout = self.read(&keys::IDLE_TIMEOUT);
        let silence = upstream.connect_timeout + upstream.response_timeout;
        Settings {
            listen: self.read(&keys::LISTEN),
            tls,
            admin: admin::Settings {
                telemetry_listen: self.read(&keys::TELEMETRY_LISTEN),
                telemetry_tls,
                listen: self.read(&keys::ADMIN_LISTEN),
                token: contents.token,
            },
            server: server::Settings {
                header_timeout: self.read(&keys::HEADER_TIMEOUT),
                idle_timeout,
                write_timeout: silence.max(upstream.idle_body_timeout).max(idle_timeout),
                max_header_bytes: self.read(&keys::MAX_HEADER_BYTES),
                max_headers: self.read(&keys::MAX_HEADERS).get(),
                max_connections: self.read(&keys::MAX_CONNECTIONS).get(),
            },
            proxy: proxy::Settings {
                max_judged_body: self.read(&keys::MAX_JUDGED_BODY),
                body_timeout: self.read(&keys::BODY_TIMEOUT),
                min_body_rate: self.read(&keys::MIN_BODY_RATE),
                rewrite_urls: self.read(&keys::REWRITE_URLS),
                judging: judging::Settings {
                    unknown_state: self.read(&keys::UNKNOWN_STATE),
                    unknown_state_failed: self.read(&keys::UNKNOWN_STATE_FAILED),
                    stale: self.read(&keys::STALE),
                },
            },
            policy: self.policy(),
            tenants: tenant::Settings {
                header: self.optional(&keys::TENANT_HEADER),
                key_set: contents.key_set,
                known,
            },
            rate_limit: rate_limit::Settings {
                default: self.limits(""),
                known: limits,
                max_tenants: self.read(&keys::MAX_TENANTS),
                cooldown: rate_limit::Cooldown {
                    default: self.read(&keys::COOLDOWN_DEFAULT),
                    max: self.read(&keys::COOLDOWN_MAX),
                },
            },
            snapshots: cache::Settings {
                max_entries: self.read(&keys::MAX_ENTRIES).get(),
                max_age: self.read(&keys::MAX_AGE),
                scope: self.read(&keys::SCOPE),
            },
            upstream,
            drain: Drain {
                min: self.read(&keys::DRAIN_MIN),
                max: self.read(&keys::DRAIN_MAX),
            },
            log: telemetry::Settings {
                level: self.read(&keys::LOG_LEVEL),
                format: self.read(&keys::LOG_FORMAT),
            },
        }
    }

    fn policy(&mut self) -> PolicySource {
        let written = self.read(&keys::DOCUMENT);
        if written == Path::new("builtin") {
            return PolicySource::Builtin;
        }
        PolicySource::Path(self.resolved(keys::DOCUMENT.name, written))
    }

    /// The tenants known by an alias, with their limits.
    fn known(&mut self) -> Vec<(tenant::Known, rate_limit::Limits)> {
        let mut known = Vec::new();
        let mut aliases = HashMap::new();
        for (alias, origin) in self.layers.aliases.clone() {
            let key = format!("tenants.known.{alias}");
            if let Err(fault) = value::alias(&alias) {
                let what = format!("{} is {}", yaml::quoted(&key), fault.what);
                self.note(Problem::new(&origin, Fault::new(what, fault.remedy)));
                continue;
            }
            let limits = self.limits(&format!("{key}."));
            let id_key = format!("{key}.{}", keys::TENANT_ID.name);
            if !self.layers.leaves.contains_key(&id_key) {
                if self.layers.faulty_aliases.contains(&alias) {
                    continue;
                }
                let what = format!("`{key}` has no `id`");
                let fault = Fault::new(what, "add `id: <tid of the tenant>`");
                self.note(Problem::new(&origin, fault));
                continue;
            }
            let Some(id) = self.value(&id_key, &keys::TENANT_ID) else {
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
        known
    }

    /// The limits of all tenants, or of the one that `prefix` names.
    fn limits(&mut self, prefix: &str) -> rate_limit::Limits {
        let mut read = |key: &Key<_>| self.read_at(&format!("{prefix}{}", key.name), key);
        rate_limit::Limits {
            reads: rate_limit::Quota {
                per_minute: read(&keys::READS_PER_MINUTE),
                burst: read(&keys::READS_BURST),
            },
            writes: rate_limit::Quota {
                per_minute: read(&keys::WRITES_PER_MINUTE),
                burst: read(&keys::WRITES_BURST),
            },
            concurrency: read(&keys::CONCURRENCY),
        }
    }

    /// The content of the file that a setting names.
    fn content<T>(
        &mut self,
        key: &Optional<PathBuf>,
        read: fn(&Path, &mut Files) -> Result<T, Fault>,
        files: &mut Files,
    ) -> Option<T> {
        let path = self.optional(key)?;
        let name = key.0.name;
        let content = read(&self.resolved(name, path), files);
        content.map_err(|fault| self.report(name, fault)).ok()
    }

    /// What a listener shows, and the authorities of its clients.
    fn tls(&mut self, keys: &TlsKeys, files: &mut Files) -> Option<tls::Settings> {
        let identity = self.identity(&keys.certificate, &keys.key, Purpose::Server, files);
        let authorities = self.content(&keys.client_authorities, contents::certificates, files);
        let certificate = keys.certificate.0.name;
        let (asks, names) = (
            self.is_set(&keys.client_authorities),
            keys.client_names.name,
        );
        if asks && !self.is_set(&keys.certificate) {
            let what = format!("no TLS here: `{certificate}` is not set");
            let remedy = format!("set `{certificate}` and `{}`", keys.key.0.name);
            self.report(keys.client_authorities.0.name, Fault::new(what, remedy));
        }
        if !asks
            && self
                .value(names, &keys.client_names)
                .is_some_and(|names| !names.is_empty())
        {
            let authorities = keys.client_authorities.0.name;
            let what = format!("names that nothing asks for: `{authorities}` is not set");
            let remedy = format!(
                "set `{authorities}`, so that clients must show a certificate, or leave the names out"
            );
            self.report(names, Fault::new(what, remedy));
        }
        Some(tls::Settings {
            identity: identity?,
            client_authorities: authorities.unwrap_or_default(),
            client_names: Vec::new(),
        })
    }

    /// With the names of the clients, which are no content of a file.
    fn named(&mut self, tls: Option<tls::Settings>, keys: &TlsKeys) -> Option<tls::Settings> {
        let client_names = self.read(&keys.client_names);
        tls.map(|tls| tls::Settings {
            client_names,
            ..tls
        })
    }

    fn is_set(&self, key: &Optional<PathBuf>) -> bool {
        let leaf = self.layers.leaves.get(key.0.name);
        leaf.is_some_and(|leaf| !leaf.value.is_null())
    }

    /// The certificate and the key of two settings that belong together.
    fn identity(
        &mut self,
        certificate: &Optional<PathBuf>,
        key: &Optional<PathBuf>,
        purpose: Purpose,
        files: &mut Files,
    ) -> Option<Identity> {
        let paths = (self.optional(certificate), self.optional(key));
        let (certificate, key) = (certificate.0.name, key.0.name);
        let (path, key_path) = match paths {
            (Some(path), Some(key_path)) => (path, key_path),
            (Some(_), None) => return self.lonely(certificate, key),
            (None, Some(_)) => return self.lonely(key, certificate),
            (None, None) => return None,
        };
        let (path, key_path) = (
            self.resolved(certificate, path),
            self.resolved(key, key_path),
        );
        match contents::identity(&path, &key_path, purpose, files) {
            Ok(identity) => return Some(identity),
            Err(Wrong::Certificate(what, remedy)) => {
                self.report(certificate, Fault::new(what, remedy));
            }
            Err(Wrong::Key(what, remedy)) => self.report(key, Fault::new(what, remedy)),
        }
        None
    }

    /// One of two settings stands alone.
    fn lonely<T>(&mut self, name: &str, other: &str) -> Option<T> {
        let what = format!("of no use without `{other}`");
        let remedy = format!("set `{other}` as well, or leave both out");
        self.report(name, Fault::new(what, remedy));
        None
    }

    /// A path of the settings file is relative to that file, any other to the working directory.
    fn resolved(&self, name: &str, path: PathBuf) -> PathBuf {
        match self.layers.leaves.get(name).map(|leaf| &leaf.origin) {
            Some(Origin::File { path: file, .. }) => file.with_file_name("").join(path),
            _ => path,
        }
    }

    fn read<T>(&mut self, key: &Key<T>) -> T {
        self.read_at(key.name, key)
    }

    fn read_at<T>(&mut self, name: &str, key: &Key<T>) -> T {
        self.value(name, key)
            .expect("each setting that is not optional has a default, which can be read")
    }

    fn optional<T>(&mut self, key: &Optional<T>) -> Option<T> {
        self.value(key.0.name, &key.0)
    }

    /// The value of the setting `name`, which is read as `key` is; of a wrong one, which is noted, the default.
    fn value<T>(&mut self, name: &str, key: &Key<T>) -> Option<T> {
        let leaf = self.layers.leaves.get_mut(name)?;
        leaf.change = Some(key.change);
        match (key.parse)(&as_text(&leaf.value)?) {
            Ok(value) => Some(value),
            Err(fault) => {
                let default = as_text(&leaf.default);
                self.report(name, fault);
                (key.parse)(&default?).ok()
            }
        }
    }

    fn report(&mut self, name: &str, fault: Fault) {
        if let Some(problem) = self.layers.problem(name, fault) {
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
