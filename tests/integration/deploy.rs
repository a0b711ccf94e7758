//! The files of `deploy/`, as Debian's tools and our own binary read them.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use serde_json::Value;

use super::{kubernetes::render::installed, support::tools};

const DEADLINE: Duration = Duration::from_secs(10);
const UNIT: &str = "deploy/systemd/referral-gateway.service";
/// systemd finds it in `/usr/local/bin`, where the README puts it, or in `/usr/bin`, where the package does.
const INSTALLED: &str = "referral-gateway";

#[test]
fn every_file_stands_in_the_table_of_the_readme() {
    let readme = read("deploy/README.md");
    for file in files_below("deploy") {
        let name = file.strip_prefix("deploy/").unwrap();
        // A folder may have a row for all its files.
        let folders = name.match_indices('/').map(|(end, _)| &name[..=end]);
        let mut rows = folders.chain([name]).map(|name| format!("| `{name}` |"));
        assert!(
            name == "README.md" || rows.any(|row| readme.contains(&row)),
            "deploy/README.md does not say what {name} is"
        );
    }
}

#[test]
fn the_yaml_is_clean() {
    // The templates of Helm are no YAML until they are rendered, and copies of policies have their own form.
    let rules = "{extends: default, rules: {line-length: {max: 110}, \
                 braces: {min-spaces-inside: 0, max-spaces-inside: 1}}, \
                 ignore: [templates/, policies/, tests/]}";
    passes(tool("yamllint").args(["--strict", "-d", rules, "deploy"]));
}

#[test]
fn prometheus_accepts_the_scrapes() {
    passes(tool("promtool").args(["check", "config", "deploy/prometheus/scrape.yaml"]));

    // Debian's promtool is built without Kubernetes: all but the discovery is shown to it.
    let discovery = "kubernetes_sd_configs:\n      - role: pod\n";
    let text = read("deploy/prometheus/kubernetes.yaml");
    assert!(text.contains(discovery), "{text}");
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("kubernetes.yaml");
    let rules = "rules.yaml";
    fs::write(dir.path().join(rules), read("deploy/prometheus/rules.yaml")).unwrap();
    let known = "static_configs:\n      - targets: [\"127.0.0.1:4281\"]\n";
    fs::write(&path, text.replace(discovery, known)).unwrap();
    passes(tool("promtool").args(["check", "config"]).arg(&path));
}

#[test]
fn prometheus_scrapes_the_ports_that_are_listened_on() {
    let scrape = one("deploy/prometheus/scrape.yaml");
    let target = text(&scrape, "/scrape_configs/0/static_configs/0/targets/0");
    let settings = config_show(&[]);
    assert!(settings.contains(target), "{target} is not in {settings}");

    let gateway = sidecar();
    let port = text(&gateway, "/ports/0/name");
    let name = text(&gateway, "/name");
    let pods = one("deploy/prometheus/kubernetes.yaml");
    let keep = text(&pods, "/scrape_configs/0/relabel_configs/0/regex");
    assert_eq!(keep, format!("{name};{port}"));
}

#[test]
fn systemd_accepts_the_unit_and_calls_it_hardened() {
    let unit = read(UNIT);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("referral-gateway.service");
    let binary = env!("CARGO_BIN_EXE_referral-gateway");
    let [installed, built] = [INSTALLED, binary].map(|name| format!("={name} "));
    assert!(unit.contains(&installed), "{unit}");
    fs::write(&path, unit.replace(&installed, &built)).unwrap();

    let socket = dir.path().join("referral-gateway.socket");
    fs::write(&socket, read("deploy/systemd/referral-gateway.socket")).unwrap();

    // A key that it does not know is only a warning to it, and no failure.
    let verify = ["verify", "--man=no", "--recursive-errors=no"];
    for unit in [&path, &socket] {
        let said = passes(tool("systemd-analyze").args(verify).arg(unit));
        assert_eq!(said, "", "systemd-analyze verify has something to say");
    }

    let security = ["security", "--offline=true", "--threshold=20", "--no-pager"];
    passes(tool("systemd-analyze").args(security).arg(&path));
}

