//! How the gateway verifies that the upstream is genuine.

use http::uri::Scheme;
use rustls::{RootCertStore, pki_types::CertificateDer};
use tracing::info;

use super::settings::{Settings, SetupError, Target};

/// How the upstream shows that it is the upstream.
pub struct Trust {
    pub(super) config: rustls::ClientConfig,
    /// How many certificates are trusted; none where the target needs no TLS.
    roots: usize,
}

impl Trust {
    /// The platform's certificates, which are read anew, and those of the settings.
    ///
    /// # Errors
    ///
    /// When there is nothing to trust the upstream by.
    pub fn load(settings: &Settings) -> Result<Self, SetupError> {
        let mut roots = RootCertStore::empty();
        let is_tls =
            matches!(&settings.target, Target::Service { scheme, .. } if *scheme == Scheme::HTTPS);
        if is_tls {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            if roots.is_empty() {
                roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
            }
            for authority in &settings.authorities {
                roots.add(authority.clone())?;
            }
            if roots.is_empty() {
                return Err(SetupError::NoRoots);
            }
        }
        let count = roots.len();
        let config = rustls::ClientConfig::builder().with_root_certificates(roots);
        Ok(Self {
            config: config.with_no_client_auth(),
            roots: count,
        })
    }

    /// The log may not have begun when the certificates are loaded, so this is told where they come into force.
    pub(super) fn tell(&self) {
        if self.roots > 0 {
            info!(roots = self.roots, "Loaded trusted certificates");
        }
    }
}

/// Whether a certificate can be trusted at all.
///
/// # Errors
///
/// When it is none, or of a form that cannot be used.
pub fn check_authority(certificate: &CertificateDer<'_>) -> Result<(), rustls::Error> {
    RootCertStore::empty().add(certificate.clone().into_owned())
}
