//! Tables over the reader of YAML texts.

use std::collections::BTreeMap;

use super::{locate, quoted, read, scalar};

#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "only read from text")]
struct Document {
    name: Option<String>,
    count: Option<u32>,
    mode: Option<Mode>,
    rules: Option<Vec<Rule>>,
    states: Option<BTreeMap<String, Rule>>,
    steps: Option<Vec<Step>>,
    step: Option<Step>,
}

#[derive(Debug, serde::Deserialize)]
#[expect(dead_code, reason = "only read from text")]
struct Step {
    id: serde_saphyr::Spanned<String>,
    at: serde_saphyr::Spanned<String>,
    to: Option<String>,
}

#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "only read from text")]
struct Rule {
    id: String,
    on: Option<Vec<String>>,
    strict: Option<bool>,
}

#[derive(Debug, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
enum Mode {
    Off,
    Enforce,
}

#[track_caller]
fn check(text: &str, expected: &str) {
    let error = read::<Document>(text, "f").expect_err(text);
    assert_eq!(error.to_string(), expected, "for {text:?}");
}

#[test]
fn an_error_names_place_key_value_and_remedy() {
    for (text, expected) in [
        (
            "nane: x\n",
            "f:1:1: unknown key `nane`; did you mean `name`?",
        ),
        (
            "zebra: x\n",
            "f:1:1: unknown key `zebra`; known keys here: name, count, mode, rules, states, steps, step",
        ),
        (
            "rules:\n  - { id: a, onn: [PUT] }\n",
            "f:2:14: unknown key `rules.0.onn`; did you mean `on`?",
        ),
        (
            "count: lots\n",
            "f:1:8: `count` is `lots`: not a whole number; write digits only, such as 100",
        ),
        (
            "count: -1\n",
            "f:1:8: `count` is `-1`: not a whole number; write digits only, such as 100",
        ),
        (
            "mode: enforced\n",
            "f:1:7: `mode` is `enforced`: not one of off, enforce; did you mean `enforce`?",
        ),
        (
            "mode: perhaps\n",
            "f:1:7: `mode` is `perhaps`: not one of off, enforce; write one of these",
        ),
        (
            "name: a\nname: b\n",
            "f:2:1: the key `name` is given twice; keep one of them",
        ),
        (
            "states:\n  New: {id: a}\n  New: {id: b}\n",
            "f:3:3: the key `states.New` is given twice; keep one of them",
        ),
        (
            "rules: 3\n",
            "f:1:8: `rules` is `3`: not a list; write a list, such as [a, b]",
        ),
        (
            "rules:\n  id: a\n",
            "f:2:3: `rules` is `{...}`: not a list; write a list, such as [a, b]",
        ),
        (
            "rules: [a]\n",
            "f:1:9: `rules.0` is `a`: not a mapping; write `key: value` lines below it",
        ),
        (
            "name: [a]\n",
            "f:1:7: `name` is `[...]`: not a text; write one word or a text in quotes",
        ),
        (
            "rules:\n  - on: [PUT]\n",
            "f:2:5: `rules.0` has no `id`; add `id: ...`",
        ),
        (
            "rules: [{ on: [PUT] }]\n",
            "f:1:9: `rules.0` has no `id`; add `id: ...`",
        ),
        (
            "steps:\n  - { id: a, at: x }\n  - { id: b, to: y }\n",
            "f:3:5: `steps.1` (`b`) has no `at`; add `at: ...`",
        ),
        (
            "step: { id: a, to: y }\n",
            "f:1:7: `step` (`a`) has no `at`; add `at: ...`",
        ),
        (
            "rules:\n  - id: a\n    at: x\n   to: y\n",
            "f:4:4: the indentation changes here; indent this line like the lines above it",
        ),
        (
            "rules: [{ id: ! has(body.a), strict: true }]\n",
            "f:1:15: `!` is a YAML tag, not part of a value; put the value in quotes, or write it below a `|`",
        ),
        (
            "rules:\n  - id: !has(body.a)\n",
            "f:2:9: `!has(body.a)` is a YAML tag, not part of a value; put the value in quotes, or write it below a `|`",
        ),
        (
            "a: # it's\n  - {id: x, at: !has(b['c', 'd']) || e}\n",
            "f:2:17: `!has(b['c',` is a YAML tag, not part of a value; put the value in quotes, or write it below a `|`",
        ),
        (
            "a: # it's\n  - {id: 'x', at: 'a: b, \"c' == d, e: 'f'}\n",
            "f:2:19: `'a: b, \"c'` ends the value, but more text follows; put the value in quotes, or write it below a `|`",
        ),
        (
            "a:\n  b: \"c \\\"d\" == 'e'\n",
            "f:2:6: `\"c \\\\\"d\"` ends the value, but more text follows; put the value in quotes, or write it below a `|`",
        ),
        (
            "- 'it''s' == b\n",
            "f:1:3: `'it''s'` ends the value, but more text follows; put the value in quotes, or write it below a `|`",
        ),
        (
            "rules:\n  - id: !has(body.a) || has(body.b)\n",
            "f:2:9: `!has(body.a)` is a YAML tag, not part of a value; put the value in quotes, or write it below a `|`",
        ),
        (
            "rules: [{ id: !matches(body.a, 'b'), strict: true }]\n",
            "f:1:15: `!matches(body.a,` is a YAML tag, not part of a value; put the value in quotes, or write it below a `|`",
        ),
        (
            "rules:\n  - id: 'a' in body.b\n    strict: true\n",
            "f:2:9: `'a'` ends the value, but more text follows; put the value in quotes, or write it below a `|`",
        ),
        (
            "rules: [{ id: 'a'.size() > 1 && 'it''s' == 'b', strict: true }]\n",
            "f:1:15: `'a'` ends the value, but more text follows; put the value in quotes, or write it below a `|`",
        ),
        (
            "a:\r\n  # it's\r  c: \"d\" e",
            "f:3:6: `\"d\"` ends the value, but more text follows; put the value in quotes, or write it below a `|`",
        ),
        (
            "name: \"a b\" == body.c\n",
            "f:1:7: `\"a b\"` ends the value, but more text follows; put the value in quotes, or write it below a `|`",
        ),
        (
            "rules: [{ id: a, true: [PUT] }]\n",
            "f:1:18: unknown key `rules.0.true`; did you mean `on`? Tools for YAML 1.1 write it as `true`",
        ),
        (
            "mode: false\n",
            "f:1:7: `mode` is `false`: not one of off, enforce; did you mean `off`? Tools for YAML 1.1 write it as `false`",
        ),
        (
            "rules: !!seq [{ id: a }]\n",
            "f:1:8: `!!seq` is a YAML tag, not part of a value; put the value in quotes, or write it below a `|`",
        ),
        (
            "- a\n",
            "f:1:1: the file is not a mapping; write `key: value` lines",
        ),
        (
            "hello\n",
            "f:1:1: the file is not a mapping; write `key: value` lines",
        ),
        (
            "rules: on: [PUT]\n",
            "f:1:10: two keys on one line; write the second on a line of its own, indented below the first; a value with `: ` in it needs quotes",
        ),
        (
            "rules: [{id: a, strict: yes}]\n",
            "f:1:25: `rules.0.strict` is `yes`: not a boolean; write true or false",
        ),
        (
            "states:\n\tNew: {}\n",
            "f:2:2: tabs disallowed within this context (block indentation); indent with spaces",
        ),
        (
            "name: a: b\n",
            "f:1:8: two keys on one line; write the second on a line of its own, indented below the first; a value with `: ` in it needs quotes",
        ),
        (
            "name: a\n---\nname: b\n",
            "f:3:1: a second document begins; keep one document in the file",
        ),
        (
            "states:\n  New:\n    <<: {id: a}\n",
            "f:3:5: merge keys (`<<`) are not read; write the keys out",
        ),
        (
            "\u{feff}name: é\ncount: 'é'\n",
            "f:2:8: `count` is `'é'`: not a whole number; write digits only, such as 100",
        ),
    ] {
        check(text, expected);
    }
}

