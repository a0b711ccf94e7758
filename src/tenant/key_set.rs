//! The keys that verify bearer tokens: a JSON Web Key Set (RFC 7517), and RS256 (RFC 7515, RFC 7518 3.3).

use std::{
    collections::{HashMap, hash_map::Entry},
    fmt,
    sync::Arc,
};

use aws_lc_rs::signature::{ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, de::IgnoredAny};

/// The only algorithm. A token must name it, but never chooses.
const ALGORITHM: &str = "RS256";

/// The public keys of the token issuers, by `kid`.
#[derive(Clone)]
pub struct KeySet(Arc<HashMap<Option<String>, ParsedPublicKey>>);

/// Why a text is not a set of usable keys.
#[derive(Debug, thiserror::Error)]
pub enum BadKeySet {
    /// Not a key set. The text is not repeated: it may be a secret that was named by mistake.
    #[error("not a JSON Web Key Set (line {line}, column {column})")]
    Malformed {
        /// The line, counted from 1.
        line: usize,
        /// The column, counted from 1.
        column: usize,
    },
    /// No key of the set can verify an RS256 signature.
    #[error("no RSA key of 2048 to 8192 bits for RS256 signatures is in the set")]
    NoUsableKey,
    /// Two keys have the same `kid`: recipients differ in which one they use.
    #[error("two different keys have the same `kid`, or none")]
    Ambiguous,
}

#[derive(Deserialize)]
struct Text {
    keys: Vec<Jwk>,
}

/// One key as written. Other members do not matter for RSA keys for signatures.
#[derive(Deserialize)]
struct Jwk {
    kty: String,
    r#use: Option<String>,
    key_ops: Option<Vec<String>>,
    alg: Option<String>,
    kid: Option<String>,
    n: Option<String>,
    e: Option<String>,
}

/// The header of a token, which names its signature.
#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    crit: Option<IgnoredAny>,
}

impl KeySet {
    /// Reads a JSON Web Key Set. Keys of other types and for other purposes are skipped, as RFC 7517 5 asks.
    ///
    /// # Errors
    ///
    /// When it is not a key set, has no usable key, or has two with the same `kid`.
    pub fn parse(text: &str) -> Result<Self, BadKeySet> {
        let Text { keys } = serde_json::from_str(text).map_err(|error| BadKeySet::Malformed {
            line: error.line(),
            column: error.column(),
        })?;
        let mut usable = HashMap::new();
        for key in keys {
            let Some(public) = key.public() else { continue };
            match usable.entry(key.kid) {
                Entry::Vacant(place) => drop(place.insert(public)),
                Entry::Occupied(place) if place.get().as_ref() == public.as_ref() => {}
                Entry::Occupied(_) => return Err(BadKeySet::Ambiguous),
            }
        }
        if usable.is_empty() {
            return Err(BadKeySet::NoUsableKey);
        }
        Ok(Self(Arc::new(usable)))
    }

    /// Whether the key that a token names has signed it.
    pub fn verifies(&self, token: &[u8]) -> bool {
        self.check(token).is_some()
    }

    fn check(&self, token: &[u8]) -> Option<()> {
        let (signed, signature) = std::str::from_utf8(token).ok()?.rsplit_once('.')?;
        let (header, payload) = signed.split_once('.')?;
        let header: Header = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(header).ok()?).ok()?;
        // RFC 7515 4.1.11: a recipient that does not understand a critical field must refuse the token.
        if header.alg != ALGORITHM || header.crit.is_some() || payload.contains('.') {
            return None;
        }
        let key = match header.kid {
            None if self.0.len() == 1 => self.0.values().next()?,
            None => return None,
            named => self.0.get(&named)?,
        };
        let signature = URL_SAFE_NO_PAD.decode(signature).ok()?;
        key.verify_sig(signed.as_bytes(), &signature).ok()
    }
}

impl Jwk {
    /// The key, if it is one for RS256 signatures.
    fn public(&self) -> Option<ParsedPublicKey> {
        let is_for_signatures = self.kty == "RSA"
            && self.r#use.as_deref().is_none_or(|purpose| purpose == "sig")
            && self.alg.as_deref().is_none_or(|alg| alg == ALGORITHM)
            && self
                .key_ops
                .as_deref()
                .is_none_or(|operations| operations.iter().any(|name| name == "verify"));
        if !is_for_signatures {
            return None;
        }
        let n = URL_SAFE_NO_PAD.decode(self.n.as_deref()?).ok()?;
        let e = URL_SAFE_NO_PAD.decode(self.e.as_deref()?).ok()?;
        // The library checks the size only when it verifies.
        let bits = 8 * n.len() - n.first()?.leading_zeros() as usize;
        if !(2048..=8192).contains(&bits) {
            return None;
        }
        RsaPublicKeyComponents { n, e }
            .to_parsed_public_key(&RSA_PKCS1_2048_8192_SHA256)
            .ok()
    }
}

/// The same keys with the same `kid`s.
impl PartialEq for KeySet {
    fn eq(&self, other: &Self) -> bool {
        let same = |key: &ParsedPublicKey, other: &ParsedPublicKey| key.as_ref() == other.as_ref();
        self.0.len() == other.0.len()
            && self
                .0
                .iter()
                .all(|(kid, key)| other.0.get(kid).is_some_and(|other| same(key, other)))
    }
}

impl fmt::Debug for KeySet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeySet({} keys)", self.0.len())
    }
}
