//! The body of a message as hyper reads it.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, ready},
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
    of: Of,
}

/// What it is the body of.
#[derive(Debug)]
enum Of {
    /// A request over HTTP/1.1 that is not read to its end.
    Request(OfRequest),
    /// Another message over HTTP/1.1.
    Http1,
    /// A request over HTTP/2.
    Http2Request,
    /// An answer over HTTP/2.
    Http2,
}

#[derive(Debug)]
struct OfRequest {
    /// A caller that waits for 100 (Continue) has not sent the body; reading it would ask for it.
    is_awaited: bool,
    left: Left,
}

/// Whether a part of a request's body is left unread, so that the connection must be closed.
#[derive(Debug, Clone, Default)]
pub struct Left(Arc<AtomicBool>);

impl Left {
    /// Whether it is.
    pub fn is_unread(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// The most that is read and dropped of one body, in bytes.
const MAX_REST: u64 = 64 * 1024;
/// How long that may take.
const MAX_WAIT: Duration = Duration::from_secs(5);

/// How long the body of a stream is read and dropped, and how much of it. Those of HTTP/1.1 connections are the same.
const MAX_LINGER: Duration = Duration::from_secs(20);
const MAX_LINGERED: usize = 256 * 1024 * 1024;

impl Inbound {
    /// The body of a request over HTTP/1.1, and what becomes of it, if there is one.
    pub fn of_request(headers: &HeaderMap, incoming: Incoming) -> (Self, Option<Left>) {
        if incoming.is_end_stream() {
            return (Self::of(incoming, false), None);
        }
        let left = Left::default();
        let body = Self {
            incoming: Some(incoming),
            of: Of::Request(OfRequest {
                is_awaited: headers.contains_key(header::EXPECT),
                left: left.clone(),
            }),
        };
        (body, Some(left))
    }

    /// The body of a request over HTTP/2.
    ///
    /// What nobody wants of it is read and dropped while the caller sends it: many clients take a reset behind a complete
    /// answer (RFC 9113 8.1) for a failure, and lose the answer.
    pub fn of_http2_request(incoming: Incoming) -> Self {
        Self {
            incoming: Some(incoming),
            of: Of::Http2Request,
        }
    }

    /// The body of any other message, over HTTP/2 or HTTP/1.1.
    pub fn of(incoming: Incoming, is_http2: bool) -> Self {
        Self {
            incoming: Some(incoming),
            of: if is_http2 { Of::Http2 } else { Of::Http1 },
        }
    }

    /// Whether a body that has no further frame did not end: hyper does not tell the end of a stream from its reset with
    /// `NO_ERROR`. A reset behind the end (RFC 9113 8.1) does not cut it.
    pub fn is_cut(&self) -> bool {
        let is_http2 = matches!(self.of, Of::Http2 | Of::Http2Request);
        is_http2
            && self
                .incoming
                .as_ref()
                .is_some_and(|incoming| !incoming.is_end_stream())
    }
}

impl Body for Inbound {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<hyper::Result<Frame<Bytes>>>> {
        let Some(incoming) = &mut self.incoming else {
            return Poll::Ready(None);
        };
        let frame = ready!(Pin::new(incoming).poll_frame(cx));
        if let (None, Of::Request(_)) = (&frame, &self.of) {
            // A body in chunks does not say so later.
            self.of = Of::Http1;
        }
        Poll::Ready(frame)
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
        let Some(incoming) = self.incoming.take().filter(|body| !body.is_end_stream()) else {
            return;
        };
        let runtime = Handle::try_current().ok();
        match &self.of {
            Of::Http1 | Of::Http2 => {}
            Of::Http2Request => {
                if let Some(runtime) = runtime {
                    runtime.spawn(timeout(MAX_LINGER, linger(incoming)));
                }
            }
            Of::Request(OfRequest { is_awaited, left }) => {
                // The rest of a body in chunks may be of any size.
                let rest = incoming.size_hint().exact();
                let is_small = rest.is_some_and(|rest| rest <= MAX_REST);
                match runtime {
                    Some(runtime) if is_small && !is_awaited => {
                        runtime.spawn(timeout(MAX_WAIT, drain(incoming)));
                    }
                    _ => left.0.store(true, Ordering::Release),
                }
            }
        }
    }
}

/// Reads the body of a stream and drops it, up to a bound and while it comes. hyper resets the stream of a body that is
/// dropped before its end.
async fn linger(mut incoming: Incoming) {
    let mut dropped = 0;
    while let Ok(Some(Ok(frame))) = timeout(MAX_WAIT, incoming.frame()).await {
        dropped += frame.data_ref().map_or(0, Bytes::len);
        if dropped > MAX_LINGERED {
            return;
        }
    }
}

/// Reads a body and drops it. hyper closes the connection of a body that is dropped before its end.
async fn drain(mut incoming: Incoming) {
    while let Some(Ok(_)) = incoming.frame().await {}
}
