//! What each command answers, and with which exit code.

use std::{
    fs,
    io::{self, Read, Write},
    net::{TcpListener, TcpStream},
    path::Path,
    process::{Command, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;
use tempfile::TempDir;

use super::support::token::Issuer;

/// The program, in an environment without settings.
pub(crate) fn program(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_referral-gateway"));
    command.args(arguments).env_clear().stdin(Stdio::null());
    command
}

/// What a command that ends by itself left behind.
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Ended {
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.out).expect(&self.out)
    }
}

/// Runs to the end, which must come soon: a command that should fail may serve instead.
#[track_caller]
pub(crate) fn ended(command: &mut Command) -> Ended {
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    let (out, err) = (read(child.stdout.take()), read(child.stderr.take()));
    let [out, err] = [out, err].map(|text| {
        text.recv_timeout(Duration::from_secs(20))
            .unwrap_or_else(|_| {
                child.kill().expect("killed");
                format!("{command:?} did not end")
            })
    });
    let code = child.wait().expect("ended").code();
    Ended { code, out, err }
}

/// All that comes out of a pipe, once it is closed.
fn read(pipe: Option<impl Read + Send + 'static>) -> mpsc::Receiver<String> {
    let (sender, text) = mpsc::channel();
    thread::spawn(move || sender.send(io::read_to_string(pipe.expect("a pipe")).expect("UTF-8")));
    text
}

#[track_caller]
pub(crate) fn run(arguments: &[&str]) -> Ended {
    ended(&mut program(arguments))
}

pub(crate) fn write(folder: &TempDir, name: &str, text: &str) -> String {
    let path = folder.path().join(name);
    fs::write(&path, text).expect("written");
    path.to_str().expect("UTF-8").to_owned()
}

fn shipped_policy() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("policies/referrals.yaml");
    fs::read_to_string(path).expect("the shipped policy")
}

#[test]
fn the_help_names_every_command_and_flag() {
    let help = run(&["--help"]);
    assert_eq!(help.code, Some(0));
    for word in [
        "run",
        "check",
        "explain",
        "test",
        "simulate",
        "healthcheck",
        "config",
        "certificate",
        "schema",
        "completions",
        "man",
        "--config",
        "--policy",
        "--listen",
        "--telemetry",
        "--admin",
        "--upstream",
        "--log-format",
        "--log-level",
        "Exit codes",
    ] {
        assert!(help.out.contains(word), "{word}: {}", help.out);
    }
    let version = run(&["--version"]);
    assert_eq!(
        version.out,
        format!("referral-gateway {}\n", env!("CARGO_PKG_VERSION"))
    );
}

#[test]
fn the_help_of_a_command_shows_the_flags_that_it_looks_at() {
    for (command, shown, hidden) in [
        (
            &["run"][..],
            &["--policy", "--upstream", "--exec", "--exec-env"][..],
            &["--connect"][..],
        ),
        (&["check"], &["--policy", "--output", "--connect"], &[]),
        (&["config", "show"], &["--policy", "--origins"], &[]),
        (
            &["simulate"],
            &["--seed", "--listen", "--config", "--log-level"],
            &["--policy", "--telemetry", "--admin", "--upstream"],
        ),
        (
            &["healthcheck"],
            &["--url", "--telemetry", "--config"],
            &["--policy", "--listen", "--log-level"],
        ),
        (
            &["certificate"],
            &["--name", "--renew", "--output"],
            &["--config", "--listen", "--log-level"],
        ),
        (&["schema"], &["policy"], &["--policy", "--config"]),
        (&["completions"], &["bash"], &["--listen", "--log-format"]),
    ] {
        let help = run(&[command, &["--help"]].concat());
        assert_eq!(help.code, Some(0));
        let usage = format!("Usage: referral-gateway {} ", command.join(" "));
        assert!(help.out.contains(&usage), "{}", help.out);
        for flag in shown {
            assert!(help.out.contains(flag), "{command:?} {flag}: {}", help.out);
        }
        for flag in hidden {
            assert!(!help.out.contains(flag), "{command:?} {flag}: {}", help.out);
        }
    }
}

