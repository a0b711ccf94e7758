//! Where settings come from, what happens to wrong ones, and that each of them does something.

use std::{
    collections::BTreeSet,
    fs,
    io::{BufRead as _, BufReader},
    net::{IpAddr, TcpListener},
    path::Path,
    process::Stdio,
    sync::mpsc,
    thread,
};

use tempfile::TempDir;

use super::{
    commands::{ended, program, run, write},
    support::{DEADLINE, Gateway, ITEM, TAG, Upstream, body, wire::Call},
};

/// Every setting, and the test that fails if the program ignores it.
const PROOFS: &[(&str, &str)] = &[
    ("admin.listen", "each_listener_stands_where_it_is_told"),
    (
        "admin.token_file",
        "the_settings_in_force_are_shown_without_secrets",
    ),
    ("downstream.body_timeout", "a_body_that_stops_coming_is_408"),
    (
        "downstream.min_body_rate",
        "a_judged_body_has_a_least_rate_and_a_streamed_one_has_none",
    ),
    (
        "downstream.header_timeout",
        "whoever_sends_a_head_too_slowly_is_cut",
    ),
    (
        "downstream.idle_timeout",
        "a_connection_without_requests_is_closed_after_a_while",
    ),
    (
        "downstream.max_connections",
        "one_connection_too_many_is_told_so_and_room_is_used_again",
    ),
    (
        "downstream.max_header_bytes",
        "how_long_a_header_section_may_be_is_as_set",
    ),
    (
        "downstream.max_headers",
        "how_long_a_header_section_may_be_is_as_set",
    ),
    (
        "downstream.max_judged_body",
        "a_body_over_the_limit_is_refused_whether_its_length_is_declared_or_not",
    ),
    ("drain.max", "what_takes_longer_than_a_drain_may_is_cut"),
    (
        "drain.min",
        "while_it_drains_it_accepts_for_as_long_as_it_was_told",
    ),
    ("listen", "each_listener_stands_where_it_is_told"),
    ("log.format", "the_log_has_the_form_that_is_set"),
    ("log.level", "the_log_holds_what_its_level_lets_through"),
    (
        "policy.document",
        "each_rule_refuses_alone_when_all_others_are_off",
    ),
    (
        "rate_limit.concurrency",
        "only_so_many_requests_of_a_tenant_are_under_way_at_once",
    ),
    (
        "rate_limit.cooldown.default",
        "how_long_a_tenant_is_held_back_is_as_the_upstream_says_and_bounded",
    ),
    (
        "rate_limit.cooldown.max",
        "how_long_a_tenant_is_held_back_is_as_the_upstream_says_and_bounded",
    ),
    (
        "rate_limit.max_tenants",
        "tenants_beyond_the_bound_share_one_bucket",
    ),
    (
        "rate_limit.reads.burst",
        "each_limit_is_as_set_for_all_tenants_and_for_one",
    ),
    (
        "rate_limit.reads.per_minute",
        "each_limit_is_as_set_for_all_tenants_and_for_one",
    ),
    (
        "rate_limit.writes.burst",
        "each_limit_is_as_set_for_all_tenants_and_for_one",
    ),
    (
        "rate_limit.writes.per_minute",
        "each_limit_is_as_set_for_all_tenants_and_for_one",
    ),
    ("snapshots.max_age", "what_is_known_is_forgotten_with_age"),
    (
        "snapshots.max_entries",
        "no_more_referrals_are_remembered_than_set",
    ),
    (
        "snapshots.scope",
        "the_scope_says_who_shares_what_was_learnt",
    ),
    ("snapshots.stale", "a_stale_tag_is_refused_here_when_so_set"),
    (
        "snapshots.unknown_state",
        "an_unknown_state_is_not_asked_for_when_so_set",
    ),
    (
        "snapshots.unknown_state_failed",
        "a_write_whose_state_cannot_be_learnt_passes_when_so_set",
    ),
    ("telemetry.listen", "each_listener_stands_where_it_is_told"),
    (
        "telemetry.tls.cert_file",
        "clear_text_on_a_port_of_tls_is_told_so",
    ),
    (
        "telemetry.tls.client_ca_file",
        "a_telemetry_listener_asks_clients_as_well",
    ),
    (
        "telemetry.tls.client_names",
        "a_telemetry_listener_asks_clients_as_well",
    ),
    (
        "telemetry.tls.key_file",
        "clear_text_on_a_port_of_tls_is_told_so",
    ),
    (
        "tenants.header",
        "a_configured_header_names_the_tenant_of_a_request_without_a_token",
    ),
    (
        "tenants.jwks_file",
        "a_verified_token_draws_from_its_tenants_bucket_at_once",
    ),
    (
        "tenants.known.<alias>.id",
        "a_known_tenant_has_limits_and_a_name_of_its_own",
    ),
    (
        "tenants.known.<alias>.rate_limit.concurrency",
        "a_known_tenant_may_have_more_or_fewer_requests_under_way",
    ),
    (
        "tenants.known.<alias>.rate_limit.reads.burst",
        "each_limit_is_as_set_for_all_tenants_and_for_one",
    ),
    (
        "tenants.known.<alias>.rate_limit.reads.per_minute",
        "each_limit_is_as_set_for_all_tenants_and_for_one",
    ),
    (
        "tenants.known.<alias>.rate_limit.writes.burst",
        "each_limit_is_as_set_for_all_tenants_and_for_one",
    ),
    (
        "tenants.known.<alias>.rate_limit.writes.per_minute",
        "each_limit_is_as_set_for_all_tenants_and_for_one",
    ),
    (
        "tls.cert_file",
        "requests_pass_over_both_versions_and_sessions_are_resumed",
    ),
    (
        "tls.client_ca_file",
        "only_clients_of_the_authority_are_served_when_it_asks",
    ),
    (
        "tls.client_names",
        "a_client_needs_one_of_the_names_that_are_listed",
    ),
    (
        "tls.key_file",
        "requests_pass_over_both_versions_and_sessions_are_resumed",
    ),
    (
        "upstream.ca_file",
        "a_put_passes_over_tls_in_whichever_protocol_is_agreed_on",
    ),
    (
        "upstream.client_cert_file",
        "the_gateway_shows_its_certificate_to_an_upstream_that_asks",
    ),
    (
        "upstream.client_key_file",
        "the_gateway_shows_its_certificate_to_an_upstream_that_asks",
    ),
    (
        "upstream.rewrite_urls",
        "the_setting_turns_it_off_or_fixes_the_origin_and_a_reload_changes_it",
    ),
    (
        "upstream.connect_timeout",
        "an_upstream_that_accepts_no_connection_is_given_up",
    ),
    ("upstream.idle_body_timeout", "a_body_that_stalls_is_cut"),
    (
        "upstream.max_connections",
        "more_requests_than_connections_and_streams_are_refused_for_now",
    ),
    (
        "upstream.pool_idle_timeout",
        "a_connection_that_nobody_uses_is_closed_after_a_while",
    ),
    (
        "upstream.response_timeout",
        "an_upstream_that_breaks_or_stalls_before_its_answer",
    ),
    (
        "upstream.url",
        "the_referral_itself_is_relayed_byte_for_byte",
    ),
];

