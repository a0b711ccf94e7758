//! `check --connect`: each step of a connection to the upstream, what it says when it fails, and the remedy.

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use http::Response;
use rcgen::{CertificateParams, DistinguishedName, DnType, SanType, date_time_ymd};
use rustls::{ServerConfig, version::TLS12, version::TLS13};
use serde_json::Value;
use socket2::{Domain, Socket, Type};
use tempfile::TempDir;

use super::commands::{Ended, ended, program, write};
use crate::support::{
    LIST, NOWHERE, Upstream,
    page::section,
    proxy::Proxy,
    tls::{self, Authority, NAME, Server},
    upstream::full,
};

/// A check of the connection to an upstream.
struct Check {
    folder: TempDir,
    url: String,
    settings: String,
    environment: Vec<(String, String)>,
}

impl Check {
    fn of(url: &str) -> Self {
        Self {
            folder: TempDir::new().unwrap(),
            url: url.to_owned(),
            settings: "connect_timeout: 2s, response_timeout: 2s".to_owned(),
            environment: Vec::new(),
        }
    }

    /// Trusts this authority, PEM.
    fn trusting(mut self, authority: &str) -> Self {
        let file = write(&self.folder, "ca.pem", authority);
        self.settings += &format!(", ca_file: '{file}'");
        self
    }

    /// Adds settings of the upstream; `@` stands for the folder.
    fn with(mut self, settings: &str) -> Self {
        let folder = self.folder.path().to_str().unwrap();
        self.settings += &format!(", {}", settings.replace('@', folder));
        self
    }

