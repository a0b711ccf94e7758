//! What may cross, and in which form.

use http::Request;

use super::*;

const LIMITS: Limits = Limits {
    max_bytes: 1000,
    max_fields: 10,
};

#[track_caller]
fn check(version: Version, target: &str, fields: &[(&str, &str)], expected: &Result<(), Problem>) {
    let mut request = Request::builder()
        .method("PUT")
        .version(version)
        .uri(target);
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    let (head, ()) = request.body(()).expect("a request").into_parts();
    // A problem holds what cannot be compared.
    assert_eq!(
        format!("{:?}", admit(&head, LIMITS)),
        format!("{expected:?}"),
        "{target} {fields:?}"
    );
}

fn name(text: &str) -> HeaderName {
    HeaderName::from_bytes(text.as_bytes()).expect("a name")
}

#[test]
fn there_is_one_valid_host_and_it_is_the_targets() {
    let http_1 = |target, fields: &[(&str, &str)], expected: Result<(), Problem>| {
        check(Version::HTTP_11, target, fields, &expected);
    };
    http_1("/a", &[("host", "gateway:4280")], Ok(()));
    http_1("/a", &[("host", "[::1]:4280")], Ok(()));
    http_1("/a", &[], Err(Problem::BadHost));
    http_1("/a", &[("host", "")], Err(Problem::BadHost));
    http_1("/a", &[("host", "a"), ("host", "a")], Err(Problem::BadHost));
    http_1("/a", &[("host", "a:")], Ok(()));
    http_1("/a", &[("host", "a:port")], Err(Problem::BadHost));
    http_1("/a", &[("host", "a:70000")], Err(Problem::BadHost));
    http_1("/a", &[("host", "a b")], Err(Problem::BadHost));
    http_1("/a", &[("host", "a/b")], Err(Problem::BadHost));
    http_1("/a", &[("host", "u@a")], Err(Problem::BadHost));
    http_1("/a", &[("host", "a, b")], Err(Problem::BadHost));
    http_1("http://A:1/a", &[("host", "a:1")], Ok(()));
    http_1("http://b/a", &[("host", "a")], Err(Problem::HostMismatch));
    http_1("http://u@a/a", &[("host", "a")], Err(Problem::BadTarget));
    http_1("*", &[("host", "a")], Err(Problem::BadTarget));
    check(Version::HTTP_10, "/a", &[], &Err(Problem::BadHost));
    http_1("ftp://a/a", &[("host", "a")], Err(Problem::BadTarget));
    http_1("http://a", &[("host", "a")], Ok(()));
    check(Version::HTTP_2, "http://a/a", &[], &Ok(()));
    for authority in ["a,b", "a:99999", "a;x", "a!*"] {
        let target = format!("http://{authority}/a");
        check(Version::HTTP_2, &target, &[], &Err(Problem::BadHost));
    }
    check(
        Version::HTTP_2,
        "http://a/a",
        &[("host", "b")],
        &Err(Problem::HostMismatch),
    );
}

#[test]
fn fields_that_make_another_request_are_refused() {
    for (field, value, expected) in [
        (
            "x-http-method-override",
            "DELETE",
            Problem::MethodOverride(name("x-http-method-override")),
        ),
        (
            "X-HTTP-Method",
            "MERGE",
            Problem::MethodOverride(name("x-http-method")),
        ),
        (
            "x-method-override",
            "PUT",
            Problem::MethodOverride(name("x-method-override")),
        ),
        (
            "X-Original-URL",
            "/b",
            Problem::UrlOverride(name("x-original-url")),
        ),
        (
            "x-rewrite-url",
            "/b",
            Problem::UrlOverride(name("x-rewrite-url")),
        ),
        (
            "if_match",
            "*",
            Problem::AmbiguousFieldName(name("if_match")),
        ),
        (
            "Content_Length",
            "3",
            Problem::AmbiguousFieldName(name("content_length")),
        ),
        (
            "x_http_method_override",
            "PUT",
            Problem::AmbiguousFieldName(name("x_http_method_override")),
        ),
        (
            "x_rewrite_url",
            "/b",
            Problem::AmbiguousFieldName(name("x_rewrite_url")),
        ),
        (
            "connection",
            "close, If-Match",
            Problem::ConnectionNamesGuardedField(name("if-match")),
        ),
        (
            "connection",
            "authorization",
            Problem::ConnectionNamesGuardedField(name("authorization")),
        ),
        (
            "connection",
            " Content-Type ,x",
            Problem::ConnectionNamesGuardedField(name("content-type")),
        ),
        (
            "connection",
            "Host",
            Problem::ConnectionNamesGuardedField(name("host")),
        ),
        (
            "connection",
            "cookie",
            Problem::ConnectionNamesGuardedField(name("cookie")),
        ),
        ("transfer-encoding", "gzip, chunked", Problem::BadFraming),
        ("transfer-encoding", "chunked, chunked", Problem::BadFraming),
        ("transfer-encoding", "chunked ;x", Problem::BadFraming),
        (
            "via",
            "1.1 referral-gateway, 1.1 referral-gateway, 1.1 referral-gateway, 1.1 referral-gateway",
            Problem::Loop,
        ),
    ] {
        check(
            Version::HTTP_11,
            "/a",
            &[("host", "a"), (field, value)],
            &Err(expected),
        );
    }
    for (field, value) in [
        ("x_custom", "1"),
        ("connection", "keep-alive, x-custom"),
        ("transfer-encoding", "Chunked"),
        ("x-request-id", "1"),
        ("via", "1.1 referral-gateway"),
    ] {
        check(
            Version::HTTP_11,
            "/a",
            &[("host", "a"), (field, value)],
            &Ok(()),
        );
    }
}

