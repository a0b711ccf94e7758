//! What clients make of the gateway's own answers: none writes twice because of them.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use super::{Client, Got, Trust, each, gateway};
use crate::support::{ITEM, LIST, Upstream};

const JSON: (&str, &str) = ("Content-Type", "application/json");
const OPERATIONS: &[u8] = br#"[{"op":"replace","path":"/name","value":"x"}]"#;
const REFERRAL: &[u8] = br#"{"name":"New one","customerProfile":{"name":"Example"}}"#;

/// A service that takes each write and does not say what became of it. It counts them.
async fn mute(counts: &Arc<AtomicUsize>, answers_late: bool) -> Upstream {
    let counts = Arc::clone(counts);
    Upstream::raw(move |mut wire, _| {
        let counts = Arc::clone(&counts);
        async move {
            if wire.request().await.is_ok() {
                counts.fetch_add(1, Ordering::SeqCst);
                if answers_late {
                    std::future::pending::<()>().await;
                }
            }
        }
    })
    .await
}

async fn writes_once(client: &'static Client) {
    for answers_late in [false, true] {
        let counts = Arc::new(AtomicUsize::new(0));
        let upstream = mute(&counts, answers_late).await;
        let &(scheme, protocol) = client.speaks.last().unwrap();
        let settings = "upstream: { response_timeout: 1s }";
        let (_gateway, place) = gateway(settings, scheme, &Trust::new(), &upstream.url()).await;
        let Some(mut adapter) = place.start(client, protocol).await else {
            return;
        };
        for (method, path, body) in [("POST", LIST, REFERRAL), ("PATCH", ITEM, OPERATIONS)] {
            let before = counts.load(Ordering::SeqCst);
            let url = format!("{}{path}", place.base);
            let got = adapter
                .tell(1, method, &url, &[JSON], Some(body))
                .await
                .remove(0);
            let about = format!("{}: {method}: {got:?}", client.name);
            assert_eq!(got.status(), 409, "{about}");
            assert_eq!(
                got.json()["error"]["innerError"]["code"],
                "outcome_unknown",
                "{about}"
            );
            assert_eq!(counts.load(Ordering::SeqCst), before + 1, "{about}");
        }
        adapter.end().await;
    }
}

#[tokio::test]
async fn no_client_repeats_a_write_whose_outcome_is_unknown() {
    each(4, writes_once).await;
}

/// Writes faster than the limit allows, until the client is told, or has waited by itself.
async fn waits(client: &'static Client) {
    let upstream = Upstream::start().await;
    let &(scheme, protocol) = client.speaks.last().unwrap();
    let settings = "rate_limit: { writes: { per_minute: 20, burst: 1 } }";
    let (gateway, place) = gateway(settings, scheme, &Trust::new(), &upstream.url()).await;
    let Some(mut adapter) = place.start(client, protocol).await else {
        return;
    };
    let url = format!("{}{ITEM}", place.base);
    let mut written = 0;
    let limited = [("class", "writes"), ("outcome", "limited")];
    while gateway.metric("ratelimit_decisions_total", &limited).await == 0.0 {
        let got = adapter
            .tell(1, "PATCH", &url, &[JSON], Some(OPERATIONS))
            .await
            .remove(0);
        let about = format!("{}: {got:?}", client.name);
        match got {
            Got::Answer {
                status: 200 | 204, ..
            } => written += 1,
            Got::Answer { status: 429, .. } if !client.repeats => {
                let wait = got.header("retry-after").and_then(|wait| wait.parse().ok());
                assert!(matches!(wait, Some(1..=3)), "{about}");
                assert_eq!(
                    got.json()["error"]["innerError"]["code"],
                    "rate_limited",
                    "{about}"
                );
            }
            _ => panic!("{about}"),
        }
        assert!(written < 20, "{about}: no limit");
    }
    assert_eq!(upstream.count("PATCH"), written, "{}", client.name);
    adapter.end().await;
}

#[tokio::test]
async fn clients_that_are_held_back_wait_or_are_told_for_how_long() {
    each(4, waits).await;
}
