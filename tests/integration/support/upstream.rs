//! An upstream that does as it is told and remembers what arrived.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    fmt, io,
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, Uri, Version};
use http_body_util::{BodyExt as _, Full, combinators::BoxBody};
use hyper::{
    body::{Body, Frame, Incoming},
    server::conn::{http1, http2},
    service::service_fn,
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::ServerConfig;
use serde_json::Value;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::mpsc,
    task::JoinHandle,
};
use tokio_rustls::TlsAcceptor;

use super::{ID, TAG, Wire, eventually, referral};

/// An answer of the upstream.
pub(crate) type Reply = Response<BoxBody<Bytes, io::Error>>;

type Handler = Arc<
    dyn Fn(Request<Incoming>, Arc<Shared>) -> Pin<Box<dyn Future<Output = Reply> + Send>>
        + Send
        + Sync,
>;

/// A whole answer.
pub(crate) fn reply(status: u16, body: impl Into<Bytes>) -> Reply {
    Response::builder().status(status).body(full(body)).unwrap()
}

/// A body known in advance.
pub(crate) fn full(body: impl Into<Bytes>) -> BoxBody<Bytes, io::Error> {
    Full::new(body.into())
        .map_err(|never: Infallible| match never {})
        .boxed()
}

/// A body fed by the test, piece by piece.
pub(crate) fn piped() -> (
    mpsc::Sender<io::Result<Frame<Bytes>>>,
    BoxBody<Bytes, io::Error>,
) {
    let (sender, receiver) = mpsc::channel(1);
    (sender, Piped(receiver).boxed())
}

struct Piped(mpsc::Receiver<io::Result<Frame<Bytes>>>);

impl Body for Piped {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        self.0.poll_recv(cx)
    }
}

/// A request as it arrived.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) method: Method,
    pub(crate) target: Uri,
    pub(crate) version: Version,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
    pub(crate) trailers: Option<HeaderMap>,
    /// Whether the request arrived to its end.
    pub(crate) is_complete: bool,
}

impl Seen {
    /// Every field of that name, joined as RFC 9110 5.3 allows.
    pub(crate) fn header(&self, name: &str) -> Option<String> {
        let values: Vec<_> = self
            .headers
            .get_all(name)
            .iter()
            .map(|value| String::from_utf8_lossy(value.as_bytes()))
            .collect();
        (!values.is_empty()).then(|| values.join(", "))
    }

    /// The target as text.
    pub(crate) fn target(&self) -> String {
        self.target.to_string()
    }
}

/// One referral of the store.
#[derive(Debug, Clone)]
pub(crate) struct Held {
    pub(crate) status: String,
    pub(crate) substatus: String,
    pub(crate) tag: String,
}

/// What the upstream and the test both hold.
#[derive(Default)]
pub(crate) struct Shared {
    seen: Mutex<Vec<Seen>>,
    store: Mutex<BTreeMap<String, Held>>,
    /// The bodies of accepted PUTs, in the order they were accepted.
    applied: Mutex<Vec<Vec<u8>>>,
    connections: AtomicUsize,
    tags: AtomicUsize,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap()
}

/// A scripted upstream on a port of its own.
pub(crate) struct Upstream {
    pub(crate) address: SocketAddr,
    scheme: &'static str,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl fmt::Debug for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upstream")
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

impl Upstream {
    /// A small store of referrals that holds [`ID`], Active and Accepted, at [`TAG`].
    pub(crate) async fn start() -> Self {
        Self::with(|_| std::future::ready(None)).await
    }

    /// Answers as `script` says; where that says nothing, as the store does.
    pub(crate) async fn with<S, F>(script: S) -> Self
    where
        S: Fn(Seen) -> F + Send + Sync + 'static,
        F: Future<Output = Option<Reply>> + Send + 'static,
    {
        Self::serve(scripted(script), None).await
    }

    /// The same over TLS; the protocol is the one agreed on.
    pub(crate) async fn with_tls<S, F>(tls: Arc<ServerConfig>, script: S) -> Self
    where
        S: Fn(Seen) -> F + Send + Sync + 'static,
        F: Future<Output = Option<Reply>> + Send + 'static,
    {
        Self::serve(scripted(script), Some(tls)).await
    }

    /// Hands every request over before its body has come.
    pub(crate) async fn streaming<S, F>(script: S) -> Self
    where
        S: Fn(Request<Incoming>) -> F + Send + Sync + 'static,
        F: Future<Output = Reply> + Send + 'static,
    {
        Self::serve(
            Arc::new(move |request, shared: Arc<Shared>| {
                shared.arrived(&request);
                Box::pin(script(request))
            }),
            None,
        )
        .await
    }

