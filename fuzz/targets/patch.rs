//! No JSON Patch that changes a guarded member when it is applied passes as one that leaves it alone.
#![no_main]

use std::{cmp::Ordering, fmt};

use libfuzzer_sys::fuzz_target;
use referral_gateway::referral::{Change, Guarded, MAX_DEPTH, Patch, Unreadable};
use serde::de::{self, Deserialize, MapAccess, Visitor};
use serde_json::{Map, Value as Json, json};

/// Longer patches say nothing new, and each copy may double the referral.
const MAX_OPERATIONS: usize = 16;
const MAX_COPIES: usize = 3;

/// The members of one operation in their order, twins included, which a map would hide.
struct Operation(Vec<(String, Json)>);

impl<'de> Deserialize<'de> for Operation {
    fn deserialize<D: de::Deserializer<'de>>(reader: D) -> Result<Self, D::Error> {
        struct All;

        impl<'de> Visitor<'de> for All {
            type Value = Operation;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Operation, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(Operation(pairs))
            }
        }

        reader.deserialize_map(All)
    }
}

/// How somebody reads an operation: which of its members counts, and what a pointer names.
struct Reader {
    part: fn(&Operation, &str) -> Option<Json>,
    tokens: fn(&str) -> Option<Vec<String>>,
}

/// A name as readers see it that compare without case.
fn folded(name: &str) -> String {
    name.to_uppercase().to_lowercase()
}

fn exact_part(operation: &Operation, wanted: &str) -> Option<Json> {
    let mut pairs = operation.0.iter().rev();
    let found = pairs.find(|(name, _)| name == wanted);
    found.map(|(_, json)| json.clone())
}

fn last_part(operation: &Operation, wanted: &str) -> Option<Json> {
    let mut pairs = operation.0.iter().rev();
    let found = pairs.find(|(name, _)| folded(name.trim()) == wanted);
    found.map(|(_, json)| json.clone())
}

fn first_part(operation: &Operation, wanted: &str) -> Option<Json> {
    let mut pairs = operation.0.iter();
    let found = pairs.find(|(name, _)| folded(name.trim()) == wanted);
    found.map(|(_, json)| json.clone())
}

/// RFC 6901 4.
fn unescaped(token: &str) -> String {
    token.replace("~1", "/").replace("~0", "~")
}

/// RFC 6901 3.
fn strict_tokens(pointer: &str) -> Option<Vec<String>> {
    let mut escapes = pointer.split('~').skip(1);
    if !escapes.all(|rest| rest.starts_with(['0', '1'])) {
        return None;
    }
    match pointer.strip_prefix('/') {
        Some(tokens) => Some(tokens.split('/').map(unescaped).collect()),
        None => pointer.is_empty().then(Vec::new),
    }
}

/// Without a slash in front as well, and without what is blank.
fn loose_tokens(pointer: &str) -> Option<Vec<String>> {
    let tokens = pointer.split('/').map(|token| unescaped(token.trim()));
    Some(tokens.filter(|token| !token.is_empty()).collect())
}

/// As a path in a URL: percent signs decoded, dots resolved.
fn path_tokens(pointer: &str) -> Option<Vec<String>> {
    let mut tokens = Vec::new();
    for token in loose_tokens(&percent_decoded(pointer))? {
        match token.as_str() {
            "." => {}
            ".." => drop(tokens.pop()),
            _ => tokens.push(token),
        }
    }
    Some(tokens)
}

/// Escapes decoded before the tokens are cut.
fn late_tokens(pointer: &str) -> Option<Vec<String>> {
    loose_tokens(&unescaped(pointer))
}

