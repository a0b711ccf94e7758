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

use super::support::tools;

const DEADLINE: Duration = Duration::from_secs(10);
const UNIT: &str = "deploy/systemd/referral-gateway.service";
const INSTALLED: &str = "/usr/local/bin/referral-gateway";

#[test]
fn every_file_stands_in_the_table_of_the_readme() {
    let readme = read("deploy/README.md");
    for file in files_below("deploy") {
        let name = file.strip_prefix("deploy/").unwrap();
        assert!(
            name == "README.md" || readme.contains(&format!("| `{name}` |")),
            "deploy/README.md does not say what {name} is"
        );
    }
}

#[test]
fn the_yaml_is_clean() {
    let rules = "{extends: default, rules: {line-length: {max: 110}, \
                 braces: {min-spaces-inside: 0, max-spaces-inside: 1}}}";
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

    let monitor = of_kind("deploy/kubernetes/podmonitor.yaml", "PodMonitor");
    assert_eq!(text(&monitor, "/spec/podMetricsEndpoints/0/port"), port);
    let selected = at(&monitor, "/spec/selector/matchLabels").clone();
    assert!(has_labels(&pod_labels(), &selected));

    let network = of_kind("deploy/kubernetes/networkpolicy.yaml", "NetworkPolicy");
    let selected = at(&network, "/spec/podSelector/matchLabels").clone();
    assert!(has_labels(&pod_labels(), &selected));
    assert_eq!(
        at(&network, "/spec/ingress/0/ports/0/port"),
        at(&gateway, "/ports/0/containerPort")
    );
}

#[test]
fn systemd_accepts_the_unit_and_calls_it_hardened() {
    let unit = read(UNIT);
    assert!(unit.contains(INSTALLED), "{unit}");
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("referral-gateway.service");
    let binary = env!("CARGO_BIN_EXE_referral-gateway");
    fs::write(&path, unit.replace(INSTALLED, binary)).unwrap();

    // A key that it does not know is only a warning to it, and no failure.
    let verify = ["verify", "--man=no", "--recursive-errors=no"];
    let said = passes(tool("systemd-analyze").args(verify).arg(&path));
    assert_eq!(said, "", "systemd-analyze verify has something to say");

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
    assert!(text(&sidecar(), "/image").ends_with(&format!("/referral-gateway:{version}")));
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
fn the_settings_of_the_sidecar_are_accepted() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("config.yaml");
    fs::write(&path, sidecar_settings()).unwrap();
    passes(gateway().args(["check", "--config"]).arg(&path));
}

#[test]
fn the_gateway_is_a_native_sidecar_that_reads_the_mounted_settings() {
    let gateway = sidecar();
    assert_eq!(text(&gateway, "/restartPolicy"), "Always");

    let args: Vec<&str> = list(&gateway, "/args")
        .iter()
        .map(|arg| arg.as_str().unwrap())
        .collect();
    let mount = text(&gateway, "/volumeMounts/0/mountPath");
    assert_eq!(args, ["run", "--config", &format!("{mount}/config.yaml")]);
    assert!(
        gateway.pointer("/volumeMounts/0/subPath").is_none(),
        "a subPath mount never changes"
    );

    let volume = at(&deployment(), "/spec/template/spec/volumes/0").clone();
    let map = of_kind("deploy/kubernetes/sidecar.yaml", "ConfigMap");
    assert_eq!(
        text(&volume, "/name"),
        text(&gateway, "/volumeMounts/0/name")
    );
    assert_eq!(
        text(&volume, "/configMap/name"),
        text(&map, "/metadata/name")
    );
}

#[test]
fn the_application_finds_the_gateway_where_it_listens() {
    let base_url = text(
        &deployment(),
        "/spec/template/spec/containers/0/env/0/value",
    )
    .to_owned();
    let address = base_url.strip_prefix("http://").unwrap();
    assert!(address.parse::<SocketAddr>().unwrap().ip().is_loopback());
    let settings = config_show(&[]);
    assert!(settings.contains(address), "{address} is not in {settings}");
}

