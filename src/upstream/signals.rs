//! What is known of an HTTP/2 connection while it lives.

use std::{
    sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering},
    time::{Duration, Instant},
};

use tokio::sync::Notify;

use super::frames::Frame;

/// After so long without a frame, while a request waits, a PING asks whether the other side is there.
pub(super) const PING_AFTER: Duration = Duration::from_secs(5);
/// A connection takes no new request when a PING has had no answer for so long.
const PONG_WITHIN: Duration = Duration::from_secs(2);

/// A connection on which this side has reset so many streams takes no new request. Servers that defend themselves against
/// rapid resets (CVE-2023-44487) bear some hundred a minute.
const MAX_RESETS: u32 = 100;

/// What is known of an HTTP/2 connection while it lives: told by its frames, asked by the pool.
#[derive(Debug)]
pub(super) struct Signals {
    born: Instant,
    /// Notified when the other side's first settings have come: RFC 9113 3.4 wants them first.
    pub(super) settled: Notify,
    is_settled: AtomicBool,
    max_streams: AtomicU32,
    open_streams: AtomicUsize,
    is_going_away: AtomicBool,
    /// Milliseconds from `born` to the last frame.
    heard: AtomicU64,
    /// Milliseconds from `born` to the first request since the last frame, or to an earlier one.
    asked: AtomicU64,
    /// The same to the first PING.
    pinged: AtomicU64,
    was_silent: AtomicBool,
    /// Streams that this side has reset.
    resets: AtomicU32,
}

impl Signals {
    pub(super) fn begin(born: Instant) -> Self {
        Self {
            born,
            settled: Notify::new(),
            is_settled: AtomicBool::new(false),
            max_streams: AtomicU32::new(u32::MAX),
            open_streams: AtomicUsize::new(0),
            is_going_away: AtomicBool::new(false),
            heard: AtomicU64::new(0),
            asked: AtomicU64::new(0),
            pinged: AtomicU64::new(0),
            was_silent: AtomicBool::new(false),
            resets: AtomicU32::new(0),
        }
    }

    fn since_born(&self, now: Instant) -> u64 {
        let age = now.saturating_duration_since(self.born);
        u64::try_from(age.as_millis()).unwrap_or(u64::MAX)
    }

    /// A frame has come. Returns whether streams may be opened now that could not be before.
    pub(super) fn hear(&self, frame: Frame, now: Instant) -> bool {
        let was_silent = self.is_silent(now);
        self.heard.store(self.since_born(now), Ordering::Relaxed);
        match frame {
            Frame::Settings { max_streams } => {
                // Without this setting there is no limit; a later frame without it changes nothing (RFC 9113 6.5.3).
                let before = self.max_streams();
                let max = max_streams.unwrap_or(before);
                self.max_streams.store(max, Ordering::Release);
                if !self.is_settled.swap(true, Ordering::AcqRel) {
                    self.settled.notify_one();
                }
                was_silent || max > before
            }
            Frame::GoAway => {
                self.is_going_away.store(true, Ordering::Release);
                false
            }
            Frame::Ping | Frame::Reset | Frame::Other => was_silent,
        }
    }

    /// A frame was sent.
    pub(super) fn say(&self, frame: Frame, now: Instant) {
        match frame {
            Frame::Ping => self.wait_from(&self.pinged, now),
            Frame::Reset => {
                self.resets.fetch_add(1, Ordering::Relaxed);
            }
            Frame::Settings { .. } | Frame::GoAway | Frame::Other => {}
        }
    }

    /// The wait for a frame begins, unless it has begun.
    fn wait_from(&self, since: &AtomicU64, now: Instant) {
        let heard = self.heard.load(Ordering::Relaxed);
        if since.load(Ordering::Relaxed) <= heard {
            since.store(self.since_born(now).max(heard + 1), Ordering::Relaxed);
        }
    }

    /// The streams that may be open at once.
    pub(super) fn max_streams(&self) -> u32 {
        self.max_streams.load(Ordering::Acquire)
    }

    /// The streams that are open.
    pub(super) fn open_streams(&self) -> usize {
        self.open_streams.load(Ordering::Acquire)
    }

    /// Whether so many streams were reset that the other side may soon defend itself against it: all requests on the
    /// connection would pay for callers that leave.
    pub(super) fn has_too_many_resets(&self) -> bool {
        self.resets.load(Ordering::Relaxed) >= MAX_RESETS
    }

    /// The other side has sent GOAWAY.
    pub(super) fn is_going_away(&self) -> bool {
        self.is_going_away.load(Ordering::Acquire)
    }

