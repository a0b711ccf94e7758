//! Reads the text of one value.

use std::{net::SocketAddr, num::NonZeroU64, time::Duration};

use http::{
    HeaderName, Uri,
    uri::{Authority, Scheme},
};

use crate::{identity::Name, rebase::RewriteUrls, telemetry, upstream::Target, yaml};

/// The most names of clients.
const MAX_NAMES: usize = 1000;
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Why a value is wrong, and what to write instead.
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) what: String,
    pub(super) remedy: String,
}

impl Fault {
    pub(super) fn new(what: impl Into<String>, remedy: impl Into<String>) -> Self {
        let (what, remedy) = (what.into(), remedy.into());
        Self { what, remedy }
    }
}

pub(super) fn address(text: &str) -> Result<SocketAddr, Fault> {
    text.parse().map_err(|_| {
        let remedy = "write both, such as 127.0.0.1:4280 or [::1]:4280 (port 0 takes any free one)";
        Fault::new("not an IP address with a port", remedy)
    })
}

/// A duration over zero and up to a day.
pub(super) fn time(text: &str) -> Result<Duration, Fault> {
    match time_or_zero(text)? {
        Duration::ZERO => Err(Fault::new("zero", "write a duration over 0, such as 5s")),
        time => Ok(time),
    }
}

/// A duration up to a day.
pub(super) fn time_or_zero(text: &str) -> Result<Duration, Fault> {
    let remedy = "write a number with its unit, such as 250ms, 5s or 1m30s";
    let time = humantime::parse_duration(text).map_err(|_| Fault::new("not a duration", remedy))?;
    if time > DAY {
        return Err(Fault::new("more than a day", "write at most 24h"));
    }
    Ok(time)
}

/// A number of bytes within bounds.
pub(super) fn size(text: &str, least: u64, most: u64) -> Result<usize, Fault> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at_checked(digits).unwrap_or((text, ""));
    let factor = match unit.trim() {
        "" | "B" => Some(1),
        "KiB" => Some(1 << 10),
        "MiB" => Some(1 << 20),
        "GiB" => Some(1 << 30),
        _ => None,
    };
    let bytes = factor.and_then(|factor: u64| number.parse::<u64>().ok()?.checked_mul(factor));
    let Some(bytes) = bytes else {
        let remedy = "write bytes, such as 65536, or a number with KiB or MiB, such as 64KiB";
        return Err(Fault::new("not a size", remedy));
    };
    if (least..=most).contains(&bytes)
        && let Ok(bytes) = usize::try_from(bytes)
    {
        return Ok(bytes);
    }
    let (least, most) = (in_units(least), in_units(most));
    let what = format!("not between {least} and {most}");
    Err(Fault::new(
        what,
        format!("write a size from {least} to {most}"),
    ))
}

fn in_units(bytes: u64) -> String {
    match bytes {
        bytes if bytes >= 1 << 20 && bytes.is_multiple_of(1 << 20) => format!("{}MiB", bytes >> 20),
        bytes if bytes >= 1 << 10 && bytes.is_multiple_of(1 << 10) => format!("{}KiB", bytes >> 10),
        1 => "1 byte".to_owned(),
        bytes => format!("{bytes} bytes"),
    }
}

/// A whole number from 1 to `most`.
pub(super) fn number<T: TryFrom<NonZeroU64>>(text: &str, most: u64) -> Result<T, Fault> {
    let number = text.parse().ok();
    number
        .filter(|number: &NonZeroU64| number.get() <= most)
        .and_then(|number| T::try_from(number).ok())
        .ok_or_else(|| {
            Fault::new(
                format!("not between 1 and {most}"),
                format!("write a whole number from 1 to {most}"),
            )
        })
}

/// A whole number from 0 to `most`.
pub(super) fn number_or_zero(text: &str, most: u32) -> Result<u32, Fault> {
    let number = text.parse().ok().filter(|number| *number <= most);
    number.ok_or_else(|| {
        Fault::new(
            format!("not between 0 and {most}"),
            format!("write a whole number from 0 to {most}"),
        )
    })
}

pub(super) fn one_of<T: Copy>(text: &str, words: &[(&str, T)]) -> Result<T, Fault> {
    let found = words.iter().find(|(word, _)| *word == text);
    found.map(|(_, value)| *value).ok_or_else(|| {
        let words: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
        let words = words.join(", ");
        Fault::new("not a known word", format!("write one of: {words}"))
    })
}

/// A base URL without anything but scheme, host and port; or `simulator`.
pub(super) fn target(text: &str) -> Result<Target, Fault> {
    const REMEDY: &str =
        "write scheme and host alone, such as https://api.partner.microsoft.com, or simulator";
    if text == "simulator" {
        return Ok(Target::Simulator);
    }
    let not = |what: &str| Fault::new(what, REMEDY);
    if text.contains('#') {
        return Err(not("a URL with a fragment"));
    }
    let uri: Uri = text.parse().map_err(|_| not("not a URL"))?;
    let (Some(scheme), Some(authority)) = (uri.scheme().cloned(), uri.authority()) else {
        return Err(not("not an absolute URL"));
    };
    if authority.as_str().contains('@') {
        let remedy = "remove it: the gateway passes the callers' own credentials on";
        return Err(Fault::new("a URL with a user name or a password", remedy));
    }
    if uri.query().is_some() {
        return Err(not("a URL with a query"));
    }
    if !matches!(uri.path(), "" | "/") {
        return Err(not("a URL with a path"));
    }
    // The `http` crate keeps any text after the colon; a port must be a number from 1 to 65535.
    let port = authority
        .as_str()
        .strip_prefix(authority.host())
        .unwrap_or_default();
    if authority.host().is_empty()
        || !(port.is_empty() || authority.port_u16().is_some_and(|port| port > 0))
    {
        return Err(not("a URL without a usable host and port"));
    }
    if scheme == Scheme::HTTP && !is_loopback(authority.host()) {
        let remedy =
            "write https://..., since plain http would show the callers' tokens to the network";
        return Err(Fault::new(
            "plain http to a host that is not loopback",
            remedy,
        ));
    }
    if scheme != Scheme::HTTP && scheme != Scheme::HTTPS {
        return Err(not("neither http nor https"));
    }
    let authority: Authority = authority
        .as_str()
        .to_ascii_lowercase()
        .parse()
        .map_err(|_| not("not a URL"))?;
    Ok(Target::Service { scheme, authority })
}

