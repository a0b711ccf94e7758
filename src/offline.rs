//! Judges a captured request as the gateway would, without network: a driver of [`policy::judging`] whose memory and
//! service are what is given along.
//!
//! What only a running gateway has is left out: connections, limits, time-outs.

use std::{fmt, sync::Arc};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, header, request};

use self::outcome::Refused;
use crate::{
    capture::Captured,
    policy::{
        Context, Policy,
        judging::{self, Payload, Recall, Received, Step, Told},
    },
    problem::{Addressee, Problem},
    proxy::{self, entry, headers, max_forwards, route},
    referral::{ReferralId, Sighting},
    tenant::{self, Caller, Known, Name, Tenants},
    upstream::Target,
};

mod head;
mod mending;
mod outcome;
mod question;
mod report;

#[cfg(test)]
mod tests;

pub use mending::{Cut, Mending};
pub use outcome::{End, Outcome, Refusal, Ruled, Sent, Tenant};
pub use question::{Named, Question};
pub use report::Report;

/// The id of a request that names none. A running gateway makes a new one each time.
pub const REQUEST_ID: HeaderValue =
    HeaderValue::from_static("00000000-0000-0000-0000-000000000000");

/// What a gateway is set to, as far as it shows without a network.
#[derive(Debug, Clone, Copy)]
pub struct Settings<'a> {
    /// How judged requests are handled.
    pub proxy: &'a proxy::Settings,
    /// The bounds of a header section.
    pub limits: headers::Limits,
    /// How tenants are identified.
    pub tenants: &'a tenant::Settings,
    /// The service.
    pub target: &'a Target,
}

/// A gateway without a network.
pub struct Gateway {
    settings: proxy::Settings,
    limits: headers::Limits,
    policy: Arc<Policy>,
    tenants: Tenants,
    known: Vec<Known>,
    /// The value of `Host`; none if the upstream has no name yet.
    host: Option<HeaderValue>,
}

/// What is given along with a request.
#[derive(Debug, Clone, Copy, Default)]
pub struct Given<'a> {
    /// States of referrals, the latest last. One without an id is about any referral, one without a tag holds at any.
    pub sightings: &'a [Sighting],
    /// The alias of the caller's tenant, in place of what the request tells.
    pub tenant: Option<&'a str>,
}

impl Gateway {
    /// A gateway with these settings and this policy.
    pub fn new(settings: Settings<'_>, policy: Arc<Policy>) -> Self {
        let host = match settings.target {
            Target::Service { authority, .. } => HeaderValue::from_str(authority.as_str()).ok(),
            Target::Simulator => None,
        };
        Self {
            settings: settings.proxy.clone(),
            limits: settings.limits,
            policy,
            tenants: Tenants::new(settings.tenants),
            known: settings.tenants.known.clone(),
            host,
        }
    }

    /// What happens to a request, and why.
    pub fn judge(&self, captured: &Captured, given: Given<'_>) -> Outcome {
        let mut addressee = Addressee {
            request_id: REQUEST_ID,
            problem_json: false,
        };
        let mut seen = Outcome::begin();
        seen.end = match self.pass(captured, given, &mut addressee, &mut seen) {
            Ok(end) => end,
            Err(refused) => End::Refused(refused.answer(&addressee)),
        };
        seen
    }

    /// The steps of [`proxy::Gateway`], in the same order.
    fn pass(
        &self,
        captured: &Captured,
        given: Given<'_>,
        addressee: &mut Addressee,
        seen: &mut Outcome,
    ) -> Result<End, Refused> {
        let mut head =
            head::read(captured, self.limits, &mut seen.notices).map_err(Refused::Unread)?;
        *addressee = Addressee {
            request_id: headers::request_id(&head.headers, || REQUEST_ID),
            problem_json: proxy::accept::wants_problem_json(&head.headers),
        };
        let (route, caller) = entry::check(&head, self.limits, &self.tenants, |route| {
            seen.route = Some(route.clone());
        })?;
        seen.tenant = self.tenant(&head.headers, &caller, given);
        if max_forwards::ends_here(&head) {
            let allowed = route::allowed(head.uri.path());
            return Ok(End::Answered(max_forwards::answer(allowed, addressee)));
        }
        let is_chunked = head.headers.contains_key(header::TRANSFER_ENCODING);
        entry::prepare(&mut head, &addressee.request_id);

        let alias = given
            .tenant
            .or_else(|| self.tenants.token_alias(&head.headers, &caller));
        let mut body = Bytes::copy_from_slice(&captured.body);
        let mut is_streamed = true;
        if let Some((method, policy)) =
            entry::judged_by(&self.policy, || alias, &head.method, &route)
        {
            is_streamed = body.len() > self.settings.max_judged_body;
            let said = self.tenants.said(&head.headers, &caller);
            let tenant_id = match given.tenant {
                Some(alias) => self.id_of(alias),
                None => &said.tenant,
            };
            let received = Received {
                method,
                id: route.id(),
                headers: std::mem::take(&mut head.headers),
                body: match is_streamed {
                    true => Payload::TooLarge {
                        limit: self.settings.max_judged_body,
                        body,
                    },
                    false => Payload::Whole(body),
                },
                context: Context {
                    route: route.as_str(),
                    query: head.uri.query(),
                    application: &said.application,
                    tenant_alias: alias.unwrap_or_default(),
                    tenant_id,
                },
            };
            (head.headers, body) = self.judge_write(received, policy, given, seen)?;
        }
        Ok(End::Sent(self.sent(&head, body, is_chunked && is_streamed)))
    }

