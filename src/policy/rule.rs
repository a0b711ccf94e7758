//! One rule: what it looks for, in which requests, and what a finding leads to.

use std::{fmt, sync::Arc};

use http::StatusCode;

use super::{Condition, repair::Repair};

/// One rule of a policy document.
#[derive(Debug, Clone)]
pub struct Rule {
    /// The name in answers, logs and metrics.
    pub id: Arc<str>,
    /// What it looks for.
    pub check: Check,
    /// The methods it looks at.
    pub on: Vec<Method>,
    /// What a finding leads to.
    pub mode: Mode,
    /// Other modes for single tenants, by their aliases.
    pub modes: Vec<(String, Mode)>,
    /// The status it answers with, instead of the check's own.
    pub status: Option<StatusCode>,
    /// What may be mended where the mode is [`Mode::Repair`].
    pub repairs: Vec<Repair>,
    /// What must be true, where the check is [`Check::Expression`].
    pub condition: Option<Arc<Condition>>,
}

impl Rule {
    /// Whether it looks at a method.
    pub fn is_on(&self, method: Method) -> bool {
        self.mode != Mode::Off && self.on.contains(&method)
    }

    /// What it must know of a write to be evaluated.
    pub fn needs(&self) -> Needs {
        match self.check {
            // An unreadable body is what `well_formed` looks for.
            Check::WellFormed | Check::IfMatch => Needs::REQUEST,
            Check::LinksRemoved | Check::SameId | Check::SameEtag | Check::PatchOperations => {
                Needs::BODY
            }
            Check::Substatus | Check::Transition => Needs::STATE,
            Check::Expression => {
                self.condition
                    .as_ref()
                    .map_or(Needs::REQUEST, |condition| Needs {
                        body: condition.expression.reads_body(),
                        state: condition.expression.reads_referral(),
                    })
            }
        }
    }
}

/// What a rule must know of a write, beside its URL and header section.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Needs {
    /// A body that can be read.
    pub body: bool,
    /// The state of the referral, unless the write itself leaves nothing to judge by it.
    pub state: bool,
}

impl Needs {
    const REQUEST: Self = Self {
        body: false,
        state: false,
    };
    const BODY: Self = Self {
        body: true,
        state: false,
    };
    const STATE: Self = Self {
        body: true,
        state: true,
    };
}

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
