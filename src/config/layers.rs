//! The value of each setting, from the highest layer that has it: flag > environment > file > default.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsString,
    path::{Path, PathBuf},
};

use serde_json::Value;

use super::{
    file::{DEFAULTS, File},
    files::Files,
    keys::{Change, LIMITS, TENANT_ID},
    origin::Origin,
    problem::Problem,
    value::Fault,
};
use crate::{
    nearest::nearest,
    yaml::{self, Whole},
};

/// The prefix of the gateway's environment variables.
pub(super) const PREFIX: &str = "REFERRAL_GATEWAY_";

/// Names the settings file, as `--config` does.
pub(super) const CONFIG_VARIABLE: &str = "REFERRAL_GATEWAY_CONFIG";

/// Where settings are read from, beside the built-in defaults.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// The settings file; without one, the file that `REFERRAL_GATEWAY_CONFIG` names.
    pub file: Option<PathBuf>,
    /// The environment; variables of other programs are skipped.
    pub environment: Vec<(OsString, OsString)>,
    /// Flag, setting and value of each flag that was given.
    pub flags: Vec<(&'static str, &'static str, String)>,
    /// Whether a settings file that sets nothing is refused. A running gateway must not lose its settings by a file that
    /// was cut off.
    pub refuses_blank: bool,
}

/// One setting as written, and where.
#[derive(Debug, Clone)]
pub(super) struct Leaf {
    /// Its key; of a limit that a tenant inherits, the key of the common limit.
    pub(super) key: String,
    pub(super) value: Value,
    pub(super) origin: Origin,
    /// Used in place of a wrong value, so that one run finds all problems.
    pub(super) default: Value,
    /// What a reload does with a new value, once the setting has been read.
    pub(super) change: Option<Change>,
}

/// Every setting by its dotted key, with the value of the highest layer.
#[derive(Debug, Default)]
pub(super) struct Layers {
    pub(super) leaves: BTreeMap<String, Leaf>,
    /// The aliases below `tenants.known`, with the place of the first mention.
    pub(super) aliases: BTreeMap<String, Origin>,
    /// Those of them with a key that has a fault.
    pub(super) faulty_aliases: BTreeSet<String>,
    problems: Vec<Problem>,
    /// The settings file, if there is one.
    pub(super) file: Option<PathBuf>,
    /// Whether the settings file says nothing.
    pub(super) is_blank: bool,
}

impl Layers {
    /// Reads all layers, the lowest first, and returns the problems of their texts.
    pub(super) fn read(sources: Sources, files: &mut Files) -> (Self, Vec<Problem>) {
        let mut layers = Self::default();
        layers.lay(DEFAULTS, &Origin::Default);
        let known: BTreeSet<String> = layers.leaves.keys().cloned().collect();

        let (from, environment) = ours(sources.environment, &mut layers.problems);
        let flag = sources.file.map(|path| (path, Origin::Flag("--config")));
        let variable = || from.map(|path| (path, Origin::Environment(CONFIG_VARIABLE.to_owned())));
        if let Some((path, origin)) = flag.or_else(variable) {
            layers.file(&path, &origin, files);
            if layers.is_blank && sources.refuses_blank {
                let problem = Problem::in_file(path.display(), without_settings());
                layers.problems.push(problem);
            }
        }
        for (name, value) in environment {
            layers.variable(&known, &name, &value);
        }
        for (flag, key, value) in sources.flags {
            layers.single(key, &value, &Origin::Flag(flag));
        }
        layers.inherit();
        let problems = std::mem::take(&mut layers.problems);
        (layers, problems)
    }

    /// A problem of a setting's value; `None` if there is no such setting.
    pub(super) fn problem(&self, key: &str, fault: Fault) -> Option<Problem> {
        let Leaf {
            key, value, origin, ..
        } = self.leaves.get(key)?;
        let value = without_password(&as_text(value).unwrap_or_default());
        let what = format!("`{key}` is {}: {}", yaml::quoted(&value), fault.what);
        Some(Problem::new(origin, Fault::new(what, fault.remedy)))
    }

    fn file(&mut self, path: &Path, named_by: &Origin, files: &mut Files) {
        let text = match files.text_of(path) {
            Ok(text) => text,
            Err(error) => {
                let origin = error.place.is_none().then(|| named_by.to_string());
                let problem = Problem::from(error);
                return self.problems.push(Problem { origin, ..problem });
            }
        };
        let path = path.to_owned();
        self.file = Some(path.clone());
        self.is_blank = yaml::is_blank(&text);
        self.lay(&text, &Origin::File { path, place: None });
    }

    fn variable(&mut self, known: &BTreeSet<String>, name: &str, value: &str) {
        let key = name
            .strip_prefix(PREFIX)
            .unwrap_or(name)
            .to_lowercase()
            .replace("__", ".");
        if known.contains(&key) || is_of_a_tenant(&key) {
            return self.single(&key, value, &Origin::Environment(name.to_owned()));
        }
        let near = nearest(&key, known.iter().map(String::as_str));
        let remedy = match near.map(variable_of) {
            Some(near) => format!("did you mean {near}?"),
            None => format!(
                "a setting is named {PREFIX}<SECTION>__<KEY>, for example {}",
                variable_of("upstream.url")
            ),
        };
        let origin = Origin::Environment(name.to_owned());
        let fault = Fault::new("unknown setting", remedy);
        self.problems.push(Problem::new(&origin, fault));
    }

    /// Overrides one value.
    fn single(&mut self, key: &str, value: &str, origin: &Origin) {
        // In quotes where YAML would read something else than a text. Numbers are read from quotes as well.
        let value = yaml::scalar(value);
        let text = key
            .rsplit('.')
            .fold(value, |inner, name| format!("{{{name}: {inner}}}"));
        self.lay(&text, origin);
    }

