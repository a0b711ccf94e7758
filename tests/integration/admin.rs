//! What operators ask a running gateway on its admin listener, with curl's means and by the commands.

use std::process::{Output, Stdio};

use serde_json::{Value, json};

use crate::support::{
    Answer, Gateway, ID, ITEM, LIST, NOWHERE, TAG, Upstream, Wire, body, eventually,
    gateway::program,
    reply, token,
    token::{TENANT, usual},
    within,
};

/// Asks with the type that every POST has.
async fn post(gateway: &Gateway, path: &str, body: impl AsRef<[u8]>) -> Answer {
    let call = gateway.admin("POST", path);
    let call = call.header("Content-Type", "application/json");
    call.body(body).send().await
}

async fn get(gateway: &Gateway, path: &str) -> Value {
    let answer = gateway.admin("GET", path).send().await;
    assert_eq!(answer.status, 200, "{path}: {}", answer.text());
    assert_eq!(answer.header("content-type"), Some("application/json"));
    answer.json()
}

async fn verdict(gateway: &Gateway) -> Value {
    get(gateway, "/status").await["verdict"].clone()
}

/// Runs a command against a gateway; it reads the same settings.
async fn ask(gateway: &Gateway, arguments: &[&str], input: &str) -> (i32, String, String) {
    let url = format!("http://{}", gateway.admin);
    let mut command = tokio::process::Command::new(program());
    command
        .arg(arguments[0])
        .args([
            "--config".as_ref(),
            gateway.path("settings.yaml").as_os_str(),
        ])
        .args(["--url", &url])
        .args(&arguments[1..])
        .env_clear()
        .kill_on_drop(true)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    tokio::io::AsyncWriteExt::write_all(&mut stdin, input.as_bytes())
        .await
        .ok();
    drop(stdin);
    let Output {
        status,
        stdout,
        stderr,
    } = within("the end of the command", child.wait_with_output())
        .await
        .unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code().unwrap(), text(stdout), text(stderr))
}

#[tokio::test]
async fn the_status_says_first_whose_matter_it_is() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start(&upstream).await;
    let told = async |code: &str, concerns: &str| {
        eventually(code, async || verdict(&gateway).await["code"] == code).await;
        assert_eq!(verdict(&gateway).await["concerns"], concerns);
    };
    told("idle", "nobody").await;
    assert_eq!(gateway.get(ITEM).send().await.status, 200);
    told("healthy", "nobody").await;
    let refused = gateway.put(ITEM, body("Closed", "Won")).send().await;
    assert_eq!(refused.status, 428);
    told("denied", "policy").await;

    let status = get(&gateway, "/status").await;
    assert_eq!(status["state"], "ready");
    assert_eq!(status["policy"]["name"], "referrals");
    assert_eq!(status["last_reload"], Value::Null);
    assert_eq!(status["upstream"]["codes"], json!({ "200": 1 }));
    assert_eq!(status["upstream"]["url"], upstream.url());
    let rules = status["rules"].as_array().unwrap();
    let rule = rules.iter().find(|rule| rule["rule"] == "if-match");
    assert_eq!(rule.unwrap()["verdicts"]["deny"], 1, "{status:#}");
    assert!(status["traffic"]["own_p99_ms"].is_number(), "{status:#}");

    gateway.replace_settings("lisen: nowhere");
    assert_eq!(post(&gateway, "/reload", "").await.status, 422);
    told("reload_failed", "gateway").await;
}

#[tokio::test]
async fn the_status_says_that_the_service_does_not_answer() {
    let upstream = Upstream::raw(|stream, _| async move { drop(stream) }).await;
    let gateway = Gateway::start(&upstream).await;
    assert_eq!(gateway.get(ITEM).send().await.status, 502);

    let told = verdict(&gateway).await;
    assert_eq!(
        (&told["code"], &told["concerns"]),
        (&"upstream_failing".into(), &"service".into())
    );
    let text = told["text"].as_str().unwrap();
    assert!(
        text.ends_with("It has not answered since the start."),
        "{text}"
    );
    let status = get(&gateway, "/status").await;
    assert_eq!(status["upstream"]["last_success"], Value::Null);
    assert_eq!(status["upstream"]["last_failure"]["kind"], "closed");
}

