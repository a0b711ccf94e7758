//! What operators can change: the log level, settings and policy by a reload, the end of the program.

use std::{sync::Arc, time::SystemTime};

use http::{Response, StatusCode};
use humantime::format_rfc3339_seconds;
use serde_json::{Value, json};
use tokio::sync::{Notify, mpsc, oneshot};

use super::{
    Status,
    answer::{self, plain},
};
use crate::{body::Body, metrics::label::ReloadResult};

/// The outcome of a reload.
#[derive(Debug, Clone)]
pub struct Reloaded {
    /// When it was over.
    pub at: SystemTime,
    /// Why it was done.
    pub cause: String,
    /// What became of the settings; `None` if they are valid, and the policy is not.
    pub settings: Option<ReloadResult>,
    /// What became of the policy; `None` if it is valid, and the settings are not.
    pub policy: Option<ReloadResult>,
    /// What is wrong, a line each.
    pub problems: Vec<String>,
    /// The settings that wait for a restart.
    pub waiting: Vec<String>,
}

/// Hands on what operators ask for.
#[derive(Debug, Clone)]
pub struct Control {
    reload: mpsc::Sender<oneshot::Sender<Reloaded>>,
    drain: Arc<Notify>,
}

/// What operators ask for, as it arrives.
#[derive(Debug)]
pub struct Orders {
    /// Who asks for a reload waits for its outcome.
    pub reload: mpsc::Receiver<oneshot::Sender<Reloaded>>,
    /// The program is to end as by a signal.
    pub drain: Arc<Notify>,
}

/// The reloads that may wait; each does the same.
const WAITING: usize = 4;

impl Control {
    /// Both ends.
    pub fn new() -> (Self, Orders) {
        let (sender, reload) = mpsc::channel(WAITING);
        let drain = Arc::new(Notify::new());
        let orders = Orders {
            reload,
            drain: Arc::clone(&drain),
        };
        let reload = sender;
        (Self { reload, drain }, orders)
    }
}

impl Reloaded {
    /// Whether all of it came into force.
    pub fn is_ok(&self) -> bool {
        self.problems.is_empty()
    }

    pub(super) fn to_json(&self) -> Value {
        json!({
            "ok": self.is_ok(),
            "at": format_rfc3339_seconds(self.at).to_string(),
            "cause": self.cause,
            "settings": self.settings.map(ReloadResult::as_str),
            "policy": self.policy.map(ReloadResult::as_str),
            "problems": self.problems,
            "waiting_for_restart": self.waiting,
        })
    }
}

impl Status {
    /// Reads settings and policy again, and answers when they are in force or refused.
    pub(super) async fn reload(&self) -> Response<Body> {
        let (sender, outcome) = oneshot::channel();
        if self.control.reload.try_send(sender).is_err() {
            return plain(
                StatusCode::SERVICE_UNAVAILABLE,
                "Reloads are under way; ask again.\n",
            );
        }
        match outcome.await {
            Ok(reloaded) if reloaded.is_ok() => answer::json(StatusCode::OK, &reloaded.to_json()),
            Ok(reloaded) => answer::json(StatusCode::UNPROCESSABLE_ENTITY, &reloaded.to_json()),
            Err(_) => plain(
                StatusCode::SERVICE_UNAVAILABLE,
                "The gateway is ending; nothing is reloaded.\n",
            ),
        }
    }

    /// Ends the program as SIGTERM does.
    pub(super) fn drain(&self) -> Response<Body> {
        self.control.drain.notify_one();
        answer::json(
            StatusCode::ACCEPTED,
            &json!({ "state": "draining", "in_flight": self.metrics.in_flight.get() }),
        )
    }

    /// The filter of the log.
    pub(super) fn log_level(&self) -> Response<Body> {
        answer::json(StatusCode::OK, &json!({ "level": self.logging.level() }))
    }

    /// Changes it to the text of a body.
    pub(super) fn set_log_level(&self, filter: &[u8]) -> Response<Body> {
        let filter = String::from_utf8_lossy(filter);
        match self.logging.set_level(filter.trim()) {
            Ok(()) => self.log_level(),
            Err(error) => plain(StatusCode::BAD_REQUEST, format!("{error}\n")),
        }
    }
}
