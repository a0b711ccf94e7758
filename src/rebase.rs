//! Re-bases absolute URLs of the service on the gateway, so that clients that follow them stay on it.
//!
//! Only `@odata.nextLink`, `@odata.context` and `links.*.uri` in JSON and the header fields `Location` and
//! `Content-Location` are edited, and of them only scheme, host and port, if the host is the service's. Every other byte
//! stays. Answers are edited piece by piece, with bounded memory.

use std::{ops::Range, sync::Arc};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header, uri::Authority};
use memchr::memmem::Finder;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

pub use self::{
    asked::Asked,
    coding::{Coding, decode},
};
use self::{coding::Decoder, text::url_at};
use crate::{
    body,
    metrics::{Metrics, label::NotRewritten},
};

mod asked;
mod coding;
#[cfg(test)]
mod tests;
mod text;

/// The name that the service has in its own URLs, whatever it is called by.
pub const SERVICE: &str = "api.partner.microsoft.com";

/// What URLs of the service become.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RewriteUrls {
    /// They stay as they are.
    Off,
    /// They name the gateway as the caller of the request has reached it.
    ToCaller,
    /// They name this origin: scheme, host and, where it has one, port.
    To(Arc<str>),
}

/// The hosts whose URLs are re-based.
#[derive(Debug)]
pub struct Hosts {
    finders: Vec<Finder<'static>>,
    /// For answers in Brotli, each of which may need a window of 16 MiB.
    windows: Arc<Semaphore>,
}

/// The most answers in Brotli that are decoded at once.
const WINDOWS: usize = 16;

impl Hosts {
    /// The host of the upstream, and the name that the service has in its own URLs.
    pub fn of(upstream: &Authority) -> Self {
        let own = upstream.host();
        let other = Some(SERVICE).filter(|other| !own.eq_ignore_ascii_case(other));
        let finder = |host: &str| Finder::new(host.to_ascii_lowercase().as_str()).into_owned();
        Self {
            finders: [own].into_iter().chain(other).map(finder).collect(),
            windows: Arc::new(Semaphore::new(WINDOWS)),
        }
    }

    fn longest(&self) -> usize {
        let lengths = self.finders.iter().map(|host| host.needle().len());
        lengths.max().unwrap_or_default()
    }

    /// The places of hosts in a text from `start` on, in their order, with their lengths.
    fn places(&self, text: &[u8], start: usize) -> Vec<(usize, usize)> {
        let rest = text.get(start..).unwrap_or_default();
        let mut all = Vec::new();
        for host in &self.finders {
            let length = host.needle().len();
            all.extend(host.find_iter(rest).map(|at| (start + at, length)));
        }
        if self.finders.len() > 1 {
            all.sort_unstable();
        }
        all
    }

    /// Scheme, host and port of a URL, if its host is one of these.
    fn origin_of(&self, url: &str) -> Option<Range<usize>> {
        let (scheme, rest) = url.split_once("://")?;
        let is_web = ["http", "https"]
            .iter()
            .any(|web| scheme.eq_ignore_ascii_case(web));
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let authority = rest.get(..end)?;
        let (host, port) = authority.split_once(':').unwrap_or((authority, ""));
        let is_port = port.bytes().all(|digit| digit.is_ascii_digit());
        let is_ours = self
            .finders
            .iter()
            .any(|own| host.as_bytes().eq_ignore_ascii_case(own.needle()));
        (is_web && is_port && is_ours).then_some(0..scheme.len() + 3 + end)
    }
}

/// Edits the header section of an answer, and returns what edits its body. `None` if the body stays as it is.
pub fn edit(
    hosts: &Arc<Hosts>,
    asked: &Asked,
    status: StatusCode,
    headers: &mut HeaderMap,
    metrics: &Arc<Metrics>,
) -> Option<Box<Rebase>> {
    let base = asked.base()?;
    let fields = Fields::of(headers);
    if fields.has_urls {
        edit_fields(hosts, &base, headers, metrics);
    }
    let is_empty = headers
        .get(header::CONTENT_LENGTH)
        .is_some_and(|length| length.as_bytes() == b"0");
    if is_json(headers) != Some(true) || is_empty || matches!(status.as_u16(), 204 | 304) {
        return None;
    }
    let (decoder, window) = match plan(hosts, asked, status, headers, fields) {
        Ok(decoder) => decoder,
        Err(reason) => {
            metrics.not_rewritten(reason);
            return None;
        }
    };
    // HEAD tells of the body that GET would get, whose length nobody knows.
    let length = headers.remove(header::CONTENT_LENGTH);
    if fields.is_special {
        headers.remove(header::CONTENT_ENCODING);
        // A part of the service's own bytes would not fit to what is edited.
        headers.remove(header::ACCEPT_RANGES);
    }
    let length = length.and_then(|length| length.to_str().ok()?.parse().ok());
    let is_small = length.is_some_and(|length: usize| length <= MAX_SETTLED);
    (!asked.is_head).then(|| {
        let mut rebase = Rebase::new(hosts, base, decoder, metrics, is_small);
        rebase.window_of_coding = window;
        Box::new(rebase)
    })
}

