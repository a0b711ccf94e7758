//! A curl command line, as browsers copy it and documents print it.
//!
//! Read as curl sends it, down to what its options imply. What would read a file, or be sent in another way by
//! another version of curl, is refused.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};

use super::{
    Captured, Unreadable, push_header, quoted,
    target::{self, Place},
    without_blanks,
    words::{Word, Words},
};

mod options;

use self::options::Meaning;

/// What `--data-urlencode` leaves as it is, besides letters and digits.
const NOT_IN_FORM: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

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
    let mut command = Command::new(line);
    while let Some(word) = words.next()? {
        command.take(word, &mut words)?;
    }
    command.request()
}

/// What has been read of the command.
#[derive(Debug)]
struct Command {
    line: usize,
    url: Option<(usize, String)>,
    method: Option<String>,
    /// The headers that are sent.
    headers: Vec<(String, Vec<u8>)>,
    /// The names that `-H` sets or takes away: curl's own headers give way to them.
    named: Vec<String>,
    data: Option<Vec<u8>>,
    is_json: bool,
    is_get: bool,
    is_head: bool,
    globs: bool,
    squashes_dots: bool,
    authorization: Option<(usize, String)>,
    cookie: Option<(usize, Vec<u8>)>,
    agent: Option<(usize, Vec<u8>)>,
    referer: Option<(usize, Vec<u8>)>,
    /// After `--` there are no options.
    only_urls: bool,
}

impl Command {
    fn new(line: usize) -> Self {
        Self {
            line,
            url: None,
            method: None,
            headers: Vec::new(),
            named: Vec::new(),
            data: None,
            is_json: false,
            is_get: false,
            is_head: false,
            globs: true,
            squashes_dots: true,
            authorization: None,
            cookie: None,
            agent: None,
            referer: None,
            only_urls: false,
        }
    }

    /// Reads an argument, and its value if it has one.
    fn take(&mut self, word: Word, words: &mut Words<'_>) -> Result<(), Unreadable> {
        let line = word.line;
        match word.text.as_slice() {
            b"--" if !self.only_urls => {
                self.only_urls = true;
                Ok(())
            }
            [b'-', b'-', name @ ..] if !self.only_urls => {
                let option = format!("--{}", String::from_utf8_lossy(name));
                let meaning = Meaning::of(name).ok_or_else(|| unknown(line, &option))?;
                self.apply(meaning, line, &option, words, None)
            }
            [b'-', letters @ ..] if !self.only_urls && !letters.is_empty() => {
                let mut letters = letters;
                while let [letter, rest @ ..] = letters {
                    let option = format!("-{}", char::from(*letter));
                    let meaning =
                        Meaning::of_letter(*letter).ok_or_else(|| unknown(line, &option))?;
                    if meaning.has_value() {
                        let value = (!rest.is_empty()).then(|| rest.to_vec());
                        return self.apply(meaning, line, &option, words, value);
                    }
                    self.apply(meaning, line, &option, words, None)?;
                    letters = rest;
                }
                Ok(())
            }
            _ => self.set_url(line, word.text),
        }
    }

