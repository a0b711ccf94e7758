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
    place: Place,
    _open: Open,
}

struct Followed {
    read: Frames,
    written: Frames,
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
                read: Frames::default(),
                written: Frames::of_client(),
                signals,
                is_broken: false,
            }),
            place,
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

    /// Follows the frames in so many bytes of these pieces.
    fn follow<'p>(
        &mut self,
        written: &io::Result<usize>,
        pieces: impl IntoIterator<Item = &'p [u8]>,
    ) {
        let (Some(followed), Ok(mut left)) = (&mut self.followed, written.as_ref().copied()) else {
            return;
        };
        let Followed {
            written, signals, ..
        } = followed;
        for piece in pieces {
            let piece = piece.get(..left).unwrap_or(piece);
            written.feed(piece, |frame| signals.say(frame, Instant::now()));
            left -= piece.len();
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
        if let Some(Followed { read, signals, .. }) = &mut self.followed {
            let new = buffer.filled().get(before..).unwrap_or_default();
            let (now, mut has_more_room) = (Instant::now(), false);
            read.feed(new, |frame| has_more_room |= signals.hear(frame, now));
            if has_more_room {
                self.place.tell_of_room();
            }
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
        self.follow(&written, [bytes]);
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
        self.follow(&written, pieces.iter().map(|piece| &**piece));
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

#[cfg(test)]
mod tests;