#[test]
fn every_setting_has_a_test_that_it_does_something() {
    // An alias of a tenant brings its settings with it.
    let mut show = program(&["config", "show", "--origins", "--output", "json"]);
    show.env("REFERRAL_GATEWAY_TENANTS__KNOWN__CONTOSO__ID", "an-id");
    let shown = ended(&mut show).json();
    let keys = shown["origins"].as_object().unwrap().keys();
    let program: BTreeSet<String> = keys
        .map(|key| key.replace(".contoso.", ".<alias>."))
        .collect();
    let proved = PROOFS.iter().map(|(key, _)| (*key).to_owned()).collect();
    assert_eq!(
        program, proved,
        "settings of the program, settings with a test"
    );

    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/integration");
    let sources: String = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_file())
        .map(|path| fs::read_to_string(path).unwrap())
        .collect();
    for (key, test) in PROOFS {
        assert!(
            sources.contains(&format!("\nasync fn {test}() {{"))
                || sources.contains(&format!("\nfn {test}() {{")),
            "{key}: no test {test}"
        );
    }
}

#[tokio::test]
async fn each_listener_stands_where_it_is_told() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::with("")
        .flag("--listen")
        .flag("127.0.0.2:0")
        .flag("--telemetry")
        .flag("127.0.0.3:0")
        .flag("--admin")
        .flag("127.0.0.4:0")
        .start(&upstream)
        .await;

    for (address, last, path) in [
        (gateway.address, 2, ITEM),
        (gateway.telemetry, 3, "/readyz"),
        (gateway.admin, 4, "/config"),
    ] {
        assert_eq!(address.ip(), IpAddr::from([127, 0, 0, last]));
        let answer = Call::new(address, "GET", path).send().await;
        assert_eq!(answer.status, 200, "{path}");
    }
}

