//! Signs of life of the upstream: what the log, the metrics, the probe and the caller are told when it is away.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, SystemTime},
};

use rcgen::{CertificateParams, IsCa, SanType, date_time_ymd};
use rustls::version::{TLS12, TLS13};
use serde_json::Value;

use crate::support::{
    Answer, Gateway, ITEM, NOWHERE, TAG, Upstream, body, eventually,
    tls::{AUTHORITY, NAME, Server},
};

/// No answer needs a state, and no wait is long.
const HASTY: &str = "upstream: { connect_timeout: 2s, ca_file: null }
snapshots: { unknown_state: forward }
";

async fn put(gateway: &Gateway) -> Answer {
    let put = gateway.put(ITEM, body("Closed", "Won"));
    put.if_match(TAG).send().await
}

/// An upstream that closes its connections without an answer while the flag is set.
async fn fickle() -> (Upstream, Arc<AtomicBool>) {
    let is_away = Arc::new(AtomicBool::new(true));
    let flag = Arc::clone(&is_away);
    let upstream = Upstream::raw(move |mut wire, _| {
        let is_away = Arc::clone(&flag);
        async move {
            while wire.request().await.is_ok() && !is_away.load(Ordering::SeqCst) {
                let answer = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
                wire.send(answer).await.ok();
            }
        }
    })
    .await;
    (upstream, is_away)
}

/// The records so far with a message that begins so.
fn records(gateway: &Gateway, level: &str, beginning: &str) -> Vec<Value> {
    let lines = gateway.lines().into_iter();
    let records = lines.filter_map(|line| serde_json::from_str::<Value>(&line).ok());
    let wanted = |record: &Value| {
        let message = record["message"].as_str().unwrap_or_default();
        record["level"] == level && message.starts_with(beginning)
    };
    records.filter(wanted).collect()
}

/// Waits until so many access records were written: all that was said before is in the log then.
async fn answered(gateway: &Gateway, number: usize) {
    eventually("access records", async || {
        let lines = gateway.lines();
        let access = "\"target\":\"referral_gateway::access\"";
        lines.iter().filter(|line| line.contains(access)).count() >= number
    })
    .await;
}

#[tokio::test]
async fn a_dead_upstream_is_one_warning_and_not_one_for_each_request() {
    let url = format!("http://{NOWHERE}");
    let gateway = Gateway::with(HASTY).start_at(&url).await;

    for _ in 0..3 {
        assert_eq!(gateway.get(ITEM).send().await.status, 502);
    }
    answered(&gateway, 3).await;

    let warnings = records(&gateway, "WARN", "Cannot reach upstream");
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    let warning = &warnings[0];
    assert_eq!(
        warning["message"],
        format!("Cannot reach upstream {url}: connection refused")
    );
    assert_eq!(warning["kind"], "connect_failed");
    assert_eq!(warning["failed_requests"], 1);
    let exact = warning["error"].as_str().unwrap();
    assert!(exact.contains("(os error 111)"), "{warning}");
}

#[tokio::test]
async fn an_upstream_that_is_back_is_one_line_however_often_it_comes_and_goes() {
    let (upstream, is_away) = fickle().await;
    let gateway = Gateway::with(HASTY).start(&upstream).await;
    for _ in 0..2 {
        assert_eq!(put(&gateway).await.status, 502);
    }

    for _ in 0..3 {
        is_away.store(false, Ordering::SeqCst);
        assert_eq!(put(&gateway).await.status, 200);
        assert_eq!(put(&gateway).await.status, 200);
        is_away.store(true, Ordering::SeqCst);
        assert_eq!(put(&gateway).await.status, 502);
    }
    answered(&gateway, 11).await;

    let url = upstream.url();
    let back = records(&gateway, "INFO", "Upstream ");
    assert_eq!(back.len(), 1, "{back:?}");
    assert_eq!(back[0]["message"], format!("Upstream {url} answers again"));
    assert_eq!(back[0]["failed_requests"], 2);
    assert!(back[0]["away_ms"].is_u64(), "{back:?}");
    let warnings = records(&gateway, "WARN", "No usable answer from upstream");
    assert_eq!(warnings.len(), 1, "{warnings:?}");
}

