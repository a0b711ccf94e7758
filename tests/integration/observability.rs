//! What the gateway says of itself: metrics, records, the admin listener, and what it never says.

use std::{collections::BTreeSet, io::Write as _, process::Stdio};

use serde_json::{Value, json};

use crate::support::{
    Answer, Gateway, ID, ITEM, LIST, Numbers, TAG, Upstream, body, eventually,
    gateway::sum,
    page::text,
    referral, reply, token,
    token::{in_an_hour, with_claims},
    tools::tool,
    wire::Call,
};

/// Every metric that belongs to what exists.
const METRICS: [&str; 34] = [
    "http_requests_total",
    "http_request_duration_seconds",
    "http_request_overhead_seconds",
    "http_requests_in_flight",
    "connections_open",
    "connections_total",
    "request_errors_total",
    "own_failures_total",
    "upstream_requests_total",
    "upstream_request_duration_seconds",
    "upstream_errors_total",
    "upstream_throttled_total",
    "upstream_last_success_timestamp_seconds",
    "upstream_last_failure_timestamp_seconds",
    "policy_decisions_total",
    "policy_transitions_total",
    "policy_repairs_total",
    "policy_info",
    "preconditions_total",
    "precondition_failures_total",
    "precondition_ignored_total",
    "snapshot_lookups_total",
    "snapshot_updates_total",
    "snapshot_evictions_total",
    "snapshot_entries",
    "ratelimit_decisions_total",
    "ratelimit_tenants",
    "cooldowns_active",
    "tenant_requests_total",
    "deprecated_requests_total",
    "config_reloads_total",
    "config_last_reload_successful",
    "state",
    "build_info",
];

/// The names of all series, values left out.
fn series(metrics: &str) -> BTreeSet<String> {
    metrics
        .lines()
        .filter(|line| !line.starts_with('#') && !line.is_empty())
        .map(|line| line.rsplit_once(' ').unwrap().0.to_owned())
        .collect()
}

fn promtool(metrics: &str) {
    let mut child = tool("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(metrics.as_bytes())
        .unwrap();
    let output = child.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    assert!(
        output.status.success() && said.is_empty(),
        "{}",
        String::from_utf8_lossy(&said)
    );
}

#[tokio::test]
async fn every_metric_is_there_from_the_start_and_promtool_finds_no_fault() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start(&upstream).await;
    let answer = gateway.telemetry("/metrics").await;
    assert!(
        answer
            .header("content-type")
            .unwrap()
            .starts_with("text/plain")
    );
    let metrics = answer.text();

    for name in METRICS {
        assert!(
            metrics.contains(&format!("# HELP referral_gateway_{name} ")),
            "{name} has no help"
        );
        assert!(
            metrics.contains(&format!("# TYPE referral_gateway_{name} ")),
            "{name} has no type"
        );
        let has_series = series(&metrics).iter().any(|line| {
            let rest = line
                .strip_prefix("referral_gateway_")
                .and_then(|line| line.strip_prefix(name));
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['{', '_']))
        });
        assert!(has_series, "{name} has no series");
    }
    for (name, labels) in [
        (
            "http_requests_total",
            vec![
                ("route", "referral_item"),
                ("method", "PUT"),
                ("source", "policy"),
            ],
        ),
        (
            "http_requests_total",
            vec![("route", "passthrough"), ("source", "upstream")],
        ),
        (
            "policy_decisions_total",
            vec![("rule", "if-match"), ("mode", "enforce")],
        ),
        (
            "policy_transitions_total",
            vec![("from", "Closed"), ("to", "Active")],
        ),
        (
            "http_requests_total",
            vec![("code", "500"), ("source", "gateway"), ("method", "GET")],
        ),
        (
            "http_requests_total",
            vec![("code", "503"), ("source", "gateway"), ("method", "PUT")],
        ),
        (
            "http_requests_total",
            vec![("code", "409"), ("source", "gateway"), ("method", "POST")],
        ),
        ("own_failures_total", vec![("code", "internal_error")]),
        (
            "upstream_requests_total",
            vec![("method", "GET"), ("code", "503")],
        ),
        (
            "upstream_requests_total",
            vec![("method", "PUT"), ("code", "412")],
        ),
        (
            "upstream_requests_total",
            vec![("method", "POST"), ("code", "201")],
        ),
        ("ratelimit_decisions_total", vec![("class", "reads")]),
        ("tenant_requests_total", vec![("tenant", "_other")]),
        ("connections_open", vec![("side", "upstream")]),
    ] {
        let wanted: Vec<_> = labels
            .iter()
            .map(|(label, value)| format!("{label}=\"{value}\""))
            .collect();
        let found = series(&metrics).iter().any(|line| {
            line.starts_with(&format!("referral_gateway_{name}{{"))
                && wanted.iter().all(|label| line.contains(label))
        });
        assert!(found, "{name} {labels:?} is not there at the start");
        assert!(
            gateway.metric(name, &labels).await.abs() < f64::EPSILON,
            "{name} {labels:?}"
        );
    }
    assert!(
        metrics.contains("process_resident_memory_bytes ") && metrics.contains("process_open_fds ")
    );
    let digest = gateway.ready["policy_digest"].as_str().unwrap();
    assert!(
        (gateway
            .metric("policy_info", &[("digest", digest), ("name", "referrals")])
            .await
            - 1.0)
            .abs()
            < f64::EPSILON
    );

    promtool(&metrics);
    gateway.get(ITEM).send().await;
    gateway.put(ITEM, "{}").send().await;
    promtool(&gateway.metrics().await);
}

