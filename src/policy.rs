//! The pure core: facts in, verdict out. No input or output, no clock, no waiting.
//!
//! Rules find, their mode says what a finding leads to, [`crate::proxy`] acts.

use std::{fmt, sync::Arc};

use http::{HeaderMap, StatusCode};

use crate::referral::{Change, Guarded, Member, Members, Patch, ReferralId, State, Unreadable};

mod document;
mod expression;
mod if_match;
mod links;
mod patch;
pub mod repair;
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
    /// The methods it looks at.
    pub on: Vec<Method>,
    /// What a finding leads to.
    pub mode: Mode,
    /// The status it answers with, instead of the check's own.
    pub status: Option<StatusCode>,
}

impl Rule {
    /// Whether it looks at a method.
    pub fn is_on(&self, method: Method) -> bool {
        self.mode != Mode::Off && self.on.contains(&method)
    }
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
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Deserialize, schemars::JsonSchema,
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
}

impl Check {
    /// The methods that it can look at.
    pub fn methods(self) -> &'static [Method] {
        match self {
            Self::WellFormed | Self::Substatus => &[Method::Put, Method::Patch, Method::Post],
            Self::IfMatch | Self::LinksRemoved | Self::Transition | Self::SameEtag => {
                &[Method::Put, Method::Patch]
            }
            Self::SameId => &[Method::Put],
            Self::PatchOperations => &[Method::Patch],
        }
    }

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

/// All that a rule may know of a write.
#[derive(Debug)]
pub struct Facts<'a> {
    /// The method.
    pub method: Method,
    /// The referral that the URL names; a POST names none.
    pub id: Option<&'a ReferralId>,
    /// The header section, hop-by-hop fields removed.
    pub headers: &'a HeaderMap,
    /// The form of `If-Match`.
    pub if_match: IfMatch<'a>,
    /// The body.
    pub body: Body<'a>,
}

impl<'a> Facts<'a> {
    /// What the request makes of a member; `None` if its body cannot be read.
    fn change(&self, member: Guarded) -> Option<Change<'a>> {
        match &self.body {
            Body::Object { members, .. } => Some(match members.get(member) {
                // A PUT replaces the referral; a PATCH is merged into it, and the service fills up what a POST leaves out.
                Member::Absent if self.method == Method::Put => Change::Removed,
                Member::Absent => Change::Untouched,
                Member::Given(json) => Change::Set(json),
                Member::Repeated(json) => Change::Repeated(json),
            }),
            Body::Patch { patch, .. } => Some(patch.change(member)),
            Body::Unreadable { .. } | Body::TooLarge { .. } => None,
        }
    }
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
    /// The operations of a PATCH.
    Patch {
        /// The bytes as they came.
        bytes: &'a [u8],
        /// What they make of the guarded members.
        patch: Patch<'a>,
    },
    /// Neither.
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
    /// Reads a body that came whole. Its shape says whether a PATCH has operations or an object to merge.
    pub fn read(method: Method, bytes: &'a [u8]) -> Self {
        if method == Method::Patch && bytes.trim_ascii_start().first() == Some(&b'[') {
            return match Patch::read(bytes) {
                Ok(patch) => Self::Patch { bytes, patch },
                Err(why) => Self::Unreadable { bytes, why },
            };
        }
        match Members::read(bytes) {
            Ok(members) => Self::Object { bytes, members },
            Err(why) => Self::Unreadable { bytes, why },
        }
    }

    /// The bytes as they came, if they were read.
    fn bytes(&self) -> &'a [u8] {
        match self {
            Self::Object { bytes, .. }
            | Self::Patch { bytes, .. }
            | Self::Unreadable { bytes, .. } => bytes,
            Self::TooLarge { .. } => &[],
        }
    }

    fn is_readable(&self) -> bool {
        matches!(self, Self::Object { .. } | Self::Patch { .. })
    }
}

