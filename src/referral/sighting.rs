//! The state of a referral, from an answer of the service.

use std::{borrow::Cow, fmt};

use serde::de::{self, DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::{
    id::{EntityTag, ReferralId},
    members::{Member, Members, MembersSeed},
};

/// The most items of one list answer that are read; the service's pages have at most 100.
const MAX_LIST_ITEMS: usize = 1000;

/// The state of a referral.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct State {
    /// `New`, `Active`, `Closed`.
    pub status: Box<str>,
    /// `Pending`, `Accepted`, `Won`, ...
    pub substatus: Option<Box<str>>,
}

/// Id, entity tag and state of one referral in an answer of the service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sighting {
    /// The member `id`.
    pub id: Option<String>,
    /// The member `eTag`: a strong tag with its quotes.
    pub tag: Option<Box<[u8]>>,
    /// The state, if the answer holds it.
    pub state: Option<State>,
}

impl Sighting {
    /// Reads an answer with one referral; `None` if it is not one well-formed referral.
    pub fn of_one(body: &[u8]) -> Option<Self> {
        let body = without_mark(body);
        Members::read(body).ok().as_ref().map(Self::of)
    }

    /// Reads each item of a list answer. Nested values are skipped without recursion.
    pub fn of_list(body: &[u8]) -> Vec<Self> {
        let Ok(text) = std::str::from_utf8(without_mark(body)) else {
            return Vec::new();
        };
        let mut reader = serde_json::Deserializer::from_str(text);
        let items = de::Deserializer::deserialize_map(&mut reader, ListVisitor).unwrap_or_default();
        items.iter().map(Self::of).collect()
    }

    /// The strong tags in members `eTag` of an answer, without their quotes. They are found without parsing: those that are
    /// written in another way are left out.
    pub fn tags_in(answer: &[u8]) -> impl Iterator<Item = &[u8]> {
        const NAME: &[u8] = b"\"eTag\"";
        memchr::memmem::find_iter(answer, NAME).filter_map(|at| {
            let value = answer.get(at + NAME.len()..)?.trim_ascii_start();
            let value = value.strip_prefix(b":")?.trim_ascii_start();
            let value = value.strip_prefix(br#""\""#)?;
            let (tag, end) = value.split_at_checked(memchr::memchr2(b'"', b'\\', value)?)?;
            end.starts_with(br#"\"""#).then_some(tag)
        })
    }

    fn of(members: &Members<'_>) -> Self {
        let name = |member: Member<'_>| {
            member
                .text()
                .filter(|text| !text.is_empty() && text.len() <= 64)
                .map(Into::into)
        };
        let tag = members
            .e_tag
            .text()
            .filter(|text| EntityTag::parse(text.as_bytes()).is_some());
        let id = members
            .id
            .text()
            .filter(|id| ReferralId::parse(id).is_some());
        Self {
            id: id.map(Cow::into_owned),
            tag: tag.map(|text| text.as_bytes().into()),
            state: name(members.status).map(|status| State {
                status,
                substatus: name(members.substatus),
            }),
        }
    }
}

/// A reader may ignore a byte order mark (RFC 8259 8.1).
fn without_mark(body: &[u8]) -> &[u8] {
    body.strip_prefix("\u{feff}".as_bytes()).unwrap_or(body)
}

struct ListVisitor;

impl<'de> Visitor<'de> for ListVisitor {
    type Value = Vec<Members<'de>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of referrals (an object with `value`)")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut items = Vec::new();
        while let Some(name) = map.next_key::<Cow<'de, str>>()? {
            if name == "value" {
                items = map.next_value_seed(ItemsSeed)?;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(items)
    }
}

struct ItemsSeed;

impl<'de> DeserializeSeed<'de> for ItemsSeed {
    type Value = Vec<Members<'de>>;

    fn deserialize<D: de::Deserializer<'de>>(self, reader: D) -> Result<Self::Value, D::Error> {
        reader.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for ItemsSeed {
    type Value = Vec<Members<'de>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of referrals")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
        let mut seen = Vec::new();
        while let Some(item) = items.next_element_seed(MembersSeed)? {
            if seen.len() < MAX_LIST_ITEMS {
                seen.push(item);
            }
        }
        Ok(seen)
    }
}