#[tokio::test]
async fn the_status_tells_limits_and_cooldowns_apart() {
    let upstream = Upstream::with(|seen| async move {
        let mut answer = reply(429, "");
        if seen.target.path() == LIST {
            answer = reply(200, "{}");
        } else {
            let soon = "120".parse().unwrap();
            answer.headers_mut().insert("retry-after", soon);
        }
        Some(answer)
    })
    .await;
    let gateway = Gateway::with(
        "rate_limit:\n  reads: { per_minute: 1, burst: 2 }\n  writes: { per_minute: 60, burst: 4 }\ntenants:\n  known:\n    contoso: { id: 11111111-aaaa-4000-8000-000000000001 }",
    )
    .start(&upstream)
    .await;
    // The first one proves the credential; from then on its tenant pays.
    for expected in [200, 200, 200, 429] {
        assert_eq!(gateway.get(LIST).send().await.status, expected);
    }
    assert_eq!(verdict(&gateway).await["code"], "limited");
    let other = token("99999999-aaaa-4000-8000-000000000009", "o", "a");
    assert_eq!(gateway.get(ITEM).bearer(&other).send().await.status, 429);
    assert_eq!(verdict(&gateway).await["code"], "throttled");

    let tenants = get(&gateway, "/tenants").await;
    assert_eq!(
        (&tenants["tracked"], &tenants["cooldowns"]),
        (&json!(3), &json!(1))
    );
    let [cooling, limited, _] = &tenants["tenants"].as_array().unwrap()[..] else {
        panic!("{tenants:#}");
    };
    // Who waits comes first. It has no alias, so a hash stands for it.
    let left = cooling["reads"]["cooldown_seconds"].as_u64().unwrap();
    assert!((100..=120).contains(&left), "{tenants:#}");
    assert_eq!(cooling["writes"]["cooldown_seconds"], Value::Null);
    let hash = cooling["tenant"].as_str().unwrap();
    assert!(hash.len() == 16 && hash.bytes().all(|byte| byte.is_ascii_hexdigit()));
    assert!(
        limited["reads"]["spent"].as_f64().unwrap() > 0.9,
        "{tenants:#}"
    );
    assert_eq!(
        (&limited["tenant"], &limited["writes"]["spent"]),
        (&"contoso".into(), &json!(0.0))
    );
    assert_eq!(limited["reads"]["burst"], 2);
    let text = tenants.to_string();
    assert!(
        !text.contains("99999999") && !text.contains(TENANT),
        "{text}"
    );

    let (code, text, _) = ask(&gateway, &["tenants"], "").await;
    assert_eq!(code, 0);
    assert!(
        text.starts_with("3 of 100000 tenants, 1 cooldowns\nTENANT "),
        "{text}"
    );
    assert!(text.contains(hash) && text.contains(" reads 1"), "{text}");
}

#[tokio::test]
async fn a_tenant_with_an_alias_is_shown_by_it_once_its_token_is_proven() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::with(&format!(
        "tenants: {{ known: {{ contoso: {{ id: {TENANT} }} }} }}\nrate_limit: {{ reads: {{ per_minute: 6, burst: 10 }} }}"
    ))
    .start(&upstream)
    .await;
    for _ in 0..3 {
        assert_eq!(gateway.get(ITEM).send().await.status, 200);
    }
    let tenants = get(&gateway, "/tenants").await;
    let all = tenants["tenants"].as_array().unwrap();
    let known = all.iter().find(|tenant| tenant["tenant"] == "contoso");
    let spent = known.unwrap()["reads"]["spent"].as_f64().unwrap();
    assert!((0.15..=0.2).contains(&spent), "{tenants:#}");
}

#[tokio::test]
async fn the_snapshots_of_a_referral_are_shown_without_tags_and_names() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start(&upstream).await;
    let path = format!("/snapshots/{ID}");
    let nothing = get(&gateway, &path).await;
    assert_eq!(nothing["scopes"], json!([]));

    let read = gateway.get(ITEM).send().await;
    assert_eq!(read.status, 200);
    eventually("the snapshot", async || {
        get(&gateway, &path).await["scopes"] != json!([])
    })
    .await;
    let shown = get(
        &gateway,
        &path.to_ascii_uppercase().replace("SNAPSHOTS", "snapshots"),
    )
    .await;
    assert_eq!(
        (&shown["referral"], &shown["proven_callers"]),
        (&ID.into(), &1.into())
    );
    let version = &shown["scopes"][0]["versions"][0];
    assert_eq!(version["status"], read.json()["status"]);
    assert_eq!(version["substatus"], read.json()["substatus"]);
    assert!(version["age_seconds"].as_u64().unwrap() < 60);
    assert_eq!(version["etag_hashes"].as_array().unwrap().len(), 1);
    let text = shown.to_string();
    assert!(
        !text.contains(TAG.trim_matches('"')) && !text.contains(TENANT),
        "{text}"
    );

    // Another caller's state is there too, and a referral that nobody read is not.
    let other = token(TENANT, "another", "application");
    gateway.get(ITEM).bearer(&other).send().await;
    eventually("two scopes", async || {
        get(&gateway, &path).await["scopes"]
            .as_array()
            .unwrap()
            .len()
            == 2
    })
    .await;
    assert_eq!(get(&gateway, "/snapshots/other").await["scopes"], json!([]));
    for wrong in [
        "/snapshots/",
        "/snapshots/a%2fb",
        "/snapshots/a/b",
        "/snapshots/..",
    ] {
        let answer = gateway.admin("GET", wrong).send().await;
        assert_eq!(answer.status, 400, "{wrong}: {}", answer.text());
    }
}

