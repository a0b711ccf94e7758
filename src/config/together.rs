//! Problems between settings.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use http::uri::{Authority, Scheme};

use super::{
    keys,
    layers::{Layers, as_text},
    origin::Origin,
    problem::Problem,
    settings::Settings,
    value::Fault,
};
use crate::upstream::Target;

/// Compares settings with each other.
pub(super) fn check(settings: &Settings, layers: &Layers) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut report = |key: &str, fault| problems.extend(layers.problem(key, fault));

    let (drain, cooldown) = (settings.drain, settings.rate_limit.cooldown);
    for (low, least, high, most) in [
        (
            keys::DRAIN_MIN.name,
            drain.min,
            keys::DRAIN_MAX.name,
            drain.max,
        ),
        (
            keys::COOLDOWN_DEFAULT.name,
            cooldown.default,
            keys::COOLDOWN_MAX.name,
            cooldown.max,
        ),
    ] {
        if let Some((key, fault)) = order(layers, (low, least), (high, most)) {
            report(key, fault);
        }
    }

    let listeners = [
        (keys::LISTEN.name, settings.listen),
        (keys::TELEMETRY_LISTEN.name, settings.admin.telemetry_listen),
        (keys::ADMIN_LISTEN.name, settings.admin.listen),
    ];
    for (at, (later, theirs)) in listeners.iter().enumerate() {
        for (earlier, ours) in listeners.iter().take(at) {
            if overlap(*ours, *theirs) {
                let (key, other) = written(layers, later, earlier);
                let what = format!("taken by `{other}` already");
                let remedy = "give each listener a port of its own, or port 0";
                report(key, Fault::new(what, remedy));
            }
        }
    }

    let admin = settings.admin.listen.ip().to_canonical();
    if !admin.is_loopback() && settings.admin.token.is_none() {
        let remedy = "write a loopback address such as 127.0.0.1:4282, or set admin.token_file";
        let fault = Fault::new("not loopback, and no token protects it", remedy);
        report(keys::ADMIN_LISTEN.name, fault);
    }
    if let Target::Service { scheme, authority } = &settings.upstream.target {
        let own = [
            ("listen", settings.listen),
            ("telemetry.listen", settings.admin.telemetry_listen),
            ("admin.listen", settings.admin.listen),
        ];
        for (name, address) in own {
            if calls(scheme, authority, address) {
                let remedy = "write the address of the service";
                let fault = Fault::new(format!("the gateway's own `{name}`"), remedy);
                report(keys::UPSTREAM_URL.name, fault);
            }
        }
    }
    problems
}

/// The lower of two durations must not be over the higher one.
fn order<'a>(
    layers: &Layers,
    (low, least): (&'a str, Duration),
    (high, most): (&'a str, Duration),
) -> Option<(&'a str, Fault)> {
    if least <= most {
        return None;
    }
    let (key, other) = written(layers, low, high);
    let than = if key == low { "more" } else { "less" };
    let value = layers
        .leaves
        .get(other)
        .and_then(|leaf| as_text(&leaf.value));
    let what = format!(
        "{than} than `{other}`, which is `{}`",
        value.unwrap_or_default()
    );
    Some((
        key,
        Fault::new(what, format!("let `{low}` be at most `{high}`")),
    ))
}

/// The one of two settings that somebody has written, then the other.
fn written<'a>(layers: &Layers, one: &'a str, other: &'a str) -> (&'a str, &'a str) {
    let is_default = |key: &str| {
        let leaf = layers.leaves.get(key);
        leaf.is_none_or(|leaf| leaf.origin == Origin::Default)
    };
    if is_default(one) && !is_default(other) {
        (other, one)
    } else {
        (one, other)
    }
}

/// Whether two listeners cannot both have their address.
fn overlap(one: SocketAddr, other: SocketAddr) -> bool {
    let is_any = |address: SocketAddr| address.ip().is_unspecified();
    one.port() != 0
        && one.port() == other.port()
        && (one.ip() == other.ip() || is_any(one) || is_any(other))
}

/// Whether a URL leads to a listener of this machine.
fn calls(scheme: &Scheme, authority: &Authority, listen: SocketAddr) -> bool {
    let default = if *scheme == Scheme::HTTPS { 443 } else { 80 };
    let host = authority.host().trim_matches(['[', ']']);
    let same = match host.parse::<IpAddr>() {
        Ok(ip) => ip == listen.ip() || (ip.is_loopback() && listen.ip().is_unspecified()),
        Err(_) => {
            host == "localhost" && (listen.ip().is_loopback() || listen.ip().is_unspecified())
        }
    };
    same && authority.port_u16().unwrap_or(default) == listen.port()
}
