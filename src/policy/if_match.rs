//! `If-Match` must name one strong entity tag.
//!
//! RFC 9110 13.1.1: the field holds `*` or a list of entity tags and compares strongly. The PUT page of the API:
//! "Be sure to set the If-Match header", with the value of the referral's `eTag`, which includes its quotes.

use http::{HeaderMap, StatusCode, header};

use super::{
    Rule, Verdict,
    facts::Facts,
    verdict::{Found, quote},
};
use crate::referral::EntityTag;

/// The form of the `If-Match` field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IfMatch<'a> {
    /// One strong entity tag: the only form that guards a write.
    Strong(EntityTag<'a>),
    /// No such field.
    Missing,
    /// Nothing in it.
    Empty,
    /// `*`: any version, so no guard at all.
    Wildcard,
    /// `W/"..."`, which never matches (RFC 9110 13.1.1).
    Weak(&'a [u8]),
    /// A value without quotes.
    Unquoted(&'a [u8]),
    /// Quotes escaped, as copied from JSON text.
    Escaped(&'a [u8]),
    /// More than one tag in one field line.
    Several(&'a [u8]),
    /// More than one field line.
    Repeated(usize),
    /// Anything else.
    Malformed(&'a [u8]),
}

impl<'a> IfMatch<'a> {
    /// The form of the field in this header section.
    pub fn of(headers: &'a HeaderMap) -> Self {
        let mut lines = headers.get_all(header::IF_MATCH).iter();
        let Some(first) = lines.next() else {
            return Self::Missing;
        };
        match lines.count() {
            0 => Self::read(first.as_bytes().trim_ascii()),
            more => Self::Repeated(more + 1),
        }
    }

    /// The form of one field line's value.
    pub(super) fn read(value: &'a [u8]) -> Self {
        // A reader that drops the quotes sees nothing, any version or a list in these.
        if let Some(tag) = EntityTag::parse(value)
            .filter(|_| !matches!(value, b"\"\"" | b"\"*\"") && !value.contains(&b','))
        {
            return Self::Strong(tag);
        }
        let quotes = value.iter().filter(|byte| **byte == b'"').count();
        match value {
            b"" | b"\"\"" => Self::Empty,
            b"*" | b"\"*\"" => Self::Wildcard,
            [b'W' | b'w', b'/', ..] if quotes <= 2 => Self::Weak(value),
            _ if value.windows(2).any(|pair| pair == b"\\\"") => Self::Escaped(value),
            _ if quotes == 0 => Self::Unquoted(value),
            _ if value.contains(&b',') => Self::Several(value),
            _ => Self::Malformed(value),
        }
    }

    /// The tag, if the field can guard a write.
    pub fn tag(self) -> Option<EntityTag<'a>> {
        match self {
            Self::Strong(tag) => Some(tag),
            Self::Missing
            | Self::Empty
            | Self::Wildcard
            | Self::Weak(_)
            | Self::Unquoted(_)
            | Self::Escaped(_)
            | Self::Several(_)
            | Self::Repeated(_)
            | Self::Malformed(_) => None,
        }
    }
}

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
            Some(value),
        ),
        IfMatch::Unquoted(value) => (
            "if_match_unquoted",
            format!("If-Match lacks its quotes: {}", quote(value)),
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
    let form = form.and_then(meant).unwrap_or_else(|| EXAMPLE.to_owned());
    verdict.add(
        rule,
        Found {
            status: StatusCode::PRECONDITION_REQUIRED,
            code,
            target: "If-Match",
            message: format!("{seen}; a {} must name the version it replaces, as one strong entity tag in double quotes.", facts.method),
            fix: format!("GET the referral and send its eTag with its quotes, once: If-Match: {form}").into(),
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
