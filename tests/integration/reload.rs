//! Other settings and policies while requests pass: all of it or nothing, and no request sees half of each.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    os::unix::fs::symlink,
    path::Path,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use serde_json::Value;
use tokio::{sync::watch, task::JoinSet};

use crate::support::{
    Answer, Gateway, ITEM, TAG, Upstream, body, eventually,
    gateway::program,
    reply, tls,
    token::{Issuer, TENANT},
    tools::tool,
};

/// A policy with one rule, which wants `If-Match`.
fn policy(rule: &str, mode: &str, status: u16) -> String {
    format!(
        "name: of-{rule}
rules:
  - {{ id: {rule}, check: if_match, on: [PUT], mode: {mode}, status: {status} }}
states:
  New: {{ next: [New, Active, Closed], substatus: [Pending, Received] }}
  Active: {{ next: [Active, Closed], substatus: [Accepted] }}
  Closed: {{ next: [Closed], substatus: [Won, Lost, Declined, Expired] }}
"
    )
}

/// Settings that give the usual tenant a name.
fn named(alias: &str) -> String {
    format!("tenants: {{ known: {{ {alias}: {{ id: {TENANT} }} }} }}\n")
}

/// A PUT that names no version.
async fn put(gateway: &Gateway) -> Answer {
    gateway.put(ITEM, body("Active", "Accepted")).send().await
}

/// How many reloads ended this way.
async fn reloads(gateway: &Gateway, labels: &[(&str, &str)]) -> f64 {
    gateway.metric("config_reloads_total", labels).await
}

/// Asks for a reload and waits for its end.
async fn reload(gateway: &Gateway) {
    let before = reloads(gateway, &[]).await;
    gateway.signal("HUP");
    eventually("the end of a reload", async || {
        reloads(gateway, &[]).await > before
    })
    .await;
}

/// The records whose message begins so.
fn records(gateway: &Gateway, message: &str) -> Vec<Value> {
    let lines = gateway.lines();
    let records = lines
        .iter()
        .filter_map(|line| serde_json::from_str(line).ok());
    records
        .filter(|record: &Value| {
            let text = record["message"].as_str();
            text.is_some_and(|text| text.starts_with(message))
        })
        .collect()
}

/// The settings in force as the admin listener shows them.
async fn config(gateway: &Gateway) -> Value {
    gateway.admin("GET", "/config").send().await.json()
}

/// The digest of the policy in force as the admin listener shows it.
async fn digest(gateway: &Gateway) -> String {
    let policies = gateway.admin("GET", "/policies").send().await.json();
    policies[0]["digest"].as_str().unwrap().to_owned()
}

/// The values of a label in the series of a metric.
async fn values(gateway: &Gateway, metric: &str, label: &str) -> BTreeSet<String> {
    let (start, label) = (
        format!("referral_gateway_{metric}{{"),
        format!("{label}=\""),
    );
    let metrics = gateway.metrics().await;
    let series = metrics.lines().filter(|line| line.starts_with(&start));
    let found = series.filter_map(|line| line.split_once(&label)?.1.split('"').next());
    found.map(str::to_owned).collect()
}

#[tokio::test]
async fn a_signal_takes_another_policy_into_force() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::policy(&policy("tag", "audit", 428))
        .start(&upstream)
        .await;
    let answer = put(&gateway).await;
    assert!(!answer.is_ours(), "{answer:?}");
    let old = digest(&gateway).await;
    assert_eq!(gateway.ready["policy_digest"], old.as_str());

    gateway.replace("policy.yaml", &policy("tag", "enforce", 422));
    reload(&gateway).await;

    let answer = put(&gateway).await;
    assert_eq!(
        (answer.status, answer.problem().code.as_str()),
        (422, "if_match_missing")
    );
    assert_eq!(upstream.count("PUT"), 1);
    let new = digest(&gateway).await;
    assert_ne!(new, old);
    let shown = BTreeSet::from([new.clone()]);
    assert_eq!(values(&gateway, "policy_info", "digest").await, shown);
    let modes = values(&gateway, "policy_decisions_total", "mode").await;
    assert_eq!(modes, BTreeSet::from(["enforce".to_owned()]));
    let denied = [("rule", "tag"), ("verdict", "deny")];
    gateway
        .until_metric("policy_decisions_total", &denied, 1.0)
        .await;
    gateway
        .record("a decision by the new policy", |record| {
            record["policy_digest"] == new.as_str() && record["verdict"] == "refuse"
        })
        .await;
    let verbose = gateway.telemetry("/readyz?verbose").await.text();
    assert!(verbose.contains(&new), "{verbose}");
    for (what, result, number) in [
        ("policy", "success", 1.0),
        ("settings", "unchanged", 1.0),
        ("settings", "success", 0.0),
        ("policy", "failure", 0.0),
    ] {
        let labels = [("what", what), ("result", result)];
        let found = reloads(&gateway, &labels).await;
        assert!((found - number).abs() < f64::EPSILON, "{labels:?}: {found}");
    }
    let told = gateway
        .record("the reload", |record| record["message"] == "Reloaded")
        .await;
    assert_eq!(told["cause"], "SIGHUP");
    assert_eq!(told["policy_digest"], new.as_str());
    let document = gateway.path("policy.yaml").display().to_string();
    assert_eq!(told["changed_files"], document.as_str());
    assert_eq!(told["changed_settings"], "");
}