#[tokio::test]
async fn explain_judges_by_what_is_in_force() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start(&upstream).await;
    let request = format!(
        "PUT {ITEM} HTTP/1.1\r\nHost: x\r\nIf-Match: {TAG}\r\nContent-Type: application/json\r\n\r\n{}",
        body("New", "Pending")
    );
    let ask_of = async |more: Value| {
        let mut asked = json!({ "request": request });
        for (name, value) in more.as_object().unwrap() {
            asked[name] = value.clone();
        }
        post(&gateway, "/explain", asked.to_string()).await
    };

    let told = ask_of(json!({ "status": "Active", "substatus": "Accepted" })).await;
    assert_eq!(told.status, 200, "{}", told.text());
    let told = told.json();
    assert_eq!(told["verdict"], "refuse");
    assert_eq!(told["answer"]["code"], "transition_not_allowed");
    let report = told["report"].as_str().unwrap();
    assert!(report.contains("verdict   refused: 409"), "{report}");

    // The settings and the policy of the running program, not those of a file.
    let policy = get(&gateway, "/policies").await;
    assert_eq!(told["policy"]["digest"], policy[0]["digest"]);

    let unknown = ask_of(json!({})).await.json();
    assert_eq!(unknown["verdict"], "unjudged");
    assert!(
        unknown["notices"]
            .to_string()
            .contains("give status or snapshot"),
        "{unknown:#}"
    );
    let state = json!({ "id": ID, "eTag": TAG, "status": "Active", "substatus": "Accepted" });
    let told = ask_of(json!({ "snapshot": state })).await.json();
    assert_eq!(told["verdict"], "refuse", "{told:#}");

    for (more, expected) in [
        (
            json!({ "request": "" }),
            "request: line 1: there is nothing to read",
        ),
        (
            json!({ "request": "PUT", "file": "a.http" }),
            "a.http: line 1: ",
        ),
        (
            json!({ "status": "Nwe" }),
            "status `Nwe`: not in the policy's table; write one of ",
        ),
        (
            json!({ "status": "Closed" }),
            "with status Closed, also give substatus",
        ),
        (
            json!({ "substatus": "Accepted" }),
            "substatus and etag are of a status",
        ),
        (
            json!({ "snapshot": state, "status": "Active" }),
            "give snapshot, or status with substatus and etag; not both",
        ),
        (
            json!({ "snapshot": {} }),
            "snapshot: line 1: no referral with a status",
        ),
        (
            json!({ "status": "Active", "substatus": "Accepted", "etag": "x" }),
            "etag `x`: not an entity tag; write it with its double quotes, as in \"etag\"",
        ),
        (
            json!({ "tenant": "nobody" }),
            "tenant `nobody`: the settings have no such tenant",
        ),
        (
            json!({ "nonsense": 1 }),
            "the body of this request: unknown field `nonsense`",
        ),
    ] {
        let answer = ask_of(more).await;
        assert_eq!(answer.status, 400, "{expected}: {}", answer.text());
        assert!(
            answer.text().starts_with(expected),
            "{expected}: {}",
            answer.text()
        );
    }
    let answer = post(&gateway, "/explain", "{").await;
    assert_eq!(answer.status, 400);
    let large = json!({ "request": "x".repeat(1024 * 1024) }).to_string();
    assert_eq!(post(&gateway, "/explain", large).await.status, 413);
    assert!(upstream.seen().is_empty());
}

