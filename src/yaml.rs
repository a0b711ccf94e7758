//! Reads YAML texts of ours (settings, policy documents); an error names the place and the remedy.

use std::{
    collections::HashMap,
    fmt,
    fs::File,
    io::{self, Read},
    marker::PhantomData,
    path::Path,
};

use serde::{
    Deserialize, Deserializer,
    de::{DeserializeOwned, DeserializeSeed, MapAccess, SeqAccess, Visitor},
};
use serde_saphyr::{DuplicateKeyPolicy, Location, MergeKeyPolicy, Options, Spanned};

mod misread;

use misread::misread;

/// The largest text that is read, in bytes.
pub const MAX_BYTES: usize = 1024 * 1024;

/// A line and a column, both counted from 1.
pub type Place = (u64, u64);

/// A text that cannot be used. It reads `file:line:column: what is wrong; remedy`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Error {
    /// The name of the text, as the reader of the message knows it.
    pub file: String,
    /// Where in the text, when that is known.
    pub place: Option<Place>,
    /// What is wrong, with key and value.
    pub what: String,
    /// How to mend it.
    pub remedy: String,
}

impl Error {
    /// An error about the value at `path`, for what is found only after the text has been read.
    ///
    /// When the path does not exist (a missing key), the nearest existing parent is named.
    pub fn at(
        text: &str,
        file: &str,
        path: &[&str],
        what: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        let places = Places::of(text);
        let place = (0..=path.len())
            .rev()
            .find_map(|length| places.get(path.get(..length)?));
        Self::new(file, place, what, remedy)
    }

    fn new(
        file: &str,
        place: Option<Place>,
        what: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        let (file, what, remedy) = (file.to_owned(), what.into(), remedy.into());
        Self {
            file,
            place,
            what,
            remedy,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if let Some((line, column)) = self.place {
            write!(f, ":{line}:{column}")?;
        }
        write!(f, ": {}; {}", self.what, self.remedy)
    }
}

/// The bytes of a whole file, at most [`MAX_BYTES`] of them and one more.
pub fn bytes_of(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let file = File::open(path)?;
    file.take(MAX_BYTES as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The text of a file whose bytes were read, or why not.
pub fn text(path: &Path, bytes: io::Result<Vec<u8>>) -> Result<String, Error> {
    let name = path.display().to_string();
    let bytes = bytes.map_err(|error| {
        let remedy = "give the path of a file that this user may read";
        Error::new(&name, None, format!("cannot be read: {error}"), remedy)
    })?;
    String::from_utf8(bytes).map_err(|error| {
        let valid = error.utf8_error().valid_up_to();
        let before = error.as_bytes().get(..valid).unwrap_or_default();
        let line = before.iter().filter(|byte| **byte == b'\n').count() as u64 + 1;
        let start = before
            .iter()
            .rposition(|byte| *byte == b'\n')
            .map_or(0, |at| at + 1);
        let column = String::from_utf8_lossy(before.get(start..).unwrap_or_default())
            .chars()
            .count() as u64
            + 1;
        Error::new(
            &name,
            Some((line, column)),
            "not UTF-8",
            "save the file as UTF-8",
        )
    })
}

/// Reads one YAML document; `file` is the name used in error texts.
///
/// A key given twice is an error, and so is an unknown one when `T` says `deny_unknown_fields`.
/// An own `Deserialize` may name a remedy of its own: its message then reads `what; remedy`.
pub fn read<T: DeserializeOwned>(text: &str, file: &str) -> Result<T, Error> {
    read_seed(PhantomData, text, file)
}

/// Reads one YAML document as [`read`] does, by a seed.
pub fn read_seed<T, S>(seed: S, text: &str, file: &str) -> Result<T, Error>
where
    S: for<'de> DeserializeSeed<'de, Value = T>,
{
    check_text(text, file)?;
    let options = options(DuplicateKeyPolicy::Error);
    serde_saphyr::with_deserializer_from_str_with_options(text, options, |reader| {
        seed.deserialize(reader)
    })
    .map_err(|error| explain(&error, text, file))
}

/// Whether a text is one YAML document, whatever it says.
pub fn check(text: &str, file: &str) -> Result<(), Error> {
    check_text(text, file)?;
    let root = Node::read(text);
    root.map(|_| ())
        .map_err(|error| explain(&error, text, file))
}

fn check_text(text: &str, file: &str) -> Result<(), Error> {
    if text.len() > MAX_BYTES {
        let what = format!("{} bytes are more than {MAX_BYTES}", text.len());
        return Err(Error::new(file, None, what, "split it or shorten it"));
    }
    if let Some((place, what)) = misread(text) {
        return Err(Error::new(file, Some(place), what, misread::REMEDY));
    }
    Ok(())
}

/// The place of the value at `path`; the elements of a list are named by their index from 0.
pub fn locate(text: &str, path: &[&str]) -> Option<Place> {
    Places::of(text).get(path)
}

/// The place of every value of a text.
#[derive(Debug, Default)]
pub struct Places(HashMap<Vec<String>, Place>);

impl Places {
    /// Of a text that cannot be read, no place is known.
    pub fn of(text: &str) -> Self {
        let mut places = Self::default();
        if let Some(root) = Node::of(text) {
            places.add(&mut Vec::new(), &root);
        }
        places
    }

    /// The place of the value at `path`; the elements of a list are named by their index from 0.
    pub fn get(&self, path: &[&str]) -> Option<Place> {
        let path: Vec<String> = path.iter().map(|&name| name.to_owned()).collect();
        self.0.get(&path).copied()
    }

    fn add(&mut self, path: &mut Vec<String>, node: &Node) {
        self.0.insert(path.clone(), place(node.0.referenced));
        for (name, _, child) in node.children() {
            path.push(name);
            self.add(path, child);
            path.pop();
        }
    }
}

/// A text as a YAML scalar: plain where that is read back as the same text, else in double quotes.
pub fn scalar(text: &str) -> String {
    let plain = format!("[{text}]");
    match serde_saphyr::from_str::<serde_json::Value>(&plain) {
        Ok(serde_json::Value::Array(list)) if matches!(list.as_slice(), [serde_json::Value::String(same)] if same == text) => {
            text.to_owned()
        }
        _ => serde_json::Value::from(text).to_string(),
    }
}

/// The known word that `word` was probably meant to be.
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let plain = |word: &str| word.to_lowercase().replace('-', "_");
    let word = plain(word);
    let near = (word.chars().count() / 3).max(1);
    known
        .into_iter()
        .map(|known| (strsim::damerau_levenshtein(&word, &plain(known)), known))
        .filter(|(distance, _)| *distance <= near)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, known)| known)
}

