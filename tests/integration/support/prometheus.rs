//! A real Prometheus, which scrapes what a test shows to it.

use std::{
    fs,
    net::SocketAddr,
    process::Stdio,
    sync::{Arc, Mutex},
};

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use tempfile::TempDir;

use super::{
    eventually,
    gateway::{Process, collect},
    page::{root, text},
    tools::tool,
    wire::Call,
};

/// A Prometheus that is up; it ends with the test.
pub(crate) struct Prometheus {
    _process: Process,
    address: SocketAddr,
    _folder: TempDir,
}

impl Prometheus {
    /// Scrapes these telemetry listeners each second as `deploy/prometheus/scrape.yaml` says, and evaluates the rules
    /// beside that file as often.
    pub(crate) async fn scraping(targets: &[SocketAddr]) -> Self {
        let mut config = text("deploy/prometheus/scrape.yaml");
        let rules = root().join("deploy/prometheus/rules.yaml");
        let targets: Vec<String> = targets.iter().map(|at| format!("\"{at}\"")).collect();
        for (shipped, here) in [
            ("\"127.0.0.1:4281\"", &*targets.join(", ")),
            ("scrape_interval: 15s", "scrape_interval: 1s"),
            ("scrape_timeout: 10s", "scrape_timeout: 1s"),
            ("[rules.yaml]", &format!("[{}]", rules.display())),
        ] {
            assert!(config.contains(shipped), "{config}");
            config = config.replace(shipped, here);
        }
        config.push_str("global: { evaluation_interval: 1s }\n");
        Self::with(&config).await
    }

    /// Starts one with this configuration.
    pub(crate) async fn with(config: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("prometheus.yaml");
        fs::write(&file, config).unwrap();

        let mut process = Process(
            tool("prometheus")
                .arg(format!("--config.file={}", file.display()))
                .arg(format!("--storage.tsdb.path={}", folder.path().display()))
                .arg("--web.listen-address=127.0.0.1:0")
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap(),
        );
        let lines = Arc::new(Mutex::new(Vec::new()));
        collect(process.0.stderr.take().unwrap(), &lines, &Arc::default());
        let mut address = None;
        eventually("Prometheus", async || {
            let said = lines.lock().unwrap();
            assert!(process.0.try_wait().unwrap().is_none(), "{said:#?}");
            let is_ready = said.iter().any(|line| line.contains("Server is ready"));
            address = said.iter().find_map(|line| {
                let (_, rest) = line.split_once("msg=\"Listening on\" address=")?;
                rest.parse().ok()
            });
            is_ready && address.is_some()
        })
        .await;
        Self {
            _process: process,
            address: address.unwrap(),
            _folder: folder,
        }
    }

    /// What its API answers to a GET, or the error that it gives.
    pub(crate) async fn ask(
        &self,
        path: &str,
        parameters: &[(&str, &str)],
    ) -> Result<Value, String> {
        let parameters = parameters
            .iter()
            .map(|(name, value)| format!("{name}={}", utf8_percent_encode(value, NON_ALPHANUMERIC)))
            .collect::<Vec<_>>();
        let target = format!("/api/v1/{path}?{}", parameters.join("&"));
        let call = Call::new(self.address, "GET", &target).without("Authorization");
        let mut answer = call.send().await.json();
        match answer["status"].as_str() {
            Some("success") => Ok(answer["data"].take()),
            _ => Err(answer["error"].to_string()),
        }
    }

    /// The series that a query gives now.
    pub(crate) async fn now(&self, query: &str) -> Vec<Value> {
        match self.ask("query", &[("query", query)]).await {
            Ok(data) => data["result"].as_array().cloned().unwrap(),
            Err(error) => panic!("{error}: {query}"),
        }
    }

    /// A query in the one form in which Prometheus itself writes it.
    pub(crate) async fn canonical(&self, query: &str) -> String {
        match self.ask("format_query", &[("query", query)]).await {
            Ok(data) => data.as_str().unwrap().to_owned(),
            Err(error) => panic!("{error}: {query}"),
        }
    }
}
