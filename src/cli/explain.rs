//! `explain`: what the gateway makes of one captured request, and why.

use std::{
    fmt::Display,
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
};

use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::{
    ask,
    client::Server,
    output::{Output, print, print_error},
    runtime::block_on,
};
use crate::{
    capture,
    config::{self, Loaded, Sources},
    offline::{self, End, Gateway, Named, Report},
    plain::plain,
    yaml,
};

/// The exit code for wrong usage, and for what cannot be read.
const UNUSABLE: u8 = 2;
/// The exit code for a request that is refused.
const REFUSED: u8 = 3;

/// A request and what the user says about it.
#[derive(Debug, clap::Args)]
pub(super) struct Question {
    /// The captured request; without it, or with -, standard input
    file: Option<PathBuf>,
    /// The referral's state: a file with the service's answer to a GET
    #[arg(long, value_name = "FILE", conflicts_with_all = ["status", "substatus", "etag"])]
    snapshot: Option<PathBuf>,
    /// The referral's status, instead of --snapshot
    #[arg(long, value_name = "STATUS")]
    status: Option<String>,
    /// The referral's substatus
    #[arg(long, value_name = "SUBSTATUS", requires = "status")]
    substatus: Option<String>,
    /// The entity tag of that state, with its double quotes [default: the one in If-Match]
    #[arg(long, value_name = "ETAG", requires = "status")]
    etag: Option<String>,
    /// Use the rule modes of this tenant and ignore the token
    #[arg(long, value_name = "ALIAS")]
    tenant: Option<String>,
    /// File with the body, for a capture that refers to a file (curl -d @file)
    #[arg(long, value_name = "FILE")]
    body: Option<PathBuf>,
    /// Ask a running gateway: it judges by the settings and the policy that it has in force
    #[arg(long)]
    pub(super) live: bool,
    /// URL of that gateway's admin listener [default: that of the settings]
    #[arg(long, requires = "live", value_parser = ask::parse)]
    url: Option<Server>,
    /// Which of several requests: a number from 1, or a name in a .http file
    #[arg(long, value_name = "N|NAME")]
    which: Option<String>,
}

/// Judges the request and prints the outcome.
pub(super) fn explain(
    question: &Question,
    sources: Sources,
    output: Output,
) -> anyhow::Result<ExitCode> {
    if question.live {
        return question.live(sources, output);
    }
    let Loaded { config, policy, .. } = config::load_all(sources)?;
    let policy = Arc::new(policy);
    let gateway = Gateway::new(config.settings.offline(), Arc::clone(&policy));
    let read = question.read();
    let judged = read.and_then(|read| gateway.explain(&question.ask(&read)));
    let (captured, outcome) = match judged {
        Ok(judged) => judged,
        Err(why) => {
            print_error(&why);
            return Ok(ExitCode::from(UNUSABLE));
        }
    };
    let report = Report::new(&captured, &policy, &outcome);
    match output {
        Output::Text => print(&plain(&report.to_text()))?,
        Output::Json => print(&format!("{:#}\n", report.to_json()))?,
    };
    Ok(match outcome.end {
        End::Sent(_) | End::Answered(_) => ExitCode::SUCCESS,
        End::Refused(_) => ExitCode::from(REFUSED),
    })
}

/// The files that a question names.
struct Contents {
    /// How messages name the capture.
    name: String,
    request: Vec<u8>,
    body: Option<Vec<u8>>,
    snapshot: Option<(String, Vec<u8>)>,
}

impl Question {
    fn read(&self) -> Result<Contents, String> {
        let snapshot = self.snapshot.as_deref().map(|file| {
            let name = file.display().to_string();
            let bytes = File::open(file).and_then(all);
            let bytes = bytes.map_err(|error| cannot_read(&name, &error))?;
            Ok::<_, String>((name, bytes))
        });
        let snapshot = snapshot.transpose()?;
        let (name, request) = match self.path() {
            Some(file) => (file.display().to_string(), File::open(file).and_then(all)),
            None => ("-".to_owned(), all(io::stdin())),
        };
        let request = request.map_err(|error| cannot_read(&name, &error))?;
        let body = self.body.as_deref().map(|file| {
            let name = file.display();
            match File::open(file).and_then(all) {
                Ok(bytes) if bytes.len() > capture::MAX_BYTES => Err(format!(
                    "{name}: more than {} bytes; shorten it",
                    capture::MAX_BYTES
                )),
                bytes => bytes.map_err(|error| cannot_read(name, &error)),
            }
        });
        Ok(Contents {
            name,
            request,
            body: body.transpose()?,
            snapshot,
        })
    }

