//! What the environment says of traces (OpenTelemetry: environment variable specification, OTLP exporter configuration).

use std::{
    collections::{BTreeMap, HashMap},
    ffi::OsStr,
    time::Duration,
};

use http::{HeaderName, HeaderValue, Uri};

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

/// A variable that has no effect, or another one than it says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// Its name.
    pub variable: String,
    /// What is the matter.
    pub what: &'static str,
    /// What to do.
    pub remedy: &'static str,
}

/// The beginnings of variables that are about traces: one that is not read is told of.
const OURS: [&str; 6] = [
    "OTEL_BSP_",
    "OTEL_EXPORTER_OTLP_TRACES_",
    "OTEL_PROPAGATORS",
    "OTEL_SDK_",
    "OTEL_SPAN_",
    "OTEL_TRACES_",
];

/// The variables of OTLP that are read, for all signals and for traces alone.
const OF_OTLP: [&str; 5] = ["COMPRESSION", "ENDPOINT", "HEADERS", "PROTOCOL", "TIMEOUT"];

/// The other variables that are read.
const READ: [&str; 11] = [
    "OTEL_BSP_MAX_EXPORT_BATCH_SIZE",
    "OTEL_BSP_MAX_QUEUE_SIZE",
    "OTEL_BSP_SCHEDULE_DELAY",
    "OTEL_PROPAGATORS",
    "OTEL_SDK_DISABLED",
    "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT",
    "OTEL_SPAN_EVENT_COUNT_LIMIT",
    "OTEL_SPAN_LINK_COUNT_LIMIT",
    "OTEL_TRACES_EXPORTER",
    "OTEL_TRACES_SAMPLER",
    "OTEL_TRACES_SAMPLER_ARG",
];

/// Those of the others that are numbers, and the largest that makes sense.
const NUMBERS: [(&str, u64); 6] = [
    ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", MAX_BATCH as u64),
    ("OTEL_BSP_MAX_QUEUE_SIZE", MAX_QUEUE as u64),
    ("OTEL_BSP_SCHEDULE_DELAY", u64::MAX),
    ("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", u64::MAX),
    ("OTEL_SPAN_EVENT_COUNT_LIMIT", u64::MAX),
    ("OTEL_SPAN_LINK_COUNT_LIMIT", u64::MAX),
];

