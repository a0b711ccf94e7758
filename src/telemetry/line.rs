//! Records of requests, written straight into a line.
//!
//! There is one for each request, so they do without the visitors of `tracing`. Their lines have the same form as those of
//! every other record, byte for byte.

use std::{
    cell::Cell,
    fmt::{self, Display},
    io::Write as _,
    sync::OnceLock,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;

use super::queue::Queue;

/// The form of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Json,
    Text {
        /// Whether the terminal shows colours.
        colours: bool,
    },
}

/// Where lines go; unset before the log starts, and in tests of parts.
static LOG: OnceLock<(Form, Queue)> = OnceLock::new();

thread_local! {
    /// The buffer of the last line, empty.
    static SPARE: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// The last second of the year 9999, since 1970.
const LAST_SECOND: Duration = Duration::from_secs(253_402_300_799);

/// A buffer that grew larger than this is not kept, in bytes.
const MAX_SPARE: usize = 8 * 1024;

/// From here on lines go into `queue`.
pub(super) fn start(form: Form, queue: Queue) {
    let _ = LOG.set((form, queue));
}

/// Waits until the records so far are written, for this long at most.
pub(super) fn flush(longest: Duration) {
    if let Some((_, queue)) = LOG.get() {
        queue.flush(longest);
    }
}

/// Writes one record of level `INFO`. `fields` adds its fields, in the order in which they are shown.
///
/// Ask [`tracing::enabled`] first: this does not look at the filter.
pub fn record(target: &'static str, message: &'static str, fields: impl FnOnce(&mut Line)) {
    if let Some((form, queue)) = LOG.get() {
        write(
            *form,
            SystemTime::now(),
            (target, message),
            fields,
            |line| {
                queue.push(line);
            },
        );
    }
}

/// Writes one record of level `INFO` into the log.
pub(super) fn log(
    target: &'static str,
    message: &'static str,
    now: SystemTime,
    record: &dyn Record,
) {
    if let Some((form, queue)) = LOG.get() {
        let fields = |line: &mut Line| record.write(line);
        write(*form, now, (target, message), fields, |line| {
            queue.push(line);
        });
    }
}

/// A record as one JSON object, without the end of its line.
pub(super) fn json(
    target: &'static str,
    message: &'static str,
    at: SystemTime,
    record: &dyn Record,
) -> Bytes {
    let fields = |line: &mut Line| record.write(line);
    let mut made = Bytes::new();
    write(Form::Json, at, (target, message), fields, |line| {
        made = Bytes::copy_from_slice(line.trim_ascii_end());
    });
    made
}

/// Makes a line in the buffer of the last one, and hands it to `take`.
fn write(
    form: Form,
    now: SystemTime,
    (target, message): (&'static str, &'static str),
    fields: impl FnOnce(&mut Line),
    take: impl FnOnce(&[u8]),
) {
    let spare = SPARE.try_with(Cell::take).unwrap_or_default();
    let mut line = Line::begin(form, spare, now, target, message);
    fields(&mut line);
    let mut bytes = line.end(target);
    take(&bytes);
    if bytes.capacity() <= MAX_SPARE {
        bytes.clear();
        let _ = SPARE.try_with(|spare| spare.set(bytes));
    }
}

/// A record that can be written at any time.
pub trait Record: Send + Sync + 'static {
    /// Adds its fields, in the order in which they are shown.
    fn write(&self, line: &mut Line);
}

/// A record that is being written. Writing into memory cannot fail.
pub struct Line {
    form: Form,
    bytes: Vec<u8>,
}

