//! Who may use the admin listener.
//!
//! A browser on the same machine is the way in that a firewall does not see: any page that it shows can send requests to
//! loopback, and a name of the page's own can be made to resolve to it (DNS rebinding). Such requests show by `Host`,
//! `Origin` and `Sec-Fetch-Site`, which pages cannot choose.

use std::net::{Ipv4Addr, Ipv6Addr};

use aws_lc_rs::constant_time::verify_slices_are_equal;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header, request, uri::Authority};
use secrecy::{ExposeSecret, SecretString};

use super::answer::plain;
use crate::{body::Body, metrics::label::AdminRefusal};

/// Decides whether a request may be answered.
///
/// # Errors
///
/// The reason, when it may not.
pub(super) fn check(
    head: &request::Parts,
    token: Option<&SecretString>,
) -> Result<(), AdminRefusal> {
    check_sites(head, token.is_some(), |site| {
        site == "none" || site == "same-origin"
    })?;
    match token {
        Some(token) if !has_token(&head.headers, token) => Err(AdminRefusal::Token),
        _ => Ok(()),
    }
}

/// What a request for the page, or for a file of it, may get.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Page {
    /// The page with what it shows.
    Whole,
    /// The page without data: no token came along, since a browser sends none by itself.
    Empty,
}

/// The same for the page and its files. A link on another site may lead to it; what that site cannot do is read it.
///
/// # Errors
///
/// The reason, when it may not be answered.
pub(super) fn check_page(
    head: &request::Parts,
    token: Option<&SecretString>,
) -> Result<Page, AdminRefusal> {
    let field = |name: &str| head.headers.get(name);
    let is_navigation = field("sec-fetch-mode").is_some_and(|mode| mode == "navigate")
        && field("sec-fetch-dest").is_some_and(|dest| dest == "document");
    check_sites(head, token.is_some(), |site| {
        is_navigation || site == "none" || site == "same-origin"
    })?;
    match token {
        Some(_) if !head.headers.contains_key(header::AUTHORIZATION) => Ok(Page::Empty),
        Some(token) if !has_token(&head.headers, token) => Err(AdminRefusal::Token),
        _ => Ok(Page::Whole),
    }
}

/// Looks at what tells from where a request comes.
fn check_sites(
    head: &request::Parts,
    any_host: bool,
    is_own: impl Fn(&HeaderValue) -> bool,
) -> Result<(), AdminRefusal> {
    let headers = &head.headers;
    let host = host_of(head)?;
    if !any_host && !host.is_some_and(is_loopback) {
        return Err(AdminRefusal::Host);
    }
    let same_origin = match headers.contains_key(header::ORIGIN) {
        true => {
            let origin = one(headers, header::ORIGIN.as_str());
            if !origin.is_some_and(|origin| is_of(origin, host)) {
                return Err(AdminRefusal::CrossSite);
            }
            true
        }
        false => false,
    };
    if !headers.get_all("sec-fetch-site").iter().all(is_own) {
        return Err(AdminRefusal::CrossSite);
    }
    // A form, or a server that is made to call here, sends no JSON; a page of this listener says its origin.
    if head.method == Method::POST && !same_origin && !is_json(headers) {
        return Err(AdminRefusal::CrossSite);
    }
    Ok(())
}

/// The answer to a request that is refused.
pub(super) fn refuse(reason: AdminRefusal) -> Response<Body> {
    match reason {
        AdminRefusal::Host => plain(
            StatusCode::FORBIDDEN,
            "Address this listener as localhost, 127.0.0.1 or [::1], or set admin.token_file.\n",
        ),
        AdminRefusal::CrossSite => plain(
            StatusCode::FORBIDDEN,
            "Requests from web pages of other sites are refused here. A POST needs Content-Type: application/json.\n",
        ),
        AdminRefusal::Token => {
            let mut answer = plain(
                StatusCode::UNAUTHORIZED,
                "Send the token of admin.token_file as Authorization: Bearer.\n",
            );
            answer
                .headers_mut()
                .insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            answer
        }
    }
}

/// The value of a field that is there once.
fn one<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h HeaderValue> {
    let mut values = headers.get_all(name).iter();
    values.next().filter(|_| values.next().is_none())
}

