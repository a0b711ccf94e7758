//! `explain`: what the gateway makes of one captured request, and why.

use std::{
    fmt::Display,
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
};

use serde::de::IgnoredAny;

use self::report::Report;
use super::output::{Output, print, print_error};
use crate::{
    capture::{self, Captured},
    config::{self, Loaded, Settings, Sources},
    nearest::nearest,
    offline::{End, Gateway, Given},
    policy::{
        Policy,
        judging::{Standing, Unjudged},
    },
    referral::{EntityTag, Sighting, State},
    yaml,
};

mod report;

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
    let Loaded { config, policy, .. } = config::load_all(sources)?;
    let settings = &config.settings;
    let read = || {
        question.check_tenant(settings)?;
        let sighting = question.sighting(&policy)?;
        let captured = question.request()?;
        let notices = question.placeholders(&captured)?;
        Ok::<_, String>((captured, sighting, notices))
    };
    let (captured, sighting, mut notices) = match read() {
        Ok(read) => read,
        Err(why) => {
            print_error(&why);
            return Ok(ExitCode::from(UNUSABLE));
        }
    };
    let policy = Arc::new(policy);
    let gateway = Gateway::new(settings, Arc::clone(&policy));
    let given = Given {
        sightings: sighting.as_slice(),
        tenant: question.tenant.as_deref(),
    };
    let mut outcome = gateway.judge(&captured, given);
    notices.extend(captured.notice.clone());
    outcome.notices.splice(0..0, notices);
    if outcome.standing == Standing::Unjudged(Unjudged::NotGiven) {
        outcome.notices.push(match &sighting {
            None => "The referral's state is not given. To judge the rules that need it, give --status or --snapshot.".to_owned(),
            Some(_) => "The snapshot is of another referral than the request.".to_owned(),
        });
    }
    let report = Report::new(&captured, &policy, &outcome);
    match output {
        Output::Text => print(&report.to_text())?,
        Output::Json => print(&format!("{:#}\n", report.to_json()))?,
    };
    Ok(match outcome.end {
        End::Sent(_) | End::Answered(_) => ExitCode::SUCCESS,
        End::Refused(_) => ExitCode::from(REFUSED),
    })
}

impl Question {
    fn request(&self) -> Result<Captured, String> {
        let (name, bytes) = match self.path() {
            Some(file) => (file.display().to_string(), File::open(file).and_then(all)),
            None => ("-".to_owned(), all(io::stdin())),
        };
        let bytes = bytes.map_err(|error| cannot_read(&name, &error))?;
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
        let body = body.transpose()?;
        capture::read_with_body(&bytes, self.path(), self.which.as_deref(), body.as_deref())
            .map_err(|error| format!("{name}: {error}"))
    }

    /// The file of the capture, if it is not standard input.
    fn path(&self) -> Option<&Path> {
        self.file.as_deref().filter(|file| *file != Path::new("-"))
    }

    /// Notices of what stands in the place of values. Those by which the request is judged must be there.
    fn placeholders(&self, captured: &Captured) -> Result<Vec<String>, String> {
        let found = capture::placeholders(captured);
        if found.judged.is_empty() {
            return Ok(found.other);
        }
        let name = self
            .path()
            .map_or_else(|| "-".to_owned(), |file| file.display().to_string());
        let lines = found.judged.iter().map(|what| format!("{name}: {what}"));
        Err(lines.collect::<Vec<_>>().join("\n"))
    }

    fn check_tenant(&self, settings: &Settings) -> Result<(), String> {
        let known = || settings.tenants.known.iter().map(|known| &*known.alias);
        match &self.tenant {
            Some(alias) if known().all(|other| other != alias) => Err(format!(
                "--tenant {}: the settings have no such tenant; {}",
                yaml::quoted(alias),
                nearest(alias, known()).map_or_else(
                    || "give the settings file with --config".to_owned(),
                    |nearest| format!("did you mean `{nearest}`?")
                ),
            )),
            _ => Ok(()),
        }
    }

    /// The referral's state, from flags or from a file.
    fn sighting(&self, policy: &Policy) -> Result<Option<Sighting>, String> {
        if let Some(file) = &self.snapshot {
            return snapshot(file).map(Some);
        }
        let Some(status) = &self.status else {
            return Ok(None);
        };
        let state = State {
            status: status.as_str().into(),
            substatus: self.substatus.as_deref().map(Into::into),
        };
        let statuses = || policy.states.rows.iter().map(|row| row.status.as_str());
        if statuses().all(|known| known != status) {
            let known: Vec<_> = statuses().collect();
            return Err(format!(
                "--status {}: not in the policy's table; write one of {}",
                yaml::quoted(status),
                known.join(", ")
            ));
        }
        if !policy.states.knows(&state) {
            return Err(format!("with --status {status}, also give --substatus"));
        }
        let tag = self.etag.as_deref().map(|tag| {
            EntityTag::parse(tag.as_bytes())
                .map(|tag| tag.as_bytes().into())
                .ok_or_else(|| {
                    format!(
                        "--etag {}: not an entity tag; write it with its double quotes, as in --etag '\"...\"'",
                        yaml::quoted(tag)
                    )
                })
        });
        Ok(Some(Sighting {
            id: None,
            tag: tag.transpose()?,
            state: Some(state),
        }))
    }
}

/// The service's answer to a GET, as it was saved.
fn snapshot(file: &Path) -> Result<Sighting, String> {
    let name = file.display();
    let bytes = File::open(file)
        .and_then(all)
        .map_err(|error| cannot_read(&name, &error))?;
    let sighting = Sighting::of_one(&bytes).filter(|sighting| sighting.state.is_some());
    sighting.ok_or_else(|| {
        let (line, why) = match serde_json::from_slice::<IgnoredAny>(&bytes) {
            Err(error) => (error.line().max(1), "not JSON"),
            Ok(_) => (1, "no referral with a status"),
        };
        format!("{name}: line {line}: {why}; save the body of the service's answer to a GET of the referral")
    })
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
