//! What a rule says, and what it must not say.

use serde_saphyr::Location;

use super::{place::Place, text::RuleText};
use crate::policy::{Check, Condition, Expression, Method, Mode, OnError, Rule, repair::Repair};

/// What a rule may mend. Repairs that could never be used are worse than none.
pub(super) fn repairs(rule: &RuleText) -> Result<Vec<Repair>, (Location, String)> {
    let id = &rule.id.value;
    let check = rule.check.value;
    let modes = rule.modes.iter().flatten().map(|(_, mode)| mode);
    let asks = [&rule.mode]
        .into_iter()
        .chain(modes)
        .find(|mode| mode.value == Mode::Repair);
    let of_check = Repair::ALL
        .into_iter()
        .filter(|repair| repair.serves() == check)
        .map(Repair::as_str)
        .collect::<Vec<_>>()
        .join(", ");
    let remedy = if of_check.is_empty() {
        "no repair can mend what this check finds: write `mode: enforce`".to_owned()
    } else {
        format!("list one or more of {of_check}")
    };
    match (&rule.repairs, asks) {
        (None, None) => Ok(Vec::new()),
        (None, Some(mode)) => Err((
            mode.referenced,
            format!("mode: rule `{id}` is to repair, but lists no `repairs`; {remedy}"),
        )),
        (Some(repairs), None) => Err((
            repairs.referenced,
            format!(
                "repairs: rule `{id}` has not the mode `repair`, so they could never be used; write `mode: repair`, or remove them"
            ),
        )),
        (Some(repairs), Some(_)) => {
            let mut known = Vec::new();
            for repair in &repairs.value {
                let (place, repair) = (repair.referenced, repair.value);
                if repair.serves() != check {
                    return Err((
                        place,
                        format!("repairs: `{repair}` cannot mend what rule `{id}` finds; {remedy}"),
                    ));
                }
                if known.contains(&repair) {
                    return Err((
                        place,
                        format!("repairs: `{repair}` is listed twice; list it once"),
                    ));
                }
                known.push(repair);
            }
            if known.is_empty() {
                return Err((repairs.referenced, format!("repairs: empty; {remedy}")));
            }
            Ok(known)
        }
    }
}

/// The longest text that a document may add to an answer, in bytes.
const MAX_TEXT: usize = 512;

/// The expression of a rule, compiled.
pub(super) fn condition(
    rule: &RuleText,
    document: &str,
) -> Result<Option<Condition>, (Place, String)> {
    let id = &rule.id.value;
    if rule.check.value != Check::Expression {
        let key = |key: &'static str, place: Option<Location>| place.map(|place| (key, place));
        let odd = key(
            "expression",
            rule.expression.as_ref().map(|text| text.referenced),
        )
        .or_else(|| key("message", rule.message.as_ref().map(|text| text.referenced)))
        .or_else(|| key("fix", rule.fix.as_ref().map(|text| text.referenced)))
        .or_else(|| {
            key(
                "on_error",
                rule.on_error.as_ref().map(|text| text.referenced),
            )
        });
        return match odd {
            None => Ok(None),
            Some((key, place)) => Err((
                place.into(),
                format!(
                    "{key}: rule `{id}` has another check, so this could never be used; write `check: expression`, or remove it"
                ),
            )),
        };
    }
    let (Some(expression), Some(message)) = (&rule.expression, &rule.message) else {
        return Err((
            rule.id.referenced.into(),
            format!(
                "rule `{id}`: `check: expression` needs `expression` and `message`; write both"
            ),
        ));
    };
    for (key, text) in [("message", Some(message)), ("fix", rule.fix.as_ref())] {
        if let Some(text) = text
            && (text.value.trim().is_empty()
                || text.value.len() > MAX_TEXT
                || text.value.chars().any(char::is_control))
        {
            return Err((
                text.referenced.into(),
                format!(
                    "{key}: empty, longer than {MAX_TEXT} bytes, or more than one line; write one sentence"
                ),
            ));
        }
    }
    let compiled = Expression::compile(&expression.value).map_err(|error| {
        let what = format!("expression: {error}");
        match Place::inside(document, expression, error.offset) {
            Some(place) => (place, what),
            None => (
                expression.referenced.into(),
                format!("{what} (line {} of the expression)", error.line),
            ),
        }
    })?;
    Ok(Some(Condition {
        expression: compiled,
        message: message.value.clone(),
        fix: rule.fix.as_ref().map(|fix| fix.value.clone()),
        on_error: rule
            .on_error
            .as_ref()
            .map_or(OnError::Deny, |on_error| on_error.value),
    }))
}

/// The methods that a rule looks at. A rule that can never fire on one of them is worse than none.
pub(super) fn methods(rule: &RuleText, others: &[Rule]) -> Result<Vec<Method>, (Location, String)> {
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
        if let Some(other) = others.iter().find(|other| {
            other.check == check && check != Check::Expression && other.on.contains(&method)
        }) {
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

pub(super) fn is_name(name: &str) -> bool {
    (1..=40).contains(&name.len())
        && name
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}