#[tokio::test]
async fn each_rule_is_counted_from_the_start_in_each_of_its_modes_and_in_no_other() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::policy(
        "name: many
rules:
  - { id: links, check: links_removed, on: [PUT], mode: audit, modes: { one: repair, two: enforce, six: \"off\" }, repairs: [strip-links] }
  - { id: own, check: expression, expression: 'has(body.a)', message: 'No.', on: [PUT], mode: \"off\", modes: { two: warn } }
states: { New: { next: [New], substatus: [Pending] } }
",
    )
    .settings("tenants: { known: { one: { id: t1 }, two: { id: t2 }, six: { id: t6 } } }")
    .start(&upstream)
    .await;
    let at_first = gateway.metrics().await;
    let of = |name: &str, metrics: &str| {
        let prefix = format!("referral_gateway_{name}{{");
        let all = series(metrics).into_iter();
        all.filter(|line| line.starts_with(&prefix))
            .collect::<BTreeSet<_>>()
    };
    let decisions = of("policy_decisions_total", &at_first);
    for (rule, modes) in [
        ("links", &["audit", "enforce", "repair"][..]),
        ("own", &["warn"]),
    ] {
        let of_rule: Vec<&String> = decisions
            .iter()
            .filter(|line| line.contains(&format!("rule=\"{rule}\"")))
            .collect();
        assert_eq!(of_rule.len(), 6 * modes.len(), "{of_rule:?}");
        for mode in modes {
            assert!(
                of_rule
                    .iter()
                    .any(|line| line.contains(&format!("mode=\"{mode}\"")))
            );
        }
    }
    assert_eq!(of("policy_repairs_total", &at_first).len(), 5);
    promtool(&at_first);

    for tid in ["t1", "t2", "t6", "t7"] {
        for text in [r#"{"links":1}"#, "{}", "rubbish"] {
            let call = gateway.put(ITEM, text).if_match(TAG);
            call.bearer(&token(tid, "user", "app")).send().await;
        }
    }

    let afterwards = gateway.metrics().await;
    for name in ["policy_decisions_total", "policy_repairs_total"] {
        assert_eq!(of(name, &afterwards), of(name, &at_first), "{name}");
    }
    let repaired = [("repair", "strip-links")];
    assert!((sum(&afterwards, "policy_repairs_total", &repaired) - 1.0).abs() < f64::EPSILON);
    promtool(&afterwards);
}

#[tokio::test]
async fn each_code_that_the_gateway_is_to_blame_for_has_a_series_from_the_start_and_no_other_code_has()
 {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start(&upstream).await;
    // `row("loop_detected", StatusCode::BAD_GATEWAY, Gateway, ...`
    let table = text("src/problem.rs");
    let rows = table.split("row(\"").skip(1).filter_map(|row| {
        let mut cells = row.split(", ");
        let code = cells.next()?.strip_suffix('"')?;
        (cells.nth(1) == Some("Gateway")).then_some(code)
    });
    let mut blamed: BTreeSet<&str> = rows.collect();
    assert!(blamed.contains("internal_error"), "{blamed:?}");
    // A connection without a place never has a request.
    blamed.insert("too_many_connections");

    let metrics = gateway.metrics().await;

    let own = metrics
        .lines()
        .filter_map(|line| line.strip_prefix("referral_gateway_own_failures_total{code=\""))
        .map(|rest| rest.strip_suffix("\"} 0").expect(rest));
    assert_eq!(own.collect::<BTreeSet<_>>(), blamed);
}

#[tokio::test]
async fn answers_that_the_gateway_is_to_blame_for_are_told_from_those_of_others() {
    let upstream = Upstream::with(|seen| async move {
        match seen.target.path() {
            "/hung" => std::future::pending().await,
            "/broken" => Some(reply(500, "")),
            _ => None,
        }
    })
    .await;
    let settings = "upstream: { max_connections: 1, connect_timeout: 200ms, response_timeout: 1s }\n\
                    downstream: { max_connections: 2 }";
    let gateway = Gateway::with(settings).start(&upstream).await;
    let own = async |code: &str| {
        let labels = [("code", code)];
        gateway.metric("own_failures_total", &labels).await as usize
    };

    // Faults of callers and of the upstream.
    for (call, status) in [
        (gateway.call("BREW", "/x"), 501),
        (gateway.put(ITEM, "{}"), 428),
        (gateway.get("/broken"), 500),
        (gateway.get("/hung"), 504),
    ] {
        assert_eq!(call.send().await.status, status);
    }
    assert_eq!(gateway.metric("own_failures_total", &[]).await as usize, 0);

    let via = ["1.1 referral-gateway"; 4].join(", ");
    let looped = gateway.get(ITEM).header("Via", &via).send().await;
    assert_eq!(looped.problem().code, "loop_detected");
    assert_eq!(own("loop_detected").await, 1);

    let open = async |number: f64| {
        let labels = [("side", "downstream")];
        gateway
            .until_metric("connections_open", &labels, number)
            .await;
    };
    open(0.0).await;
    let held = gateway.get("/hung").open().await;
    upstream.arrived("GET", 3).await;
    let busy = gateway.get(ITEM).send().await;
    assert_eq!(busy.problem().code, "upstream_busy");
    assert_eq!(own("upstream_busy").await, 1);

    open(1.0).await;
    let other = gateway.wire().await;
    open(2.0).await;
    let refused = gateway.get(ITEM).send().await;
    assert_eq!(refused.problem().code, "too_many_connections");
    assert_eq!(own("too_many_connections").await, 1);
    drop((held, other));

    assert_eq!(gateway.metric("own_failures_total", &[]).await as usize, 3);
}

/// The values that a label has in all series.
fn values<'a>(metrics: &'a str, label: &str) -> BTreeSet<&'a str> {
    let start = format!("{label}=\"");
    let found = metrics.lines().filter_map(|line| line.split_once(&start));
    found
        .filter_map(|(_, rest)| rest.split('"').next())
        .collect()
}

