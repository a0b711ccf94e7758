//! A connection that a request has taken, until its answer is complete.

use std::{pin::pin, sync::Arc, time::Instant};

use http::{Request, Response};
use hyper::body::Incoming;

use super::{
    A_REQUEST,
    failure::Failure,
    kept::Kept,
    stream::Stream,
    way::{Line, Way},
};
use crate::body::Body;

/// A connection for one request.
pub(super) struct Taken {
    way: Way,
    stream: Arc<Stream>,
    kept: Arc<Kept>,
    since: Instant,
}

/// Returns a connection to the pool when the answer is complete. A dropped one of HTTP/1.1 closes its connection.
pub(super) struct Return {
    /// That of HTTP/1.1.
    line: Option<Line>,
    kept: Arc<Kept>,
    _stream: Arc<Stream>,
}

impl Taken {
    pub(super) fn new(way: Way, stream: Stream, kept: Arc<Kept>, since: Instant) -> Self {
        Self {
            way,
            stream: Arc::new(stream),
            kept,
            since,
        }
    }

    /// When it was taken.
    pub(super) fn since(&self) -> Instant {
        self.since
    }

    /// Whether requests are written as HTTP/2.
    pub(super) fn is_http2(&self) -> bool {
        matches!(self.way, Way::Http2(_))
    }

    /// Sends a request, which it takes, and waits for the head of its answer.
    ///
    /// A connection may end just as the request is given to it. hyper gives back what then waits in the connection's queue,
    /// but it may miss what another thread is putting there at that moment, and all behind it. That is given back when the
    /// last sender is dropped: so nobody who waits for an answer holds a sender of a connection that has ended.
    ///
    /// # Errors
    ///
    /// When there is no answer. The request is given back if no part of it was taken.
    pub(super) async fn send(
        self,
        request: &mut Option<Request<Body>>,
    ) -> Result<(Response<Incoming>, Return), Failure> {
        let Self {
            way, stream, kept, ..
        } = self;
        let (answer, line) = match way {
            Way::Http1(mut line) => {
                // It may need another moment after the last answer.
                if let Err(error) = line.sender.ready().await {
                    return Err(Failure::unused(error));
                }
                let sent = request.take().expect(A_REQUEST);
                let mut answer = pin!(line.sender.try_send_request(sent));
                let (answer, line) = tokio::select! {
                    biased;
                    answer = &mut answer => (answer, Some(line)),
                    () = line.attended.closed() => {
                        drop(line);
                        (answer.await, None)
                    }
                };
                (answer.map_err(|error| Failure::of(error, request))?, line)
            }
            Way::Http2(mut sender) => {
                let mut sent = request.take().expect(A_REQUEST);
                let has_body = !http_body::Body::is_end_stream(sent.body());
                if has_body {
                    // The stream is open until both bodies are over.
                    let guard = Box::new(Arc::clone(&stream));
                    sent = sent.map(|body| body.holding(guard));
                }
                let answer = sender.try_send_request(sent);
                drop(sender);
                let answer = answer.await.map_err(|error| {
                    let failure = Failure::of(error, request);
                    failure.over_http2(has_body, stream.signals())
                })?;
                (answer, None)
            }
        };
        let back = Return {
            line,
            kept,
            _stream: stream,
        };
        Ok((answer, back))
    }
}

impl Return {
    /// Answer and request are complete.
    pub(super) fn give_back(self) {
        if let Some(line) = self.line {
            self.kept.put_back(line);
        }
    }
}

#[cfg(test)]
mod tests;
