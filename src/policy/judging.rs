//! The order in which a write is judged: repair it, judge what it says itself, recall or ask for the state of its
//! referral, judge it by that.
//!
//! Each type owns the only legal next call, so no driver can skip a step or take two in the wrong order:
//!
//! ```text
//! Received --mend--> Write --judge--> Step::Recall --answer--> Step::Ask --answer--> Judged
//!                                 \-> Step::Ask              \-> Step::Done
//!                                 \-> Step::Done
//! ```
//!
//! A driver supplies what stands outside: memory, network, time. It decides nothing about the write.

use std::{borrow::Cow, ops::Range, sync::Arc, time::Duration};

use bytes::Bytes;
use http::HeaderMap;

use super::{
    Body, Check, Context, Converted, Finding, IfMatch, Method, Mode, Policy, Rule, StateNeed,
    Verdict, facts::Facts, mend::Mended, repair::Repair, transition,
};
use crate::referral::{EntityTag, ReferralId, State};

/// What to do about a state that is not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// What to do when the state at the named entity tag is not known.
    pub unknown_state: UnknownState,
    /// What to do when asking the upstream for that state failed.
    pub unknown_state_failed: UnknownStateFailed,
    /// What to do when the referral has another entity tag than the named one.
    pub stale: Stale,
}

/// What to do when the state at the named entity tag is not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnknownState {
    /// Ask the upstream, with the caller's own credentials.
    Fetch,
    /// Forward the write, and record that its transition was not judged.
    Forward,
    /// Answer 503.
    Refuse,
}

/// What to do when asking the upstream for the state failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnknownStateFailed {
    /// Answer 503.
    Refuse,
    /// Forward the write, and record that its transition was not judged.
    Forward,
}

/// What to do when a fetch shows another entity tag than the one the caller named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stale {
    /// Let the upstream answer 412.
    Forward,
    /// Answer 412 here.
    Refuse,
}

/// A write as it was received.
#[derive(Debug)]
pub struct Received<'a> {
    /// The method.
    pub method: Method,
    /// The referral that the URL names; a POST names none.
    pub id: Option<&'a ReferralId>,
    /// The header section, hop-by-hop fields removed.
    pub headers: HeaderMap,
    /// The body.
    pub body: Payload,
    /// What only expressions ask for.
    pub context: Context<'a>,
}

/// The body of a write.
#[derive(Debug, Clone)]
pub enum Payload {
    /// All its bytes.
    Whole(Bytes),
    /// It is larger than this limit, in bytes.
    TooLarge(usize),
}

/// A write that is ready to be judged: its rules in mode `repair` have repaired what they can.
#[derive(Debug)]
pub struct Write<'a> {
    policy: &'a Policy,
    received: Received<'a>,
    mending: Option<Mending>,
    /// What the rules found in the write as it was received, if that is how it is judged.
    first: Option<Verdict>,
}

/// The repairs that were made on a write.
#[derive(Debug)]
pub struct Mending {
    /// The repairs in their order, each with the rule that asked for it.
    pub repairs: Vec<(Arc<str>, Repair)>,
    /// For each change of the body: the repair, and the ranges that it cut out of the body as it was before that.
    pub cuts: Vec<(Repair, Vec<Range<usize>>)>,
    /// What the rules found before the repairs.
    pub findings: Vec<Finding>,
    /// The header section before the repairs.
    pub headers: HeaderMap,
    /// The body before the repairs.
    pub body: Bytes,
}

/// What the driver does next.
#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "it lives on the stack, once a write"
)]
pub enum Step<'w> {
    /// Look the state up in memory.
    Recall(Recall<'w>),
    /// Ask the service for the state.
    Ask(Ask<'w>),
    /// Nothing: the write is judged.
    Done(Judged<'w>),
}

/// The question for the state of the referral at the entity tag that the write names.
#[derive(Debug)]
pub struct Recall<'w> {
    pending: Pending<'w>,
    tag: EntityTag<'w>,
}

/// The question for the state of the referral now.
#[derive(Debug)]
pub struct Ask<'w> {
    pending: Pending<'w>,
}

/// What the service says of the referral now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Told {
    /// Its state and entity tag. Without a tag, the state holds at any tag.
    State {
        /// The entity tag.
        tag: Option<Box<[u8]>>,
        /// The state.
        state: State,
    },
    /// The service does not show it to this caller.
    Refused,
    /// There is no usable answer, and why.
    Failed(Cow<'static, str>),
    /// Nobody can be asked.
    NotGiven,
}

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
        /// How long ago it was seen.
        age: Duration,
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
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// It is sent.
    Send,
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
    /// It found something, which its repairs mended.
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
    policy: &'w Policy,
    mending: Option<&'w Mending>,
    facts: Facts<'w>,
    verdict: Verdict,
    standing: Standing,
    end: End,
}

/// A write whose rules need the state of the referral.
#[derive(Debug)]
struct Pending<'w> {
    id: &'w ReferralId,
    judged: Judged<'w>,
    settings: Settings,
    /// Whether a rule that needs the state refuses. Rules that only watch hold no write up.
    is_enforced: bool,
}

