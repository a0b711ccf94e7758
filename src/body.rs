//! The one body type, for requests and answers alike.
//!
//! It limits the pause between two pieces, and one observer sees the data.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};
use tokio::{
    sync::mpsc::Receiver,
    time::{Instant, Sleep},
};

use self::editing::Editing;

mod editing;
mod inbound;

pub use editing::Editor;
pub use inbound::{Inbound, Left};

/// A body on its way through the gateway.
pub struct Body {
    source: Source,
    watch: Option<Box<Watch>>,
}

enum Source {
    /// Bytes already read, then the rest as a stream.
    Held { first: Bytes, rest: Option<Inbound> },
    /// A stream.
    Streamed(Inbound),
    /// Pieces that the program itself makes, one after the other.
    Made(Receiver<Bytes>),
}

impl Source {
    /// Whether it has nothing more.
    fn is_complete(&self) -> bool {
        match self {
            Self::Held { first, rest: None } => first.is_empty(),
            Self::Held {
                first,
                rest: Some(incoming),
            } => first.is_empty() && incoming.is_end_stream(),
            Self::Streamed(incoming) => incoming.is_end_stream(),
            // It tells its end only to who asks for the next piece.
            Self::Made(_) => false,
        }
    }
}

#[derive(Default)]
struct Watch {
    idle: Option<Idle>,
    editing: Option<Box<Editing>>,
    observer: Option<Box<dyn Observer>>,
    origin: Option<Box<dyn Origin>>,
    guard: Option<Box<dyn Send>>,
    /// An error that is told next.
    broken: Option<Error>,
}

struct Idle {
    limit: Duration,
    /// When the wait for the next piece began; `None` if nothing waits.
    since: Option<Instant>,
    sleep: Option<Pin<Box<Sleep>>>,
}

/// Sees the data of a body, and how it ended, exactly once.
pub trait Observer: Send {
    /// A piece of data has come from the source.
    fn data(&mut self, data: &Bytes);
    /// So many bytes are about to be passed on.
    fn passed_on(&mut self, _bytes: usize) {}
    /// The body has ended.
    fn end(self: Box<Self>, how: End);
}

/// The source of a body. It can be reused once the body is complete, and only then.
pub trait Origin: Send {
    /// The body is complete.
    fn complete(self: Box<Self>);
}

/// How a body ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Its last byte was passed on.
    Complete,
    /// It could not be read completely.
    Failed,
    /// The pause between two pieces was too long.
    Stalled,
    /// The recipient dropped it.
    Dropped,
}

/// Why a body could not be read completely.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The connection broke, or the framing is invalid.
    #[error("the body could not be read")]
    Read(#[source] hyper::Error),
    /// The stream was reset before the end.
    #[error("the stream was reset before the end of the body")]
    Cut,
    /// The data are not coded as the header section says.
    #[error("the body is not coded as its Content-Encoding says")]
    Coding,
    /// The pause between two pieces is too long.
    #[error("no piece of the body came for {0:?}")]
    Idle(Duration),
}

impl Error {
    fn end(&self) -> End {
        match self {
            Self::Read(_) | Self::Cut | Self::Coding => End::Failed,
            Self::Idle(_) => End::Stalled,
        }
    }
}

impl Body {
    /// No bytes at all.
    pub fn empty() -> Self {
        Self::from(Bytes::new())
    }

    /// A streamed body; `idle` is the longest pause between two pieces.
    pub fn streamed(incoming: Inbound, idle: Duration) -> Self {
        Self {
            source: Source::Streamed(incoming),
            watch: Some(Box::new(Watch::idle(idle))),
        }
    }

    /// A streamed body with its first bytes already read.
    pub fn resumed(first: Bytes, rest: Inbound, idle: Duration) -> Self {
        Self {
            source: Source::Held {
                first,
                rest: Some(rest),
            },
            watch: Some(Box::new(Watch::idle(idle))),
        }
    }

    /// The pieces that are sent to a channel, until its last sender is dropped.
    pub fn made(pieces: Receiver<Bytes>) -> Self {
        Self {
            source: Source::Made(pieces),
            watch: None,
        }
    }

    /// Lets `observer` see the data and how the body ended.
    pub fn observed(mut self, observer: Box<dyn Observer>) -> Self {
        self.watch.get_or_insert_default().observer = Some(observer);
        self
    }

    /// Tells `origin` when the body is complete; otherwise `origin` is dropped with the body.
    pub fn from_origin(mut self, origin: Box<dyn Origin>) -> Self {
        self.watch.get_or_insert_default().origin = Some(origin);
        self
    }

    /// Keeps `guard` until the body is dropped.
    pub fn holding(mut self, guard: Box<dyn Send>) -> Self {
        self.watch.get_or_insert_default().guard = Some(guard);
        self
    }

    /// The same body, if it is whole in memory.
    pub fn copy(&self) -> Option<Self> {
        match &self.source {
            Source::Held { first, rest: None } => Some(Self::from(first.clone())),
            Source::Held { .. } | Source::Streamed(_) | Source::Made(_) => None,
        }
    }

    /// Whether the whole body is in memory.
    pub fn is_held(&self) -> bool {
        matches!(self.source, Source::Held { rest: None, .. })
    }

