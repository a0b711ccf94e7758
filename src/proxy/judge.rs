//! Judges one write: reads its body, asks the policy, finds out where the referral stands.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::{Bytes, BytesMut};
use http::{Request, Response, request};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tracing::{Level, enabled, info};

use super::{
    Gateway, Stale, UnknownState, UnknownStateFailed, exchange::Exchange, fetch::Fetched,
    outcome::waiting_time,
};
use crate::{
    body::Body,
    cache::Lookup,
    metrics::label::{RuleVerdict, SnapshotLookup, TransitionVerdict},
    policy::{self, Body as Judged, Check, Facts, IfMatch, Mode, Policy, Rule, Verdict},
    problem::Problem,
    rate_limit::Class,
    referral::{ReferralId, State},
    tenant::{Caller, Payer, Said},
};

/// What is to be done with a judged request.
pub(super) enum Decision {
    /// Send it; the answer carries these findings as warnings.
    Forward(Request<Body>, Verdict),
    /// The upstream's answer to the question for the state is the answer to the write as well.
    Relay(Response<Body>),
}

/// Where the referral stands, as far as it was found out.
enum Standing {
    /// There, at the entity tag that the request names, or at whatever it has now.
    At {
        state: State,
        bound: Bound,
        age: Duration,
    },
    /// Nobody knows, and the settings let the write pass all the same.
    Unjudged(&'static str),
    /// The upstream refused the question.
    Relay(Response<Body>),
}

/// What a decision record tells.
#[derive(Debug, Clone, Copy)]
enum Outcome {
    /// The rules decided.
    Judged,
    /// The upstream does not show the referral to this caller, which is the answer to the write too.
    Relayed,
    /// Where the referral stands is not known, which refuses the write.
    NotJudged(&'static str),
}

/// Whether a verdict holds for the very version that the request replaces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Bound {
    /// `If-Match` names the version that was looked at.
    Yes,
    /// The request names no version.
    No,
}

/// Bytes of bodies that are being judged or on their way to the upstream.
#[derive(Debug, Default)]
struct Room(AtomicUsize);

/// As many as there may be: whoever sends many bodies slowly must not fill the memory.
const MAX_ROOM: usize = 96 * 1024 * 1024;

/// As many as those may be together who are not proven: they must not keep others out.
const MAX_STRANGERS_ROOM: usize = 64 * 1024 * 1024;

/// Where the bodies of judged writes have room.
#[derive(Debug, Default)]
pub(super) struct Rooms {
    tenants: Room,
    strangers: Room,
}

impl Rooms {
    /// No bytes yet, of one body.
    pub(super) fn enter(&self, payer: Payer) -> Held<'_> {
        let (room, max) = match payer {
            Payer::Tenant => (&self.tenants, MAX_ROOM),
            Payer::Stranger(_) => (&self.strangers, MAX_STRANGERS_ROOM),
        };
        Held {
            room,
            max,
            bytes: 0,
        }
    }
}

/// The bytes of one body; their room is free again when this is dropped.
#[derive(Debug)]
pub(super) struct Held<'r> {
    room: &'r Room,
    max: usize,
    bytes: usize,
}