#[tokio::test]
async fn the_log_holds_what_its_level_lets_through() {
    let upstream = Upstream::start().await;
    let mut gateway = Gateway::with("log: { level: 'info,referral_gateway::access=off' }")
        .start(&upstream)
        .await;
    let put = gateway.put(ITEM, body("Closed", "Won"));
    assert_eq!(put.if_match(TAG).send().await.status, 200);

    gateway.signal("TERM");
    gateway.exit().await;

    // What was logged has been written by then, the last line included.
    gateway
        .record("the last line", |line| {
            line["message"] == "Drained; all requests are finished"
        })
        .await;
    let is_from = |target: &str| {
        let target = format!("\"referral_gateway::{target}\"");
        gateway.lines().iter().any(|line| line.contains(&target))
    };
    assert!(is_from("decision") && !is_from("access"));
}

/// The first line of a gateway with these log settings that contains `wanted`, after one GET.
async fn line(log: &str, wanted: &'static str) -> String {
    let folder = TempDir::new().unwrap();
    let free = "127.0.0.1:0";
    let text = format!(
        "log: {log}\nlisten: {free}\ntelemetry: {{ listen: '{free}' }}\nadmin: {{ listen: '{free}' }}\nupstream: {{ url: simulator }}\n"
    );
    let file = write(&folder, "settings.yaml", &text);
    let mut command = program(&["run", "--config", &file]);
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let (sender, found) = mpsc::channel();
    thread::spawn(move || {
        for line in lines.map_while(Result::ok) {
            if line.contains("Ready") || line.contains(wanted) {
                let _ = sender.send(line);
            }
        }
    });
    let mut line = found.recv_timeout(DEADLINE);
    if wanted != "Ready" {
        let ready = line.unwrap();
        let (_, address) = ready.split_once("listen=").unwrap();
        let address = address.split(' ').next().unwrap().parse().unwrap();
        Call::new(address, "GET", ITEM).send().await;
        line = found.recv_timeout(DEADLINE);
    }
    child.kill().unwrap();
    child.wait().unwrap();
    line.unwrap()
}

#[tokio::test]
async fn the_log_has_the_form_that_is_set() {
    // Here nothing is a terminal.
    for (format, is_json) in [("text", false), ("json", true), ("auto", true)] {
        let line = line(&format!("{{ format: {format} }}"), "Ready").await;
        assert_eq!(line.starts_with('{'), is_json, "{format}: {line}");
    }
}

#[tokio::test]
async fn a_text_log_leaves_empty_fields_out() {
    let line = line("{ format: text }", "Answered").await;
    assert!(line.contains(" method=\"GET\" "), "{line}");
    assert!(line.contains(" Answered "), "{line}");
    assert!(!line.contains("\"\"") && !line.contains("= "), "{line}");
}

#[test]
fn flag_beats_environment_beats_file_beats_default() {
    let folder = TempDir::new().expect("a folder");
    let file = write(
        &folder,
        "settings.yaml",
        "upstream:\n  url: https://file.example\n  connect_timeout: 1s\nlog: { level: error }\n",
    );
    let mut show = program(&[
        "config",
        "show",
        "--origins",
        "--output",
        "json",
        "--config",
        &file,
    ]);
    show.args(["--upstream", "https://flag.example"])
        .env(
            "REFERRAL_GATEWAY_UPSTREAM__URL",
            "https://environment.example",
        )
        .env("REFERRAL_GATEWAY_LOG__LEVEL", "debug");
    let shown = ended(&mut show).json();
    for (key, value, origin) in [
        (
            "upstream.url",
            "https://flag.example",
            "flag --upstream".to_owned(),
        ),
        (
            "log.level",
            "debug",
            "environment REFERRAL_GATEWAY_LOG__LEVEL".to_owned(),
        ),
        ("upstream.connect_timeout", "1s", format!("{file}:3:20")),
        ("upstream.response_timeout", "60s", "default".to_owned()),
    ] {
        let pointer = format!("/settings/{}", key.replace('.', "/"));
        assert_eq!(
            shown.pointer(&pointer).and_then(|value| value.as_str()),
            Some(value),
            "{key}"
        );
        assert_eq!(shown["origins"][key], origin.as_str(), "{key}");
    }
}

