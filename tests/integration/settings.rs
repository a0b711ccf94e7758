//! Where settings come from, and what happens to wrong ones.

use std::{fs, net::TcpListener};

use tempfile::TempDir;

use super::commands::{ended, program, run, write};

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
    for (path, told) in [
        (
            missing.to_str(),
            "cannot be read: No such file or directory",
        ),
        (folder.path().to_str(), "cannot be read: Is a directory"),
        (Some(large.as_str()), "1048577 bytes are more than 1048576"),
        (binary.to_str(), ":2:10: not UTF-8; save the file as UTF-8"),
    ] {
        let path = path.expect("UTF-8");
        let ended = run(&["run", "--config", path]);
        assert_eq!(ended.code, Some(1), "{path}");
        let line = format!("referral-gateway: {path}");
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
