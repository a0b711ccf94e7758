//! The pure core: facts in, verdict out. No input or output, no clock, no waiting.
//!
//! Rules find, their mode says what a finding leads to, [`crate::proxy`] acts.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    sync::Arc,
};

use http::{HeaderMap, StatusCode};

use self::repair::Repair;
use crate::referral::{Change, Guarded, Member, Members, Patch, ReferralId, State, Unreadable};

mod condition;
mod document;
mod expression;
mod if_match;
mod links;
mod mend;
mod patch;
pub mod repair;
mod same;
mod transition;
mod verdict;
mod well_formed;

#[cfg(test)]
mod tests;

pub use condition::{Condition, OnError};
pub use document::{DocumentError, schema};
pub use expression::{CompileError, Converted, EvalError, Expression, Inputs, Names};
pub use if_match::IfMatch;
pub use mend::Mended;
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
    pub text: Arc<str>,
    /// The rules, in the order in which their findings choose the status of a refusal.
    pub rules: Vec<Rule>,
    /// Which status may follow which, and with which substatus.
    pub states: StateTable,
    /// How the expressions of all rules spell the names that they compare with.
    names: Arc<Names>,
    /// The same policy with the modes of a tenant, by its alias.
    tenants: HashMap<String, Self>,
    /// Where the document names each of those tenants: `file:line:column`.
    places: BTreeMap<String, String>,
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

    /// Whether it looks into the body.
    fn reads_body(&self) -> bool {
        match &self.condition {
            Some(condition) => condition.expression.reads_body(),
            None => self.check != Check::IfMatch,
        }
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
    /// What only expressions ask for.
    pub context: Context<'a>,
}

