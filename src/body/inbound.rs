//! The body of a message as hyper reads it.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, header};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use tokio::{runtime::Handle, time::timeout};

/// The body of a message as hyper reads it.
///
/// What nobody wants of a request's body over HTTP/1.1 is read and dropped, if it is small: its caller gets the answer, and
/// the connection may go on (RFC 9112 9.3).
#[derive(Debug)]
pub struct Inbound {
    incoming: Option<Incoming>,
    is_drained: bool,
}

/// The most that is read and dropped of one body, in bytes.
const MAX_REST: usize = 64 * 1024;
/// How long that may take.
const MAX_WAIT: Duration = Duration::from_secs(5);

impl Inbound {
    /// The body of a request over HTTP/1.1.
    pub fn of_request(headers: &HeaderMap, incoming: Incoming) -> Self {
        Self {
            incoming: Some(incoming),
            // A caller that waits for 100 (Continue) has not sent the body; reading it would ask for it.
            is_drained: !headers.contains_key(header::EXPECT),
        }
    }
}

impl From<Incoming> for Inbound {
    fn from(incoming: Incoming) -> Self {
        Self {
            incoming: Some(incoming),
            is_drained: false,
        }
    }
}

impl Body for Inbound {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<hyper::Result<Frame<Bytes>>>> {
        match &mut self.incoming {
            Some(incoming) => Pin::new(incoming).poll_frame(cx),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming
            .as_ref()
            .map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}

impl Drop for Inbound {
    fn drop(&mut self) {
        let Some(incoming) = self.incoming.take().filter(|_| self.is_drained) else {
            return;
        };
        let is_small = incoming.size_hint().lower() <= MAX_REST as u64;
        if is_small
            && !incoming.is_end_stream()
            && let Ok(runtime) = Handle::try_current()
        {
            runtime.spawn(timeout(MAX_WAIT, drain(incoming)));
        }
    }
}

/// Reads a body and drops it. hyper closes the connection of a body that is dropped before its end.
async fn drain(mut incoming: Incoming) {
    let mut read = 0;
    while let Some(Ok(frame)) = incoming.frame().await {
        read += frame.data_ref().map_or(0, Bytes::len);
        if read > MAX_REST {
            return;
        }
    }
}
