//! The text of a policy document.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use http::StatusCode;
use serde::Deserialize;
use serde_saphyr::{Location, Spanned};
use sha2::{Digest, Sha256};

use super::{
    Check, Condition, Expression, Method, Mode, Names, OnError, Policy, Rule, StateTable,
    repair::Repair, states::StateRow,
};
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
    #[schemars(with = "Mode")]
    mode: Spanned<Mode>,
    /// Another mode for single tenants, by the aliases they have in the settings. Only the `tid` of a token makes a caller
    /// one of them.
    #[schemars(with = "Option<BTreeMap<String, Mode>>")]
    modes: Option<BTreeMap<String, Spanned<Mode>>>,
    /// The status it answers with (400 to 499), instead of the check's own.
    #[schemars(with = "Option<u16>")]
    status: Option<Spanned<ClientError>>,
    /// With mode `repair`: what may be mended.
    #[schemars(with = "Option<Vec<Repair>>")]
    repairs: Option<Spanned<Vec<Spanned<Repair>>>>,
    /// With check `expression`: the CEL expression that must be true.
    #[schemars(with = "Option<String>")]
    expression: Option<Spanned<String>>,
    /// With check `expression`: what was expected, for the answer.
    #[schemars(with = "Option<String>")]
    message: Option<Spanned<String>>,
    /// With check `expression`: how to mend a request.
    #[schemars(with = "Option<String>")]
    fix: Option<Spanned<String>>,
    /// With check `expression`: what an expression that has no value leads to. Default: deny.
    #[schemars(with = "Option<OnError>")]
    on_error: Option<Spanned<OnError>>,
}

/// A status that says that the caller is wrong.
#[derive(Debug)]
struct ClientError(StatusCode);

impl<'de> Deserialize<'de> for ClientError {
    fn deserialize<D: serde::Deserializer<'de>>(reader: D) -> Result<Self, D::Error> {
        let status = u16::deserialize(reader).ok();
        status
            .and_then(|status| StatusCode::from_u16(status).ok())
            .filter(StatusCode::is_client_error)
            .map(Self)
            .ok_or_else(|| {
                serde::de::Error::custom("not a client error; write a number from 400 to 499")
            })
    }
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
    let at = |place: Location, what: String| Place::from(place).error(file, &what);
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
        let condition = condition(&rule, text).map_err(|(place, what)| place.error(file, &what))?;
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

/// What a rule may mend. Repairs that could never be used are worse than none.
fn repairs(rule: &RuleText) -> Result<Vec<Repair>, (Location, String)> {
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
fn condition(rule: &RuleText, document: &str) -> Result<Option<Condition>, (Place, String)> {
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

/// A place in a document, from 1.
#[derive(Debug, Clone, Copy)]
struct Place {
    line: u64,
    column: u64,
}

impl From<Location> for Place {
    fn from(location: Location) -> Self {
        Self {
            line: location.line(),
            column: location.column(),
        }
    }
}

impl Place {
    /// The place of an offset inside a text of the document. The text may be quoted, folded or stand in a block, so it is
    /// followed letter by letter; blanks and ends of lines do not count. Nothing if escapes hide the letters.
    fn inside(document: &str, text: &Spanned<String>, offset: usize) -> Option<Self> {
        let start = Self::from(text.referenced);
        let before = |n: u64| usize::try_from(n).ok().and_then(|n| n.checked_sub(1));
        let lines = (1..).zip(document.lines()).skip(before(start.line)?);
        let mut source = lines
            .flat_map(|(line, text)| {
                (1..)
                    .zip(text.chars())
                    .map(move |(column, letter)| (letter, Self { line, column }))
            })
            .skip(before(start.column)?)
            .filter(|(letter, _)| !letter.is_whitespace());
        // A block may begin with a quote of its own, so the text is tried as it stands first.
        Self::follow(source.clone(), None, &text.value, offset).or_else(|| {
            let (quote, _) = source.next()?;
            matches!(quote, '\'' | '"')
                .then(|| Self::follow(source, Some(quote), &text.value, offset))?
        })
    }

    /// The place of an offset inside `text`, if all of it is what `source` says in these quotes.
    fn follow(
        mut source: impl Iterator<Item = (char, Self)>,
        quote: Option<char>,
        text: &str,
        offset: usize,
    ) -> Option<Self> {
        let (mut found, mut end) = (None, None);
        let letters = text.char_indices();
        for (at, wanted) in letters.filter(|(_, letter)| !letter.is_whitespace()) {
            let (mut letter, place) = source.next()?;
            if matches!((quote, letter), (Some('"'), '\\') | (Some('\''), '\'')) {
                letter = source.next()?.0;
            }
            if letter != wanted {
                return None;
            }
            if at >= offset {
                found.get_or_insert(place);
            }
            end = Some(Self {
                column: place.column + 1,
                ..place
            });
        }
        found.or(end)
    }

    fn error(self, file: &str, what: &str) -> DocumentError {
        DocumentError(format!("{file}:{}:{}: {what}", self.line, self.column))
    }
}

/// The methods that a rule looks at. A rule that can never fire on one of them is worse than none.
fn methods(rule: &RuleText, others: &[Rule]) -> Result<Vec<Method>, (Location, String)> {
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

fn is_name(name: &str) -> bool {
    (1..=40).contains(&name.len())
        && name
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}
