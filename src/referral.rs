//! The words of the Referrals API: referral ids, entity tags, and the members of a referral that rules look at.

use std::{borrow::Cow, fmt, sync::Arc};

use serde::de::{self, DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

mod patch;
mod pointer;

#[cfg(test)]
mod tests;

pub use patch::{
    Change, Fault, MAX_OPERATIONS, Part, Patch, Touch, Verb, Wrong, place_of_operation,
};
pub use pointer::BadPointer;

/// Nesting deeper than this is refused: no referral needs it, and readers differ in what they survive.
pub const MAX_DEPTH: usize = 64;

/// Items of one list answer that are looked at; the service's pages have at most 100.
const MAX_LIST_ITEMS: usize = 1000;

/// The id of a referral as the URL names it, in lower case.
///
/// The service's ids are GUIDs, which compare without case.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ReferralId(Arc<str>);

impl ReferralId {
    /// Accepts 1 to 128 unreserved characters (RFC 3986 2.3), so that no reader can take it for anything but a name.
    pub fn parse(text: &str) -> Option<Self> {
        let usable = !text.is_empty()
            && text.len() <= 128
            && text
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b'~'))
            && !text.bytes().all(|b| b == b'.');
        usable.then(|| Self(text.to_ascii_lowercase().into()))
    }

    /// The id in lower case.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether `other` names the same referral.
    pub fn is(&self, other: &str) -> bool {
        self.0.eq_ignore_ascii_case(other)
    }
}

impl fmt::Display for ReferralId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A strong entity tag with its quotes, as it stands in a header (RFC 9110 8.8.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct EntityTag<'a>(&'a [u8]);

impl<'a> EntityTag<'a> {
    /// Upper bound of a tag that is remembered or compared, in bytes.
    pub const MAX_BYTES: usize = 256;

    /// Accepts exactly one strong tag and nothing around it.
    pub fn parse(text: &'a [u8]) -> Option<Self> {
        let inner = text.strip_prefix(b"\"")?.strip_suffix(b"\"")?;
        let usable = text.len() <= Self::MAX_BYTES
            && inner
                .iter()
                .all(|b| matches!(b, 0x21 | 0x23..=0x7e | 0x80..));
        usable.then_some(Self(text))
    }

    /// The tag with its quotes.
    pub fn as_bytes(self) -> &'a [u8] {
        self.0
    }
}

/// Where a referral stands.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct State {
    /// `New`, `Active`, `Closed`.
    pub status: Box<str>,
    /// `Pending`, `Accepted`, `Won`, ...
    pub substatus: Option<Box<str>>,
}

/// What one referral in an answer of the service tells: its id, its entity tag and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sighting {
    /// The member `id`.
    pub id: Option<String>,
    /// The member `eTag`: a strong tag with its quotes.
    pub tag: Option<Box<[u8]>>,
    /// Where it stands, if it says so.
    pub state: Option<State>,
}

/// A member of a referral that a rule looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Guarded {
    /// `id`
    Id,
    /// `eTag`
    ETag,
    /// `status`
    Status,
    /// `substatus`
    Substatus,
    /// `links`
    Links,
}

impl Guarded {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Id,
        Self::ETag,
        Self::Status,
        Self::Substatus,
        Self::Links,
    ];

    /// The name as the service writes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Id => "id",
            Self::ETag => "eTag",
            Self::Status => "status",
            Self::Substatus => "substatus",
            Self::Links => "links",
        }
    }

    /// The member that a reader may see under this name: readers of the service's kind ignore case.
    ///
    /// `links@odata.bind` sets the same thing as `links` in `OData`, so it counts as `links`.
    pub fn of(name: &str) -> Option<(Self, Spelling)> {
        // A visible letter stands first for every reader, and nearly no name begins like one of these.
        let first = name.as_bytes().first()?;
        if first.is_ascii_graphic() && !matches!(first | 0x20, b'i' | b'e' | b's' | b'l') {
            return None;
        }
        let (name, spelling) = Spelling::of(name);
        let member = match (name.as_bytes().first()? | 0x20, name.len()) {
            (b'i', _) => Self::Id,
            (b'e', _) => Self::ETag,
            (b's', 6) => Self::Status,
            (b's', _) => Self::Substatus,
            _ => Self::Links,
        };
        let (start, rest) = name.split_at_checked(member.name().len())?;
        let is_whole = rest.is_empty() || (member == Self::Links && rest.starts_with('@'));
        (is_whole && start.eq_ignore_ascii_case(member.name())).then_some((member, spelling))
    }
}