#[tokio::test]
async fn what_cannot_be_used_is_named_as_check_names_it_and_changes_nothing() {
    let upstream = Upstream::start().await;
    let good = policy("tag", "enforce", 428);
    let gateway = Gateway::policy(&good).start(&upstream).await;
    let before = digest(&gateway).await;

    let bad = policy("tag", "enfroce", 428);
    for (settings, document, what, told) in [
        (
            named("contoso"),
            bad.clone(),
            "policy",
            "policy.yaml:3:50: ",
        ),
        (
            "log: { level: loud }".to_owned(),
            good.clone(),
            "settings",
            "settings.yaml:1:15: ",
        ),
        (
            "log: {".to_owned(),
            bad.clone(),
            "settings",
            "settings.yaml:",
        ),
        (String::new(), String::new(), "policy", "policy.yaml"),
    ] {
        gateway.replace_settings(&settings);
        gateway.replace("policy.yaml", &document);
        let failures = reloads(&gateway, &[("what", what), ("result", "failure")]).await;
        gateway.signal("HUP");
        let labels = [("what", what), ("result", "failure")];
        gateway
            .until_metric("config_reloads_total", &labels, failures + 1.0)
            .await;

        let successful = "config_last_reload_successful";
        gateway
            .until_metric(successful, &[("what", what)], 0.0)
            .await;
        let check = Command::new(program())
            .args(["check", "--config"])
            .arg(gateway.path("settings.yaml"))
            .arg("--policy")
            .arg(gateway.path("policy.yaml"))
            .output()
            .unwrap();
        let check = String::from_utf8(check.stdout).unwrap();
        let of_check: Vec<&str> = check.lines().collect();
        let record = gateway
            .record(&check, |record| {
                record["level"] == "ERROR" && record["problem"] == of_check[0]
            })
            .await;
        assert_eq!(
            (&record["what"], &record["cause"]),
            (&what.into(), &"SIGHUP".into())
        );
        assert!(of_check[0].contains(told), "{told}: {check}");
        for line in of_check {
            gateway
                .record(line, |record| record["problem"] == line)
                .await;
        }

        assert_eq!(put(&gateway).await.status, 428);
        assert_eq!(digest(&gateway).await, before);
        let aliases = values(&gateway, "tenant_requests_total", "tenant").await;
        assert_eq!(aliases, BTreeSet::from(["_other".to_owned()]));
    }

    // Mended, it needs no signal; what is in force was never anything else.
    gateway.replace_settings("");
    gateway.replace("policy.yaml", &good);
    for what in ["settings", "policy"] {
        gateway
            .until_metric("config_last_reload_successful", &[("what", what)], 1.0)
            .await;
    }
    assert_eq!(digest(&gateway).await, before);
    assert_eq!(put(&gateway).await.status, 428);
}

#[tokio::test]
async fn a_settings_file_that_has_become_empty_is_refused() {
    let upstream = Upstream::start().await;
    let settings = named("contoso");
    let gateway = Gateway::with(&settings).start(&upstream).await;
    let failures = [("what", "settings"), ("result", "failure")];
    let told = format!(
        "{}: the file sets nothing, but it did before; restore its settings, or write `{{}}` to return to the defaults",
        gateway.path("settings.yaml").display()
    );

    for text in ["", "# rate_limit:\n#   writes: { burst: 5 }\n"] {
        let before = reloads(&gateway, &failures).await;
        gateway.replace("settings.yaml", text);
        reload(&gateway).await;

        assert!(reloads(&gateway, &failures).await > before, "{text:?}");
        let successful = [("what", "settings")];
        let successful = gateway.metric("config_last_reload_successful", &successful);
        assert_eq!(successful.await, 0.0, "{text:?}");
        let aliases = values(&gateway, "tenant_requests_total", "tenant").await;
        assert!(aliases.contains("contoso"), "{text:?}: {aliases:?}");
    }
    gateway
        .record("the refusal", |record| {
            record["level"] == "ERROR" && record["problem"] == told.as_str()
        })
        .await;
    assert_eq!(records(&gateway, "Reloaded").len(), 0);

    // Whoever means it can say so.
    gateway.replace("settings.yaml", "{}");
    gateway
        .until_metric(
            "config_last_reload_successful",
            &[("what", "settings")],
            1.0,
        )
        .await;
    let aliases = values(&gateway, "tenant_requests_total", "tenant").await;
    assert_eq!(aliases, BTreeSet::from(["_other".to_owned()]));
}

