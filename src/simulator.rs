//! A stand-in for the Referrals API, in memory, written from its documentation alone.
//!
//! It shares no rule with the gateway, so that it is an independent witness. Where the documents say nothing, it is
//! lenient, as a careless service can be. [`behaviours`] lists what it does, and how each behaviour is known.

mod answer;
mod behaviour;
mod fault;
mod filter;
mod patch;
mod query;
mod random;
mod representation;
mod resource;
mod route;
mod seed;
mod serve;
mod store;
#[cfg(test)]
mod tests;
mod throttle;
mod time;

use std::{
    error::Error,
    num::NonZeroU32,
    sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use http::{
    HeaderMap, Method, Request, Response, StatusCode,
    header::{CONTENT_TYPE, ETAG, HeaderName, HeaderValue},
    request::Parts,
};
use http_body::Body;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use serde_json::Value;
use tokio::time::timeout;

use self::{
    answer::{Refusal, json},
    fault::Faults,
    patch::Patch,
    query::Query,
    route::Route,
    store::{Condition, Referral, Store},
    throttle::{Class, Throttle},
};

pub use self::{
    behaviour::{Behaviour, Evidence, behaviour_table, behaviours},
    serve::serve,
};

/// The largest request body, and the largest referral.
const MAX_BODY: usize = 1024 * 1024;

/// How long a body may take to arrive.
const BODY_TIMEOUT: Duration = Duration::from_secs(60);

/// What the simulator holds and allows.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// Two simulators with the same seed hold the same referrals.
    pub seed: u64,
    /// How many referrals there are at the start.
    pub referrals: usize,
    /// The largest number of referrals; a POST beyond it is answered 507.
    pub max_referrals: usize,
    /// Reads of one tenant per minute; `None` is no limit.
    pub reads_per_minute: Option<NonZeroU32>,
    /// Writes of one tenant per minute; `None` is no limit.
    pub writes_per_minute: Option<NonZeroU32>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            seed: 1,
            referrals: 128,
            max_referrals: 10_000,
            reads_per_minute: NonZeroU32::new(6_000),
            writes_per_minute: NonZeroU32::new(1_200),
        }
    }
}

/// The caller asked for a broken connection: drop it without an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the connection is dropped without an answer")]
pub struct Reset;

/// The Referrals API in memory.
#[derive(Debug)]
pub struct Simulator {
    store: RwLock<Store>,
    throttle: Throttle,
    clock: fn() -> SystemTime,
}

impl Simulator {
    /// A simulator with freshly seeded referrals.
    pub fn new(settings: Settings) -> Self {
        Self {
            store: RwLock::new(seed::store(
                settings.seed,
                settings.referrals,
                settings.max_referrals,
            )),
            throttle: Throttle::new(settings.reads_per_minute, settings.writes_per_minute),
            clock: SystemTime::now,
        }
    }

