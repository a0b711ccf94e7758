//! The bytes of one HTTP/1.1 connection, between the socket and hyper.
//!
//! hyper parses. This does what hyper does not do:
//!
//! * it times out slow header sections;
//! * it refuses a request with both `Content-Length` and `Transfer-Encoding` (RFC 9112 6.1) or with a fragment in its
//!   target (3.2), which hyper repairs silently;
//! * it names the byte that no target may hold, which hyper refuses without a cause;
//! * it answers a caller that has half-closed its connection after a whole request (RFC 9112 9.6);
//! * it replaces hyper's own error answers by ours.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{Buf, Bytes, BytesMut};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::Sleep,
};

use self::scanner::Scanner;
use super::{begun::Begun, socket::Socket};
use crate::metrics::{Metrics, label::RequestError};

mod scanner;

#[cfg(test)]
mod tests;

/// Whether a request is being handled on a connection.
#[derive(Debug, Clone, Default)]
pub(super) struct Handling(Arc<HandlingState>);

#[derive(Debug, Default)]
struct HandlingState {
    requests: AtomicUsize,
    /// The requests so far.
    begun: AtomicUsize,
    /// One of our answers may not be written completely yet.
    unwritten: AtomicBool,
}

impl Handling {
    /// A request is being handled until the guard is dropped.
    pub(super) fn begin(&self) -> Guard {
        self.0.requests.fetch_add(1, Ordering::AcqRel);
        self.0.begun.fetch_add(1, Ordering::AcqRel);
        self.0.unwritten.store(true, Ordering::Release);
        Guard(Self(Arc::clone(&self.0)))
    }

    fn is_idle(&self) -> bool {
        self.0.requests.load(Ordering::Acquire) == 0
    }

    /// The number of requests so far.
    fn begun(&self) -> usize {
        self.0.begun.load(Ordering::Acquire)
    }

    /// hyper has written everything.
    fn flushed(&self) {
        if self.is_idle() {
            self.0.unwritten.store(false, Ordering::Release);
        }
    }

    /// Whether a byte written now can only be hyper's own answer.
    fn is_silent(&self) -> bool {
        self.is_idle() && !self.0.unwritten.load(Ordering::Acquire)
    }
}

/// A request is being handled.
#[derive(Debug)]
pub(super) struct Guard(Handling);

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.0.requests.fetch_sub(1, Ordering::AcqRel);
    }
}

/// How long a byte that waits on the socket may take to be read.
const LAST_LOOK: Duration = Duration::from_millis(100);

/// A connection that hyper reads and writes.
pub(super) struct Wire<S = Begun> {
    stream: S,
    scanner: Scanner,
    handling: Handling,
    header_timeout: Duration,
    write_timeout: Duration,
    /// Runs while the other side does not read.
    stalled: Option<Pin<Box<Sleep>>>,
    deadline: Option<Pin<Box<Sleep>>>,
    metrics: Option<Arc<Metrics>>,
    unread: fn(u16, Option<u8>) -> Vec<u8>,
    /// An answer that replaces hyper's, not yet written.
    instead: BytesMut,
    /// Bytes that were scanned and are to be read again.
    again: Bytes,
    /// What is left to read.
    input: Input,
}

/// What is left to read on a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Input {
    /// Whatever the other side sends.
    Open,
    /// The other side will send no more.
    HalfClosed,
    /// A refused request: it is answered 400 in its turn, and nothing after it is read.
    Refused,
    /// A refused request that was answered.
    Ended,
}

impl<S> Wire<S> {
    pub(super) fn new(
        stream: S,
        handling: Handling,
        header_timeout: Duration,
        write_timeout: Duration,
        metrics: Option<Arc<Metrics>>,
        unread: fn(u16, Option<u8>) -> Vec<u8>,
    ) -> Self {
        Self {
            stream,
            scanner: Scanner::default(),
            handling,
            header_timeout,
            write_timeout,
            stalled: None,
            deadline: None,
            metrics,
            unread,
            instead: BytesMut::new(),
            again: Bytes::new(),
            input: Input::Open,
        }
    }

    /// The result of a write, or an error if the other side has read nothing for too long.
    fn unless_stalled(
        &mut self,
        cx: &mut Context<'_>,
        written: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        if written.is_ready() {
            self.stalled = None;
            return written;
        }
        let timeout = self.write_timeout;
        let stalled = self
            .stalled
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(timeout)));
        ready!(stalled.as_mut().poll(cx));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }

    fn count(&self, kind: RequestError) {
        if let Some(metrics) = &self.metrics {
            metrics.request_error(kind);
        }
    }

    /// The byte of the target that is the cause of a refusal, if there is one.
    fn stray(&self) -> Option<u8> {
        self.scanner.stray(self.handling.begun())
    }

    /// The answer that replaces hyper's own, if these bytes are one.
    fn answer_instead(&self, written: &[u8]) -> Option<BytesMut> {
        if !self.handling.is_silent() {
            return None;
        }
        let status = written.strip_prefix(b"HTTP/1.1 ")?.get(..3)?;
        let status = std::str::from_utf8(status).ok()?.parse().ok()?;
        // hyper checks the size of the whole head first.
        let status = if status == 431 && self.scanner.target_is_too_long() {
            414
        } else {
            status
        };
        let kind = match status {
            400 => RequestError::Malformed,
            414 => RequestError::UriTooLong,
            431 => RequestError::HeaderTooLarge,
            _ => return None,
        };
        self.count(kind);
        Some(BytesMut::from(&*(self.unread)(status, self.stray())))
    }
}