const SAMPLERS: [&str; 6] = [
    "always_off",
    "always_on",
    "parentbased_always_off",
    "parentbased_always_on",
    "parentbased_traceidratio",
    "traceidratio",
];

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

    /// The variables that have no effect, or another one than they say.
    pub fn warnings(&self) -> Vec<Warning> {
        let Some((endpoint_name, endpoint)) = self.of_otlp("ENDPOINT") else {
            return Vec::new();
        };
        let mut warnings = Vec::new();
        let mut warn = |variable: &str, what, remedy| {
            warnings.push(Warning {
                variable: variable.to_owned(),
                what,
                remedy,
            });
        };
        // A URL, and whatever is taken for one, may hold a credential: values are not told.
        if !is_url(endpoint) {
            let what = "not a URL without user and query, so no traces are exported";
            let remedy = "write http://HOST:4318 or https://HOST:4318; credentials go into OTEL_EXPORTER_OTLP_HEADERS";
            warn(&endpoint_name, what, remedy);
        }
        if !self.exports() && !self.is("OTEL_TRACES_EXPORTER", "none") {
            let what = "not a known exporter, so no traces are exported";
            warn("OTEL_TRACES_EXPORTER", what, "write otlp or none");
        }
        if let Some((name, protocol)) = self.of_otlp("PROTOCOL")
            && protocol != "http/protobuf"
        {
            let remedy = "write http/protobuf, and name the collector's port for it, often 4318";
            warn(&name, "the gateway speaks http/protobuf alone", remedy);
        }
        if let Some((name, coding)) = self.of_otlp("COMPRESSION")
            && !matches!(coding, "gzip" | "none")
        {
            warn(&name, "not a known compression", "write gzip or none");
        }
        if let Some(propagators) = self.0.get("OTEL_PROPAGATORS")
            && !propagators
                .split(',')
                .any(|name| name.trim() == "tracecontext")
        {
            let what = "the gateway reads and writes traceparent and tracestate alone";
            warn("OTEL_PROPAGATORS", what, "add tracecontext");
        }
        if let Some(sampler) = self.0.get("OTEL_TRACES_SAMPLER")
            && !SAMPLERS.contains(&sampler.as_str())
        {
            let what = "not a known sampler, so the caller decides, and all others are exported";
            warn(
                "OTEL_TRACES_SAMPLER",
                what,
                "write parentbased_traceidratio or traceidratio",
            );
        }
        if let Some((name, timeout)) = self.of_otlp("TIMEOUT")
            && positive(timeout).is_none()
        {
            let remedy = "write milliseconds, 1 or more";
            warn(&name, "not a time, so it is 10000", remedy);
        }
        if let Some((name, fields)) = self.of_otlp("HEADERS")
            && !pairs(fields).all(|pair| pair.is_some())
        {
            let what = "not all of it is name=value, and what is not is left out";
            let remedy = "write name=value,name=value, with values percent-encoded";
            warn(&name, what, remedy);
        }
        let resource = self.0.get("OTEL_RESOURCE_ATTRIBUTES");
        let is_named = |part: &str| {
            let name = part.split_once('=').map_or("", |(name, _)| name.trim());
            part.trim().is_empty() || !name.is_empty()
        };
        if resource.is_some_and(|parts| !parts.split(',').all(is_named)) {
            let what = "not all of it is name=value, and what is not is left out";
            warn(
                "OTEL_RESOURCE_ATTRIBUTES",
                what,
                "write name=value,name=value",
            );
        }
        let is_ratio = self
            .0
            .get("OTEL_TRACES_SAMPLER")
            .is_some_and(|name| name.ends_with("traceidratio"));
        let ratio = self
            .0
            .get("OTEL_TRACES_SAMPLER_ARG")
            .map(|ratio| ratio.parse());
        match ratio {
            Some(Ok(0.0..=1.0)) if is_ratio => {}
            None if !is_ratio => {}
            None => warn(
                "OTEL_TRACES_SAMPLER",
                "without a ratio, so all is exported",
                "set OTEL_TRACES_SAMPLER_ARG",
            ),
            Some(_) if is_ratio => warn(
                "OTEL_TRACES_SAMPLER_ARG",
                "not a ratio",
                "write a number from 0 to 1",
            ),
            Some(_) => {
                let remedy = "set OTEL_TRACES_SAMPLER to parentbased_traceidratio or traceidratio";
                warn(
                    "OTEL_TRACES_SAMPLER_ARG",
                    "nothing reads it without a sampler that takes a ratio",
                    remedy,
                );
            }
        }
        for (name, most) in NUMBERS {
            let value = self.0.get(name);
            if value.is_some_and(|value| positive(value).is_none_or(|number| number > most)) {
                let what = "not a whole number in its bounds, so the nearest or its default holds";
                warn(
                    name,
                    what,
                    "write a whole number from 1 on; at most 65536 spans wait, and 2048 are exported at once",
                );
            }
        }
        if !["true", "false"]
            .iter()
            .any(|word| self.is("OTEL_SDK_DISABLED", word))
            && self.0.contains_key("OTEL_SDK_DISABLED")
        {
            warn(
                "OTEL_SDK_DISABLED",
                "neither true nor false, so traces are exported",
                "write true or false",
            );
        }
        for name in self.unread() {
            warn(name, "the gateway does not read it", "remove it");
        }
        warnings
    }

    /// The variables about traces that nothing reads.
    fn unread(&self) -> impl Iterator<Item = &str> {
        let names = self.0.keys().map(String::as_str);
        names.filter(|name| {
            let of_otlp = name
                .strip_prefix(OTLP)
                .map(|rest| rest.strip_prefix("TRACES_").unwrap_or(rest));
            let is_read =
                READ.contains(name) || of_otlp.is_some_and(|rest| OF_OTLP.contains(&rest));
            // Other signals have names of their own.
            let is_ours = OURS.iter().any(|start| name.starts_with(start))
                || matches!(
                    of_otlp,
                    Some("CERTIFICATE" | "CLIENT_CERTIFICATE" | "CLIENT_KEY" | "INSECURE")
                );
            is_ours && !is_read
        })
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

#[cfg(test)]
mod tests {
    use super::*;

    const ENDPOINT: (&str, &str) = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://localhost:4318");

    fn environment(variables: &[(&str, &str)]) -> Environment {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        Environment::new(variables.iter().map(owned))
    }

    fn warned_of(variables: &[(&str, &str)]) -> Vec<String> {
        let with_endpoint = [&[ENDPOINT], variables].concat();
        let warnings = environment(&with_endpoint).warnings().into_iter();
        warnings.map(|warning| warning.variable).collect()
    }

    #[test]
    fn traces_are_on_when_a_collector_is_named_and_nothing_switches_them_off() {
        let is_on = |variables: &[(&str, &str)]| environment(variables).settings().is_some();
        assert!(is_on(&[ENDPOINT]));
        assert!(is_on(&[(
            "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
            "https://collector/v1/traces"
        )]));
        assert!(is_on(&[
            ENDPOINT,
            ("OTEL_TRACES_EXPORTER", "console, otlp")
        ]));
        assert!(is_on(&[ENDPOINT, ("OTEL_SDK_DISABLED", "false")]));

        assert!(!is_on(&[]));
        assert!(!is_on(&[("OTEL_EXPORTER_OTLP_ENDPOINT", " ")]));
        assert!(!is_on(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "localhost:4318")]));
        assert!(!is_on(&[(
            "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT",
            "http://localhost:4318"
        )]));
        assert!(!is_on(&[ENDPOINT, ("OTEL_TRACES_EXPORTER", "none")]));
        assert!(!is_on(&[ENDPOINT, ("OTEL_SDK_DISABLED", "True")]));
    }

    #[test]
    fn numbers_are_bounded_and_those_of_traces_come_first() {
        let settings = |variables: &[(&str, &str)]| {
            let with_endpoint = [&[ENDPOINT], variables].concat();
            environment(&with_endpoint).settings().expect("on")
        };
        assert_eq!(
            settings(&[]),
            Settings {
                timeout: Duration::from_secs(10),
                queue: 2048,
                batch: 512,
                delay: Duration::from_secs(5),
            }
        );
        let set = settings(&[
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "1"),
            ("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "20"),
            ("OTEL_BSP_MAX_QUEUE_SIZE", "99999999999"),
            ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "0"),
            ("OTEL_BSP_SCHEDULE_DELAY", "30"),
        ]);
        assert_eq!(
            set,
            Settings {
                timeout: Duration::from_millis(20),
                queue: MAX_QUEUE,
                batch: 1,
                delay: Duration::from_millis(30),
            }
        );
        assert_eq!(settings(&[("OTEL_BSP_MAX_QUEUE_SIZE", "7")]).batch, 7);
    }

    #[test]
    fn fields_are_decoded_and_an_empty_variable_hides_none() {
        let named = environment(&[
            ("OTEL_EXPORTER_OTLP_TRACES_HEADERS", ""),
            (
                "OTEL_EXPORTER_OTLP_HEADERS",
                "api-key=x, authorization=Bearer%20y",
            ),
        ]);
        let mut fields: Vec<_> = named.headers().into_iter().collect();
        fields.sort();
        let text = |text: &str| text.to_owned();
        let key = (text("api-key"), text("x"));
        assert_eq!(fields, [key, (text("authorization"), text("Bearer y"))]);
    }

    #[test]
    fn what_has_no_effect_is_told() {
        for variable in [
            ("OTEL_TRACES_EXPORTER", "zipkin"),
            ("OTEL_TRACES_SAMPLER", "xray"),
            ("OTEL_PROPAGATORS", "b3"),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
            ("OTEL_EXPORTER_OTLP_TRACES_COMPRESSION", "zstd"),
            ("OTEL_EXPORTER_OTLP_CLIENT_KEY", "key.pem"),
            ("OTEL_EXPORTER_OTLP_TRACES_INSECURE", "true"),
            ("OTEL_BSP_SCHEDULE_DELAY", "5s"),
            ("OTEL_BSP_MAX_QUEUE_SIZE", "0"),
            ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "2049"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "a=%ff"),
            ("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "many"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "-1"),
            ("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "0"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "api-key:x"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "a=b,bad header=x"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "a=x%0d%0ay"),
            ("OTEL_RESOURCE_ATTRIBUTES", "deployment"),
            ("OTEL_TRACES_SAMPLER", "traceidratio"),
            ("OTEL_TRACES_SAMPLER_ARG", "0.1"),
            ("OTEL_SDK_DISABLED", "yes"),
            ("OTEL_BSP_MAX_CONCURRENT_EXPORTS", "2"),
        ] {
            assert_eq!(warned_of(&[variable]), [variable.0]);
            assert!(
                environment(&[variable]).warnings().is_empty(),
                "nothing is exported"
            );
        }
        for ratio in ["NaN", "-3", "1.5", "lots"] {
            let sampler = ("OTEL_TRACES_SAMPLER", "parentbased_traceidratio");
            let warned = warned_of(&[sampler, ("OTEL_TRACES_SAMPLER_ARG", ratio)]);
            assert_eq!(warned, ["OTEL_TRACES_SAMPLER_ARG"], "{ratio}");
        }
        for endpoint in [
            "http://user:word@host",
            "http://host/?q",
            "localhost:4318",
            "http://",
        ] {
            let named = environment(&[("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)]);
            assert_eq!(named.settings(), None, "{endpoint}");
            let warnings = named.warnings();
            let variables: Vec<_> = warnings.iter().map(|warning| &*warning.variable).collect();
            assert_eq!(variables, ["OTEL_EXPORTER_OTLP_ENDPOINT"], "{endpoint}");
        }
        let usual = [
            ("OTEL_TRACES_EXPORTER", "otlp"),
            ("OTEL_TRACES_SAMPLER", "parentbased_traceidratio"),
            ("OTEL_TRACES_SAMPLER_ARG", "0.1"),
            ("OTEL_PROPAGATORS", "tracecontext,baggage"),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"),
            (
                "OTEL_EXPORTER_OTLP_HEADERS",
                "authorization=Bearer%20x, a=b,",
            ),
            (
                "OTEL_RESOURCE_ATTRIBUTES",
                "deployment.environment.name=test,app.kubernetes.io/name=x,",
            ),
            ("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip"),
            ("OTEL_SERVICE_NAME", "crm"),
            ("OTEL_RESOURCE_ATTRIBUTES_POD_NAME", "pod"),
            ("OTEL_METRICS_EXPORTER", "none"),
            (
                "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT",
                "http://localhost:4318",
            ),
        ];
        assert_eq!(warned_of(&usual), [""; 0]);
    }
}
