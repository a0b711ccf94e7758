//! TLS on the listeners: handshakes, clients with certificates, renewals, and what is no TLS.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use rcgen::{SanType, date_time_ymd};
use rustls::{
    ClientConfig, HandshakeKind, SupportedProtocolVersion,
    pki_types::ServerName,
    version::{TLS12, TLS13},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::commands::{ended, program};
use crate::support::{
    Answer, Gateway, ITEM, TAG, Upstream, Wire, body, eventually,
    gateway::Builder,
    tls::{Authority, Pair, Server},
    tools::tool,
    wire::Call,
    within,
};

const BOTH: [&SupportedProtocolVersion; 2] = [&TLS12, &TLS13];
const ON: &str = "tls: { cert_file: '@/tls.crt', key_file: '@/tls.key' }";
const ASKING: &str =
    "tls: { cert_file: '@/tls.crt', key_file: '@/tls.key', client_ca_file: '@/clients.pem' }";

/// A gateway with this certificate in the files that [`ON`] names.
fn with(settings: &str, shown: &Pair) -> Builder {
    Gateway::with(settings)
        .file("tls.crt", &shown.certificate)
        .file("tls.key", &shown.key)
}

/// A gateway that asks clients of `authority` for a certificate.
fn asking(settings: &str, shown: &Pair, authority: &Authority) -> Builder {
    with(settings, shown).file("clients.pem", &authority.pem)
}

async fn connect(
    address: SocketAddr,
    config: &Arc<ClientConfig>,
) -> io::Result<TlsStream<TcpStream>> {
    let stream = TcpStream::connect(address).await?;
    let name = ServerName::try_from("localhost").unwrap();
    let connecting = TlsConnector::from(Arc::clone(config)).connect(name, stream);
    within("a handshake", connecting).await
}

/// Asks for a referral on a new connection; an error if the connection ends before the answer.
async fn ask(
    address: SocketAddr,
    config: &Arc<ClientConfig>,
) -> io::Result<(Answer, HandshakeKind)> {
    let stream = connect(address, config).await?;
    let mut wire = Wire::new(stream);
    wire.send(Call::new(address, "GET", ITEM).bytes()).await?;
    let answer = within("an answer", wire.try_answer("GET")).await?;
    let kind = wire.stream().get_ref().1.handshake_kind().unwrap();
    Ok((answer, kind))
}

async fn failures(gateway: &Gateway, reason: &str) -> f64 {
    let labels = [("listener", "data"), ("reason", reason)];
    gateway
        .metric("tls_handshake_failures_total", &labels)
        .await
}

/// Waits until one is counted: who is refused may hear of it before.
async fn some_failures(gateway: &Gateway, reason: &str) {
    let are_some = async || failures(gateway, reason).await > 0.0;
    eventually(reason, are_some).await;
}

async fn until_failures(gateway: &Gateway, reason: &str, count: f64) {
    let labels = [("listener", "data"), ("reason", reason)];
    gateway
        .until_metric("tls_handshake_failures_total", &labels, count)
        .await;
}

#[tokio::test]
async fn requests_pass_over_both_versions_and_sessions_are_resumed() {
    let upstream = Upstream::start().await;
    let authority = Authority::new("A root");
    let gateway = with(ON, &authority.issue(&["localhost"]))
        .start(&upstream)
        .await;

    for version in BOTH {
        let config = Arc::new(authority.client(version));
        let (first, kind) = ask(gateway.address, &config).await.unwrap();
        assert_eq!(first.status, 200);
        assert_ne!(kind, HandshakeKind::Resumed);
        let (second, kind) = ask(gateway.address, &config).await.unwrap();
        assert_eq!(second.status, 200);
        assert_eq!(kind, HandshakeKind::Resumed, "{version:?}");
    }
    assert_eq!(upstream.count("GET"), 4);
}

#[tokio::test]
async fn the_protocol_is_the_one_that_alpn_agrees_on() {
    let upstream = Upstream::start().await;
    let authority = Authority::new("A root");
    let gateway = with(ON, &authority.issue(&["localhost"]))
        .start(&upstream)
        .await;
    let speaking = |protocols: &[&str]| {
        let mut config = authority.client(&TLS13);
        config.alpn_protocols = protocols
            .iter()
            .map(|name| name.as_bytes().to_vec())
            .collect();
        Arc::new(config)
    };

    for (offered, agreed) in [
        (&["http/1.1", "h2"][..], Some("h2")),
        (&["http/1.1"], Some("http/1.1")),
        (&[], None),
    ] {
        let stream = connect(gateway.address, &speaking(offered)).await.unwrap();
        let protocol = stream.get_ref().1.alpn_protocol();
        assert_eq!(protocol, agreed.map(str::as_bytes), "{offered:?}");
    }
    for offered in [&["http/1.1"][..], &[]] {
        let (answer, _) = ask(gateway.address, &speaking(offered)).await.unwrap();
        assert_eq!(answer.status, 200, "{offered:?}");
    }
    // HTTP/2 without an agreement on it is no HTTP/1.1 either.
    let mut stream = connect(gateway.address, &speaking(&[])).await.unwrap();
    stream
        .write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        .await
        .unwrap();
    assert_eq!(Wire::new(stream).rest().await, b"");

    let refused = connect(gateway.address, &speaking(&["spdy/3"]))
        .await
        .unwrap_err();
    assert!(
        refused.to_string().contains("NoApplicationProtocol"),
        "{refused}"
    );
    until_failures(&gateway, "protocol", 1.0).await;
}

#[tokio::test]
async fn a_refused_put_over_tls_reaches_nobody() {
    let upstream = Upstream::start().await;
    let authority = Authority::new("A root");
    let gateway = with(ON, &authority.issue(&["localhost"]))
        .start(&upstream)
        .await;
    let config = Arc::new(authority.client(&TLS13));

    for (tag, status) in [(None, 428), (Some(TAG), 200)] {
        let mut call = gateway.put(ITEM, body("Active", "Accepted"));
        if let Some(tag) = tag {
            call = call.header("If-Match", tag);
        }
        let stream = connect(gateway.address, &config).await.unwrap();
        let mut wire = Wire::new(stream);
        wire.send(call.bytes()).await.unwrap();
        assert_eq!(wire.answer("PUT").await.status, status);
        assert_eq!(upstream.count("PUT"), usize::from(status == 200));
    }
}

#[tokio::test]
async fn a_connection_that_rests_goes_on_and_a_half_closed_one_is_answered() {
    let upstream = Upstream::start().await;
    let authority = Authority::new("A root");
    let gateway = with(ON, &authority.issue(&["localhost"]))
        .start(&upstream)
        .await;
    let config = Arc::new(authority.client(&TLS13));
    let call = || Call::new(gateway.address, "GET", ITEM).bytes();

    let mut wire = Wire::new(connect(gateway.address, &config).await.unwrap());
    for _ in 0..2 {
        wire.send(call()).await.unwrap();
        let answer = wire.answer("GET").await;
        assert_eq!(answer.header("keep-alive"), Some("timeout=120"));
        // A pause in which the gateway gives hyper's buffers back.
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    let mut stream = connect(gateway.address, &config).await.unwrap();
    stream.write_all(&call()).await.unwrap();
    stream.shutdown().await.unwrap();
    assert_eq!(Wire::new(stream).answer("GET").await.status, 200);
}

#[tokio::test]
async fn only_clients_of_the_authority_are_served_when_it_asks() {
    let upstream = Upstream::start().await;
    let (authority, clients) = (Authority::new("A root"), Authority::new("Clients"));
    let shown = authority.issue(&["localhost"]);
    let gateway = asking(ASKING, &shown, &clients).start(&upstream).await;
    let mut refused = 0.0;

    for version in BOTH {
        let good = clients.issue(&["crm.example"]);
        let config = Arc::new(authority.client_as(version, &good));
        assert_eq!(ask(gateway.address, &config).await.unwrap().0.status, 200);

        let expired = clients.issue_with(&["crm.example"], |params| {
            params.not_before = date_time_ymd(2020, 1, 1);
            params.not_after = date_time_ymd(2021, 1, 1);
        });
        for config in [
            authority.client(version),
            authority.client_as(version, &Authority::new("Clients").issue(&["crm.example"])),
            authority.client_as(version, &shown),
            authority.client_as(version, &expired),
        ] {
            ask(gateway.address, &Arc::new(config)).await.unwrap_err();
            refused += 1.0;
            until_failures(&gateway, "client_certificate", refused).await;
        }
    }
    assert_eq!(upstream.count("GET"), 2);
}

#[tokio::test]
async fn a_client_needs_one_of_the_names_that_are_listed() {
    let upstream = Upstream::start().await;
    let (authority, clients) = (Authority::new("A root"), Authority::new("Clients"));
    let shown = authority.issue(&["localhost"]);
    let settings = "tls:
  cert_file: '@/tls.crt'
  key_file: '@/tls.key'
  client_ca_file: '@/clients.pem'
  client_names: [CRM.example, 'spiffe://example/flow']";
    let gateway = asking(settings, &shown, &clients).start(&upstream).await;
    let uri = |uri: &str| {
        clients.issue_with(&[], |params| {
            params
                .subject_alt_names
                .push(SanType::URI(uri.try_into().unwrap()));
        })
    };
    let mut refused = 0.0;

    for (own, is_served) in [
        (clients.issue(&["crm.example"]), true),
        (clients.issue(&["other.example", "crm.Example"]), true),
        (uri("spiffe://example/flow"), true),
        (clients.issue(&["other.example"]), false),
        (clients.issue(&["*.example"]), false),
        (clients.issue(&["crm.example.evil"]), false),
        (uri("spiffe://example/Flow"), false),
        (uri("spiffe://example/flow/x"), false),
        (clients.issue(&[]), false),
    ] {
        let config = Arc::new(authority.client_as(&TLS13, &own));
        let answer = ask(gateway.address, &config).await;
        assert_eq!(answer.is_ok(), is_served, "{}", own.certificate);
        refused += f64::from(!is_served);
        until_failures(&gateway, "client_name", refused).await;
    }
    assert_eq!(upstream.count("GET"), 3);
}

#[tokio::test]
async fn new_certificates_come_into_force_and_open_connections_stay() {
    let upstream = Upstream::start().await;
    let (old, new) = (Authority::new("Old"), Authority::new("New"));
    let shown = old.issue_with(&["localhost"], |params| {
        params.not_before = date_time_ymd(2026, 1, 1);
        params.not_after = date_time_ymd(2090, 1, 1);
    });
    let gateway = with(ON, &shown).start(&upstream).await;
    let (of_old, of_new) = (Arc::new(old.client(&TLS13)), Arc::new(new.client(&TLS13)));
    let labels = [("certificate", "data")];
    let begins = || gateway.metric("certificate_not_before_timestamp_seconds", &labels);
    let ends = || gateway.metric("certificate_not_after_timestamp_seconds", &labels);
    // 2026-01-01; 2090-01-01 and 2091-01-01.
    assert_eq!(begins().await, 1_767_225_600.0);
    assert_eq!(ends().await, 3_786_912_000.0);
    let mut wire = Wire::new(connect(gateway.address, &of_old).await.unwrap());

    // Rubbish, then a certificate without its key: neither comes into force.
    let renewed = new.issue_with(&["localhost"], |params| {
        params.not_after = date_time_ymd(2091, 1, 1);
    });
    for (certificate, problem) in [
        ("rubbish", "without a certificate"),
        (&renewed.certificate, "does not fit"),
    ] {
        gateway.replace("tls.crt", certificate);
        gateway
            .record("the fault in the log", |record| {
                let said = record["problem"].as_str().unwrap_or_default();
                record["level"] == "ERROR" && said.contains(problem)
            })
            .await;
        let failed = [("what", "settings"), ("result", "failure")];
        assert!(gateway.metric("config_reloads_total", &failed).await > 0.0);
        let last = [("what", "settings")];
        assert_eq!(
            gateway.metric("config_last_reload_successful", &last).await,
            0.0
        );
        ask(gateway.address, &of_old).await.unwrap();
    }
    gateway.replace("tls.key", &renewed.key);
    eventually("the new certificate", async || {
        ask(gateway.address, &of_new).await.is_ok()
    })
    .await;
    let without_session = Arc::new(old.client(&TLS13));
    ask(gateway.address, &without_session).await.unwrap_err();
    assert_eq!(ends().await, 3_818_448_000.0);

    wire.send(Call::new(gateway.address, "GET", ITEM).bytes())
        .await
        .unwrap();
    assert_eq!(wire.answer("GET").await.status, 200);
}

#[tokio::test]
async fn no_session_outlives_the_trust_in_its_client() {
    for version in BOTH {
        let upstream = Upstream::start().await;
        let (authority, clients) = (Authority::new("A root"), Authority::new("Clients"));
        let shown = authority.issue(&["localhost"]);
        let gateway = asking(ASKING, &shown, &clients).start(&upstream).await;
        let own = clients.issue(&["crm.example"]);
        let config = Arc::new(authority.client_as(version, &own));
        for _ in 0..2 {
            let (_, kind) = ask(gateway.address, &config).await.unwrap();
            assert_ne!(kind, HandshakeKind::Resumed, "{version:?}");
        }

        gateway.replace("clients.pem", &Authority::new("Others").pem);

        eventually("the end of the trust", async || {
            ask(gateway.address, &config).await.is_err()
        })
        .await;
        some_failures(&gateway, "client_certificate").await;
    }
}

#[tokio::test]
async fn a_refused_client_is_told_why_although_it_has_sent_its_request() {
    let upstream = Upstream::start().await;
    let (authority, clients) = (Authority::new("A root"), Authority::new("Clients"));
    let gateway = asking(ASKING, &authority.issue(&["localhost"]), &clients)
        .start(&upstream)
        .await;

    for _ in 0..10 {
        // A client of TLS 1.3 is done before the server has seen its certificate.
        let config = Arc::new(authority.client(&TLS13));
        let refused = ask(gateway.address, &config).await.unwrap_err().to_string();
        assert!(refused.contains("CertificateRequired"), "{refused}");
    }

    // What it has sent is read, since a reset would take the alert away from clients of some systems.
    let config = Arc::new(authority.client(&TLS13));
    let mut stream = connect(gateway.address, &config).await.unwrap();
    let large = format!("PUT / HTTP/1.1\r\nHost: x\r\n\r\n{}", "x".repeat(200_000));
    stream.write_all(large.as_bytes()).await.unwrap();
    stream.flush().await.unwrap();
    let refused = stream.read(&mut [0; 100]).await.unwrap_err().to_string();
    assert!(refused.contains("CertificateRequired"), "{refused}");
    let (mut stream, _) = stream.into_inner();
    let end = within("the end", stream.read(&mut [0; 100])).await;
    assert_eq!(end.map_err(|error| error.kind()), Ok(0));
}

#[tokio::test]
async fn a_client_that_is_no_longer_listed_is_not_served() {
    let upstream = Upstream::start().await;
    let (authority, clients) = (Authority::new("A root"), Authority::new("Clients"));
    let shown = authority.issue(&["localhost"]);
    let listing = |name: &str| {
        let files =
            "cert_file: '@/tls.crt', key_file: '@/tls.key', client_ca_file: '@/clients.pem'";
        format!("tls: {{ {files}, client_names: [{name}] }}")
    };
    let gateway = asking(&listing("crm.example"), &shown, &clients)
        .start(&upstream)
        .await;
    let config = Arc::new(authority.client_as(&TLS13, &clients.issue(&["crm.example"])));
    ask(gateway.address, &config).await.unwrap();

    gateway.replace_settings(&listing("other.example"));

    eventually("the end of the trust", async || {
        ask(gateway.address, &config).await.is_err()
    })
    .await;
    some_failures(&gateway, "client_name").await;
}

#[tokio::test]
async fn clear_text_on_a_port_of_tls_is_told_so() {
    let upstream = Upstream::start().await;
    let authority = Authority::new("A root");
    let settings =
        format!("{ON}\ntelemetry: {{ tls: {{ cert_file: '@/tls.crt', key_file: '@/tls.key' }} }}");
    let gateway = with(&settings, &authority.issue(&["localhost"]))
        .start(&upstream)
        .await;

    let answer = gateway.put(ITEM, body("Active", "Accepted")).send().await;
    assert_eq!(answer.status, 400);
    assert_eq!(answer.problem().code, "clear_text");
    assert!(answer.text().contains("https://"), "{}", answer.text());
    let answer = Call::new(gateway.telemetry, "GET", "/readyz").send().await;
    assert_eq!((answer.status, answer.text().lines().count()), (400, 1));
    assert_eq!(upstream.seen().len(), 0);

    let config = Arc::new(authority.client(&TLS13));
    let mut wire = Wire::new(connect(gateway.telemetry, &config).await.unwrap());
    wire.send(Call::new(gateway.telemetry, "GET", "/metrics").bytes())
        .await
        .unwrap();
    let metrics = wire.answer("GET").await.text();
    for listener in ["data", "telemetry"] {
        let labels = [("listener", listener), ("reason", "clear_text")];
        assert_eq!(
            crate::support::gateway::sum(&metrics, "tls_handshake_failures_total", &labels),
            1.0
        );
    }
}

#[tokio::test]
async fn a_telemetry_listener_asks_clients_as_well() {
    let upstream = Upstream::start().await;
    let (authority, clients) = (Authority::new("A root"), Authority::new("Clients"));
    let settings = "telemetry:
  tls:
    cert_file: '@/tls.crt'
    key_file: '@/tls.key'
    client_ca_file: '@/clients.pem'
    client_names: [prometheus.example]";
    let shown = authority.issue(&["localhost"]);
    let gateway = asking(settings, &shown, &clients).start(&upstream).await;
    let scrape = async |config: ClientConfig| {
        let stream = connect(gateway.telemetry, &Arc::new(config)).await?;
        let mut wire = Wire::new(stream);
        wire.send(Call::new(gateway.telemetry, "GET", "/metrics").bytes())
            .await?;
        within("an answer", wire.try_answer("GET")).await
    };

    let named = clients.issue(&["prometheus.example"]);
    let metrics = scrape(authority.client_as(&TLS13, &named))
        .await
        .unwrap()
        .text();
    assert!(metrics.contains("referral_gateway_build_info"));
    let other = clients.issue(&["other.example"]);
    scrape(authority.client_as(&TLS13, &other))
        .await
        .unwrap_err();
    scrape(authority.client(&TLS13)).await.unwrap_err();
    assert_eq!(gateway.get(ITEM).send().await.status, 200, "in clear text");
}

#[tokio::test]
async fn tls_on_a_port_of_clear_text_is_refused_and_counted() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start(&upstream).await;
    let config = Arc::new(Authority::new("A root").client(&TLS13));

    connect(gateway.address, &config).await.unwrap_err();

    let kind = [("kind", "tls_on_clear_port")];
    gateway
        .until_metric("request_errors_total", &kind, 1.0)
        .await;
}

#[tokio::test]
async fn rubbish_is_refused_counted_and_logged_once() {
    let upstream = Upstream::start().await;
    let authority = Authority::new("A root");
    let gateway = with(ON, &authority.issue(&["localhost"]))
        .start(&upstream)
        .await;
    // SSL 2, a record of a version that is none, a record that is too long, a request of another protocol.
    let rubbish: [&[u8]; 4] = [
        b"\x80\x2e\x01\x00\x02\x00\x15\x00\x00\x00\x10",
        b"\x16\x09\x01\x00\x04\x01\x00\x00\x00",
        b"\x16\x03\x01\xff\xff\x01\x00\xff\xfc",
        b"\x00\x00\x00\x2fSMB",
    ];

    for bytes in rubbish {
        let mut stream = TcpStream::connect(gateway.address).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        let mut answer = Vec::new();
        let _ = within("the end", stream.read_to_end(&mut answer)).await;
        assert!(!answer.starts_with(b"HTTP"), "{bytes:?}");
    }

    until_failures(&gateway, "not_tls", 4.0).await;
    let lines = gateway.lines();
    let told = lines
        .iter()
        .filter(|line| line.contains("A TLS handshake failed"));
    assert_eq!(told.count(), 1);
    ask(gateway.address, &Arc::new(authority.client(&TLS13)))
        .await
        .unwrap();
}

#[tokio::test]
async fn a_client_that_leaves_in_the_handshake_is_counted_and_not_logged() {
    let upstream = Upstream::start().await;
    let authority = Authority::new("A root");
    let gateway = with(ON, &authority.issue(&["localhost"]))
        .start(&upstream)
        .await;

    let mut stream = TcpStream::connect(gateway.address).await.unwrap();
    stream.write_all(b"\x16\x03\x01\x00\xff\x01").await.unwrap();
    drop(stream);
    until_failures(&gateway, "closed", 1.0).await;
    // One that does not trust the certificate says so.
    let other = Arc::new(Authority::new("Another root").client(&TLS13));
    connect(gateway.address, &other).await.unwrap_err();
    until_failures(&gateway, "refused_by_client", 1.0).await;

    let lines = gateway.lines();
    let told = lines
        .iter()
        .filter(|line| line.contains("A TLS handshake failed"));
    assert_eq!(told.count(), 1, "{lines:#?}");
}

#[tokio::test]
async fn old_versions_and_ciphers_are_refused_and_counted() {
    let upstream = Upstream::start().await;
    let authority = Authority::new("A root");
    let gateway = with(ON, &authority.issue(&["localhost"]))
        .start(&upstream)
        .await;
    let tries = |change: &str| {
        let script = format!(
            "import socket, ssl
context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
{change}
with socket.create_connection(('127.0.0.1', {port})) as stream:
    try:
        context.wrap_socket(stream)
        print('connected')
    except ssl.SSLError as error:
        print(error.reason)
",
            port = gateway.address.port()
        );
        let output = tool("/usr/bin/python3")
            .args(["-Es", "-W", "ignore", "-c", &script])
            .output();
        let output = output.unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        said
    };

    let old = "context.set_ciphers('ALL:@SECLEVEL=0')
context.minimum_version = ssl.TLSVersion.TLSv1
context.maximum_version = ssl.TLSVersion.TLSv1_1";
    assert!(!tries(old).contains("connected"));
    until_failures(&gateway, "version", 1.0).await;
    let weak = "context.set_ciphers('AES128-SHA:ECDHE-ECDSA-AES128-SHA256')
context.maximum_version = ssl.TLSVersion.TLSv1_2";
    assert!(!tries(weak).contains("connected"));
    until_failures(&gateway, "cipher", 1.0).await;
    assert!(tries("").contains("connected"));
}

#[tokio::test]
async fn a_slow_handshake_is_cut() {
    let upstream = Upstream::start().await;
    let authority = Authority::new("A root");
    let settings = format!("{ON}\ndownstream: {{ header_timeout: 300ms }}");
    let gateway = with(&settings, &authority.issue(&["localhost"]))
        .start(&upstream)
        .await;

    for (begun, reason) in [(&b""[..], "timeout"), (b"\x16\x03\x01\x02\x00", "timeout")] {
        let before = failures(&gateway, reason).await;
        let mut stream = TcpStream::connect(gateway.address).await.unwrap();
        stream.write_all(begun).await.unwrap();
        let mut rest = Vec::new();
        let _ = crate::support::before(
            Duration::from_secs(8),
            "the end",
            stream.read_to_end(&mut rest),
        )
        .await;
        until_failures(&gateway, reason, before + 1.0).await;
    }
    // After the handshake, the first byte of a request has the same time.
    let config = Arc::new(authority.client(&TLS13));
    let mut stream = connect(gateway.address, &config).await.unwrap();
    let mut rest = Vec::new();
    let _ = crate::support::before(
        Duration::from_secs(8),
        "the end",
        stream.read_to_end(&mut rest),
    )
    .await;
}

#[tokio::test]
async fn one_connection_too_many_is_told_so_over_tls() {
    let upstream = Upstream::start().await;
    let authority = Authority::new("A root");
    let settings = format!("{ON}\ndownstream: {{ max_connections: 1 }}");
    let gateway = with(&settings, &authority.issue(&["localhost"]))
        .start(&upstream)
        .await;
    let config = Arc::new(authority.client(&TLS13));
    let _first = connect(gateway.address, &config).await.unwrap();

    let mut second = Wire::new(connect(gateway.address, &config).await.unwrap());

    assert_eq!(
        second.answer("GET").await.problem().code,
        "too_many_connections"
    );
}

#[tokio::test]
async fn the_gateway_shows_its_certificate_to_an_upstream_that_asks() {
    for version in BOTH {
        let server = Server::new();
        let (authority, (certificate, key)) = (server.authority.clone(), server.pem());
        let config = server.asking_for_a_certificate(version);
        let upstream = Upstream::with_tls(config, |_| std::future::ready(None)).await;
        let settings = "upstream: { ca_file: '@/ca.pem', client_cert_file: '@/own.crt', client_key_file: '@/own.key' }";
        let gateway = Gateway::with(settings)
            .file("ca.pem", &authority)
            .file("own.crt", &certificate)
            .file("own.key", &key)
            .start(&upstream)
            .await;

        let answer = gateway.get(ITEM).send().await;

        assert_eq!(answer.status, 200, "{}", answer.text());
        let labels = [("certificate", "upstream_client")];
        for name in ["not_before", "not_after"] {
            let name = format!("certificate_{name}_timestamp_seconds");
            assert!(gateway.metric(&name, &labels).await > 0.0, "{name}");
        }
    }
}

#[test]
fn each_fault_of_a_certificate_is_told_before_the_start() {
    let authority = Authority::new("A root");
    let good = authority.issue(&["localhost"]);
    let old = authority.issue_with(&["localhost"], |params| {
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(2021, 1, 1);
    });
    let other = authority.issue(&["localhost"]);
    let reversed = format!("{}{}", authority.pem, good.certificate);
    let both = "cert_file: tls.crt, key_file: tls.key";
    for (tls, certificate, key, told) in [
        (
            both,
            &good.certificate,
            &other.key,
            "`tls.key_file` is `tls.key`: a key that does not fit the certificate",
        ),
        (
            both,
            &old.certificate,
            &old.key,
            "`tls.cert_file` is `tls.crt`: a certificate that expired at 2021-01-01T00:00:00Z",
        ),
        (
            both,
            &reversed,
            &good.key,
            "`tls.cert_file` is `tls.crt`: a chain in the wrong order",
        ),
        (
            both,
            &good.certificate,
            &"-----BEGIN ENCRYPTED PRIVATE KEY-----".to_owned(),
            "`tls.key_file` is `tls.key`: an encrypted key",
        ),
        (
            "cert_file: absent, key_file: tls.key",
            &good.certificate,
            &good.key,
            "`tls.cert_file` is `absent`: ",
        ),
        (
            "cert_file: tls.crt",
            &good.certificate,
            &good.key,
            "`tls.cert_file` is `tls.crt`: of no use without `tls.key_file`",
        ),
        (
            "key_file: tls.key",
            &good.certificate,
            &good.key,
            "`tls.key_file` is `tls.key`: of no use without `tls.cert_file`",
        ),
        (
            "client_ca_file: tls.crt",
            &good.certificate,
            &good.key,
            "`tls.client_ca_file` is `tls.crt`: no TLS here",
        ),
        (
            "cert_file: tls.crt, key_file: tls.key, client_names: [crm.example]",
            &good.certificate,
            &good.key,
            "names that nothing asks for",
        ),
        (
            "cert_file: tls.crt, key_file: tls.key, client_ca_file: tls.crt, client_names: [crm.example, '*.example']",
            &good.certificate,
            &good.key,
            "`*.example` is neither a host name nor a URI",
        ),
        (
            "cert_file: tls.crt, key_file: tls.key, client_ca_file: tls.key",
            &good.certificate,
            &good.key,
            "no certificate in that file",
        ),
    ] {
        for section in ["tls: { @ }", "telemetry: { tls: { @ } }"] {
            let folder = tempfile::tempdir().unwrap();
            let write =
                |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
            write("settings.yaml", &section.replace('@', tls));
            write("tls.crt", certificate);
            write("tls.key", key);
            let told = match section.starts_with("tls") {
                true => told.to_owned(),
                false => told
                    .replace("`tls.", "`telemetry.tls.")
                    .replace("`telemetry.tls.crt", "`tls.crt")
                    .replace("`telemetry.tls.key`", "`tls.key`"),
            };
            for command in ["check", "run"] {
                let said_of =
                    ended(program(&[command, "--config"]).arg(folder.path().join("settings.yaml")));
                assert_eq!(said_of.code, Some(1), "{command} {tls}");
                let said = format!("{}{}", said_of.out, said_of.err);
                assert!(said.contains(&told), "{told}: {said}");
                assert!(said.contains("settings.yaml:1:"), "{said}");
            }
        }
    }
}

#[test]
fn names_of_clients_come_from_the_environment_as_well() {
    let clients = Authority::new("Clients");
    let pair = Authority::new("A root").issue(&["localhost"]);
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    for (name, text) in [
        ("tls.crt", &pair.certificate),
        ("tls.key", &pair.key),
        ("clients.pem", &clients.pem),
    ] {
        std::fs::write(path(name), text).unwrap();
    }

    let said = ended(
        program(&["check"])
            .env("REFERRAL_GATEWAY_LISTEN", "0.0.0.0:4280")
            .env("REFERRAL_GATEWAY_TLS__CERT_FILE", path("tls.crt"))
            .env("REFERRAL_GATEWAY_TLS__KEY_FILE", path("tls.key"))
            .env("REFERRAL_GATEWAY_TLS__CLIENT_CA_FILE", path("clients.pem"))
            .env(
                "REFERRAL_GATEWAY_TLS__CLIENT_NAMES",
                "crm.example, spiffe://example/flow",
            ),
    );

    assert_eq!(said.code, Some(0), "{}{}", said.out, said.err);
    assert!(
        said.out.contains("TLS for crm.example and 1 more clients"),
        "{}",
        said.out
    );
    assert!(!said.out.contains("Warning"), "{}", said.out);
}

#[test]
fn check_says_who_reaches_the_listener() {
    let pair = Authority::new("A root").issue_with(&["localhost"], |params| {
        params.not_after = date_time_ymd(2090, 1, 1);
    });
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    std::fs::write(path("tls.crt"), &pair.certificate).unwrap();
    std::fs::write(path("tls.key"), &pair.key).unwrap();
    let check = |tls: bool| {
        let mut command = program(&["check"]);
        command.env("REFERRAL_GATEWAY_LISTEN", "0.0.0.0:4280");
        if tls {
            command
                .env("REFERRAL_GATEWAY_TLS__CERT_FILE", path("tls.crt"))
                .env("REFERRAL_GATEWAY_TLS__KEY_FILE", path("tls.key"));
        }
        ended(&mut command).out
    };

    let said = check(true);
    assert!(said.contains("TLS for every client that reaches the address; certificate expires 2090-01-01T00:00:00Z"), "{said}");
    assert!(!said.contains("Warning"), "{said}");
    let said = check(false);
    assert!(
        said.contains("Warning") && said.contains("in clear text"),
        "{said}"
    );
}

#[tokio::test]
async fn healthcheck_asks_a_telemetry_listener_with_tls() {
    let upstream = Upstream::start().await;
    let pair = Authority::new("A root").issue(&["gateway.example"]);
    let settings = "telemetry: { tls: { cert_file: '@/tls.crt', key_file: '@/tls.key' } }";
    let gateway = with(settings, &pair).start(&upstream).await;
    let telemetry = gateway.telemetry;

    let asking = tokio::task::spawn_blocking(move || {
        ended(&mut program(&[
            "healthcheck",
            "--url",
            &format!("https://{telemetry}"),
        ]))
    });

    let said = asking.await.unwrap();
    assert_eq!(said.code, Some(0), "{}{}", said.out, said.err);
}

#[tokio::test]
async fn testssl_finds_nothing_of_medium_severity() {
    let folder = tempfile::tempdir().unwrap();
    let made = folder.path().join("made");
    let ended = ended(program(&["certificate"]).arg(&made));
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    let read = |name: &str| std::fs::read_to_string(made.join(name)).unwrap();
    let pair = Pair {
        certificate: read("tls.crt"),
        key: read("tls.key"),
    };
    let upstream = Upstream::start().await;
    let gateway = with(ON, &pair).start(&upstream).await;
    let findings = folder.path().join("findings.json");
    let url = format!("https://localhost:{}", gateway.address.port());

    let mut scan = tool("testssl");
    scan.args([
        "--quiet",
        "--color",
        "0",
        "--severity",
        "MEDIUM",
        "--ip",
        "127.0.0.1",
    ]);
    scan.args([
        "--protocols",
        "--server-preference",
        "--server-defaults",
        "--vulnerable",
    ]);
    scan.arg("--add-ca").arg(made.join("ca.pem"));
    scan.arg("--jsonfile").arg(&findings).arg(url);
    let scanned = tokio::task::spawn_blocking(move || scan.output().unwrap());
    let scanned = scanned.await.unwrap();

    let said = String::from_utf8_lossy(&scanned.stdout).into_owned();
    let found = std::fs::read_to_string(&findings).unwrap_or_else(|_| panic!("{said}"));
    let found: serde_json::Value =
        serde_json::from_str(&found).unwrap_or_else(|_| panic!("{said}"));
    let ids: Vec<&str> = found
        .as_array()
        .unwrap()
        .iter()
        .filter(|finding| {
            ["MEDIUM", "HIGH", "CRITICAL", "FATAL", "WARN"]
                .contains(&finding["severity"].as_str().unwrap())
        })
        .filter_map(|finding| finding["id"].as_str())
        // The scanner's own matters: what its OpenSSL cannot do, and a client of it that may leave before the ticket comes.
        .filter(|id| !["engine_problem", "sessionresumption_ticket"].contains(id))
        .collect();
    // A local CA revokes nothing.
    assert_eq!(ids, ["cert_revocation"], "{said}");
}

#[tokio::test]
async fn a_certificate_that_the_command_renews_comes_into_force() {
    let folder = tempfile::tempdir().unwrap();
    let made = folder.path().join("made");
    let said = ended(program(&["certificate"]).arg(&made));
    assert_eq!(said.code, Some(0), "{}", said.err);
    // The settings as they are printed.
    let printed = said
        .out
        .lines()
        .find(|line| line.trim().starts_with("tls: {"));
    let upstream = Upstream::start().await;
    let gateway = Gateway::with(printed.unwrap().trim())
        .start(&upstream)
        .await;
    let authority = std::fs::read_to_string(made.join("ca.pem")).unwrap();
    let shown = async || {
        let config = Arc::new(crate::support::tls::trusting(&authority));
        let stream = connect(gateway.address, &config).await.unwrap();
        let (_, tls) = stream.get_ref();
        tls.peer_certificates().unwrap()[0].to_vec()
    };
    let before = shown().await;

    let renewed = ended(program(&["certificate", "--renew"]).arg(&made));

    assert_eq!(renewed.code, Some(0), "{}", renewed.err);
    eventually("the new certificate", async || shown().await != before).await;
}
