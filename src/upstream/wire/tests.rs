use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};

use super::*;
use crate::{metrics::Metrics, upstream::kept::Kept};

/// A connection, what is known of it, and the upstream's end.
fn wire() -> (Wire<DuplexStream>, Arc<Signals>, DuplexStream) {
    let metrics = Arc::new(Metrics::new());
    let kept = Kept::new(Duration::from_secs(30), 10, Arc::clone(&metrics));
    let (place, _) = Arc::new(kept).place().expect("a place");
    let signals = Arc::new(Signals::begin(Instant::now()));
    let (near, upstream) = duplex(4096);
    let open = metrics.open_connections(crate::metrics::label::Side::Upstream);
    let wire = Wire::new(near, Some(Arc::clone(&signals)), place, open);
    (wire, signals, upstream)
}

const GO_AWAY: &[u8] = &[0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0];
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const PING: &[u8] = &[0, 0, 8, 6, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8];

#[tokio::test]
async fn an_error_of_writing_waits_for_what_can_be_read() {
    let (mut wire, signals, mut upstream) = wire();
    upstream.write_all(GO_AWAY).await.expect("it is open");
    drop(upstream);

    for _ in 0..2 {
        wire.write_all(b"a request")
            .await
            .expect("as if it were written");
        let pieces = [IoSlice::new(b"another "), IoSlice::new(b"one")];
        let written = wire.write_vectored(&pieces).await;
        assert_eq!(written.expect("as if it were written"), 11);
        wire.flush().await.expect("as if it were written");
    }
    let mut read = Vec::new();
    wire.read_to_end(&mut read).await.expect("an end");

    assert_eq!(read, GO_AWAY);
    assert!(signals.is_going_away());
}

#[tokio::test]
async fn a_ping_is_noticed_however_it_is_written() {
    for cut in [0, 1, 9, 30, PREFACE.len() + PING.len()] {
        let (mut wire, signals, _upstream) = wire();
        let bytes = [PREFACE, PING].concat();
        let (first, second) = bytes.split_at(cut);
        match cut % 2 {
            0 => {
                wire.write_all(first).await.expect("it is open");
                wire.write_all(second).await.expect("it is open");
            }
            _ => {
                let pieces = [IoSlice::new(first), IoSlice::new(second)];
                let written = wire.write_vectored(&pieces).await.expect("it is open");
                wire.write_all(bytes.get(written..).expect("not more"))
                    .await
                    .expect("it is open");
            }
        }
        let later = Instant::now() + Duration::from_secs(3);
        assert!(signals.is_silent(later), "{cut}");
    }
}
