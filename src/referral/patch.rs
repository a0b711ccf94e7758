//! JSON Patch documents (RFC 6902): what they make of the guarded members of a referral.
//!
//! Read in one pass that builds no tree. Whatever two readers could do differently is a [`Fault`].

use std::{borrow::Cow, fmt};

use serde::de::{self, DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::{
    Guarded, Member, Members, MembersSeed, Spelling, Unreadable, Value, place,
    pointer::{BadPointer, Target},
    text_of,
};

#[cfg(test)]
mod tests;

/// Operations that are read; a document with more has a fault.
pub const MAX_OPERATIONS: usize = 1000;

/// Faults that are told; further ones add nothing.
const MAX_FAULTS: usize = 8;

/// What a write makes of one guarded member.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Change<'a> {
    /// It stays what it is.
    #[default]
    Untouched,
    /// It becomes this JSON text.
    Set(&'a str),
    /// It is given more than once, so readers differ; the JSON text is that of the second.
    Repeated(&'a str),
    /// The referral is left without it.
    Removed,
    /// An operation touches it otherwise than by setting it.
    Touched(Touch),
}

impl<'a> Change<'a> {
    /// The value that the member is set to.
    pub fn value(self) -> Option<Value<'a>> {
        match self {
            Self::Set(json) => Some(Value::of(json)),
            Self::Untouched | Self::Repeated(_) | Self::Removed | Self::Touched(_) => None,
        }
    }

    /// Whether the member is set to this entity tag in the form in which the service writes it: its quotes escaped, and
    /// nothing else. That is told by the text, without decoding it.
    pub fn is_tag(self, tag: &[u8]) -> bool {
        fn between<'t>(text: &'t [u8], quote: &[u8]) -> Option<&'t [u8]> {
            text.strip_prefix(quote)?.strip_suffix(quote)
        }
        let Self::Set(json) = self else { return false };
        let inner = between(json.as_bytes(), b"\"").and_then(|text| between(text, b"\\\""));
        inner.is_some_and(|inner| {
            tag.strip_prefix(b"\"")
                .and_then(|tag| tag.strip_suffix(b"\""))
                == Some(inner)
                && !inner.contains(&b'\\')
        })
    }

    /// The value that the member is set to, if it is a string.
    pub fn text(self) -> Option<Cow<'a, str>> {
        match self.value()? {
            Value::Text(text) => Some(text),
            Value::Null | Value::Other(_) => None,
        }
    }
}

/// An operation that touches a guarded member otherwise than by setting it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Touch {
    /// The operation's number, from 1.
    pub operation: usize,
    /// What it does.
    pub verb: Verb,
    /// Whether it reaches into the member.
    pub is_below: bool,
}

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
    const ALL: [Self; 6] = [
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

    /// The member that a reader may see under this name; names compare as those of guarded members do.
    fn of(name: &str) -> Option<(Self, Spelling)> {
        let (name, spelling) = Spelling::of(name);
        let part = Self::ALL
            .into_iter()
            .find(|part| name.eq_ignore_ascii_case(part.name()))?;
        Some((part, spelling))
    }
}

