//! The connections to the upstream that may carry a further request, and the places for more.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tokio::{runtime::Handle, sync::Notify};

use super::{
    failure::Refusals,
    signals::Signals,
    stream::Stream,
    way::{Line, Shared, Way},
};
use crate::metrics::{
    Metrics,
    label::{GivenUp, Protocol},
};

/// The maximum number of idle HTTP/1.1 connections.
const MAX_IDLE: usize = 1024;
/// The age at which a connection takes no new request, so that a change of the upstream's address is noticed.
const MAX_AGE: Duration = Duration::from_secs(600);
/// The number of idle connections tried for one that is ready.
const MAX_LOOKS: usize = 8;
/// The shortest pause between two sweeps of idle connections.
const SHORTEST_SWEEP: Duration = Duration::from_millis(50);

/// The connections that may carry a further request, and the places for more. A sweeper closes those that are idle for
/// too long.
pub(super) struct Kept {
    idle_timeout: Duration,
    max_connections: usize,
    connections: Mutex<Connections>,
    /// Notified when a waiting request may find a connection, or a place for one.
    freed: Arc<Notify>,
    metrics: Arc<Metrics>,
}

#[derive(Default)]
struct Connections {
    /// HTTP/1.1. The last one is the most recently used, and is used first.
    idle: Vec<Idle>,
    /// HTTP/2.
    shared: Vec<Shared>,
    /// Connections that are open or being opened.
    places: usize,
    /// Connections that are being opened.
    opening: usize,
    /// Requests that have found no connection.
    waiting: usize,
    /// That of the last connection.
    protocol: Option<Protocol>,
    /// The streams that the last HTTP/2 connection carries at once.
    streams_each: usize,
    /// A sweeper runs.
    is_swept: bool,
}

struct Idle {
    line: Line,
    since: Instant,
}

/// What a request without a connection does next.
pub(super) enum Next {
    /// Takes this one.
    Take(Way, Stream),
    /// Waits for this one: its last request may still be being sent.
    WaitFor(Line),
    /// Opens one.
    Open(Place, Opening),
    /// Waits until one is free, or until it may open one.
    Wait,
}

impl Kept {
    pub(super) fn new(
        idle_timeout: Duration,
        max_connections: usize,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self {
            idle_timeout,
            max_connections,
            connections: Mutex::default(),
            freed: Arc::default(),
            metrics,
        }
    }

    /// A connection that is ready for a request, if there is one, but none that has refused it.
    pub(super) fn take(
        self: &Arc<Self>,
        refused_by: &Refusals,
        now: Instant,
    ) -> Option<(Way, Stream)> {
        self.take_from(&mut self.lock(), refused_by, now)
    }

    fn take_from(
        self: &Arc<Self>,
        connections: &mut Connections,
        refused_by: &Refusals,
        now: Instant,
    ) -> Option<(Way, Stream)> {
        let sender = match connections.shared.is_empty() {
            true => None,
            false => self.take_stream(connections, refused_by, now),
        };
        if sender.is_some() {
            return sender;
        }
        let line = self.take_line(connections, now)?;
        Some(self.on_line(line))
    }

    /// The next request on a kept HTTP/1.1 connection.
    pub(super) fn on_line(&self, line: Line) -> (Way, Stream) {
        line.recheck.ask();
        (Way::Http1(line), self.line_stream())
    }

    /// A stream of the connection with the fewest.
    fn take_stream(
        self: &Arc<Self>,
        connections: &mut Connections,
        refused_by: &Refusals,
        now: Instant,
    ) -> Option<(Way, Stream)> {
        self.retain_shared(connections, now);
        let with_room = connections
            .shared
            .iter_mut()
            .filter(|shared| shared.signals.has_room(now) && !refused_by.contain(&shared.signals));
        let shared = with_room.min_by_key(|shared| shared.signals.open_streams())?;
        shared.since = now;
        let stream = self.open_stream(&shared.signals, now);
        Some((Way::Http2(shared.sender.clone()), stream))
    }

