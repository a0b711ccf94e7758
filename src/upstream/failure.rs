//! A request that got no answer, and whether it may be sent again.

use std::sync::Arc;

use http::Request;
use hyper::client::conn::TrySendError;

use super::{error::Resent, signals::Signals};
use crate::body::Body;

/// A request that got no answer.
pub(super) struct Failure {
    pub(super) error: hyper::Error,
    /// Why it may be sent again, if it may.
    pub(super) resent: Option<Resent>,
    /// The connection that refused it.
    pub(super) refused_by: Option<Arc<Signals>>,
}

impl Failure {
    /// The connection closed before the request was taken.
    pub(super) fn unused(error: hyper::Error) -> Self {
        Self {
            error,
            resent: Some(Resent::ClosedUnused),
            refused_by: None,
        }
    }

    /// Gives the request back to `unsent`, if no part of it was taken.
    pub(super) fn of(
        mut error: TrySendError<Request<Body>>,
        unsent: &mut Option<Request<Body>>,
    ) -> Self {
        *unsent = error.take_message();
        let error = error.into_error();
        let resent = match unsent {
            Some(_) => Some(Resent::ClosedUnused),
            None => Resent::not_processed(&error),
        };
        Self {
            error,
            resent,
            refused_by: None,
        }
    }

    /// What else is known of a request over HTTP/2.
    pub(super) fn over_http2(mut self, has_body: bool, connection: Option<&Arc<Signals>>) -> Self {
        // hyper drops a request whose stream was not open yet when the connection ended, and with it a body of which it has
        // written nothing.
        if self.error.is_user() && has_body {
            let is_going_away = connection.is_some_and(|connection| connection.is_going_away());
            self.resent.get_or_insert(match is_going_away {
                true => Resent::GoAway,
                false => Resent::ClosedUnused,
            });
        }
        if self.resent == Some(Resent::Refused) {
            self.refused_by = connection.cloned();
        }
        self
    }
}

/// The connections that have refused a request.
#[derive(Default)]
pub(super) struct Refusals(Vec<Arc<Signals>>);

impl Refusals {
    pub(super) fn add(&mut self, by: Arc<Signals>) {
        self.0.push(by);
    }

    /// Whether none has.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn contain(&self, connection: &Arc<Signals>) -> bool {
        self.0.iter().any(|by| Arc::ptr_eq(by, connection))
    }
}
