//! Why a request got no usable answer.

use std::time::Duration;

use super::cause::{Cause, Reason, causes, innermost, plain};
use crate::metrics::label::{self, UpstreamError};

/// Why a request got no usable answer.
#[derive(Debug)]
pub struct Error {
    /// What happened.
    pub kind: Kind,
    /// Whether the request may have reached the upstream.
    pub sent: Sent,
    /// The cause in plain words, for callers too: bounded, on one line, without a full stop.
    pub detail: String,
    /// Whether these words say how to mend it.
    pub has_remedy: bool,
    /// What failed, where it is known.
    pub reason: Reason,
    /// The error's own text for the log, at most 200 characters, if it differs.
    exact: Option<String>,
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
    /// The connection closed before a byte of the request, or of its body, was sent.
    ClosedUnused,
    /// Its stream is above the last one of a GOAWAY (RFC 9113 6.8), or none was opened after it.
    GoAway,
    /// Its stream was reset with `REFUSED_STREAM` (RFC 9113 8.7).
    Refused,
}

impl Resent {
    /// Why the upstream has not processed a request that was sent, if it says so.
    pub(super) fn not_processed(error: &hyper::Error) -> Option<Self> {
        let error = causes(error).find_map(|error| error.downcast_ref::<h2::Error>())?;
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
    /// An error with its cause in plain words.
    pub fn new(kind: Kind, sent: Sent, detail: impl Into<String>) -> Self {
        Self {
            kind,
            sent,
            detail: detail.into(),
            has_remedy: false,
            reason: Reason::Other,
            exact: None,
        }
    }

    /// The cause in the words of the library or the system that met it, for the log.
    pub fn exact(&self) -> &str {
        self.exact.as_deref().unwrap_or(&self.detail)
    }

    pub(super) fn timeout(limit: Duration) -> Self {
        let detail = format!("no answer within {limit:?}");
        Self::new(Kind::Timeout, Sent::Maybe, detail)
    }

    pub(super) fn connect_timeout(limit: Duration) -> Self {
        let detail = format!("no connection within {limit:?}");
        Self::new(Kind::ConnectTimeout, Sent::No, detail)
    }

    pub(super) fn busy(connections: usize, limit: Duration) -> Self {
        let detail = format!(
            "no connection (of {connections}, see upstream.max_connections) became free within {limit:?}"
        );
        Self::new(Kind::Busy, Sent::No, detail)
    }

    pub(super) fn of_connecting(error: &(dyn std::error::Error + 'static)) -> Self {
        Self::told(Kind::ConnectFailed, Sent::No, error)
    }

    /// The upstream has not processed the request.
    pub(super) fn unsent(error: &hyper::Error, reason: Resent) -> Self {
        let detail = match reason {
            Resent::ClosedUnused if error.is_user() => {
                let detail = "the connection closed before the body was sent";
                return Self::new(Kind::Closed, Sent::No, detail);
            }
            Resent::ClosedUnused => return Self::told(Kind::Closed, Sent::No, error),
            Resent::GoAway => "it closes the connection (GOAWAY)",
            Resent::Refused => "it refused the stream (REFUSED_STREAM)",
        };
        Self::new(Kind::NotProcessed, Sent::No, detail)
    }

    /// The request was sent, and `of_body` may say that its own body ended early.
    pub(super) fn of_sending(error: &hyper::Error, of_body: Option<Kind>) -> Self {
        let kind = match of_body {
            Some(kind) => kind,
            None if error.is_parse() => Kind::BadAnswer,
            None => Kind::Closed,
        };
        Self::told(kind, Sent::Maybe, error)
    }

    fn told(kind: Kind, sent: Sent, error: &(dyn std::error::Error + 'static)) -> Self {
        let Cause {
            words,
            remedy,
            reason,
        } = plain(error);
        let exact = innermost(error);
        Self {
            kind,
            sent,
            exact: (exact != words).then_some(exact),
            detail: words,
            has_remedy: remedy.is_some(),
            reason,
        }
    }
}

/// Whether bytes came on a connection that nobody had sent a request on.
pub(super) fn is_unsolicited(error: &hyper::Error) -> bool {
    // hyper has no name for this one; it is the only one of an idle connection without a cause.
    let innermost = causes(error)
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