impl Line {
    fn begin(form: Form, bytes: Vec<u8>, now: SystemTime, target: &str, message: &str) -> Self {
        let mut line = Self { form, bytes };
        // A clock may be wrong by any time; there is no form for years before 1970 or after 9999.
        let now = now.clamp(UNIX_EPOCH, UNIX_EPOCH + LAST_SECOND);
        let now = humantime::format_rfc3339_micros(now);
        match form {
            Form::Json => {
                line.plain(format_args!("{{\"timestamp\":\"{now}\""));
                line.add(b",\"level\":\"INFO\"");
                line.text("message", message);
            }
            Form::Text { colours: false } => {
                line.plain(format_args!("{now}  INFO {target}: {message}"));
            }
            Form::Text { colours: true } => {
                line.plain(format_args!(
                    "\x1b[2m{now}\x1b[0m \x1b[32m INFO\x1b[0m \x1b[2m{target}\x1b[0m\x1b[2m:\x1b[0m {message}"
                ));
            }
        }
        line
    }

    fn end(mut self, target: &str) -> Vec<u8> {
        if self.form == Form::Json {
            self.text("target", target);
            self.add(b"}");
        }
        self.add(b"\n");
        self.bytes
    }

    /// Adds a text. Lines of the text form leave out empty ones.
    pub fn text(&mut self, name: &'static str, value: &str) {
        match self.form {
            Form::Json => {
                self.name(name);
                self.quoted(value);
            }
            Form::Text { .. } if value.is_empty() => {}
            Form::Text { .. } => {
                self.name(name);
                self.plain(format_args!("{value:?}"));
            }
        }
    }

    /// Adds what is shown as a text.
    pub fn shown(&mut self, name: &'static str, value: impl Display) {
        match self.form {
            Form::Json => {
                self.name(name);
                let mut json = serde_json::Serializer::new(&mut self.bytes);
                let _ = serde::Serializer::collect_str(&mut json, &value);
            }
            Form::Text { .. } => self.text(name, &value.to_string()),
        }
    }

    /// Adds a whole number.
    pub fn number(&mut self, name: &'static str, value: u64) {
        self.name(name);
        self.digits(value);
    }

    /// Adds a truth value.
    pub fn truth(&mut self, name: &'static str, value: bool) {
        self.name(name);
        self.add(if value { b"true" } else { b"false" });
    }

    /// Adds a time in milliseconds, with at most three decimals.
    pub fn millis(&mut self, name: &'static str, value: Duration) {
        self.name(name);
        let micros = value.saturating_add(Duration::from_nanos(500)).as_micros();
        let micros = u64::try_from(micros).unwrap_or(u64::MAX);
        self.digits(micros / 1000);
        let rest = micros % 1000;
        let decimals = [rest / 100, rest / 10 % 10, rest % 10].map(|digit| b'0' + digit as u8);
        let used = match rest {
            _ if rest % 10 > 0 => 3,
            _ if rest % 100 > 0 => 2,
            _ => 1,
        };
        self.add(b".");
        self.add(decimals.get(..used).unwrap_or_default());
    }

    fn name(&mut self, name: &'static str) {
        match self.form {
            Form::Json => {
                self.add(b",\"");
                self.add(name.as_bytes());
                self.add(b"\":");
            }
            Form::Text { colours: false } => self.plain(format_args!(" {name}=")),
            Form::Text { colours: true } => {
                self.plain(format_args!(" \x1b[3m{name}\x1b[0m\x1b[2m=\x1b[0m"));
            }
        }
    }

    /// A JSON string (RFC 8259 7).
    fn quoted(&mut self, value: &str) {
        // Nearly all texts are like this.
        let is_special = |byte| byte < b' ' || byte == b'"' || byte == b'\\';
        if !value
            .bytes()
            .fold(false, |any, byte| any | is_special(byte))
        {
            self.add(b"\"");
            self.add(value.as_bytes());
            self.add(b"\"");
        } else {
            let _ = serde_json::to_writer(&mut self.bytes, value);
        }
    }

    fn digits(&mut self, value: u64) {
        let mut text = itoa::Buffer::new();
        self.add(text.format(value).as_bytes());
    }

    fn plain(&mut self, text: fmt::Arguments<'_>) {
        let _ = self.bytes.write_fmt(text);
    }

    fn add(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }
}

#[cfg(test)]
mod tests;
