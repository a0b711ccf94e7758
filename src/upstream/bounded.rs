//! Texts of the other side, as answers and the log show them.

/// On one line, at most so many characters, all of which are seen.
pub(super) fn bounded(text: &str, length: usize) -> String {
    let is_seen = |letter: &char| !letter.is_control() && !is_invisible(*letter);
    text.chars().filter(is_seen).take(length).collect()
}

/// Letters of no width, those that end a line, and those that turn the direction of a text around.
fn is_invisible(letter: char) -> bool {
    matches!(
        letter,
        '\u{ad}'
            | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{feff}'
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_is_seen_and_short() {
        let text = "a\r\nb\u{1b}[2J\u{202e}c\u{2028}\u{feff}\u{200b}\u{2066}\u{ad}é日";
        assert_eq!(bounded(text, 100), "ab[2Jcé日");
        assert_eq!(bounded(text, 3), "ab[");
    }
}
