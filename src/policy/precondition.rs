//! `If-Match` must name one strong entity tag.
//!
//! The PUT page of the API: "Be sure to set the If-Match header", with the value of the referral's `eTag`, which includes
//! its quotes.

use http::StatusCode;

use super::{
    IfMatch, Rule, Verdict,
    facts::Facts,
    verdict::{Found, quote},
};
use crate::referral::EntityTag;

/// The form that is shown where the value received suggests no better one.
const EXAMPLE: &str = "\"<its eTag>\"";

pub(super) fn check(rule: &Rule, facts: &Facts<'_>, verdict: &mut Verdict) {
    let (code, seen, form) = match facts.if_match {
        IfMatch::Strong(_) => return,
        IfMatch::Missing => (
            "if_match_missing",
            "The request has no If-Match header".to_owned(),
            None,
        ),
        IfMatch::Empty => (
            "if_match_empty",
            "The If-Match header is empty".to_owned(),
            None,
        ),
        IfMatch::Wildcard => (
            "if_match_wildcard",
            "If-Match: * matches any version, so it guards against nothing".to_owned(),
            None,
        ),
        IfMatch::Weak(value) => (
            "if_match_weak",
            format!(
                "If-Match names a weak entity tag ({}), which never matches",
                quote(value)
            ),
            None,
        ),
        IfMatch::Unquoted(value) => (
            "if_match_unquoted",
            format!("If-Match has no quotes: {}", quote(value)),
            Some(value),
        ),
        IfMatch::Escaped(value) => (
            "if_match_escaped",
            format!(
                "If-Match has escaped quotes, as in JSON text: {}",
                quote(value)
            ),
            Some(value),
        ),
        IfMatch::Several(value) => (
            "if_match_several",
            format!("If-Match lists several entity tags: {}", quote(value)),
            None,
        ),
        IfMatch::Repeated(lines) => (
            "if_match_repeated",
            format!("The request has {lines} If-Match header lines"),
            None,
        ),
        IfMatch::Malformed(value) => (
            "if_match_malformed",
            format!("If-Match is not an entity tag: {}", quote(value)),
            Some(value),
        ),
    };
    let fix = match (facts.if_match, form.and_then(meant)) {
        // The tag without `W/` may be no version of the referral.
        (IfMatch::Weak(_), _) => "GET the referral and send its eTag as it is.".into(),
        (_, form) => format!(
            "GET the referral and send its eTag with its quotes, once: If-Match: {}",
            form.as_deref().unwrap_or(EXAMPLE)
        )
        .into(),
    };
    verdict.add(
        rule,
        Found {
            status: StatusCode::PRECONDITION_REQUIRED,
            code,
            target: "If-Match",
            message: format!("{seen}; a {} must name the version it replaces, as one strong entity tag in double quotes.", facts.method),
            fix,
        },
    );
}

/// The tag that a value was probably meant to be.
fn meant(value: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(value).ok()?;
    let text = text
        .trim_start_matches("W/")
        .trim_start_matches("w/")
        .replace('\\', "");
    let tag = format!("\"{}\"", text.trim_matches(['"', '\'']));
    (tag.len() <= 66 && tag.is_ascii() && EntityTag::parse(tag.as_bytes()).is_some()).then_some(tag)
}
