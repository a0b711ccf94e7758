//! `strip-links`: removes `links` from a body, and leaves all other bytes.
//!
//! The text is cut, not serialized again: numbers such as `50000.00`, seven digits of a second and the order of members
//! do not change.

use std::{borrow::Cow, fmt, ops::Range};

use serde::de::{Deserializer as _, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Deserializer, value::RawValue};

use super::mended::Mended;
use crate::referral::{Guarded, MAX_DEPTH, Member, Members, Spelling, Value, nests_deeper_than};

/// Cuts every top-level member that sets `links` out of an object, or out of a JSON Patch every operation that writes
/// `/links` or below, each with one comma.
///
/// The white space before a removed member stays, for the next member. At the end, the white space and the comma before
/// it are removed as well.
///
/// `None` if there is nothing to cut, if the body is neither of the two, if `links` is written in look-alike letters, or if
/// a JSON Patch uses `links` in a way that the cut would change: a `test` guards the whole patch, a `move` or `copy` from
/// `links` writes another member.
pub fn strip_links(body: &[u8]) -> Option<Mended> {
    let text = std::str::from_utf8(body).ok()?;
    if nests_deeper_than(body, MAX_DEPTH) {
        return None;
    }
    let mut reader = Deserializer::from_str(text);
    let cuts = reader.deserialize_any(Cuts::new(text)).ok()?;
    reader.end().ok()?;
    Mended::cut(body, cuts)
}

/// Where to cut a list of entries so that those kept are still a list.
struct Cuts<'a> {
    text: &'a str,
    done: Vec<Range<usize>>,
    /// The end of the last entry that is kept; of the opening bracket, if there is none.
    kept: usize,
    /// From the first to the last of the entries since then, all of which are removed.
    going: Option<Range<usize>>,
}

impl<'a> Cuts<'a> {
    fn new(text: &'a str) -> Self {
        let bracket = text.len() - text.trim_ascii_start().len();
        Self {
            text,
            done: Vec::new(),
            kept: bracket + 1,
            going: None,
        }
    }

    /// Decides on the next entry, which reaches from the piece `first` of the text to the piece `last`.
    fn entry(&mut self, first: &str, last: &str, goes: bool) {
        let offset = |piece: &str| {
            piece
                .as_ptr()
                .addr()
                .saturating_sub(self.text.as_ptr().addr())
        };
        let (start, end) = (offset(first), offset(last) + last.len());
        let going = self.going.take();
        if goes {
            self.going = Some(going.map_or(start, |going| going.start)..end);
        } else {
            self.done.extend(going.map(|going| going.start..start));
            self.kept = end;
        }
    }

    fn end(mut self) -> Vec<Range<usize>> {
        let last = self.going.map(|going| self.kept..going.end);
        self.done.extend(last);
        self.done
    }
}

impl<'de> Visitor<'de> for Cuts<'de> {
    type Value = Vec<Range<usize>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a referral or a JSON Patch")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<Self::Value, A::Error> {
        while let Some(name) = map.next_key::<&RawValue>()? {
            let value = map.next_value::<&RawValue>()?;
            let is_links = text_of(name.get()).and_then(|name| is_links(&name));
            let goes =
                is_links.ok_or_else(|| A::Error::custom("a name that readers read differently"))?;
            self.entry(name.get(), value.get(), goes);
        }
        Ok(self.end())
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut operations: A) -> Result<Self::Value, A::Error> {
        while let Some(json) = operations.next_element::<&RawValue>()? {
            let goes = Operation::read(json.get()).and_then(|operation| operation.goes());
            let goes = goes.ok_or_else(|| A::Error::custom("an operation to be left alone"))?;
            self.entry(json.get(), json.get(), goes);
        }
        Ok(self.end())
    }
}

/// Whether a decoded name is one of `links`; `None` if only some readers take it for that.
fn is_links(name: &str) -> Option<bool> {
    match Guarded::of(name) {
        Some((Guarded::Links, Spelling::Plain)) => Some(true),
        Some((Guarded::Links, Spelling::LookAlike)) => None,
        _ => Some(false),
    }
}

fn text_of(json: &str) -> Option<Cow<'_, str>> {
    match Value::of(json) {
        Value::Text(text) => Some(text),
        Value::Null | Value::Other(_) => None,
    }
}

/// One operation of a JSON Patch (RFC 6902), each member as JSON text.
#[derive(Default)]
struct Operation<'a> {
    op: Option<&'a str>,
    path: Option<&'a str>,
    from: Option<&'a str>,
    value: Option<&'a str>,
}

/// What a JSON Pointer points at.
#[derive(PartialEq, Eq)]
enum Target {
    Document,
    Links,
    Other,
}

impl<'a> Operation<'a> {
    fn read(json: &'a str) -> Option<Self> {
        Deserializer::from_str(json)
            .deserialize_map(Operation::default())
            .ok()
    }

    /// Whether to remove it; `None` if it must stay but touches `links`, or is not an operation of RFC 6902.
    fn goes(&self) -> Option<bool> {
        let target = target(&text_of(self.path?)?)?;
        match &*text_of(self.op?)? {
            "add" | "replace" if target == Target::Document => {
                let has_links = Members::read(self.value?.as_bytes())
                    .is_ok_and(|members| members.links != Member::Absent);
                (!has_links).then_some(false)
            }
            "add" | "replace" => self.value.map(|_| target == Target::Links),
            "remove" => Some(target == Target::Links),
            "test" => (target != Target::Links).then_some(false),
            "move" | "copy" => {
                let from = self::target(&text_of(self.from?)?)?;
                (target == Target::Other && from != Target::Links).then_some(false)
            }
            _ => None,
        }
    }
}

impl<'de> Visitor<'de> for Operation<'de> {
    type Value = Self;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an operation of a JSON Patch")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<Self, A::Error> {
        while let Some(name) = map.next_key::<&RawValue>()? {
            let value = map.next_value::<&RawValue>()?.get();
            let name = text_of(name.get()).unwrap_or_default();
            let known = match &*name {
                "op" => &mut self.op,
                "path" => &mut self.path,
                "from" => &mut self.from,
                "value" => &mut self.value,
                other if is_ignored(other) => continue,
                _ => return Err(A::Error::custom("a name that readers read differently")),
            };
            if known.replace(value).is_some() {
                return Err(A::Error::custom("a member given twice"));
            }
        }
        Ok(self)
    }
}

/// Whether every reader ignores a member of an operation with this name (RFC 6902 4), also one that ignores case.
fn is_ignored(name: &str) -> bool {
    !name.is_empty()
        && name.bytes().all(|letter| letter.is_ascii_graphic())
        && ["op", "path", "from", "value"]
            .into_iter()
            .all(|known| !name.eq_ignore_ascii_case(known))
}

/// The target of a pointer of RFC 6901; `None` if it is not one, or if only some readers see `links` in it.
fn target(pointer: &str) -> Option<Target> {
    if pointer.is_empty() {
        return Some(Target::Document);
    }
    let mut escapes = pointer.split('~').skip(1);
    if !escapes.all(|rest| rest.starts_with(['0', '1'])) {
        return None;
    }
    let path = pointer.strip_prefix('/')?;
    let name = path.trim_start_matches('/').split('/').next()?;
    let name = name.replace("~1", "/").replace("~0", "~");
    match is_links(&name)? {
        false => Some(Target::Other),
        true if path.starts_with('/') => None,
        true => Some(Target::Links),
    }
}
