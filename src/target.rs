//! Which bytes a request target may hold: what the HTTP library takes, so that a refusal can name the others.

use std::sync::LazyLock;

use http::uri::PathAndQuery;

#[cfg(test)]
mod tests;

/// The longest target that is looked at, in bytes. A longer one is refused for its length.
pub const MAX: usize = 16 * 1024;

/// The first byte of a target that must be percent-encoded; `None` if there is none, or if the target is no path and no
/// URL.
pub fn stray(target: &[u8]) -> Option<u8> {
    if target.len() > MAX || is_plain(target) {
        return None;
    }
    let path = path_of(target)?;
    let query = memchr::memchr(b'?', path).unwrap_or(path.len());
    let (path, query) = path.split_at(query);
    let (in_path, in_query) = &*TAKEN;
    let (path, query) = (first_stray(path, in_path), first_stray(query, in_query));
    path.or(query)
}

/// Whether a target is like nearly all: it has no byte but those that may stand in any part. It looks at each of them,
/// which compilers turn into vector instructions.
fn is_plain(target: &[u8]) -> bool {
    let is_plain = |byte: &u8| {
        byte.is_ascii_alphanumeric()
            || matches!(byte, b'/' | b'-' | b'.' | b'_' | b'~' | b'%' | b'=')
    };
    target.iter().fold(true, |all, byte| all & is_plain(byte))
}

/// Path and query of a target.
fn path_of(target: &[u8]) -> Option<&[u8]> {
    if target.starts_with(b"/") {
        return Some(target);
    }
    // RFC 9112 3.2.2: a whole URL.
    let scheme = target.windows(3).position(|bytes| bytes == b"://")?;
    let rest = target.get(scheme + 3..)?;
    let authority = rest.iter().position(|byte| b"/?#".contains(byte))?;
    rest.get(authority..)
}

/// Whether the library takes a byte.
type Taken = [bool; 256];

/// The bytes that the library takes in a path and in a query, as it says itself. Bytes above 0x7f are those of letters in
/// UTF-8 or not.
static TAKEN: LazyLock<(Taken, Taken)> = LazyLock::new(|| {
    let taken = |start: &str| {
        let mut taken = [true; 256];
        for (byte, is_taken) in (0..0x80).zip(&mut taken) {
            let target = [start.as_bytes(), &[byte]].concat();
            // The library would drop a fragment silently.
            *is_taken = byte != b'#' && PathAndQuery::try_from(&*target).is_ok();
        }
        taken
    };
    (taken("/"), taken("/?"))
});

/// The first byte of a part of a target that is not taken there, or is not UTF-8.
fn first_stray(part: &[u8], taken: &Taken) -> Option<u8> {
    let is_taken = |byte: &u8| taken.get(usize::from(*byte)).is_some_and(|taken| *taken);
    let stray = part.iter().position(|byte| !is_taken(byte));
    let broken = match part.is_ascii() {
        true => None,
        false => std::str::from_utf8(part)
            .err()
            .map(|error| error.valid_up_to()),
    };
    let at = match (stray, broken) {
        (Some(stray), Some(broken)) => stray.min(broken),
        (stray, broken) => stray.or(broken)?,
    };
    part.get(at).copied()
}
