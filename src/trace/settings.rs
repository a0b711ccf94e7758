//! What the environment says of traces (OpenTelemetry: environment variable specification, OTLP exporter configuration).

use std::{
    collections::{BTreeMap, HashMap},
    ffi::OsStr,
    time::Duration,
};

use http::{HeaderName, HeaderValue, Uri};

#[cfg(test)]
mod tests;
mod warnings;

pub use warnings::Warning;

/// The variables of the environment that begin with `OTEL_`; empty ones are as if they were not set. It may hold credentials.
#[derive(Clone, Default)]
pub struct Environment(BTreeMap<String, String>);

/// How spans are exported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// How long an export may take, its repetitions included.
    pub timeout: Duration,
    /// How many spans wait for their export; further ones are dropped.
    pub queue: usize,
    /// How many spans are exported at once.
    pub batch: usize,
    /// How long a span waits for others.
    pub delay: Duration,
}

const OTLP: &str = "OTEL_EXPORTER_OTLP_";
const MAX_QUEUE: usize = 65_536;
/// Encoding a batch takes a thread of the requests for so long.
const MAX_BATCH: usize = 2048;

impl Environment {
    /// Keeps the variables of OpenTelemetry.
    pub fn new(variables: impl IntoIterator<Item = (String, String)>) -> Self {
        let ours = variables
            .into_iter()
            .filter(|(name, value)| name.starts_with("OTEL_") && !value.trim().is_empty());
        Self(ours.collect())
    }

    /// Keeps those of this process.
    pub fn of_process() -> Self {
        let variables = std::env::vars_os();
        Self::new(variables.map(|(name, value)| (lossy(&name), lossy(&value))))
    }

    /// How spans are exported; `None` if they are not: no variable names a collector, or one switches it off.
    pub fn settings(&self) -> Option<Settings> {
        let is_off = self.is("OTEL_SDK_DISABLED", "true") || !self.exports();
        let (_, endpoint) = self.of_otlp("ENDPOINT")?;
        if is_off || !is_url(endpoint) {
            return None;
        }
        let millis = |name, default| Duration::from_millis(self.number(name).unwrap_or(default));
        let queue = self.number("OTEL_BSP_MAX_QUEUE_SIZE").unwrap_or(2048);
        let queue = usize::try_from(queue).map_or(MAX_QUEUE, |queue| queue.clamp(1, MAX_QUEUE));
        let most = queue.min(MAX_BATCH);
        let batch = self.number("OTEL_BSP_MAX_EXPORT_BATCH_SIZE").unwrap_or(512);
        let batch = usize::try_from(batch).map_or(most, |batch| batch.clamp(1, most));
        let timeout = self
            .of_otlp("TIMEOUT")
            .and_then(|(_, value)| positive(value));
        Some(Settings {
            timeout: Duration::from_millis(timeout.unwrap_or(10_000)),
            queue,
            batch,
            delay: millis("OTEL_BSP_SCHEDULE_DELAY", 5000),
        })
    }

    /// The fields of each export, by name.
    pub fn headers(&self) -> HashMap<String, String> {
        let text = self.of_otlp("HEADERS").map_or("", |(_, text)| text);
        pairs(text).flatten().collect()
    }

    /// Whether OTLP is among the exporters of traces.
    fn exports(&self) -> bool {
        let exporters = self.0.get("OTEL_TRACES_EXPORTER");
        exporters.is_none_or(|names| names.split(',').any(|name| name.trim() == "otlp"))
    }

    fn is(&self, name: &str, value: &str) -> bool {
        let found = self.0.get(name);
        found.is_some_and(|found| found.trim().eq_ignore_ascii_case(value))
    }

    fn number(&self, name: &str) -> Option<u64> {
        self.0.get(name)?.trim().parse().ok()
    }

    /// The variable of OTLP with this ending, that of traces before that of all signals, and its value.
    fn of_otlp(&self, ending: &str) -> Option<(String, &str)> {
        let names = ["TRACES_", ""].map(|signal| format!("{OTLP}{signal}{ending}"));
        let mut found = names.into_iter();
        found.find_map(|name| {
            let value = self.0.get(&name)?;
            Some((name, value.as_str()))
        })
    }
}

/// Whether it is a URL that traces can go to. A user in it would be sent nowhere, and be in logs.
fn is_url(text: &str) -> bool {
    let uri: Option<Uri> = text.parse().ok();
    uri.is_some_and(|uri| {
        matches!(uri.scheme_str(), Some("http" | "https"))
            && uri.host().is_some_and(|host| !host.is_empty())
            && uri.query().is_none()
            && uri
                .authority()
                .is_some_and(|authority| !authority.as_str().contains('@'))
    })
}

/// The names and values in a text; `None` for what is neither.
fn pairs(text: &str) -> impl Iterator<Item = Option<(String, String)>> {
    let parts = text
        .split(',')
        .map(str::trim)
        .filter(|part| !part.is_empty());
    parts.map(|part| {
        let (name, value) = part.split_once('=')?;
        let (name, value) = (name.trim(), value.trim());
        let value = percent_encoding::percent_decode_str(value)
            .decode_utf8()
            .ok()?;
        // As the names and values of header fields are.
        HeaderName::try_from(name).ok()?;
        HeaderValue::try_from(&*value).ok()?;
        Some((name.to_owned(), value.into_owned()))
    })
}

fn positive(text: &str) -> Option<u64> {
    text.trim().parse().ok().filter(|number| *number > 0)
}

fn lossy(text: &OsStr) -> String {
    text.to_string_lossy().into_owned()
}
