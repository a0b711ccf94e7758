//! The life of one connection.

use std::{
    convert::Infallible,
    io,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::BytesMut;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Version, header};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt as _},
    net::TcpStream,
    sync::{Notify, watch},
    time::{timeout, timeout_at},
};
use tracing::debug;

use super::{
    Handler, Phase, Settings,
    begun::{Activity, Begun},
    linger::{self, linger},
    preface::Protocol,
    socket::Socket,
    stopping,
    tls::{self, Tls},
    wire::{Handling, Wire},
};
use crate::{
    body::Inbound,
    metrics::{Metrics, label::RequestError},
};

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
/// Header fields that hyper accepts by default.
const HYPER_MAX_HEADERS: usize = 100;
/// Streams of one HTTP/2 connection that may be open at once.
const MAX_STREAMS: u32 = 200;
/// How long a connection without a request keeps its buffers.
const PATIENCE: Duration = Duration::from_millis(100);
/// hyper's read buffer grows up to this many bytes, or to the largest header section if that is more.
const MAX_BUFFER: usize = 64 * 1024;
/// How long an idle connection may still begin a request when the program stops.
const GRACE: Duration = Duration::from_millis(500);
/// How long the end of TLS may take to be written.
const FAREWELL: Duration = Duration::from_secs(1);

/// What a connection needs to live.
pub(super) struct Connection<H> {
    pub(super) settings: Arc<Settings>,
    pub(super) handler: H,
    pub(super) tls: Option<Arc<Tls>>,
    pub(super) metrics: Option<Arc<Metrics>>,
    pub(super) phase: watch::Receiver<Phase>,
}

impl<H: Handler> Connection<H> {
    /// Serves requests until one side closes.
    pub(super) async fn run(self, stream: TcpStream) {
        let _ = stream.set_nodelay(true);
        let mut phase = self.phase.clone();
        let begun = tokio::select! {
            biased;
            // Boxed, as the others: each takes memory only while it runs.
            begun = Box::pin(self.begin(stream)) => begun,
            // A caller that has just connected may have sent a request.
            () = grace_over(&mut phase) => return,
        };
        let ended = match begun {
            Ok(Some((Protocol::Http1, socket, bytes))) => Box::pin(self.http1(socket, bytes)).await,
            Ok(Some((Protocol::Http2, socket, bytes))) => Box::pin(self.http2(socket, bytes)).await,
            // Closed before the first byte, or too slow, or no TLS where it is asked for.
            Ok(None) | Err(_) => return,
        };
        if let Err(error) = ended {
            debug!(%error, "A connection ended early");
        }
    }

    /// Shakes hands, and reads until the protocol is known. The caller must have sent something of a request within the
    /// header time-out.
    async fn begin(&self, stream: TcpStream) -> io::Result<Option<(Protocol, Socket, BytesMut)>> {
        let deadline = tokio::time::Instant::now() + self.settings.header_timeout;
        let mut bytes = BytesMut::new();
        let mut socket = match &self.tls {
            None => Socket::Clear(stream),
            Some(tls) => match timeout_at(deadline, self.shake_hands(tls, stream)).await {
                Ok(Ok(Some(socket))) => socket,
                Ok(ended) => return ended.map(|_| None),
                Err(_) => {
                    tls.timed_out();
                    return Ok(None);
                }
            },
        };
        let agreed = socket.agreed();
        let protocol = loop {
            match timeout_at(deadline, socket.read_buf(&mut bytes)).await {
                Err(_) => {
                    self.count_slow_head(!bytes.is_empty());
                    return Ok(None);
                }
                Ok(Ok(0)) if bytes.is_empty() => return Ok(None),
                Ok(Ok(0)) => break agreed.unwrap_or(Protocol::Http1),
                Ok(Ok(_)) => {}
                Ok(Err(error)) => return Err(error),
            }
            if let Some(protocol) = agreed.or_else(|| Protocol::of(&bytes)) {
                break protocol;
            }
        };
        if socket.is_clear() && tls::is_tls(&bytes) {
            self.count(RequestError::TlsOnClearPort);
            let answer = H::unread(400, None);
            linger::turn_away(socket, &answer).await;
            return Ok(None);
        }
        Ok(Some((protocol, socket, bytes)))
    }

    /// The TLS handshake. HTTP in clear text is answered in clear text.
    async fn shake_hands(&self, tls: &Tls, stream: TcpStream) -> io::Result<Option<Socket>> {
        match tls::first_byte(&stream).await? {
            None => Ok(None),
            Some(first) if tls::is_http(first) => {
                tls.clear_text();
                linger::turn_away(Socket::Clear(stream), &H::clear_text()).await;
                Ok(None)
            }
            Some(_) => Ok(tls.accept(stream).await.map(Socket::Tls)),
        }
    }