fn percent_decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = tail;
        let hex = |digit: &u8| char::from(*digit).to_digit(16);
        if let (b'%', [high, low, tail @ ..]) = (first, tail)
            && let (Some(high), Some(low)) = (hex(high), hex(low))
        {
            bytes.extend(u8::try_from(high << 4 | low));
            rest = tail;
        } else {
            bytes.push(*first);
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

const STRICT: Reader = Reader {
    part: last_part,
    tokens: strict_tokens,
};

/// Everybody who may stand behind the gateway.
fn readers() -> impl Iterator<Item = Reader> {
    let parts = [exact_part, last_part, first_part];
    let tokens = [strict_tokens, loose_tokens, path_tokens, late_tokens];
    parts.into_iter().flat_map(move |part| {
        tokens
            .into_iter()
            .map(move |tokens| Reader { part, tokens })
    })
}

/// What to do where an operation cannot be applied.
#[derive(Clone, Copy, PartialEq)]
enum Care {
    /// Nothing of the patch is applied (RFC 6902 5), and `replace` wants something to replace.
    Whole,
    /// The other operations are applied, and `replace` makes what is missing.
    Each,
}

/// The member that a name means: without case, the exact one first.
fn key<'m>(members: &'m Map<String, Json>, name: &'m str) -> Option<&'m str> {
    if members.contains_key(name) {
        return Some(name);
    }
    let mut names = members.keys();
    let twin = names.find(|key| folded(key) == folded(name));
    twin.map(String::as_str)
}

fn child<'j>(json: &'j mut Json, token: &str) -> Option<&'j mut Json> {
    match json {
        Json::Object(members) => {
            let name = key(members, token)?.to_owned();
            members.get_mut(&name)
        }
        Json::Array(items) => items.get_mut(token.parse::<usize>().ok()?),
        _ => None,
    }
}

fn at<'j>(json: &'j mut Json, tokens: &[String]) -> Option<&'j mut Json> {
    tokens
        .iter()
        .try_fold(json, |json, token| child(json, token))
}

fn put(json: &mut Json, tokens: &[String], value: Json, inserts: bool) -> Option<()> {
    let Some((last, parents)) = tokens.split_last() else {
        *json = value;
        return Some(());
    };
    match at(json, parents)? {
        Json::Object(members) => {
            let name = key(members, last).unwrap_or(last).to_owned();
            members.insert(name, value);
        }
        Json::Array(items) if last == "-" => items.push(value),
        Json::Array(items) => {
            let index: usize = last.parse().ok()?;
            match index.cmp(&items.len()) {
                Ordering::Less if inserts => items.insert(index, value),
                Ordering::Less => items[index] = value,
                Ordering::Equal => items.push(value),
                Ordering::Greater => return None,
            }
        }
        _ => return None,
    }
    Some(())
}

fn take(json: &mut Json, tokens: &[String]) -> Option<Json> {
    let Some((last, parents)) = tokens.split_last() else {
        return Some(json.take());
    };
    match at(json, parents)? {
        Json::Object(members) => {
            let name = key(members, last)?.to_owned();
            members.remove(&name)
        }
        Json::Array(items) => {
            let index = last.parse().ok()?;
            (index < items.len()).then(|| items.remove(index))
        }
        _ => None,
    }
}

/// Applies one operation; nothing if that is not possible.
fn apply(json: &mut Json, operation: &Operation, reader: &Reader, care: Care) -> Option<()> {
    let text = |name| match (reader.part)(operation, name)? {
        Json::String(text) => Some(text),
        _ => None,
    };
    let tokens = |name| (reader.tokens)(&text(name)?);
    let value = || (reader.part)(operation, "value");
    let path = tokens("path")?;
    match folded(text("op")?.trim()).as_str() {
        "add" => put(json, &path, value()?, true),
        "replace" => {
            let is_there = at(json, &path).is_some();
            (is_there || care == Care::Each).then_some(())?;
            put(json, &path, value()?, false)
        }
        "remove" => take(json, &path).map(drop),
        "test" => (*at(json, &path)? == value()?).then_some(()),
        "move" => {
            let from = tokens("from")?;
            let is_inside = path.len() > from.len() && path.starts_with(&from);
            (!is_inside).then_some(())?;
            let value = take(json, &from)?;
            put(json, &path, value, true)
        }
        "copy" => {
            let value = at(json, &tokens("from")?)?.clone();
            put(json, &path, value, true)
        }
        _ => None,
    }
}

/// The referral after the patch; nothing if it cannot be applied.
fn patched(referral: &Json, operations: &[Operation], reader: &Reader, care: Care) -> Option<Json> {
    let mut json = referral.clone();
    for operation in operations {
        let mut next = json.clone();
        match apply(&mut next, operation, reader, care) {
            Some(()) => json = next,
            None if care == Care::Each => {}
            None => return None,
        }
    }
    Some(json)
}

