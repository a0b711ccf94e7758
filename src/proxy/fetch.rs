//! The gateway's own GET: where a referral stands now, asked with the caller's own credential.

use std::{
    borrow::Cow,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use dashmap::DashMap;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, header};
use http_body_util::BodyExt;
use tokio::sync::OnceCell;

use super::{
    Gateway, headers,
    learn::{Pieces, decode, header_tag, is_json, repeats_tag},
    outcome::{is_throttled, note_credential},
    retry_after::waiting_time,
};
use crate::{
    body::Body,
    metrics::label::SnapshotOrigin,
    rebase::Coding,
    referral::{EntityTag, ReferralId, Sighting, State, Tags},
    tenant::{Caller, Tenants},
    trace::Span,
};

/// What the gateway's own GET brought.
#[derive(Debug, Clone)]
pub(super) enum Fetched {
    /// Where the referral stands now, and at which tags.
    Referral { tags: Tags, state: State },
    /// The upstream does not show it to this caller.
    Refused {
        status: StatusCode,
        headers: HeaderMap,
        body: Bytes,
    },
    /// No usable answer.
    Failed {
        /// Whether the upstream asked to wait.
        throttled: bool,
        why: Cow<'static, str>,
        retry_after: Option<Duration>,
    },
}

/// The gateway's own GET for a write.
#[derive(Clone, Copy)]
pub(super) struct OwnGet<'a> {
    /// The path of the write.
    pub(super) path: &'a str,
    /// The header section of the write.
    pub(super) headers: &'a HeaderMap,
    pub(super) id: &'a ReferralId,
    pub(super) caller: &'a Caller,
    pub(super) tenants: &'a Tenants,
    /// The span of the write, if it is traced.
    pub(super) span: Option<&'a Span>,
}

/// The questions under way, by credential and referral.
pub(super) type Fetches = DashMap<(u128, ReferralId), Arc<OnceCell<Fetched>>>;

impl Gateway {
    /// One GET at a time for each caller and referral: whoever comes meanwhile waits for its answer.
    pub(super) async fn fetch_once(&self, own_get: OwnGet<'_>) -> Fetched {
        let Some(credential) = own_get.caller.credential else {
            return self.fetch(own_get).await;
        };
        let key = (credential, own_get.id.clone());
        let cell = Arc::clone(&self.fetches.entry(key.clone()).or_default());
        let waiting = Waiting {
            fetches: &self.fetches,
            key,
            cell,
        };
        waiting
            .cell
            .get_or_init(|| self.fetch(own_get))
            .await
            .clone()
    }

    /// Asks for the referral with the caller's own credential.
    pub(super) async fn fetch(&self, own_get: OwnGet<'_>) -> Fetched {
        let OwnGet {
            path,
            headers,
            id,
            caller,
            tenants,
            span,
        } = own_get;
        let failed = |why| Fetched::Failed {
            throttled: false,
            why,
            retry_after: None,
        };
        let mut question = Request::new(Body::empty());
        *question.method_mut() = Method::GET;
        *question.uri_mut() = path.parse().unwrap_or_default();
        *question.headers_mut() = question_headers(headers, || self.request_ids.fresh());

        let asking = async {
            let (answer, _) = self
                .upstream
                .send(&mut Some(question), Instant::now(), span)
                .await;
            let answer = match answer {
                Ok(answer) => answer,
                Err(error) => {
                    return failed(format!("the service gave no answer ({})", error.detail).into());
                }
            };
            let (head, body) = answer.into_parts();
            let Some(body) = read_answer(body).await else {
                return failed("the service's answer could not be read".into());
            };
            note_credential(head.status, caller, tenants);
            self.understand(&head, body, id, caller)
        };
        match tokio::time::timeout(self.fetch_timeout, asking).await {
            Ok(fetched) => fetched,
            Err(_) => failed("the service did not answer in time".into()),
        }
    }