#[test]
fn wrong_usage_exits_2_and_says_what_is_wrong() {
    for (arguments, told) in [
        (&["runn"][..], "'run'"),
        (&["--lisen", "127.0.0.1:0"], "'--listen'"),
        (&["--log-format", "xml"], "auto, text, json"),
        (&["config"], "show"),
        (&["schema", "policies"], "config, policy, policy-test"),
        (&["simulate", "--seed", "x"], "--seed"),
        (
            &["simulate", "--policy", "builtin"],
            "--policy is not supported by this command\n\nUsage: referral-gateway simulate ",
        ),
        (
            &["schema", "config", "--listen", "127.0.0.1:0"],
            "--listen is not supported by this command",
        ),
        (
            &["healthcheck", "--listen", "127.0.0.1:1"],
            "--listen is not supported by this command",
        ),
        (
            &[
                "healthcheck",
                "--url",
                "http://127.0.0.1:1",
                "--telemetry",
                "127.0.0.1:1",
            ],
            "--telemetry is not supported",
        ),
        (
            &["healthcheck", "--url", "ftp://127.0.0.1:1"],
            "write a URL such as http://",
        ),
        (&["check", "--output", "yaml"], "text, json"),
    ] {
        let ended = run(arguments);
        assert_eq!(
            (ended.code, ended.out.as_str()),
            (Some(2), ""),
            "{arguments:?}"
        );
        assert!(ended.err.contains(told), "{arguments:?}: {}", ended.err);
    }
}

#[test]
fn no_colour_comes_when_none_is_wanted() {
    let coloured = ended(program(&["--help"]).env("CLICOLOR_FORCE", "1"));
    assert!(
        coloured.out.contains('\u{1b}'),
        "nothing to switch off: {}",
        coloured.out
    );
    let plain = ended(
        program(&["--help"])
            .env("CLICOLOR_FORCE", "1")
            .env("NO_COLOR", "1"),
    );
    assert!(!plain.out.contains('\u{1b}'), "{}", plain.out);
}

#[test]
fn check_sums_up_what_would_run() {
    let folder = TempDir::new().expect("a folder");
    let policy = write(&folder, "policy.yaml", &shipped_policy());
    let arguments = [
        "check",
        "--listen",
        "127.0.0.1:0",
        "--upstream",
        "simulator",
        "--policy",
        &policy,
    ];

    let text = run(&arguments);
    assert_eq!((text.code, text.err.as_str()), (Some(0), ""));
    for line in [
        "listen     127.0.0.1:0",
        "upstream   simulator",
        "policy     referrals, 8 rules",
        "enforce    well-formed, if-match, links-removed, substatus, transition, same-id\n",
        "warn       same-etag, patch-operations\n",
    ] {
        assert!(text.out.contains(line), "{line}: {}", text.out);
    }

    let json = run(&[&arguments[..], &["--output", "json"]].concat()).json();
    assert_eq!(json["ok"], true);
    assert_eq!(json["telemetry"], "127.0.0.1:4281");
    assert_eq!(json["policy"]["rules"], 8);
    let modes = &json["policy"]["modes"];
    assert_eq!(
        modes["warn"],
        serde_json::json!(["same-etag", "patch-operations"])
    );
    assert_eq!(modes["enforce"].as_array().map(Vec::len), Some(6));
    assert_eq!(json["warnings"], serde_json::json!([]));
}

#[test]
fn check_finds_what_is_wrong_in_settings_and_policy_at_once() {
    let folder = TempDir::new().expect("a folder");
    let policy = write(
        &folder,
        "policy.yaml",
        &shipped_policy().replace("mode: warn", "mode: wran"),
    );
    let settings = write(
        &folder,
        "settings.yaml",
        "drain: { min: 40s }\nlog: { level: loud }\npolicy: { document: policy.yaml }\n",
    );
    let lines: Vec<usize> = (1..)
        .zip(shipped_policy().lines())
        .filter(|(_, line)| line.contains("mode: warn"))
        .map(|(number, _)| number)
        .collect();
    let [first, second] = lines[..] else {
        unreachable!("two rules in mode warn: {lines:?}")
    };

    let mut check = program(&["check", "--config", &settings]);
    check.env("REFERRAL_GATEWAY_LISTN", "127.0.0.1:0");
    let text = ended(&mut check);
    assert_eq!(text.code, Some(1));
    for told in [
        format!("{settings}:1:15: `drain.min` is `40s`: more than `drain.max`"),
        format!("{settings}:2:15: `log.level` is `loud`: \"loud\" is not a level; write off, error"),
        "environment REFERRAL_GATEWAY_LISTN: unknown setting; did you mean REFERRAL_GATEWAY_LISTEN?".to_owned(),
        format!("{policy}:{first}:"),
        format!("{policy}:{second}:"),
        "did you mean `warn`?".to_owned(),
    ] {
        assert!(text.out.contains(&told), "{told}: {}", text.out);
    }

    let json = ended(check.args(["--output", "json"]));
    assert_eq!(json.code, Some(1));
    let told = json.json();
    assert_eq!(told["ok"], false);
    let problems = told["problems"].as_array().expect("a list");
    assert_eq!(problems.len(), 5, "{}", json.out);
    let first_of = |key: &str, value: &str| {
        let found = problems.iter().find(|problem| problem[key] == value);
        found.expect(value)
    };
    let level = problems
        .iter()
        .find(|problem| problem["line"] == 2)
        .expect("the level");
    assert_eq!(level["file"], settings.as_str());
    assert_eq!(
        (&level["line"], &level["column"], &level["origin"]),
        (&2.into(), &15.into(), &Value::Null)
    );
    let message = level["message"].as_str().expect("a text");
    assert!(message.starts_with("`log.level` is `loud`: "));
    assert!(
        level["remedy"]
            .as_str()
            .is_some_and(|remedy| !remedy.is_empty())
    );
    let mode = first_of("file", &policy);
    assert_eq!(mode["line"], first);
    assert!(mode["column"].is_u64(), "{mode}");
    assert_eq!(mode["remedy"], "did you mean `warn`?");
    let variable = first_of("origin", "environment REFERRAL_GATEWAY_LISTN");
    assert_eq!(
        (&variable["file"], &variable["message"], &variable["remedy"]),
        (
            &Value::Null,
            &"unknown setting".into(),
            &"did you mean REFERRAL_GATEWAY_LISTEN?".into()
        )
    );
}

