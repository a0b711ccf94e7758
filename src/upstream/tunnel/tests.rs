//! Answers of a proxy, cut at every place.

use std::time::Duration;

use tokio::{net::TcpListener, time::timeout};

use super::*;

/// The outcome for a proxy that sends these pieces, each after the one before was taken, and what is left to read.
async fn opened(pieces: &[&[u8]]) -> (Result<(), NoTunnel>, Vec<u8>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let ours = async {
        let mut stream = TcpStream::connect(address).await.expect("connected");
        let outcome = open(&mut stream, "a.example:443", None).await;
        let mut rest = Vec::new();
        // A proxy that is refused may have more to say.
        if outcome.is_ok() {
            stream.read_to_end(&mut rest).await.expect("read");
        }
        (outcome, rest)
    };
    let theirs = async {
        let (mut stream, _) = listener.accept().await.expect("accepted");
        stream.set_nodelay(true).expect("set");
        let expected = b"CONNECT a.example:443 HTTP/1.1\r\nHost: a.example:443\r\n\r\n";
        let mut asked = [0; 55];
        stream.read_exact(&mut asked).await.expect("a request");
        assert_eq!(&asked, expected);
        for piece in pieces {
            // Whoever asked may have left.
            let _ = stream.write_all(piece).await;
            tokio::task::yield_now().await;
        }
    };
    let both = async { tokio::join!(ours, theirs).0 };
    timeout(Duration::from_secs(20), both)
        .await
        .expect("in time")
}

#[tokio::test]
async fn not_a_byte_behind_the_head_is_lost() {
    for head in [
        "HTTP/1.1 200 OK\r\nA: b\r\n\r\n",
        "HTTP/1.1 204 No Content\n\n",
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.0 299 x\r\n\r\n",
    ] {
        let whole = [head.as_bytes(), b"\n\r\n\x16\x03TLS"].concat();
        for step in [1, 2, 3, 5, whole.len()] {
            let pieces: Vec<_> = whole.chunks(step).collect();
            let (outcome, rest) = opened(&pieces).await;
            assert!(outcome.is_ok(), "{head:?}: {outcome:?}");
            assert_eq!(rest, b"\n\r\n\x16\x03TLS", "{head:?} in pieces of {step}");
        }
    }
}

#[tokio::test]
async fn the_bound_holds_for_all_heads_together() {
    let interim = format!(
        "HTTP/1.1 103 Early Hints\r\nA: {}\r\n\r\n",
        "b".repeat(40_000)
    );
    let (outcome, _) = opened(&[interim.as_bytes(), interim.as_bytes()]).await;
    assert!(matches!(outcome, Err(NoTunnel::TooLarge)), "{outcome:?}");
}

#[test]
fn a_head_ends_with_its_first_empty_line() {
    for (head, end) in [
        ("HTTP/1.1 200 OK\r\n\r\nx\r\n\r\n", Some(19)),
        ("HTTP/1.1 200 OK\n\nx", Some(17)),
        ("HTTP/1.1 200 OK\n\r\n", Some(18)),
        ("HTTP/1.1 200 OK\r\n\r", None),
        ("HTTP/1.1 200 OK\r\nA: b\r\n", None),
        ("\r\n\r\n", Some(4)),
    ] {
        for before in 0..end.unwrap_or(head.len()) {
            assert_eq!(
                end_of_head(head.as_bytes(), before),
                end,
                "{head:?} {before}"
            );
        }
    }
}
