//! The last records of one kind, for operators, and those to come.

use std::{
    collections::VecDeque,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::SystemTime,
};

use bytes::Bytes;
use tokio::sync::broadcast::{Receiver, Sender};

use super::line::{self, Record};

/// How many records are kept, and how many a follower may be behind.
const KEPT: usize = 256;

/// The last records of one kind. A record is made into text only if somebody reads it.
pub struct Recent {
    /// Locked also while a record is handed to the followers, so that nobody misses one or sees it twice.
    kept: Mutex<VecDeque<Kept>>,
    live: Sender<Bytes>,
}

#[derive(Clone)]
struct Kept {
    at: SystemTime,
    target: &'static str,
    message: &'static str,
    record: Arc<dyn Record>,
}

impl Kept {
    fn json(&self) -> Bytes {
        line::json(self.target, self.message, self.at, &*self.record)
    }
}

impl Recent {
    /// Adds the newest record, and writes it into the log if `is_logged`.
    pub fn add(
        &self,
        target: &'static str,
        message: &'static str,
        record: impl Record,
        is_logged: bool,
    ) {
        let at = SystemTime::now();
        if is_logged {
            line::log(target, message, at, &record);
        }
        let newest = Kept {
            at,
            target,
            message,
            record: Arc::new(record),
        };
        let mut kept = self.lock();
        if self.live.receiver_count() > 0 {
            let _ = self.live.send(newest.json());
        }
        let oldest = match kept.len() {
            KEPT => kept.pop_front(),
            _ => None,
        };
        kept.push_back(newest);
        drop(kept);
        drop(oldest);
    }

    /// The kept records as JSON objects, the newest last.
    pub fn last(&self) -> Vec<Bytes> {
        self.follow().0
    }

    /// The kept records, the newest last, and those to come. A receiver that is more than [`KEPT`] behind misses some, and
    /// is told how many.
    pub fn follow(&self) -> (Vec<Bytes>, Receiver<Bytes>) {
        let kept = self.lock();
        let (copies, live): (Vec<Kept>, _) =
            (kept.iter().cloned().collect(), self.live.subscribe());
        // Writes wait for this lock, and texts take their time.
        drop(kept);
        (copies.iter().map(Kept::json).collect(), live)
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Kept>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Recent {
    fn default() -> Self {
        Self {
            kept: Mutex::default(),
            live: Sender::new(KEPT),
        }
    }
}

impl fmt::Debug for Recent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recent")
            .field("followers", &self.live.receiver_count())
            .finish_non_exhaustive()
    }
}
