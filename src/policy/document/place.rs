//! Places in a document.

use serde_saphyr::{Location, Spanned};

/// A place in a document, from 1.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    pub(super) line: u64,
    pub(super) column: u64,
}

impl From<Location> for Place {
    fn from(location: Location) -> Self {
        Self {
            line: location.line(),
            column: location.column(),
        }
    }
}

impl Place {
    /// The place of an offset inside a text of the document. The text may be quoted, folded or stand in a block, so it is
    /// followed letter by letter; blanks and ends of lines do not count. `None` if escapes hide the letters.
    pub(super) fn inside(document: &str, text: &Spanned<String>, offset: usize) -> Option<Self> {
        let start = Self::from(text.referenced);
        let before = |n: u64| usize::try_from(n).ok().and_then(|n| n.checked_sub(1));
        let lines = (1..).zip(document.lines()).skip(before(start.line)?);
        let mut source = lines
            .flat_map(|(line, text)| {
                (1..)
                    .zip(text.chars())
                    .map(move |(column, letter)| (letter, Self { line, column }))
            })
            .skip(before(start.column)?)
            .filter(|(letter, _)| !letter.is_whitespace());
        // A block may begin with a quote of its own, so the text is tried as it stands first.
        Self::follow(source.clone(), None, &text.value, offset).or_else(|| {
            let (quote, _) = source.next()?;
            matches!(quote, '\'' | '"')
                .then(|| Self::follow(source, Some(quote), &text.value, offset))?
        })
    }

    /// The place of an offset inside `text`, if all of it is what `source` says in these quotes.
    fn follow(
        mut source: impl Iterator<Item = (char, Self)>,
        quote: Option<char>,
        text: &str,
        offset: usize,
    ) -> Option<Self> {
        let (mut found, mut end) = (None, None);
        let letters = text.char_indices();
        for (at, wanted) in letters.filter(|(_, letter)| !letter.is_whitespace()) {
            let (mut letter, place) = source.next()?;
            if matches!((quote, letter), (Some('"'), '\\') | (Some('\''), '\'')) {
                letter = source.next()?.0;
            }
            if letter != wanted {
                return None;
            }
            if at >= offset {
                found.get_or_insert(place);
            }
            end = Some(Self {
                column: place.column + 1,
                ..place
            });
        }
        found.or(end)
    }
}