    /// Does what an option says. `attached` is the value in the same word, as in `-XPUT`.
    fn apply(
        &mut self,
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
            Meaning::Get => self.is_get = true,
            Meaning::Head => self.is_head = true,
            Meaning::GlobOff => self.globs = false,
            Meaning::PathAsIs => self.squashes_dots = false,
            Meaning::Request => {
                let method = utf8(line, option, value)?;
                let method = target::method(&method);
                self.method = Some(method.map_err(|why| Unreadable::new(line, why))?);
            }
            Meaning::Header => {
                no_file(&value)?;
                self.add_header(line, &value)?;
            }
            Meaning::Data => {
                no_file(&value)?;
                self.add_data(&value, b"&");
            }
            Meaning::DataRaw => self.add_data(&value, b"&"),
            Meaning::DataUrlencode => {
                let value = form_field(&value).ok_or_else(|| reads_a_file(line, option))?;
                self.add_data(&value, b"&");
            }
            Meaning::Json => {
                no_file(&value)?;
                self.add_data(&value, b"");
                self.is_json = true;
            }
            Meaning::User if !value.contains(&b':') => {
                let why = format!("curl asks for the password of {option}; write `user:password`");
                return Err(Unreadable::new(line, why));
            }
            Meaning::User => {
                // A bearer token comes first, wherever it stands.
                let is_free = self
                    .authorization
                    .as_ref()
                    .is_none_or(|(_, value)| value.starts_with("Basic "));
                if is_free {
                    let value = format!("Basic {}", STANDARD.encode(value));
                    self.authorization = Some((line, value));
                }
            }
            Meaning::Bearer => {
                let token = utf8(line, option, value)?;
                self.authorization = Some((line, format!("Bearer {token}")));
            }
            Meaning::Cookie if !value.contains(&b'=') => return Err(reads_a_file(line, option)),
            Meaning::Cookie => match &mut self.cookie {
                None => self.cookie = Some((line, value)),
                Some((_, cookie)) => {
                    cookie.push(b';');
                    cookie.extend_from_slice(&value);
                }
            },
            Meaning::Agent => self.agent = Some((line, value)),
            Meaning::Referer => {
                let value = value.strip_suffix(b";auto").unwrap_or(&value);
                self.referer = Some((line, value.to_vec()));
            }
            Meaning::Url => self.set_url(line, value)?,
        }
        Ok(())
    }

    fn set_url(&mut self, line: usize, url: Vec<u8>) -> Result<(), Unreadable> {
        if self.url.is_some() {
            let why = "expected one URL, and this argument is a second one; remove it, or put quotes around a value with blanks";
            return Err(Unreadable::new(line, why));
        }
        let url = String::from_utf8(url)
            .map_err(|_| Unreadable::new(line, "the URL holds a byte that is not UTF-8"))?;
        self.url = Some((line, url));
        Ok(())
    }

    /// `Name: value`; `Name;` is sent without a value, and `Name:` takes away what curl would send by itself.
    fn add_header(&mut self, line: usize, text: &[u8]) -> Result<(), Unreadable> {
        let colon = memchr::memchr(b':', text).and_then(|at| text.split_at_checked(at));
        let (name, value) = match (colon, text.strip_suffix(b";")) {
            (Some((name, value)), _) => {
                let value = without_blanks(value.strip_prefix(b":").unwrap_or(value));
                (name, Some(value).filter(|value| !value.is_empty()))
            }
            (None, Some(name)) => (name, Some(&b""[..])),
            (None, None) => (&b""[..], None),
        };
        let name = str::from_utf8(name).unwrap_or_default();
        if name.is_empty() {
            let why = "expected a header, `Name: value`, or `Name;` for one without a value";
            return Err(Unreadable::new(line, why));
        }
        if self.named.len() == super::MAX_HEADERS {
            return Err(super::too_many_headers(line));
        }
        self.named.push(name.trim().to_owned());
        match value {
            Some(value) => push_header(&mut self.headers, line, name.to_owned(), value),
            None => Ok(()),
        }
    }

    fn add_data(&mut self, value: &[u8], separator: &[u8]) {
        let data = self.data.get_or_insert_default();
        // Versions of curl differ in a separator behind an empty piece; no rule sees it.
        if !data.is_empty() {
            data.extend_from_slice(separator);
        }
        data.extend_from_slice(value);
    }

    /// Puts the parts together as curl does.
    fn request(mut self) -> Result<Captured, Unreadable> {
        let (line, url) = self
            .url
            .take()
            .ok_or_else(|| Unreadable::new(self.line, "the curl command has no URL"))?;
        let mut place = self.place(&url).map_err(|why| Unreadable::new(line, why))?;
        let mut body = self.data.take();
        if let Some(data) = body.take_if(|_| self.is_get) {
            let data = utf8(self.line, "-G", data)?;
            place.target = match place.target.as_str() {
                target if target.ends_with('?') => format!("{target}{data}"),
                target if target.contains('?') => format!("{target}&{data}"),
                target => format!("{target}?{data}"),
            };
        }
        if self.is_head && body.is_some() {
            let why = "curl does not send a body with -I; remove one of the two, or use -X HEAD";
            return Err(Unreadable::new(self.line, why));
        }
        let place = place.plain().map_err(|why| Unreadable::new(line, why))?;
        if !place.target.is_ascii() {
            let why = "a letter beyond ASCII in the URL, which curl sends as it is or percent-encoded; write it percent-encoded";
            return Err(Unreadable::new(line, why));
        }

        self.own_headers(body.is_some())?;
        let implied = match (self.is_head, body.is_some()) {
            (true, _) => "HEAD",
            (false, true) => "POST",
            (false, false) => "GET",
        };
        Ok(Captured {
            method: self.method.unwrap_or_else(|| implied.to_owned()),
            target: place.target,
            authority: place.authority,
            is_absolute: false,
            headers: self.headers,
            body: body.unwrap_or_default(),
            notice: None,
        })
    }

    /// The URL, where every version of curl sends the same.
    fn place(&self, url: &str) -> Result<Place, &'static str> {
        let place = match url.contains("://") {
            true => Place::of(url)?,
            false => Place::of(&format!("http://{url}"))?,
        };
        let mut place = place.without_fragment();
        if self.globs {
            place.target = without_globs(&place.target)?;
        }
        let path = place.target.split('?').next().unwrap_or_default();
        let is_dots = |segment: &str| {
            let segment = segment.replace("%2e", ".").replace("%2E", ".");
            segment == "." || segment == ".."
        };
        if self.squashes_dots && path.split('/').any(is_dots) {
            return Err(
                "curl takes `.` and `..` out of the path; write it without, or add --path-as-is",
            );
        }
        Ok(place)
    }

    /// Adds what curl sends by itself and the rules look at. `Host`, `Accept: */*` and curl's own name are left out.
    fn own_headers(&mut self, has_body: bool) -> Result<(), Unreadable> {
        let line = self.line;
        let mut own: Vec<(usize, &str, Vec<u8>)> = Vec::new();
        if self.is_json {
            own.push((line, "Content-Type", b"application/json".to_vec()));
            own.push((line, "Accept", b"application/json".to_vec()));
        } else if has_body {
            let form = b"application/x-www-form-urlencoded".to_vec();
            own.push((line, "Content-Type", form));
        }
        let authorization = self.authorization.take();
        let authorization = authorization.map(|(line, value)| (line, value.into_bytes()));
        for (name, given) in [
            ("Authorization", authorization),
            ("Cookie", self.cookie.take()),
            ("User-Agent", self.agent.take()),
            ("Referer", self.referer.take()),
        ] {
            // An empty value means none.
            let given = given.filter(|(_, value)| !value.is_empty());
            own.extend(given.map(|(line, value)| (line, name, value)));
        }
        for (line, name, value) in own {
            if !self
                .named
                .iter()
                .any(|named| named.eq_ignore_ascii_case(name))
            {
                push_header(&mut self.headers, line, name.to_owned(), &value)?;
            }
        }
        Ok(())
    }
}