/// What stands at the top of a referral under a name that means this member.
fn given(referral: &Json, member: Guarded) -> Vec<&Json> {
    let wanted = folded(member.name());
    let is_member = |name: &str| {
        let base = name.split('@').next().unwrap_or_default();
        folded(name) == wanted || (member == Guarded::Links && folded(base) == wanted)
    };
    let members = referral.as_object().into_iter().flatten();
    let found = members.filter(|(name, _)| is_member(name));
    found.map(|(_, json)| json).collect()
}

/// Referrals as the service keeps them, in other cases, and with nothing in them.
fn referrals() -> [Json; 3] {
    let details = json!({ "dealValue": 1, "status": "x", "links": {}, "notes": ["a"] });
    [
        json!({
            "id": "r1", "eTag": "\"a\"", "status": "New", "substatus": "Pending",
            "links": { "self": { "uri": "u", "method": "GET" } },
            "name": "x", "details": details, "registrations": [{ "id": 1 }, { "status": 2 }],
        }),
        json!({
            "Id": "r1", "ETag": "a", "Status": "Closed", "SubStatus": "Won", "Links": [{ "id": 1 }],
            "Name": "x", "Details": details, "Registrations": [],
        }),
        json!({ "name": "x", "details": {}, "registrations": [] }),
    ]
}

fn check(patch: &Patch<'_>, operations: &[Operation], text: &str) {
    for referral in referrals() {
        if let Some(now) = patched(&referral, operations, &STRICT, Care::Whole) {
            for member in Guarded::ALL {
                let (before, now) = (given(&referral, member), given(&now, member));
                let agrees = match patch.change(member) {
                    Change::Untouched => now == before,
                    Change::Removed => now.is_empty(),
                    Change::Set(json) => {
                        let set: Json = serde_json::from_str(json).expect("a JSON text");
                        now.contains(&&set)
                    }
                    Change::Touched(_) => true,
                    Change::Repeated(_) => false,
                };
                let change = patch.change(member);
                assert!(agrees, "{change:?}, but {before:?} to {now:?} by {text}");
            }
        }
        for reader in readers() {
            for care in [Care::Whole, Care::Each] {
                let Some(now) = patched(&referral, operations, &reader, care) else {
                    continue;
                };
                for member in Guarded::ALL {
                    let (before, now) = (given(&referral, member), given(&now, member));
                    let is_seen = patch.change(member) != Change::Untouched;
                    assert!(is_seen || now == before, "{before:?} to {now:?} by {text}");
                }
            }
        }
    }
}

const VERBS: [&str; 8] = [
    "add", "replace", "remove", "move", "copy", "test", "Add", "REPLACE",
];
const POINTERS: [&str; 16] = [
    "/status",
    "/STATUS",
    "/substatus",
    "/links",
    "/links/self",
    "/links@odata.bind",
    "/id",
    "/eTag",
    "",
    "/details",
    "/details/status",
    "/registrations/0",
    "/registrations/-",
    "/name",
    "/x",
    "/-",
];
const VALUES: [&str; 8] = [
    r#""New""#,
    "null",
    "{}",
    r#"{"Status":"New","links":{}}"#,
    r#"{"id":1,"etag":2,"substatus":3}"#,
    r#"[{"status":1}]"#,
    "1e2",
    r#"{"details":{"status":"y"}}"#,
];

/// A pointer, with one letter in a spelling that some reader undoes, as a JSON text.
fn disguised(pointer: &str, way: u8, at: u8) -> String {
    let letters: Vec<char> = pointer.chars().collect();
    let Some(place) = usize::from(at).checked_rem(letters.len()) else {
        return "\"\"".to_owned();
    };
    let letter = letters[place];
    let escaped =
        |text: &str| -> String { text.bytes().map(|byte| format!("%{byte:02x}")).collect() };
    let spelled = match (way, letter) {
        (0, 'a'..='z') => letter.to_ascii_uppercase().to_string(),
        (1, _) => escaped(&letter.to_string()),
        (2, _) => escaped(&letter.to_string()).replace('%', "%25"),
        (3, '/') => "~1".to_owned(),
        (4, '/') => "~01".to_owned(),
        (5, '/') => "//".to_owned(),
        (6, '/') => "/./".to_owned(),
        (7, '/') => "/x/../".to_owned(),
        (8, '/') => String::new(),
        (9, '/') => "\\".to_owned(),
        (10, _) => format!("{letter} "),
        (11, _) => format!("\u{200b}{letter}"),
        (12, 's') => '\u{17f}'.to_string(),
        (12, 'k') => '\u{212a}'.to_string(),
        (12, 'i') => '\u{131}'.to_string(),
        (13, '!'..='~') => {
            let wide = char::from_u32(u32::from(letter) + 0xfee0).expect("a full-width form");
            wide.to_string()
        }
        (14, 's') if letters.get(place + 1) == Some(&'t') => '\u{fb06}'.to_string(),
        (15, _) => format!("{letter}/"),
        _ => letter.to_string(),
    };
    let skipped = if spelled == "\u{fb06}" { 2 } else { 1 };
    let after: String = letters.iter().skip(place + skipped).collect();
    let before: String = letters.iter().take(place).collect();
    let text = format!("{before}{spelled}{after}");
    let text = serde_json::to_string(&text).expect("a text");
    if way == 16 {
        return text.replacen('s', "\\u0073", 1).replacen('/', "\\/", 1);
    }
    text
}

