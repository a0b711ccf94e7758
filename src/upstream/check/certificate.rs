//! A certificate of the other side, as people and programs read it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustls::pki_types::CertificateDer;
use x509_parser::{certificate::X509Certificate, prelude::FromDer as _};

use crate::{
    identity,
    upstream::issuer::{element, name},
};

/// The most certificates of a chain that are shown.
pub(super) const MAX: usize = 10;

/// What a certificate says. All texts are bounded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// Whose it is.
    pub subject: String,
    /// Who issued it.
    pub issuer: String,
    /// The first second in which it is valid.
    pub not_before: String,
    /// The last second in which it is valid.
    pub not_after: String,
    ends: Option<i64>,
}

const UNNAMED: &str = "no name";
const UNREADABLE: &str = "unreadable";

impl Certificate {
    pub(super) fn of(der: &CertificateDer<'_>) -> Self {
        let Ok((_, certificate)) = X509Certificate::from_der(der) else {
            let unreadable = || UNREADABLE.to_owned();
            return Self {
                subject: unreadable(),
                issuer: unreadable(),
                not_before: unreadable(),
                not_after: unreadable(),
                ends: None,
            };
        };
        let validity = certificate.validity();
        Self {
            subject: written(certificate.subject().as_raw()),
            issuer: written(certificate.issuer().as_raw()),
            not_before: identity::written(validity.not_before.timestamp()),
            not_after: identity::written(validity.not_after.timestamp()),
            ends: Some(validity.not_after.timestamp()),
        }
    }

    /// Whether it ends so soon.
    pub(super) fn ends_within(&self, time: Duration, now: SystemTime) -> bool {
        self.ends.is_some_and(|end| is_within(end, time, now))
    }
}

/// Whether a time, in seconds since 1970, comes so soon, or has passed.
pub(super) fn is_within(end: i64, time: Duration, now: SystemTime) -> bool {
    let until = now + time;
    let until = until
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs();
    i64::try_from(until).is_ok_and(|until| end <= until)
}

/// A name, bounded.
fn written(raw: &[u8]) -> String {
    let contents = element(raw).map(|(_, contents, _)| contents);
    contents
        .and_then(name)
        .unwrap_or_else(|| UNNAMED.to_owned())
}
