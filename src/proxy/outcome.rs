//! What an answer tells the gateway: whether a credential is valid, whether to wait, a referral's state.

use std::{sync::Arc, time::Instant};

use http::{HeaderMap, Method, Request, Response, StatusCode, header};
use tracing::info;

use super::{
    Gateway,
    exchange::Exchange,
    learn::{self, Holds, Learner},
    retry_after::waiting_time,
    route::{self, Route},
};
use crate::{
    body::Body,
    cache::Snapshots,
    metrics::label::{self, Predicted, SnapshotOrigin},
    policy::IfMatch,
    problem::{Problem, Repeat},
    rate_limit::Class,
    rebase::Coding,
    referral::{EntityTag, ReferralId},
    tenant::{Caller, Tenants},
    upstream::{self, Kind, Sent},
};

/// What the gateway can learn from an answer about the state of referrals.
pub(super) enum Lesson {
    /// Nothing.
    None,
    /// Nothing new: the tag is known, and a tag belongs to one state.
    Known,
    /// The state in its body, when the body is complete.
    Body(Box<Learner>),
}

/// A write to a referral or to the collection.
pub(super) struct Write {
    id: Option<ReferralId>,
    tag: Option<Box<[u8]>>,
    repeat: Repeat,
}

impl Write {
    /// The write as it is sent, after repairs: one of them may have set its `If-Match`.
    pub(super) fn of(request: &Request<Body>, route: &Route) -> Option<Self> {
        let tag = || -> Option<Box<[u8]>> {
            IfMatch::of(request.headers())
                .tag()
                .map(|tag| tag.as_bytes().into())
        };
        (!route::is_read(request.method())).then(|| {
            let (id, tag) = (route.id().cloned(), tag());
            let is_guarded = id.is_some()
                && tag.is_some()
                && matches!(*request.method(), Method::PUT | Method::PATCH);
            let repeat = match is_guarded {
                true => Repeat::Safe,
                false => Repeat::Unsafe,
            };
            Self { id, tag, repeat }
        })
    }

    /// Whether the snapshots show that the version in `If-Match` is outdated; `None` if they do not say.
    pub(super) fn is_outdated(&self, snapshots: &Snapshots, caller: &Caller) -> Option<bool> {
        let tag = EntityTag::parse(self.tag.as_deref()?)?;
        snapshots
            .is_newest(caller, self.id.as_ref()?, tag)
            .map(|newest| !newest)
    }
}

impl Gateway {
    /// Counts the form of `If-Match` on a write of a referral.
    pub(super) fn count_precondition(&self, head: &http::request::Parts, route: &Route) {
        if !matches!(route, Route::Item(_))
            || !matches!(head.method, Method::PUT | Method::PATCH | Method::DELETE)
        {
            return;
        }
        let kind = match IfMatch::of(&head.headers) {
            IfMatch::Strong(_) => label::Precondition::Strong,
            IfMatch::Missing => label::Precondition::Missing,
            _ => label::Precondition::Unusable,
        };
        let method = label::Method::from(&head.method);
        self.metrics.precondition(kind, method);
        if head.method == Method::PUT {
            self.metrics.deprecated(route.label());
        }
    }

    /// No answer arrived. After a write that the upstream may have, the referral's state is unknown.
    pub(super) fn lost(
        &self,
        error: upstream::Error,
        write: Option<&Write>,
        caller: &Caller,
    ) -> Problem {
        if let (Some(write), Sent::Maybe) = (write, error.sent) {
            // Who is not proven may only claim to be that caller, and a snapshot never becomes wrong.
            if let (Some(id), true) = (&write.id, caller.proven) {
                self.snapshots.forget(caller, id);
            }
            if !matches!(error.kind, Kind::RequestBroken | Kind::RequestTooSlow) {
                return Problem::OutcomeUnknown(error, write.repeat);
            }
        }
        Problem::Upstream(error)
    }

