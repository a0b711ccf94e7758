//! A `.http` or `.rest` file, as editors send requests from it.
//!
//! The two known dialects are read where they agree. Where they differ (a header that goes on in an indented line, a
//! backslash in a variable), and where the file does not hold what is sent (scripts, other files, variables of an
//! environment), it is refused.

use super::{
    BodyFile, Captured, Lines, Unreadable, add_header,
    framing::chunks,
    quoted,
    target::{self, Place},
};

mod variables;

use variables::Variables;

pub(super) fn read(
    text: &str,
    which: Option<&str>,
    file: &mut BodyFile<'_>,
) -> Result<Captured, Unreadable> {
    let (requests, mut variables) = parts(text);
    let Some(first) = requests.first() else {
        let why =
            "there is no request in the file; expected a line such as `PUT https://host/path`";
        return Err(Unreadable::new(1, why));
    };
    let Some(which) = which else {
        let mut captured = first.read(&mut variables, file)?;
        if requests.len() > 1 {
            let (count, line) = (requests.len(), first.line);
            captured.notice = Some(format!(
                "The file has {count} requests; the first was read, of line {line}."
            ));
        }
        return Ok(captured);
    };
    let mut named = requests
        .iter()
        .filter(|request| request.names.contains(&Some(which)));
    let by_name = named.next();
    if let Some(second) = named.next() {
        let why = format!(
            "a second request is named {}; give its number",
            quoted(which)
        );
        return Err(Unreadable::new(second.line, why));
    }
    let number = which.parse::<usize>().ok();
    let by_number = || requests.get(number?.checked_sub(1)?);
    by_name
        .or_else(by_number)
        .ok_or_else(|| {
            let (which, count) = (quoted(which), requests.len());
            let why =
                format!("there is no request {which}; give a name, or a number from 1 to {count}");
            Unreadable::new(1, why)
        })?
        .read(&mut variables, file)
}

/// The requests of a file and its variables, which count wherever they stand.
fn parts(text: &str) -> (Vec<Request<'_>>, Variables) {
    let mut requests: Vec<Request<'_>> = Vec::new();
    let mut variables = Variables::default();
    let mut names = [None; 2];
    let mut is_open = false;
    let mut lines = Lines::of(text.as_bytes());
    loop {
        let rest = lines.rest;
        let Some((number, line)) = next_line(&mut lines) else {
            return (requests, variables);
        };
        if let Some(name) = line.strip_prefix("###") {
            names = [word(name.trim_start_matches('#')), None];
            is_open = false;
        } else if is_open {
            if let Some(request) = requests.last_mut() {
                request.length = request.rest.len() - lines.rest.len();
            }
        } else if let Some(comment) = comment(line) {
            names[1] = names[1].or_else(|| name_of(comment));
        } else if !line.trim().is_empty() && !variables.define(number, line.trim()) {
            requests.push(Request {
                names,
                line: number,
                rest,
                length: rest.len() - lines.rest.len(),
            });
            is_open = true;
        }
    }
}

/// One request of a file.
#[derive(Debug)]
struct Request<'a> {
    /// What follows `###`, and what follows `@name`.
    names: [Option<&'a str>; 2],
    /// The line of its method and URL.
    line: usize,
    /// The file from that line on.
    rest: &'a [u8],
    /// How much of it is this request.
    length: usize,
}

impl Request<'_> {
    fn read(
        &self,
        variables: &mut Variables,
        file: &mut BodyFile<'_>,
    ) -> Result<Captured, Unreadable> {
        let mut lines = Lines {
            rest: self.rest.get(..self.length).unwrap_or_default(),
            number: self.line - 1,
        };
        let (method, place) = self.request_line(&mut lines, variables)?;
        let mut headers = Vec::new();
        let mut body = Vec::new();
        while let Some((number, line)) = next_line(&mut lines) {
            if line.trim().is_empty() {
                body = match is_chunked(&headers) {
                    true => read_chunks(&mut lines)?,
                    false => read_body(&mut lines, variables, file)?,
                };
                break;
            }
            if is_behind(line) {
                break;
            }
            if comment(line).is_some() {
                continue;
            }
            if line.starts_with([' ', '\t']) {
                let why = "an indented line, which some editors take for a part of the line above; write it there, or without indent";
                return Err(Unreadable::new(number, why));
            }
            add_header(
                &mut headers,
                number,
                variables.fill(number, line)?.as_bytes(),
            )?;
            // The editor counts the body itself.
            headers.pop_if(|(name, _)| name.trim().eq_ignore_ascii_case("content-length"));
        }
        Ok(Captured {
            method,
            target: place.target,
            authority: place.authority,
            is_absolute: false,
            headers,
            body,
            notice: None,
        })
    }

    /// Method, URL, and the lines in which the URL goes on.
    fn request_line(
        &self,
        lines: &mut Lines<'_>,
        variables: &mut Variables,
    ) -> Result<(String, Place), Unreadable> {
        let (number, line) = next_line(lines).unwrap_or((self.line, ""));
        if line.trim_start().starts_with('<') {
            let why = "a script or a file before the request; a capture may hold only what is sent";
            return Err(Unreadable::new(number, why));
        }
        let mut text = variables.fill(number, line.trim())?;
        let mut has_version = cut_version(&mut text);
        loop {
            let mut ahead = lines.clone();
            let Some((number, line)) = next_line(&mut ahead) else {
                break;
            };
            if comment(line).is_none() {
                let part = line.trim();
                let is_part = part.starts_with(['?', '&'])
                    || (part.starts_with('/') && line.starts_with([' ', '\t']));
                if !is_part {
                    break;
                }
                if has_version {
                    let why =
                        "the URL continues after the HTTP version; move the version to its end";
                    return Err(Unreadable::new(number, why));
                }
                let mut part = variables.fill(number, part)?;
                has_version = cut_version(&mut part);
                text.push_str(&part);
            }
            *lines = ahead;
        }
        let is_method = |word: &str| {
            word.bytes()
                .all(|byte| byte.is_ascii_alphabetic() || matches!(byte, b'-' | b'_'))
        };
        let (method, url) = match text.split_once([' ', '\t']) {
            Some((word, rest)) if is_method(word) => (word, rest.trim_start()),
            _ => ("GET", text.as_str()),
        };
        let cannot = |why| {
            let why = format!("expected a request line such as `PUT https://host/path`: {why}");
            Unreadable::new(number, why)
        };
        let place = Place::of(url).map_err(cannot)?;
        let method = target::method(method).map_err(cannot)?;
        Ok((method, place.without_fragment().encoded()))
    }
}

