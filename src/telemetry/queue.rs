//! Records on their way to standard output: gathered by requests, written by a thread of their own.

use std::{
    collections::VecDeque,
    io::{self, Write},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        mpsc::{self, SyncSender},
    },
    time::{Duration, Instant},
};

use prometheus::IntCounter;

/// Records that may wait to be written; more are dropped and counted.
const MAX_RECORDS: usize = 8192;
/// The bytes that are written at once, unless a single record is longer.
const PIECE: usize = 64 * 1024;
/// The shortest time between two writes, unless a piece is full. A record after a pause is written at once.
const PAUSE: Duration = Duration::from_millis(5);
/// The time before a write that failed is tried again; one that only had to wait is tried after a [`PAUSE`].
const RETRY: Duration = Duration::from_millis(100);

/// Records that wait to be written.
#[derive(Clone)]
pub(super) struct Queue(Arc<Shared>);

struct Shared {
    waiting: Mutex<Waiting>,
    pause: Duration,
    /// Wakes the writing thread.
    awake: Condvar,
    dropped: IntCounter,
}

#[derive(Default)]
struct Waiting {
    items: VecDeque<Item>,
    records: usize,
    writer: Writer,
    /// The buffer of the last piece, empty.
    spare: Vec<u8>,
}

/// What the writing thread does.
#[derive(Default, Clone, Copy, PartialEq, Eq)]
enum Writer {
    #[default]
    Works,
    /// Waits for a first item.
    Rests,
    /// Waits until the first item is full, or for a while.
    Gathers,
}

enum Item {
    Records(Piece),
    /// All before it is written.
    Flush(SyncSender<()>),
}

/// Whole records, one behind the other.
#[derive(Default)]
struct Piece {
    bytes: Vec<u8>,
    records: usize,
}

impl Queue {
    /// An empty queue; `dropped` counts the records that find no room.
    pub(super) fn new(dropped: IntCounter) -> Self {
        Self::with_pause(dropped, PAUSE)
    }

    fn with_pause(dropped: IntCounter, pause: Duration) -> Self {
        Self(Arc::new(Shared {
            waiting: Mutex::default(),
            pause,
            awake: Condvar::new(),
            dropped,
        }))
    }

    /// Adds a record. It never waits for standard output.
    pub(super) fn push(&self, record: &[u8]) {
        let mut waiting = self.lock();
        if waiting.records >= MAX_RECORDS {
            drop(waiting);
            self.0.dropped.inc();
            return;
        }
        waiting.push(record);
        self.wake(waiting);
    }

    /// Wakes the writing thread if it has something to do; else it would be a system call for each record.
    fn wake(&self, mut waiting: MutexGuard<'_, Waiting>) {
        let has_work = match waiting.writer {
            Writer::Works => false,
            Writer::Rests => true,
            Writer::Gathers => waiting.is_full(),
        };
        if has_work {
            waiting.writer = Writer::Works;
            drop(waiting);
            self.0.awake.notify_one();
        }
    }

    /// Waits until the records so far are written, or cannot be, or the time is over.
    pub(super) fn flush(&self, longest: Duration) {
        let (done, written) = mpsc::sync_channel(1);
        let mut waiting = self.lock();
        waiting.items.push_back(Item::Flush(done));
        self.wake(waiting);
        let _ = written.recv_timeout(longest);
    }

    /// Writes records as they come, for ever.
    pub(super) fn write_all(&self, mut out: impl Write) {
        let mut written = None;
        loop {
            match self.next(written) {
                Item::Flush(done) => drop(done.try_send(())),
                Item::Records(mut piece) => {
                    self.write(&piece.bytes, &mut out);
                    written = Some(Instant::now());
                    piece.bytes.clear();
                    piece.bytes.shrink_to(PIECE);
                    self.lock().spare = piece.bytes;
                }
            }
        }
    }

    /// The first item, as soon as it is to be written. `written` is the time of the last write.
    fn next(&self, written: Option<Instant>) -> Item {
        let mut waiting = self.lock();
        loop {
            let pause = written.map_or(Duration::ZERO, |written| {
                self.0.pause.saturating_sub(written.elapsed())
            });
            let is_due = waiting.is_full() || pause.is_zero();
            if is_due && let Some(item) = waiting.pop() {
                return item;
            }
            let awake = &self.0.awake;
            waiting = if waiting.items.is_empty() {
                waiting.writer = Writer::Rests;
                let woken = awake.wait(waiting);
                woken.unwrap_or_else(PoisonError::into_inner)
            } else {
                waiting.writer = Writer::Gathers;
                let woken = awake.wait_timeout(waiting, pause);
                woken.unwrap_or_else(PoisonError::into_inner).0
            };
            waiting.writer = Writer::Works;
        }
    }

    /// Writes a piece to its last byte: after a full disk, a later try may succeed, and no line is torn.
    fn write(&self, mut bytes: &[u8], out: &mut impl Write) {
        while !bytes.is_empty() {
            match out.write(bytes) {
                Ok(some @ 1..) => bytes = bytes.get(some..).unwrap_or_default(),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // A descriptor that does not block, and a reader that is a little late.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    std::thread::sleep(PAUSE);
                }
                Ok(0) | Err(_) => {
                    self.lock().give_up_flushes();
                    std::thread::sleep(RETRY);
                }
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.0
            .waiting
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    fn push(&mut self, record: &[u8]) {
        self.records += 1;
        if let Some(Item::Records(last)) = self.items.back_mut()
            && last.bytes.len() + record.len() <= PIECE
        {
            last.add(record);
            return;
        }
        let mut piece = Piece {
            bytes: std::mem::take(&mut self.spare),
            records: 0,
        };
        piece.add(record);
        self.items.push_back(Item::Records(piece));
    }

    /// Whether nothing more is added to the first item.
    fn is_full(&self) -> bool {
        match self.items.front() {
            None => false,
            Some(Item::Flush(_)) => true,
            Some(Item::Records(_)) => self.items.len() > 1,
        }
    }

    fn pop(&mut self) -> Option<Item> {
        let item = self.items.pop_front()?;
        if let Item::Records(piece) = &item {
            self.records -= piece.records;
        }
        Some(item)
    }

    /// Nobody waits for a write that may never succeed.
    fn give_up_flushes(&mut self) {
        self.items.retain(|item| match item {
            Item::Flush(done) => {
                let _ = done.try_send(());
                false
            }
            Item::Records(_) => true,
        });
    }
}

impl Piece {
    fn add(&mut self, record: &[u8]) {
        self.bytes.extend_from_slice(record);
        self.records += 1;
    }
}

#[cfg(test)]
mod tests;