/// A value as it appears in an error text: in backticks, without control characters, not too long.
pub fn quoted(value: &str) -> String {
    let mut shown: String = value
        .chars()
        .take(80)
        .flat_map(char::escape_debug)
        .collect();
    if value.chars().count() > 80 {
        shown.push_str("...");
    }
    format!("`{shown}`")
        .replace("\\\"", "\"")
        .replace("\\'", "'")
}

fn options(duplicate_keys: DuplicateKeyPolicy) -> Options {
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

/// Turns an error of the library into one in our words.
fn explain(error: &serde_saphyr::Error, text: &str, file: &str) -> Error {
    use serde_saphyr::Error as Yaml;

    let at = error.location().map(place);
    let is_blank = |line: &str| matches!(line.trim_start().chars().next(), None | Some('#'));
    if text.lines().all(is_blank) {
        let remedy = "write `key: value` lines into it";
        return Error::new(file, None, "the file is empty", remedy);
    }
    let root = Node::read(text);
    // What does not fit may not even be YAML, of which more can be said.
    if let (Yaml::Unexpected { .. }, Err(broken)) = (error, &root) {
        return syntax(broken, broken.location().map(place), file);
    }
    let root = root.ok();
    // A block mapping begins where its first key does, so one has to know which is meant.
    let end = match error {
        Yaml::SerdeUnknownField { .. } | Yaml::DuplicateMappingKey { .. } => End::Key,
        _ => End::Value,
    };
    let found = at.and_then(|at| root.as_ref()?.find(end, at, text));
    let is_root = found.as_ref().is_some_and(|found| found.path.is_empty());
    let found = found.unwrap_or_default();
    let is = |wrong: &str| {
        if is_root {
            return format!("the file is {wrong}");
        }
        format!(
            "{} is {}: {wrong}",
            quoted(&found.path),
            quoted(&found.value)
        )
    };
    let wrong = |what: String, remedy: &str| Error::new(file, at, what, remedy);

    match error {
        Yaml::AliasError { error, .. } => explain(error, text, file),
        Yaml::SerdeUnknownField {
            field, expected, ..
        } => {
            let path = if found.path.is_empty() {
                field
            } else {
                &found.path
            };
            let remedy = suggestion(field, expected);
            wrong(format!("unknown key {}", quoted(path)), &remedy)
        }
        Yaml::SerdeUnknownVariant {
            variant, expected, ..
        } => {
            let remedy = match nearest(variant, expected.iter().copied()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => old_boolean(variant, expected)
                    .unwrap_or_else(|| "write one of these".to_owned()),
            };
            wrong(is(&format!("not one of {}", expected.join(", "))), &remedy)
        }
        Yaml::SerdeMissingField { field, .. } => {
            let lacking = at.and_then(|at| root.as_ref()?.lacking(field, at, text));
            let (at, inside) = lacking.unwrap_or((at, String::new()));
            let inside = if inside.is_empty() {
                "the document"
            } else {
                &inside
            };
            let what = format!("{inside} lacks the key `{field}`");
            Error::new(file, at, what, format!("add `{field}: ...`"))
        }
        Yaml::DuplicateMappingKey { key, .. } => {
            let key = if found.path.is_empty() {
                key.as_deref().unwrap_or_default()
            } else {
                &found.path
            };
            wrong(
                format!("the key {} is given twice", quoted(key)),
                "keep one of them",
            )
        }
        Yaml::InvalidScalar { ty, .. } => {
            let (wrong_type, remedy) = scalar_type(ty);
            wrong(is(&wrong_type), remedy)
        }
        Yaml::InvalidBooleanStrict { .. } => wrong(is("not a boolean"), "write true or false"),
        Yaml::SerdeInvalidType { expected, .. } | Yaml::SerdeInvalidValue { expected, .. } => {
            wrong(is(&format!("not {expected}")), &format!("write {expected}"))
        }
        Yaml::Unexpected { expected, .. } => {
            let (kind, remedy) = structure(expected);
            let remedy = if is_root {
                remedy.trim_end_matches(" below it")
            } else {
                remedy
            };
            wrong(is(&kind), remedy)
        }
        Yaml::Message { msg, .. } => match msg.split_once("; ") {
            Some((what, remedy)) => wrong(is(what), remedy),
            None => wrong(is(msg), "correct the value"),
        },
        Yaml::MultipleDocuments { .. } => wrong(
            "a second document begins".to_owned(),
            "keep one document in the file",
        ),
        Yaml::MergeKeyNotAllowed { .. } => wrong(
            "merge keys (`<<`) are not read".to_owned(),
            "write the keys out",
        ),
        _ => syntax(error, at, file),
    }
}

/// An error of the YAML itself, in the parser's words.
fn syntax(error: &serde_saphyr::Error, at: Option<Place>, file: &str) -> Error {
    let message = error.to_string();
    let what = match at {
        Some((line, column)) => {
            let suffix = format!(" at line {line}, column {column}");
            message.strip_suffix(&suffix).unwrap_or(&message).to_owned()
        }
        None => message,
    };
    if what.starts_with("mapping values are not allowed") {
        let remedy = "write the second on a line of its own, indented below the first; a value with `: ` in it needs quotes";
        return Error::new(file, at, "two keys on one line", remedy);
    }
    let remedy = if what.contains("tab") {
        "indent with spaces"
    } else {
        "correct the YAML there"
    };
    Error::new(file, at, what, remedy)
}

fn suggestion(word: &str, known: &[&'static str]) -> String {
    match nearest(word, known.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None if known.is_empty() => "remove it".to_owned(),
        None => old_boolean(word, known)
            .unwrap_or_else(|| format!("known keys here: {}", known.join(", "))),
    }
}

/// What to do about a boolean that tools for YAML 1.1 write in the place of a known word.
fn old_boolean(word: &str, known: &[&'static str]) -> Option<String> {
    let meant = match word {
        "true" => "on",
        "false" => "off",
        _ => return None,
    };
    known
        .contains(&meant)
        .then(|| format!("did you mean `{meant}`? Tools for YAML 1.1 write it as `{word}`"))
}

fn scalar_type(ty: &str) -> (String, &'static str) {
    let most = match ty {
        "u8" => u64::from(u8::MAX),
        "u16" => u64::from(u16::MAX),
        "u32" => u64::from(u32::MAX),
        "u64" | "usize" => u64::MAX,
        "f32" | "f64" => return ("not a number".to_owned(), "write a number, such as 1.5"),
        "bool" => return ("not a boolean".to_owned(), "write true or false"),
        _ => return (format!("not of the type {ty}"), "correct the value"),
    };
    (
        format!("not a whole number from 0 to {most}"),
        "write digits only, such as 100",
    )
}

fn structure(expected: &str) -> (String, &'static str) {
    match expected {
        "mapping start" => (
            "not a mapping".to_owned(),
            "write `key: value` lines below it",
        ),
        "sequence start" => ("not a list".to_owned(), "write a list, such as [a, b]"),
        "string scalar" => (
            "not a text".to_owned(),
            "write one word or a text in quotes",
        ),
        other => (format!("not the expected {other}"), "correct the value"),
    }
}

fn place(location: Location) -> Place {
    (location.line(), location.column())
}

/// A text with the place of each of its nodes.
struct Node(Spanned<Kind>);

enum Kind {
    Map(Vec<(Spanned<String>, Node)>),
    List(Vec<Node>),
    Scalar,
}

/// Which end of a `key: value` a place is the beginning of.
#[derive(Clone, Copy, PartialEq)]
enum End {
    Key,
    Value,
}

/// What stands at a place: the keys that lead there, and the value as it was written.
#[derive(Default)]
struct Found {
    path: String,
    value: String,
}

impl Node {
    fn of(text: &str) -> Option<Self> {
        Self::read(text).ok()
    }

    fn read(text: &str) -> Result<Self, serde_saphyr::Error> {
        serde_saphyr::from_str_with_options(text, options(DuplicateKeyPolicy::PassThrough))
    }

    /// The place and the name of the mapping that lacks a key, if the reader noticed it at `at`: where the mapping begins,
    /// or its last key.
    fn lacking(&self, key: &str, at: Place, text: &str) -> Option<(Option<Place>, String)> {
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

    fn children(&self) -> Vec<(String, Option<Place>, &Self)> {
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
    fn find(&self, end: End, at: Place, text: &str) -> Option<Found> {
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
        // What is wrong with a mapping in braces is told where its first key stands.
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

#[cfg(test)]
mod tests;