#[tokio::test]
async fn explain_live_is_the_same_by_command() {
    let upstream = Upstream::start().await;
    let policy =
        include_str!("../../policies/referrals.yaml").replace("name: referrals", "name: own");
    let gateway = Gateway::policy(&policy).start(&upstream).await;
    let request = format!(
        "PUT {ITEM} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\nContent-Type: application/json\r\n\r\n{}",
        usual(),
        body("New", "Pending")
    );
    let live = ["explain", "--live"];
    let (code, text, said) = ask(&gateway, &live, &request).await;
    assert_eq!((code, said.as_str()), (3, ""), "{text}");
    assert!(text.contains("\npolicy    own, sha256:"), "{text}");
    assert!(
        text.contains("verdict   refused: 428 if_match_missing"),
        "{text}"
    );
    assert!(!text.contains(&usual()));

    let (code, json, _) = ask(
        &gateway,
        &["explain", "--live", "--output", "json"],
        &request,
    )
    .await;
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!((code, &json["verdict"]), (3, &"refuse".into()));
    assert_eq!(json["report"], Value::Null, "the text is not in the JSON");

    let passing = format!("GET {ITEM} HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_eq!(ask(&gateway, &live, &passing).await.0, 0);
    let (code, _, said) = ask(&gateway, &live, "").await;
    assert_eq!(code, 2, "{said}");
    assert!(
        said.contains("-: line 1: there is nothing to read"),
        "{said}"
    );
    let flags = ["explain", "--live", "--status", "Nwe"];
    let (code, _, said) = ask(&gateway, &flags, &request).await;
    assert_eq!(code, 2);
    assert!(
        said.contains("status `Nwe`: not in the policy's table"),
        "{said}"
    );
}

#[tokio::test]
async fn decisions_are_kept_whatever_the_log_shows() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start(&upstream).await;
    let quiet = gateway.admin("PUT", "/log-level").body("error");
    assert_eq!(quiet.send().await.json(), json!({ "level": "error" }));
    let (code, text, _) = ask(&gateway, &["decisions"], "").await;
    assert_eq!(
        (code, text.as_str()),
        (0, "No write was judged since the start.\n")
    );
    assert_eq!(get(&gateway, "/decisions").await, json!([]));

    for number in 0..300 {
        let id = format!("write-{number}");
        let call = gateway.put(ITEM, body("Closed", "Won"));
        let answer = call.header("client-request-id", &id).send().await;
        assert_eq!(answer.status, 428);
    }
    let records = get(&gateway, "/decisions").await;
    let records = records.as_array().unwrap();
    assert_eq!(records.len(), 256);
    assert_eq!(records[0]["request_id"], "write-44");
    let last = &records[255];
    assert_eq!(last["request_id"], "write-299");
    assert_eq!(
        (
            &last["verdict"],
            &last["rule"],
            &last["code"],
            &last["target"]
        ),
        (
            &"refuse".into(),
            &"if-match".into(),
            &"if_match_missing".into(),
            &"referral_gateway::decision".into()
        )
    );
    assert!(!gateway.lines().iter().any(|line| line.contains("write-")));

    let (_, text, _) = ask(&gateway, &["decisions"], "").await;
    let line = text.lines().last().unwrap();
    assert!(
        line.contains(&format!(" refuse PUT {ID} to Closed "))
            && line.ends_with(" request write-299"),
        "{line}"
    );
    let (_, text, _) = ask(&gateway, &["decisions", "--output", "json"], "").await;
    let told: Vec<Value> = serde_json::from_str(&text).unwrap();
    assert_eq!(told.len(), 256);
}

#[tokio::test]
async fn the_log_has_the_same_record_as_the_decisions() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start(&upstream).await;
    gateway.put(ITEM, body("Closed", "Won")).send().await;
    let logged = gateway
        .record("the decision record", |line| {
            line["target"] == "referral_gateway::decision"
        })
        .await;
    assert_eq!(get(&gateway, "/decisions").await, json!([logged]));
}

#[tokio::test]
async fn a_body_that_does_not_come_gives_its_place_back() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start(&upstream).await;
    let call = gateway.admin("POST", "/explain");
    let call = call.header("Content-Type", "application/json");
    let mut wire = call.header("Content-Length", "10").open().await;
    let answer = wire.answer("POST").await;
    assert_eq!(answer.status, 408, "{}", answer.text());
    assert!(answer.text().contains("within 10 s"), "{}", answer.text());
}