#[tokio::test]
async fn labels_come_from_closed_sets_whatever_clients_send() {
    let upstream = Upstream::with(|seen| async move {
        let status = 200 + u16::try_from(seen.target.path().len()).unwrap() % 390;
        Some(reply(status, ""))
    })
    .await;
    let gateway = Gateway::start(&upstream).await;

    let mut numbers = Numbers::from_seed(7);
    let methods = [
        "GET", "PUT", "POST", "PATCH", "DELETE", "HEAD", "OPTIONS", "TRACE", "BREW", "get",
    ];
    for number in 0..500 {
        let method = methods[numbers.below(methods.len())];
        let path = match numbers.below(4) {
            0 => format!("/{}", "x".repeat(numbers.below(400))),
            1 => format!("{LIST}/{number}"),
            2 => format!("/v{number}/engagements/referrals({number})"),
            _ => format!("/{number}/{}", numbers.below(1000)),
        };
        let call = gateway
            .call(method, &path)
            .bearer(&token(&format!("tenant {number}"), "o", "a"))
            .header("User-Agent", &format!("agent {number}"))
            .header("Content-Type", "application/json")
            .if_match(&format!("\"{number}\""))
            .body(format!(
                r#"{{"status":"S{number}","substatus":"T{number}"}}"#
            ));
        call.open().await.rest_of_answer().await;
    }

    let metrics = gateway.metrics().await;
    for (label, allowed) in [
        (
            "route",
            &[
                "referral_item",
                "referral_list",
                "referral_create",
                "passthrough",
            ][..],
        ),
        (
            "method",
            &[
                "GET", "HEAD", "OPTIONS", "PUT", "PATCH", "POST", "DELETE", "other",
            ],
        ),
        (
            "source",
            &["upstream", "policy", "ratelimit", "cooldown", "gateway"],
        ),
        ("side", &["downstream", "upstream"]),
        ("class", &["reads", "writes"]),
        ("tenant", &["_other"]),
        ("mode", &["off", "audit", "warn", "enforce"]),
        (
            "from",
            &[
                "New", "Active", "Closed", "get", "list", "put", "patch", "post", "fetch",
            ],
        ),
        ("to", &["New", "Active", "Closed"]),
    ] {
        let found = values(&metrics, label);
        assert!(
            found.iter().all(|value| allowed.contains(value)),
            "{label}: {found:?}"
        );
    }
    // Beside statuses, `code` has the codes of the gateway's own failures.
    let of_answers = metrics
        .lines()
        .filter(|line| !line.starts_with("referral_gateway_own_failures_total{"))
        .collect::<Vec<_>>()
        .join("\n");
    let codes = values(&of_answers, "code");
    let known = |code: &&str| code.parse::<u16>().is_ok_and(|code| code < 600);
    assert!(
        codes.len() <= 64 && codes.iter().filter(|code| !known(code)).count() <= 1,
        "{codes:?}"
    );
    assert!(
        series(&metrics).len() < 4000,
        "{} series",
        series(&metrics).len()
    );
}

