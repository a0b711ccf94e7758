//! `run --exec`: a command as the gateway's only client, from its start to what it leaves behind.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpListener,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;
use tempfile::TempDir;
use tokio::{net::TcpStream, sync::watch};

use super::commands::{Ended, ended, program, write};
use crate::support::{
    DEADLINE, ITEM, LIST, TAG, Upstream, body, eventually,
    page::{section, ticked},
    token,
    tools::{self, tool},
    within,
};

mod terminal;

/// The flags of a gateway that listens anywhere.
const ANYWHERE: [&str; 8] = [
    "--listen",
    "127.0.0.1:0",
    "--telemetry",
    "127.0.0.1:0",
    "--admin",
    "127.0.0.1:0",
    "--log-format",
    "json",
];

/// A token that the simulator takes.
fn bearer() -> String {
    token("t", "o", "a")
}

/// The arguments of a gateway with these flags around a command.
fn around<'a>(flags: &[&'a str], command: &[&'a str]) -> Vec<&'a str> {
    let simulator: &[&str] = match flags.contains(&"--upstream") {
        true => &[],
        false => &["--upstream", "simulator"],
    };
    let begin: &[&str] = &["run", "--exec"];
    [begin, &ANYWHERE, simulator, flags, &["--"], command].concat()
}

/// A gateway with these flags around a command.
fn exec(flags: &[&str], command: &[&str]) -> Command {
    // Whoever starts the tests may ignore signals, and a process keeps what it was started with.
    let mut gateway = tool("env");
    gateway
        .args(["--default-signal", env!("CARGO_BIN_EXE_referral-gateway")])
        .args(around(flags, command))
        .env_clear()
        .env("PATH", tools::folder())
        .stdin(Stdio::null());
    gateway
}

/// A gateway around a script for the shell.
fn script(text: &str) -> Command {
    exec(&[], &["sh", "-c", text])
}

/// The records of the gateway, which stand on standard error.
fn records(err: &str) -> Vec<Value> {
    let lines = err.lines();
    lines
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect()
}

/// The record with this message.
#[track_caller]
fn record(ended: &Ended, message: &str) -> Value {
    let mut records = records(&ended.err).into_iter();
    let found = records.find(|record| record["message"].as_str().unwrap().starts_with(message));
    found.unwrap_or_else(|| panic!("no {message:?} in {}", ended.err))
}

/// A gateway around a command that runs while the test goes on. Both end with the test.
struct Running {
    child: Child,
    lines: mpsc::Receiver<String>,
    err: Option<thread::JoinHandle<String>>,
}

impl Running {
    fn start(gateway: &mut Command) -> Self {
        let mut child = gateway
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (sender, lines) = mpsc::channel();
        let out = BufReader::new(child.stdout.take().unwrap());
        thread::spawn(move || {
            for line in out.lines().map_while(Result::ok) {
                sender.send(line).ok();
            }
        });
        let mut pipe = child.stderr.take().unwrap();
        let err = thread::spawn(move || {
            let mut text = String::new();
            pipe.read_to_string(&mut text).ok();
            text
        });
        Self {
            child,
            lines,
            err: Some(err),
        }
    }

    /// The next line of the command.
    #[track_caller]
    fn line(&mut self) -> String {
        self.lines
            .recv_timeout(Duration::from_secs(20))
            .expect("a line of the command")
    }

    fn write(&mut self, text: &str) {
        let input = self.child.stdin.as_mut().unwrap();
        input.write_all(text.as_bytes()).unwrap();
    }

    fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        let sent = tool("kill").args(["-s", name, &id]).status().unwrap();
        assert!(sent.success());
    }

    /// Waits for the end, and returns what the gateway said.
    fn end(mut self) -> (ExitStatus, String) {
        let until = Instant::now() + DEADLINE;
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            // What still runs holds its standard error open, so it is not read.
            assert!(Instant::now() < until, "it did not end");
            thread::park_timeout(Duration::from_millis(10));
        };
        (status, self.err.take().unwrap().join().unwrap())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// Whether a process lives.
fn is_alive(id: &str) -> bool {
    let status = fs::read_to_string(format!("/proc/{}/status", id.trim()));
    status.is_ok_and(|status| !status.contains("\nState:\tZ"))
}

#[test]
fn the_exit_code_is_that_of_the_command() {
    let folder = TempDir::new().unwrap();
    let plain = write(&folder, "plain", "#!/bin/sh\n");
    let odd = write(&folder, "odd", "#!/no/such/interpreter\n");
    let binary = write(&folder, "binary", "\u{1}no program");
    for file in [&odd, &binary] {
        fs::set_permissions(file, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let here = folder.path().to_str().unwrap();
    let shell = |text| ["sh", "-c", text];
    let ends = "The command ended";
    let killed = "The command was killed by a signal";
    for (command, code, message) in [
        (&shell("exit 0")[..], 0, ends),
        (&shell("exit 3"), 3, ends),
        (&shell("exit 255"), 255, ends),
        (&shell("kill -TERM $$"), 143, killed),
        (&shell("kill -KILL $$"), 137, killed),
        (&shell("kill -INT $$"), 130, killed),
        (
            &["no-such-command"],
            127,
            "Cannot start the command: not found in PATH",
        ),
        (
            &["/no/such/command"],
            127,
            "Cannot start the command: no such file",
        ),
        (
            &[&plain],
            126,
            "Cannot start the command: it is not executable",
        ),
        (
            &[here],
            126,
            "Cannot start the command: it is not executable",
        ),
        (&[&odd], 126, "Cannot start the command: the interpreter"),
        (
            &[&binary],
            126,
            "Cannot start the command: Exec format error",
        ),
    ] {
        let ended = ended(&mut exec(&[], command));
        assert_eq!(ended.code, Some(code), "{command:?}: {}", ended.err);
        let said = record(&ended, message);
        assert_eq!(said["exit_code"], code, "{said}");
        assert_eq!(said["command"], command[0]);
        let is_signal = code > 128 && code < 255;
        assert_eq!(said["signal"].is_string(), is_signal, "{said}");
        assert_eq!(ended.out, "");
        // Whatever came of the command, the gateway ends in order.
        record(&ended, "Drained");
    }
}

#[test]
fn a_gateway_that_does_not_get_ready_starts_no_command() {
    let folder = TempDir::new().unwrap();
    let mark = folder.path().join("started");
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    for flags in [
        ["--listen", &taken],
        ["--telemetry", &taken],
        ["--admin", &taken],
        ["--policy", "no-such-file.yaml"],
    ] {
        // The last flag of a name counts, but a name stands once only.
        let mut arguments = around(&[], &["touch", mark.to_str().unwrap()]);
        match arguments.iter().position(|word| *word == flags[0]) {
            Some(at) => arguments[at + 1] = flags[1],
            None => drop(arguments.splice(2..2, flags)),
        }
        let ended = ended(program(&arguments).env("PATH", tools::folder()));
        assert_eq!(ended.code, Some(1), "{flags:?}: {}", ended.err);
        assert!(!mark.exists(), "{flags:?}");
    }
}

#[test]
fn the_command_reaches_the_gateway_by_the_url_that_it_is_told() {
    let ask = |variable: &str| {
        format!(
            "curl -sS -o /dev/null -w '%{{http_code}} %{{url}}' -H 'Authorization: Bearer {}' \"${variable}{LIST}\"",
            bearer()
        )
    };
    let told = ended(&mut script(&ask("REFERRALS_BASE_URL")));
    assert_eq!(told.code, Some(0), "{}", told.err);
    assert!(
        told.out.starts_with("200 http://127.0.0.1:"),
        "{}",
        told.out
    );
    let started = record(&told, "Started the command");
    assert_eq!(started["variable"], "REFERRALS_BASE_URL");
    let url = started["url"].as_str().unwrap();
    assert!(told.out.contains(url), "{url}: {}", told.out);

    let renamed = ended(&mut exec(
        &["--exec-env", "API"],
        &["sh", "-c", &ask("API")],
    ));
    assert!(
        renamed.out.starts_with("200 http://127.0.0.1:"),
        "{}",
        renamed.err
    );

    // An address that is no destination.
    let all = ["--listen", "0.0.0.0:0"];
    let mut arguments = around(&[], &["sh", "-c", "echo $REFERRALS_BASE_URL"]);
    let at = arguments.iter().position(|word| *word == all[0]).unwrap();
    arguments[at + 1] = all[1];
    let any = ended(program(&arguments).env("PATH", tools::folder()));
    assert!(any.out.starts_with("http://127.0.0.1:"), "{}", any.out);
}

#[test]
fn with_tls_the_url_has_a_name_of_the_certificate() {
    let folder = TempDir::new().unwrap();
    for (number, (names, host)) in [
        (&["localhost", "127.0.0.1"][..], "127.0.0.1"),
        (&["gateway.internal", "localhost"], "localhost"),
        (&["gateway.internal", "*.apps.internal"], "gateway.internal"),
    ]
    .into_iter()
    .enumerate()
    {
        let tls = folder.path().join(number.to_string());
        let tls = tls.to_str().unwrap();
        let mut arguments = vec!["certificate", tls];
        arguments.extend(names.iter().flat_map(|name| ["--name", name]));
        let made = ended(&mut program(&arguments));
        assert_eq!(made.code, Some(0), "{}", made.err);
        let ask = format!(
            "curl -sS -o /dev/null -w '%{{http_code}} ' --cacert {tls}/ca.pem --resolve '*:0:127.0.0.1' \
             --connect-to \"::127.0.0.1:${{REFERRALS_BASE_URL##*:}}\" -H 'Authorization: Bearer {}' \
             \"$REFERRALS_BASE_URL{LIST}\"; echo $REFERRALS_BASE_URL",
            bearer()
        );
        let mut gateway = script(&ask);
        gateway
            .env("REFERRAL_GATEWAY_TLS__CERT_FILE", format!("{tls}/tls.crt"))
            .env("REFERRAL_GATEWAY_TLS__KEY_FILE", format!("{tls}/tls.key"));
        let told = ended(&mut gateway);
        let expected = format!("200 https://{host}:");
        assert!(told.out.starts_with(&expected), "{}{}", told.out, told.err);
    }
}

#[test]
fn the_command_needs_no_proxy_to_reach_the_gateway() {
    let ask = format!(
        "curl -sS -o /dev/null -w '%{{http_code}}' -H 'Authorization: Bearer {}' \"$REFERRALS_BASE_URL{LIST}\"; echo \" $NO_PROXY $no_proxy\"",
        bearer()
    );
    let mut gateway = script(&ask);
    gateway
        .env("ALL_PROXY", "http://127.0.0.1:9")
        .env("http_proxy", "http://127.0.0.1:9")
        .env("NO_PROXY", "a.example");
    let told = ended(&mut gateway);
    let lists = "a.example,127.0.0.1 a.example,127.0.0.1";
    assert_eq!(told.out, format!("200 {lists}\n"), "{}", told.err);
}

#[test]
fn standard_output_is_the_command_s_alone() {
    let ended = ended(&mut script("cat; echo hello; echo oh >&2"));
    assert_eq!((ended.code, &*ended.out), (Some(0), "hello\n"));
    let (own, theirs): (Vec<_>, Vec<_>) = ended.err.lines().partition(|line| line.starts_with('{'));
    assert_eq!(theirs, ["oh"]);
    // Arguments may be secret.
    assert!(!ended.err.contains("echo hello"), "{}", ended.err);
    assert!(own.iter().any(|line| line.contains("\"Ready\"")), "{own:?}");
}

#[test]
fn the_command_gets_the_environment_and_the_limit_of_open_files_that_the_gateway_began_with() {
    let mut shell = tool("sh");
    let command = "ulimit -Sn; echo $MARK $REFERRAL_GATEWAY_DRAIN__MAX";
    shell
        .args(["-c", "ulimit -Sn 500; exec \"$0\" \"$@\""])
        .arg(env!("CARGO_BIN_EXE_referral-gateway"))
        .args(around(&[], &["sh", "-c", command]))
        .env_clear()
        .envs([("MARK", "as it was"), ("REFERRAL_GATEWAY_DRAIN__MAX", "7s")])
        .env("PATH", tools::folder());
    assert_eq!(ended(&mut shell).out, "500\nas it was 7s\n");
}

#[test]
fn signals_are_handed_to_the_command() {
    for (signal, code) in [
        ("TERM", 41),
        ("INT", 42),
        ("QUIT", 43),
        ("HUP", 44),
        ("USR1", 45),
        ("USR2", 46),
        ("WINCH", 47),
    ] {
        let text =
            format!("trap 'exit {code}' {signal}; echo ready; while :; do sleep 1 & wait; done");
        let mut running = Running::start(&mut script(&text));
        assert_eq!(running.line(), "ready");
        running.signal(signal);
        let (status, err) = running.end();
        assert_eq!(status.code(), Some(code), "{signal}: {err}");
        assert!(!err.contains("Reloaded"), "{signal}: {err}");
    }
}

#[test]
fn a_signal_that_ends_goes_to_all_that_the_command_has_started_and_others_to_the_command_alone() {
    for (signal, expected) in [
        ("TERM", "child command"),
        ("INT", "child command"),
        ("USR1", "command"),
    ] {
        // Without job control, a shell starts background commands with SIGINT ignored, so the child is another program.
        let child = format!(
            "$SIG{{{signal}}} = sub {{ syswrite STDOUT, \"child \"; exit }}; syswrite STDOUT, \"ready\\n\"; sleep 1 while 1"
        );
        let text = format!(
            "trap 'sleep 1; echo command; exit' {signal}; perl -e '{child}' & while :; do wait; done"
        );
        let mut running = Running::start(&mut script(&text));
        assert_eq!(running.line(), "ready", "{signal}");
        running.signal(signal);
        assert_eq!(running.line(), expected, "{signal}");
        running.end();
    }
}

#[test]
fn a_command_that_ignores_sigterm_is_killed_after_its_deadline() {
    let mut gateway = script("trap '' TERM; echo ready; while :; do sleep 1; done");
    gateway.env("REFERRAL_GATEWAY_DRAIN__MAX", "2s");
    let mut running = Running::start(&mut gateway);
    assert_eq!(running.line(), "ready");
    let began = Instant::now();
    running.signal("TERM");
    let (status, err) = running.end();
    assert_eq!(status.code(), Some(137), "{err}");
    // Four fifths of the time.
    assert!(began.elapsed() >= Duration::from_millis(1600), "{err}");
    assert!(
        err.contains("The command did not end within 1.6s; killing it"),
        "{err}"
    );
    assert!(err.contains("The command was killed by a signal"), "{err}");
    assert!(!err.contains("cannot be killed"), "{err}");
}

#[test]
fn a_second_signal_kills_the_command_at_once() {
    for (first, second) in [("TERM", "TERM"), ("INT", "INT"), ("INT", "TERM")] {
        let text = "trap 'echo asked' TERM INT; echo ready; while :; do sleep 1 & wait; done";
        let mut running = Running::start(&mut script(text));
        assert_eq!(running.line(), "ready");
        running.signal(first);
        assert_eq!(running.line(), "asked");
        let began = Instant::now();
        running.signal(second);
        let (status, err) = running.end();
        assert_eq!(status.code(), Some(137), "{err}");
        assert!(began.elapsed() < Duration::from_secs(10), "{err}");
        assert!(
            err.contains("A second signal; killing the command"),
            "{err}"
        );
        assert!(!err.contains("cannot be killed"), "{err}");
    }
}

#[test]
fn a_stopped_command_is_asked_to_end_as_well() {
    let mut running = Running::start(&mut script("echo $$; kill -STOP $$; exit 3"));
    let id = running.line();
    let is_stopped = || {
        let status = fs::read_to_string(format!("/proc/{id}/status")).unwrap();
        status.contains("\nState:\tT")
    };
    let until = Instant::now() + DEADLINE;
    while !is_stopped() {
        assert!(Instant::now() < until, "it does not stop");
        thread::yield_now();
    }
    running.signal("TERM");
    let (status, err) = running.end();
    assert_eq!(status.code(), Some(143), "{err}");
}

#[test]
fn what_was_ignored_at_the_start_stays_ignored() {
    let mut shell = tool("sh");
    shell
        .args(["-c", "trap '' HUP QUIT USR1; exec \"$0\" \"$@\""])
        .arg(env!("CARGO_BIN_EXE_referral-gateway"))
        .args(around(
            &[],
            &["sh", "-c", "grep SigIgn /proc/$PPID/status /proc/$$/status"],
        ))
        .env_clear()
        .env("PATH", tools::folder());
    let ended = ended(&mut shell);
    let masks = ended.out.lines().map(|line| {
        let (_, mask) = line.rsplit_once('\t').unwrap();
        u64::from_str_radix(mask, 16).unwrap()
    });
    let masks: Vec<_> = masks.collect();
    assert_eq!(masks.len(), 2, "{}", ended.out);
    for mask in masks {
        // SIGHUP is 1, SIGQUIT 3, SIGUSR1 10.
        assert_eq!(mask & 0b10_0000_0101, 0b10_0000_0101, "{}", ended.out);
    }
}

/// Starts a process that writes its number, and goes on when the number is there.
fn leaving(how: &str, program: &str) -> String {
    format!(
        "{how} perl -e '$| = 1; {program} open F, \">\", \"id\"; print F \"$$\\n\"; close F; rename \"id\", \"left\"; sleep 1 while 1' & while [ ! -e left ]; do sleep 0.1; done; exit 3"
    )
}

#[test]
fn nothing_that_the_command_has_started_outlives_the_gateway() {
    // In its group, in a session of its own, behind a parent that has gone, deaf to SIGTERM.
    let double = "fork and exit; ";
    for (how, program) in [
        ("", ""),
        ("setsid", ""),
        ("setsid", double),
        ("", "$SIG{TERM} = \"IGNORE\"; "),
        ("setsid", "$SIG{TERM} = \"IGNORE\"; fork and exit; "),
    ] {
        let folder = TempDir::new().unwrap();
        let mut gateway = script(&leaving(how, program));
        gateway.current_dir(folder.path());
        let ended = ended(&mut gateway);
        assert_eq!(ended.code, Some(3), "{how} {program}: {}", ended.err);
        let left = fs::read_to_string(folder.path().join("left")).unwrap();
        assert!(!is_alive(&left), "{how} {program}: {}", ended.err);
        record(&ended, "Ending what the command left behind");
    }
}

#[test]
fn what_the_command_leaves_behind_is_asked_before_it_is_killed() {
    let folder = TempDir::new().unwrap();
    let program = "$SIG{TERM} = sub { rename \"left\", \"asked\"; exit }; ";
    let mut gateway = script(&leaving("setsid", program));
    gateway.current_dir(folder.path());
    let ended = ended(&mut gateway);
    assert_eq!(ended.code, Some(3), "{}", ended.err);
    let asked = fs::read_to_string(folder.path().join("asked")).unwrap();
    assert!(!is_alive(&asked), "{}", ended.err);
}

#[test]
fn what_a_killed_command_has_started_is_killed_too() {
    let folder = TempDir::new().unwrap();
    let program = "$SIG{TERM} = \"IGNORE\"; print \"ready\\n\";";
    let text =
        leaving("setsid", program).replace("exit 3", "trap \"\" TERM; while :; do sleep 1; done");
    let mut gateway = script(&text);
    gateway
        .current_dir(folder.path())
        .env("REFERRAL_GATEWAY_DRAIN__MAX", "1s");
    let mut running = Running::start(&mut gateway);
    assert_eq!(running.line(), "ready");
    running.signal("TERM");
    running.signal("TERM");
    let (status, err) = running.end();
    assert!(matches!(status.code(), Some(137 | 143)), "{status} {err}");
    if let Ok(left) = fs::read_to_string(folder.path().join("left")) {
        assert!(!is_alive(&left), "{err}");
    }
}

#[test]
fn zombies_are_reaped_while_the_command_runs() {
    // The process ends as a child of the gateway: its parent has gone.
    let text =
        "perl -e 'fork and exit; open F, \">\", \"dead\"; print F \"$$\\n\"'; echo ready; read end";
    let folder = TempDir::new().unwrap();
    let mut gateway = script(text);
    gateway.current_dir(folder.path());
    let mut running = Running::start(&mut gateway);
    assert_eq!(running.line(), "ready");
    let dead = folder.path().join("dead");
    let until = Instant::now() + DEADLINE;
    let id = loop {
        assert!(Instant::now() < until, "no number");
        match fs::read_to_string(&dead) {
            Ok(id) if id.ends_with('\n') => break id,
            _ => thread::yield_now(),
        }
    };
    while Path::new(&format!("/proc/{}", id.trim())).exists() {
        assert!(Instant::now() < until, "{id} was not reaped");
        thread::yield_now();
    }
    running.write("end\n");
    assert_eq!(running.end().0.code(), Some(0));
}

#[test]
fn a_gateway_that_is_killed_leaves_the_command_running() {
    let mut running = Running::start(&mut script("echo ready; read line; echo still here"));
    assert_eq!(running.line(), "ready");
    // To wait for the end of a child closes its standard input.
    let mut input = running.child.stdin.take().unwrap();
    running.signal("KILL");
    running.child.wait().unwrap();
    input.write_all(b"end\n").unwrap();
    assert_eq!(running.line(), "still here");
}

#[test]
fn children_that_the_gateway_had_before_are_left_alone() {
    let mut shell = tool("sh");
    shell
        .args(["-c", "sleep 300 >&- 2>&- & echo $!; exec \"$0\" \"$@\""])
        .arg(env!("CARGO_BIN_EXE_referral-gateway"))
        .args(around(&[], &["true"]))
        .env_clear()
        .env("PATH", tools::folder());
    let ended = ended(&mut shell);
    let id = ended.out.trim();
    let is_left = is_alive(id);
    tool("kill").args(["-s", "KILL", id]).status().unwrap();
    assert!(is_left && ended.code == Some(0), "{}", ended.err);
}

/// An upstream that holds writes until it is told to let go.
async fn holding() -> (Upstream, watch::Sender<bool>) {
    let (go, held) = watch::channel(false);
    let upstream = Upstream::with(move |_| {
        let mut held = held.clone();
        async move {
            held.wait_for(|go| *go).await.ok();
            None
        }
    })
    .await;
    (upstream, go)
}

#[tokio::test]
async fn a_write_that_is_under_way_when_the_command_ends_is_finished() {
    let (upstream, go) = holding().await;
    let put = format!(
        "echo $REFERRALS_BASE_URL; curl -sS -X PUT -H 'Authorization: Bearer {}' -H 'Content-Type: application/json' -H 'If-Match: {TAG}' -d '{}' \"$REFERRALS_BASE_URL{ITEM}\" & read line",
        bearer(),
        body("Closed", "Won")
    );
    let mut gateway = exec(&["--upstream", &upstream.url()], &["sh", "-c", &put]);
    gateway.env("REFERRAL_GATEWAY_SNAPSHOTS__UNKNOWN_STATE", "forward");
    let mut running = Running::start(&mut gateway);
    upstream.arrived("PUT", 1).await;
    let address = running.line().replace("http://", "");

    running.write("end\n");
    eventually("the data listener to end", async || {
        TcpStream::connect(&address).await.is_err()
    })
    .await;
    // Only the gateway is left by then, and it waits.
    let id = running.child.id();
    let children = fs::read_to_string(format!("/proc/{id}/task/{id}/children"));
    assert_eq!(children.unwrap(), "");
    let end = eventually("its end", async || {
        running.child.try_wait().unwrap().is_some()
    });
    let early = tokio::time::timeout(Duration::from_secs(2), end).await;
    assert!(early.is_err(), "the gateway did not wait");
    go.send(true).unwrap();

    let ending = tokio::task::spawn_blocking(move || running.end());
    let (status, err) = within("the end", ending).await.unwrap();
    assert_eq!(status.code(), Some(0), "{err}");
    assert_eq!(upstream.applied().len(), 1, "{err}");
    let mut answered = records(&err).into_iter();
    let put = answered.find(|record| record["message"] == "Answered" && record["method"] == "PUT");
    assert_eq!(put.unwrap()["status"], 200, "{err}");
}

#[test]
fn a_run_ends_with_one_line_about_its_requests() {
    let ask = |further: &str| {
        format!(
            "curl -sS -o /dev/null -H 'Authorization: Bearer {}' {further}; ",
            bearer()
        )
    };
    let text = [
        ask(&format!("$REFERRALS_BASE_URL{LIST}")),
        ask(&format!("$REFERRALS_BASE_URL{LIST}")),
        ask(&format!(
            "-X PUT -H 'Content-Type: application/json' -d '{}' $REFERRALS_BASE_URL{ITEM}",
            body("Active", "Accepted")
        )),
    ];
    let ended = ended(&mut script(&text.concat()));
    let line = record(&ended, "Requests of this run");
    for (field, number) in [
        ("requests", 3),
        ("upstream", 2),
        ("policy", 1),
        ("ratelimit", 0),
        ("cooldown", 0),
        ("gateway", 0),
    ] {
        assert_eq!(line[field], number, "{field}: {line}");
    }
    assert_eq!(line["codes"], "if_match_missing 1", "{line}");
}

#[test]
fn wrong_usage_of_exec_is_told() {
    for (arguments, told) in [
        (&["run", "--exec"][..], "COMMAND"),
        (&["run", "--", "true"], "--exec"),
        (&["run", "--exec", "true"], "true"),
        (&["run", "--exec-env", "X"], "--exec"),
        (
            &[
                "run",
                "--exec",
                "--exec-env",
                "REFERRAL_GATEWAY_X",
                "--",
                "true",
            ],
            "those of settings",
        ),
        (
            &["run", "--exec", "--exec-env", "A=B", "--", "true"],
            "underscores",
        ),
        (&["check", "--exec", "--", "true"], "--exec"),
    ] {
        let ended = ended(&mut program(arguments));
        assert_eq!(ended.code, Some(2), "{arguments:?}: {}", ended.err);
        assert!(ended.err.contains(told), "{arguments:?}: {}", ended.err);
    }
}

#[test]
fn the_signals_on_the_page_are_those_that_are_handed_on() {
    let page = section("docs/cli.md", "Run a command");
    let named: Vec<_> = ticked(&page)
        .into_iter()
        .filter(|word| word.starts_with("SIG"))
        .collect();
    for signal in [
        "SIGTERM", "SIGINT", "SIGQUIT", "SIGHUP", "SIGWINCH", "SIGUSR1", "SIGUSR2",
    ] {
        assert!(page.contains(signal), "{signal}: {named:?}");
    }
}