#[test]
fn the_commands_of_the_unit_are_ours_and_name_its_settings_file() {
    let settings = root().join("deploy/systemd/config.yaml");
    for key in ["ExecStartPre", "ExecStart"] {
        let command = unit_value(key);
        let words: Vec<&str> = command.split(' ').collect();
        assert_eq!(words[0], INSTALLED);
        assert_eq!(
            words[2..],
            ["--config", "/etc/referral-gateway/config.yaml"]
        );
    }
    assert!(unit_value("ExecStart").contains(" run "));
    assert!(unit_value("ExecStartPre").contains(" check "));
    assert_eq!(unit_value("ExecReload"), "/bin/kill -HUP $MAINPID");
    passes(gateway().args(["check", "--config"]).arg(settings));
}

#[test]
fn the_unit_leaves_time_to_drain() {
    let patience = humantime::parse_duration(&unit_value("TimeoutStopSec")).unwrap();
    assert!(patience > drain_max(&read("deploy/systemd/config.yaml")));
}

#[test]
fn the_image_is_built_with_our_rust_and_carries_our_version() {
    let rust = env!("CARGO_PKG_RUST_VERSION");
    let version = env!("CARGO_PKG_VERSION");
    let build = instructions("FROM");
    assert!(build[0].starts_with(&format!("rust:{rust}-")), "{build:?}");
    assert!(instructions("ARG").contains(&format!("VERSION={version}")));
}

#[test]
fn the_linter_of_dockerfiles_accepts_the_image() {
    let Some(linter) = installed("hadolint") else {
        return;
    };
    let mut lint = tool("env");
    passes(
        lint.arg(linter.join("bin/hadolint"))
            .arg("deploy/Dockerfile"),
    );
}

#[test]
fn the_image_is_told_its_commit() {
    let text = dockerfile_text();
    // An argument counts in its own stage, from its line on.
    let (build, image) = text.split_once("\nFROM ${BASE}\n").unwrap();
    let (_, build) = build.split_once("\nARG COMMIT=\n").unwrap();
    assert!(build.contains("GATEWAY_COMMIT=\"$COMMIT\""), "{build}");
    let (_, image) = image.split_once("\nARG COMMIT=\n").unwrap();
    let label = "org.opencontainers.image.revision=\"${COMMIT}\"";
    assert!(image.contains(label), "{image}");
}

#[test]
fn the_build_context_holds_all_that_the_build_reads() {
    let ignored = read(".dockerignore");
    let mut lines = ignored.lines().filter(|line| !line.starts_with('#'));
    assert_eq!(
        lines.next(),
        Some("*"),
        "the context is a list of what is let in"
    );
    let context: Vec<&str> = lines.map(|line| line.strip_prefix('!').unwrap()).collect();

    // Cargo itself says whether it misses a target that the manifest names.
    let dir = tempfile::tempdir().unwrap();
    for name in &context {
        if root().join(name).exists() {
            passes(tool("cp").arg("-r").arg(root().join(name)).arg(dir.path()));
        }
    }
    passes(
        Command::new(env!("CARGO"))
            .args([
                "metadata",
                "--offline",
                "--locked",
                "--no-deps",
                "--format-version",
                "1",
            ])
            .current_dir(&dir),
    );

    for file in files_below("src") {
        for named in included(&file) {
            let folder = dir.path().join(&file).parent().unwrap().to_owned();
            let places = [
                folder.join(&named),
                dir.path().join(named.trim_start_matches('/')),
            ];
            assert!(
                places.iter().any(|place| place.exists()),
                "{file} includes {named}, which .dockerignore keeps out of the image's build"
            );
        }
    }
}

#[test]
fn the_image_copies_what_exists() {
    for copy in instructions("COPY") {
        let words: Vec<&str> = copy.split_whitespace().collect();
        if let Some(path) = words[0].strip_prefix("--from=build") {
            assert_eq!(path, "");
            let made = format!(" {}", words[1]);
            let run = instructions("RUN").concat();
            assert!(run.ends_with(&made), "{run} does not end with{made}");
        } else {
            assert!(
                root().join(words[0]).exists(),
                "{} does not exist",
                words[0]
            );
        }
    }
}

