//! How the gateway verifies that the upstream is genuine.

use std::{ops::RangeInclusive, sync::Arc};

use http::uri::Scheme;
use rustls::{RootCertStore, client::WebPkiServerVerifier, pki_types::CertificateDer};
use tracing::info;

use super::issuer::{Shown, Verifier};
use super::settings::{Settings, SetupError, Target};

/// The certificates that the platform trusts, or `SSL_CERT_FILE` names; if there are none, those of Mozilla.
pub fn platform_roots() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    }
    roots
}

/// The certificates that the upstream is verified by.
pub struct Trust {
    pub(super) config: rustls::ClientConfig,
    /// None if the target does not use TLS.
    verifier: Option<Arc<WebPkiServerVerifier>>,
    /// The number of trusted certificates; 0 if the target does not use TLS.
    roots: usize,
    /// The seconds since 1970 in which the certificate that the gateway shows is valid.
    pub(super) client_valid: Option<RangeInclusive<i64>>,
}

impl Trust {
    /// Reads the platform's certificates, and adds those of the settings.
    ///
    /// # Errors
    ///
    /// When no certificate is trusted.
    pub fn load(settings: &Settings) -> Result<Self, SetupError> {
        let mut roots = RootCertStore::empty();
        let is_tls =
            matches!(&settings.target, Target::Service { scheme, .. } if *scheme == Scheme::HTTPS);
        if is_tls {
            roots = platform_roots();
            for authority in &settings.authorities {
                roots.add(authority.clone())?;
            }
            if roots.is_empty() {
                return Err(SetupError::NoRoots);
            }
        }
        let count = roots.len();
        let config = rustls::ClientConfig::builder();
        let verifier = match roots.is_empty() {
            true => None,
            false => Some(WebPkiServerVerifier::builder(Arc::new(roots)).build()?),
        };
        let config = match &verifier {
            // Without TLS nothing is verified.
            None => config.with_root_certificates(RootCertStore::empty()),
            Some(verifier) => config
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(Verifier::new(Arc::clone(verifier)))),
        };
        let config = match &settings.client {
            None => config.with_no_client_auth(),
            Some(client) => config.with_client_auth_cert(client.chain(), client.key())?,
        };
        Ok(Self {
            config,
            verifier,
            roots: count,
            client_valid: settings.client.as_ref().map(|client| client.valid.clone()),
        })
    }

    /// The same trust, which also shows every certificate that it is asked about, trusted or not.
    pub(super) fn showing(mut self, shown: &Shown) -> Self {
        if let Some(verifier) = &self.verifier {
            let verifier = Verifier::new(Arc::clone(verifier)).showing(shown);
            self.config
                .dangerous()
                .set_certificate_verifier(Arc::new(verifier));
        }
        self
    }

    /// Logs the number of trusted certificates. Called when they come into force: the log may not have started when they are loaded.
    pub(super) fn tell(&self) {
        if self.roots > 0 {
            info!(roots = self.roots, "Loaded trusted certificates");
        }
    }
}

/// Checks that a certificate can be trusted.
///
/// # Errors
///
/// When it is not a certificate, or not a usable one.
pub fn check_authority(certificate: &CertificateDer<'_>) -> Result<(), rustls::Error> {
    RootCertStore::empty().add(certificate.clone().into_owned())
}
