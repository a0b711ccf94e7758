//! What is known of an HTTP/2 connection while it lives.

use std::{
    sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering},
    time::{Duration, Instant},
};

use tokio::sync::Notify;

use super::frames::Frame;

/// After so long without a frame, while a request waits, a PING asks whether the other side is there.
pub(super) const PING_AFTER: Duration = Duration::from_secs(5);
/// A connection with waiting requests that is silent for so long takes no new one: the PING was not answered.
const SILENT_AFTER: Duration = Duration::from_secs(7);

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
    was_silent: AtomicBool,
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
            was_silent: AtomicBool::new(false),
        }
    }

    fn since_born(&self, now: Instant) -> u64 {
        let age = now.saturating_duration_since(self.born);
        u64::try_from(age.as_millis()).unwrap_or(u64::MAX)
    }

    /// A frame has come.
    pub(super) fn hear(&self, frame: Frame, now: Instant) {
        self.heard.store(self.since_born(now), Ordering::Relaxed);
        match frame {
            Frame::Settings { max_streams } => {
                // Without this setting there is no limit; a later frame without it changes nothing (RFC 9113 6.5.3).
                if let Some(max) = max_streams {
                    self.max_streams.store(max, Ordering::Release);
                }
                if !self.is_settled.swap(true, Ordering::AcqRel) {
                    self.settled.notify_one();
                }
            }
            Frame::GoAway => self.is_going_away.store(true, Ordering::Release),
            Frame::Other => {}
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

    /// The other side has sent GOAWAY.
    pub(super) fn is_going_away(&self) -> bool {
        self.is_going_away.load(Ordering::Acquire)
    }

    /// Whether a further stream may be opened.
    pub(super) fn has_room(&self, now: Instant) -> bool {
        let max = usize::try_from(self.max_streams()).unwrap_or(usize::MAX);
        self.open_streams() < max && !self.is_silent(now)
    }

    /// Whether requests wait, or waited in vain, and the other side does not even answer a PING.
    fn is_silent(&self, now: Instant) -> bool {
        let (heard, asked) = (
            self.heard.load(Ordering::Relaxed),
            self.asked.load(Ordering::Relaxed),
        );
        let is_owed = asked > heard;
        let since = if is_owed { asked } else { heard };
        let silence = Duration::from_millis(self.since_born(now).saturating_sub(since));
        (is_owed || self.open_streams() > 0) && silence >= SILENT_AFTER
    }

    /// Whether the connection has become silent since the last call.
    pub(super) fn fell_silent(&self, now: Instant) -> bool {
        let is_silent = self.is_silent(now);
        !self.was_silent.swap(is_silent, Ordering::Relaxed) && is_silent
    }

    /// A stream is opened. Only one caller at a time may do this.
    pub(super) fn open_stream(&self, now: Instant) {
        self.open_streams.fetch_add(1, Ordering::AcqRel);
        if self.asked.load(Ordering::Relaxed) <= self.heard.load(Ordering::Relaxed) {
            self.asked.store(self.since_born(now), Ordering::Relaxed);
        }
    }

    /// A stream is closed.
    pub(super) fn close_stream(&self, now: Instant) {
        if self.is_silent(now) {
            // Its requests may all end; the other side still owes a frame.
            let heard = self.heard.load(Ordering::Relaxed);
            self.asked.fetch_max(heard + 1, Ordering::Relaxed);
        }
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
    fn a_connection_is_silent_if_a_request_waits_and_no_frame_comes() {
        let (signals, after) = begun();
        signals.hear(Frame::Other, after(1));
        assert!(signals.has_room(after(100)), "nobody waits");

        signals.open_stream(after(100));
        assert!(signals.has_room(after(106)));
        assert!(!signals.has_room(after(107)));
        assert!(signals.fell_silent(after(107)));
        assert!(!signals.fell_silent(after(108)), "it is told once");

        signals.hear(Frame::Other, after(110));
        assert!(!signals.fell_silent(after(116)));
        assert!(signals.has_room(after(116)));
        assert!(!signals.has_room(after(117)), "it still waits");
        assert!(signals.fell_silent(after(117)));
    }

    #[test]
    fn a_silent_connection_stays_so_when_its_requests_have_ended() {
        for frame_at in [0, 12] {
            let (signals, after) = begun();
            signals.open_stream(after(10));
            if frame_at > 0 {
                // The head of an answer, for example; then nothing more.
                signals.hear(Frame::Other, after(frame_at));
            }
            signals.close_stream(after(70));
            assert!(!signals.has_room(after(70)), "{frame_at}");

            signals.hear(Frame::Other, after(80));
            assert!(signals.has_room(after(1000)), "{frame_at}");
        }
    }

    #[test]
    fn a_connection_that_has_answered_is_not_silent() {
        let (signals, after) = begun();
        signals.open_stream(after(10));
        signals.hear(Frame::Other, after(11));
        signals.close_stream(after(11));
        assert!(signals.has_room(after(1000)));

        // Short waits in vain add up.
        signals.open_stream(after(1000));
        signals.close_stream(after(1002));
        assert!(signals.has_room(after(1006)));
        signals.open_stream(after(1006));
        assert!(!signals.has_room(after(1007)));
    }
}