/// Takes away the backslashes that keep curl from making several URLs of braces and brackets.
fn without_globs(target: &str) -> Result<String, &'static str> {
    let mut plain = String::with_capacity(target.len());
    let mut chars = target.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '{' | '}' | '[' | ']' => {
                return Err(
                    "curl makes several URLs of braces and brackets; add -g if they are to stay",
                );
            }
            '\\' => plain.push(
                chars
                    .next_if(|next| matches!(next, '{' | '}' | '[' | ']'))
                    .unwrap_or('\\'),
            ),
            c => plain.push(c),
        }
    }
    Ok(plain)
}

/// The value of `--data-urlencode`: `text`, `=text` or `name=text`; `@file` and `name@file` are none.
fn form_field(value: &[u8]) -> Option<Vec<u8>> {
    let encoded = |text: &[u8]| {
        let text = percent_encode(text, NOT_IN_FORM).to_string();
        text.replace("%20", "+").into_bytes()
    };
    let at = memchr::memchr(b'=', value).or_else(|| memchr::memchr(b'@', value));
    match at.and_then(|at| value.split_at_checked(at)) {
        None => Some(encoded(value)),
        Some((name, [b'=', text @ ..])) => {
            let separator: &[u8] = if name.is_empty() { b"" } else { b"=" };
            Some([name, separator, &encoded(text)].concat())
        }
        Some(_) => None,
    }
}

fn utf8(line: usize, option: &str, value: Vec<u8>) -> Result<String, Unreadable> {
    let why = |_| Unreadable::new(line, format!("the value of {option} is not UTF-8"));
    String::from_utf8(value).map_err(why)
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
