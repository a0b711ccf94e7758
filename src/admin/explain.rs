//! `/explain`: what the gateway would make of a captured request, by settings and policy in force.

use std::{path::Path, sync::Arc};

use bytes::Bytes;
use http::{Response, StatusCode};
use serde::Deserialize;
use serde_json::Value;
use tokio::task::spawn_blocking;

use super::{InForce, Status, answer};
use crate::{
    body::Body,
    offline::{Named, Question, Report},
    plain::plain,
};

/// The body of such a request.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a JSON object")]
struct Asked {
    request: String,
    file: Option<String>,
    which: Option<String>,
    body: Option<String>,
    snapshot: Option<Value>,
    status: Option<String>,
    substatus: Option<String>,
    etag: Option<String>,
    tenant: Option<String>,
}

impl InForce {
    /// Judges the request in a body.
    pub(super) fn explain(&self, body: &[u8]) -> Response<Body> {
        let asked: Asked = match serde_json::from_slice(body) {
            Ok(asked) => asked,
            Err(error) => return unusable(&format!("the body of this request: {error}")),
        };
        let of_state = [&asked.status, &asked.substatus, &asked.etag];
        if asked.snapshot.is_some() && of_state.iter().any(|given| given.is_some()) {
            return unusable("give snapshot, or status with substatus and etag; not both");
        }
        if asked.status.is_none() && of_state.iter().any(|given| given.is_some()) {
            return unusable("substatus and etag are of a status: give status as well");
        }
        let snapshot = asked.snapshot.as_ref().map(Value::to_string);
        let question = Question {
            prefix: "",
            request: Named {
                name: asked.file.as_deref().unwrap_or("request"),
                bytes: asked.request.as_bytes(),
            },
            path: asked.file.as_deref().map(Path::new),
            which: asked.which.as_deref(),
            body: asked.body.as_deref().map(str::as_bytes),
            snapshot: snapshot.as_ref().map(|text| Named {
                name: "snapshot",
                bytes: text.as_bytes(),
            }),
            status: asked.status.as_deref(),
            substatus: asked.substatus.as_deref(),
            etag: asked.etag.as_deref(),
            tenant: asked.tenant.as_deref(),
        };
        match self.offline.explain(&question) {
            Err(why) => unusable(&why),
            Ok((captured, outcome)) => {
                let report = Report::new(&captured, &self.policy, &outcome);
                let mut shown = report.to_json();
                if let Value::Object(members) = &mut shown {
                    members.insert("report".to_owned(), plain(&report.to_text()).into());
                }
                answer::json(StatusCode::OK, &shown)
            }
        }
    }
}

impl Status {
    /// Judges the request in a body by what is in force. One after the other: the largest capture takes a core for half a
    /// second, and requests must not wait for it.
    pub(super) async fn explain(&self, in_force: Arc<InForce>, body: Bytes) -> Response<Body> {
        let Ok(turn) = Arc::clone(&self.explaining).try_lock_owned() else {
            return answer::plain(
                StatusCode::SERVICE_UNAVAILABLE,
                "Another request is being explained; ask again.\n",
            );
        };
        let explained = spawn_blocking(move || {
            let answer = in_force.explain(&body);
            // The asker may have left; the work has not.
            drop(turn);
            answer
        });
        explained.await.unwrap_or_else(|_| {
            answer::plain(StatusCode::INTERNAL_SERVER_ERROR, "This is a bug.\n")
        })
    }
}

fn unusable(why: &str) -> Response<Body> {
    answer::plain(StatusCode::BAD_REQUEST, format!("{}\n", plain(why)))
}