#[tokio::test]
async fn one_request_is_explained_at_a_time() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start(&upstream).await;
    let slashes = "/".repeat(900_000);
    let asked = json!({ "request": format!("GET {slashes} HTTP/1.1\r\nHost: x\r\n\r\n") });
    let asked = asked.to_string();
    let call = gateway.admin("POST", "/explain");
    let call = call.header("Content-Type", "application/json").body(asked);
    let mut calls = tokio::task::JoinSet::new();
    for status in 0..8 {
        let call = call.open().await;
        calls.spawn(async move {
            let mut wire = call;
            (status, wire.answer("POST").await.status)
        });
    }
    let mut statuses = Vec::new();
    while let Some(ended) = calls.join_next().await {
        statuses.push(ended.unwrap().1);
    }
    assert!(
        statuses.iter().all(|status| matches!(status, 200 | 503)),
        "{statuses:?}"
    );
    assert!(statuses.contains(&200), "{statuses:?}");
    assert!(statuses.contains(&503), "{statuses:?}");
    assert_eq!(
        post(&gateway, "/explain", "{}").await.status,
        400,
        "the place is free again"
    );
}

#[tokio::test]
async fn who_may_not_ask_gives_the_place_back() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::with("admin: { token_file: @/token }")
        .file("token", "a-long-enough-token\n")
        .start(&upstream)
        .await;
    for path in ["/", "/status"] {
        let mut wire = gateway.admin("GET", path).open().await;
        let answer = wire.answer("GET").await;
        assert!(matches!(answer.status, 200 | 401), "{answer:?}");
        assert_eq!(answer.header("connection"), Some("close"), "{path}");
        assert!(wire.is_closed().await, "{path}");
    }
}

#[tokio::test]
async fn the_status_says_that_the_service_answers_with_errors_and_that_states_are_not_read() {
    let upstream = Upstream::with(|_| async { Some(reply(500, "{}")) }).await;
    let gateway = Gateway::start(&upstream).await;
    let write = gateway.put(ITEM, body("Closed", "Won")).if_match(TAG);
    assert_eq!(write.send().await.status, 503);
    let told = verdict(&gateway).await;
    assert_eq!(
        (&told["code"], &told["concerns"]),
        (&"states_unread".into(), &"service".into())
    );
    for _ in 0..5 {
        assert_eq!(gateway.get(ITEM).send().await.status, 500);
    }
    let told = verdict(&gateway).await;
    assert_eq!(told["code"], "upstream_errors");
    let text = told["text"].as_str().unwrap();
    assert!(
        text.contains("6 of 6 requests with an error of its own (5xx)"),
        "{text}"
    );
}

/// Reads on until the text has this.
async fn event(wire: &mut Wire, text: &mut String, wanted: &str) {
    within(wanted, async {
        let mut looked = 0;
        while !text[looked..].contains(wanted) {
            looked = text.len().saturating_sub(wanted.len());
            let some = wire.some().await.unwrap();
            assert!(!some.is_empty(), "the stream ended before {wanted}");
            text.push_str(std::str::from_utf8(&some).unwrap());
        }
    })
    .await;
}

#[tokio::test]
async fn who_follows_gets_what_was_and_what_comes() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start(&upstream).await;
    let write = async |id: &str| {
        let call = gateway.put(ITEM, body("Closed", "Won"));
        call.header("client-request-id", id).send().await
    };
    write("before").await;
    let mut wire = gateway.admin("GET", "/decisions?follow").open().await;
    let head = wire.head().await.unwrap();
    assert!(head.line.starts_with("HTTP/1.1 200"), "{head:?}");
    assert_eq!(head.field("content-type"), Some("text/event-stream"));
    assert_eq!(head.field("cache-control"), Some("no-store"));
    let mut text = String::new();
    event(&mut wire, &mut text, "\"before\"").await;
    write("after").await;
    event(&mut wire, &mut text, "\"after\"").await;
    assert_eq!(
        text.matches("event: decision\ndata: {").count(),
        2,
        "{text}"
    );

    // The command shows the same, and ends with the gateway.
    let url = format!("http://{}", gateway.admin);
    let mut child = tokio::process::Command::new(program())
        .args(["decisions", "--follow", "--url", &url])
        .env_clear()
        .kill_on_drop(true)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines =
        tokio::io::AsyncBufReadExt::lines(tokio::io::BufReader::new(child.stdout.take().unwrap()));
    for expected in ["request before", "request after"] {
        let line = within("a line", lines.next_line()).await.unwrap().unwrap();
        assert!(line.ends_with(expected), "{line}");
    }
    write("later").await;
    let line = within("a line", lines.next_line()).await.unwrap().unwrap();
    assert!(line.ends_with("request later"), "{line}");
    drop(gateway);
    let output = within("the command", child.wait_with_output())
        .await
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("the gateway ended"), "{said}");
}