#[tokio::test]
async fn requests_and_decisions_are_counted() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start(&upstream).await;

    gateway.get(ITEM).send().await;
    gateway.put(ITEM, body("Active", "Accepted")).send().await;
    gateway
        .put(ITEM, body("New", "Pending"))
        .if_match(TAG)
        .send()
        .await;
    gateway
        .put(ITEM, body("Closed", "Won"))
        .if_match(TAG)
        .send()
        .await;
    gateway.get("/anything").send().await;
    gateway.call("BREW", "/anything").send().await;

    for (name, labels, value) in [
        (
            "http_requests_total",
            vec![
                ("route", "referral_item"),
                ("method", "GET"),
                ("source", "upstream"),
            ],
            1.0,
        ),
        (
            "http_requests_total",
            vec![
                ("route", "referral_item"),
                ("method", "PUT"),
                ("source", "policy"),
            ],
            2.0,
        ),
        (
            "http_requests_total",
            vec![
                ("route", "referral_item"),
                ("method", "PUT"),
                ("source", "upstream"),
            ],
            1.0,
        ),
        (
            "http_requests_total",
            vec![
                ("route", "passthrough"),
                ("method", "GET"),
                ("source", "upstream"),
            ],
            1.0,
        ),
        (
            "http_requests_total",
            vec![("source", "gateway"), ("code", "501")],
            1.0,
        ),
        (
            "policy_transitions_total",
            vec![("from", "Active"), ("to", "New")],
            1.0,
        ),
        (
            "policy_transitions_total",
            vec![("from", "Active"), ("to", "Closed")],
            1.0,
        ),
        ("upstream_requests_total", vec![("method", "PUT")], 1.0),
        ("upstream_requests_total", vec![("method", "GET")], 2.0),
        ("http_requests_in_flight", vec![], 0.0),
        (
            "http_request_duration_seconds_count",
            vec![("route", "referral_item")],
            4.0,
        ),
    ] {
        eventually(&format!("{name} {labels:?} = {value}"), async || {
            (gateway.metric(name, &labels).await - value).abs() < f64::EPSILON
        })
        .await;
    }
    assert!(
        gateway
            .metric(
                "policy_decisions_total",
                &[("rule", "if-match"), ("mode", "enforce")]
            )
            .await
            >= 3.0
    );
    assert!(gateway.metric("snapshot_updates_total", &[]).await >= 2.0);
}

#[tokio::test]
async fn each_request_leaves_one_access_record_and_each_judged_write_one_decision_record() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start(&upstream).await;

    gateway
        .get(ITEM)
        .header("client-request-id", "id-get")
        .send()
        .await;
    gateway
        .put(ITEM, body("Active", "Accepted"))
        .header("client-request-id", "id-refused")
        .send()
        .await;
    gateway
        .put(ITEM, body("New", "Pending"))
        .if_match(TAG)
        .header("client-request-id", "id-backwards")
        .send()
        .await;
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    gateway
        .put(ITEM, body("Closed", "Won"))
        .if_match(TAG)
        .header("client-request-id", "id-passed")
        .header("traceparent", &format!("00-{trace}-00f067aa0ba902b7-01"))
        .send()
        .await;

    let digest = gateway.ready["policy_digest"].as_str().unwrap().to_owned();
    for (id, status) in [
        ("id-get", 200),
        ("id-refused", 428),
        ("id-backwards", 409),
        ("id-passed", 200),
    ] {
        let of_request = |line: &Value| line.to_string().contains(id);
        let access = gateway
            .record(id, |line| {
                of_request(line) && line["status"] == status && !line["route"].is_null()
            })
            .await;
        assert_eq!(access["route"], "referral_item");
        assert!(
            access["method"].is_string() && !access["duration_ms"].is_null(),
            "{access}"
        );
        if id != "id-get" {
            let decision = gateway
                .record(id, |line| of_request(line) && !line["verdict"].is_null())
                .await;
            assert!(decision.to_string().contains(&digest), "{decision}");
            for field in ["verdict", "from", "to", "bound", "tenant", "request_id"] {
                assert!(!decision[field].is_null(), "no {field} in {decision}");
            }
            if id == "id-backwards" {
                let text = decision.to_string();
                assert!(
                    text.contains("transition") && text.contains("enforce"),
                    "{decision}"
                );
                assert_eq!(decision["from"], "Active");
                assert_eq!(decision["to"], "New");
            }
        }
    }
    gateway
        .record("the trace", |line| line.to_string().contains(trace))
        .await;

    let lines: Vec<Value> = gateway
        .lines()
        .iter()
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect();
    for id in ["id-get", "id-refused", "id-backwards", "id-passed"] {
        let mine: Vec<_> = lines
            .iter()
            .filter(|line| line.to_string().contains(id))
            .collect();
        assert_eq!(
            mine.iter()
                .filter(|line| !line["duration_ms"].is_null())
                .count(),
            1,
            "{mine:?}"
        );
        let decisions = usize::from(id != "id-get");
        assert_eq!(
            mine.iter()
                .filter(|line| !line["verdict"].is_null())
                .count(),
            decisions,
            "{mine:?}"
        );
    }
}