    fn environment(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Runs it, while the upstream of the test goes on.
    async fn run(self, arguments: &[&str]) -> Ended {
        let settings = format!("upstream: {{ {} }}\n", self.settings);
        let file = write(&self.folder, "settings.yaml", &settings);
        let mut command = program(&["check", "--connect", "--config", &file]);
        command
            .args(["--upstream", &self.url])
            .args(arguments)
            .envs(self.environment);
        let running = tokio::task::spawn_blocking(move || ended(&mut command));
        running.await.unwrap()
    }

    async fn json(self) -> Value {
        let ended = self.run(&["--output", "json"]).await;
        let told = ended.json();
        let code = if told["ok"] == true { 0 } else { 1 };
        assert_eq!(ended.code, Some(code), "{told:#}");
        assert_eq!(told["ok"], told["connect"]["ok"], "{told:#}");
        told["connect"].clone()
    }

    /// Runs it, and looks at its last step but `clock`, or at that.
    #[track_caller]
    fn last(
        self,
        name: &str,
        result: &str,
        seen: &str,
        remedy: &str,
    ) -> impl Future<Output = Value> {
        let (name, result) = (name.to_owned(), result.to_owned());
        let (seen, remedy) = (seen.to_owned(), remedy.to_owned());
        async move {
            let told = self.json().await;
            check_step(&told, &name, &result, &seen, &remedy);
            if result == "failed" {
                assert_eq!(steps(&told).last().unwrap()["step"], *name, "{told:#}");
            }
            told
        }
    }
}

fn steps(told: &Value) -> &Vec<Value> {
    told["steps"].as_array().unwrap()
}

/// The step of this name went so, and says this.
#[track_caller]
fn check_step(told: &Value, name: &str, result: &str, seen: &str, remedy: &str) {
    let step = steps(told).iter().find(|step| step["step"] == name);
    let step = step.unwrap_or_else(|| panic!("no {name} in {told:#}"));
    assert_eq!(step["result"], result, "{told:#}");
    let said = step["seen"].as_str().unwrap();
    assert!(said.contains(seen), "{seen:?} is not in {told:#}");
    match remedy {
        "" => assert_eq!(step["remedy"], Value::Null, "{told:#}"),
        remedy => {
            let given = step["remedy"].as_str().unwrap();
            assert!(given.contains(remedy), "{remedy:?} is not in {told:#}");
            assert!(!said.contains(given), "told twice: {told:#}");
        }
    }
}

/// An upstream that answers as the service does to a request without a token.
async fn service(tls: Arc<ServerConfig>) -> Upstream {
    answering(tls, 401).await
}

async fn answering(tls: Arc<ServerConfig>, status: u16) -> Upstream {
    Upstream::with_tls(tls, move |_| {
        let reply = Response::builder().status(status).body(full("no")).unwrap();
        std::future::ready(Some(reply))
    })
    .await
}

/// An upstream without TLS that says this to every request.
async fn saying(answer: impl Into<String>) -> Upstream {
    let answer: Arc<str> = answer.into().into();
    Upstream::raw(move |mut wire, _| {
        let answer = Arc::clone(&answer);
        async move {
            wire.request().await.ok();
            wire.send(&*answer).await.ok();
        }
    })
    .await
}

/// An answer of the service at a time so many seconds from now.
fn answer_at(offset: i64) -> String {
    let now = SystemTime::now();
    let apart = Duration::from_secs(offset.unsigned_abs());
    let time = if offset < 0 { now - apart } else { now + apart };
    let date = httpdate(time);
    format!("HTTP/1.1 401 Unauthorized\r\nDate: {date}\r\nContent-Length: 0\r\n\r\n")
}

/// A time as `Date` has it.
fn httpdate(time: SystemTime) -> String {
    let seconds = time
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap()
        .as_secs();
    let text = tool_date(seconds);
    text.trim().to_owned()
}

fn tool_date(seconds: u64) -> String {
    let mut perl = crate::support::tools::tool("perl");
    perl.args([
        "-MPOSIX=strftime",
        "-e",
        "print strftime('%a, %d %b %Y %H:%M:%S GMT', gmtime(shift))",
        &seconds.to_string(),
    ]);
    String::from_utf8(perl.env("LC_ALL", "C").output().unwrap().stdout).unwrap()
}

#[tokio::test]
async fn every_step_of_a_good_connection_is_told() {
    let (authority, config) = tls::identity(&["h2", "http/1.1"]);
    let upstream = service(config).await;
    let url = upstream.url().replace("127.0.0.1", "localhost");
    let told = Check::of(&url).trusting(&authority).json().await;

    let names: Vec<_> = steps(&told)
        .iter()
        .map(|step| step["step"].as_str().unwrap())
        .collect();
    assert_eq!(
        names,
        ["dns", "tcp", "proxy", "tls", "alpn", "http", "clock"]
    );
    let address = upstream.address.to_string();
    for (name, seen) in [
        ("dns", "localhost is "),
        ("tcp", &*address),
        ("proxy", "none: neither HTTPS_PROXY nor ALL_PROXY is set"),
        ("tls", "TLS 1.3, TLS13_"),
        ("alpn", "h2"),
        ("http", "401 Unauthorized"),
        ("clock", "within "),
    ] {
        check_step(&told, name, "ok", seen, "");
    }
    let [certificate] = &told["certificates"].as_array().unwrap()[..] else {
        panic!("not one certificate in {told:#}");
    };
    assert_eq!(
        certificate["issuer"],
        "CN=Test Inspection CA, O=Test & Sons"
    );
    assert_eq!(certificate["subject"], "CN=rcgen self signed cert");
    for field in ["not_before", "not_after"] {
        assert!(
            certificate[field].as_str().unwrap().ends_with('Z'),
            "{told:#}"
        );
    }
    assert_eq!(told["clock_skew_seconds"], 0.0);
    let http = steps(&told)
        .iter()
        .find(|step| step["step"] == "http")
        .unwrap();
    assert!(http["took_ms"].as_f64().unwrap() > 0.0, "{told:#}");
}

#[tokio::test]
async fn the_request_carries_no_credential_and_reads_the_list() {
    for protocol in ["h2", "http/1.1"] {
        let (authority, config) = tls::identity(&[protocol]);
        let upstream = service(config).await;
        Check::of(&upstream.url()).trusting(&authority).json().await;

        let seen = upstream.only("GET");
        assert_eq!(seen.target.path(), LIST);
        let mut names: Vec<_> = seen.headers.keys().map(|name| name.as_str()).collect();
        names.sort_unstable();
        let host: &[&str] = if protocol == "h2" { &[] } else { &["host"] };
        let expected = [
            &["accept", "accept-encoding", "client-request-id"][..],
            host,
            &["ms-requestid"],
        ];
        assert_eq!(names, expected.concat(), "{protocol}");
        assert_eq!(upstream.connections(), 1);
    }
}

#[tokio::test]
async fn the_text_has_a_line_for_each_step() {
    let (authority, config) = tls::identity(&["http/1.1"]);
    let upstream = service(config).await;
    let ended = Check::of(&upstream.url())
        .trusting(&authority)
        .run(&[])
        .await;
    assert_eq!(ended.code, Some(0), "{}", ended.out);
    let (summary, lines) = ended.out.split_once("\n\n").unwrap();
    assert!(
        summary.contains("Settings and policy are valid."),
        "{summary}"
    );
    let lines: Vec<_> = lines.lines().collect();
    let starts = [
        "dns    ok       127.0.0.1 is an address",
        "tcp    ok       connected to 127.0.0.1:",
        "proxy  ok       none: ",
        "tls    ok       TLS 1.3, ",
        "                certificate: CN=rcgen self signed cert; issued by CN=Test Inspection CA, O=Test & Sons; valid from ",
        "alpn   warning  http/1.1: no HTTP/2",
        "                remedy: requests pass, but each needs a connection of its own",
        "http   ok       401 Unauthorized, as expected without a token (",
        "clock  ok       within ",
    ];
    assert_eq!(lines.len(), starts.len(), "{}", ended.out);
    for (line, start) in lines.iter().zip(starts) {
        assert!(line.starts_with(start), "{start:?}: {}", ended.out);
    }
}

#[tokio::test]
async fn a_certificate_that_is_not_trusted_is_shown_with_its_issuer() {
    let other = Server::new().authority;
    let upstream = service(Server::by("Corporate Inspection").speaking(&["h2"])).await;
    let told = Check::of(&upstream.url())
        .trusting(&other)
        .last(
            "tls",
            "failed",
            "the issuer of the upstream's certificate (CN=Corporate Inspection, O=Test & Sons) is not trusted",
            "put the certificate of that issuer into upstream.ca_file",
        )
        .await;
    assert_eq!(
        told["certificates"][0]["issuer"],
        "CN=Corporate Inspection, O=Test & Sons"
    );
    assert!(upstream.seen().is_empty());

    let ended = Check::of(&upstream.url()).trusting(&other).run(&[]).await;
    assert_eq!(ended.code, Some(1));
    let shown = "certificate: CN=rcgen self signed cert; issued by CN=Corporate Inspection";
    assert!(ended.out.contains(shown), "{}", ended.out);
}

#[tokio::test]
async fn each_fault_of_a_certificate_is_told_with_its_remedy() {
    let expired = Server::with(|params| {
        params.not_before = date_time_ymd(2019, 1, 1);
        params.not_after = date_time_ymd(2020, 2, 3);
    });
    let early = Server::with(|params| params.not_before = date_time_ymd(2999, 1, 1));
    let misnamed = Server::with(|params| {
        params.subject_alt_names = vec![SanType::DnsName("other.example".try_into().unwrap())];
    });
    for (server, seen, remedy, dates) in [
        (
            expired,
            "the upstream's certificate expired at 2020-02-03T00:00:00Z",
            "check the clock, else the upstream needs a new certificate",
            "2020-02-03T00:00:00Z",
        ),
        (
            early,
            "is not valid before 2999-01-01T00:00:00Z",
            "check the clock",
            "2999-01-01T00:00:00Z",
        ),
        (
            misnamed,
            "the upstream's certificate is for other.example, not for 127.0.0.1",
            "check the host in upstream.url",
            "",
        ),
    ] {
        let authority = server.authority.clone();
        let upstream = service(server.speaking(&["h2"])).await;
        let check = Check::of(&upstream.url()).trusting(&authority);
        let told = check.last("tls", "failed", seen, remedy).await;
        let certificate = told["certificates"][0].to_string();
        assert!(certificate.contains(dates), "{told:#}");
    }
}

#[tokio::test]
async fn a_self_signed_certificate_is_told() {
    let (authority, _) = tls::identity(&[]);
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "Lonely");
    let pair = tls::Pair {
        certificate: params.self_signed(&key).unwrap().pem(),
        key: key.serialize_pem(),
    };
    let upstream = service(pair.server(&[&TLS13], &["h2"])).await;
    let told = Check::of(&upstream.url())
        .trusting(&authority)
        .last(
            "tls",
            "failed",
            "(CN=Lonely) is not trusted",
            "upstream.ca_file",
        )
        .await;
    assert_eq!(told["certificates"][0]["subject"], "CN=Lonely");
}

