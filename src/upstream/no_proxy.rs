//! `NO_PROXY`: the hosts that are reached without a proxy, in the forms that curl and Go take.

use std::net::IpAddr;

use ipnet::IpNet;

#[cfg(test)]
mod tests;

/// The items of `NO_PROXY`.
#[derive(Debug)]
pub(super) struct NoProxy(Vec<Item>);

/// Hosts, at any port or at one.
#[derive(Debug)]
struct Item {
    hosts: Hosts,
    port: Option<u16>,
}

#[derive(Debug)]
enum Hosts {
    All,
    /// A domain and all below it.
    Domain(String),
    /// All below a domain.
    Below(String),
    Addresses(IpNet),
}

impl NoProxy {
    /// Reads a list, separated by commas or blanks. What is no item is left out.
    pub(super) fn of(list: &str) -> Self {
        let items = list.split(|letter: char| letter == ',' || letter.is_whitespace());
        Self(items.filter_map(Item::of).collect())
    }

    /// Whether a host at a port is reached without a proxy. An IPv6 address may stand in brackets.
    pub(super) fn covers(&self, host: &str, port: u16) -> bool {
        let address = address(host);
        let name = normal(host);
        let is_port = |item: &&Item| item.port.is_none_or(|own| own == port);
        let mut items = self.0.iter().filter(is_port);
        items.any(|item| match (&item.hosts, address) {
            (Hosts::All, _) => true,
            (Hosts::Addresses(net), Some(address)) => net.contains(&address),
            (Hosts::Domain(domain), None) => name == *domain || is_below(&name, domain),
            (Hosts::Below(domain), None) => is_below(&name, domain),
            (Hosts::Addresses(_), None) | (Hosts::Domain(_) | Hosts::Below(_), Some(_)) => false,
        })
    }
}

impl Item {
    fn of(text: &str) -> Option<Self> {
        if let Some(net) = net(text) {
            let hosts = Hosts::Addresses(net);
            return Some(Self { hosts, port: None });
        }
        let (host, port) = match text.rsplit_once(':') {
            Some((host, port)) => (host, Some(port.parse().ok()?)),
            None => (text, None),
        };
        let hosts = Hosts::of(host)?;
        Some(Self { hosts, port })
    }
}

impl Hosts {
    fn of(text: &str) -> Option<Self> {
        if text == "*" {
            return Some(Self::All);
        }
        if let Some(address) = address(text) {
            return Some(Self::Addresses(address.into()));
        }
        let (name, is_below) = match text.strip_prefix("*.") {
            Some(name) => (name, true),
            None => (text.strip_prefix('.').unwrap_or(text), false),
        };
        let name = normal(name);
        let is_name = !name.is_empty() && !name.contains(['*', ':', '/', '[', ']']);
        is_name.then_some(if is_below {
            Self::Below(name)
        } else {
            Self::Domain(name)
        })
    }
}

/// Addresses without a port: a block, or a single one.
fn net(text: &str) -> Option<IpNet> {
    if let Some(address) = address(text) {
        return Some(address.into());
    }
    text.parse().ok()
}

/// An IP address, with or without brackets. An IPv4 address that is written as an IPv6 address is the same.
fn address(text: &str) -> Option<IpAddr> {
    let inner = text
        .strip_prefix('[')
        .and_then(|text| text.strip_suffix(']'));
    let address: IpAddr = inner.unwrap_or(text).parse().ok()?;
    Some(address.to_canonical())
}

/// A name without case and without the dot of the root.
fn normal(name: &str) -> String {
    name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase()
}

fn is_below(name: &str, domain: &str) -> bool {
    let above = name.strip_suffix(domain);
    above.is_some_and(|above| above.len() > 1 && above.ends_with('.'))
}