    /// Notes what an answer says about its caller: whether the credential is valid, and whether to wait.
    pub(super) fn note(
        &self,
        answer: &Response<Body>,
        route: &Route,
        class: Class,
        asks_options: bool,
        caller: &Caller,
        seen: &Exchange,
    ) {
        let status = answer.status();
        let in_force = seen.in_force();
        // Anybody may ask for the options of a resource, so that answer proves nothing.
        if (route.is_referral() && !asks_options) || status == StatusCode::UNAUTHORIZED {
            note_credential(status, caller, &in_force.tenants);
        }
        let throttled = is_throttled(status, answer.headers());
        if let (true, Some(permit)) = (throttled, seen.permit()) {
            let asked = waiting_time(answer.headers());
            let wait =
                self.rate_limit
                    .cool_down(&in_force.terms, permit, class, asked, Instant::now());
            self.metrics.upstream.throttled(route.label());
            info!(
                tenant = %seen.tenant_name(),
                status = status.as_u16(),
                wait_s = wait.as_secs(),
                "The service throttles a tenant"
            );
        }
    }

    /// Notes what an answer says about the referral that was written.
    pub(super) fn note_write(
        &self,
        answer: &Response<Body>,
        write: &Write,
        outdated: Option<bool>,
        is_learnt: bool,
        caller: &Caller,
    ) {
        let status = answer.status();
        if status == StatusCode::PRECONDITION_FAILED {
            self.metrics.precondition_failed(match outdated {
                Some(true) => Predicted::Yes,
                Some(false) | None => Predicted::No,
            });
        }
        if status.is_success() && outdated == Some(true) {
            self.metrics.precondition_ignored.inc();
        }
        if let Some(id) = &write.id
            // A snapshot that is about to be learnt replaces the known ones itself.
            && ((status.is_success() && !is_learnt)
                || (caller.proven
                    && (status.is_server_error() || matches!(status.as_u16(), 404 | 410 | 412))))
        {
            self.snapshots.forget(caller, id);
        }
    }

    /// What the gateway can learn from an answer about the state of referrals.
    pub(super) fn lesson(
        &self,
        answer: &Response<Body>,
        route: &Route,
        method: &Method,
        caller: &Caller,
    ) -> Lesson {
        let headers = answer.headers();
        if let (Route::Item(id), 404 | 410, true) = (route, answer.status().as_u16(), caller.proven)
        {
            self.snapshots.forget(caller, id);
        }
        // Without a credential, nobody could use what is learnt.
        if caller.credential.is_none() || !learn::is_json(headers) || learn::repeats_tag(headers) {
            return Lesson::None;
        }
        let (holds, from) = match (route, method.as_str(), answer.status().as_u16()) {
            (Route::Item(id), "GET", 200) => (Holds::One(id.clone()), SnapshotOrigin::Get),
            (Route::Item(id), "PUT", 200 | 201) => (Holds::One(id.clone()), SnapshotOrigin::Put),
            (Route::Item(id), "PATCH", 200) => (Holds::One(id.clone()), SnapshotOrigin::Patch),
            (Route::Create, "POST", 200 | 201) => (Holds::New, SnapshotOrigin::Post),
            (Route::List, "GET", 200) => (Holds::Many, SnapshotOrigin::List),
            _ => return Lesson::None,
        };
        let tag = learn::header_tag(headers);
        if let (Holds::One(id), Some(tag)) = (&holds, tag)
            && self.snapshots.is_known_tag(caller, id, tag)
        {
            return Lesson::Known;
        }
        let Some(coding) = Coding::of(headers) else {
            return Lesson::None;
        };
        Lesson::Body(Box::new(Learner {
            snapshots: Arc::clone(&self.snapshots),
            metrics: Arc::clone(&self.metrics),
            caller: caller.clone(),
            holds,
            from,
            tag: tag.map(|tag| tag.as_bytes().into()),
            coding,
            pieces: learn::Pieces::default(),
            is_write: !route::is_read(method),
        }))
    }
}

/// Whether an answer asks its caller to wait.
pub(super) fn is_throttled(status: StatusCode, headers: &HeaderMap) -> bool {
    status == StatusCode::TOO_MANY_REQUESTS
        || (status == StatusCode::SERVICE_UNAVAILABLE && headers.contains_key(header::RETRY_AFTER))
}

/// Only the service's own 2xx proves a credential, and its 401 ends the proof.
pub(super) fn note_credential(status: StatusCode, caller: &Caller, tenants: &Tenants) {
    if status.is_success() {
        tenants.prove(caller);
    } else if status == StatusCode::UNAUTHORIZED {
        tenants.disprove(caller);
    }
}
