//! An HTTP archive (HAR 1.2) as browsers and proxies save it: a whole one, one entry, or one request of it.

use std::borrow::Cow;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::{Deserialize, de::IgnoredAny};
use serde_json::value::RawValue;

use super::{
    Captured, Unreadable, lines_in, push_header, quoted,
    target::{self, Place},
};

/// What the three kinds of document have at their top.
#[derive(Deserialize)]
#[serde(expecting = "an object")]
struct Document<'a> {
    #[serde(borrow)]
    log: Option<&'a RawValue>,
    #[serde(borrow)]
    request: Option<&'a RawValue>,
    method: Option<IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(expecting = "an object with `entries`")]
struct Log<'a> {
    #[serde(borrow)]
    entries: Vec<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(expecting = "an object with `request`")]
struct Entry<'a> {
    #[serde(borrow)]
    request: &'a RawValue,
}

/// What an entry is chosen by.
#[derive(Deserialize)]
struct Outline<'a> {
    #[serde(borrow)]
    method: Cow<'a, str>,
    #[serde(borrow)]
    url: Cow<'a, str>,
}

#[derive(Deserialize)]
#[serde(
    rename_all = "camelCase",
    expecting = "an object with `method` and `url`"
)]
struct Request {
    method: String,
    url: String,
    #[serde(default)]
    headers: Vec<Header>,
    post_data: Option<PostData>,
    /// -1 when it is not known; some writers make it a fraction.
    body_size: Option<f64>,
}

#[derive(Deserialize)]
#[serde(expecting = "an object with `name` and `value`")]
struct Header {
    name: String,
    value: String,
}

#[derive(Deserialize)]
#[serde(expecting = "an object with `text`")]
struct PostData {
    text: Option<String>,
    params: Option<Vec<IgnoredAny>>,
    encoding: Option<String>,
}

pub(super) fn read(text: &str, which: Option<&str>) -> Result<Captured, Unreadable> {
    let place = Part { text, line: 1 };
    let document: Document<'_> = match text.trim_start().starts_with('{') {
        true => place.read()?,
        false => return Err(place.error("expected an object, such as one entry of a HAR")),
    };
    let (request, notice) = if let Some(log) = document.log {
        let log = place.part(log);
        let entries = log.read::<Log<'_>>()?.entries;
        let (entry, notice) = choose(&entries, which).map_err(|why| log.error(why))?;
        let entry = place.part(entry);
        (place.part(entry.read::<Entry<'_>>()?.request), notice)
    } else {
        super::only_one(which)?;
        match (document.request, document.method) {
            (Some(request), _) => (place.part(request), None),
            (None, Some(_)) => (place, None),
            (None, None) => {
                let why = "JSON, but no HAR (`log`, or `request`, or `method` and `url`); give a request with its method, URL and headers, and its body by --body FILE";
                return Err(place.error(why));
            }
        }
    };
    let captured = request.read::<Request>()?.captured(request.line)?;
    Ok(Captured { notice, ..captured })
}

/// A part of the text and the line it begins in.
#[derive(Clone, Copy)]
struct Part<'a> {
    text: &'a str,
    line: usize,
}

impl<'a> Part<'a> {
    /// A part of this part. It was borrowed from the text, so its address tells where it stands.
    fn part(self, inner: &'a RawValue) -> Self {
        let text = inner.get();
        let offset = text.as_ptr().addr().wrapping_sub(self.text.as_ptr().addr());
        let before = self.text.as_bytes().get(..offset).unwrap_or_default();
        Self {
            text,
            line: self.line + lines_in(before),
        }
    }

    fn read<T: Deserialize<'a>>(self) -> Result<T, Unreadable> {
        serde_json::from_str(self.text).map_err(|error| {
            let line = self.line + error.line().saturating_sub(1);
            Unreadable::new(line, why(&error))
        })
    }

    fn error(self, why: impl Into<String>) -> Unreadable {
        Unreadable::new(self.line, why)
    }
}

/// What is wrong, without the value that was found.
fn why(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let text = text
        .rsplit_once(" at line ")
        .map_or(&*text, |(text, _)| text);
    match text.rsplit_once(", expected ") {
        Some((_, expected)) => format!("the HAR has something else here: expected {expected}"),
        None if error.is_data() => format!("the HAR lacks something, or has it twice: {text}"),
        None => format!("not JSON: {text}"),
    }
}

/// The entry that was asked for; else the only one, the first that writes to what looks like a referral, or the first.
fn choose<'a>(
    entries: &[&'a RawValue],
    which: Option<&str>,
) -> Result<(&'a RawValue, Option<String>), String> {
    let count = entries.len();
    if let Some(which) = which {
        let number = which.parse::<usize>().ok();
        let entry = number.and_then(|number| entries.get(number.checked_sub(1)?));
        return entry.map(|entry| (*entry, None)).ok_or_else(|| {
            format!(
                "there is no request {}; give a number from 1 to {count}",
                quoted(which)
            )
        });
    }
    let is_write = |entry: &&RawValue| {
        let entry: Option<Entry<'_>> = serde_json::from_str(entry.get()).ok();
        let request: Option<Outline<'_>> =
            entry.and_then(|entry| serde_json::from_str(entry.request.get()).ok());
        request.is_some_and(|request| {
            matches!(&*request.method, "PUT" | "PATCH" | "POST")
                && request.url.to_ascii_lowercase().contains("referral")
        })
    };
    let at = entries.iter().position(is_write);
    let entry = entries
        .get(at.unwrap_or(0))
        .ok_or("the HAR has no entries")?;
    let number = at.unwrap_or(0) + 1;
    let reason = match at {
        Some(_) => "the first that writes to a referral",
        None => "the first, since none writes to a referral",
    };
    let notice = format!("The HAR has {count} requests; number {number} was read, {reason}.");
    Ok((*entry, Some(notice).filter(|_| count > 1)))
}

impl Request {
    fn captured(self, line: usize) -> Result<Captured, Unreadable> {
        let cannot = |why: &str| Unreadable::new(line, why);
        let method = target::method(&self.method).map_err(cannot)?;
        let place = Place::of(&self.url)
            .and_then(|place| place.without_fragment().plain())
            .map_err(cannot)?
            .encoded();
        let mut headers = Vec::new();
        for Header { name, value } in self.headers {
            if name.trim().is_empty() {
                return Err(cannot("a header of this request has no name"));
            }
            // The pseudo-headers of HTTP/2 say again what method and URL say.
            if !name.starts_with(':') {
                push_header(&mut headers, line, name, value.as_bytes())?;
            }
        }
        let body = match self.post_data {
            Some(data) => data.bytes().map_err(cannot)?,
            None => Vec::new(),
        };
        if body.is_empty() && self.body_size.is_some_and(|size| size > 0.0) {
            return Err(cannot(
                "the HAR does not contain the body of this request; capture it again",
            ));
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
}

impl PostData {
    fn bytes(self) -> Result<Vec<u8>, &'static str> {
        let text = self.text.unwrap_or_default();
        match self.encoding.as_deref() {
            None | Some("") => {}
            Some("base64") => {
                let bytes = STANDARD.decode(text);
                return bytes.map_err(|_| "postData.text is not base64, as its encoding says");
            }
            Some(_) => return Err("expected no encoding of postData but base64"),
        }
        if text.is_empty() && self.params.is_some_and(|params| !params.is_empty()) {
            return Err("postData has the fields of a form and not the text that was sent");
        }
        Ok(text.into_bytes())
    }
}
