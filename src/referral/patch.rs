//! JSON Patch documents (RFC 6902): how they change the guarded members of a referral.
//!
//! Read in one pass that builds no tree. Whatever two readers could read differently is a [`Fault`].

use std::{borrow::Cow, fmt};

use serde::de::{self, DeserializeSeed, IgnoredAny, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::{
    members::{Member, Members, MembersSeed, Value},
    names::Guarded,
    pointer::Target,
    text::{Unreadable, place, text_of},
};

mod operation;

#[cfg(test)]
mod tests;

use operation::{Operation, OperationSeed};
pub use operation::{Part, Verb, Wrong};

/// The most operations that are read; a document with more has a fault.
pub const MAX_OPERATIONS: usize = 1000;

/// The most faults that are kept.
const MAX_FAULTS: usize = 8;

/// How a write changes one guarded member.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Change<'a> {
    /// It does not change.
    #[default]
    Untouched,
    /// It becomes this JSON text.
    Set(&'a str),
    /// It is given more than once, so readers differ; the JSON text is that of the second.
    Repeated(&'a str),
    /// It is removed.
    Removed,
    /// An operation touches it in another way than by setting it.
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

    /// True if the member is set to this entity tag in the form in which the service writes it: its quotes escaped, and
    /// nothing else. Compares the text without decoding it.
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

/// An operation that touches a guarded member in another way than by setting it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Touch {
    /// The operation's number, from 1.
    pub operation: usize,
    /// What it does.
    pub verb: Verb,
    /// True if it points into the member.
    pub is_below: bool,
}

/// Something in an operation that readers refuse, or read differently.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault<'a> {
    /// The operation's number, from 1.
    pub operation: usize,
    /// What is wrong with it.
    pub wrong: Wrong<'a>,
}

/// How a JSON Patch changes the guarded members of a referral.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Patch<'a> {
    id: Change<'a>,
    e_tag: Change<'a>,
    status: Change<'a>,
    substatus: Change<'a>,
    links: Change<'a>,
    /// The first few faults, at most one for each operation.
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

    /// How it changes a member.
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

    /// Later operations win, except over one with a result that depends on the previous value: its result stays unknown.
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

/// The document: a list of operations.
struct Operations<'p, 'a>(&'p mut Patch<'a>);

impl<'de> Visitor<'de> for Operations<'_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON Patch (an array of operations)")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut operations: A) -> Result<(), A::Error> {
        for number in 1..=MAX_OPERATIONS {
            let Some(operation) = operations.next_element_seed(OperationSeed)? else {
                return Ok(());
            };
            let applied = operation
                .ok_or(Wrong::NotAnObject)
                .and_then(|operation| self.0.apply(number, &operation));
            if let Err(wrong) = applied {
                self.0.note(number, wrong);
            }
        }
        if operations.next_element::<IgnoredAny>()?.is_some() {
            self.0.note(MAX_OPERATIONS + 1, Wrong::TooMany);
            while operations.next_element::<IgnoredAny>()?.is_some() {}
        }
        Ok(())
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
