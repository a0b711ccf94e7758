//! Reads a text part by part, so that a fault of one part does not hide a fault of another.
//!
//! A reader stops at the first value of the wrong form. Then that part is skipped, and the text is read again.

use serde::de::DeserializeOwned;

use super::{
    Error, check, part, read_seed,
    reading::{Reading, Skipped},
};

/// The most faults of one text that are reported.
pub const MAX_FAULTS: usize = 50;

/// The most times that a text is read.
const MAX_READINGS: usize = 4 * MAX_FAULTS;

/// What could be read of a text.
#[derive(Debug)]
pub struct Whole<T> {
    /// The value, without the parts that have a fault. `None` if a fault is in no part that can be left out.
    pub value: Option<T>,
    /// The faults of those parts. If the text is not YAML, only that fault.
    pub faults: Vec<Error>,
    skipped: Vec<Skipped>,
}

impl<T> Whole<T> {
    /// True if a part of the value at `path` is left out, or the value itself.
    pub fn has_gap(&self, path: &[&str]) -> bool {
        self.skipped.iter().any(|skipped| skipped.is_in(path))
    }

    /// True if the key at the top is left out, or one that was probably meant to be this key.
    pub fn is_skipped(&self, key: &str) -> bool {
        let mut skipped = self.skipped.iter();
        skipped.any(|skipped| skipped.stands_for(&[], key))
    }
}

/// The line behind the last of [`MAX_FAULTS`].
pub fn more(file: &str) -> Error {
    let remedy = format!("correct these {MAX_FAULTS} first");
    Error::new(file, None, "there may be more faults", remedy)
}

/// Reads one YAML document as [`read`](super::read) does, and goes on after a fault. A key with a fault is left out, so
/// keys of `T` that must be there are better optional.
pub fn read_all<T: DeserializeOwned>(text: &str, file: &str) -> Whole<T> {
    let mut reading = Reading::default();
    let mut faults = Vec::new();
    for _ in 0..MAX_READINGS {
        let fault = match read_seed(part::whole::<T>(&reading), text, file) {
            Ok(value) => {
                let skipped = reading.skipped;
                return Whole {
                    value: Some(value),
                    faults,
                    skipped,
                };
            }
            Err(fault) => fault,
        };
        if let (true, Err(broken)) = (faults.is_empty(), check(text, file)) {
            faults.push(broken);
            break;
        }
        let remedy = fault.remedy.clone();
        if !reading.is_consequence(&fault) && !faults.contains(&fault) {
            faults.push(fault);
        }
        if !reading.skip(remedy) {
            break;
        }
        if faults.len() == MAX_FAULTS {
            faults.push(more(file));
            break;
        }
    }
    Whole {
        value: None,
        faults,
        skipped: reading.skipped,
    }
}