    /// Overrides the values that a text sets.
    fn lay(&mut self, text: &str, origin: &Origin) {
        let mut whole: Whole<File> = yaml::read_all(text, "");
        for error in std::mem::take(&mut whole.faults) {
            let fault = Fault::new(error.what, error.remedy);
            let origin = origin.at(error.place);
            self.problems.push(Problem::new(&origin, fault));
        }
        let Some(file) = whole.value.take() else {
            return;
        };
        let places = yaml::Places::of(text);
        let known = file
            .tenants
            .as_ref()
            .and_then(|tenants| tenants.known.as_ref());
        for alias in known.into_iter().flat_map(BTreeMap::keys) {
            if whole.has_gap(&["tenants", "known", alias]) {
                self.faulty_aliases.insert(alias.clone());
            }
            let place = places.get(&["tenants", "known", alias]);
            let first = self.aliases.entry(alias.clone());
            first.or_insert_with(|| origin.at(place));
        }
        let mut leaves = Vec::new();
        let tree = serde_json::to_value(&file).unwrap_or_default();
        flatten(String::new(), tree, &mut leaves);
        for (key, value) in leaves {
            if *origin != Origin::Default && value.is_null() {
                continue;
            }
            let place = places.get(&key.split('.').collect::<Vec<_>>());
            let default = match self.leaves.get(&key) {
                Some(lower) => lower.default.clone(),
                None if *origin == Origin::Default => value.clone(),
                None => Value::Null,
            };
            let leaf = Leaf {
                key: key.clone(),
                value,
                origin: origin.at(place),
                default,
                change: None,
            };
            self.leaves.insert(key, leaf);
        }
    }

    /// Gives every known tenant the common limits that it does not override.
    fn inherit(&mut self) {
        for alias in self.aliases.keys() {
            for limit in LIMITS {
                let Some(common) = self.leaves.get(limit).cloned() else {
                    continue;
                };
                self.leaves
                    .entry(format!("tenants.known.{alias}.{limit}"))
                    .and_modify(|own| own.default.clone_from(&common.default))
                    .or_insert(common);
            }
        }
    }
}

/// The fault of a file that set something before.
fn without_settings() -> Fault {
    Fault::new(
        "the file sets nothing, but it did before",
        "restore its settings, or write `{}` to return to the defaults",
    )
}

/// A value as it was written; `None` if it is null.
pub(super) fn as_text(value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    }
}

/// A URL without its credentials: those before the host, and the query.
fn without_password(text: &str) -> String {
    // A password may hold any letter, so it is looked for first.
    let shown = match text.rsplit_once('@') {
        Some((before, host)) => {
            let scheme = before.split_once("://").map_or("", |(scheme, _)| scheme);
            format!("{scheme}://***@{host}")
        }
        None => text.to_owned(),
    };
    match shown.split_once('?') {
        Some((before, _)) if before.contains("://") => format!("{before}?***"),
        _ => shown,
    }
}

fn is_of_a_tenant(key: &str) -> bool {
    key.strip_prefix("tenants.known.")
        .and_then(|rest| rest.split_once('.'))
        .is_some_and(|(_, rest)| rest == TENANT_ID.name || LIMITS.contains(&rest))
}

fn variable_of(key: &str) -> String {
    format!("{PREFIX}{}", key.to_uppercase().replace('.', "__"))
}

/// The gateway's variables, and the settings file that they name. An empty value counts as unset.
fn ours(
    environment: Vec<(OsString, OsString)>,
    problems: &mut Vec<Problem>,
) -> (Option<PathBuf>, Vec<(String, String)>) {
    let mut file = None;
    let mut variables = Vec::new();
    for (name, value) in environment {
        let Ok(name) = name.into_string() else {
            continue;
        };
        if !name.starts_with(PREFIX) || value.is_empty() || is_of_kubernetes(&name) {
            continue;
        }
        if name == CONFIG_VARIABLE {
            file = Some(PathBuf::from(value));
            continue;
        }
        match value.into_string() {
            Ok(value) => variables.push((name, value)),
            Err(_) => {
                let fault = Fault::new("the value is not UTF-8", "write it in UTF-8");
                problems.push(Problem::new(&Origin::Environment(name), fault));
            }
        }
    }
    variables.sort();
    (file, variables)
}

/// Kubernetes sets `REFERRAL_GATEWAY_PORT`, `REFERRAL_GATEWAY_SERVICE_HOST` and kin in every pod
/// beside a Service named `referral-gateway` (or `referral-gateway-...`). They are no settings.
fn is_of_kubernetes(name: &str) -> bool {
    let name = name.strip_prefix("REFERRAL_GATEWAY").unwrap_or(name);
    let (_, port) = name.rsplit_once("_PORT").unwrap_or(("", "-"));
    let is_port = port.is_empty()
        || port
            .strip_prefix('_')
            .is_some_and(|port| port.starts_with(|first: char| first.is_ascii_digit()));
    !name.contains("__")
        && (is_port || name.ends_with("_SERVICE_HOST") || name.contains("_SERVICE_PORT"))
}

fn flatten(prefix: String, value: Value, leaves: &mut Vec<(String, Value)>) {
    match value {
        Value::Object(members) => {
            for (name, value) in members {
                let key = match prefix.as_str() {
                    "" => name,
                    prefix => format!("{prefix}.{name}"),
                };
                flatten(key, value, leaves);
            }
        }
        value => leaves.push((prefix, value)),
    }
}