/// Something in an operation that readers refuse, or read differently.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault<'a> {
    /// The operation's number, from 1.
    pub operation: usize,
    /// What is wrong with it.
    pub wrong: Wrong<'a>,
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
    /// It does something that RFC 6902 does not know.
    UnknownVerb(Cow<'a, str>),
    /// A pointer that is not followed.
    Pointer(Part, BadPointer, Cow<'a, str>),
    /// It puts something in the referral's place that is not one object.
    NotAReferral,
    /// It puts an object in the referral's place that has a guarded member more than once.
    RepeatedMember(Guarded),
    /// It puts an object in the referral's place with a guarded name written with look-alike letters.
    LookAlikeMember(Guarded),
}

/// What a JSON Patch makes of the guarded members of a referral.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Patch<'a> {
    id: Change<'a>,
    e_tag: Change<'a>,
    status: Change<'a>,
    substatus: Change<'a>,
    links: Change<'a>,
    /// What is wrong with it: the first few faults, at most one for each operation.
    pub faults: Vec<Fault<'a>>,
    /// The first operation that is not written exactly `add` or `replace`, by number and name.
    pub uncommon: Option<(usize, Cow<'a, str>)>,
}

impl<'a> Patch<'a> {
    /// Reads a body that must be one JSON array.
    ///
    /// # Errors
    ///
    /// When it is not. What is wrong with the operations in it stands in [`Patch::faults`].
    pub fn read(body: &'a [u8]) -> Result<Self, Unreadable> {
        let text = text_of(body)?;
        if !text.trim_ascii_start().starts_with('[') {
            return Err(Unreadable::NotAnObject);
        }
        let mut patch = Self::default();
        let mut reader = serde_json::Deserializer::from_str(text);
        de::Deserializer::deserialize_seq(&mut reader, Operations(&mut patch))
            .and_then(|()| reader.end())
            .map_err(|error| Unreadable::NotJson(error.to_string()))?;
        Ok(patch)
    }

    /// What it makes of a member.
    pub fn change(&self, member: Guarded) -> Change<'a> {
        match member {
            Guarded::Id => self.id,
            Guarded::ETag => self.e_tag,
            Guarded::Status => self.status,
            Guarded::Substatus => self.substatus,
            Guarded::Links => self.links,
        }
    }

    fn member(&mut self, member: Guarded) -> &mut Change<'a> {
        match member {
            Guarded::Id => &mut self.id,
            Guarded::ETag => &mut self.e_tag,
            Guarded::Status => &mut self.status,
            Guarded::Substatus => &mut self.substatus,
            Guarded::Links => &mut self.links,
        }
    }

    /// Later operations win, but for one whose outcome depends on what was there before: that stays unclear.
    fn set(&mut self, member: Guarded, change: Change<'a>) {
        let known = self.member(member);
        if !matches!(known, Change::Touched(_)) {
            *known = change;
        }
    }

    fn touch(&mut self, target: Target, operation: usize, verb: Verb) {
        let touch = |is_below| {
            Change::Touched(Touch {
                operation,
                verb,
                is_below,
            })
        };
        match target {
            Target::Whole => {
                for member in Guarded::ALL {
                    self.set(member, touch(false));
                }
            }
            Target::Member(member) => self.set(member, touch(false)),
            Target::Below(member) => self.set(member, touch(true)),
            Target::Other => {}
        }
    }

    /// Reads one operation, after those before it.
    fn apply(&mut self, number: usize, operation: &Operation<'a>) -> Result<(), Wrong<'a>> {
        operation.check()?;
        let name = operation.text(Part::Op)?;
        // ASP.NET looks for the verb without case.
        let Some(verb) = Verb::ALL
            .into_iter()
            .find(|verb| name.eq_ignore_ascii_case(verb.name()))
        else {
            return Err(Wrong::UnknownVerb(name));
        };
        let target = operation.target(Part::Path)?;
        match verb {
            Verb::Add | Verb::Replace => {
                let value = operation.value()?;
                match target {
                    Target::Whole => self.replace_all(value)?,
                    Target::Member(member) => self.set(member, Change::Set(value)),
                    Target::Below(_) => self.touch(target, number, verb),
                    Target::Other => {}
                }
            }
            Verb::Remove => self.touch(target, number, verb),
            Verb::Test => {
                operation.value()?;
                self.touch(target, number, verb);
            }
            Verb::Move | Verb::Copy => {
                let source = operation.target(Part::From)?;
                self.touch(source, number, verb);
                self.touch(target, number, verb);
            }
        }
        if self.uncommon.is_none() && !matches!(&*name, "add" | "replace") {
            self.uncommon = Some((number, name));
        }
        Ok(())
    }

    /// The referral becomes `value`, and has only the members that stand in it.
    fn replace_all(&mut self, value: &'a str) -> Result<(), Wrong<'a>> {
        let mut reader = serde_json::Deserializer::from_str(value);
        let members: Members<'a> = MembersSeed
            .deserialize(&mut reader)
            .map_err(|_| Wrong::NotAReferral)?;
        if let Some((member, _)) = members.look_alike {
            return Err(Wrong::LookAlikeMember(member));
        }
        for (member, given) in members.all() {
            match given {
                Member::Absent => self.set(member, Change::Removed),
                Member::Given(json) => self.set(member, Change::Set(json)),
                Member::Repeated(_) => return Err(Wrong::RepeatedMember(member)),
            }
        }
        Ok(())
    }

    fn note(&mut self, operation: usize, wrong: Wrong<'a>) {
        if self.faults.len() < MAX_FAULTS || wrong == Wrong::TooMany {
            self.faults.push(Fault { operation, wrong });
        }
    }
}

/// One operation as it stands in the document.
#[derive(Debug, Default)]
struct Operation<'a> {
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

    /// What must be right whatever the operation does.
    fn check(&self) -> Result<(), Wrong<'a>> {
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
    fn text(&self, part: Part) -> Result<Cow<'a, str>, Wrong<'a>> {
        match self.get(part).value() {
            Some(Value::Text(text)) => Ok(text),
            // Some writers give each operation a `from`, and those without one null.
            Some(Value::Null) if part == Part::From => Err(Wrong::Missing(part)),
            Some(Value::Null) => Err(Wrong::NotAString(part, "null")),
            Some(Value::Other(kind)) => Err(Wrong::NotAString(part, kind)),
            None => Err(Wrong::Missing(part)),
        }
    }

    fn target(&self, part: Part) -> Result<Target, Wrong<'a>> {
        let pointer = self.text(part)?;
        Target::of(&pointer).map_err(|bad| Wrong::Pointer(part, bad, pointer))
    }

    fn value(&self) -> Result<&'a str, Wrong<'a>> {
        match self.value {
            Member::Given(json) => Ok(json),
            Member::Absent | Member::Repeated(_) => Err(Wrong::Missing(Part::Value)),
        }
    }
}