#[test]
fn words_that_older_yaml_takes_for_booleans_stay_words() {
    let document: Document =
        read("mode: off\nname: yes\nrules: [{id: on, on: [PUT]}]\n", "f").expect("reads");
    assert!(matches!(document.mode, Some(Mode::Off)));
    assert_eq!(document.name.as_deref(), Some("yes"));
}

#[test]
fn a_text_without_content_is_an_empty_document() {
    for text in ["", "# only a comment\n"] {
        read::<Document>(text, "f").expect(text);
    }
}

#[test]
fn a_text_without_content_is_told_where_keys_are_needed() {
    for text in ["", "# only a comment\n\n"] {
        let error = read::<Rule>(text, "f").expect_err(text).to_string();
        assert_eq!(
            error,
            "f: the file is empty; write `key: value` lines into it"
        );
    }
}

#[test]
fn a_text_over_the_limit_is_refused_unread() {
    let text = "#".repeat(super::MAX_BYTES + 1);
    check(
        &text,
        "f: 1048577 bytes are more than 1048576; split it or shorten it",
    );
}

#[test]
fn deep_nesting_is_refused_without_overflow() {
    let text = format!("name: {}", "[".repeat(200_000));
    read::<Document>(&text, "f").expect_err("too deep");
}

#[test]
fn nested_aliases_do_not_become_millions_of_values() {
    let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for n in 1..8 {
        let list = vec![format!("*a{}", n - 1); 10].join(", ");
        text.push_str(&format!("a{n}: &a{n} [{list}]\n"));
    }
    let error = read::<serde_json::Value>(&text, "f").expect_err("too many");
    assert!(error.to_string().contains("alias"), "{error}");
}

