//! The outcome of judging a write: its end, the state it was judged by, and what each rule made of it.

use std::{borrow::Cow, sync::Arc};

use super::{clearance::Clearance, write::Mending};
use crate::{
    policy::{
        Check, Finding, Method, Mode, Policy, Rule, StateNeed, Verdict, facts::Facts,
        repair::Repair, transition,
    },
    referral::{ReferralId, State},
};

/// The state by which a write was judged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// No rule needs it.
    NotAsked,
    /// It is known.
    At {
        /// Status and substatus.
        state: State,
        /// Whether that is the state at the very version that the write replaces.
        bound: bool,
        /// How long ago it was seen, in milliseconds.
        age_ms: u64,
    },
    /// It is not known.
    Unjudged(Unjudged),
}

/// Why a write was not judged by the state of its referral.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unjudged {
    /// The write is refused anyway.
    Refused,
    /// The settings say not to ask.
    UnknownState,
    /// The referral has moved on from the version that the write names.
    MovedOn,
    /// The service gave no usable answer.
    FetchFailed,
    /// The service does not show the referral to this caller.
    FetchRefused,
    /// Nobody could be asked.
    NotGiven,
    /// The state is not known, which refuses the write.
    StateUnknown,
    /// The referral has moved on, which refuses the write.
    StaleEtag,
}

impl Unjudged {
    /// Every reason.
    pub const ALL: [Self; 8] = [
        Self::Refused,
        Self::UnknownState,
        Self::MovedOn,
        Self::FetchFailed,
        Self::FetchRefused,
        Self::NotGiven,
        Self::StateUnknown,
        Self::StaleEtag,
    ];

    /// The word in records and reports.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::UnknownState => "unknown_state",
            Self::MovedOn => "moved_on",
            Self::FetchFailed => "fetch_failed",
            Self::FetchRefused => "fetch_refused",
            Self::NotGiven => "not_given",
            Self::StateUnknown => "state_unknown",
            Self::StaleEtag => "stale_etag",
        }
    }
}

/// What happens to a judged write.
#[derive(Debug, PartialEq, Eq)]
pub enum End {
    /// It is sent.
    Send(Clearance),
    /// It is refused for what rules found.
    Refuse,
    /// It is refused, since the state of the referral is not known.
    StateUnknown {
        /// Why it is not known.
        why: Cow<'static, str>,
    },
    /// It is refused, since the referral has another entity tag by now.
    StaleEtag,
    /// It is answered by what the service answered to the question for the state.
    Relay,
}

/// What a rule made of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// It found nothing.
    Pass,
    /// It found something, which is only counted and recorded.
    WouldDeny,
    /// It found something, which the answer warns of.
    Warn,
    /// It found something that refuses the write.
    Deny,
    /// It found something, which its repairs mended in the write that is sent.
    Repaired,
    /// It was not evaluated.
    Unjudged,
}

impl Decision {
    /// Every decision.
    pub const ALL: [Self; 6] = [
        Self::Pass,
        Self::WouldDeny,
        Self::Warn,
        Self::Deny,
        Self::Repaired,
        Self::Unjudged,
    ];

    /// The word in metrics and reports.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::WouldDeny => "would_deny",
            Self::Warn => "warn",
            Self::Deny => "deny",
            Self::Repaired => "repaired",
            Self::Unjudged => "unjudged",
        }
    }
}

/// A transition that a rule judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Transition<'w> {
    /// The status that the referral has.
    pub from: &'w str,
    /// The status that the write asks for.
    pub to: &'w str,
    /// Whether it is allowed.
    pub is_allowed: bool,
}

/// A judged write.
#[derive(Debug)]
pub struct Judged<'w> {
    pub(super) policy: &'w Policy,
    pub(super) mending: Option<&'w Mending>,
    pub(super) facts: Facts<'w>,
    pub(super) verdict: Verdict,
    pub(super) standing: Standing,
    pub(super) end: End,
}

impl<'w> Judged<'w> {
    /// The state by which it was judged.
    pub fn standing(&self) -> &Standing {
        &self.standing
    }

    /// What happens to it.
    pub fn end(&self) -> &End {
        &self.end
    }

    /// What rules found, repairs excepted.
    pub fn verdict(&self) -> &Verdict {
        &self.verdict
    }

    /// The repairs of a write that is sent.
    pub fn repairs(&self) -> &[(Arc<str>, Repair)] {
        match self.end {
            End::Send(_) => self.verdict.repairs(),
            End::Refuse | End::StateUnknown { .. } | End::StaleEtag | End::Relay => &[],
        }
    }