#[test]
fn check_looks_at_all_that_a_start_looks_at() {
    let mut check = program(&["check", "--output", "json"]);
    check.env("HTTPS_PROXY", "socks5://127.0.0.1:1080");
    let check = ended(&mut check);
    assert_eq!(check.code, Some(1), "{}", check.out);
    assert_eq!(
        check.json()["problems"][0]["origin"],
        "environment HTTPS_PROXY"
    );
}

#[test]
fn check_warns_of_what_is_probably_not_meant() {
    let folder = TempDir::new().expect("a folder");
    let keys = write(&folder, "keys.json", &Issuer::new().key_set());
    let policy = write(
        &folder,
        "policy.yaml",
        "name: p\nrules:\n  - { id: links, check: links_removed, on: [PUT], mode: audit, modes: { contoso: enforce, fabrikam: enforce } }\n\
         states: { Active: { next: [Active], substatus: [Accepted] } }\n",
    );
    let known = "known:\n    contoso: { id: a-name, rate_limit: { writes: { burst: 5 } } }\n    \
                 fabrikam: { id: 11111111-2222-4333-8444-555555555555, rate_limit: { writes: { burst: 5 } } }\n    \
                 northwind: { id: northwind }\n";
    let warnings = |listen: &str, tenants: &str| {
        let settings = write(
            &folder,
            "settings.yaml",
            &format!("listen: {listen}\ntenants:\n  {tenants}\n  {known}"),
        );
        let check = run(&[
            "check", "--config", &settings, "--policy", &policy, "--output", "json",
        ]);
        assert_eq!(check.code, Some(0), "{}{}", check.out, check.err);
        let text = run(&["check", "--config", &settings, "--policy", &policy]).out;
        let warnings = check.json()["warnings"].as_array().expect("a list").clone();
        assert_eq!(
            text.lines()
                .filter(|line| line.starts_with("Warning: "))
                .count(),
            warnings.len(),
            "{text}"
        );
        let place = |warning: &Value| {
            let file = warning["file"].as_str().unwrap_or_default();
            let name = Path::new(file).file_name().unwrap_or_default();
            let message = warning["message"].as_str().expect("a text");
            assert!(
                warning["remedy"]
                    .as_str()
                    .is_some_and(|remedy| !remedy.is_empty())
            );
            format!(
                "{}:{}:{} {message}",
                name.to_str().expect("UTF-8"),
                warning["line"],
                warning["column"]
            )
        };
        warnings.iter().map(place).collect::<Vec<_>>()
    };
    let modes =
        "policy.yaml:3:82 modes: `contoso` has no effect: modes belong to the tenant in a token";
    let northwind = "settings.yaml:7:22 `tenants.known.northwind.id` is `northwind`: not a GUID";
    let odd = "settings.yaml:5:20 `tenants.known.contoso.id` is `a-name`: not a GUID";
    let limits = "settings.yaml:5:59 `tenants.known.contoso.rate_limit` has no effect: with tenants.jwks_file";
    let everywhere = "settings.yaml:1:9 `listen` is `0.0.0.0:4280`: not a loopback address";
    let keys = format!("header: x-tenant\n  jwks_file: {keys}");
    for (listen, tenants, expected) in [
        ("127.0.0.1:0", "header: x-tenant", &[modes][..]),
        ("'[::1]:0'", "header: null", &[odd, northwind]),
        ("0.0.0.0:4280", "header: x-tenant", &[everywhere, modes]),
        (
            "127.0.0.1:0",
            &keys,
            &[modes, &limits.replace(":5:", ":6:")],
        ),
    ] {
        let told = warnings(listen, tenants);
        assert_eq!(told.len(), expected.len(), "{told:?}");
        for (told, expected) in told.iter().zip(expected) {
            assert!(told.starts_with(expected), "{told}\n{expected}");
        }
    }
}

