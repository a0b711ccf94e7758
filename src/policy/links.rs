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
                format!(
                    "The patch sets links (to the value at line {line} column {column}), which is the service's own."
                )
            } else {
                format!(
                    "The body has a top-level member links (its value stands at line {line} column {column}); a {} must not carry it, whatever its value.",
                    facts.method
                )
            }
        }
        Some(Change::Touched(touch)) => format!(
            "{} touches links, which is the service's own.",
            patch::told(touch, bytes)
        ),
    };
    let fix = if is_patch {
        "Leave links out of the patch, and whatever lies below it."
    } else {
        "Remove the member links, which every GET returns, before you send the referral back."
    };
    verdict.add(
        rule,
        Found {
            status: StatusCode::UNPROCESSABLE_ENTITY,
            code: "links_present",
            target: "links",
            message,
            fix: fix.into(),
        },
    );
}
