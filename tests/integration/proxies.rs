//! A proxy between the gateway and the service, as `HTTPS_PROXY` and its kin name it.

use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};

use crate::{
    commands::{ended, program},
    support::{
        Answer, Gateway, ITEM, TAG, Upstream, before, body,
        gateway::Builder,
        proxy::Proxy,
        tls::{self, NAME},
    },
};

const SECRET: &str = "open-sesame";

/// A service that speaks TLS, and a gateway that trusts it and does not ask for states.
async fn service() -> (Upstream, Builder) {
    let (authority, config) = tls::identity(&["h2", "http/1.1"]);
    let upstream = Upstream::with_tls(config, |_| std::future::ready(None)).await;
    let settings = "upstream: { ca_file: '@/ca.pem', connect_timeout: 1s }
snapshots: { unknown_state: forward }
";
    (upstream, Gateway::with(settings).file("ca.pem", &authority))
}

fn with_secret(proxy: &Proxy) -> String {
    format!("http://wanderer:{SECRET}@{}", proxy.address())
}

async fn put(gateway: &Gateway) -> Answer {
    let put = gateway.put(ITEM, body("Closed", "Won"));
    put.if_match(TAG).send().await
}

/// Neither the password nor the field that carries it is in anything that the gateway says.
async fn assert_discreet(gateway: &Gateway, answers: &[Answer]) {
    let mut said = gateway.lines();
    said.extend(
        answers
            .iter()
            .map(|answer| format!("{answer:?}\n{}", answer.text())),
    );
    said.push(gateway.metrics().await);
    for path in ["/config", "/policies"] {
        said.push(gateway.admin("GET", path).send().await.text());
    }
    let encoded = BASE64.encode(format!("wanderer:{SECRET}"));
    for text in said {
        let lower = text.to_lowercase();
        assert!(
            !text.contains(SECRET) && !text.contains(&encoded) && !lower.contains("proxy-auth"),
            "{text}"
        );
    }
}

#[tokio::test]
async fn an_https_upstream_is_reached_through_the_proxy() {
    for variable in ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"] {
        let (upstream, gateway) = service().await;
        let proxy = Proxy::to(upstream.address).await;
        // No resolver knows the name: only the proxy can bring anything there.
        let gateway = gateway
            .environment(variable, &with_secret(&proxy))
            .start_at(&format!("https://{NAME}"))
            .await;

        let answers = [gateway.get(ITEM).send().await, put(&gateway).await];

        assert_eq!(answers[0].status, 200, "{variable}: {}", answers[0].text());
        assert_eq!(answers[1].status, 200, "{variable}: {}", answers[1].text());
        let encoded = BASE64.encode(format!("wanderer:{SECRET}"));
        for head in proxy.heads() {
            assert_eq!(
                head,
                format!(
                    "CONNECT {NAME}:443 HTTP/1.1\r\nHost: {NAME}:443\r\nProxy-Authorization: Basic {encoded}\r\n\r\n"
                )
            );
        }
        let seen = upstream.only("PUT");
        assert_eq!(seen.body, body("Closed", "Won").as_bytes());
        assert_eq!(seen.header("proxy-authorization"), None);
        assert_eq!(proxy.heads().len(), upstream.connections());
        let address = proxy.address().to_string();
        gateway
            .record("a word of the proxy", |line| line["proxy"] == *address)
            .await;
        assert_discreet(&gateway, &answers).await;
    }
}

#[tokio::test]
async fn a_proxy_that_wants_no_password_is_told_none() {
    let (upstream, gateway) = service().await;
    let proxy = Proxy::to(upstream.address).await;
    // Without a scheme, as many write it.
    let gateway = gateway
        .environment("HTTPS_PROXY", &proxy.address().to_string())
        .start(&upstream)
        .await;

    assert_eq!(put(&gateway).await.status, 200);

    let address = upstream.address;
    let asked = format!("CONNECT {address} HTTP/1.1\r\nHost: {address}\r\n\r\n");
    assert_eq!(proxy.heads(), [asked]);
}

