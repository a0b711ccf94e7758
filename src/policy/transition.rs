//! Status and substatus: which are known, which go together, which may follow which.

use std::borrow::Cow;

use http::StatusCode;

use super::{
    Method, Rule, Verdict,
    facts::Facts,
    patch,
    states::{StateRow, StateTable, list},
    verdict::{Found, quote},
};
use crate::referral::{Change, Guarded, State, Value};

/// What the request makes of status and substatus; `None` if its body cannot be read.
fn changes<'a>(facts: &Facts<'a>) -> Option<(Change<'a>, Change<'a>)> {
    Some((
        facts.change(Guarded::Status)?,
        facts.change(Guarded::Substatus)?,
    ))
}

/// Whether the request leaves status and substatus alone.
pub(super) fn leaves_state(facts: &Facts<'_>) -> bool {
    matches!(changes(facts), Some((Change::Untouched, Change::Untouched)))
}

/// Whether the transition can be judged once it is known where the referral stands.
pub(super) fn is_about_state(states: &StateTable, facts: &Facts<'_>) -> bool {
    match changes(facts) {
        Some((status @ Change::Set(_), _)) => status
            .text()
            .is_some_and(|status| states.row(&status).is_some()),
        Some((Change::Untouched, Change::Set(_) | Change::Removed)) => true,
        _ => false,
    }
}

/// Whether a PATCH sets one of status and substatus, so that the other is the referral's.
pub(super) fn is_half_a_pair(states: &StateTable, facts: &Facts<'_>) -> bool {
    if facts.method != Method::Patch {
        return false;
    }
    match changes(facts) {
        Some((status @ Change::Set(_), Change::Untouched)) => status
            .text()
            .is_some_and(|status| states.row(&status).is_some()),
        Some((Change::Untouched, substatus @ Change::Set(_))) => {
            substatus.text().is_some_and(|substatus| {
                states
                    .values(Guarded::Substatus)
                    .any(|known| known == substatus)
            })
        }
        _ => false,
    }
}

/// The row of the status that the referral would have, as far as the table knows it.
pub(super) fn next<'t>(
    states: &'t StateTable,
    facts: &Facts<'_>,
    from: Option<&State>,
) -> Option<&'t StateRow> {
    match changes(facts)? {
        (Change::Untouched, Change::Untouched) => None,
        (Change::Untouched, _) => states.row(&from?.status),
        (status, _) => states.row(&status.text()?),
    }
}

/// Status and substatus are there, known, and allowed together, as far as the request itself tells.
pub(super) fn check_substatus(
    rule: &Rule,
    states: &StateTable,
    facts: &Facts<'_>,
    verdict: &mut Verdict,
) {
    let Some((status, substatus)) = changes(facts) else {
        return;
    };
    if matches!((status, substatus), (Change::Untouched, Change::Untouched)) {
        return;
    }
    let status = known(states, facts, Guarded::Status, status);
    let substatus = known(states, facts, Guarded::Substatus, substatus);
    match (status, substatus) {
        (Ok(Some(status)), Ok(Some(substatus))) => {
            let Some(row) = states.row(&status) else {
                return;
            };
            if !row.allows(&substatus) {
                verdict.add(rule, not_together(row, &substatus));
            }
        }
        (status, substatus) => {
            for found in [status.err(), substatus.err()].into_iter().flatten() {
                verdict.add(rule, found);
            }
        }
    }
}

/// The pair that a PATCH of one of the two makes with what the referral has of the other.
pub(super) fn check_pair(
    rule: &Rule,
    states: &StateTable,
    facts: &Facts<'_>,
    from: &State,
    verdict: &mut Verdict,
) {
    if !is_half_a_pair(states, facts) {
        return;
    }
    let (Some(row), Some((_, substatus))) = (next(states, facts, Some(from)), changes(facts))
    else {
        return;
    };
    let substatus = substatus
        .text()
        .or_else(|| from.substatus.as_deref().map(Cow::Borrowed));
    let (code, seen) = match &substatus {
        Some(substatus) if row.allows(substatus) => return,
        Some(substatus) => (
            "substatus_not_allowed",
            format!(
                " and {}; that pair is not allowed",
                quote(substatus.as_bytes())
            ),
        ),
        None => ("substatus_missing", " without a substatus".to_owned()),
    };
    verdict.add(
        rule,
        Found {
            status: StatusCode::UNPROCESSABLE_ENTITY,
            code,
            target: "substatus",
            message: format!(
                "After this PATCH the referral would be {}{seen}.",
                row.status
            ),
            fix: format!("Set status and substatus in one PATCH. {}", row.pairing()).into(),
        },
    );
}

/// Without a known status an enforced transition rule refuses, even where `substatus` is not enforced.
pub(super) fn fail_closed(
    rule: &Rule,
    states: &StateTable,
    facts: &Facts<'_>,
    verdict: &mut Verdict,
) {
    let (true, Some((status, substatus))) = (rule.mode.refuses(), changes(facts)) else {
        return;
    };
    if !verdict.refuses_for("status")
        && let Err(found) = known(states, facts, Guarded::Status, status)
    {
        verdict.add(rule, found);
    }
    // The substatus that an operation gives to a closed referral is unknown.
    if let Change::Touched(_) = substatus
        && !verdict.refuses_for("substatus")
        && let Err(found) = known(states, facts, Guarded::Substatus, substatus)
    {
        verdict.add(rule, found);
    }
}