/// A patch of well-formed operations, which rubbish rarely is.
fn built(steps: &[u8]) -> String {
    let names = [
        ["op", "path", "from", "value"],
        ["OP", "Path", "From", "VALUE"],
        ["op", "pat\\u0068", "from", "valu\\u0065"],
        ["op", " path", "from", "value"],
        ["op", "\u{200b}path", "from", "value"],
    ];
    let operations = steps.chunks_exact(7).take(MAX_OPERATIONS).map(|step| {
        let pick = |list: &[&'static str], at: usize| list[usize::from(step[at]) % list.len()];
        let [op, path, from, value] = names[usize::from(step[6] & 0x1f) % names.len()];
        let pointer = disguised(pick(&POINTERS, 1), step[2] % 24, step[3]);
        let twin = match step[6] >> 5 {
            6 => format!(r#","path":{}"#, disguised(pick(&POINTERS, 4), 24, 0)),
            7 => format!(r#","PATH":{}"#, disguised(pick(&POINTERS, 4), 24, 0)),
            _ => String::new(),
        };
        let source = disguised(pick(&POINTERS, 4), step[2] / 24 % 3, step[3]);
        format!(
            r#"{{"{op}":"{}","{path}":{pointer},"{from}":{source},"{value}":{}{twin}}}"#,
            pick(&VERBS, 0),
            pick(&VALUES, 5),
        )
    });
    format!("[{}]", operations.collect::<Vec<_>>().join(","))
}

fn depth(json: &Json) -> usize {
    let inner = match json {
        Json::Array(items) => items.iter().map(depth).max(),
        Json::Object(members) => members.values().map(depth).max(),
        _ => return 0,
    };
    1 + inner.unwrap_or(0)
}

// What begins with a bracket is a patch as it stands; all else is the steps by which one is built.
fuzz_target!(|data: &[u8]| {
    let built = (!data.starts_with(b"[")).then(|| built(data));
    let body = built.as_ref().map_or(data, String::as_bytes);
    let read = Patch::read(body);
    let json: Json = match serde_json::from_slice(body) {
        Ok(json) => json,
        Err(error) => {
            // A reader that keeps what it reads is stricter about numbers, lone surrogates and depth.
            let told = error.to_string();
            let stricter = ["out of range", "surrogate", "hex escape", "recursion limit"];
            let is_stricter = stricter.iter().any(|why| told.contains(why));
            assert!(read.is_err() || is_stricter, "{told}: {read:?}");
            return;
        }
    };
    if depth(&json) > MAX_DEPTH {
        assert_eq!(read, Err(Unreadable::TooDeep));
        return;
    }
    let patch = read.expect("an array that a plain reader understands");
    if !patch.faults.is_empty() {
        return;
    }
    let operations: Vec<Operation> =
        serde_json::from_slice(body).expect("nothing but objects, or a fault");
    let is_copy = |verb: Json| {
        verb.as_str()
            .is_some_and(|verb| folded(verb.trim()) == "copy")
    };
    let copies = operations
        .iter()
        .filter(|operation| last_part(operation, "op").is_some_and(is_copy))
        .count();
    if operations.len() <= MAX_OPERATIONS && copies <= MAX_COPIES {
        check(&patch, &operations, &String::from_utf8_lossy(body));
    }
});
