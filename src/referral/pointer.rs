//! JSON Pointers (RFC 6901) as they stand in a JSON Patch: which guarded member they reach.
//!
//! Readers differ in what they make of an odd pointer: some put a slash before it, skip empty tokens, decode
//! percent signs, or decode `~1` before they cut at slashes. Where one of them could see a guarded member and we
//! do not, or the other way round, the pointer is refused.

use std::borrow::Cow;

use super::names::{Guarded, Spelling, is_invisible, seen, unmask};

#[cfg(test)]
mod tests;

/// What a pointer reaches in a referral.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Target {
    /// The referral as a whole.
    Whole,
    /// A guarded member.
    Member(Guarded),
    /// Something within a guarded member.
    Below(Guarded),
    /// Nothing that a rule looks at.
    Other,
}

/// Why a pointer is not followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BadPointer {
    /// It is not empty and does not begin with a slash, which some readers then put before it.
    NoSlash,
    /// A tilde that is not followed by 0 or 1 (RFC 6901 3).
    LoneTilde,
    /// A token that some readers skip: nothing, blanks, dots.
    SkippedToken,
    /// It reaches a guarded member for some readers only.
    Ambiguous,
}

/// Decoding is repeated at most this often; what is still encoded then is refused.
const MAX_DECODINGS: usize = 4;

impl Target {
    /// What `pointer` reaches.
    ///
    /// # Errors
    ///
    /// When it is no pointer, or one that readers follow to different members.
    pub(super) fn of(pointer: &str) -> Result<Self, BadPointer> {
        if pointer.is_empty() {
            return Ok(Self::Whole);
        }
        let tokens = pointer.strip_prefix('/').ok_or(BadPointer::NoSlash)?;
        let mut after_tildes = tokens.split('~').skip(1);
        if !after_tildes.all(|rest| rest.starts_with(['0', '1'])) {
            return Err(BadPointer::LoneTilde);
        }
        if tokens.contains('%') {
            return Err(BadPointer::Ambiguous);
        }
        if tokens.split('/').any(is_skipped) {
            return Err(BadPointer::SkippedToken);
        }
        let (first, is_below) = match tokens.split_once('/') {
            Some((first, _)) => (first, true),
            None => (tokens, false),
        };
        Ok(match guarded(first)? {
            None => Self::Other,
            Some(member) if is_below => Self::Below(member),
            Some(member) => Self::Member(member),
        })
    }
}

/// The guarded member that a first token names.
fn guarded(token: &str) -> Result<Option<Guarded>, BadPointer> {
    let name = decoded(token);
    match Guarded::of(&name) {
        Some((member, Spelling::Plain)) => return Ok(Some(member)),
        Some((_, Spelling::LookAlike)) => return Err(BadPointer::Ambiguous),
        None if name.bytes().all(|byte| byte.is_ascii_alphanumeric()) => return Ok(None),
        None => {}
    }
    // Another reader may decode once more, or cut the token where ours does not.
    let mut seen: String = seen(&name).collect();
    for _ in 0..MAX_DECODINGS {
        let Cow::Owned(again) = decoded(&seen) else {
            break;
        };
        seen = again;
    }
    let is_odd = matches!(decoded(&seen), Cow::Owned(_))
        || seen
            .split(|letter: char| {
                letter.is_ascii_punctuation() && !matches!(letter, '-' | '_' | '@')
            })
            .any(|piece| Guarded::of(piece).is_some());
    if is_odd {
        return Err(BadPointer::Ambiguous);
    }
    Ok(None)
}

/// A token without its escapes (RFC 6901 4).
fn decoded(token: &str) -> Cow<'_, str> {
    if token.contains("~0") || token.contains("~1") {
        Cow::Owned(token.replace("~1", "/").replace("~0", "~"))
    } else {
        Cow::Borrowed(token)
    }
}

/// Whether a reader may act as if the token were not there.
fn is_skipped(token: &str) -> bool {
    decoded(token)
        .chars()
        .all(|letter| is_invisible(letter) || matches!(unmask(letter), '.' | '/' | '\\' | '~'))
}
