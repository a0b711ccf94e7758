//! The contents of the files that settings name: token, keys and certificates.

use std::path::Path;

use rustls::pki_types::{CertificateDer, pem::PemObject};
use secrecy::SecretString;

use super::{files::Files, value::Fault};
use crate::{tenant::KeySet, upstream, yaml};

/// The contents of the files that settings name.
pub(super) struct Contents {
    /// Of `admin.token_file`.
    pub(super) token: Option<SecretString>,
    /// Of `upstream.ca_file`.
    pub(super) authorities: Vec<CertificateDer<'static>>,
    /// Of `tenants.jwks_file`.
    pub(super) key_set: Option<KeySet>,
}

pub(super) fn token(path: &Path, files: &mut Files) -> Result<SecretString, Fault> {
    let text = text(path, files)?;
    let token = text.trim();
    if token.len() < 16 || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        let remedy = "write at least 16 letters, digits or signs, and nothing else, for example from `openssl rand -hex 32`";
        return Err(Fault::new("a file without a usable token", remedy));
    }
    Ok(SecretString::from(token))
}

pub(super) fn key_set(path: &Path, files: &mut Files) -> Result<KeySet, Fault> {
    let text = text(path, files)?;
    let remedy = "save in it what the `jwks_uri` of the tokens' issuer answers";
    if text.len() > yaml::MAX_BYTES {
        return Err(Fault::new(too_large(), remedy));
    }
    KeySet::parse(&text).map_err(|error| Fault::new(error.to_string(), remedy))
}

pub(super) fn certificates(
    path: &Path,
    files: &mut Files,
) -> Result<Vec<CertificateDer<'static>>, Fault> {
    let remedy = "give a PEM file with at least one certificate, readable by this user";
    let wrong = |what: String| Fault::new(what, remedy);
    let bytes = files
        .bytes_of(path)
        .map_err(|error| wrong(yaml::unreadable(&error).0))?;
    if bytes.len() > yaml::MAX_BYTES {
        return Err(wrong(too_large()));
    }
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    let certificates = certificates.map_err(|error| wrong(format!("not PEM: {error}")))?;
    if certificates.is_empty() {
        return Err(wrong("no certificate in that file".to_owned()));
    }
    for certificate in &certificates {
        upstream::check_authority(certificate)
            .map_err(|error| wrong(format!("a file with an unusable certificate: {error}")))?;
    }
    Ok(certificates)
}

fn text(path: &Path, files: &mut Files) -> Result<String, Fault> {
    let text = files.text_of(path);
    text.map_err(|error| Fault::new(error.what, error.remedy))
}

fn too_large() -> String {
    format!("more than {} bytes", yaml::MAX_BYTES)
}
