//! A PUT must not carry `links`.
//!
//! The PUT page of the API: "Remove the links object from the PUT resource." Every GET returns one.

use http::StatusCode;

use super::{Facts, Rule, Verdict, verdict::Found};
use crate::referral::{Member, place};

pub(super) fn check(rule: &Rule, facts: &Facts<'_>, verdict: &mut Verdict) {
    let Some((bytes, members)) = facts.body.members() else {
        return;
    };
    let (Member::Given(json) | Member::Repeated(json)) = members.links else {
        return;
    };
    let (line, column) = place(bytes, json);
    verdict.add(
        rule,
        Found {
            status: StatusCode::UNPROCESSABLE_ENTITY,
            code: "links_present",
            target: "links",
            message: format!(
                "The body has a top-level member links (its value stands at line {line} column {column}); a PUT must not carry it, whatever its value."
            ),
            fix: "Remove the member links, which every GET returns, before you send the referral back.".into(),
        },
    );
}
