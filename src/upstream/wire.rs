//! The bytes of one connection to the upstream, between TLS and hyper.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Instant,
};

use prometheus::IntGauge;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{frames::Frames, kept::Place, signals::Signals};

/// A connection that hyper reads and writes. It keeps its place while it is open.
pub(super) struct Wire<S> {
    stream: S,
    /// What the frames of an HTTP/2 connection tell.
    followed: Option<Followed>,
    _place: Place,
    _open: Open,
}

struct Followed {
    frames: Frames,
    signals: Arc<Signals>,
    /// Nothing more can be written.
    is_broken: bool,
}

/// Counts a connection while it is open.
pub(super) struct Open(IntGauge);

impl Open {
    pub(super) fn new(open: IntGauge) -> Self {
        open.inc();
        Self(open)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl<S> Wire<S> {
    pub(super) fn new(
        stream: S,
        signals: Option<Arc<Signals>>,
        place: Place,
        open: IntGauge,
    ) -> Self {
        Self {
            stream,
            followed: signals.map(|signals| Followed {
                frames: Frames::default(),
                signals,
                is_broken: false,
            }),
            _place: place,
            _open: Open::new(open),
        }
    }

    /// The result of a write. On an HTTP/2 connection an error waits for the end of what can be read: a GOAWAY that tells
    /// what was processed may stand before it.
    fn written<T>(&mut self, written: io::Result<T>, as_if: T) -> io::Result<T> {
        match (written, &mut self.followed) {
            (Err(_), Some(followed)) => {
                followed.is_broken = true;
                Ok(as_if)
            }
            (written, _) => written,
        }
    }

    fn is_broken(&self) -> bool {
        self.followed
            .as_ref()
            .is_some_and(|followed| followed.is_broken)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Wire<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buffer))?;
        if let Some(Followed {
            frames, signals, ..
        }) = &mut self.followed
        {
            let new = buffer.filled().get(before..).unwrap_or_default();
            let now = Instant::now();
            frames.feed(new, |frame| signals.hear(frame, now));
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Wire<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.is_broken() {
            return Poll::Ready(Ok(bytes.len()));
        }
        let written = ready!(Pin::new(&mut self.stream).poll_write(cx, bytes));
        Poll::Ready(self.written(written, bytes.len()))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let all = pieces.iter().map(|piece| piece.len()).sum();
        if self.is_broken() {
            return Poll::Ready(Ok(all));
        }
        let written = ready!(Pin::new(&mut self.stream).poll_write_vectored(cx, pieces));
        Poll::Ready(self.written(written, all))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.is_broken() {
            return Poll::Ready(Ok(()));
        }
        let flushed = ready!(Pin::new(&mut self.stream).poll_flush(cx));
        Poll::Ready(self.written(flushed, ()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
