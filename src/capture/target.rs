//! What a URL asks for, and of whom.

use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

use super::placeholder::template;

/// What cannot stand in a target: blanks, control characters and, always, what is not ASCII.
const NOT_IN_TARGET: &AsciiSet = &CONTROLS.add(b' ');

/// A target and the authority it was split from.
#[derive(Debug)]
pub(super) struct Place {
    /// Path and query, or `*`.
    pub(super) target: String,
    pub(super) authority: Option<String>,
}

impl Place {
    /// Splits a URL; one without scheme and host begins with `/`. The error says what was expected.
    pub(super) fn of(url: &str) -> Result<Self, &'static str> {
        without_template(url)?;
        if url.starts_with('/') || url == "*" {
            return Ok(Self {
                target: url.to_owned(),
                authority: None,
            });
        }
        let rest = ["https://", "http://"]
            .into_iter()
            .find_map(|scheme| {
                let (start, rest) = url.split_at_checked(scheme.len())?;
                start.eq_ignore_ascii_case(scheme).then_some(rest)
            })
            .ok_or("expected a URL that begins with https://, http:// or /")?;
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, target) = rest.split_at(end);
        if authority.is_empty() || authority.contains(|c: char| c.is_whitespace() || c.is_control())
        {
            return Err("expected a host name in the URL");
        }
        // Readers differ in what they make of it, and it is a secret.
        if authority.contains('@') {
            return Err("the URL holds a user name; write an Authorization header instead");
        }
        let slash = if target.starts_with('/') { "" } else { "/" };
        Ok(Self {
            target: format!("{slash}{target}"),
            authority: Some(authority.to_owned()),
        })
    }

    /// Without the fragment, which no client sends.
    pub(super) fn without_fragment(mut self) -> Self {
        if let Some(at) = self.target.find('#') {
            self.target.truncate(at);
        }
        self
    }

    /// With blanks and letters beyond ASCII as clients send them.
    pub(super) fn encoded(mut self) -> Self {
        self.target = utf8_percent_encode(&self.target, NOT_IN_TARGET).to_string();
        self
    }

    /// Refuses blanks, control characters and templates.
    pub(super) fn plain(self) -> Result<Self, &'static str> {
        without_template(&self.target)?;
        match self.target.bytes().all(|byte| byte > b' ' && byte != 0x7f) {
            true => Ok(self),
            false => Err("a blank or a control character in the URL; write it as %20 or the like"),
        }
    }
}

fn without_template(url: &str) -> Result<(), &'static str> {
    match template(url) {
        None => Ok(()),
        Some(_) => Err("the URL contains an unfilled template such as `{{host}}`; write its value"),
    }
}

/// A method that can stand in a request line.
pub(super) fn method(text: &str) -> Result<String, &'static str> {
    match text.bytes().all(|byte| byte > b' ' && byte != 0x7f) && !text.is_empty() {
        true => Ok(text.to_owned()),
        false => Err("expected a method such as PUT, without blanks"),
    }
}