/// The host and port that a request is sent to: that of its target, else of `Host`.
///
/// # Errors
///
/// When the two differ.
fn host_of(head: &request::Parts) -> Result<Option<&str>, AdminRefusal> {
    let of_target = head.uri.authority().map(Authority::as_str);
    let of_field = one(&head.headers, header::HOST.as_str()).and_then(|host| host.to_str().ok());
    match (of_target, of_field) {
        (Some(target), Some(field)) if !target.eq_ignore_ascii_case(field) => {
            Err(AdminRefusal::Host)
        }
        // HTTP/2 has it in the target alone.
        (Some(target), None) if !head.headers.contains_key(header::HOST) => Ok(Some(target)),
        (_, field) => Ok(field),
    }
}

/// Whether an `Origin` names the host that the request is sent to (RFC 6454 7). What stands in front of this listener may
/// speak TLS.
fn is_of(origin: &HeaderValue, host: Option<&str>) -> bool {
    let origin = origin.to_str().unwrap_or_default().to_ascii_lowercase();
    let origin = origin
        .strip_prefix("http://")
        .or_else(|| origin.strip_prefix("https://"));
    matches!((origin, host), (Some(origin), Some(host)) if origin.eq_ignore_ascii_case(host))
}

fn is_json(headers: &HeaderMap) -> bool {
    let media_type = one(headers, header::CONTENT_TYPE.as_str());
    media_type
        .and_then(|value| value.to_str().ok()?.split(';').next())
        .is_some_and(|essence| essence.trim().eq_ignore_ascii_case("application/json"))
}