#[test]
fn every_flag_reaches_its_setting() {
    for (flag, value, key) in [
        ("--listen", "127.0.0.1:1", "listen"),
        ("--telemetry", "0.0.0.0:2", "telemetry/listen"),
        ("--admin", "127.0.0.1:3", "admin/listen"),
        ("--upstream", "simulator", "upstream/url"),
        ("--policy", "rules.yaml", "policy/document"),
        ("--log-format", "json", "log/format"),
        ("--log-level", "trace", "log/level"),
    ] {
        // Before the command and after it.
        for arguments in [
            [flag, value, "config", "show", "--output", "json"],
            ["config", "show", "--output", "json", flag, value],
        ] {
            let shown = run(&arguments).json();
            let pointer = format!("/settings/{key}");
            assert_eq!(
                shown.pointer(&pointer).and_then(|shown| shown.as_str()),
                Some(value),
                "{flag}"
            );
        }
    }
}

#[test]
fn the_environment_may_name_the_settings_file() {
    let folder = TempDir::new().expect("a folder");
    let file = write(&folder, "settings.yaml", "listen: 127.0.0.1:7\n");
    let other = write(&folder, "other.yaml", "listen: 127.0.0.1:8\n");
    let mut show = program(&["config", "show"]);
    show.env("REFERRAL_GATEWAY_CONFIG", file);
    assert!(ended(&mut show).out.contains("listen: 127.0.0.1:7\n"));
    show.args(["--config", &other]);
    assert!(ended(&mut show).out.contains("listen: 127.0.0.1:8\n"));
}

#[test]
fn with_wrong_settings_nothing_starts() {
    let folder = TempDir::new().expect("a folder");
    let free = TcpListener::bind("127.0.0.1:0")
        .expect("a port")
        .local_addr()
        .expect("an address")
        .to_string();
    let file = write(&folder, "settings.yaml", "upstream:\n  ulr: simulator\n");
    for command in [&["run"][..], &[]] {
        let arguments = [
            command,
            &["--config", &file, "--listen", &free, "--log-format", "json"],
        ]
        .concat();
        let ended = run(&arguments);
        assert_eq!(
            (ended.code, ended.out.as_str()),
            (Some(1), ""),
            "{arguments:?}"
        );
        let told = format!(
            "referral-gateway: {file}:2:3: unknown key `upstream.ulr`; did you mean `url`?\n"
        );
        assert_eq!(ended.err, told);
    }
}

#[test]
fn with_a_wrong_policy_nothing_starts() {
    let folder = TempDir::new().expect("a folder");
    let file = write(&folder, "policy.yaml", "name: x\nrulez: []\n");
    let ended = run(&[
        "run",
        "--policy",
        &file,
        "--listen",
        "127.0.0.1:0",
        "--telemetry",
        "127.0.0.1:0",
        "--admin",
        "127.0.0.1:0",
    ]);
    assert_eq!(ended.code, Some(1));
    assert!(
        ended.err.contains(&format!(
            "{file}:2:1: unknown key `rulez`; did you mean `rules`?"
        )),
        "{}",
        ended.err
    );
    assert!(!ended.out.contains("Ready"), "{}", ended.out);
}

#[test]
fn with_a_wrong_key_set_nothing_starts() {
    let folder = TempDir::new().expect("a folder");
    write(
        &folder,
        "keys.json",
        r#"{"keys":[{"kty":"RSA","use":"enc"}]}"#,
    );
    let file = write(
        &folder,
        "settings.yaml",
        "tenants:\n  jwks_file: keys.json\n",
    );
    let told = format!(
        "{file}:2:14: `tenants.jwks_file` is `keys.json`: no RSA key of 2048 to 8192 bits for RS256 signatures is in the set; save in it what the `jwks_uri` of the tokens' issuer answers\n"
    );
    let started = run(&["run", "--config", &file, "--listen", "127.0.0.1:0"]);
    assert_eq!((started.code, started.out.as_str()), (Some(1), ""));
    assert_eq!(started.err, format!("referral-gateway: {told}"));
    let checked = run(&["check", "--config", &file]);
    assert_eq!(checked.code, Some(1));
    assert!(checked.out.contains(&told), "{}", checked.out);
}

