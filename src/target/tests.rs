//! Targets against the parser of the HTTP library.

use http::Uri;
use proptest::prelude::*;

use super::*;

#[test]
fn a_byte_is_stray_if_the_library_refuses_it() {
    for byte in 0..=u8::MAX {
        for start in ["/x", "/x?", "/x?y", "http://h/x", "http://h/x?y"] {
            let target = [start.as_bytes(), &[byte], b"z"].concat();
            // It would be dropped, with all that follows.
            let refused = Uri::try_from(&*target).is_err() || byte == b'#';
            let expected = refused.then_some(byte);
            assert_eq!(stray(&target), expected, "{start} and {byte:#x}");
        }
    }
}

#[test]
fn the_first_stray_byte_is_named() {
    for (target, expected) in [
        (&b"/a<b>"[..], Some(b'<')),
        (b"/a`b?c`d", Some(b'`')),
        (b"/a?b`c\"d", Some(b'"')),
        (b"/a\"b?c", None),
        (b"/\xc3\xa9?\xe2\x82\xac", None),
        (b"/\xc3\xa9?\xe2\x82x", Some(0xe2)),
        (b"/\xffx<", Some(0xff)),
        (b"/x<\xff", Some(b'<')),
        (b"http://h?a<b", Some(b'<')),
        (b"*", None),
        (b"", None),
        // Not a target at all.
        (b"x<y", None),
        (b"http://h<", None),
    ] {
        assert_eq!(stray(target), expected, "{target:?}");
    }
    let long = |length: usize| [b"/".repeat(length - 1), b"<".to_vec()].concat();
    assert_eq!(stray(&long(MAX)), Some(b'<'));
    assert_eq!(stray(&long(MAX + 1)), None);
}

proptest! {
    #[test]
    fn a_path_without_stray_bytes_is_taken(path in prop::collection::vec(any::<u8>(), 0..40)) {
        let target = [b"/", &*path].concat();
        let taken = Uri::try_from(&*target).is_ok() && !target.contains(&b'#');
        prop_assert_eq!(stray(&target).is_none(), taken);
    }
}
