//! How often the log repeats a line: once a minute.

use std::time::{Duration, Instant};

#[cfg(test)]
mod tests;

/// The shortest time between two lines about the same thing.
pub const PAUSE: Duration = Duration::from_secs(60);

/// Lets one event a minute be logged, and counts the others.
#[derive(Debug, Default)]
pub struct Pace {
    last: Option<Instant>,
    unlogged: u64,
}

impl Pace {
    /// Counts an event. If it is to be logged: how many there were since the last logged one, this one included.
    pub fn event(&mut self, now: Instant) -> Option<u64> {
        self.unlogged += 1;
        if self.next().is_some_and(|next| now < next) {
            return None;
        }
        self.last = Some(now);
        Some(std::mem::take(&mut self.unlogged))
    }

    /// The earliest time of the next line; none before the first one.
    pub fn next(&self) -> Option<Instant> {
        self.last.map(|last| last + PAUSE)
    }
}