/// The value, if the table has it; `None` where another check tells what is wrong, or the referral's own counts.
fn known<'a>(
    states: &StateTable,
    facts: &Facts<'_>,
    member: Guarded,
    change: Change<'a>,
) -> Result<Option<Cow<'a, str>>, Found> {
    let (missing, not_text, unknown, unclear) = match member {
        Guarded::Substatus => (
            "substatus_missing",
            "substatus_not_a_string",
            "substatus_unknown",
            "substatus_unclear",
        ),
        Guarded::Id | Guarded::ETag | Guarded::Status | Guarded::Links => (
            "status_missing",
            "status_not_a_string",
            "status_unknown",
            "status_unclear",
        ),
    };
    let name = member.name();
    let values = states.values(member);
    // A substatus is only worth naming if it goes with the status that is sent beside it.
    let row = || next(states, facts, None).filter(|_| member == Guarded::Substatus);
    let choice = || match row() {
        Some(row) => row.pairing(),
        None => format!("Send one of {}.", list(values.clone())),
    };
    let refuse = |code, message, fix: String| {
        Err(Found {
            status: StatusCode::UNPROCESSABLE_ENTITY,
            code,
            target: name,
            message,
            fix: fix.into(),
        })
    };
    let json = match (change, facts.method) {
        (Change::Set(json), _) => json,
        (Change::Repeated(_), _) | (Change::Untouched, Method::Put | Method::Patch) => {
            return Ok(None);
        }
        (Change::Untouched, Method::Post) => {
            return refuse(
                missing,
                format!("The body has no {name}, but the other of status and substatus."),
                "Send both, or neither.".to_owned(),
            );
        }
        (Change::Removed, method) => {
            let seen = match method {
                Method::Patch => {
                    format!("The patch puts a referral without {name} in the place of the whole.")
                }
                Method::Put | Method::Post => {
                    format!("The body has no {name}; a PUT replaces the whole referral.")
                }
            };
            let fix = match row() {
                Some(row) => row.pairing(),
                None => format!(
                    "{} If the {name} does not change, send the one you read.",
                    choice()
                ),
            };
            return refuse(missing, seen, fix);
        }
        (Change::Touched(touch), _) => {
            return refuse(
                unclear,
                format!(
                    "{} touches {name}, so its resulting value is unknown.",
                    patch::describe(touch, facts.body.bytes())
                ),
                format!(
                    "Set /{name} with one `replace`. To detect changes by others, send If-Match."
                ),
            );
        }
    };
    match Value::of(json) {
        Value::Text(text) if values.clone().any(|value| value == text) => Ok(Some(text)),
        Value::Text(text) => {
            let seen = quote(text.as_bytes());
            let fix = match same(&text, values.clone()) {
                Some(value) if row().is_none_or(|row| row.allows(value)) => {
                    format!("Write \"{value}\": values compare exactly, case and blanks included.")
                }
                _ => choice(),
            };
            refuse(unknown, format!("The {name} \"{seen}\" is not known."), fix)
        }
        Value::Null => refuse(not_text, format!("The {name} is null."), choice()),
        Value::Other(kind) => refuse(
            not_text,
            format!("The {name} is a JSON {kind}, not a string."),
            choice(),
        ),
    }
}

/// The value that was meant beyond doubt: the same without case and blanks. A guess could close a deal as another.
fn same<'a>(text: &str, mut values: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let plain = text.trim().to_lowercase();
    values.find(|value| value.to_lowercase() == plain)
}

fn not_together(row: &StateRow, substatus: &str) -> Found {
    Found {
        status: StatusCode::UNPROCESSABLE_ENTITY,
        code: "substatus_not_allowed",
        target: "substatus",
        message: format!(
            "The substatus {substatus} is not allowed with the status {}.",
            row.status
        ),
        fix: row.pairing().into(),
    }
}

/// The status asked for may follow the one the referral has.
pub(super) fn check(
    rule: &Rule,
    states: &StateTable,
    facts: &Facts<'_>,
    from: &State,
    verdict: &mut Verdict,
) {
    let (Some(to), Some(row)) = (next(states, facts, Some(from)), states.row(&from.status)) else {
        return;
    };
    let refuse = |code, message, fix: String| Found {
        status: StatusCode::CONFLICT,
        code,
        target: "status",
        message,
        fix: fix.into(),
    };
    if row.next.iter().all(|next| *next != to.status) {
        verdict.add(
            rule,
            refuse(
                "transition_not_allowed",
                format!(
                    "The referral is {} at this version, and {} may not follow {0}.",
                    row.status, to.status
                ),
                match row.next.as_slice() {
                    [] => format!("Leave a referral that is {} alone.", row.status),
                    [one] if *one == row.status => format!(
                        "A {} referral cannot be reopened: keep the status {one}.",
                        one.to_lowercase()
                    ),
                    [one] => format!("Send {one}."),
                    [first @ .., last] => {
                        format!("Send {} or {last}.", list(first.iter().map(String::as_str)))
                    }
                },
            ),
        );
        return;
    }
    if row.status != to.status || row.substatus_may_change {
        return;
    }
    let was = from.substatus.as_deref().unwrap_or_default();
    let is = match facts.change(Guarded::Substatus) {
        None | Some(Change::Untouched) => return,
        Some(change) => change.text().unwrap_or_default(),
    };
    if was != is {
        verdict.add(
            rule,
            refuse(
                "closed_substatus_change",
                format!("The referral is {} as {was} at this version, which is final; the body asks for \"{}\".", row.status, quote(is.as_bytes())),
                format!("Keep the substatus {was}; other members may change."),
            ),
        );
    }
}
