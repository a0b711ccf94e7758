//! Log records: one JSON object a line on standard output, or text on a terminal.

use std::{
    fmt,
    io::{self, IsTerminal, Write},
    sync::mpsc::{self, Receiver, SyncSender},
    thread,
    time::Duration,
};

use prometheus::IntCounter;
use tracing_subscriber::{
    EnvFilter, Registry, fmt::MakeWriter, layer::SubscriberExt, reload, util::SubscriberInitExt,
};

/// What is logged, and in which form.
#[derive(Debug, Clone)]
pub struct Settings {
    /// A filter in the syntax of `tracing-subscriber`'s `EnvFilter`, for example `info` or `warn,referral_gateway::proxy=debug`.
    pub level: String,
    /// The form of a line.
    pub format: Format,
}

/// The form of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Text on a terminal, JSON elsewhere.
    Auto,
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Records waiting to be written; more are dropped and counted.
const QUEUE: usize = 8192;
/// How long the last records may take to be written when the program ends.
const FLUSH: Duration = Duration::from_secs(1);

/// What is logged, changeable while the program runs.
#[derive(Clone)]
pub struct Logging {
    filter: reload::Handle<EnvFilter, Registry>,
    queue: SyncSender<Message>,
}

/// The filter cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{why}; {}", Self::REMEDY)]
pub struct BadFilter {
    /// What is wrong with it.
    pub why: String,
}

impl BadFilter {
    /// What to write instead.
    pub const REMEDY: &str = "write off, error, warn, info, debug or trace, or a filter such as info,referral_gateway::access=off";
}

enum Message {
    Record(Vec<u8>),
    Flush(SyncSender<()>),
}

/// Starts logging to standard output; records that nobody reads in time are dropped and counted by `dropped`.
///
/// # Errors
///
/// When the filter cannot be used.
pub fn start(settings: &Settings, dropped: IntCounter) -> Result<Logging, BadFilter> {
    let (filter, handle) = reload::Layer::new(filter(&settings.level)?);
    let (queue, records) = mpsc::sync_channel(QUEUE);
    // A reader that stops must not stop traffic: only this thread ever waits for it.
    let _ = thread::Builder::new()
        .name("log".to_owned())
        .spawn(move || write_all(&records));

    let to_terminal = io::stdout().is_terminal();
    let writer = Writer {
        queue: queue.clone(),
        dropped,
    };
    let registry = tracing_subscriber::registry().with(filter);
    let text = match settings.format {
        Format::Auto => to_terminal,
        Format::Text => true,
        Format::Json => false,
    };
    if text {
        let colours =
            to_terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        let layer = tracing_subscriber::fmt::layer()
            .with_ansi(colours)
            .with_writer(writer);
        let _ = registry.with(layer).try_init();
    } else {
        let layer = tracing_subscriber::fmt::layer()
            .json()
            .flatten_event(true)
            .with_current_span(false)
            .with_span_list(false)
            .with_writer(writer);
        let _ = registry.with(layer).try_init();
    }
    Ok(Logging {
        filter: handle,
        queue,
    })
}

impl Logging {
    /// The filter in force.
    pub fn level(&self) -> String {
        self.filter
            .with_current(ToString::to_string)
            .unwrap_or_default()
    }

    /// Puts another filter in force.
    ///
    /// # Errors
    ///
    /// When it cannot be used; the old one stays.
    pub fn set_level(&self, filter: &str) -> Result<(), BadFilter> {
        let parsed = self::filter(filter)?;
        self.filter.reload(parsed).map_err(|error| BadFilter {
            why: error.to_string(),
        })
    }

    /// Waits until the records so far are written, but not for long.
    pub fn flush(&self) {
        let (done, written) = mpsc::sync_channel(1);
        if self.queue.try_send(Message::Flush(done)).is_ok() {
            let _ = written.recv_timeout(FLUSH);
        }
    }
}

impl fmt::Debug for Logging {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Logging")
            .field("level", &self.level())
            .finish_non_exhaustive()
    }
}

/// What follows `referral_gateway::` in a target: the two kinds of record, and every module.
const TARGETS: &[&str] = &[
    "access",
    "admin",
    "app",
    "body",
    "cache",
    "capture",
    "cli",
    "config",
    "decision",
    "metrics",
    "offline",
    "policy",
    "policy_test",
    "problem",
    "proxy",
    "rate_limit",
    "referral",
    "server",
    "simulator",
    "telemetry",
    "tenant",
    "upstream",
    "yaml",
];