impl Held<'_> {
    fn add(&mut self, bytes: usize) -> Result<(), Problem> {
        self.bytes += bytes;
        let all = self.room.0.fetch_add(bytes, Ordering::Relaxed) + bytes;
        if all > self.max {
            return Err(Problem::TooManyBodies);
        }
        Ok(())
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.room.0.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// Reads the body of a request that is to be judged.
enum Read {
    Whole(Bytes),
    TooLarge { first: Bytes, rest: Incoming },
}

impl Gateway {
    /// Asks the policy about a write.
    #[expect(
        clippy::too_many_arguments,
        reason = "all that is known of the request at this step of its way"
    )]
    pub(super) async fn judge(
        &self,
        policy: &Policy,
        mut head: request::Parts,
        body: Incoming,
        method: policy::Method,
        id: Option<&ReferralId>,
        caller: &Caller,
        held: &mut Held<'_>,
        seen: &mut Exchange,
    ) -> Result<Decision, Problem> {
        let in_force = Arc::clone(seen.in_force());
        let settings = &in_force.settings;
        let limit = settings.max_judged_body;
        let since = Instant::now();
        let read = read(body, limit, settings.body_timeout, held).await;
        seen.waited(since);
        let mut read = read?;
        let said = if policy.has_expressions() {
            in_force.tenants.said(&head.headers, caller)
        } else {
            Said::default()
        };
        let mut repairs = Vec::new();
        let (facts, mut verdict) = loop {
            let facts = Facts {
                method,
                id,
                headers: &head.headers,
                if_match: IfMatch::of(&head.headers),
                body: match &read {
                    Read::Whole(bytes) => Judged::read(method, bytes),
                    Read::TooLarge { .. } => Judged::TooLarge { limit },
                },
                context: policy::Context {
                    route: seen.route(),
                    query: head.uri.query(),
                    application: &said.application,
                    tenant_alias: said.alias.unwrap_or_default(),
                    tenant_id: &said.tenant,
                    converted: policy::Converted::default(),
                },
            };
            let verdict = policy.judge(&facts);
            // Once: what is mended is judged like any other request.
            if repairs.is_empty()
                && verdict.asks_for_repair()
                && let Some(mended) = policy.mend(&facts)
            {
                repairs = mended.repairs;
                head.headers = mended.headers;
                read = Read::Whole(mended.body);
                continue;
            }
            break (facts, verdict.after(repairs));
        };
        let mut standing = None;
        // A POST has no state to be judged by: it names no referral.
        if let (Some(mode), Some(id)) = (policy.needs_state(&facts), id) {
            let found = self
                .standing(policy, &head, id, caller, &facts, verdict.refuses(), seen)
                .await;
            standing = Some(match found {
                // A rule that only watches holds nothing up.
                Ok(Standing::Relay(_)) | Err(_) if !mode.refuses() => {
                    Standing::Unjudged("fetch_failed")
                }
                Ok(Standing::Relay(answer)) => {
                    self.record(policy, &facts, None, &verdict, Outcome::Relayed, seen);
                    return Ok(Decision::Relay(answer));
                }
                Ok(found) => found,
                Err(problem) => {
                    self.record(
                        policy,
                        &facts,
                        None,
                        &verdict,
                        Outcome::NotJudged(problem.code()),
                        seen,
                    );
                    return Err(problem);
                }
            });
        }
        if let Some(Standing::At { state, .. }) = &standing {
            policy.judge_state(&facts, state, &mut verdict);
        }
        self.record(
            policy,
            &facts,
            standing.as_ref(),
            &verdict,
            Outcome::Judged,
            seen,
        );
        let verdict = verdict
            .refusal()
            .map_err(|verdict| Problem::Refused(Box::new(verdict)))?;
        let body = match read {
            Read::Whole(bytes) => Body::from(bytes),
            Read::TooLarge { first, rest } => Body::resumed(first, rest, settings.body_timeout),
        };
        Ok(Decision::Forward(Request::from_parts(head, body), verdict))
    }

    /// Where the referral stands at the version that the request replaces.
    ///
    /// A request that is refused anyway is judged by what is known; nothing is asked on its behalf.
    #[expect(
        clippy::too_many_arguments,
        reason = "all that is known of the request at this step of its way"
    )]
    async fn standing(
        &self,
        policy: &Policy,
        head: &request::Parts,
        id: &ReferralId,
        caller: &Caller,
        facts: &Facts<'_>,
        refused: bool,
        seen: &mut Exchange,
    ) -> Result<Standing, Problem> {
        let in_force = Arc::clone(seen.in_force());
        let tag = facts.if_match.tag();
        // Only a credential that the upstream has accepted may be told from what was learnt earlier.
        if let (Some(tag), true) = (tag, caller.proven) {
            match self.snapshots.look_up(caller, id, tag) {
                Lookup::Known(state, age) if policy.can_judge(facts, &state) => {
                    self.metrics.snapshot_lookup(SnapshotLookup::Hit);
                    return Ok(Standing::At {
                        state,
                        bound: Bound::Yes,
                        age,
                    });
                }
                Lookup::Known(..) | Lookup::OtherTag | Lookup::Unknown => {
                    self.metrics.snapshot_lookup(SnapshotLookup::Miss);
                }
            }
        } else if tag.is_some() {
            self.metrics.snapshot_lookup(SnapshotLookup::Unproven);
        }
        if refused {
            return Ok(Standing::Unjudged("refused"));
        }
        match in_force.settings.unknown_state {
            UnknownState::Fetch => {}
            UnknownState::Forward => {
                self.metrics.snapshot_lookup(SnapshotLookup::NotAsked);
                return Ok(Standing::Unjudged("unknown_state"));
            }
            UnknownState::Refuse => {
                self.metrics.snapshot_lookup(SnapshotLookup::NotAsked);
                let why = "it was not seen yet, and snapshots.unknown_state is refuse".into();
                return Err(Problem::StateUnknown {
                    why,
                    retry_after: None,
                });
            }
        }
        if let Some(permit) = seen.permit() {
            self.rate_limit.charge_read(permit, Instant::now());
        }
        let since = Instant::now();
        let fetched = match tag {
            Some(_) => Box::pin(self.fetch_once(head, id, caller, &in_force.tenants)).await,
            // Without a tag the state now counts, and an answer that another write waits for may be older than that.
            None => Box::pin(self.fetch(head, id, caller, &in_force.tenants)).await,
        };
        seen.waited(since);
        match fetched.known_by(&policy.states) {
            Fetched::Referral { tag: now, state } => match tag {
                Some(named) if !is_alike(named.as_bytes(), &now) => {
                    self.metrics.snapshot_lookup(SnapshotLookup::MovedOn);
                    match in_force.settings.stale {
                        Stale::Forward => Ok(Standing::Unjudged("moved_on")),
                        Stale::Refuse => Err(Problem::StaleEtag),
                    }
                }
                _ => {
                    self.metrics.snapshot_lookup(SnapshotLookup::Fetched);
                    let bound = if tag.is_some() { Bound::Yes } else { Bound::No };
                    Ok(Standing::At {
                        state,
                        bound,
                        age: Duration::ZERO,
                    })
                }
            },
            Fetched::Refused {
                status,
                headers,
                body,
            } => {
                self.metrics.snapshot_lookup(SnapshotLookup::Failed);
                let mut answer = Response::new(Body::from(body));
                *answer.status_mut() = status;
                *answer.headers_mut() = headers;
                Ok(Standing::Relay(answer))
            }
            Fetched::Failed {
                throttled,
                why,
                retry_after,
            } => {
                if let (true, Some(permit)) = (throttled, seen.permit()) {
                    let asked = retry_after.as_ref().and_then(waiting_time);
                    self.rate_limit.cool_down(
                        &in_force.terms,
                        permit,
                        Class::Reads,
                        asked,
                        Instant::now(),
                    );
                    self.metrics.upstream_throttled(seen.route_label());
                }
                self.metrics.snapshot_lookup(SnapshotLookup::Failed);
                match in_force.settings.unknown_state_failed {
                    UnknownStateFailed::Refuse => Err(Problem::StateUnknown { why, retry_after }),
                    UnknownStateFailed::Forward => Ok(Standing::Unjudged("fetch_failed")),
                }
            }
        }
    }

    /// Counts what each rule made of the request, and writes the decision record.
    fn record(
        &self,
        policy: &Policy,
        facts: &Facts<'_>,
        standing: Option<&Standing>,
        verdict: &Verdict,
        outcome: Outcome,
        seen: &Exchange,
    ) {
        let is_sent = matches!(outcome, Outcome::Judged) && !verdict.refuses();
        let repairs = if is_sent { verdict.repairs() } else { &[] };
        for (_, repair) in repairs {
            self.metrics.repaired(repair.as_str());
        }
        let state = match standing {
            Some(Standing::At { state, .. }) => Some(state),
            _ => None,
        };
        for rule in policy.active(facts.method) {
            let found = match (verdict.of(rule), rule.mode) {
                (None, _) if !policy.could_look(rule, facts, state.is_some()) => {
                    RuleVerdict::Unjudged
                }
                (None, Mode::Repair) if repairs.iter().any(|(id, _)| *id == rule.id) => {
                    RuleVerdict::Repaired
                }
                (None, _) => RuleVerdict::Pass,
                (Some(_), Mode::Enforce | Mode::Repair) => RuleVerdict::Deny,
                (Some(_), Mode::Warn) => RuleVerdict::Warn,
                (Some(_), Mode::Audit | Mode::Off) => RuleVerdict::WouldDeny,
            };
            self.metrics.decision(&rule.id, rule.mode.as_str(), found);
        }
        let to = policy.next_status(facts, state);
        let (from, bound, age) = match standing {
            Some(Standing::At { state, bound, age }) => {
                (&*state.status, *bound == Bound::Yes, *age)
            }
            _ => ("", false, Duration::ZERO),
        };
        let is_judged = |rule: &Rule| rule.check == Check::Transition;
        if let (false, Some(to)) = (from.is_empty(), to)
            && policy.active(facts.method).any(is_judged)
        {
            let denied = verdict.findings().iter().any(|finding| {
                finding.code == "transition_not_allowed"
                    || finding.code == "closed_substatus_change"
            });
            let verdict = if denied {
                TransitionVerdict::Deny
            } else {
                TransitionVerdict::Pass
            };
            self.metrics.transition(from, to, verdict);
        }
        if enabled!(target: "referral_gateway::decision", Level::INFO) {
            let findings: Vec<String> = verdict
                .findings()
                .iter()
                .map(|finding| format!("{}:{}:{}", finding.rule, finding.mode, finding.code))
                .collect();
            let repaired: Vec<String> = repairs
                .iter()
                .map(|(rule, repair)| format!("{rule}:{repair}"))
                .collect();
            let told = match outcome {
                Outcome::Judged if verdict.refuses() => "refuse",
                Outcome::Judged => "pass",
                Outcome::Relayed => "relay",
                Outcome::NotJudged(_) => "refuse",
            };
            let first = verdict.leading().or_else(|| verdict.findings().first());
            // What refuses the write is not what some rule found.
            let (first, code) = match outcome {
                Outcome::NotJudged(code) => (None, code),
                Outcome::Judged | Outcome::Relayed => {
                    (first, first.map(|finding| finding.code).unwrap_or_default())
                }
            };
            let unjudged = match standing {
                Some(Standing::Unjudged(why)) => *why,
                _ => match outcome {
                    Outcome::Judged => "",
                    Outcome::Relayed => "fetch_refused",
                    Outcome::NotJudged(code) => code,
                },
            };
            info!(
                target: "referral_gateway::decision",
                verdict = told,
                rule = first.map(|finding| &*finding.rule).unwrap_or_default(),
                mode = first.map(|finding| finding.mode.as_str()).unwrap_or_default(),
                code,
                findings = findings.join(" "),
                repaired = repaired.join(" "),
                route = seen.route(),
                method = facts.method.as_str(),
                referral = facts.id.map(ReferralId::as_str).unwrap_or_default(),
                from,
                to = to.unwrap_or_default(),
                bound,
                unjudged,
                snapshot_age_ms = u64::try_from(age.as_millis()).unwrap_or(u64::MAX),
                tenant = seen.tenant_name(),
                request_id = seen.request_id(),
                policy_digest = policy.digest,
                "Judged"
            );
        }
    }
}

