//! The status page, in a real browser. `tests/browser` drives it; `./tests/run` installs what that takes.

use std::{
    collections::BTreeSet,
    env, fs,
    path::{Path, PathBuf},
    process::Stdio,
};

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};

use crate::support::{
    Gateway, ITEM, TAG, Upstream, body, page::root, tools::tool, wire::Call, within,
};

const HOSTILE: &str = "<img src=x onerror=window.hacked=1>";

/// The folder of the packages that drive the browser, or why it is not there.
fn packages() -> Result<PathBuf, String> {
    let install = root().join("tests/browser/install");
    let ended = tool("bash").arg(install).output().unwrap();
    let printed = String::from_utf8(ended.stdout).unwrap();
    match printed.trim() {
        "" => Err(String::from_utf8(ended.stderr).unwrap()),
        folder => Ok(folder.into()),
    }
}

/// Where pictures of the page go.
fn pictures() -> PathBuf {
    let default = || Path::new(env!("CARGO_TARGET_TMPDIR")).join("pictures");
    let folder = env::var_os("REFERRAL_GATEWAY_PICTURES").map_or_else(default, PathBuf::from);
    fs::create_dir_all(&folder).unwrap();
    folder
}

#[tokio::test]
async fn the_page_works_in_a_browser() {
    let packages = match tokio::task::spawn_blocking(packages).await.unwrap() {
        Ok(packages) => packages,
        Err(why) => {
            eprintln!("skipped: {why}");
            return;
        }
    };
    let upstream = Upstream::start().await;
    let gateway = Gateway::with("log: { level: info }").start(&upstream).await;
    let locked = Gateway::with("admin: { token_file: @/token }")
        .file("token", "a-long-enough-token\n")
        .start(&upstream)
        .await;
    // Something of everything, so that the pictures show it.
    for _ in 0..3 {
        assert_eq!(gateway.get(ITEM).send().await.status, 200);
    }
    let back = gateway.put(ITEM, body("New", "Pending")).if_match(TAG);
    assert_eq!(back.send().await.status, 409);
    let on = gateway.put(ITEM, body("Closed", "Won")).if_match(TAG);
    assert_eq!(on.send().await.status, 200);

    let given = json!({
        "admin": format!("http://{}/", gateway.admin),
        "data": format!("http://{}", gateway.address),
        "locked": format!("http://{}/", locked.admin),
        "token": "a-long-enough-token",
        "item": ITEM,
        "hostile": HOSTILE,
    });
    let mut command = tokio::process::Command::from(tool("node"));
    let mut child = command
        .arg(root().join("tests/browser/drive.mjs"))
        .arg(packages)
        .arg(pictures())
        .arg(given.to_string())
        .kill_on_drop(true)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut gateway = Some(gateway);
    let seen: Value = loop {
        let line = lines.next_line();
        let line = within("the browser", line).await.unwrap().unwrap();
        match line.as_str() {
            // What is wrong in a file is shown with the words of the file.
            "SPOIL" => {
                let gateway = gateway.as_ref().unwrap();
                gateway.replace_settings(&format!("'{HOSTILE}': 1"));
                let reload = gateway.admin("POST", "/reload");
                let reload = reload.header("Content-Type", "application/json");
                assert_eq!(reload.send().await.status, 422);
            }
            "STOP" => drop(gateway.take()),
            told => break serde_json::from_str(told).unwrap(),
        }
        stdin.write_all(b"done\n").await.unwrap();
    };
    assert_eq!(seen["failed"], Value::Null, "{seen:#}");
    assert_eq!(seen["errors"], json!([]), "{seen:#}");
    let steps = [
        "loads",
        "live",
        "filter",
        "pause",
        "copy",
        "times",
        "explain",
        "accessible",
        "without scripts",
        "hostile",
        "token",
        "gone",
    ];
    assert_eq!(seen["steps"], json!(steps));
    let hosts: BTreeSet<&str> = seen["requests"]
        .as_array()
        .unwrap()
        .iter()
        .map(|host| host.as_str().unwrap())
        .collect();
    assert_eq!(hosts.len(), 2, "no resource from elsewhere: {hosts:?}");
}

