//! The connections that wait for a request.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use hyper::client::conn::{http1, http2};
use tokio::{runtime::Handle, sync::oneshot};

use super::progress::Progress;
use crate::body::Body;

/// The maximum number of idle connections.
const MAX_IDLE: usize = 1024;
/// The age at which a connection takes no new request, so that a change of the upstream's address is noticed.
const MAX_AGE: Duration = Duration::from_secs(600);
/// The number of idle connections tried for one that is ready.
const MAX_LOOKS: usize = 8;
/// The shortest pause between two sweeps of idle connections.
const SHORTEST_SWEEP: Duration = Duration::from_millis(50);

/// The connections that wait for a request. A sweeper closes those that are idle for too long.
pub(super) struct Kept {
    idle_timeout: Duration,
    connections: Mutex<Connections>,
}

#[derive(Default)]
struct Connections {
    /// The last one is the most recently used, and is used first.
    idle: Vec<Idle>,
    shared: Option<Shared>,
    /// A sweeper runs.
    is_swept: bool,
}

struct Idle {
    line: Line,
    since: Instant,
}

/// A connection that carries one request at a time.
pub(super) struct Line {
    pub(super) sender: http1::SendRequest<Body>,
    pub(super) born: Instant,
    /// Dropped, or sent the progress of the request's body, when nobody waits for an answer.
    pub(super) attended: oneshot::Sender<Arc<Progress>>,
}

/// A connection that carries many requests at once.
pub(super) struct Shared {
    pub(super) sender: http2::SendRequest<Body>,
    pub(super) born: Instant,
    /// The last request.
    pub(super) since: Instant,
}

/// A connection, by its protocol.
pub(super) enum Way {
    Http1(Line),
    Http2(http2::SendRequest<Body>),
}

impl Kept {
    pub(super) fn new(idle_timeout: Duration) -> Self {
        Self {
            idle_timeout,
            connections: Mutex::default(),
        }
    }

    /// A connection that is ready for a request, if there is one.
    pub(super) fn take(&self) -> Option<Way> {
        let now = Instant::now();
        let mut connections = self.lock();
        if let Some(shared) = &mut connections.shared {
            if self.is_usable(shared, now) {
                shared.since = now;
                return Some(Way::Http2(shared.sender.clone()));
            }
            connections.shared = None;
        }
        let mut at = connections.idle.len();
        for _ in 0..MAX_LOOKS {
            at = at.checked_sub(1)?;
            let idle = connections.idle.get(at)?;
            let (is_fresh, is_ready) = (self.is_fresh(idle, now), idle.line.sender.is_ready());
            // A connection with an answer just read may need another moment: it stays.
            if !is_fresh || is_ready {
                let line = connections.idle.remove(at).line;
                if is_fresh {
                    return Some(Way::Http1(line));
                }
            }
        }
        None
    }

    fn is_fresh(&self, idle: &Idle, now: Instant) -> bool {
        !idle.line.sender.is_closed() && self.is_young(idle.since, idle.line.born, now)
    }

    fn is_usable(&self, shared: &Shared, now: Instant) -> bool {
        !shared.sender.is_closed() && self.is_young(shared.since, shared.born, now)
    }

    fn is_young(&self, since: Instant, born: Instant, now: Instant) -> bool {
        now.saturating_duration_since(since) < self.idle_timeout
            && now.saturating_duration_since(born) < MAX_AGE
    }

    pub(super) fn share(self: &Arc<Self>, shared: Shared) {
        let mut connections = self.lock();
        connections.shared = Some(shared);
        self.ensure_sweeper(&mut connections);
    }

    pub(super) fn put_back(self: &Arc<Self>, line: Line) {
        if line.sender.is_closed() {
            return;
        }
        let mut connections = self.lock();
        if connections.idle.len() < MAX_IDLE {
            connections.idle.push(Idle {
                line,
                since: Instant::now(),
            });
            self.ensure_sweeper(&mut connections);
        }
    }

    fn ensure_sweeper(self: &Arc<Self>, connections: &mut Connections) {
        // Without a runtime the program is ending.
        if !connections.is_swept
            && let Ok(runtime) = Handle::try_current()
        {
            connections.is_swept = true;
            runtime.spawn(Arc::clone(self).sweep());
        }
    }

    /// Closes connections that are idle for too long, until none is left.
    async fn sweep(self: Arc<Self>) {
        loop {
            tokio::time::sleep(self.idle_timeout.div_f64(4.0).max(SHORTEST_SWEEP)).await;
            let now = Instant::now();
            let mut connections = self.lock();
            connections.idle.retain(|idle| self.is_fresh(idle, now));
            connections.shared = connections
                .shared
                .take()
                .filter(|shared| self.is_usable(shared, now));
            if connections.idle.is_empty() && connections.shared.is_none() {
                connections.is_swept = false;
                return;
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Connections> {
        // The guarded state is consistent at every step, so a panic elsewhere cannot break it.
        self.connections
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}
