//! Member names as lenient readers see them: they ignore case, skip letters or take look-alike letters for plain ones.

use std::borrow::Cow;

/// A member of a referral that rules check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Guarded {
    /// `id`
    Id,
    /// `eTag`
    ETag,
    /// `status`
    Status,
    /// `substatus`
    Substatus,
    /// `links`
    Links,
}

impl Guarded {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Id,
        Self::ETag,
        Self::Status,
        Self::Substatus,
        Self::Links,
    ];

    /// The name as the service writes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Id => "id",
            Self::ETag => "eTag",
            Self::Status => "status",
            Self::Substatus => "substatus",
            Self::Links => "links",
        }
    }

    /// The member that some reader may see under this name: readers such as the service's ignore case.
    ///
    /// `links@odata.bind` sets the same thing as `links` in `OData`, so it counts as `links`.
    pub fn of(name: &str) -> Option<(Self, Spelling)> {
        // A visible letter stands first for every reader, and nearly no name begins like one of these.
        let first = name.as_bytes().first()?;
        if first.is_ascii_graphic() && !matches!(first | 0x20, b'i' | b'e' | b's' | b'l') {
            return None;
        }
        let (name, spelling) = Spelling::of(name);
        let member = match (name.as_bytes().first()? | 0x20, name.len()) {
            (b'i', _) => Self::Id,
            (b'e', _) => Self::ETag,
            (b's', 6) => Self::Status,
            (b's', _) => Self::Substatus,
            _ => Self::Links,
        };
        let (start, rest) = name.split_at_checked(member.name().len())?;
        let is_whole = rest.is_empty() || (member == Self::Links && rest.starts_with('@'));
        (is_whole && start.eq_ignore_ascii_case(member.name())).then_some((member, spelling))
    }
}

/// Whether a guarded name is written in ASCII, or with letters that only some readers take for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spelling {
    /// In ASCII, in any case.
    Plain,
    /// With letters, blanks or invisible characters that some readers skip or take for a plain letter.
    LookAlike,
}

impl Spelling {
    /// A name as the most lenient reader sees it, without the letters that it skips.
    pub(super) fn of(name: &str) -> (Cow<'_, str>, Self) {
        if name.bytes().all(|byte| byte.is_ascii_graphic()) {
            return (Cow::Borrowed(name), Self::Plain);
        }
        (Cow::Owned(seen(name).collect()), Self::LookAlike)
    }
}

/// The letters of a name as the most lenient reader sees them, without those that it skips.
pub(super) fn seen(name: &str) -> impl Iterator<Item = char> {
    let letters = name.chars().filter(|letter| !is_invisible(*letter));
    letters.flat_map(|letter| {
        let parts = parts(letter);
        parts
            .chars()
            .chain(parts.is_empty().then(|| unmask(letter)))
    })
}

/// The letters of a ligature under full case folding (Unicode `CaseFolding.txt`, status F); empty for any other letter.
fn parts(letter: char) -> &'static str {
    match letter {
        '\u{fb00}' => "ff",
        '\u{fb01}' => "fi",
        '\u{fb02}' => "fl",
        '\u{fb03}' => "ffi",
        '\u{fb04}' => "ffl",
        '\u{fb05}' | '\u{fb06}' => "st",
        _ => "",
    }
}

/// Letters outside ASCII that fold to an ASCII letter when a reader ignores case (Unicode `CaseFolding.txt`,
/// with the dotted and dotless i of Turkish), or that a best-fit conversion turns into one (full-width forms).
pub fn unmask(letter: char) -> char {
    match letter {
        '\u{17f}' => 's',
        '\u{212a}' => 'k',
        '\u{130}' | '\u{131}' => 'i',
        '\u{ff01}'..='\u{ff5e}' => {
            u8::try_from(u32::from(letter) - 0xfee0).map_or(letter, char::from)
        }
        other => other,
    }
}

/// A name as seen by a reader that ignores case and takes look-alike letters for plain ones.
pub fn folded(name: &str) -> Cow<'_, str> {
    if name
        .bytes()
        .all(|byte| byte.is_ascii_graphic() && !byte.is_ascii_uppercase())
    {
        return Cow::Borrowed(name);
    }
    Cow::Owned(seen(name).flat_map(char::to_lowercase).collect())
}

/// True if a name has no letter that some readers skip or take for another.
pub fn is_plain(name: &str) -> bool {
    name.chars()
        .all(|letter| unmask(letter) == letter && parts(letter).is_empty() && !is_invisible(letter))
}

/// Letters that some readers skip when they compare names.
pub(super) fn is_invisible(letter: char) -> bool {
    letter.is_whitespace()
        || letter.is_control()
        || matches!(letter, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{2060}'..='\u{2064}' | '\u{feff}')
}
