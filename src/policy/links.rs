//! A write must not carry `links`.
//!
//! The PUT page of the API: "Remove the links object from the PUT resource." Every GET returns one.

use http::StatusCode;

use super::{Body, Rule, Verdict, facts::Facts, patch, verdict::Found};
use crate::referral::{Change, Guarded, place};

pub(super) fn check(rule: &Rule, facts: &Facts<'_>, verdict: &mut Verdict) {
    let bytes = facts.body.bytes();
    let is_patch = matches!(facts.body, Body::Patch { .. });
    let message = match facts.change(Guarded::Links) {
        None | Some(Change::Untouched | Change::Removed) => return,
        Some(Change::Set(json) | Change::Repeated(json)) => {
            let (line, column) = place(bytes, json);
            if is_patch {
                format!("The patch sets `links` at line {line} column {column}.")
            } else {
                format!("The body contains `links` at line {line} column {column}.")
            }
        }
        Some(Change::Touched(touch)) => {
            format!("{} changes `links`.", patch::describe(touch, bytes))
        }
    };
    let fix = if is_patch {
        "Remove it: a PATCH must not change `links` or any value below it.".into()
    } else {
        format!("Remove it: a {} must not contain `links`.", facts.method).into()
    };
    verdict.add(
        rule,
        Found {
            status: StatusCode::UNPROCESSABLE_ENTITY,
            code: "links_present",
            target: "links",
            message,
            fix,
        },
    );
}