#[tokio::test]
async fn an_empty_settings_file_hides_no_fault_of_the_policy() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::policy(&policy("tag", "enforce", 428))
        .start(&upstream)
        .await;

    gateway.replace("policy.yaml", &policy("tag", "enfroce", 428));
    gateway.replace("settings.yaml", "");
    gateway.signal("HUP");

    for what in ["settings", "policy"] {
        gateway
            .record(what, |record| {
                record["level"] == "ERROR" && record["what"] == what
            })
            .await;
    }
}

#[tokio::test]
async fn a_settings_file_that_was_empty_at_the_start_may_stay_so() {
    let upstream = Upstream::start().await;
    // The third argument is the settings file.
    let gateway = Gateway::with("")
        .after(r#"echo '# later' > "$3""#)
        .start(&upstream)
        .await;
    let (unchanged, failure) = (
        [("what", "settings"), ("result", "unchanged")],
        [("what", "settings"), ("result", "failure")],
    );

    reload(&gateway).await;
    assert_eq!(reloads(&gateway, &unchanged).await, 1.0);

    gateway.replace_settings(&named("contoso"));
    reload(&gateway).await;
    gateway.replace("settings.yaml", "# later\n");
    gateway
        .until_metric(
            "config_last_reload_successful",
            &[("what", "settings")],
            0.0,
        )
        .await;
    assert!(reloads(&gateway, &failure).await > 0.0);
}

#[tokio::test]
async fn a_file_that_stays_bad_is_reported_once() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::policy(&policy("tag", "enforce", 428))
        .start(&upstream)
        .await;

    gateway.replace("policy.yaml", &policy("tag", "enfroce", 428));
    let failure = [("what", "policy"), ("result", "failure")];
    gateway
        .until_metric("config_reloads_total", &failure, 1.0)
        .await;
    // Two more looks at least, by another file that changes.
    gateway.replace_settings(&named("contoso"));
    gateway
        .until_metric("config_reloads_total", &failure, 2.0)
        .await;
    gateway.replace("policy.yaml", &policy("tag", "audit", 428));
    let is_last = |record: &Value| record["message"] == "Reloaded";
    gateway.record("the end of it", is_last).await;
    assert_eq!(records(&gateway, "Reload failed").len(), 2);
}

#[tokio::test]
async fn many_faults_of_a_policy_are_logged_each_up_to_a_bound() {
    let upstream = Upstream::start().await;
    let good = policy("tag", "enforce", 428);
    let gateway = Gateway::policy(&good).start(&upstream).await;

    let bad = "  - { id: Bad, check: same_id, on: [PUT], mode: off }\n".repeat(12);
    let bad = good.replace("rules:\n", &format!("rules:\n{bad}"));
    gateway.replace("policy.yaml", &bad);
    gateway.signal("HUP");
    let has_more = |record: &Value| record.get("more").is_some();
    let more = gateway.record("that there are more", has_more).await;

    // Twelve bad names, and eleven that stand in two rules on the same method.
    assert_eq!(more["more"], 34 - 20);
    let logged = records(&gateway, "Reload failed");
    let places: BTreeSet<_> = logged
        .iter()
        .filter_map(|record| record["problem"].as_str()?.split(": ").next())
        .collect();
    assert_eq!((logged.len(), places.len()), (21, 14), "{logged:#?}");
    assert_eq!(put(&gateway).await.status, 428);
}