#[test]
fn what_keeps_the_gateway_from_starting_is_found_by_check_in_the_same_words() {
    let folder = TempDir::new().expect("a folder");
    let file = write(&folder, "settings.yaml", "policy:\n  document: none.yaml\n");
    for (arguments, variable, told) in [
        (
            &["--listen", "127.0.0.1:0"][..],
            Some("socks5://127.0.0.1:1080"),
            "environment HTTPS_PROXY: this proxy type is not supported; use http://HOST:PORT, or add the upstream host to NO_PROXY\n".to_owned(),
        ),
        (
            &["--config", &file],
            None,
            format!("{file}:2:13: `policy.document` is `none.yaml`: no such file; give the path of an existing file\n"),
        ),
    ] {
        let of = |command: &str| {
            let mut command = program(&[&[command], arguments].concat());
            ended(command.envs(variable.map(|value| ("HTTPS_PROXY", value))))
        };
        let (started, checked) = (of("run"), of("check"));
        assert_eq!((started.code, checked.code), (Some(1), Some(1)), "{told}");
        assert_eq!(started.err, format!("referral-gateway: {told}"));
        assert_eq!(checked.out, told);
    }
}

#[test]
fn every_wrong_setting_has_a_line_of_its_own() {
    let mut command = program(&["run", "--listen", "here", "--admin", "0.0.0.0:0"]);
    let ended = ended(command.env("REFERRAL_GATEWAY_DRAIN__MAX", "soon"));
    assert_eq!((ended.code, ended.out.as_str()), (Some(1), ""));
    let lines: Vec<&str> = ended.err.lines().collect();
    assert_eq!(lines.len(), 3, "{lines:#?}");
    for (line, told) in lines.iter().zip([
        "referral-gateway: flag --listen: `listen` is `here`: not an IP address with a port; write ",
        "referral-gateway: environment REFERRAL_GATEWAY_DRAIN__MAX: `drain.max` is `soon`: not a duration; write ",
        "referral-gateway: flag --admin: `admin.listen` is `0.0.0.0:0`: not loopback, and no token protects it; write ",
    ]) {
        assert!(line.starts_with(told), "{line}");
    }
}

#[test]
fn a_settings_file_that_cannot_be_read_is_named() {
    let folder = TempDir::new().expect("a folder");
    let missing = folder.path().join("missing.yaml");
    let large = write(&folder, "large.yaml", &"#\n".repeat(1024 * 1024));
    let binary = folder.path().join("binary.yaml");
    fs::write(&binary, b"log:\n  level: \xff\n").expect("written");
    let flag = "flag --config: ";
    for (by, path, told) in [
        (flag, missing.to_str(), "no such file"),
        (flag, folder.path().to_str(), "a folder, not a file"),
        (
            "",
            Some(large.as_str()),
            "1048577 bytes are more than 1048576",
        ),
        (
            "",
            binary.to_str(),
            ":2:10: not UTF-8; save the file as UTF-8",
        ),
    ] {
        let path = path.expect("UTF-8");
        let ended = run(&["run", "--config", path]);
        assert_eq!(ended.code, Some(1), "{path}");
        let line = format!("referral-gateway: {by}{path}");
        assert!(
            ended.err.starts_with(&line) && ended.err.contains(told),
            "{}",
            ended.err
        );
    }
}

#[test]
fn the_admin_token_is_never_printed() {
    let folder = TempDir::new().expect("a folder");
    write(&folder, "token", "a-secret-of-the-operators\n");
    let file = write(
        &folder,
        "settings.yaml",
        "admin: { listen: '0.0.0.0:4282', token_file: token }\n",
    );
    for arguments in [
        &["check", "--config", &file][..],
        &["check", "--output", "json", "--config", &file],
        &["config", "show", "--origins", "--config", &file],
        &["config", "show", "--output", "json", "--config", &file],
    ] {
        let ended = run(arguments);
        assert_eq!(ended.code, Some(0), "{}", ended.err);
        assert!(
            !format!("{}{}", ended.out, ended.err).contains("a-secret"),
            "{arguments:?}"
        );
    }

    write(&folder, "token", "short-secret\n");
    let refused = run(&["check", "--config", &file]);
    assert_eq!(refused.code, Some(1));
    assert!(!refused.out.contains("short-secret"), "{}", refused.out);
}