fn is_chunked(headers: &[(String, Vec<u8>)]) -> bool {
    headers.iter().any(|(name, value)| {
        name.trim().eq_ignore_ascii_case("transfer-encoding")
            && value.eq_ignore_ascii_case(b"chunked")
    })
}

/// A body in chunks was captured from the wire: its bytes count, and no variable is filled in.
fn read_chunks(lines: &mut Lines<'_>) -> Result<Vec<u8>, Unreadable> {
    let body = chunks(lines)?;
    while let Some((number, line)) = next_line(lines) {
        if is_behind(line) {
            break;
        }
        if !line.trim().is_empty() && comment(line).is_none() {
            let why = "bytes after the last chunk; remove them, or begin the next request by `###`";
            return Err(Unreadable::new(number, why));
        }
    }
    Ok(body)
}

/// The rest of a request: its lines with their ends, without the blank lines at the end. Or a file, by one line alone.
fn read_body(
    lines: &mut Lines<'_>,
    variables: &mut Variables,
    file: &mut BodyFile<'_>,
) -> Result<Vec<u8>, Unreadable> {
    let mut body = String::new();
    let mut has_text = false;
    let mut from_file = None;
    while let Some((number, line)) = lines.next_with_end() {
        let line = utf8(line);
        if comment(line).is_some() {
            continue;
        }
        if is_behind(line) {
            break;
        }
        let is_blank = line.trim().is_empty();
        if (is_file(line) && has_text) || (from_file.is_some() && !is_blank) {
            let why = "a file is a part of the body here; write its text in its place";
            return Err(Unreadable::new(number, why));
        }
        if is_file(line) {
            if !line.starts_with("< ") || line.contains("{%") {
                let why = "a script, or a file that the editor changes before it is sent; write the text that is sent";
                return Err(Unreadable::new(number, why));
            }
            from_file = Some(file.take(number, "the body")?);
            continue;
        }
        has_text |= !is_blank;
        body.push_str(&variables.fill(number, line)?);
    }
    if let Some(bytes) = from_file {
        return Ok(bytes.to_vec());
    }
    let text = body.trim_end().len();
    let blanks = body.get(text..).unwrap_or_default();
    let blanks = blanks.split('\n').next().unwrap_or_default();
    body.truncate(text + blanks.trim_end_matches('\r').len());
    Ok(body.into_bytes())
}

fn next_line<'a>(lines: &mut Lines<'a>) -> Option<(usize, &'a str)> {
    let (number, line) = lines.next()?;
    Some((number, utf8(line)))
}

/// The whole file is UTF-8, and so is each line of it.
fn utf8(line: &[u8]) -> &str {
    str::from_utf8(line).unwrap_or_default()
}

/// The text of a comment. Editors leave such lines out, of bodies too.
fn comment(line: &str) -> Option<&str> {
    let line = line.trim_start();
    line.strip_prefix('#').or_else(|| line.strip_prefix("//"))
}

/// The name in a comment such as `# @name first`.
fn name_of(comment: &str) -> Option<&str> {
    let rest = comment.trim_start_matches('#').trim_start();
    let rest = rest.strip_prefix("@name")?;
    let name = rest.trim_start().trim_start_matches('=');
    word(name).filter(|_| name.len() < rest.len())
}

fn word(text: &str) -> Option<&str> {
    Some(text.trim()).filter(|text| !text.is_empty())
}

/// Takes the HTTP version from the end of a request line, and says whether there was one.
fn cut_version(text: &mut String) -> bool {
    let Some((before, version)) = text.rsplit_once([' ', '\t']) else {
        return false;
    };
    let is_version = version
        .get(..5)
        .is_some_and(|start| start.eq_ignore_ascii_case("HTTP/"));
    if is_version {
        text.truncate(before.trim_end().len());
    }
    is_version
}

/// Whether a line after the request says what to do with the answer: a script, or a file to save it in or compare it with.
fn is_behind(line: &str) -> bool {
    ["> ", ">>", "<> "]
        .iter()
        .any(|sign| line.starts_with(sign))
}

/// Whether a line of a body stands for a file or a script: `< path`, `<@ path`, `<@latin1 path`.
fn is_file(line: &str) -> bool {
    let Some(rest) = line.strip_prefix('<') else {
        return false;
    };
    let rest = rest.strip_prefix('@').map_or(rest, |rest| {
        rest.trim_start_matches(|c: char| c.is_ascii_alphanumeric())
    });
    rest.starts_with([' ', '\t']) && !rest.trim().is_empty()
}