    /// A stream of an HTTP/2 connection. Only one caller at a time may do this.
    pub(super) fn open_stream(&self, signals: &Arc<Signals>, now: Instant) -> Stream {
        signals.open_stream(now);
        let open = self.metrics.upstream.streams(Protocol::Http2);
        Stream::shared(open, Arc::clone(signals), Arc::clone(&self.freed))
    }

    fn take_line(&self, connections: &mut Connections, now: Instant) -> Option<Line> {
        let mut at = connections.idle.len();
        for _ in 0..MAX_LOOKS {
            at = at.checked_sub(1)?;
            let idle = connections.idle.get(at)?;
            let over = self.idle_is_over(idle, now);
            // A connection with an answer just read may need another moment: it stays.
            if over.is_some() || idle.line.sender.is_ready() {
                let line = connections.idle.remove(at).line;
                if self.unless_over(over) {
                    return Some(line);
                }
            }
        }
        None
    }

    /// Counts a connection that is given up. Returns whether it is not.
    fn unless_over(&self, over: Option<GivenUp>) -> bool {
        if let Some(reason) = over {
            self.metrics.upstream.given_up(reason);
        }
        over.is_none()
    }

    fn idle_is_over(&self, idle: &Idle, now: Instant) -> Option<GivenUp> {
        if idle.line.sender.is_closed() {
            return Some(GivenUp::Closed);
        }
        self.is_old(idle.since, idle.line.born, now)
    }

    fn shared_is_over(&self, shared: &Shared, now: Instant) -> Option<GivenUp> {
        if shared.signals.is_going_away() {
            return Some(GivenUp::GoAway);
        }
        if shared.sender.is_closed() {
            return Some(GivenUp::Closed);
        }
        if shared.signals.has_too_many_resets() {
            return Some(GivenUp::Resets);
        }
        if shared.signals.open_streams() == 0 && shared.signals.max_streams() == 0 {
            return Some(GivenUp::NoStreams);
        }
        self.is_old(shared.since, shared.born, now)
    }

    fn retain_shared(&self, connections: &mut Connections, now: Instant) {
        connections.shared.retain(|shared| {
            let signals = &shared.signals;
            if signals.fell_silent(now) {
                self.metrics.upstream.given_up(GivenUp::Silent);
            }
            // One that nobody uses would only keep its place.
            let is_of_no_use = signals.open_streams() == 0 && signals.is_silent(now);
            !is_of_no_use && self.unless_over(self.shared_is_over(shared, now))
        });
    }

    /// Lets go of the HTTP/2 connections that have ended.
    pub(super) fn let_go(&self) {
        self.retain_shared(&mut self.lock(), Instant::now());
    }

    fn is_old(&self, since: Instant, born: Instant, now: Instant) -> Option<GivenUp> {
        if now.saturating_duration_since(since) >= self.idle_timeout {
            return Some(GivenUp::Idle);
        }
        (now.saturating_duration_since(born) >= MAX_AGE).then_some(GivenUp::Age)
    }

    /// Begins the wait of a request that has found no connection.
    pub(super) fn wait(self: &Arc<Self>) -> Waiting {
        self.lock().waiting += 1;
        Waiting(Arc::clone(self))
    }

    /// The place of a further connection, if one may be open.
    pub(super) fn place(self: &Arc<Self>) -> Option<(Place, Opening)> {
        let mut connections = self.lock();
        (connections.places < self.max_connections).then(|| self.place_in(&mut connections))
    }

    fn place_in(self: &Arc<Self>, connections: &mut Connections) -> (Place, Opening) {
        connections.places += 1;
        connections.opening += 1;
        (Place(Arc::clone(self)), Opening(Arc::clone(self)))
    }

    /// The one exchange at a time of an HTTP/1.1 connection.
    pub(super) fn line_stream(&self) -> Stream {
        Stream::only(self.metrics.upstream.streams(Protocol::Http1))
    }

    /// Shares a new HTTP/2 connection.
    pub(super) fn share(self: &Arc<Self>, shared: Shared) {
        let mut connections = self.lock();
        connections.protocol = Some(Protocol::Http2);
        let each = usize::try_from(shared.signals.max_streams()).unwrap_or(usize::MAX);
        connections.streams_each = each.max(1);
        connections.shared.push(shared);
        self.ensure_sweeper(&mut connections);
        drop(connections);
        self.freed.notify_waiters();
    }

