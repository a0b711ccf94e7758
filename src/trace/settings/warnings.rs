//! The variables about traces that have no effect, or another one than they say.

use super::{Environment, MAX_BATCH, MAX_QUEUE, OTLP, is_url, pairs, positive};

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

/// The warnings so far.
#[derive(Default)]
struct Warnings(Vec<Warning>);

impl Warnings {
    fn add(&mut self, variable: &str, what: &'static str, remedy: &'static str) {
        self.0.push(Warning {
            variable: variable.to_owned(),
            what,
            remedy,
        });
    }
}

impl Environment {
    /// The variables that have no effect, or another one than they say; none if no collector is named.
    pub fn warnings(&self) -> Vec<Warning> {
        let mut warnings = Warnings::default();
        if let Some((name, endpoint)) = self.of_otlp("ENDPOINT") {
            self.check_way(&name, endpoint, &mut warnings);
            self.check_sampling(&mut warnings);
            self.check_values(&mut warnings);
        }
        warnings.0
    }

    /// Where spans go, and what is sent with them.
    fn check_way(&self, endpoint_name: &str, endpoint: &str, warnings: &mut Warnings) {
        // A URL, and whatever is taken for one, may hold a credential: values are not told.
        if !is_url(endpoint) {
            let what = "not a URL without user and query, so no traces are exported";
            let remedy = "write http://HOST:4318 or https://HOST:4318; credentials go into OTEL_EXPORTER_OTLP_HEADERS";
            warnings.add(endpoint_name, what, remedy);
        }
        if !self.exports() && !self.is("OTEL_TRACES_EXPORTER", "none") {
            let what = "not a known exporter, so no traces are exported";
            warnings.add("OTEL_TRACES_EXPORTER", what, "write otlp or none");
        }
        if let Some((name, protocol)) = self.of_otlp("PROTOCOL")
            && protocol != "http/protobuf"
        {
            let remedy = "write http/protobuf, and name the collector's port for it, often 4318";
            warnings.add(&name, "the gateway speaks http/protobuf alone", remedy);
        }
        if let Some((name, coding)) = self.of_otlp("COMPRESSION")
            && !matches!(coding, "gzip" | "none")
        {
            warnings.add(&name, "not a known compression", "write gzip or none");
        }
        if let Some(propagators) = self.0.get("OTEL_PROPAGATORS")
            && !propagators
                .split(',')
                .any(|name| name.trim() == "tracecontext")
        {
            let what = "the gateway reads and writes traceparent and tracestate alone";
            warnings.add("OTEL_PROPAGATORS", what, "add tracecontext");
        }
        if let Some((name, timeout)) = self.of_otlp("TIMEOUT")
            && positive(timeout).is_none()
        {
            let remedy = "write milliseconds, 1 or more";
            warnings.add(&name, "not a time, so it is 10000", remedy);
        }
        if let Some((name, fields)) = self.of_otlp("HEADERS")
            && !pairs(fields).all(|pair| pair.is_some())
        {
            let what = "not all of it is name=value, and what is not may be left out";
            let remedy = "write name=value,name=value, with values percent-encoded";
            warnings.add(&name, what, remedy);
        }
        let resource = self.0.get("OTEL_RESOURCE_ATTRIBUTES");
        let is_named = |part: &str| {
            let name = part.split_once('=').map_or("", |(name, _)| name.trim());
            part.trim().is_empty() || !name.is_empty()
        };
        if resource.is_some_and(|parts| !parts.split(',').all(is_named)) {
            let what = "not all of it is name=value, and what is not may be left out";
            warnings.add(
                "OTEL_RESOURCE_ATTRIBUTES",
                what,
                "write name=value,name=value",
            );
        }
    }

    /// Which requests are recorded.
    fn check_sampling(&self, warnings: &mut Warnings) {
        if let Some(sampler) = self.0.get("OTEL_TRACES_SAMPLER")
            && !SAMPLERS.contains(&sampler.as_str())
        {
            let what = "not a known sampler, so the caller decides, and all others are exported";
            warnings.add(
                "OTEL_TRACES_SAMPLER",
                what,
                "write parentbased_traceidratio or traceidratio",
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
            None => warnings.add(
                "OTEL_TRACES_SAMPLER",
                "without a ratio, so all is exported",
                "set OTEL_TRACES_SAMPLER_ARG",
            ),
            Some(_) if is_ratio => warnings.add(
                "OTEL_TRACES_SAMPLER_ARG",
                "not a ratio",
                "write a number from 0 to 1",
            ),
            Some(_) => {
                let remedy = "set OTEL_TRACES_SAMPLER to parentbased_traceidratio or traceidratio";
                warnings.add(
                    "OTEL_TRACES_SAMPLER_ARG",
                    "nothing reads it without a sampler that takes a ratio",
                    remedy,
                );
            }
        }
    }

    /// Numbers, the switch, and what nothing reads.
    fn check_values(&self, warnings: &mut Warnings) {
        for (name, most) in NUMBERS {
            let value = self.0.get(name);
            if value.is_some_and(|value| positive(value).is_none_or(|number| number > most)) {
                let what = "not a whole number in its bounds, so the nearest or its default holds";
                warnings.add(
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
            warnings.add(
                "OTEL_SDK_DISABLED",
                "neither true nor false, so traces are exported",
                "write true or false",
            );
        }
        for name in self.unread() {
            warnings.add(name, "the gateway does not read it", "remove it");
        }
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
}
