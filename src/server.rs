//! The accept loop of the data listener and the life of its connections.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use http::{Request, Response};
use prometheus::IntGauge;
use socket2::{SockFilter, SockRef};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Semaphore, watch},
};
use tokio_util::task::TaskTracker;
use tracing::{debug, warn};

use self::{connection::Connection, socket::Socket, tls::Tls};
use crate::{
    body::{Body, Inbound},
    metrics::{
        Metrics,
        label::{ConnectionOutcome, OwnFailure, Side},
    },
    pace::Pace,
};

mod begun;
mod connection;
mod linger;
mod preface;
mod socket;
pub mod tls;
mod wire;

/// The limits of one caller of the data listener.
#[derive(Debug, Clone)]
pub struct Settings {
    /// From the first byte of a request to the end of its header section.
    pub header_timeout: Duration,
    /// A connection without a request is closed after this long.
    pub idle_timeout: Duration,
    /// A connection is closed if the other side reads nothing for this long. Longer than any answer may pause.
    pub write_timeout: Duration,
    /// Upper bound of a request's header section, in bytes.
    pub max_header_bytes: usize,
    /// Upper bound of the number of header fields of a request.
    pub max_headers: usize,
    /// The maximum number of open connections; a further one is answered 503 and closed.
    pub max_connections: usize,
}

/// Answers the requests of a listener.
pub trait Handler: Clone + Send + Sync + 'static {
    /// Answers one request.
    fn handle(&self, request: Request<Inbound>) -> impl Future<Output = Response<Body>> + Send;

    /// A complete HTTP/1.1 answer to bytes that were not parsed as a request: status 400, 414, 431 or 503. `stray` is the
    /// byte of the target that is the cause, if there is one.
    fn unread(status: u16, stray: Option<u8>) -> Vec<u8>;

    /// A complete HTTP/1.1 answer to a request in clear text where TLS is asked for: status 400.
    fn clear_text() -> Vec<u8> {
        let text = "This port speaks TLS. Call it with https://.\n";
        let length = text.len();
        let head = format!(
            "HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n"
        );
        (head + text).into_bytes()
    }
}

/// Whether the program accepts connections or is ending.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Connections are accepted.
    Serving,
    /// No new connections; open ones finish their requests.
    Stopping,
}

/// Waits until the program accepts nothing more.
async fn stopping(phase: &mut watch::Receiver<Phase>) {
    let _ = phase.wait_for(|phase| *phase == Phase::Stopping).await;
}

/// The connections without a place that are answered at once; further ones may lose their answer.
const TURNED_AWAY: usize = 10;
/// A program for the kernel's packet filter, which sees a TCP header: it drops what would open a connection (SYN without
/// ACK, RFC 9293 3.1).
const DROP_SYN: [SockFilter; 5] = [
    // The flags, of them SYN and ACK.
    SockFilter::new(0x30, 0, 0, 13),
    SockFilter::new(0x54, 0, 0, 0x12),
    SockFilter::new(0x15, 0, 1, 0x02),
    SockFilter::new(0x06, 0, 0, 0),
    SockFilter::new(0x06, 0, 0, u32::MAX),
];
/// How long the last handshakes of TCP may take.
const LAST_HANDSHAKES: Duration = Duration::from_millis(50);
/// The pause after a connection could not be accepted: the system lacks a resource.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// A socket that listens.
#[derive(Debug)]
pub struct Listener {
    /// The socket.
    pub socket: TcpListener,
    /// Whether it ends with this program. That of a service manager stays open, and connections wait there for the next
    /// start.
    pub is_ours: bool,
}

/// What a listener serves its connections with.
pub struct Server<H> {
    /// The limits of its callers.
    pub settings: Settings,
    /// Answers their requests.
    pub handler: H,
    /// Without it, the listener speaks clear text.
    pub tls: Option<Arc<Tls>>,
    /// Counts the connections, if they are those of the data listener.
    pub metrics: Option<Arc<Metrics>>,
    /// Tells when to stop.
    pub phase: watch::Receiver<Phase>,
}

