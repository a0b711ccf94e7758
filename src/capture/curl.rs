//! A curl command line, as browsers copy it and documents print it.
//!
//! Read as curl sends it, down to what its options imply. What would read a file, or be sent in another way by
//! another version of curl, is refused.

use base64::{Engine as _, engine::general_purpose::STANDARD};

use super::{
    Captured, Unreadable, quoted, target,
    words::{Word, Words},
};

mod options;
mod request;

use self::{
    options::Meaning,
    request::{Request, form_field, utf8},
};

/// Whether a line begins with `curl`, perhaps behind the `$` of a prompt.
pub(super) fn is_command(line: &[u8]) -> bool {
    without_prompt(line)
        .strip_prefix(b"curl")
        .map(|rest| rest.strip_prefix(b".exe").unwrap_or(rest))
        .is_some_and(|rest| matches!(rest.first(), None | Some(b' ' | b'\t' | b'\\' | b'^')))
}

fn without_prompt(line: &[u8]) -> &[u8] {
    line.strip_prefix(b"$ ").unwrap_or(line).trim_ascii_start()
}

/// Reads the command that the text begins with, in that line of the capture.
pub(super) fn read(text: &str, line: usize) -> Result<Captured, Unreadable> {
    let text = text.trim_start();
    let text = text.strip_prefix("$ ").unwrap_or(text).trim_start();
    let mut words = Words::of(text, line);
    words.next()?;
    let mut request = Request::of(line);
    // After `--` there are no options.
    let mut only_urls = false;
    while let Some(word) = words.next()? {
        if only_urls {
            request.set_url(word.line, word.text)?;
        } else if word.text == b"--" {
            only_urls = true;
        } else {
            argument(&mut request, word, &mut words)?;
        }
    }
    request.captured()
}

/// Reads an argument, and its value if it has one.
fn argument(request: &mut Request, word: Word, words: &mut Words<'_>) -> Result<(), Unreadable> {
    let line = word.line;
    match word.text.as_slice() {
        [b'-', b'-', name @ ..] => {
            let option = format!("--{}", String::from_utf8_lossy(name));
            let meaning = Meaning::of(name).ok_or_else(|| unknown(line, &option))?;
            apply(request, meaning, line, &option, words, None)
        }
        [b'-', letters @ ..] if !letters.is_empty() => {
            let mut letters = letters;
            while let [letter, rest @ ..] = letters {
                let option = format!("-{}", char::from(*letter));
                let meaning = Meaning::of_letter(*letter).ok_or_else(|| unknown(line, &option))?;
                if meaning.has_value() {
                    let value = (!rest.is_empty()).then(|| rest.to_vec());
                    return apply(request, meaning, line, &option, words, value);
                }
                apply(request, meaning, line, &option, words, None)?;
                letters = rest;
            }
            Ok(())
        }
        _ => request.set_url(line, word.text),
    }
}

/// Does what an option says. `attached` is the value in the same word, as in `-XPUT`.
fn apply(
    request: &mut Request,
    meaning: Meaning,
    line: usize,
    option: &str,
    words: &mut Words<'_>,
    attached: Option<Vec<u8>>,
) -> Result<(), Unreadable> {
    let mut value = Vec::new();
    if meaning.has_value() {
        value = match attached {
            Some(value) => value,
            None => {
                let next = words.next()?;
                let missing = || Unreadable::new(line, format!("{option} has no value"));
                next.ok_or_else(missing)?.text
            }
        };
    }
    let no_file = |value: &[u8]| match value.starts_with(b"@") {
        true => Err(reads_a_file(line, option)),
        false => Ok(()),
    };
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
        Meaning::Header => {
            no_file(&value)?;
            request.add_header(line, &value)?;
        }
        Meaning::Data => {
            no_file(&value)?;
            request.add_data(&value, b"&");
        }
        Meaning::DataRaw => request.add_data(&value, b"&"),
        Meaning::DataUrlencode => {
            let value = form_field(&value).ok_or_else(|| reads_a_file(line, option))?;
            request.add_data(&value, b"&");
        }
        Meaning::Json => {
            no_file(&value)?;
            request.add_data(&value, b"");
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
                .is_none_or(|(_, value)| value.starts_with("Basic "));
            if is_free {
                let value = format!("Basic {}", STANDARD.encode(value));
                request.authorization = Some((line, value));
            }
        }
        Meaning::Bearer => {
            let token = utf8(line, option, value)?;
            request.authorization = Some((line, format!("Bearer {token}")));
        }
        Meaning::Cookie if !value.contains(&b'=') => return Err(reads_a_file(line, option)),
        Meaning::Cookie => match &mut request.cookie {
            None => request.cookie = Some((line, value)),
            Some((_, cookie)) => {
                cookie.push(b';');
                cookie.extend_from_slice(&value);
            }
        },
        Meaning::Agent => request.agent = Some((line, value)),
        Meaning::Referer => {
            let value = value.strip_suffix(b";auto").unwrap_or(&value);
            request.referer = Some((line, value.to_vec()));
        }
        Meaning::Url => request.set_url(line, value)?,
    }
    Ok(())
}

fn reads_a_file(line: usize, option: &str) -> Unreadable {
    let why = format!("{option} reads a file here, and a capture may not; write the text itself");
    Unreadable::new(line, why)
}

fn unknown(line: usize, option: &str) -> Unreadable {
    let option = quoted(option.split('=').next().unwrap_or_default());
    let why =
        format!("the option {option} is not read; remove it if it does not change the request");
    Unreadable::new(line, why)
}
