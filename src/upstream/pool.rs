//! Connections to the upstream: opened when they are needed, kept for the next request, closed when they are old.
//!
//! An HTTP/1.1 connection carries one request at a time; one of HTTP/2 is shared by all.

use std::{
    future::Future,
    pin::pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU8, Ordering},
    },
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use http::{Request, Response, Uri};
use hyper::{
    body::Incoming,
    client::conn::{TrySendError, http1, http2},
};
use hyper_util::{
    client::legacy::connect::Connection as _,
    rt::{TokioExecutor, TokioTimer},
};
use tokio::{runtime::Handle, sync::oneshot};
use tower_service::Service;

use super::{
    ConnectTimeout, Progress,
    connector::{BoxError, Connector},
};
use crate::{
    body::Body,
    metrics::{
        Metrics,
        label::{ConnectionOutcome, Side},
    },
};

/// Unused connections that are kept.
const MAX_IDLE: usize = 1024;
/// A connection takes no new request after this long, so that changes of the upstream's address are seen.
const MAX_AGE: Duration = Duration::from_secs(600);
/// Unused connections that are looked at for one that is ready.
const MAX_LOOKS: usize = 8;
/// Upper bound of an answer's header section and of the buffer it is read into, in bytes.
const MAX_ANSWER_HEAD: usize = 64 * 1024;
/// Pause between two looks for connections that were not used for too long.
const SHORTEST_SWEEP: Duration = Duration::from_millis(50);
/// PINGs show that an HTTP/2 connection still leads somewhere.
const PING_EVERY: Duration = Duration::from_secs(30);
const PING_TIMEOUT: Duration = Duration::from_secs(20);

/// The connections to one target.
pub(super) struct Pool {
    connector: ArcSwap<Connector>,
    target: Uri,
    connect_timeout: Duration,
    /// For what an HTTP/1.1 connection still does when nobody waits for an answer any more.
    patience: Duration,
    kept: Arc<Kept>,
    /// Held while a connection is opened that all may share.
    opening: tokio::sync::Mutex<()>,
    /// What the upstream spoke last.
    protocol: AtomicU8,
    metrics: Arc<Metrics>,
}

const UNKNOWN: u8 = 0;
const HTTP_1: u8 = 1;
const HTTP_2: u8 = 2;

/// The connections that wait for a request.
struct Kept {
    idle_timeout: Duration,
    connections: Mutex<Connections>,
}

#[derive(Default)]
struct Connections {
    /// The one used last stands last, and is used first.
    idle: Vec<Idle>,
    shared: Option<Shared>,
    /// A task looks for connections that were not used for too long.
    is_swept: bool,
}

struct Idle {
    line: Line,
    since: Instant,
}

/// A connection that carries one request at a time.
struct Line {
    sender: http1::SendRequest<Body>,
    born: Instant,
    /// Dropped, or told how the request's body gets on, when nobody waits for an answer any more.
    attended: oneshot::Sender<Arc<Progress>>,
}

/// A connection that carries many requests at once.
struct Shared {
    sender: http2::SendRequest<Body>,
    born: Instant,
    /// The last request.
    since: Instant,
}

/// A connection for one request.
pub(super) struct Taken {
    way: Way,
    kept: Arc<Kept>,
    /// It carried requests before, so the other side may have closed it by now.
    pub(super) is_reused: bool,
}

enum Way {
    Http1(Line),
    Http2(http2::SendRequest<Body>),
}

/// Gives a connection back when the answer was read to its end; without that it is closed.
pub(super) struct Return {
    line: Line,
    kept: Arc<Kept>,
}

impl Pool {
    pub(super) fn new(
        connector: Connector,
        target: Uri,
        connect_timeout: Duration,
        idle_timeout: Duration,
        patience: Duration,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self {
            connector: ArcSwap::from_pointee(connector),
            target,
            connect_timeout,
            patience,
            kept: Arc::new(Kept {
                idle_timeout,
                connections: Mutex::default(),
            }),
            opening: tokio::sync::Mutex::default(),
            protocol: AtomicU8::new(UNKNOWN),
            metrics,
        }
    }

    /// Opens connections in this way from here on.
    pub(super) fn set_connector(&self, connector: Connector) {
        self.connector.store(Arc::new(connector));
    }

    /// A connection that is ready for a request: one that is kept, or a new one.
    ///
    /// # Errors
    ///
    /// When none can be had in time.
    pub(super) async fn take(&self) -> Result<Taken, BoxError> {
        if let Some(taken) = self.kept.take() {
            return Ok(taken);
        }
        let opening = Box::pin(self.open());
        let opened = match tokio::time::timeout(self.connect_timeout, opening).await {
            Ok(opened) => opened,
            Err(_) => Err(ConnectTimeout(self.connect_timeout).into()),
        };
        if opened.is_err() {
            self.metrics
                .connection(Side::Upstream, ConnectionOutcome::Failed);
        }
        opened
    }

