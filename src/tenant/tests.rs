//! Who is who.

use std::collections::HashSet;

use http::HeaderValue;

use super::*;

fn tenants(header: Option<&'static str>) -> Tenants {
    let known = vec![Known {
        alias: "contoso".to_owned(),
        id: "TID-1".to_owned(),
    }];
    Tenants::new(&Settings {
        header: header.map(HeaderName::from_static),
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
    let odd = token(r#"{"tid":7}"#);
    assert_eq!(caller(&tenants, &[("authorization", &odd)]).tenant, nobody);
}
