use std::{
    sync::mpsc::Receiver,
    thread::{self, JoinHandle},
};

use super::*;

/// Standard output as a test sees it: each write waits until the test lets it happen.
struct Output {
    writes: SyncSender<Vec<u8>>,
    outcomes: Receiver<io::Result<usize>>,
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.writes.send(bytes.to_vec()).expect("a test that looks");
        self.outcomes.recv().expect("a test that answers")
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A queue with its writing thread, and what it writes.
struct Log {
    queue: Queue,
    dropped: IntCounter,
    writes: Receiver<Vec<u8>>,
    outcomes: SyncSender<io::Result<usize>>,
}

impl Log {
    fn start() -> Self {
        Self::start_with(PAUSE)
    }

    fn start_with(pause: Duration) -> Self {
        let dropped = IntCounter::new("dropped", "Records dropped.").expect("a name");
        let queue = Queue::with_pause(dropped.clone(), pause);
        let (told, writes) = mpsc::sync_channel(0);
        let (outcomes, outcome) = mpsc::sync_channel(0);
        let output = Output {
            writes: told,
            outcomes: outcome,
        };
        let writing = queue.clone();
        // It ends with the test program.
        thread::spawn(move || writing.write_all(output));
        Self {
            queue,
            dropped,
            writes,
            outcomes,
        }
    }

    /// The next write, not yet done.
    #[track_caller]
    fn begun(&self) -> String {
        let bytes = self.writes.recv_timeout(Duration::from_secs(10));
        String::from_utf8(bytes.expect("a write")).expect("text")
    }

    fn done(&self, outcome: io::Result<usize>) {
        self.outcomes.send(outcome).expect("a write");
    }

    /// A thread that flushes.
    fn flushing(&self) -> JoinHandle<()> {
        let queue = self.queue.clone();
        thread::spawn(move || queue.flush(Duration::from_secs(3600)))
    }

    /// The next write, which succeeds.
    #[track_caller]
    fn written(&self) -> String {
        let bytes = self.begun();
        self.done(Ok(bytes.len()));
        bytes
    }
}

#[test]
fn records_are_written_in_their_order_and_together() {
    let log = Log::start();
    log.queue.push(b"1\n");
    // The first one is written alone: nothing says that more will come.
    assert_eq!(log.begun(), "1\n");
    for n in 2..100 {
        log.queue.push(format!("{n}\n").as_bytes());
    }
    log.done(Ok(2));
    let rest: String = (2..100).map(|n| format!("{n}\n")).collect();
    assert_eq!(log.written(), rest);
}

#[test]
fn a_full_piece_is_written_and_no_record_is_divided() {
    let log = Log::start();
    log.queue.push(b"first\n");
    log.begun();
    let record = [&[b'a'; 999][..], b"\n"].concat();
    for _ in 0..100 {
        log.queue.push(&record);
    }
    log.queue.push(&[b'b'; 2 * PIECE]);
    log.done(Ok(6));
    let whole = PIECE / record.len() * record.len();
    assert_eq!(log.written().len(), whole);
    assert_eq!(log.written().len(), 100 * record.len() - whole);
    assert_eq!(log.written().len(), 2 * PIECE);
}

#[test]
fn records_that_find_no_room_are_counted() {
    let log = Log::start();
    log.queue.push(b"first\n");
    log.begun();
    for _ in 0..MAX_RECORDS + 3 {
        log.queue.push(b"x\n");
    }
    assert_eq!(log.dropped.get(), 3);
    log.done(Ok(6));
    assert_eq!(log.written().len(), 2 * MAX_RECORDS);
    // There is room again.
    log.queue.push(b"last\n");
    assert_eq!(log.written(), "last\n");
    assert_eq!(log.dropped.get(), 3);
}

#[test]
fn a_write_that_fails_is_tried_again_at_the_same_byte() {
    let log = Log::start();
    log.queue.push(b"a whole line\n");
    assert_eq!(log.begun(), "a whole line\n");
    log.done(Ok(2));
    assert_eq!(log.begun(), "whole line\n");
    log.done(Err(io::ErrorKind::StorageFull.into()));
    assert_eq!(log.begun(), "whole line\n");
    log.done(Err(io::ErrorKind::Interrupted.into()));
    assert_eq!(log.written(), "whole line\n");
    assert_eq!(log.dropped.get(), 0);
}

#[test]
fn a_flush_waits_for_the_records_before_it() {
    let log = Log::start();
    log.queue.push(b"1\n");
    log.begun();
    log.queue.push(b"2\n");
    let flushed = log.flushing();
    log.done(Ok(2));
    assert_eq!(log.begun(), "2\n");
    assert!(!flushed.is_finished());
    log.done(Ok(2));
    flushed.join().expect("no panic");
}

#[test]
fn a_flush_does_not_wait_for_an_output_that_fails() {
    let log = Log::start();
    log.queue.push(b"1\n");
    log.begun();
    let flushed = log.flushing();
    log.done(Err(io::ErrorKind::BrokenPipe.into()));
    while !flushed.is_finished() {
        log.begun();
        log.done(Err(io::ErrorKind::BrokenPipe.into()));
    }
}

/// A log that has written one record, and waits for an hour to write the second.
fn gathering() -> Log {
    let log = Log::start_with(Duration::from_secs(3600));
    log.queue.push(b"first\n");
    log.written();
    log.queue.push(b"second\n");
    while log.queue.lock().writer != Writer::Gathers {
        thread::yield_now();
    }
    log
}

#[test]
fn a_piece_that_is_full_is_written_before_the_pause_is_over() {
    let log = gathering();
    log.queue.push(b"third\n");
    let record = [b'x'; PIECE];
    log.queue.push(&record);
    assert_eq!(log.written(), "second\nthird\n");
    // The next one waits for the end of the pause again, or for more.
    log.queue.push(&record);
    assert_eq!(log.written().len(), PIECE);
}

#[test]
fn a_flush_ends_the_pause() {
    let log = gathering();
    let flushed = log.flushing();
    assert_eq!(log.written(), "second\n");
    flushed.join().expect("no panic");
}

#[test]
fn a_flush_waits_for_an_output_that_is_only_late() {
    let log = Log::start();
    log.queue.push(b"1\n");
    log.begun();
    let flushed = log.flushing();
    for _ in 0..3 {
        log.done(Err(io::ErrorKind::WouldBlock.into()));
        assert_eq!(log.begun(), "1\n");
        assert!(!flushed.is_finished());
    }
    log.done(Ok(2));
    flushed.join().expect("no panic");
}