    async fn open(&self) -> Result<Taken, BoxError> {
        // Until the upstream is known to speak HTTP/1.1, the next connection may be the only one that is needed.
        let may_be_shared = self.protocol.load(Ordering::Relaxed) != HTTP_1;
        let _turn = if may_be_shared {
            let turn = self.opening.lock().await;
            if let Some(taken) = self.kept.take() {
                return Ok(taken);
            }
            // Whoever had the turn before may have found out meanwhile.
            (self.protocol.load(Ordering::Relaxed) != HTTP_1).then_some(turn)
        } else {
            None
        };
        let mut connector = Connector::clone(&self.connector.load());
        let stream = connector.call(self.target.clone()).await?;
        self.metrics
            .connection(Side::Upstream, ConnectionOutcome::Connected);
        let born = Instant::now();
        let is_http2 = stream.connected().is_negotiated_h2();
        self.protocol
            .store(if is_http2 { HTTP_2 } else { HTTP_1 }, Ordering::Relaxed);
        let way = if is_http2 {
            let (sender, connection) = http2::Builder::new(TokioExecutor::new())
                .timer(TokioTimer::new())
                .max_header_list_size(u32::try_from(MAX_ANSWER_HEAD).unwrap_or(u32::MAX))
                .keep_alive_interval(PING_EVERY)
                .keep_alive_timeout(PING_TIMEOUT)
                .handshake(stream)
                .await?;
            tokio::spawn(connection);
            self.kept.share(Shared {
                sender: sender.clone(),
                born,
                since: born,
            });
            Way::Http2(sender)
        } else {
            let (sender, connection) = http1::Builder::new()
                .max_buf_size(MAX_ANSWER_HEAD)
                .handshake(stream)
                .await?;
            let (attended, leaving) = oneshot::channel();
            tokio::spawn(attend(connection, leaving, self.patience));
            Way::Http1(Line {
                sender,
                born,
                attended,
            })
        };
        Ok(Taken {
            way,
            kept: Arc::clone(&self.kept),
            is_reused: false,
        })
    }
}

impl Taken {
    /// Whether requests are written as HTTP/2.
    pub(super) fn is_http2(&self) -> bool {
        matches!(self.way, Way::Http2(_))
    }

    /// Sends a request and waits for the head of its answer.
    ///
    /// # Errors
    ///
    /// When no answer came; the error holds the request if not a byte of it was sent.
    pub(super) async fn send(
        self,
        request: Request<Body>,
    ) -> Result<(Response<Incoming>, Option<Return>), TrySendError<Request<Body>>> {
        match self.way {
            Way::Http1(mut line) => {
                let answer = line.sender.try_send_request(request).await?;
                let back = Return {
                    line,
                    kept: self.kept,
                };
                Ok((answer, Some(back)))
            }
            Way::Http2(mut sender) => {
                let answer = sender.try_send_request(request).await?;
                Ok((answer, None))
            }
        }
    }
}

/// Drives a connection to its end, which is not far when nobody waits for an answer any more and the upstream does not take
/// what is left of the request's body.
async fn attend(
    connection: impl Future,
    leaving: oneshot::Receiver<Arc<Progress>>,
    patience: Duration,
) {
    let mut connection = pin!(connection);
    let progress = tokio::select! {
        biased;
        _ = &mut connection => return,
        left = leaving => left.ok(),
    };
    loop {
        let before = progress.as_ref().map(|progress| progress.last());
        let ended = tokio::time::timeout(patience, &mut connection).await;
        if ended.is_ok() || progress.as_ref().map(|progress| progress.last()) == before {
            return;
        }
    }
}

impl Kept {
    fn take(self: &Arc<Self>) -> Option<Taken> {
        let taken = |way| Taken {
            way,
            kept: Arc::clone(self),
            is_reused: true,
        };
        let now = Instant::now();
        let mut connections = self.lock();
        if let Some(shared) = &mut connections.shared {
            if self.is_usable(shared, now) {
                shared.since = now;
                return Some(taken(Way::Http2(shared.sender.clone())));
            }
            connections.shared = None;
        }
        let mut at = connections.idle.len();
        for _ in 0..MAX_LOOKS {
            at = at.checked_sub(1)?;
            let idle = connections.idle.get(at)?;
            let (is_fresh, is_ready) = (self.is_fresh(idle, now), idle.line.sender.is_ready());
            // One whose answer has just been read may need a moment more: it stays.
            if !is_fresh || is_ready {
                let line = connections.idle.remove(at).line;
                if is_fresh {
                    return Some(taken(Way::Http1(line)));
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

    fn share(self: &Arc<Self>, shared: Shared) {
        let mut connections = self.lock();
        connections.shared = Some(shared);
        self.see_to_the_sweep(&mut connections);
    }

    fn put_back(self: &Arc<Self>, line: Line) {
        if line.sender.is_closed() {
            return;
        }
        let mut connections = self.lock();
        if connections.idle.len() < MAX_IDLE {
            connections.idle.push(Idle {
                line,
                since: Instant::now(),
            });
            self.see_to_the_sweep(&mut connections);
        }
    }

    fn see_to_the_sweep(self: &Arc<Self>, connections: &mut Connections) {
        // Without a runtime the program is ending, and the connections with it.
        if !connections.is_swept
            && let Ok(runtime) = Handle::try_current()
        {
            connections.is_swept = true;
            runtime.spawn(Arc::clone(self).sweep());
        }
    }

    /// Closes connections that were not used for too long, as long as there are any.
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
        // What is guarded is whole at every step, so a panic elsewhere cannot have broken it.
        self.connections
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Return {
    /// The answer was read to its end, and the request was sent to its end.
    pub(super) fn give_back(self) {
        self.kept.put_back(self.line);
    }

    /// The answer was read to its end, the request is still being sent.
    pub(super) fn leave(self, progress: Arc<Progress>) {
        // Who ended already needs no telling.
        let _ = self.line.attended.send(progress);
    }
}
