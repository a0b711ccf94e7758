//! The named repairs: bytes in, bytes out.
//!
//! A repair reads the request and nothing else: no snapshot, so no `If-Match` can come from memory. It repairs one fault
//! where every reader agrees on the meaning, and returns `None` where there is nothing to repair or readers could differ;
//! the request is then refused as it stands. A repaired request is judged again like any other.

use std::fmt;

use super::Check;

mod comma;
mod if_match;
mod links;
mod mended;

#[cfg(test)]
mod tests;

pub use comma::trailing_comma;
pub use if_match::{from_body, quote, unescape};
pub use links::strip_links;
pub use mended::Mended;

/// A repair by its name, in the order of use: a later one may need the result of an earlier one.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Repair {
    /// Removes commas before a closing bracket from the body.
    TrailingComma,
    /// Removes the member `links` from the body.
    StripLinks,
    /// Puts the tag in `If-Match` between quotes.
    QuoteIfMatch,
    /// Removes the backslashes from `If-Match`.
    UnescapeIfMatch,
    /// Sets the absent `If-Match` to the `eTag` of the body: it is the version the caller holds.
    IfMatchFromBody,
}

impl Repair {
    /// All repairs, in the order of use.
    pub const ALL: [Self; 5] = [
        Self::TrailingComma,
        Self::StripLinks,
        Self::QuoteIfMatch,
        Self::UnescapeIfMatch,
        Self::IfMatchFromBody,
    ];

    /// The name in documents, answers, records and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::TrailingComma => "trailing-comma",
            Self::StripLinks => "strip-links",
            Self::QuoteIfMatch => "quote-if-match",
            Self::UnescapeIfMatch => "unescape-if-match",
            Self::IfMatchFromBody => "if-match-from-body",
        }
    }

    /// True if it removes bytes from the body.
    pub fn changes_body(self) -> bool {
        matches!(self, Self::TrailingComma | Self::StripLinks)
    }

    /// The check with the findings that it repairs.
    pub fn serves(self) -> Check {
        match self {
            Self::TrailingComma => Check::WellFormed,
            Self::StripLinks => Check::LinksRemoved,
            Self::QuoteIfMatch | Self::UnescapeIfMatch | Self::IfMatchFromBody => Check::IfMatch,
        }
    }
}

impl fmt::Display for Repair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