    fn ask<'q>(&'q self, read: &'q Contents) -> offline::Question<'q> {
        offline::Question {
            prefix: "--",
            request: Named {
                name: &read.name,
                bytes: &read.request,
            },
            path: self.path(),
            which: self.which.as_deref(),
            body: read.body.as_deref(),
            snapshot: read
                .snapshot
                .as_ref()
                .map(|(name, bytes)| Named { name, bytes }),
            status: self.status.as_deref(),
            substatus: self.substatus.as_deref(),
            etag: self.etag.as_deref(),
            tenant: self.tenant.as_deref(),
        }
    }

    /// Lets a running gateway judge.
    fn live(&self, sources: Sources, output: Output) -> anyhow::Result<ExitCode> {
        let gateway = ask::Gateway::of(self.url.clone(), sources)?;
        let asked = self.read().and_then(|read| self.to_json(&read));
        let asked = match asked {
            Ok(asked) => asked.to_string().into(),
            Err(why) => {
                print_error(&why);
                return Ok(ExitCode::from(UNUSABLE));
            }
        };
        let path = "/explain";
        let (status, answer) = block_on(gateway.ask(Method::POST, path, asked))??;
        if status == StatusCode::BAD_REQUEST {
            print_error(&plain(String::from_utf8_lossy(&answer).trim_end()));
            return Ok(ExitCode::from(UNUSABLE));
        }
        let mut report = match serde_json::from_slice(&answer) {
            Ok(Value::Object(report)) if status.is_success() => report,
            _ => return Err(gateway.refused(path, status, &answer)),
        };
        let text = report.remove("report").unwrap_or_default();
        let is_refused = report
            .get("verdict")
            .is_some_and(|verdict| verdict == "refuse");
        match output {
            Output::Text => print(&plain(text.as_str().unwrap_or_default()))?,
            Output::Json => print(&format!("{:#}\n", Value::Object(report)))?,
        };
        Ok(match is_refused {
            true => ExitCode::from(REFUSED),
            false => ExitCode::SUCCESS,
        })
    }

    fn to_json(&self, read: &Contents) -> Result<Value, String> {
        let text = |name: &str, bytes: &[u8]| {
            let text = String::from_utf8(bytes.to_vec());
            text.map_err(|_| format!("{name}: not UTF-8; ask without --live"))
        };
        let snapshot = read.snapshot.as_ref().map(|(name, bytes)| {
            serde_json::from_slice::<Value>(bytes).map_err(|error| {
                let line = error.line().max(1);
                format!("{name}: line {line}: not JSON; save the body of the service's answer to a GET of the referral")
            })
        });
        let body = read.body.as_deref().map(|body| text("--body", body));
        let asked = json!({
            "request": text(&read.name, &read.request)?,
            "file": read.name,
            "which": self.which,
            "body": body.transpose()?,
            "snapshot": snapshot.transpose()?,
            "status": self.status,
            "substatus": self.substatus,
            "etag": self.etag,
            "tenant": self.tenant,
        });
        Ok(asked)
    }

    /// The file of the capture, if it is not standard input.
    fn path(&self) -> Option<&Path> {
        self.file.as_deref().filter(|file| *file != Path::new("-"))
    }
}

/// All of a stream, and one byte over the limit at most.
fn all(stream: impl Read) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    stream
        .take(capture::MAX_BYTES as u64 + 1)
        .read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn cannot_read(name: impl Display, error: &io::Error) -> String {
    let (what, remedy) = yaml::unreadable(error);
    format!("{name}: {what}; {remedy}")
}
