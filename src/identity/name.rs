//! The names in a certificate that a client may be known by.

use std::{
    fmt,
    net::{Ipv4Addr, Ipv6Addr},
};

use rustls::pki_types::CertificateDer;
use x509_parser::{certificate::X509Certificate, extensions::GeneralName, prelude::FromDer as _};

/// A subject alternative name (RFC 5280 4.2.1.6) of a client's certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Name {
    /// A host name, compared without case.
    Dns(String),
    /// A URI, for example a SPIFFE id, compared exactly.
    Uri(String),
}

/// The longest name, in bytes. SPIFFE ids have at most 2048.
const MAX_NAME: usize = 2048;

impl Name {
    /// The name that a text means: a URI if it has `://` in it, a host name otherwise. `None` if it is neither.
    pub fn parse(text: &str) -> Option<Self> {
        let is_plain = (1..=MAX_NAME).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_graphic());
        if !is_plain {
            return None;
        }
        if let Some((scheme, rest)) = text.split_once("://") {
            let is_uri = !scheme.is_empty()
                && !rest.is_empty()
                && scheme
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte));
            return is_uri.then(|| Self::Uri(text.to_owned()));
        }
        // No address: certificates hold addresses as another type. No wildcard: it would match a certificate that has one.
        let is_letter =
            |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
        let has_labels =
            text.len() <= 253 && text.split('.').all(|label| (1..=63).contains(&label.len()));
        (has_labels && text.bytes().all(is_letter) && text.parse::<std::net::IpAddr>().is_err())
            .then(|| Self::Dns(text.to_ascii_lowercase()))
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dns(name) | Self::Uri(name) => f.write_str(name),
        }
    }
}

/// The host names and URIs in a certificate.
pub fn names_of(certificate: &CertificateDer<'_>) -> Vec<Name> {
    let Ok((_, certificate)) = X509Certificate::from_der(certificate) else {
        return Vec::new();
    };
    let Ok(Some(names)) = certificate.subject_alternative_name() else {
        return Vec::new();
    };
    let name = |name: &GeneralName<'_>| match name {
        GeneralName::DNSName(name) => Some(Name::Dns(name.to_ascii_lowercase())),
        GeneralName::URI(uri) => Some(Name::Uri((*uri).to_owned())),
        _ => None,
    };
    names.value.general_names.iter().filter_map(name).collect()
}

/// The hosts that a certificate is for, as a URL has them: addresses, then names. Wildcards are left out.
pub fn hosts_of(certificate: &CertificateDer<'_>) -> Vec<String> {
    let Ok((_, certificate)) = X509Certificate::from_der(certificate) else {
        return Vec::new();
    };
    let Ok(Some(names)) = certificate.subject_alternative_name() else {
        return Vec::new();
    };
    let names = &names.value.general_names;
    let address = |name: &GeneralName<'_>| match name {
        GeneralName::IPAddress(bytes) => match <[u8; 4]>::try_from(*bytes) {
            Ok(bytes) => Some(Ipv4Addr::from(bytes).to_string()),
            Err(_) => {
                let bytes = <[u8; 16]>::try_from(*bytes).ok()?;
                Some(format!("[{}]", Ipv6Addr::from(bytes)))
            }
        },
        _ => None,
    };
    let host = |name: &GeneralName<'_>| match name {
        GeneralName::DNSName(name) if !name.contains('*') => match Name::parse(name) {
            Some(Name::Dns(name)) => Some(name),
            _ => None,
        },
        _ => None,
    };
    let addresses = names.iter().filter_map(address);
    addresses.chain(names.iter().filter_map(host)).collect()
}