#[test]
fn check_reads_the_only_policy_of_a_folder() {
    let folder = TempDir::new().expect("a folder");
    let path = folder.path().to_str().expect("UTF-8");
    fs::create_dir(folder.path().join("tests")).expect("a folder");
    fs::write(folder.path().join("tests/case.yaml"), "not a policy").expect("written");
    write(&folder, "mine.yaml", &shipped_policy());
    assert_eq!(run(&["check", "--policy", path]).code, Some(0));

    write(&folder, "other.yaml", &shipped_policy());
    let two = run(&["check", "--policy", path]);
    assert_eq!(two.code, Some(1));
    assert!(
        two.out.contains(
            "2 documents in this folder (mine.yaml, other.yaml); name the document itself"
        ),
        "{}",
        two.out
    );
}

#[test]
fn what_config_show_prints_can_be_read_again() {
    let folder = TempDir::new().expect("a folder");
    let shown = run(&[
        "config",
        "show",
        "--upstream",
        "http://[::1]:9",
        "--log-level",
        "warn,hyper=off",
    ]);
    assert_eq!(shown.code, Some(0));
    let file = write(&folder, "shown.yaml", &shown.out);
    assert_eq!(run(&["config", "show", "--config", &file]).out, shown.out);
    // The origins are comments, so they may stay.
    let origins = run(&["config", "show", "--origins", "--config", &file]);
    assert!(
        origins.out.contains(&format!("  # {file}:")),
        "{}",
        origins.out
    );
    let file = write(&folder, "origins.yaml", &origins.out);
    assert_eq!(run(&["config", "show", "--config", &file]).out, shown.out);
}

#[test]
fn schemas_are_json_that_names_the_keys() {
    let config = run(&["schema", "config"]);
    assert_eq!(config.code, Some(0));
    for key in [
        "listen",
        "upstream",
        "rate_limit",
        "snapshots",
        "drain",
        "tenants",
    ] {
        assert!(config.json()["properties"][key].is_object(), "{key}");
    }
    let policy = run(&["schema", "policy"]);
    assert_eq!(policy.code, Some(0));
    for key in ["name", "rules", "states"] {
        assert!(policy.json()["properties"][key].is_object(), "{key}");
    }
}

#[test]
fn completions_are_there_for_every_shell() {
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let script = run(&["completions", shell]);
        assert_eq!(script.code, Some(0), "{shell}");
        assert!(script.out.contains("healthcheck"), "{shell}");
    }
}

#[test]
fn the_simulator_tells_what_it_does_and_how_that_is_known() {
    let table = run(&["simulate", "--list-behaviour"]);
    assert_eq!(table.code, Some(0));
    for word in ["documented", "observed", "assumed"] {
        assert!(table.out.contains(word), "{word}");
    }
}

#[test]
fn the_simulator_does_not_start_on_an_address_that_is_taken() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address").to_string();
    let ended = run(&["simulate", "--listen", &address]);
    assert_eq!((ended.code, ended.out.as_str()), (Some(1), ""));
    let cause = format!("referral-gateway: cannot listen on {address}: Address already in use");
    let remedy = "; choose another address by --listen, or port 0 for any free one\n";
    assert!(
        ended.err.starts_with(&cause) && ended.err.ends_with(remedy),
        "{}",
        ended.err
    );

    let wrong = run(&["simulate", "--listen", "localhost"]);
    assert_eq!(wrong.code, Some(1));
    assert!(
        wrong
            .err
            .contains("--listen \"localhost\" is not an address"),
        "{}",
        wrong.err
    );
}