impl<'a> Received<'a> {
    /// Applies the repairs of the policy's rules in mode `repair`, once: the result is judged like any other write.
    pub fn mend(mut self, policy: &'a Policy) -> Write<'a> {
        let mut first = None;
        let mut mending = None;
        if policy.repairs(self.method) {
            let facts = self.facts();
            let verdict = policy.check_all(&facts);
            let mended = verdict
                .asks_for_repair()
                .then(|| policy.mend(&facts))
                .flatten();
            match mended {
                Some(mended) => mending = Some(self.replace(mended, verdict)),
                None => first = Some(verdict),
            }
        }
        Write {
            policy,
            received: self,
            mending,
            first,
        }
    }

    fn replace(&mut self, mended: Mended, verdict: Verdict) -> Mending {
        let headers = std::mem::replace(&mut self.headers, mended.headers);
        let body = std::mem::replace(&mut self.body, Payload::Whole(mended.body));
        Mending {
            repairs: mended.repairs,
            cuts: mended.cuts,
            findings: verdict.into_findings(),
            headers,
            body: match body {
                Payload::Whole(bytes) => bytes,
                Payload::TooLarge(_) => Bytes::new(),
            },
        }
    }

    fn facts(&self) -> Facts<'_> {
        Facts {
            method: self.method,
            id: self.id,
            headers: &self.headers,
            if_match: IfMatch::of(&self.headers),
            body: match &self.body {
                Payload::Whole(bytes) => Body::read(self.method, bytes),
                Payload::TooLarge(limit) => Body::TooLarge { limit: *limit },
            },
            context: self.context,
            converted: Converted::default(),
        }
    }
}

impl Write<'_> {
    /// Judges what the write says itself.
    pub fn judge(&mut self, settings: Settings) -> Step<'_> {
        let first = self.first.take();
        let facts = self.received.facts();
        let mut verdict = first.unwrap_or_else(|| self.policy.check_all(&facts));
        if let Some(mending) = &self.mending {
            verdict = verdict.after(mending.repairs.clone());
        }
        let judged = Judged {
            policy: self.policy,
            mending: self.mending.as_ref(),
            facts,
            verdict,
            standing: Standing::NotAsked,
            end: End::Send,
        };
        // A POST names no referral, so no state judges it.
        let (Some(id), Some(strictest)) = (judged.facts.id, judged.mode_about_state()) else {
            return Step::Done(judged.ended(Standing::NotAsked, End::Send));
        };
        let tag = judged.facts.if_match.tag();
        let pending = Pending {
            id,
            judged,
            settings,
            is_enforced: strictest.refuses(),
        };
        match tag {
            Some(tag) => Step::Recall(Recall { pending, tag }),
            None => pending.unknown(),
        }
    }

    /// The header section, as it is judged and sent.
    pub fn headers(&self) -> &HeaderMap {
        &self.received.headers
    }

    /// The repairs that were made, if any.
    pub fn mending(&self) -> Option<&Mending> {
        self.mending.as_ref()
    }

    /// Header section and body, as they are judged and sent.
    pub fn into_parts(self) -> (HeaderMap, Payload) {
        (self.received.headers, self.received.body)
    }
}

impl<'w> Step<'w> {
    /// Answers both questions by a state that is known beforehand, if it is.
    pub fn answer_by(self, known: Option<&State>) -> Judged<'w> {
        let mut step = self;
        loop {
            step = match step {
                Self::Recall(question) => {
                    question.answer(known.map(|state| (state.clone(), Duration::ZERO)))
                }
                Self::Ask(question) => {
                    let told = known.map_or(Told::NotGiven, |state| Told::State {
                        tag: None,
                        state: state.clone(),
                    });
                    return question.answer(told);
                }
                Self::Done(judged) => return judged,
            };
        }
    }
}

impl<'w> Recall<'w> {
    /// The referral.
    pub fn id(&self) -> &'w ReferralId {
        self.pending.id
    }

    /// The entity tag that the write names.
    pub fn tag(&self) -> EntityTag<'w> {
        self.tag
    }

    /// Takes what is remembered of the referral at this tag: its state, and how long ago that was seen.
    pub fn answer(self, known: Option<(State, Duration)>) -> Step<'w> {
        match known {
            Some((state, age)) if self.pending.judged.can_judge(&state) => {
                Step::Done(self.pending.judge_by(state, true, age))
            }
            _ => self.pending.unknown(),
        }
    }
}

