//! Judges one write: a driver of [`policy::judging`] with memory, the gateway's own GET and cooldowns.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use http::{Request, Response, request};

use super::{
    Gateway,
    bodies::{Held, Pace, read, to_send},
    decision,
    exchange::Exchange,
    fetch::{Fetched, OwnGet},
};
use crate::{
    body::{Body, Inbound},
    cache::Lookup,
    metrics::label::SnapshotLookup,
    policy::{
        self, Policy, Verdict,
        judging::{Ask, End, Recall, Received, Standing, Step, Told, Unjudged},
    },
    problem::Problem,
    rate_limit::Class,
    referral::{EntityTag, ReferralId},
    tenant::{Caller, Said},
};

/// What is to be done with a judged request.
pub(super) enum Judgement {
    /// Send it; the answer carries these findings as warnings.
    Forward(Request<Body>, Verdict),
    /// The upstream's answer to the question for the state is the answer to the write as well.
    Relay(Response<Body>),
}

/// Judges the writes of one caller to one referral.
pub(super) struct Judge<'a> {
    pub(super) gateway: &'a Gateway,
    pub(super) policy: &'a Policy,
    pub(super) method: policy::Method,
    pub(super) id: Option<&'a ReferralId>,
    pub(super) caller: &'a Caller,
}

/// What the answer to the gateway's own GET means for the caller, beside the state.
#[derive(Default)]
struct Heard {
    /// The answer, where the service does not show the referral to this caller.
    refusal: Option<Response<Body>>,
    /// How long the service asked to wait.
    retry_after: Option<Duration>,
}