#[tokio::test]
async fn a_follower_that_does_not_read_is_cut_and_holds_nobody_up() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start(&upstream).await;
    let follow = gateway.admin("GET", "/decisions?follow");
    // It does not read, and its socket takes little.
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let mut deaf = Wire::new(socket.connect(gateway.admin).await.unwrap());
    deaf.send(follow.bytes()).await.unwrap();
    let mut other = follow.open().await;
    let mut heard = String::new();
    event(&mut other, &mut heard, ": the last decisions").await;

    // Until the buffers of both sides are full, and then more than the gateway keeps.
    let mut wire = gateway.wire().await;
    let before = gateway.memory("VmRSS");
    for number in 0..6_000 {
        let call = gateway.put(ITEM, body("Closed", "Won"));
        let call = call.header("client-request-id", &format!("n{number}"));
        assert_eq!(call.on(&mut wire).await.status, 428);
        if number % 100 == 99 {
            event(&mut other, &mut heard, &format!("\"n{number}\"")).await;
            heard.clear();
        }
    }
    let more = gateway.memory("VmRSS").saturating_sub(before);
    assert!(more < 20_000, "{more} KiB more");

    // When it reads again, it is told what it has missed.
    let mut text = String::new();
    event(&mut deaf, &mut text, "event: cut\n").await;
    event(&mut deaf, &mut text, "}\n\n\r\n0\r\n").await;
    let (_, end) = text.rsplit_once("event: cut\ndata: ").unwrap();
    let missed = end.lines().next().unwrap();
    let missed: Value = serde_json::from_str(missed).unwrap();
    assert!(missed["missed"].as_u64().unwrap() > 0, "{missed}");
}

#[tokio::test]
async fn followers_are_bounded_and_their_places_come_back() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start(&upstream).await;
    let follow = async || {
        let mut wire = gateway.admin("GET", "/decisions?follow").open().await;
        let head = wire.head().await.unwrap();
        (head.line.contains(" 200 "), wire)
    };
    let mut wires = Vec::new();
    for _ in 0..16 {
        let (follows, wire) = follow().await;
        assert!(follows);
        wires.push(wire);
    }
    let answer = gateway.admin("GET", "/decisions?follow").send().await;
    assert_eq!(answer.status, 503, "{}", answer.text());
    let (code, _, said) = ask(&gateway, &["decisions", "--follow"], "").await;
    assert_eq!(code, 1);
    assert!(
        said.contains("16 clients follow the decisions already"),
        "{said}"
    );
    wires.pop().unwrap().reset();
    eventually("a place", async || follow().await.0).await;
    // Everybody else is answered all the time.
    assert_eq!(gateway.get(ITEM).send().await.status, 200);
    assert_eq!(
        gateway
            .admin("HEAD", "/decisions?follow")
            .send()
            .await
            .status,
        200
    );
}

#[tokio::test]
async fn a_reload_on_request_tells_its_outcome() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::with("log: { level: info }").start(&upstream).await;
    let (code, text, _) = ask(&gateway, &["reload"], "").await;
    assert_eq!(code, 0);
    assert!(
        text.ends_with(" by POST /reload: settings unchanged, policy unchanged\n"),
        "{text}"
    );

    gateway.replace_settings("log: { level: warn }");
    let told = post(&gateway, "/reload", "").await;
    assert_eq!(told.status, 200);
    assert_eq!(told.json()["settings"], "success");
    assert_eq!(
        get(&gateway, "/log-level").await,
        json!({ "level": "warn" })
    );

    gateway.replace_settings("log: { level: warn }\ndrain: { max: 1s }");
    let told = post(&gateway, "/reload", "").await.json();
    assert_eq!(told["waiting_for_restart"], json!(["drain.max"]));

    gateway.replace_settings("lisen: x");
    let told = post(&gateway, "/reload", "").await;
    assert_eq!(told.status, 422);
    let told = told.json();
    assert_eq!(
        (&told["ok"], &told["settings"]),
        (&false.into(), &"failure".into())
    );
    assert_eq!(told["policy"], Value::Null);
    assert!(
        told["problems"][0].as_str().unwrap().contains("lisen"),
        "{told:#}"
    );
    let (code, text, _) = ask_as(&gateway, &["reload"]).await;
    assert_eq!(code, 1);
    assert!(
        text.contains("failed; settings and policy from before are in force\n  "),
        "{text}"
    );
    assert_eq!(get(&gateway, "/status").await["last_reload"]["ok"], false);
    assert_eq!(gateway.get(ITEM).send().await.status, 200);
}

