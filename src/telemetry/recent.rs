//! The last records of one kind, for operators, and those to come.

use std::{
    collections::VecDeque,
    fmt,
    sync::{Mutex, PoisonError},
};

use bytes::Bytes;
use tokio::sync::broadcast::{Receiver, Sender};

/// How many records are kept, and how many a follower may be behind.
pub const KEPT: usize = 256;

/// The last records, each one a JSON object.
pub struct Recent {
    /// Locked also while a record is handed to the followers, so that nobody misses one or sees it twice.
    kept: Mutex<VecDeque<Bytes>>,
    live: Sender<Bytes>,
}

impl Recent {
    /// Adds the newest record.
    pub(super) fn push(&self, record: &[u8]) {
        let record = Bytes::copy_from_slice(record);
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() == KEPT {
            kept.pop_front();
        }
        kept.push_back(record.clone());
        // Without followers it goes nowhere.
        let _ = self.live.send(record);
    }

    /// The kept records, the newest last.
    pub fn last(&self) -> Vec<Bytes> {
        self.follow().0
    }

    /// The kept records, the newest last, and those to come. A receiver that is more than [`KEPT`] behind misses some, and
    /// is told how many.
    pub fn follow(&self) -> (Vec<Bytes>, Receiver<Bytes>) {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        (kept.iter().cloned().collect(), self.live.subscribe())
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