    fn end(&mut self, how: End) {
        let Some(watch) = &mut self.watch else { return };
        if let Some(origin) = watch.origin.take()
            && how == End::Complete
        {
            origin.complete();
        }
        if let Some(observer) = watch.observer.take() {
            observer.end(how);
        }
    }

    fn observer(&mut self) -> Option<&mut Box<dyn Observer>> {
        self.watch.as_mut()?.observer.as_mut()
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        match self.editing() {
            Some(_) => self.poll_edited(cx),
            None => self.poll_source(cx),
        }
    }

    /// The next frame of the source, as it comes; the observer sees its data.
    fn poll_source(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let frame = match &mut self.source {
            Source::Held { first, .. } if !first.is_empty() => {
                Some(Ok(Frame::data(std::mem::take(first))))
            }
            Source::Held { rest: None, .. } => None,
            Source::Made(pieces) => {
                ready!(pieces.poll_recv(cx)).map(|piece| Ok(Frame::data(piece)))
            }
            Source::Held {
                rest: Some(incoming),
                ..
            }
            | Source::Streamed(incoming) => match Pin::new(&mut *incoming).poll_frame(cx) {
                Poll::Ready(frame) => {
                    if let Some(idle) = self.watch.as_mut().and_then(|watch| watch.idle.as_mut()) {
                        idle.since = None;
                    }
                    match frame {
                        None if incoming.is_cut() => Some(Err(Error::Cut)),
                        frame => frame.map(|result| result.map_err(Error::Read)),
                    }
                }
                Poll::Pending => {
                    let Some(idle) = self.watch.as_mut().and_then(|watch| watch.idle.as_mut())
                    else {
                        return Poll::Pending;
                    };
                    ready!(idle.poll_over(cx));
                    Some(Err(Error::Idle(idle.limit)))
                }
            },
        };
        if let (Some(observer), Some(Ok(frame))) = (self.observer(), &frame)
            && let Some(data) = frame.data_ref()
        {
            observer.data(data);
        }
        Poll::Ready(frame)
    }
}

impl From<Bytes> for Body {
    fn from(bytes: Bytes) -> Self {
        Self {
            source: Source::Held {
                first: bytes,
                rest: None,
            },
            watch: None,
        }
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Body").finish_non_exhaustive()
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let this = self.get_mut();
        let frame = match this.settled() {
            Some(data) => Some(Ok(Frame::data(data))),
            None => {
                if let Some(error) = this.watch.as_mut().and_then(|watch| watch.broken.take()) {
                    this.end(error.end());
                    return Poll::Ready(Some(Err(error)));
                }
                ready!(this.poll_next(cx))
            }
        };
        match &frame {
            None => this.end(End::Complete),
            Some(Err(_)) => {
                // hyper drops what it has not flushed when it hears of the error: it flushes first, if it has to wait.
                if let Some(Err(error)) = frame {
                    this.watch.get_or_insert_default().broken = Some(error);
                    cx.waker().wake_by_ref();
                }
                return Poll::Pending;
            }
            Some(Ok(frame)) => {
                if let (Some(observer), Some(data)) = (this.observer(), frame.data_ref()) {
                    observer.passed_on(data.len());
                }
                // The recipient may not poll again after the last piece.
                if this.is_end_stream() {
                    this.end(End::Complete);
                }
            }
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        if let Some(editing) = self.editing() {
            return editing.is_over();
        }
        self.source.is_complete()
    }

    fn size_hint(&self) -> SizeHint {
        if let Some(editing) = self.editing() {
            return match editing.editor.is_over() {
                true => SizeHint::with_exact(editing.edited.len() as u64),
                false => SizeHint::new(),
            };
        }
        match &self.source {
            Source::Held { first, rest: None } => SizeHint::with_exact(first.len() as u64),
            Source::Held {
                first,
                rest: Some(incoming),
            } => {
                let (held, rest) = (first.len() as u64, incoming.size_hint());
                let mut hint = SizeHint::new();
                hint.set_lower(rest.lower() + held);
                if let Some(upper) = rest.upper() {
                    hint.set_upper(upper + held);
                }
                hint
            }
            Source::Streamed(incoming) => incoming.size_hint(),
            Source::Made(_) => SizeHint::new(),
        }
    }
}

impl Drop for Body {
    fn drop(&mut self) {
        let how = if http_body::Body::is_end_stream(self) {
            End::Complete
        } else {
            End::Dropped
        };
        self.end(how);
    }
}

impl Watch {
    fn idle(limit: Duration) -> Self {
        Self {
            idle: Some(Idle {
                limit,
                since: None,
                sleep: None,
            }),
            ..Self::default()
        }
    }
}

impl Idle {
    /// Ready when the wait for the next piece exceeds the limit. The timer is set once, and moved only when it fires.
    fn poll_over(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let until = *self.since.get_or_insert_with(Instant::now) + self.limit;
        let sleep = self
            .sleep
            .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(until)));
        while sleep.as_mut().poll(cx).is_ready() {
            if until <= Instant::now() {
                return Poll::Ready(());
            }
            sleep.as_mut().reset(until);
        }
        Poll::Pending
    }
}