#[test]
fn a_length_is_said_once() {
    let host = ("host", "a");
    for (length, expected) in [
        (&[("content-length", "5")][..], Ok(())),
        (
            &[("content-length", "5"), ("content-length", "5")],
            Err(Problem::BadFraming),
        ),
    ] {
        let fields = [&[host], length].concat();
        check(Version::HTTP_2, "http://a/a", &fields, &expected);
    }
}

#[test]
fn sizes_are_bounded() {
    let long = "v".repeat(1000);
    check(
        Version::HTTP_11,
        "/a",
        &[("host", "a"), ("x", &long)],
        &Err(Problem::HeaderTooLarge),
    );
    let many: Vec<_> = (0..11).map(|_| ("x", "1")).collect();
    check(Version::HTTP_11, "/a", &many, &Err(Problem::HeaderTooLarge));
    let target = format!("/{}", "a".repeat(MAX_TARGET));
    check(
        Version::HTTP_11,
        &target,
        &[("host", "a")],
        &Err(Problem::UriTooLong),
    );
}

fn map(fields: &[(&str, &str)]) -> HeaderMap {
    fields
        .iter()
        .map(|(field, value)| (name(field), HeaderValue::from_str(value).expect("a value")))
        .collect()
}

fn lines(headers: &HeaderMap) -> Vec<String> {
    let mut lines: Vec<_> = headers
        .iter()
        .map(|(name, value)| format!("{name}: {}", value.to_str().expect("text")))
        .collect();
    lines.sort();
    lines
}

#[test]
fn what_is_meant_for_the_neighbour_is_removed_and_all_else_stays() {
    let mut headers = map(&[
        ("connection", "close, x-hop"),
        ("connection", "Keep-Alive"),
        ("x-hop", "1"),
        ("keep-alive", "5"),
        ("proxy-connection", "x"),
        ("proxy-authorization", "x"),
        ("te", "gzip"),
        ("transfer-encoding", "chunked"),
        ("upgrade", "h2c"),
        ("expect", "100-continue"),
        ("if-match", "\"a\""),
        ("x-end", "1"),
        ("x-end", "2"),
        ("via", "1.0 other"),
    ]);
    to_upstream(&mut headers, Version::HTTP_11);
    assert_eq!(
        lines(&headers),
        [
            "if-match: \"a\"",
            "via: 1.0 other",
            "via: 1.1 referral-gateway",
            "x-end: 1",
            "x-end: 2"
        ]
    );
}

#[test]
fn an_answer_says_its_length_once_or_by_its_end() {
    for (lengths, expected) in [
        (&["5"][..], vec!["5"]),
        (&["5", "5"], vec![]),
        (&["2, 2"], vec![]),
        (&["-1"], vec![]),
    ] {
        let mut headers = HeaderMap::new();
        for length in lengths {
            headers.append("content-length", length.parse().expect("a value"));
        }
        to_downstream(&mut headers, Version::HTTP_11);
        let left: Vec<_> = headers.get_all("content-length").iter().collect();
        assert_eq!(left, expected, "{lengths:?}");
    }
}

