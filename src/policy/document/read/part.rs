//! The parts of a document, and which of them a reading skips.

use std::cell::RefCell;

use crate::yaml;

/// A part of a document that can be skipped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Part {
    /// A key of the document, with its value.
    Key(String),
    /// A rule, or a row of the states.
    Row(Row),
    /// A key of such a row, with its value.
    KeyOf(Row, String),
}

/// A mapping of several keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Row {
    /// A rule, by its index from 0.
    Rule(usize),
    /// A row of the states, by its status.
    State(String),
}

/// A part with a fault.
#[derive(Debug)]
struct Skipped {
    part: Part,
    /// How to correct it.
    remedy: String,
}

impl Skipped {
    /// True if it is this key, or one that was probably meant to be this key.
    fn stands_for(&self, key: &str) -> bool {
        let (Part::Key(own) | Part::KeyOf(_, own)) = &self.part else {
            return false;
        };
        own == key || self.remedy.starts_with(&format!("did you mean `{key}`"))
    }

    fn is_of(&self, row: &Row) -> bool {
        matches!(&self.part, Part::KeyOf(own, _) if own == row)
    }
}

#[derive(Debug, Default)]
pub(super) struct Reading {
    skipped: Vec<Skipped>,
    /// The part that is being read.
    current: RefCell<Option<Part>>,
}

impl Reading {
    pub(super) fn skips(&self, part: &Part) -> bool {
        self.skipped.iter().any(|skipped| skipped.part == *part)
    }

    /// True if a key of this row is skipped.
    pub(super) fn has_gap(&self, row: &Row) -> bool {
        self.skipped.iter().any(|skipped| skipped.is_of(row))
    }

    /// True if a fault only says that a key is missing which is skipped.
    pub(super) fn is_consequence(&self, fault: &yaml::Error) -> bool {
        let Some(Part::Row(row)) = &*self.current.borrow() else {
            return false;
        };
        let Some(missing) = fault.remedy.strip_prefix("add `") else {
            return false;
        };
        let key = missing.split(':').next().unwrap_or_default();
        let mut skipped = self.skipped.iter();
        skipped.any(|skipped| skipped.is_of(row) && skipped.stands_for(key))
    }

    /// True if a key of the document is skipped.
    pub(super) fn has_skipped(&self, key: &str) -> bool {
        let mut skipped = self.skipped.iter();
        skipped.any(|skipped| matches!(skipped.part, Part::Key(_)) && skipped.stands_for(key))
    }

    /// Notes the end of a part.
    pub(super) fn end(&self) {
        self.current.take();
    }

    /// Skips the part that has a fault from now on. Returns false if there is none, or none that is not skipped.
    pub(super) fn skip(&mut self, remedy: String) -> bool {
        match self.current.take() {
            Some(part) if !self.skips(&part) => self.skipped.push(Skipped { part, remedy }),
            _ => return false,
        }
        true
    }

    /// Notes the part that is read next. Returns true if it must be skipped.
    pub(super) fn begin(&self, part: Part) -> bool {
        let skips = self.skips(&part);
        self.current.replace(Some(part));
        skips
    }
}
