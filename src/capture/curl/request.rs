//! The request that the options of a curl command make.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};

use crate::capture::{
    Captured, MAX_HEADERS, Unreadable, push_header, target::Place, too_many_headers, without_blanks,
};

/// What `--data-urlencode` leaves as it is, besides letters and digits.
const NOT_IN_FORM: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// The name by which curl introduces itself. Which version sends the request does not stand in its command.
const AGENT: &str = "curl/8.0.0";

/// What the command asks curl to send, as far as it has been read.
#[derive(Debug)]
pub(super) struct Request {
    line: usize,
    url: Option<(usize, String)>,
    pub(super) method: Option<String>,
    /// The headers that are sent.
    headers: Vec<(String, Vec<u8>)>,
    /// The names that `-H` sets or takes away: curl's own headers give way to them.
    named: Vec<String>,
    data: Option<Vec<u8>>,
    pub(super) is_json: bool,
    pub(super) is_get: bool,
    pub(super) is_head: bool,
    pub(super) globs: bool,
    pub(super) squashes_dots: bool,
    pub(super) authorization: Option<String>,
    pub(super) cookie: Option<Vec<u8>>,
    pub(super) agent: Option<Vec<u8>>,
    pub(super) referer: Option<Vec<u8>>,
}

impl Request {
    pub(super) fn of(line: usize) -> Self {
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
        }
    }

    pub(super) fn set_url(&mut self, line: usize, url: Vec<u8>) -> Result<(), Unreadable> {
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
    pub(super) fn add_header(&mut self, line: usize, text: &[u8]) -> Result<(), Unreadable> {
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
        if self.named.len() == MAX_HEADERS {
            return Err(too_many_headers(line));
        }
        self.named.push(name.trim().to_owned());
        match value {
            Some(value) => push_header(&mut self.headers, line, name.to_owned(), value),
            None => Ok(()),
        }
    }

    pub(super) fn add_data(&mut self, value: &[u8], separator: &[u8]) {
        let data = self.data.get_or_insert_default();
        // Versions of curl differ in a separator after an empty piece; no rule sees it.
        if !data.is_empty() {
            data.extend_from_slice(separator);
        }
        data.extend_from_slice(value);
    }

    /// Puts the parts together as curl does.
    pub(super) fn captured(mut self) -> Result<Captured, Unreadable> {
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

        self.add_own_headers(body.is_some());
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
                "curl removes `.` and `..` from the path; write the path without them, or add --path-as-is",
            );
        }
        Ok(place)
    }

    /// Adds the headers that curl sends by itself, but for `Host` and the length of the body.
    fn add_own_headers(&mut self, has_body: bool) {
        let (content_type, accept) = match (self.is_json, has_body) {
            (true, _) => (Some("application/json"), "application/json"),
            (false, true) => (Some("application/x-www-form-urlencoded"), "*/*"),
            (false, false) => (None, "*/*"),
        };
        let agent = self.agent.take();
        for (name, value) in [
            (
                "Authorization",
                self.authorization.take().map(String::into_bytes),
            ),
            ("User-Agent", Some(agent.unwrap_or_else(|| AGENT.into()))),
            ("Accept", Some(accept.into())),
            ("Referer", self.referer.take()),
            ("Cookie", self.cookie.take()),
            ("Content-Type", content_type.map(Into::into)),
        ] {
            let is_named = |named: &String| named.eq_ignore_ascii_case(name);
            // An empty value means none.
            if let Some(value) = value.filter(|value| !value.is_empty())
                && !self.named.iter().any(is_named)
            {
                self.headers
                    .push((name.to_owned(), without_blanks(&value).to_vec()));
            }
        }
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
                    "curl expands braces and brackets into several URLs; add -g to keep them",
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

/// The value of `--data-urlencode`.
pub(super) enum FormField<'a> {
    /// `text`, `=text` or `name=text`, encoded.
    Text(Vec<u8>),
    /// `@file` or `name@file`.
    File { name: &'a [u8] },
}

pub(super) fn form_field(value: &[u8]) -> FormField<'_> {
    let at = memchr::memchr(b'=', value).or_else(|| memchr::memchr(b'@', value));
    match at.and_then(|at| value.split_at_checked(at)) {
        None => FormField::Text(encoded(b"", value)),
        Some((name, [b'=', text @ ..])) => FormField::Text(encoded(name, text)),
        Some((name, _)) => FormField::File { name },
    }
}

/// A field of a form; a name stands as it is.
pub(super) fn encoded(name: &[u8], text: &[u8]) -> Vec<u8> {
    let separator: &[u8] = if name.is_empty() { b"" } else { b"=" };
    let text = percent_encode(text, NOT_IN_FORM).to_string();
    [name, separator, text.replace("%20", "+").as_bytes()].concat()
}

pub(super) fn utf8(line: usize, option: &str, value: Vec<u8>) -> Result<String, Unreadable> {
    let why = |_| Unreadable::new(line, format!("the value of {option} is not UTF-8"));
    String::from_utf8(value).map_err(why)
}