impl Wire {
    /// Returns bytes that were read, so that they are read again.
    pub(super) fn take_back(&mut self, bytes: &[u8]) {
        // Copied: even an empty piece would keep the whole buffer that it is cut from.
        self.again = Bytes::copy_from_slice(bytes);
    }

    /// Whether the other side sends more than was read: closing the connection now would reset it, and the answer could be
    /// lost. `rest` is what hyper has read and not used.
    pub(super) fn has_more(&self, rest: &[u8]) -> bool {
        let is_over = match self.input {
            Input::Open => {
                self.scanner.is_between_requests() && rest.is_empty() && self.again.is_empty()
            }
            Input::HalfClosed => true,
            Input::Refused | Input::Ended => false,
        };
        !is_over
    }

    /// The socket.
    pub(super) fn into_stream(self) -> Socket {
        self.stream.stream
    }

    /// Waits until there is something to read, without hyper's buffers. Returns `false` if the other side closes or sends
    /// nothing within `limit`, and no byte waits on the socket then.
    pub(super) async fn rest(&mut self, limit: Duration) -> bool {
        if !self.again.is_empty() || self.scanner.is_in_head() || self.input != Input::Open {
            return true;
        }
        let Begun { bytes, stream, .. } = &mut self.stream;
        for limit in [limit, LAST_LOOK] {
            match tokio::time::timeout(limit, stream.read_next(bytes)).await {
                Ok(read) => return read.is_ok_and(|read| read > 0),
                Err(_) if stream.is_quiet() => return false,
                // tokio has not heard of it yet.
                Err(_) => {}
            }
        }
        false
    }
}

impl<S: AsyncWrite + Unpin> Wire<S> {
    /// Reports the end of the input to hyper, once all complete requests are answered.
    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let waits = match self.input {
            Input::HalfClosed => self.scanner.is_between_requests(),
            Input::Open | Input::Refused | Input::Ended => true,
        };
        if waits && !self.handling.is_silent() {
            // `poll_flush` wakes this task when the answers are written.
            return Poll::Pending;
        }
        if self.input == Input::Refused {
            self.count(RequestError::Malformed);
            self.instead = BytesMut::from(&*(self.unread)(400, self.stray()));
            self.input = Input::Ended;
        }
        self.poll_instead(cx)
    }

    fn poll_instead(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.instead.is_empty() {
            let written = Pin::new(&mut self.stream).poll_write(cx, &self.instead);
            let written = ready!(self.unless_stalled(cx, written))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.instead.advance(written);
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Wire<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if !this.again.is_empty() {
            let some = this.again.len().min(buffer.remaining());
            buffer.put_slice(&this.again.split_to(some));
            return Poll::Ready(Ok(()));
        }
        if this.input != Input::Open {
            return this.poll_end(cx);
        }
        let before = buffer.filled().len();
        match Pin::new(&mut this.stream).poll_read(cx, buffer) {
            Poll::Ready(outcome) => {
                outcome?;
                let new = buffer.filled().get(before..).unwrap_or_default();
                if new.is_empty() {
                    this.input = Input::HalfClosed;
                    return this.poll_end(cx);
                }
                if let Some(good) = this.scanner.feed(new) {
                    buffer.set_filled(before + good);
                    this.input = Input::Refused;
                    if good == 0 {
                        return this.poll_end(cx);
                    }
                }
                Poll::Ready(Ok(()))
            }
            Poll::Pending => {
                // hyper also reads while a request is handled, to notice that the other side closes: no time limit there.
                if !(this.scanner.is_in_head() && this.handling.is_idle()) {
                    this.deadline = None;
                    return Poll::Pending;
                }
                let timeout = this.header_timeout;
                let deadline = this
                    .deadline
                    .get_or_insert_with(|| Box::pin(tokio::time::sleep(timeout)));
                ready!(deadline.as_mut().poll(cx));
                this.count(RequestError::HeaderTimeout);
                Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
            }
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Wire<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        ready!(this.poll_instead(cx))?;
        if let Some(instead) = this.answer_instead(bytes) {
            this.instead = instead;
            return Poll::Ready(Ok(bytes.len()));
        }
        let written = Pin::new(&mut this.stream).poll_write(cx, bytes);
        this.unless_stalled(cx, written)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        ready!(this.poll_instead(cx))?;
        if let Some(instead) = pieces.first().and_then(|first| this.answer_instead(first)) {
            this.instead = instead;
            return Poll::Ready(Ok(pieces.iter().map(|piece| piece.len()).sum()));
        }
        let written = Pin::new(&mut this.stream).poll_write_vectored(cx, pieces);
        this.unless_stalled(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_instead(cx))?;
        // TLS holds bytes back that the socket does not take.
        let flushed = Pin::new(&mut this.stream).poll_flush(cx).map_ok(|()| 0);
        ready!(this.unless_stalled(cx, flushed))?;
        this.handling.flushed();
        if this.input != Input::Open && this.handling.is_silent() {
            cx.waker().wake_by_ref();
        }
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_instead(cx))?;
        let closed = Pin::new(&mut this.stream).poll_shutdown(cx).map_ok(|()| 0);
        this.unless_stalled(cx, closed).map_ok(|_| ())
    }
}
