//! Parses the text of an expression, and puts the parser's errors in plain words.

use cel::{Env, ParseErrors, common::ast::SourceInfo, parser::Expression as Code};

use super::error::CompileError;

/// The text of an expression, with the places of its parts.
pub(super) struct Source<'a> {
    text: &'a str,
    places: SourceInfo,
}

/// The code of a text, and where its parts stand. It takes a deep stack.
pub(super) fn parse<'a>(
    text: &'a str,
    environment: &Env,
) -> Result<(Code, Source<'a>), CompileError> {
    let (code, places) = environment
        .parser()
        .parse_with_source_info(text)
        .map_err(|errors| unreadable(text, &errors))?;
    Ok((code, Source { text, places }))
}

impl Source<'_> {
    fn offset(&self, id: u64) -> usize {
        self.places
            .offset_for(id)
            .map_or(0, |(start, _)| start as usize)
    }

    /// An error at the place of a part.
    pub(super) fn wrong(
        &self,
        id: u64,
        what: impl Into<String>,
        remedy: impl Into<String>,
    ) -> CompileError {
        CompileError::new(self.text, self.offset(id), what, remedy)
    }

    /// An error at a name that stands before the place that its part has, such as the bracket of a call.
    pub(super) fn wrong_before(
        &self,
        id: u64,
        name: &str,
        what: impl Into<String>,
        remedy: impl Into<String>,
    ) -> CompileError {
        let end = self.offset(id);
        let before = self.text.get(..end).unwrap_or_default();
        let offset = before.rfind(name).unwrap_or(end);
        CompileError::new(self.text, offset, what, remedy)
    }

    /// An error at a name that stands behind the place that its part has, such as the dot of a selection.
    pub(super) fn wrong_after(
        &self,
        id: u64,
        name: &str,
        what: impl Into<String>,
        remedy: impl Into<String>,
    ) -> CompileError {
        let start = self.offset(id);
        let after = self.text.get(start..).unwrap_or_default();
        let offset = start + after.find(name).unwrap_or_default();
        CompileError::new(self.text, offset, what, remedy)
    }

    pub(super) fn too_deep(&self, id: u64) -> CompileError {
        CompileError::too_deep(self.text, self.offset(id))
    }
}

/// The first error of the parser, in plain words.
fn unreadable(text: &str, errors: &ParseErrors) -> CompileError {
    let Some(error) = errors.errors.first() else {
        return CompileError::new(text, 0, "cannot be read", "correct the expression");
    };
    let (line, column) = error.pos;
    let before = usize::try_from(line - 1).unwrap_or_default();
    let start: usize = text.split_inclusive('\n').take(before).map(str::len).sum();
    let letters = usize::try_from(column - 1).unwrap_or_default();
    let rest = text.get(start..).unwrap_or_default();
    let offset = start
        + rest
            .char_indices()
            .nth(letters)
            .map_or(rest.len(), |(offset, _)| offset);
    let message = error.msg.trim_start_matches("Syntax error: ");
    if message.contains("Recursion limit") {
        return CompileError::too_deep(text, offset);
    }
    if message.contains("has() macro") {
        let remedy = "write such as has(body.member), or 'member' in body";
        return CompileError::new(text, offset, "has() asks for a member", remedy);
    }
    let message = message.split(" expecting ").next().unwrap_or_default();
    let message = message.replace("'<EOF>'", "its end");
    let message: String = message.chars().take(80).collect();
    let what = format!("cannot be read here: {message}");
    CompileError::new(text, offset, what, mending(text, offset))
}

/// What to write, where the parser stopped at a word of another language.
fn mending(text: &str, offset: usize) -> &'static str {
    let (before, rest) = text.split_at_checked(offset).unwrap_or((text, ""));
    if before.trim_end().ends_with("not") {
        return "write ! for not";
    }
    match rest.chars().next() {
        Some('=') => "write == to compare",
        Some('&') => "write && for and",
        Some('|') => "write || for or",
        Some('\u{2018}'..='\u{201f}') => "write plain quotes",
        Some('"' | '\'') => "close the text in its line, and write \\\\ for a backslash in it",
        _ if rest.starts_with("and") => "write && for and",
        _ if rest.starts_with("or") => "write || for or",
        _ => "correct the expression there",
    }
}

/// Where brackets outside of texts nest deeper than `limit`.
pub(super) fn nests_deeper_than(text: &str, limit: usize) -> Option<usize> {
    let (mut depth, mut quote, mut raw, mut escaped) = (0usize, None, false, false);
    let mut before = b' ';
    for (offset, byte) in text.bytes().enumerate() {
        match (quote, byte) {
            _ if escaped => escaped = false,
            (Some(_), b'\\') => escaped = !raw,
            (Some(open), _) if byte == open || byte == b'\n' => quote = None,
            (Some(_), _) => {}
            (None, b'"' | b'\'') => (quote, raw) = (Some(byte), matches!(before, b'r' | b'R')),
            (None, b'(' | b'[' | b'{') => {
                depth += 1;
                if depth > limit {
                    return Some(offset);
                }
            }
            (None, b')' | b']' | b'}') => depth = depth.saturating_sub(1),
            (None, _) => {}
        }
        before = byte;
    }
    None
}
