//! Collectors that are away, strange, slow or wrong.

use std::sync::Arc;

use rustls::version::TLS13;
use serde_json::Value;
use tokio::sync::Semaphore;

use super::{Collector, exporting};
use crate::support::{Gateway, ITEM, NOWHERE, Upstream, eventually, reply, tls::Authority};

#[tokio::test]
async fn spans_go_over_tls_to_a_collector_that_is_trusted() {
    let authority = Authority::new("Collectors");
    let pair = authority.issue(&["localhost"]);
    let tls = pair.server(&[&TLS13], &["http/1.1"]);
    let collector = Collector(Upstream::with_tls(tls, |_| async { Some(reply(200, "")) }).await);
    let upstream = Upstream::start().await;
    let url = collector.0.url().replace("127.0.0.1", "localhost");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ca.pem");
    std::fs::write(&file, &authority.pem).unwrap();
    let gateway = |trusted: bool| {
        let builder = exporting(&collector, "").environment("OTEL_EXPORTER_OTLP_ENDPOINT", &url);
        match trusted {
            true => builder.environment("SSL_CERT_FILE", file.to_str().unwrap()),
            false => builder,
        }
    };

    let strange = gateway(false).start(&upstream).await;
    assert_eq!(strange.get(ITEM).send().await.status, 200);
    strange
        .until_metric("spans_total", &[("outcome", "failed")], 2.0)
        .await;
    assert!(collector.spans().is_empty());

    let trusting = gateway(true).start(&upstream).await;
    assert_eq!(trusting.get(ITEM).send().await.status, 200);
    collector.until(2).await;
}

/// Requests pass, whatever the collector does in half a second, and what becomes of their spans is counted.
async fn pass_although(collector: &str, outcome: &str) -> Gateway {
    pass(collector, outcome, "500").await
}

/// The same, of a gateway that waits so many milliseconds for its collector.
async fn pass(collector: &str, outcome: &str, timeout: &str) -> Gateway {
    let upstream = Upstream::start().await;
    let gateway = Gateway::with("")
        .environment("OTEL_EXPORTER_OTLP_ENDPOINT", collector)
        .environment("OTEL_EXPORTER_OTLP_TIMEOUT", timeout)
        .environment("OTEL_BSP_SCHEDULE_DELAY", "1")
        .environment("OTEL_BSP_MAX_QUEUE_SIZE", "10")
        .environment("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "1")
        .start(&upstream)
        .await;
    for _ in 0..100 {
        assert_eq!(gateway.get(ITEM).send().await.status, 200);
    }
    eventually(outcome, async || {
        let spans = gateway.metric("spans_total", &[("outcome", outcome)]).await;
        spans > 0.0
    })
    .await;
    gateway
}

#[tokio::test]
async fn a_collector_that_is_away_or_talks_rubbish_holds_nothing_up() {
    let away = pass_although(&format!("http://{NOWHERE}"), "failed").await;
    away.record("the warning", |line| {
        let message = line["message"].as_str().unwrap_or_default();
        line["level"] == "WARN" && message.starts_with("Spans were not exported")
    })
    .await;
    let failing = Collector::answering(500).await;
    pass_although(&failing.0.url(), "failed").await;
    let rubbish = Upstream::raw(|mut wire, _| async move {
        wire.request().await.ok();
        wire.send("no HTTP\r\n\r\n").await.ok();
    })
    .await;
    pass_although(&rubbish.url(), "failed").await;
    let huge = Upstream::with(|_| async { Some(reply(200, vec![b'x'; 6 << 20])) }).await;
    pass_although(&huge.url(), "failed").await;
    let odd = Upstream::with(|_| async { Some(reply(200, "no protobuf")) }).await;
    pass_although(&odd.url(), "exported").await;
}

#[tokio::test]
async fn a_collector_that_never_answers_costs_spans_and_neither_requests_nor_the_end() {
    let silent = Upstream::raw(|mut wire, _| async move {
        wire.request().await.ok();
        std::future::pending::<()>().await;
    })
    .await;
    pass_although(&silent.url(), "failed").await;
    // Longer than a test waits, with all that wait in the queue.
    let mut gateway = pass(&silent.url(), "dropped", "3600000").await;
    gateway.signal("TERM");
    assert_eq!(gateway.exit().await.code(), Some(0));

    let mut hurried = pass(&silent.url(), "dropped", "3600000").await;
    hurried.signal("TERM");
    drained(&hurried).await;
    hurried.signal("TERM");
    assert_eq!(hurried.exit().await.code(), Some(1));
}

/// Waits until only the last spans are left to do.
async fn drained(gateway: &Gateway) {
    let is_it = |line: &Value| {
        line["message"]
            .as_str()
            .is_some_and(|text| text.starts_with("Drained"))
    };
    gateway.record("the drain", is_it).await;
}

#[tokio::test]
async fn spans_that_wait_behind_a_slow_export_are_exported_at_the_end() {
    let gate = Arc::new(Semaphore::new(0));
    let opened = Arc::clone(&gate);
    let collector = Upstream::with(move |_| {
        let opened = Arc::clone(&opened);
        async move {
            opened.acquire().await.unwrap().forget();
            Some(reply(200, ""))
        }
    });
    let (collector, upstream) = (Collector(collector.await), Upstream::start().await);
    let builder = exporting(&collector, "").environment("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "1");
    let mut gateway = builder.start(&upstream).await;
    for _ in 0..2 {
        assert_eq!(gateway.get(ITEM).send().await.status, 200);
    }
    eventually("the first export", async || collector.0.seen().len() == 1).await;

    gateway.signal("TERM");
    drained(&gateway).await;
    gate.add_permits(4);

    assert_eq!(gateway.exit().await.code(), Some(0));
    assert_eq!(collector.spans().len(), 4);
}
