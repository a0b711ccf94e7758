//! Names the issuer of a certificate that is not trusted, which rustls' own error does not.

use std::sync::{Arc, Mutex, PoisonError};

use rustls::{
    CertificateError, DigitallySignedStruct, OtherError, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    pki_types::{CertificateDer, ServerName, UnixTime},
};

use super::bounded::bounded;

#[cfg(test)]
mod tests;

/// The certificate's issuer is not trusted.
#[derive(Debug, thiserror::Error)]
#[error("unknown issuer: {}", .issuer.as_deref().unwrap_or("unnamed"))]
pub(super) struct UnknownIssuer {
    /// Its name, bounded; none if it cannot be read.
    pub(super) issuer: Option<String>,
}

/// rustls' own verifier; its verdict on an unknown issuer names the issuer.
#[derive(Debug)]
pub(super) struct Verifier {
    verifier: Arc<WebPkiServerVerifier>,
    shown: Option<Shown>,
}

/// The chain that the other side has shown last, its own certificate first.
#[derive(Debug, Clone, Default)]
pub(super) struct Shown(Arc<Mutex<Vec<CertificateDer<'static>>>>);

impl Shown {
    /// The certificates.
    pub(super) fn chain(&self) -> Vec<CertificateDer<'static>> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn put<'c>(&self, chain: impl Iterator<Item = &'c CertificateDer<'c>>) {
        let chain = chain.map(|certificate| certificate.clone().into_owned());
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = chain.collect();
    }
}

impl Verifier {
    pub(super) fn new(verifier: Arc<WebPkiServerVerifier>) -> Self {
        Self {
            verifier,
            shown: None,
        }
    }

    /// The same, which also keeps the chains that it is asked about.
    pub(super) fn showing(self, shown: &Shown) -> Self {
        Self {
            shown: Some(shown.clone()),
            ..self
        }
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if let Some(shown) = &self.shown {
            shown.put([certificate].into_iter().chain(intermediates));
        }
        let verdict =
            self.verifier
                .verify_server_cert(certificate, intermediates, name, ocsp_response, now);
        verdict.map_err(|error| match error {
            rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer) => {
                // The end of the chain: whoever issued it is the one to trust.
                let last = intermediates.last().unwrap_or(certificate);
                let unknown = UnknownIssuer {
                    issuer: issuer(last).or_else(|| issuer(certificate)),
                };
                CertificateError::Other(OtherError(Arc::new(unknown))).into()
            }
            other => other,
        })
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.verifier
            .verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.verifier
            .verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.verifier.supported_verify_schemes()
    }
}

/// Attributes of a name (RFC 5280 4.1.2.4), by the contents of their object identifiers.
const ATTRIBUTES: [(&str, &[u8]); 3] = [
    ("CN", &[0x55, 0x04, 0x03]),
    ("O", &[0x55, 0x04, 0x0a]),
    ("OU", &[0x55, 0x04, 0x0b]),
];
/// DER's tags of texts in UTF-8 or a part of it: `UTF8String`, `PrintableString`, `TeletexString`, `IA5String`.
const TEXTS: [u8; 4] = [0x0c, 0x13, 0x14, 0x16];
/// The longest value of an attribute that is shown, in characters. RFC 5280 has 64.
const MAX_VALUE: usize = 64;

/// The issuer's name as people write it, for example `CN=Example Root, O=Example`.
fn issuer(certificate: &CertificateDer<'_>) -> Option<String> {
    let certificate = webpki::EndEntityCert::try_from(certificate).ok()?;
    name(certificate.issuer())
}

/// A name as people write it, from the contents of its sequence.
pub(super) fn name(mut rest: &[u8]) -> Option<String> {
    let mut values = Vec::new();
    while let Some((_, set, after)) = element(rest) {
        rest = after;
        values.extend(attribute(set));
    }
    let of = |wanted: &str| {
        let value = values.iter().find(|(name, _)| *name == wanted);
        value.map(|(name, value)| format!("{name}={value}"))
    };
    let shown: Vec<_> = ATTRIBUTES.iter().filter_map(|(name, _)| of(name)).collect();
    (!shown.is_empty()).then(|| shown.join(", "))
}

/// The name and the value of the only attribute in a set.
fn attribute(set: &[u8]) -> Option<(&'static str, String)> {
    let (_, pair, _) = element(set)?;
    let (_, identifier, value) = element(pair)?;
    let (name, _) = ATTRIBUTES.iter().find(|(_, id)| *id == identifier)?;
    let (tag, value, _) = element(value)?;
    let is_text = TEXTS.contains(&tag);
    is_text.then(|| (*name, bounded(&String::from_utf8_lossy(value), MAX_VALUE)))
}

/// Tag and contents of the first DER element, and what follows it.
pub(super) fn element(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = der.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        0x81 => {
            let (&length, rest) = rest.split_first()?;
            (usize::from(length), rest)
        }
        0x82 => {
            let (length, rest) = rest.split_first_chunk::<2>()?;
            (usize::from(u16::from_be_bytes(*length)), rest)
        }
        // No name is that long.
        _ => return None,
    };
    let (contents, after) = rest.split_at_checked(length)?;
    Some((tag, contents, after))
}
