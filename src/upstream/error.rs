//! Why a request got no usable answer.

use std::time::Duration;

use super::cause::{Cause, Reason, causes, innermost, plain};
use crate::{body, metrics::label::UpstreamError};

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

    pub(super) fn of_connecting(error: &(dyn std::error::Error + 'static)) -> Self {
        let is_timeout = causes(error).any(|error| error.is::<ConnectTimeout>());
        let kind = if is_timeout {
            Kind::ConnectTimeout
        } else {
            Kind::ConnectFailed
        };
        Self::told(kind, Sent::No, error)
    }

    pub(super) fn of_sending(error: &hyper::Error, sent: Sent) -> Self {
        let request = causes(error).find_map(|error| {
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
        Self::told(kind, sent, error)
    }

    fn told(kind: Kind, sent: Sent, error: &(dyn std::error::Error + 'static)) -> Self {
        let Cause {
            words,
            has_remedy,
            reason,
        } = plain(error);
        let exact = innermost(error);
        Self {
            kind,
            sent,
            exact: (exact != words).then_some(exact),
            detail: words,
            has_remedy,
            reason,
        }
    }
}
