//! Why a connection failed, in plain words for callers and operators alike, with the remedy where it is known.

use std::{
    error::Error,
    io::{self, ErrorKind},
    iter,
};

use self::tls::tls;
use super::issuer::UnknownIssuer;

#[cfg(test)]
mod tests;
mod tls;

/// A cause in plain words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Cause {
    /// Without a full stop.
    pub(super) words: String,
    /// Whether they say how to mend it.
    pub(super) has_remedy: bool,
}

/// How the standard library's text begins when a name has no address.
const NO_ADDRESS: &str = "failed to lookup address information";
/// How hyper-util's text begins when a proxy opens no tunnel.
const NO_TUNNEL: &str = "tunnel error";

/// The plain words for an error; its own text, bounded, where no words are known.
pub(super) fn plain(error: &(dyn Error + 'static)) -> Cause {
    if let Some(error) = causes(error).find_map(|error| error.downcast_ref()) {
        return tls(error);
    }
    let is_of_proxy = causes(error).any(|error| error.to_string().starts_with(NO_TUNNEL));
    let cause = match causes(error)
        .filter_map(|error| error.downcast_ref())
        .last()
    {
        Some(error) => system(error),
        None => without_remedy(innermost(error)),
    };
    match is_of_proxy && !cause.words.starts_with(NO_TUNNEL) {
        true => Cause {
            words: format!("the proxy: {}", cause.words),
            ..cause
        },
        false => cause,
    }
}

/// The bounded text of the innermost cause, which is the most precise.
pub(super) fn innermost(error: &(dyn Error + 'static)) -> String {
    let text = causes(error).last().unwrap_or(error).to_string();
    bounded(&text, 200)
}

/// The error and what it is made of. `source` skips the error inside an `io::Error`.
pub(super) fn causes<'e>(
    error: &'e (dyn Error + 'static),
) -> impl Iterator<Item = &'e (dyn Error + 'static)> {
    iter::successors(Some(error), |&error| {
        match error.downcast_ref::<io::Error>().map(io::Error::get_ref) {
            Some(Some(inner)) => Some(inner),
            _ => error.source(),
        }
    })
}

/// What the operating system says.
fn system(error: &io::Error) -> Cause {
    let text = error.to_string();
    if text.starts_with(NO_ADDRESS) {
        return with_remedy(
            "the host name cannot be resolved; check the name in upstream.url or of the proxy, and DNS",
        );
    }
    // EMFILE, ENFILE: the library has no name for these.
    if matches!(error.raw_os_error(), Some(24 | 23)) {
        return with_remedy(
            "the gateway has no free file descriptor; raise its limit of open files (LimitNOFILE=, ulimit -n)",
        );
    }
    let words = match error.kind() {
        ErrorKind::ConnectionRefused => "connection refused",
        ErrorKind::ConnectionReset => "connection reset",
        ErrorKind::ConnectionAborted => "connection aborted",
        ErrorKind::BrokenPipe => "connection closed while the request was sent",
        ErrorKind::UnexpectedEof => "connection closed too early",
        ErrorKind::TimedOut => "connection timed out",
        ErrorKind::HostUnreachable => "host unreachable",
        ErrorKind::NetworkUnreachable => "network unreachable",
        ErrorKind::NetworkDown => "network down",
        ErrorKind::AddrNotAvailable => "no free local port or address",
        ErrorKind::PermissionDenied => "the operating system forbids the connection",
        _ => {
            let (words, _) = text.split_once(" (os error").unwrap_or((&text, ""));
            return without_remedy(bounded(words, 200));
        }
    };
    without_remedy(words.to_owned())
}

fn with_remedy(words: impl Into<String>) -> Cause {
    Cause {
        words: words.into(),
        has_remedy: true,
    }
}

fn without_remedy(words: String) -> Cause {
    Cause {
        words,
        has_remedy: false,
    }
}

/// On one line, at most so many characters.
fn bounded(text: &str, length: usize) -> String {
    let letters = text.chars().filter(|letter| !letter.is_control());
    letters.take(length).collect()
}