#[tokio::test]
async fn a_proxy_that_makes_no_tunnel_is_a_bad_gateway() {
    let long = format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "x".repeat(64 * 1024));
    // A proxy that knows the password could repeat it.
    let telling = format!("HTTP/1.1 401 {SECRET}\r\n\r\n");
    for (answer, detail) in [
        (
            "HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic realm=\"x\"\r\nContent-Length: 0\r\n\r\n",
            "the proxy wants a user and a password, or other ones (407 Proxy Authentication Required)",
        ),
        (
            "HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno",
            "the proxy made no tunnel: it answered 403 Forbidden",
        ),
        (
            "HTTP/1.1 502 Bad Gateway\r\n\r\n",
            "the proxy made no tunnel: it answered 502 Bad Gateway",
        ),
        (
            "HTTP/1.1 302 Found\r\nLocation: http://other/\r\n\r\n",
            "the proxy made no tunnel: it answered 302 Found",
        ),
        (
            "HTTP/1.1 101 Switching Protocols\r\n\r\n",
            "the proxy made no tunnel: it answered 101 Switching Protocols",
        ),
        (
            "HTTP/1.1 599 x\r\n\r\n",
            "the proxy made no tunnel: it answered 599",
        ),
        (
            &telling,
            "the proxy made no tunnel: it answered 401 Unauthorized",
        ),
        (
            "HTTP/1.1 200",
            "the proxy closed the connection before its answer was complete",
        ),
        (
            "HTTP/1.1 200 OK\r\nX: y\r\n",
            "the proxy closed the connection before its answer was complete",
        ),
        ("SSH-2.0-x\r\n", "the proxy's answer is not HTTP/1"),
        (
            "HTTP/1.1 2000 OK\r\n\r\n",
            "the proxy's answer is not HTTP/1",
        ),
        ("HTTP/2 200\r\n\r\n", "the proxy's answer is not HTTP/1"),
        (
            &long,
            "the head of the proxy's answer has more than 65536 bytes",
        ),
        // A tunnel into nothing.
        ("HTTP/1.1 200 OK\r\n\r\n", ""),
    ] {
        let (upstream, gateway) = service().await;
        let proxy = Proxy::saying(answer).await;
        let gateway = gateway
            .environment("HTTPS_PROXY", &with_secret(&proxy))
            .start(&upstream)
            .await;

        let answers = [gateway.get(ITEM).send().await, put(&gateway).await];

        for given in &answers {
            assert_eq!(
                (given.status, given.problem().code.as_str()),
                (502, "upstream_connect_failed"),
                "{answer}: {}",
                given.text()
            );
            assert!(given.text().contains(detail), "{answer}: {}", given.text());
        }
        assert_eq!(upstream.connections(), 0, "{answer}: it went another way");
        assert_discreet(&gateway, &answers).await;
    }
}

#[tokio::test]
async fn every_2xx_of_a_proxy_is_a_tunnel() {
    let line = |length: usize| format!("X: {}\r\n", "x".repeat(length - 5));
    // Heads of exactly 64 KiB: a few long fields, and very many short ones.
    let start = "HTTP/1.1 200 OK\r\n";
    let room = 64 * 1024 - start.len() - 2;
    let long = format!("{start}{}{}\r\n", line(40_000), line(room - 40_000));
    let many = format!(
        "{start}{}{}\r\n",
        line(room % 8 + 8),
        line(8).repeat(room / 8 - 1)
    );
    assert_eq!((long.len(), many.len()), (64 * 1024, 64 * 1024));
    for answer in [
        "HTTP/1.1 201 Created\r\n\r\n",
        "HTTP/1.1 204 No Content\r\nVia: 1.1 x\r\n\r\n",
        "HTTP/1.1 299\r\n\r\n",
        "HTTP/1.0 200 Connection established\r\n\r\n",
        "HTTP/1.1 200 OK\n\n",
        // RFC 9110 9.3.6: these mean nothing in a 2xx to CONNECT.
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
        // RFC 9110 15.2: interim answers may come before.
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
        &long,
        &many,
    ] {
        let (upstream, gateway) = service().await;
        let proxy = Proxy::answering(answer, upstream.address).await;
        let gateway = gateway
            .environment("HTTPS_PROXY", &with_secret(&proxy))
            .start(&upstream)
            .await;

        let given = put(&gateway).await;

        let shown: String = answer.chars().take(80).collect();
        assert_eq!(given.status, 200, "{shown}: {}", given.text());
        assert_eq!(upstream.count("PUT"), 1, "{shown}");
    }
}

#[tokio::test]
async fn a_proxy_that_says_nothing_is_given_up() {
    let (upstream, gateway) = service().await;
    let proxy = Proxy::saying("").await;
    let gateway = gateway
        .environment("HTTPS_PROXY", &with_secret(&proxy))
        .start(&upstream)
        .await;

    let answer = before(Duration::from_secs(5), "an answer", put(&gateway)).await;

    assert_eq!(
        (answer.status, answer.problem().code.as_str()),
        (504, "upstream_connect_timeout")
    );
    assert_eq!(upstream.connections(), 0);
}

