//! Drives an HTTP/1.1 connection to the upstream.

use std::{convert::Infallible, future::Future, pin::pin, time::Duration};

use tokio::{sync::oneshot, time::timeout};

/// Drives a connection to its end. When nobody waits for an answer any more, so that `attended` has gone, a rest of the
/// request's body may be sent for as long as `patience`; then this returns `None`.
pub(super) async fn attend<T>(
    connection: impl Future<Output = T>,
    attended: oneshot::Receiver<Infallible>,
    patience: Duration,
) -> Option<T> {
    let mut connection = pin!(connection);
    tokio::select! {
        biased;
        ended = &mut connection => return Some(ended),
        _ = attended => {}
    }
    timeout(patience, connection).await.ok()
}
