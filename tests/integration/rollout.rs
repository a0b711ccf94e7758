//! Modes that differ by tenant: who is judged by which, and that nobody can choose.

use serde_json::json;

use crate::support::{
    Answer, Gateway, ITEM, TAG, Upstream, body,
    gateway::{Builder, program, sum},
    reply,
    token::{Issuer, in_an_hour, token, with_claims},
};

const CONTOSO: &str = "aaaaaaaa-0000-4000-8000-000000000001";
const FABRIKAM: &str = "bbbbbbbb-0000-4000-8000-000000000002";

fn document(modes: &str) -> String {
    format!(
        "name: rollout
rules:
  - {{ id: tag, check: if_match, on: [PUT], {modes} }}
states:
  Active: {{ next: [Active], substatus: [Accepted] }}
"
    )
}

fn with(modes: &str, tenants: &str) -> Builder {
    Gateway::policy(&document(modes)).settings(&format!(
        "tenants:
  header: X-Tenant
{tenants}  known:
    contoso: {{ id: \"{CONTOSO}\" }}
    fabrikam: {{ id: \"{FABRIKAM}\" }}"
    ))
}

/// A PUT without `If-Match` by this token.
async fn put(gateway: &Gateway, token: &str) -> Answer {
    let call = gateway.put(ITEM, body("Active", "Accepted"));
    call.bearer(token).send().await
}

const AUDIT_BUT: &str = "mode: audit, modes: { contoso: enforce }";
const ENFORCE_BUT: &str = "mode: enforce, modes: { contoso: audit }";

#[tokio::test]
async fn a_tenant_is_judged_by_its_own_modes_and_all_others_by_the_common_ones() {
    for (modes, contoso, others) in [(AUDIT_BUT, 428, 412), (ENFORCE_BUT, 412, 428)] {
        let upstream = Upstream::start().await;
        let gateway = with(modes, "").start(&upstream).await;
        for (tid, status) in [
            (CONTOSO.to_owned(), contoso),
            (CONTOSO.to_uppercase(), contoso),
            (FABRIKAM.to_owned(), others),
            ("cccccccc".to_owned(), others),
            ("contoso".to_owned(), others),
        ] {
            let answer = put(&gateway, &token(&tid, "user", "app")).await;
            assert_eq!(answer.status, status, "{modes} {tid}: {}", answer.text());
            assert_eq!(answer.is_ours(), status == 428, "{modes} {tid}");
        }
        // Each mode is counted apart, and there from the start.
        let metrics = gateway.metrics().await;
        for (mode, verdict, tenants) in [
            ("enforce", "deny", [2.0, 3.0]),
            ("audit", "would_deny", [3.0, 2.0]),
        ] {
            let labels = [("rule", "tag"), ("mode", mode), ("verdict", verdict)];
            let counted = sum(&metrics, "policy_decisions_total", &labels);
            let expected = tenants[usize::from(modes == ENFORCE_BUT)];
            assert!(
                (counted - expected).abs() < f64::EPSILON,
                "{modes} {mode}: {counted}"
            );
        }
    }
}

#[tokio::test]
async fn nobody_chooses_modes_by_a_header() {
    let upstream = Upstream::start().await;
    let gateway = with(ENFORCE_BUT, "").start(&upstream).await;
    let call = gateway
        .put(ITEM, body("Active", "Accepted"))
        .header("X-Tenant", CONTOSO);
    for call in [
        call.clone().without("Authorization"),
        call.clone()
            .without("Authorization")
            .header("Cookie", "session=1"),
        call.clone().bearer("opaque"),
        call.clone()
            .bearer(&with_claims(&json!({ "oid": "user" }), "s")),
        call.clone().bearer(&token(FABRIKAM, "user", "app")),
    ] {
        let answer = call.send().await;
        assert_eq!(
            (answer.status, &*answer.problem().code),
            (428, "if_match_missing")
        );
    }
    assert_eq!(upstream.count("PUT"), 0);
    // The other way round: a header does not lead a caller out of the modes of the token's tenant.
    let gateway = with(AUDIT_BUT, "").start(&upstream).await;
    let call = gateway
        .put(ITEM, body("Active", "Accepted"))
        .header("X-Tenant", FABRIKAM);
    // Some services take a token under any scheme or none; and what was accepted once so is no other caller later.
    for scheme in ["Bearer", "bearer", "BEARER ", "Token", "PoP", ""] {
        let credential = format!("{scheme} {}", token(CONTOSO, "user", "app"));
        let credential = credential.trim_start();
        let read = gateway.get(ITEM).set("Authorization", credential);
        assert_eq!(read.send().await.status, 200, "{scheme}");
        let answer = call.clone().set("Authorization", credential).send().await;
        assert_eq!(answer.status, 428, "{scheme}");
    }
    assert_eq!(upstream.count("PUT"), 0);
}

#[tokio::test]
async fn a_forged_token_gains_the_services_401_and_nothing_else() {
    let genuine = token(FABRIKAM, "user", "app");
    let accepted = format!("Bearer {genuine}");
    let upstream = Upstream::with(move |seen| {
        let is_good = seen.header("authorization").as_deref() == Some(&*accepted);
        async move { (!is_good).then(|| reply(401, "who are you?")) }
    })
    .await;
    let gateway = with(ENFORCE_BUT, "").start(&upstream).await;

    assert_eq!(put(&gateway, &genuine).await.status, 428);
    let forged = with_claims(
        &json!({ "tid": CONTOSO, "oid": "user", "appid": "app", "exp": in_an_hour() }),
        "forged",
    );
    let answer = put(&gateway, &forged).await;

    assert_eq!((answer.status, &*answer.text()), (401, "who are you?"));
    assert!(upstream.applied().is_empty());
    let two = gateway
        .put(ITEM, body("Active", "Accepted"))
        .bearer(&genuine)
        .header("Authorization", &format!("Bearer {forged}"));
    assert_eq!(
        two.send().await.status,
        400,
        "one of two tokens would choose the rules"
    );
}

#[tokio::test]
async fn a_genuine_token_that_does_not_verify_is_judged_like_any_other() {
    // The key set is out of date: the service accepts what does not verify here.
    let issuer = Issuer::new();
    let upstream = Upstream::start().await;
    let gateway = with(AUDIT_BUT, "  jwks_file: \"@/keys.json\"\n")
        .file("keys.json", &Issuer::new().key_set())
        .start(&upstream)
        .await;

    let answer = put(&gateway, &issuer.token(CONTOSO, "user", "1")).await;
    assert_eq!(answer.status, 428, "{}", answer.text());
    let answer = put(&gateway, &issuer.token(FABRIKAM, "user", "1")).await;
    assert_eq!(answer.status, 412, "{}", answer.text());
}

#[tokio::test]
async fn an_application_cannot_shake_off_its_name_by_a_401() {
    let issuer = Issuer::new();
    let upstream = Upstream::with(|seen| async move {
        seen.target()
            .contains("forbidden")
            .then(|| reply(401, "not for you"))
    })
    .await;
    let gateway = Gateway::policy(
        "name: own
rules:
  - { id: own, check: expression, expression: \"request.application != 'app'\", message: 'No.', on: [PATCH], mode: enforce }
states: { New: { next: [New], substatus: [Pending] } }
",
    )
    .settings("tenants: { jwks_file: \"@/keys.json\" }")
    .file("keys.json", &issuer.key_set())
    .start(&upstream)
    .await;
    let token = issuer.token(CONTOSO, "user", "1");
    let write = gateway.patch(ITEM, "{}").bearer(&token);

    assert_eq!(write.send().await.status, 403);
    let refused = gateway.get("/v1/forbidden").bearer(&token).send().await;
    assert_eq!((refused.status, &*refused.text()), (401, "not for you"));
    assert_eq!(write.send().await.status, 403);

    assert_eq!(upstream.count("PATCH"), 0);
}

#[tokio::test]
async fn a_repair_may_be_for_one_tenant_only() {
    let upstream = Upstream::start().await;
    let gateway = with(ENFORCE_BUT, "").policy(
        "name: rollout
rules:
  - { id: links, check: links_removed, on: [PUT], mode: enforce, modes: { contoso: repair }, repairs: [strip-links] }
states: { Active: { next: [Active], substatus: [Accepted] } }
",
    );
    let gateway = gateway.start(&upstream).await;
    let with_links = body("Active", "Accepted").replacen('{', r#"{"links":{},"#, 1);
    for (tid, status, repaired) in [(FABRIKAM, 422, None), (CONTOSO, 200, Some("strip-links"))] {
        let call = gateway.put(ITEM, &with_links).if_match(TAG);
        let answer = call.bearer(&token(tid, "user", "app")).send().await;
        assert_eq!(answer.status, status, "{}", answer.text());
        assert_eq!(answer.header("referral-gateway-repaired"), repaired);
    }
    assert_eq!(
        upstream.only("PUT").body,
        body("Active", "Accepted").as_bytes()
    );
}

#[test]
fn a_tenant_that_the_settings_do_not_know_is_refused_by_check() {
    let folder = tempfile::tempdir().unwrap();
    let policy = folder.path().join("policy.yaml");
    let settings = folder.path().join("settings.yaml");
    std::fs::write(
        &policy,
        document("mode: audit, modes: { contosso: enforce, adatum: off }"),
    )
    .unwrap();
    std::fs::write(
        &settings,
        format!("tenants: {{ known: {{ contoso: {{ id: \"{CONTOSO}\" }} }} }}\n"),
    )
    .unwrap();
    for command in ["check", "run"] {
        let output = std::process::Command::new(program())
            .arg(command)
            .args([
                "--config".as_ref(),
                settings.as_os_str(),
                "--policy".as_ref(),
                policy.as_os_str(),
            ])
            .env_clear()
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(1), "{command}");
        let told = String::from_utf8_lossy(&output.stderr).into_owned()
            + &String::from_utf8_lossy(&output.stdout);
        for piece in [
            "policy.yaml:3:",
            "tenant `contosso` is not in tenants.known; did you mean `contoso`?",
            "tenant `adatum` is not in tenants.known; add it to the settings file and give that file with --config",
        ] {
            assert!(told.contains(piece), "{command}: {told}");
        }
    }
}
