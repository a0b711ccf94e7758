//! The gateway as a process of its own.

use std::{
    env,
    ffi::OsString,
    fmt::Write as _,
    fs,
    io::{BufRead as _, BufReader, Read},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use serde_json::Value;
use tempfile::TempDir;

use super::{
    Answer, Upstream, Wire, eventually,
    tools::{self, tool},
    wire::Call,
};

/// Limits that no test reaches which is not about limits.
const AMPLE: &str = "rate_limit:
  reads: { per_minute: 6000000, burst: 1000000 }
  writes: { per_minute: 6000000, burst: 1000000 }
  concurrency: 10000
";

/// The program under test.
pub(crate) fn program() -> PathBuf {
    env::var_os("GATEWAY_BIN").map_or_else(
        || PathBuf::from(env!("CARGO_BIN_EXE_referral-gateway")),
        PathBuf::from,
    )
}

/// How a gateway is to be started.
#[derive(Debug, Default)]
pub(crate) struct Builder {
    settings: String,
    policy: Option<String>,
    files: Vec<(String, String)>,
    environment: Vec<(String, String)>,
    flags: Vec<OsString>,
    shell: Option<String>,
}

/// A process that ends with the test, however that ends.
#[derive(Debug)]
pub(super) struct Process(pub(super) Child);

impl Drop for Process {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// A gateway that is up; it ends with the test.
#[derive(Debug)]
pub(crate) struct Gateway {
    process: Process,
    /// The data listener.
    pub(crate) address: SocketAddr,
    /// The telemetry listener.
    pub(crate) telemetry: SocketAddr,
    /// The admin listener.
    pub(crate) admin: SocketAddr,
    /// The line that said it was up.
    pub(crate) ready: Value,
    lines: Arc<Mutex<Vec<String>>>,
    is_deaf: Arc<AtomicBool>,
    folder: TempDir,
}

impl Builder {
    /// Adds text to the settings file; `@` stands for the folder of [`Builder::file`].
    pub(crate) fn settings(mut self, text: &str) -> Self {
        self.settings.push_str(text);
        self.settings.push('\n');
        self
    }

    /// Uses that policy document.
    pub(crate) fn policy(mut self, document: &str) -> Self {
        self.policy = Some(document.to_owned());
        self
    }

    /// Writes a file beside the settings.
    pub(crate) fn file(mut self, name: &str, text: &str) -> Self {
        self.files.push((name.to_owned(), text.to_owned()));
        self
    }

    /// Sets an environment variable.
    pub(crate) fn environment(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Adds a flag, which may stand in the place of a usual one.
    pub(crate) fn flag(mut self, flag: &str) -> Self {
        self.flags.push(flag.into());
        self
    }

    /// Starts the program from a shell that runs this first, for example `ulimit -n 40`.
    pub(crate) fn after(mut self, shell: &str) -> Self {
        self.shell = Some(shell.to_owned());
        self
    }

    /// Starts it in front of that upstream and waits until it is up.
    pub(crate) async fn start(self, upstream: &Upstream) -> Gateway {
        self.start_at(&upstream.url()).await
    }

    /// Starts it in front of that URL and waits until it is up.
    pub(crate) async fn start_at(self, url: &str) -> Gateway {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in &self.files {
            fs::write(folder.path().join(name), text).unwrap();
        }
        let file = folder.path().join("settings.yaml");
        fs::write(&file, completed(&self.settings, folder.path())).unwrap();

        let mut command = match &self.shell {
            None => Command::new(program()),
            Some(shell) => {
                let mut command = tool("sh");
                command
                    .arg("-c")
                    .arg(format!("{shell}; exec \"$0\" \"$@\""))
                    .arg(program());
                command
            }
        };
        command.arg("run").arg("--config").arg(&file);
        for (flag, value) in [
            ("--listen", "127.0.0.1:0"),
            ("--telemetry", "127.0.0.1:0"),
            ("--admin", "127.0.0.1:0"),
            ("--upstream", url),
            ("--log-format", "json"),
        ] {
            if !self.flags.iter().any(|given| given == flag) {
                command.args([flag, value]);
            }
        }
        if let Some(policy) = &self.policy {
            let file = folder.path().join("policy.yaml");
            fs::write(&file, policy).unwrap();
            command.arg("--policy").arg(&file);
        }
        command.args(&self.flags).env_clear().envs(self.environment);
        command.env("PATH", tools::folder());
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut process = Process(command.spawn().unwrap());

        let lines = Arc::new(Mutex::new(Vec::new()));
        let is_deaf = Arc::new(AtomicBool::new(false));
        collect(process.0.stdout.take().unwrap(), &lines, &is_deaf);
        collect(process.0.stderr.take().unwrap(), &lines, &is_deaf);
        let mut ready = Value::Null;
        eventually("the line that says the gateway is up", async || {
            if let Some(status) = process.0.try_wait().unwrap() {
                panic!(
                    "the gateway ended with {status}:\n{}",
                    lines.lock().unwrap().join("\n")
                );
            }
            let said = lines.lock().unwrap();
            ready = said
                .iter()
                .filter_map(|line| json(line))
                .find(|line| line["message"] == "Ready")
                .unwrap_or_default();
            !ready.is_null()
        })
        .await;
        let at = |name: &str| {
            ready[name]
                .as_str()
                .and_then(|text| text.parse().ok())
                .unwrap_or_else(|| panic!("no {name} in {ready}"))
        };
        Gateway {
            process,
            address: at("listen"),
            telemetry: at("telemetry"),
            admin: at("admin"),
            ready: ready.clone(),
            lines,
            is_deaf,
            folder,
        }
    }
}

/// The simulator as a process that ends with the test.
#[derive(Debug)]
pub(crate) struct Simulator {
    _process: Process,
    pub(crate) address: SocketAddr,
}

impl Simulator {
    /// Starts one, with the referrals that it always begins with.
    pub(crate) async fn start() -> Self {
        let mut command = Command::new(program());
        command.args([
            "simulate",
            "--listen",
            "127.0.0.1:0",
            "--log-format",
            "json",
        ]);
        command
            .env_clear()
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        let mut process = Process(command.spawn().unwrap());
        let lines = Arc::new(Mutex::new(Vec::new()));
        collect(process.0.stdout.take().unwrap(), &lines, &Arc::default());
        let mut address = None;
        eventually("the simulator", async || {
            let said = lines.lock().unwrap();
            let mut ready = said.iter().filter_map(|line| json(line));
            address = ready.find_map(|line| line["listen"].as_str()?.parse().ok());
            address.is_some()
        })
        .await;
        Self {
            _process: process,
            address: address.unwrap(),
        }
    }
}

/// The settings with what tests do not care for; `@` stands for the folder.
fn completed(settings: &str, folder: &Path) -> String {
    let mut settings = settings.replace('@', folder.to_str().unwrap());
    if !settings.lines().any(|line| line.starts_with("rate_limit:")) {
        write!(settings, "\n{AMPLE}").unwrap();
    }
    settings
}

pub(super) fn collect(
    stream: impl Read + Send + 'static,
    lines: &Arc<Mutex<Vec<String>>>,
    is_deaf: &Arc<AtomicBool>,
) {
    let (lines, is_deaf) = (Arc::clone(lines), Arc::clone(is_deaf));
    thread::spawn(move || {
        for line in BufReader::new(stream).lines() {
            let Ok(line) = line else { return };
            lines.lock().unwrap().push(line);
            if is_deaf.load(Ordering::SeqCst) {
                return;
            }
        }
    });
}

fn json(line: &str) -> Option<Value> {
    serde_json::from_str(line).ok()
}

impl Gateway {
    /// Starts one with the usual settings.
    pub(crate) async fn start(upstream: &Upstream) -> Self {
        Builder::default().start(upstream).await
    }

    /// Begins one with these settings.
    pub(crate) fn with(settings: &str) -> Builder {
        Builder::default().settings(settings)
    }

    /// Begins one with that policy document.
    pub(crate) fn policy(document: &str) -> Builder {
        Builder::default().policy(document)
    }

    /// A request to the data listener.
    pub(crate) fn call(&self, method: &str, target: &str) -> Call {
        Call::new(self.address, method, target)
    }

    /// A GET with the usual token.
    pub(crate) fn get(&self, target: &str) -> Call {
        self.call("GET", target)
    }

    /// A PUT of JSON with the usual token and without `If-Match`.
    pub(crate) fn put(&self, target: &str, body: impl AsRef<[u8]>) -> Call {
        self.call("PUT", target)
            .header("Content-Type", "application/json")
            .body(body)
    }

    /// A PATCH of JSON with the usual token and without `If-Match`.
    pub(crate) fn patch(&self, target: &str, body: impl AsRef<[u8]>) -> Call {
        self.call("PATCH", target)
            .header("Content-Type", "application/json")
            .body(body)
    }

    /// A connection to the data listener.
    pub(crate) async fn wire(&self) -> Wire {
        Wire::open(self.address).await
    }

    /// Sends bytes and reads until the gateway closes the connection.
    pub(crate) async fn raw(&self, bytes: impl AsRef<[u8]>) -> String {
        let mut wire = self.wire().await;
        wire.send(bytes).await.ok();
        String::from_utf8_lossy(&wire.rest().await).into_owned()
    }

    /// A GET of the telemetry listener.
    pub(crate) async fn telemetry(&self, target: &str) -> Answer {
        Call::new(self.telemetry, "GET", target)
            .without("Authorization")
            .send()
            .await
    }

    /// A request to the admin listener.
    pub(crate) fn admin(&self, method: &str, target: &str) -> Call {
        Call::new(self.admin, method, target).without("Authorization")
    }

    /// The metrics as text.
    pub(crate) async fn metrics(&self) -> String {
        self.telemetry("/metrics").await.text()
    }

    /// The sum of all series of a metric (without prefix) that carry these labels.
    pub(crate) async fn metric(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        sum(&self.metrics().await, name, labels)
    }

    /// Waits until a metric has that value.
    pub(crate) async fn until_metric(&self, name: &str, labels: &[(&str, &str)], value: f64) {
        let what = format!("{name} {labels:?} to be {value}");
        let is_so = async || (self.metric(name, labels).await - value).abs() < f64::EPSILON;
        eventually(&what, is_so).await;
    }

    /// A file beside the settings.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Puts another file in the place of one beside the settings, at once: written apart, then renamed.
    pub(crate) fn replace(&self, name: &str, text: &str) {
        let new = self.path("new");
        fs::write(&new, text).unwrap();
        fs::rename(new, self.path(name)).unwrap();
    }

    /// Puts other settings in the place of those it began with.
    pub(crate) fn replace_settings(&self, text: &str) {
        self.replace("settings.yaml", &completed(text, self.folder.path()));
    }

    /// All lines written so far.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.lines.lock().unwrap().clone()
    }

    /// Waits for a record in the log.
    pub(crate) async fn record(&self, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let mut found = None;
        eventually(what, async || {
            found = self
                .lines
                .lock()
                .unwrap()
                .iter()
                .filter_map(|line| json(line))
                .find(|line| wanted(line));
            found.is_some()
        })
        .await;
        found.unwrap()
    }

    /// Closes the other end of the log at the next line.
    pub(crate) fn close_log(&self) {
        self.is_deaf.store(true, Ordering::SeqCst);
    }

    /// The process's id.
    pub(crate) fn pid(&self) -> u32 {
        self.process.0.id()
    }

    /// Sends a signal by name, for example `TERM`.
    pub(crate) fn signal(&self, name: &str) {
        let pid = self.pid().to_string();
        let status = tool("kill").args(["-s", name, &pid]).status().unwrap();
        assert!(status.success());
    }

    /// Waits for the end of the process.
    pub(crate) async fn exit(&mut self) -> ExitStatus {
        let mut status = None;
        eventually("the end of the gateway", async || {
            status = self.process.0.try_wait().unwrap();
            status.is_some()
        })
        .await;
        status.unwrap()
    }

    /// Whether the process still runs.
    pub(crate) fn is_running(&mut self) -> bool {
        self.process.0.try_wait().unwrap().is_none()
    }

    /// A number of `/proc/<pid>/status` in KiB, for example `VmRSS`.
    pub(crate) fn memory(&self, name: &str) -> usize {
        let text = fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = text.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        if thread::panicking() {
            let lines = self.lines.lock().unwrap();
            let last = &lines[lines.len().saturating_sub(8)..];
            eprintln!("the gateway's last lines:\n{}", last.join("\n"));
        }
    }
}

/// The sum of all series of a metric (without prefix) that carry these labels.
pub(crate) fn sum(metrics: &str, name: &str, labels: &[(&str, &str)]) -> f64 {
    metrics
        .lines()
        .filter(|line| {
            line.strip_prefix("referral_gateway_")
                .and_then(|line| line.strip_prefix(name))
                .is_some_and(|rest| rest.starts_with(['{', ' ']))
        })
        .filter(|line| {
            labels
                .iter()
                .all(|(label, value)| line.contains(&format!("{label}=\"{value}\"")))
        })
        .map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap())
        .sum()
}