impl<H: Handler> Server<H> {
    /// Accepts connections until told to stop, then waits until all are closed.
    pub async fn serve(self, listener: Listener) {
        let Listener {
            socket: listener,
            is_ours,
        } = listener;
        let mut phase = self.phase.clone();
        let mut failures = Pace::default();
        let places = Places {
            open: Arc::new(Semaphore::new(self.settings.max_connections)),
            turned_away: Arc::new(Semaphore::new(TURNED_AWAY)),
            settings: Arc::new(self.settings.clone()),
            connections: TaskTracker::new(),
        };
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = stopping(&mut phase) => break,
            };
            match accepted {
                Ok((stream, _)) => self.take(stream, &places),
                Err(error) => {
                    self.count(ConnectionOutcome::Failed);
                    if let Some(failed) = failures.event(Instant::now()) {
                        warn!(%error, failed, "Cannot accept a connection; trying again");
                    }
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
        if is_ours {
            self.empty(listener, &places).await;
        }
        places.connections.close();
        places.connections.wait().await;
    }

    /// Serves the connections that wait in the listener's queue, since closing the listener would reset them. Before that it
    /// lets no further one begin: their first packets are dropped, and sent again when the listener is gone.
    async fn empty(&self, listener: TcpListener, places: &Places) {
        if let Err(error) = SockRef::from(&listener).attach_filter(&DROP_SYN) {
            debug!(%error, "Connections that come at the very end may be reset");
        }
        let Ok(listener) = listener.into_std() else {
            return;
        };
        for is_last in [false, true] {
            if is_last {
                tokio::time::sleep(LAST_HANDSHAKES).await;
            }
            while let Ok((stream, _)) = listener.accept() {
                let stream = stream
                    .set_nonblocking(true)
                    .and_then(|()| TcpStream::from_std(stream));
                if let Ok(stream) = stream {
                    self.take(stream, places);
                }
            }
        }
    }

    /// Serves a connection, if there is a place for it.
    fn take(&self, stream: TcpStream, places: &Places) {
        let Ok(place) = Arc::clone(&places.open).try_acquire_owned() else {
            return self.turn_away(stream, places);
        };
        self.count(ConnectionOutcome::Accepted);
        let open = self
            .metrics
            .as_ref()
            .map(|metrics| Open::new(metrics.open_connections(Side::Downstream)));
        let connection = Connection {
            settings: Arc::clone(&places.settings),
            handler: self.handler.clone(),
            tls: self.tls.clone(),
            metrics: self.metrics.clone(),
            phase: self.phase.clone(),
        };
        places.connections.spawn(async move {
            connection.run(stream).await;
            drop((place, open));
        });
    }

    fn turn_away(&self, stream: TcpStream, places: &Places) {
        self.count(ConnectionOutcome::Refused);
        if let Some(metrics) = &self.metrics {
            metrics.own_failure(OwnFailure::TooManyConnections);
        }
        let answer = H::unread(503, None);
        let tls = self.tls.clone();
        match Arc::clone(&places.turned_away).try_acquire_owned() {
            Ok(turn) => {
                tokio::spawn(async move {
                    match tls {
                        None => linger::turn_away(Socket::Clear(stream), &answer).await,
                        Some(tls) => tls.turn_away(stream, &answer).await,
                    }
                    drop(turn);
                });
            }
            // As much as the socket's buffer takes at once.
            Err(_) if tls.is_none() => drop(stream.try_write(&answer)),
            Err(_) => {}
        }
    }

    fn count(&self, outcome: ConnectionOutcome) {
        if let Some(metrics) = &self.metrics {
            metrics.connection(Side::Downstream, outcome);
        }
    }
}

/// The places of a listener's connections.
struct Places {
    open: Arc<Semaphore>,
    turned_away: Arc<Semaphore>,
    settings: Arc<Settings>,
    connections: TaskTracker,
}

/// Counts a connection while it is open.
struct Open(IntGauge);

impl Open {
    fn new(open: IntGauge) -> Self {
        open.inc();
        Self(open)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.dec();
    }
}