    /// The rules that look at this method, and what each made of the write.
    pub fn rules(&self) -> impl Iterator<Item = (&'w Rule, Decision)> {
        let rules = self.policy.active(self.facts.method);
        rules.map(|rule| (rule, self.decision(rule)))
    }

    fn decision(&self, rule: &Rule) -> Decision {
        // A write that is refused is not sent, so nothing was repaired.
        let is_repaired = || self.repairs().iter().any(|(id, _)| *id == rule.id);
        match (self.verdict.of(rule), rule.mode) {
            (Some(_), Mode::Enforce | Mode::Repair) => Decision::Deny,
            (Some(_), Mode::Warn) => Decision::Warn,
            (Some(_), Mode::Audit | Mode::Off) => Decision::WouldDeny,
            (None, _)
                if !self
                    .policy
                    .was_evaluated(rule, &self.facts, self.state().is_some()) =>
            {
                Decision::Unjudged
            }
            (None, _) if is_repaired() => Decision::Repaired,
            (None, _) => Decision::Pass,
        }
    }

    /// What a rule found, in a repaired write that is sent also what its repairs mended.
    pub fn findings_of(&self, rule: &Rule) -> Vec<Finding> {
        let findings = match (self.decision(rule), self.mending) {
            (Decision::Repaired, Some(mending)) => &mending.findings,
            _ => self.verdict.findings(),
        };
        let of_rule = |finding: &&Finding| finding.rule == rule.id;
        findings.iter().filter(of_rule).cloned().collect()
    }

    /// The status of the table that the referral would have.
    pub fn next_status(&self) -> Option<&'w str> {
        transition::next(&self.policy.states, &self.facts, self.state())
            .map(|row| row.status.as_str())
    }

    /// The transition, if a rule judged it.
    pub fn transition(&self) -> Option<Transition<'_>> {
        let (from, to) = (self.state()?, self.next_status()?);
        let mut rules = self.policy.active(self.facts.method);
        let is_judged = rules.any(|rule| rule.check == Check::Transition);
        let is_denied = || {
            let mut findings = self.verdict.findings().iter();
            findings.any(|finding| {
                matches!(
                    finding.code,
                    "transition_not_allowed" | "closed_substatus_change"
                )
            })
        };
        is_judged.then(|| Transition {
            from: &from.status,
            to,
            is_allowed: !is_denied(),
        })
    }

    /// The policy.
    pub fn policy(&self) -> &'w Policy {
        self.policy
    }

    /// The method.
    pub fn method(&self) -> Method {
        self.facts.method
    }

    /// The referral that the URL names.
    pub fn id(&self) -> Option<&'w ReferralId> {
        self.facts.id
    }

    /// Findings and end, for the driver to act upon.
    pub fn into_parts(self) -> (Verdict, End) {
        (self.verdict, self.end)
    }

    /// The strictest mode of the rules that need the state to judge this write.
    pub(super) fn mode_about_state(&self) -> Option<Mode> {
        let mut modes = self.rules_about_state().map(|rule| rule.mode);
        let first = modes.next()?;
        Some(modes.find(|mode| mode.refuses()).unwrap_or(first))
    }

    fn rules_about_state(&self) -> impl Iterator<Item = &'w Rule> {
        let rules = self.policy.active(self.facts.method);
        rules.filter(|rule| self.policy.state_need(rule, &self.facts) == StateNeed::Yes)
    }

    /// Whether a remembered state tells all that the write is judged by. One that was learnt from an answer without a
    /// substatus does not say that the referral has none.
    pub(super) fn can_judge(&self, state: &State) -> bool {
        let needs_substatus =
            |rule: &Rule| matches!(rule.check, Check::Substatus | Check::Expression);
        self.policy.states.knows(state)
            && (state.substatus.is_some() || !self.rules_about_state().any(needs_substatus))
    }

    /// `end` is the end of a write in which no finding refuses it.
    pub(super) fn ended(self, standing: Standing, end: End) -> Self {
        let end = match self.verdict.refuses() {
            true => End::Refuse,
            false => end,
        };
        Self {
            standing,
            end,
            ..self
        }
    }

    fn state(&self) -> Option<&State> {
        match &self.standing {
            Standing::At { state, .. } => Some(state),
            Standing::NotAsked | Standing::Unjudged(_) => None,
        }
    }
}
