//! The request of a check, which reads and carries no credential.

use std::pin::pin;

use http::{HeaderValue, Method, Request, Response, Uri, header};
use uuid::Uuid;

use crate::{
    body::{Body, Inbound},
    upstream::{Error, Kind, Sent, Upstream, error::Resent, taken::Taken, usable},
};

/// The list of referrals: without a token, the service answers 401.
const PATH: &str = "/v1.0/engagements/referrals";

impl Upstream {
    /// Sends the request of a check on a connection and waits for the head of its answer.
    pub(super) async fn ask_on(&self, taken: Taken) -> Result<Response<Body>, Error> {
        let (is_http2, since) = (taken.is_http2(), taken.since());
        let mut request = question();
        self.address(&mut request, is_http2);
        let mut request = Some(request);
        let sent = {
            let sending = pin!(taken.send(&mut request));
            self.within_time(sending, since, None).await?
        };
        match sent {
            Ok((answer, back)) => {
                let answer = usable(answer)?;
                let body = |incoming| self.body(Inbound::of(incoming, is_http2), back, None);
                Ok(answer.map(body))
            }
            Err(failure) if failure.resent == Some(Resent::ClosedUnused) => {
                let detail = "the new connection was closed before a request was sent";
                Err(Error::new(Kind::Closed, Sent::No, detail))
            }
            Err(failure) => Err(Error::of_sending(&failure.error, None)),
        }
    }
}

/// A request that reads, without a credential: with the fields that the gateway's own GET has when its caller sends none.
fn question() -> Request<Body> {
    let mut question = Request::new(Body::empty());
    *question.method_mut() = Method::GET;
    *question.uri_mut() = Uri::from_static(PATH);
    let fields = question.headers_mut();
    for name in ["client-request-id", "ms-requestid"] {
        if let Ok(id) = HeaderValue::from_str(&Uuid::new_v4().to_string()) {
            fields.insert(name, id);
        }
    }
    fields.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
    fields.insert(
        header::ACCEPT_ENCODING,
        HeaderValue::from_static("identity"),
    );
    question
}
