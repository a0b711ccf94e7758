//! The values that a request sets, as expressions see them.
//!
//! A PUT, a POST and a PATCH with an object set that object. A JSON Patch (RFC 6902) sets what its `add` and `replace`
//! operations leave behind when they are applied to an object without members, in which they make the objects that they
//! need: so `replace /details/dealValue` sets `{"details": {"dealValue": ..}}`, and `add /registrations/-` a list of one.
//! `test` changes nothing, and `remove` takes back what the patch has set. The result of
//! `move`, `copy` and a position in a list depends on the referral and so is unknown; so is what readers of JSON Patch read
//! differently.

use std::{
    cell::{Cell, RefCell},
    collections::btree_map::{BTreeMap, Entry},
    fmt,
};

use percent_encoding::percent_decode_str;
use serde::de::{self, DeserializeSeed, MapAccess, SeqAccess, Visitor};

use super::{
    error::EvalError,
    limits::{MAX_BODY_DEPTH, MAX_VALUES},
};
use crate::referral::{folded, is_plain};

/// The members of an object by their case-folded names, each with its name as sent.
pub(super) type Members = BTreeMap<String, (String, Json)>;

/// A JSON value of bounded size, no object of which has two members of one name.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Json {
    Null,
    Bool(bool),
    Int(i64),
    Uint(u64),
    Double(f64),
    Text(String),
    List(Vec<Self>),
    Object(Members),
}

/// The members that the body of a request sets.
pub(super) fn read(body: &[u8], method: &str) -> Result<Members, EvalError> {
    match parse(body)? {
        Json::Object(members) => Ok(members),
        Json::List(operations) if method == "PATCH" => patch(operations),
        _ => Err(EvalError::NotAnObject),
    }
}

/// The parameters of a query.
pub(super) fn read_query(query: &str) -> Result<Members, EvalError> {
    let mut members = Members::new();
    let decoded = |text: &str| {
        let text = text.replace('+', " ");
        let text = percent_decode_str(&text).decode_utf8();
        text.map(|text| text.into_owned())
            .map_err(|_| EvalError::Query)
    };
    for parameter in query.split('&').filter(|parameter| !parameter.is_empty()) {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        let name = decoded(name)?;
        match members.entry(folded(&name).into_owned()) {
            Entry::Vacant(entry) => entry.insert((name, Json::Text(decoded(value)?))),
            Entry::Occupied(_) => return Err(EvalError::Query),
        };
    }
    Ok(members)
}

fn parse(body: &[u8]) -> Result<Json, EvalError> {
    let bounds = Bounds {
        left: Cell::new(MAX_VALUES),
        broken: RefCell::new(None),
    };
    let mut reader = serde_json::Deserializer::from_slice(body);
    let seed = ValueSeed {
        bounds: &bounds,
        // The operations of a patch, and the list of them, stand around what it sets.
        depth: MAX_BODY_DEPTH + 2,
    };
    let json = seed
        .deserialize(&mut reader)
        .and_then(|json| reader.end().map(|()| json))
        .map_err(|_| bounds.broken.take().unwrap_or(EvalError::NotJson))?;
    if matches!(&json, Json::Object(_)) && json.depth() > MAX_BODY_DEPTH {
        return Err(EvalError::TooDeep);
    }
    Ok(json)
}

impl Json {
    fn depth(&self) -> usize {
        let below = |depths: &mut dyn Iterator<Item = usize>| depths.max().unwrap_or_default() + 1;
        match self {
            Self::List(items) => below(&mut items.iter().map(Self::depth)),
            Self::Object(members) => below(&mut members.values().map(|(_, json)| json.depth())),
            _ => 0,
        }
    }
}

/// The remaining bounds of a body, and the one that it broke.
struct Bounds {
    left: Cell<usize>,
    broken: RefCell<Option<EvalError>>,
}

impl Bounds {
    fn broken<E: de::Error>(&self, how: EvalError) -> E {
        let error = E::custom(&how);
        self.broken.replace(Some(how));
        error
    }
}

#[derive(Clone, Copy)]
struct ValueSeed<'a> {
    bounds: &'a Bounds,
    depth: usize,
}

impl ValueSeed<'_> {
    fn deeper<E: de::Error>(self) -> Result<Self, E> {
        let depth = self.depth.checked_sub(1);
        Ok(Self {
            depth: depth.ok_or_else(|| self.bounds.broken(EvalError::TooDeep))?,
            ..self
        })
    }
}

