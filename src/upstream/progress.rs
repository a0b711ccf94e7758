//! How far a request's body was sent.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::Request;

use super::error::Kind;
use crate::body::{self, Body};

/// When the last piece of a request's body was sent.
#[derive(Debug)]
pub(super) struct Progress {
    began: Instant,
    last: AtomicU64,
    is_complete: AtomicBool,
    is_broken: AtomicBool,
    is_stalled: AtomicBool,
}

impl Progress {
    /// That of a request's body, from now on.
    pub(super) fn of(request: &mut Request<Body>) -> Arc<Self> {
        let progress = Arc::new(Self {
            began: Instant::now(),
            last: AtomicU64::new(0),
            is_complete: AtomicBool::new(false),
            is_broken: AtomicBool::new(false),
            is_stalled: AtomicBool::new(false),
        });
        let watcher = Box::new(Watcher(Arc::clone(&progress)));
        let body = std::mem::replace(request.body_mut(), Body::empty());
        *request.body_mut() = body.observed(watcher);
        progress
    }

    pub(super) fn last(&self) -> Instant {
        self.began + Duration::from_millis(self.last.load(Ordering::Relaxed))
    }

    pub(super) fn is_complete(&self) -> bool {
        self.is_complete.load(Ordering::Acquire)
    }

    /// Why the body of the request ended early, if it did: the HTTP/2 of hyper does not say.
    pub(super) fn failure(&self) -> Option<Kind> {
        if self.is_stalled.load(Ordering::Acquire) {
            return Some(Kind::RequestTooSlow);
        }
        let is_broken = self.is_broken.load(Ordering::Acquire);
        is_broken.then_some(Kind::RequestBroken)
    }

    fn touch(&self) {
        let now = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last.store(now, Ordering::Relaxed);
    }
}

/// Records the progress of a request's body.
struct Watcher(Arc<Progress>);

impl body::Observer for Watcher {
    fn data(&mut self, _: &Bytes) {
        self.0.touch();
    }

    fn end(self: Box<Self>, how: body::End) {
        self.0.touch();
        let flag = match how {
            body::End::Complete => &self.0.is_complete,
            body::End::Failed => &self.0.is_broken,
            body::End::Stalled => &self.0.is_stalled,
            body::End::Dropped => return,
        };
        flag.store(true, Ordering::Release);
    }
}
