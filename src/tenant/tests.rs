//! Who is who.

use std::{collections::HashSet, sync::LazyLock};

use aws_lc_rs::{
    hmac,
    rand::SystemRandom,
    rsa::KeySize,
    signature::{KeyPair as _, RSA_PKCS1_SHA256, RSA_PKCS1_SHA512, RsaEncoding, RsaKeyPair},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use http::HeaderValue;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::{proof::MAX_OUTCOMES, *};

fn tenants(header: Option<&'static str>) -> Tenants {
    tenants_by(header, None)
}

fn tenants_by(header: Option<&'static str>, key_set: Option<KeySet>) -> Tenants {
    let known = vec![Known {
        alias: "contoso".to_owned(),
        id: "TID-1".to_owned(),
    }];
    Tenants::new(&Settings {
        header: header.map(HeaderName::from_static),
        key_set,
        known,
    })
}

fn token(claims: &str) -> String {
    format!("Bearer e30.{}.c2ln", URL_SAFE_NO_PAD.encode(claims))
}

fn headers(fields: &[(&'static str, &str)]) -> HeaderMap {
    let pairs = fields.iter().map(|(name, value)| {
        (
            HeaderName::from_static(name),
            HeaderValue::from_str(value).expect("a value"),
        )
    });
    pairs.collect()
}

#[track_caller]
fn caller(tenants: &Tenants, fields: &[(&'static str, &str)]) -> Caller {
    tenants.identify(&headers(fields)).expect("one credential")
}

#[test]
fn the_tenant_is_the_tid_then_the_header_then_nobody() {
    let tenants = tenants(Some("x-tenant"));
    let tid = token(r#"{"tid":"tid-1","oid":"u","appid":"a"}"#);
    let by_token = caller(&tenants, &[("authorization", &tid), ("x-tenant", "other")]).tenant;
    assert_eq!(tenants.alias(by_token), Some("contoso"));
    assert_eq!(caller(&tenants, &[("x-tenant", "Tid-1")]).tenant, by_token);
    for blank in ["", " "] {
        let tenant = caller(&tenants, &[("x-tenant", blank)]).tenant;
        assert_eq!(tenant, caller(&tenants, &[]).tenant);
    }
    let opaque = caller(
        &tenants,
        &[("authorization", "Bearer opaque"), ("x-tenant", "tid-1")],
    );
    assert_eq!(opaque.tenant, by_token);
    let nobody = caller(&tenants, &[]).tenant;
    assert_ne!(nobody, by_token);
    assert_eq!(tenants.alias(nobody), None);
}

#[test]
fn users_and_applications_of_one_tenant_are_told_apart() {
    let tenants = tenants(None);
    let principal = |claims: &str| caller(&tenants, &[("authorization", &token(claims))]).principal;
    let one = principal(r#"{"tid":"t","oid":"u","appid":"a","exp":1}"#);
    assert_eq!(one, principal(r#"{"tid":"T","oid":"u","azp":"a","exp":2}"#));
    assert_ne!(one, principal(r#"{"tid":"t","oid":"v","appid":"a"}"#));
    assert_ne!(one, principal(r#"{"tid":"t","oid":"u","appid":"b"}"#));
    // Where one claim ends and the next begins counts.
    assert_ne!(
        principal(r#"{"tid":"t","oid":"ua","appid":"b"}"#),
        principal(r#"{"tid":"t","oid":"u","appid":"ab"}"#)
    );
    assert_ne!(
        principal(r#"{"tid":"t","oid":"","jti":"1"}"#),
        principal(r#"{"tid":"t","oid":"","jti":"2"}"#)
    );
    assert_ne!(
        principal(r#"{"tid":"t","jti":"1"}"#),
        principal(r#"{"tid":"t","jti":"2"}"#)
    );
}

#[test]
fn only_a_token_lets_callers_share_what_their_tenant_knows() {
    let tenants = tenants(Some("x-tenant"));
    let (one, other) = (
        token(r#"{"tid":"t","oid":"u"}"#),
        token(r#"{"tid":"t","oid":"v"}"#),
    );
    let scope = |fields: &[_]| caller(&tenants, fields).tenant_scope();
    let shared = scope(&[("authorization", &one)]);
    assert_eq!(scope(&[("authorization", &other)]), shared);
    let named = ("x-tenant", "t");
    let apart = HashSet::from([
        scope(&[("authorization", "Bearer a"), named]),
        scope(&[("authorization", "Bearer b"), named]),
        scope(&[("cookie", "c=d"), named]),
        scope(&[("authorization", "Bearer c")]),
        scope(&[("authorization", "Bearer d")]),
        shared,
    ]);
    assert_eq!(apart.len(), 6);
}

#[test]
fn a_credential_is_proven_only_by_the_upstream() {
    let tenants = tenants(None);
    let fields = [(
        "authorization",
        &*token(r#"{"tid":"t","oid":"u","exp":4102444800}"#),
    )];
    let first = caller(&tenants, &fields);
    assert!(!first.proven);
    tenants.prove(&first);
    assert!(caller(&tenants, &fields).proven);
    assert_eq!(caller(&tenants, &fields).principal, first.principal);
    let forged = token(r#"{"tid":"t","oid":"u","exp":4102444801}"#);
    assert!(!caller(&tenants, &[("authorization", &forged)]).proven);
    // A cookie beside the token, or another spelling of the scheme, makes no new caller.
    for (value, cookie) in [
        (fields[0].1.to_owned(), "a=b"),
        (fields[0].1.replace("Bearer ", "bearer\t "), "c=d"),
    ] {
        assert!(caller(&tenants, &[("authorization", &value), ("cookie", cookie)]).proven);
    }
    assert!(!caller(&tenants, &[("cookie", "a=b")]).proven);
    tenants.disprove(&first);
    assert!(!caller(&tenants, &fields).proven);
}

#[test]
fn a_proof_ends_with_its_token() {
    let tenants = tenants(None);
    let expired = token(r#"{"tid":"t","oid":"u","exp":1}"#);
    tenants.prove(&caller(&tenants, &[("authorization", &expired)]));
    assert!(!caller(&tenants, &[("authorization", &expired)]).proven);
}

#[test]
fn nobody_is_never_proven() {
    let tenants = tenants(None);
    tenants.prove(&caller(&tenants, &[]));
    assert!(!caller(&tenants, &[]).proven);
}

#[test]
fn two_credentials_in_one_field_are_refused() {
    let tenants = tenants(None);
    // {"tid":"a"}, {"tid":"b"}
    let (one, two) = ("e30.eyJ0aWQiOiJhIn0.x", "e30.eyJ0aWQiOiJiIn0.x");
    for (value, is_refused) in [
        (format!("Bearer {one}"), false),
        (format!("Bearer  {one} "), false),
        ("Bearer opaque+/=~-._".to_owned(), false),
        (format!("Basic {one}"), false),
        (one.to_owned(), false),
        ("Digest username=\"x\", realm=\"y\"".to_owned(), false),
        (format!("Bearer {one}, Bearer {two}"), true),
        (format!("Bearer {one},{two}"), true),
        (format!("Bearer {one};{two}"), true),
        (format!("bearer\t{one} {two}"), true),
        (format!("Bearer x, Bearer {one}"), true),
        (format!("Basic x, Bearer {one}, Bearer {two}"), true),
        (format!("{one},{two}"), true),
        (format!("Basic {one} {two}"), true),
    ] {
        let mut headers = HeaderMap::new();
        headers.insert("authorization", value.parse().expect("a value"));
        assert_eq!(tenants.identify(&headers).is_err(), is_refused, "{value}");
    }
}

#[test]
fn two_credentials_are_refused() {
    let tenants = tenants(None);
    assert!(
        tenants
            .identify(&headers(&[
                ("authorization", "Bearer a"),
                ("authorization", "Bearer b")
            ]))
            .is_err()
    );
}

#[test]
fn rubbish_in_a_token_is_nobody() {
    let tenants = tenants(None);
    let nobody = caller(&tenants, &[]).tenant;
    for value in [
        "",
        "Bearer",
        "Bearer ",
        "Bearer a.b.c",
        "Bearer a.b",
        "Basic dTpw",
        "Bearer ..",
        "Bearer e30.W10.x",
        "Bearer e30.e30.x",
    ] {
        assert_eq!(
            caller(&tenants, &[("authorization", value)]).tenant,
            nobody,
            "{value}"
        );
    }
    let credential = |value: &str| caller(&tenants, &[("authorization", value)]).credential;
    assert_eq!(credential("Bearer abc"), credential("bearer\tabc"));
    assert_ne!(credential("Bearer abc"), credential("Bearerabc"));
    assert_ne!(credential("Bearer abc"), credential("Bearer-abc"));
    let good = token(r#"{"tid":"t"}"#);
    assert_ne!(caller(&tenants, &[("authorization", &good)]).tenant, nobody);
    let (unsigned, _) = good.rsplit_once('.').expect("three parts");
    for odd in [&*token(r#"{"tid":7}"#), unsigned] {
        let tenant = caller(&tenants, &[("authorization", odd)]).tenant;
        assert_eq!(tenant, nobody, "{odd}");
    }
}

/// Somebody who signs tokens.
struct Issuer {
    key: RsaKeyPair,
    modulus: Vec<u8>,
}

impl Issuer {
    fn new(size: KeySize) -> Self {
        let key = RsaKeyPair::generate(size).expect("a key");
        // RSAPublicKey (RFC 8017 A.1.1) ends with the modulus and the exponent 65537.
        let public = key.public_key().as_ref();
        let public = public.strip_suffix(&[2, 3, 1, 0, 1]).expect("65537");
        let (_, modulus) = public.split_at(public.len() - size.len());
        let modulus = modulus.to_vec();
        Self { key, modulus }
    }

    /// The public key as it stands in a set.
    fn jwk(&self, changes: Value) -> Value {
        let mut jwk = json!({
            "kty": "RSA", "use": "sig", "e": "AQAB", "n": URL_SAFE_NO_PAD.encode(&self.modulus),
            "x5t": "of no use here",
        });
        change(&mut jwk, changes);
        jwk
    }

    fn sign(&self, header: &Value, claims: &Value) -> String {
        self.sign_as(&RSA_PKCS1_SHA256, header, claims)
    }

    fn sign_as(
        &self,
        encoding: &'static dyn RsaEncoding,
        header: &Value,
        claims: &Value,
    ) -> String {
        let parts = [header, claims].map(|part| URL_SAFE_NO_PAD.encode(part.to_string()));
        self.sign_text(encoding, &parts.join("."))
    }

    fn sign_text(&self, encoding: &'static dyn RsaEncoding, signed: &str) -> String {
        let mut signature = vec![0; self.key.public_modulus_len()];
        let random = SystemRandom::new();
        self.key
            .sign(encoding, &random, signed.as_bytes(), &mut signature)
            .expect("signed");
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}

/// Sets these members; null takes one away.
fn change(value: &mut Value, changes: Value) {
    let (Value::Object(members), Value::Object(changes)) = (value, changes) else {
        unreachable!("two objects");
    };
    for (name, value) in changes {
        if value.is_null() {
            members.remove(&name);
        } else {
            members.insert(name, value);
        }
    }
}

static TRUSTED: LazyLock<Issuer> = LazyLock::new(|| Issuer::new(KeySize::Rsa2048));
static OTHER: LazyLock<Issuer> = LazyLock::new(|| Issuer::new(KeySize::Rsa2048));

fn set(keys: &[Value]) -> Result<KeySet, String> {
    KeySet::parse(&json!({ "keys": keys }).to_string()).map_err(|error| error.to_string())
}

/// Trusts one key, by its name.
fn verifying(header: Option<&'static str>) -> Tenants {
    let trusted = TRUSTED.jwk(json!({ "kid": "trusted" }));
    tenants_by(header, Some(set(&[trusted]).expect("a set")))
}

fn rs256() -> Value {
    json!({ "typ": "JWT", "alg": "RS256", "kid": "trusted" })
}

/// The usual claims, good for an hour, and these.
fn claims_with(changes: Value) -> Value {
    let mut claims = json!({
        "tid": "tid-1", "oid": "u", "appid": "a", "exp": now().as_secs() + 3600, "nbf": now().as_secs(),
    });
    change(&mut claims, changes);
    claims
}

/// Signed by the trusted key.
fn good(changes: Value) -> String {
    TRUSTED.sign(&rs256(), &claims_with(changes))
}

fn sent(tenants: &Tenants, token: &str) -> Caller {
    caller(tenants, &[("authorization", &format!("Bearer {token}"))])
}

/// Believed or not, and what follows from that; asked twice, since the second answer is remembered.
#[track_caller]
fn check(tenants: &Tenants, token: &str, is_believed: bool) {
    for _ in 0..2 {
        let caller = sent(tenants, token);
        let credential = caller.credential.expect("a credential");
        assert!(!caller.proven, "{token}");
        if is_believed {
            assert_eq!(caller.payer, Payer::Tenant, "{token}");
            assert_eq!(tenants.alias(caller.tenant), Some("contoso"), "{token}");
            assert_ne!(caller.principal, credential, "{token}");
        } else {
            assert_eq!(caller.payer, Payer::Unproven(credential), "{token}");
            assert_eq!(tenants.name(caller.tenant), Name::Anonymous, "{token}");
            assert_eq!(caller.principal, credential, "{token}");
            assert_eq!(caller.tenant_scope(), credential, "{token}");
        }
    }
}

#[test]
fn claims_are_believed_if_the_named_key_has_signed_them() {
    let tenants = verifying(None);
    let claims = claims_with(json!({}));
    let with = |changes: Value| {
        let mut header = rs256();
        change(&mut header, changes);
        TRUSTED.sign(&header, &claims)
    };
    check(&tenants, &good(json!({})), true);
    check(&tenants, &with(json!({ "typ": null })), true);
    // The set has one key, so none needs to be named.
    check(&tenants, &with(json!({ "kid": null })), true);

    for changes in [
        json!({ "kid": "other" }),
        json!({ "kid": "" }),
        json!({ "kid": 7 }),
        json!({ "alg": "none" }),
        json!({ "alg": "HS256" }),
        json!({ "alg": "RS512" }),
        json!({ "alg": "rs256" }),
        json!({ "alg": null }),
        json!({ "crit": ["exp"] }),
        json!({ "crit": ["b64"], "b64": false }),
    ] {
        check(&tenants, &with(changes), false);
    }
    check(&tenants, &OTHER.sign(&rs256(), &claims), false);
    let [header, claims_part] =
        [&rs256(), &claims].map(|part| URL_SAFE_NO_PAD.encode(part.to_string()));
    for signed in [
        format!("{header}.{claims_part}.{claims_part}"),
        format!("{header}.{claims_part}."),
        header,
    ] {
        let token = TRUSTED.sign_text(&RSA_PKCS1_SHA256, &signed);
        check(&tenants, &token, false);
    }
    check(
        &tenants,
        &TRUSTED.sign_as(&RSA_PKCS1_SHA512, &rs256(), &claims),
        false,
    );
}

#[test]
fn the_public_key_is_no_secret_to_sign_with() {
    let tenants = verifying(None);
    let der = TRUSTED.key.public_key().as_ref();
    for secret in [der, &TRUSTED.modulus] {
        for alg in ["HS256", "RS256"] {
            let header = json!({ "alg": alg, "kid": "trusted" });
            let signed = [header, claims_with(json!({}))]
                .map(|part| URL_SAFE_NO_PAD.encode(part.to_string()))
                .join(".");
            let tag = hmac::sign(
                &hmac::Key::new(hmac::HMAC_SHA256, secret),
                signed.as_bytes(),
            );
            let token = format!("{signed}.{}", URL_SAFE_NO_PAD.encode(tag));
            check(&tenants, &token, false);
        }
    }
}

#[test]
fn a_token_that_was_changed_is_not_believed() {
    let tenants = verifying(None);
    let token = good(json!({ "tid": "another" }));
    let parts: Vec<&str> = token.split('.').collect();
    let [header, _, signature] = parts.try_into().expect("three parts");
    let payload = URL_SAFE_NO_PAD.encode(claims_with(json!({})).to_string());
    check(&tenants, &format!("{header}.{payload}.{signature}"), false);

    let token = good(json!({}));
    let (signed, signature) = token.rsplit_once('.').expect("a signature");
    let (header, payload) = signed.split_once('.').expect("a header");
    let mut flipped = URL_SAFE_NO_PAD.decode(signature).expect("base64");
    *flipped.last_mut().expect("a byte") ^= 1;
    for token in [
        format!("{signed}."),
        signed.to_owned(),
        format!("{signed}.{signature}A"),
        format!("{signed}.{signature}=="),
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(flipped)),
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode([0; 256])),
        format!("{token}."),
        format!("{token}.{signature}"),
        format!(".{token}"),
        format!("{header}.{payload}.{payload}.{signature}"),
        format!("{payload}.{header}.{signature}"),
        format!("{token}\u{e9}"),
    ] {
        check(&tenants, &token, false);
    }
    let joined = headers(&[("authorization", &format!("Bearer {token} x"))]);
    assert!(tenants.identify(&joined).is_err());
}

proptest! {
    #[test]
    fn no_letter_of_a_token_can_be_another(at in any::<prop::sample::Index>(), letter in any::<u8>()) {
        static TOKEN: LazyLock<String> = LazyLock::new(|| good(json!({})));
        let key_set = set(&[TRUSTED.jwk(json!({ "kid": "trusted" }))]).expect("a set");
        let mut token = TOKEN.clone().into_bytes();
        let place = at.get_mut(&mut token);
        let is_same = *place == letter;
        *place = letter;
        prop_assert_eq!(key_set.verifies(&token), is_same);
    }

    #[test]
    fn nothing_made_up_verifies(token in r"[A-Za-z0-9._=-]{0,60}|(e30|eyJhbGciOiJSUzI1NiJ9)\.[a-z.]{0,9}\.[A-Za-z0-9]{0,342}|\PC{0,20}") {
        let key_set = set(&[TRUSTED.jwk(json!({}))]).expect("a set");
        prop_assert!(!key_set.verifies(token.as_bytes()));
    }
}

#[test]
fn a_token_without_a_key_name_is_believed_only_where_there_is_one_key() {
    let (trusted, other) = (
        TRUSTED.jwk(json!({ "kid": "trusted" })),
        OTHER.jwk(json!({ "kid": "other" })),
    );
    let nameless = TRUSTED.jwk(json!({}));
    let unnamed = TRUSTED.sign(&json!({ "alg": "RS256" }), &claims_with(json!({})));
    for (keys, of_named, of_unnamed) in [
        (vec![trusted.clone()], true, true),
        // Written twice, it is one key.
        (vec![trusted.clone(), trusted.clone()], true, true),
        (vec![trusted, other.clone()], true, false),
        // The first of two is no better than the second.
        (
            vec![TRUSTED.jwk(json!({ "kid": "a" })), other.clone()],
            false,
            false,
        ),
        (vec![other.clone()], false, false),
        (vec![nameless.clone()], false, true),
        (vec![nameless, other], false, false),
    ] {
        let tenants = tenants_by(None, Some(set(&keys).expect("a set")));
        check(&tenants, &good(json!({})), of_named);
        check(&tenants, &unnamed, of_unnamed);
    }
}

#[test]
fn a_token_is_believed_from_nbf_to_exp_and_a_minute_around() {
    let tenants = verifying(None);
    let at = |seconds: i64| now().as_secs().saturating_add_signed(seconds);
    for (changes, is_believed) in [
        (json!({ "exp": at(-30) }), true),
        (json!({ "exp": at(-61) }), false),
        (json!({ "exp": 0 }), false),
        (json!({ "exp": -1 }), false),
        (json!({ "exp": -1.5 }), false),
        (json!({ "exp": 4e9 }), true),
        (json!({ "exp": u64::MAX }), true),
        (json!({ "exp": null }), false),
        (json!({ "exp": "4102444800" }), false),
        (json!({ "nbf": at(50) }), true),
        (json!({ "nbf": at(90) }), false),
        (json!({ "nbf": u64::MAX }), false),
        (json!({ "nbf": null }), true),
        (json!({ "nbf": "0" }), false),
    ] {
        check(&tenants, &good(changes), is_believed);
    }
}

#[test]
fn what_came_of_a_token_is_remembered_but_not_beyond_its_time() {
    let tenants = verifying(None);
    let verifier = tenants.verifier.as_ref().expect("a verifier");
    let start = now().as_secs();
    let token = good(json!({ "nbf": start + 200, "exp": start + 400 }));
    let authorization = HeaderValue::from_str(&format!("Bearer {token}")).expect("a value");
    for (seconds, payer) in [
        (0, Payer::Unproven(7)),
        (139, Payer::Unproven(7)),
        (140, Payer::Tenant),
        (459, Payer::Tenant),
        (460, Payer::Unproven(7)),
    ] {
        let (identity, found) =
            tenants.verified(verifier, Some(&authorization), 7, start + seconds);
        assert_eq!(found, payer, "{seconds}");
        assert_eq!(
            identity.tenant.is_some(),
            payer == Payer::Tenant,
            "{seconds}"
        );
        assert_eq!(identity.principal == 7, payer != Payer::Tenant, "{seconds}");
    }
    assert!(verifier.outcomes.contains_key(&7));
}

#[test]
fn outcomes_are_bounded() {
    let tenants = verifying(None);
    let verifier = tenants.verifier.as_ref().expect("a verifier");
    for number in 0..MAX_OUTCOMES + 5000 {
        let payer = Payer::Unproven(number.into());
        let identity = tenants.keys.identity(Claims::default(), number.into());
        verifier.outcomes.insert(number.into(), (identity, payer));
    }
    verifier.outcomes.run_pending_tasks();
    assert!(verifier.outcomes.entry_count() <= MAX_OUTCOMES);
}

#[test]
fn a_signature_proves_nothing_and_a_proof_believes_nothing() {
    let tenants = verifying(None);
    let token = good(json!({}));
    tenants.prove(&sent(&tenants, &token));
    let caller = sent(&tenants, &token);
    assert_eq!((caller.proven, caller.payer), (true, Payer::Tenant));

    let forged = OTHER.sign(&rs256(), &claims_with(json!({})));
    tenants.prove(&sent(&tenants, &forged));
    let unproven = sent(&tenants, &forged);
    let credential = unproven.credential.expect("a credential");
    assert_eq!(
        (unproven.proven, unproven.payer, unproven.principal),
        (true, Payer::Unproven(credential), credential)
    );
    assert_eq!(unproven.tenant_scope(), credential);
}

#[test]
fn a_token_without_a_tenant_cannot_spend_the_headers() {
    let tenants = verifying(Some("x-tenant"));
    let unsigned = token(r#"{"tid":"other","exp":4102444800}"#);
    let signed = format!("Bearer {}", good(json!({ "tid": null })));
    for value in [&*unsigned, &signed, "Bearer opaque", "Basic dTpw"] {
        let caller = caller(&tenants, &[("authorization", value), ("x-tenant", "tid-1")]);
        assert_eq!(tenants.alias(caller.tenant), Some("contoso"), "{value}");
        assert_ne!(caller.payer, Payer::Tenant, "{value}");
        assert_ne!(caller.tenant_scope(), caller.tenant.key, "{value}");
    }
}

#[test]
fn a_401_makes_a_credential_unproven_until_the_next_2xx() {
    let tenants = verifying(None);
    let token = good(json!({}));
    let first = sent(&tenants, &token);
    tenants.disprove(&first);
    let refused = sent(&tenants, &token);
    assert_eq!(
        (Some(refused.payer), refused.principal),
        (refused.credential.map(Payer::Unproven), first.principal)
    );
    // Also of a request that was under way before the 401.
    for under_way in [first, refused] {
        tenants.prove(&under_way);
        let caller = sent(&tenants, &token);
        assert_eq!((caller.proven, caller.payer), (true, Payer::Tenant));
        tenants.disprove(&caller);
        let caller = sent(&tenants, &token);
        assert_eq!(Some(caller.payer), caller.credential.map(Payer::Unproven));
    }
}

#[test]
fn a_set_with_a_key_more_is_another_set() {
    let (a, b) = (
        TRUSTED.jwk(json!({ "kid": "a" })),
        OTHER.jwk(json!({ "kid": "b" })),
    );
    let set = |keys: &[&Value]| {
        let keys: Vec<Value> = keys.iter().map(|&key| key.clone()).collect();
        set(&keys).expect("a set")
    };
    assert_eq!(set(&[&a, &b]), set(&[&b, &a]));
    assert_ne!(set(&[&a]), set(&[&a, &b]));
    assert_ne!(set(&[&a, &b]), set(&[&a]));
}

#[test]
fn a_set_has_at_least_one_key_that_can_be_used() {
    let size = |size| Issuer::new(size).jwk(json!({ "kid": "k" }));
    let none = "no RSA key of 2048 to 8192 bits for RS256 signatures is in the set";
    let key = |changes: Value| TRUSTED.jwk(changes);
    let (_, short) = TRUSTED.modulus.split_last().expect("256 bytes");
    let short = URL_SAFE_NO_PAD.encode(short);
    for unusable in [
        key(json!({ "use": "enc" })),
        key(json!({ "use": "SIG" })),
        key(json!({ "alg": "RS512" })),
        key(json!({ "alg": "PS256" })),
        key(json!({ "key_ops": ["encrypt"] })),
        key(json!({ "key_ops": [] })),
        key(json!({ "kty": "rsa" })),
        key(json!({ "n": null })),
        key(json!({ "e": null })),
        key(json!({ "n": "" })),
        key(json!({ "e": "" })),
        key(json!({ "n": "AQAB" })),
        key(json!({ "n": short })),
        key(json!({ "n": "not base64!" })),
        key(json!({ "e": "AQAB==" })),
        json!({ "kty": "EC", "use": "sig", "crv": "P-256", "x": "AA", "y": "AA" }),
        json!({ "kty": "oct", "k": "c2VjcmV0" }),
    ] {
        let shown = unusable.to_string();
        assert_eq!(set(&[unusable]).err().as_deref(), Some(none), "{shown}");
    }
    assert_eq!(set(&[]).err().as_deref(), Some(none));
    let ambiguous = "two different keys have the same `kid`, or none";
    for kid in [json!("k"), Value::Null] {
        let two = [&TRUSTED, &OTHER].map(|issuer| issuer.jwk(json!({ "kid": kid })));
        assert_eq!(set(&two).err().as_deref(), Some(ambiguous));
    }

    for usable in [
        key(json!({ "use": null })),
        key(json!({ "alg": "RS256" })),
        key(json!({ "key_ops": ["verify"] })),
        size(KeySize::Rsa4096),
    ] {
        let skipped = json!({ "kty": "EC", "kid": "ec" });
        assert!(set(&[skipped, usable]).is_ok());
    }
    for text in ["", "{}", "null", r#"{"keys":{}}"#, r#"{"keys":[{}]}"#] {
        let error = KeySet::parse(text).expect_err(text).to_string();
        assert!(
            error.starts_with("not a JSON Web Key Set (line 1, "),
            "{error}"
        );
    }
    let secret = KeySet::parse("\n\"s3cret\"")
        .expect_err("no set")
        .to_string();
    assert_eq!(secret, "not a JSON Web Key Set (line 2, column 8)");
}

fn known(ids: &[(&str, &str)]) -> Vec<Known> {
    let known = ids.iter().map(|(alias, id)| Known {
        alias: (*alias).to_owned(),
        id: (*id).to_owned(),
    });
    known.collect()
}

#[test]
fn other_settings_change_names_and_nothing_else() {
    let before = tenants(None);
    let value = token(r#"{"tid":"TID-1","oid":"u","exp":4102444800}"#);
    let fields = [("authorization", value.as_str())];
    before.prove(&caller(&before, &fields));
    let proven = caller(&before, &fields);
    for (ids, alias) in [
        (
            &[("fabrikam", "tid-2"), ("contoso", "tid-1")][..],
            Some("contoso"),
        ),
        (&[("other", "Tid-1"), ("fabrikam", "tid-2")], Some("other")),
        (&[("contoso", "tid-2")], None),
        (&[], None),
    ] {
        let after = before.renewed(&Settings {
            known: known(ids),
            ..Settings::default()
        });
        let caller = caller(&after, &fields);
        assert_eq!(after.alias(caller.tenant), alias, "{ids:?}");
        assert_eq!(
            (
                caller.proven,
                caller.payer,
                caller.principal,
                caller.credential
            ),
            (true, Payer::Tenant, proven.principal, proven.credential)
        );
        assert_eq!(caller.tenant.key, proven.tenant.key);
        assert_eq!(caller.tenant.key, after.key("tid-1"));
        assert_eq!(caller.tenant_scope(), proven.tenant_scope());
    }
    // Whoever began under the old settings still proves the credential under the new ones.
    let after = before.renewed(&Settings::default());
    before.disprove(&proven);
    assert!(!caller(&after, &fields).proven);
    before.prove(&caller(&before, &fields));
    assert!(caller(&after, &fields).proven);
}

#[test]
fn what_a_key_set_has_shown_ends_with_it() {
    let trusted = || set(&[TRUSTED.jwk(json!({ "kid": "trusted" }))]).expect("a set");
    let other = || set(&[OTHER.jwk(json!({ "kid": "trusted" }))]).expect("a set");
    let settings = |key_set| Settings {
        header: Some(HeaderName::from_static("x-tenant")),
        key_set,
        known: Vec::new(),
    };
    assert!(trusted() == trusted() && trusted() != other());

    let before = verifying(None);
    let signed = good(json!({}));
    assert_eq!(sent(&before, &signed).payer, Payer::Tenant);
    let same = before.renewed(&settings(Some(trusted())));
    let outcomes = |tenants: &Tenants| {
        let verifier = tenants.verifier.as_ref().expect("a verifier");
        verifier
            .outcomes
            .contains_key(&sent(&before, &signed).credential.expect("one"))
    };
    assert!(outcomes(&same));
    let changed = before.renewed(&settings(Some(other())));
    assert!(!outcomes(&changed));
    assert_ne!(sent(&changed, &signed).payer, Payer::Tenant);

    // A token that did not verify is proven all the same. Without the keys it would be of whatever tenant its header says.
    let unsigned = token(r#"{"oid":"u","exp":4102444800}"#);
    let fields = [("authorization", unsigned.as_str()), ("x-tenant", "victim")];
    before.prove(&caller(&before, &fields));
    assert!(caller(&same, &fields).proven);
    let without = same.renewed(&settings(None));
    let caller = caller(&without, &fields);
    assert!(!caller.proven);
    assert_ne!(caller.payer, Payer::Tenant);
    assert!(!sent(&without, &signed).proven);
}

#[test]
fn a_key_has_from_2048_to_8192_bits() {
    for (first, bytes, is_usable) in [
        (0x7f, 256, false),
        (0x80, 256, true),
        (0xff, 1024, true),
        (0x01, 1025, false),
    ] {
        let mut modulus = vec![0xff_u8; bytes];
        *modulus.first_mut().expect("a byte") = first;
        let key = TRUSTED.jwk(json!({ "n": URL_SAFE_NO_PAD.encode(modulus) }));
        assert_eq!(set(&[key]).is_ok(), is_usable, "{first} {bytes}");
    }
}
