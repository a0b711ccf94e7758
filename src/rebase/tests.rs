use std::io::Write as _;

use flate2::{
    Compression,
    write::{DeflateEncoder, GzEncoder, ZlibEncoder},
};
use http::Request;
use proptest::prelude::*;

use http::uri::Scheme;

use super::{asked::Base, *};
use crate::body::Editor as _;

const BASE: &str = "http://127.0.0.1:4280";

fn hosts() -> Arc<Hosts> {
    Arc::new(Hosts::of(&Authority::from_static(SERVICE)))
}

fn asked(fields: &[(&str, &str)], rewrite: &RewriteUrls) -> Option<Asked> {
    let request = Request::get("/v1.0/engagements/referrals").header("host", "127.0.0.1:4280");
    let request = fields.iter().fold(request, |request, (name, value)| {
        request.header(*name, *value)
    });
    let (head, ()) = request.body(()).expect("a request").into_parts();
    Asked::of(&head, &Scheme::HTTP, rewrite)
}

/// An answer's header section.
fn fields(fields: &[(&'static str, &str)]) -> HeaderMap {
    let pair = |(name, value): &(&'static str, &str)| {
        let value = HeaderValue::from_str(value).expect("a value");
        (http::HeaderName::from_static(name), value)
    };
    fields.iter().map(pair).collect()
}

fn rebase_of(coding: Coding) -> Rebase {
    let metrics = Arc::new(Metrics::new());
    Rebase::new(&hosts(), BASE.into(), Decoder::of(coding), &metrics, true)
}

/// The edited text, from pieces of that size.
fn edited(text: &[u8], coding: Coding, size: usize) -> Result<Vec<u8>, body::Error> {
    let mut rebase = rebase_of(coding);
    let mut all = Vec::new();
    let mut most = 0;
    for piece in text.chunks(size) {
        rebase.take(Bytes::copy_from_slice(piece));
        while let Some(out) = rebase.next()? {
            all.extend_from_slice(&out);
        }
        most = most.max(rebase.window.len());
    }
    rebase.finish();
    while let Some(out) = rebase.next()? {
        all.extend_from_slice(&out);
    }
    assert!(rebase.is_over());
    assert!(
        most <= 128 * 1024 + CONTEXT + AROUND + hosts().longest(),
        "{most} bytes are kept"
    );
    Ok(all)
}

#[track_caller]
fn becomes(text: &str, expected: &str) {
    for size in [1, 2, 7, 64, 1 << 20] {
        let edited = edited(text.as_bytes(), Coding::Identity, size).expect("a text");
        assert_eq!(
            String::from_utf8_lossy(&edited),
            expected,
            "in pieces of {size}"
        );
    }
}

/// `@` stands for the service's URL, and in the result for that of the gateway.
#[track_caller]
fn is_edited(text: &str) {
    becomes(
        &text.replace('~', "https://api.partner.microsoft.com"),
        &text.replace('~', BASE),
    );
}

#[track_caller]
fn stays(text: &str) {
    let text = text.replace('~', "https://api.partner.microsoft.com");
    becomes(&text, &text);
}

#[test]
fn links_of_the_service_name_the_gateway() {
    is_edited(r#"{"@odata.nextLink":"~/v1.0/referrals?$skiptoken=k1%2fAb"}"#);
    is_edited(r#"{ "@odata.context" : "~/v1.0/$metadata#Referrals" , "value" : [ ] }"#);
    is_edited("{\n  \"@odata.context\"\n  :\n\t\"~/x\"\n}");
    is_edited(r#"{"team@odata.nextLink":"~/x"}"#);
    is_edited(
        r#"{"links":{"self":{"method":"GET","uri":"~/x"},"relatedReferrals":{"uri":"~/y?$filter=a eq '1'","method":"GET"}}}"#,
    );
    is_edited(
        r#"{"value":[{"name":"a\"b","links":{"self":{"headers":[{"k":"}"}],"uri":"~/x"}}},{"links":{"self":{"uri":"~/x"}}}]}"#,
    );
    is_edited(r#"{"links":{"self":{"x":"a\"{\"}","y":"\\","z":"\\\"[","uri":"~/x"}}}"#);
    is_edited(r#"{"Links":{"Self":{"Uri":"~/x"}},"@OData.NextLink":"~"}"#);
    is_edited(r#"{"@odata.nextLink":"~?a"}"#);
    is_edited(r#"{"@odata.nextLink":"~#a"}"#);
}

#[test]
fn scheme_and_port_of_the_service_do_not_matter() {
    for url in [
        "http://api.partner.microsoft.com",
        "HTTPS://api.partner.microsoft.com",
        "https://api.partner.microsoft.com:443",
        "http://api.partner.microsoft.com:8080",
        r"https:\/\/api.partner.microsoft.com",
    ] {
        for rest in ["/v1.0/x", r"\/v1.0", "", "?a=b"] {
            becomes(
                &format!(r#"{{"@odata.nextLink":"{url}{rest}"}}"#),
                &format!(r#"{{"@odata.nextLink":"{BASE}{rest}"}}"#),
            );
        }
    }
}

#[test]
fn everything_else_stays() {
    stays(r#"{"details":{"notes":"see ~/v1.0/engagements"}}"#);
    stays(r#"{"details":{"notes":"~/v1.0/engagements"}}"#);
    stays(r#"{"notes":"{\"@odata.nextLink\":\"~/x\"}"}"#);
    stays(r#"{"notes":"\"@odata.nextLink\":","x":"~/x"}"#);
    stays(r#"{"uri":"~/x"}"#);
    stays(r#"{"links":{"uri":"~/x"}}"#);
    stays(r#"{"link":{"self":{"uri":"~/x"}}}"#);
    stays(r#"{"links":[{"uri":"~/x"}]}"#);
    stays(r#"{"links":{"self":[{"uri":"~/x"}]}}"#);
    stays(r#"{"links":{"self":{"href":"~/x"}}}"#);
    stays(r#"{"links":{"self":{"a":{"uri":"~/x"}}}}"#);
    stays(r#"{"@odata.nextLink":["~/x"]}"#);
    stays(r#"{"@odata.nextLink":" ~/x"}"#);
    stays(r#"{"@odata.nextLink":"x~/x"}"#);
    stays(r#"{"@odata.etag":"~/x"}"#);
    stays(r#"{"nextLink":"~/x"}"#);
    stays(r#"{"@odata.nextLink":"~.evil.example/x"}"#);
    stays(r#"{"@odata.nextLink":"~@evil.example/x"}"#);
    stays(r#"{"@odata.nextLink":"~:80@evil.example/x"}"#);
    stays(r#"{"@odata.nextLink":"~\\x"}"#);
    stays(r#"{"@odata.nextLink":"https://x.api.partner.microsoft.com/x"}"#);
    stays(r#"{"@odata.nextLink":"https://u@api.partner.microsoft.com/x"}"#);
    stays(r#"{"@odata.nextLink":"ftp://api.partner.microsoft.com/x"}"#);
    stays(r#"{"@odata.nextLink":"//api.partner.microsoft.com/x"}"#);
    stays(r#"{"@odata.nextLink":"/v1.0/x"}"#);
    stays("~");
    stays(r#""~"#);
    stays("");
}

#[test]
fn objects_before_a_link_may_be_long_but_not_endless() {
    let member = |length: usize| {
        format!(
            r#"{{"links":{{"a":{{"x":"{}","uri":"~/x"}}}}}}"#,
            "y".repeat(length)
        )
    };
    is_edited(&member(1900));
    // However the service cuts its answer.
    for size in [100, 1 << 20] {
        let metrics = Arc::new(Metrics::new());
        let mut rebase = Rebase::new(
            &hosts(),
            BASE.into(),
            Decoder::of(Coding::Identity),
            &metrics,
            false,
        );
        let text = member(CONTEXT).replace('~', "https://api.partner.microsoft.com");
        let mut all = Vec::new();
        for piece in text.as_bytes().chunks(size) {
            rebase.take(Bytes::copy_from_slice(piece));
            while let Some(out) = rebase.next().expect("a text") {
                all.extend_from_slice(&out);
            }
        }
        rebase.finish();
        while let Some(out) = rebase.next().expect("a text") {
            all.extend_from_slice(&out);
        }
        assert_eq!(String::from_utf8_lossy(&all), text, "{size}");
        let counted = r#"url_rewrites_skipped_total{reason="context"} 1"#;
        assert!(metrics.text().contains(counted), "{}", metrics.text());
    }
}

#[test]
fn what_one_piece_decodes_to_flows_before_the_next_piece_comes() {
    let text = "x".repeat(1 << 20);
    let mut coder = GzEncoder::new(Vec::new(), Compression::default());
    coder.write_all(text.as_bytes()).expect("memory");
    let coded = coder.finish().expect("memory");
    let mut rebase = rebase_of(Coding::Gzip);
    rebase.take(coded.into());
    let mut flowed = 0;
    while let Some(out) = rebase.next().expect("a text") {
        flowed += out.len();
    }
    assert!(flowed > text.len() - 64 * 1024, "{flowed} bytes");
}

#[test]
fn the_upstreams_own_host_is_the_services_as_well() {
    let hosts = Hosts::of(&Authority::from_static("Proxy.example:8443"));
    for (url, origin) in [
        ("https://proxy.example/x", Some(21)),
        ("http://PROXY.example:1/x", Some(22)),
        ("https://api.partner.microsoft.com", Some(33)),
        ("https://api.partner.microsoft.com?x", Some(33)),
        ("https://other.example/x", None),
        ("https://proxy.example.evil/x", None),
        ("https://u@proxy.example/x", None),
        ("https://proxy.example:x/x", None),
        ("ftp://proxy.example/x", None),
        ("/x", None),
        ("", None),
    ] {
        assert_eq!(hosts.origin_of(url), origin.map(|end| 0..end), "{url}");
    }
}

#[test]
fn coded_bodies_are_decoded_and_edited() {
    let items = (0..2000).map(|number| {
        format!(r#"{{"id":"{number}","links":{{"self":{{"uri":"~/{number}","method":"GET"}}}}}}"#)
    });
    let text = format!(r#"{{"value":[{}]}}"#, items.collect::<Vec<_>>().join(","));
    let from = text.replace('~', "https://api.partner.microsoft.com");
    let to = text.replace('~', BASE);
    let gzip = |text: &[u8]| {
        let mut coder = GzEncoder::new(Vec::new(), Compression::default());
        coder.write_all(text).expect("memory");
        coder.finish().expect("memory")
    };
    let (first, second) = from.as_bytes().split_at(999);
    let mut zlib = ZlibEncoder::new(Vec::new(), Compression::default());
    zlib.write_all(from.as_bytes()).expect("memory");
    let zlib = zlib.finish().expect("memory");
    let members = [gzip(first), gzip(second)].concat();
    let mut raw = DeflateEncoder::new(Vec::new(), Compression::default());
    raw.write_all(from.as_bytes()).expect("memory");
    let raw = raw.finish().expect("memory");
    for (coded, coding) in [
        (raw, Coding::Deflate),
        (gzip(from.as_bytes()), Coding::Gzip),
        (members, Coding::Gzip),
        (zlib, Coding::Deflate),
    ] {
        for size in [1, 5000, 1 << 20] {
            let edited = edited(&coded, coding, size).expect("a text");
            assert!(edited == to.as_bytes(), "{coding:?} in pieces of {size}");
        }
        for cut in [1, 8, coded.len() / 2, coded.len() - 1] {
            let start = coded.get(..cut).unwrap_or_default();
            edited(start, coding, 100).expect_err("a body that broke off");
        }
    }
    for coding in [Coding::Gzip, Coding::Deflate, Coding::Brotli] {
        edited(b"rubbish that is no coded text", coding, 7).expect_err("rubbish");
        assert_eq!(edited(b"", coding, 7).expect("nothing"), b"", "{coding:?}");
    }
}

#[test]
fn bodies_of_every_size_are_decoded_to_their_end() {
    for size in (96_200..98_400).step_by(17) {
        // Letters that do not repeat much.
        let mut state = 1_u64;
        let text: Vec<u8> = (0..size)
            .map(|_| {
                state = state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1);
                b'a' + u8::try_from(state >> 60).expect("4 bits")
            })
            .collect();
        let mut coder = ZlibEncoder::new(Vec::new(), Compression::default());
        coder.write_all(&text).expect("memory");
        let coded = coder.finish().expect("memory");
        let whole = decode(Coding::Deflate, coded.clone().into(), 1 << 20);
        assert!(whole.is_some_and(|whole| whole == text), "{size}");
        let edited = edited(&coded, Coding::Deflate, 16 * 1024).expect("a text");
        assert!(edited == text, "{size}");
    }
}

#[test]
fn brotli_is_decoded_and_edited() {
    // `{"@odata.nextLink":"https://api.partner.microsoft.com/v1.0/x"}`, as one uncompressed block.
    let text = br#"{"@odata.nextLink":"https://api.partner.microsoft.com/v1.0/x"}"#;
    let coded = stored_brotli(text);
    for size in [1, 10, 1000] {
        let edited = edited(&coded, Coding::Brotli, size).expect("a text");
        assert_eq!(
            edited,
            br#"{"@odata.nextLink":"http://127.0.0.1:4280/v1.0/x"}"#
        );
    }
    let cut = coded.get(..coded.len() - 1).unwrap_or_default();
    edited(cut, Coding::Brotli, 10).expect_err("a body that broke off");
    let more = [&coded[..], b"x"].concat();
    edited(&more, Coding::Brotli, 1).expect_err("bytes behind the end");
}

/// A Brotli stream of one uncompressed block (RFC 7932 9.2), for at most 64 KiB.
fn stored_brotli(text: &[u8]) -> Vec<u8> {
    let length = u32::try_from(text.len() - 1).expect("short");
    // WBITS 16: `0`. Then ISLAST 0, MNIBBLES 4: `00`, MLEN - 1 in 16 bits, ISUNCOMPRESSED 1.
    let bits = (length << 4) | (1 << 20);
    let mut coded = bits.to_le_bytes()[..3].to_vec();
    coded.extend_from_slice(text);
    // ISLAST 1, ISLASTEMPTY 1.
    coded.push(3);
    coded
}

#[test]
fn a_window_larger_than_the_format_has_is_refused() {
    // WBITS of the extension: `0x11`, then 30 bits.
    edited(&[0x11, 0x1e, 0xff, 0xff], Coding::Brotli, 10).expect_err("a window of 1 GiB");
}

#[test]
fn only_so_many_windows_of_brotli_are_open_at_once() {
    let (hosts, metrics) = (hosts(), Arc::new(Metrics::new()));
    let begin = || {
        let mut headers = fields(&[
            ("content-type", "application/json"),
            ("content-encoding", "br"),
        ]);
        let asked = asked(&[], &RewriteUrls::ToCaller).expect("asked");
        edit(&hosts, &asked, StatusCode::OK, &mut headers, &metrics)
    };
    let mut open: Vec<_> = (0..WINDOWS).map(|_| begin().expect("a window")).collect();
    assert!(begin().is_none());
    open.pop();
    assert!(begin().is_some());
}

#[test]
fn a_bomb_takes_little_memory_at_a_time() {
    let mut coder = GzEncoder::new(Vec::new(), Compression::best());
    for _ in 0..64 {
        coder.write_all(&[b' '; 1 << 20]).expect("memory");
    }
    let coded = coder.finish().expect("memory");
    let mut rebase = rebase_of(Coding::Gzip);
    rebase.take(Bytes::from(coded));
    let mut bytes = 0;
    while let Some(piece) = rebase.next().expect("a text") {
        assert!(piece.len() <= 128 * 1024 && rebase.window.len() <= 128 * 1024);
        bytes += piece.len();
    }
    assert!(bytes > (63 << 20), "{bytes}");
}

#[test]
fn fields_that_are_urls_are_edited_and_no_others() {
    let metrics = Arc::new(Metrics::new());
    let mut headers = fields(&[
        ("location", "https://api.partner.microsoft.com/v1.0/x?y#z"),
        ("content-location", "http://api.partner.microsoft.com:80"),
        ("link", "<https://api.partner.microsoft.com/x>"),
        ("etag", "\"https://api.partner.microsoft.com\""),
    ]);
    let asked = asked(&[], &RewriteUrls::ToCaller).expect("asked");
    assert!(
        edit(
            &hosts(),
            &asked,
            StatusCode::CREATED,
            &mut headers,
            &metrics
        )
        .is_none()
    );
    let expected = fields(&[
        ("location", "http://127.0.0.1:4280/v1.0/x?y#z"),
        ("content-location", "http://127.0.0.1:4280"),
        ("link", "<https://api.partner.microsoft.com/x>"),
        ("etag", "\"https://api.partner.microsoft.com\""),
    ]);
    assert_eq!(headers, expected);
    assert!(metrics.text().contains("url_rewrites_total 2"));
}

#[test]
fn what_may_not_be_changed_is_not_and_is_counted() {
    let json = ("content-type", "application/json");
    for (answer, status, reason) in [
        (
            vec![json, ("content-encoding", "zstd")],
            200,
            Some("coding"),
        ),
        (
            vec![json, ("content-encoding", "gzip, br")],
            200,
            Some("coding"),
        ),
        (vec![json], 206, Some("partial")),
        (vec![json, ("content-digest", "x")], 200, Some("digest")),
        (vec![json, ("repr-digest", "x")], 200, Some("digest")),
        (vec![json, ("content-md5", "x")], 200, Some("digest")),
        (vec![json, ("signature", "x")], 200, Some("digest")),
        (
            vec![json, ("cache-control", "private, No-Transform")],
            200,
            Some("no_transform"),
        ),
        (vec![("content-type", "text/html")], 200, None),
        (vec![], 200, None),
        (vec![json], 204, None),
        (vec![json], 304, None),
    ] {
        let metrics = Arc::new(Metrics::new());
        let mut headers = fields(&answer);
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(7));
        let before = headers.clone();
        let status = StatusCode::from_u16(status).expect("a status");
        let asked = asked(&[], &RewriteUrls::ToCaller).expect("asked");
        assert!(
            edit(&hosts(), &asked, status, &mut headers, &metrics).is_none(),
            "{answer:?}"
        );
        assert_eq!(headers, before, "{answer:?}");
        for other in NotRewritten::ALL {
            let count = u8::from(reason == Some(other.as_str()));
            let line = format!("skipped_total{{reason=\"{}\"}} {count}", other.as_str());
            assert!(metrics.text().contains(&line), "{answer:?}: {line}");
        }
    }
}

#[test]
fn an_edited_answer_loses_its_length_and_its_coding() {
    for content_type in [
        "application/json",
        "application/json; odata.metadata=minimal",
        "application/problem+JSON",
    ] {
        let mut headers = fields(&[
            ("content-type", content_type),
            ("content-encoding", "gzip"),
            ("content-length", "65537"),
            ("etag", "\"x\""),
        ]);
        let asked = asked(&[], &RewriteUrls::ToCaller).expect("asked");
        let metrics = Arc::new(Metrics::new());
        let rebase = edit(&hosts(), &asked, StatusCode::OK, &mut headers, &metrics);
        assert!(rebase.is_some_and(|rebase| !rebase.is_small));
        assert_eq!(
            headers,
            fields(&[("content-type", content_type), ("etag", "\"x\"")])
        );
    }
}

#[test]
fn a_coded_answer_is_decoded_only_for_callers_that_take_it_plain() {
    for (accept, takes) in [
        ("gzip, deflate, br", true),
        ("gzip;q=1.0, *;q=0.5", true),
        ("identity;q=0.1, *;q=0", true),
        ("gzip, identity;q=0", false),
        ("gzip, identity; q=0.0", false),
        ("gzip, *;q=0", false),
        ("*;q=0, identity", true),
        ("", true),
    ] {
        let asked = asked(&[("accept-encoding", accept)], &RewriteUrls::ToCaller).expect("asked");
        assert_eq!(asked.takes_identity, takes, "{accept}");
    }
    assert!(asked(&[], &RewriteUrls::ToCaller).is_some_and(|asked| asked.takes_identity));
}

#[test]
fn the_base_is_the_setting_or_what_the_caller_has_called() {
    let base = |rewrite| asked(&[], &rewrite).and_then(|asked| asked.base());
    assert_eq!(base(RewriteUrls::Off), None);
    assert_eq!(base(RewriteUrls::ToCaller).as_deref(), Some(BASE));
    let origin = RewriteUrls::To("https://gateway.example".into());
    assert_eq!(base(origin).as_deref(), Some("https://gateway.example"));
    let hostile = Asked {
        base: Base::Reached(Scheme::HTTP, HeaderValue::from_static("a\",\"b\":\"")),
        is_head: false,
        takes_identity: true,
    };
    assert_eq!(hostile.base(), None);
}

/// JSON values with links of the service at all places.
fn documents() -> impl Strategy<Value = serde_json::Value> {
    let urls = prop::sample::select(vec![
        "https://api.partner.microsoft.com/v1.0/x",
        "http://api.partner.microsoft.com:8080?x",
        "https://api.partner.microsoft.com",
        "https://api.partner.microsoft.com.evil/x",
        "see https://api.partner.microsoft.com/x",
        "\"@odata.nextLink\":\"https://api.partner.microsoft.com/x\"",
        "\\\"",
        "}]{[\"",
    ]);
    let leaf = prop_oneof![
        urls.prop_map(serde_json::Value::from),
        any::<i32>().prop_map(serde_json::Value::from),
        Just(serde_json::Value::Null),
    ];
    let names = prop::sample::select(vec![
        "@odata.nextLink",
        "@odata.context",
        "links",
        "self",
        "uri",
        "a\"b",
        "x\\",
        "{",
    ]);
    leaf.prop_recursive(5, 48, 5, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(serde_json::Value::from),
            prop::collection::vec((names.clone(), inner), 0..5).prop_map(|members| {
                members
                    .into_iter()
                    .map(|(name, value)| (name.to_owned(), value))
                    .collect::<serde_json::Map<_, _>>()
                    .into()
            }),
        ]
    })
}

/// What a reader that builds a tree makes of the same rule. `path` are the names around, with none for a place in a list.
fn by_the_tree(value: &mut serde_json::Value, path: &mut Vec<Option<String>>) {
    match value {
        serde_json::Value::Object(members) => {
            for (name, value) in members {
                path.push(Some(name.clone()));
                by_the_tree(value, path);
                path.pop();
            }
        }
        serde_json::Value::Array(items) => {
            for item in items {
                path.push(None);
                by_the_tree(item, path);
                path.pop();
            }
        }
        serde_json::Value::String(text) => {
            let name = |back: usize| path.iter().rev().nth(back).and_then(Option::as_deref);
            let is_link = matches!(name(0), Some("@odata.nextLink" | "@odata.context"))
                || (name(0) == Some("uri") && name(1).is_some() && name(2) == Some("links"));
            if let (true, Some(origin)) = (is_link, hosts().origin_of(text)) {
                text.replace_range(origin, BASE);
            }
        }
        _ => {}
    }
}

proptest! {
    #[test]
    fn a_reader_of_trees_edits_the_same(document in documents(), pretty: bool, size in 1_usize..200) {
        let text = match pretty {
            true => serde_json::to_string_pretty(&document).expect("JSON"),
            false => document.to_string(),
        };
        let mut expected = document;
        by_the_tree(&mut expected, &mut Vec::new());
        let edited = edited(text.as_bytes(), Coding::Identity, size).expect("a text");
        let edited: serde_json::Value = serde_json::from_slice(&edited).expect("still JSON");
        prop_assert_eq!(edited, expected);
    }

    #[test]
    fn any_bytes_in_any_pieces_are_edited_as_in_one(text in prop::collection::vec(prop::sample::select(vec![
        "\"", "\\", ":", "{", "}", "[", "]", ",", " ", "links", "uri", "@odata.nextLink", "\"uri\":\"",
        "https://", "http:\\/\\/", "api.partner.microsoft.com", "/", ":443", "x",
    ]), 0..40), size in 1_usize..50) {
        let text = text.concat();
        let whole = edited(text.as_bytes(), Coding::Identity, text.len().max(1)).expect("a text");
        let pieces = edited(text.as_bytes(), Coding::Identity, size).expect("a text");
        prop_assert_eq!(whole, pieces);
    }
}