impl Policy {
    /// Reads a policy document; `file` is the name used in error texts.
    pub fn parse(text: &str, file: &str) -> Result<Self, DocumentError> {
        document::parse(text, file)
    }

    /// Whether any rule looks at a method.
    pub fn judges(&self, method: Method) -> bool {
        self.active(method).next().is_some()
    }

    /// What the rules find that need nothing but the request itself.
    pub fn judge(&self, facts: &Facts<'_>) -> Verdict {
        let mut verdict = Verdict::default();
        for rule in self.active(facts.method) {
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
                Check::PatchOperations => patch::check(rule, facts, &mut verdict),
            }
            if rule.check.reads_body() && rule.mode == Mode::Enforce {
                well_formed::fail_closed(rule, facts, &mut verdict);
            }
        }
        verdict
    }

    /// The strictest mode of the rules that need to know where the referral stands; `None` if the request says
    /// nothing that they could judge.
    pub fn needs_state(&self, facts: &Facts<'_>) -> Option<Mode> {
        let mut modes = self
            .active(facts.method)
            .filter(|rule| self.is_about_state(rule, facts))
            .map(|rule| rule.mode);
        let first = modes.next()?;
        Some(modes.find(|mode| *mode == Mode::Enforce).unwrap_or(first))
    }

    /// The status of the table that the referral would have, given where it stands if that is known.
    pub fn next_status<'t>(&'t self, facts: &Facts<'_>, from: Option<&State>) -> Option<&'t str> {
        transition::next(&self.states, facts, from).map(|row| row.status.as_str())
    }

    /// Whether a remembered state tells all that the request is judged by. One that was learnt from an answer
    /// without a substatus does not say that the referral has none.
    pub fn can_judge(&self, facts: &Facts<'_>, from: &State) -> bool {
        let needs_substatus =
            |rule: &Rule| rule.check == Check::Substatus && self.is_about_state(rule, facts);
        self.states.knows(from)
            && (from.substatus.is_some() || !self.active(facts.method).any(needs_substatus))
    }

    /// Adds what the rules find that need to know where the referral stands: at the entity tag that the request
    /// names, or now if it names none.
    ///
    /// A state that the table does not know cannot be judged: ask [`StateTable::knows`] first.
    pub fn judge_state(&self, facts: &Facts<'_>, from: &State, verdict: &mut Verdict) {
        for rule in self.active(facts.method) {
            match rule.check {
                Check::Substatus => {
                    transition::check_pair(rule, &self.states, facts, from, verdict);
                }
                Check::Transition => transition::check(rule, &self.states, facts, from, verdict),
                Check::WellFormed
                | Check::IfMatch
                | Check::LinksRemoved
                | Check::SameId
                | Check::SameEtag
                | Check::PatchOperations => {}
            }
        }
    }

    /// Whether a rule could look at what it is about, given whether it was known where the referral stands.
    pub fn could_look(&self, rule: &Rule, facts: &Facts<'_>, has_state: bool) -> bool {
        match rule.check {
            Check::WellFormed | Check::IfMatch => true,
            Check::Transition => has_state || transition::leaves_state(facts),
            Check::Substatus => {
                facts.body.is_readable() && (has_state || !self.is_about_state(rule, facts))
            }
            Check::LinksRemoved | Check::SameId | Check::SameEtag | Check::PatchOperations => {
                facts.body.is_readable()
            }
        }
    }

    /// The rules that look at a method.
    pub fn active(&self, method: Method) -> impl Iterator<Item = &Rule> {
        self.rules.iter().filter(move |rule| rule.is_on(method))
    }

    fn is_about_state(&self, rule: &Rule, facts: &Facts<'_>) -> bool {
        match rule.check {
            Check::Substatus => transition::is_half_a_pair(&self.states, facts),
            Check::Transition => transition::is_about_state(&self.states, facts),
            Check::WellFormed
            | Check::IfMatch
            | Check::LinksRemoved
            | Check::SameId
            | Check::SameEtag
            | Check::PatchOperations => false,
        }
    }
}
