//! The accept loop of the data listener and the life of its connections.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use http::{Request, Response};
use prometheus::IntGauge;
use tokio::{
    net::TcpListener,
    sync::{Semaphore, watch},
};
use tokio_util::task::TaskTracker;
use tracing::warn;

use self::connection::Connection;
use crate::{
    body::{Body, Inbound},
    metrics::{
        Metrics,
        label::{ConnectionOutcome, Side},
    },
    pace::Pace,
};

mod connection;
mod linger;
mod preface;
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
/// The pause after a connection could not be accepted: the system lacks a resource.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Accepts connections until told to stop, then waits until all are closed.
///
/// `metrics` counts the connections, if they are those of the data listener.
pub async fn serve<H: Handler>(
    listener: TcpListener,
    settings: Settings,
    handler: H,
    metrics: Option<Arc<Metrics>>,
    mut phase: watch::Receiver<Phase>,
) {
    let places = Arc::new(Semaphore::new(settings.max_connections));
    let turned_away = Arc::new(Semaphore::new(TURNED_AWAY));
    let settings = Arc::new(settings);
    let connections = TaskTracker::new();
    let count = |outcome| {
        if let Some(metrics) = &metrics {
            metrics.connection(Side::Downstream, outcome);
        }
    };
    let mut failures = Pace::default();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = phase.wait_for(|phase| *phase == Phase::Stopping) => break,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                count(ConnectionOutcome::Failed);
                if let Some(failed) = failures.event(Instant::now()) {
                    warn!(%error, failed, "Cannot accept a connection; trying again");
                }
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
            count(ConnectionOutcome::Refused);
            let answer = H::unread(503, None);
            match Arc::clone(&turned_away).try_acquire_owned() {
                Ok(turn) => {
                    tokio::spawn(async move {
                        linger::turn_away(stream, &answer).await;
                        drop(turn);
                    });
                }
                // As much as the socket's buffer takes at once.
                Err(_) => drop(stream.try_write(&answer)),
            }
            continue;
        };
        count(ConnectionOutcome::Accepted);
        let open = metrics
            .as_ref()
            .map(|metrics| Open::new(metrics.open_connections(Side::Downstream)));
        let connection = Connection {
            settings: Arc::clone(&settings),
            handler: handler.clone(),
            metrics: metrics.clone(),
            phase: phase.clone(),
        };
        connections.spawn(async move {
            connection.run(stream).await;
            drop((place, open));
        });
    }
    drop(listener);
    connections.close();
    connections.wait().await;
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
