//! An entity tag is what RFC 9110 8.8.3 says, and `If-Match` is strong only if every reader sees that one tag.
#![no_main]

use http::{HeaderMap, HeaderValue, header};
use libfuzzer_sys::fuzz_target;
use referral_gateway::{policy::IfMatch, referral::EntityTag};

/// `DQUOTE *etagc DQUOTE`, of bounded length.
fn is_strong(text: &[u8]) -> bool {
    let [b'"', inner @ .., b'"'] = text else {
        return false;
    };
    let is_etagc = |byte: &u8| *byte == 0x21 || (0x23..=0x7e).contains(byte) || *byte >= 0x80;
    inner.iter().all(is_etagc) && text.len() <= EntityTag::MAX_BYTES
}

/// The members of a list as a reader sees them that does not know quotes.
fn members(value: &[u8]) -> Vec<&[u8]> {
    let members = value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
    members.filter(|member| !member.is_empty()).collect()
}

fuzz_target!(|data: &[u8]| {
    match EntityTag::parse(data) {
        Some(tag) => assert!(is_strong(data) && tag.as_bytes() == data, "{data:?}"),
        None => assert!(!is_strong(data), "{data:?}"),
    }

    let mut headers = HeaderMap::new();
    let lines = data.split(|byte| *byte == b'\n').take(3);
    for line in lines.filter_map(|line| HeaderValue::from_bytes(line).ok()) {
        headers.append(header::IF_MATCH, line);
    }
    let lines: Vec<&[u8]> = headers
        .get_all(header::IF_MATCH)
        .iter()
        .map(HeaderValue::as_bytes)
        .collect();
    let form = IfMatch::of(&headers);
    match lines.as_slice() {
        [] => assert_eq!(form, IfMatch::Missing),
        [line] => {
            let value = line.trim_ascii();
            let unquoted = value
                .strip_prefix(b"\"")
                .and_then(|rest| rest.strip_suffix(b"\""));
            let is_plain = is_strong(value)
                && members(value).len() == 1
                && !value.contains(&b',')
                && !matches!(unquoted, Some(b"" | b"*"));
            match form.tag() {
                Some(tag) => assert!(is_plain && tag.as_bytes() == value, "{form:?}"),
                None => assert!(!is_plain, "{form:?}"),
            }
            assert!(
                !matches!(form, IfMatch::Missing | IfMatch::Repeated(_)),
                "{form:?}"
            );
        }
        several => assert_eq!(form, IfMatch::Repeated(several.len())),
    }
});
