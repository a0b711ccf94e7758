//! What may cross, and in which form.

use http::Request;

use super::*;

const LIMITS: Limits = Limits {
    max_bytes: 1000,
    max_fields: 10,
};

#[track_caller]
fn admitted(version: Version, target: &str, fields: &[(&str, &str)]) -> Result<(), Refused> {
    let mut request = Request::builder()
        .method("PUT")
        .version(version)
        .uri(target);
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    admit(&request.body(()).expect("a request").into_parts().0, LIMITS)
}

fn name(text: &str) -> HeaderName {
    HeaderName::from_bytes(text.as_bytes()).expect("a name")
}

#[test]
fn there_is_one_valid_host_and_it_is_the_targets() {
    let check = |target, fields: &[(&str, &str)], expected| {
        assert_eq!(
            admitted(Version::HTTP_11, target, fields),
            expected,
            "{target} {fields:?}"
        );
    };
    check("/a", &[("host", "gateway:4280")], Ok(()));
    check("/a", &[("host", "[::1]:4280")], Ok(()));
    check("/a", &[], Err(Refused::BadHost));
    check("/a", &[("host", "")], Err(Refused::BadHost));
    check("/a", &[("host", "a"), ("host", "a")], Err(Refused::BadHost));
    check("/a", &[("host", "a:")], Ok(()));
    check("/a", &[("host", "a:port")], Err(Refused::BadHost));
    check("/a", &[("host", "a:70000")], Err(Refused::BadHost));
    check("/a", &[("host", "a b")], Err(Refused::BadHost));
    check("/a", &[("host", "a/b")], Err(Refused::BadHost));
    check("/a", &[("host", "u@a")], Err(Refused::BadHost));
    check("/a", &[("host", "a, b")], Err(Refused::BadHost));
    check("http://A:1/a", &[("host", "a:1")], Ok(()));
    check("http://b/a", &[("host", "a")], Err(Refused::HostMismatch));
    check("http://u@a/a", &[("host", "a")], Err(Refused::BadTarget));
    check("*", &[("host", "a")], Err(Refused::BadTarget));
    assert_eq!(admitted(Version::HTTP_10, "/a", &[]), Err(Refused::BadHost));
    check("ftp://a/a", &[("host", "a")], Err(Refused::BadTarget));
    check("http://a", &[("host", "a")], Ok(()));
    assert_eq!(admitted(Version::HTTP_2, "http://a/a", &[]), Ok(()));
    for authority in ["a,b", "a:99999", "a;x", "a!*"] {
        let target = format!("http://{authority}/a");
        assert_eq!(
            admitted(Version::HTTP_2, &target, &[]),
            Err(Refused::BadHost),
            "{authority}"
        );
    }
    assert_eq!(
        admitted(Version::HTTP_2, "http://a/a", &[("host", "b")]),
        Err(Refused::HostMismatch)
    );
}

#[test]
fn fields_that_make_another_request_are_refused() {
    for (field, value, expected) in [
        (
            "x-http-method-override",
            "DELETE",
            Refused::MethodOverride(name("x-http-method-override")),
        ),
        (
            "X-HTTP-Method",
            "MERGE",
            Refused::MethodOverride(name("x-http-method")),
        ),
        (
            "x-method-override",
            "PUT",
            Refused::MethodOverride(name("x-method-override")),
        ),
        (
            "X-Original-URL",
            "/b",
            Refused::UrlOverride(name("x-original-url")),
        ),
        (
            "x-rewrite-url",
            "/b",
            Refused::UrlOverride(name("x-rewrite-url")),
        ),
        ("if_match", "*", Refused::AmbiguousName(name("if_match"))),
        (
            "Content_Length",
            "3",
            Refused::AmbiguousName(name("content_length")),
        ),
        (
            "x_http_method_override",
            "PUT",
            Refused::AmbiguousName(name("x_http_method_override")),
        ),
        (
            "connection",
            "close, If-Match",
            Refused::ConnectionNames(name("if-match")),
        ),
        (
            "connection",
            "authorization",
            Refused::ConnectionNames(name("authorization")),
        ),
        (
            "connection",
            " Content-Type ,x",
            Refused::ConnectionNames(name("content-type")),
        ),
        ("connection", "Host", Refused::ConnectionNames(name("host"))),
        (
            "connection",
            "cookie",
            Refused::ConnectionNames(name("cookie")),
        ),
        ("transfer-encoding", "gzip, chunked", Refused::BadFraming),
        ("transfer-encoding", "chunked, chunked", Refused::BadFraming),
        ("transfer-encoding", "chunked ;x", Refused::BadFraming),
        (
            "via",
            "1.1 referral-gateway, 1.1 referral-gateway, 1.1 referral-gateway, 1.1 referral-gateway",
            Refused::Loop,
        ),
    ] {
        assert_eq!(
            admitted(Version::HTTP_11, "/a", &[("host", "a"), (field, value)]),
            Err(expected),
            "{field}: {value}"
        );
    }
    for (field, value) in [
        ("x_custom", "1"),
        ("connection", "keep-alive, x-custom"),
        ("transfer-encoding", "Chunked"),
        ("x-request-id", "1"),
        ("via", "1.1 referral-gateway"),
    ] {
        assert_eq!(
            admitted(Version::HTTP_11, "/a", &[("host", "a"), (field, value)]),
            Ok(()),
            "{field}: {value}"
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
            Err(Refused::BadFraming),
        ),
    ] {
        let fields = [&[host], length].concat();
        assert_eq!(admitted(Version::HTTP_2, "http://a/a", &fields), expected);
    }
}

#[test]
fn sizes_are_bounded() {
    let long = "v".repeat(1000);
    assert_eq!(
        admitted(Version::HTTP_11, "/a", &[("host", "a"), ("x", &long)]),
        Err(Refused::TooLarge)
    );
    let many: Vec<_> = (0..11).map(|_| ("x", "1")).collect();
    assert_eq!(
        admitted(Version::HTTP_11, "/a", &many),
        Err(Refused::TooLarge)
    );
    let target = format!("/{}", "a".repeat(MAX_TARGET));
    assert_eq!(
        admitted(Version::HTTP_11, &target, &[("host", "a")]),
        Err(Refused::TargetTooLong)
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
