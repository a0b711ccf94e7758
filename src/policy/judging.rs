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

use std::borrow::Cow;

use http::HeaderMap;

use crate::referral::{EntityTag, ReferralId, State};

mod clearance;
mod judged;
mod write;

pub use clearance::Clearance;
pub use judged::{Decision, End, Judged, Standing, Transition, Unjudged};
pub use write::{Mending, Payload, Received, Write};

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

const SEND: End = End::Send(Clearance(()));

/// What the driver does next.
#[derive(Debug)]
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

/// A write whose rules need the state of the referral.
#[derive(Debug)]
struct Pending<'w> {
    id: &'w ReferralId,
    judged: Judged<'w>,
    settings: Settings,
    /// Whether a rule that needs the state refuses. Rules in `audit` or `warn` hold no write up.
    is_enforced: bool,
}

impl<T> Write<'_, T> {
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
            end: SEND,
        };
        // A POST names no referral, so no state judges it.
        let (Some(id), Some(strictest)) = (judged.facts.id, judged.mode_about_state()) else {
            return Step::Done(judged.ended(Standing::NotAsked, SEND));
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
}

impl<'w> Step<'w> {
    /// Answers both questions by a state that is known beforehand, if it is.
    pub fn answer_by(self, known: Option<&State>) -> Judged<'w> {
        let mut step = self;
        loop {
            step = match step {
                Self::Recall(question) => question.answer(known.map(|state| (state.clone(), 0))),
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

    /// Takes what is remembered of the referral at this tag: its state, and how many milliseconds ago that
    /// was seen.
    pub fn answer(self, known: Option<(State, u64)>) -> Step<'w> {
        match known {
            Some((state, age_ms)) if self.pending.judged.can_judge(&state) => {
                Step::Done(self.pending.judge_by(state, true, age_ms))
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
                    (false, _) => pending.judge_by(state, named.is_some(), 0),
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

    fn judge_by(self, state: State, bound: bool, age_ms: u64) -> Judged<'w> {
        let mut judged = self.judged;
        for rule in judged.policy.active(judged.facts.method) {
            judged
                .policy
                .check_state(rule, &judged.facts, &state, &mut judged.verdict);
        }
        judged.ended(
            Standing::At {
                state,
                bound,
                age_ms,
            },
            SEND,
        )
    }

    /// Goes on without the state.
    fn pass(self, why: Unjudged) -> Judged<'w> {
        self.judged.ended(Standing::Unjudged(why), SEND)
    }

    /// Ends the write so, unless the rules that need the state are in `audit` or `warn`.
    fn stop(self, watched: Unjudged, stopped: Unjudged, end: End) -> Judged<'w> {
        match self.is_enforced {
            true => self.judged.ended(Standing::Unjudged(stopped), end),
            false => self.pass(watched),
        }
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