#[tokio::test]
async fn certificates_that_end_soon_are_a_warning() {
    // In four days, by the day.
    let soon = SystemTime::now() + Duration::from_secs(4 * 24 * 3600);
    let soon = humantime::format_rfc3339_seconds(soon).to_string();
    let mut numbers = soon[..10]
        .split('-')
        .map(|part| part.parse::<i32>().unwrap());
    let (year, month, day) = (
        numbers.next().unwrap(),
        u8::try_from(numbers.next().unwrap()).unwrap(),
        u8::try_from(numbers.next().unwrap()).unwrap(),
    );
    let ends_soon = |params: &mut CertificateParams| {
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(year, month, day);
    };
    let server = Server::with(ends_soon);
    let authority = server.authority.clone();
    let upstream = service(server.speaking(&["h2"])).await;
    let seen = format!("a certificate ends at {}", &soon[..10]);
    Check::of(&upstream.url())
        .trusting(&authority)
        .last("tls", "warning", &seen, "must renew it")
        .await;

    let own = Authority::new("Own");
    let pair = own.issue_with(&["gateway"], ends_soon);
    let (authority, config) = tls::identity(&["h2"]);
    let upstream = service(config).await;
    let check = Check::of(&upstream.url()).trusting(&authority);
    write(&check.folder, "own.crt", &pair.certificate);
    write(&check.folder, "own.key", &pair.key);
    let check = check.with("client_cert_file: '@/own.crt', client_key_file: '@/own.key'");
    let seen = "the certificate that the gateway shows ends at";
    check
        .last("tls", "warning", seen, "upstream.client_cert_file")
        .await;
}

