//! A certificate with its key, by which one side of TLS shows who it is.

use std::{
    fmt,
    ops::RangeInclusive,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use rustls::{
    crypto::CryptoProvider,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    sign::CertifiedKey,
};
use x509_parser::{certificate::X509Certificate, prelude::FromDer as _};

pub use self::name::{Name, hosts_of, names_of};

mod name;
#[cfg(test)]
mod tests;

/// A certificate chain, the leaf first, and the key of the leaf.
pub struct Identity {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    /// The seconds since 1970 in which the leaf is valid.
    pub valid: RangeInclusive<i64>,
}

/// What an identity is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// A listener shows it to clients, which look for a name in it.
    Server,
    /// The gateway shows it to the upstream.
    Client,
}

/// Why two files make no identity.
#[derive(Debug, PartialEq, Eq)]
pub enum Wrong {
    /// The file with the certificates: what is wrong, and the remedy.
    Certificate(String, &'static str),
    /// The file with the key.
    Key(String, &'static str),
}

/// The longest chain that is taken.
const MAX_CHAIN: usize = 10;

const GIVE_CERTIFICATE: &str =
    "write the certificate of this side first, then those that lead to its authority, as PEM";
const GIVE_KEY: &str = "write the private key of the certificate, as PEM and without a passphrase";
const DECRYPT: &str = "write it without a passphrase, for example by `openssl pkey -in KEY -out NEW`, in a file that only this user reads";
const REORDER: &str =
    "write the certificate of this side first, then the one that issued it, and so on";

impl Identity {
    /// Reads and checks a chain and its key, both as PEM, at the time `now`.
    ///
    /// # Errors
    ///
    /// When the other side could not accept them: no certificate, a chain in the wrong order, a leaf that is not valid at
    /// `now`, one without a name, a key that is encrypted or belongs to another certificate.
    pub fn of_pem(
        certificates: &[u8],
        key: &[u8],
        purpose: Purpose,
        now: SystemTime,
    ) -> Result<Self, Wrong> {
        let chain = chain_of(certificates)?;
        let key = key_of(key)?;
        let valid = check_chain(&chain, purpose, now)?;
        let identity = Self { chain, key, valid };
        identity.check_key()?;
        Ok(identity)
    }

    /// The chain, the leaf first.
    pub fn chain(&self) -> Vec<CertificateDer<'static>> {
        self.chain.clone()
    }

    /// The hosts that the leaf is for, as a URL has them.
    pub fn hosts(&self) -> Vec<String> {
        self.chain.first().map(hosts_of).unwrap_or_default()
    }

    /// The private key of the leaf.
    pub fn key(&self) -> PrivateKeyDer<'static> {
        self.key.clone_key()
    }

    fn check_key(&self) -> Result<(), Wrong> {
        let provider = provider();
        let fits = |chain: Vec<CertificateDer<'static>>| {
            CertifiedKey::from_der(chain, self.key(), &provider).map(drop)
        };
        let Err(error) = fits(self.chain()) else {
            return Ok(());
        };
        let mismatch = matches!(error, rustls::Error::InconsistentKeys(_));
        if !mismatch {
            let what = format!("a key that cannot be used: {error}");
            return Err(Wrong::Key(what, GIVE_KEY));
        }
        let owner = self
            .chain
            .iter()
            .position(|other| fits(vec![other.clone()]).is_ok());
        Err(match owner {
            Some(at) => Wrong::Certificate(
                format!(
                    "a chain in the wrong order: the key belongs to certificate {}",
                    at + 1
                ),
                REORDER,
            ),
            None => Wrong::Key(
                "a key that does not fit the certificate".to_owned(),
                "write the key that the certificate was issued for",
            ),
        })
    }
}

impl Clone for Identity {
    fn clone(&self) -> Self {
        Self {
            chain: self.chain(),
            key: self.key(),
            valid: self.valid.clone(),
        }
    }
}

/// Whether both show the same, by the same key.
impl PartialEq for Identity {
    fn eq(&self, other: &Self) -> bool {
        self.chain == other.chain && self.key.secret_der() == other.key.secret_der()
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").finish_non_exhaustive()
    }
}

fn provider() -> CryptoProvider {
    rustls::crypto::aws_lc_rs::default_provider()
}

