//! The rows of the state table.

use std::collections::BTreeMap;

use super::{fault::Faults, text::StateText};
use crate::{
    nearest::nearest,
    policy::{StateRow, StateTable},
};

/// The longest name of a status or substatus, in bytes.
const MAX_NAME: usize = 64;

/// A remedy lists no more rows than these.
const MAX_LISTED: usize = 20;

/// The table of the readable rows. The faults of all rows are added to `faults`.
pub(super) fn table(
    states: BTreeMap<String, Option<StateText>>,
    faults: &mut Faults<'_>,
) -> StateTable {
    if states.is_empty() {
        faults.add_at(&["states"], "states: empty", "write a row for each status");
    }
    for (status, row) in &states {
        if let Some(row) = row {
            check(status, row, &states, faults);
        }
    }
    let rows = states.into_iter().filter_map(|(status, row)| {
        let row = row?;
        Some(StateRow {
            status,
            next: row.next.into_iter().map(|next| next.value).collect(),
            substatus: row.substatus,
            substatus_may_change: row.substatus_may_change.unwrap_or(true),
        })
    });
    StateTable {
        rows: rows.collect(),
    }
}

fn check(
    status: &str,
    row: &StateText,
    states: &BTreeMap<String, Option<StateText>>,
    faults: &mut Faults<'_>,
) {
    for next in &row.next {
        if !states.contains_key(&next.value) {
            let names = states.keys().map(String::as_str);
            let remedy = match nearest(&next.value, names.clone()) {
                Some(near) => format!("did you mean `{near}`?"),
                None if states.len() > MAX_LISTED => {
                    "write the name of a row, or add the row".to_owned()
                }
                None => {
                    let known: Vec<_> = names.collect();
                    format!("write one of {}, or add the row", known.join(", "))
                }
            };
            faults.add(
                next.referenced,
                format!(
                    "states.{status}.next: `{}` has no row of its own",
                    next.value
                ),
                remedy,
            );
        }
    }
    if row.substatus.is_empty() {
        faults.add_at(
            &["states", status, "substatus"],
            format!("states.{status}.substatus: empty, so no write could have this status"),
            "list what is allowed",
        );
    }
    let names = [status].into_iter();
    let mut names = names.chain(row.substatus.iter().map(String::as_str));
    if names.any(|name| name.is_empty() || name.len() > MAX_NAME) {
        faults.add_at(
            &["states", status],
            format!("states.{status}: a name is empty or longer than {MAX_NAME} bytes"),
            "shorten it",
        );
    }
}