impl Judge<'_> {
    /// Judges a write, whose body takes room in `held`.
    pub(super) async fn judge(
        &self,
        mut head: request::Parts,
        body: Inbound,
        held: &mut Held<'_>,
        seen: &mut Exchange,
    ) -> Result<Judgement, Problem> {
        let in_force = Arc::clone(seen.in_force());
        let settings = &in_force.settings;
        let since = Instant::now();
        let pace = Pace {
            pause: settings.body_timeout,
            min_rate: settings.min_body_rate,
        };
        let body = read(body, settings.max_judged_body, pace, held).await;
        seen.waited(since.elapsed());
        let body = body?;
        let said = match self.policy.has_expressions() {
            true => in_force.tenants.said(&head.headers, self.caller),
            false => Said::default(),
        };
        let mut write = Received {
            method: self.method,
            id: self.id,
            headers: std::mem::take(&mut head.headers),
            body,
            context: policy::Context {
                route: seen.route(),
                query: head.uri.query(),
                application: &said.application,
                tenant_alias: said.alias.unwrap_or_default(),
                tenant_id: &said.tenant,
            },
        }
        .mend(self.policy);
        let mut heard = Heard::default();
        let mut has_asked = false;
        let mut step = write.judge(settings.judging);
        let judged = loop {
            step = match step {
                Step::Recall(question) => self.recall(question),
                Step::Ask(question) => {
                    has_asked = true;
                    let told = self.ask(&question, head.uri.path(), seen, &mut heard).await;
                    break question.answer(told);
                }
                Step::Done(judged) => break judged,
            }
        };
        self.count_lookup(judged.standing(), has_asked);
        let Gateway {
            metrics, decisions, ..
        } = self.gateway;
        decision::record(metrics, decisions, &judged, seen);
        let (verdict, end) = judged.into_parts();
        match end {
            End::Send(clearance) => {
                let (headers, payload) = write.into_parts(clearance);
                head.headers = headers;
                let body = to_send(payload, settings.body_timeout);
                Ok(Judgement::Forward(Request::from_parts(head, body), verdict))
            }
            End::Relay => heard.refusal.map(Judgement::Relay).ok_or(Problem::Internal),
            End::Refuse => Err(Problem::Refused(Box::new(verdict))),
            End::StateUnknown { why } => Err(Problem::StateUnknown {
                why,
                retry_after: heard.retry_after,
            }),
            End::StaleEtag => Err(Problem::StaleEtag),
        }
    }

    /// The state at the tag that the write names, from memory. Only a credential that the upstream has accepted may be
    /// told from what was learnt earlier.
    fn recall<'w>(&self, question: Recall<'w>) -> Step<'w> {
        let metrics = &self.gateway.metrics;
        if !self.caller.proven {
            metrics.snapshot_lookup(SnapshotLookup::Unproven);
            return question.answer(None);
        }
        let snapshots = &self.gateway.snapshots;
        let known = match snapshots.look_up(self.caller, question.id(), question.tag()) {
            Lookup::Known(state, age) => {
                Some((state, u64::try_from(age.as_millis()).unwrap_or(u64::MAX)))
            }
            Lookup::OtherTag | Lookup::Unknown => None,
        };
        let step = question.answer(known);
        let is_hit =
            matches!(&step, Step::Done(judged) if matches!(judged.standing(), Standing::At { .. }));
        metrics.snapshot_lookup(match is_hit {
            true => SnapshotLookup::Hit,
            false => SnapshotLookup::Miss,
        });
        step
    }

    /// The state now, from the service.
    async fn ask(
        &self,
        question: &Ask<'_>,
        path: &str,
        seen: &mut Exchange,
        heard: &mut Heard,
    ) -> Told {
        let gateway = self.gateway;
        let in_force = Arc::clone(seen.in_force());
        if let Some(permit) = seen.permit() {
            let now = Instant::now();
            if let Some(wait) = gateway.rate_limit.cooldown(permit, Class::Reads, now) {
                heard.retry_after = Some(wait);
                return Told::Failed(
                    "the service throttles the reads of this tenant, and the cooldown is not over"
                        .into(),
                );
            }
            gateway.rate_limit.charge_read(&in_force.terms, permit, now);
        }
        let since = Instant::now();
        let own_get = OwnGet {
            path,
            headers: question.headers(),
            id: question.id(),
            caller: self.caller,
            tenants: &in_force.tenants,
            span: seen.span(),
        };
        let fetched = match question.tag() {
            Some(_) => Box::pin(gateway.fetch_once(own_get)).await,
            // Without a tag the state now counts; an answer that another write waits for may be older than that.
            None => Box::pin(gateway.fetch(own_get)).await,
        };
        seen.waited(since.elapsed());
        match fetched {
            Fetched::Referral { tags, state } => {
                let named = question.tag().map(EntityTag::as_bytes);
                let tag = named.filter(|tag| tags.contain(tag));
                Told::State {
                    tag: Some(tag.unwrap_or_else(|| tags.first()).into()),
                    state,
                }
            }
            Fetched::Refused {
                status,
                headers,
                body,
            } => {
                let mut answer = Response::new(Body::from(body));
                *answer.status_mut() = status;
                *answer.headers_mut() = headers;
                heard.refusal = Some(answer);
                Told::Refused
            }
            Fetched::Failed {
                throttled,
                why,
                retry_after,
            } => {
                if let (true, Some(permit)) = (throttled, seen.permit()) {
                    gateway.rate_limit.cool_down(
                        &in_force.terms,
                        permit,
                        Class::Reads,
                        retry_after,
                        Instant::now(),
                    );
                    gateway.metrics.upstream.throttled(seen.route_label());
                }
                heard.retry_after = retry_after;
                Told::Failed(why)
            }
        }
    }

    /// Counts how the state became known, or why not, beside [`Self::recall`].
    fn count_lookup(&self, standing: &Standing, has_asked: bool) {
        let result = match (standing, has_asked) {
            (Standing::At { .. }, true) => SnapshotLookup::Fetched,
            (Standing::Unjudged(Unjudged::MovedOn | Unjudged::StaleEtag), true) => {
                SnapshotLookup::MovedOn
            }
            (_, true) => SnapshotLookup::Failed,
            (Standing::Unjudged(Unjudged::UnknownState | Unjudged::StateUnknown), false) => {
                SnapshotLookup::NotAsked
            }
            (_, false) => return,
        };
        self.gateway.metrics.snapshot_lookup(result);
    }
}