#[tokio::test]
async fn nothing_personal_or_secret_is_ever_said() {
    let tid = "77777777-aaaa-4000-8000-00000000cafe";
    let claims = json!({ "tid": tid, "oid": "oid-sesame", "appid": "appid-sesame", "upn": "sue.smith@contoso.example", "unique_name": "Sue Smith", "exp": in_an_hour() });
    let secret = with_claims(&claims, "signature-sesame");
    let parts: Vec<_> = secret.split('.').skip(1).map(str::to_owned).collect();
    let personal = r#""name":"Bakery Sesame","team":[{"firstName":"Suesesame","email":"sue.smith@contoso.example","phoneNumber":"555-1234-77"}],"details":{"notes":"a secret deal"}"#;
    let words = [
        "sesame",
        "Sesame",
        "sue.smith",
        "Sue Smith",
        "555-1234-77",
        "a secret deal",
        "cookie-secret",
        tid,
        parts[0].as_str(),
        parts[1].as_str(),
    ];
    let good = format!(r#"{{"id":"{ID}","status":"Closed","substatus":"Won",{personal}}}"#);
    let upstream = Upstream::with(|seen| async move {
        match seen.target.path() {
            "/broken" => Some(reply(500, "Bakery Sesame of sue.smith@contoso.example")),
            "/hung" => std::future::pending().await,
            _ => None,
        }
    })
    .await;
    let settings = "upstream: { response_timeout: 1s }\nrate_limit:\n  reads: { per_minute: 600000, burst: 10000 }\n  writes: { per_minute: 600000, burst: 10000 }\n  cooldown: { default: 1s }\n";
    let gateway = Gateway::with(settings)
        .flag("--log-level")
        .flag("trace")
        .start(&upstream)
        .await;
    let with_secrets = |call: Call| {
        call.bearer(&secret)
            .header("Cookie", "session=cookie-secret")
    };

    let put = |text: &str| gateway.put(ITEM, text);
    let calls: Vec<(Call, u16)> = vec![
        (gateway.get(ITEM), 200),
        (
            gateway.get(&format!(
                "{LIST}?$filter=email%20eq%20'sue.smith@contoso.example'"
            )),
            200,
        ),
        (put(&good), 428),
        (put(&good.replace('}', "},")).if_match(TAG), 400),
        (
            put(&good.replace(
                "\"status\"",
                "\"links\":{\"x\":\"Bakery Sesame\"},\"status\"",
            ))
            .if_match(TAG),
            422,
        ),
        (
            put(&good.replace("\"Won\"", "\"Suesesame\"")).if_match("\"x\""),
            422,
        ),
        (
            put(&good
                .replace("\"Closed\"", "\"New\"")
                .replace("\"Won\"", "\"Pending\""))
            .if_match(TAG),
            409,
        ),
        (
            put(&good).if_match(TAG).set("Content-Type", "text/plain"),
            415,
        ),
        (put(&good).if_match(TAG), 200),
        (
            gateway
                .call("POST", LIST)
                .header("Content-Type", "application/json")
                .body(&good),
            201,
        ),
        (
            gateway
                .call("PATCH", ITEM)
                .header("Content-Type", "application/json")
                .body(&good),
            204,
        ),
        (gateway.get("/broken"), 500),
        (gateway.get("/hung"), 504),
        (gateway.call("POST", "/hung").body(&good), 409),
        (gateway.call("BREW", "/x").body(&good), 501),
        (gateway.call("PUT", LIST).body(&good), 405),
        (
            gateway.call("PUT", &format!("{ITEM}/team")).body(&good),
            404,
        ),
        (put(&good).header("X-HTTP-Method-Override", "sesame"), 400),
        (gateway.get(ITEM).header("Connection", "authorization"), 400),
    ];
    let mut answers: Vec<Answer> = Vec::new();
    for (call, status) in calls {
        let answer = with_secrets(call).send().await;
        assert_eq!(answer.status, status, "{}", answer.text());
        answers.push(answer);
    }
    let twice = with_secrets(gateway.get(ITEM))
        .header("Authorization", &format!("Bearer {secret}"))
        .send()
        .await;
    assert_eq!(twice.status, 400);
    answers.push(twice);
    let raw = gateway.raw(format!("GET / HTTP/1.1\r\nHost: a\r\nAuthorization : Bearer {secret}\r\nCookie: cookie-secret\r\n\r\n")).await;
    gateway
        .until_metric("http_requests_in_flight", &[], 0.0)
        .await;

    let mut said: Vec<(String, String)> = vec![
        ("metrics".to_owned(), gateway.metrics().await),
        ("raw".to_owned(), raw),
    ];
    for path in ["/config", "/policies", "/log-level"] {
        said.push((
            path.to_owned(),
            gateway.admin("GET", path).send().await.text(),
        ));
    }
    for answer in answers.iter().filter(|answer| answer.is_ours()) {
        let head: String = answer
            .head
            .fields
            .iter()
            .map(|(name, value)| format!("{name}: {value}\n"))
            .collect();
        said.push((answer.status.to_string(), head + &answer.text()));
    }
    said.push(("log".to_owned(), gateway.lines().join("\n")));
    for (place, text) in said {
        for word in words {
            // A refused value of `substatus` is shown to the caller who sent it, and to nobody else.
            if !(place == "422" && word == "sesame") {
                let at = text.find(word);
                assert!(
                    at.is_none(),
                    "{word:?} in {place}: ...{}",
                    &text[at.unwrap().saturating_sub(200)..]
                );
            }
        }
    }
}

#[tokio::test]
async fn a_refusal_shows_what_its_sender_sent_and_nothing_of_the_referral() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start(&upstream).await;
    gateway.get(ITEM).send().await;

    let long = "y".repeat(5000);
    let answer = gateway
        .put(ITEM, body("Active", &long))
        .if_match(&format!("W/\"{}\"", "z".repeat(5000)))
        .send()
        .await;

    answer.problem();
    assert!(answer.body.len() < 8 * 1024, "{} bytes", answer.body.len());
    assert!(!answer.text().contains("Warehouse rollout"));
}