#[tokio::test]
async fn changes_are_seen_without_a_signal_however_they_are_made() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::policy(&policy("first", "enforce", 428))
        .start(&upstream)
        .await;
    let path = |name: &str| gateway.path(name);
    // As the kubelet lays out a ConfigMap: the files are links into a folder, which is itself a link that is swapped.
    let version = |number: &str, rule: &str, alias: &str| {
        let folder = path(number);
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("policy.yaml"), policy(rule, "enforce", 422)).unwrap();
        fs::write(folder.join("settings.yaml"), named(alias)).unwrap();
        symlink(number, path("..data_tmp")).unwrap();
        fs::rename(path("..data_tmp"), path("..data")).unwrap();
    };
    let links = || {
        for file in ["policy.yaml", "settings.yaml"] {
            symlink(format!("..data/{file}"), path("link")).unwrap();
            fs::rename(path("link"), path(file)).unwrap();
        }
    };
    let in_force = async |rule: &str, alias: &str| {
        eventually(&format!("{rule} and {alias}"), async || {
            let rules = values(&gateway, "policy_decisions_total", "rule").await;
            let aliases = values(&gateway, "tenant_requests_total", "tenant").await;
            rules == BTreeSet::from([rule.to_owned()]) && aliases.contains(alias)
        })
        .await;
        assert_eq!(
            put(&gateway).await.problem().value["error"]["innerError"]["findings"][0]["rule"],
            rule
        );
    };

    version("..1", "linked", "one");
    links();
    in_force("linked", "one").await;
    version("..2", "swapped", "two");
    in_force("swapped", "two").await;
    version("..3", "swapped-again", "three");
    fs::remove_dir_all(path("..2")).unwrap();
    in_force("swapped-again", "three").await;
    gateway.replace("policy.yaml", &policy("renamed", "enforce", 422));
    in_force("renamed", "three").await;
    fs::write(path("policy.yaml"), policy("written", "enforce", 422)).unwrap();
    in_force("written", "three").await;

    assert!(
        records(&gateway, "Reloaded")
            .iter()
            .all(|record| record["cause"] == "changed files")
    );
    assert!(reloads(&gateway, &[("result", "failure")]).await.abs() < f64::EPSILON);
}

#[tokio::test]
async fn without_a_change_a_signal_changes_nothing() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start(&upstream).await;
    let series = |metrics: String| {
        let lines = metrics
            .lines()
            .map(|line| line.rsplit_once(' ').unwrap().0.to_owned());
        lines.collect::<BTreeSet<_>>()
    };
    let (before, shown) = (series(gateway.metrics().await), config(&gateway).await);

    for number in [1.0, 2.0] {
        gateway.signal("HUP");
        for what in ["settings", "policy"] {
            let labels = [("what", what), ("result", "unchanged")];
            gateway
                .until_metric("config_reloads_total", &labels, number)
                .await;
        }
    }

    assert_eq!(series(gateway.metrics().await), before);
    assert_eq!(config(&gateway).await, shown);
}

#[tokio::test]
async fn what_needs_a_restart_says_so_and_the_rest_comes_into_force() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::with("").start(&upstream).await;
    let before = config(&gateway).await;

    let settings = format!(
        "{}downstream: {{ max_headers: 7, max_judged_body: 100 }}\nupstream: {{ connect_timeout: 7s }}\n",
        named("contoso")
    );
    gateway.replace_settings(&settings);
    reload(&gateway).await;

    let waiting = ["downstream.max_headers", "upstream.connect_timeout"];
    for setting in waiting {
        let record = gateway
            .record(setting, |record| record["setting"] == setting)
            .await;
        assert_eq!(record["level"], "WARN", "{record}");
        assert_eq!(record["message"], "Setting changed; restart to apply it");
    }
    let told = gateway
        .record("the reload", |record| record["message"] == "Reloaded")
        .await;
    let file = gateway.path("settings.yaml").display().to_string();
    assert_eq!(told["changed_files"], file.as_str());
    // Only what came into force.
    assert_eq!(
        told["changed_settings"],
        "downstream.max_judged_body, tenants.known.contoso.id"
    );
    let after = config(&gateway).await;
    assert_eq!(after["waiting_for_restart"], Value::from(&waiting[..]));
    for pointer in ["/settings/downstream/max_headers", "/settings/upstream"] {
        assert_eq!(after.pointer(pointer), before.pointer(pointer), "{pointer}");
    }
    assert_eq!(after["settings"]["downstream"]["max_judged_body"], "100");
    let answer = put(&gateway).await;
    assert_eq!(answer.status, 413, "{}", answer.text());
    let of_contoso = [("tenant", "contoso"), ("outcome", "refused")];
    gateway
        .until_metric("tenant_requests_total", &of_contoso, 1.0)
        .await;
    let many = (0..20).fold(gateway.get(ITEM), |call, number| {
        call.header(&format!("X-{number}"), "x")
    });
    assert_eq!(many.send().await.status, 200);

    gateway.replace_settings("");
    reload(&gateway).await;
    let back = config(&gateway).await;
    assert_eq!(back["settings"], before["settings"]);
    assert!(back.get("waiting_for_restart").is_none(), "{back}");
}

/// A write of the tenant that is nobody's.
async fn write(gateway: &Gateway) -> Answer {
    let call = gateway.call("POST", "/anything").without("Authorization");
    call.body("{}").send().await
}

