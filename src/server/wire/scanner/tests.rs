//! The scanner against whole conversations, cut at every place.

use proptest::prelude::*;

use super::*;

/// Feeds the bytes in pieces of `step` and returns how many came before a line that is refused.
fn fed(conversation: &str, step: usize) -> (Scanner, Option<usize>) {
    let mut scanner = Scanner::default();
    let mut before = 0;
    for piece in conversation.as_bytes().chunks(step) {
        if let Some(good) = scanner.feed(piece) {
            return (scanner, Some(before + good));
        }
        before += piece.len();
    }
    (scanner, None)
}

#[track_caller]
fn check(conversation: &str, refused: bool) {
    for step in [1, 2, 3, 7, 4096] {
        let (_, good) = fed(conversation, step);
        assert_eq!(
            good.is_some(),
            refused,
            "{conversation:?} in pieces of {step}"
        );
    }
}

#[test]
fn both_framings_in_one_head_are_refused() {
    check(
        "POST / HTTP/1.1\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
        true,
    );
    check(
        "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nA: b\r\ncontent-length:0\r\n\r\n",
        true,
    );
    check(
        "POST / HTTP/1.1\nTRANSFER-ENCODING: x\nContent-Length: x\n\n",
        true,
    );
    check(
        "\r\n\r\nPOST / HTTP/1.1\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
        true,
    );
}

#[test]
fn a_line_that_is_too_long_to_be_kept_hides_no_framing() {
    let hidden = "A B HTTP/1.1\r\nContent-Length: 99999999\r\n\r\n";
    let both = "PUT / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n";
    let zeros = "0".repeat(70);
    check(
        &format!(
            "POST / HTTP/1.1\r\nContent-Length: {zeros}{}\r\n\r\n{hidden}{both}",
            hidden.len()
        ),
        true,
    );
    check(
        &format!(
            "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n{zeros}{:x}\r\n{hidden}\r\n0\r\n\r\n{both}",
            hidden.len()
        ),
        true,
    );
    let blanks = " ".repeat(70);
    check(
        &format!("POST / HTTP/1.1\r\nContent-Length:{blanks}5\r\n\r\n"),
        true,
    );
    let extension = format!(
        "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3;{zeros}\r\nabc\r\n0\r\n\r\n"
    );
    check(&extension, false);
    check(&format!("{extension}{both}"), true);
}

