//! Why a request got no usable answer.

use std::time::Duration;

use crate::{
    body,
    metrics::label::{self, UpstreamError},
};

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
    /// All connections that may be open are busy.
    Busy,
    /// The upstream says that it did not process the request.
    NotProcessed,
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

/// Why a request may be sent again: the upstream has not processed it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Resent {
    /// The connection closed before a byte of the request was sent.
    ClosedUnused,
    /// Its stream is above the last one of a GOAWAY (RFC 9113 6.8), or none was opened after it.
    GoAway,
    /// Its stream was reset with `REFUSED_STREAM` (RFC 9113 8.7).
    Refused,
}

impl Resent {
    /// Why the upstream has not processed a request that was sent, if it says so.
    pub(super) fn not_processed(error: &hyper::Error) -> Option<Self> {
        let error = chain(error).find_map(|error| error.downcast_ref::<h2::Error>())?;
        if !error.is_remote() {
            return None;
        }
        // h2 ends only the streams above the last one with this error.
        if error.is_go_away() {
            return Some(Self::GoAway);
        }
        (error.reason() == Some(h2::Reason::REFUSED_STREAM)).then_some(Self::Refused)
    }

    /// The label in metrics.
    pub(super) fn label(self) -> label::Resent {
        match self {
            Self::ClosedUnused => label::Resent::ClosedUnused,
            Self::GoAway => label::Resent::GoAway,
            Self::Refused => label::Resent::Refused,
        }
    }
}

impl Kind {
    /// The label in metrics.
    pub(super) fn label(self) -> UpstreamError {
        match self {
            Self::ConnectFailed => UpstreamError::ConnectFailed,
            Self::ConnectTimeout => UpstreamError::ConnectTimeout,
            Self::Busy => UpstreamError::Busy,
            Self::NotProcessed => UpstreamError::NotProcessed,
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

    pub(super) fn connect_timeout(limit: Duration) -> Self {
        Self {
            kind: Kind::ConnectTimeout,
            sent: Sent::No,
            detail: format!("no connection within {limit:?}"),
        }
    }

    pub(super) fn busy(connections: usize, limit: Duration) -> Self {
        Self {
            kind: Kind::Busy,
            sent: Sent::No,
            detail: format!("none of {connections} connections became free within {limit:?}"),
        }
    }

    pub(super) fn of_connecting(error: &(dyn std::error::Error + 'static)) -> Self {
        let detail = if chain(error).any(is_no_tls) {
            "the upstream does not speak TLS on this port".to_owned()
        } else {
            innermost(error)
        };
        Self {
            kind: Kind::ConnectFailed,
            sent: Sent::No,
            detail,
        }
    }

    /// The upstream has not processed the request.
    pub(super) fn unsent(error: &hyper::Error, reason: Resent) -> Self {
        let (kind, detail) = match reason {
            Resent::ClosedUnused => (Kind::Closed, innermost(error)),
            Resent::GoAway => (
                Kind::NotProcessed,
                "it closes the connection and has not processed the request (GOAWAY)".to_owned(),
            ),
            Resent::Refused => (
                Kind::NotProcessed,
                "it refused the stream (REFUSED_STREAM)".to_owned(),
            ),
        };
        Self {
            kind,
            sent: Sent::No,
            detail,
        }
    }

    pub(super) fn of_sending(error: &hyper::Error) -> Self {
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
            sent: Sent::Maybe,
            detail: innermost(error),
        }
    }
}

/// Whether bytes came on a connection that nobody had sent a request on.
pub(super) fn is_unsolicited(error: &hyper::Error) -> bool {
    // hyper has no name for this one; it is the only one of an idle connection without a cause.
    let innermost = chain(error)
        .filter_map(|error| error.downcast_ref::<hyper::Error>())
        .last();
    innermost.is_some_and(|error| {
        std::error::Error::source(error).is_none()
            && !(error.is_canceled()
                || error.is_closed()
                || error.is_incomplete_message()
                || error.is_parse()
                || error.is_user()
                || error.is_timeout())
    })
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
