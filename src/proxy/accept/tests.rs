//! Every form of `Accept`.

use http::HeaderValue;

use super::*;

#[track_caller]
fn check(lines: &[&str], wants: bool) {
    let mut headers = HeaderMap::new();
    for line in lines {
        let line = HeaderValue::from_bytes(line.as_bytes()).expect("a value");
        headers.append(header::ACCEPT, line);
    }
    assert_eq!(wants_problem_json(&headers), wants, "{lines:?}");
}

#[test]
fn problem_json_is_chosen_where_it_is_named_and_not_worth_less() {
    for accept in [
        "application/problem+json",
        "Application/Problem+JSON",
        "application/problem+json;q=1",
        "application/problem+json;q=0.001",
        "application/problem+json; Q=1.000",
        // Not a weight, since it has no value.
        "application/problem+json;q",
        // The rest is beside the point.
        "application/problem+json, application/json",
        "application/json, application/problem+json",
        "application/json;q=0.5,application/problem+json;q=0.5",
        "application/json;odata.metadata=minimal, application/problem+json",
        "application/problem+json;charset=utf-8;q=0.7, application/json;q=0.6",
        "application/problem+json ; profile=\"a;q=0\"",
        "text/html, ,application/problem+json\t;q=0.4, */*;q=0.3",
        // Specific ranges come before others.
        "*/*, application/json;q=0.1, application/problem+json;q=0.2",
        "*/*, application/*;q=0.1, application/problem+json;q=0.2",
        "application/*, application/json;q=0, application/problem+json;q=0.2",
        "application/xml, application/problem+json;q=0.1",
        "application/problem+json;q=0.1, application/problem+json;q=0.9, application/json;q=0.5",
    ] {
        check(&[accept], true);
    }
}

#[test]
fn application_json_is_kept_otherwise() {
    for accept in [
        "",
        "*/*",
        "application/*",
        "application/json",
        "text/html",
        "application/problem+json;q=0",
        "application/problem+json;q=0.",
        "application/problem+json;q=0.000",
        "application/problem+json;q=0.4, application/json;q=0.5",
        "application/problem+json;q=0.4, application/*;q=0.5",
        "application/problem+json;q=0.4, */*;q=0.5",
        "application/problem+json;q=0.4, */*;q=0.1, application/*;q=0.5",
        "application/problem+jsonx",
        "xapplication/problem+json",
        "application/problem+xml",
        "application /problem+json",
        "text/plain;x=application/problem+json",
        "text/plain;x=\"a, application/problem+json, b\"",
        "text/plain;x=\"a\\\", application/problem+json, b\"",
        // No weights.
        "application/problem+json;q=2",
        "application/problem+json;q=1.001",
        "application/problem+json;q=0.0001",
        "application/problem+json;q=-1",
        "application/problem+json;q=.5",
        "application/problem+json;q=",
        "application/problem+json;q=\"0.5\"",
    ] {
        check(&[accept], false);
    }
}

#[test]
fn several_lines_are_one_list() {
    check(&["text/html", "application/problem+json"], true);
    check(
        &["application/problem+json;q=0.5", "application/json"],
        false,
    );
    check(
        &["application/json;q=0.5", "application/problem+json"],
        true,
    );
    check(&[], false);
}

#[test]
fn hostile_values_are_read_once() {
    let parameters = ";q".repeat(200_000);
    check(
        &[&format!("application/problem+json{parameters};q=0")],
        false,
    );
    let ranges = "application/problem+json;q=0,".repeat(20_000);
    check(&[&format!("{ranges}application/problem+json")], true);
    check(&[&format!("text/x;y=\"{}", "\\\"".repeat(200_000))], false);
}