#[tokio::test]
async fn one_variable_goes_before_another() {
    let (upstream, gateway) = service().await;
    let (one, other) = (
        Proxy::to(upstream.address).await,
        Proxy::to(upstream.address).await,
    );
    let gateway = gateway
        .environment("ALL_PROXY", &with_secret(&other))
        .environment("HTTPS_PROXY", &with_secret(&one))
        .start_at(&format!("https://{NAME}"))
        .await;

    assert_eq!(put(&gateway).await.status, 200);

    assert_eq!((one.heads().len(), other.heads().len()), (1, 0));
}

#[tokio::test]
async fn no_proxy_may_be_in_lower_case() {
    let (upstream, gateway) = service().await;
    let proxy = Proxy::to(upstream.address).await;
    let gateway = gateway
        .environment("https_proxy", &with_secret(&proxy))
        .environment("no_proxy", "localhost")
        .start_at(&format!("https://localhost:{}", upstream.address.port()))
        .await;

    assert_eq!(put(&gateway).await.status, 200);

    assert!(proxy.heads().is_empty());
}

#[tokio::test]
async fn whom_no_proxy_names_is_reached_directly() {
    for (host, no_proxy, is_direct) in [
        ("127.0.0.1", "127.0.0.1", true),
        ("127.0.0.1", "127.0.0.0/8", true),
        ("127.0.0.1", "other.example, 127.0.0.1", true),
        ("127.0.0.1", "127.0.0.2", false),
        ("127.0.0.1", "", false),
        ("localhost", "localhost", true),
        ("localhost", "*", true),
        ("localhost", "other.example", false),
        ("localhost", "LOCALHOST.", true),
        ("localhost", "*.localhost", false),
        ("127.0.0.1", "10.0.0.1 127.0.0.1", true),
        ("127.0.0.1", "127.0.0.1:443", false),
        ("127.0.0.1", "127.0.0.1:PORT", true),
    ] {
        let (upstream, gateway) = service().await;
        let proxy = Proxy::to(upstream.address).await;
        let gateway = gateway
            .environment("HTTPS_PROXY", &with_secret(&proxy))
            .environment(
                "NO_PROXY",
                &no_proxy.replace("PORT", &upstream.address.port().to_string()),
            )
            .start_at(&format!("https://{host}:{}", upstream.address.port()))
            .await;

        let answer = put(&gateway).await;
        assert_eq!(answer.status, 200, "{host} {no_proxy}: {}", answer.text());
        assert_eq!(proxy.heads().is_empty(), is_direct, "{host} {no_proxy}");
    }
}

#[tokio::test]
async fn an_upstream_in_clear_text_is_never_reached_through_a_proxy() {
    let upstream = Upstream::start().await;
    let proxy = Proxy::to(upstream.address).await;
    let mut gateway = Gateway::with("");
    for variable in ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "ALL_PROXY"] {
        gateway = gateway.environment(variable, &with_secret(&proxy));
    }
    let gateway = gateway.start(&upstream).await;

    assert_eq!(put(&gateway).await.status, 200);

    assert!(proxy.heads().is_empty());
}

#[test]
fn a_proxy_that_cannot_be_asked_over_plain_http_is_refused_at_the_start() {
    let free = "127.0.0.1:0";
    let arguments = [
        "run",
        "--listen",
        free,
        "--telemetry",
        free,
        "--admin",
        free,
    ];
    for variable in ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"] {
        for value in [
            // It would be told the password in clear text.
            format!("https://wanderer:{SECRET}@proxy.example:8443"),
            format!("socks5://wanderer:{SECRET}@proxy.example:1080"),
            format!("ftp://wanderer:{SECRET}@proxy.example"),
            format!("http://wanderer:{SECRET}@"),
            format!("http://wanderer:{SECRET}@proxy.example:port"),
            format!("/{SECRET}"),
        ] {
            let mut command = program(&arguments);
            let refused = ended(command.env(variable, &value));
            assert_eq!(refused.code, Some(1), "{value}");
            let told = format!("{}{}", refused.out, refused.err);
            assert!(
                told.contains(&format!("{variable}: ")) && told.contains("use http://HOST:PORT"),
                "{value}: {told}"
            );
            assert!(!told.contains(SECRET), "{told}");
        }
    }
}
