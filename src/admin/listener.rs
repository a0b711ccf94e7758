//! The admin listener: what operators ask, and what they can change.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, header::CONNECTION};
use http_body_util::{BodyExt, Limited};
use tokio::time::timeout;

use super::{
    Status, access,
    answer::{self, not_allowed, plain, unread},
    page::{self, Asked},
};
use crate::{
    body::{Body, Inbound},
    server::Handler,
};

/// The longest filter that `PUT /log-level` takes, in bytes.
const MAX_FILTER: usize = 1024;
/// The longest body of any other request, in bytes.
const MAX_BODY: usize = 1024 * 1024;

/// The longest wait for a body.
const PATIENCE: Duration = Duration::from_secs(10);
/// The paths, with the methods that each has.
const PATHS: [(&str, &str); 11] = [
    ("/", "GET, HEAD"),
    ("/config", "GET, HEAD"),
    ("/decisions", "GET, HEAD"),
    ("/drain", "POST"),
    ("/explain", "POST"),
    ("/history", "GET, HEAD"),
    ("/log-level", "GET, HEAD, PUT"),
    ("/policies", "GET, HEAD"),
    ("/reload", "POST"),
    ("/status", "GET, HEAD"),
    ("/tenants", "GET, HEAD"),
];
/// The paths of snapshots begin like this, and the referral's id follows.
const SNAPSHOTS: &str = "/snapshots/";

/// Answers on the admin listener.
#[derive(Clone)]
pub struct Admin(pub Arc<Status>);

impl Handler for Admin {
    async fn handle(&self, request: Request<Inbound>) -> Response<Body> {
        let status = &self.0;
        let in_force = status.in_force.load_full();
        let (head, body) = request.into_parts();
        // hyper sends no body in answer to HEAD.
        let method = match head.method.as_str() {
            "HEAD" => "GET",
            method => method,
        };
        let token = in_force.token.as_ref();
        // Who may not ask gives the place back.
        let refused = |reason| {
            status.metrics.admin_refused(reason);
            closing(access::refuse(reason))
        };
        if method == "GET"
            && let Some(asked) = page::of_path(head.uri.path())
        {
            return match (access::check_page(&head, token), asked) {
                (Err(reason), _) => refused(reason),
                (Ok(_), Asked::File(asset)) => page::file(asset),
                (Ok(access::Page::Empty), Asked::Page) => closing(page::locked()),
                (Ok(access::Page::Whole), Asked::Page) => status.page(),
            };
        }
        if let Err(reason) = access::check(&head, token) {
            return refused(reason);
        }
        let ok = |value| answer::json(StatusCode::OK, &value);
        match (head.uri.path(), method) {
            ("/config", "GET") => ok(in_force.config.clone()),
            ("/policies", "GET") => ok(in_force.policies()),
            ("/status", "GET") => ok(status.status()),
            ("/history", "GET") => ok(status.history.to_json()),
            ("/tenants", "GET") => ok(status.tenants()),
            ("/decisions", "GET") => match wants(head.uri.query(), "follow") {
                // The answer to HEAD would have no end.
                true if head.method != "HEAD" => status.follow(),
                _ => status.decisions(),
            },
            ("/log-level", "GET") => status.log_level(),
            ("/log-level", "PUT") => match read(body, MAX_FILTER).await {
                Ok(filter) => status.set_log_level(&filter),
                Err(answer) => answer,
            },
            ("/explain", "POST") => match read(body, MAX_BODY).await {
                Ok(body) => status.explain(in_force, body).await,
                Err(answer) => answer,
            },
            ("/reload", "POST") => status.reload().await,
            ("/drain", "POST") => status.drain(),
            (path, method) => match (path.strip_prefix(SNAPSHOTS), method) {
                (Some(id), "GET") => status.snapshots(id),
                (Some(_), _) => not_allowed("GET, HEAD"),
                (None, _) => match PATHS.iter().find(|(known, _)| *known == path) {
                    Some((_, methods)) => not_allowed(methods),
                    None => not_found(),
                },
            },
        }
    }

    fn unread(status: u16, _: Option<u8>) -> Vec<u8> {
        unread(status)
    }
}

/// The last answer of its connection.
fn closing(mut answer: Response<Body>) -> Response<Body> {
    let close = HeaderValue::from_static("close");
    answer.headers_mut().insert(CONNECTION, close);
    answer
}

/// The whole body of a request.
///
/// # Errors
///
/// The answer, when it is too long or breaks off.
async fn read(body: Inbound, most: usize) -> Result<Bytes, Response<Body>> {
    let read = timeout(PATIENCE, Limited::new(body, most).collect()).await;
    let Ok(read) = read else {
        return Err(plain(
            StatusCode::REQUEST_TIMEOUT,
            format!(
                "The body of the request did not come within {} s.\n",
                PATIENCE.as_secs()
            ),
        ));
    };
    match read {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) if error.is::<http_body_util::LengthLimitError>() => Err(plain(
            StatusCode::PAYLOAD_TOO_LARGE,
            format!("This path takes {most} bytes at most.\n"),
        )),
        Err(_) => Err(plain(
            StatusCode::BAD_REQUEST,
            "The body of the request broke off.\n",
        )),
    }
}

/// Whether a query has a name, with a value or without.
pub(super) fn wants(query: Option<&str>, name: &str) -> bool {
    let mut pairs = query.unwrap_or_default().split('&');
    pairs.any(|pair| pair.split('=').next() == Some(name))
}

fn not_found() -> Response<Body> {
    let paths = PATHS.map(|(path, _)| path).join(", ");
    plain(
        StatusCode::NOT_FOUND,
        format!("No such path. This listener serves {paths} and {SNAPSHOTS}{{id}}.\n"),
    )
}