fn writes(per_minute: u32, burst: u32) -> String {
    format!("rate_limit: {{ writes: {{ per_minute: {per_minute}, burst: {burst} }} }}\n")
}

#[tokio::test]
async fn a_spent_quota_stays_spent_and_comes_back_at_the_new_rate() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::with(&writes(1, 2)).start(&upstream).await;
    for status in [200, 200, 429] {
        assert_eq!(write(&gateway).await.status, status);
    }

    for (burst, known) in [(2, ""), (50, ""), (3, "tenants: { header: x-tenant }\n")] {
        gateway.replace_settings(&format!("{known}{}", writes(1, burst)));
        reload(&gateway).await;
        let answer = write(&gateway).await;
        assert_eq!(answer.status, 429, "burst {burst}");
        let limit = answer.header("ratelimit-limit").unwrap();
        assert_eq!(limit, burst.to_string());
    }

    gateway.replace_settings(&writes(6000, 50));
    reload(&gateway).await;
    eventually("the quota to come back", async || {
        write(&gateway).await.status == 200
    })
    .await;
}

#[tokio::test]
async fn a_cooldown_is_not_forgotten() {
    let upstream = Upstream::with(|seen| async move {
        (seen.method == "GET").then(|| {
            let mut reply = reply(429, "");
            let wait = http::HeaderValue::from_static("100");
            reply.headers_mut().insert("retry-after", wait);
            reply
        })
    })
    .await;
    let gateway = Gateway::start(&upstream).await;
    let read = async || gateway.get(ITEM).without("Authorization").send().await;
    assert!(!read().await.is_ours());

    gateway.replace_settings("rate_limit: { cooldown: { max: 40s } }\n");
    reload(&gateway).await;

    let answer = read().await;
    assert_eq!(answer.problem().code, "cooling_down");
    let wait: u64 = answer.header("retry-after").unwrap().parse().unwrap();
    assert!((41..=100).contains(&wait), "{wait}");
    assert_eq!(upstream.count("GET"), 1);
}

#[tokio::test]
async fn what_is_remembered_of_callers_and_referrals_is_kept() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::with(&named("contoso")).start(&upstream).await;
    assert_eq!(gateway.get(ITEM).send().await.status, 200);
    let learnt = [("from", "get")];
    gateway
        .until_metric("snapshot_updates_total", &learnt, 1.0)
        .await;

    gateway.replace_settings(&named("fabrikam"));
    reload(&gateway).await;

    let call = gateway.put(ITEM, body("New", "Pending")).if_match(TAG);
    assert_eq!(call.send().await.status, 409);
    assert_eq!(upstream.count("GET"), 1, "nobody had to ask");
    let hit = [("result", "hit")];
    assert!(gateway.metric("snapshot_lookups_total", &hit).await > 0.0);
    let of_fabrikam = [("tenant", "fabrikam"), ("outcome", "refused")];
    gateway
        .until_metric("tenant_requests_total", &of_fabrikam, 1.0)
        .await;
    assert!(
        !values(&gateway, "tenant_requests_total", "tenant")
            .await
            .contains("contoso")
    );
}

#[tokio::test]
async fn a_request_under_way_keeps_what_it_began_with() {
    let (go, held) = watch::channel(false);
    let upstream = Upstream::with(move |seen| {
        let mut held = held.clone();
        async move {
            if seen.method == "GET" {
                held.wait_for(|go| *go).await.ok();
            }
            None
        }
    })
    .await;
    let transition = |mode: &str| policy("moves", mode, 409).replace("if_match", "transition");
    let gateway = Gateway::with(&named("old"))
        .policy(&transition("enforce"))
        .start(&upstream)
        .await;
    let old = digest(&gateway).await;
    let put = gateway
        .put(ITEM, body("New", "Pending"))
        .if_match(TAG)
        .header("client-request-id", "began-before");
    let mut under_way = put.open().await;
    upstream.arrived("GET", 1).await;

    gateway.replace("policy.yaml", &transition("audit"));
    gateway.replace_settings(&named("new"));
    reload(&gateway).await;
    // It waits for the same answer of the service, but is judged by another policy.
    let mut later = put.set("client-request-id", "began-later").open().await;
    let labels = [("result", "unproven")];
    gateway
        .until_metric("snapshot_lookups_total", &labels, 2.0)
        .await;
    go.send(true).unwrap();

    assert_eq!(under_way.answer("PUT").await.status, 409);
    assert_eq!(later.answer("PUT").await.status, 200);
    for (id, digest, verdict, tenant) in [
        ("began-before", old, "refuse", "old"),
        ("began-later", digest(&gateway).await, "pass", "new"),
    ] {
        let of_it = |record: &Value| record["request_id"] == id;
        let decision = gateway
            .record(id, |record| of_it(record) && !record["verdict"].is_null())
            .await;
        assert_eq!(decision["policy_digest"], digest.as_str(), "{decision}");
        assert_eq!(decision["verdict"], verdict, "{decision}");
        let access = gateway
            .record(id, |record| of_it(record) && !record["status"].is_null())
            .await;
        assert_eq!(
            (&decision["tenant"], &access["tenant"]),
            (&tenant.into(), &tenant.into())
        );
    }
    assert_eq!(upstream.count("GET"), 1);
}