/// Whether a guarded name is written in ASCII, or with letters that only some readers take for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spelling {
    /// In ASCII, in any case.
    Plain,
    /// With letters, blanks or invisible characters that some readers skip or take for a plain letter.
    LookAlike,
}

impl Spelling {
    /// A name as the most lenient reader sees it, without what that reader skips.
    fn of(name: &str) -> (Cow<'_, str>, Self) {
        if name.bytes().all(|byte| byte.is_ascii_graphic()) {
            return (Cow::Borrowed(name), Self::Plain);
        }
        (Cow::Owned(seen(name).collect()), Self::LookAlike)
    }
}

/// The letters of a name as the most lenient reader sees them, without those that it skips.
fn seen(name: &str) -> impl Iterator<Item = char> {
    let letters = name.chars().filter(|letter| !is_invisible(*letter));
    letters.flat_map(|letter| {
        let parts = parts(letter);
        parts
            .chars()
            .chain(parts.is_empty().then(|| unmask(letter)))
    })
}

/// The letters of a ligature, which a reader sees that folds in full (Unicode `CaseFolding.txt`, status F); none of
/// any other letter.
fn parts(letter: char) -> &'static str {
    match letter {
        '\u{fb00}' => "ff",
        '\u{fb01}' => "fi",
        '\u{fb02}' => "fl",
        '\u{fb03}' => "ffi",
        '\u{fb04}' => "ffl",
        '\u{fb05}' | '\u{fb06}' => "st",
        _ => "",
    }
}

/// Letters outside ASCII that fold to an ASCII letter when a reader ignores case (Unicode `CaseFolding.txt`,
/// with the dotted and dotless i of Turkish), or that a best-fit conversion turns into one (full-width forms).
pub fn unmask(letter: char) -> char {
    match letter {
        '\u{17f}' => 's',
        '\u{212a}' => 'k',
        '\u{130}' | '\u{131}' => 'i',
        '\u{ff01}'..='\u{ff5e}' => {
            u8::try_from(u32::from(letter) - 0xfee0).map_or(letter, char::from)
        }
        other => other,
    }
}

/// A name as a reader sees it that ignores case and takes look-alike letters for plain ones.
pub fn folded(name: &str) -> Cow<'_, str> {
    if name
        .bytes()
        .all(|byte| byte.is_ascii_graphic() && !byte.is_ascii_uppercase())
    {
        return Cow::Borrowed(name);
    }
    Cow::Owned(seen(name).flat_map(char::to_lowercase).collect())
}

/// Whether a name has nothing that some readers skip or take for another letter.
pub fn is_plain(name: &str) -> bool {
    name.chars()
        .all(|letter| unmask(letter) == letter && parts(letter).is_empty() && !is_invisible(letter))
}