proptest::proptest! {
    #[test]
    fn no_text_makes_the_reader_panic(text in "([\\[\\]{}:,&*#'\"<!|>%@? -]|[a-z]|[0-9]|é|\n|\t|name: |rules: |count: |- ){0,60}") {
        if let Err(error) = read::<Document>(&text, "f") {
            proptest::prop_assert!(error.to_string().starts_with("f"));
        }
        locate(&text, &["rules", "0", "id"]);
    }
}

#[test]
fn the_place_of_a_value_is_found_by_its_path() {
    let text =
        "upstream:\n  url: x\nrules:\n  - id: a\n  - { id: b }\nalias: &a { id: c }\nuse: *a\n";
    for (path, expected) in [
        (&["upstream", "url"][..], Some((2, 8))),
        (&["upstream"], Some((2, 3))),
        (&["rules", "1", "id"], Some((5, 11))),
        (&["use", "id"], Some((7, 6))),
        (&["upstream", "urll"], None),
        (&["rules", "2"], None),
    ] {
        assert_eq!(locate(text, path), expected, "{path:?}");
    }
}

#[test]
fn a_missing_key_is_reported_at_its_nearest_parent() {
    let error = super::Error::at(
        "a:\n  b: 1\n",
        "f",
        &["a", "c"],
        "`a.c` is missing",
        "add it",
    );
    assert_eq!(error.to_string(), "f:2:3: `a.c` is missing; add it");
}

#[test]
fn a_scalar_is_read_back_as_the_same_text() {
    for text in [
        "info",
        "127.0.0.1:4280",
        "[::1]:80",
        "true",
        "null",
        "12",
        "1e3",
        "",
        " a",
        "a: b",
        "a #b",
        "#",
        "a,b",
        "]",
        "\"",
        "'",
        "line\nbreak",
        "https://api.partner.microsoft.com",
        "~",
        "*a",
        "é",
        "\u{7}",
        "-",
        "0x10",
        "yes",
    ] {
        let written = format!("key: {}\n", scalar(text));
        let back: BTreeMap<String, serde_json::Value> = read(&written, "f").expect(&written);
        assert_eq!(
            back.get("key").and_then(|value| value.as_str()),
            Some(text),
            "{written}"
        );
    }
    assert_eq!(scalar("5s"), "5s");
}

#[test]
fn a_shown_value_has_no_control_characters_and_an_end() {
    assert_eq!(quoted("a\u{1b}[31m\n"), "`a\\u{1b}[31m\\n`");
    assert_eq!(quoted(&"x".repeat(100)), format!("`{}...`", "x".repeat(80)));
}

#[test]
fn comments_alone_say_nothing() {
    for (text, is_blank) in [
        ("", true),
        ("\u{feff}# one\n\n  # two\r\n", true),
        ("# one\r# two", true),
        ("# one\rlog: {}", false),
        ("{}", false),
    ] {
        assert_eq!(super::is_blank(text), is_blank, "{text:?}");
    }
}