    /// Takes the answer for what it says and nothing more: anything but one referral, the one asked for, is a failure.
    fn understand(
        &self,
        head: &http::response::Parts,
        body: Bytes,
        id: &ReferralId,
        caller: &Caller,
    ) -> Fetched {
        let failed = |why| Fetched::Failed {
            throttled: is_throttled(head.status, &head.headers),
            why,
            retry_after: waiting_time(&head.headers),
        };
        match head.status.as_u16() {
            200 if is_json(&head.headers) => {}
            200 => return failed("the service's answer is not JSON".into()),
            status @ (401 | 403 | 404) => {
                // A credential that the upstream does not accept changes nothing of what others of its name know.
                if status == 404 && caller.proven {
                    self.snapshots.forget(caller, id);
                }
                let mut headers = head.headers.clone();
                headers::to_downstream(&mut headers, head.version);
                return Fetched::Refused {
                    status: head.status,
                    headers,
                    body,
                };
            }
            status => return failed(format!("the service answered {status}").into()),
        }
        let Some(body) = Coding::of(&head.headers).and_then(|coding| decode(coding, body)) else {
            return failed("the service's answer is coded in an unknown way".into());
        };
        let Some(found) = Sighting::of_one(&body) else {
            return failed("the service's answer is no referral".into());
        };
        if !found.id.as_deref().is_some_and(|other| id.is(other)) {
            return failed("the service answered with another referral".into());
        }
        let header_tag = header_tag(&head.headers).map(EntityTag::as_bytes);
        let tags = Tags::of(header_tag, found.tag.as_deref());
        match (found.state, tags.filter(|_| !repeats_tag(&head.headers))) {
            (Some(state), Some(tags)) => {
                if caller.credential.is_some() && self.snapshots.learn(caller, id, &tags, &state) {
                    self.metrics.snapshot_update(SnapshotOrigin::Fetch);
                }
                Fetched::Referral { tags, state }
            }
            (_, None) => failed("the service's answer names no entity tag, or two ETags".into()),
            (None, _) => failed("the service's answer has no status".into()),
        }
    }
}

/// A place among those who wait for one answer. Whoever leaves first, with the answer or without it, ends the sharing.
struct Waiting<'g> {
    fetches: &'g Fetches,
    key: (u128, ReferralId),
    cell: Arc<OnceCell<Fetched>>,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.fetches
            .remove_if(&self.key, |_, other| Arc::ptr_eq(other, &self.cell));
    }
}

/// Fields of the write that the gateway's own GET has as well: whose it is, what it belongs to, who asks.
const ASKED_WITH: [&str; 7] = [
    "authorization",
    "cookie",
    "traceparent",
    "tracestate",
    "user-agent",
    "via",
    "x-locale",
];

/// The ids of one request. The service takes two requests with one `MS-RequestId` for the same one (Partner Center: REST
/// headers), and the write has that of its caller.
const OWN_IDS: [HeaderName; 2] = [
    HeaderName::from_static("client-request-id"),
    HeaderName::from_static("ms-requestid"),
];

/// The gateway's own GET names the caller, has ids of its own, and asks for a plain answer. Nothing else of a write that
/// may yet be refused reaches the service.
fn question_headers(headers: &HeaderMap, fresh_id: impl Fn() -> HeaderValue) -> HeaderMap {
    let mut question = HeaderMap::new();
    for (name, value) in headers {
        let text = name.as_str();
        // The service's own: MS-CorrelationId, X-MS-...
        if ASKED_WITH.contains(&text) || text.starts_with("ms-") || text.starts_with("x-ms-") {
            question.append(name.clone(), value.clone());
        }
    }
    for name in OWN_IDS {
        question.insert(name, fresh_id());
    }
    question.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
    question.insert(
        header::ACCEPT_ENCODING,
        HeaderValue::from_static("identity"),
    );
    question
}

/// The answer to the gateway's own GET, bounded.
async fn read_answer(mut body: Body) -> Option<Bytes> {
    let mut pieces = Pieces::default();
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame.ok()?.into_data()
            && !pieces.add(&data)
        {
            return None;
        }
    }
    Some(pieces.join())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_whose_caller_has_left_is_forgotten() {
        let fetches = Fetches::new();
        let key = (1, ReferralId::parse("r1").expect("an id"));
        let cell = Arc::clone(&fetches.entry(key.clone()).or_default());
        let other = (2, key.1.clone());
        fetches.entry(other).or_default();

        drop(Waiting {
            fetches: &fetches,
            key: key.clone(),
            cell,
        });

        assert!(!fetches.contains_key(&key));
        assert_eq!(fetches.len(), 1);
    }
}
