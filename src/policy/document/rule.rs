//! Checks what a rule says, and makes a rule of it.

use std::sync::Arc;

use serde_saphyr::Spanned;

use super::{
    fault::Faults,
    place::Place,
    text::{RuleText, is_name},
};
use crate::policy::{Check, Condition, Expression, Method, Mode, OnError, Rule, repair::Repair};

/// The longest text that a document may add to an answer, in bytes.
const MAX_TEXT: usize = 512;

/// The usable rules, in the order of the document. The faults of the others are added to `faults`.
pub(super) fn rules(texts: &[Option<RuleText>], faults: &mut Faults<'_>) -> Vec<Rule> {
    if texts.is_empty() {
        let remedy = "list at least one rule, or turn rules off by `mode: off`";
        faults.add_at(&["rules"], "rules: empty", remedy);
    }
    let mut rules = Vec::new();
    let mut before: Vec<&RuleText> = Vec::new();
    for text in texts.iter().flatten() {
        rules.extend(rule(text, &before, faults));
        before.push(text);
    }
    rules
}

fn rule(text: &RuleText, before: &[&RuleText], faults: &mut Faults<'_>) -> Option<Rule> {
    let id = &text.id.value;
    if !is_name(id) {
        let what = format!("id: `{id}` is not 1 to 40 of a-z, 0-9 and -");
        faults.add(text.id.referenced, what, "choose another id");
    }
    if before.iter().any(|other| other.id.value == *id) {
        let what = format!("id: two rules have the id `{id}`");
        faults.add(text.id.referenced, what, "give each its own id");
    }
    let on = methods(text, before, faults);
    let repairs = repairs(text, faults);
    let condition = if text.check.value == Check::Expression {
        Some(Arc::new(condition(text, faults)?))
    } else {
        no_condition(text, faults);
        None
    };
    Some(Rule {
        id: Arc::from(id.as_str()),
        place: before.len(),
        check: text.check.value,
        on,
        mode: text.mode.value,
        modes: text
            .modes
            .iter()
            .flatten()
            .map(|(alias, mode)| (alias.clone(), mode.value))
            .collect(),
        status: text.status.as_ref().map(|status| status.value.0),
        repairs,
        condition,
    })
}

/// The methods of a rule. A method to which the rule never applies is a fault.
fn methods(rule: &RuleText, before: &[&RuleText], faults: &mut Faults<'_>) -> Vec<Method> {
    let id = &rule.id.value;
    let check = rule.check.value;
    let possible: Vec<_> = check
        .methods()
        .iter()
        .map(|method| method.as_str())
        .collect();
    let possible = possible.join(", ");
    if rule.on.value.is_empty() {
        faults.add(
            rule.on.referenced,
            format!("on: empty, so rule `{id}` never applies"),
            format!("list at least one of {possible}, or turn it off by `mode: off`"),
        );
    }
    let mut on = Vec::new();
    for method in &rule.on.value {
        let (place, method) = (method.referenced, method.value);
        let same = |other: &&&RuleText| {
            let mut methods = other.on.value.iter();
            other.check.value == check && methods.any(|other| other.value == method)
        };
        let second = before.iter().find(same);
        if !check.methods().contains(&method) {
            faults.add(
                place,
                format!("on: rule `{id}` has a check that does not apply to {method}"),
                format!("list {possible} only"),
            );
        } else if on.contains(&method) {
            let what = format!("on: rule `{id}` lists {method} twice");
            faults.add(place, what, "list it once");
        } else if let Some(other) = second
            && check != Check::Expression
        {
            faults.add(
                place,
                format!(
                    "on: rule `{id}` is a second rule with this check on {method}, beside `{}`",
                    other.id.value
                ),
                "keep one of them, or give each methods of its own",
            );
        }
        on.push(method);
    }
    on
}

