//! HTTP/2 as bytes: what RFC 9113 calls an error ends the stream or the connection with the code that it asks for, over TLS
//! as in clear text. The cases are those of conformance suites.

use std::sync::Arc;

use rustls::version::TLS13;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::TcpStream,
};
use tokio_rustls::TlsConnector;

use crate::support::{Gateway, Upstream, tls::Authority, within};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const PRIORITY: u8 = 2;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PUSH_PROMISE: u8 = 5;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;

const PROTOCOL_ERROR: u32 = 1;
const FLOW_CONTROL_ERROR: u32 = 3;
const FRAME_SIZE_ERROR: u32 = 6;
const COMPRESSION_ERROR: u32 = 9;

/// How the other side ends what was wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Connection(u32),
    Stream(u32),
    /// It has answered the request, as the gateway does what it refuses.
    Answered,
    /// It has answered the PING behind it.
    Goes,
    /// Without a word.
    Closed,
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut frame = u32::try_from(payload.len()).unwrap().to_be_bytes()[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// `:method: GET`, `:scheme: http`, `:path: /` of the static table, and `:authority: a`.
const BLOCK: [u8; 6] = [0x82, 0x86, 0x84, 0x41, 0x01, b'a'];
const END_STREAM: u8 = 0x1;
const END_HEADERS: u8 = 0x4;

impl End {
    /// Whether it is good where this is asked for: an error may be told as a more general one, and that of a stream as one of
    /// the connection (RFC 9113 5.4, 7).
    fn is_good_for(self, asked: Self) -> bool {
        match asked {
            Self::Connection(code) => {
                [Self::Connection(code), Self::Connection(PROTOCOL_ERROR)].contains(&self)
            }
            Self::Stream(code) => {
                [Self::Stream(code), Self::Connection(code), Self::Answered].contains(&self)
            }
            asked => self == asked,
        }
    }
}

/// Kind and stream of the frames in these bytes.
fn frames(mut bytes: &[u8]) -> Vec<(u8, u32)> {
    let mut frames = Vec::new();
    while let [a, b, c, kind, _, d, e, f, g, rest @ ..] = bytes {
        frames.push((*kind, u32::from_be_bytes([*d, *e, *f, *g])));
        let length = usize::try_from(u32::from_be_bytes([0, *a, *b, *c])).unwrap();
        bytes = rest.get(length..).unwrap_or_default();
    }
    frames
}

/// A request on stream 1 with one more field, not coded.
fn request(name: &str, value: &str) -> Vec<u8> {
    let mut block = BLOCK.to_vec();
    block.push(0);
    for text in [name, value] {
        block.push(u8::try_from(text.len()).unwrap());
        block.extend(text.as_bytes());
    }
    frame(HEADERS, END_STREAM | END_HEADERS, 1, &block)
}

fn setting(id: u16, value: u32) -> Vec<u8> {
    let payload = [&id.to_be_bytes()[..], &value.to_be_bytes()].concat();
    frame(SETTINGS, 0, 0, &payload)
}

fn cases() -> Vec<(&'static str, Vec<u8>, End)> {
    let connection = End::Connection;
    vec![
        (
            "DATA on an idle stream",
            frame(DATA, 0, 1, b"x"),
            connection(PROTOCOL_ERROR),
        ),
        (
            "DATA on stream 0",
            frame(DATA, 0, 0, b"x"),
            connection(PROTOCOL_ERROR),
        ),
        (
            "HEADERS on stream 0",
            frame(HEADERS, 5, 0, &BLOCK),
            connection(PROTOCOL_ERROR),
        ),
        (
            "HEADERS on an even stream",
            frame(HEADERS, 5, 2, &BLOCK),
            connection(PROTOCOL_ERROR),
        ),
        (
            "a field block that cannot be read",
            frame(HEADERS, 5, 1, &[0x80]),
            connection(COMPRESSION_ERROR),
        ),
        (
            "padding longer than the frame",
            frame(HEADERS, 0xd, 1, &[9, 0x82]),
            connection(PROTOCOL_ERROR),
        ),
        (
            "a SETTINGS of 5 bytes",
            frame(SETTINGS, 0, 0, &[0; 5]),
            connection(FRAME_SIZE_ERROR),
        ),
        (
            "an acknowledgement with settings",
            frame(SETTINGS, 1, 0, &[0; 6]),
            connection(FRAME_SIZE_ERROR),
        ),
        (
            "SETTINGS on a stream",
            frame(SETTINGS, 0, 1, &[]),
            connection(PROTOCOL_ERROR),
        ),
        (
            "ENABLE_PUSH of 2",
            setting(2, 2),
            connection(PROTOCOL_ERROR),
        ),
        (
            "INITIAL_WINDOW_SIZE over 2^31 - 1",
            setting(4, 1 << 31),
            connection(FLOW_CONTROL_ERROR),
        ),
        (
            "MAX_FRAME_SIZE of 1",
            setting(5, 1),
            connection(PROTOCOL_ERROR),
        ),
        ("an unknown setting", setting(0xff, 1), End::Goes),
        (
            "a PING of 6 bytes",
            frame(PING, 0, 0, &[0; 6]),
            connection(FRAME_SIZE_ERROR),
        ),
        (
            "a PING on a stream",
            frame(PING, 0, 1, &[0; 8]),
            connection(PROTOCOL_ERROR),
        ),
        (
            "GOAWAY on a stream",
            frame(GOAWAY, 0, 1, &[0; 8]),
            connection(PROTOCOL_ERROR),
        ),
        (
            "WINDOW_UPDATE of 0",
            frame(WINDOW_UPDATE, 0, 0, &[0; 4]),
            connection(PROTOCOL_ERROR),
        ),
        (
            "WINDOW_UPDATE of 3 bytes",
            frame(WINDOW_UPDATE, 0, 0, &[0; 3]),
            connection(FRAME_SIZE_ERROR),
        ),
        (
            "WINDOW_UPDATE beyond 2^31 - 1",
            frame(WINDOW_UPDATE, 0, 0, &[0x7f, 0xff, 0xff, 0xff]),
            connection(FLOW_CONTROL_ERROR),
        ),
        (
            "RST_STREAM on an idle stream",
            frame(RST_STREAM, 0, 1, &[0; 4]),
            connection(PROTOCOL_ERROR),
        ),
        (
            "RST_STREAM on stream 0",
            frame(RST_STREAM, 0, 0, &[0; 4]),
            connection(PROTOCOL_ERROR),
        ),
        (
            "CONTINUATION without HEADERS",
            frame(CONTINUATION, 4, 1, &BLOCK),
            connection(PROTOCOL_ERROR),
        ),
        (
            "a PING inside a field block",
            [frame(HEADERS, 1, 1, &BLOCK), frame(PING, 0, 0, &[0; 8])].concat(),
            connection(PROTOCOL_ERROR),
        ),
        (
            "PUSH_PROMISE of a client",
            frame(PUSH_PROMISE, 4, 1, &[0, 0, 0, 2, 0x82]),
            connection(PROTOCOL_ERROR),
        ),
        (
            "PRIORITY on stream 0",
            frame(PRIORITY, 0, 0, &[0; 5]),
            connection(PROTOCOL_ERROR),
        ),
        (
            "a frame over 16 KiB",
            frame(DATA, 0, 1, &[0; 16385]),
            connection(FRAME_SIZE_ERROR),
        ),
        (
            "a frame of an unknown type",
            frame(0x16, 0, 0, b"x"),
            End::Goes,
        ),
        (
            "a name in capitals",
            request("X-Test", "x"),
            End::Stream(PROTOCOL_ERROR),
        ),
        (
            "Connection",
            request("connection", "keep-alive"),
            End::Stream(PROTOCOL_ERROR),
        ),
        (
            "TE of other than trailers",
            request("te", "gzip"),
            End::Stream(PROTOCOL_ERROR),
        ),
        (
            "a pseudo-field that is unknown",
            request(":test", "x"),
            End::Stream(PROTOCOL_ERROR),
        ),
        (
            "a pseudo-field behind a field",
            {
                let mut block = vec![0x82, 0x86, 0x84, 0, 1, b'a', 1, b'b', 0x41, 1, b'a'];
                block.truncate(11);
                frame(HEADERS, END_STREAM | END_HEADERS, 1, &block)
            },
            End::Stream(PROTOCOL_ERROR),
        ),
        (
            "no path",
            frame(HEADERS, 5, 1, &[0x82, 0x86, 0x41, 1, b'a']),
            End::Stream(PROTOCOL_ERROR),
        ),
    ]
}

/// Sends a client's preface, these bytes and a PING, and says what comes of it.
async fn end_of<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S, bytes: &[u8], asked: End) -> End {
    let ping = match asked {
        // It may be answered before the stream ends.
        End::Stream(_) => Vec::new(),
        _ => frame(PING, 0, 0, b"question"),
    };
    let all = [PREFACE, &frame(SETTINGS, 0, 0, &[]), bytes, &ping].concat();
    // The other side may close before all is sent.
    let _ = stream.write_all(&all).await;
    loop {
        let mut head = [0; 9];
        if stream.read_exact(&mut head).await.is_err() {
            return End::Closed;
        }
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; usize::try_from(length).unwrap()];
        if stream.read_exact(&mut payload).await.is_err() {
            return End::Closed;
        }
        let code = |at: usize| u32::from_be_bytes(payload[at..at + 4].try_into().unwrap());
        match head[3] {
            GOAWAY => return End::Connection(code(4)),
            RST_STREAM => return End::Stream(code(0)),
            HEADERS => return End::Answered,
            PING if head[4] == 1 && payload == b"question" => return End::Goes,
            _ => {}
        }
    }
}