/// What expressions may ask of a request beside its header section and body.
#[derive(Debug, Default)]
pub struct Context<'a> {
    /// The name of the route.
    pub route: &'static str,
    /// The query of the target, as it came.
    pub query: Option<&'a str>,
    /// The application that the token names; empty if it names none.
    pub application: &'a str,
    /// The configured alias of the tenant; empty if it has none.
    pub tenant_alias: &'a str,
    /// The id of the tenant as the token names it; empty if it names none.
    pub tenant_id: &'a str,
    /// Body, query and names of header fields in the form that expressions see, once one has asked.
    pub converted: Converted,
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

    /// The policy with the modes that are in force for a tenant.
    pub fn of(&self, alias: Option<&str>) -> &Self {
        if self.tenants.is_empty() {
            return self;
        }
        alias
            .and_then(|alias| self.tenants.get(alias))
            .unwrap_or(self)
    }

    /// The tenants that have modes of their own, and where the document names them: `file:line:column`.
    pub fn tenants(&self) -> impl Iterator<Item = (&str, &str)> {
        let places = self.places.iter();
        places.map(|(alias, place)| (&**alias, &**place))
    }

    /// Whether a rule names the tenant with this alias: it has a mode for it, or its expression contains the alias.
    pub fn names_tenant(&self, alias: &str) -> bool {
        let mut conditions = self.rules.iter().filter_map(|rule| rule.condition.as_ref());
        self.tenants().any(|(named, _)| named == alias)
            || conditions.any(|condition| condition.expression.contains_text(alias))
    }

    /// Each rule with each of the modes that it has for anybody.
    pub fn modes(&self) -> impl Iterator<Item = (&Rule, Mode)> {
        self.rules.iter().flat_map(|rule| {
            let others = rule.modes.iter().map(|(_, mode)| *mode);
            [rule.mode]
                .into_iter()
                .chain(others)
                .map(move |mode| (rule, mode))
        })
    }

    /// Whether an expression is among the rules, so that the claims of a token are asked for.
    pub fn has_expressions(&self) -> bool {
        self.rules.iter().any(|rule| rule.condition.is_some())
    }

    /// Whether any rule looks at a method.
    pub fn judges(&self, method: Method) -> bool {
        self.active(method).next().is_some()
    }

    /// What the rules find that need nothing but the request itself.
    pub fn judge(&self, facts: &Facts<'_>) -> Verdict {
        let mut verdict = Verdict::default();
        for rule in self.active(facts.method) {
            self.judge_by(rule, facts, &mut verdict);
        }
        verdict
    }

    fn judge_by(&self, rule: &Rule, facts: &Facts<'_>, verdict: &mut Verdict) {
        match rule.check {
            Check::WellFormed => well_formed::check(rule, facts, verdict),
            Check::IfMatch => if_match::check(rule, facts, verdict),
            Check::LinksRemoved => links::check(rule, facts, verdict),
            Check::Substatus => transition::check_substatus(rule, &self.states, facts, verdict),
            Check::Transition => transition::fail_closed(rule, &self.states, facts, verdict),
            Check::SameId => same::check_id(rule, facts, verdict),
            Check::SameEtag => same::check_etag(rule, facts, verdict),
            Check::PatchOperations => patch::check(rule, facts, verdict),
            // One that asks where the referral stands waits for that, unless a POST has none.
            Check::Expression if self.is_about_state(rule, facts) => {}
            Check::Expression => self.judge_condition(rule, facts, None, verdict),
        }
        if rule.reads_body() && rule.mode.refuses() {
            well_formed::fail_closed(rule, facts, verdict);
        }
    }

    fn judge_condition(
        &self,
        rule: &Rule,
        facts: &Facts<'_>,
        state: Option<&State>,
        verdict: &mut Verdict,
    ) {
        // What cannot be read is told by the rule that fails closed, and not by each expression.
        if let Some(condition) = &rule.condition
            && (facts.body.is_readable() || !rule.reads_body())
        {
            condition::check(rule, condition, &self.names, facts, state, verdict);
        }
    }

    /// Whether a rule, by itself, finds nothing in what the request itself tells.
    fn finds_nothing(&self, rule: &Rule, facts: &Facts<'_>) -> bool {
        let mut verdict = Verdict::default();
        self.judge_by(rule, facts, &mut verdict);
        verdict.findings().is_empty()
    }

    /// The strictest mode of the rules that need to know where the referral stands; `None` if the request says
    /// nothing that they could judge.
    pub fn needs_state(&self, facts: &Facts<'_>) -> Option<Mode> {
        let mut modes = self
            .active(facts.method)
            .filter(|rule| self.is_about_state(rule, facts))
            .map(|rule| rule.mode);
        let first = modes.next()?;
        Some(modes.find(|mode| mode.refuses()).unwrap_or(first))
    }

    /// The status of the table that the referral would have, given where it stands if that is known.
    pub fn next_status<'t>(&'t self, facts: &Facts<'_>, from: Option<&State>) -> Option<&'t str> {
        transition::next(&self.states, facts, from).map(|row| row.status.as_str())
    }

    /// Whether a remembered state tells all that the request is judged by. One that was learnt from an answer
    /// without a substatus does not say that the referral has none.
    pub fn can_judge(&self, facts: &Facts<'_>, from: &State) -> bool {
        let needs_substatus = |rule: &Rule| {
            matches!(rule.check, Check::Substatus | Check::Expression)
                && self.is_about_state(rule, facts)
        };
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
                Check::Expression if self.is_about_state(rule, facts) => {
                    self.judge_condition(rule, facts, Some(from), verdict);
                }
                Check::WellFormed
                | Check::IfMatch
                | Check::LinksRemoved
                | Check::SameId
                | Check::SameEtag
                | Check::PatchOperations
                | Check::Expression => {}
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
            Check::Expression => {
                (facts.body.is_readable() || !rule.reads_body())
                    && (has_state || !self.is_about_state(rule, facts))
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
            Check::Expression => {
                facts.id.is_some()
                    && rule
                        .condition
                        .as_ref()
                        .is_some_and(|condition| condition.expression.reads_referral())
            }
            Check::WellFormed
            | Check::IfMatch
            | Check::LinksRemoved
            | Check::SameId
            | Check::SameEtag
            | Check::PatchOperations => false,
        }
    }
}