#[test]
fn trailers_stay_welcome() {
    let mut headers = map(&[
        ("te", "deflate, trailers"),
        ("connection", "TE"),
        ("trailer", "x-sum"),
    ]);
    to_upstream(&mut headers, Version::HTTP_2);
    assert_eq!(
        lines(&headers),
        [
            "connection: te",
            "te: trailers",
            "trailer: x-sum",
            "via: 2.0 referral-gateway"
        ]
    );
}

#[test]
fn a_request_has_an_id_that_can_be_repeated() {
    let fresh = || HeaderValue::from_static("fresh");
    let odd = "x".repeat(200);
    for (given, id) in [
        ("mine", "mine"),
        (&*odd, "fresh"),
        ("a b", "fresh"),
        ("", "fresh"),
    ] {
        assert_eq!(
            request_id(&map(&[("client-request-id", given)]), fresh),
            id,
            "{given}"
        );
    }
    assert_eq!(request_id(&HeaderMap::new(), fresh), "fresh");
}

#[test]
fn an_id_is_added_only_where_there_is_none() {
    let id = HeaderValue::from_static("new");
    let mut headers = map(&[("client-request-id", "mine")]);
    add_request_id(&mut headers, &id);
    assert_eq!(lines(&headers), ["client-request-id: mine"]);
    let mut headers = HeaderMap::new();
    add_request_id(&mut headers, &id);
    assert_eq!(lines(&headers), ["client-request-id: new"]);
}

#[test]
fn the_bounds_of_a_header_section_hold_to_the_byte_and_to_the_field() {
    // The target, and for each field its name, its value and four bytes more.
    let rest = LIMITS.max_bytes - ("/".len() + "host".len() + "a".len() + 4 + "x-pad".len() + 4);
    for (length, expected) in [(rest, Ok(())), (rest + 1, Err(Problem::HeaderTooLarge))] {
        let value = "v".repeat(length);
        let fields = [("host", "a"), ("x-pad", &*value)];
        check(Version::HTTP_11, "/", &fields, &expected);
    }
    for (number, expected) in [
        (LIMITS.max_fields, Ok(())),
        (LIMITS.max_fields + 1, Err(Problem::HeaderTooLarge)),
    ] {
        let mut fields = vec![("accept", "a"); number - 1];
        fields.push(("host", "a"));
        check(Version::HTTP_11, "/", &fields, &expected);
    }
}

#[test]
fn via_names_the_version_that_was_received() {
    for (version, via) in [
        (Version::HTTP_10, "via: 1.0 referral-gateway"),
        (Version::HTTP_11, "via: 1.1 referral-gateway"),
        (Version::HTTP_2, "via: 2.0 referral-gateway"),
    ] {
        let (mut request, mut answer) = (HeaderMap::new(), HeaderMap::new());
        to_upstream(&mut request, version);
        to_downstream(&mut answer, version);
        assert_eq!(
            (lines(&request), lines(&answer)),
            (vec![via.to_owned()], vec![via.to_owned()])
        );
    }
}

#[test]
fn only_http_2_has_its_cookies_joined_and_only_a_known_expectation_is_removed() {
    let fields = [("cookie", "a=1"), ("cookie", "b=2"), ("expect", "more")];
    for (version, via, cookies) in [
        (Version::HTTP_11, "1.1", &["cookie: a=1", "cookie: b=2"][..]),
        (Version::HTTP_2, "2.0", &["cookie: a=1; b=2"]),
    ] {
        let mut headers = map(&fields);
        to_upstream(&mut headers, version);
        let mut expected: Vec<String> = cookies.iter().map(|&line| line.to_owned()).collect();
        expected.push("expect: more".to_owned());
        expected.push(format!("via: {via} referral-gateway"));
        let mut sent = lines(&headers);
        sent.sort_unstable();
        assert_eq!(sent, expected);
    }
}

#[test]
fn http_1_needs_a_host_even_beside_an_absolute_target() {
    check(Version::HTTP_11, "http://a/x", &[], &Err(Problem::BadHost));
    check(Version::HTTP_2, "http://a/x", &[], &Ok(()));
}

#[test]
fn an_answer_does_not_name_repairs_of_others() {
    let mut headers = map(&[("referral-gateway-repaired", "strip-links")]);
    to_downstream(&mut headers, Version::HTTP_11);
    assert_eq!(lines(&headers), ["via: 1.1 referral-gateway"]);
}
