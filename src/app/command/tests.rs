//! What no test from outside can bring about.

use std::{future::pending, path::Path};

use super::*;

/// One at a time: children and signals are those of the whole process.
static ALONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// A shell that runs a script; its `$0` is a path.
fn shell(script: &str, path: &Path) -> Attended {
    let arguments = vec!["-c".into(), script.into(), path.into()];
    let command = Command::new("sh".into(), arguments, "BASE".to_owned());
    Attended::new(command.expect("a command")).expect("handlers")
}

const GRACE: Duration = Duration::from_secs(5);

#[tokio::test]
async fn a_gateway_that_breaks_down_ends_the_command_and_fails() {
    let _alone = ALONE.lock().await;
    for (script, code) in [
        ("trap 'exit 0' TERM", FAILURE),
        ("trap 'exit 7' TERM", 7),
        (":", 143),
    ] {
        let folder = tempfile::tempdir().expect("a folder");
        let mark = folder.path().join("ready");
        let script = format!("{script}; : > \"$0\"; while :; do sleep 1 & wait; done");
        let mut attended = shell(&script, &mark);
        let is_there = async {
            while !mark.exists() {
                sleep(LOOK).await;
            }
        };
        let ended = attended.run("http://127.0.0.1:1", GRACE, is_there);
        let ended = timeout(Duration::from_secs(30), ended).await;
        assert_eq!(ended, Ok(code), "{script}");
    }
}

#[tokio::test]
async fn a_signal_that_comes_before_the_command_is_started_keeps_it_from_starting() {
    let _alone = ALONE.lock().await;
    let mut attended = shell("exit 7", Path::new("sh"));
    kill_process(getpid(), Signal::TERM).expect("sent");
    // The handler has run by then; the runtime hears of it a moment later.
    let mut other = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate());
    let _ = timeout(
        Duration::from_millis(200),
        other.as_mut().expect("a handler").recv(),
    )
    .await;
    let code = attended.run("http://127.0.0.1:1", GRACE, pending()).await;
    assert_eq!(code, FAILURE);
}