#[tokio::test]
async fn an_answer_of_any_status_is_a_sign_of_life() {
    let upstream = Upstream::with(|_| async { Some(crate::support::reply(503, "")) }).await;
    let gateway = Gateway::with(HASTY).start(&upstream).await;

    assert_eq!(gateway.get(ITEM).send().await.status, 503);
    answered(&gateway, 1).await;

    let seen = gateway.metric("upstream_last_success_timestamp_seconds", &[]);
    assert!(seen.await > 0.0);
    assert!(records(&gateway, "WARN", "Cannot reach upstream").is_empty());
}

#[tokio::test]
async fn a_body_that_its_caller_cuts_is_no_failure_of_the_upstream() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::with(HASTY).start(&upstream).await;

    let mut wire = gateway.wire().await;
    let head = "POST /anything HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc";
    wire.send(head).await.unwrap();
    wire.half_close().await;
    gateway
        .until_metric("upstream_errors_total", &[("kind", "body")], 1.0)
        .await;

    let failure = gateway.metric("upstream_last_failure_timestamp_seconds", &[]);
    assert!(failure.await.abs() < f64::EPSILON);
    assert!(records(&gateway, "WARN", "Cannot reach upstream").is_empty());
}

#[tokio::test]
async fn the_probe_and_the_metrics_show_the_last_success_and_the_last_failure() {
    let (upstream, is_away) = fickle().await;
    let gateway = Gateway::with(HASTY).start(&upstream).await;
    let metrics = [
        "upstream_last_success_timestamp_seconds",
        "upstream_last_failure_timestamp_seconds",
    ];
    let verbose = async || {
        let answer = gateway.telemetry("/readyz?verbose").await;
        assert_eq!(
            answer.status, 200,
            "readiness never depends on the upstream"
        );
        answer.text()
    };
    let text = verbose().await;
    for line in [
        format!("upstream: {}\n", upstream.url()),
        "upstream_last_success: never\n".to_owned(),
        "upstream_last_failure: never\n".to_owned(),
    ] {
        assert!(text.contains(&line), "{text}");
    }
    for metric in metrics {
        assert!(gateway.metric(metric, &[]).await.abs() < f64::EPSILON);
    }

    let before = SystemTime::now() - Duration::from_secs(1);
    assert_eq!(put(&gateway).await.status, 502);
    is_away.store(false, Ordering::SeqCst);
    assert_eq!(put(&gateway).await.status, 200);
    let after = SystemTime::now();

    let text = verbose().await;
    let told = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap_or_else(|| panic!("no {name} in {text}"))
    };
    let at = |text: &str| humantime::parse_rfc3339(text.trim()).unwrap();
    let success = at(told("upstream_last_success: "));
    let (failure, cause) = told("upstream_last_failure: ").split_once(' ').unwrap();
    for seen in [success, at(failure)] {
        assert!((before..=after).contains(&seen), "{text}");
    }
    assert!(
        cause.starts_with("closed: ") && cause.len() > "closed: ".len(),
        "{text}"
    );
    for metric in metrics {
        let seconds = gateway.metric(metric, &[]).await;
        let seen = SystemTime::UNIX_EPOCH + Duration::from_secs_f64(seconds);
        assert!((before..=after).contains(&seen), "{metric} {seconds}");
    }
}

const CERTIFICATE: &str = "tls_certificate_error";
/// A name that no certificate of these tests has.
const OTHER: &str = "localhost";

fn for_names(params: &mut CertificateParams, names: &[&str]) {
    let name = |name: &&str| SanType::DnsName((*name).try_into().unwrap());
    params.subject_alt_names = names.iter().map(name).collect();
}

