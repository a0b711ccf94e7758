//! The parts of a text, and which of them a reading skips.

use std::cell::RefCell;

use super::error::Error;

/// A part that is skipped.
#[derive(Debug)]
pub(super) struct Skipped {
    /// Its keys; the elements of a list are named by their index from 0.
    path: Vec<String>,
    /// How to correct it.
    remedy: String,
}

impl Skipped {
    pub(super) fn is_in(&self, path: &[&str]) -> bool {
        let mut own = self.path.iter();
        path.iter()
            .all(|name| own.next().is_some_and(|own| own == name))
    }

    /// True if it is this key of this mapping, or one that was probably meant to be this key.
    pub(super) fn stands_for(&self, mapping: &[String], key: &str) -> bool {
        let Some((own, inside)) = self.path.split_last() else {
            return false;
        };
        inside == mapping
            && (own == key || self.remedy.starts_with(&format!("did you mean `{key}`")))
    }
}

/// What one reading skips, and where it is.
#[derive(Debug, Default)]
pub(super) struct Reading {
    pub(super) skipped: Vec<Skipped>,
    /// The part that is being read.
    current: RefCell<Vec<String>>,
}

impl Reading {
    /// True if a fault comes of what is skipped: nothing fits in its place, or a key is missing because of it.
    pub(super) fn is_consequence(&self, fault: &Error) -> bool {
        let current = self.current.borrow();
        let is_missing = |key: &str| {
            let mut skipped = self.skipped.iter();
            skipped.any(|skipped| skipped.stands_for(&current, key))
        };
        let missing = fault.remedy.strip_prefix("add `");
        let missing = missing.and_then(|key| key.split(':').next());
        self.skips(&current) || missing.is_some_and(is_missing)
    }

    /// Skips the part with a fault from now on, or the one around it. Returns false if that is the whole text.
    pub(super) fn skip(&mut self, remedy: String) -> bool {
        let mut path = self.current.take();
        while self.skips(&path) {
            path.pop();
        }
        if path.is_empty() {
            return false;
        }
        self.skipped.push(Skipped { path, remedy });
        true
    }

    fn skips(&self, path: &[String]) -> bool {
        self.skipped.iter().any(|skipped| skipped.path == path)
    }

    /// Notes the part that is read next. Returns true if it is skipped.
    pub(super) fn begin(&self, path: &[String]) -> bool {
        path.clone_into(&mut self.current.borrow_mut());
        self.skips(path)
    }
}