#[tokio::test]
async fn the_page_is_sent_with_a_policy_that_runs_nothing_in_it() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start(&upstream).await;
    let page = gateway.admin("GET", "/").send().await;
    assert_eq!(page.status, 200);
    assert_eq!(
        page.header("content-type"),
        Some("text/html; charset=utf-8")
    );
    assert_eq!(page.header("x-content-type-options"), Some("nosniff"));
    assert_eq!(page.header("referrer-policy"), Some("same-origin"));
    assert_eq!(page.header("cache-control"), Some("no-store"));
    let policy = page.header("content-security-policy").unwrap();
    for part in [
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    ] {
        assert!(
            policy.split("; ").any(|known| known == part),
            "{part}: {policy}"
        );
    }
    assert!(!policy.contains("unsafe"), "{policy}");

    let text = page.text();
    let files: Vec<&str> = text
        .split("\"assets/")
        .skip(1)
        .map(|rest| rest.split('"').next().unwrap())
        .collect();
    assert_eq!(files.len(), 5, "{files:?}");
    for file in files {
        let path = format!("/assets/{file}");
        let answer = gateway.admin("GET", &path).send().await;
        assert_eq!(answer.status, 200, "{file}");
        assert!(
            answer
                .header("cache-control")
                .unwrap()
                .ends_with("immutable")
        );
        let expected = match file.rsplit('.').next().unwrap() {
            "js" => "text/javascript; charset=utf-8",
            "css" => "text/css; charset=utf-8",
            _ => "image/svg+xml",
        };
        assert_eq!(answer.header("content-type"), Some(expected));
        let head = gateway.admin("HEAD", &path).send().await;
        assert_eq!((head.status, head.body.len()), (200, 0));
    }
    for wrong in [
        "/assets/",
        "/assets/page.js",
        "/assets/../page.js",
        "/index.html",
    ] {
        assert_eq!(
            gateway.admin("GET", wrong).send().await.status,
            404,
            "{wrong}"
        );
    }
    assert_eq!(
        gateway
            .admin("POST", "/")
            .header("Content-Type", "application/json")
            .send()
            .await
            .status,
        405
    );
}

#[tokio::test]
async fn a_link_may_lead_to_the_page_and_to_nothing_else() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start(&upstream).await;
    let from_elsewhere = |path: &str, mode: &str, dest: &str| {
        let call = Call::new(gateway.admin, "GET", path).without("Authorization");
        call.header("Sec-Fetch-Site", "cross-site")
            .header("Sec-Fetch-Mode", mode)
            .header("Sec-Fetch-Dest", dest)
    };
    for (path, mode, dest, expected) in [
        ("/", "navigate", "document", 200),
        ("/", "navigate", "iframe", 403),
        ("/", "no-cors", "script", 403),
        ("/", "cors", "empty", 403),
        ("/status", "navigate", "document", 403),
        ("/decisions", "navigate", "document", 403),
    ] {
        let answer = from_elsewhere(path, mode, dest).send().await;
        assert_eq!(answer.status, expected, "{path} {mode} {dest}");
    }
    let call = from_elsewhere("/", "navigate", "document").set("Host", "evil.example");
    assert_eq!(call.send().await.status, 403);
}

#[tokio::test]
async fn with_a_token_the_page_is_empty_without_it() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::with("admin: { token_file: @/token }")
        .file("token", "a-long-enough-token\n")
        .start(&upstream)
        .await;
    let page = gateway
        .admin("GET", "/")
        .set("Host", "gateway.example")
        .send()
        .await;
    assert_eq!(page.status, 200);
    let text = page.text();
    assert!(
        text.contains("data-locked") && !text.contains("verdict"),
        "{text}"
    );
    assert!(
        !text.contains("sha256:") && !text.contains("decisions"),
        "{text}"
    );

    let with = |token: &str| {
        let call = gateway.admin("GET", "/");
        call.header("Authorization", &format!("Bearer {token}"))
    };
    assert_eq!(with("another-long-token").send().await.status, 401);
    let page = with("a-long-enough-token").send().await;
    assert_eq!(page.status, 200);
    assert!(page.text().contains("sha256:") && !page.text().contains("data-locked"));
}
