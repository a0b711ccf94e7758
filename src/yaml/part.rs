//! Follows a reader through a text: notes the part that it reads, and leaves out what is skipped.
//!
//! What reads a value (seed, deserializer, visitor, access) is wrapped with the path of the value, and hands on to what it
//! wraps.

use std::{fmt, marker::PhantomData};

use serde::de::{
    Deserialize, DeserializeSeed, Deserializer, EnumAccess, Error, IgnoredAny, IntoDeserializer,
    MapAccess, SeqAccess, Visitor, value::UnitDeserializer,
};

use super::reading::Reading;

/// What reads the value at a path.
pub(super) struct Part<'r, T> {
    reading: &'r Reading,
    path: Vec<String>,
    inner: T,
}

/// Reads the whole text.
pub(super) fn whole<T>(reading: &Reading) -> Part<'_, PhantomData<T>> {
    part(reading, Vec::new(), PhantomData)
}

fn part<T>(reading: &Reading, path: Vec<String>, inner: T) -> Part<'_, T> {
    Part {
        reading,
        path,
        inner,
    }
}

impl<T> Part<'_, T> {
    fn below(&self, name: &str) -> Vec<String> {
        let mut path = self.path.clone();
        path.push(name.to_owned());
        path
    }
}

impl<'de, S: DeserializeSeed<'de>> DeserializeSeed<'de> for Part<'_, S> {
    type Value = S::Value;

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<S::Value, D::Error> {
        let reader = part(self.reading, self.path, reader);
        self.inner.deserialize(reader)
    }
}

macro_rules! hand_on_reading {
    ($($name:ident),*) => {
        $(fn $name<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
            self.inner.$name(part(self.reading, self.path, visitor))
        })*
    };
}

impl<'de, D: Deserializer<'de>> Deserializer<'de> for Part<'_, D> {
    type Error = D::Error;

    hand_on_reading!(
        deserialize_bool,
        deserialize_i8,
        deserialize_i16,
        deserialize_i32,
        deserialize_i64,
        deserialize_i128,
        deserialize_u8,
        deserialize_u16,
        deserialize_u32,
        deserialize_u64,
        deserialize_u128,
        deserialize_f32,
        deserialize_f64,
        deserialize_char,
        deserialize_str,
        deserialize_string,
        deserialize_bytes,
        deserialize_byte_buf,
        deserialize_unit,
        deserialize_option,
        deserialize_seq,
        deserialize_map,
        deserialize_identifier,
        deserialize_any,
        deserialize_ignored_any
    );

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        let visitor = part(self.reading, self.path, visitor);
        self.inner.deserialize_unit_struct(name, visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        // The reader gives its own types, such as `Spanned`, what is not in the text.
        if name.starts_with("__yaml_") {
            return self.inner.deserialize_newtype_struct(name, visitor);
        }
        let visitor = part(self.reading, self.path, visitor);
        self.inner.deserialize_newtype_struct(name, visitor)
    }