#[tokio::test]
async fn the_settings_in_force_are_shown_without_secrets() {
    let upstream = Upstream::start().await;
    let settings = "admin: { token_file: \"@/token\" }\ndrain: { max: 7s }";
    let gateway = Gateway::with(settings)
        .file("token", "open-sesame-open-sesame-1\n")
        .environment("REFERRAL_GATEWAY_SNAPSHOTS__STALE", "refuse")
        .start(&upstream)
        .await;

    assert_eq!(gateway.admin("GET", "/config").send().await.status, 401);
    assert_eq!(
        gateway
            .admin("GET", "/config")
            .bearer("wrong")
            .send()
            .await
            .status,
        401
    );
    let answer = gateway
        .admin("GET", "/config")
        .bearer("open-sesame-open-sesame-1")
        .send()
        .await;

    assert_eq!(answer.status, 200);
    let text = answer.text();
    assert!(!text.contains("open-sesame"));
    assert!(
        text.contains(&upstream.address.to_string()) && text.contains("refuse"),
        "{text}"
    );
    let lower = text.to_lowercase();
    for origin in ["env", "file", "flag", "default"] {
        assert!(lower.contains(origin), "no word of {origin} in {text}");
    }
}

#[tokio::test]
async fn the_policies_in_force_are_shown() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start(&upstream).await;

    let text = gateway.admin("GET", "/policies").send().await.text();

    assert!(
        text.contains(gateway.ready["policy_digest"].as_str().unwrap()),
        "{text}"
    );
    for word in ["referrals", "if-match", "links-removed", "transition"] {
        assert!(text.contains(word), "{word} in {text}");
    }
}

#[tokio::test]
async fn the_policies_in_force_say_what_each_rule_looks_at_and_for_whom() {
    let upstream = Upstream::start().await;
    let policy = "\
name: mine
rules:
  - { id: tag, check: if_match, on: [PUT, PATCH], mode: audit, modes: { contoso: enforce }, status: 412 }
  - { id: links, check: links_removed, on: [PUT], mode: enforce }
states: { New: { next: [New], substatus: [Pending] } }
";
    let gateway = Gateway::policy(policy)
        .settings("tenants: { known: { contoso: { id: 11111111-2222-4333-8444-555555555555 } } }")
        .start(&upstream)
        .await;

    let shown = gateway.admin("GET", "/policies").send().await.json();

    assert_eq!(
        shown[0]["rules"],
        serde_json::json!([
            {
                "id": "tag", "check": "if_match", "methods": ["PUT", "PATCH"], "mode": "audit",
                "modes": { "contoso": "enforce" }, "status": 412,
            },
            {
                "id": "links", "check": "links_removed", "methods": ["PUT"], "mode": "enforce",
                "modes": {}, "status": null,
            },
        ])
    );
}

#[tokio::test]
async fn the_ready_record_says_which_version_runs_with_which_settings_file() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::with("log: { level: info }").start(&upstream).await;
    let file = gateway.path("settings.yaml").display().to_string();
    assert_eq!(gateway.ready["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(gateway.ready["config"], file.as_str());
}

#[tokio::test]
async fn the_log_level_can_be_seen_and_changed_while_it_runs() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start(&upstream).await;
    assert!(
        gateway
            .admin("GET", "/log-level")
            .send()
            .await
            .text()
            .contains("info")
    );

    let quiet = gateway
        .admin("PUT", "/log-level")
        .body("error")
        .send()
        .await;
    assert!(
        matches!(quiet.status, 200 | 204),
        "{} {}",
        quiet.status,
        quiet.text()
    );
    assert!(
        gateway
            .admin("GET", "/log-level")
            .send()
            .await
            .text()
            .contains("error")
    );
    gateway
        .get(ITEM)
        .header("client-request-id", "unheard")
        .send()
        .await;

    let loud = gateway.admin("PUT", "/log-level").body("info").send().await;
    assert!(matches!(loud.status, 200 | 204));
    gateway
        .get(ITEM)
        .header("client-request-id", "heard")
        .send()
        .await;
    gateway
        .record("the second request", |line| {
            line.to_string().contains("\"heard\"")
        })
        .await;
    assert!(!gateway.lines().iter().any(|line| line.contains("unheard")));

    for wrong in ["referral_gateway=loud", "a=b=c"] {
        let answer = gateway.admin("PUT", "/log-level").body(wrong).send().await;
        assert!(
            (400..=422).contains(&answer.status),
            "{wrong:?}: {}",
            answer.status
        );
    }
    assert_eq!(
        gateway
            .admin("PUT", "/log-level")
            .body("x".repeat(1_000_000))
            .send()
            .await
            .status,
        413
    );
    assert!(
        gateway
            .admin("GET", "/log-level")
            .send()
            .await
            .text()
            .contains("info")
    );
}

