//! What both upstreams say, and how often they break.

use crate::support::Numbers;

/// One request in so many meets a fault.
pub(super) const FAULTS: usize = 100;
/// A piece of a large answer.
pub(super) const PIECE: [u8; 16 * 1024] = [b' '; 16 * 1024];
/// The number of pieces of a large answer, which is more than all buffers on its way hold.
pub(super) const LARGE: usize = 1024;
/// What asks for a large answer, in a body.
pub(super) const ASKS_LARGE: &str = "large-answer";

/// The chances of one connection.
pub(super) fn dice(connection: usize) -> Numbers {
    let seed = 0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(u64::try_from(connection).unwrap() + 1);
    Numbers::from_seed(seed)
}

/// The answer to a write, or its beginning.
pub(super) fn answer(number: usize) -> String {
    format!(r#"{{"answered":{number}}}"#)
}

/// Whether a write asks for a large answer.
pub(super) fn is_large(body: &[u8]) -> bool {
    String::from_utf8_lossy(body).contains(ASKS_LARGE)
}
