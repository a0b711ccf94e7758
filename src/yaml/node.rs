//! A YAML text as a tree, with the place of each node.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, SeqAccess, Visitor},
};
use serde_saphyr::{DuplicateKeyPolicy, Location, MergeKeyPolicy, Options, Spanned};

use super::scalar::quoted;

/// A line and a column, both counted from 1.
pub type Place = (u64, u64);

/// The options for reading.
pub(super) fn options(duplicate_keys: DuplicateKeyPolicy) -> Options {
    serde_saphyr::options! {
        duplicate_keys: duplicate_keys,
        // Only `true` and `false` are booleans: `mode: off` and `on: [PUT]` stay words.
        strict_booleans: true,
        merge_keys: MergeKeyPolicy::Error,
        // A few lines of nested aliases must not become millions of values.
        alias_limits: serde_saphyr::alias_limits! { max_total_replayed_events: 10_000 },
        with_snippet: false,
    }
}

/// The place of a node.
pub(super) fn place(location: Location) -> Place {
    (location.line(), location.column())
}

/// A text with the place of each of its nodes.
pub(super) struct Node(pub(super) Spanned<Kind>);

pub(super) enum Kind {
    Map(Vec<(Spanned<String>, Node)>),
    List(Vec<Node>),
    Scalar,
}

/// The part of `key: value` that begins at a place.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum End {
    Key,
    Value,
}

/// What is found at a place: the path of keys, and the value as written.
#[derive(Default)]
pub(super) struct Found {
    pub(super) path: String,
    pub(super) value: String,
}

impl Node {
    pub(super) fn of(text: &str) -> Option<Self> {
        Self::read(text).ok()
    }

    pub(super) fn read(text: &str) -> Result<Self, serde_saphyr::Error> {
        serde_saphyr::from_str_with_options(text, options(DuplicateKeyPolicy::PassThrough))
    }

    /// The place and the name of the mapping that lacks a key, if the reader noticed it at `at`: where the mapping begins,
    /// or its last key.
    pub(super) fn lacking(
        &self,
        key: &str,
        at: Place,
        text: &str,
    ) -> Option<(Option<Place>, String)> {
        let children = self.children();
        let lacks =
            matches!(self.0.value, Kind::Map(_)) && children.iter().all(|(name, ..)| name != key);
        let here = || {
            let id = children.iter().find(|(name, ..)| name == "id");
            let id = id.map_or_else(String::new, |(_, _, id)| {
                format!("({})", quoted(&id.source(text)))
            });
            (Some(place(self.0.referenced)), id)
        };
        let last = children.last().and_then(|(_, key, _)| *key);
        if lacks && last == Some(at) {
            return Some(here());
        }
        for (name, _, child) in children.iter().rev() {
            if let Some((at, inside)) = child.lacking(key, at, text) {
                let inside = match inside.strip_prefix('(') {
                    Some(_) => format!("{} {inside}", quoted(name)),
                    None if inside.is_empty() => quoted(name),
                    None => format!("`{name}.{}", inside.trim_start_matches('`')),
                };
                return Some((at, inside));
            }
        }
        (lacks && place(self.0.referenced) == at).then(here)
    }

    pub(super) fn children(&self) -> Vec<(String, Option<Place>, &Self)> {
        match &self.0.value {
            Kind::Map(entries) => entries
                .iter()
                .map(|(key, node)| (key.value.clone(), Some(place(key.referenced)), node))
                .collect(),
            Kind::List(nodes) => nodes
                .iter()
                .enumerate()
                .map(|(index, node)| (index.to_string(), None, node))
                .collect(),
            Kind::Scalar => Vec::new(),
        }
    }

    /// The innermost value, or the key, that begins at a place.
    pub(super) fn find(&self, end: End, at: Place, text: &str) -> Option<Found> {
        for (name, key, node) in self.children().into_iter().rev() {
            if let Some(mut found) = node.find(end, at, text) {
                let dot = if found.path.is_empty() { "" } else { "." };
                found.path = format!("{name}{dot}{}", found.path);
                return Some(found);
            }
            if end == End::Key && key == Some(at) {
                return Some(Found {
                    path: name,
                    value: node.source(text),
                });
            }
        }
        // The library places an error about a mapping in braces at its first key.
        let first = self.children().first().and_then(|(_, key, _)| *key);
        let begins = place(self.0.referenced) == at || first == Some(at);
        (end == End::Value && begins).then(|| Found {
            path: String::new(),
            value: self.source(text),
        })
    }

    /// A scalar as it was written; the kind of anything else.
    fn source(&self, text: &str) -> String {
        let kind = match &self.0.value {
            Kind::Map(_) => return "{...}".to_owned(),
            Kind::List(_) => return "[...]".to_owned(),
            Kind::Scalar => self.0.defined.span(),
        };
        let bytes = kind.byte_offset().zip(kind.byte_len());
        let range = bytes.map(|(start, length)| start as usize..(start + length) as usize);
        range
            .and_then(|range| text.get(range))
            .unwrap_or("...")
            .to_owned()
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Spanned::deserialize(deserializer).map(Self)
    }
}

impl<'de> Deserialize<'de> for Kind {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Any)
    }
}

struct Any;

impl<'de> Visitor<'de> for Any {
    type Value = Kind;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_bool<E>(self, _: bool) -> Result<Kind, E> {
        Ok(Kind::Scalar)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Kind, E> {
        Ok(Kind::Scalar)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Kind, E> {
        Ok(Kind::Scalar)
    }

    fn visit_i128<E>(self, _: i128) -> Result<Kind, E> {
        Ok(Kind::Scalar)
    }

    fn visit_u128<E>(self, _: u128) -> Result<Kind, E> {
        Ok(Kind::Scalar)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Kind, E> {
        Ok(Kind::Scalar)
    }

    fn visit_str<E>(self, _: &str) -> Result<Kind, E> {
        Ok(Kind::Scalar)
    }

    fn visit_unit<E>(self) -> Result<Kind, E> {
        Ok(Kind::Scalar)
    }

    fn visit_none<E>(self) -> Result<Kind, E> {
        Ok(Kind::Scalar)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Kind, A::Error> {
        let mut nodes = Vec::new();
        while let Some(node) = list.next_element()? {
            nodes.push(node);
        }
        Ok(Kind::List(nodes))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Kind, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = map.next_entry()? {
            entries.push(entry);
        }
        Ok(Kind::Map(entries))
    }
}