#[tokio::test]
async fn the_log_level_follows_the_settings_unless_an_operator_has_set_it() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::with("log: { level: info }").start(&upstream).await;
    let level = async || {
        let answer = gateway.admin("GET", "/log-level").send().await;
        answer.json()["level"].as_str().unwrap().to_owned()
    };

    gateway.replace_settings("log: { level: warn }");
    reload(&gateway).await;
    assert_eq!(level().await, "warn");

    gateway
        .admin("PUT", "/log-level")
        .body("debug")
        .send()
        .await;
    gateway.replace_settings(&format!("log: {{ level: warn }}\n{}", named("contoso")));
    reload(&gateway).await;
    assert_eq!(
        level().await,
        "debug",
        "the settings said nothing new about it"
    );

    gateway.replace_settings("log: { level: error }");
    reload(&gateway).await;
    assert_eq!(level().await, "error");
}

#[tokio::test]
async fn a_new_key_set_decides_on_tokens_that_were_seen_before() {
    let upstream = Upstream::start().await;
    let (one, other) = (Issuer::new(), Issuer::new());
    let settings = format!("tenants: {{ jwks_file: '@/keys.json' }}\n{}", writes(1, 2));
    let gateway = Gateway::with(&settings)
        .file("keys.json", &one.key_set())
        .start(&upstream)
        .await;
    let token = one.token("tid", "user", "1");
    let write = async |token: &str| {
        let call = gateway.call("POST", "/anything").bearer(token);
        call.body("{}").send().await.status
    };
    // A token that verifies spends what its tenant has; one that does not has a bucket of its own.
    assert_eq!(write(&token).await, 200);
    assert_eq!(write(&one.token("tid", "user", "2")).await, 200);
    assert_eq!(write(&token).await, 429);

    gateway.replace("keys.json", &other.key_set());
    eventually("the new keys", async || {
        reloads(&gateway, &[("what", "settings"), ("result", "success")]).await > 0.0
    })
    .await;
    assert_eq!(write(&token).await, 200, "it pays for itself");
    assert_eq!(write(&other.token("tid", "user", "3")).await, 429);

    gateway.replace("keys.json", "no keys");
    let what = [("what", "settings")];
    gateway
        .until_metric("config_last_reload_successful", &what, 0.0)
        .await;
    assert_eq!(write(&other.token("tid", "user", "4")).await, 429);
}

#[tokio::test]
async fn another_authority_is_trusted_by_new_connections() {
    let (authority, config) = tls::identity(&["http/1.1"]);
    let (another, _) = tls::identity(&[]);
    let upstream = Upstream::with_tls(config, |_| std::future::ready(None)).await;
    let gateway = Gateway::with("upstream: { ca_file: '@/ca.pem' }")
        .file("ca.pem", &another)
        .start(&upstream)
        .await;
    assert_eq!(gateway.get(ITEM).send().await.status, 502);

    gateway.replace("ca.pem", &authority);
    eventually("the new authority to be trusted", async || {
        gateway.get(ITEM).send().await.status == 200
    })
    .await;
    let connections = upstream.connections();
    gateway.replace("ca.pem", &another);
    reload(&gateway).await;
    assert_eq!(
        gateway.get(ITEM).send().await.status,
        200,
        "an open connection stays"
    );
    assert_eq!(upstream.connections(), connections);
}

#[tokio::test]
async fn the_admin_listener_asks_for_the_new_token() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::with("admin: { token_file: '@/token' }")
        .file("token", "the-first-of-two-tokens")
        .start(&upstream)
        .await;
    let ask = async |token: &str| {
        let call = gateway.admin("GET", "/policies");
        let call = call.header("Authorization", &format!("Bearer {token}"));
        call.send().await.status
    };
    assert_eq!(ask("the-first-of-two-tokens").await, 200);

    gateway.replace("token", "the-second-of-two-tokens");
    reload(&gateway).await;

    assert_eq!(ask("the-first-of-two-tokens").await, 401);
    assert_eq!(ask("the-second-of-two-tokens").await, 200);
    assert!(!gateway.lines().join("\n").contains("of-two-tokens"));
}

