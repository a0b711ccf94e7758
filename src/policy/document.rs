//! The text of a policy document.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use serde_saphyr::Location;
use sha2::{Digest, Sha256};

use super::{Names, Policy, Rule, StateTable, transition::StateRow};
use crate::yaml;

mod place;
mod rule;
mod text;

use place::Place;
use rule::{condition, is_name, methods, repairs};
use text::Document;

/// A policy document that cannot be used; its text reads `file:line:column: what is wrong; what to write`.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct DocumentError(String);

/// The JSON Schema of a policy document, for editors.
pub fn schema() -> serde_json::Value {
    schemars::schema_for!(Document).to_value()
}

pub(super) fn parse(text: &str, file: &str) -> Result<Policy, DocumentError> {
    let document: Document =
        yaml::read(text, file).map_err(|error| DocumentError(error.to_string()))?;
    let at = |place: Location, what: String| error(file, place.into(), &what);
    if !is_name(&document.name.value) {
        return Err(at(
            document.name.referenced,
            format!(
                "name: `{}` is not 1 to 40 of a-z, 0-9 and -; choose another name",
                document.name.value
            ),
        ));
    }
    if document.rules.value.is_empty() {
        return Err(at(
            document.rules.referenced,
            "rules: empty; list at least one rule, or turn rules off by `mode: off`".to_owned(),
        ));
    }

    let states = document.states.value;
    if states.is_empty() {
        return Err(at(
            document.states.referenced,
            "states: empty; write a row for each status".to_owned(),
        ));
    }
    for (status, row) in &states {
        for next in &row.next {
            if !states.contains_key(&next.value) {
                let known = states
                    .keys()
                    .map(String::as_str)
                    .collect::<Vec<_>>()
                    .join(", ");
                return Err(at(
                    next.referenced,
                    format!(
                        "states.{status}.next: `{}` has no row of its own; write one of {known}, or add the row",
                        next.value
                    ),
                ));
            }
        }
        if row.substatus.is_empty() {
            return Err(at(
                document.states.referenced,
                format!(
                    "states.{status}.substatus: empty, so no write could ever have this status; list what is allowed"
                ),
            ));
        }
        if [status]
            .into_iter()
            .chain(&row.substatus)
            .any(|name| name.is_empty() || name.len() > 64)
        {
            return Err(at(
                document.states.referenced,
                format!("states.{status}: a name is empty or longer than 64 bytes; shorten it"),
            ));
        }
    }

    let mut places = BTreeMap::new();
    let mut rules: Vec<Rule> = Vec::new();
    for rule in document.rules.value {
        if !is_name(&rule.id.value) {
            return Err(at(
                rule.id.referenced,
                format!(
                    "id: `{}` is not 1 to 40 of a-z, 0-9 and -; choose another id",
                    rule.id.value
                ),
            ));
        }
        if rules.iter().any(|other| *other.id == *rule.id.value) {
            return Err(at(
                rule.id.referenced,
                format!(
                    "id: `{}` names two rules; give each its own id",
                    rule.id.value
                ),
            ));
        }
        let on = methods(&rule, &rules).map_err(|(place, what)| at(place, what))?;
        let status = rule.status.as_ref().map(|status| status.value.0);
        let repairs = repairs(&rule).map_err(|(place, what)| at(place, what))?;
        let condition =
            condition(&rule, text).map_err(|(place, what)| error(file, place, &what))?;
        for (alias, mode) in rule.modes.iter().flatten() {
            let place = mode.referenced;
            places
                .entry(alias.clone())
                .or_insert_with(|| format!("{file}:{}:{}", place.line(), place.column()));
        }
        rules.push(Rule {
            id: Arc::from(rule.id.value),
            check: rule.check.value,
            on,
            mode: rule.mode.value,
            modes: rule
                .modes
                .into_iter()
                .flatten()
                .map(|(alias, mode)| (alias, mode.value))
                .collect(),
            status,
            repairs,
            condition: condition.map(Arc::new),
        });
    }
    rules.sort_by_key(|rule| rule.check);
    let conditions = rules.iter().filter_map(|rule| rule.condition.as_ref());
    let names = Names::from_iter(conditions.map(|condition| &condition.expression));

    let rows = states.into_iter().map(|(status, row)| StateRow {
        status,
        next: row.next.into_iter().map(|next| next.value).collect(),
        substatus: row.substatus,
        substatus_may_change: row.substatus_may_change.unwrap_or(true),
    });
    let mut policy = Policy {
        name: document.name.value,
        digest: format!(
            "sha256:{}",
            Sha256::digest(text)
                .iter()
                .map(|byte| format!("{byte:02x}"))
                .collect::<String>()
        ),
        text: text.into(),
        rules,
        states: StateTable {
            rows: rows.collect(),
        },
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
    /// The policy with the modes that a tenant has.
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

fn error(file: &str, place: Place, what: &str) -> DocumentError {
    DocumentError(format!("{file}:{}:{}: {what}", place.line, place.column))
}