/// Reads a filter: a level, or levels by target. What no target of it names is logged from `info` on.
///
/// # Errors
///
/// When it cannot be used.
pub fn filter(text: &str) -> Result<EnvFilter, BadFilter> {
    // A lone word that is no level would be taken for a target, and everything else fall silent.
    let levels = ["off", "error", "warn", "info", "debug", "trace"];
    let is_level = |part: &str| levels.iter().any(|level| part.eq_ignore_ascii_case(level));
    // The reader takes a blank for a part of the name.
    let mut parts: Vec<&str> = text.split(',').map(str::trim).collect();
    let mut named = parts.iter();
    let unknown =
        named.find(|part| !part.contains(['=', ':', '[', ']', '{', '}']) && !is_level(part));
    if let Some(part) = unknown {
        return Err(BadFilter {
            why: format!("{part:?} is not a level"),
        });
    }
    for part in &parts {
        known_target(part)?;
    }
    // Where a filter has no level of its own, all that it does not name would fall silent.
    if !parts.iter().any(|part| is_level(part)) {
        parts.push("info");
    }
    EnvFilter::try_new(parts.join(",")).map_err(|_| BadFilter {
        why: "not a filter".to_owned(),
    })
}

/// A target of ours that is misspelt would change nothing, or something else.
fn known_target(part: &str) -> Result<(), BadFilter> {
    let Some(path) = part.strip_prefix("referral_gateway::") else {
        return Ok(());
    };
    let name = path
        .split(['=', ':', '['])
        .next()
        .unwrap_or_default()
        .trim();
    if TARGETS.contains(&name) {
        return Ok(());
    }
    let near = TARGETS
        .iter()
        .map(|target| (strsim::damerau_levenshtein(name, target), target))
        .filter(|(distance, _)| *distance <= 2)
        .min();
    let hint = match near {
        Some((_, target)) => format!("did you mean referral_gateway::{target}?"),
        None => format!("known are {}", TARGETS.join(", ")),
    };
    Err(BadFilter {
        why: format!(
            "{:?} is no target ({hint})",
            format!("referral_gateway::{name}")
        ),
    })
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, fs, path::Path};

    use super::*;

    #[test]
    fn a_filter_says_nothing_about_the_rest_only_if_it_says_so() {
        for (text, told) in [
            ("warn", "warn"),
            ("off", "off"),
            (
                "referral_gateway::access=off",
                "referral_gateway::access=off,info",
            ),
            (
                "warn,referral_gateway::access=off",
                "referral_gateway::access=off,warn",
            ),
            (
                "referral_gateway::proxy::judge=debug",
                "referral_gateway::proxy::judge=debug,info",
            ),
            ("hyper=debug, ERROR", "hyper=debug,error"),
            ("referral_gateway=debug", "referral_gateway=debug,info"),
        ] {
            let filter = filter(text).map(|filter| filter.to_string());
            assert_eq!(filter.expect(text), told);
        }
    }

    #[test]
    fn a_misspelt_target_of_ours_is_refused() {
        for (text, hint) in [
            (
                "referral_gateway::acces=off",
                "did you mean referral_gateway::access?",
            ),
            (
                "warn,referral_gateway::prxy::judge=off",
                "did you mean referral_gateway::proxy?",
            ),
            ("referral_gateway::=off", "known are access, admin"),
            (
                "info,referral_gateway::everything",
                "known are access, admin",
            ),
        ] {
            let error = filter(text).expect_err(text);
            assert!(error.why.contains(hint), "{text}: {error}");
        }
    }

    #[test]
    fn every_module_is_a_target() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let files = fs::read_dir(folder).expect("the sources");
        let mut names: BTreeSet<String> = files
            .filter_map(|file| {
                let name = file.ok()?.file_name().into_string().ok()?;
                name.strip_suffix(".rs").map(str::to_owned)
            })
            .filter(|name| !matches!(name.as_str(), "lib" | "main"))
            .collect();
        names.extend(["access".to_owned(), "decision".to_owned()]);
        assert!(names.iter().eq(TARGETS), "{names:?}");
    }
}

fn write_all(records: &Receiver<Message>) {
    let mut out = io::BufWriter::new(io::stdout());
    while let Ok(message) = records.recv() {
        let mut flushed = Vec::new();
        for message in [message].into_iter().chain(records.try_iter().take(QUEUE)) {
            match message {
                // A full disk or a closed pipe is no reason to stop: the next record may be luckier.
                Message::Record(record) => drop(out.write_all(&record)),
                Message::Flush(done) => flushed.push(done),
            }
        }
        let _ = out.flush();
        for done in flushed {
            let _ = done.try_send(());
        }
    }
}

/// Hands each record to the writing thread.
#[derive(Clone)]
struct Writer {
    queue: SyncSender<Message>,
    dropped: IntCounter,
}

impl Write for Writer {
    fn write(&mut self, record: &[u8]) -> io::Result<usize> {
        if self
            .queue
            .try_send(Message::Record(record.to_vec()))
            .is_err()
        {
            self.dropped.inc();
        }
        Ok(record.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'w> MakeWriter<'w> for Writer {
    type Writer = Self;

    fn make_writer(&'w self) -> Self {
        self.clone()
    }
}
