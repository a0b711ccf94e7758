//! Which bytes a request target may hold: what the HTTP library takes, so that a refusal can name the others.

use http::uri::PathAndQuery;

#[cfg(test)]
mod tests;

/// The longest target that is looked at, in bytes. A longer one is refused for its length.
pub const MAX: usize = 16 * 1024;

/// The first byte of a target that must be percent-encoded; `None` if there is none, or if the target is no path and no
/// URL.
pub fn stray(target: &[u8]) -> Option<u8> {
    if target.len() > MAX {
        return None;
    }
    let path = path_of(target)?;
    let broken = std::str::from_utf8(path).map_err(|error| error.valid_up_to());
    let mut is_query = false;
    path.iter().enumerate().find_map(|(at, byte)| {
        is_query |= *byte == b'?';
        let is_stray = match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'-' | b'.' => false,
            0x80.. => broken == Err(at),
            // The library would drop a fragment silently.
            b'#' => true,
            byte => !is_taken(*byte, is_query),
        };
        is_stray.then_some(*byte)
    })
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

/// Whether the library takes a path, or a query, with this ASCII byte.
fn is_taken(byte: u8, is_query: bool) -> bool {
    let (path, query) = ([b'/', byte], [b'/', b'?', byte]);
    let target = if is_query { &query[..] } else { &path };
    PathAndQuery::try_from(target).is_ok()
}
