//! The guarded members of a body are those that a plain JSON reader sees.
#![no_main]

use std::fmt;

use libfuzzer_sys::fuzz_target;
use referral_gateway::referral::{Guarded, MAX_DEPTH, Member, Members, Unreadable, Value};
use serde::de::{self, Deserialize, MapAccess, Visitor};
use serde_json::Value as Json;

/// The members of an object in their order, twins included, which a map would hide.
struct Pairs(Vec<(String, Json)>);

impl<'de> Deserialize<'de> for Pairs {
    fn deserialize<D: de::Deserializer<'de>>(reader: D) -> Result<Self, D::Error> {
        struct All;

        impl<'de> Visitor<'de> for All {
            type Value = Pairs;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Pairs, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(Pairs(pairs))
            }
        }

        reader.deserialize_map(All)
    }
}

fn depth(json: &Json) -> usize {
    let inner = match json {
        Json::Array(items) => items.iter().map(depth).max(),
        Json::Object(members) => members.values().map(depth).max(),
        _ => return 0,
    };
    1 + inner.unwrap_or(0)
}

/// Whether a reader that ignores case, by ASCII or by all of Unicode, takes `name` for `guarded`.
fn is(name: &str, guarded: Guarded) -> bool {
    let folded = |text: &str| text.to_uppercase().to_lowercase();
    let wanted = folded(guarded.name());
    let base = name.split('@').next().unwrap_or_default();
    let is_annotated = guarded == Guarded::Links && name.contains('@') && folded(base) == wanted;
    folded(name) == wanted || name.to_lowercase() == wanted || is_annotated
}

fn check_value(member: Member<'_>, json: &Json) {
    let seen = member.value().expect("a member that is given once");
    let agrees = match (&seen, json) {
        (Value::Text(text), Json::String(string)) => text == string,
        (Value::Null, Json::Null)
        | (Value::Other("boolean"), Json::Bool(_))
        | (Value::Other("number"), Json::Number(_))
        | (Value::Other("array"), Json::Array(_))
        | (Value::Other("object"), Json::Object(_)) => true,
        _ => false,
    };
    assert!(agrees, "{seen:?} is not {json:?}");
}

fuzz_target!(|body: &[u8]| {
    let read = Members::read(body);
    if std::str::from_utf8(body).is_err() {
        assert!(matches!(read, Err(Unreadable::NotUtf8 { .. })), "{read:?}");
        return;
    }
    // A reader that keeps what it reads is stricter about numbers, lone surrogates and depth.
    let json: Json = match serde_json::from_slice(body) {
        Ok(json) => json,
        Err(error) => {
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
    if !json.is_object() {
        assert_eq!(read, Err(Unreadable::NotAnObject));
        return;
    }
    let members = read.expect("an object that a plain reader understands");
    let Pairs(pairs) = serde_json::from_slice(body).expect("the same object again");
    for (guarded, member) in members.all() {
        let twins: Vec<_> = pairs.iter().filter(|(name, _)| is(name, guarded)).collect();
        match (member, twins.as_slice()) {
            (Member::Absent, []) => {}
            (Member::Given(_), [(_, json)]) => check_value(member, json),
            (Member::Repeated(_), [_, _, ..]) => {}
            // More is seen than such a reader sees, in letters that only look alike: never less.
            (Member::Given(_) | Member::Repeated(_), _) => {
                assert!(members.look_alike.is_some(), "{guarded:?}: {member:?}");
            }
            (Member::Absent, _) => panic!("{guarded:?} was not seen in {pairs:?}"),
        }
    }
});
