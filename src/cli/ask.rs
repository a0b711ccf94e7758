//! `status`, `policies`, `tenants`, `decisions`, `reload`, `drain`: what a running gateway says on its admin listener.

use std::{process::ExitCode, time::Duration};

use anyhow::{Context as _, ensure};
use bytes::{Bytes, BytesMut};
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use secrecy::ExposeSecret;
use serde_json::Value;
use tokio::time::timeout;

use super::{
    client::Server,
    output::{Output, OutputFlag, print},
    runtime::block_on,
};
use crate::{
    config::{self, Sources},
    plain::plain,
};

mod text;

/// A gateway answers sooner, unless it reloads.
const DEADLINE: Duration = Duration::from_secs(10);
/// A stream of events is never silent for so long.
const SILENCE: Duration = Duration::from_secs(60);
/// The longest answer, in bytes.
const MAX_ANSWER: usize = 16 * 1024 * 1024;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// URL of the gateway's admin listener [default: that of the settings]
    #[arg(long, value_parser = parse)]
    pub(super) url: Option<Server>,
    #[command(flatten)]
    output: OutputFlag,
}

#[derive(Debug, clap::Args)]
pub(super) struct Decisions {
    /// Print each further decision when it is made, until interrupted
    #[arg(long)]
    follow: bool,
    #[command(flatten)]
    arguments: Arguments,
}

/// What is asked.
#[derive(Debug, Clone, Copy)]
pub(super) enum Question {
    Status,
    Policies,
    Tenants,
    Reload,
    Drain,
}

