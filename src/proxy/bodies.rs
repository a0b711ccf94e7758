//! The body of a judged write: read whole, within the bounds of one body and of all of them together.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use tokio::time::{Instant, timeout_at};

use crate::{
    body::{Body, Inbound},
    policy::judging::Payload,
    problem::Problem,
    tenant::Payer,
};

/// A body that is too large to judge: what was read of it, and what is left.
#[derive(Debug)]
pub(super) struct Oversized {
    first: Bytes,
    rest: Inbound,
}

/// The body to send. No wait between two pieces is longer than `pause`.
pub(super) fn to_send(judged: Payload<Oversized>, pause: Duration) -> Body {
    match judged {
        Payload::Whole(bytes) => Body::from(bytes),
        Payload::TooLarge {
            body: Oversized { first, rest },
            ..
        } => Body::resumed(first, rest, pause),
    }
}

/// The body of a request that is not judged.
pub(super) fn streamed(body: Inbound, pause: Duration) -> Body {
    if http_body::Body::is_end_stream(&body) {
        Body::empty()
    } else {
        Body::streamed(body, pause)
    }
}

/// The bytes of bodies that are being judged or sent.
#[derive(Debug, Default)]
struct Room(AtomicUsize);

/// The most bytes of proven credentials: callers that send many bodies slowly must not fill the memory.
const MAX_ROOM: usize = 96 * 1024 * 1024;

/// The most bytes of all credentials that are not proven: they must not keep others out.
const MAX_UNPROVEN_ROOM: usize = 64 * 1024 * 1024;

/// Counts the bytes of the bodies of judged writes.
#[derive(Debug, Default)]
pub(super) struct Rooms {
    tenants: Room,
    unproven: Room,
}

impl Rooms {
    /// Begins to count one body.
    pub(super) fn enter(&self, payer: Payer) -> Held<'_> {
        let (room, max) = match payer {
            Payer::Tenant => (&self.tenants, MAX_ROOM),
            Payer::Unproven(_) => (&self.unproven, MAX_UNPROVEN_ROOM),
        };
        Held {
            room,
            max,
            bytes: 0,
        }
    }
}

/// The bytes of one body; dropping it frees their room.
#[derive(Debug)]
pub(super) struct Held<'r> {
    room: &'r Room,
    max: usize,
    bytes: usize,
}

impl Held<'_> {
    pub(super) fn add(&mut self, bytes: usize) -> Result<(), Problem> {
        self.bytes += bytes;
        let all = self.room.0.fetch_add(bytes, Ordering::Relaxed) + bytes;
        if all > self.max {
            return Err(Problem::TooManyBodies);
        }
        Ok(())
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.room.0.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// How fast a body must come.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    /// The longest wait between two pieces.
    pub(super) pause: Duration,
    /// The least bytes a second since the body began, after [`GRACE`]; 0 for none.
    pub(super) min_rate: u32,
}

/// A body may be slower than the least rate for so long.
const GRACE: Duration = Duration::from_secs(5);

impl Pace {
    /// When the next piece of a body must have come that `began` then and has so many bytes `now`.
    fn deadline(self, began: Instant, now: Instant, bytes: usize) -> Instant {
        let by_pause = now + self.pause;
        if self.min_rate == 0 {
            return by_pause;
        }
        let millis = bytes as u64 * 1000 / u64::from(self.min_rate);
        by_pause.min(began + GRACE.max(Duration::from_millis(millis)))
    }

    /// What is wrong with a body that missed its deadline: it began and had its last piece then, and has so many bytes.
    fn fault(self, began: Instant, last: Instant, bytes: usize) -> String {
        let Self { pause, min_rate } = self;
        let deadline = self.deadline(began, last, bytes);
        if deadline == last + pause {
            return format!("no data for {pause:?} (downstream.body_timeout)");
        }
        let seconds = (deadline - began).as_secs();
        format!(
            "{bytes} bytes in {seconds} seconds, too few for {min_rate} a second (downstream.min_body_rate)"
        )
    }
}

/// The whole body, up to `limit` bytes, unless it is slower than `pace`.
pub(super) async fn read(
    mut body: Inbound,
    limit: usize,
    pace: Pace,
    held: &mut Held<'_>,
) -> Result<Payload<Oversized>, Problem> {
    let began = Instant::now();
    let announced =
        usize::try_from(http_body::Body::size_hint(&body).lower()).unwrap_or(usize::MAX);
    if announced > limit {
        let first = Bytes::new();
        return Ok(Payload::TooLarge {
            limit,
            body: Oversized { first, rest: body },
        });
    }
    let mut first = Bytes::new();
    let mut whole = BytesMut::new();
    loop {
        let (since, bytes) = (Instant::now(), first.len().max(whole.len()));
        let deadline = pace.deadline(began, since, bytes);
        let frame = match timeout_at(deadline, body.frame()).await {
            Err(_) => return Err(Problem::BodyTimeout(pace.fault(began, since, bytes).into())),
            Ok(None) if body.is_cut() => return Err(Problem::IncompleteBody),
            Ok(None) => break,
            Ok(Some(Err(_))) => return Err(Problem::IncompleteBody),
            Ok(Some(Ok(frame))) => frame,
        };
        let Ok(data) = frame.into_data() else {
            return Err(Problem::TrailersOnJudgedWrite);
        };
        held.add(data.len())?;
        // A body that came in one piece is judged and sent as that piece.
        if first.is_empty() && whole.is_empty() {
            first = data;
        } else {
            if whole.is_empty() {
                whole.reserve(announced.max(first.len() + data.len()));
                whole.extend_from_slice(&first);
                first = Bytes::new();
            }
            whole.extend_from_slice(&data);
        }
        if first.len().max(whole.len()) > limit {
            let first = if whole.is_empty() {
                first
            } else {
                whole.freeze()
            };
            return Ok(Payload::TooLarge {
                limit,
                body: Oversized { first, rest: body },
            });
        }
    }
    Ok(Payload::Whole(if whole.is_empty() {
        first
    } else {
        whole.freeze()
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_must_be_as_fast_as_its_pace() {
        let began = Instant::now();
        let after = |seconds| began + Duration::from_secs(seconds);
        let pace = |min_rate| Pace {
            pause: Duration::from_secs(30),
            min_rate,
        };
        // How old the body is, how many bytes it has, when it is too slow.
        for (min_rate, age, bytes, too_slow) in [
            (240, 0, 0, 5),
            (240, 4, 1199, 5),
            (240, 4, 1201, 5),
            (240, 4, 2400, 10),
            (240, 9, 2400, 10),
            // The pause is bounded too.
            (240, 4, 1 << 20, 34),
            (1, 4, 0, 5),
            (0, 100, 0, 130),
        ] {
            let deadline = pace(min_rate).deadline(began, after(age), bytes);
            let seconds = (deadline - began).as_secs();
            assert_eq!(seconds, too_slow, "{min_rate} {age} {bytes}");
        }
        assert_eq!(
            pace(240).fault(began, after(4), 1200),
            "1200 bytes in 5 seconds, too few for 240 a second (downstream.min_body_rate)"
        );
        assert_eq!(
            pace(0).fault(began, after(4), 1200),
            "no data for 30s (downstream.body_timeout)"
        );
    }
}