/// Like [`ask`], without the settings of the gateway, which may be wrong by now.
async fn ask_as(gateway: &Gateway, arguments: &[&str]) -> (i32, String, String) {
    let url = format!("http://{}", gateway.admin);
    let output = tokio::process::Command::new(program())
        .args(arguments)
        .args(["--url", &url])
        .env_clear()
        .output();
    let output = within("the command", output).await.unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (
        output.status.code().unwrap(),
        text(output.stdout),
        text(output.stderr),
    )
}

#[tokio::test]
async fn a_drain_on_request_is_the_one_of_a_signal() {
    let upstream = Upstream::start().await;
    let mut gateway = Gateway::with("drain: { min: 2s }").start(&upstream).await;
    let (code, text, _) = ask(&gateway, &["drain"], "").await;
    assert_eq!(
        (code, text.as_str()),
        (0, "The gateway drains; 0 requests are in flight.\n")
    );
    eventually("readiness to end", async || {
        gateway.telemetry("/readyz").await.status == 503
    })
    .await;
    assert_eq!(verdict(&gateway).await["code"], "draining");
    // To ask again hurries nothing.
    assert_eq!(post(&gateway, "/drain", "").await.status, 202);
    assert_eq!(gateway.get(ITEM).send().await.status, 200);
    assert_eq!(gateway.exit().await.code(), Some(0));
    let record = gateway
        .record("the drain", |line| line["cause"] == "POST /drain")
        .await;
    assert_eq!(record["in_flight"], 0);
}

#[tokio::test]
async fn nothing_is_changed_by_forms_pages_and_other_names() {
    let upstream = Upstream::start().await;
    let mut gateway = Gateway::start(&upstream).await;
    let own = format!("http://{}", gateway.admin);
    for path in ["/reload", "/drain", "/explain"] {
        for (name, value) in [
            ("Content-Type", "application/x-www-form-urlencoded"),
            ("Content-Type", "text/plain"),
            ("Accept", "*/*"),
        ] {
            let call = gateway.admin("POST", path).header(name, value).body("a=b");
            assert_eq!(call.send().await.status, 403, "{path} {name}: {value}");
        }
        for (name, value) in [
            ("Origin", "http://localhost:1"),
            ("Origin", "null"),
            ("Host", "evil.example"),
            ("Sec-Fetch-Site", "cross-site"),
        ] {
            let call = gateway.admin("POST", path).set(name, value);
            let call = call.header("Content-Type", "application/json");
            assert_eq!(call.send().await.status, 403, "{path} {name}: {value}");
        }
    }
    for (reason, count) in [("cross_site", 18.0), ("host", 3.0), ("token", 0.0)] {
        let labels = [("reason", reason)];
        let counted = gateway.metric("admin_refused_total", &labels).await;
        assert!((counted - count).abs() < 0.1, "{reason}: {counted}");
    }
    assert_eq!(get(&gateway, "/status").await["last_reload"], Value::Null);
    assert!(gateway.is_running());
    assert_eq!(verdict(&gateway).await["code"], "idle");

    // A page of the listener itself may: browsers send the origin with each POST.
    let call = gateway.admin("POST", "/reload").header("Origin", &own);
    assert_eq!(call.send().await.status, 200);
    assert!(upstream.seen().is_empty());
}

#[tokio::test]
async fn with_a_token_nothing_is_told_without_it() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::with("admin: { token_file: @/token }")
        .file("token", "a-long-enough-token\n")
        .start(&upstream)
        .await;
    for (method, path) in [
        ("GET", "/config"),
        ("GET", "/decisions"),
        ("GET", "/decisions?follow"),
        ("GET", "/history"),
        ("GET", "/log-level"),
        ("GET", "/policies"),
        ("GET", "/snapshots/x"),
        ("GET", "/status"),
        ("GET", "/tenants"),
        ("PUT", "/log-level"),
        ("POST", "/drain"),
        ("POST", "/explain"),
        ("POST", "/reload"),
    ] {
        for token in [
            "",
            "Bearer a-long-enough-tokem",
            "Basic a-long-enough-token",
        ] {
            let call = gateway.admin(method, path).header("Authorization", token);
            let call = call.header("Content-Type", "application/json");
            let answer = call.send().await;
            assert_eq!(answer.status, 401, "{method} {path} {token}");
            assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
        }
    }
    let (code, text, said) = ask(&gateway, &["status"], "").await;
    assert_eq!((code, said.as_str()), (0, ""));
    assert!(text.starts_with("verdict     idle: Ready. "), "{text}");
    let (code, _, said) = ask_as(&gateway, &["status"]).await;
    assert_eq!(code, 1);
    assert!(
        said.contains("/status answers 401 Unauthorized: Send the token of admin.token_file"),
        "{said}"
    );
    let all = gateway.lines().join("\n") + &gateway.metrics().await;
    assert!(!all.contains("a-long-enough-token"));
}