/// The document: a list of operations.
struct Operations<'p, 'a>(&'p mut Patch<'a>);

impl<'de> Visitor<'de> for Operations<'_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON Patch (an array of operations)")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut operations: A) -> Result<(), A::Error> {
        for number in 1..=MAX_OPERATIONS {
            let patch = &mut *self.0;
            if operations
                .next_element_seed(OperationSeed { patch, number })?
                .is_none()
            {
                return Ok(());
            }
        }
        if operations.next_element::<IgnoredAny>()?.is_some() {
            self.0.note(MAX_OPERATIONS + 1, Wrong::TooMany);
            while operations.next_element::<IgnoredAny>()?.is_some() {}
        }
        Ok(())
    }
}

/// Reads one operation and applies it.
struct OperationSeed<'p, 'a> {
    patch: &'p mut Patch<'a>,
    number: usize,
}

impl OperationSeed<'_, '_> {
    fn note_no_object<E>(self) -> Result<(), E> {
        self.patch.note(self.number, Wrong::NotAnObject);
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for OperationSeed<'_, 'de> {
    type Value = ();

    fn deserialize<D: de::Deserializer<'de>>(self, reader: D) -> Result<(), D::Error> {
        reader.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for OperationSeed<'_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an operation (a JSON object)")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
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
        if let Err(wrong) = self.patch.apply(self.number, &operation) {
            self.patch.note(self.number, wrong);
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        while items.next_element::<IgnoredAny>()?.is_some() {}
        self.note_no_object()
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        self.note_no_object()
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        self.note_no_object()
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        self.note_no_object()
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        self.note_no_object()
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        self.note_no_object()
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        self.note_no_object()
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

/// Line and column of an operation, by its number from 1. The document is read once more: only answers ask for it.
pub fn place_of_operation(body: &[u8], number: usize) -> (usize, usize) {
    let mut found = "";
    if let Ok(text) = std::str::from_utf8(body) {
        let mut reader = serde_json::Deserializer::from_str(text);
        let nth = Nth {
            number,
            found: &mut found,
        };
        // What follows the operation is left unread, which the reader takes for an error.
        let _ = de::Deserializer::deserialize_seq(&mut reader, nth);
    }
    if found.is_empty() {
        return (1, 1);
    }
    place(body, found)
}

/// Finds one element of a list.
struct Nth<'p, 'a> {
    number: usize,
    found: &'p mut &'a str,
}

impl<'de> Visitor<'de> for Nth<'_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        for _ in 1..self.number {
            items.next_element::<IgnoredAny>()?;
        }
        if let Some(item) = items.next_element::<&'de RawValue>()? {
            *self.found = item.get();
        }
        Ok(())
    }
}