/// The repairs of a rule. Repairs that never apply are a fault.
fn repairs(rule: &RuleText, faults: &mut Faults<'_>) -> Vec<Repair> {
    let id = &rule.id.value;
    let check = rule.check.value;
    let modes = rule.modes.iter().flatten().map(|(_, mode)| mode);
    let asks = [&rule.mode]
        .into_iter()
        .chain(modes)
        .find(|mode| mode.value == Mode::Repair);
    let of_check: Vec<_> = Repair::ALL
        .into_iter()
        .filter(|repair| repair.serves() == check)
        .map(Repair::as_str)
        .collect();
    let remedy = if of_check.is_empty() {
        "no repair fixes what this check finds: write `mode: enforce`".to_owned()
    } else {
        format!("list one or more of {}", of_check.join(", "))
    };
    let (repairs, asks) = match (&rule.repairs, asks) {
        (None, None) => return Vec::new(),
        (None, Some(mode)) => {
            let what = format!("mode: rule `{id}` has the mode `repair` but lists no `repairs`");
            faults.add(mode.referenced, what, remedy);
            return Vec::new();
        }
        (Some(repairs), asks) => (repairs, asks),
    };
    if asks.is_none() {
        faults.add(
            repairs.referenced,
            format!("repairs: rule `{id}` does not have the mode `repair`, so they never apply"),
            "write `mode: repair`, or remove them",
        );
        return Vec::new();
    }
    if repairs.value.is_empty() {
        faults.add(repairs.referenced, "repairs: empty", remedy.as_str());
    }
    let mut known = Vec::new();
    for repair in &repairs.value {
        let (place, repair) = (repair.referenced, repair.value);
        if repair.serves() != check {
            let what = format!("repairs: `{repair}` cannot repair what rule `{id}` finds");
            faults.add(place, what, remedy.as_str());
        } else if known.contains(&repair) {
            let what = format!("repairs: `{repair}` is listed twice");
            faults.add(place, what, "list it once");
        }
        known.push(repair);
    }
    known
}

/// The expression of a rule with that check, compiled.
fn condition(rule: &RuleText, faults: &mut Faults<'_>) -> Option<Condition> {
    let id = &rule.id.value;
    if rule.expression.is_none() || rule.message.is_none() {
        faults.add(
            rule.id.referenced,
            format!("rule `{id}`: `check: expression` needs `expression` and `message`"),
            "write both",
        );
    }
    for (key, text) in [("message", &rule.message), ("fix", &rule.fix)] {
        if let Some(text) = text
            && (text.value.trim().is_empty()
                || text.value.len() > MAX_TEXT
                || text.value.chars().any(char::is_control))
        {
            let what = format!("{key}: empty, longer than {MAX_TEXT} bytes, or more than one line");
            faults.add(text.referenced, what, "write one sentence");
        }
    }
    let expression = compiled(rule.expression.as_ref()?, faults)?;
    Some(Condition {
        expression,
        message: rule.message.as_ref()?.value.clone(),
        fix: rule.fix.as_ref().map(|fix| fix.value.clone()),
        on_error: rule
            .on_error
            .as_ref()
            .map_or(OnError::Deny, |on_error| on_error.value),
    })
}

fn compiled(text: &Spanned<String>, faults: &mut Faults<'_>) -> Option<Expression> {
    let error = match Expression::compile(&text.value) {
        Ok(expression) => return Some(expression),
        Err(error) => error,
    };
    let what = format!("expression: {}", error.what);
    match Place::inside(faults.text, text, error.offset) {
        Some(place) => faults.add(place, what, error.remedy),
        None => {
            let what = format!("{what} (line {} of the expression)", error.line);
            faults.add(text.referenced, what, error.remedy);
        }
    }
    None
}

/// A rule with another check has none of the keys of an expression.
fn no_condition(rule: &RuleText, faults: &mut Faults<'_>) {
    let place = |text: &Option<Spanned<String>>| text.as_ref().map(|text| text.referenced);
    let on_error = rule.on_error.as_ref().map(|on_error| on_error.referenced);
    for (key, place) in [
        ("expression", place(&rule.expression)),
        ("message", place(&rule.message)),
        ("fix", place(&rule.fix)),
        ("on_error", on_error),
    ] {
        if let Some(place) = place {
            faults.add(
                place,
                format!(
                    "{key}: rule `{}` has another check, which does not use it",
                    rule.id.value
                ),
                "write `check: expression`, or remove it",
            );
        }
    }
}
