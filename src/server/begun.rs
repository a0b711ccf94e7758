//! A connection with its first bytes, which are read again.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    task::{Context, Poll},
};

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::socket::Socket;

/// A connection with its first bytes, which are read again.
pub(super) struct Begun {
    pub(super) bytes: BytesMut,
    pub(super) stream: Socket,
    activity: Activity,
    is_corked: bool,
}

/// What is seen and wanted of the writes on a connection that hyper has.
#[derive(Debug, Clone, Default)]
pub(super) struct Activity(Arc<Writes>);

#[derive(Debug, Default)]
struct Writes {
    count: AtomicUsize,
    is_corked: AtomicBool,
}

impl Activity {
    /// Writes so far.
    pub(super) fn count(&self) -> usize {
        self.0.count.load(Ordering::Relaxed)
    }

    /// Lets the system keep what is written from now on, for 200 ms at most, or lets it go with the next flush.
    pub(super) fn cork(&self, keep: bool) {
        self.0.is_corked.store(keep, Ordering::Relaxed);
    }
}

impl Begun {
    pub(super) fn new(bytes: BytesMut, stream: Socket) -> Self {
        Self {
            bytes,
            stream,
            activity: Activity::default(),
            is_corked: false,
        }
    }

    /// Does what `Activity::cork` has asked for: keeps from the next write on, lets go at the end of a flush.
    fn cork(&mut self, keep: bool) {
        let is_wanted = self.activity.0.is_corked.load(Ordering::Relaxed);
        if is_wanted == keep && self.is_corked != keep {
            self.is_corked = keep;
            self.stream.cork(keep);
        }
    }

    fn count(&self, written: &Poll<io::Result<usize>>) {
        if written.is_ready() {
            self.activity.0.count.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(super) fn activity(&self) -> Activity {
        self.activity.clone()
    }
}

impl AsyncRead for Begun {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.bytes.is_empty() {
            return Pin::new(&mut self.stream).poll_read(cx, buffer);
        }
        let some = self.bytes.len().min(buffer.remaining());
        buffer.put_slice(&self.bytes.split_to(some));
        if self.bytes.is_empty() {
            self.bytes = BytesMut::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Begun {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.cork(true);
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.count(&written);
        written
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.cork(true);
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, pieces);
        self.count(&written);
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        if flushed.is_ready() {
            self.cork(false);
        }
        flushed
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