fn has_token(headers: &HeaderMap, token: &SecretString) -> bool {
    let given = one(headers, header::AUTHORIZATION.as_str()).and_then(|value| value.to_str().ok());
    let given = given
        .and_then(|value| value.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
    given.is_some_and(|(_, given)| {
        verify_slices_are_equal(given.trim().as_bytes(), token.expose_secret().as_bytes()).is_ok()
    })
}

/// Whether host and port name loopback: `localhost` or an address, and nothing else.
fn is_loopback(host: &str) -> bool {
    let (name, port) = match host.rsplit_once(':') {
        // The last colon of an IPv6 address is inside of its brackets.
        Some((name, port)) if !port.contains(']') => (name, port),
        _ => (host, "0"),
    };
    let is_port = (1..=5).contains(&port.len()) && port.bytes().all(|byte| byte.is_ascii_digit());
    let is_v6 = |name: &str| {
        let address = name
            .strip_prefix('[')
            .and_then(|name| name.strip_suffix(']'));
        address.is_some_and(|address| address.parse() == Ok(Ipv6Addr::LOCALHOST))
    };
    let is_v4 = |name: &str| {
        name.parse::<Ipv4Addr>()
            .is_ok_and(|address| address.is_loopback())
    };
    is_port && (name.eq_ignore_ascii_case("localhost") || is_v4(name) || is_v6(name))
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn check(
        method: &str,
        fields: &[(&str, &str)],
        token: Option<&str>,
    ) -> Result<(), AdminRefusal> {
        let mut request = Request::builder().method(method).uri("/");
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        let (head, ()) = request.body(()).expect("a request").into_parts();
        super::check(&head, token.map(SecretString::from).as_ref())
    }

    #[test]
    fn without_a_token_the_listener_is_addressed_by_a_name_of_loopback() {
        for host in [
            "localhost",
            "LocalHost:1",
            "127.0.0.1:4282",
            "127.9.9.9",
            "[::1]:4282",
        ] {
            assert_eq!(check("GET", &[("host", host)], None), Ok(()), "{host}");
        }
        for hosts in [
            &[][..],
            &["evil.example"],
            &["localhost.evil.example:4282"],
            &["10.0.0.1"],
            &["a@localhost/"],
            &["a@localhost"],
            &["evil.example:80@localhost"],
            &["[::1].evil.example"],
            &["[127.0.0.1]"],
            &["127.0.0.1:abc"],
            &["localhost:-1"],
            &["localhost."],
            &["127.1"],
            &["::1"],
            &[""],
            &["localhost", "localhost"],
        ] {
            let fields: Vec<_> = hosts.iter().map(|host| ("host", *host)).collect();
            let refused = Err(AdminRefusal::Host);
            assert_eq!(check("GET", &fields, None), refused, "{hosts:?}");
        }
    }

    #[test]
    fn pages_of_other_sites_are_refused_also_with_a_token() {
        let host = ("host", "localhost:4282");
        let token = ("authorization", "Bearer secret");
        for (fields, expected) in [
            (&[("origin", "http://localhost:4282")][..], Ok(())),
            (&[("origin", "HTTPS://LOCALHOST:4282")], Ok(())),
            (&[("sec-fetch-site", "same-origin")], Ok(())),
            (&[("sec-fetch-site", "none")], Ok(())),
            (&[("origin", "null")], Err(AdminRefusal::CrossSite)),
            (
                &[("origin", "ftp://localhost:4282")],
                Err(AdminRefusal::CrossSite),
            ),
            (
                &[("origin", "http://localhost:4282/")],
                Err(AdminRefusal::CrossSite),
            ),
            (&[("origin", "")], Err(AdminRefusal::CrossSite)),
            (
                &[("origin", "http://localhost:4283")],
                Err(AdminRefusal::CrossSite),
            ),
            (
                &[("origin", "http://localhost")],
                Err(AdminRefusal::CrossSite),
            ),
            (
                &[("origin", "http://evil.example")],
                Err(AdminRefusal::CrossSite),
            ),
            (
                &[
                    ("origin", "http://localhost:4282"),
                    ("origin", "http://evil.example"),
                ],
                Err(AdminRefusal::CrossSite),
            ),
            (
                &[("sec-fetch-site", "same-site")],
                Err(AdminRefusal::CrossSite),
            ),
            (
                &[("sec-fetch-site", "cross-site")],
                Err(AdminRefusal::CrossSite),
            ),
            (
                &[("sec-fetch-site", "none"), ("sec-fetch-site", "cross-site")],
                Err(AdminRefusal::CrossSite),
            ),
        ] {
            for given in [None, Some("secret")] {
                let fields: Vec<_> = [host, token].into_iter().chain(fields.to_vec()).collect();
                assert_eq!(check("GET", &fields, given), expected, "{fields:?}");
            }
        }
    }

    #[test]
    fn a_post_says_its_origin_or_has_a_type_that_no_form_has() {
        let host = ("host", "localhost:4282");
        for (field, expected) in [
            (("content-type", "application/json"), Ok(())),
            (("content-type", "Application/JSON ; charset=utf-8"), Ok(())),
            (("origin", "http://localhost:4282"), Ok(())),
            (("accept", "*/*"), Err(AdminRefusal::CrossSite)),
            (
                ("content-type", "text/plain; application/json"),
                Err(AdminRefusal::CrossSite),
            ),
            (
                ("content-type", "application/x-www-form-urlencoded"),
                Err(AdminRefusal::CrossSite),
            ),
        ] {
            assert_eq!(check("POST", &[host, field], None), expected, "{field:?}");
        }
    }

    #[test]
    fn the_target_names_the_host_of_http_2_and_must_not_differ() {
        for (target, host, expected) in [
            ("http://localhost:4282/", None, Ok(())),
            ("http://localhost:4282/", Some("localhost:4282"), Ok(())),
            ("http://evil.example/", None, Err(AdminRefusal::Host)),
            (
                "http://evil.example/",
                Some("localhost:4282"),
                Err(AdminRefusal::Host),
            ),
            (
                "http://localhost:4282/",
                Some("evil.example"),
                Err(AdminRefusal::Host),
            ),
        ] {
            let mut request = Request::get(target);
            if let Some(host) = host {
                request = request.header("host", host);
            }
            let (head, ()) = request.body(()).expect("a request").into_parts();
            assert_eq!(super::check(&head, None), expected, "{target} {host:?}");
        }
    }

    #[test]
    fn a_token_is_compared_as_a_whole_and_any_host_will_do() {
        let host = ("host", "gateway.example:4282");
        for (value, expected) in [
            ("Bearer secret", Ok(())),
            ("bearer  secret ", Ok(())),
            ("Bearer secre", Err(AdminRefusal::Token)),
            ("Bearer secrett", Err(AdminRefusal::Token)),
            ("Bearer", Err(AdminRefusal::Token)),
            ("Basic secret", Err(AdminRefusal::Token)),
            ("secret", Err(AdminRefusal::Token)),
        ] {
            let fields = [host, ("authorization", value)];
            assert_eq!(check("GET", &fields, Some("secret")), expected, "{value}");
        }
        let twice = [
            host,
            ("authorization", "Bearer secret"),
            ("authorization", "Bearer other"),
        ];
        let refused = Err(AdminRefusal::Token);
        assert_eq!(check("GET", &twice, Some("secret")), refused);
        assert_eq!(check("GET", &[host], Some("secret")), refused);
    }
}