    /// Answers one request.
    ///
    /// # Errors
    /// [`Reset`] when the request asks for a broken connection, or its own body broke off.
    pub async fn answer<B>(&self, request: Request<B>) -> Result<Response<Full<Bytes>>, Reset>
    where
        B: Body<Data = Bytes>,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        let (head, body) = request.into_parts();
        let mut response = match self.work(&head, body).await {
            Ok(response) => response,
            Err(Failure::Refusal(refusal)) => refusal.response(),
            Err(Failure::Reset) => return Err(Reset),
        };
        answer::stamp(&head.headers, response.headers_mut(), (self.clock)());
        Ok(response)
    }

    /// Everything that can happen to a request, in the order it happens.
    async fn work<B>(&self, head: &Parts, body: B) -> Result<Response<Full<Bytes>>, Failure>
    where
        B: Body<Data = Bytes>,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        let tenant = throttle::tenant(&head.headers);
        let class = Class::of(&head.method);
        self.throttle.admit(&tenant, class, (self.clock)())?;

        let faults = Faults::asked(&head.headers)?;
        faults.before().await?;

        let body = match head.method {
            Method::POST | Method::PUT | Method::PATCH => whole(body).await?,
            _ => Bytes::new(),
        };
        let answer = self.serve(head, &body);
        faults.after()?;
        Ok(answer?)
    }

    fn serve(&self, head: &Parts, body: &[u8]) -> Result<Response<Full<Bytes>>, Refusal> {
        let route =
            Route::of(head.uri.path()).ok_or_else(|| Refusal::not_found("no such resource"))?;
        match (route, &head.method) {
            (Route::Referrals, &Method::GET | &Method::HEAD) => {
                let query = Query::parse(head.uri.query().unwrap_or_default())?;
                Ok(json(StatusCode::OK, &query.page(self.read().all())))
            }
            (Route::Referrals, &Method::POST) => {
                let sent = resource::object(read_json(&head.headers, body)?)?;
                let mut store = self.write();
                let created = store.create(sent, (self.clock)())?;
                Ok(single(created, &representation::in_write_answer(created)))
            }
            (Route::Referral(id), &Method::GET | &Method::HEAD) => {
                let store = self.read();
                let found = store.get(&id)?;
                Ok(single(found, &representation::in_get_answer(found)))
            }
            (Route::Referral(id), &Method::PUT) => {
                let sent = resource::object(read_json(&head.headers, body)?)?;
                let condition = Condition::required(&head.headers);
                let mut store = self.write();
                let replaced = store.replace(&id, &condition, sent, (self.clock)())?;
                Ok(single(replaced, &representation::in_write_answer(replaced)))
            }
            (Route::Referral(id), &Method::PATCH) => {
                let patch = Patch::of(read_json(&head.headers, body)?)?;
                let condition = Condition::optional(&head.headers);
                let mut store = self.write();
                let patched = store.patch(&id, &condition, &patch, (self.clock)())?;
                if answer::wants_representation(&head.headers) {
                    return Ok(single(patched, &representation::in_write_answer(patched)));
                }
                let mut response = Response::new(Full::default());
                *response.status_mut() = StatusCode::NO_CONTENT;
                Ok(response)
            }
            (Route::Referrals, _) => Err(Refusal::method("GET, HEAD, POST")),
            (Route::Referral(_), _) => Err(Refusal::method("GET, HEAD, PUT, PATCH")),
        }
    }

    // A panic while the lock is held leaves whole referrals behind: each write puts one in place.
    fn read(&self) -> RwLockReadGuard<'_, Store> {
        self.store.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Store> {
        self.store.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why there is no regular answer.
#[derive(Debug)]
enum Failure {
    Refusal(Refusal),
    Reset,
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Self::Refusal(refusal)
    }
}

/// 200 with one referral and its entity tag.
fn single(referral: &Referral, shown: &Value) -> Response<Full<Bytes>> {
    let mut response = json(StatusCode::OK, shown);
    if let Ok(tag) = HeaderValue::from_str(&referral.etag) {
        response.headers_mut().insert(ETAG, tag);
    }
    response
}

/// The whole body, bounded in size and time.
async fn whole<B>(body: B) -> Result<Bytes, Failure>
where
    B: Body<Data = Bytes>,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    match timeout(BODY_TIMEOUT, Limited::new(body, MAX_BODY).collect()).await {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(Refusal::too_large().into()),
        Ok(Err(_)) | Err(_) => Err(Failure::Reset),
    }
}

fn read_json(headers: &HeaderMap, body: &[u8]) -> Result<Value, Refusal> {
    let named = text(headers, &CONTENT_TYPE).map(str::to_ascii_lowercase);
    let media_type = named
        .as_deref()
        .map(|named| named.split(';').next().unwrap_or_default().trim());
    if !matches!(
        media_type,
        None | Some("application/json" | "application/json-patch+json")
    ) {
        return Err(Refusal::media_type());
    }
    serde_json::from_slice(body)
        .map_err(|error| Refusal::invalid("body", format!("the body is not valid JSON: {error}")))
}

/// A header field as text; `None` when absent or not text.
fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}
