//! One operation of a JSON Patch, as written.

use std::{borrow::Cow, fmt};

use serde::de::{self, DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::referral::{
    members::{Member, Value},
    names::{Guarded, Spelling},
    pointer::{BadPointer, Target},
};

/// What an operation does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// `add`
    Add,
    /// `remove`
    Remove,
    /// `replace`
    Replace,
    /// `move`
    Move,
    /// `copy`
    Copy,
    /// `test`
    Test,
}

impl Verb {
    pub(super) const ALL: [Self; 6] = [
        Self::Add,
        Self::Remove,
        Self::Replace,
        Self::Move,
        Self::Copy,
        Self::Test,
    ];

    /// The name in RFC 6902.
    pub fn name(self) -> &'static str {
        match self {
            Self::Add => "add",
            Self::Remove => "remove",
            Self::Replace => "replace",
            Self::Move => "move",
            Self::Copy => "copy",
            Self::Test => "test",
        }
    }
}

/// A member of an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// `op`
    Op,
    /// `path`
    Path,
    /// `from`
    From,
    /// `value`
    Value,
}

impl Part {
    const ALL: [Self; 4] = [Self::Op, Self::Path, Self::From, Self::Value];

    /// The name in RFC 6902.
    pub fn name(self) -> &'static str {
        match self {
            Self::Op => "op",
            Self::Path => "path",
            Self::From => "from",
            Self::Value => "value",
        }
    }

    /// The member that some reader may see under this name; names compare as those of guarded members do.
    fn of(name: &str) -> Option<(Self, Spelling)> {
        let (name, spelling) = Spelling::of(name);
        let part = Self::ALL
            .into_iter()
            .find(|part| name.eq_ignore_ascii_case(part.name()))?;
        Some((part, spelling))
    }
}

/// What is wrong with an operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wrong<'a> {
    /// There are more than [`MAX_OPERATIONS`]; this one was not read, nor any after it.
    TooMany,
    /// It is not an object.
    NotAnObject,
    /// It lacks a member.
    Missing(Part),
    /// It has a member more than once.
    Repeated(Part),
    /// A member's name is written with look-alike letters.
    LookAlike(Part),
    /// A member is not a string but this.
    NotAString(Part, &'static str),
    /// Its `op` is not one of RFC 6902.
    UnknownVerb(Cow<'a, str>),
    /// A pointer that is not followed.
    Pointer(Part, BadPointer, Cow<'a, str>),
    /// It replaces the referral with a value that is not an object.
    NotAReferral,
    /// It replaces the referral with an object that has a guarded member more than once.
    RepeatedMember(Guarded),
    /// It replaces the referral with an object that has a guarded name in look-alike letters.
    LookAlikeMember(Guarded),
}

/// One operation, as written.
#[derive(Debug, Default)]
pub(super) struct Operation<'a> {
    op: Member<'a>,
    path: Member<'a>,
    from: Member<'a>,
    value: Member<'a>,
    look_alike: Option<Part>,
}

impl<'a> Operation<'a> {
    fn get(&self, part: Part) -> Member<'a> {
        match part {
            Part::Op => self.op,
            Part::Path => self.path,
            Part::From => self.from,
            Part::Value => self.value,
        }
    }

    fn part(&mut self, part: Part) -> &mut Member<'a> {
        match part {
            Part::Op => &mut self.op,
            Part::Path => &mut self.path,
            Part::From => &mut self.from,
            Part::Value => &mut self.value,
        }
    }

    /// Checks the members that every operation has.
    pub(super) fn check(&self) -> Result<(), Wrong<'a>> {
        if let Some(part) = self.look_alike {
            return Err(Wrong::LookAlike(part));
        }
        for part in Part::ALL {
            if matches!(self.get(part), Member::Repeated(_)) {
                return Err(Wrong::Repeated(part));
            }
        }
        match self.from.value() {
            Some(Value::Other(kind)) => Err(Wrong::NotAString(Part::From, kind)),
            _ => Ok(()),
        }
    }

    /// A member that must be a string.
    pub(super) fn text(&self, part: Part) -> Result<Cow<'a, str>, Wrong<'a>> {
        match self.get(part).value() {
            Some(Value::Text(text)) => Ok(text),
            // Some writers give each operation a `from`, and those without one null.
            Some(Value::Null) if part == Part::From => Err(Wrong::Missing(part)),
            Some(Value::Null) => Err(Wrong::NotAString(part, "null")),
            Some(Value::Other(kind)) => Err(Wrong::NotAString(part, kind)),
            None => Err(Wrong::Missing(part)),
        }
    }

    pub(super) fn target(&self, part: Part) -> Result<Target, Wrong<'a>> {
        let pointer = self.text(part)?;
        Target::of(&pointer).map_err(|bad| Wrong::Pointer(part, bad, pointer))
    }

    pub(super) fn value(&self) -> Result<&'a str, Wrong<'a>> {
        match self.value {
            Member::Given(json) => Ok(json),
            Member::Absent | Member::Repeated(_) => Err(Wrong::Missing(Part::Value)),
        }
    }
}

/// Reads one operation; `None` if it is not an object.
pub(super) struct OperationSeed;

impl<'de> DeserializeSeed<'de> for OperationSeed {
    type Value = Option<Operation<'de>>;

    fn deserialize<D: de::Deserializer<'de>>(self, reader: D) -> Result<Self::Value, D::Error> {
        reader.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for OperationSeed {
    type Value = Option<Operation<'de>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an operation (a JSON object)")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut operation = Operation::default();
        while let Some(name) = map.next_key_seed(PartSeed)? {
            let Some((part, spelling)) = name else {
                map.next_value::<IgnoredAny>()?;
                continue;
            };
            let json = map.next_value::<&'de RawValue>()?.get();
            operation.part(part).add(json);
            if spelling == Spelling::LookAlike {
                operation.look_alike = Some(part);
            }
        }
        Ok(Some(operation))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Ok(None)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_str<E>(self, _: &str) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }
}

struct PartSeed;

impl<'de> DeserializeSeed<'de> for PartSeed {
    type Value = Option<(Part, Spelling)>;

    fn deserialize<D: de::Deserializer<'de>>(self, reader: D) -> Result<Self::Value, D::Error> {
        reader.deserialize_str(self)
    }
}

impl Visitor<'_> for PartSeed {
    type Value = Option<(Part, Spelling)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a member name")
    }

    fn visit_str<E>(self, name: &str) -> Result<Self::Value, E> {
        Ok(Part::of(name))
    }
}
