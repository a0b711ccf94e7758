//! What a list answer teaches is what a plain JSON reader sees in its items.
#![no_main]

use libfuzzer_sys::fuzz_target;
use referral_gateway::referral::{EntityTag, Sighting};
use serde_json::{Map, Value as Json};

/// The one member with that name, whatever its case, if it is a text.
fn text<'a>(item: &'a Map<String, Json>, name: &str) -> Option<&'a str> {
    let mut twins = item
        .iter()
        .filter(|(key, _)| key.eq_ignore_ascii_case(name));
    let text = twins.next()?.1.as_str()?;
    (twins.next().is_none()).then_some(text)
}

fn check(seen: &Sighting, item: &Map<String, Json>) {
    let name = |member| text(item, member).filter(|text| (1..=64).contains(&text.len()));
    if let Some(id) = &seen.id {
        assert_eq!(name("id"), Some(&**id));
    }
    if let Some(tag) = &seen.tag {
        assert_eq!(text(item, "eTag").map(str::as_bytes), Some(&**tag));
        assert!(EntityTag::parse(tag).is_some());
    }
    if let Some(state) = &seen.state {
        assert_eq!(name("status"), Some(&*state.status));
        if let Some(substatus) = &state.substatus {
            assert_eq!(name("substatus"), Some(&**substatus));
        }
    }
}

fuzz_target!(|body: &[u8]| {
    let seen = Sighting::of_list(body);
    assert!(seen.len() <= 1000);
    // A map keeps the last of two members with one name; that they are twins is seen in the text alone.
    let Ok(Json::Object(list)) = serde_json::from_slice(body) else {
        return;
    };
    let Some(Json::Array(items)) = list.get("value") else {
        assert!(seen.is_empty(), "{seen:?}");
        return;
    };
    if seen.is_empty() {
        return;
    }
    assert_eq!(seen.len(), items.len().min(1000));
    for (seen, item) in seen.iter().zip(items) {
        check(
            seen,
            item.as_object().expect("an item that taught something"),
        );
    }
});