/// `on`, `off`, or the origin of a URL.
pub(super) fn rewrite_urls(text: &str) -> Result<RewriteUrls, Fault> {
    match text {
        "true" | "on" => return Ok(RewriteUrls::ToCaller),
        "false" | "off" => return Ok(RewriteUrls::Off),
        _ => {}
    }
    let remedy = "write true, false, or scheme and host as callers reach the gateway, such as https://gateway.example";
    let not = |what: &str| Fault::new(what, remedy);
    let uri: Uri = text
        .parse()
        .map_err(|_| not("neither true nor false, nor a URL"))?;
    let (Some(scheme), Some(authority)) = (uri.scheme(), uri.authority()) else {
        return Err(not("neither true nor false, nor a URL"));
    };
    if *scheme != Scheme::HTTP && *scheme != Scheme::HTTPS {
        return Err(not("neither http nor https"));
    }
    if uri.path() != "/" || uri.query().is_some() || text.contains('#') {
        return Err(not("a URL with more than scheme, host and port"));
    }
    let host = authority.as_str().strip_prefix(authority.host());
    let has_port = host
        .is_some_and(|port| port.is_empty() || authority.port_u16().is_some_and(|port| port > 0));
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-_:[]".contains(&byte);
    if !has_port || !authority.as_str().bytes().all(is_plain) {
        return Err(not("a URL without a usable host and port"));
    }
    Ok(RewriteUrls::To(format!("{scheme}://{authority}").into()))
}

/// Whether a host of a URL is this machine: `localhost` or a loopback address.
pub(super) fn is_loopback(host: &str) -> bool {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost")
        || host
            .parse()
            .is_ok_and(|ip: std::net::IpAddr| ip.is_loopback())
}

/// Fields with another meaning: connection control, credentials, fields that rules judge.
const TAKEN: &[&str] = &[
    "authorization",
    "connection",
    "cookie",
    "expect",
    "forwarded",
    "host",
    "if-match",
    "if-none-match",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "via",
];

pub(super) fn tenant_header(text: &str) -> Result<HeaderName, Fault> {
    let remedy = "write the name of a header of your own, such as x-tenant-id";
    let name = HeaderName::from_bytes(text.as_bytes())
        .map_err(|_| Fault::new("not the name of a header", remedy))?;
    if TAKEN.contains(&name.as_str()) || name.as_str().starts_with("content-") {
        return Err(Fault::new("a header that has another meaning", remedy));
    }
    Ok(name)
}

pub(super) fn tenant_id(text: &str) -> Result<String, Fault> {
    let is_usable =
        !text.is_empty() && text.len() <= 256 && text.bytes().all(|byte| byte.is_ascii_graphic());
    if is_usable {
        return Ok(text.to_owned());
    }
    let remedy = "write the `tid` of the tenant's tokens, at most 256 visible characters";
    Err(Fault::new("not the id of a tenant", remedy))
}

/// Names that metrics and limits use for tenants without an alias.
const RESERVED: &[&str] = &["anonymous", "other", "overflow", "unknown", "unproven"];

pub(super) fn alias(text: &str) -> Result<(), Fault> {
    let is_plain = |byte: u8| {
        byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'_' | b'-')
    };
    if !(1..=40).contains(&text.len()) || !text.bytes().all(is_plain) {
        let remedy = "write 1 to 40 of the characters a-z, 0-9, _ and -";
        return Err(Fault::new("not an alias of a tenant", remedy));
    }
    if text.starts_with('_') || RESERVED.contains(&text) {
        return Err(Fault::new(
            "a reserved alias",
            "write another name, not one that begins with _",
        ));
    }
    Ok(())
}

pub(super) fn log_level(text: &str) -> Result<String, Fault> {
    match telemetry::filter(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(bad) => Err(Fault::new(bad.why, telemetry::BadFilter::REMEDY)),
    }
}

/// Names of clients: a list in JSON, as the settings hold it.
pub(super) fn names(text: &str) -> Result<Vec<Name>, Fault> {
    let names: Vec<String> = serde_json::from_str(text)
        .map_err(|_| Fault::new("not a list of names", "write a list such as [crm.example]"))?;
    if names.len() > MAX_NAMES {
        let remedy =
            format!("write at most {MAX_NAMES} names, or sign with an authority of your own");
        return Err(Fault::new("too many names", remedy));
    }
    let name = |text: &String| {
        Name::parse(text).ok_or_else(|| {
            let what = format!("not all names: {} is neither a host name nor a URI", yaml::quoted(text));
            let remedy = "write names as they stand in the certificates, such as crm.example or spiffe://example/crm, without wildcards";
            Fault::new(what, remedy)
        })
    };
    names.iter().map(name).collect()
}

/// A path; whether the file exists is checked where it is read.
pub(super) fn path(text: &str) -> Result<std::path::PathBuf, Fault> {
    if text.is_empty() {
        return Err(Fault::new(
            "not a path",
            "write the path of a file, or leave the setting out",
        ));
    }
    Ok(text.into())
}
