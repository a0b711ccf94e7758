//! An open connection to the upstream, by its protocol.

use std::{convert::Infallible, sync::Arc, time::Instant};

use hyper::client::conn::{http1, http2};
use tokio::sync::oneshot;

use super::{connector::Recheck, signals::Signals};
use crate::body::Body;

/// A connection that carries one request at a time.
pub(super) struct Line {
    pub(super) sender: http1::SendRequest<Body>,
    pub(super) born: Instant,
    /// There while somebody waits for an answer, or may ask for one.
    pub(super) attended: oneshot::Sender<Infallible>,
    pub(super) recheck: Recheck,
}

/// A connection that carries many requests at once.
pub(super) struct Shared {
    pub(super) sender: http2::SendRequest<Body>,
    pub(super) signals: Arc<Signals>,
    pub(super) born: Instant,
    /// The last request.
    pub(super) since: Instant,
}

/// A connection for one request, by its protocol.
pub(super) enum Way {
    Http1(Line),
    Http2(http2::SendRequest<Body>),
}