    /// Judges a write: what is given is what a running gateway remembers, and the last of it is what the service answers.
    fn judge_write(
        &self,
        received: Received<'_, Bytes>,
        policy: &Policy,
        given: Given<'_>,
        seen: &mut Outcome,
    ) -> Result<(HeaderMap, Bytes), Problem> {
        let mut write = received.mend(policy);
        seen.mending = write
            .mending()
            .map(|mending| Mending::of(mending, write.headers()));
        let mut step = write.judge(self.settings.judging);
        let judged = loop {
            step = match step {
                Step::Recall(question) => recall(question, given.sightings),
                Step::Ask(question) => {
                    let told = answer_from(question.id(), given.sightings);
                    break question.answer(told);
                }
                Step::Done(judged) => break judged,
            }
        };
        seen.note(&judged);
        let (verdict, end) = judged.into_parts();
        match end {
            judging::End::Send(clearance) => {
                entry::annotate(&mut seen.annotations, &verdict);
                let (headers, Payload::Whole(body) | Payload::TooLarge { body, .. }) =
                    write.into_parts(clearance);
                Ok((headers, body))
            }
            // No service is asked, so none answers.
            judging::End::Relay => Err(Problem::Internal),
            judging::End::Refuse => Err(Problem::Refused(Box::new(verdict))),
            judging::End::StateUnknown { why } => Err(Problem::StateUnknown {
                why,
                retry_after: None,
            }),
            judging::End::StaleEtag => Err(Problem::StaleEtag),
        }
    }

    /// The tenant, and what names it.
    fn tenant(&self, fields: &HeaderMap, caller: &Caller, given: Given<'_>) -> Tenant {
        let by_token = self.tenants.token_alias(fields, caller);
        match (given.tenant, by_token, self.tenants.alias(caller.tenant)) {
            (Some(alias), ..) => Tenant::Given(alias.to_owned()),
            (None, Some(alias), _) => Tenant::Token(alias.to_owned()),
            (None, None, Some(alias)) => Tenant::Header(alias.to_owned()),
            (None, None, None) if self.tenants.name(caller.tenant) == Name::Anonymous => {
                Tenant::Anonymous
            }
            (None, None, None) => Tenant::Unknown,
        }
    }

    /// The id of the tenant with an alias; empty if the settings do not know it.
    fn id_of(&self, alias: &str) -> &str {
        let known = self.known.iter().find(|known| known.alias == alias);
        known.map_or("", |known| &known.id)
    }

    /// The request as it leaves over HTTP/1.1.
    fn sent(&self, head: &request::Parts, body: Bytes, is_chunked: bool) -> Sent {
        let mut fields = head.headers.clone();
        match &self.host {
            Some(host) => drop(fields.insert(header::HOST, host.clone())),
            None => drop(fields.remove(header::HOST)),
        }
        if !fields.contains_key(header::CONTENT_LENGTH) {
            if is_chunked {
                let chunked = HeaderValue::from_static("chunked");
                fields.insert(header::TRANSFER_ENCODING, chunked);
            } else if !body.is_empty() {
                fields.insert(header::CONTENT_LENGTH, body.len().into());
            }
        }
        Sent {
            method: head.method.clone(),
            target: head
                .uri
                .path_and_query()
                .map_or("/", |target| target.as_str())
                .to_owned(),
            headers: fields,
            body,
        }
    }
}

impl fmt::Debug for Gateway {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gateway")
            .field("policy", &self.policy.name)
            .finish_non_exhaustive()
    }
}

/// The sightings of one referral.
fn about<'s>(
    id: &ReferralId,
    sightings: &'s [Sighting],
) -> impl DoubleEndedIterator<Item = &'s Sighting> {
    let is_it = |seen: &&Sighting| seen.id.as_deref().is_none_or(|other| id.is(other));
    sightings.iter().filter(is_it)
}

/// The state that was given at the tag that the write names.
fn recall<'w>(question: Recall<'w>, sightings: &[Sighting]) -> Step<'w> {
    let named = question.tag();
    let is_named = |tag: &[u8]| tag == named.as_bytes();
    let seen = about(question.id(), sightings)
        .find(|seen| seen.tag.as_deref().is_none_or(is_named))
        .and_then(|seen| seen.state.clone());
    question.answer(seen.map(|state| (state, 0)))
}

/// What the service would answer.
fn answer_from(id: &ReferralId, sightings: &[Sighting]) -> Told {
    match about(id, sightings).next_back() {
        Some(Sighting {
            state: Some(state),
            tag,
            ..
        }) => Told::State {
            tag: tag.clone(),
            state: state.clone(),
        },
        Some(_) => Told::Failed("the service's answer has no status that the policy knows".into()),
        None => Told::NotGiven,
    }
}
