//! A gateway that was packed, and runs.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    net::SocketAddr,
    process::{Child, Command, Stdio},
    sync::mpsc,
    thread,
};

use serde_json::Value;

use crate::support::{
    DEADLINE, eventually,
    tools::{passes, tool},
    wire::Call,
};

/// The variables that let it listen on free ports.
pub(super) const LISTENERS: [(&str, &str); 3] = [
    ("REFERRAL_GATEWAY_LISTEN", "127.0.0.1:0"),
    ("REFERRAL_GATEWAY_TELEMETRY__LISTEN", "127.0.0.1:0"),
    ("REFERRAL_GATEWAY_ADMIN__LISTEN", "127.0.0.1:0"),
];

/// A gateway that is ready; it ends with the value.
pub(super) struct Running {
    child: Child,
    /// The telemetry listener.
    pub(super) telemetry: SocketAddr,
}

impl Running {
    /// Starts a command that becomes a gateway, or the parent of one.
    pub(super) async fn start(mut command: Command) -> Self {
        let child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut running = Self {
            child,
            telemetry: ([127, 0, 0, 1], 0).into(),
        };
        let stdout = BufReader::new(running.child.stdout.take().unwrap());
        let (sender, receiver) = mpsc::channel();
        // Reads on after the line that is waited for, or the pipe would fill.
        thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                let record: Value = serde_json::from_str(&line).unwrap_or_default();
                if record["message"] == "Ready" {
                    sender.send(record).ok();
                }
            }
        });
        let ready = receiver.recv_timeout(DEADLINE).expect("Ready");
        running.telemetry = ready["telemetry"].as_str().unwrap().parse().unwrap();
        let probe = Call::new(running.telemetry, "GET", "/readyz");
        assert_eq!(probe.send().await.status, 200);
        running
    }

    /// The gateway itself: the last of the processes that began with the command.
    pub(super) fn id(&self) -> String {
        let mut id = self.child.id().to_string();
        while let Some(child) = child_of(&id) {
            id = child;
        }
        id
    }

    /// Sends SIGTERM, and waits for the exit code of the command.
    pub(super) async fn stop(mut self) -> Option<i32> {
        passes(tool("kill").args(["-TERM", &self.id()]));
        let mut status = None;
        eventually("the end", async || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        })
        .await;
        status.unwrap().code()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            tool("kill").args(["-KILL", &self.id()]).output().ok();
            self.child.kill().ok();
            self.child.wait().ok();
        }
    }
}

/// A process that any thread of this one began.
fn child_of(id: &str) -> Option<String> {
    let threads = fs::read_dir(format!("/proc/{id}/task")).ok()?;
    let children = threads.filter_map(|thread| {
        let children = fs::read_to_string(thread.ok()?.path().join("children")).ok()?;
        children.split_whitespace().next().map(str::to_owned)
    });
    children.into_iter().next()
}