impl<'de> DeserializeSeed<'de> for ValueSeed<'_> {
    type Value = Json;

    fn deserialize<D: de::Deserializer<'de>>(self, reader: D) -> Result<Json, D::Error> {
        let left = self.bounds.left.get().checked_sub(1);
        self.bounds
            .left
            .set(left.ok_or_else(|| self.bounds.broken(EvalError::TooManyValues))?);
        reader.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for ValueSeed<'_> {
    type Value = Json;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E>(self, bool: bool) -> Result<Json, E> {
        Ok(Json::Bool(bool))
    }

    fn visit_i64<E>(self, int: i64) -> Result<Json, E> {
        Ok(Json::Int(int))
    }

    fn visit_u64<E>(self, uint: u64) -> Result<Json, E> {
        Ok(i64::try_from(uint).map_or(Json::Uint(uint), Json::Int))
    }

    fn visit_f64<E>(self, double: f64) -> Result<Json, E> {
        Ok(Json::Double(double))
    }

    fn visit_str<E>(self, text: &str) -> Result<Json, E> {
        Ok(Json::Text(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Json, A::Error> {
        let seed = self.deeper()?;
        let mut items = Vec::new();
        while let Some(item) = list.next_element_seed(seed)? {
            items.push(item);
        }
        Ok(Json::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Json, A::Error> {
        let seed = self.deeper()?;
        let mut members = Members::new();
        while let Some(name) = map.next_key::<String>()? {
            let json = map.next_value_seed(seed)?;
            match members.entry(folded(&name).into_owned()) {
                Entry::Vacant(entry) => entry.insert((name, json)),
                Entry::Occupied(_) => return Err(self.bounds.broken(EvalError::RepeatedMember)),
            };
        }
        Ok(Json::Object(members))
    }
}

/// Why the value that an operation sets is unknown.
type Unknown = &'static str;

const TAKEN: Unknown = "an earlier operation of the patch put another kind of value there";

/// The members that a JSON Patch sets.
fn patch(operations: Vec<Json>) -> Result<Members, EvalError> {
    let mut set = Members::new();
    for (index, operation) in operations.into_iter().enumerate() {
        apply(operation, &mut set).map_err(|why| EvalError::Patch {
            operation: index + 1,
            why,
        })?;
    }
    Ok(set)
}

fn apply(operation: Json, set: &mut Members) -> Result<(), Unknown> {
    let Json::Object(mut operation) = operation else {
        return Err("it is not an object");
    };
    let mut text = |name| match operation.remove(name) {
        Some((_, Json::Text(text))) => Some(text),
        _ => None,
    };
    // Readers of the service's kind take the verb without case.
    let verb = text("op").ok_or("it has no op")?.to_ascii_lowercase();
    if verb == "test" {
        return Ok(());
    }
    let path = pointer(&text("path").ok_or("it has no path")?)?;
    match verb.as_str() {
        "remove" => return remove(set, &path),
        "add" | "replace" => {}
        _ => return Err("only add, replace, remove and test are supported"),
    }

    let (_, value) = operation.remove("value").ok_or("it has no value")?;
    if path.len() + value.depth() > MAX_BODY_DEPTH {
        return Err("it nests too deep");
    }
    match (path.as_slice(), value) {
        ([], Json::Object(members)) => *set = members,
        ([], _) => return Err("it replaces the referral with a value that is not an object"),
        ([name], value) => put(set, name, value),
        ([parents @ .., list, last], value) if last == "-" => {
            let parent = descend(set, parents)?;
            let (_, list) = parent
                .entry(folded(list).into_owned())
                .or_insert_with(|| (list.clone(), Json::List(Vec::new())));
            match list {
                Json::List(items) if verb == "add" => items.push(value),
                _ => return Err(TAKEN),
            }
        }
        ([parents @ .., name], value) => put(descend(set, parents)?, name, value),
    }
    Ok(())
}

fn put(members: &mut Members, name: &str, value: Json) {
    members.insert(folded(name).into_owned(), (name.to_owned(), value));
}

/// The object at a path, made if there is none.
fn descend<'a>(mut members: &'a mut Members, path: &[String]) -> Result<&'a mut Members, Unknown> {
    for name in path {
        let (_, next) = members
            .entry(folded(name).into_owned())
            .or_insert_with(|| (name.clone(), Json::Object(Members::new())));
        members = match next {
            Json::Object(next) => next,
            _ => return Err(TAKEN),
        };
    }
    Ok(members)
}

/// Removes what the patch has set at a path.
fn remove(mut members: &mut Members, path: &[String]) -> Result<(), Unknown> {
    let (last, parents) = path.split_last().ok_or("it removes the referral")?;
    for name in parents {
        members = match members.get_mut(folded(name).as_ref()) {
            None => return Ok(()),
            Some((_, Json::Object(next))) => next,
            Some(_) => return Err(TAKEN),
        };
    }
    members.remove(folded(last).as_ref());
    Ok(())
}

/// The names in a JSON Pointer (RFC 6901). Readers differ on empty ones.
fn pointer(text: &str) -> Result<Vec<String>, Unknown> {
    if text.is_empty() {
        return Ok(Vec::new());
    }
    let names = text
        .strip_prefix('/')
        .ok_or("its path does not begin with a slash")?
        .split('/');
    let names: Vec<_> = names
        .map(unescaped)
        .collect::<Option<_>>()
        .ok_or("its path has an empty name, or a tilde that is followed by neither 0 nor 1")?;
    if !names.iter().all(|name| is_plain(name)) {
        return Err("its path has look-alike letters or blanks, which only some readers skip");
    }
    // Whether it is a name or a position depends on the referral, and so does what stands there afterwards.
    if names
        .iter()
        .any(|name| name.bytes().all(|byte| byte.is_ascii_digit()))
    {
        return Err("its path has a position in a list");
    }
    match names.iter().position(|name| name == "-") {
        Some(at) if at == 0 || at + 1 < names.len() => {
            Err("its path has a - that is not the end of a list")
        }
        _ => Ok(names),
    }
}

fn unescaped(name: &str) -> Option<String> {
    let escapes = name.split('~').skip(1);
    let valid = !name.is_empty() && escapes.into_iter().all(|rest| rest.starts_with(['0', '1']));
    valid.then(|| name.replace("~1", "/").replace("~0", "~"))
}