#[tokio::test]
async fn an_upstream_that_wants_a_certificate_is_told() {
    for version in [&TLS12, &TLS13] {
        let server = Server::new();
        let authority = server.authority.clone();
        let upstream = service(server.asking_for_a_certificate(version)).await;
        let told = Check::of(&upstream.url()).trusting(&authority).json().await;
        assert_eq!(told["ok"], false, "{told:#}");
        let last = steps(&told).last().unwrap();
        // In TLS 1.3 the handshake is over for this side before the other one has looked.
        let name = if version.version == TLS12.version {
            "tls"
        } else {
            "http"
        };
        assert_eq!(last["step"], name, "{told:#}");
        let remedy = last["remedy"].as_str().unwrap();
        assert!(remedy.contains("upstream.client_cert_file"), "{told:#}");
    }
}

#[tokio::test]
async fn an_upstream_that_speaks_no_tls_is_told() {
    let upstream = Upstream::raw(|mut wire, _| async move {
        wire.send("HTTP/1.1 400 Bad Request\r\n\r\n").await.ok();
        wire.is_closed().await;
    })
    .await;
    let url = format!("https://{}", upstream.address);
    let (authority, _) = tls::identity(&[]);
    Check::of(&url)
        .trusting(&authority)
        .last(
            "tls",
            "failed",
            "does not speak TLS on this port",
            "check scheme and port",
        )
        .await;
}

#[tokio::test]
async fn an_upstream_that_cannot_be_reached_is_told() {
    let url = format!("http://{NOWHERE}");
    Check::of(&url)
        .last(
            "tcp",
            "failed",
            "connection refused",
            "check host and port in upstream.url",
        )
        .await;

    let (authority, _) = tls::identity(&[]);
    let check = Check::of(&format!("https://{NAME}")).trusting(&authority);
    let told = check.last("dns", "failed", NAME, "DNS").await;
    let proxy = "if this network has a proxy, name it by HTTPS_PROXY";
    check_step(&told, "dns", "failed", NAME, proxy);
}

#[tokio::test]
async fn an_upstream_that_accepts_no_connection_is_given_up() {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket
        .bind(&"127.0.0.1:0".parse::<SocketAddr>().unwrap().into())
        .unwrap();
    socket.listen(0).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    let mut waiting = Vec::new();
    for _ in 0..4 {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.set_nonblocking(true).unwrap();
        socket.connect(&address.into()).ok();
        waiting.push(socket);
    }
    let began = Instant::now();
    Check::of(&format!("http://{address}"))
        .last(
            "tcp",
            "failed",
            "no connection within 2s",
            &format!("allow TCP to {address}"),
        )
        .await;
    assert!(began.elapsed() < Duration::from_secs(15));
}