#[test]
fn the_image_runs_as_nobody_without_a_shell_and_stops_on_sigterm() {
    assert_eq!(instructions("USER"), ["65532:65532"]);
    assert_eq!(instructions("STOPSIGNAL"), ["SIGTERM"]);
    assert_eq!(
        exec_form(&instructions("ENTRYPOINT")[0]),
        ["/referral-gateway"]
    );
    let (from, stage) = dockerfile_text().rsplit_once("\nFROM ").map(owned).unwrap();
    assert!(from.contains("\nARG BASE="), "the base can be chosen");
    assert!(stage.starts_with("${BASE}\n"), "{stage}");
    assert!(!stage.contains("\nRUN "), "there is no shell to run it");
}

#[test]
fn the_health_check_of_the_image_tells_a_running_gateway_from_none() {
    let check = instructions("HEALTHCHECK");
    let (_, command) = check[0].split_once("CMD ").unwrap();
    let command = exec_form(command);
    assert_eq!(command, ["/referral-gateway", "healthcheck"]);

    let running = Running::start();
    let probe = |telemetry: SocketAddr, expected: i32| {
        let mut probe = gateway();
        probe
            .args(&command[1..])
            .env("REFERRAL_GATEWAY_TELEMETRY__LISTEN", telemetry.to_string());
        let output = probe.output().unwrap();
        assert_eq!(output.status.code(), Some(expected), "{output:?}");
    };
    probe(running.telemetry(), 0);
    // A port that is in use, so that no other test gets it, and on which nobody listens.
    let caller = TcpStream::connect(running.telemetry()).unwrap();
    probe(caller.local_addr().unwrap(), 1);
}

#[test]
fn the_environment_of_the_image_and_of_the_sidecar_is_accepted() {
    let image: Vec<(String, String)> = instructions("ENV")
        .iter()
        .map(|line| line.split_once('=').map(owned).unwrap())
        .collect();
    let sidecar: Vec<(String, String)> = list(&sidecar(), "/env")
        .iter()
        .map(|entry| owned((text(entry, "/name"), text(entry, "/value"))))
        .collect();
    let documented = owned(("REFERRAL_GATEWAY_LISTEN", "0.0.0.0:4280"));
    assert!(read("deploy/README.md").contains("-e REFERRAL_GATEWAY_LISTEN=0.0.0.0:4280"));

    for environment in [image, sidecar, vec![documented]] {
        assert!(!environment.is_empty());
        let shown = config_show(&environment);
        for (name, value) in environment {
            assert!(
                shown.contains(&value),
                "{name}={value} has no effect: {shown}"
            );
        }
    }
}

#[test]
fn the_path_that_prometheus_scrapes_answers_on_the_telemetry_port() {
    let running = Running::start();
    let scrape = one("deploy/prometheus/scrape.yaml");
    assert_eq!(
        running.status_of(text(&scrape, "/scrape_configs/0/metrics_path")),
        "200"
    );
}

/// A gateway in front of the simulator on free ports; it ends with the value.
struct Running {
    child: Child,
    ready: Value,
}

impl Running {
    fn start() -> Self {
        let free = "127.0.0.1:0";
        let mut child = gateway()
            .args(["run", "--upstream", "simulator", "--log-format", "json"])
            .args(["--listen", free, "--telemetry", free, "--admin", free])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let (sender, receiver) = mpsc::channel();
        // Reads on after the line that is waited for, or the pipe would fill.
        thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                let record: Value = serde_json::from_str(&line).unwrap_or_default();
                if record["message"] == "Ready" {
                    let _ = sender.send(record);
                }
            }
        });
        let mut running = Self {
            child,
            ready: Value::Null,
        };
        running.ready = receiver
            .recv_timeout(DEADLINE)
            .expect("the gateway says that it is ready");
        running
    }

    fn telemetry(&self) -> SocketAddr {
        text(&self.ready, "/telemetry").parse().unwrap()
    }

    /// The status that a GET of `path` has on the telemetry listener.
    fn status_of(&self, path: &str) -> String {
        let mut stream = TcpStream::connect_timeout(&self.telemetry(), DEADLINE).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer.split(' ').nth(1).unwrap_or_default().to_owned()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| format!("{path}: {error}"))
}

