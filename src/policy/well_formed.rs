//! The body is one JSON object, or the operations of a PATCH, and every reader reads it alike.

use http::{HeaderMap, StatusCode, header};

use super::{
    Body, Check, Method, Rule, Verdict,
    facts::Facts,
    patch,
    verdict::{Found, quote},
};
use crate::referral::{MAX_DEPTH, Member, Unreadable, place, place_of};

/// RFC 6902 6.
const JSON_PATCH: &[u8] = b"application/json-patch+json";
/// U+FEFF in UTF-8.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";
/// RFC 7396 4.
const MERGE_PATCH: &[u8] = b"application/merge-patch+json";

pub(super) fn check(rule: &Rule, facts: &Facts<'_>, verdict: &mut Verdict) {
    if is_sound(facts) {
        return;
    }
    for found in [
        encoding(facts.headers),
        media_type(facts),
        other_shape(facts),
        unreadable(facts),
    ]
    .into_iter()
    .flatten()
    {
        verdict.add(rule, found);
    }
    ambiguous(facts, |found| verdict.add(rule, found));
}

/// An enforced rule that cannot read the body refuses the request, even where `well_formed` itself is not enforced.
pub(super) fn fail_closed(rule: &Rule, facts: &Facts<'_>, verdict: &mut Verdict) {
    if rule.check == Check::WellFormed
        || is_sound(facts)
        || verdict
            .findings()
            .iter()
            .any(|f| f.check == Check::WellFormed && f.mode.refuses())
    {
        return;
    }
    if let Some(found) = first_fault(facts) {
        let message = format!(
            "{} The rule {} cannot be judged on such a body.",
            found.message, rule.id
        );
        verdict.add(rule, Found { message, ..found });
    }
}

/// Whether there is nothing to find. Every rule that reads the body asks this.
fn is_sound(facts: &Facts<'_>) -> bool {
    *facts.is_sound.get_or_init(|| first_fault(facts).is_none())
}

fn first_fault(facts: &Facts<'_>) -> Option<Found> {
    encoding(facts.headers)
        .or_else(|| media_type(facts))
        .or_else(|| other_shape(facts))
        .or_else(|| unreadable(facts))
        .or_else(|| first_ambiguous(facts))
}

fn first_ambiguous(facts: &Facts<'_>) -> Option<Found> {
    if let Body::Patch { bytes, patch } = &facts.body {
        // Telling where a fault stands reads the document once more.
        let fault = patch.faults.first()?;
        return Some(patch::describe_fault(fault, bytes));
    }
    let mut first = None;
    ambiguous(facts, |found| {
        first.get_or_insert(found);
    });
    first
}

/// Rules do not read a body with a content coding.
fn encoding(headers: &HeaderMap) -> Option<Found> {
    let mut values = headers.get_all(header::CONTENT_ENCODING).iter();
    let value = values.find(|value| {
        !value
            .as_bytes()
            .trim_ascii()
            .eq_ignore_ascii_case(b"identity")
    })?;
    Some(Found {
        status: StatusCode::UNSUPPORTED_MEDIA_TYPE,
        code: "content_encoding_unsupported",
        target: "Content-Encoding",
        message: format!(
            "The body is compressed ({}); rules read plain JSON only.",
            quote(value.as_bytes())
        ),
        fix: "Send the body without Content-Encoding.".into(),
    })
}

/// `application/json` or a `+json` type, in UTF-8. A body without a type is read as JSON, as the service does.
fn media_type(facts: &Facts<'_>) -> Option<Found> {
    let mut values = facts.headers.get_all(header::CONTENT_TYPE).iter();
    let first = values.next()?;
    let refuse = |code, message: String| {
        Some(Found {
            status: StatusCode::UNSUPPORTED_MEDIA_TYPE,
            code,
            target: "Content-Type",
            message,
            fix: "Send the body as Content-Type: application/json, in UTF-8.".into(),
        })
    };
    if values.next().is_some() {
        return refuse(
            "media_type_unsupported",
            "The request has more than one Content-Type.".to_owned(),
        );
    }
    if first.as_bytes().trim_ascii().is_empty() {
        return refuse(
            "media_type_unsupported",
            "The Content-Type is empty.".to_owned(),
        );
    }
    let seen = || quote(first.as_bytes());
    let text = first.as_bytes().to_ascii_lowercase();
    let mut parts = text.split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
    let essence = parts.next().unwrap_or_default();
    let is_json = match facts.method {
        // Another type may ask for another way to apply the same bytes.
        Method::Patch => [&b"application/json"[..], JSON_PATCH, MERGE_PATCH].contains(&essence),
        Method::Put | Method::Post => {
            essence == b"application/json"
                || essence == b"text/json"
                || (essence.starts_with(b"application/") && essence.ends_with(b"+json"))
        }
    };
    if !is_json || essence.contains(&b',') {
        return refuse(
            "media_type_unsupported",
            format!(
                "The body is sent as {}, not as JSON{}.",
                seen(),
                match facts.method {
                    Method::Patch => " or a JSON Patch",
                    Method::Put | Method::Post => "",
                }
            ),
        );
    }
    for parameter in parts.filter(|part| part.starts_with(b"charset")) {
        let value = parameter.get(7..).unwrap_or_default().trim_ascii_start();
        let value = value.strip_prefix(b"=").unwrap_or(value).trim_ascii();
        let value = value
            .strip_prefix(b"\"")
            .and_then(|rest| rest.strip_suffix(b"\""))
            .unwrap_or(value);
        if value != b"utf-8" && value != b"utf8" {
            return refuse(
                "charset_unsupported",
                format!(
                    "The body is sent as {}; JSON is read in UTF-8 only.",
                    seen()
                ),
            );
        }
    }
    None
}

