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
use http::{HeaderValue, Request, header};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::{io::AsyncReadExt, net::TcpStream, sync::watch, time::timeout_at};
use tracing::debug;

use super::{
    Handler, Phase, Settings,
    linger::linger,
    preface::{Begun, Protocol},
    stopping,
    wire::{Handling, Wire},
};
use crate::{
    body::Inbound,
    metrics::{Metrics, label::RequestError},
};

/// Header fields that hyper accepts by default.
const HYPER_MAX_HEADERS: usize = 100;
/// Streams of one HTTP/2 connection that may be open at once.
const MAX_STREAMS: u32 = 200;
/// How long a connection without a request keeps its buffers.
const PATIENCE: Duration = Duration::from_millis(100);
/// hyper's read buffer grows up to this many bytes, or to the largest header section if that is more.
const MAX_BUFFER: usize = 64 * 1024;

/// What a connection needs to live.
pub(super) struct Connection<H> {
    pub(super) settings: Arc<Settings>,
    pub(super) handler: H,
    pub(super) metrics: Option<Arc<Metrics>>,
    pub(super) phase: watch::Receiver<Phase>,
}

impl<H: Handler> Connection<H> {
    /// Serves requests until one side closes.
    pub(super) async fn run(self, mut stream: TcpStream) {
        let _ = stream.set_nodelay(true);
        let mut begun = BytesMut::new();
        let mut phase = self.phase.clone();
        let protocol = tokio::select! {
            protocol = self.tell_protocol(&mut stream, &mut begun) => protocol,
            () = stopping(&mut phase) => return,
        };
        let ended = match protocol {
            // Boxed, so that each takes only the memory that it needs.
            Ok(Some(Protocol::Http1)) => Box::pin(self.http1(stream, begun)).await,
            Ok(Some(Protocol::Http2)) => Box::pin(self.http2(stream, begun)).await,
            // Closed before the first byte, or too slow.
            Ok(None) | Err(_) => return,
        };
        if let Err(error) = ended {
            debug!(%error, "A connection ended early");
        }
    }

    /// Reads until the protocol is known. The caller must send something within the header time-out.
    async fn tell_protocol(
        &self,
        stream: &mut TcpStream,
        begun: &mut BytesMut,
    ) -> io::Result<Option<Protocol>> {
        let deadline = tokio::time::Instant::now() + self.settings.header_timeout;
        loop {
            match timeout_at(deadline, stream.read_buf(begun)).await {
                Err(_) => {
                    self.count_slow_head(!begun.is_empty());
                    return Ok(None);
                }
                Ok(Ok(0)) => return Ok((!begun.is_empty()).then_some(Protocol::Http1)),
                Ok(Ok(_)) => {}
                Ok(Err(error)) => return Err(error),
            }
            if let Some(protocol) = Protocol::of(begun) {
                return Ok(Some(protocol));
            }
        }
    }

    fn count_slow_head(&self, begun: bool) {
        if let (Some(metrics), true) = (&self.metrics, begun) {
            metrics.request_error(RequestError::HeaderTimeout);
        }
    }

    async fn http1(mut self, stream: TcpStream, begun: BytesMut) -> hyper::Result<()> {
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
        let mut service = service_fn(move |request| {
            let (handler, guard) = (handler.clone(), handling.begin());
            let (head, body) = Request::into_parts(request);
            let (body, left) = Inbound::of_request(&head.headers, body);
            let request = Request::from_parts(head, body);
            async move {
                let mut answer = handler.handle(request).await;
                if left.is_some_and(|left| left.is_unread()) {
                    let headers = answer.headers_mut();
                    headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
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
            let ended = tokio::select! {
                biased;
                ended = &mut connection => ended,
                () = stopping(&mut self.phase) => {
                    std::pin::Pin::new(&mut *connection).graceful_shutdown();
                    (&mut connection).await
                }
            };
            match ended {
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
                () = stopping(&mut self.phase) => false,
            };
            if !asks {
                return Ok(());
            }
        }
    }

    async fn http2(mut self, stream: TcpStream, begun: BytesMut) -> hyper::Result<()> {
        let streams = Arc::new(Streams::default());
        let wire = Begun::new(begun, stream);
        let activity = wire.activity();
        let handler = self.handler.clone();
        let service = service_fn({
            let streams = Arc::clone(&streams);
            move |request| {
                let (handler, guard) = (handler.clone(), Stream::open(&streams));
                async move {
                    let request = Request::map(request, |body| Inbound::of(body, true));
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
        let (mut was_idle, mut was_still, mut closing) = (false, false, false);
        let (mut seen, mut opened_before) = (activity.count(), 0);
        loop {
            tokio::select! {
                ended = &mut connection => return ended,
                () = stopping(&mut self.phase), if !closing => {
                    // GOAWAY: streams that are open are finished, new ones are refused (RFC 9113 6.8).
                    connection.as_mut().graceful_shutdown();
                    closing = true;
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

/// Whether the gateway itself cut a connection that was too slow.
fn is_cut(error: &hyper::Error) -> bool {
    std::error::Error::source(error)
        .and_then(|error| error.downcast_ref::<io::Error>())
        .is_some_and(|error| error.kind() == io::ErrorKind::TimedOut)
}

/// The streams of an HTTP/2 connection.
#[derive(Default)]
struct Streams {
    open: AtomicUsize,
    opened: AtomicUsize,
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
    }
}
