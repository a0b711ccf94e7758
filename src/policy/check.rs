//! The words of a rule: what it looks for, in which methods, and what a finding leads to.

use std::fmt;

/// A method whose requests are judged: those that write one referral.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum Method {
    /// Replaces a referral.
    Put,
    /// Changes members of a referral.
    Patch,
    /// Makes a new referral.
    Post,
}

impl Method {
    /// The name in documents and records.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Put => "PUT",
            Self::Patch => "PATCH",
            Self::Post => "POST",
        }
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a rule looks for. The order is that of precedence: the first check with an enforced finding chooses the status.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    serde::Deserialize,
    serde::Serialize,
    schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Check {
    /// The body is one JSON object, or the operations of a PATCH, and every reader reads it alike.
    WellFormed,
    /// `If-Match` is there, with one strong entity tag.
    IfMatch,
    /// No member `links`, and no operation on it.
    LinksRemoved,
    /// Status and substatus are known and go together.
    Substatus,
    /// The new status may follow the one the referral has.
    Transition,
    /// The id in the body is the one in the URL.
    SameId,
    /// The eTag in the body is the one in `If-Match`.
    SameEtag,
    /// A patch has no operations but `add` and `replace`.
    PatchOperations,
    /// An expression is true.
    Expression,
}

impl Check {
    /// The methods that it can look at.
    pub fn methods(self) -> &'static [Method] {
        match self {
            Self::WellFormed | Self::Substatus | Self::Expression => {
                &[Method::Put, Method::Patch, Method::Post]
            }
            Self::IfMatch | Self::LinksRemoved | Self::Transition | Self::SameEtag => {
                &[Method::Put, Method::Patch]
            }
            Self::SameId => &[Method::Put],
            Self::PatchOperations => &[Method::Patch],
        }
    }
}

/// What a finding leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// The rule is not evaluated.
    Off,
    /// The request passes; the finding is counted and recorded.
    Audit,
    /// The request passes; the answer carries the finding as a `Warning`.
    Warn,
    /// The request is refused.
    Enforce,
    /// The request is mended by the rule's repairs if that is possible, else refused.
    Repair,
}

impl Mode {
    /// The name in documents, records and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Audit => "audit",
            Self::Warn => "warn",
            Self::Enforce => "enforce",
            Self::Repair => "repair",
        }
    }

    /// Whether a request with a finding is not sent.
    pub fn refuses(self) -> bool {
        matches!(self, Self::Enforce | Self::Repair)
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
