//! The forms of `If-Match`.
//!
//! RFC 9110 13.1.1: the field holds `*` or a list of entity tags and compares strongly.

use http::{HeaderMap, header};

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
