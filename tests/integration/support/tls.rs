//! A certification authority of a test, and what it signs.

use std::sync::Arc;

use rcgen::{
    BasicConstraints, Certificate, CertificateParams, DistinguishedName, DnType, IsCa, Issuer,
    KeyPair,
};
use rustls::{
    ClientConfig, ConfigBuilder, RootCertStore, ServerConfig, SupportedProtocolVersion,
    WantsVerifier,
    client::WantsClientCert,
    crypto::CryptoProvider,
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, pem::PemObject as _},
    server::{WantsServerCert, WebPkiClientVerifier},
    version::{TLS12, TLS13},
};

/// A name that the server has beside its address, and that no resolver knows.
pub(crate) const NAME: &str = "partner.invalid";

/// The name of the authority.
pub(crate) const AUTHORITY: &str = "Test Inspection CA";

/// The authority's certificate as PEM, and a server for this machine and [`NAME`] that speaks `protocols`.
pub(crate) fn identity(protocols: &[&str]) -> (String, Arc<ServerConfig>) {
    let server = Server::new();
    let authority = server.authority.clone();
    (authority, server.speaking(protocols))
}

/// A server with a certificate that its authority, [`AUTHORITY`], has signed.
pub(crate) struct Server {
    /// The authority's certificate as PEM.
    pub(crate) authority: String,
    certificate: Certificate,
    key: KeyPair,
}

impl Server {
    /// One for this machine and [`NAME`].
    pub(crate) fn new() -> Self {
        Self::with(|_| {})
    }

    /// The same, by an authority of another name.
    pub(crate) fn by(authority: &str) -> Self {
        Self::signed(authority, |_| {})
    }

    /// The same, with a certificate that `change` has changed.
    pub(crate) fn with(change: impl FnOnce(&mut CertificateParams)) -> Self {
        Self::signed(AUTHORITY, change)
    }

    fn signed(name: &str, change: impl FnOnce(&mut CertificateParams)) -> Self {
        let authority_key = KeyPair::generate().unwrap();
        let mut authority = CertificateParams::new(Vec::<String>::new()).unwrap();
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        authority.distinguished_name = DistinguishedName::new();
        for (kind, value) in [
            (DnType::OrganizationName, "Test & Sons"),
            (DnType::CommonName, name),
        ] {
            authority.distinguished_name.push(kind, value);
        }
        let authority_certificate = authority.self_signed(&authority_key).unwrap();
        let issuer = Issuer::from_params(&authority, &authority_key);

        let key = KeyPair::generate().unwrap();
        let names = ["127.0.0.1", "localhost", NAME].map(str::to_owned);
        let mut params = CertificateParams::new(names).unwrap();
        change(&mut params);
        let certificate = params.signed_by(&key, &issuer).unwrap();
        Self {
            authority: authority_certificate.pem(),
            certificate,
            key,
        }
    }

    /// Its certificate and its key as PEM.
    pub(crate) fn pem(&self) -> (String, String) {
        (self.certificate.pem(), self.key.serialize_pem())
    }

    /// Its side of TLS.
    pub(crate) fn speaking(self, protocols: &[&str]) -> Arc<ServerConfig> {
        self.config(protocols, builder(&[&TLS13, &TLS12]).with_no_client_auth())
    }

    /// The same for clients that show a certificate, in that version of TLS.
    pub(crate) fn asking_for_a_certificate(
        self,
        version: &'static SupportedProtocolVersion,
    ) -> Arc<ServerConfig> {
        let mut roots = RootCertStore::empty();
        let root = CertificateDer::from_pem_slice(self.authority.as_bytes()).unwrap();
        roots.add(root).unwrap();
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider());
        let verifier = verifier.build().unwrap();
        self.config(&[], builder(&[version]).with_client_cert_verifier(verifier))
    }

    fn config(
        self,
        protocols: &[&str],
        builder: ConfigBuilder<ServerConfig, WantsServerCert>,
    ) -> Arc<ServerConfig> {
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(self.key.serialize_der()));
        let mut config = builder
            .with_single_cert(vec![self.certificate.der().clone()], key)
            .unwrap();
        config.alpn_protocols = protocols
            .iter()
            .map(|name| name.as_bytes().to_vec())
            .collect();
        Arc::new(config)
    }
}

