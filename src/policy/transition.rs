//! Status and substatus: which are known, which go together, which may follow which.
//!
//! The tables are data of the policy document; the shipped one holds the service's own table
//! ("Status and substatus transition states").

use std::borrow::Cow;

use http::StatusCode;

use super::{
    Facts, Mode, Rule, Verdict,
    verdict::{Found, quote},
};
use crate::referral::{Guarded, Member, State, Value};

/// Which status may follow which, and with which substatus.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateTable {
    /// One row a status, in the document's order.
    pub rows: Vec<StateRow>,
}

/// What may be done with a referral in one status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateRow {
    /// The status.
    pub status: String,
    /// The status it may have after the write.
    pub next: Vec<String>,
    /// The substatus it may have.
    pub substatus: Vec<String>,
    /// Whether the substatus may change while the status stays.
    pub substatus_may_change: bool,
}

impl StateTable {
    /// The row of a status; values compare exactly.
    pub fn row(&self, status: &str) -> Option<&StateRow> {
        self.rows.iter().find(|row| row.status == status)
    }

    /// Whether a referral that stands there can be judged.
    pub fn knows(&self, state: &State) -> bool {
        self.row(&state.status)
            .is_some_and(|row| row.substatus_may_change || state.substatus.is_some())
    }

    fn statuses(&self) -> impl Iterator<Item = &str> + Clone {
        self.rows.iter().map(|row| row.status.as_str())
    }

    fn substatuses(&self) -> impl Iterator<Item = &str> + Clone {
        self.rows
            .iter()
            .flat_map(|row| &row.substatus)
            .map(String::as_str)
    }
}

/// The state that the request asks for, as far as the table knows it.
pub(super) fn target<'t>(
    states: &'t StateTable,
    facts: &Facts<'_>,
) -> Option<(&'t StateRow, Option<String>)> {
    let (_, members) = facts.body.members()?;
    let row = states.row(&members.status.text()?)?;
    Some((row, members.substatus.text().map(Cow::into_owned)))
}

/// Status and substatus are there, known, and allowed together.
pub(super) fn check_substatus(
    rule: &Rule,
    states: &StateTable,
    facts: &Facts<'_>,
    verdict: &mut Verdict,
) {
    let Some((_, members)) = facts.body.members() else {
        return;
    };
    let status = known(Guarded::Status, members.status, &states.statuses());
    let substatus = known(Guarded::Substatus, members.substatus, &states.substatuses());
    match (status, substatus) {
        (Ok(Some(status)), Ok(Some(substatus))) => {
            let Some(row) = states.row(&status) else {
                return;
            };
            if row.substatus.iter().all(|allowed| *allowed != substatus) {
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

/// Without a known status an enforced transition rule refuses, even where `substatus` is not enforced.
pub(super) fn fail_closed(
    rule: &Rule,
    states: &StateTable,
    facts: &Facts<'_>,
    verdict: &mut Verdict,
) {
    let Some((_, members)) = facts.body.members() else {
        return;
    };
    if rule.mode == Mode::Enforce
        && !verdict.refuses_for("status")
        && let Err(found) = known(Guarded::Status, members.status, &states.statuses())
    {
        verdict.add(rule, found);
    }
}

/// The value, if it is one of `values`; `None` where another check tells what is wrong.
fn known<'a>(
    member: Guarded,
    given: Member<'a>,
    values: &(impl Iterator<Item = &'a str> + Clone),
) -> Result<Option<Cow<'a, str>>, Found> {
    let (missing, not_text, unknown) = match member {
        Guarded::Substatus => (
            "substatus_missing",
            "substatus_not_a_string",
            "substatus_unknown",
        ),
        Guarded::Id | Guarded::ETag | Guarded::Status | Guarded::Links => {
            ("status_missing", "status_not_a_string", "status_unknown")
        }
    };
    let name = member.name();
    let choice = || format!("Send one of {}.", list(values.clone()));
    let refuse = |code, message, fix: String| {
        Err(Found {
            status: StatusCode::UNPROCESSABLE_ENTITY,
            code,
            target: name,
            message,
            fix: fix.into(),
        })
    };
    match given {
        Member::Repeated(_) => return Ok(None),
        Member::Absent => {
            return refuse(
                missing,
                format!("The body has no {name}; a PUT replaces the whole referral."),
                format!(
                    "{} Take over the {name} you read if it does not change.",
                    choice()
                ),
            );
        }
        Member::Given(_) => {}
    }
    match given.value() {
        Some(Value::Text(text)) if values.clone().any(|value| value == text) => Ok(Some(text)),
        Some(Value::Text(text)) => {
            let seen = quote(text.as_bytes());
            let fix = match nearest(&text, values.clone()) {
                Some(value) => {
                    format!("Write \"{value}\": values compare exactly, case and blanks included.")
                }
                None => choice(),
            };
            refuse(unknown, format!("The {name} \"{seen}\" is not known."), fix)
        }
        Some(Value::Null) => refuse(not_text, format!("The {name} is null."), choice()),
        Some(Value::Other(kind)) => refuse(
            not_text,
            format!("The {name} is a JSON {kind}, not a string."),
            choice(),
        ),
        None => Ok(None),
    }
}

/// The value that was probably meant: the same without case and blanks, or one a slip away.
fn nearest<'a>(text: &str, values: impl Iterator<Item = &'a str> + Clone) -> Option<&'a str> {
    let plain = text.trim().to_lowercase();
    let same = values.clone().find(|value| value.to_lowercase() == plain);
    same.or_else(|| {
        let close = values.map(|value| {
            (
                strsim::damerau_levenshtein(&plain, &value.to_lowercase()),
                value,
            )
        });
        close
            .filter(|(distance, _)| plain.len() <= 64 && *distance <= 2)
            .min_by_key(|(distance, _)| *distance)
            .map(|(_, value)| value)
    })
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
        fix: format!(
            "With {}, send one of {}.",
            row.status,
            list(row.substatus.iter().map(String::as_str))
        )
        .into(),
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
    let (Some((to, substatus)), Some(row)) = (target(states, facts), states.row(&from.status))
    else {
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
                format!(
                    "After {}, only {} may follow.",
                    row.status,
                    list(row.next.iter().map(String::as_str))
                ),
            ),
        );
        return;
    }
    let was = from.substatus.as_deref().unwrap_or_default();
    let is = substatus.as_deref().unwrap_or_default();
    if row.status == to.status && !row.substatus_may_change && was != is {
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

fn list<'a>(values: impl Iterator<Item = &'a str>) -> String {
    values.collect::<Vec<_>>().join(", ")
}
