//! A body whose data are changed on their way.

use std::{
    future::poll_fn,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http_body::Frame;
use tokio::time::{Sleep, sleep};

use super::{Body, Error};

/// How long the head of an answer waits for its edited body.
const PATIENCE: Duration = Duration::from_secs(1);

/// Changes the data of a body on their way.
pub trait Editor: Send {
    /// Takes a piece from the source, once there is nothing more to pass on.
    fn take(&mut self, piece: Bytes);
    /// The source is complete.
    fn finish(&mut self);
    /// What can be passed on next; none if that depends on the source.
    ///
    /// # Errors
    ///
    /// When the data cannot be read.
    fn next(&mut self) -> Result<Option<Bytes>, Error>;
    /// Whether everything was passed on.
    fn is_over(&self) -> bool;
    /// Of a body that is to be edited as a whole, if it has at most so many bytes: how many. Else 0.
    fn settles(&self) -> usize;
}

/// A body whose data are changed on their way.
pub(super) struct Editing {
    pub(super) editor: Box<dyn Editor>,
    /// What goes out next.
    pub(super) edited: Bytes,
    pub(super) trailers: Option<HeaderMap>,
    /// Why there is nothing behind what goes out next.
    failed: Option<Error>,
}

/// The pieces of a body; a single one is not copied.
#[derive(Default)]
struct Whole {
    first: Bytes,
    all: BytesMut,
}

impl Whole {
    fn len(&self) -> usize {
        self.first.len() + self.all.len()
    }

    fn add(&mut self, piece: Bytes) {
        if self.len() == 0 {
            self.first = piece;
            return;
        }
        if self.all.is_empty() {
            self.all.extend_from_slice(&std::mem::take(&mut self.first));
        }
        self.all.extend_from_slice(&piece);
    }

    fn join(self) -> Bytes {
        match self.all.is_empty() {
            true => self.first,
            false => self.all.freeze(),
        }
    }
}

impl Editing {
    /// Whether everything was passed on.
    pub(super) fn is_over(&self) -> bool {
        self.edited.is_empty()
            && self.trailers.is_none()
            && self.failed.is_none()
            && self.editor.is_over()
    }
}

impl Body {
    /// Lets `editor` change the data.
    pub fn edited(mut self, editor: Box<dyn Editor>) -> Self {
        self.watch.get_or_insert_default().editing = Some(Box::new(Editing {
            editor,
            edited: Bytes::new(),
            trailers: None,
            failed: None,
        }));
        self
    }

    /// Whether the body is to be edited as a whole.
    pub fn is_to_settle(&self) -> bool {
        self.editing()
            .is_some_and(|editing| editing.editor.settles() > 0)
    }

    /// Waits until an edited body is in memory as a whole, so that its length is known. It gives up after [`PATIENCE`], at too
    /// many bytes, and when the source fails: then the body is passed on as it comes.
    pub async fn settle(&mut self) {
        let most = self.editing().map_or(0, |editing| editing.editor.settles());
        let mut whole = Whole::default();
        let mut patience: Option<Pin<Box<Sleep>>> = None;
        while whole.len() <= most {
            let next = poll_fn(|cx| match self.poll_edited(cx) {
                Poll::Ready(next) => Poll::Ready(Some(next)),
                Poll::Pending => {
                    let patience = patience.get_or_insert_with(|| Box::pin(sleep(PATIENCE)));
                    patience.as_mut().poll(cx).map(|()| None)
                }
            });
            match next.await {
                Some(Some(Ok(frame))) => match frame.into_data() {
                    Ok(data) => whole.add(data),
                    Err(frame) => {
                        self.put_back(|editing| editing.trailers = frame.into_trailers().ok());
                        break;
                    }
                },
                Some(Some(Err(error))) => {
                    self.put_back(|editing| editing.failed = Some(error));
                    break;
                }
                Some(None) | None => break,
            }
        }
        self.put_back(|editing| editing.edited = whole.join());
    }

    fn put_back(&mut self, change: impl FnOnce(&mut Editing)) {
        if let Some(editing) = self.watch.as_mut().and_then(|watch| watch.editing.as_mut()) {
            change(editing);
        }
    }

    pub(super) fn editing(&self) -> Option<&Editing> {
        self.watch.as_ref()?.editing.as_deref()
    }

    /// What [`Self::settle`] has brought together.
    pub(super) fn settled(&mut self) -> Option<Bytes> {
        let editing = self.watch.as_mut()?.editing.as_mut()?;
        let data = std::mem::take(&mut editing.edited);
        (!data.is_empty()).then_some(data)
    }

    /// The next frame that the editor makes of those of the source.
    pub(super) fn poll_edited(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        loop {
            let Some(editing) = self.watch.as_mut().and_then(|watch| watch.editing.as_mut()) else {
                return Poll::Ready(None);
            };
            if let Some(error) = editing.failed.take() {
                return Poll::Ready(Some(Err(error)));
            }
            match editing.editor.next() {
                Ok(Some(data)) => return Poll::Ready(Some(Ok(Frame::data(data)))),
                Err(error) => return Poll::Ready(Some(Err(error))),
                Ok(None) if editing.editor.is_over() => {
                    let trailers = editing.trailers.take();
                    return Poll::Ready(trailers.map(|trailers| Ok(Frame::trailers(trailers))));
                }
                Ok(None) => {}
            }
            let frame = match ready!(self.poll_source(cx)) {
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                Some(Ok(frame)) => Some(frame),
                None => None,
            };
            let is_complete = frame.is_none() || self.source.is_complete();
            let Some(watch) = &mut self.watch else {
                return Poll::Ready(None);
            };
            if let Some(origin) = watch.origin.take_if(|_| is_complete) {
                origin.complete();
            }
            let Some(editing) = &mut watch.editing else {
                return Poll::Ready(None);
            };
            match frame.map(Frame::into_data) {
                Some(Ok(data)) => editing.editor.take(data),
                Some(Err(frame)) => editing.trailers = frame.into_trailers().ok(),
                None => {}
            }
            if is_complete {
                editing.editor.finish();
            }
        }
    }
}
