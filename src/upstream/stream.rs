//! One request and its answer on a connection to the upstream.

use std::sync::Arc;

use prometheus::IntGauge;
use tokio::sync::Notify;

use super::signals::Signals;

/// A request and its answer on a connection; counted while they are under way.
pub(super) struct Stream {
    open: IntGauge,
    /// Those of an HTTP/2 connection, and who waits for a stream of it.
    shared: Option<(Arc<Signals>, Arc<Notify>)>,
}

impl Stream {
    /// The one exchange at a time of an HTTP/1.1 connection.
    pub(super) fn only(open: IntGauge) -> Self {
        open.inc();
        Self { open, shared: None }
    }

    /// One of many on an HTTP/2 connection, which has counted it already.
    pub(super) fn shared(open: IntGauge, signals: Arc<Signals>, freed: Arc<Notify>) -> Self {
        open.inc();
        Self {
            open,
            shared: Some((signals, freed)),
        }
    }

    /// What is known of its HTTP/2 connection.
    pub(super) fn signals(&self) -> Option<&Arc<Signals>> {
        self.shared.as_ref().map(|(signals, _)| signals)
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.open.dec();
        if let Some((signals, freed)) = &self.shared {
            signals.close_stream();
            freed.notify_one();
        }
    }
}
