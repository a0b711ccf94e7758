//! Writes that go on when their callers leave, and panics that end one request only.

use std::{
    panic::AssertUnwindSafe,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, ready},
};

use http::Response;
use tokio::runtime::Handle;
use tokio_util::task::TaskTracker;

use crate::body::Body;

/// A write in flight. When its caller leaves, a task of its own finishes it if the upstream may have it; else it is
/// dropped.
pub(super) struct Lasting<'g, F: Future<Output = Response<Body>> + Send + 'static> {
    pub(super) writing: Option<Pin<Box<F>>>,
    pub(super) sent: Arc<AtomicBool>,
    pub(super) writes: &'g TaskTracker,
}

impl<F: Future<Output = Response<Body>> + Send + 'static> Future for Lasting<'_, F> {
    type Output = Response<Body>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let writing = self
            .writing
            .as_mut()
            .expect("a future is not polled after it was ready");
        let answer = ready!(writing.as_mut().poll(cx));
        self.writing = None;
        Poll::Ready(answer)
    }
}

impl<F: Future<Output = Response<Body>> + Send + 'static> Drop for Lasting<'_, F> {
    fn drop(&mut self) {
        if let Some(writing) = self.writing.take()
            && self.sent.load(Ordering::Acquire)
            && let Ok(runtime) = Handle::try_current()
        {
            // The answer is dropped, and so recorded, before the write counts as finished.
            let finished = async move { drop(writing.await) };
            self.writes.spawn_on(finished, &runtime);
        }
    }
}

/// Runs `step`, or returns the text of its panic: a bug costs one request, not the connection or the process.
pub(super) async fn caught<F: Future>(mut step: Pin<&mut F>) -> Result<F::Output, String> {
    std::future::poll_fn(move |cx| {
        match std::panic::catch_unwind(AssertUnwindSafe(|| step.as_mut().poll(cx))) {
            Ok(Poll::Ready(outcome)) => Poll::Ready(Ok(outcome)),
            Ok(Poll::Pending) => Poll::Pending,
            Err(panic) => {
                let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
                Poll::Ready(Err(text
                    .or_else(|| panic.downcast_ref::<String>().cloned())
                    .unwrap_or_default()))
            }
        }
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A write that the upstream may have.
    fn sent<F>(writing: F, writes: &TaskTracker) -> Lasting<'_, F>
    where
        F: Future<Output = Response<Body>> + Send + 'static,
    {
        Lasting {
            writing: Some(Box::pin(writing)),
            sent: Arc::new(AtomicBool::new(true)),
            writes,
        }
    }

    #[tokio::test]
    async fn only_a_write_that_has_no_answer_yet_goes_on_without_its_caller() {
        let writes = TaskTracker::new();
        drop(sent(std::future::pending(), &writes));
        assert_eq!(writes.len(), 1);

        let writes = TaskTracker::new();
        sent(async { Response::new(Body::empty()) }, &writes).await;
        assert!(writes.is_empty());
    }
}
