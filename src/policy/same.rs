//! What the body says of itself agrees with the request around it.

use http::StatusCode;

use super::{
    IfMatch, Rule, Verdict,
    facts::Facts,
    verdict::{Found, quote},
};
use crate::referral::{Change, Guarded, Value};

/// The id in the body, if there is one, is the id in the URL.
pub(super) fn check_id(rule: &Rule, facts: &Facts<'_>, verdict: &mut Verdict) {
    let Some(wanted) = facts.id else {
        return;
    };
    let seen = match facts.change(Guarded::Id).and_then(Change::value) {
        None => return,
        Some(Value::Text(id)) if wanted.is(&id) => return,
        Some(Value::Null) => "null".to_owned(),
        Some(Value::Text(id)) => quote(id.as_bytes()),
        Some(Value::Other(kind)) => format!("a JSON {kind}"),
    };
    verdict.add(
        rule,
        Found {
            status: StatusCode::UNPROCESSABLE_ENTITY,
            code: "id_mismatch",
            target: "id",
            message: format!("The id in the body ({seen}) is not the id in the URL ({wanted})."),
            fix: "Send the referral to its own URL, or leave the member id out.".into(),
        },
    );
}

/// The eTag in the body, if there is one, is the tag that `If-Match` names.
pub(super) fn check_etag(rule: &Rule, facts: &Facts<'_>, verdict: &mut Verdict) {
    let IfMatch::Strong(tag) = facts.if_match else {
        return;
    };
    let named = tag.as_bytes();
    let change = facts.change(Guarded::ETag);
    if change.is_some_and(|change| change.is_tag(named)) {
        return;
    }
    let seen = match change.and_then(Change::value) {
        None | Some(Value::Null) => return,
        Some(Value::Text(text))
            if text.as_bytes() == named || format!("\"{text}\"").as_bytes() == named =>
        {
            return;
        }
        // Bare on both sides: a `Warning` cannot show the quotes as they were sent.
        Some(Value::Text(text)) => quote(bare(text.as_bytes())),
        Some(Value::Other(kind)) => format!("a JSON {kind}"),
    };
    verdict.add(
        rule,
        Found {
            status: StatusCode::PRECONDITION_FAILED,
            code: "etag_mismatch",
            target: "eTag",
            message: format!(
                "The eTag in the body ({seen}) is not the one in If-Match ({}): the body may come from another version than the one it replaces.",
                quote(bare(named))
            ),
            fix: "GET the referral, change that copy, and send its own eTag in If-Match.".into(),
        },
    );
}

fn bare(tag: &[u8]) -> &[u8] {
    let inner = tag.strip_prefix(b"\"");
    inner
        .and_then(|inner| inner.strip_suffix(b"\""))
        .unwrap_or(tag)
}
