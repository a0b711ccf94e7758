//! Connections to the upstream: opened on demand, kept for the next request, closed when they are old.
//!
//! An HTTP/1.1 connection carries one request at a time; one of HTTP/2 carries as many as the upstream allows.

use std::{
    future::Future,
    pin::pin,
    sync::Arc,
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use http::{Request, Response, Uri};
use hyper::{
    body::Incoming,
    client::conn::{http1, http2},
};
use hyper_util::{
    client::legacy::connect::Connection as _,
    rt::{TokioExecutor, TokioIo, TokioTimer},
};
use tokio::{
    sync::oneshot,
    time::{error::Elapsed, timeout_at},
};
use tower_service::Service;

use super::{
    connector::{Connected, Connector, recheck},
    error::{Error, Failure, Resent, is_unsolicited},
    kept::{Kept, Line, Next, Place, Shared, Way},
    progress::Progress,
    signals::{PING_AFTER, Signals},
    stream::Stream,
    tunnel::BoxError,
    wire::Wire,
};
use crate::{
    body::Body,
    metrics::{
        Metrics,
        label::{ConnectionOutcome, Protocol, Side},
    },
};

/// Upper bound of an answer's header section, in bytes.
const MAX_ANSWER_HEAD: usize = 64 * 1024;
/// Upper bound of the buffer that answers are read into, in bytes.
const MAX_BUFFER: usize = 2 * MAX_ANSWER_HEAD;
/// The part of an answer that the upstream may send before the downstream reads it, in bytes.
const STREAM_WINDOW: u32 = 256 * 1024;
/// The same for all answers on an HTTP/2 connection: a downstream that does not read never holds up another.
const CONNECTION_WINDOW: u32 = i32::MAX as u32;

/// The connections to one target.
pub(super) struct Pool {
    connector: ArcSwap<Connector>,
    target: Uri,
    settings: Settings,
    kept: Arc<Kept>,
    metrics: Arc<Metrics>,
}

/// The waits and bounds of a pool.
#[derive(Debug, Clone, Copy)]
pub(super) struct Settings {
    /// How long a request waits for a connection.
    pub(super) connect_timeout: Duration,
    /// An idle connection is closed after this long.
    pub(super) idle_timeout: Duration,
    /// How long an HTTP/1.1 connection may go on when nobody waits for its answer.
    pub(super) patience: Duration,
    /// An HTTP/2 connection without any frame is closed when it has not answered a PING for so long.
    pub(super) response_timeout: Duration,
    /// The most connections at once.
    pub(super) max_connections: usize,
}

/// A connection for one request.
pub(super) struct Taken {
    way: Way,
    stream: Stream,
    kept: Arc<Kept>,
}

/// A new connection, by its protocol.
enum Opened {
    Line(Line),
    Shared(Shared),
}

/// Returns a connection to the pool when the answer is complete. A dropped one of HTTP/1.1 closes its connection.
pub(super) enum Return {
    Line {
        line: Line,
        kept: Arc<Kept>,
        _stream: Stream,
    },
    Stream {
        _stream: Arc<Stream>,
    },
}

impl Pool {
    pub(super) fn new(
        connector: Connector,
        target: Uri,
        settings: Settings,
        metrics: Arc<Metrics>,
    ) -> Self {
        let kept = Kept::new(
            settings.idle_timeout,
            settings.max_connections,
            Arc::clone(&metrics),
        );
        Self {
            connector: ArcSwap::from_pointee(connector),
            target,
            settings,
            kept: Arc::new(kept),
            metrics,
        }
    }

    /// Opens new connections with this connector.
    pub(super) fn set_connector(&self, connector: Connector) {
        self.connector.store(Arc::new(connector));
    }

    /// A connection that is ready for a request: a kept one or a new one.
    ///
    /// # Errors
    ///
    /// When none is available in time.
    pub(super) async fn take(&self) -> Result<Taken, Error> {
        match self.kept.take() {
            Some((way, stream)) => Ok(self.taken(way, stream)),
            None => Box::pin(self.wait_or_open()).await,
        }
    }

    /// A new connection that carries no other request; any, while no further one may be open.
    ///
    /// # Errors
    ///
    /// When none is available in time.
    pub(super) async fn take_new(&self) -> Result<Taken, Error> {
        let Some((place, opening)) = self.kept.place() else {
            return self.take().await;
        };
        let deadline = tokio::time::Instant::now() + self.settings.connect_timeout;
        let opened = self.open_before(deadline, place).await;
        drop(opening);
        Ok(match opened? {
            Opened::Line(line) => self.taken(Way::Http1(line), self.kept.line_stream()),
            Opened::Shared(shared) => {
                let stream = self.kept.open_stream(&shared.signals, shared.born);
                self.taken(Way::Http2(shared.sender), stream)
            }
        })
    }

    fn taken(&self, way: Way, stream: Stream) -> Taken {
        Taken {
            way,
            stream,
            kept: Arc::clone(&self.kept),
        }
    }

    async fn wait_or_open(&self) -> Result<Taken, Error> {
        let timeout = self.settings.connect_timeout;
        let deadline = tokio::time::Instant::now() + timeout;
        let waiting = self.kept.wait();
        loop {
            let mut freed = pin!(waiting.freed().notified());
            // Whatever is freed from here on ends the wait below.
            freed.as_mut().enable();
            match waiting.next() {
                Next::Take(way, stream) => return Ok(self.taken(way, stream)),
                Next::Open(place, opening) => {
                    let opened = self.open_before(deadline, place).await;
                    drop(opening);
                    match opened? {
                        Opened::Line(line) => {
                            return Ok(self.taken(Way::Http1(line), self.kept.line_stream()));
                        }
                        Opened::Shared(shared) => self.kept.share(shared),
                    }
                }
                Next::Wait => match timeout_at(deadline, freed).await {
                    Ok(()) => {}
                    Err(Elapsed { .. }) if waiting.is_full() => {
                        return Err(Error::busy(self.settings.max_connections, timeout));
                    }
                    Err(_) => return Err(Error::connect_timeout(timeout)),
                },
            }
        }
    }

    async fn open_before(
        &self,
        deadline: tokio::time::Instant,
        place: Place,
    ) -> Result<Opened, Error> {
        let error = match timeout_at(deadline, self.open(place)).await {
            Ok(Ok(opened)) => return Ok(opened),
            Ok(Err(error)) => Error::of_connecting(&*error),
            Err(Elapsed { .. }) => Error::connect_timeout(self.settings.connect_timeout),
        };
        self.metrics
            .connection(Side::Upstream, ConnectionOutcome::Failed);
        Err(error)
    }

    async fn open(&self, place: Place) -> Result<Opened, BoxError> {
        let mut connector = Connector::clone(&self.connector.load());
        let stream = connector.call(self.target.clone()).await?;
        self.metrics
            .connection(Side::Upstream, ConnectionOutcome::Connected);
        if stream.connected().is_negotiated_h2() {
            return self.open_http2(stream, place).await.map(Opened::Shared);
        }
        let recheck = recheck(&stream);
        let open = self.metrics.upstream.connections(Protocol::Http1);
        let wire = Wire::new(TokioIo::new(stream), None, place, open);
        let (sender, connection) = http1::Builder::new()
            .max_header_size(MAX_ANSWER_HEAD)
            .max_buf_size(MAX_BUFFER)
            .handshake(TokioIo::new(wire))
            .await?;
        let (attended, leaving) = oneshot::channel();
        let (patience, metrics) = (self.settings.patience, Arc::clone(&self.metrics));
        tokio::spawn(async move {
            let ended = attend(connection, leaving, patience).await;
            if let Some(Err(error)) = ended
                && is_unsolicited(&error)
            {
                metrics.connection(Side::Upstream, ConnectionOutcome::Unsolicited);
            }
        });
        self.kept.opened_line();
        Ok(Opened::Line(Line {
            sender,
            born: Instant::now(),
            attended,
            recheck,
        }))
    }

    /// An HTTP/2 connection, as soon as the upstream has told how many streams it carries.
    async fn open_http2(&self, stream: Connected, place: Place) -> Result<Shared, BoxError> {
        let born = Instant::now();
        let signals = Arc::new(Signals::begin(born));
        let open = self.metrics.upstream.connections(Protocol::Http2);
        let wire = Wire::new(
            TokioIo::new(stream),
            Some(Arc::clone(&signals)),
            place,
            open,
        );
        let (sender, connection) = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .max_header_list_size(u32::try_from(MAX_ANSWER_HEAD).unwrap_or(u32::MAX))
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .keep_alive_interval(PING_AFTER)
            .keep_alive_timeout(self.settings.response_timeout)
            .handshake(TokioIo::new(wire))
            .await?;
        let connection = tokio::spawn(connection);
        tokio::select! {
            () = signals.settled.notified() => {}
            ended = connection => {
                return Err(match ended {
                    Ok(Err(error)) => error.into(),
                    _ => EndedAtOnce.into(),
                });
            }
        }
        Ok(Shared {
            sender,
            signals,
            born,
            since: born,
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
    /// When there is no answer.
    pub(super) async fn send(
        self,
        request: Request<Body>,
    ) -> Result<(Response<Incoming>, Return), Failure> {
        let Self {
            way, stream, kept, ..
        } = self;
        match way {
            Way::Http1(mut line) => match line.sender.try_send_request(request).await {
                Ok(answer) => {
                    let back = Return::Line {
                        line,
                        kept,
                        _stream: stream,
                    };
                    Ok((answer, back))
                }
                Err(error) => Err(Failure::of(error)),
            },
            Way::Http2(mut sender) => {
                let stream = Arc::new(stream);
                // The stream is open until both bodies are over.
                let request = match http_body::Body::is_end_stream(request.body()) {
                    true => request,
                    false => request.map(|body| body.holding(Box::new(Arc::clone(&stream)))),
                };
                match sender.try_send_request(request).await {
                    Ok(answer) => Ok((answer, Return::Stream { _stream: stream })),
                    Err(error) => {
                        let failure = Failure::of(error);
                        if failure.resent == Some(Resent::Refused) {
                            stream.refused();
                        }
                        Err(failure)
                    }
                }
            }
        }
    }
}

/// The upstream closed an HTTP/2 connection before its first settings.
#[derive(Debug, thiserror::Error)]
#[error("the service closed the new connection")]
struct EndedAtOnce;

/// Drives a connection to its end. It ends soon when nobody waits for an answer and the upstream does not read the rest of
/// the request's body; then it returns `None`.
async fn attend<T>(
    connection: impl Future<Output = T>,
    leaving: oneshot::Receiver<Arc<Progress>>,
    patience: Duration,
) -> Option<T> {
    let mut connection = pin!(connection);
    let progress = tokio::select! {
        biased;
        ended = &mut connection => return Some(ended),
        left = leaving => left.ok(),
    };
    loop {
        let before = progress.as_ref().map(|progress| progress.last());
        let ended = tokio::time::timeout(patience, &mut connection).await;
        if let Ok(ended) = ended {
            return Some(ended);
        }
        if progress.as_ref().map(|progress| progress.last()) == before {
            return None;
        }
    }
}

impl Return {
    /// Answer and request are complete.
    pub(super) fn give_back(self) {
        if let Self::Line { line, kept, .. } = self {
            kept.put_back(line);
        }
    }

    /// The answer is complete; the request is still being sent.
    pub(super) fn leave(self, progress: Arc<Progress>) {
        if let Self::Line { line, .. } = self {
            // A connection that has ended does not listen.
            let _ = line.attended.send(progress);
        }
    }
}

#[cfg(test)]
mod tests;