/// Asks, and prints the answer.
pub(super) fn ask(
    question: Question,
    arguments: Arguments,
    sources: Sources,
) -> anyhow::Result<ExitCode> {
    let (method, path, as_text): (_, _, fn(&Value) -> String) = match question {
        Question::Status => (Method::GET, "/status", text::status),
        Question::Policies => (Method::GET, "/policies", text::policies),
        Question::Tenants => (Method::GET, "/tenants", text::tenants),
        Question::Reload => (Method::POST, "/reload", text::reload),
        Question::Drain => (Method::POST, "/drain", text::drain),
    };
    let output = arguments.output.output;
    let gateway = Gateway::of(arguments.url, sources)?;
    let (status, answer) = block_on(gateway.ask(method, path, Bytes::new()))??;
    // A reload that fails answers 422 with the problems.
    let is_ok = status.is_success();
    match (serde_json::from_slice::<Value>(&answer), output) {
        (Ok(answer), Output::Json) => print(&format!("{answer:#}\n"))?,
        (Ok(answer), Output::Text) => print(&as_text(&answer))?,
        (Err(_), _) => return Err(gateway.refused(path, status, &answer)),
    };
    Ok(match is_ok {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}

/// Prints the last decision records, and those to come.
pub(super) fn decisions(asked: Decisions, sources: Sources) -> anyhow::Result<ExitCode> {
    let Decisions { follow, arguments } = asked;
    let output = arguments.output.output;
    let gateway = Gateway::of(arguments.url, sources)?;
    if follow {
        return block_on(gateway.follow(output))?;
    }
    let path = "/decisions";
    let (status, answer) = block_on(gateway.ask(Method::GET, path, Bytes::new()))??;
    let Ok(Value::Array(records)) = serde_json::from_slice(&answer) else {
        return Err(gateway.refused(path, status, &answer));
    };
    match output {
        Output::Json => print(&format!("{:#}\n", Value::Array(records))),
        Output::Text if records.is_empty() => print("No write was judged since the start.\n"),
        Output::Text => {
            let lines = records.iter().map(text::decision);
            print(&lines.collect::<String>())
        }
    }
}

/// The admin listener of a running gateway.
pub(super) struct Gateway {
    server: Server,
    token: Option<secrecy::SecretString>,
}

impl Gateway {
    /// That at the URL, or else that of the settings; the settings have its token.
    pub(super) fn of(url: Option<Server>, sources: Sources) -> anyhow::Result<Self> {
        let admin = config::load(sources)?.settings.admin;
        let server = match url {
            Some(server) => server,
            None => {
                ensure!(
                    admin.listen.port() != 0,
                    "admin.listen has port 0, so its port is known to the running gateway alone; \
                     name it: --url http://127.0.0.1:<port>"
                );
                Server::at(admin.listen, false)
            }
        };
        let token = admin.token;
        Ok(Self { server, token })
    }

    /// The whole answer to a request.
    pub(super) async fn ask(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> anyhow::Result<(StatusCode, Bytes)> {
        let asked = async {
            let answer = self.send(method, path, body).await?;
            let status = answer.status();
            let body = Limited::new(answer.into_body(), MAX_ANSWER).collect().await;
            let body = body.map_err(|error| anyhow::anyhow!("the answer broke off: {error}"))?;
            Ok::<_, anyhow::Error>((status, body.to_bytes()))
        };
        let answer = timeout(DEADLINE, asked).await;
        answer.with_context(|| {
            format!(
                "{}{path}: no answer within {} s",
                self.server,
                DEADLINE.as_secs()
            )
        })?
    }

    /// Why an answer is not what was asked for.
    pub(super) fn refused(&self, path: &str, status: StatusCode, answer: &[u8]) -> anyhow::Error {
        let said = String::from_utf8_lossy(answer);
        let said = plain(said.trim());
        anyhow::anyhow!("{}{path} answers {status}: {said}", self.server)
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> anyhow::Result<Response<Incoming>> {
        let mut request = Request::builder().method(method).uri(path);
        // Each POST has it: no form of a web page can send it.
        request = request.header(header::CONTENT_TYPE, "application/json");
        if let Some(token) = &self.token {
            let value = format!("Bearer {}", token.expose_secret());
            request = request.header(header::AUTHORIZATION, value);
        }
        let answer = self.server.send(request.body(Full::new(body))?).await;
        answer.with_context(|| {
            format!(
                "{}{path}: is there a gateway, and is this the address of its admin listener?",
                self.server
            )
        })
    }

    /// Prints records until the stream ends.
    async fn follow(&self, output: Output) -> anyhow::Result<ExitCode> {
        let path = "/decisions?follow";
        let answer = timeout(DEADLINE, self.send(Method::GET, path, Bytes::new()));
        let answer = answer.await.context("no answer")??;
        let status = answer.status();
        let mut body = answer.into_body();
        if status != StatusCode::OK {
            let said = Limited::new(body, MAX_ANSWER).collect().await;
            let said = said.map(|said| said.to_bytes()).unwrap_or_default();
            return Err(self.refused(path, status, &said));
        }
        let mut events = Events::default();
        loop {
            let frame = timeout(SILENCE, body.frame()).await;
            let frame = frame.context("the gateway says nothing any more")?;
            let Some(frame) = frame else {
                anyhow::bail!("the gateway ended");
            };
            let frame = frame.context("the gateway ended")?;
            let Some(data) = frame.data_ref() else {
                continue;
            };
            for (event, data) in events.add(data)? {
                match (event.as_str(), output) {
                    ("cut", _) => anyhow::bail!(
                        "this reader was too slow and has missed decisions ({}); start again",
                        plain(&data)
                    ),
                    (_, Output::Json) => print(&format!("{}\n", plain(&data)))?,
                    (_, Output::Text) => print(&text::decision(
                        &serde_json::from_str(&data).unwrap_or_default(),
                    ))?,
                };
            }
        }
    }
}

/// Server-sent events, as far as a gateway makes them: an event has a name and one line of data.
#[derive(Default)]
struct Events(BytesMut);

/// The longest event, in bytes.
const MAX_EVENT: usize = 1024 * 1024;

impl Events {
    /// Adds bytes of the stream, and returns the events that they complete.
    fn add(&mut self, bytes: &[u8]) -> anyhow::Result<Vec<(String, String)>> {
        self.0.extend_from_slice(bytes);
        let mut events = Vec::new();
        while let Some(end) = self.0.windows(2).position(|pair| pair == b"\n\n") {
            let block = self.0.split_to(end + 2);
            let block = String::from_utf8_lossy(&block);
            let field = |name: &str| {
                let mut lines = block.lines();
                lines
                    .find_map(|line| line.strip_prefix(name))
                    .map(str::trim_start)
            };
            if let Some(data) = field("data:") {
                let event = field("event:").unwrap_or("message");
                events.push((event.to_owned(), data.to_owned()));
            }
        }
        ensure!(self.0.len() <= MAX_EVENT, "an event without an end");
        Ok(events)
    }
}

/// The listener that a URL names. It is sent a token, so TLS that verifies nobody will not do, and the admin listener has
/// no TLS.
pub(super) fn parse(url: &str) -> Result<Server, String> {
    match Server::parse(url) {
        Some((server, path)) if path == "/" && !server.is_tls() => Ok(server),
        _ => Err("write http://HOST:PORT without a path, such as http://127.0.0.1:4282".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::Events;

    #[test]
    fn events_are_read_however_they_are_cut() {
        let stream = b": a comment\n\nevent: decision\ndata: {\"a\":1}\n\ndata: x\n\n: alive\n\nevent: cut\ndata: {}\n\n";
        let expected = [("decision", "{\"a\":1}"), ("message", "x"), ("cut", "{}")];
        for size in 1..=stream.len() {
            let mut events = Events::default();
            let mut read = Vec::new();
            for piece in stream.chunks(size) {
                read.extend(events.add(piece).expect("events"));
            }
            let read: Vec<_> = read
                .iter()
                .map(|(event, data)| (&**event, &**data))
                .collect();
            assert_eq!(read, expected, "{size}");
        }
        let mut endless = Events::default();
        let piece = [b'a'; 4096];
        assert!((0..1000).any(|_| endless.add(&piece).is_err()));
    }
}
