//! The names in a certificate.

use std::{fmt, net::IpAddr, str::FromStr};

/// A name that clients connect to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Name {
    /// A DNS name in lower case, perhaps with `*` as its first label.
    Dns(String),
    /// An address.
    Ip(IpAddr),
}

/// A text that is no name.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoName {
    /// Neither a DNS name nor an address.
    #[error(
        "write a DNS name, such as gateway.example.com or *.svc.cluster.local, or an IP address, such as 10.0.0.7 or \
         fd00::7, without scheme and port"
    )]
    Malformed,
    /// `*.local`: OpenSSL and Node match no name with it.
    #[error(
        "many clients accept * only in front of two labels or more, such as *.svc.cluster.local"
    )]
    WideWildcard,
    /// `0.0.0.0` and `::`.
    #[error("no client connects to this address; write the one that clients use, such as 10.0.0.7")]
    Unspecified,
}

impl FromStr for Name {
    type Err = NoName;

    fn from_str(text: &str) -> Result<Self, NoName> {
        if let Ok(ip) = text.parse::<IpAddr>() {
            return match ip.is_unspecified() {
                true => Err(NoName::Unspecified),
                false => Ok(Self::Ip(ip)),
            };
        }
        let name = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
        let plain = name.strip_prefix("*.").unwrap_or(&name);
        // What ends in a number is read as an IPv4 address by some clients.
        let last = plain.rsplit('.').next().unwrap_or_default();
        let is_number = last.bytes().all(|byte| byte.is_ascii_digit());
        if name.len() > 253 || is_number || !plain.split('.').all(is_label) {
            return Err(NoName::Malformed);
        }
        match plain.len() < name.len() && !plain.contains('.') {
            true => Err(NoName::WideWildcard),
            false => Ok(Self::Dns(name)),
        }
    }
}

fn is_label(label: &str) -> bool {
    let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    (1..=63).contains(&label.len())
        && label.bytes().all(is_letter)
        && !label.starts_with('-')
        && !label.ends_with('-')
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dns(name) => f.write_str(name),
            Self::Ip(ip) => ip.fmt(f),
        }
    }
}

/// The names of one certificate, each once: at least one, at most [`Names::MAX`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Names(Vec<Name>);

/// More names than a certificate should have.
#[derive(Debug, thiserror::Error)]
#[error(
    "more than {} names; a wildcard such as *.svc.cluster.local stands for many",
    Names::MAX
)]
pub struct TooManyNames;

impl Names {
    /// Servers and clients bound what they read of a handshake.
    pub const MAX: usize = 100;

    /// These names, or none if there are none.
    ///
    /// # Errors
    ///
    /// When there are too many.
    pub fn of(names: impl IntoIterator<Item = Name>) -> Result<Option<Self>, TooManyNames> {
        let mut all = Vec::new();
        for name in names {
            if !all.contains(&name) {
                all.push(name);
            }
            if all.len() > Self::MAX {
                return Err(TooManyNames);
            }
        }
        Ok((!all.is_empty()).then_some(Self(all)))
    }

    /// What clients beside the gateway connect to.
    pub fn local() -> Self {
        let ips = ["127.0.0.1", "::1"].into_iter();
        let ips = ips.filter_map(|ip| ip.parse().ok().map(Name::Ip));
        Self(
            [Name::Dns("localhost".to_owned())]
                .into_iter()
                .chain(ips)
                .collect(),
        )
    }

    /// The names as texts, in their order.
    pub fn texts(&self) -> Vec<String> {
        self.0.iter().map(Name::to_string).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::{Name, Names, NoName};

    #[test]
    fn a_name_is_a_dns_name_or_an_address() {
        let labels = |count| vec!["a"; count].join(".");
        for (text, expected) in [
            ("localhost", "localhost"),
            ("Gateway.Example.COM.", "gateway.example.com"),
            ("*.svc.cluster.local", "*.svc.cluster.local"),
            ("my_gateway", "my_gateway"),
            ("xn--bcher-kva.example", "xn--bcher-kva.example"),
            ("127.0.0.1", "127.0.0.1"),
            ("0:0:0:0:0:0:0:1", "::1"),
            (&labels(127), &labels(127)),
            (&"a".repeat(63), &"a".repeat(63)),
        ] {
            let name: Name = text.parse().expect(text);
            assert_eq!(name.to_string(), expected);
        }
    }

    #[test]
    fn what_no_client_could_match_is_no_name() {
        let long = "a.".repeat(127) + "a";
        let label = "a".repeat(64);
        for text in [
            "",
            ".",
            "*",
            "*.",
            "a..b",
            ".a",
            "a.*.b",
            "f*.example.com",
            "-a",
            "a-",
            "a b",
            "bücher.example",
            "https://localhost",
            "localhost:4280",
            "127.0.0.1:4280",
            "[::1]",
            "fe80::1%eth0",
            "me@example.com",
            "10.0.0.256",
            "10.0.0",
            "10.0.0.0/8",
            "a\n",
            &long,
            &label,
        ] {
            assert_eq!(text.parse::<Name>(), Err(NoName::Malformed), "{text:?}");
        }
        for text in ["*.local", "*.local."] {
            assert_eq!(text.parse::<Name>(), Err(NoName::WideWildcard), "{text:?}");
        }
        for text in ["0.0.0.0", "::"] {
            assert_eq!(text.parse::<Name>(), Err(NoName::Unspecified), "{text:?}");
        }
    }

    #[test]
    fn repeated_names_are_folded_and_the_rest_is_bounded() {
        let names = |count: usize| (0..count).map(|n| Name::Dns(format!("n{n}")));
        let folded = Names::of(names(2).chain(names(2)))
            .expect("few")
            .expect("some");
        assert_eq!(folded.texts(), ["n0", "n1"]);
        Names::of(names(100).chain(names(100))).expect("100 names");
        Names::of(names(101)).expect_err("101 names");
        assert_eq!(Names::of([]).expect("few"), None);
        assert_eq!(Names::local().texts(), ["localhost", "127.0.0.1", "::1"]);
    }
}
