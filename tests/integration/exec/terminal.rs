//! The terminal, lent to the command and taken back.

use super::*;
use crate::{commands::Ended, support::tools::shell};

/// What a step types, or waits for.
enum Step<'a> {
    Type(&'a str),
    Await(&'a str),
    /// Typed until it has an effect.
    TypeUntil(&'a str, &'a str),
}

use Step::{Await, Type, TypeUntil};

/// Runs a program in a terminal of its own.
fn in_terminal(steps: &[Step<'_>], command: &[&str]) -> Ended {
    let steps: Value = steps
        .iter()
        .map(|step| match step {
            Type(text) => serde_json::json!({ "type": text }),
            Await(text) => Value::from(*text),
            TypeUntil(text, wanted) => serde_json::json!({ "type": text, "until": wanted }),
        })
        .collect();
    let mut python = shell("/usr/bin/python3");
    python
        .args([
            "-EsB",
            concat!(
                env!("CARGO_MANIFEST_DIR"),
                "/tests/integration/exec/terminal.py"
            ),
        ])
        .arg(steps.to_string())
        .args(command)
        .stdin(Stdio::null());
    ended(&mut python)
}

/// The words of a gateway around a command, for a shell.
fn words(command: &str) -> String {
    let program = env!("CARGO_BIN_EXE_referral-gateway");
    let flags = around(&["--log-level", "error"], &["sh", "-c"]).join(" ");
    format!("{program} {flags} '{command}'")
}

/// A gateway around a script, in a terminal.
fn around_script(steps: &[Step<'_>], text: &str) -> Ended {
    let program = env!("CARGO_BIN_EXE_referral-gateway");
    let command = around(&["--log-level", "error"], &["sh", "-c", text]);
    in_terminal(steps, &[&[program], &command[..]].concat())
}

#[track_caller]
fn check(ended: &Ended, code: i32) {
    assert_eq!(ended.code, Some(code), "{}{}", ended.out, ended.err);
}

#[test]
fn the_command_reads_from_the_terminal() {
    let steps = [Await("ready"), Type("hello\n"), Await("got hello")];
    let ended = around_script(&steps, "echo ready; read line; echo got $line; exit 3");
    check(&ended, 3);
}

#[test]
fn what_the_terminal_sends_goes_to_the_command_alone() {
    // The gateway would kill it after a second SIGINT, were it the gateway's. The shell may be about to read when the
    // signal comes: the line lets it go on.
    let text = "trap \"echo one more\" INT; echo ready; while :; do read line; [ \"$line\" = end ] && exit 3; done";
    let mut steps = vec![Await("ready")];
    for _ in 0..3 {
        steps.extend([Type("\u{3}"), Type("x\n"), Await("one more")]);
    }
    steps.push(Type("end\n"));
    check(&around_script(&steps, text), 3);
    let steps = [Await("ready"), Type("\u{3}")];
    check(&around_script(&steps, "echo ready; read line"), 130);
}

#[test]
fn a_command_that_asked_for_the_terminal_too_early_goes_on() {
    let steps = [Await("it went on")];
    check(&around_script(&steps, "kill -TTIN $$; echo it went on"), 0);
}

#[test]
fn the_terminal_is_taken_back() {
    let text = format!(
        "{}; echo status $?; read line; echo back $line",
        words("kill -KILL $$")
    );
    let steps = [Await("status 137"), Type("again\n"), Await("back again")];
    check(&in_terminal(&steps, &["/bin/sh", "-c", &text]), 0);
}

#[test]
fn the_terminal_is_taken_back_from_a_group_that_the_command_made() {
    let inner = "exec bash --norc --noprofile --noediting -i";
    let text = format!(
        "{}; echo status $?; read line; echo back $line",
        words(inner)
    );
    let steps = [
        Type("echo re''ady\n"),
        Await("ready"),
        Type("sh -c \"kill -KILL $$; echo do''ne; sleep 300\"\n"),
        Await("status 137"),
        Type("again\n"),
        Await("back again"),
    ];
    check(&in_terminal(&steps, &["/bin/sh", "-c", &text]), 0);
}

#[test]
fn a_shell_stops_and_continues_gateway_and_command_as_one_job() {
    let command = words("echo re\"\"ady; read line; echo g\"\"ot $line; exit 3");
    let steps = [
        Type("PS1=; set +o history\n"),
        Type(&format!("{command}\n")),
        Await("ready\r\n"),
        // On a busy machine, the first one may come before the command has the terminal.
        TypeUntil("\u{1a}", "Stopped"),
        Type("jobs -s | grep -c exec\n"),
        Await("1\r\n"),
        Type("fg\n"),
        Await("run --exec"),
        Type("hello\n"),
        Await("got hello"),
        Type("echo st\"\"atus $?\n"),
        Await("status 3"),
        Type("exit 5\n"),
    ];
    let bash = ["/bin/bash", "--norc", "--noprofile", "--noediting", "-i"];
    check(&in_terminal(&steps, &bash), 5);
}

#[test]
fn a_command_that_nobody_could_wake_does_not_stop() {
    // Without a shell that has job control, Control-Z would stop it for ever.
    let steps = [
        Await("ready"),
        Type("\u{1a}"),
        Type("hello\n"),
        Await("got hello"),
    ];
    check(
        &around_script(&steps, "echo ready; read line; echo got $line"),
        0,
    );
}

#[test]
fn the_gateway_writes_its_log_to_a_terminal_that_is_lent() {
    let program = env!("CARGO_BIN_EXE_referral-gateway");
    let ask = format!(
        "curl -sS -o /dev/null -H \"Authorization: Bearer {}\" $REFERRALS_BASE_URL{LIST}; echo asked",
        bearer()
    );
    let flags = around(&[], &["sh", "-c"]).join(" ");
    let text = format!("stty tostop; {program} {flags} '{ask}'");
    let steps = [Await("Answered"), Await("Requests of this run")];
    check(&in_terminal(&steps, &["/bin/sh", "-c", &text]), 0);
}