#[test]
fn a_target_with_a_fragment_is_refused() {
    check("PUT /x#y HTTP/1.1\r\nHost: a\r\n\r\n", true);
    check(
        &format!("PUT /{}#y HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(9000)),
        true,
    );
    check("PUT /x HTTP/1.1\r\nHost: a#b\r\n\r\n", false);
    check(
        "PUT /x HTTP/1.1\r\nContent-Length: 1\r\n\r\n#PUT /x HTTP/1.1\r\n\r\n",
        false,
    );
}

#[test]
fn one_framing_after_the_other_is_followed() {
    check(
        "POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\nabcPOST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\nGET / HTTP/1.1\r\n\r\n",
        false,
    );
    let chunked = "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n21;x=y\r\nContent-Length: 3\r\n0\r\n\r\nGET /\r\n\r\n\r\n0\r\nX: y\r\n\r\n";
    let both = "PUT / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n";
    check(&format!("{chunked}{both}"), true);
    check(
        &format!("GET / HTTP/1.1\r\n\r\nGET / HTTP/1.1\r\nContent-Length: 0\r\n\r\n{both}"),
        true,
    );
}

#[test]
fn what_only_looks_like_a_field_is_not_one() {
    check(
        "GET /Content-Length:3 HTTP/1.1\r\nX-Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
        false,
    );
    check(
        "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
        false,
    );
    let long = format!(
        "GET / HTTP/1.1\r\nX: {}Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
        "a".repeat(9000)
    );
    check(&long, false);
}

#[test]
fn the_head_is_open_until_its_empty_line() {
    for (text, open) in [
        ("", false),
        ("\r\n", false),
        ("G", true),
        ("GET / HTTP/1.1\r\n", true),
        ("GET / HTTP/1.1\r\nA: b\r\n\r\n", false),
        ("POST / HTTP/1.1\r\nContent-Length: 2\r\n\r\na", false),
        ("POST / HTTP/1.1\r\nContent-Length: 2\r\n\r\nabG", true),
    ] {
        assert_eq!(fed(text, 1).0.is_in_head(), open, "{text:?}");
    }
}

#[test]
fn a_stray_byte_of_a_target_is_refused_and_named() {
    let before = "POST / HTTP/1.1\r\nContent-Length: 8\r\n\r\nGET /<> ";
    for (line, stray) in [
        ("GET /a<b HTTP/1.1\r\n", Some(b'<')),
        ("GET /a b HTTP/1.1\r\n", Some(b' ')),
        ("GET /a\tb HTTP/1.1\n", Some(b'\t')),
        ("GET http://h/a?\"b HTTP/1.0\r\n", Some(b'"')),
        ("GET /a#b HTTP/1.1\r\n", Some(b'#')),
        ("G@T /a>b HTTP/1.1\r\n", Some(b'>')),
        ("GET /a\"{b}|c^?`d HTTP/1.1\r\n", None),
        ("GET /a HTTP/1.1 \r\n", None),
        ("GET /a  HTTP/1.1\r\n", None),
        ("GET  /a HTTP/1.1\r\n", None),
        ("GET /a<\r\n", None),
        ("GET /a HTTP/1.1<\r\n", None),
        ("GET * HTTP/1.1\r\n", None),
    ] {
        let text = format!("{before}{line}Host: a<b\r\n\r\n");
        for step in [1, 5, 4096] {
            let (scanner, good) = fed(&text, step);
            assert_eq!(scanner.stray(1), stray, "{line:?} in pieces of {step}");
            assert_eq!(good.is_some(), stray.is_some(), "{line:?}");
        }
    }
    let long = |length: usize| format!("GET /{}< HTTP/1.1\r\n", "a".repeat(length - 2));
    check(&long(target::MAX), true);
    check(&long(target::MAX + 1), false);
}

#[test]
fn a_line_that_hyper_refuses_before_its_end_is_looked_at() {
    let (scanner, good) = fed("GET / HTTP/1.1\r\n\r\nGET /a\tb", 3);
    assert_eq!((good, scanner.stray(1)), (None, Some(b'\t')));
    // hyper has refused the request before.
    assert_eq!(scanner.stray(0), None);
    let (scanner, _) = fed("GET / HTTP/1.1\r\nA: /\t", 3);
    assert_eq!(scanner.stray(0), None);
}

#[test]
fn lines_are_kept_short() {
    let long = "a".repeat(100_000);
    let (scanner, _) = fed(&format!("GET /{long}"), 1000);
    assert!(scanner.line.len() <= MAX_FIRST_LINE);
    let (scanner, _) = fed(&format!("GET /{long} HTTP/1.1\r\nA: {long}"), 1000);
    assert!(scanner.line.capacity() <= 2 * MAX_LINE);
}

proptest! {
    #[test]
    fn any_bytes_in_any_pieces_are_followed_alike(text in "([a-zA-Z-]{0,6}:? ?|Content-Length: [0-9]|Transfer-Encoding: chunked|\r|\n|\r\n|[0-9a-f]{1,2}\r\n|.){0,40}", step in 1usize..20) {
        let (whole, all) = fed(&text, text.len().max(1));
        let (pieces, some) = fed(&text, step);
        prop_assert_eq!(all.is_some(), some.is_some());
        prop_assert_eq!(whole.part, pieces.part);
    }
}

#[test]
fn trailers_end_as_they_do_for_hyper() {
    let conversation = |trailers: &str| {
        format!("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n{trailers}")
    };
    for (trailers, has_ended) in [
        ("\r\n", true),
        ("A: b\r\n\r\n", true),
        ("A: b\nC: d\r\n\r\n", true),
        ("\n\r\n\r\n", true),
        ("\n", false),
        ("A: b\n\n", false),
        ("A: b\r\n\n", false),
        ("A: b\n\r\n", false),
        ("A: b\rC: d\r\n\r\n", false),
        ("\rA: b\r\n\r\n", false),
    ] {
        let conversation = conversation(trailers);
        for step in [1, 2, 3, 7, 4096] {
            let (scanner, _) = fed(&conversation, step);
            assert_eq!(
                scanner.is_between_requests(),
                has_ended,
                "{trailers:?} in {step}"
            );
        }
    }
}
