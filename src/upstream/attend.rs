//! Drives an HTTP/1.1 connection to the upstream.

use std::{future::Future, pin::pin, sync::Arc, time::Duration};

use tokio::sync::oneshot;

use super::progress::Progress;

/// Drives a connection to its end. It ends soon when nobody waits for an answer and the upstream does not read the rest of
/// the request's body; then it returns `None`.
pub(super) async fn attend<T>(
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
