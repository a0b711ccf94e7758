//! The pure core: facts in, verdict out. No input or output, no clock, no waiting.
//!
//! Rules find, their mode says what a finding leads to, [`crate::proxy`] acts.

use std::{fmt, sync::Arc};

use http::{HeaderMap, StatusCode};

use crate::referral::{Members, ReferralId, State, Unreadable};

mod document;
mod expression;
mod if_match;
mod links;
mod same;
mod transition;
mod verdict;
mod well_formed;

#[cfg(test)]
mod tests;

pub use document::{DocumentError, schema};
pub use expression::{CompileError, Converted, EvalError, Expression, Inputs, Names};
pub use if_match::IfMatch;
pub use transition::{StateRow, StateTable};
pub use verdict::{Finding, Verdict};

/// The rules in force and the tables of states they use.
#[derive(Debug)]
pub struct Policy {
    /// The document's name.
    pub name: String,
    /// SHA-256 of the document's text, `sha256:` and 64 hexadecimal digits.
    pub digest: String,
    /// The document's text.
    pub text: String,
    /// The rules, in the order in which their findings choose the status of a refusal.
    pub rules: Vec<Rule>,
    /// Which status may follow which, and with which substatus.
    pub states: StateTable,
}

/// One rule of a policy document.
#[derive(Debug, Clone)]
pub struct Rule {
    /// The name in answers, logs and metrics.
    pub id: Arc<str>,
    /// What it looks for.
    pub check: Check,
    /// What a finding leads to.
    pub mode: Mode,
    /// The status it answers with, instead of the check's own.
    pub status: Option<StatusCode>,
}

/// What a rule looks for. The order is that of precedence: the first check with an enforced finding chooses the status.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Check {
    /// The body is one JSON object that every reader reads alike.
    WellFormed,
    /// `If-Match` is there, with one strong entity tag.
    IfMatch,
    /// No member `links`.
    LinksRemoved,
    /// Status and substatus are known and go together.
    Substatus,
    /// The new status may follow the one the referral has.
    Transition,
    /// The id in the body is the one in the URL.
    SameId,
    /// The eTag in the body is the one in `If-Match`.
    SameEtag,
}

impl Check {
    /// Whether the check looks into the body.
    fn reads_body(self) -> bool {
        !matches!(self, Self::IfMatch)
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
}

impl Mode {
    /// The name in documents, records and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Audit => "audit",
            Self::Warn => "warn",
            Self::Enforce => "enforce",
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// All that a rule may know of a PUT.
#[derive(Debug)]
pub struct Facts<'a> {
    /// The referral that the URL names.
    pub id: &'a ReferralId,
    /// The header section, hop-by-hop fields removed.
    pub headers: &'a HeaderMap,
    /// The form of `If-Match`.
    pub if_match: IfMatch<'a>,
    /// The body.
    pub body: Body<'a>,
}

/// The body of a judged request.
#[derive(Debug)]
pub enum Body<'a> {
    /// One JSON object.
    Object {
        /// The bytes as they came.
        bytes: &'a [u8],
        /// Its guarded members.
        members: Members<'a>,
    },
    /// Not one JSON object.
    Unreadable {
        /// The bytes as they came.
        bytes: &'a [u8],
        /// Why.
        why: Unreadable,
    },
    /// Larger than the limit.
    TooLarge {
        /// The limit, in bytes.
        limit: usize,
    },
}

impl<'a> Body<'a> {
    /// Reads a body that came whole.
    pub fn read(bytes: &'a [u8]) -> Self {
        match Members::read(bytes) {
            Ok(members) => Self::Object { bytes, members },
            Err(why) => Self::Unreadable { bytes, why },
        }
    }

    /// The guarded members, if the body could be read.
    fn members(&self) -> Option<(&'a [u8], &Members<'a>)> {
        match self {
            Self::Object { bytes, members } => Some((bytes, members)),
            Self::Unreadable { .. } | Self::TooLarge { .. } => None,
        }
    }
}

impl Policy {
    /// Reads a policy document; `file` is the name used in error texts.
    pub fn parse(text: &str, file: &str) -> Result<Self, DocumentError> {
        document::parse(text, file)
    }

    /// Whether any rule looks at a PUT.
    pub fn judges(&self) -> bool {
        self.rules.iter().any(|rule| rule.mode != Mode::Off)
    }

    /// Whether an enforced rule looks into the body, so that a body too large to read must be refused.
    pub fn must_read_body(&self) -> bool {
        self.rules
            .iter()
            .any(|rule| rule.mode == Mode::Enforce && rule.check.reads_body())
    }

    /// What the rules find that need nothing but the request itself.
    pub fn judge(&self, facts: &Facts<'_>) -> Verdict {
        let mut verdict = Verdict::default();
        for rule in self.active() {
            match rule.check {
                Check::WellFormed => well_formed::check(rule, facts, &mut verdict),
                Check::IfMatch => if_match::check(rule, facts, &mut verdict),
                Check::LinksRemoved => links::check(rule, facts, &mut verdict),
                Check::Substatus => {
                    transition::check_substatus(rule, &self.states, facts, &mut verdict);
                }
                Check::Transition => {
                    transition::fail_closed(rule, &self.states, facts, &mut verdict);
                }
                Check::SameId => same::check_id(rule, facts, &mut verdict),
                Check::SameEtag => same::check_etag(rule, facts, &mut verdict),
            }
            if rule.check.reads_body() && rule.mode == Mode::Enforce {
                well_formed::fail_closed(rule, facts, &mut verdict);
            }
        }
        verdict
    }

    /// The rule that needs to know where the referral stands, if the request says anything it could judge.
    pub fn needs_state(&self, facts: &Facts<'_>) -> Option<&Rule> {
        let rule = self.active().find(|rule| rule.check == Check::Transition)?;
        transition::target(&self.states, facts).map(|_| rule)
    }

    /// The status of the table that the request asks for.
    pub fn asked_status(&self, facts: &Facts<'_>) -> Option<&str> {
        transition::target(&self.states, facts).map(|(row, _)| row.status.as_str())
    }

    /// Adds what the transition rule finds, given where the referral stands at the entity tag that the request names.
    ///
    /// A state that the table does not know cannot be judged: ask [`StateTable::knows`] first.
    pub fn judge_transition(&self, facts: &Facts<'_>, from: &State, verdict: &mut Verdict) {
        for rule in self.active().filter(|rule| rule.check == Check::Transition) {
            transition::check(rule, &self.states, facts, from, verdict);
        }
    }

    fn active(&self) -> impl Iterator<Item = &Rule> {
        self.rules.iter().filter(|rule| rule.mode != Mode::Off)
    }
}
