//! A connection of a listener, with TLS or without.

use std::{
    io::{self, IoSlice},
    mem::MaybeUninit,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::BytesMut;
use socket2::SockRef;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf},
    net::TcpStream,
};
use tokio_rustls::server::TlsStream;
use tracing::debug;

use super::preface::Protocol;

/// A connection of a listener.
pub(super) enum Socket {
    /// In clear text.
    Clear(TcpStream),
    /// In TLS, after the handshake.
    Tls(Box<TlsStream<TcpStream>>),
}

/// Room for the first bytes after a pause.
const RESERVED: usize = 2048;

impl Socket {
    fn tcp(&self) -> &TcpStream {
        match self {
            Self::Clear(stream) => stream,
            Self::Tls(stream) => stream.get_ref().0,
        }
    }

    /// Whether the connection is in clear text.
    pub(super) fn is_clear(&self) -> bool {
        matches!(self, Self::Clear(_))
    }

    /// The protocol that TLS has agreed on (RFC 7301).
    pub(super) fn agreed(&self) -> Option<Protocol> {
        match self {
            Self::Clear(_) => None,
            Self::Tls(stream) => Some(match stream.get_ref().1.alpn_protocol() {
                Some(b"h2") => Protocol::Http2,
                _ => Protocol::Http1,
            }),
        }
    }

    /// Reads the next bytes, with room for them only when there are some. 0 at the end.
    pub(super) async fn read_next(&mut self, bytes: &mut BytesMut) -> io::Result<usize> {
        match self {
            Self::Clear(stream) => loop {
                stream.readable().await?;
                bytes.reserve(RESERVED);
                match stream.try_read_buf(bytes) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    read => return read,
                }
            },
            Self::Tls(stream) => {
                let (tcp, tls) = stream.get_ref();
                // It wants none while it holds text that nobody has read.
                if tls.wants_read() {
                    tcp.readable().await?;
                }
                bytes.reserve(RESERVED);
                stream.read_buf(bytes).await
            }
        }
    }

    /// Whether the system keeps what is written until a packet is full, for 200 ms at most.
    pub(super) fn cork(&self, keep: bool) {
        if let Err(error) = SockRef::from(self.tcp()).set_tcp_cork(keep) {
            debug!(%error, "What is written leaves at once");
        }
    }

    /// Whether no byte waits on the socket. tokio may not have heard of one yet.
    pub(super) fn is_quiet(&self) -> bool {
        let mut byte = [MaybeUninit::uninit()];
        match SockRef::from(self.tcp()).peek(&mut byte) {
            Ok(waiting) => waiting == 0,
            Err(error) => error.kind() == io::ErrorKind::WouldBlock,
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Clear(stream) => Pin::new(stream).poll_read(cx, buffer),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Clear(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Clear(stream) => Pin::new(stream).poll_write_vectored(cx, pieces),
            Self::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, pieces),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Clear(stream) => stream.is_write_vectored(),
            Self::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Clear(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Clear(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
