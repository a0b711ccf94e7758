//! The pure core: facts in, verdict out. No input or output, no clock, no waiting.
//!
//! Rules find, their mode says what a finding leads to, [`judging`] is the order in which a write is judged. Its
//! drivers ([`crate::proxy`], [`crate::offline`]) do what needs memory, network or time.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use self::facts::Facts;
use crate::referral::State;

mod check;
mod condition;
mod custom;
mod document;
mod expression;
mod facts;
mod if_match;
pub mod judging;
mod links;
mod mend;
mod patch;
mod precondition;
pub mod repair;
mod rule;
mod same;
mod states;
mod transition;
mod verdict;
mod well_formed;

#[cfg(test)]
mod tests;

pub use check::{Check, Method, Mode};
pub use condition::{Condition, OnError};
pub use document::{DocumentError, schema};
pub use expression::{CompileError, Converted, EvalError, Expression, Inputs, Names};
pub use facts::{Body, Context};
pub use if_match::IfMatch;
pub use rule::{Needs, Rule};
pub use states::{StateRow, StateTable};
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

    /// The rules that look at a method.
    pub fn active(&self, method: Method) -> impl Iterator<Item = &Rule> {
        self.rules.iter().filter(move |rule| rule.is_on(method))
    }

    /// What the rules find that the request itself tells.
    fn check_all(&self, facts: &Facts<'_>) -> Verdict {
        let mut verdict = Verdict::default();
        for rule in self.active(facts.method) {
            self.check(rule, facts, &mut verdict);
        }
        verdict
    }

    /// Adds what a rule finds that the request itself tells.
    fn check(&self, rule: &Rule, facts: &Facts<'_>, verdict: &mut Verdict) {
        match rule.check {
            Check::WellFormed => well_formed::check(rule, facts, verdict),
            Check::IfMatch => precondition::check(rule, facts, verdict),
            Check::LinksRemoved => links::check(rule, facts, verdict),
            Check::Substatus => transition::check_substatus(rule, &self.states, facts, verdict),
            Check::Transition => transition::fail_closed(rule, &self.states, facts, verdict),
            Check::SameId => same::check_id(rule, facts, verdict),
            Check::SameEtag => same::check_etag(rule, facts, verdict),
            Check::PatchOperations => patch::check(rule, facts, verdict),
            Check::Expression if self.state_need(rule, facts) == StateNeed::No => {
                self.check_condition(rule, facts, None, verdict);
            }
            // An expression about the state waits for it.
            Check::Expression => {}
        }
        if rule.needs().body && rule.mode.refuses() {
            well_formed::fail_closed(rule, facts, verdict);
        }
    }

    /// Adds what a rule finds that needs the state of the referral: at the entity tag that the request names, or now if it
    /// names none. The table must know the state ([`StateTable::knows`]).
    fn check_state(&self, rule: &Rule, facts: &Facts<'_>, from: &State, verdict: &mut Verdict) {
        match rule.check {
            Check::Substatus => transition::check_pair(rule, &self.states, facts, from, verdict),
            Check::Transition => transition::check(rule, &self.states, facts, from, verdict),
            Check::Expression if self.state_need(rule, facts) == StateNeed::Yes => {
                self.check_condition(rule, facts, Some(from), verdict);
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

    fn check_condition(
        &self,
        rule: &Rule,
        facts: &Facts<'_>,
        state: Option<&State>,
        verdict: &mut Verdict,
    ) {
        // The rule that fails closed reports an unreadable body, not each expression.
        if let Some(condition) = &rule.condition
            && (facts.body.is_readable() || !rule.needs().body)
        {
            custom::check(rule, condition, &self.names, facts, state, verdict);
        }
    }

    /// Whether a rule needs the state of the referral to judge this write.
    fn state_need(&self, rule: &Rule, facts: &Facts<'_>) -> StateNeed {
        if !rule.needs().state {
            return StateNeed::No;
        }
        let yes = match rule.check {
            Check::Transition if transition::leaves_state(facts) => false,
            Check::Transition if !transition::is_about_state(&self.states, facts) => {
                return StateNeed::Unclear;
            }
            Check::Substatus => transition::is_half_a_pair(&self.states, facts),
            // A POST names no referral.
            _ => facts.id.is_some(),
        };
        if yes { StateNeed::Yes } else { StateNeed::No }
    }

    /// Whether a rule was evaluated, given whether the state of the referral was known.
    fn was_evaluated(&self, rule: &Rule, facts: &Facts<'_>, has_state: bool) -> bool {
        let has_body = !rule.needs().body || facts.body.is_readable();
        has_body
            && match self.state_need(rule, facts) {
                StateNeed::No => true,
                StateNeed::Yes => has_state,
                StateNeed::Unclear => false,
            }
    }
}

/// Whether a rule needs the state of the referral to judge a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum StateNeed {
    /// The request itself tells all.
    No,
    /// It does.
    Yes,
    /// The request asks for a status that the table does not know, so no state would help.
    Unclear,
}
