//! The CA and the public roots in one file, for clients whose setting replaces the public roots.

use std::{
    collections::HashSet,
    env,
    path::{Path, PathBuf},
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use rustls::pki_types::CertificateDer;

use super::{
    authority::Authority,
    files::{Folder, Item},
};

/// A bundle; without public roots it has no text, since a client would lose them without a word.
pub(super) struct Bundle {
    pub(super) pem: Option<String>,
    roots: usize,
    pub(super) warnings: Vec<String>,
}

impl Bundle {
    /// The CA and the roots that this machine trusts.
    pub(super) fn of(folder: &Folder, authority: &Authority) -> Self {
        let mut warnings = Vec::new();
        let named = env::var_os("SSL_CERT_FILE").map(PathBuf::from);
        if named.is_some_and(|named| same_file(&named, &folder.path_of(Item::Bundle))) {
            warnings.push(
                "SSL_CERT_FILE names the old bundle.pem, so the public roots were taken from it: unset it for this command"
                    .to_owned(),
            );
        }
        let roots = roots(&authority.certificate);
        if roots.is_empty() {
            let mut variables = ["SSL_CERT_FILE", "SSL_CERT_DIR"].into_iter();
            let remedy = match variables.find(|name| env::var_os(name).is_some()) {
                Some(variable) => format!("unset {variable}, which names others"),
                None => "install ca-certificates".to_owned(),
            };
            warnings.push(format!(
                "this machine has no public roots, so bundle.pem was not written: {remedy}, then run the command with --renew"
            ));
        }
        let all = [&authority.certificate].into_iter().chain(&roots);
        Self {
            pem: (!roots.is_empty()).then(|| all.map(pem).collect()),
            roots: roots.len(),
            warnings,
        }
    }

    /// The number of public roots; none if there is no bundle.
    pub(super) fn roots(&self) -> Option<usize> {
        self.pem.as_ref().map(|_| self.roots)
    }
}

/// The roots of this machine without our own, each once, and without those that verifiers cannot read.
fn roots(own: &CertificateDer<'static>) -> Vec<CertificateDer<'static>> {
    let mut seen = HashSet::from([own.clone()]);
    let certificates = rustls_native_certs::load_native_certs().certs;
    certificates
        .into_iter()
        .filter(|root| webpki::anchor_from_trusted_cert(root).is_ok() && seen.insert(root.clone()))
        .collect()
}

fn same_file(one: &Path, other: &Path) -> bool {
    let [real, other_real] = [one, other].map(|path| path.canonicalize().ok());
    one == other || real.is_some() && real == other_real
}

/// A certificate as PEM.
fn pem(certificate: &CertificateDer<'static>) -> String {
    let text = BASE64_STANDARD.encode(certificate);
    let lines = text.as_bytes().chunks(64).map(String::from_utf8_lossy);
    let lines: Vec<_> = lines.collect();
    format!(
        "-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n",
        lines.join("\n")
    )
}