/// Letters that some readers skip when they compare names.
fn is_invisible(letter: char) -> bool {
    letter.is_whitespace()
        || letter.is_control()
        || matches!(letter, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{2060}'..='\u{2064}' | '\u{feff}')
}

/// A guarded member as it stands in a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Member<'a> {
    /// Not there.
    #[default]
    Absent,
    /// There once, with this JSON text as its value.
    Given(&'a str),
    /// There more than once; the JSON text is that of the second.
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

    fn add(&mut self, json: &'a str) {
        *self = match self {
            Self::Absent => Self::Given(json),
            Self::Given(_) | Self::Repeated(_) => Self::Repeated(json),
        };
    }
}

impl<'a> Value<'a> {
    /// The value that a JSON text holds; it must be one value that a JSON reader has passed.
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

/// Why a body is not one JSON object in UTF-8.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unreadable {
    /// Nothing but white space.
    Empty,
    /// Not UTF-8 from this byte on.
    NotUtf8 {
        /// Where, counted in bytes from 0.
        offset: usize,
    },
    /// Not JSON (RFC 8259), as the reader tells it, with line and column.
    NotJson(String),
    /// JSON, but not an object.
    NotAnObject,
    /// Nested deeper than [`MAX_DEPTH`].
    TooDeep,
}

impl<'a> Members<'a> {
    /// Reads the guarded members of a body that must be one JSON object.
    pub fn read(body: &'a [u8]) -> Result<Self, Unreadable> {
        let text = text_of(body)?;
        let mut reader = serde_json::Deserializer::from_str(text);
        if !text.trim_ascii_start().starts_with('{') {
            // Rubbish is told from an array or a number by reading it.
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

    fn sighting(&self) -> Sighting {
        let name = |member: Member<'a>| {
            member
                .text()
                .filter(|text| !text.is_empty() && text.len() <= 64)
        };
        let tag = self
            .e_tag
            .text()
            .filter(|text| EntityTag::parse(text.as_bytes()).is_some());
        let id = self.id.text().filter(|id| ReferralId::parse(id).is_some());
        Sighting {
            id: id.map(Cow::into_owned),
            tag: tag.map(|text| text.as_bytes().into()),
            state: name(self.status).map(|status| State {
                status: status.into(),
                substatus: name(self.substatus).map(Into::into),
            }),
        }
    }
}

impl Sighting {
    /// What an answer with one referral tells; nothing if it is not one well-formed referral.
    pub fn of_one(body: &[u8]) -> Option<Self> {
        Members::read(body).ok().map(|members| members.sighting())
    }

    /// What a list answer tells of each of its items. What lies deeper is skipped without recursion, whatever its depth.
    pub fn of_list(body: &[u8]) -> Vec<Self> {
        let Ok(text) = std::str::from_utf8(body) else {
            return Vec::new();
        };
        let mut reader = serde_json::Deserializer::from_str(text);
        let items = de::Deserializer::deserialize_map(&mut reader, ListVisitor).unwrap_or_default();
        items.iter().map(Members::sighting).collect()
    }
}

/// The text of a body, if there is one and it is not nested too deep.
fn text_of(body: &[u8]) -> Result<&str, Unreadable> {
    let text = std::str::from_utf8(body).map_err(|error| Unreadable::NotUtf8 {
        offset: error.valid_up_to(),
    })?;
    if text.trim_ascii_start().is_empty() {
        return Err(Unreadable::Empty);
    }
    if nests_deeper_than(body, MAX_DEPTH) {
        return Err(Unreadable::TooDeep);
    }
    Ok(text)
}

/// Whether brackets nest deeper than `limit`. Counting them all first is far cheaper than following them, and enough for nearly every body.
pub fn nests_deeper_than(json: &[u8], limit: usize) -> bool {
    if count_brackets(json) <= limit {
        return false;
    }
    let (mut depth, mut in_string, mut escaped) = (0usize, false, false);
    for byte in json {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'{' | b'[' if !in_string => {
                depth += 1;
                if depth > limit {
                    return true;
                }
            }
            b'}' | b']' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    false
}

/// Counts opening brackets, in pieces whose counts fit into a byte, which compilers turn into vector instructions.
fn count_brackets(json: &[u8]) -> usize {
    let piece = |piece: &[u8]| {
        // `[` and `{` differ in this bit, and no other byte becomes `{` by it.
        let opens = |byte: &u8| u8::from(*byte | 0x20 == b'{');
        usize::from(piece.iter().map(opens).fold(0u8, u8::wrapping_add))
    };
    json.chunks(128).map(piece).sum()
}

struct MembersSeed;

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

/// Line and column, both from 1, of a piece of `body`; the column counts bytes, as the JSON reader does.
pub fn place(body: &[u8], piece: &str) -> (usize, usize) {
    let offset = (piece.as_ptr() as usize).saturating_sub(body.as_ptr() as usize);
    place_of(body, offset)
}

/// Line and column, both from 1, of a byte of `body`.
pub fn place_of(body: &[u8], offset: usize) -> (usize, usize) {
    let before = body.get(..offset).unwrap_or(body);
    let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
    let column = before
        .iter()
        .rev()
        .take_while(|byte| **byte != b'\n')
        .count()
        + 1;
    (line, column)
}
