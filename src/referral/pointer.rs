//! JSON Pointers (RFC 6901) in a JSON Patch: which guarded member they point at.
//!
//! Readers differ on odd pointers: some put a slash in front, skip empty tokens, decode percent signs, or decode `~1`
//! before they split at slashes. Where a reader could see a guarded member and the gateway does not, or the other way
//! round, the pointer is refused.

use std::borrow::Cow;

use super::names::{Guarded, Spelling, is_invisible, seen, unmask};

#[cfg(test)]
mod tests;

/// The target of a pointer in a referral.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Target {
    /// The referral as a whole.
    Whole,
    /// A guarded member.
    Member(Guarded),
    /// Something within a guarded member.
    Below(Guarded),
    /// A member that no rule checks.
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
    /// It points at a guarded member for some readers only.
    Ambiguous,
}

/// The most rounds of decoding; a token that is still encoded then is refused.
const MAX_DECODINGS: usize = 4;

impl Target {
    /// The target of `pointer`.
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

/// True if some reader skips the token.
fn is_skipped(token: &str) -> bool {
    decoded(token)
        .chars()
        .all(|letter| is_invisible(letter) || matches!(unmask(letter), '.' | '/' | '\\' | '~'))
}
