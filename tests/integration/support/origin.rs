//! An HTTP/2 origin that writes its frames as the test says (RFC 9113).

use std::{
    collections::HashMap,
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

use super::{Gateway, Upstream, Wire, gateway::Builder, tls};

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RESET: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GO_AWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
/// RFC 9113 6.5.2: the window of a stream.
const INITIAL_WINDOW_SIZE: [u8; 2] = [0, 4];

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

/// The bytes of a frame (RFC 9113 4.1).
fn bytes_of(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = length[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// What the other side did.
#[derive(Debug)]
pub(crate) enum Event {
    /// A request is complete.
    Request { stream: u32, body: Vec<u8> },
    /// A stream takes so many more bytes.
    Credit { stream: u32, bytes: usize },
    /// A stream was reset.
    Reset(u32),
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
    /// What was read and is not yet a frame.
    buffer: Vec<u8>,
    /// The requests that are not complete: what has come of their bodies, by stream.
    begun: HashMap<u32, Vec<u8>>,
    /// The bytes that a new stream takes.
    pub(crate) window: usize,
    /// PINGs that were answered.
    pub(crate) pings: Arc<AtomicUsize>,
    /// It does not even answer PINGs.
    pub(crate) is_silent: bool,
    /// It writes nothing more.
    is_closed: bool,
}

impl Origin {
    async fn accept(
        stream: TcpStream,
        config: Arc<ServerConfig>,
        max_streams: Option<u32>,
    ) -> io::Result<Self> {
        // What was written before a reset is on its way by then.
        stream.set_nodelay(true)?;
        let mut stream = TlsAcceptor::from(config).accept(stream).await?;
        let mut preface = [0; 24];
        stream.read_exact(&mut preface).await?;
        let pings = Arc::default();
        let mut origin = Self {
            stream,
            buffer: Vec::new(),
            begun: HashMap::new(),
            window: 65_535,
            pings,
            is_silent: false,
            is_closed: false,
        };
        let settings = max_streams.map(|max| [&[0, 3][..], &max.to_be_bytes()[..]].concat());
        origin
            .write(SETTINGS, 0, 0, &settings.unwrap_or_default())
            .await?;
        Ok(origin)
    }

    async fn write(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) -> io::Result<()> {
        self.write_bytes(&bytes_of(kind, flags, stream, payload))
            .await
    }

    async fn write_bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.is_closed {
            return Ok(());
        }
        let written = match self.stream.write_all(bytes).await {
            Ok(()) => self.stream.flush().await,
            failed => failed,
        };
        // The other side has closed, but what it sent before can still be read.
        self.is_closed = written.is_err();
        Ok(())
    }

    /// Waits until a whole frame has come. It may be given up and called again.
    pub(crate) async fn arrived(&mut self) -> io::Result<()> {
        while self
            .frame_length()
            .is_none_or(|length| self.buffer.len() < length)
        {
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(())
    }

    /// The length of the next frame with its head.
    fn frame_length(&self) -> Option<usize> {
        let length = self.buffer.get(..3)?;
        let length = u32::from_be_bytes([0, length[0], length[1], length[2]]);
        Some(9 + usize::try_from(length).unwrap())
    }

    async fn read(&mut self) -> io::Result<Frame> {
        self.arrived().await?;
        let length = self.frame_length().unwrap();
        let rest = self.buffer.split_off(length);
        let frame = std::mem::replace(&mut self.buffer, rest);
        let (head, payload) = frame.split_at(9);
        Ok(Frame {
            kind: head[3],
            flags: head[4],
            stream: u32::from_be_bytes([head[5], head[6], head[7], head[8]]),
            payload: payload.to_vec(),
        })
    }

    /// The next thing that the other side does. PINGs are answered.
    pub(crate) async fn event(&mut self) -> io::Result<Event> {
        loop {
            let Frame {
                kind,
                flags,
                stream,
                payload,
            } = self.read().await?;
            match kind {
                HEADERS | DATA => {
                    let body = self.begun.entry(stream).or_default();
                    if kind == DATA && !payload.is_empty() {
                        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
                        body.extend(payload);
                        self.write(WINDOW_UPDATE, 0, 0, &length).await?;
                    }
                    if flags & END_STREAM != 0 {
                        let body = self.begun.remove(&stream).unwrap_or_default();
                        return Ok(Event::Request { stream, body });
                    }
                }
                RESET => {
                    self.begun.remove(&stream);
                    return Ok(Event::Reset(stream));
                }
                WINDOW_UPDATE if stream != 0 => {
                    let bytes =
                        u32::from_be_bytes([payload[0], payload[1], payload[2], payload[3]]);
                    let bytes = usize::try_from(bytes).unwrap();
                    return Ok(Event::Credit { stream, bytes });
                }
                PING if flags & ACK == 0 && !self.is_silent => {
                    self.write(PING, ACK, 0, &payload).await?;
                }
                SETTINGS if flags & ACK == 0 => {
                    for setting in payload
                        .chunks(6)
                        .filter(|it| it[..2] == INITIAL_WINDOW_SIZE)
                    {
                        let size =
                            u32::from_be_bytes([setting[2], setting[3], setting[4], setting[5]]);
                        self.window = usize::try_from(size).unwrap();
                    }
                    self.write(SETTINGS, ACK, 0, &[]).await?;
                }
                _ => {}
            }
        }
    }

    /// What has come of the bodies of requests up to this stream that are not complete.
    pub(crate) fn begun(&self, last: u32) -> impl Iterator<Item = &[u8]> {
        let begun = self
            .begun
            .iter()
            .filter(move |(stream, _)| **stream <= last);
        begun.map(|(_, body)| &body[..])
    }

    /// Reads until a request is complete, and returns its stream. PINGs are answered.
    pub(crate) async fn request(&mut self) -> io::Result<u32> {
        self.until(|frame| matches!(frame.kind, HEADERS | DATA) && frame.flags & END_STREAM != 0)
            .await
    }

    /// Reads until a request has begun, and returns its stream. PINGs are answered.
    pub(crate) async fn headers(&mut self) -> io::Result<u32> {
        self.until(|frame| frame.kind == HEADERS).await
    }

    /// Reads until such a frame, and returns its stream. PINGs are answered.
    async fn until(&mut self, is_awaited: impl Fn(&Frame) -> bool) -> io::Result<u32> {
        loop {
            let frame = self.read().await?;
            match frame.kind {
                _ if is_awaited(&frame) => return Ok(frame.stream),
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
        self.begin_answer(stream).await?;
        self.data(stream, b"{}", true).await
    }

    /// Answers 200 with an empty object, and resets the stream behind it, in one piece.
    pub(crate) async fn answer_and_reset(&mut self, stream: u32, code: u32) -> io::Result<()> {
        let frames = [
            bytes_of(HEADERS, END_HEADERS, stream, &[0x88]),
            bytes_of(DATA, END_STREAM, stream, b"{}"),
            bytes_of(RESET, 0, stream, &code.to_be_bytes()),
        ];
        self.write_bytes(&frames.concat()).await
    }

    /// Answers 200; the body follows.
    pub(crate) async fn begin_answer(&mut self, stream: u32) -> io::Result<()> {
        // The static table of HPACK has `:status: 200` at 8 (RFC 7541 A).
        self.write(HEADERS, END_HEADERS, stream, &[0x88]).await
    }

    /// A piece of a body.
    pub(crate) async fn data(
        &mut self,
        stream: u32,
        piece: &[u8],
        is_last: bool,
    ) -> io::Result<()> {
        let flags = if is_last { END_STREAM } else { 0 };
        self.write(DATA, flags, stream, piece).await
    }

    /// Closes its side of the connection. What comes can still be read.
    pub(crate) async fn close(&mut self) -> io::Result<()> {
        self.is_closed = true;
        self.stream.shutdown().await
    }

    /// Closes the connection with a reset.
    pub(crate) fn abort(self) {
        let (stream, _) = self.stream.into_inner();
        Wire::new(stream).reset();
    }

    /// Begins an answer 200, and resets its stream.
    pub(crate) async fn break_off(&mut self, stream: u32, code: u32) -> io::Result<()> {
        self.write(HEADERS, END_HEADERS, stream, &[0x88]).await?;
        self.reset(stream, code).await
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