    /// Whether a further stream may be opened.
    pub(super) fn has_room(&self, now: Instant) -> bool {
        let max = usize::try_from(self.max_streams()).unwrap_or(usize::MAX);
        self.open_streams() < max && !self.is_silent(now)
    }

    /// Whether the other side answers neither requests nor a PING.
    pub(super) fn is_silent(&self, now: Instant) -> bool {
        let heard = self.heard.load(Ordering::Relaxed);
        let waits = |since: &AtomicU64, limit: Duration| {
            let since = since.load(Ordering::Relaxed);
            let wait = self.since_born(now).saturating_sub(since);
            since > heard && Duration::from_millis(wait) >= limit
        };
        // A PING may not even get through.
        waits(&self.pinged, PONG_WITHIN) || waits(&self.asked, PING_AFTER + PONG_WITHIN)
    }

    /// Whether the connection has become silent since the last call.
    pub(super) fn fell_silent(&self, now: Instant) -> bool {
        let is_silent = self.is_silent(now);
        !self.was_silent.swap(is_silent, Ordering::Relaxed) && is_silent
    }

    /// A stream is opened. Only one caller at a time may do this.
    pub(super) fn open_stream(&self, now: Instant) {
        self.open_streams.fetch_add(1, Ordering::AcqRel);
        self.wait_from(&self.asked, now);
    }

    /// A stream is closed.
    pub(super) fn close_stream(&self) {
        self.open_streams.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A connection, and the time so many seconds after its beginning.
    fn begun() -> (Signals, impl Fn(u64) -> Instant) {
        let born = Instant::now();
        let after = move |seconds| born + Duration::from_secs(seconds);
        (Signals::begin(born), after)
    }

    #[test]
    fn a_connection_is_silent_if_it_does_not_answer_a_ping() {
        let (signals, after) = begun();
        signals.hear(Frame::Other, after(1));
        signals.open_stream(after(10));
        signals.hear(Frame::Other, after(11));
        assert!(
            signals.has_room(after(100)),
            "its answer may be read slowly"
        );

        signals.say(Frame::Other, after(100));
        assert!(signals.has_room(after(104)));
        signals.say(Frame::Ping, after(105));
        signals.say(Frame::Ping, after(106));
        assert!(signals.has_room(after(106)));
        assert!(!signals.has_room(after(107)));
        assert!(signals.fell_silent(after(107)));
        assert!(!signals.fell_silent(after(108)), "it is told once");

        signals.close_stream();
        assert!(!signals.has_room(after(200)), "it stays silent");

        assert!(
            signals.hear(Frame::Other, after(201)),
            "there is room again"
        );
        assert!(!signals.hear(Frame::Other, after(202)));
        assert!(!signals.fell_silent(after(300)));
        assert!(signals.has_room(after(300)));
    }

    #[test]
    fn a_connection_is_silent_if_it_does_not_answer_requests() {
        let (signals, after) = begun();
        signals.open_stream(after(10));
        signals.hear(Frame::Other, after(11));
        signals.close_stream();
        assert!(signals.has_room(after(1000)));

        // Short waits in vain add up.
        signals.open_stream(after(1000));
        signals.close_stream();
        assert!(signals.has_room(after(1006)));
        signals.open_stream(after(1006));
        assert!(!signals.has_room(after(1007)));
    }

    #[test]
    fn what_begins_in_the_same_moment_as_a_frame_waits_for_the_next() {
        let (signals, after) = begun();
        signals.hear(Frame::Other, after(1));
        signals.say(Frame::Ping, after(1));
        assert!(!signals.has_room(after(4)));
    }

    #[test]
    fn a_connection_bears_so_many_resets() {
        let (signals, after) = begun();
        for _ in 1..MAX_RESETS {
            signals.say(Frame::Reset, after(1));
        }
        assert!(!signals.has_too_many_resets());
        signals.say(Frame::Reset, after(1));
        assert!(signals.has_too_many_resets());
    }

    #[test]
    fn a_larger_limit_is_told() {
        let (signals, after) = begun();
        let settings = |max_streams| Frame::Settings { max_streams };
        for (max_streams, is_told) in [
            (Some(2), false),
            (Some(3), true),
            (None, false),
            (Some(3), false),
            (Some(1), false),
            (Some(2), true),
        ] {
            let told = signals.hear(settings(max_streams), after(1));
            assert_eq!(told, is_told, "{max_streams:?}");
        }
    }
}