    fn count(&self, kind: RequestError) {
        if let Some(metrics) = &self.metrics {
            metrics.request_error(kind);
        }
    }

    fn count_slow_head(&self, begun: bool) {
        if begun {
            self.count(RequestError::HeaderTimeout);
        }
    }

    async fn http1(mut self, stream: Socket, begun: BytesMut) -> hyper::Result<()> {
        let handling = Handling::default();
        let handler = self.handler.clone();
        let mut wire = Wire::new(
            Begun::new(begun, stream),
            handling.clone(),
            self.settings.header_timeout,
            self.settings.write_timeout,
            self.metrics.clone(),
            H::unread,
        );
        let (phase, keep_alive) = (
            Arc::new(self.phase.clone()),
            keep_alive(self.settings.idle_timeout),
        );
        let mut service = service_fn(move |request: Request<Incoming>| {
            let (handler, guard) = (handler.clone(), handling.begin());
            let (phase, keep_alive) = (Arc::clone(&phase), keep_alive.clone());
            let is_kept =
                request.version() == Version::HTTP_11 && !asks_to_close(request.headers());
            let (head, body) = Request::into_parts(request);
            let (body, left) = Inbound::of_request(&head.headers, body);
            let request = Request::from_parts(head, body);
            async move {
                let mut answer = handler.handle(request).await;
                let headers = answer.headers_mut();
                if left.is_some_and(|left| left.is_unread()) || *phase.borrow() == Phase::Stopping {
                    headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
                } else if is_kept && !headers.contains_key(header::CONNECTION) {
                    headers.insert(KEEP_ALIVE, keep_alive);
                }
                Ok::<_, Infallible>(answer.map(|body| body.holding(Box::new(guard))))
            }
        });
        let idle_timeout = self.settings.idle_timeout;
        let patience = idle_timeout.min(PATIENCE);
        let mut builder = hyper::server::conn::http1::Builder::new();
        builder
            .timer(TokioTimer::new())
            // hyper's timer runs from the end of the last answer, so this is idle time; `Wire` times out slow heads.
            .header_read_timeout(patience)
            // `Wire` answers half-closed callers; with this, hyper notices those that are gone.
            .half_close(false)
            .max_header_size(self.settings.max_header_bytes)
            .max_buf_size(self.settings.max_header_bytes.max(MAX_BUFFER));
        // hyper's default needs no cleared memory for each request.
        if self.settings.max_headers != HYPER_MAX_HEADERS {
            builder.max_headers(self.settings.max_headers);
        }
        loop {
            let mut connection = Box::new(builder.serve_connection(TokioIo::new(wire), service));
            // When the program stops, the next answer closes the connection; `rest` ends one without a further request.
            match (&mut connection).await {
                Err(error) if error.is_timeout() => {}
                ended => {
                    let parts = connection.into_parts();
                    let (wire, rest) = (parts.io.into_inner(), parts.read_buf);
                    if !ended.as_ref().is_err_and(is_cut) && wire.has_more(&rest) {
                        drop(rest);
                        linger(wire.into_stream(), &mut self.phase).await;
                    }
                    return ended;
                }
            }
            // No request for a while: hyper's buffers are freed until the next one.
            let parts = connection.into_parts();
            (wire, service) = (parts.io.into_inner(), parts.service);
            wire.take_back(&parts.read_buf);
            drop(parts.read_buf);
            let asks = tokio::select! {
                biased;
                asks = wire.rest(idle_timeout - patience) => asks,
                () = stopping(&mut self.phase) => wire.rest(GRACE).await,
            };
            if !asks {
                let _ = timeout(FAREWELL, wire.into_stream().shutdown()).await;
                return Ok(());
            }
        }
    }

