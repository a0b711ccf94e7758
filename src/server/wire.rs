//! The bytes of one downstream connection, on their way to hyper and back.
//!
//! hyper parses; this does what it leaves to us: it cuts slow header sections, refuses a request with both
//! `Content-Length` and `Transfer-Encoding` (RFC 9112 6.1) or with a fragment in its target (3.2), which hyper repairs
//! silently, lets who has sent a whole
//! request and no more have the answer (a half-closed connection, RFC 9112 9.6), and gives the answers that hyper
//! makes itself the shape of all our answers.

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
    net::TcpStream,
    time::Sleep,
};

use crate::metrics::{Metrics, label::RequestError};

#[cfg(test)]
mod tests;

/// Whether a request is being handled on a connection.
#[derive(Debug, Clone, Default)]
pub(super) struct Handling(Arc<HandlingState>);

#[derive(Debug, Default)]
struct HandlingState {
    requests: AtomicUsize,
    /// An answer of ours may not have been written to its end yet.
    unwritten: AtomicBool,
}

impl Handling {
    /// A request is being handled until the guard is dropped.
    pub(super) fn begin(&self) -> Guard {
        self.0.requests.fetch_add(1, Ordering::AcqRel);
        self.0.unwritten.store(true, Ordering::Release);
        Guard(Self(Arc::clone(&self.0)))
    }

    fn is_idle(&self) -> bool {
        self.0.requests.load(Ordering::Acquire) == 0
    }