#[tokio::test]
async fn what_came_through_a_pipe_is_not_asked_for_again() {
    let upstream = Upstream::start().await;
    let document = policy("piped", "enforce", 428);
    let gateway = Gateway::with("")
        .after(&format!("exec 3<<'END'\n{document}END\n:"))
        .flag("--policy")
        .flag("/dev/fd/3")
        .start(&upstream)
        .await;

    gateway.signal("HUP");

    refused_as_a_pipe(&gateway, Path::new("/dev/fd/3")).await;
    assert_eq!(put(&gateway).await.status, 428);
}

/// The gateway says that it cannot read a policy again from there.
async fn refused_as_a_pipe(gateway: &Gateway, path: &Path) {
    let record = gateway
        .record("the refusal", |record| record["what"] == "policy")
        .await;
    let problem = record["problem"].as_str().unwrap();
    let told = format!("{}: a pipe can be read only once;", path.display());
    assert!(problem.starts_with(&told), "{problem}");
}

#[tokio::test]
async fn a_pipe_in_the_place_of_a_file_does_not_end_reloading() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::with("")
        .policy(&policy("first", "enforce", 428))
        .start(&upstream)
        .await;
    let path = gateway.path("policy.yaml");
    fs::remove_file(&path).unwrap();
    assert!(tool("mkfifo").arg(&path).status().unwrap().success());

    gateway.signal("HUP");

    refused_as_a_pipe(&gateway, &path).await;
    assert_eq!(put(&gateway).await.status, 428);

    gateway.replace("policy.yaml", &policy("second", "enforce", 422));
    eventually("the new policy", async || put(&gateway).await.status == 422).await;
}

#[tokio::test]
async fn ever_new_rules_and_tenants_leave_no_series_behind() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::with(&named("tenant-0"))
        .policy(&policy("rule-0", "enforce", 428))
        .start(&upstream)
        .await;
    assert_eq!(put(&gateway).await.status, 428);
    let before = gateway.metrics().await.lines().count();

    for number in 1..=20 {
        let (rule, tenant) = (format!("rule-{number}"), format!("tenant-{number}"));
        gateway.replace("policy.yaml", &policy(&rule, "enforce", 428));
        gateway.replace_settings(&named(&tenant));
        reload(&gateway).await;
        assert_eq!(put(&gateway).await.status, 428);
        let denied = [("rule", rule.as_str()), ("verdict", "deny")];
        gateway
            .until_metric("policy_decisions_total", &denied, 1.0)
            .await;
    }

    assert_eq!(gateway.metrics().await.lines().count(), before);
}

#[tokio::test]
async fn what_stays_in_force_is_counted_on() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::policy(&policy("tag", "enforce", 428))
        .start(&upstream)
        .await;
    let denied = [("rule", "tag"), ("mode", "enforce"), ("verdict", "deny")];
    let others = [("tenant", "_other"), ("outcome", "refused")];
    // The same rule in another document, then the first document again, with other tenants each time.
    for (number, (status, alias)) in [(428, "one"), (422, "two"), (428, "one")]
        .iter()
        .enumerate()
    {
        gateway.replace("policy.yaml", &policy("tag", "enforce", *status));
        gateway.replace_settings(&format!(
            "tenants: {{ known: {{ {alias}: {{ id: nobody }} }} }}\n"
        ));
        reload(&gateway).await;
        assert_eq!(put(&gateway).await.status, *status);
        let count = number as f64 + 1.0;
        for (metric, labels) in [
            ("policy_decisions_total", &denied[..]),
            ("tenant_requests_total", &others[..]),
        ] {
            gateway.until_metric(metric, labels, count).await;
        }
    }
    // A rule that was away begins anew.
    gateway.replace("policy.yaml", &policy("other", "enforce", 428));
    reload(&gateway).await;
    gateway.replace("policy.yaml", &policy("tag", "enforce", 428));
    reload(&gateway).await;
    assert_eq!(put(&gateway).await.status, 428);
    gateway
        .until_metric("policy_decisions_total", &denied, 1.0)
        .await;
    gateway
        .until_metric("tenant_requests_total", &others, 4.0)
        .await;
}

/// What a caller was told, and by which rule.
struct Told {
    request: String,
    status: u16,
    rule: String,
}