#[tokio::test]
async fn an_upstream_that_does_not_shake_hands_is_given_up() {
    let upstream = Upstream::raw(|mut wire, _| async move {
        wire.is_closed().await;
    })
    .await;
    let (authority, _) = tls::identity(&[]);
    Check::of(&format!("https://{}", upstream.address))
        .trusting(&authority)
        .last(
            "tls",
            "failed",
            "no connection within 2s",
            "something on the way breaks TLS",
        )
        .await;
}

#[tokio::test]
async fn what_the_answer_says_is_told() {
    for (status, result, seen, remedy) in [
        (401, "ok", "401 Unauthorized, as expected", ""),
        (200, "ok", "200 OK, without a token", ""),
        (302, "warning", "302 Found", "follows no redirect"),
        (
            403,
            "warning",
            "403 Forbidden",
            "refuses this network or requests without a token",
        ),
        (
            404,
            "warning",
            "404 Not Found",
            "check that upstream.url is the service's",
        ),
        (
            407,
            "failed",
            "407 Proxy Authentication Required",
            "a proxy or a portal",
        ),
        (429, "warning", "429 Too Many Requests", "asks to wait"),
        (500, "failed", "500 Internal Server Error", "status page"),
        (503, "failed", "503 Service Unavailable", "status page"),
    ] {
        let (authority, config) = tls::identity(&["h2"]);
        let upstream = answering(config, status).await;
        let told = Check::of(&upstream.url()).trusting(&authority).json().await;
        check_step(&told, "http", result, seen, remedy);
        // The clock is looked at whatever the answer says.
        check_step(&told, "clock", "ok", "within ", "");
        assert_eq!(told["ok"], result != "failed", "{told:#}");
    }
}

#[tokio::test]
async fn an_upstream_without_a_usable_answer_is_told() {
    for (answer, seen, remedy) in [
        (
            "SSH-2.0-OpenSSH_9.2\r\n\r\n",
            "",
            "what listens there is not the service",
        ),
        ("", "", "closes connections"),
        (
            "HTTP/1.1 101 Switching Protocols\r\n\r\n",
            "101",
            "what listens there is not the service",
        ),
    ] {
        let upstream = saying(answer).await;
        Check::of(&upstream.url())
            .last("http", "failed", seen, remedy)
            .await;
    }
    let silent = Upstream::raw(|mut wire, _| async move {
        wire.is_closed().await;
    })
    .await;
    Check::of(&silent.url())
        .last(
            "http",
            "failed",
            "no answer within 2s",
            "raise upstream.response_timeout",
        )
        .await;
}

#[tokio::test]
async fn a_clock_that_differs_is_told() {
    for (offset, result, seen, remedy) in [
        (0, "ok", "within ", ""),
        (3, "ok", "within ", ""),
        (-3, "ok", "within ", ""),
        (60, "warning", "behind the upstream's", "`nbf` to `exp`"),
        (-60, "warning", "ahead of the upstream's", "`nbf` to `exp`"),
        (900, "failed", "behind the upstream's", "set the clock"),
        (-900, "failed", "ahead of the upstream's", "set the clock"),
    ] {
        let upstream = saying(answer_at(offset)).await;
        let told = Check::of(&upstream.url()).json().await;
        check_step(&told, "clock", result, seen, remedy);
        let skew = told["clock_skew_seconds"].as_f64().unwrap();
        let offset = offset as f64;
        assert!((skew + offset).abs() < 10.0, "{offset}: {told:#}");
    }
    let upstream = saying("HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n").await;
    let told = Check::of(&upstream.url()).json().await;
    check_step(
        &told,
        "clock",
        "warning",
        "no usable Date",
        "compare the clock",
    );
    assert_eq!(told["clock_skew_seconds"], Value::Null);
}

#[tokio::test]
async fn the_proxy_of_the_environment_is_used_and_told() {
    let (authority, config) = tls::identity(&["h2"]);
    let upstream = service(config).await;
    let proxy = Proxy::to(upstream.address).await;
    let named = format!("http://wanderer:open-sesame@{}", proxy.address());
    let told = Check::of(&format!("https://{NAME}"))
        .trusting(&authority)
        .environment("HTTPS_PROXY", &named)
        .json()
        .await;
    assert_eq!(told["ok"], true, "{told:#}");
    check_step(
        &told,
        "dns",
        "ok",
        "the proxy, which looks up the upstream itself",
        "",
    );
    let seen = format!(
        "{}, named by HTTPS_PROXY, made a tunnel to {NAME}:443",
        proxy.address()
    );
    check_step(&told, "proxy", "ok", &seen, "");
    assert_eq!(proxy.heads().len(), 1);
    assert!(!told.to_string().contains("open-sesame"), "{told:#}");

    let told = Check::of(&upstream.url())
        .trusting(&authority)
        .environment("ALL_PROXY", &named)
        .environment("NO_PROXY", "127.0.0.1")
        .json()
        .await;
    check_step(&told, "proxy", "ok", "none: NO_PROXY exempts the host", "");
    assert_eq!(proxy.heads().len(), 1);
}

