//! `/decisions`: the last decision records, and those to come as server-sent events.
//!
//! A follower has a place, and a buffer that all followers share. One that reads too slowly misses records: it is told how
//! many, and its stream ends.

use std::{sync::Arc, time::Duration};

use bytes::{BufMut as _, Bytes, BytesMut};
use http::{Response, StatusCode};
use tokio::{
    sync::{
        OwnedSemaphorePermit, Semaphore,
        broadcast::{self, error::RecvError},
        mpsc,
    },
    time::timeout,
};

use super::{
    Status,
    answer::{plain, text},
};
use crate::body::Body;

/// The most followers at once.
const FOLLOWERS: usize = 16;
/// Events that wait for one connection to take them.
const BUFFER: usize = 8;
/// The pause after which a comment shows that the stream is alive.
const SILENCE: Duration = Duration::from_secs(15);

/// The places of followers.
#[derive(Debug, Clone)]
pub struct Followers(Arc<Semaphore>);

impl Default for Followers {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(FOLLOWERS)))
    }
}

impl Status {
    /// The kept records as a JSON array, the newest last.
    pub(super) fn decisions(&self) -> Response<Body> {
        let records = self.decisions.last();
        let mut body = BytesMut::from(&b"["[..]);
        for (at, record) in records.iter().enumerate() {
            body.put_slice(if at == 0 { b"\n" } else { b",\n" });
            body.put_slice(record);
        }
        body.put_slice(b"\n]\n");
        text(StatusCode::OK, "application/json", body.freeze())
    }

    /// The kept records, then each further one, as events.
    pub(super) fn follow(&self) -> Response<Body> {
        let Ok(place) = Arc::clone(&self.followers.0).try_acquire_owned() else {
            return plain(
                StatusCode::SERVICE_UNAVAILABLE,
                format!("{FOLLOWERS} clients follow the decisions already; end one of them.\n"),
            );
        };
        let (kept, live) = self.decisions.follow();
        let (sender, body) = mpsc::channel(BUFFER);
        tokio::spawn(hand_on(kept, live, sender, place));
        let mut answer = text(StatusCode::OK, "text/event-stream", Bytes::new());
        *answer.body_mut() = Body::made(body);
        answer
    }
}

/// Hands records on until the follower is gone or too slow.
async fn hand_on(
    kept: Vec<Bytes>,
    mut live: broadcast::Receiver<Bytes>,
    sender: mpsc::Sender<Bytes>,
    _place: OwnedSemaphorePermit,
) {
    let mut first = BytesMut::from(&b": the last decisions, then each further one\n\n"[..]);
    for record in &kept {
        first.put_slice(&event(record));
    }
    let mut next = first.freeze();
    loop {
        if sender.send(next).await.is_err() {
            return;
        }
        next = tokio::select! {
            () = sender.closed() => return,
            record = timeout(SILENCE, live.recv()) => match record {
                Err(_) => Bytes::from_static(b": alive\n\n"),
                Ok(Ok(record)) => event(&record),
                Ok(Err(RecvError::Closed)) => return,
                Ok(Err(RecvError::Lagged(missed))) => {
                    let cut = format!("event: cut\ndata: {{\"missed\": {missed}}}\n\n");
                    let _ = sender.send(cut.into()).await;
                    return;
                }
            }
        };
    }
}

/// A record is one line of JSON, so it is one line of data.
fn event(record: &[u8]) -> Bytes {
    [b"event: decision\ndata: ", record, b"\n\n"]
        .concat()
        .into()
}