/// Something that answers one request with these bytes.
fn answering(answer: &'static str) -> (String, thread::JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address").to_string();
    let asked = thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a caller");
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).expect("a request");
            request.extend(byte);
        }
        stream.write_all(answer.as_bytes()).expect("answered");
        String::from_utf8(request).expect("text")
    });
    (address, asked)
}

#[test]
fn a_gateway_that_says_ready_is_healthy() {
    let (address, asked) = answering("HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nready\n");
    let ended = run(&["healthcheck", "--telemetry", &address]);
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    assert_eq!(
        ended.out,
        format!("ready: http://{address}/readyz answers 200 OK\n")
    );
    let asked = asked.join().expect("asked");
    assert!(asked.starts_with("GET /readyz HTTP/1.1\r\n"), "{asked}");
    assert!(asked.contains(&format!("host: {address}\r\n")), "{asked}");
}

#[test]
fn a_gateway_that_drains_is_not_healthy() {
    let (address, _) = answering("HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n");
    let ended = run(&[
        "healthcheck",
        "--url",
        &format!("http://{address}/readyz"),
        "--output",
        "json",
    ]);
    assert_eq!(ended.code, Some(1));
    assert_eq!(
        (&ended.json()["ready"], &ended.json()["status"]),
        (&false.into(), &503.into())
    );
}

#[test]
fn what_answers_no_http_is_not_healthy() {
    let (address, _) = answering("SSH-2.0-x\r\n");
    assert_eq!(
        run(&["healthcheck", "--url", &format!("http://{address}")]).code,
        Some(1)
    );
}

#[test]
fn a_gateway_that_does_not_answer_is_not_healthy() {
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = silent.local_addr().expect("an address").to_string();
    let begin = Instant::now();
    let ended = run(&["healthcheck", "--url", &format!("http://{address}")]);
    assert_eq!(ended.code, Some(1));
    assert!(ended.out.contains("no answer within 3 s"), "{}", ended.out);
    assert!(begin.elapsed() < Duration::from_secs(10));

    // A port that is in use, so that no other test gets it, and on which nobody listens.
    let caller = TcpStream::connect(&address).expect("connected");
    let address = caller.local_addr().expect("an address");
    let nobody = run(&["healthcheck", "--url", &format!("http://{address}")]);
    assert_eq!(nobody.code, Some(1));
    assert!(nobody.out.contains("cannot connect"), "{}", nobody.out);
}

#[test]
fn a_port_chosen_at_start_cannot_be_probed_without_a_url() {
    let ended = run(&["healthcheck", "--telemetry", "127.0.0.1:0"]);
    assert_eq!(ended.code, Some(1));
    assert!(
        ended.err.contains("name it: --url http://127.0.0.1:<port>"),
        "{}",
        ended.err
    );
}

#[test]
fn check_shows_the_modes_of_single_tenants() {
    let folder = TempDir::new().unwrap();
    let policy = folder.path().join("policy.yaml");
    fs::write(
        &policy,
        "name: p\nrules:\n  - { id: links, check: links_removed, on: [PUT], mode: audit, modes: { contoso: enforce } }\n\
         states: { Active: { next: [Active], substatus: [Accepted] } }\n",
    )
    .unwrap();
    let settings = folder.path().join("settings.yaml");
    fs::write(
        &settings,
        "tenants: { known: { contoso: { id: an-id } } }\n",
    )
    .unwrap();
    let [policy, settings] = [&policy, &settings].map(|path| path.to_str().unwrap());

    let said = run(&["check", "--config", settings, "--policy", policy]);
    assert!(
        said.out.contains("\nfor contoso: enforce links\n"),
        "{}",
        said.out
    );
    let said = run(&[
        "check", "--config", settings, "--policy", policy, "--output", "json",
    ]);
    assert_eq!(
        said.json()["policy"]["tenants"]["contoso"][0],
        "enforce links"
    );
}

#[test]
fn the_allocator_is_built_with_its_options() {
    // What `.cargo/config.toml` names is part of the build.
    let config = include_str!("../../.cargo/config.toml");
    let options = config.split_once("MALLOC_CONF = \"").unwrap().1;
    let options = options.split_once('"').unwrap().0;
    let ended = ended(program(&["--version"]).env("_RJEM_MALLOC_CONF", "stats_print:true"));
    let shown = format!("config.malloc_conf: \"{options}\"");
    assert!(ended.err.contains(&shown), "{}", ended.err);
    for option in options.split(',') {
        let option = format!("opt.{}", option.replace(':', ": "));
        assert!(ended.err.contains(&option), "{option}: {}", ended.err);
    }
}
