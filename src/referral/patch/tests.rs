//! What operations make of the guarded members, every trap of an operation, and an independent reading.

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::referral::BadPointer;

#[track_caller]
fn patch(body: &str) -> Patch<'_> {
    Patch::read(body.as_bytes()).expect("a JSON array")
}

/// What `body` makes of `member`, without any fault.
#[track_caller]
fn check(body: &str, member: Guarded, change: Change<'_>) {
    let read = patch(body);
    assert_eq!(read.faults, [], "{body}");
    assert_eq!(read.change(member), change, "{body}");
}

/// The one thing that is wrong with `body`.
#[track_caller]
fn check_fault(body: &str, operation: usize, wrong: Wrong<'_>) {
    assert_eq!(patch(body).faults, [Fault { operation, wrong }], "{body}");
}

fn touch(operation: usize, verb: Verb) -> Change<'static> {
    let is_below = false;
    Change::Touched(Touch {
        operation,
        verb,
        is_below,
    })
}

#[test]
fn add_and_replace_set_what_they_point_to() {
    for (body, change) in [
        ("[]", Change::Untouched),
        (
            r#"[{"op":"replace","path":"/name","value":"status"}]"#,
            Change::Untouched,
        ),
        (
            r#"[{"op":"add","path":"/registrations/-","value":{"status":"x"}}]"#,
            Change::Untouched,
        ),
        (
            r#"[{"op":"replace","path":"/status","value":"New"}]"#,
            Change::Set(r#""New""#),
        ),
        (
            r#" [ {"value" : null ,"path":"\/\u0053tatus", "op":"add"} ] "#,
            Change::Set("null"),
        ),
        (
            r#"[{"OP":"Replace","Path":"/STATUS","VALUE":{"a":[1]}}]"#,
            Change::Set(r#"{"a":[1]}"#),
        ),
        (
            r#"[{"op":"add","path":"/status","value":1},{"op":"add","path":"/Status","value":2}]"#,
            Change::Set("2"),
        ),
        (
            r#"[{"op":"add","path":"","value":{"Status":"New","x":1}}]"#,
            Change::Set(r#""New""#),
        ),
        (
            r#"[{"op":"replace","path":"","value":{"substatus":"Won"}}]"#,
            Change::Removed,
        ),
        (
            r#"[{"op":"replace","path":"","value":{}},{"op":"add","path":"/status","value":3}]"#,
            Change::Set("3"),
        ),
        (
            r#"[{"op":"add","path":"/status","value":3},{"op":"replace","path":"","value":{}}]"#,
            Change::Removed,
        ),
        (
            r#"[{"op":"add","from":null,"path":"/status","value":1,"other":[{"op":2}]}]"#,
            Change::Set("1"),
        ),
    ] {
        check(body, Guarded::Status, change);
    }
}

#[test]
fn what_only_the_service_can_tell_stays_unclear() {
    for (body, change) in [
        (
            r#"[{"op":"remove","path":"/status"}]"#,
            touch(1, Verb::Remove),
        ),
        (r#"[{"op":"remove","path":""}]"#, touch(1, Verb::Remove)),
        (
            r#"[{"op":"test","path":"/Status","value":"New"}]"#,
            touch(1, Verb::Test),
        ),
        (
            r#"[{"op":"test","path":"","value":{}}]"#,
            touch(1, Verb::Test),
        ),
        (
            r#"[{"op":"move","from":"/name","path":"/status"}]"#,
            touch(1, Verb::Move),
        ),
        (
            r#"[{"op":"move","from":"/STATUS","path":"/name"}]"#,
            touch(1, Verb::Move),
        ),
        (
            r#"[{"op":"copy","from":"/substatus","path":"/status"}]"#,
            touch(1, Verb::Copy),
        ),
        (
            r#"[{"op":"copy","from":"/status","path":"/name"}]"#,
            touch(1, Verb::Copy),
        ),
        (
            r#"[{"op":"copy","from":"/x","path":""}]"#,
            touch(1, Verb::Copy),
        ),
        (
            r#"[{"op":"add","path":"/x","value":1},{"op":"TEST","path":"/status","value":1},{"op":"add","path":"/status","value":"New"}]"#,
            touch(2, Verb::Test),
        ),
        (
            r#"[{"op":"remove","path":"/status"},{"op":"add","path":"","value":{"status":"New"}}]"#,
            touch(1, Verb::Remove),
        ),
        (
            r#"[{"op":"add","path":"/status","value":"New"},{"op":"remove","path":"/status"}]"#,
            touch(2, Verb::Remove),
        ),
        (
            r#"[{"op":"add","path":"/status/x","value":1}]"#,
            Change::Touched(Touch {
                operation: 1,
                verb: Verb::Add,
                is_below: true,
            }),
        ),
    ] {
        check(body, Guarded::Status, change);
    }
    let below = Change::Touched(Touch {
        operation: 1,
        verb: Verb::Replace,
        is_below: true,
    });
    let body = r#"[{"op":"replace","path":"/links/self/uri","value":"x"}]"#;
    check(body, Guarded::Links, below);
}

#[test]
fn an_operation_that_readers_refuse_or_read_differently_is_a_fault() {
    for (operation, wrong) in [
        ("1", Wrong::NotAnObject),
        ("-1", Wrong::NotAnObject),
        ("0.5", Wrong::NotAnObject),
        ("null", Wrong::NotAnObject),
        ("true", Wrong::NotAnObject),
        (r#""add""#, Wrong::NotAnObject),
        (r#"["add","/status",1]"#, Wrong::NotAnObject),
        ("{}", Wrong::Missing(Part::Op)),
        (r#"{"path":"/a","value":1}"#, Wrong::Missing(Part::Op)),
        (r#"{"op":"add","value":1}"#, Wrong::Missing(Part::Path)),
        (r#"{"op":"add","path":"/a"}"#, Wrong::Missing(Part::Value)),
        (
            r#"{"op":"replace","path":"/status"}"#,
            Wrong::Missing(Part::Value),
        ),
        (r#"{"op":"test","path":"/a"}"#, Wrong::Missing(Part::Value)),
        (r#"{"op":"move","path":"/a"}"#, Wrong::Missing(Part::From)),
        (
            r#"{"op":"copy","path":"/a","from":null}"#,
            Wrong::Missing(Part::From),
        ),
        (
            r#"{"op":"add","Op":"remove","path":"/a","value":1}"#,
            Wrong::Repeated(Part::Op),
        ),
        (
            r#"{"op":"add","path":"/a","p\u0061th":"/status","value":1}"#,
            Wrong::Repeated(Part::Path),
        ),
        (
            r#"{"op":"add","path":"/a","value":1,"VALUE":2}"#,
            Wrong::Repeated(Part::Value),
        ),
        (
            r#"{"op":"add","path":"/a","value":1,"from":"/b","from":"/c"}"#,
            Wrong::Repeated(Part::From),
        ),
        (
            r#"{"op":"add","path":"/a","value":1,"path\u200b":"/status"}"#,
            Wrong::LookAlike(Part::Path),
        ),
        (
            r#"{"ｏp":"add","path":"/a","value":1}"#,
            Wrong::LookAlike(Part::Op),
        ),
        (
            r#"{"op":2,"path":"/status","value":1}"#,
            Wrong::NotAString(Part::Op, "number"),
        ),
        (
            r#"{"op":null,"path":"/a","value":1}"#,
            Wrong::NotAString(Part::Op, "null"),
        ),
        (
            r#"{"op":"add","path":["status"],"value":1}"#,
            Wrong::NotAString(Part::Path, "array"),
        ),
        (
            r#"{"op":"add","path":"/\ud800","value":1}"#,
            Wrong::NotAString(Part::Path, "text with a broken escape"),
        ),
        (
            r#"{"op":"add","path":"/a","value":1,"from":7}"#,
            Wrong::NotAString(Part::From, "number"),
        ),
        (
            r#"{"op":"move","path":"/a","from":{}}"#,
            Wrong::NotAString(Part::From, "object"),
        ),
        (
            r#"{"op":"2","path":"/a","value":1}"#,
            Wrong::UnknownVerb("2".into()),
        ),
        (
            r#"{"op":" add","path":"/a","value":1}"#,
            Wrong::UnknownVerb(" add".into()),
        ),
        (
            r#"{"op":"add,remove","path":"/a","value":1}"#,
            Wrong::UnknownVerb("add,remove".into()),
        ),
        (
            r#"{"op":"","path":"/a","value":1}"#,
            Wrong::UnknownVerb("".into()),
        ),
        (
            r#"{"op":"add","path":"status","value":1}"#,
            Wrong::Pointer(Part::Path, BadPointer::NoSlash, "status".into()),
        ),
        (
            r#"{"op":"add","path":"/~2","value":1}"#,
            Wrong::Pointer(Part::Path, BadPointer::LoneTilde, "/~2".into()),
        ),
        (
            r#"{"op":"add","path":"//status","value":1}"#,
            Wrong::Pointer(Part::Path, BadPointer::SkippedToken, "//status".into()),
        ),
        (
            r#"{"op":"add","path":"/%73tatus","value":1}"#,
            Wrong::Pointer(Part::Path, BadPointer::Ambiguous, "/%73tatus".into()),
        ),
        (
            r#"{"op":"copy","path":"/a","from":"status"}"#,
            Wrong::Pointer(Part::From, BadPointer::NoSlash, "status".into()),
        ),
        (
            r#"{"op":"add","path":"","value":null}"#,
            Wrong::NotAReferral,
        ),
        (r#"{"op":"add","path":"","value":[]}"#, Wrong::NotAReferral),
        (
            r#"{"op":"replace","path":"","value":{"status":1,"Status":2}}"#,
            Wrong::RepeatedMember(Guarded::Status),
        ),
        (
            r#"{"op":"replace","path":"","value":{"ſtatus":1}}"#,
            Wrong::LookAlikeMember(Guarded::Status),
        ),
    ] {
        check_fault(&format!("[{operation}]"), 1, wrong.clone());
        let second = format!(r#"[{{"op":"add","path":"/x","value":1}},{operation}]"#);
        check_fault(&second, 2, wrong);
    }
}

#[test]
fn what_is_not_one_json_array_is_unreadable() {
    let read = |body: &[u8]| Patch::read(body).expect_err("must not be readable");
    assert_eq!(read(b"  "), Unreadable::Empty);
    assert_eq!(read(b"{}"), Unreadable::NotAnObject);
    assert_eq!(read(b"[\"\xff\"]"), Unreadable::NotUtf8 { offset: 2 });
    assert_eq!(read("[".repeat(100_000).as_bytes()), Unreadable::TooDeep);
    for body in [
        "[",
        "[1,]",
        "[{}]]",
        "[] []",
        "[{\"op\":}]",
        "[{'op':1}]",
        "[//\n]",
        "[{\"op\":\"\\x\"}]",
        "[{\"a\":\"\u{1}\"}]",
    ] {
        assert!(
            matches!(read(body.as_bytes()), Unreadable::NotJson(_)),
            "{body}"
        );
    }
}

#[test]
fn the_operations_that_are_read_are_bounded() {
    let operation = r#"{"op":"add","path":"/name","value":1}"#;
    let many = |number: usize| format!("[{}]", vec![operation; number].join(","));
    assert_eq!(patch(&many(MAX_OPERATIONS)).faults, []);
    check_fault(&many(MAX_OPERATIONS + 1), 1001, Wrong::TooMany);
    check_fault(&many(10_000), 1001, Wrong::TooMany);

    let bad = format!("[{}]", vec!["{}"; 10_000].join(","));
    let faults = patch(&bad).faults;
    assert_eq!(faults.len(), MAX_FAULTS + 1);
    assert_eq!(
        faults.last().map(|fault| &fault.wrong),
        Some(&Wrong::TooMany)
    );
    assert!(Patch::read(format!("{},]", many(2000).trim_end_matches(']')).as_bytes()).is_err());
}

#[test]
fn the_first_operation_that_is_not_exactly_add_or_replace_is_kept() {
    for (body, uncommon) in [
        (r#"[{"op":"add","path":"/a","value":1}]"#, None),
        (
            r#"[{"op":"add","path":"/a","value":1},{"op":"remove","path":"/a"},{"op":"test","path":"/a","value":1}]"#,
            Some((2, "remove".into())),
        ),
        (
            r#"[{"op":"Add","path":"/a","value":1}]"#,
            Some((1, "Add".into())),
        ),
    ] {
        assert_eq!(patch(body).uncommon, uncommon, "{body}");
    }
}

#[test]
fn an_operation_is_found_by_its_number() {
    let body = b"[ {\"op\":1},\n  2,\n   [3] ]";
    for (number, at) in [(1, (1, 3)), (2, (2, 3)), (3, (3, 4)), (4, (1, 1))] {
        assert_eq!(place_of_operation(body, number), at, "{number}");
    }
    assert_eq!(place_of_operation(b"{}", 1), (1, 1));
}

/// What a careless reader sees touched: it ignores case and blanks, puts slashes before paths, skips empty tokens.
fn lenient(body: &serde_json::Value) -> Vec<String> {
    let mut touched = Vec::new();
    for operation in body.as_array().into_iter().flatten() {
        let get = |name: &str| {
            let members = operation.as_object()?;
            let (_, value) = members
                .iter()
                .rfind(|(key, _)| key.trim().to_lowercase() == name)?;
            Some(value.clone())
        };
        let text = |name: &str| get(name).and_then(|value| Some(value.as_str()?.to_owned()));
        let verb = text("op").unwrap_or_default().trim().to_lowercase();
        let mut paths = vec![text("path")];
        if matches!(&*verb, "move" | "copy") {
            paths.push(text("from"));
        }
        for path in paths.into_iter().flatten() {
            let mut tokens = path.split('/').map(str::trim);
            let first = tokens.find(|token| !token.is_empty());
            match first {
                Some(token) => {
                    touched.push(token.replace("~1", "/").replace("~0", "~").to_lowercase());
                }
                None => {
                    let value = get("value").unwrap_or_default();
                    let set = value
                        .as_object()
                        .into_iter()
                        .flat_map(|members| members.keys());
                    touched.extend(set.map(|key| key.trim().to_lowercase()));
                }
            }
        }
    }
    touched
}

fn operation() -> impl Strategy<Value = serde_json::Value> {
    let name = |names: &'static [&'static str]| prop::sample::select(names).prop_map(String::from);
    let pointer = || {
        prop_oneof![
            4 => name(&[
                "/status", "/Status", "status", "//status", "/status/", "/status/x", "/substatus", "/links",
                "/LINKS/self", "links", "", "/", "/name", "/details/status", "/registrations/-", "/ſtatus",
            ]),
            1 => r"(/|~0|~1|[a-z]|status|links){0,4}",
        ]
    };
    let value = prop::sample::select(vec![
        json!("New"),
        json!(null),
        json!({}),
        json!({"Status": "New"}),
        json!({"links": {}, "status": 1}),
        json!([1]),
    ]);
    let verb = name(&[
        "add", "replace", "Add", "remove", "test", "move", "copy", "2", "", " add",
    ]);
    (
        (name(&["op", "OP", "o"]), verb),
        (name(&["path", "Path", " path", "p"]), pointer()),
        (name(&["value", "VALUE", "v"]), value),
        prop::option::of((name(&["from", "FROM", "path"]), pointer())),
    )
        .prop_map(|((op, verb), (path, pointer), (val, value), from)| {
            let mut members = serde_json::Map::new();
            members.insert(op, verb.into());
            members.insert(path, pointer.into());
            members.insert(val, value);
            if let Some((from, pointer)) = from {
                members.insert(from, pointer.into());
            }
            members.into()
        })
}

fn plain_path() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "/status",
        "/substatus",
        "/links",
        "/id",
        "/name",
        "/eTag",
        "",
    ])
}

fn plain_value() -> impl Strategy<Value = serde_json::Value> {
    prop::sample::select(vec![
        json!({"status": "Won", "links": 1}),
        json!({"substatus": null, "name": "x"}),
        json!({"id": 2}),
        json!({}),
    ])
}

proptest! {
    #[test]
    fn the_reader_never_panics(body in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = Patch::read(&body);
        let _ = place_of_operation(&body, 2);
    }

    #[test]
    fn the_reader_never_panics_on_what_looks_like_a_patch(
        body in r#"\[(\{("op"|"path"|"value"|"from"|"x"):("add"|"move"|""|"/status"|1|null|\[\]|\{\})(,"path":"/[a-z~01/]{0,6}")?\},?){0,4}\]?"#
    ) {
        let _ = Patch::read(body.as_bytes());
        prop_assert_eq!(
            Patch::read(body.as_bytes()).is_ok(),
            serde_json::from_str::<Vec<serde_json::Value>>(&body).is_ok()
        );
    }

    #[test]
    fn whatever_a_careless_reader_sees_touched_is_seen_or_a_fault(
        operations in prop::collection::vec(operation(), 0..5)
    ) {
        let body = serde_json::Value::from(operations);
        let text = body.to_string();
        let read = patch(&text);
        if read.faults.is_empty() {
            let seen = lenient(&body);
            for member in Guarded::ALL {
                let name = member.name().to_lowercase();
                if seen.contains(&name) {
                    prop_assert_ne!(read.change(member), Change::Untouched, "{} in {}", name, text);
                }
            }
        }
    }

    #[test]
    fn a_plain_patch_does_what_it_does_to_a_tree(
        operations in prop::collection::vec((any::<bool>(), plain_path(), plain_value()), 0..8)
    ) {
        let mut tree = json!({"status": "old", "substatus": "old", "links": "old", "id": "old", "eTag": "old"});
        let mut document = Vec::new();
        for (adds, path, value) in operations {
            match (path.strip_prefix('/'), tree.as_object_mut()) {
                (Some(name), Some(members)) => drop(members.insert(name.to_owned(), value.clone())),
                _ => tree = value.clone(),
            }
            document.push(json!({"op": if adds { "add" } else { "replace" }, "path": path, "value": value}));
        }
        let text = serde_json::Value::from(document).to_string();
        let read = patch(&text);
        prop_assert_eq!(&read.faults, &vec![]);
        for member in Guarded::ALL {
            let now = tree.get(member.name());
            match read.change(member) {
                Change::Untouched => prop_assert_eq!(now, Some(&json!("old"))),
                Change::Removed => prop_assert_eq!(now, None),
                Change::Set(set) => {
                    prop_assert_eq!(serde_json::from_str(set).ok(), now.cloned());
                }
                other => prop_assert!(false, "{:?}", other),
            }
        }
    }
}

#[test]
fn a_tag_is_told_by_its_text_only_if_it_is_that_tag() {
    for (json, tag, is_tag) in [
        (r#""\"a\"""#, r#""a""#, true),
        (r#""\"a\"""#, r#""b""#, false),
        (r#""\"a\"""#, r#""""#, false),
        (r#""a""#, r#""""#, false),
        (r#""a""#, r#""a""#, false),
        (r#""\"\\u0061\"""#, r#""\\u0061""#, false),
    ] {
        let found = Change::Set(json).is_tag(tag.as_bytes());
        assert_eq!(found, is_tag, "{json} {tag}");
    }
    assert!(!Change::Untouched.is_tag(br#""a""#));
}
