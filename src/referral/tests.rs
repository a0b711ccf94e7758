//! Tables and properties of the readers.

use proptest::prelude::*;

use super::*;

#[track_caller]
fn members(body: &str) -> Members<'_> {
    Members::read(body.as_bytes()).expect("a JSON object")
}

#[track_caller]
fn unreadable(body: &[u8]) -> Unreadable {
    Members::read(body).expect_err("must not be readable")
}

#[test]
fn guarded_members_are_found_in_every_spelling() {
    for name in [
        "links",
        "Links",
        "LINKS",
        r"\u006cinks",
        r"l\u0069nks",
        "links@odata.bind",
    ] {
        let body = format!(r#"{{"a":1,"{name}":null}}"#);
        assert_eq!(members(&body).links, Member::Given("null"), "{name}");
    }
    for name in ["link", "linkss", "@odata.links", "li-nks"] {
        let body = format!(r#"{{"{name}":null}}"#);
        assert_eq!(members(&body).links, Member::Absent, "{name}");
    }
    // As long as a guarded name, and with its first letter.
    for name in ["is", "even", "second", "subtitles", "lines"] {
        assert_eq!(Guarded::of(name), None, "{name}");
    }
}

#[test]
fn look_alike_letters_are_noticed() {
    for (name, member) in [
        ("ſtatus", Guarded::Status),
        ("lin\u{212a}s", Guarded::Links),
        ("\u{130}d", Guarded::Id),
        ("ｓtatus", Guarded::Status),
        ("\u{fb06}atus", Guarded::Status),
        ("sub\u{fb05}atus", Guarded::Substatus),
        (" links", Guarded::Links),
        ("links ", Guarded::Links),
        ("l\\u0000inks", Guarded::Links),
        ("sta\u{200b}tus", Guarded::Status),
        ("\u{feff}id", Guarded::Id),
    ] {
        let body = format!(r#"{{"{name}":"x"}}"#);
        assert_eq!(
            members(&body).look_alike.map(|(found, _)| found),
            Some(member),
            "{name}"
        );
    }
    let padded = format!(r#"{{"sta{}tus":"x"}}"#, "\u{200b}".repeat(100));
    assert!(members(&padded).look_alike.is_some());
    assert_eq!(members(r#"{"státus":"x"}"#).look_alike, None);
    let two = members(r#"{"ſtatus":"x","lin\u212as":[]}"#).look_alike;
    assert_eq!(two.map(|(first, _)| first), Some(Guarded::Status));
}

#[test]
fn a_guarded_name_is_seen_however_long_it_is_made() {
    let body = format!(r#"{{"st{}atus":"New"}}"#, "\u{200b}".repeat(100));
    let found = members(&body).look_alike.map(|(found, _)| found);
    assert_eq!(found, Some(Guarded::Status));

    let body = format!(r#"{{"links@{}":[]}}"#, "x".repeat(100));
    assert_eq!(members(&body).links, Member::Given("[]"));
}

#[test]
fn only_the_top_level_counts() {
    let seen =
        members(r#"{"details":{"links":{},"status":"x"},"status":"New","list":[{"links":1}]}"#);
    assert_eq!(seen.links, Member::Absent);
    assert_eq!(seen.status.text().as_deref(), Some("New"));
}

#[test]
fn a_second_member_of_one_name_is_seen_and_others_may_repeat() {
    assert!(matches!(
        members(r#"{"status":"New","STATUS":"Active"}"#).status,
        Member::Repeated("\"Active\"")
    ));
    assert_eq!(members(r#"{"name":1,"name":2}"#), Members::default());
}

#[test]
fn values_are_told_by_their_type() {
    for (json, value) in [
        (r#""New""#, Value::Text("New".into())),
        (r#""N\u0065w""#, Value::Text("New".into())),
        (r#""""#, Value::Text("".into())),
        ("null", Value::Null),
        ("1e999", Value::Other("number")),
        ("-0.0", Value::Other("number")),
        ("true", Value::Other("boolean")),
        ("[]", Value::Other("array")),
        ("{}", Value::Other("object")),
    ] {
        let body = format!(r#"{{"status": {json} }}"#);
        assert_eq!(members(&body).status.value(), Some(value), "{json}");
    }
}

#[test]
fn what_is_not_one_json_object_is_unreadable() {
    assert_eq!(unreadable(b""), Unreadable::Empty);
    assert_eq!(unreadable(b" \r\n\t"), Unreadable::Empty);
    assert_eq!(
        unreadable(b"{\"a\":\"\xff\"}"),
        Unreadable::NotUtf8 { offset: 6 }
    );
    for body in ["[]", "1", "null", "\"{}\"", "[{\"status\":\"New\"}]"] {
        assert_eq!(
            unreadable(body.as_bytes()),
            Unreadable::NotAnObject,
            "{body}"
        );
    }
    for body in [
        "{\"a\":1,}",
        "{\"a\":1}}",
        "{\"a\":1} {}",
        "{'a':1}",
        "{a:1}",
        "{\"a\":NaN}",
        "{\"a\":01}",
        "{\"a\":+1}",
        "{\"a\":.5}",
        "{\"a\":1/*c*/}",
        "{\"a\":1 // c\n}",
        "{\"a\":\"\u{1}\"}",
        "{\"a\":tru}",
        "{\"a\"",
        "{",
        "{\"a\":1,\"b\"",
        "\u{feff}{}",
        "{\"a\":\"\\x\"}",
        "{\"\\ud800\":1}",
        "{\"a\":[1,]}",
        "x",
        "[1,",
        "{\"a\":\"b",
    ] {
        assert!(
            matches!(unreadable(body.as_bytes()), Unreadable::NotJson(_)),
            "{body}"
        );
    }
}

#[test]
fn an_error_names_line_and_column() {
    let Unreadable::NotJson(text) = unreadable(b"{\n  \"status\": \"New\",\n}") else {
        unreachable!("not JSON")
    };
    assert_eq!(text, "trailing comma at line 3 column 1");
}

#[test]
fn depth_is_bounded_and_strings_do_not_count() {
    let nested = |depth: usize| {
        format!(
            "{{\"a\":{}{}}}",
            "[".repeat(depth - 1),
            "]".repeat(depth - 1)
        )
    };
    assert!(Members::read(nested(MAX_DEPTH).as_bytes()).is_ok());
    assert_eq!(
        unreadable(nested(MAX_DEPTH + 1).as_bytes()),
        Unreadable::TooDeep
    );
    assert_eq!(
        unreadable(nested(1_000_000).as_bytes()),
        Unreadable::TooDeep
    );
    let quoted = format!("{{\"a\":\"{}\\\"{{\"}}", "[{".repeat(500));
    assert!(Members::read(quoted.as_bytes()).is_ok());
    let closed = format!(
        "{{\"a\":\"{}\",\"b\":{}",
        "]}".repeat(50),
        nested(MAX_DEPTH)
    );
    assert_eq!(
        unreadable(format!("{closed}}}").as_bytes()),
        Unreadable::TooDeep
    );
    let wide = format!("{{\"a\":[{}{{}}]}}", "{},".repeat(5000));
    assert!(Members::read(wide.as_bytes()).is_ok());
}

#[test]
fn entity_tags_are_strong_quoted_and_alone() {
    for tag in [
        r#""0a00b1c2-0000-0100-0000-65f01d420000""#,
        r#""""#,
        r#""a\b""#,
        r#""a,b""#,
        "\"\u{e9}\"",
    ] {
        assert!(EntityTag::parse(tag.as_bytes()).is_some(), "{tag}");
    }
    for tag in [
        "",
        "*",
        "abc",
        "\"",
        r#"W/"a""#,
        r#""a"b""#,
        r#""a", "b""#,
        r#""a b""#,
        "'a'",
        r#"\"a\""#,
        "\"a",
        "a\"",
        "\"\t\"",
        "\"\u{7f}\"",
        " \"a\"",
    ] {
        assert!(EntityTag::parse(tag.as_bytes()).is_none(), "{tag}");
    }
    let long = format!("\"{}\"", "a".repeat(EntityTag::MAX_BYTES));
    assert!(EntityTag::parse(long.as_bytes()).is_none());
}

#[test]
fn ids_are_unreserved_characters_in_lower_case() {
    assert_eq!(
        ReferralId::parse("AbC-1")
            .map(|id| id.to_string())
            .as_deref(),
        Some("abc-1")
    );
    for text in [
        "", ".", "..", "a b", "a'b", "$count", "a/b", "é", "a%20", "a;b", "(a)",
    ] {
        assert_eq!(ReferralId::parse(text), None, "{text}");
    }
    assert_eq!(ReferralId::parse(&"a".repeat(129)), None);
}

#[test]
fn an_answer_tells_id_tag_and_state() {
    let one = br#"{"id":"R1","status":"New","substatus":"Pending","eTag":"\"t1\"","links":{}}"#;
    let seen = Sighting::of_one(one).expect("a referral");
    assert_eq!(seen.id.as_deref(), Some("R1"));
    assert_eq!(seen.tag.as_deref(), Some(&b"\"t1\""[..]));
    assert_eq!(
        seen.state,
        Some(State {
            status: "New".into(),
            substatus: Some("Pending".into())
        })
    );

    let twice = br#"{"id":"R1","status":"New","status":"Closed","eTag":"t1"}"#;
    let seen = Sighting::of_one(twice).expect("an object");
    assert_eq!((seen.state, seen.tag), (None, None));
    for (length, is_state) in [(0, false), (1, true), (64, true), (65, false)] {
        let status = "s".repeat(length);
        let one = format!(r#"{{"id":"R1","status":"{status}"}}"#);
        let seen = Sighting::of_one(one.as_bytes()).expect("an object");
        assert_eq!(seen.state.is_some(), is_state, "{length}");
    }
    assert_eq!(Sighting::of_one(b"not json"), None);
}

#[test]
fn a_list_tells_of_each_item() {
    let list = br#"{"@odata.count":2,"value":[{"id":"a","status":"New","eTag":"\"1\""},{"id":"b"}],"@odata.nextLink":"x"}"#;
    let seen = Sighting::of_list(list);
    assert_eq!(
        seen.iter().map(|s| s.id.as_deref()).collect::<Vec<_>>(),
        [Some("a"), Some("b")]
    );
    let deep = format!(
        "{{\"value\":[{{\"id\":\"a\",\"x\":{}{}}}]}}",
        "[".repeat(1_000_000),
        "]".repeat(1_000_000)
    );
    assert_eq!(Sighting::of_list(deep.as_bytes()).len(), 1);
    let long = format!(r#"{{"value":[{}{{}}]}}"#, r#"{"id":"a"},"#.repeat(1000));
    assert_eq!(Sighting::of_list(long.as_bytes()).len(), 1000);
    assert_eq!(Sighting::of_list(b"[]"), []);
    assert_eq!(Sighting::of_list(b"{\"value\":3}"), []);
}

/// An independent reading: a full tree, which keeps every member in order.
fn lenient(value: &[(String, serde_json::Value)], name: &str) -> usize {
    value
        .iter()
        .filter(|(key, _)| key.to_lowercase() == name.to_lowercase())
        .count()
}

fn json() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        ".*".prop_map(Into::into),
    ];
    leaf.prop_recursive(4, 32, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Into::into),
            prop::collection::btree_map(".{0,8}", inner, 0..6)
                .prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
        ]
    })
}

fn name() -> impl Strategy<Value = String> {
    prop_oneof![
        prop::sample::select(vec![
            "id",
            "eTag",
            "status",
            "Status",
            "SUBSTATUS",
            "links",
            "Links",
            "name",
            "etag"
        ])
        .prop_map(String::from),
        ".{0,6}",
    ]
}

proptest! {
    #[test]
    fn the_reader_never_panics(body in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = Members::read(&body);
        let _ = Sighting::of_list(&body);
        let _ = EntityTag::parse(&body);
    }

    #[test]
    fn what_it_reads_any_json_reader_reads_too(body in r#"[\[\]{}",:\\a-e0-9 .\-]{0,40}"#) {
        prop_assert_eq!(
            Members::read(body.as_bytes()).is_ok(),
            serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(&body).is_ok()
        );
    }

    #[test]
    fn it_agrees_with_a_tree_on_every_object(fields in prop::collection::vec((name(), json()), 0..8)) {
        let text = fields.iter().map(|(key, value)| format!("{}: {value}", serde_json::Value::from(key.as_str()))).collect::<Vec<_>>().join(" ,\n");
        let body = format!(" {{{text}}}\n");
        let seen = Members::read(body.as_bytes()).expect("an object");
        for (member, found) in seen.all() {
            let times = lenient(&fields, member.name());
            match found {
                Member::Absent => prop_assert_eq!(times, 0),
                Member::Given(json) => {
                    prop_assert_eq!(times, 1);
                    let value = fields.iter().find(|(key, _)| key.eq_ignore_ascii_case(member.name())).map(|(_, value)| value.clone());
                    prop_assert_eq!(serde_json::from_str::<serde_json::Value>(json).ok(), value);
                }
                Member::Repeated(_) => prop_assert!(times > 1 || seen.look_alike.is_some()),
            }
        }
    }

    #[test]
    fn a_strong_tag_is_what_rfc_9110_says(text in r#"(W/)?"?[!-~ ]{0,12}"?"#) {
        let inner = text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
        let strong = text.len() > 1 && inner.is_some_and(|inner| inner.chars().all(|c| c == '!' || ('#'..='~').contains(&c)));
        prop_assert_eq!(EntityTag::parse(text.as_bytes()).is_some(), strong);
    }
}

#[test]
fn a_name_is_folded_as_lenient_readers_see_it() {
    for (name, seen) in [
        ("status", "status"),
        ("dealValue", "dealvalue"),
        ("@odata.type", "@odata.type"),
        ("\u{17f}tatus", "status"),
        ("LIN\u{212a}S", "links"),
        ("\u{130}D", "id"),
        ("ｌｉｎｋｓ", "links"),
        ("ＬＩＮＫＳ", "links"),
        ("\u{fb06}atus", "status"),
        ("o\u{fb00}er", "offer"),
        ("\u{fb01}le", "file"),
        ("\u{fb02}ow", "flow"),
        ("o\u{fb03}ce", "office"),
        ("ba\u{fb04}e", "baffle"),
        (" deal\u{200b}Value\u{0}", "dealvalue"),
        ("GRÖSSE", "grösse"),
        ("", ""),
    ] {
        assert_eq!(folded(name), seen, "{name}");
        assert_eq!(folded(seen), seen, "{name}");
    }
}

#[test]
fn a_referral_is_known_by_an_id_as_long_as_ids_may_be() {
    let id = "a".repeat(128);
    let body = format!(r#"{{"id":"{id}","eTag":"\"1\"","status":"New","substatus":"Pending"}}"#);
    let found = Sighting::of_one(body.as_bytes()).and_then(|found| found.id);
    assert_eq!(found.as_deref(), Some(&*id));
}

#[test]
fn brackets_nest_outside_of_texts() {
    use super::text::nests_deeper_than;
    for (json, depth) in [
        ("{}", 1),
        (r#"{"a":[[[]]]}"#, 4),
        (r#"[[],[],[],[]]"#, 2),
        (r#"{"a":"[[[[[["}"#, 1),
        (r#"{"a":"\"[[[[[["}"#, 1),
        (r#"{"a":"\\","b":[[]]}"#, 3),
        (r#"["\"",[[[]]]]"#, 4),
        (r#"["\"","[[[[[",[]]"#, 2),
    ] {
        assert!(nests_deeper_than(json.as_bytes(), depth - 1), "{json}");
        assert!(!nests_deeper_than(json.as_bytes(), depth), "{json}");
    }
    // What is no JSON is refused elsewhere; here a backslash outside of a text begins no escape.
    assert!(!nests_deeper_than(br#"\"[[["#, 2));
}

#[test]
fn the_tags_of_an_answer_are_found_without_parsing_it() {
    for (answer, tags) in [
        (r#"{"eTag":"\"a\""}"#, &["a"][..]),
        (r#"{"id":"r1", "eTag" : "\"a\"", "status":"New"}"#, &["a"]),
        (
            r#"{"value":[{"eTag":"\"a\""},{"eTag":"\"b\""}]}"#,
            &["a", "b"],
        ),
        (r#"{"eTag":"\"\""}"#, &[""]),
        // Another spelling is left to the parser: weak, no string, escapes, another name, cut off.
        (r#"{"eTag":"W/\"a\""}"#, &[]),
        (r#"{"eTag":"a"}"#, &[]),
        (r#"{"eTag":null}"#, &[]),
        (r#"{"eTag":"\"a\\b\""}"#, &[]),
        (r#"{"eTag":"\"a\u0022"}"#, &[]),
        (r#"{"eTag":"\u0022a\""}"#, &[]),
        (r#"{"eTag":"\"a\" "}"#, &[]),
        (r#"{"etag":"\"a\""}"#, &[]),
        (r#"{"note":"the \"eTag\" is \"a\""}"#, &[]),
        (r#"{"eTag":"\"a\"#, &[]),
        (r#"{"eTag":"\"a"#, &[]),
        (r#"{"eTag""#, &[]),
        ("", &[]),
    ] {
        let found: Vec<_> = Sighting::tags_in(answer.as_bytes()).collect();
        let tags: Vec<_> = tags.iter().map(|tag| tag.as_bytes()).collect();
        assert_eq!(found, tags, "{answer}");
    }
}
