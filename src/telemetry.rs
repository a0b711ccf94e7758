//! Log records: one JSON object a line on standard output or standard error, or text on a terminal.

mod filter;
mod line;
mod queue;
mod recent;
mod text;

use std::{
    fmt,
    fs::File,
    io::{self, IsTerminal, Write},
    os::fd::{AsFd, OwnedFd},
    thread,
    time::Duration,
};

use prometheus::IntCounter;
use tracing::{Level, Subscriber, enabled, info};
use tracing_subscriber::{
    EnvFilter, Layer, Registry, fmt::MakeWriter, layer::SubscriberExt, registry::LookupSpan,
    reload, util::SubscriberInitExt,
};

use self::{line::Form, queue::Queue};

pub use filter::{BadFilter, filter};
pub use line::{Line, Record, record};
pub use recent::Recent;

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

/// Where records go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Output,
    /// Standard error: standard output belongs to a command that the gateway runs.
    Error,
}

/// The longest wait for the last records at the end of the program.
const FLUSH: Duration = Duration::from_secs(1);

/// The log, with a level that can change while the program runs.
#[derive(Clone)]
pub struct Logging {
    filter: reload::Handle<EnvFilter, Registry>,
}

/// Starts logging to a stream; records that nobody reads in time are dropped and counted by `dropped`.
///
/// # Errors
///
/// When the filter cannot be used.
pub fn start(
    settings: &Settings,
    stream: Stream,
    dropped: IntCounter,
) -> Result<Logging, BadFilter> {
    let (filter, handle) = reload::Layer::new(filter(&settings.level)?);
    let queue = Queue::new(dropped);
    // A reader that stops must not stop traffic, so only this thread waits for it.
    let _ = thread::Builder::new().name("log".to_owned()).spawn({
        let queue = queue.clone();
        // Each write is a call of the system: the queue gathers what is written at once.
        move || match stream.descriptor() {
            Ok(out) => queue.write_all(File::from(out)),
            Err(_) => queue.write_all(io::stderr()),
        }
    });

    let to_terminal = stream.is_terminal();
    let writer = Writer(queue.clone());
    let registry = tracing_subscriber::registry().with(filter);
    let is_text = match settings.format {
        Format::Auto => to_terminal,
        Format::Text => true,
        Format::Json => false,
    };
    if is_text {
        let colours =
            to_terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        line::start(Form::Text { colours }, queue);
        let _ = registry.with(as_text(colours, writer)).try_init();
    } else {
        line::start(Form::Json, queue);
        let _ = registry.with(as_json(writer)).try_init();
    }
    Ok(Logging { filter: handle })
}

/// Text lines of what `tracing` records.
fn as_text<S, W>(colours: bool, writer: W) -> impl Layer<S>
where
    S: Subscriber + for<'span> LookupSpan<'span>,
    W: for<'writer> MakeWriter<'writer> + 'static,
{
    tracing_subscriber::fmt::layer()
        .fmt_fields(text::Fields)
        .with_ansi(colours)
        .with_writer(writer)
}

/// JSON lines of what `tracing` records.
fn as_json<S, W>(writer: W) -> impl Layer<S>
where
    S: Subscriber + for<'span> LookupSpan<'span>,
    W: for<'writer> MakeWriter<'writer> + 'static,
{
    tracing_subscriber::fmt::layer()
        .json()
        .flatten_event(true)
        .with_current_span(false)
        .with_span_list(false)
        .with_writer(writer)
}

/// Waits until the records so far are written, one second at most. A program that ends without it loses those of the last
/// milliseconds.
pub fn flush() {
    line::flush(FLUSH);
}

impl Stream {
    fn descriptor(self) -> io::Result<OwnedFd> {
        match self {
            Self::Output => io::stdout().as_fd().try_clone_to_owned(),
            Self::Error => io::stderr().as_fd().try_clone_to_owned(),
        }
    }

    fn is_terminal(self) -> bool {
        match self {
            Self::Output => io::stdout().is_terminal(),
            Self::Error => io::stderr().is_terminal(),
        }
    }
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
}

impl fmt::Debug for Logging {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Logging")
            .field("level", &self.level())
            .finish_non_exhaustive()
    }
}

/// Hands each record to the writing thread.
#[derive(Clone)]
struct Writer(Queue);

impl Write for Writer {
    fn write(&mut self, record: &[u8]) -> io::Result<usize> {
        self.0.push(record);
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