    /// hyper has nothing left to write.
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

/// A connection of which some bytes were read already.
pub(super) struct Begun<S = TcpStream> {
    bytes: BytesMut,
    stream: S,
    activity: Activity,
}

/// Counts what was written on a connection.
#[derive(Debug, Clone, Default)]
pub(super) struct Activity(Arc<AtomicUsize>);

impl Activity {
    /// Writes so far.
    pub(super) fn count(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

impl<S> Begun<S> {
    pub(super) fn new(bytes: BytesMut, stream: S) -> Self {
        Self {
            bytes,
            stream,
            activity: Activity::default(),
        }
    }

    pub(super) fn activity(&self) -> Activity {
        self.activity.clone()
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Begun<S> {
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

impl<S: AsyncWrite + Unpin> AsyncWrite for Begun<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        if written.is_ready() {
            self.activity.0.fetch_add(1, Ordering::Relaxed);
        }
        written
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, pieces);
        if written.is_ready() {
            self.activity.0.fetch_add(1, Ordering::Relaxed);
        }
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// Room for what wakes a connection that rests.
const RESERVED: usize = 2048;

/// A connection, watched.
pub(super) struct Wire<S = Begun> {
    stream: S,
    scanner: Scanner,
    handling: Handling,
    header_timeout: Duration,
    write_timeout: Duration,
    /// Runs while the other side does not take what is written.
    stalled: Option<Pin<Box<Sleep>>>,
    deadline: Option<Pin<Box<Sleep>>>,
    metrics: Option<Arc<Metrics>>,
    unread: fn(u16) -> Vec<u8>,
    /// An answer in place of hyper's, not yet written.
    instead: BytesMut,
    /// What was read and followed, but not used.
    again: Bytes,
    /// What more there is to read.
    input: Input,
}

/// What more there is to read on a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Input {
    /// Whatever the other side sends.
    Open,
    /// The other side will send no more.
    HalfClosed,
    /// A request that nobody should read: it is answered 400 in its turn, and nothing after it is read.
    Refused,
    /// The same, answered.
    Ended,
}

impl<S> Wire<S> {
    pub(super) fn new(
        stream: S,
        handling: Handling,
        header_timeout: Duration,
        write_timeout: Duration,
        metrics: Option<Arc<Metrics>>,
        unread: fn(u16) -> Vec<u8>,
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

    /// A write, or its end when the other side has taken nothing for too long.
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

    /// The answer that takes the place of hyper's own, if these bytes are one.
    fn answer_instead(&self, written: &[u8]) -> Option<BytesMut> {
        if !self.handling.is_silent() {
            return None;
        }
        let status = written.strip_prefix(b"HTTP/1.1 ")?.get(..3)?;
        let status = std::str::from_utf8(status).ok()?.parse().ok()?;
        // hyper looks at the size of the whole head first.
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
        Some(BytesMut::from(&*(self.unread)(status)))
    }
}

impl Wire {
    /// Bytes that were read before, and are to be read again.
    pub(super) fn take_back(&mut self, bytes: &[u8]) {
        // Copied: even an empty piece would keep the whole buffer that it is cut from.
        self.again = Bytes::copy_from_slice(bytes);
    }

    /// Waits on the socket alone until there is something to do. Returns whether there is: the other side may leave, or
    /// keep silent for longer than `limit`.
    pub(super) async fn rest(&mut self, limit: Duration) -> bool {
        if !self.again.is_empty() || self.scanner.is_in_head() || self.input != Input::Open {
            return true;
        }
        let Begun { bytes, stream, .. } = &mut self.stream;
        let reading = async {
            loop {
                stream.readable().await?;
                bytes.reserve(RESERVED);
                match stream.try_read_buf(bytes) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    read => return read,
                }
            }
        };
        tokio::time::timeout(limit, reading)
            .await
            .is_ok_and(|read| read.is_ok_and(|bytes| bytes > 0))
    }
}

impl<S: AsyncWrite + Unpin> Wire<S> {
    /// The end of what can be read, as hyper is to see it: not before the requests that came whole are answered.
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
            self.instead = BytesMut::from(&*(self.unread)(400));
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
                // hyper also reads while a request is handled, to see the other side leave: that may take its time.
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
        ready!(Pin::new(&mut this.stream).poll_flush(cx))?;
        this.handling.flushed();
        if this.input != Input::Open && this.handling.is_silent() {
            cx.waker().wake_by_ref();
        }
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_instead(cx))?;
        Pin::new(&mut this.stream).poll_shutdown(cx)
    }
}

/// Follows the framing of the requests on a connection, line by line where there are lines.
///
/// It only looks: hyper decides what a request is. Where hyper refuses the framing, what is seen here from then on does not matter.
#[derive(Debug, Default)]
struct Scanner {
    part: Part,
    /// The beginning of the line that is being read.
    line: Vec<u8>,
    /// The line is longer than what is kept of one that comes in pieces.
    is_cut: bool,
    /// A line of the header section was seen.
    begun: bool,
    /// The length of the request line so far, in bytes.
    request_line: usize,
    /// The request line has a `#`: a target holds no fragment (RFC 9112 3.2), and hyper would drop it silently.
    has_fragment: bool,
    length: Option<u64>,
    coded: bool,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Part {
    /// Lines of a request's head.
    #[default]
    Head,
    /// Bytes of a body or a chunk.
    Data { left: u64, then: After },
    /// The line with a chunk's size.
    Size,
    /// Lines after the last chunk.
    Trailer,
    /// Nothing that can be followed.
    Unknown,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum After {
    Head,
    Size,
}

/// A longer request line means a target that is too long.
const MAX_REQUEST_LINE: usize = 16 * 1024;
/// As much of a line as is looked at, in bytes.
const MAX_LINE: usize = 64;
/// Digits of a chunk's size; an honest one has no more than 16.
const MAX_DIGITS: usize = 32;

impl Scanner {
    /// Whether the head of a request has begun and not ended.
    fn is_in_head(&self) -> bool {
        self.part == Part::Head && (self.begun || !self.line.is_empty())
    }

    /// Follows the next bytes. Returns how many bytes came before the line that is to be refused, if there is one.
    fn feed(&mut self, bytes: &[u8]) -> Option<usize> {
        let mut rest = bytes;
        while !rest.is_empty() {
            match self.part {
                Part::Unknown => return None,
                Part::Data { left, then } => {
                    let skip = usize::try_from(left).unwrap_or(usize::MAX).min(rest.len());
                    rest = rest.split_at(skip).1;
                    let left = left - skip as u64;
                    self.part = match (left, then) {
                        (0, After::Head) => Part::Head,
                        (0, After::Size) => Part::Size,
                        _ => Part::Data { left, then },
                    };
                }
                Part::Head | Part::Size | Part::Trailer => {
                    let Some(end) = memchr::memchr(b'\n', rest) else {
                        self.keep(rest);
                        return None;
                    };
                    let (line, after) = rest.split_at(end + 1);
                    let refused = if self.line.is_empty() {
                        self.measure(line);
                        self.is_cut = line.len() > MAX_LINE;
                        self.end_line(line)
                    } else {
                        self.keep(line);
                        let mut begun = std::mem::take(&mut self.line);
                        let refused = self.end_line(&begun);
                        begun.clear();
                        self.line = begun;
                        refused
                    };
                    self.is_cut = false;
                    if refused {
                        return Some(bytes.len() - rest.len());
                    }
                    rest = after;
                }
            }
        }
        None
    }

    fn is_between_requests(&self) -> bool {
        self.part == Part::Head && !self.is_in_head()
    }

    /// RFC 9112 3: a request line that is too long is answered 414.
    fn target_is_too_long(&self) -> bool {
        self.request_line > MAX_REQUEST_LINE
    }

    fn measure(&mut self, piece: &[u8]) {
        if self.part == Part::Head && !self.begun {
            let is_first = self.line.is_empty();
            let (length, found) = if is_first {
                (0, false)
            } else {
                (self.request_line, self.has_fragment)
            };
            self.request_line = length + piece.len();
            self.has_fragment = found || memchr::memchr(b'#', piece).is_some();
        }
    }

    fn keep(&mut self, piece: &[u8]) {
        self.measure(piece);
        let room = MAX_LINE.saturating_sub(self.line.len());
        self.is_cut |= piece.len() > room;
        self.line
            .extend_from_slice(piece.get(..room).unwrap_or(piece));
    }

    /// A line is complete. Returns whether it must be refused.
    fn end_line(&mut self, line: &[u8]) -> bool {
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        match self.part {
            Part::Head if line.is_empty() => {
                if self.begun {
                    self.end_head();
                }
            }
            // No other line tells of a length.
            Part::Head
                if self.begun && !matches!(line.first(), Some(b'c' | b'C' | b't' | b'T')) => {}
            // The first line is not a field.
            Part::Head if !self.begun => {
                self.begun = true;
                return self.has_fragment;
            }
            Part::Head => {
                let (length, coded) = (content_length(line), is_coded(line));
                // No honest length is that long, and half of one would be another.
                if length.is_some() && self.is_cut {
                    return true;
                }
                self.coded |= coded;
                self.length = length.or(self.length);
                return (length.is_some() || coded) && self.length.is_some() && self.coded;
            }
            Part::Size => {
                let digits: Vec<u8> = line
                    .iter()
                    .copied()
                    .take_while(u8::is_ascii_hexdigit)
                    .collect();
                if digits.len() > MAX_DIGITS {
                    return true;
                }
                let size = std::str::from_utf8(&digits)
                    .ok()
                    .and_then(|digits| u64::from_str_radix(digits, 16).ok());
                self.part = match size {
                    None => Part::Unknown,
                    Some(0) => Part::Trailer,
                    // A line end follows the data.
                    Some(size) => Part::Data {
                        left: size.saturating_add(2),
                        then: After::Size,
                    },
                };
            }
            Part::Trailer if line.is_empty() => self.part = Part::Head,
            Part::Trailer | Part::Data { .. } | Part::Unknown => {}
        }
        false
    }

    fn end_head(&mut self) {
        self.part = match self.length {
            _ if self.coded => Part::Size,
            Some(left) if left > 0 => Part::Data {
                left,
                then: After::Head,
            },
            _ => Part::Head,
        };
        (self.begun, self.length, self.coded) = (false, None, false);
    }
}

/// The value of a `Content-Length` line; `Some(0)` if it is one but no number, which hyper refuses.
fn content_length(line: &[u8]) -> Option<u64> {
    let value = field(line, b"content-length")?;
    let number = std::str::from_utf8(value)
        .ok()
        .and_then(|text| text.trim().parse().ok());
    Some(number.unwrap_or(0))
}

fn is_coded(line: &[u8]) -> bool {
    field(line, b"transfer-encoding").is_some()
}

fn field<'l>(line: &'l [u8], name: &[u8]) -> Option<&'l [u8]> {
    let (start, value) = line.split_at_checked(name.len())?;
    start
        .eq_ignore_ascii_case(name)
        .then_some(value)?
        .trim_ascii_start()
        .strip_prefix(b":")
}
