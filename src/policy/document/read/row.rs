//! Reads the keys of one rule, or of one row of the states, that are not skipped.

use std::{fmt, marker::PhantomData};

use serde::de::{
    Deserialize, DeserializeSeed, Deserializer, IgnoredAny, IntoDeserializer, MapAccess, Visitor,
    value::MapAccessDeserializer,
};

use super::part::{Part, Reading, Row};

/// Reads a row without its skipped keys. If there are any, what is left is only looked at for more faults.
pub(super) struct RowSeed<'r, T> {
    reading: &'r Reading,
    row: Row,
    kind: PhantomData<T>,
}

impl<'r, T> RowSeed<'r, T> {
    pub(super) fn new(reading: &'r Reading, row: Row) -> Self {
        Self {
            reading,
            row,
            kind: PhantomData,
        }
    }
}

impl<'de, T: Deserialize<'de>> DeserializeSeed<'de> for RowSeed<'_, T> {
    type Value = Option<T>;

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<Option<T>, D::Error> {
        if self.reading.begin(Part::Row(self.row.clone())) {
            IgnoredAny::deserialize(reader)?;
            return Ok(None);
        }
        reader.deserialize_map(self)
    }
}

impl<'de, T: Deserialize<'de>> Visitor<'de> for RowSeed<'_, T> {
    type Value = Option<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a mapping")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Option<T>, A::Error> {
        let keys = Keys {
            map,
            reading: self.reading,
            row: &self.row,
        };
        let value = T::deserialize(MapAccessDeserializer::new(keys))?;
        Ok((!self.reading.has_gap(&self.row)).then_some(value))
    }
}

/// The keys of a row that are not skipped.
struct Keys<'r, A> {
    map: A,
    reading: &'r Reading,
    row: &'r Row,
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Keys<'_, A> {
    type Error = A::Error;

    fn next_key_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, A::Error> {
        let mut seed = Some(seed);
        loop {
            let key = RowKeySeed {
                reading: self.reading,
                row: self.row,
                seed: &mut seed,
            };
            match self.map.next_key_seed(key)? {
                Some(Some(key)) => return Ok(Some(key)),
                Some(None) => drop(self.map.next_value::<IgnoredAny>()?),
                None => {
                    self.reading.begin(Part::Row(self.row.clone()));
                    return Ok(None);
                }
            }
        }
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, A::Error> {
        self.map.next_value_seed(seed)
    }
}

/// A key of a row for the seed of its reader, or `None` if it is skipped.
struct RowKeySeed<'r, S> {
    reading: &'r Reading,
    row: &'r Row,
    seed: &'r mut Option<S>,
}

impl<'de, S: DeserializeSeed<'de>> DeserializeSeed<'de> for RowKeySeed<'_, S> {
    type Value = Option<S::Value>;

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<Self::Value, D::Error> {
        reader.deserialize_identifier(self)
    }
}

impl<'de, S: DeserializeSeed<'de>> Visitor<'de> for RowKeySeed<'_, S> {
    type Value = Option<S::Value>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E: serde::de::Error>(self, key: &str) -> Result<Self::Value, E> {
        if self
            .reading
            .begin(Part::KeyOf(self.row.clone(), key.to_owned()))
        {
            return Ok(None);
        }
        let seed = self.seed.take();
        seed.map(|seed| seed.deserialize(key.into_deserializer()))
            .transpose()
    }
}