/// Which fields an answer has that matter here. Most have none, and one pass costs less than a look-up of each.
#[derive(Clone, Copy, Default)]
struct Fields {
    has_urls: bool,
    /// A digest or a signature covers the body.
    is_fixed: bool,
    /// `Content-Encoding`, `Cache-Control` or `Accept-Ranges`.
    is_special: bool,
}

impl Fields {
    fn of(headers: &HeaderMap) -> Self {
        let mut fields = Self::default();
        for name in headers.keys() {
            match name.as_str() {
                "location" | "content-location" => fields.has_urls = true,
                "content-digest" | "repr-digest" | "digest" | "content-md5" | "signature" => {
                    fields.is_fixed = true;
                }
                "content-encoding" | "cache-control" | "accept-ranges" => fields.is_special = true,
                _ => {}
            }
        }
        fields
    }
}

/// Fields whose values are URLs (RFC 9110 8.7, 10.2.2).
fn edit_fields(hosts: &Hosts, base: &str, headers: &mut HeaderMap, metrics: &Metrics) {
    for name in [header::LOCATION, header::CONTENT_LOCATION] {
        let Some(value) = headers.get_mut(name) else {
            continue;
        };
        let edited = value.to_str().ok().and_then(|url| {
            let origin = hosts.origin_of(url)?;
            let rest = url.get(origin.end..)?;
            HeaderValue::try_from(format!("{base}{rest}")).ok()
        });
        if let Some(edited) = edited {
            *value = edited;
            metrics.urls_rewritten.inc();
        }
    }
}

/// How the body is to be read, or why it must stay as it is.
fn plan(
    hosts: &Hosts,
    asked: &Asked,
    status: StatusCode,
    headers: &HeaderMap,
    fields: Fields,
) -> Result<(Decoder, Option<OwnedSemaphorePermit>), NotRewritten> {
    if status == StatusCode::PARTIAL_CONTENT {
        return Err(NotRewritten::Partial);
    }
    if fields.is_fixed {
        return Err(NotRewritten::Digest);
    }
    if !fields.is_special {
        return Ok((Decoder::of(Coding::Identity), None));
    }
    // RFC 9111 5.2.2.6.
    let mut directives = headers.get_all(header::CACHE_CONTROL).iter();
    let forbids = |value: &HeaderValue| {
        let value = value.as_bytes().to_ascii_lowercase();
        memchr::memmem::find(&value, b"no-transform").is_some()
    };
    if directives.any(forbids) {
        return Err(NotRewritten::NoTransform);
    }
    let coding = Coding::of(headers).ok_or(NotRewritten::Coding)?;
    if coding != Coding::Identity && !asked.takes_identity {
        return Err(NotRewritten::Coding);
    }
    let window = match coding {
        Coding::Brotli => {
            let window = Arc::clone(&hosts.windows).try_acquire_owned();
            Some(window.map_err(|_| NotRewritten::Coding)?)
        }
        Coding::Identity | Coding::Gzip | Coding::Deflate => None,
    };
    Ok((Decoder::of(coding), window))
}

/// Whether an answer says that it is JSON; `None` if it has no `Content-Type`.
pub fn is_json(headers: &HeaderMap) -> Option<bool> {
    let value = headers.get(header::CONTENT_TYPE)?;
    let essence = value.as_bytes().split(|byte| *byte == b';').next();
    let essence = essence.unwrap_or_default().trim_ascii();
    let suffix = essence.len().saturating_sub(b"+json".len());
    Some(
        essence.eq_ignore_ascii_case(b"application/json")
            || essence.split_at(suffix).1.eq_ignore_ascii_case(b"+json"),
    )
}

/// How far is looked back from a host to see in which member of which object a URL stands. So much of what was passed on is
/// kept.
const CONTEXT: usize = 2048;
/// Around a host: `https:\/\/` before it, and a port and `\/` behind it.
const AROUND: usize = 10 + 6 + 2;

/// Room for what URLs become longer, in bytes.
const ROOM: usize = 256;

/// An answer of so many bytes at most is edited as a whole, so that its length is known when it begins.
const MAX_SETTLED: usize = 64 * 1024;

