//! The answer of the service as its caller gets it.

use http::{Response, Version};

use super::{Gateway, entry::annotate, headers};
use crate::{
    body::Body,
    policy::Verdict,
    rebase::{self, Asked},
};

impl Gateway {
    /// An answer of the service, whose URLs lead its caller to the gateway.
    pub(super) fn rebased(
        &self,
        mut answer: Response<Body>,
        asked: Option<Asked>,
    ) -> Response<Body> {
        let Some(asked) = asked else { return answer };
        let (status, headers) = (answer.status(), answer.headers_mut());
        match rebase::edit(&self.hosts, &asked, status, headers, &self.metrics) {
            Some(editor) => answer.map(|body| body.edited(editor)),
            None => answer,
        }
    }

    /// The upstream's answer as the downstream is to see it.
    pub(super) fn relay(mut answer: Response<Body>, verdict: &Verdict) -> Response<Body> {
        let version = answer.version();
        headers::to_downstream(answer.headers_mut(), version);
        // RFC 9110 2.5: an intermediary speaks its own version.
        *answer.version_mut() = Version::HTTP_11;
        annotate(answer.headers_mut(), verdict);
        answer
    }
}
