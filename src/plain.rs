//! Texts from elsewhere, fit to be shown: nothing in them moves a terminal or shows another order than there is.

/// The text with what cannot be seen written as an escape. Ends of lines stay.
pub fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' => plain.push(c),
            c if is_hidden(c) => plain.extend(c.escape_unicode()),
            c => plain.push(c),
        }
    }
    plain
}

/// Control characters, and those of Unicode's format characters that change order or are not seen.
pub fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::plain;

    #[test]
    fn what_is_not_seen_is_written_out() {
        for (text, expected) in [
            ("a\nb", "a\nb"),
            ("\u{1b}[31m", "\\u{1b}[31m"),
            ("\u{9b}2J\r\u{7}", "\\u{9b}2J\\u{d}\\u{7}"),
            ("\u{202e}gnp.exe\u{61c}", "\\u{202e}gnp.exe\\u{61c}"),
            ("\u{e0041}\u{2028}\u{180e}", "\\u{e0041}\\u{2028}\\u{180e}"),
            ("Zürich 東京 é", "Zürich 東京 é"),
        ] {
            assert_eq!(plain(text), expected);
        }
    }
}
