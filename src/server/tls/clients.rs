//! Which clients a listener takes, by their certificates.

use std::sync::Arc;

use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, OtherError, SignatureScheme,
    client::danger::HandshakeSignatureValid,
    pki_types::{CertificateDer, UnixTime},
    server::danger::{ClientCertVerified, ClientCertVerifier},
};

use crate::identity::{Name, names_of};

/// The certificate is valid, but has no name that the settings list.
#[derive(Debug, thiserror::Error)]
#[error("no name in the client's certificate is listed")]
pub(super) struct Unlisted;

/// rustls' own verifier, and the names that are taken.
#[derive(Debug)]
pub(super) struct Clients {
    verifier: Arc<dyn ClientCertVerifier>,
    /// None: all that the verifier takes.
    names: Vec<Name>,
}

impl Clients {
    pub(super) fn new(verifier: Arc<dyn ClientCertVerifier>, names: Vec<Name>) -> Self {
        Self { verifier, names }
    }
}

impl ClientCertVerifier for Clients {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.verifier.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        let verified = self
            .verifier
            .verify_client_cert(certificate, intermediates, now)?;
        if self.names.is_empty()
            || names_of(certificate)
                .iter()
                .any(|name| self.names.contains(name))
        {
            return Ok(verified);
        }
        Err(CertificateError::Other(OtherError(Arc::new(Unlisted))).into())
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
