//! Bearer tokens in the shape of Entra ID's: signed by nobody, or by an issuer of the test.

use std::{sync::LazyLock, time::SystemTime};

use aws_lc_rs::{
    rand::SystemRandom,
    rsa::KeySize,
    signature::{KeyPair as _, RSA_PKCS1_SHA256, RsaKeyPair},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD as BASE64};
use serde_json::{Value, json};

/// A tenant used where no other matters.
pub(crate) const TENANT: &str = "11111111-aaaa-4000-8000-000000000001";

/// A token of one user of one application of one tenant.
pub(crate) fn token(tid: &str, oid: &str, appid: &str) -> String {
    signed(tid, oid, appid, "genuine")
}

/// The same claims under another signature: another credential, possibly a forged one.
pub(crate) fn signed(tid: &str, oid: &str, appid: &str, signature: &str) -> String {
    with_claims(
        &json!({ "aud": "https://api.partner.microsoft.com", "tid": tid, "oid": oid, "appid": appid, "exp": in_an_hour() }),
        signature,
    )
}

/// A token with exactly these claims.
pub(crate) fn with_claims(claims: &Value, signature: &str) -> String {
    let header = json!({ "typ": "JWT", "alg": "RS256" });
    let part = |text: String| BASE64.encode(text);
    format!(
        "{}.{}.{}",
        part(header.to_string()),
        part(claims.to_string()),
        part(signature.to_owned())
    )
}

/// The token sent where a test names none.
pub(crate) fn usual() -> String {
    token(
        TENANT,
        "22222222-bbbb-4000-8000-000000000002",
        "33333333-cccc-4000-8000-000000000003",
    )
}

/// An hour after the first call, in Unix seconds: the same claims are the same token all along.
pub(crate) fn in_an_hour() -> u64 {
    static EXPIRY: LazyLock<u64> = LazyLock::new(|| {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        now.unwrap().as_secs() + 3600
    });
    *EXPIRY
}

/// Somebody who signs tokens.
#[derive(Debug)]
pub(crate) struct Issuer(RsaKeyPair);

impl Issuer {
    pub(crate) fn new() -> Self {
        Self(RsaKeyPair::generate(KeySize::Rsa2048).unwrap())
    }

    /// The key set that the issuer publishes.
    pub(crate) fn key_set(&self) -> String {
        // RSAPublicKey (RFC 8017 A.1.1) ends with the modulus and the exponent 65537.
        let public = self.0.public_key().as_ref();
        let public = public.strip_suffix(&[2, 3, 1, 0, 1]).unwrap();
        let modulus = BASE64.encode(&public[public.len() - 256..]);
        json!({ "keys": [{ "kty": "RSA", "use": "sig", "kid": "key", "n": modulus, "e": "AQAB" }] })
            .to_string()
    }

    /// A token of one user of one tenant; `jti` tells two such tokens apart.
    pub(crate) fn token(&self, tid: &str, oid: &str, jti: &str) -> String {
        let header = json!({ "typ": "JWT", "alg": "RS256", "kid": "key" });
        let claims =
            json!({ "tid": tid, "oid": oid, "appid": "app", "jti": jti, "exp": in_an_hour() });
        let signed = [header, claims]
            .map(|part| BASE64.encode(part.to_string()))
            .join(".");
        let mut signature = vec![0; self.0.public_modulus_len()];
        let random = SystemRandom::new();
        self.0
            .sign(
                &RSA_PKCS1_SHA256,
                &random,
                signed.as_bytes(),
                &mut signature,
            )
            .unwrap();
        format!("{signed}.{}", BASE64.encode(signature))
    }
}
