//! An HTTP/2 origin that writes its frames as the test says (RFC 9113).

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use rustls::ServerConfig;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use super::{Gateway, Upstream, gateway::Builder, tls};

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RESET: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GO_AWAY: u8 = 7;

const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const ACK: u8 = 1;

/// RFC 9113 7: the stream was not processed.
pub(crate) const REFUSED_STREAM: u32 = 7;
/// RFC 9113 7: a graceful end.
pub(crate) const NO_ERROR: u32 = 0;

/// An HTTP/2 origin over TLS, connection by connection; `max_streams` goes into its settings.
pub(crate) async fn origin<S, F>(max_streams: Option<u32>, script: S) -> (String, Upstream)
where
    S: Fn(Origin, usize) -> F + Send + Sync + 'static,
    F: Future<Output = io::Result<()>> + Send + 'static,
{
    let (authority, config) = tls::identity(&["h2"]);
    let script = Arc::new(script);
    let upstream = Upstream::bytes("https", move |stream, number| {
        let (script, config) = (Arc::clone(&script), Arc::clone(&config));
        async move {
            if let Ok(origin) = Origin::accept(stream, config, max_streams).await {
                // How a connection ends is the business of the test, seen at its other end.
                script(origin, number).await.ok();
            }
        }
    })
    .await;
    (authority, upstream)
}

/// A gateway in front of an origin with this authority. Writes need no state; `upstream` holds further settings.
pub(crate) fn in_front(authority: &str, upstream: &str) -> Builder {
    let settings = format!(
        "upstream: {{ ca_file: \"@/ca.pem\", {upstream} }}
snapshots: {{ unknown_state: forward }}
rate_limit: {{ concurrency: 1000, reads: {{ per_minute: 60000, burst: 6000 }}, writes: {{ per_minute: 60000, burst: 6000 }} }}
"
    );
    Gateway::with(&settings).file("ca.pem", authority)
}

/// A frame as it came.
#[derive(Debug)]
struct Frame {
    kind: u8,
    flags: u8,
    stream: u32,
    payload: Vec<u8>,
}

/// One connection.
pub(crate) struct Origin {
    stream: TlsStream<TcpStream>,
    /// PINGs that were answered.
    pub(crate) pings: Arc<AtomicUsize>,
}

impl Origin {
    async fn accept(
        stream: TcpStream,
        config: Arc<ServerConfig>,
        max_streams: Option<u32>,
    ) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        let mut stream = TlsAcceptor::from(config).accept(stream).await?;
        let mut preface = [0; 24];
        stream.read_exact(&mut preface).await?;
        let pings = Arc::default();
        let mut origin = Self { stream, pings };
        let settings = max_streams.map(|max| [&[0, 3][..], &max.to_be_bytes()[..]].concat());
        origin
            .write(SETTINGS, 0, 0, &settings.unwrap_or_default())
            .await?;
        Ok(origin)
    }

    async fn write(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) -> io::Result<()> {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        let mut frame = length[1..].to_vec();
        frame.extend([kind, flags]);
        frame.extend(stream.to_be_bytes());
        frame.extend(payload);
        self.stream.write_all(&frame).await?;
        self.stream.flush().await
    }

    async fn read(&mut self) -> io::Result<Frame> {
        let mut head = [0; 9];
        self.stream.read_exact(&mut head).await?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; usize::try_from(length).unwrap()];
        self.stream.read_exact(&mut payload).await?;
        Ok(Frame {
            kind: head[3],
            flags: head[4],
            stream: u32::from_be_bytes([head[5], head[6], head[7], head[8]]),
            payload,
        })
    }

    /// Reads until a request is complete, and returns its stream. PINGs are answered.
    pub(crate) async fn request(&mut self) -> io::Result<u32> {
        loop {
            let frame = self.read().await?;
            match frame.kind {
                HEADERS | DATA if frame.flags & END_STREAM != 0 => return Ok(frame.stream),
                PING if frame.flags & ACK == 0 => {
                    self.write(PING, ACK, 0, &frame.payload).await?;
                    self.pings.fetch_add(1, Ordering::SeqCst);
                }
                SETTINGS if frame.flags & ACK == 0 => self.write(SETTINGS, ACK, 0, &[]).await?,
                _ => {}
            }
        }
    }

    /// Reads whatever comes, and answers nothing, until the other side closes.
    pub(crate) async fn ignore(&mut self) -> io::Result<()> {
        loop {
            self.read().await?;
        }
    }

    /// Answers 200 with an empty object.
    pub(crate) async fn answer(&mut self, stream: u32) -> io::Result<()> {
        // The static table of HPACK has `:status: 200` at 8 (RFC 7541 A).
        self.write(HEADERS, END_HEADERS, stream, &[0x88]).await?;
        self.write(DATA, END_STREAM, stream, b"{}").await
    }

    /// Answers every request until the other side closes.
    pub(crate) async fn answer_all(&mut self) -> io::Result<()> {
        loop {
            let stream = self.request().await?;
            self.answer(stream).await?;
        }
    }

    pub(crate) async fn reset(&mut self, stream: u32, code: u32) -> io::Result<()> {
        self.write(RESET, 0, stream, &code.to_be_bytes()).await
    }

    /// Says that no stream above `last` is processed.
    pub(crate) async fn go_away(&mut self, last: u32, code: u32) -> io::Result<()> {
        let payload = [last.to_be_bytes(), code.to_be_bytes()].concat();
        self.write(GO_AWAY, 0, 0, &payload).await
    }

    /// Allows so many streams from here on.
    pub(crate) async fn allow(&mut self, max_streams: u32) -> io::Result<()> {
        let payload = [&[0, 3][..], &max_streams.to_be_bytes()[..]].concat();
        self.write(SETTINGS, 0, 0, &payload).await
    }
}
