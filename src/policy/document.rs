//! A policy from the text of a document.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use sha2::{Digest, Sha256};

use super::{Names, Policy, Rule};

mod fault;
mod place;
mod read;
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
    let (document, faults) = read::read(text, file);
    let mut faults = Faults::new(text, file, faults);
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