fn chain_of(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, Wrong> {
    let wrong = |what: String| Wrong::Certificate(what, GIVE_CERTIFICATE);
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    // The library shows the bytes of a missing line as numbers.
    let chain = chain.map_err(|_| {
        wrong("not PEM: a line BEGIN or END is missing, or the text between them is not base64; is the file cut off?".to_owned())
    })?;
    match chain.len() {
        0 => Err(wrong("a file without a certificate".to_owned())),
        1..=MAX_CHAIN => Ok(chain),
        more => Err(wrong(format!(
            "a chain of {more} certificates, more than {MAX_CHAIN}"
        ))),
    }
}

fn key_of(pem: &[u8]) -> Result<PrivateKeyDer<'static>, Wrong> {
    let has = |text: &[u8]| memchr::memmem::find(pem, text).is_some();
    // PKCS #8 (RFC 7468 11), and the older form of OpenSSL (RFC 1421).
    if has(b"BEGIN ENCRYPTED PRIVATE KEY") || has(b"Proc-Type: 4,ENCRYPTED") {
        return Err(Wrong::Key("an encrypted key".to_owned(), DECRYPT));
    }
    // An error of the library may repeat what it could not read.
    PrivateKeyDer::from_pem_slice(pem)
        .map_err(|_| Wrong::Key("a file without a usable key".to_owned(), GIVE_KEY))
}

/// Checks a chain, and returns the seconds in which its leaf is valid.
fn check_chain(
    chain: &[CertificateDer<'_>],
    purpose: Purpose,
    now: SystemTime,
) -> Result<RangeInclusive<i64>, Wrong> {
    let mut certificates = Vec::new();
    for (at, der) in chain.iter().enumerate() {
        let (_, certificate) = X509Certificate::from_der(der).map_err(|_| {
            let what = format!("certificate {} cannot be read", at + 1);
            Wrong::Certificate(what, GIVE_CERTIFICATE)
        })?;
        certificates.push(certificate);
    }
    for (at, pair) in certificates.windows(2).enumerate() {
        if let [one, next] = pair
            && one.issuer().as_raw() != next.subject().as_raw()
        {
            let what = format!(
                "a chain in the wrong order: certificate {} was not issued by certificate {}",
                at + 1,
                at + 2
            );
            return Err(Wrong::Certificate(what, REORDER));
        }
    }
    let seconds = now
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs());
    let now = i64::try_from(seconds).unwrap_or(i64::MAX);
    for (at, certificate) in certificates.iter().enumerate() {
        let validity = certificate.validity();
        let (from, to) = (
            validity.not_before.timestamp(),
            validity.not_after.timestamp(),
        );
        let which = if at == 0 {
            "a certificate".to_owned()
        } else {
            format!("certificate {}", at + 1)
        };
        if to < now {
            let what = format!("{which} that expired at {}", written(to));
            return Err(Wrong::Certificate(
                what,
                "write a certificate that is valid, and check the clock",
            ));
        }
        if from > now {
            let what = format!("{which} that is not valid before {}", written(from));
            return Err(Wrong::Certificate(what, "wait, or check the clock"));
        }
    }
    let leaf = certificates.first();
    let (names, valid) = leaf.map_or((0, 0..=0), |leaf| {
        let names = leaf.subject_alternative_name().ok().flatten();
        let validity = leaf.validity();
        (
            names.map_or(0, |names| names.value.general_names.len()),
            validity.not_before.timestamp()..=validity.not_after.timestamp(),
        )
    });
    if purpose == Purpose::Server && names == 0 {
        let what =
            "a certificate without a subject alternative name, so no client finds a name in it";
        let remedy = "issue it for the names that clients call; `referral-gateway certificate DIR --name NAME` makes one";
        return Err(Wrong::Certificate(what.to_owned(), remedy));
    }
    Ok(valid)
}

/// A time in seconds since 1970, as people read it.
pub fn written(seconds: i64) -> String {
    let Ok(seconds) = u64::try_from(seconds) else {
        return "a time before 1970".to_owned();
    };
    match UNIX_EPOCH.checked_add(Duration::from_secs(seconds)) {
        // The last second of the year 9999.
        Some(time) if seconds < 253_402_300_800 => {
            humantime::format_rfc3339_seconds(time).to_string()
        }
        _ => "a time after the year 9999".to_owned(),
    }
}