#[tokio::test]
async fn the_history_has_a_point_each_five_seconds() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start(&upstream).await;
    gateway.get(ITEM).send().await;
    let mut history = Value::Null;
    eventually("two points", async || {
        history = get(&gateway, "/history").await;
        history["at"].as_array().unwrap().len() >= 2
    })
    .await;
    assert_eq!(history["step_seconds"], 5);
    let rates = history["answers_per_second"]["upstream"]
        .as_array()
        .unwrap();
    let sum: f64 = rates.iter().map(|rate| rate.as_f64().unwrap()).sum();
    assert!(
        (0.15..=0.21).contains(&sum),
        "one answer in five seconds: {rates:?}"
    );
    let times = history["p50_ms"].as_array().unwrap();
    assert!(times[0].is_number() && times[1].is_null(), "{history:#}");
    let length = rates.len();
    for name in [
        "at",
        "p50_ms",
        "p99_ms",
        "own_p99_ms",
        "upstream_p99_ms",
        "upstream_errors_per_second",
    ] {
        assert_eq!(history[name].as_array().unwrap().len(), length, "{name}");
    }
}

#[tokio::test]
async fn a_command_says_why_it_got_no_answer() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start(&upstream).await;
    // The telemetry listener is no admin listener.
    let wrong = format!("http://{}", gateway.telemetry);
    let run = async |arguments: &[&str]| {
        let mut command = tokio::process::Command::new(program());
        let output = command.args(arguments).env_clear().output();
        let output = within("the command", output).await.unwrap();
        (
            output.status.code().unwrap(),
            String::from_utf8(output.stderr).unwrap(),
        )
    };
    let (code, said) = run(&["status", "--url", &wrong]).await;
    assert_eq!(code, 1);
    assert!(
        said.contains("/status answers 404 Not Found: No such path."),
        "{said}"
    );
    let (code, said) = run(&["status", "--admin", "127.0.0.1:0"]).await;
    assert_eq!(code, 1);
    assert!(
        said.contains("name it: --url http://127.0.0.1:<port>"),
        "{said}"
    );
    // A token must not go to whoever shows any certificate.
    for url in ["http://127.0.0.1:1/status", "https://127.0.0.1:1"] {
        let (code, said) = run(&["status", "--url", url]).await;
        assert_eq!(code, 2, "{said}");
        assert!(said.contains("without a path"), "{said}");
    }
    let (code, said) = run(&["explain", "--live", "--url", "https://127.0.0.1:1"]).await;
    assert_eq!(code, 2);
    assert!(
        said.contains("write http://HOST:PORT without a path"),
        "{said}"
    );
    let url = format!("http://{NOWHERE}");
    let (code, said) = run(&["status", "--url", &url]).await;
    assert_eq!(code, 1);
    assert!(
        said.contains("is there a gateway, and is this the address of its admin listener?"),
        "{said}"
    );
}

#[tokio::test]
async fn a_command_shows_no_marks_that_move_a_terminal() {
    let hostile = json!({
        "verdict": { "code": "x\u{1b}[2J", "text": "\u{202e}gnp.exe\r" },
        "rules": [{ "rule": "<script>", "mode": "\u{7}", "verdicts": { "\u{9b}deny": 1 } }],
    });
    let server = Upstream::raw(move |mut wire, _| {
        let body = hostile.to_string();
        async move {
            wire.head().await.ok();
            let length = body.len();
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{body}");
            wire.send(head).await.ok();
            wire.rest().await;
        }
    })
    .await;
    let output = tokio::process::Command::new(program())
        .args(["status", "--url", &server.url()])
        .env_clear()
        .output();
    let output = within("the command", output).await.unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert!(
        text.contains("x\\u{1b}[2J: \\u{202e}gnp.exe\\u{d}"),
        "{text}"
    );
    assert!(
        !text.chars().any(|c| c.is_control() && c != '\n'),
        "{text:?}"
    );
}