/// The text of the answer, which the log and the probe have as well.
async fn told(upstream: &Upstream, authority: &str, host: &str, error: &str) -> String {
    let settings = HASTY.replace("ca_file: null", "ca_file: '@/ca.pem'");
    let url = format!("https://{host}:{}", upstream.address.port());
    let gateway = Gateway::with(&settings)
        .file("ca.pem", authority)
        .start_at(&url)
        .await;

    let answer = gateway.get(ITEM).send().await;

    assert_eq!(answer.status, 502, "{}", answer.text());
    assert_status(&answer, error);
    let detail = answer.problem().value["detail"]
        .as_str()
        .unwrap()
        .to_owned();
    answered(&gateway, 1).await;
    let mut warnings = records(&gateway, "WARN", "Cannot reach upstream");
    // In TLS 1.3 the other side may refuse a certificate after its own handshake.
    warnings.extend(records(&gateway, "WARN", "No usable answer from upstream"));
    let message = warnings[0]["message"].as_str().unwrap();
    let (_, cause) = message.split_once(&format!(" {url}: ")).unwrap();
    assert!(detail.contains(cause), "{detail}\n{message}");
    let verbose = gateway.telemetry("/readyz?verbose").await.text();
    assert!(verbose.contains(cause), "{verbose}");
    assert_plain(&detail);
    assert!(upstream.seen().is_empty());
    detail
}

/// `Proxy-Status` has this type of RFC 9209 2.3.
#[track_caller]
fn assert_status(answer: &Answer, error: &str) {
    let status = answer.header("proxy-status").unwrap();
    let error = format!("; error={error}; ");
    assert!(status.contains(&error), "{error} in {status}");
}

/// Rust's own names of errors and numbers of the system's are in no text.
#[track_caller]
fn assert_plain(text: &str) {
    let is_camel = |word: &str| {
        let mut letters = word.chars().skip(1);
        letters.any(char::is_uppercase) && word.chars().any(char::is_lowercase)
    };
    let words = text.split(|letter: char| !letter.is_alphanumeric());
    let known = ["LimitNOFILE"];
    let camel: Vec<_> = words
        .filter(|word| is_camel(word) && !known.contains(word))
        .filter(|word| word.chars().all(char::is_alphabetic))
        .collect();
    assert!(camel.is_empty(), "{camel:?} in {text}");
    assert!(!text.contains("os error"), "{text}");
}

#[tokio::test]
async fn an_issuer_that_is_not_trusted_is_named_with_the_remedy() {
    let another = Server::by("Another CA").authority;
    for protocols in [&["h2"], &["http/1.1"]] {
        let config = Server::new().speaking(protocols);
        let upstream = Upstream::with_tls(config, |_| std::future::ready(None)).await;

        let detail = told(&upstream, &another, "127.0.0.1", CERTIFICATE).await;

        let issuer = format!("CN={AUTHORITY}, O=Test & Sons");
        for part in [&issuer, "not trusted", "inspects TLS", "upstream.ca_file"] {
            assert!(detail.contains(part), "{part} in {detail}");
        }
    }
}

#[tokio::test]
async fn an_issuer_with_a_new_key_is_told_from_an_unknown_one() {
    let old = Server::new().authority;
    let config = Server::new().speaking(&[]);
    let upstream = Upstream::with_tls(config, |_| std::future::ready(None)).await;

    let detail = told(&upstream, &old, "127.0.0.1", CERTIFICATE).await;

    for part in ["new key", "upstream.ca_file"] {
        assert!(detail.contains(part), "{part} in {detail}");
    }
}

#[tokio::test]
async fn a_certificate_for_other_names_tells_which_ones() {
    for (names, shown) in [
        (vec![NAME], vec![NAME]),
        (vec!["a.test", "b.test"], vec!["a.test and b.test"]),
        (
            vec!["*.c.test", "d.test", "e.test", "f.test", "g.test", "h.test"],
            vec!["*.c.test", "and 2 more"],
        ),
        (vec![], vec!["no name"]),
    ] {
        let server = Server::with(|params| for_names(params, &names));
        let authority = server.authority.clone();
        let config = server.speaking(&[]);
        let upstream = Upstream::with_tls(config, |_| std::future::ready(None)).await;

        let detail = told(&upstream, &authority, OTHER, CERTIFICATE).await;

        assert!(detail.contains(&format!("not for {OTHER}")), "{detail}");
        assert!(detail.contains("upstream.url"), "{detail}");
        for part in shown {
            assert!(detail.contains(part), "{part} in {detail}");
        }
    }
}