/// The files below a folder of the repository, as paths from its root.
fn files_below(folder: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(root().join(folder)).unwrap() {
        let entry = entry.unwrap();
        let path = Path::new(folder).join(entry.file_name());
        let path = path.to_str().unwrap().to_owned();
        if entry.file_type().unwrap().is_dir() {
            found.extend(files_below(&path));
        } else {
            found.push(path);
        }
    }
    found
}

/// The binary under test, which sees no setting of whoever runs the tests.
fn gateway() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_referral-gateway"));
    command.env_clear();
    command
}

/// A program that reads the files of the repository.
#[track_caller]
fn tool(name: &str) -> Command {
    let mut command = tools::tool(name);
    command.current_dir(root());
    command
}

/// Runs a command that must succeed, and returns what it said on stderr.
#[track_caller]
fn passes(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).output().unwrap();
    let stdout = String::from_utf8_lossy(&output.stdout);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{command:?}: {}\n{stdout}{stderr}",
        output.status
    );
    stderr.into_owned()
}

/// The settings in force, as `config show` prints them.
#[track_caller]
fn config_show(environment: &[(String, String)]) -> String {
    let mut command = gateway();
    command
        .args(["config", "show"])
        .envs(environment.iter().cloned());
    let output = command.output().unwrap();
    assert!(output.status.success(), "{environment:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

fn one(path: &str) -> Value {
    serde_saphyr::from_str(&read(path)).unwrap()
}

/// The gateway's container, as the component of Kustomize adds it.
fn sidecar() -> Value {
    at(&one("deploy/kubernetes/sidecar/container.yaml"), "/0/value").clone()
}

#[track_caller]
fn at<'a>(value: &'a Value, pointer: &str) -> &'a Value {
    let found = value.pointer(pointer);
    assert!(found.is_some(), "nothing at {pointer} in {value:#}");
    found.unwrap()
}

#[track_caller]
fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    at(value, pointer).as_str().unwrap()
}

#[track_caller]
fn list<'a>(value: &'a Value, pointer: &str) -> &'a Vec<Value> {
    at(value, pointer).as_array().unwrap()
}

fn drain_max(settings: &str) -> Duration {
    let settings: Value = serde_saphyr::from_str(settings).unwrap();
    humantime::parse_duration(text(&settings, "/drain/max")).unwrap()
}

fn unit_value(key: &str) -> String {
    let unit = read(UNIT);
    let start = format!("{key}=");
    let mut values = unit.lines().filter_map(|line| line.strip_prefix(&start));
    values.next().unwrap_or_default().to_owned()
}

/// The Dockerfile without comments, each instruction on one line.
fn dockerfile_text() -> String {
    let text = read("deploy/Dockerfile");
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines.collect::<Vec<_>>().join("\n").replace("\\\n", " ")
}

/// What follows a keyword of the Dockerfile, for each time it is there.
fn instructions(keyword: &str) -> Vec<String> {
    let text = dockerfile_text();
    let of_keyword = |line: &str| {
        let (first, rest) = line.split_once(' ')?;
        (first == keyword).then(|| rest.trim().to_owned())
    };
    text.lines().filter_map(of_keyword).collect()
}

#[track_caller]
fn exec_form(command: &str) -> Vec<String> {
    serde_json::from_str(command).expect("the exec form, which needs no shell")
}

/// The files that a source file takes into the binary, as it names them.
fn included(source: &str) -> Vec<String> {
    let text = read(source);
    let calls = text
        .split("include_str!(")
        .skip(1)
        .chain(text.split("include_bytes!(").skip(1));
    let first_path = |call: &str| {
        call.split('"')
            .find(|part| part.contains('.'))
            .map(str::to_owned)
    };
    calls.filter_map(first_path).collect()
}

fn owned((left, right): (&str, &str)) -> (String, String) {
    (left.to_owned(), right.to_owned())
}
