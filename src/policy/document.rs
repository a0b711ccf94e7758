//! A policy from the text of a document.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use sha2::{Digest, Sha256};

use super::{Names, Policy, Rule};
use crate::yaml::{self, Whole};

mod fault;
mod place;
mod rule;
mod states;
mod text;

pub use fault::DocumentError;
use fault::Faults;
use text::{Document, is_name};

/// The JSON Schema of a policy document, for editors.
pub fn schema() -> serde_json::Value {
    schemars::schema_for!(Document).to_value()
}

/// Reads a policy document; `file` is the name used in error texts.
///
/// # Errors
///
/// All faults of the document. If the text is not YAML, only that fault.
pub(super) fn parse(text: &str, file: &str) -> Result<Policy, DocumentError> {
    let (document, mut faults) = read(text, file);
    if let Some(name) = &document.name
        && !is_name(&name.value)
    {
        let what = format!("name: `{}` is not 1 to 40 of a-z, 0-9 and -", name.value);
        faults.add(name.referenced, what, "choose another name");
    }
    let mut rules = document
        .rules
        .as_deref()
        .map(|texts| rule::rules(texts, &mut faults))
        .unwrap_or_default();
    let states = document
        .states
        .map(|states| states::table(states, &mut faults));
    // Each missing part has a fault.
    let (Some(name), Some(states), true) = (&document.name, states, faults.is_empty()) else {
        return Err(faults.into_error());
    };

    let mut places = BTreeMap::new();
    for (alias, mode) in document
        .rules
        .iter()
        .flatten()
        .flatten()
        .flat_map(|rule| rule.modes.iter().flatten())
    {
        let place = mode.referenced;
        places
            .entry(alias.clone())
            .or_insert_with(|| format!("{file}:{}:{}", place.line(), place.column()));
    }
    rules.sort_by_key(|rule| rule.check);
    let conditions = rules.iter().filter_map(|rule| rule.condition.as_ref());
    let names = Names::from_iter(conditions.map(|condition| &condition.expression));

    let mut policy = Policy {
        name: name.value.clone(),
        digest: format!(
            "sha256:{}",
            Sha256::digest(text)
                .iter()
                .map(|byte| format!("{byte:02x}"))
                .collect::<String>()
        ),
        text: text.into(),
        rules,
        states,
        names: Arc::new(names),
        tenants: HashMap::new(),
        places: BTreeMap::new(),
    };
    policy.tenants = places
        .keys()
        .map(|alias| (alias.clone(), policy.for_tenant(alias)))
        .collect();
    policy.places = places;
    Ok(policy)
}

/// The readable parts of a document, and the faults of the others.
fn read<'a>(text: &'a str, file: &'a str) -> (Document, Faults<'a>) {
    let mut whole: Whole<Document> = yaml::read_all(text, file);
    let found = std::mem::take(&mut whole.faults);
    let mut faults = Faults::new(text, file, found.into_iter().map(with_modes).collect());
    let Some(mut document) = whole.value.take() else {
        return (Document::default(), faults);
    };
    let keys = [
        ("name", document.name.is_some()),
        ("rules", document.rules.is_some()),
        ("states", document.states.is_some()),
    ];
    let is_missing = |(key, is_given): &(&str, bool)| !is_given && !whole.is_skipped(key);
    if keys.iter().all(is_missing) {
        let mut faults = Faults::new(text, file, Vec::new());
        faults.add_at(
            &[],
            "not a policy document: it has neither `name` nor `rules` nor `states`",
            "give a settings file by --config, and a test file to `referral-gateway test`",
        );
        return (document, faults);
    }
    for (key, _) in keys.iter().filter(|key| is_missing(key)) {
        let what = format!("the document has no `{key}`");
        faults.add_at(&[], what, format!("add `{key}: ...`"));
    }
    // What is left of a rule or a row without the keys with a fault says something else.
    for (index, rule) in (0..).zip(document.rules.iter_mut().flatten()) {
        let path = ["rules", &index.to_string()];
        check_part(&whole, &path, rule, &mut faults);
    }
    for (status, row) in document.states.iter_mut().flatten() {
        check_part(&whole, &["states", status], row, &mut faults);
    }
    (document, faults)
}

fn check_part<T>(
    whole: &Whole<Document>,
    path: &[&str],
    part: &mut Option<T>,
    faults: &mut Faults<'_>,
) {
    if whole.has_gap(path) {
        *part = None;
    } else if part.is_none() {
        let what = format!("`{}` is empty", path.join("."));
        faults.add_at(path, what, "write its keys, or remove it");
    }
}

/// Names the modes where one is missing.
fn with_modes(fault: yaml::Error) -> yaml::Error {
    if fault.remedy != "add `mode: ...`" {
        return fault;
    }
    let remedy = "add `mode: enforce` (or off, audit, warn, repair)".to_owned();
    yaml::Error { remedy, ..fault }
}

impl Policy {
    /// The policy with the modes of one tenant.
    fn for_tenant(&self, alias: &str) -> Self {
        let rules = self.rules.iter().map(|rule| {
            let own = rule.modes.iter().find(|(other, _)| other == alias);
            Rule {
                mode: own.map_or(rule.mode, |(_, mode)| *mode),
                ..rule.clone()
            }
        });
        Self {
            name: self.name.clone(),
            digest: self.digest.clone(),
            text: Arc::clone(&self.text),
            rules: rules.collect(),
            states: self.states.clone(),
            names: Arc::clone(&self.names),
            tenants: HashMap::new(),
            places: BTreeMap::new(),
        }
    }
}
