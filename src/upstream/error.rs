//! Why a request got no usable answer.

use std::time::Duration;

use crate::{body, metrics::label::UpstreamError};

/// Why a request got no usable answer.
#[derive(Debug)]
pub struct Error {
    /// What happened.
    pub kind: Kind,
    /// Whether the request may have reached the upstream.
    pub sent: Sent,
    /// The innermost cause, at most 200 characters.
    pub detail: String,
}

/// What happened instead of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// No connection.
    ConnectFailed,
    /// No connection in time.
    ConnectTimeout,
    /// The connection broke before the answer's head was complete.
    Closed,
    /// The answer was not valid HTTP.
    BadAnswer,
    /// No answer in time.
    Timeout,
    /// The request's own body was incomplete.
    RequestBroken,
    /// The request's own body stalled.
    RequestTooSlow,
}

/// Whether a request may have reached the upstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sent {
    /// Not a byte of it.
    No,
    /// Unknown.
    Maybe,
}

/// No connection in time.
#[derive(Debug, thiserror::Error)]
#[error("no connection within {0:?}")]
pub(super) struct ConnectTimeout(pub(super) Duration);

impl Kind {
    /// The label in metrics.
    pub(super) fn label(self) -> UpstreamError {
        match self {
            Self::ConnectFailed => UpstreamError::ConnectFailed,
            Self::ConnectTimeout => UpstreamError::ConnectTimeout,
            Self::Closed => UpstreamError::Closed,
            Self::BadAnswer => UpstreamError::BadAnswer,
            Self::Timeout => UpstreamError::ResponseTimeout,
            Self::RequestBroken | Self::RequestTooSlow => UpstreamError::Body,
        }
    }
}

impl Error {
    pub(super) fn timeout(limit: Duration) -> Self {
        Self {
            kind: Kind::Timeout,
            sent: Sent::Maybe,
            detail: format!("no answer within {limit:?}"),
        }
    }

    pub(super) fn of_connecting(error: &(dyn std::error::Error + 'static)) -> Self {
        let is_timeout = chain(error).any(|error| error.is::<ConnectTimeout>());
        let kind = if is_timeout {
            Kind::ConnectTimeout
        } else {
            Kind::ConnectFailed
        };
        let detail = if chain(error).any(is_no_tls) {
            "the upstream does not speak TLS on this port".to_owned()
        } else {
            innermost(error)
        };
        Self {
            kind,
            sent: Sent::No,
            detail,
        }
    }

    pub(super) fn of_sending(error: &hyper::Error, sent: Sent) -> Self {
        let request = chain(error).find_map(|error| {
            Some(match error.downcast_ref::<body::Error>()? {
                body::Error::Read(_) => Kind::RequestBroken,
                body::Error::Idle(_) => Kind::RequestTooSlow,
            })
        });
        let kind = match request {
            Some(kind) => kind,
            None if error.is_parse() => Kind::BadAnswer,
            None => Kind::Closed,
        };
        Self {
            kind,
            sent,
            detail: innermost(error),
        }
    }
}

fn chain<'e>(
    error: &'e (dyn std::error::Error + 'static),
) -> impl Iterator<Item = &'e (dyn std::error::Error + 'static)> {
    std::iter::successors(Some(error), |error| error.source())
}

/// Whether the other side does not speak TLS, for example plain HTTP.
fn is_no_tls(error: &(dyn std::error::Error + 'static)) -> bool {
    // `source` skips the error inside an `io::Error`, which may be another `io::Error`.
    let held = std::iter::successors(error.downcast_ref::<std::io::Error>(), |error| {
        error.get_ref()?.downcast_ref()
    });
    let held = held.last().and_then(std::io::Error::get_ref);
    matches!(
        held.and_then(|held| held.downcast_ref()),
        Some(rustls::Error::InvalidMessage(
            rustls::InvalidMessage::InvalidContentType
        ))
    )
}

/// The bounded text of the innermost cause, which is the most precise.
fn innermost(error: &(dyn std::error::Error + 'static)) -> String {
    // `Box<dyn Error>` hides in an `io::Error`, which shows the same text.
    let text = chain(error).last().unwrap_or(error).to_string();
    text.chars()
        .filter(|letter| !letter.is_control())
        .take(200)
        .collect()
}