/// Edits the body of an answer, piece by piece.
pub struct Rebase {
    /// Whether the body is to be edited as a whole.
    is_small: bool,
    hosts: Arc<Hosts>,
    base: Box<str>,
    decoder: Decoder,
    metrics: Arc<Metrics>,
    /// The end of what was passed on, then what was not.
    window: Vec<u8>,
    /// How much of the window was passed on.
    passed: usize,
    /// Edited, and not yet passed on.
    ready: Vec<u8>,
    is_finished: bool,
    is_over: bool,
    window_of_coding: Option<OwnedSemaphorePermit>,
}

impl Rebase {
    fn new(
        hosts: &Arc<Hosts>,
        base: Box<str>,
        decoder: Decoder,
        metrics: &Arc<Metrics>,
        is_small: bool,
    ) -> Self {
        Self {
            is_small,
            hosts: Arc::clone(hosts),
            base,
            decoder,
            metrics: Arc::clone(metrics),
            window: Vec::new(),
            passed: 0,
            ready: Vec::new(),
            is_finished: false,
            is_over: false,
            window_of_coding: None,
        }
    }

    /// The end of what can be passed on: a URL may have begun that more bytes make one of the service.
    fn decided(&self) -> usize {
        let length = self.window.len();
        let looked_at = length.saturating_sub(self.hosts.longest() + AROUND + 1);
        let tail = self.window.get(looked_at..).unwrap_or_default();
        let Some(quote) = memchr::memrchr(b'"', tail) else {
            return length;
        };
        let begun = tail.get(quote + 1..).unwrap_or_default();
        let mut letters = begun.iter().zip(b"http");
        match letters.all(|(one, other)| one.eq_ignore_ascii_case(other)) {
            true => (looked_at + quote + 1).max(self.passed),
            false => length,
        }
    }

    /// Edits what has been read, up to the point where the next bytes may matter.
    fn edit(&mut self, is_last: bool) {
        let end = match is_last {
            true => self.window.len(),
            false => self.decided(),
        };
        let mut from = self.passed;
        // A few URLs may become longer.
        self.ready.reserve(end - from + ROOM);
        let (mut rewritten, mut out_of_reach) = (0, 0);
        for (at, length) in self.hosts.places(&self.window, self.passed) {
            // Looking further back would cost more the longer a piece is.
            let reach = at.saturating_sub(CONTEXT);
            let text = self.window.get(reach..).unwrap_or_default();
            match url_at(text, at - reach, length) {
                text::Found::Nothing => {}
                text::Found::OutOfReach => out_of_reach += u64::from(at < end),
                text::Found::Origin(origin) => {
                    let (start, after) = (origin.start + reach, origin.end + reach);
                    if start >= end {
                        break;
                    }
                    pass(&mut self.ready, &self.window, from..start);
                    self.ready.extend_from_slice(self.base.as_bytes());
                    from = after;
                    rewritten += 1;
                }
            }
        }
        let end = end.max(from);
        pass(&mut self.ready, &self.window, from..end);
        self.passed = end;
        if self.passed > CONTEXT && !is_last {
            self.window.drain(..self.passed - CONTEXT);
            self.passed = CONTEXT;
        }
        self.metrics.urls_rewritten.inc_by(rewritten);
        for _ in 0..out_of_reach {
            self.metrics.not_rewritten(NotRewritten::Context);
        }
    }
}

fn pass(ready: &mut Vec<u8>, window: &[u8], range: Range<usize>) {
    ready.extend_from_slice(window.get(range).unwrap_or_default());
}

impl body::Editor for Rebase {
    fn take(&mut self, piece: Bytes) {
        self.decoder.take(piece);
    }

    fn finish(&mut self) {
        self.is_finished = true;
    }

    fn next(&mut self) -> Result<Option<Bytes>, body::Error> {
        loop {
            if !self.ready.is_empty() {
                return Ok(Some(std::mem::take(&mut self.ready).into()));
            }
            if self.decoder.decode(&mut self.window)? {
                // A body that has come whole is searched once.
                let is_whole = self.is_finished && self.decoder.is_drained();
                if !is_whole {
                    self.edit(false);
                }
            } else if self.is_finished && !self.is_over {
                self.decoder.finish(&mut self.window)?;
                self.is_over = true;
                self.edit(true);
            } else {
                return Ok(None);
            }
        }
    }

    fn is_over(&self) -> bool {
        self.is_over && self.ready.is_empty()
    }

    fn settles(&self) -> usize {
        // What is decoded may be much more.
        if self.is_small { 4 * MAX_SETTLED } else { 0 }
    }
}