/// Whether a lenient reader could take two tags for one: letters and digits alone, without case.
pub fn is_alike(one: &[u8], other: &[u8]) -> bool {
    let plain = |tag: &[u8]| -> Vec<u8> {
        tag.iter()
            .filter(|byte| byte.is_ascii_alphanumeric())
            .map(u8::to_ascii_lowercase)
            .collect()
    };
    one == other || plain(one) == plain(other)
}

/// The whole body, up to `limit` bytes; no wait between two pieces may be longer than `pause`.
async fn read(
    mut body: Incoming,
    limit: usize,
    pause: Duration,
    held: &mut Held<'_>,
) -> Result<Read, Problem> {
    let announced =
        usize::try_from(http_body::Body::size_hint(&body).lower()).unwrap_or(usize::MAX);
    if announced > limit {
        return Ok(Read::TooLarge {
            first: Bytes::new(),
            rest: body,
        });
    }
    let mut first = Bytes::new();
    let mut whole = BytesMut::new();
    loop {
        let frame = match tokio::time::timeout(pause, body.frame()).await {
            Err(_) => return Err(Problem::BodyTimeout),
            Ok(None) => break,
            Ok(Some(Err(_))) => return Err(Problem::IncompleteBody),
            Ok(Some(Ok(frame))) => frame,
        };
        let Ok(data) = frame.into_data() else {
            return Err(Problem::TrailersOnJudgedWrite);
        };
        held.add(data.len())?;
        // A body that came in one piece is judged and sent as that piece.
        if first.is_empty() && whole.is_empty() {
            first = data;
        } else {
            if whole.is_empty() {
                whole.reserve(announced.max(first.len() + data.len()));
                whole.extend_from_slice(&first);
                first = Bytes::new();
            }
            whole.extend_from_slice(&data);
        }
        if first.len().max(whole.len()) > limit {
            let read = if whole.is_empty() {
                first
            } else {
                whole.freeze()
            };
            return Ok(Read::TooLarge {
                first: read,
                rest: body,
            });
        }
    }
    Ok(Read::Whole(if whole.is_empty() {
        first
    } else {
        whole.freeze()
    }))
}
