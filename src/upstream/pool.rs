//! Connections to the upstream: opened on demand, kept for the next request, closed when they are old.
//!
//! An HTTP/1.1 connection carries one request at a time; one of HTTP/2 is shared by all.

use std::{
    future::Future,
    pin::pin,
    sync::{
        Arc,
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
use tokio::sync::oneshot;
use tower_service::Service;

use super::{
    connector::{BoxError, Connector},
    error::ConnectTimeout,
    kept::{Kept, Line, Shared, Way},
    progress::Progress,
};
use crate::{
    body::Body,
    metrics::{
        Metrics,
        label::{ConnectionOutcome, Side},
    },
};

/// Upper bound of an answer's header section and of the buffer it is read into, in bytes.
const MAX_ANSWER_HEAD: usize = 64 * 1024;
/// PINGs detect a dead HTTP/2 connection.
const PING_EVERY: Duration = Duration::from_secs(30);
const PING_TIMEOUT: Duration = Duration::from_secs(20);

/// The connections to one target.
pub(super) struct Pool {
    connector: ArcSwap<Connector>,
    target: Uri,
    connect_timeout: Duration,
    /// How long an HTTP/1.1 connection may go on when nobody waits for its answer.
    patience: Duration,
    kept: Arc<Kept>,
    /// Held while a connection is opened that requests may share.
    opening: tokio::sync::Mutex<()>,
    /// The protocol of the last connection.
    protocol: AtomicU8,
    metrics: Arc<Metrics>,
}

const UNKNOWN: u8 = 0;
const HTTP_1: u8 = 1;
const HTTP_2: u8 = 2;

/// A connection for one request.
pub(super) struct Taken {
    way: Way,
    kept: Arc<Kept>,
    /// It carried requests before, so the other side may have closed it.
    pub(super) is_reused: bool,
}

/// Returns a connection to the pool when the answer is complete. A dropped one closes its connection.
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
            kept: Arc::new(Kept::new(idle_timeout)),
            opening: tokio::sync::Mutex::default(),
            protocol: AtomicU8::new(UNKNOWN),
            metrics,
        }
    }

    /// Opens new connections with this connector.
    pub(super) fn set_connector(&self, connector: Connector) {
        self.connector.store(Arc::new(connector));
    }

    /// A connection that is ready for a request: an idle one or a new one.
    ///
    /// # Errors
    ///
    /// When none is available in time.
    pub(super) async fn take(&self) -> Result<Taken, BoxError> {
        if let Some(taken) = self.idle() {
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

    fn idle(&self) -> Option<Taken> {
        let way = self.kept.take()?;
        Some(self.taken(way, true))
    }

    fn taken(&self, way: Way, is_reused: bool) -> Taken {
        Taken {
            way,
            kept: Arc::clone(&self.kept),
            is_reused,
        }
    }

    async fn open(&self) -> Result<Taken, BoxError> {
        // Unless the upstream speaks HTTP/1.1, the next connection may serve all requests.
        let may_be_shared = self.protocol.load(Ordering::Relaxed) != HTTP_1;
        let _turn = if may_be_shared {
            let turn = self.opening.lock().await;
            if let Some(taken) = self.idle() {
                return Ok(taken);
            }
            // The connection opened before may have told the protocol.
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
        Ok(self.taken(way, false))
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
    /// When there is no answer. The error holds the request if not a byte of it was sent.
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

/// Drives a connection to its end. It ends soon when nobody waits for an answer and the upstream does not read the rest of
/// the request's body.
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

impl Return {
    /// Answer and request are complete.
    pub(super) fn give_back(self) {
        self.kept.put_back(self.line);
    }

    /// The answer is complete; the request is still being sent.
    pub(super) fn leave(self, progress: Arc<Progress>) {
        // A connection that has ended does not listen.
        let _ = self.line.attended.send(progress);
    }
}
