//! Asks a running gateway whether it is ready; what a container's `HEALTHCHECK` runs.

use std::{fmt, net::SocketAddr, process::ExitCode, time::Duration};

use anyhow::{Context as _, ensure};
use http::{Request, StatusCode};
use serde_json::json;
use tokio::time::timeout;

use super::{
    client::Server,
    output::{Output, OutputFlag, print},
    runtime::block_on,
};
use crate::config::{self, Sources};

/// A healthy gateway answers sooner.
const DEADLINE: Duration = Duration::from_secs(3);

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// URL to ask [default: the telemetry listener of the settings]
    #[arg(long, value_parser = Url::parse)]
    pub(super) url: Option<Url>,
    #[command(flatten)]
    output: OutputFlag,
}

/// Asks, and says what the answer is.
pub(super) fn healthcheck(arguments: Arguments, sources: Sources) -> anyhow::Result<ExitCode> {
    let url = match arguments.url {
        Some(url) => url,
        None => {
            let settings = config::load(sources)?.settings.admin;
            Url::of(settings.telemetry_listen, settings.telemetry_tls.is_some())?
        }
    };
    block_on(ask(url, arguments.output.output))?
}

async fn ask(url: Url, output: Output) -> anyhow::Result<ExitCode> {
    let answer = url.ask().await;
    let is_ready = matches!(&answer, Ok(status) if status.is_success());
    match output {
        Output::Text => match &answer {
            Ok(status) if is_ready => print(&format!("ready: {url} answers {status}\n"))?,
            Ok(status) => print(&format!("not ready: {url} answers {status}\n"))?,
            Err(error) => print(&format!("not ready: {url}: {error:#}\n"))?,
        },
        Output::Json => {
            let status = answer.as_ref().ok().map(|status| status.as_u16());
            let error = answer.as_ref().err().map(|error| format!("{error:#}"));
            let answer = json!({ "ready": is_ready, "url": url.to_string(), "status": status, "error": error });
            print(&format!("{answer:#}\n"))?
        }
    };
    Ok(if is_ready {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// The URL of a readiness probe.
#[derive(Debug, Clone)]
pub(super) struct Url {
    server: Server,
    path: String,
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.server, self.path)
    }
}

impl Url {
    /// A URL as given; without a path it asks for `/readyz`.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let (server, mut path) = Server::parse(text)
            .ok_or_else(|| "write a URL such as http://127.0.0.1:4281/readyz".to_owned())?;
        if path == "/" {
            "/readyz".clone_into(&mut path);
        }
        Ok(Self { server, path })
    }

    /// The probe of a telemetry listener of this machine.
    pub(super) fn of(listener: SocketAddr, is_tls: bool) -> anyhow::Result<Self> {
        ensure!(
            listener.port() != 0,
            "telemetry.listen has port 0, so its port is known to the running gateway alone; \
             name it: --url http://127.0.0.1:<port>"
        );
        Ok(Self {
            server: Server::at(listener, is_tls),
            path: "/readyz".to_owned(),
        })
    }

    /// The status of the answer. It is an error if none comes within 3 seconds.
    pub(super) async fn ask(&self) -> anyhow::Result<StatusCode> {
        let request = Request::get(&self.path).body(Default::default())?;
        let answer = timeout(DEADLINE, self.server.send(request)).await;
        let answer =
            answer.with_context(|| format!("no answer within {} s", DEADLINE.as_secs()))??;
        Ok(answer.status())
    }
}

#[cfg(test)]
mod tests {
    use super::Url;

    #[test]
    fn a_url_without_a_path_asks_for_readiness() {
        for (text, expected) in [
            ("http://127.0.0.1:4281", "http://127.0.0.1:4281/readyz"),
            ("http://[::1]:9/", "http://[::1]:9/readyz"),
            ("https://gateway", "https://gateway/readyz"),
            (
                "http://gateway/livez?verbose",
                "http://gateway/livez?verbose",
            ),
        ] {
            assert_eq!(
                Url::parse(text).map(|url| url.to_string()),
                Ok(expected.to_owned())
            );
        }
        for text in [
            "ftp://127.0.0.1:4281",
            "127.0.0.1:4281",
            "http://a@b",
            "http://h:0",
            "",
            "/readyz",
        ] {
            Url::parse(text).expect_err(text);
        }
    }

    #[test]
    fn a_listener_on_every_address_is_asked_on_loopback() {
        for (listener, expected) in [
            ("0.0.0.0:4281", "http://127.0.0.1:4281/readyz"),
            ("[::]:4281", "http://[::1]:4281/readyz"),
            ("10.1.2.3:4281", "http://10.1.2.3:4281/readyz"),
        ] {
            let url = Url::of(listener.parse().expect("an address"), false).expect("a url");
            assert_eq!(url.to_string(), expected);
        }
        let error = Url::of("127.0.0.1:0".parse().expect("an address"), false).expect_err("port 0");
        assert!(
            error
                .to_string()
                .ends_with("name it: --url http://127.0.0.1:<port>")
        );
    }
}
