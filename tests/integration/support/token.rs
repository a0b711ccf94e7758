//! Bearer tokens in the shape of Entra ID's, signed by nobody.

use std::{sync::LazyLock, time::SystemTime};

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