    /// A new connection carries one request at a time: each waiting request needs one of its own.
    pub(super) fn opened_line(&self) {
        self.lock().protocol = Some(Protocol::Http1);
        self.freed.notify_waiters();
    }

    pub(super) fn put_back(self: &Arc<Self>, line: Line) {
        if line.sender.is_closed() {
            return;
        }
        let mut connections = self.lock();
        if connections.idle.len() < MAX_IDLE {
            connections.idle.push(Idle {
                line,
                since: Instant::now(),
            });
            self.ensure_sweeper(&mut connections);
            drop(connections);
            self.freed.notify_one();
        }
    }

    fn ensure_sweeper(self: &Arc<Self>, connections: &mut Connections) {
        // Without a runtime the program is ending.
        if !connections.is_swept
            && let Ok(runtime) = Handle::try_current()
        {
            connections.is_swept = true;
            runtime.spawn(Arc::clone(self).sweep());
        }
    }

    /// Closes connections that are idle for too long, until none is left.
    async fn sweep(self: Arc<Self>) {
        loop {
            tokio::time::sleep(self.idle_timeout.div_f64(4.0).max(SHORTEST_SWEEP)).await;
            let now = Instant::now();
            let mut connections = self.lock();
            connections
                .idle
                .retain(|idle| self.unless_over(self.idle_is_over(idle, now)));
            self.retain_shared(&mut connections, now);
            if connections.idle.is_empty() && connections.shared.is_empty() {
                connections.is_swept = false;
                return;
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Connections> {
        // The guarded state is consistent at every step, so a panic elsewhere cannot break it.
        self.connections
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Connections {
    /// Whether the connections that are being opened are too few for the requests that wait.
    fn needs_another(&self) -> bool {
        match self.protocol {
            // The first one tells the protocol.
            None => self.opening == 0,
            Some(Protocol::Http1) => true,
            Some(Protocol::Http2) => self.opening.saturating_mul(self.streams_each) < self.waiting,
        }
    }
}

/// A request that has found no connection.
pub(super) struct Waiting(Arc<Kept>);

impl Waiting {
    /// Notified when [`Self::next`] may have another result.
    pub(super) fn freed(&self) -> &Notify {
        &self.0.freed
    }

    pub(super) fn next(&self, refused_by: &Refusals) -> Next {
        let (kept, now) = (&self.0, Instant::now());
        let mut connections = kept.lock();
        if let Some((way, stream)) = kept.take_from(&mut connections, refused_by, now) {
            return Next::Take(way, stream);
        }
        if connections.places >= kept.max_connections {
            // A connection that has refused it, or needs another moment, is better than none.
            let no_refusals = Refusals::default();
            if let Some((way, stream)) = kept.take_from(&mut connections, &no_refusals, now) {
                return Next::Take(way, stream);
            }
            return match connections.idle.pop() {
                Some(idle) => Next::WaitFor(idle.line),
                None => Next::Wait,
            };
        }
        if !connections.needs_another() {
            return Next::Wait;
        }
        let (place, opening) = kept.place_in(&mut connections);
        Next::Open(place, opening)
    }

    /// Whether nothing can be opened, since all places are taken by open connections.
    pub(super) fn is_full(&self) -> bool {
        let connections = self.0.lock();
        connections.places >= self.0.max_connections && connections.opening == 0
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.lock().waiting -= 1;
    }
}

/// The place of one connection among those that may be open.
pub(super) struct Place(Arc<Kept>);

impl Place {
    /// A shared connection may carry more requests than before.
    pub(super) fn tell_of_room(&self) {
        self.0.freed.notify_waiters();
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.lock().places -= 1;
        self.0.freed.notify_one();
    }
}

/// A connection that is being opened.
pub(super) struct Opening(Arc<Kept>);

impl Drop for Opening {
    fn drop(&mut self) {
        self.0.lock().opening -= 1;
        self.0.freed.notify_one();
    }
}
