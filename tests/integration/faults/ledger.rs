//! What was asked, what the upstream did with it, what the caller was told: request by request.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Mutex, MutexGuard},
    time::{Duration, Instant},
};

/// What a caller was told about one write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Told {
    /// 200.
    Passed,
    /// The gateway refused it.
    Refused,
    /// Nothing of it was sent.
    NothingSent,
    /// It was sent, and nothing was written.
    NotProcessed,
    /// Its outcome is unknown: the connection ended.
    Unknown,
    /// Its outcome is unknown: no answer came in time.
    NoAnswer,
    /// Its answer was cut off.
    Cut,
    /// The caller had sent all of it and left.
    Left,
    /// The caller left before all of it was sent.
    LeftEarly,
}

/// The last sending of a request, as the upstream saw it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Sending {
    /// None has been read.
    #[default]
    Unseen,
    /// It was read, and may have been processed.
    Open,
    /// The upstream has said that it does not process it.
    Denied,
    /// Its answer was cut off.
    Cut,
}

/// One write.
#[derive(Debug, Clone, Copy, Default)]
struct Entry {
    /// Sendings that may have been processed.
    opened: u8,
    applied: u8,
    /// The upstream has said of a sending that it does not process it.
    is_denied: bool,
    sending: Sending,
    told: Option<Told>,
}

/// What the upstream does with connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Manners {
    /// It never closes one without having told what it has processed.
    Telling,
    /// It also closes them with requests that it has not read.
    Rude,
}

/// All writes of a run, by number.
pub(super) struct Ledger {
    manners: Manners,
    entries: Mutex<Vec<Entry>>,
    faults: Mutex<BTreeMap<&'static str, usize>>,
    outcomes: Mutex<BTreeMap<String, usize>>,
    fell_silent: Mutex<Option<Instant>>,
    /// Requests of which too little had come to know them when their connection ended.
    begun: Mutex<usize>,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap()
}

/// The text that names a write in its body.
pub(super) fn mark(number: usize) -> String {
    format!("write-{number}.")
}

/// The number of a write, from its body.
pub(super) fn number(body: &[u8]) -> Option<usize> {
    let text = String::from_utf8_lossy(body.get(..1024).unwrap_or(body));
    let (_, rest) = text.split_once("write-")?;
    rest.split_once('.')?.0.parse().ok()
}

impl Ledger {
    pub(super) fn new(manners: Manners) -> Self {
        Self {
            manners,
            entries: Mutex::default(),
            faults: Mutex::default(),
            outcomes: Mutex::default(),
            fell_silent: Mutex::default(),
            begun: Mutex::default(),
        }
    }

    fn at(&self, number: usize, change: impl FnOnce(&mut Entry)) {
        change(&mut locked(&self.entries)[number]);
    }

    /// A new write.
    pub(super) fn ask(&self) -> usize {
        let mut entries = locked(&self.entries);
        entries.push(Entry::default());
        entries.len() - 1
    }

    /// The upstream has read it, and may process it.
    pub(super) fn open(&self, number: usize) {
        self.at(number, |entry| {
            entry.opened += 1;
            entry.sending = Sending::Open;
        });
    }

    /// The upstream has processed it.
    pub(super) fn apply(&self, number: usize) {
        self.at(number, |entry| entry.applied += 1);
    }

    /// The upstream has said that it does not process it.
    pub(super) fn deny(&self, number: usize) {
        self.at(number, |entry| {
            entry.is_denied = true;
            // By now it may have been sent again, and been read on another connection.
            if entry.sending == Sending::Unseen {
                entry.sending = Sending::Denied;
            }
        });
    }

    /// The upstream has sent a part of the answer.
    pub(super) fn cut(&self, number: usize) {
        self.at(number, |entry| entry.sending = Sending::Cut);
    }

    /// A request had begun when its connection ended, and may have been processed by what the upstream had said.
    pub(super) fn begin(&self, number: Option<usize>) {
        match number {
            Some(number) => self.at(number, |entry| entry.sending = Sending::Open),
            None => *locked(&self.begun) += 1,
        }
    }

    /// Counts a fault.
    pub(super) fn fault(&self, kind: &'static str) {
        *locked(&self.faults).entry(kind).or_default() += 1;
    }

    /// Whether a further connection may fall silent: each holds up many callers.
    pub(super) fn may_fall_silent(&self) -> bool {
        let mut last = locked(&self.fell_silent);
        let pause = Duration::from_secs(10);
        let may = last.is_none_or(|last| last.elapsed() > pause);
        if may {
            *last = Some(Instant::now());
        }
        may
    }