    async fn serve(handler: Handler, tls: Option<Arc<ServerConfig>>) -> Self {
        let scheme = if tls.is_some() { "https" } else { "http" };
        Self::accept(scheme, move |stream, shared, _| {
            let (handler, tls) = (Arc::clone(&handler), tls.clone());
            async move {
                stream.set_nodelay(true).ok();
                match tls {
                    None => answer(stream, handler, shared, false).await,
                    Some(tls) => {
                        if let Ok(stream) = TlsAcceptor::from(tls).accept(stream).await {
                            let h2 = stream.get_ref().1.alpn_protocol() == Some(b"h2".as_slice());
                            answer(stream, handler, shared, h2).await;
                        }
                    }
                }
            }
        })
        .await
    }

    /// The store behind connections that the test has changed, for example into ones that break.
    pub(crate) async fn behind<I, W>(wrap: W) -> Self
    where
        I: AsyncRead + AsyncWrite + Send + Unpin + 'static,
        W: Fn(TcpStream, usize) -> I + Send + Sync + 'static,
    {
        let handler = scripted(|_| std::future::ready(None));
        Self::accept("http", move |stream, shared, number| {
            let io = wrap(stream, number);
            answer(io, Arc::clone(&handler), shared, false)
        })
        .await
    }

    /// Hands every connection over as bytes, with its number from 0.
    pub(crate) async fn raw<S, F>(script: S) -> Self
    where
        S: Fn(Wire, usize) -> F + Send + Sync + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        Self::accept("http", move |stream, _, number| {
            script(Wire::new(stream), number)
        })
        .await
    }

    /// The same, without a reader of HTTP/1.1.
    pub(crate) async fn bytes<S, F>(scheme: &'static str, script: S) -> Self
    where
        S: Fn(TcpStream, usize) -> F + Send + Sync + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        Self::accept(scheme, move |stream, _, number| script(stream, number)).await
    }

    async fn accept<S, F>(scheme: &'static str, serve: S) -> Self
    where
        S: Fn(TcpStream, Arc<Shared>, usize) -> F + Send + Sync + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared::default());
        shared.hold(ID, "Active", "Accepted", TAG);
        let state = Arc::clone(&shared);
        let task = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            loop {
                let Ok((stream, _)) = listener.accept().await else {
                    return;
                };
                let number = state.connections.fetch_add(1, Ordering::SeqCst);
                connections.spawn(serve(stream, Arc::clone(&state), number));
                while connections.try_join_next().is_some() {}
            }
        });
        Self {
            address,
            scheme,
            shared,
            task,
        }
    }

    /// The URL of the upstream.
    pub(crate) fn url(&self) -> String {
        format!("{}://{}", self.scheme, self.address)
    }

    /// Puts a referral into the store.
    pub(crate) fn hold(&self, id: &str, status: &str, substatus: &str, tag: &str) {
        self.shared.hold(id, status, substatus, tag);
    }

    /// The entity tag the store has for a referral.
    pub(crate) fn tag(&self, id: &str) -> String {
        locked(&self.shared.store)[id].tag.clone()
    }

    /// All that arrived, in order.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        locked(&self.shared.seen).clone()
    }

    /// How many requests with that method arrived.
    pub(crate) fn count(&self, method: &str) -> usize {
        locked(&self.shared.seen)
            .iter()
            .filter(|seen| seen.method == method)
            .count()
    }

    /// The one request with that method that arrived.
    pub(crate) fn only(&self, method: &str) -> Seen {
        let mut seen = self.seen();
        seen.retain(|seen| seen.method == method);
        assert_eq!(seen.len(), 1, "{method} in {seen:?}");
        seen.remove(0)
    }

    /// The bodies of the PUTs that the store accepted.
    pub(crate) fn applied(&self) -> Vec<Vec<u8>> {
        locked(&self.shared.applied).clone()
    }

    /// How many connections were made.
    pub(crate) fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::SeqCst)
    }

    /// Waits until so many requests with that method have arrived.
    pub(crate) async fn arrived(&self, method: &str, number: usize) {
        eventually("requests at the upstream", async || {
            self.count(method) >= number
        })
        .await;
    }
}

fn scripted<S, F>(script: S) -> Handler
where
    S: Fn(Seen) -> F + Send + Sync + 'static,
    F: Future<Output = Option<Reply>> + Send + 'static,
{
    let script = Arc::new(script);
    Arc::new(move |request, shared| {
        let script = Arc::clone(&script);
        Box::pin(async move {
            let number = shared.arrived(&request);
            let Some(seen) = shared.read(number, request).await else {
                return reply(400, "the request did not arrive whole");
            };
            match script(seen.clone()).await {
                Some(reply) => reply,
                None => shared.answer(&seen),
            }
        })
    })
}

