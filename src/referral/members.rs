//! The guarded members of a body, each with its JSON text.

use std::{borrow::Cow, fmt};

use serde::de::{self, DeserializeSeed, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::{
    names::{Guarded, Spelling},
    text::{Unreadable, text_of},
};

/// A guarded member as it stands in a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Member<'a> {
    /// Missing.
    #[default]
    Absent,
    /// Present once, with this JSON text as its value.
    Given(&'a str),
    /// Present more than once; the JSON text is that of the second.
    Repeated(&'a str),
}

/// The value of a guarded member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value<'a> {
    /// A string, escapes decoded.
    Text(Cow<'a, str>),
    /// `null`
    Null,
    /// Anything else, by the name of its JSON type.
    Other(&'static str),
}

impl<'a> Member<'a> {
    /// The value, unless the member is absent or given twice.
    pub fn value(self) -> Option<Value<'a>> {
        match self {
            Self::Given(json) => Some(Value::of(json)),
            Self::Absent | Self::Repeated(_) => None,
        }
    }

    /// The value if it is a string.
    pub fn text(self) -> Option<Cow<'a, str>> {
        match self.value()? {
            Value::Text(text) => Some(text),
            Value::Null | Value::Other(_) => None,
        }
    }

    pub(super) fn add(&mut self, json: &'a str) {
        *self = match self {
            Self::Absent => Self::Given(json),
            Self::Given(_) | Self::Repeated(_) => Self::Repeated(json),
        };
    }
}

impl<'a> Value<'a> {
    /// The value of a JSON text, which must be one value that a JSON reader has accepted.
    pub fn of(json: &'a str) -> Self {
        match json.as_bytes().first() {
            Some(b'"') => {
                let inner = json
                    .strip_prefix('"')
                    .and_then(|rest| rest.strip_suffix('"'))
                    .unwrap_or_default();
                if inner.contains('\\') {
                    serde_json::from_str(json)
                        .map_or(Self::Other("text with a broken escape"), |text| {
                            Self::Text(Cow::Owned(text))
                        })
                } else {
                    Self::Text(Cow::Borrowed(inner))
                }
            }
            Some(b'n') => Self::Null,
            Some(b't' | b'f') => Self::Other("boolean"),
            Some(b'{') => Self::Other("object"),
            Some(b'[') => Self::Other("array"),
            _ => Self::Other("number"),
        }
    }
}

/// The guarded members at the top of a referral, read in one pass that builds nothing else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Members<'a> {
    /// `id`
    pub id: Member<'a>,
    /// `eTag`
    pub e_tag: Member<'a>,
    /// `status`
    pub status: Member<'a>,
    /// `substatus`
    pub substatus: Member<'a>,
    /// `links`
    pub links: Member<'a>,
    /// A guarded name written with look-alike letters: the first such member, with its value's JSON text.
    pub look_alike: Option<(Guarded, &'a str)>,
}

impl<'a> Members<'a> {
    /// Reads the guarded members of a body that must be one JSON object.
    pub fn read(body: &'a [u8]) -> Result<Self, Unreadable> {
        let text = text_of(body)?;
        let mut reader = serde_json::Deserializer::from_str(text);
        if !text.trim_ascii_start().starts_with('{') {
            // Reading it shows whether it is an array or a number, or not JSON.
            return Err(
                match de::Deserialize::deserialize(&mut reader)
                    .and_then(|_: IgnoredAny| reader.end())
                {
                    Ok(()) => Unreadable::NotAnObject,
                    Err(error) => Unreadable::NotJson(error.to_string()),
                },
            );
        }
        MembersSeed
            .deserialize(&mut reader)
            .and_then(|members| reader.end().map(|()| members))
            .map_err(|error| Unreadable::NotJson(error.to_string()))
    }

    /// One guarded member.
    pub fn get(&self, member: Guarded) -> Member<'a> {
        match member {
            Guarded::Id => self.id,
            Guarded::ETag => self.e_tag,
            Guarded::Status => self.status,
            Guarded::Substatus => self.substatus,
            Guarded::Links => self.links,
        }
    }

    /// All guarded members by name.
    pub fn all(&self) -> [(Guarded, Member<'a>); 5] {
        Guarded::ALL.map(|member| (member, self.get(member)))
    }
}

pub(super) struct MembersSeed;

impl<'de> DeserializeSeed<'de> for MembersSeed {
    type Value = Members<'de>;

    fn deserialize<D: de::Deserializer<'de>>(self, reader: D) -> Result<Self::Value, D::Error> {
        reader.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for MembersSeed {
    type Value = Members<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a referral (a JSON object)")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut seen = Members::default();
        while let Some(name) = map.next_key_seed(NameSeed)? {
            let Some((member, spelling)) = name else {
                map.next_value::<IgnoredAny>()?;
                continue;
            };
            let json = map.next_value::<&'de RawValue>()?.get();
            match member {
                Guarded::Id => seen.id.add(json),
                Guarded::ETag => seen.e_tag.add(json),
                Guarded::Status => seen.status.add(json),
                Guarded::Substatus => seen.substatus.add(json),
                Guarded::Links => seen.links.add(json),
            }
            if spelling == Spelling::LookAlike && seen.look_alike.is_none() {
                seen.look_alike = Some((member, json));
            }
        }
        Ok(seen)
    }
}

struct NameSeed;

impl<'de> DeserializeSeed<'de> for NameSeed {
    type Value = Option<(Guarded, Spelling)>;

    fn deserialize<D: de::Deserializer<'de>>(self, reader: D) -> Result<Self::Value, D::Error> {
        reader.deserialize_str(self)
    }
}

impl Visitor<'_> for NameSeed {
    type Value = Option<(Guarded, Spelling)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a member name")
    }

    fn visit_str<E>(self, name: &str) -> Result<Self::Value, E> {
        Ok(Guarded::of(name))
    }
}