/// Sends one refused PUT after the other on one connection until it is told to stop.
async fn call(gateway: Arc<Gateway>, caller: usize, stop: Arc<AtomicBool>) -> Vec<Told> {
    let mut wire = gateway.wire().await;
    let mut told = Vec::new();
    while !stop.load(Ordering::SeqCst) {
        let request = format!("caller-{caller}-{}", told.len());
        let call = gateway
            .put(ITEM, body("Active", "Accepted"))
            .header("client-request-id", &request);
        let answer = call.on(&mut wire).await;
        let problem = answer.problem();
        let [finding] = &problem.value["error"]["innerError"]["findings"]
            .as_array()
            .unwrap()[..]
        else {
            panic!("not one finding in {}", problem.value);
        };
        told.push(Told {
            request,
            status: answer.status,
            rule: finding["rule"].as_str().unwrap().to_owned(),
        });
    }
    told
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_reloads_under_load_lose_no_request_and_mix_nothing() {
    const RELOADS: usize = 200;
    const CALLERS: usize = 4;
    let upstream = Upstream::start().await;
    // Two sets that differ in everything that a request can see of them.
    let sets = [("one", 428), ("two", 422)];
    let gateway = Gateway::with("").policy(&policy("none", "enforce", 428));
    let gateway = gateway.start(&upstream).await;
    for (name, status) in sets {
        let folder = gateway.path(name);
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("policy.yaml"), policy(name, "enforce", status)).unwrap();
        let ample =
            "rate_limit: { writes: { per_minute: 6000000, burst: 1000000 }, concurrency: 1000 }\n";
        fs::write(folder.join("settings.yaml"), named(name) + ample).unwrap();
    }
    let folder = gateway.path("");
    let swap = |name: &str| {
        symlink(name, folder.join("..data_tmp")).unwrap();
        fs::rename(folder.join("..data_tmp"), folder.join("..data")).unwrap();
    };
    swap("one");
    for file in ["policy.yaml", "settings.yaml"] {
        symlink(format!("..data/{file}"), gateway.path("link")).unwrap();
        fs::rename(gateway.path("link"), gateway.path(file)).unwrap();
    }
    reload(&gateway).await;
    let mut digests = BTreeMap::from([("one", digest(&gateway).await)]);

    let gateway = Arc::new(gateway);
    let stop = Arc::new(AtomicBool::new(false));
    let mut callers = JoinSet::new();
    for caller in 0..CALLERS {
        callers.spawn(call(Arc::clone(&gateway), caller, Arc::clone(&stop)));
    }
    let success = [("what", "policy"), ("result", "success")];
    let before = reloads(&gateway, &success).await;
    for number in 1..=RELOADS {
        let (name, _) = sets[number % 2];
        swap(name);
        gateway.signal("HUP");
        let after = before + number as f64;
        gateway
            .until_metric("config_reloads_total", &success, after)
            .await;
        let denied = [("rule", name), ("verdict", "deny")];
        eventually("the policy in force to refuse something", async || {
            gateway.metric("policy_decisions_total", &denied).await > 0.0
        })
        .await;
        digests.insert(name, digest(&gateway).await);
    }
    stop.store(true, Ordering::SeqCst);
    let told: Vec<Told> = callers.join_all().await.into_iter().flatten().collect();

    assert!(reloads(&gateway, &[("result", "failure")]).await.abs() < f64::EPSILON);
    assert!(upstream.seen().is_empty());
    gateway
        .until_metric(
            "http_requests_total",
            &[("method", "PUT")],
            told.len() as f64,
        )
        .await;
    gateway
        .until_metric("log_records_dropped_total", &[], 0.0)
        .await;
    let mut records: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    eventually("a record of each decision and each request", async || {
        records.clear();
        for line in gateway.lines() {
            let record: Value = serde_json::from_str(&line).unwrap();
            if let Some(request) = record["request_id"].as_str() {
                records.entry(request.to_owned()).or_default().push(record);
            }
        }
        records.values().map(Vec::len).sum::<usize>() == 2 * told.len()
    })
    .await;
    let mut seen = BTreeMap::<&str, usize>::new();
    for Told {
        request,
        status,
        rule,
    } in &told
    {
        let (name, expected) = sets.into_iter().find(|(name, _)| name == rule).unwrap();
        *seen.entry(name).or_default() += 1;
        assert_eq!(*status, expected, "{request}: {rule}");
        let mut records = records[request].clone();
        records.sort_by_key(|record| record["status"].is_null());
        let [access, decision] = &records[..] else {
            panic!("{records:?}");
        };
        assert_eq!(access["status"], expected, "{access}");
        assert_eq!(
            decision["policy_digest"],
            digests[name].as_str(),
            "{decision}"
        );
        assert_eq!(decision["rule"], name, "{decision}");
        assert_eq!(
            (&access["tenant"], &decision["tenant"]),
            (&name.into(), &name.into())
        );
    }
    assert!(
        sets.iter().all(|(name, _)| seen[name] >= RELOADS / 2),
        "{seen:?}"
    );
}