/// A PATCH whose type says another shape than its body has: who goes by the type applies it otherwise.
fn other_shape(facts: &Facts<'_>) -> Option<Found> {
    let (stated, shape) = match facts.body {
        _ if facts.method != Method::Patch => return None,
        Body::Object { .. } => (JSON_PATCH, "one object"),
        Body::Patch { .. } => (MERGE_PATCH, "an array"),
        Body::Unreadable { .. } | Body::TooLarge { .. } => return None,
    };
    let value = facts.headers.get(header::CONTENT_TYPE)?.as_bytes();
    let essence = value.split(|byte| *byte == b';').next()?.trim_ascii();
    essence.eq_ignore_ascii_case(stated).then(|| Found {
        status: StatusCode::UNSUPPORTED_MEDIA_TYPE,
        code: "media_type_mismatch",
        target: "Content-Type",
        message: format!("The body is sent as {}, but is {shape}.", quote(stated)),
        fix: "Send an array of operations as application/json-patch+json, an object to merge as application/merge-patch+json, or either as application/json.".into(),
    })
}

fn unreadable(facts: &Facts<'_>) -> Option<Found> {
    let whole = match facts.method {
        Method::Put => "Send the whole referral as one JSON object: a PUT replaces it.",
        Method::Patch => {
            "Send an array of operations (RFC 6902), or one JSON object with the members to set."
        }
        Method::Post => "Send the new referral as one JSON object.",
    };
    let (status, code, message, fix) = match &facts.body {
        Body::Object { .. } | Body::Patch { .. } => return None,
        Body::TooLarge { limit } => (
            StatusCode::PAYLOAD_TOO_LARGE,
            "body_too_large",
            format!("The body is larger than the limit of {limit} bytes."),
            "Send a smaller body, or ask the gateway's operator to raise downstream.max_judged_body.",
        ),
        Body::Unreadable { bytes, why } => match why {
            Unreadable::Empty => (
                StatusCode::BAD_REQUEST,
                "empty_body",
                "The request has no body.".to_owned(),
                whole,
            ),
            Unreadable::NotUtf8 { offset } => {
                let (line, column) = place_of(bytes, *offset);
                (
                    StatusCode::BAD_REQUEST,
                    "invalid_utf8",
                    format!("The body is not UTF-8 from line {line} column {column} on."),
                    "Encode the JSON text in UTF-8, without a byte order mark.",
                )
            }
            Unreadable::NotJson(_) if bytes.starts_with(BYTE_ORDER_MARK) => (
                StatusCode::BAD_REQUEST,
                "malformed_json",
                "The body begins (line 1 column 1) with a byte order mark, which JSON text must not have (RFC 8259 8.1).".to_owned(),
                "Send the bytes of the JSON text alone: UTF-8 without a byte order mark.",
            ),
            Unreadable::NotJson(error) => {
                let (seen, fix) = match error.strip_prefix("EOF while parsing ") {
                    Some(inside) => (
                        format!("The body ends inside {inside}; was it cut off?"),
                        "Send the whole JSON text.",
                    ),
                    None => (
                        format!("The body is not JSON (RFC 8259): {error}."),
                        "Correct the JSON at that place; JSON has no comments, trailing commas, single quotes or NaN.",
                    ),
                };
                (StatusCode::BAD_REQUEST, "malformed_json", seen, fix)
            }
            Unreadable::NotAnObject => (
                StatusCode::BAD_REQUEST,
                "not_an_object",
                match facts.method {
                    Method::Patch => "The body is JSON, but neither an array nor one object.",
                    Method::Put | Method::Post => "The body is JSON, but not one object.",
                }
                .to_owned(),
                whole,
            ),
            Unreadable::TooDeep => (
                StatusCode::BAD_REQUEST,
                "nested_too_deep",
                format!("The body nests objects or arrays deeper than {MAX_DEPTH} levels."),
                "Send a flatter body; no referral needs that depth.",
            ),
        },
    };
    Some(Found {
        status,
        code,
        target: "body",
        message,
        fix: fix.into(),
    })
}

/// Guarded members and operations that two readers could read differently.
fn ambiguous(facts: &Facts<'_>, mut found: impl FnMut(Found)) {
    let (bytes, members) = match &facts.body {
        Body::Object { bytes, members } => (bytes, members),
        Body::Patch { bytes, patch } => {
            for fault in &patch.faults {
                found(patch::describe_fault(fault, bytes));
            }
            return;
        }
        Body::Unreadable { .. } | Body::TooLarge { .. } => return,
    };
    if let Some((member, json)) = members.look_alike {
        let (line, column) = place(bytes, json);
        found(Found {
            status: StatusCode::BAD_REQUEST,
            code: "ambiguous_member",
            target: member.name(),
            message: format!(
                "A member is named almost like {}, with a letter, blank or invisible character that some readers skip or take for a plain letter (its value stands at line {line} column {column}).",
                member.name()
            ),
            fix: format!(
                "Write {} in plain letters, or give the member another name.",
                member.name()
            )
            .into(),
        });
    }
    for (member, given) in members.all() {
        if let Member::Repeated(json) = given {
            let (line, column) = place(bytes, json);
            found(Found {
                status: StatusCode::BAD_REQUEST,
                code: "duplicate_member",
                target: member.name(),
                message: format!(
                    "The member {0} is given more than once (names compare without case; the second value stands at line {line} column {column}): readers differ in which one counts.",
                    member.name()
                ),
                fix: format!("Give {} once.", member.name()).into(),
            });
        }
    }
}
