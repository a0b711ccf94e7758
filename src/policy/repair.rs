//! The named repairs: bytes in, bytes out.
//!
//! A repair sees the request and nothing else: no snapshot, so no `If-Match` can come from memory. It mends one fault
//! where every reader agrees on what was meant, and answers `None` where it has nothing to mend or readers could
//! differ; the request is then refused as it stands. What is mended is judged again like any other request.

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

/// A repair by its name. The order is that of use: a later one may need what an earlier one has mended.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Repair {
    /// Cuts commas before a closing bracket out of the body.
    TrailingComma,
    /// Cuts the member `links` out of the body.
    StripLinks,
    /// Puts the tag in `If-Match` between quotes.
    QuoteIfMatch,
    /// Takes the backslashes out of `If-Match`.
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

    /// Whether it cuts bytes out of the body.
    pub fn changes_body(self) -> bool {
        matches!(self, Self::TrailingComma | Self::StripLinks)
    }

    /// The check whose findings it can mend.
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
