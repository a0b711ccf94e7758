//! Connections to the upstream: opened on demand, kept for the next request, closed when they are old.
//!
//! An HTTP/1.1 connection carries one request at a time; one of HTTP/2 carries as many as the upstream allows.

use std::{
    pin::pin,
    sync::Arc,
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use http::Uri;
use hyper::client::conn::{http1, http2};
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
    attend::attend,
    connector::{Connected, Connector, recheck},
    error::{Error, is_unsolicited},
    failure::Refusals,
    kept::{Kept, Next, Place},
    signals::{PING_AFTER, Signals},
    stream::Stream,
    taken::Taken,
    tunnel::BoxError,
    way::{Line, Shared, Way},
    wire::Wire,
};
use crate::metrics::{
    Metrics,
    label::{ConnectionOutcome, Protocol, Side},
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
    /// How long a rest of a request's body may be sent over HTTP/1.1 when nobody waits for an answer.
    pub(super) patience: Duration,
    /// An HTTP/2 connection without any frame is closed when it has not answered a PING for so long.
    pub(super) response_timeout: Duration,
    /// The most connections at once.
    pub(super) max_connections: usize,
}

/// A new connection, by its protocol.
enum Opened {
    Line(Line),
    Shared(Shared),
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

    /// A connection that is ready for a request, a kept one or a new one, but none that has refused it.
    ///
    /// # Errors
    ///
    /// When none is available in time.
    pub(super) async fn take(&self, refused_by: &Refusals, now: Instant) -> Result<Taken, Error> {
        match self.kept.take(refused_by, now) {
            Some((way, stream)) => Ok(self.taken(way, stream, now)),
            None => Box::pin(self.wait_or_open(refused_by)).await,
        }
    }

    /// A new connection that carries no other request; any, while no further one may be open.
    ///
    /// # Errors
    ///
    /// When none is available in time.
    pub(super) async fn take_new(&self) -> Result<Taken, Error> {
        let Some((place, opening)) = self.kept.place() else {
            return self.take(&Refusals::default(), Instant::now()).await;
        };
        let deadline = tokio::time::Instant::now() + self.settings.connect_timeout;
        let opened = self.open_before(deadline, place).await;
        drop(opening);
        let (taken, _) = self.first_on(opened?);
        Ok(taken)
    }

    /// The first request on a new connection, and the connection if it may carry more of them at once.
    fn first_on(&self, opened: Opened) -> (Taken, Option<Shared>) {
        match opened {
            Opened::Line(line) => {
                let taken = self.taken(Way::Http1(line), self.kept.line_stream(), Instant::now());
                (taken, None)
            }
            Opened::Shared(shared) => {
                let stream = self.kept.open_stream(&shared.signals, shared.born);
                let taken = self.taken(Way::Http2(shared.sender.clone()), stream, Instant::now());
                (taken, Some(shared))
            }
        }
    }

    fn taken(&self, way: Way, stream: Stream, since: Instant) -> Taken {
        Taken::new(way, stream, Arc::clone(&self.kept), since)
    }

    async fn wait_or_open(&self, refused_by: &Refusals) -> Result<Taken, Error> {
        let timeout = self.settings.connect_timeout;
        let deadline = tokio::time::Instant::now() + timeout;
        let waiting = self.kept.wait();
        loop {
            let mut freed = pin!(waiting.freed().notified());
            // Whatever is freed from here on ends the wait below.
            freed.as_mut().enable();
            match waiting.next(refused_by) {
                Next::Take(way, stream) => return Ok(self.taken(way, stream, Instant::now())),
                Next::WaitFor(mut line) => match timeout_at(deadline, line.sender.ready()).await {
                    Ok(_) => {
                        let (way, stream) = self.kept.on_line(line);
                        return Ok(self.taken(way, stream, Instant::now()));
                    }
                    Err(Elapsed { .. }) => {
                        self.kept.put_back(line);
                        return Err(Error::busy(self.settings.max_connections, timeout));
                    }
                },
                Next::Open(place, opening) => {
                    let opened = self.open_before(deadline, place).await;
                    drop(opening);
                    let (taken, shared) = self.first_on(opened?);
                    if let Some(shared) = shared {
                        self.kept.share(shared);
                    }
                    return Ok(taken);
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
        self.begin(stream, place).await
    }

    /// The first request on a connection that was opened elsewhere.
    ///
    /// # Errors
    ///
    /// When the connection carries none, or no further one may be open.
    pub(super) async fn take_opened(&self, stream: Connected) -> Result<Taken, BoxError> {
        let (place, opening) = self.kept.place().ok_or(NoPlace)?;
        let opened = self.begin(stream, place).await;
        drop(opening);
        let (taken, _) = self.first_on(opened?);
        Ok(taken)
    }

    async fn begin(&self, stream: Connected, place: Place) -> Result<Opened, BoxError> {
        let opened = match stream.connected().is_negotiated_h2() {
            true => Opened::Shared(self.open_http2(stream, place).await?),
            false => Opened::Line(self.open_http1(stream, place).await?),
        };
        self.metrics
            .connection(Side::Upstream, ConnectionOutcome::Connected);
        Ok(opened)
    }

    async fn open_http1(&self, stream: Connected, place: Place) -> Result<Line, BoxError> {
        let recheck = recheck(&stream);
        let open = self.metrics.upstream.connections(Protocol::Http1);
        let wire = Wire::new(TokioIo::new(stream), None, place, open);
        let (sender, connection) = http1::Builder::new()
            .max_header_size(MAX_ANSWER_HEAD)
            .max_buf_size(MAX_BUFFER)
            .handshake(TokioIo::new(wire))
            .await?;
        let (attended, watched) = oneshot::channel();
        let (patience, metrics) = (self.settings.patience, Arc::clone(&self.metrics));
        tokio::spawn(async move {
            let ended = attend(connection, watched, patience).await;
            if let Some(Err(error)) = ended
                && is_unsolicited(&error)
            {
                metrics.connection(Side::Upstream, ConnectionOutcome::Unsolicited);
            }
        });
        self.kept.opened_line();
        Ok(Line {
            sender,
            born: Instant::now(),
            attended,
            recheck,
        })
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
        let kept = Arc::clone(&self.kept);
        let connection = tokio::spawn(async move {
            let ended = connection.await;
            kept.let_go();
            ended
        });
        tokio::select! {
            () = signals.settled.notified() => {}
            ended = connection => {
                return Err(match ended {
                    Ok(Err(error)) => error.into(),
                    _ => EndedAtOnce.into(),
                });
            }
        }
        if signals.max_streams() == 0 {
            return Err(NoStreams.into());
        }
        Ok(Shared {
            sender,
            signals,
            born,
            since: born,
        })
    }
}

/// The upstream closed an HTTP/2 connection before its first settings.
#[derive(Debug, thiserror::Error)]
#[error("the service closed the new connection")]
struct EndedAtOnce;

/// No further connection may be open.
#[derive(Debug, thiserror::Error)]
#[error("upstream.max_connections are open")]
struct NoPlace;

/// The settings of an HTTP/2 connection allow no request.
#[derive(Debug, thiserror::Error)]
#[error("the service allows no streams on a new connection")]
struct NoStreams;

#[cfg(test)]
mod tests;