#[test]
fn the_pod_leaves_time_to_drain() {
    let seconds = at(
        &deployment(),
        "/spec/template/spec/terminationGracePeriodSeconds",
    )
    .as_u64();
    assert!(Duration::from_secs(seconds.unwrap()) > drain_max(&sidecar_settings()));
}

#[test]
fn the_probes_ask_paths_that_answer_on_the_telemetry_port() {
    let running = Running::start();
    let sidecar = sidecar();
    for probe in ["startupProbe", "readinessProbe", "livenessProbe"] {
        assert_eq!(
            text(&sidecar, &format!("/{probe}/httpGet/port")),
            "telemetry"
        );
        let path = text(&sidecar, &format!("/{probe}/httpGet/path")).to_owned();
        assert_eq!(running.status_of(&path), "200", "{probe} asks {path}");
    }
    let scrape = one("deploy/prometheus/scrape.yaml");
    assert_eq!(
        running.status_of(text(&scrape, "/scrape_configs/0/metrics_path")),
        "200"
    );

    let listen = text(&sidecar, "/env/0/value")
        .parse::<SocketAddr>()
        .unwrap();
    assert_eq!(
        text(&sidecar, "/env/0/name"),
        "REFERRAL_GATEWAY_TELEMETRY__LISTEN"
    );
    assert_eq!(at(&sidecar, "/ports/0/containerPort"), listen.port());
    assert!(
        listen.ip().is_unspecified(),
        "the kubelet asks from outside of the pod"
    );
}

#[test]
fn no_container_of_the_pod_may_do_more_than_it_needs() {
    let pod = at(&deployment(), "/spec/template/spec").clone();
    assert_eq!(at(&pod, "/automountServiceAccountToken"), false);
    assert_eq!(at(&pod, "/securityContext/runAsNonRoot"), true);
    assert_eq!(
        text(&pod, "/securityContext/seccompProfile/type"),
        "RuntimeDefault"
    );
    for container in list(&pod, "/initContainers")
        .iter()
        .chain(list(&pod, "/containers"))
    {
        let may = at(container, "/securityContext");
        assert_eq!(at(may, "/runAsNonRoot"), true);
        assert_eq!(at(may, "/readOnlyRootFilesystem"), true);
        assert_eq!(at(may, "/allowPrivilegeEscalation"), false);
        assert_eq!(*list(may, "/capabilities/drop"), ["ALL"]);
        assert!(may.pointer("/capabilities/add").is_none());
        assert!(may.pointer("/privileged").is_none());
        assert!(at(container, "/resources/limits/memory").is_string());
        assert!(at(container, "/resources/requests").is_object());
    }
    let user = at(&sidecar(), "/securityContext/runAsUser").to_string();
    assert!(
        instructions("USER")[0].starts_with(&user),
        "the image has another user"
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

fn of_kind(path: &str, kind: &str) -> Value {
    let documents: Vec<Value> = serde_saphyr::from_multiple(&read(path)).unwrap();
    let mut wanted = documents
        .into_iter()
        .filter(|document| document["kind"] == kind);
    let first = wanted.next().unwrap_or_default();
    assert!(
        first.is_object() && wanted.next().is_none(),
        "one {kind} in {path}"
    );
    first
}

fn deployment() -> Value {
    of_kind("deploy/kubernetes/sidecar.yaml", "Deployment")
}

/// The gateway's container of the sample.
fn sidecar() -> Value {
    at(&deployment(), "/spec/template/spec/initContainers/0").clone()
}

fn sidecar_settings() -> String {
    let map = of_kind("deploy/kubernetes/sidecar.yaml", "ConfigMap");
    map["data"]["config.yaml"].as_str().unwrap().to_owned()
}

fn pod_labels() -> Value {
    at(&deployment(), "/spec/template/metadata/labels").clone()
}

fn has_labels(labels: &Value, selector: &Value) -> bool {
    let selector = selector.as_object().unwrap();
    !selector.is_empty() && selector.iter().all(|(name, value)| labels[name] == *value)
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