#[tokio::test]
async fn a_certificate_outside_of_its_time_tells_which_time_and_to_look_at_the_clock() {
    let expired: fn(&mut CertificateParams) = |params| {
        params.not_before = date_time_ymd(2019, 1, 1);
        params.not_after = date_time_ymd(2020, 2, 3);
    };
    let early: fn(&mut CertificateParams) = |params| {
        params.not_before = date_time_ymd(2100, 4, 5);
        params.not_after = date_time_ymd(2101, 1, 1);
    };
    for (change, word, time) in [
        (expired, "expired", "2020-02-03T00:00:00Z"),
        (early, "not valid before", "2100-04-05T00:00:00Z"),
    ] {
        let server = Server::with(change);
        let authority = server.authority.clone();
        let config = server.speaking(&[]);
        let upstream = Upstream::with_tls(config, |_| std::future::ready(None)).await;

        let detail = told(&upstream, &authority, "127.0.0.1", CERTIFICATE).await;

        for part in [word, time, "clock"] {
            assert!(detail.contains(part), "{part} in {detail}");
        }
    }
}

#[tokio::test]
async fn an_authority_in_the_place_of_a_server_is_told_in_plain_words() {
    let server = Server::with(|params| {
        params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    });
    let authority = server.authority.clone();
    let upstream = Upstream::with_tls(server.speaking(&[]), |_| std::future::ready(None)).await;

    let detail = told(&upstream, &authority, "127.0.0.1", CERTIFICATE).await;

    assert!(detail.contains("of an authority"), "{detail}");
}

#[tokio::test]
async fn an_upstream_that_asks_for_a_client_certificate_is_told() {
    for (version, protocol) in [(&TLS12, "1.2"), (&TLS13, "1.3")] {
        let server = Server::new();
        let authority = server.authority.clone();
        let config = server.asking_for_a_certificate(version);
        let upstream = Upstream::with_tls(config, |_| std::future::ready(None)).await;

        let detail = told(&upstream, &authority, "127.0.0.1", "tls_alert_received").await;

        assert!(
            detail.contains("client certificate"),
            "{protocol}: {detail}"
        );
    }
}

#[tokio::test]
async fn a_name_that_cannot_be_resolved_is_told_in_plain_words() {
    let gateway = Gateway::with("upstream: { connect_timeout: 20s }")
        .start_at(&format!("https://{NAME}"))
        .await;

    let answer = gateway.get(ITEM).send().await;

    let detail = answer.problem().value["detail"]
        .as_str()
        .unwrap()
        .to_owned();
    assert_status(&answer, "dns_error");
    assert!(
        detail.contains("the host name cannot be resolved"),
        "{detail}"
    );
    assert_plain(&detail);
}

#[tokio::test]
async fn a_proxy_that_is_not_there_is_told_from_the_upstream() {
    let gateway = Gateway::with(HASTY)
        .environment("HTTPS_PROXY", &format!("http://{NOWHERE}"))
        .start_at(&format!("https://{NAME}"))
        .await;

    let detail = gateway.get(ITEM).send().await.text();

    assert!(detail.contains("the proxy: connection refused"), "{detail}");
}

#[tokio::test]
async fn no_answer_shows_numbers_or_names_of_errors() {
    let upstream = Upstream::raw(|mut wire, _| async move {
        wire.request().await.ok();
        wire.reset();
    })
    .await;
    for (url, words, error) in [
        (
            format!("http://{NOWHERE}"),
            "connection refused",
            "connection_refused",
        ),
        (
            format!("https://{NOWHERE}"),
            "connection refused",
            "connection_refused",
        ),
        (upstream.url(), "connection reset", "connection_terminated"),
    ] {
        let needy = Gateway::with("").start_at(&url).await;
        let gateway = Gateway::with(HASTY).start_at(&url).await;

        assert_status(&gateway.get(ITEM).send().await, error);
        for answer in [
            gateway.get(ITEM).send().await,
            put(&gateway).await,
            put(&needy).await,
        ] {
            let detail = answer.problem().value["detail"]
                .as_str()
                .unwrap()
                .to_owned();
            assert!(detail.contains(words), "{detail}");
            assert_plain(&detail);
        }
    }
}