    async fn http2(mut self, stream: Socket, begun: BytesMut) -> hyper::Result<()> {
        let streams = Arc::new(Streams::default());
        let wire = Begun::new(begun, stream);
        let activity = wire.activity();
        let handler = self.handler.clone();
        let service = service_fn({
            let streams = Arc::clone(&streams);
            move |request| {
                let (handler, guard) = (handler.clone(), Stream::open(&streams));
                async move {
                    let request = Request::map(request, Inbound::of_http2_request);
                    let answer = handler.handle(request).await;
                    Ok::<_, Infallible>(answer.map(|body| body.holding(Box::new(guard))))
                }
            }
        });
        let connection = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .max_concurrent_streams(MAX_STREAMS)
            .max_header_list_size(u32::try_from(self.settings.max_header_bytes).unwrap_or(u32::MAX))
            .serve_connection(TokioIo::new(wire), service);
        let mut connection = pin!(connection);
        let every = |period| tokio::time::interval_at(tokio::time::Instant::now() + period, period);
        let (mut idle, mut stall) = (
            every(self.settings.idle_timeout),
            every(self.settings.write_timeout),
        );
        let (mut was_idle, mut was_still) = (false, false);
        let (mut closing, mut stopping) = (false, false);
        let (mut seen, mut opened_before) = (activity.count(), 0);
        let mut stopped = pin!(stopped_behind_an_answer(
            &mut self.phase,
            &streams,
            &activity
        ));
        loop {
            tokio::select! {
                biased;
                ended = &mut connection => return ended,
                () = &mut stopped, if !stopping => {
                    // GOAWAY: streams that are open are finished, new ones are refused (RFC 9113 6.8).
                    connection.as_mut().graceful_shutdown();
                    activity.cork(false);
                    (closing, stopping) = (true, true);
                    // hyper waits for the other side to confirm. One that does not read holds no stop up.
                    idle = every(GRACE);
                }
                _ = idle.tick() => {
                    let opened = streams.opened.load(Ordering::Acquire);
                    let is_idle = streams.is_empty() && opened == opened_before;
                    opened_before = opened;
                    if is_idle && was_idle {
                        if closing {
                            return Ok(());
                        }
                        connection.as_mut().graceful_shutdown();
                        activity.cork(false);
                        closing = true;
                        // hyper waits for the other side to confirm. An idle connection does not get long.
                        idle = every(self.settings.header_timeout);
                    }
                    was_idle = is_idle;
                }
                _ = stall.tick() => {
                    // An answer that the other side does not read, behind a closed window. A stream may have begun just
                    // before the first look, so it takes two.
                    let is_still = activity.count() == seen && !streams.is_empty();
                    if is_still && was_still {
                        return Ok(());
                    }
                    (seen, was_still) = (activity.count(), is_still);
                }
            }
        }
    }
}

/// Ready when the program has been stopping for so long that a new connection is no longer waited for.
async fn grace_over(phase: &mut watch::Receiver<Phase>) {
    stopping(phase).await;
    tokio::time::sleep(GRACE).await;
}

/// Whether a caller wants no further answer on its connection (RFC 9112 9.6).
fn asks_to_close(headers: &HeaderMap) -> bool {
    let mut values = headers.get_all(header::CONNECTION).iter();
    values.any(|value| {
        let mut options = value.as_bytes().split(|byte| *byte == b',');
        options.any(|option| option.trim_ascii().eq_ignore_ascii_case(b"close"))
    })
}

/// What HTTP/1.1 answers say of the idle time, for callers that reuse connections (RFC 2068 19.7.1.1).
fn keep_alive(idle_timeout: Duration) -> HeaderValue {
    // A caller must stop using it before the gateway closes it.
    let margin = Duration::from_secs(5).min(idle_timeout / 2);
    let text = format!("timeout={}", (idle_timeout - margin).as_secs().max(1));
    HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static("timeout=1"))
}

/// Whether the gateway itself cut a connection that was too slow.
fn is_cut(error: &hyper::Error) -> bool {
    std::error::Error::source(error)
        .and_then(|error| error.downcast_ref::<io::Error>())
        .is_some_and(|error| error.kind() == io::ErrorKind::TimedOut)
}

/// Ready when the program is stopping and the moment is good for a GOAWAY: right behind the end of an answer. Some clients
/// fail all requests under way at a GOAWAY, and between two requests one may just have been sent. So the answer is corked:
/// both leave at once.
async fn stopped_behind_an_answer(
    phase: &mut watch::Receiver<Phase>,
    streams: &Streams,
    activity: &Activity,
) {
    stopping(phase).await;
    activity.cork(true);
    let answered = async {
        let before = streams.ended.load(Ordering::Acquire);
        loop {
            let changed = streams.changed.notified();
            if streams.is_empty() && streams.ended.load(Ordering::Acquire) != before {
                return;
            }
            changed.await;
        }
    };
    let _ = timeout(GRACE, answered).await;
    // h2 sends a GOAWAY before all other frames: the end of the answer must have left.
    tokio::task::yield_now().await;
}

/// The streams of an HTTP/2 connection.
#[derive(Default)]
struct Streams {
    open: AtomicUsize,
    opened: AtomicUsize,
    ended: AtomicUsize,
    /// Tells of each that ends.
    changed: Notify,
}

impl Streams {
    fn is_empty(&self) -> bool {
        self.open.load(Ordering::Acquire) == 0
    }
}

/// An open stream.
struct Stream(Arc<Streams>);

impl Stream {
    fn open(streams: &Arc<Streams>) -> Self {
        streams.open.fetch_add(1, Ordering::AcqRel);
        streams.opened.fetch_add(1, Ordering::AcqRel);
        Self(Arc::clone(streams))
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::AcqRel);
        self.0.ended.fetch_add(1, Ordering::AcqRel);
        self.0.changed.notify_waiters();
    }
}
