//! The text of a policy document.

use std::{collections::BTreeMap, sync::Arc};

use http::StatusCode;
use serde::Deserialize;
use serde_saphyr::Spanned;
use sha2::{Digest, Sha256};

use super::{Check, Method, Mode, Policy, Rule, StateTable, transition::StateRow};
use crate::yaml;

/// A policy document that cannot be used; its text reads `file:line:column: what is wrong; what to write`.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct DocumentError(String);

/// A policy document as it is written.
#[derive(Debug, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "referral-gateway policy")]
struct Document {
    /// The name in logs and metrics: 1 to 40 of a-z, 0-9 and -.
    #[schemars(with = "String")]
    name: Spanned<String>,
    /// The rules.
    #[schemars(with = "Vec<RuleText>")]
    rules: Spanned<Vec<RuleText>>,
    /// By status: what may follow it and which substatus it may have.
    #[schemars(with = "BTreeMap<String, StateText>")]
    states: Spanned<BTreeMap<String, StateText>>,
}

#[derive(Debug, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
struct RuleText {
    /// The name in answers, logs and metrics: 1 to 40 of a-z, 0-9 and -.
    #[schemars(with = "String")]
    id: Spanned<String>,
    /// What the rule looks for.
    #[schemars(with = "Check")]
    check: Spanned<Check>,
    /// The methods it looks at: each once, and none that its check cannot look at.
    #[schemars(with = "Vec<Method>", length(min = 1))]
    on: Spanned<Vec<Spanned<Method>>>,
    /// What a finding leads to.
    mode: Mode,
    /// The status it answers with (400 to 499), instead of the check's own.
    #[schemars(with = "Option<u16>")]
    status: Option<Spanned<u16>>,
}

#[derive(Debug, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
struct StateText {
    /// The status that may follow.
    #[schemars(with = "Vec<String>")]
    next: Vec<Spanned<String>>,
    /// The substatus that is allowed with this status.
    substatus: Vec<String>,
    /// Whether the substatus may change while the status stays. Default: true.
    substatus_may_change: Option<bool>,
}

/// The JSON Schema of a policy document, for editors.
pub fn schema() -> serde_json::Value {
    schemars::schema_for!(Document).to_value()
}

pub(super) fn parse(text: &str, file: &str) -> Result<Policy, DocumentError> {
    let document: Document =
        yaml::read(text, file).map_err(|error| DocumentError(error.to_string()))?;
    let at = |place: serde_saphyr::Location, what: String| {
        DocumentError(format!(
            "{file}:{}:{}: {what}",
            place.line(),
            place.column()
        ))
    };
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
        let status = match rule.status {
            None => None,
            Some(status) => match StatusCode::from_u16(status.value) {
                Ok(code) if code.is_client_error() => Some(code),
                _ => {
                    return Err(at(
                        status.referenced,
                        format!(
                            "status: {} is not a client error; write 400 to 499",
                            status.value
                        ),
                    ));
                }
            },
        };
        rules.push(Rule {
            id: Arc::from(rule.id.value),
            check: rule.check.value,
            on,
            mode: rule.mode,
            status,
        });
    }
    rules.sort_by_key(|rule| rule.check);

    let rows = states.into_iter().map(|(status, row)| StateRow {
        status,
        next: row.next.into_iter().map(|next| next.value).collect(),
        substatus: row.substatus,
        substatus_may_change: row.substatus_may_change.unwrap_or(true),
    });
    Ok(Policy {
        name: document.name.value,
        digest: format!(
            "sha256:{}",
            Sha256::digest(text)
                .iter()
                .map(|byte| format!("{byte:02x}"))
                .collect::<String>()
        ),
        text: text.to_owned(),
        rules,
        states: StateTable {
            rows: rows.collect(),
        },
    })
}

/// The methods that a rule looks at. A rule that can never fire on one of them is worse than none.
fn methods(
    rule: &RuleText,
    others: &[Rule],
) -> Result<Vec<Method>, (serde_saphyr::Location, String)> {
    let id = &rule.id.value;
    let check = rule.check.value;
    let possible = check
        .methods()
        .iter()
        .map(|method| method.as_str())
        .collect::<Vec<_>>()
        .join(", ");
    if rule.on.value.is_empty() {
        return Err((
            rule.on.referenced,
            format!(
                "on: empty, so rule `{id}` could never fire; list at least one of {possible}, or turn it off by `mode: off`"
            ),
        ));
    }
    let mut on = Vec::new();
    for method in &rule.on.value {
        let (place, method) = (method.referenced, method.value);
        if !check.methods().contains(&method) {
            return Err((
                place,
                format!(
                    "on: rule `{id}` has a check that cannot look at {method}, so it could never fire there; list {possible} only"
                ),
            ));
        }
        if on.contains(&method) {
            return Err((
                place,
                format!("on: rule `{id}` lists {method} twice; list it once"),
            ));
        }
        if let Some(other) = others
            .iter()
            .find(|other| other.check == check && other.on.contains(&method))
        {
            return Err((
                place,
                format!(
                    "on: rule `{id}` is a second rule with this check on {method}, beside `{}`; keep one of them, or give each methods of its own",
                    other.id
                ),
            ));
        }
        on.push(method);
    }
    Ok(on)
}

fn is_name(name: &str) -> bool {
    (1..=40).contains(&name.len())
        && name
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}
