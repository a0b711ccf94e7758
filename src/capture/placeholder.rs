//! What a capture holds in the place of a value: a template that nobody filled in (`{{token}}`), or a mask (`••••`,
//! `***`, `<redacted>`). Neither says anything about the request that was sent.

use percent_encoding::percent_decode_str;

use super::{Captured, lines_in, mask::is_secret, quoted};

/// Letters that stand for hidden ones.
const BULLETS: [char; 5] = ['•', '●', '∙', '█', '…'];

/// A word of a mask in brackets.
const WORDS: [&str; 10] = [
    "etag", "filtered", "hidden", "masked", "omitted", "redacted", "removed", "secret", "token",
    "your",
];

/// Members by which a request is judged: those of a referral, and of an operation of a JSON Patch.
const JUDGED: [&str; 9] = [
    "etag",
    "from",
    "id",
    "links",
    "op",
    "path",
    "status",
    "substatus",
    "value",
];

/// The longest name of a template, in characters.
const MAX_NAME: usize = 64;

/// The most sentences of each kind.
const MAX_SENTENCES: usize = 9;

/// What a capture holds in the place of values, in sentences for the user.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Placeholders {
    /// In the place of values by which the request is judged. Without those values there is no verdict.
    pub judged: Vec<String>,
    /// In the place of credentials, and of other members of the body.
    pub other: Vec<String>,
}

/// Finds the placeholders of a capture.
pub fn placeholders(captured: &Captured) -> Placeholders {
    let mut found = Placeholders::default();
    found.look_at_target(&captured.target);
    for (name, value) in &captured.headers {
        found.look_at_header(name.trim(), &String::from_utf8_lossy(value));
    }
    if let Ok(body) = str::from_utf8(&captured.body) {
        found.look_at_body(body);
    }
    found
}

/// The name of a template such as `{{host}}` in a text, with its braces.
pub(super) fn template(text: &str) -> Option<&str> {
    let mut rest = text;
    loop {
        rest = rest.get(rest.find("{{")?..)?;
        if let Some(template) = template_at(rest) {
            return Some(template);
        }
        rest = rest.get(1..)?;
    }
}

/// The template that a text begins with.
fn template_at(text: &str) -> Option<&str> {
    let inner = text.strip_prefix("{{")?;
    let is_name = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | '$' | ' ');
    let name = inner.chars().take(MAX_NAME).take_while(|c| is_name(*c));
    let length = name.map(char::len_utf8).sum::<usize>();
    let (name, rest) = inner.split_at_checked(length)?;
    let is_template = !name.trim().is_empty() && rest.starts_with("}}");
    text.get(..length + 4).filter(|_| is_template)
}

/// Whether a text is nothing but a mask, perhaps in quotes or after a scheme: `"••••"`, `Bearer ***`.
fn is_mask(text: &str) -> bool {
    let text = text.strip_prefix("W/").unwrap_or(text).trim_matches('"');
    let text = match text.split_once(' ') {
        Some((scheme, rest)) if scheme.bytes().all(|byte| byte.is_ascii_alphabetic()) => rest,
        _ => text,
    };
    let is_hidden = |c: char| c == '*' || BULLETS.contains(&c);
    let is_word = |c: char| c.is_ascii_alphanumeric() || matches!(c, ' ' | '-' | '_');
    let in_brackets = [('<', '>'), ('[', ']'), ('(', ')')]
        .iter()
        .find_map(|(open, close)| text.strip_prefix(*open)?.strip_suffix(*close))
        .filter(|inner| inner.chars().all(is_word));
    let mut words = in_brackets
        .into_iter()
        .flat_map(|inner| inner.split([' ', '-', '_']));
    (text.chars().all(is_hidden) && text.len() >= 3)
        || words.any(|word| WORDS.iter().any(|known| word.eq_ignore_ascii_case(known)))
        || text.eq_ignore_ascii_case("redacted")
}

/// What a text holds in the place of a value.
fn placeholder(text: &str) -> Option<String> {
    match template(text) {
        Some(template) => Some(format!("the unfilled template {}", quoted(template))),
        None => is_mask(text).then(|| "a mask".to_owned()),
    }
}

impl Placeholders {
    fn judge(&mut self, sentence: String) {
        if self.judged.len() < MAX_SENTENCES {
            self.judged.push(sentence);
        }
    }

    fn tell(&mut self, sentence: String) {
        if self.other.len() < MAX_SENTENCES {
            self.other.push(sentence);
        }
    }

    fn look_at_target(&mut self, target: &str) {
        for piece in target.split(['/', '?', '&', '#']) {
            let (name, value) = piece.split_once('=').unwrap_or(("", piece));
            let value = percent_decode_str(value).decode_utf8_lossy();
            if let Some(what) = placeholder(&value).filter(|_| !is_secret(name)) {
                self.judge(format!(
                    "the URL contains {what}; write the value that was sent"
                ));
            }
        }
    }

    fn look_at_header(&mut self, name: &str, value: &str) {
        let what =
            placeholder(value).or_else(|| value.contains(BULLETS).then(|| "a mask".to_owned()));
        let Some(what) = what else {
            return;
        };
        match is_secret(name) {
            true => self.tell(format!(
                "The header {} contains {what}, so it names no tenant and no application.",
                quoted(name)
            )),
            false => self.judge(format!(
                "the header {} contains {what}; write the value that was sent, or remove the header",
                quoted(name)
            )),
        }
    }

    /// Looks at the strings of JSON, which need not be valid.
    fn look_at_body(&mut self, body: &str) {
        let mut rest = body;
        let mut line = 1;
        let mut member = String::new();
        while let Some((before, from)) = rest
            .find(['"', '{'])
            .and_then(|at| rest.split_at_checked(at))
        {
            line += lines_in(before.as_bytes());
            let Some(string) = from.strip_prefix('"') else {
                // JSON has no two braces side by side.
                if let Some(template) = template_at(from) {
                    let template = quoted(template);
                    self.judge(format!(
                        "line {line} of the body contains the unfilled template {template}; write the value that was sent"
                    ));
                }
                rest = from.get(1..).unwrap_or_default();
                continue;
            };
            let (text, behind) = string.split_at(length_of_string(string));
            rest = behind.strip_prefix('"').unwrap_or(behind);
            let first = line;
            line += lines_in(text.as_bytes());
            let text =
                serde_json::from_str(&format!("\"{text}\"")).unwrap_or_else(|_| text.to_owned());
            if rest.trim_ascii_start().starts_with(':') {
                member = text;
                continue;
            }
            let Some(what) = placeholder(&text) else {
                continue;
            };
            let is_judged = JUDGED
                .iter()
                .any(|judged| member.eq_ignore_ascii_case(judged));
            let member = quoted(&member);
            match is_judged {
                true => self.judge(format!(
                    "line {first} of the body contains {what} as {member}; write the value that was sent"
                )),
                false => self.tell(format!(
                    "Line {first} of the body contains {what} as {member}. A rule that reads this member gives no reliable verdict."
                )),
            }
        }
    }
}

/// Up to the quote that ends a JSON string.
fn length_of_string(text: &str) -> usize {
    let mut is_escaped = false;
    let end = text.bytes().position(|byte| {
        let is_end = byte == b'"' && !is_escaped;
        is_escaped = byte == b'\\' && !is_escaped;
        is_end
    });
    end.unwrap_or(text.len())
}
