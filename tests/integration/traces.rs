//! Traces: the spans that a collector receives by OTLP, and what callers and the service see of them.

use opentelemetry_proto::tonic::trace::v1::span::SpanKind;

use self::collector::Collector;
use crate::support::{
    Answer, Gateway, ID, ITEM, LIST, NOWHERE, TAG, Upstream, body,
    gateway::{Builder, program},
    reply, within,
};

mod collector;
mod faults;

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT: &str = "00f067aa0ba902b7";
const ITEMS: &str = "/v1.0/engagements/referrals/{id}";

/// A gateway that exports to this collector, without delay.
fn exporting(collector: &Collector, settings: &str) -> Builder {
    Gateway::with(settings)
        .environment("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.0.url())
        .environment("OTEL_BSP_SCHEDULE_DELAY", "20")
}

async fn item(gateway: &Gateway, traceparent: &str) -> Answer {
    let call = gateway.get(ITEM).header("tracestate", "vendor=1");
    let answer = call.header("traceparent", traceparent).send().await;
    assert_eq!(answer.status, 200);
    answer
}

#[tokio::test]
async fn a_request_and_each_time_it_is_sent_are_spans_below_that_of_the_caller() {
    let (collector, upstream) = (Collector::start().await, Upstream::start().await);
    let gateway = exporting(&collector, "").start(&upstream).await;

    item(&gateway, &format!("00-{TRACE}-{PARENT}-01")).await;

    let (server, attempts) = collector.request(1).await;
    assert_eq!(
        (server.name.as_str(), server.trace.as_str()),
        (&*format!("GET {ITEMS}"), TRACE)
    );
    assert_eq!(
        (server.parent.as_str(), server.state.as_str()),
        (PARENT, "vendor=1")
    );
    assert!(!server.is_error);
    for (name, value) in [
        ("http.request.method", "GET"),
        ("http.route", ITEMS),
        ("url.path", ITEMS),
        ("url.scheme", "http"),
        ("http.response.status_code", "200"),
        ("referral_gateway.source", "upstream"),
        ("error.type", ""),
    ] {
        assert_eq!(server.attribute(name), value, "{name}");
    }
    assert_eq!(server.resource["service.name"], "referral-gateway");
    assert_eq!(
        server.resource["service.version"],
        env!("CARGO_PKG_VERSION")
    );

    let [attempt] = &attempts[..] else {
        panic!("{attempts:?}")
    };
    assert!(!attempt.is_error);
    for (name, value) in [
        ("http.request.method", "GET"),
        ("server.address", "127.0.0.1"),
        ("url.full", &format!("{}{ITEMS}", upstream.url())),
        ("http.response.status_code", "200"),
        ("http.request.resend_count", ""),
    ] {
        assert_eq!(attempt.attribute(name), value, "{name}");
    }
    let seen = upstream.only("GET");
    assert_eq!(seen.header("traceparent"), Some(attempt.traceparent()));
    assert_eq!(seen.header("tracestate").as_deref(), Some("vendor=1"));
    let access = gateway
        .record("the access record", |line| line["status"] == 200)
        .await;
    assert_eq!(access["traceparent"], server.traceparent());
    assert_eq!(
        gateway
            .metric("spans_total", &[("outcome", "exported")])
            .await,
        2.0
    );
}

#[tokio::test]
async fn no_id_and_no_query_is_told() {
    let (collector, upstream) = (Collector::start().await, Upstream::start().await);
    let gateway = exporting(&collector, "").start(&upstream).await;

    gateway
        .get(&format!("{ITEM}?$select=secretive"))
        .send()
        .await;
    gateway
        .get("/v1/customers/secretive?x=secretive")
        .send()
        .await;
    gateway
        .get(LIST)
        .header("user-agent", "secretive")
        .send()
        .await;
    gateway.call("SECRETIVE", ITEM).send().await;

    let spans = collector.until(7).await;
    let told = format!("{spans:?}");
    assert!(
        !told.contains(ID) && !told.to_lowercase().contains("secretive"),
        "{told}"
    );
    let names: Vec<_> = spans
        .iter()
        .filter(|span| span.kind == SpanKind::Server)
        .map(|span| &*span.name)
        .collect();
    assert_eq!(
        names,
        [
            &format!("GET {ITEMS}"),
            "GET",
            "GET /v1.0/engagements/referrals",
            "HTTP"
        ]
    );
}

#[tokio::test]
async fn a_refusal_names_rule_and_verdict_and_a_repeated_write_its_own_question() {
    let (collector, upstream) = (Collector::start().await, Upstream::start().await);
    let gateway = exporting(&collector, "").start(&upstream).await;

    let refused = gateway
        .put(ITEM, body("New", "Pending"))
        .if_match(TAG)
        .send()
        .await;

    assert_eq!(refused.status, 409);
    // It has asked where the referral stands.
    let (server, attempts) = collector.request(1).await;
    let code = refused.problem().code;
    for (name, value) in [
        ("http.request.method", "PUT"),
        ("http.response.status_code", "409"),
        ("referral_gateway.source", "policy"),
        ("referral_gateway.verdict", "refuse"),
        ("referral_gateway.rule", "transition"),
        ("referral_gateway.code", code.as_str()),
        ("error.type", ""),
    ] {
        assert_eq!(server.attribute(name), value, "{name}");
    }
    assert!(
        !server.is_error,
        "an error of the caller is none of the server"
    );
    assert_eq!(attempts[0].attribute("http.request.method"), "GET");
    assert_eq!(
        upstream.only("GET").header("traceparent"),
        Some(attempts[0].traceparent())
    );
}

#[tokio::test]
async fn failures_are_errors() {
    let collector = Collector::start().await;
    let upstream = Upstream::with(|_| async { Some(reply(503, "")) }).await;
    let gateway = exporting(&collector, "").start(&upstream).await;
    assert_eq!(gateway.get(ITEM).send().await.status, 503);
    let (server, attempts) = collector.request(1).await;
    for span in [&server, &attempts[0]] {
        assert!(span.is_error);
        assert_eq!(span.attribute("error.type"), "503");
    }

    let collector = Collector::start().await;
    let nowhere = exporting(&collector, "")
        .start_at(&format!("http://{NOWHERE}"))
        .await;
    assert_eq!(nowhere.get(ITEM).send().await.status, 502);
    let (server, attempts) = collector.request(1).await;
    assert!(server.is_error && attempts[0].is_error);
    assert_eq!(server.attribute("error.type"), "upstream_connect_failed");
    assert_eq!(attempts[0].attribute("error.type"), "connect_failed");
}

#[tokio::test]
async fn each_repetition_is_a_span_of_its_own() {
    let collector = Collector::start().await;
    // A read whose connection breaks before the answer is sent once more.
    let upstream = Upstream::raw(|mut wire, number| async move {
        wire.request().await.ok();
        if number > 0 {
            wire.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
                .await
                .ok();
        }
    })
    .await;
    let gateway = exporting(&collector, "").start(&upstream).await;

    assert_eq!(gateway.get(ITEM).send().await.status, 200);

    let (_, attempts) = collector.request(2).await;
    let told = attempts.iter().map(|span| {
        (
            span.is_error,
            span.attribute("error.type"),
            span.attribute("http.request.resend_count"),
        )
    });
    assert_eq!(
        told.collect::<Vec<_>>(),
        [(true, "read_closed", ""), (false, "", "1")]
    );
}

#[tokio::test]
async fn a_caller_without_a_usable_trace_begins_one() {
    let (collector, upstream) = (Collector::start().await, Upstream::start().await);
    let gateway = exporting(&collector, "").start(&upstream).await;
    let usable = format!("00-{TRACE}-{PARENT}-01");

    let broken = gateway.get(ITEM).header("tracestate", "vendor=1");
    broken
        .header("traceparent", "00-John Doe-1-01")
        .send()
        .await;
    let twice = gateway.get(ITEM).header("traceparent", &usable);
    twice.header("traceparent", &usable).send().await;

    for span in collector.until(4).await {
        assert_ne!(span.trace, TRACE);
        assert_eq!(span.state, "");
        assert_eq!(span.parent.is_empty(), span.kind == SpanKind::Server);
    }
    for seen in upstream.seen() {
        assert_eq!(seen.headers.get_all("traceparent").iter().count(), 1);
        assert_eq!(seen.header("tracestate"), None);
        assert!(!seen.header("traceparent").unwrap().contains(TRACE));
    }
}

#[tokio::test]
async fn a_long_state_is_passed_on_and_not_kept() {
    let (collector, upstream) = (Collector::start().await, Upstream::start().await);
    let gateway = exporting(&collector, "").start(&upstream).await;
    let long: Vec<_> = (0..100).map(|n| format!("vendor{n}=1234567")).collect();

    let call = gateway.get(ITEM).header("tracestate", &long.join(","));
    let call = call.header("traceparent", &format!("00-{TRACE}-{PARENT}-01"));
    assert_eq!(call.send().await.status, 200);

    let (server, _) = collector.request(1).await;
    assert_eq!((server.trace.as_str(), server.state.as_str()), (TRACE, ""));
    assert_eq!(
        upstream.only("GET").header("tracestate"),
        Some(long.join(","))
    );
}

#[tokio::test]
async fn what_is_not_traced_keeps_its_fields() {
    let (collector, upstream) = (Collector::start().await, Upstream::start().await);
    let fields = [
        format!("00-{TRACE}-{PARENT}-00"),
        "00-John Doe-1-01".to_owned(),
    ];
    let off = Gateway::start(&upstream).await;
    let switched_off = exporting(&collector, "").environment("OTEL_SDK_DISABLED", "true");
    let switched_off = switched_off.start(&upstream).await;
    let elsewhere = exporting(&collector, "").environment("OTEL_TRACES_EXPORTER", "none");
    let elsewhere = elsewhere.start(&upstream).await;
    for gateway in [&off, &switched_off, &elsewhere] {
        for field in &fields {
            item(gateway, field).await;
        }
    }
    // The caller has decided that its trace is not recorded.
    let on = exporting(&collector, "").start(&upstream).await;
    item(&on, &fields[0]).await;

    let seen = upstream.seen();
    assert_eq!(seen.len(), 7);
    for (at, seen) in seen.iter().enumerate() {
        assert_eq!(seen.header("traceparent").as_ref(), Some(&fields[at % 2]));
        assert_eq!(seen.header("tracestate").as_deref(), Some("vendor=1"));
    }
    item(&on, &format!("00-{TRACE}-{PARENT}-01")).await;
    collector.until(2).await;
}

#[tokio::test]
async fn the_environment_names_service_sampler_and_credentials() {
    let (collector, upstream) = (Collector::start().await, Upstream::start().await);
    let mut gateway = exporting(&collector, "")
        .environment("OTEL_SERVICE_NAME", "crm-sync")
        .environment(
            "OTEL_RESOURCE_ATTRIBUTES",
            "deployment.environment.name=test",
        )
        .environment(
            "OTEL_EXPORTER_OTLP_HEADERS",
            "authorization=Bearer%20unspoken",
        )
        .environment("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "")
        .environment("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip")
        .start(&upstream)
        .await;
    assert_eq!(gateway.get(ITEM).send().await.status, 200);
    for span in collector.until(2).await {
        assert_eq!(span.resource["service.name"], "crm-sync");
        assert_eq!(span.resource["deployment.environment.name"], "test");
    }
    let seen = collector.0.seen();
    assert_eq!(
        seen[0].header("authorization").as_deref(),
        Some("Bearer unspoken")
    );
    assert_eq!(seen[0].header("content-encoding").as_deref(), Some("gzip"));
    gateway.signal("TERM");
    gateway.exit().await;
    assert!(!gateway.lines().join("\n").contains("unspoken"));

    let never = exporting(&collector, "").environment("OTEL_TRACES_SAMPLER", "always_off");
    let never = never.start(&upstream).await;
    item(&never, &format!("00-{TRACE}-{PARENT}-01")).await;
    assert_eq!(
        upstream.seen().last().unwrap().header("traceparent"),
        Some(format!("00-{TRACE}-{PARENT}-01"))
    );
}

#[tokio::test]
async fn the_last_spans_are_exported_at_the_end() {
    let (collector, upstream) = (Collector::start().await, Upstream::start().await);
    let builder = exporting(&collector, "").environment("OTEL_BSP_SCHEDULE_DELAY", "3600000");
    let mut gateway = builder.start(&upstream).await;
    assert_eq!(gateway.get(ITEM).send().await.status, 200);

    gateway.signal("TERM");
    assert_eq!(gateway.exit().await.code(), Some(0));

    assert_eq!(collector.spans().len(), 2);
}

#[tokio::test]
async fn start_and_check_tell_what_the_environment_says_in_vain() {
    let (collector, upstream) = (Collector::start().await, Upstream::start().await);
    let builder = exporting(&collector, "").environment("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc");
    let gateway = builder.start(&upstream).await;
    gateway
        .record("the warning", |line| {
            let message = line["message"].as_str().unwrap_or_default();
            line["level"] == "WARN" && message.contains("OTEL_EXPORTER_OTLP_PROTOCOL")
        })
        .await;
    let mut check = tokio::process::Command::new(program());
    check.arg("check").env_clear();
    check.env("OTEL_EXPORTER_OTLP_ENDPOINT", "user:unspoken@nowhere");
    check.env("OTEL_EXPORTER_OTLP_CERTIFICATE", "/ca.pem");
    let checked = within("check", check.output()).await.unwrap();
    assert!(checked.status.success());
    let checked = String::from_utf8(checked.stdout).unwrap();
    assert!(
        checked.contains("Warning: environment OTEL_EXPORTER_OTLP_ENDPOINT"),
        "{checked}"
    );
    assert!(
        checked.contains("Warning: environment OTEL_EXPORTER_OTLP_CERTIFICATE"),
        "{checked}"
    );
    assert!(!checked.contains("unspoken"), "{checked}");
}
