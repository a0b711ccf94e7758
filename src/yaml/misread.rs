//! Values that their writer meant as text, and that YAML takes for something else.

use serde_saphyr::granit_parser::{Event, Marker, Parser};

use super::{places::Place, scalar::quoted};

/// What to write instead.
pub(super) const REMEDY: &str = "put the value in quotes, or write it below a `|`";

/// The first such value: where it stands, and what is wrong with it.
///
/// One begins with a `!`, which makes a tag of it. The library skips tags: `! has(body.a)` would be read as `has(body.a)`.
/// Another begins with a text in quotes and goes on after it: `'Active' == body.status`.
pub(super) fn misread(text: &str) -> Option<(Place, String)> {
    let mut parser = Parser::new_from_str(text);
    let mut last = 0;
    loop {
        match parser.next_event()? {
            Ok((
                Event::Scalar(.., Some(tag))
                | Event::SequenceStart(.., Some(tag))
                | Event::MappingStart(.., Some(tag)),
                span,
            )) => {
                let start = span.tag_start.unwrap_or(span.start);
                return Some((place(start), is_tag(&tag.original())));
            }
            Ok((_, span)) => last = span.end.byte_offset()?.max(last),
            Err(error) => {
                let stop = error.marker().byte_offset()?;
                let (start, what) =
                    unread(text.get(last..)?, stop.checked_sub(last)?, &error.info())?;
                return Some((place_of(text, last + start)?, what));
            }
        }
    }
}

/// The same in what the parser has not given out before it stopped: it reads a list or a mapping in brackets as a whole.
fn unread(text: &str, stop: usize, error: &str) -> Option<(usize, String)> {
    let letters = text.char_indices();
    let mut letters = letters.take_while(|(at, _)| *at <= stop).peekable();
    let (mut quoted_value, mut begins) = (None, true);
    while let Some((at, letter)) = letters.next() {
        match letter {
            '!' if begins => {
                let tag = text.get(at..)?.split_whitespace().next()?;
                return Some((at, is_tag(tag)));
            }
            '\'' | '"' if begins => {
                let length = length_in_quotes(text.get(at..)?, letter);
                quoted_value = Some(at..at + length);
                while letters.next_if(|(next, _)| *next < at + length).is_some() {}
            }
            '#' if begins => while letters.next_if(|(_, letter)| !is_break(*letter)).is_some() {},
            _ => {}
        }
        let is_blank = letter.is_whitespace();
        let before_blank = letters.peek().is_none_or(|(_, next)| next.is_whitespace());
        begins = (is_blank && begins)
            || is_break(letter)
            || matches!(letter, ',' | '[' | '{')
            || (matches!(letter, ':' | '-') && before_blank);
    }
    let value = quoted_value.filter(|_| error.contains("trailing content"))?;
    let what = format!(
        "{} ends the value, but more text follows",
        quoted(text.get(value.clone())?)
    );
    Some((value.start, what))
}

/// How long a text in quotes is, with its quotes.
fn length_in_quotes(text: &str, quote: char) -> usize {
    let mut letters = text.char_indices().skip(1).peekable();
    while let Some((at, letter)) = letters.next() {
        let is_doubled = quote == '\'' && letters.peek().is_some_and(|(_, next)| *next == quote);
        match letter {
            '\\' if quote == '"' => {
                letters.next();
            }
            _ if is_doubled && letter == quote => {
                letters.next();
            }
            _ if letter == quote => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// Whether a letter ends a line (YAML 1.2 5.4).
fn is_break(letter: char) -> bool {
    matches!(letter, '\n' | '\r')
}

fn is_tag(tag: &str) -> String {
    format!("{} is a YAML tag, not part of a value", quoted(tag))
}

fn place(marker: Marker) -> Place {
    (marker.line() as u64, marker.col() as u64 + 1)
}

fn place_of(text: &str, offset: usize) -> Option<Place> {
    // A lone CR ends a line as well (YAML 1.2 5.4).
    let before = text.get(..offset)?.replace("\r\n", "\n");
    let line = before.rsplit(['\n', '\r']).next().unwrap_or_default();
    let number = before.matches(['\n', '\r']).count() as u64 + 1;
    Some((number, line.chars().count() as u64 + 1))
}
