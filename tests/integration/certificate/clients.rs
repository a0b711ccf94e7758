//! Clients trust the CA by the lines that the command prints, and reach public servers as before.

use std::{fs, path::Path, process::Command};

use tempfile::TempDir;

use super::{Machine, server};
use crate::{
    commands::ended,
    support::{
        Upstream,
        tools::{folder, shell},
        upstream::reply,
    },
};

const JAVA: &str = r#"
public class Get {
    public static void main(String[] arguments) throws Exception {
        try (var in = java.net.URI.create(arguments[0]).toURL().openStream()) {
            System.out.print(new String(in.readAllBytes()));
        }
    }
}
"#;

/// Something that answers over TLS with the pair in a folder.
async fn serve(folder: &Path) -> Upstream {
    let answer = |_| std::future::ready(Some(reply(200, "answered")));
    Upstream::with_tls(server(folder), answer).await
}

/// The commands that are printed for a client.
fn printed(out: &str, client: &str) -> String {
    let (_, clients) = out
        .split_once("\nTell the clients to trust the CA:\n")
        .unwrap();
    let mut lines = clients.lines().map(|line| line.trim_start_matches("  "));
    let all: Vec<_> = clients.lines().collect();
    let first = lines.position(|line| line.starts_with(&format!("{client}  ")));
    let first = first.unwrap_or_else(|| panic!("{client} in {out}"));
    let column = "  ".len() + 30;
    let rest = all[first + 1..].iter();
    let more = rest.take_while(|line| line.starts_with(&" ".repeat(column)));
    let block = [all[first]].into_iter().chain(more.copied());
    block
        .map(|line| &line[column..])
        .collect::<Vec<_>>()
        .join("\n")
}

/// Runs a script with the URL as `$0`, in a folder of its own.
async fn run(script: &str, url: &str) -> String {
    let home = TempDir::new().unwrap();
    fs::write(home.path().join("Get.java"), JAVA).unwrap();
    let mut command: Command = shell("sh");
    command
        .args(["-euc", script, url])
        .env("HOME", home.path())
        .env("JAVA_HOME", java_home())
        .current_dir(home.path());
    // The server answers on this thread.
    let ended = tokio::task::spawn_blocking(move || ended(&mut command)).await;
    let ended = ended.unwrap();
    format!("{}{}", ended.out, ended.err)
}

/// The home of the Java that runs.
fn java_home() -> std::path::PathBuf {
    let java = fs::canonicalize(folder().join("java")).unwrap();
    java.parent().unwrap().parent().unwrap().to_owned()
}

#[tokio::test]
async fn each_client_trusts_the_ca_by_the_printed_lines() {
    let mut machine = Machine::new();
    // A path that a shell would take apart.
    machine.folder = machine.home.path().join("the gateway's $TLS");
    let made = machine.make(&[]);
    let [own, public] = [serve(&machine.folder).await, serve(&machine.public).await];
    let python = |module: &str, get: &str| {
        format!("/usr/bin/python3 -c 'import sys, {module}; print({get})' $0")
    };
    let urllib = python(
        "urllib.request",
        "urllib.request.urlopen(sys.argv[1]).read().decode()",
    );
    for (client, get) in [
        ("curl", String::new()),
        ("curl, always", "curl -sS $0".to_owned()),
        (
            "Node",
            "node -e 'fetch(process.argv[1]).then(a => a.text()).then(console.log)' $0".to_owned(),
        ),
        (
            "Python: requests, azure-core",
            python("requests", "requests.get(sys.argv[1]).text"),
        ),
        (
            "Python: httpx, aiohttp, ssl",
            python("httpx", "httpx.get(sys.argv[1]).text"),
        ),
        ("Linux: Go, .NET, OpenSSL", urllib),
        ("Java", String::new()),
    ] {
        let commands = printed(&made.out, client)
            .replace("https://...", "-sS $0")
            .replace(" ...", " Get.java $0");
        let has_keytool = commands.lines().any(|line| line.starts_with("keytool "));
        assert_eq!(has_keytool, client == "Java");
        let script = format!("{commands}\n{get}");
        let answer = run(&script, &own.url()).await;
        assert!(answer.contains("answered"), "{script}: {answer}");
        if commands.contains("bundle.pem") {
            let answer = run(&script, &public.url()).await;
            assert!(answer.contains("answered"), "{script}: {answer}");
        }
    }
    let answer = run("curl -sS $0", &own.url()).await;
    assert!(!answer.contains("answered"), "{answer}");
}

#[tokio::test]
async fn a_python_that_verifies_strictly_accepts_the_certificates() {
    // What Python 3.13 sets by itself.
    let script = r#"
import socket, ssl, sys
context = ssl.create_default_context(cafile=sys.argv[1])
context.verify_flags |= ssl.VERIFY_X509_STRICT | ssl.VERIFY_X509_PARTIAL_CHAIN
port = int(sys.argv[2].rsplit(":", 1)[1])
for name in ["localhost", "127.0.0.1", "::1"]:
    with socket.create_connection(("127.0.0.1", port)) as plain:
        with context.wrap_socket(plain, server_hostname=name):
            print(name)
"#;
    let machine = Machine::new();
    machine.make(&[]);
    machine.make(&["--renew"]);
    let own = serve(&machine.folder).await;
    for file in ["ca.pem", "bundle.pem"] {
        let mut python = shell("/usr/bin/python3");
        python
            .args(["-c", script])
            .arg(machine.path(file))
            .arg(own.url());
        let said = tokio::task::spawn_blocking(move || ended(&mut python)).await;
        let said = said.unwrap();
        assert_eq!(said.out, "localhost\n127.0.0.1\n::1\n", "{}", said.err);
    }
}