#[tokio::test]
async fn what_is_wrong_ends_alike_in_clear_text_and_over_tls() {
    let upstream = Upstream::start().await;
    let authority = Authority::new("A root");
    let pair = authority.issue(&["localhost"]);
    let clear = Gateway::start(&upstream).await;
    let tls = Gateway::with("tls: { cert_file: '@/tls.crt', key_file: '@/tls.key' }")
        .file("tls.crt", &pair.certificate)
        .file("tls.key", &pair.key)
        .start(&upstream)
        .await;
    let mut config = authority.client(&TLS13);
    config.alpn_protocols = vec![b"h2".to_vec()];
    let connector = TlsConnector::from(Arc::new(config));

    let mut others = Vec::new();
    for (what, bytes, expected) in cases() {
        let stream = TcpStream::connect(clear.address).await.unwrap();
        let in_clear = within(what, end_of(stream, &bytes, expected)).await;
        let stream = TcpStream::connect(tls.address).await.unwrap();
        let stream = connector
            .connect("localhost".try_into().unwrap(), stream)
            .await
            .unwrap();
        let over_tls = within(what, end_of(stream, &bytes, expected)).await;
        if in_clear != over_tls || !in_clear.is_good_for(expected) {
            others.push((what, in_clear, over_tls));
        }
    }
    assert_eq!(others, []);
    assert_eq!(upstream.seen().len(), 0);
}