/// A client that trusts the authority with this certificate, PEM, alone.
pub(crate) fn trusting(authority: &str) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    let root = CertificateDer::from_pem_slice(authority.as_bytes()).unwrap();
    roots.add(root).unwrap();
    ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth()
}

/// A certification authority, and what it issues.
pub(crate) struct Authority {
    params: CertificateParams,
    key: KeyPair,
    /// Its certificate as PEM.
    pub(crate) pem: String,
}

/// A certificate and its key, as PEM.
#[derive(Debug, Clone)]
pub(crate) struct Pair {
    pub(crate) certificate: String,
    pub(crate) key: String,
}

impl Authority {
    pub(crate) fn new(name: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        let pem = params.self_signed(&key).unwrap().pem();
        Self { params, key, pem }
    }

    /// A certificate for these names.
    pub(crate) fn issue(&self, names: &[&str]) -> Pair {
        self.issue_with(names, |_| {})
    }

    /// The same, as `change` has changed it.
    pub(crate) fn issue_with(
        &self,
        names: &[&str],
        change: impl FnOnce(&mut CertificateParams),
    ) -> Pair {
        let key = KeyPair::generate().unwrap();
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        change(&mut params);
        let issuer = Issuer::from_params(&self.params, &self.key);
        Pair {
            certificate: params.signed_by(&key, &issuer).unwrap().pem(),
            key: key.serialize_pem(),
        }
    }

    /// A client that trusts this authority alone.
    pub(crate) fn client(&self, version: &'static SupportedProtocolVersion) -> ClientConfig {
        self.trusting(version).with_no_client_auth()
    }

    /// The same, with a certificate of its own.
    pub(crate) fn client_as(
        &self,
        version: &'static SupportedProtocolVersion,
        own: &Pair,
    ) -> ClientConfig {
        let chain = CertificateDer::pem_slice_iter(own.certificate.as_bytes());
        let chain = chain.collect::<Result<_, _>>().unwrap();
        let key = PrivateKeyDer::from_pem_slice(own.key.as_bytes()).unwrap();
        self.trusting(version)
            .with_client_auth_cert(chain, key)
            .unwrap()
    }

    fn trusting(
        &self,
        version: &'static SupportedProtocolVersion,
    ) -> ConfigBuilder<ClientConfig, WantsClientCert> {
        let mut roots = RootCertStore::empty();
        let root = CertificateDer::from_pem_slice(self.pem.as_bytes()).unwrap();
        roots.add(root).unwrap();
        ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(&[version])
            .unwrap()
            .with_root_certificates(roots)
    }
}

impl Pair {
    /// The side of TLS of a server with this certificate.
    pub(crate) fn server(
        &self,
        versions: &[&'static SupportedProtocolVersion],
        protocols: &[&str],
    ) -> Arc<ServerConfig> {
        let chain = CertificateDer::pem_slice_iter(self.certificate.as_bytes());
        let chain = chain.collect::<Result<_, _>>().unwrap();
        let key = PrivateKeyDer::from_pem_slice(self.key.as_bytes()).unwrap();
        let builder = builder(versions).with_no_client_auth();
        let mut config = builder.with_single_cert(chain, key).unwrap();
        config.alpn_protocols = protocols
            .iter()
            .map(|name| name.as_bytes().to_vec())
            .collect();
        Arc::new(config)
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

fn builder(
    versions: &[&'static SupportedProtocolVersion],
) -> ConfigBuilder<ServerConfig, WantsVerifier> {
    ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(versions)
        .unwrap()
}
