use super::*;
use crate::upstream::Sent;

/// What happens at a second: no connection, no usable answer, or an answer.
#[derive(Debug, Clone, Copy)]
enum Event {
    Fails,
    Breaks,
    Answers,
}

use Event::{Answers, Breaks, Fails};

/// The lines that are written, with their second.
#[track_caller]
fn check(events: &[(u64, Event)], lines: &[(u64, &str)]) {
    let start = Instant::now();
    let mut story = Story::default();
    let mut written = Vec::new();
    for &(second, event) in events {
        let now = start + Duration::from_secs(second);
        match event {
            Fails => {
                let due = story.failed(true, now);
                written.extend(due.map(|failed| (second, format!("away {failed}"))));
            }
            Breaks => {
                let due = story.failed(false, now);
                written.extend(due.map(|failed| (second, format!("broken {failed}"))));
            }
            Answers => match story.answered(now) {
                Word::Back { away, failed } => {
                    written.push((second, format!("back {} {failed}", away.as_secs())));
                }
                Word::Later(next) => assert!(next > now, "{next:?}"),
                Word::Nothing => {}
            },
        }
    }
    let written: Vec<_> = written.iter().map(|(at, line)| (*at, &**line)).collect();
    assert_eq!(written, lines);
}

#[test]
fn answers_alone_say_nothing() {
    check(&[(0, Answers), (100, Answers)], &[]);
}

#[test]
fn an_outage_has_a_line_at_its_start_one_a_minute_and_one_at_its_end() {
    check(
        &[
            (0, Answers),
            (10, Fails),
            (11, Fails),
            (69, Fails),
            (70, Fails),
            (71, Fails),
            (130, Fails),
            (140, Answers),
            (141, Answers),
        ],
        &[
            (10, "away 1"),
            (70, "away 3"),
            (130, "away 2"),
            (140, "back 130 6"),
        ],
    );
}

#[test]
fn an_upstream_that_comes_and_goes_has_one_line_of_each_kind_a_minute() {
    let events: Vec<_> = (0..150)
        .map(|second| (second, if second % 2 == 0 { Fails } else { Answers }))
        .collect();
    check(
        &events,
        &[
            (0, "away 1"),
            (1, "back 1 1"),
            (60, "away 30"),
            (61, "back 59 30"),
            (120, "away 30"),
            (121, "back 59 30"),
        ],
    );
}

#[test]
fn the_last_line_says_how_things_are() {
    // The second outage ends before another line is due, and the next answer tells of it, also when that comes late.
    check(
        &[
            (0, Fails),
            (1, Answers),
            (2, Fails),
            (10, Answers),
            (30, Answers),
            (61, Answers),
            (62, Answers),
        ],
        &[(0, "away 1"), (1, "back 1 1"), (61, "back 8 1")],
    );
    // It does not end, and the next failure after the minute tells of it.
    check(
        &[
            (0, Fails),
            (1, Answers),
            (2, Fails),
            (3, Fails),
            (60, Fails),
        ],
        &[(0, "away 1"), (1, "back 1 1"), (60, "away 3")],
    );
}

#[test]
fn an_upstream_that_dies_under_load_is_told_of_at_once() {
    let events = [
        (0, Breaks),
        (0, Breaks),
        (0, Fails),
        (1, Fails),
        (61, Fails),
        (62, Breaks),
        (63, Answers),
    ];
    let lines = [
        (0, "broken 1"),
        (0, "away 1"),
        (61, "away 2"),
        (62, "broken 2"),
        (63, "back 63 6"),
    ];
    check(&events, &lines);
}

#[test]
fn bodies_of_callers_are_no_failures_of_the_upstream() {
    let metrics = Metrics::new();
    let health = Health::new("https://service.test".to_owned(), &metrics);
    for kind in [Kind::RequestBroken, Kind::RequestTooSlow] {
        health.failed(&Error::new(kind, Sent::Maybe, "cut"));
        assert!(health.last_failure().is_none(), "{kind:?}");
    }
    for kind in [
        Kind::ConnectFailed,
        Kind::ConnectTimeout,
        Kind::Closed,
        Kind::BadAnswer,
        Kind::Timeout,
    ] {
        health.failed(&Error::new(kind, Sent::Maybe, "gone"));
        let last = health.last_failure().map(|failure| failure.kind);
        assert_eq!(last, Some(kind.label().as_str()));
    }
    assert!(health.last_success().is_none());
    health.answered(Instant::now());
    assert!(health.last_success().is_some());
    assert!(health.lock().outage.is_none());
}

#[test]
fn an_answer_takes_no_lock_unless_it_has_something_to_say() {
    let metrics = Metrics::new();
    let health = Health::new("https://service.test".to_owned(), &metrics);
    let held = health.lock();
    health.answered(Instant::now());
    drop(held);
    health.failed(&Error::new(Kind::Closed, Sent::Maybe, "gone"));
    health.answered(Instant::now());
    // An outage that ends within the same minute is told of later.
    health.failed(&Error::new(Kind::Closed, Sent::Maybe, "gone"));
    health.answered(Instant::now());
    let held = health.lock();
    health.answered(Instant::now());
    assert!(held.outage.is_some());
}

#[test]
fn a_success_after_a_failure_is_noted_at_once() {
    let metrics = Metrics::new();
    let health = Health::new("https://service.test".to_owned(), &metrics);
    let now = Instant::now();
    health.answered(now);
    metrics.upstream.last_success.set(1);
    health.failed(&Error::new(Kind::Closed, Sent::Maybe, "gone"));
    health.answered(now);
    assert!(metrics.upstream.last_success.get() > 1);
    metrics.upstream.last_success.set(1);
    health.answered(now + Duration::from_secs(1));
    assert!(metrics.upstream.last_success.get() > 1);
}
