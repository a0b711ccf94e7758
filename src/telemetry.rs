//! Log records: one JSON object a line on standard output, or text on a terminal.

mod filter;
mod text;

use std::{
    fmt,
    io::{self, IsTerminal, Write},
    sync::mpsc::{self, Receiver, SyncSender},
    thread,
    time::Duration,
};

use prometheus::IntCounter;
use tracing::{Level, enabled, info};
use tracing_subscriber::{
    EnvFilter, Registry, fmt::MakeWriter, layer::SubscriberExt, reload, util::SubscriberInitExt,
};

pub use filter::{BadFilter, filter};

/// Level and format of the log.
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
/// The longest wait for the last records at the end of the program.
const FLUSH: Duration = Duration::from_secs(1);

/// The log, with a level that can change while the program runs.
#[derive(Clone)]
pub struct Logging {
    filter: reload::Handle<EnvFilter, Registry>,
    queue: SyncSender<Message>,
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
    // A reader that stops must not stop traffic, so only this thread waits for it.
    let _ = thread::Builder::new()
        .name("log".to_owned())
        .spawn(move || write_all(&records));

    let to_terminal = io::stdout().is_terminal();
    let writer = Writer {
        queue: queue.clone(),
        dropped,
    };
    let registry = tracing_subscriber::registry().with(filter);
    let is_text = match settings.format {
        Format::Auto => to_terminal,
        Format::Text => true,
        Format::Json => false,
    };
    if is_text {
        let colours =
            to_terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        let layer = tracing_subscriber::fmt::layer()
            .fmt_fields(text::Fields)
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

    /// Changes the filter.
    ///
    /// # Errors
    ///
    /// When the new filter is invalid; the old one stays.
    pub fn set_level(&self, filter: &str) -> Result<(), BadFilter> {
        let parsed = self::filter(filter)?;
        let was = self.level();
        let record =
            || info!(target: "referral_gateway", was, level = filter, "Changed the log level");
        // One of the two filters may hide it.
        let is_shown = enabled!(target: "referral_gateway", Level::INFO);
        if is_shown {
            record();
        }
        self.filter.reload(parsed).map_err(|error| BadFilter {
            why: error.to_string(),
        })?;
        if !is_shown {
            record();
        }
        Ok(())
    }

    /// Waits until the records so far are written, one second at most.
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

fn write_all(records: &Receiver<Message>) {
    let mut out = io::BufWriter::new(io::stdout());
    while let Ok(message) = records.recv() {
        let mut flushed = Vec::new();
        for message in [message].into_iter().chain(records.try_iter().take(QUEUE)) {
            match message {
                // After a full disk or a closed pipe, the next record may succeed.
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