impl<'w> Ask<'w> {
    /// The referral.
    pub fn id(&self) -> &'w ReferralId {
        self.pending.id
    }

    /// The entity tag that the write names. Without one the state now counts, and no earlier answer will do.
    pub fn tag(&self) -> Option<EntityTag<'w>> {
        self.pending.judged.facts.if_match.tag()
    }

    /// The header section of the write.
    pub fn headers(&self) -> &'w HeaderMap {
        self.pending.judged.facts.headers
    }

    /// Takes what the service says.
    pub fn answer(self, told: Told) -> Judged<'w> {
        let named = self.tag();
        let pending = self.pending;
        match told {
            Told::State { tag, state } if pending.judged.policy.states.knows(&state) => {
                let has_moved_on = named
                    .zip(tag)
                    .is_some_and(|(named, now)| !is_alike(named.as_bytes(), &now));
                match (has_moved_on, pending.settings.stale) {
                    (false, _) => pending.judge_by(state, named.is_some(), Duration::ZERO),
                    (true, Stale::Forward) => pending.pass(Unjudged::MovedOn),
                    (true, Stale::Refuse) => {
                        pending.stop(Unjudged::MovedOn, Unjudged::StaleEtag, End::StaleEtag)
                    }
                }
            }
            Told::State { .. } => {
                pending.failed("the service's answer has no status that the policy knows".into())
            }
            Told::Refused => {
                pending.stop(Unjudged::FetchRefused, Unjudged::FetchRefused, End::Relay)
            }
            Told::Failed(why) => pending.failed(why),
            Told::NotGiven => pending.pass(Unjudged::NotGiven),
        }
    }
}

impl<'w> Pending<'w> {
    /// Memory does not have the state.
    fn unknown(self) -> Step<'w> {
        // Nothing is asked on behalf of a write that is refused anyway.
        if self.judged.verdict.refuses() {
            return Step::Done(self.pass(Unjudged::Refused));
        }
        match self.settings.unknown_state {
            UnknownState::Fetch => Step::Ask(Ask { pending: self }),
            UnknownState::Forward => Step::Done(self.pass(Unjudged::UnknownState)),
            UnknownState::Refuse => Step::Done(self.stop(
                Unjudged::UnknownState,
                Unjudged::StateUnknown,
                End::StateUnknown {
                    why: "it was not seen yet, and snapshots.unknown_state is refuse".into(),
                },
            )),
        }
    }

    /// The service gave no usable answer.
    fn failed(self, why: Cow<'static, str>) -> Judged<'w> {
        match self.settings.unknown_state_failed {
            UnknownStateFailed::Forward => self.pass(Unjudged::FetchFailed),
            UnknownStateFailed::Refuse => self.stop(
                Unjudged::FetchFailed,
                Unjudged::StateUnknown,
                End::StateUnknown { why },
            ),
        }
    }

    fn judge_by(self, state: State, bound: bool, age: Duration) -> Judged<'w> {
        let mut judged = self.judged;
        for rule in judged.policy.active(judged.facts.method) {
            judged
                .policy
                .check_state(rule, &judged.facts, &state, &mut judged.verdict);
        }
        judged.ended(Standing::At { state, bound, age }, End::Send)
    }

    /// Goes on without the state.
    fn pass(self, why: Unjudged) -> Judged<'w> {
        self.judged.ended(Standing::Unjudged(why), End::Send)
    }

    /// Ends the write so, unless the rules that need the state only watch.
    fn stop(self, watched: Unjudged, stopped: Unjudged, end: End) -> Judged<'w> {
        match self.is_enforced {
            true => self.judged.ended(Standing::Unjudged(stopped), end),
            false => self.pass(watched),
        }
    }
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
            End::Send => self.verdict.repairs(),
            End::Refuse | End::StateUnknown { .. } | End::StaleEtag | End::Relay => &[],
        }
    }

    /// The rules that look at this method, and what each made of the write.
    pub fn rules(&self) -> impl Iterator<Item = (&'w Rule, Decision)> {
        let rules = self.policy.active(self.facts.method);
        rules.map(|rule| (rule, self.decision(rule)))
    }

    fn decision(&self, rule: &Rule) -> Decision {
        let is_repaired = || {
            let mut repairs = self.verdict.repairs().iter();
            repairs.any(|(id, _)| *id == rule.id)
        };
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

    /// What a rule found, in a repaired write also what its repairs mended.
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
    fn mode_about_state(&self) -> Option<Mode> {
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
    fn can_judge(&self, state: &State) -> bool {
        let needs_substatus =
            |rule: &Rule| matches!(rule.check, Check::Substatus | Check::Expression);
        self.policy.states.knows(state)
            && (state.substatus.is_some() || !self.rules_about_state().any(needs_substatus))
    }

    /// `end` is the end of a write in which no finding refuses it.
    fn ended(self, standing: Standing, end: End) -> Self {
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

impl Policy {
    /// What the rules find that the request itself tells.
    fn check_all(&self, facts: &Facts<'_>) -> Verdict {
        let mut verdict = Verdict::default();
        for rule in self.active(facts.method) {
            self.check(rule, facts, &mut verdict);
        }
        verdict
    }
}

/// Whether a lenient reader could take two tags for one: letters and digits alone, without case.
fn is_alike(one: &[u8], other: &[u8]) -> bool {
    let plain = |tag: &[u8]| -> Vec<u8> {
        tag.iter()
            .filter(|byte| byte.is_ascii_alphanumeric())
            .map(u8::to_ascii_lowercase)
            .collect()
    };
    one == other || plain(one) == plain(other)
}
