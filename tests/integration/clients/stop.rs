//! A stop in the middle of a tight loop of writes, and a pause across the idle time-out: no client loses a request.

use std::time::{Duration, Instant};

use super::{Client, Got, Protocol, Scheme, Trust, each, gateway};
use crate::support::{ITEM, TAG, Upstream};

const JSON: (&str, &str) = ("Content-Type", "application/json");
const OPERATIONS: &[u8] = br#"[{"op":"replace","path":"/name","value":"x"}]"#;

/// What clients say of a port at which nobody listens.
fn is_refused(said: &str) -> bool {
    let said = said.to_ascii_lowercase();
    [
        "refused",
        "failed to connect",
        "couldn't connect",
        "can't connect",
        "connectexception",
        "connecterror",
        "connection attempts failed",
        "cannot connect",
        "error trying to connect",
        "tcp connect error",
        // Graph's client keeps the cause to itself. That of fetch, which it stands on, is seen.
        "grapherror fetch failed",
    ]
    .iter()
    .any(|words| said.contains(words))
}

/// What it speaks here: the last of all, unless it cannot bear the end of such a connection.
fn spoken(client: &Client) -> Option<(Scheme, Protocol)> {
    let mut spoken = client.speaks.iter().rev().copied();
    spoken.find(|(_, protocol)| !(client.fails_on_goaway && *protocol == Protocol::Http2))
}

/// Stops the gateway while the client writes in a loop; how many of its writes had an answer.
async fn stop(client: &'static Client) -> Option<usize> {
    let (scheme, protocol) = spoken(client)?;
    let upstream = Upstream::start().await;
    let settings = "snapshots: { unknown_state: forward }";
    let (mut gateway, place) = gateway(settings, scheme, &Trust::new(), &upstream.url()).await;
    let mut adapter = place.start(client, protocol).await?;
    let url = format!("{}{ITEM}", place.base);
    let headers = [JSON, ("If-Match", TAG)];
    let mut answered = 0;
    let mut paused = Duration::ZERO;
    let mut last = Instant::now();
    let refused = loop {
        if answered == 20 {
            gateway.signal("TERM");
        }
        paused = paused.max(last.elapsed());
        last = Instant::now();
        let got = adapter
            .tell(1, "PATCH", &url, &headers, Some(OPERATIONS))
            .await
            .remove(0);
        match got {
            Got::Answer {
                status: 200 | 204 | 412,
                ..
            } => answered += 1,
            Got::Answer { .. } => panic!("{}: {got:?}", client.name),
            Got::Nothing(said) => break said,
        }
        assert!(answered < 100_000, "{}: the gateway goes on", client.name);
    };
    // On a busy machine the loop may not be tight: then an idle connection has ended.
    let is_tight = paused.max(last.elapsed()) < Duration::from_millis(250);
    assert!(
        is_refused(&refused) || !is_tight,
        "{} lost a write: {refused}",
        client.name
    );
    gateway.exit().await;
    // What the service has done was told.
    let done = upstream.count("PATCH");
    assert_eq!(done, answered, "{}: {refused}", client.name);
    Some(answered)
}

async fn twice(client: &'static Client) {
    for _ in 0..2 {
        if stop(client).await.is_none() {
            return;
        }
    }
}

#[tokio::test]
async fn no_client_loses_a_write_to_a_stop() {
    each(3, twice).await;
}

/// Writes after pauses shorter and longer than the idle time-out.
async fn pause(client: &'static Client) {
    let Some((scheme, protocol)) = spoken(client) else {
        return;
    };
    let upstream = Upstream::start().await;
    let settings = "snapshots: { unknown_state: forward }\ndownstream: { idle_timeout: 1s }";
    let (_gateway, place) = gateway(settings, scheme, &Trust::new(), &upstream.url()).await;
    let Some(mut adapter) = place.start(client, protocol).await else {
        return;
    };
    let url = format!("{}{ITEM}", place.base);
    for wait in [0, 400, 1600, 700, 2500] {
        // The client does nothing, as one that sleeps between two jobs.
        tokio::time::sleep(Duration::from_millis(wait)).await;
        let headers = [JSON, ("If-Match", TAG)];
        let got = adapter
            .tell(1, "PATCH", &url, &headers, Some(OPERATIONS))
            .await
            .remove(0);
        assert!(
            matches!(got.status(), 200 | 204 | 412),
            "{} after {wait} ms: {got:?}",
            client.name
        );
    }
    assert_eq!(upstream.count("PATCH"), 5, "{}", client.name);
    adapter.end().await;
}

#[tokio::test]
async fn no_client_loses_a_write_after_a_pause() {
    each(4, pause).await;
}