#[tokio::test]
async fn no_web_page_may_ask_the_admin_listener_anything() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start(&upstream).await;

    for (name, value) in [
        ("Origin", "https://evil.example"),
        ("Origin", "null"),
        ("Sec-Fetch-Site", "cross-site"),
        ("Sec-Fetch-Site", "same-site"),
        ("Host", "evil.example"),
        ("Host", "evil.example:4282"),
        ("Host", "127.0.0.1.evil.example"),
    ] {
        for (method, path) in [
            ("GET", "/config"),
            ("GET", "/policies"),
            ("GET", "/log-level"),
            ("PUT", "/log-level"),
        ] {
            let answer = gateway
                .admin(method, path)
                .set(name, value)
                .body("trace")
                .send()
                .await;
            assert!(
                matches!(answer.status, 400 | 403 | 421),
                "{method} {path} {name}: {value}: {}",
                answer.status
            );
        }
    }
    assert!(
        gateway
            .admin("GET", "/log-level")
            .send()
            .await
            .text()
            .contains("info")
    );

    let port = gateway.admin.port();
    for host in [
        format!("localhost:{port}"),
        format!("127.0.0.1:{port}"),
        format!("[::1]:{port}"),
    ] {
        assert_eq!(
            gateway
                .admin("GET", "/config")
                .set("Host", &host)
                .send()
                .await
                .status,
            200,
            "{host}"
        );
    }
}

#[tokio::test]
async fn a_precondition_that_fails_upstream_is_counted() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start(&upstream).await;

    let stale = "\"stale\"";
    assert_eq!(
        gateway
            .put(ITEM, referral::of(ID, "Closed", "Won", stale))
            .if_match(stale)
            .send()
            .await
            .status,
        412
    );

    gateway
        .until_metric("precondition_failures_total", &[], 1.0)
        .await;
    assert!(
        gateway
            .metric("preconditions_total", &[("method", "PUT")])
            .await
            >= 1.0
    );
    assert!(gateway.metric("snapshot_lookups_total", &[]).await >= 1.0);
}

#[tokio::test]
async fn what_went_wrong_downstream_is_counted_by_its_kind() {
    let upstream = Upstream::with(|seen| async move {
        if seen.target.path() == LIST {
            std::future::pending::<()>().await;
        }
        None
    })
    .await;
    let settings = "downstream: { body_timeout: 300ms }";
    let gateway = Gateway::with(settings).start(&upstream).await;
    let put = gateway.put(ITEM, body("Closed", "Won")).if_match(TAG);
    let bytes = put.bytes();
    let short = &bytes[..bytes.len() - 1];

    let mut slow = gateway.wire().await;
    slow.send(short).await.unwrap();
    assert_eq!(slow.answer("PUT").await.status, 408);
    let mut cut = gateway.wire().await;
    cut.send(short).await.unwrap();
    cut.half_close().await;
    cut.rest().await;
    let left = gateway.get(LIST).open().await;
    upstream.arrived("GET", 1).await;
    left.reset();
    let (long, large) = ("a".repeat(17_000), "a".repeat(40_000));
    for request in [
        format!("GET /{long} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"),
        format!("GET / HTTP/1.1\r\nHost: h\r\nX: {large}\r\n\r\n"),
        "GET /x HTTP/1.1\r\nHost: a b\r\nConnection: close\r\n\r\n".to_owned(),
    ] {
        gateway.raw(&request).await;
    }

    for kind in [
        "body_timeout",
        "body_incomplete",
        "client_gone",
        "uri_too_long",
        "header_too_large",
        "malformed",
    ] {
        gateway
            .until_metric("request_errors_total", &[("kind", kind)], 1.0)
            .await;
    }
    let record = gateway
        .record("the record of who left", |line| {
            line["code"] == "client_gone"
        })
        .await;
    assert_eq!(record["status"], 0);
}

#[tokio::test]
async fn writes_are_counted_by_the_form_of_if_match() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start(&upstream).await;
    let put = || gateway.put(ITEM, body("Closed", "Won"));
    put().send().await;
    put().if_match("bare").send().await;
    put().if_match("*").send().await;
    put().if_match(TAG).send().await;
    gateway.patch(ITEM, "{}").send().await;
    gateway.call("DELETE", ITEM).send().await;
    gateway.get(ITEM).send().await;
    gateway.call("POST", LIST).body("{}").send().await;
    gateway.put("/other", "{}").send().await;

    for (method, kind, count) in [
        ("PUT", "missing", 1),
        ("PUT", "unusable", 2),
        ("PUT", "strong", 1),
        ("PATCH", "missing", 1),
        ("DELETE", "missing", 1),
        ("POST", "missing", 0),
    ] {
        let labels = [("method", method), ("kind", kind)];
        let counted = gateway.metric("preconditions_total", &labels).await;
        assert_eq!(counted as usize, count, "{method} {kind}");
    }
    let all = gateway.metric("preconditions_total", &[]).await;
    assert_eq!(all as usize, 6);
    let obsolete = gateway.metric("deprecated_requests_total", &[]).await;
    assert_eq!(obsolete as usize, 4);
}

