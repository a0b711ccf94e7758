//! The operations of a PATCH (RFC 6902): what readers could do differently, and what the service does not do.
//!
//! The PATCH page of the API knows `add` and `replace` only.

use http::StatusCode;

use super::{
    Body, Rule, Verdict,
    facts::Facts,
    verdict::{Found, quote},
};
use crate::referral::{BadPointer, Fault, MAX_OPERATIONS, Touch, Wrong, place_of_operation};

/// No operation but `add` and `replace`, written so.
pub(super) fn check(rule: &Rule, facts: &Facts<'_>, verdict: &mut Verdict) {
    let Body::Patch { bytes, patch } = &facts.body else {
        return;
    };
    let Some((number, verb)) = &patch.uncommon else {
        return;
    };
    let (line, column) = place_of_operation(bytes, *number);
    verdict.add(
        rule,
        Found {
            status: StatusCode::UNPROCESSABLE_ENTITY,
            code: "operation_unsupported",
            target: "body",
            message: format!(
                "Operation {number} of the patch (line {line} column {column}) is `{}`; the service knows only `add` and `replace`.",
                quote(verb.as_bytes())
            ),
            fix: "Use `add` and `replace` alone, in lower case: `replace` with null empties a member.".into(),
        },
    );
}

/// The operation that touches a member, as the begin of a sentence.
pub(super) fn describe(touch: Touch, body: &[u8]) -> String {
    let (line, column) = place_of_operation(body, touch.operation);
    let below = if touch.is_below {
        " on a part of it"
    } else {
        ""
    };
    format!(
        "Operation {} of the patch (`{}`{below}, at line {line} column {column})",
        touch.operation,
        touch.verb.name()
    )
}

/// What is wrong with an operation.
pub(super) fn describe_fault(fault: &Fault<'_>, body: &[u8]) -> Found {
    let (line, column) = place_of_operation(body, fault.operation);
    let at = format!(
        "Operation {} of the patch (line {line} column {column})",
        fault.operation
    );
    let (code, message, fix) = match &fault.wrong {
        Wrong::TooMany => (
            "too_many_operations",
            format!(
                "The patch has more than the {MAX_OPERATIONS} operations that are read to judge it."
            ),
            "Send fewer operations; a member can be set as a whole.".to_owned(),
        ),
        Wrong::NotAnObject => (
            "operation_malformed",
            format!("{at} is not an object."),
            r#"Write each operation as {"op": "replace", "path": "/status", "value": "Active"}."#
                .to_owned(),
        ),
        Wrong::Missing(part) => (
            "operation_incomplete",
            format!("{at} has no {}.", part.name()),
            format!(
                "Give it {}; RFC 6902 says which members each operation needs.",
                part.name()
            ),
        ),
        Wrong::Repeated(part) => (
            "duplicate_member",
            format!(
                "{at} has {} more than once (names compare without case): readers differ in which one counts.",
                part.name()
            ),
            format!("Give {} once.", part.name()),
        ),
        Wrong::LookAlike(part) => (
            "ambiguous_member",
            format!(
                "{at} has a member named almost like {}, with a letter, blank or invisible character that some readers skip or take for a plain letter.",
                part.name()
            ),
            format!(
                "Write {} in plain letters, or leave that member out.",
                part.name()
            ),
        ),
        Wrong::NotAString(part, kind) => (
            "operation_malformed",
            format!("{at} has a {} that is no string ({kind}).", part.name()),
            format!("Write {} as a string.", part.name()),
        ),
        Wrong::UnknownVerb(verb) => (
            "operation_unknown",
            format!(
                "{at} is `{}`, which RFC 6902 does not know.",
                quote(verb.as_bytes())
            ),
            "Write `add` or `replace`.".to_owned(),
        ),
        Wrong::Pointer(part, bad, pointer) => {
            let seen = quote(pointer.as_bytes());
            let part = part.name();
            match bad {
                BadPointer::NoSlash => (
                    "pointer_malformed",
                    format!("{at} has the {part} `{seen}`, which does not begin with a slash: some readers put one before it."),
                    "Begin it with a slash, as in /status.".to_owned(),
                ),
                BadPointer::LoneTilde => (
                    "pointer_malformed",
                    format!("{at} has the {part} `{seen}`, with a tilde that is followed by neither 0 nor 1."),
                    "Write ~0 for a tilde and ~1 for a slash in a name (RFC 6901).".to_owned(),
                ),
                BadPointer::SkippedToken => (
                    "pointer_malformed",
                    format!("{at} has the {part} `{seen}`, with a piece that is empty, blank or dots: some readers skip it."),
                    "Name each member between two slashes, without a slash at the end.".to_owned(),
                ),
                BadPointer::Ambiguous => (
                    "pointer_ambiguous",
                    format!("{at} has the {part} `{seen}`, which readers follow to different members."),
                    "Name the members in plain letters, without percent signs, blanks or other punctuation.".to_owned(),
                ),
            }
        }
        Wrong::NotAReferral => (
            "not_an_object",
            format!(
                "{at} puts something in the place of the whole referral that is not one object."
            ),
            "Set the members you mean by their own paths.".to_owned(),
        ),
        Wrong::RepeatedMember(member) => (
            "duplicate_member",
            format!(
                "{at} puts an object in the place of the whole referral that has {} more than once (names compare without case): readers differ in which one counts.",
                member.name()
            ),
            format!("Give {} once.", member.name()),
        ),
        Wrong::LookAlikeMember(member) => (
            "ambiguous_member",
            format!(
                "{at} puts an object in the place of the whole referral with a member named almost like {}, with a letter, blank or invisible character that some readers skip or take for a plain letter.",
                member.name()
            ),
            format!(
                "Write {} in plain letters, or give the member another name.",
                member.name()
            ),
        ),
    };
    Found {
        status: StatusCode::BAD_REQUEST,
        code,
        target: "body",
        message,
        fix: fix.into(),
    }
}
