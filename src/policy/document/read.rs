//! Reads a document part by part, so that a fault of one part does not hide a fault of another.
//!
//! The reader stops at the first value of the wrong form. Then that part (a key of the document, of a rule or of a row of
//! the states) is skipped, and the text is read again.

use std::{collections::BTreeMap, fmt};

use serde::de::{
    DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor,
};

use self::{
    part::{Part, Reading, Row},
    row::RowSeed,
};
use super::text::{Document, RuleText, StateText};
use crate::yaml;

mod part;
mod row;

/// The most faults that are looked for: each one costs up to two readings of the whole text.
const MAX_FAULTS: usize = 50;

const KEYS: &[&str] = &["name", "rules", "states"];

/// The readable parts of a document, and the faults of the others. If the text is not YAML, only that fault.
pub(super) fn read(text: &str, file: &str) -> (Document, Vec<yaml::Error>) {
    let mut reading = Reading::default();
    let mut faults = Vec::new();
    while faults.len() < MAX_FAULTS {
        let remedy;
        match yaml::read_seed(DocumentSeed(&reading), text, file) {
            Ok(document) => return (document, faults),
            Err(fault) if faults.contains(&with_modes(fault.clone())) => {
                return (Document::default(), faults);
            }
            Err(fault) => {
                remedy = fault.remedy.clone();
                if !reading.is_consequence(&fault) {
                    faults.push(with_modes(fault));
                }
            }
        }
        if let Err(broken) = yaml::check(text, file) {
            return (Document::default(), vec![broken]);
        }
        if !reading.skip(remedy) {
            return (Document::default(), faults);
        }
    }
    faults.push(yaml::Error {
        file: file.to_owned(),
        place: None,
        what: "there may be more faults".to_owned(),
        remedy: format!("correct these {MAX_FAULTS} first"),
    });
    (Document::default(), faults)
}

/// Names the modes where one is missing.
fn with_modes(fault: yaml::Error) -> yaml::Error {
    if fault.remedy != "add `mode: ...`" {
        return fault;
    }
    let remedy = "add `mode: enforce` (or off, audit, warn, repair)".to_owned();
    yaml::Error { remedy, ..fault }
}

struct DocumentSeed<'r>(&'r Reading);

impl<'de> DeserializeSeed<'de> for DocumentSeed<'_> {
    type Value = Document;

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<Document, D::Error> {
        reader.deserialize_struct("Document", KEYS, self)
    }
}

impl<'de> Visitor<'de> for DocumentSeed<'_> {
    type Value = Document;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a policy document")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Document, A::Error> {
        let reading = self.0;
        let mut document = Document::default();
        while let Some(key) = map.next_key_seed(KeySeed(reading))? {
            if reading.skips(&Part::Key(key.clone())) {
                map.next_value::<IgnoredAny>()?;
                continue;
            }
            match key.as_str() {
                "name" => document.name = Some(map.next_value()?),
                "rules" => document.rules = Some(map.next_value_seed(RulesSeed(reading))?),
                _ => document.states = Some(map.next_value_seed(StatesSeed(reading))?),
            }
            reading.end();
        }
        for (key, is_given) in KEYS.iter().copied().zip([
            document.name.is_some(),
            document.rules.is_some(),
            document.states.is_some(),
        ]) {
            let is_fine = is_given || reading.has_skipped(key);
            if !is_fine && !reading.begin(Part::Key(key.to_owned())) {
                return Err(A::Error::missing_field(key));
            }
        }
        Ok(document)
    }
}

/// A key of the document that is known or skipped.
struct KeySeed<'r>(&'r Reading);

impl<'de> DeserializeSeed<'de> for KeySeed<'_> {
    type Value = String;

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<String, D::Error> {
        reader.deserialize_identifier(self)
    }
}

impl Visitor<'_> for KeySeed<'_> {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key of a policy document")
    }

    fn visit_str<E: serde::de::Error>(self, key: &str) -> Result<String, E> {
        let is_skipped = self.0.begin(Part::Key(key.to_owned()));
        if KEYS.contains(&key) || is_skipped {
            Ok(key.to_owned())
        } else {
            Err(E::unknown_field(key, KEYS))
        }
    }
}

struct RulesSeed<'r>(&'r Reading);

impl<'de> DeserializeSeed<'de> for RulesSeed<'_> {
    type Value = Vec<Option<RuleText>>;

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<Self::Value, D::Error> {
        reader.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for RulesSeed<'_> {
    type Value = Vec<Option<RuleText>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of rules")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let mut rules = Vec::new();
        loop {
            let seed = RowSeed::new(self.0, Row::Rule(rules.len()));
            match list.next_element_seed(seed)? {
                Some(rule) => rules.push(rule),
                None => return Ok(rules),
            }
        }
    }
}

struct StatesSeed<'r>(&'r Reading);

impl<'de> DeserializeSeed<'de> for StatesSeed<'_> {
    type Value = BTreeMap<String, Option<StateText>>;

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<Self::Value, D::Error> {
        reader.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for StatesSeed<'_> {
    type Value = BTreeMap<String, Option<StateText>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a row for each status")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut rows = BTreeMap::new();
        while let Some(status) = map.next_key::<String>()? {
            let seed = RowSeed::new(self.0, Row::State(status.clone()));
            rows.insert(status, map.next_value_seed(seed)?);
            self.0.begin(Part::Key("states".to_owned()));
        }
        Ok(rows)
    }
}