/// The frames of the first read that has one of this kind and stream.
async fn read_to(stream: &mut TcpStream, kind: u8, id: u32) -> Vec<(u8, u32)> {
    loop {
        let mut bytes = vec![0; 65536];
        let read = within("frames", stream.read(&mut bytes)).await.unwrap();
        assert_ne!(read, 0, "closed");
        let frames = frames(&bytes[..read]);
        if frames.contains(&(kind, id)) {
            return frames;
        }
    }
}

#[tokio::test]
async fn at_a_stop_an_answer_and_the_end_of_its_connection_come_at_once() {
    let upstream = Upstream::start().await;
    let mut gateway = Gateway::start(&upstream).await;
    let mut stream = TcpStream::connect(gateway.address).await.unwrap();
    let ask = |id| frame(HEADERS, END_STREAM | END_HEADERS, id, &BLOCK);
    let begin = [PREFACE, &frame(SETTINGS, 0, 0, &[]), &ask(1)].concat();
    stream.write_all(&begin).await.unwrap();
    read_to(&mut stream, DATA, 1).await;

    gateway.signal("TERM");
    gateway
        .record("the drain", |record| {
            let message = record["message"].as_str();
            message.is_some_and(|text| text.starts_with("Draining"))
        })
        .await;
    stream.write_all(&ask(3)).await.unwrap();

    let last = read_to(&mut stream, HEADERS, 3).await;
    assert!(last.contains(&(GOAWAY, 0)), "{last:?}");
    drop(stream);
    assert_eq!(gateway.exit().await.code(), Some(0));
}