#[tokio::test]
async fn requests_of_a_tenant_are_counted_by_their_outcome() {
    let upstream = Upstream::with(|seen| async move {
        match seen.target.path() {
            "/broken" => Some(reply(500, "")),
            "/silent" => std::future::pending().await,
            _ => None,
        }
    })
    .await;
    let settings =
        "tenants: { known: { contoso: { id: t1 } } }\nupstream: { response_timeout: 500ms }";
    let gateway = Gateway::with(settings).start(&upstream).await;
    let token = token("t1", "o", "a");
    let get = |path: &str| gateway.get(path).bearer(&token);
    get(ITEM).send().await;
    get("/broken").send().await;
    get("/silent").send().await;
    gateway.put(ITEM, "{").bearer(&token).send().await;
    for (outcome, count) in [("passed", 2), ("refused", 1), ("failed", 1)] {
        let labels = [("tenant", "contoso"), ("outcome", outcome)];
        gateway
            .until_metric("tenant_requests_total", &labels, f64::from(count))
            .await;
    }
}

#[tokio::test]
async fn only_a_well_formed_traceparent_is_logged() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start(&upstream).await;
    let good = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    for (number, trace, logged) in [
        ("1", good.to_owned(), good),
        ("2", good.replace('4', "z"), ""),
        ("3", good.replace('-', "0"), ""),
        ("4", good.replacen("00-", "0-", 1), ""),
        ("5", format!("{good}00"), ""),
    ] {
        let call = gateway.get(ITEM).header("traceparent", &trace);
        call.header("client-request-id", number).send().await;
        let record = gateway
            .record("the record", |line| line["request_id"] == *number)
            .await;
        assert_eq!(
            record["traceparent"].as_str().unwrap_or_default(),
            logged,
            "{trace}"
        );
    }
}

#[tokio::test]
async fn a_record_names_the_tenant() {
    let upstream = Upstream::start().await;
    let settings = "tenants: { known: { contoso: { id: t1 } } }";
    let gateway = Gateway::with(settings).start(&upstream).await;
    for (number, tenant) in [("1", "contoso"), ("2", "anonymous"), ("3", "")] {
        let call = gateway.put(ITEM, body("Closed", "Won")).if_match(TAG);
        let call = call.header("client-request-id", number);
        let call = match tenant {
            "contoso" => call.bearer(&token("t1", "o", "a")),
            "anonymous" => call.without("Authorization"),
            _ => call.bearer(&token("t2", "o", "a")),
        };
        call.send().await;
        for target in ["access", "decision"] {
            let target = format!("referral_gateway::{target}");
            let record = gateway
                .record("the record", |line| {
                    line["target"] == *target && line["request_id"] == *number
                })
                .await;
            let name = record["tenant"].as_str().unwrap();
            match tenant {
                "" => assert!(name.len() == 16 && name != tenant, "{record}"),
                tenant => assert_eq!(name, tenant, "{record}"),
            }
        }
    }
}

#[tokio::test]
async fn a_wait_for_somebody_else_is_recorded_and_is_no_overhead() {
    let upstream = Upstream::with(|_| std::future::pending()).await;
    let settings = "upstream: { response_timeout: 2s }\ndownstream: { body_timeout: 2s }";
    let gateway = Gateway::with(settings).start(&upstream).await;
    let put = gateway.put(ITEM, body("Closed", "Won")).if_match(TAG);
    let bytes = put.bytes();

    // The upstream's answer, the answer to the gateway's own GET, and the rest of a body never come.
    let read = gateway.get(LIST).send().await;
    let write = put.send().await;
    let mut wire = gateway.wire().await;
    wire.send(&bytes[..bytes.len() - 1]).await.unwrap();
    let late = wire.answer("PUT").await;

    for (answer, status, route, referral) in [
        (read, 504, "referral_list", ""),
        (write, 503, "referral_item", ID),
        (late, 408, "referral_item", ID),
    ] {
        assert_eq!(answer.status, status);
        let record = gateway
            .record("the answer", |line| line["status"] == status)
            .await;
        let waited = record["waited_ms"].as_f64().unwrap();
        assert!(waited >= 1900.0, "{record}");
        assert!(
            record["duration_ms"].as_f64().unwrap() >= waited,
            "{record}"
        );
        assert_eq!(record["sent_bytes"], answer.body.len());
        assert_eq!(
            (&record["route"], &record["referral"]),
            (&route.into(), &referral.into())
        );
    }
    let overhead = async |part: &str| {
        let name = format!("http_request_overhead_seconds_{part}");
        gateway.metric(&name, &[]).await
    };
    assert_eq!(overhead("count").await as usize, 3);
    // Any one of the waits would be more.
    assert!(overhead("sum").await < 1.9);
}

#[tokio::test]
async fn a_transition_that_no_rule_judges_is_not_counted() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::with("")
        .policy(
            "name: p\nrules:\n  - { id: half, check: substatus, on: [PATCH], mode: enforce }\nstates:\n  \
             New: { next: [New], substatus: [Pending] }\n  Active: { next: [Active], substatus: [Accepted] }\n",
        )
        .start(&upstream)
        .await;

    let answer = gateway
        .patch(ITEM, r#"{"status":"Active"}"#)
        .if_match(TAG)
        .send()
        .await;

    assert_eq!(answer.status, 204, "{}", answer.text());
    assert_eq!(upstream.count("GET"), 1, "the state was asked for");
    gateway
        .until_metric("policy_decisions_total", &[("verdict", "pass")], 1.0)
        .await;
    let counted = gateway.metric("policy_transitions_total", &[]).await;
    assert!(counted.abs() < f64::EPSILON, "{counted}");
}