    fn deserialize_tuple<V: Visitor<'de>>(
        self,
        length: usize,
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        let visitor = part(self.reading, self.path, visitor);
        self.inner.deserialize_tuple(length, visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        length: usize,
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        let visitor = part(self.reading, self.path, visitor);
        self.inner.deserialize_tuple_struct(name, length, visitor)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        let visitor = part(self.reading, self.path, visitor);
        self.inner.deserialize_struct(name, fields, visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        self.inner.deserialize_enum(name, variants, visitor)
    }

    fn is_human_readable(&self) -> bool {
        self.inner.is_human_readable()
    }
}

macro_rules! hand_on_values {
    ($($name:ident($type:ty)),* $(,)?) => {
        $(fn $name<E: Error>(self, value: $type) -> Result<V::Value, E> {
            self.inner.$name(value)
        })*
    };
}

impl<'de, V: Visitor<'de>> Visitor<'de> for Part<'_, V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.expecting(f)
    }

    hand_on_values!(
        visit_bool(bool),
        visit_i8(i8),
        visit_i16(i16),
        visit_i32(i32),
        visit_i64(i64),
        visit_i128(i128),
        visit_u8(u8),
        visit_u16(u16),
        visit_u32(u32),
        visit_u64(u64),
        visit_u128(u128),
        visit_f32(f32),
        visit_f64(f64),
        visit_char(char),
        visit_str(&str),
        visit_borrowed_str(&'de str),
        visit_string(String),
        visit_bytes(&[u8]),
        visit_borrowed_bytes(&'de [u8]),
        visit_byte_buf(Vec<u8>),
    );

    fn visit_unit<E: Error>(self) -> Result<V::Value, E> {
        self.inner.visit_unit()
    }

    fn visit_none<E: Error>(self) -> Result<V::Value, E> {
        self.inner.visit_none()
    }

    fn visit_some<D: Deserializer<'de>>(self, reader: D) -> Result<V::Value, D::Error> {
        let reader = part(self.reading, self.path, reader);
        self.inner.visit_some(reader)
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, reader: D) -> Result<V::Value, D::Error> {
        let reader = part(self.reading, self.path, reader);
        self.inner.visit_newtype_struct(reader)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<V::Value, A::Error> {
        let list = Elements {
            list: part(self.reading, self.path, list),
            index: 0,
        };
        self.inner.visit_seq(list)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<V::Value, A::Error> {
        let map = Keys {
            map: part(self.reading, self.path, map),
            key: String::new(),
        };
        self.inner.visit_map(map)
    }

    fn visit_enum<A: EnumAccess<'de>>(self, variants: A) -> Result<V::Value, A::Error> {
        self.inner.visit_enum(variants)
    }
}

/// The elements of a list. In the place of a skipped one is nothing, which an `Option` takes.
struct Elements<'r, A> {
    list: Part<'r, A>,
    index: usize,
}

impl<'de, A: SeqAccess<'de>> SeqAccess<'de> for Elements<'_, A> {
    type Error = A::Error;

    fn next_element_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, A::Error> {
        let path = self.list.below(&self.index.to_string());
        let element = Element(part(self.list.reading, path, seed));
        let element = self.list.inner.next_element_seed(element)?;
        self.list.reading.begin(&self.list.path);
        self.index += 1;
        Ok(element)
    }
}

struct Element<'r, S>(Part<'r, S>);

impl<'de, S: DeserializeSeed<'de>> DeserializeSeed<'de> for Element<'_, S> {
    type Value = S::Value;

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<S::Value, D::Error> {
        if self.0.reading.begin(&self.0.path) {
            IgnoredAny::deserialize(reader)?;
            return self.0.inner.deserialize(UnitDeserializer::new());
        }
        self.0.deserialize(reader)
    }
}

/// The keys of a mapping that are not skipped.
struct Keys<'r, A> {
    map: Part<'r, A>,
    key: String,
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Keys<'_, A> {
    type Error = A::Error;

    fn next_key_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, A::Error> {
        let Part {
            reading,
            path,
            inner,
        } = &mut self.map;
        let mut seed = Some(seed);
        loop {
            // What is wrong from here on, such as a missing key, is wrong with the mapping.
            reading.begin(path);
            let key = Key {
                mapping: part(reading, path.clone(), ()),
                key: &mut self.key,
                seed: &mut seed,
            };
            match inner.next_key_seed(key)? {
                Some(Some(key)) => return Ok(Some(key)),
                Some(None) => drop(inner.next_value::<IgnoredAny>()?),
                None => return Ok(None),
            }
        }
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, A::Error> {
        let path = self.map.below(&self.key);
        let value = part(self.map.reading, path, seed);
        self.map.inner.next_value_seed(value)
    }
}

/// A key of a mapping, or nothing if it is skipped.
struct Key<'r, 'k, S> {
    mapping: Part<'r, ()>,
    key: &'k mut String,
    seed: &'k mut Option<S>,
}

impl<'de, S: DeserializeSeed<'de>> DeserializeSeed<'de> for Key<'_, '_, S> {
    type Value = Option<S::Value>;

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<Self::Value, D::Error> {
        reader.deserialize_identifier(self)
    }
}

impl<'de, S: DeserializeSeed<'de>> Visitor<'de> for Key<'_, '_, S> {
    type Value = Option<S::Value>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E: Error>(self, key: &str) -> Result<Self::Value, E> {
        if self.mapping.reading.begin(&self.mapping.below(key)) {
            return Ok(None);
        }
        key.clone_into(self.key);
        let seed = self.seed.take();
        seed.map(|seed| seed.deserialize(key.into_deserializer()))
            .transpose()
    }
}
