//! The contents of the files that settings name: token, keys and certificates.

use std::{path::Path, time::SystemTime};

use rustls::pki_types::{CertificateDer, pem::PemObject};
use secrecy::SecretString;

use super::{files::Files, value::Fault};
use crate::{
    identity::{Identity, Purpose, Wrong},
    server::tls,
    tenant::KeySet,
    upstream, yaml,
};

/// The contents of the files that settings name.
pub(super) struct Contents {
    /// Of `admin.token_file`.
    pub(super) token: Option<SecretString>,
    /// Of the files in `tls`.
    pub(super) tls: Option<tls::Settings>,
    /// Of the files in `telemetry.tls`.
    pub(super) telemetry_tls: Option<tls::Settings>,
    /// Of `upstream.ca_file`.
    pub(super) authorities: Vec<CertificateDer<'static>>,
    /// Of `upstream.client_cert_file` and `upstream.client_key_file`.
    pub(super) client: Option<Identity>,
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
    let bytes = bytes(path, files).map_err(wrong)?;
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

/// A certificate and its key. Of the two files, the fault names the one that is wrong.
pub(super) fn identity(
    certificate: &Path,
    key: &Path,
    purpose: Purpose,
    files: &mut Files,
) -> Result<Identity, Wrong> {
    let readable = "write the path of a file that this user can read";
    let certificate = bytes(certificate, files).map_err(|what| Wrong::Certificate(what, readable));
    let key = bytes(key, files).map_err(|what| Wrong::Key(what, readable));
    Identity::of_pem(&certificate?, &key?, purpose, SystemTime::now())
}

/// The bytes of a file, or why there are none.
fn bytes(path: &Path, files: &mut Files) -> Result<Vec<u8>, String> {
    let bytes = files
        .bytes_of(path)
        .map_err(|error| yaml::unreadable(&error).0)?;
    match bytes.len() {
        ..=yaml::MAX_BYTES => Ok(bytes),
        _ => Err(too_large()),
    }
}

fn text(path: &Path, files: &mut Files) -> Result<String, Fault> {
    let text = files.text_of(path);
    text.map_err(|error| Fault::new(error.what, error.remedy))
}

fn too_large() -> String {
    format!("more than {} bytes", yaml::MAX_BYTES)
}