    /// The caller was told this, in these words.
    pub(super) fn tell(&self, number: usize, told: Told, words: String) {
        self.at(number, |entry| entry.told = Some(told));
        *locked(&self.outcomes).entry(words).or_default() += 1;
    }

    /// Checks what callers were told against what the upstream did.
    pub(super) fn check(&self) {
        let entries = locked(&self.entries);
        let wrong = entries.iter().enumerate();
        let wrong = wrong.filter(|(_, entry)| !entry.is_right(self.manners));
        let wrong: Vec<_> = wrong.collect();
        let some = &wrong[..wrong.len().min(20)];
        assert!(
            wrong.is_empty(),
            "{} writes were told wrongly, or sent twice: {some:?}\n{self:?}",
            wrong.len()
        );
        self.check_denied(&entries);
    }

    /// Checks that no request which was not processed is of unknown outcome, unless it was sent again and lost then: it had
    /// begun when that connection ended, or the upstream closes connections without a word.
    fn check_denied(&self, entries: &[Entry]) {
        let denied = entries.iter().filter(|entry| entry.is_denied);
        let lost = entries.iter().filter(|entry| entry.is_lost());
        let (denied, lost, begun) = (denied.count(), lost.count(), *locked(&self.begun));
        assert!(
            lost <= begun || self.manners == Manners::Rude,
            "{lost} of {denied} requests that were not processed are of unknown outcome, and {begun} had begun: {self:?}"
        );
    }

    /// How often callers were told this.
    pub(super) fn count(&self, told: Told) -> usize {
        let entries = locked(&self.entries);
        entries
            .iter()
            .filter(|entry| entry.told == Some(told))
            .count()
    }
}

impl fmt::Debug for Ledger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ledger")
            .field("outcomes", &*locked(&self.outcomes))
            .field("faults", &*locked(&self.faults))
            .finish_non_exhaustive()
    }
}

impl Entry {
    fn is_right(&self, manners: Manners) -> bool {
        let is_sent_once = self.opened <= 1 && self.applied <= self.opened;
        // What was sent last, nobody may have read.
        let is_rude = manners == Manners::Rude;
        is_sent_once
            && match self.told {
                Some(Told::Passed) => self.applied == 1,
                Some(Told::Refused) => self.sending == Sending::Unseen,
                Some(Told::NothingSent | Told::NotProcessed | Told::LeftEarly) => self.opened == 0,
                Some(Told::Unknown | Told::NoAnswer | Told::Left) => true,
                Some(Told::Cut) => self.sending == Sending::Cut || (is_rude && self.applied == 1),
                None => false,
            }
    }

    /// Whether its outcome is unknown although the upstream has processed none of its sendings that it has read, and the last
    /// one did not end on a connection that fell silent.
    fn is_lost(&self) -> bool {
        self.told == Some(Told::Unknown) && self.sending == Sending::Denied
    }
}

#[test]
fn a_wrong_word_to_a_caller_is_noticed() {
    use Sending::{Cut, Denied, Open, Unseen};
    let write = |sending, opened, applied, told| Entry {
        opened,
        applied,
        is_denied: sending == Denied,
        sending,
        told,
    };
    for (sending, opened, applied, told, is_right) in [
        (Open, 1, 1, Told::Passed, true),
        (Open, 1, 0, Told::Passed, false),
        (Open, 2, 1, Told::Passed, false),
        (Open, 1, 2, Told::Passed, false),
        (Unseen, 0, 0, Told::Refused, true),
        (Denied, 0, 0, Told::Refused, false),
        (Denied, 0, 0, Told::NotProcessed, true),
        (Open, 1, 0, Told::NotProcessed, false),
        (Unseen, 0, 0, Told::NothingSent, true),
        (Open, 1, 1, Told::NothingSent, false),
        (Open, 1, 0, Told::Unknown, true),
        (Open, 1, 0, Told::NoAnswer, true),
        (Unseen, 0, 0, Told::Unknown, true),
        (Cut, 1, 1, Told::Cut, true),
        (Open, 1, 1, Told::LeftEarly, false),
        (Open, 1, 1, Told::Left, true),
    ] {
        let entry = write(sending, opened, applied, Some(told));
        for manners in [Manners::Telling, Manners::Rude] {
            assert_eq!(entry.is_right(manners), is_right, "{entry:?}");
        }
    }
    let cut = write(Open, 1, 1, Some(Told::Cut));
    assert!(cut.is_right(Manners::Rude) && !cut.is_right(Manners::Telling));
    assert!(!write(Open, 1, 1, None).is_right(Manners::Rude));
    assert!(write(Denied, 0, 0, Some(Told::Unknown)).is_lost());
    assert!(!write(Denied, 0, 0, Some(Told::NoAnswer)).is_lost());
}