#[tokio::test]
async fn a_proxy_that_makes_no_tunnel_is_told() {
    let secret = "open-sesame";
    let (authority, _) = tls::identity(&[]);
    for (answer, seen, remedy) in [
        (
            "HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n",
            "wants a user and a password",
            "http://USER:PASSWORD@HOST:PORT",
        ),
        (
            "HTTP/1.1 403 open-sesame\r\n\r\n",
            "it answered 403 Forbidden",
            "must allow CONNECT to partner.invalid:443; if the host can be reached without it, set NO_PROXY=partner.invalid",
        ),
        (
            "SSH-2.0-x\r\n",
            "the proxy's answer is not HTTP/1",
            "this is no HTTP proxy",
        ),
        ("", "no connection within 2s", "must allow CONNECT"),
    ] {
        let proxy = Proxy::saying(answer).await;
        let told = Check::of(&format!("https://{NAME}"))
            .trusting(&authority)
            .environment(
                "HTTPS_PROXY",
                &format!("http://wanderer:{secret}@{}", proxy.address()),
            )
            .last("proxy", "failed", seen, remedy)
            .await;
        check_step(&told, "tcp", "ok", "connected to", "");
        assert!(!told.to_string().contains(secret), "{told:#}");
    }

    let gone = format!("http://{NOWHERE}");
    Check::of(&format!("https://{NAME}"))
        .trusting(&authority)
        .environment("HTTPS_PROXY", &gone)
        .last(
            "tcp",
            "failed",
            "the proxy: connection refused",
            "HTTPS_PROXY",
        )
        .await;
}

#[tokio::test]
async fn texts_of_the_other_side_are_bounded() {
    let name = format!("\u{1b}[2J; remedy: run this\r\n{}", "x".repeat(500));
    let other = Server::new().authority;
    let upstream = service(Server::by(&name).speaking(&["h2"])).await;
    let ended = Check::of(&upstream.url()).trusting(&other).run(&[]).await;
    assert_eq!(ended.code, Some(1));
    assert!(
        !ended.out.contains('\u{1b}') && !ended.out.contains('\r'),
        "{}",
        ended.out
    );
    assert!(!ended.out.contains(&"x".repeat(100)), "{}", ended.out);
    let remedies = ended
        .out
        .lines()
        .filter(|line| line.trim_start().starts_with("remedy: "));
    let remedies: Vec<_> = remedies.collect();
    assert!(
        matches!(&remedies[..], [one] if one.contains("remedy: if a proxy inspects TLS")),
        "{remedies:?}"
    );
}

#[tokio::test]
async fn nothing_is_connected_to_without_an_upstream_or_with_wrong_settings() {
    let ended = Check::of("simulator").run(&[]).await;
    assert_eq!(ended.code, Some(0), "{}", ended.out);
    let told = "The upstream is the simulator: there is nothing to connect to.";
    assert!(ended.out.contains(told), "{}", ended.out);
    let told = Check::of("simulator").json().await;
    assert!(steps(&told).is_empty());

    let upstream = saying(answer_at(0)).await;
    let ended = Check::of(&upstream.url())
        .with("max_connections: 0")
        .run(&[])
        .await;
    assert_eq!(ended.code, Some(1), "{}", ended.out);
    assert_eq!(upstream.connections(), 0);

    let quiet = super::commands::run(&["check", "--output", "json"]).json();
    assert_eq!(quiet["connect"], Value::Null);
}

#[test]
fn every_step_stands_on_the_page() {
    let page = section("docs/cli.md", "Check the connection");
    for name in ["dns", "tcp", "proxy", "tls", "alpn", "http", "clock"] {
        assert!(page.contains(&format!("| `{name}` |")), "{name}");
    }
}