async fn answer<I>(io: I, handler: Handler, shared: Arc<Shared>, h2: bool)
where
    I: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let service = service_fn(move |request| {
        let reply = handler(request, Arc::clone(&shared));
        async move { Ok::<_, Infallible>(reply.await) }
    });
    let io = TokioIo::new(io);
    // How a connection ends is the business of the test, seen at its other end.
    if h2 {
        http2::Builder::new(TokioExecutor::new())
            .serve_connection(io, service)
            .await
            .ok();
    } else {
        http1::Builder::new()
            .max_headers(200)
            .serve_connection(io, service)
            .await
            .ok();
    }
}

impl Shared {
    fn hold(&self, id: &str, status: &str, substatus: &str, tag: &str) {
        let held = Held {
            status: status.to_owned(),
            substatus: substatus.to_owned(),
            tag: tag.to_owned(),
        };
        locked(&self.store).insert(id.to_owned(), held);
    }

    fn arrived(&self, request: &Request<Incoming>) -> usize {
        let mut all = locked(&self.seen);
        all.push(Seen {
            method: request.method().clone(),
            target: request.uri().clone(),
            version: request.version(),
            headers: request.headers().clone(),
            body: Vec::new(),
            trailers: None,
            is_complete: false,
        });
        all.len() - 1
    }

    async fn read(&self, number: usize, request: Request<Incoming>) -> Option<Seen> {
        let collected = request.into_body().collect().await.ok()?;
        let mut all = locked(&self.seen);
        let seen = &mut all[number];
        seen.trailers = collected.trailers().cloned();
        seen.body = collected.to_bytes().to_vec();
        seen.is_complete = true;
        Some(seen.clone())
    }

    fn answer(&self, seen: &Seen) -> Reply {
        let path = seen.target.path().trim_end_matches('/').to_owned();
        let mut store = locked(&self.store);
        let id = store
            .keys()
            .find(|id| path.to_ascii_lowercase().contains(id.as_str()))
            .cloned();
        let missing = || {
            reply(
                404,
                r#"{"error":{"code":"itemNotFound","message":"no such referral"}}"#,
            )
        };
        match (seen.method.as_str(), id) {
            ("GET" | "HEAD", Some(id)) => {
                let held = &store[&id];
                json(
                    200,
                    referral::shown(&id, &held.status, &held.substatus, &held.tag),
                )
            }
            ("PUT", Some(id)) => {
                let Some(held) = store.get_mut(&id) else {
                    return missing();
                };
                if seen.header("if-match").as_deref() != Some(held.tag.as_str()) {
                    return json(
                        412,
                        r#"{"error":{"code":"preconditionFailed","message":"If-Match does not fit the current state","target":"ETag","innerError":{"code":"99918","message":"eTag differs","details":null}}}"#.to_owned(),
                    );
                }
                let body: Value = serde_json::from_slice(&seen.body).unwrap_or_default();
                let text = |name: &str, old: &str| body[name].as_str().unwrap_or(old).to_owned();
                held.status = text("status", &held.status);
                held.substatus = text("substatus", &held.substatus);
                held.tag = self.next_tag();
                locked(&self.applied).push(seen.body.clone());
                json(
                    200,
                    referral::shown(&id, &held.status, &held.substatus, &held.tag),
                )
            }
            ("PATCH" | "DELETE", Some(_)) => reply(204, ""),
            ("GET" | "HEAD", None) if path.ends_with("/referrals") => {
                let shown: Vec<_> = store
                    .iter()
                    .map(|(id, held)| referral::shown(id, &held.status, &held.substatus, &held.tag))
                    .collect();
                json(
                    200,
                    format!(
                        r#"{{"@odata.count":{},"value":[{}]}}"#,
                        shown.len(),
                        shown.join(",")
                    ),
                )
            }
            ("POST", None) if path.ends_with("/referrals") => {
                let tag = self.next_tag();
                let id = format!("9f1c2d3e-0001-4a4a-9b9b-{:012x}", store.len());
                let held = Held {
                    status: "New".to_owned(),
                    substatus: "Pending".to_owned(),
                    tag,
                };
                let shown = referral::shown(&id, &held.status, &held.substatus, &held.tag);
                store.insert(id, held);
                json(201, shown)
            }
            ("GET", None) if path.contains("/referrals/") => missing(),
            _ => reply(200, "hello from the upstream"),
        }
    }

    fn next_tag(&self) -> String {
        let number = self.tags.fetch_add(1, Ordering::SeqCst);
        format!("\"0b00b1c2-0000-0100-0000-{number:012x}\"")
    }
}

/// A whole JSON answer.
pub(crate) fn json(status: u16, text: String) -> Reply {
    Response::builder()
        .status(status)
        .header("Content-Type", "application/json; odata.metadata=minimal")
        .body(full(text))
        .unwrap()
}
