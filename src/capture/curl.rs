//! A curl command line, as browsers copy it and documents print it.
//!
//! Read as curl sends it, down to what its options imply. What would read a file, or be sent in another way by
//! another version of curl, is refused.

use base64::{Engine as _, engine::general_purpose::STANDARD};

use super::{
    BodyFile, Captured, Unreadable, quoted, target,
    words::{Word, Words},
};

mod options;
mod request;

use self::{
    options::Meaning,
    request::{FormField, Request, encoded, form_field, utf8},
};

/// Whether a line begins with `curl`, perhaps after the `$` of a prompt.
pub(super) fn is_command(line: &[u8]) -> bool {
    without_prompt(line)
        .strip_prefix(b"curl")
        .map(|rest| rest.strip_prefix(b".exe").unwrap_or(rest))
        .is_some_and(|rest| matches!(rest.first(), None | Some(b' ' | b'\t' | b'\\' | b'^')))
}

fn without_prompt(line: &[u8]) -> &[u8] {
    line.strip_prefix(b"$ ").unwrap_or(line).trim_ascii_start()
}

/// Reads the command that the text begins with, in that line of the capture. `file` is what `-d @file` names.
pub(super) fn read(
    text: &str,
    line: usize,
    file: &mut BodyFile<'_>,
) -> Result<Captured, Unreadable> {
    let text = text.trim_start();
    let text = text.strip_prefix("$ ").unwrap_or(text).trim_start();
    let mut command = Command {
        words: Words::of(text, line),
        file,
        request: Request::of(line),
    };
    command.words.next()?;
    // After `--` there are no options.
    let mut only_urls = false;
    while let Some(word) = command.words.next()? {
        if only_urls {
            command.request.set_url(word.line, word.text)?;
        } else if word.text == b"--" {
            only_urls = true;
        } else {
            command.take(word)?;
        }
    }
    command.request.captured()
}

/// A command, as far as it has been read.
struct Command<'a, 'b> {
    /// What follows.
    words: Words<'a>,
    file: &'a mut BodyFile<'b>,
    request: Request,
}

impl Command<'_, '_> {
    /// Reads an argument, and its value if it has one.
    fn take(&mut self, word: Word) -> Result<(), Unreadable> {
        let line = word.line;
        match word.text.as_slice() {
            [b'-', b'-', name @ ..] => {
                let option = format!("--{}", String::from_utf8_lossy(name));
                let meaning = Meaning::of(name).ok_or_else(|| unknown(line, &option))?;
                self.apply(meaning, line, &option, None)
            }
            [b'-', letters @ ..] if !letters.is_empty() => {
                let mut letters = letters;
                while let [letter, rest @ ..] = letters {
                    let option = format!("-{}", char::from(*letter));
                    let meaning =
                        Meaning::of_letter(*letter).ok_or_else(|| unknown(line, &option))?;
                    if meaning.has_value() {
                        let value = (!rest.is_empty()).then(|| rest.to_vec());
                        return self.apply(meaning, line, &option, value);
                    }
                    self.apply(meaning, line, &option, None)?;
                    letters = rest;
                }
                Ok(())
            }
            _ => self.request.set_url(line, word.text),
        }
    }

    /// Does what an option says. `attached` is the value in the same word, as in `-XPUT`.
    fn apply(
        &mut self,
        meaning: Meaning,
        line: usize,
        option: &str,
        attached: Option<Vec<u8>>,
    ) -> Result<(), Unreadable> {
        let mut value = Vec::new();
        if meaning.has_value() {
            value = match attached {
                Some(value) => value,
                None => {
                    let next = self.words.next()?;
                    let missing = || Unreadable::new(line, format!("{option} has no value"));
                    next.ok_or_else(missing)?.text
                }
            };
        }
        let request = &mut self.request;
        match meaning {
            Meaning::Nothing | Meaning::NothingWithValue => {}
            Meaning::Get => request.is_get = true,
            Meaning::Head => request.is_head = true,
            Meaning::GlobOff => request.globs = false,
            Meaning::PathAsIs => request.squashes_dots = false,
            Meaning::Request => {
                let method = utf8(line, option, value)?;
                let method = target::method(&method);
                request.method = Some(method.map_err(|why| Unreadable::new(line, why))?);
            }
            Meaning::Header if value.starts_with(b"@") => return Err(reads_a_file(line, option)),
            Meaning::Header => request.add_header(line, &value)?,
            Meaning::Data if value.starts_with(b"@") => {
                let mut data = self.file.take(line, &option_file(option))?.to_vec();
                data.retain(|byte| !matches!(byte, b'\r' | b'\n' | 0));
                request.add_data(&data, b"&");
            }
            Meaning::DataBinary if value.starts_with(b"@") => {
                let data = self.file.take(line, &option_file(option))?;
                request.add_data(data, b"&");
            }
            Meaning::Data | Meaning::DataBinary | Meaning::DataRaw => {
                request.add_data(&value, b"&");
            }
            Meaning::DataUrlencode => {
                let data = match form_field(&value) {
                    FormField::Text(data) => data,
                    FormField::File { name } => {
                        encoded(name, self.file.take(line, &option_file(option))?)
                    }
                };
                request.add_data(&data, b"&");
            }
            Meaning::Json => {
                match value.starts_with(b"@") {
                    true => request.add_data(self.file.take(line, &option_file(option))?, b""),
                    false => request.add_data(&value, b""),
                }
                request.is_json = true;
            }
            Meaning::User if !value.contains(&b':') => {
                let why = format!("curl asks for the password of {option}; write `user:password`");
                return Err(Unreadable::new(line, why));
            }
            Meaning::User => {
                // A bearer token comes first, wherever it stands.
                let is_free = request
                    .authorization
                    .as_ref()
                    .is_none_or(|value| value.starts_with("Basic "));
                if is_free {
                    let value = format!("Basic {}", STANDARD.encode(value));
                    request.authorization = Some(value);
                }
            }
            Meaning::Bearer => {
                let token = utf8(line, option, value)?;
                request.authorization = Some(format!("Bearer {token}"));
            }
            Meaning::Cookie if !value.contains(&b'=') => return Err(reads_a_file(line, option)),
            Meaning::Cookie => match &mut request.cookie {
                None => request.cookie = Some(value),
                Some(cookie) => {
                    cookie.push(b';');
                    cookie.extend_from_slice(&value);
                }
            },
            Meaning::Agent => request.agent = Some(value),
            Meaning::Referer => {
                let value = value.strip_suffix(b";auto").unwrap_or(&value);
                request.referer = Some(value.to_vec());
            }
            Meaning::Url => request.set_url(line, value)?,
        }
        Ok(())
    }
}

fn option_file(option: &str) -> String {
    format!("the value of {option}")
}

fn reads_a_file(line: usize, option: &str) -> Unreadable {
    let why = format!(
        "the value of {option} is a file, and captures do not include files; write its text here"
    );
    Unreadable::new(line, why)
}

fn unknown(line: usize, option: &str) -> Unreadable {
    let option = quoted(option.split('=').next().unwrap_or_default());
    let why = format!(
        "the option {option} is not supported; remove it if it does not change the request"
    );
    Unreadable::new(line, why)
}
