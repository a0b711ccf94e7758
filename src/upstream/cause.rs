//! Why a connection failed, in plain words for callers and operators alike, with the remedy where it is known.

use std::{
    error::Error,
    fmt::Display,
    io::{self, ErrorKind},
    iter,
};

use rustix::io::Errno;

use self::tls::tls;
use super::{bounded::bounded, issuer::UnknownIssuer, tunnel::NoTunnel};

#[cfg(test)]
mod tests;
mod tls;

/// A cause in plain words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Cause {
    /// Without a full stop; with the remedy, where it is known, at the end.
    pub(super) words: String,
    /// How to mend it, in our own words.
    pub(super) remedy: Option<&'static str>,
    pub(super) reason: Reason,
}

/// What failed, as far as RFC 9209 2.3 tells reasons apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// The host name has no address.
    NoAddress,
    /// No way leads to the host.
    Unroutable,
    /// Nobody listens.
    Refused,
    /// The other side's certificate.
    Certificate,
    /// The other side ended TLS.
    Alert,
    /// Any other failure of TLS.
    Tls,
    /// Anything else.
    Other,
}

/// How the standard library's text begins when a name has no address.
const NO_ADDRESS: &str = "failed to lookup address information";

/// The plain words for an error; its own text, bounded, where no words are known.
pub(super) fn plain(error: &(dyn Error + 'static)) -> Cause {
    if let Some(error) = causes(error).find_map(|error| error.downcast_ref()) {
        return tls(error);
    }
    if let Some(error) = causes(error).find_map(|error| error.downcast_ref::<h2::Error>())
        && let (Some(reason), true) = (error.reason(), error.is_reset() && error.is_remote())
    {
        return without_remedy(format!("the upstream reset the stream ({reason:?})"));
    }
    let is_of_proxy = causes(error).any(|error| error.is::<NoTunnel>());
    // Its own words name the proxy.
    let is_told = causes(error)
        .last()
        .is_some_and(|error| error.is::<NoTunnel>());
    let cause = match causes(error)
        .filter_map(|error| error.downcast_ref())
        .last()
    {
        Some(error) => system(error),
        None => without_remedy(innermost(error)),
    };
    match is_of_proxy && !is_told {
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
        let words = "the host name cannot be resolved";
        let remedy = "check the name in upstream.url or of the proxy, and DNS";
        return with_remedy(words, remedy).because(Reason::NoAddress);
    }
    if matches!(
        Errno::from_io_error(error),
        Some(Errno::MFILE | Errno::NFILE)
    ) {
        return with_remedy(
            "the gateway has no free file descriptor",
            "raise its limit of open files (LimitNOFILE=, ulimit -n)",
        );
    }
    let (words, reason) = match error.kind() {
        ErrorKind::ConnectionRefused => ("connection refused", Reason::Refused),
        ErrorKind::HostUnreachable => ("host unreachable", Reason::Unroutable),
        ErrorKind::NetworkUnreachable => ("network unreachable", Reason::Unroutable),
        ErrorKind::ConnectionReset => ("connection reset", Reason::Other),
        ErrorKind::ConnectionAborted => ("connection aborted", Reason::Other),
        ErrorKind::BrokenPipe => (
            "connection closed while the request was sent",
            Reason::Other,
        ),
        ErrorKind::UnexpectedEof => ("connection closed too early", Reason::Other),
        ErrorKind::TimedOut => ("connection timed out", Reason::Other),
        ErrorKind::NetworkDown => ("network down", Reason::Other),
        ErrorKind::AddrNotAvailable => ("no free local port or address", Reason::Other),
        ErrorKind::PermissionDenied => {
            ("the operating system forbids the connection", Reason::Other)
        }
        _ => {
            let (words, _) = text.split_once(" (os error").unwrap_or((&text, ""));
            return without_remedy(bounded(words, 200));
        }
    };
    without_remedy(words).because(reason)
}

impl Cause {
    fn because(self, reason: Reason) -> Self {
        Self { reason, ..self }
    }

    /// The words without the remedy.
    pub(super) fn alone(&self) -> &str {
        let remedy = self.remedy.unwrap_or_default();
        let alone = self.words.strip_suffix(remedy);
        let alone = alone.and_then(|alone| alone.strip_suffix("; "));
        alone.unwrap_or(&self.words)
    }
}

fn with_remedy(words: impl Display, remedy: &'static str) -> Cause {
    Cause {
        words: format!("{words}; {remedy}"),
        remedy: Some(remedy),
        reason: Reason::Other,
    }
}

fn without_remedy(words: impl Into<String>) -> Cause {
    Cause {
        words: words.into(),
        remedy: None,
        reason: Reason::Other,
    }
}
