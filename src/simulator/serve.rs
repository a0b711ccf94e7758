//! The simulator on a socket.

use std::{future::Future, io, pin::pin, sync::Arc, time::Duration};

use hyper::{
    server::conn::{http1, http2},
    service::service_fn,
};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::graceful::{GracefulShutdown, Watcher},
};
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::{sleep, timeout},
};
use tracing::{debug, warn};

use super::Simulator;

/// The largest number of open connections; further ones wait to be accepted.
const MAX_CONNECTIONS: usize = 2048;

/// From the end of one request to the whole head of the next. Most callers close an idle connection sooner, so that
/// the simulator does not close one that is in use.
const HEAD_TIMEOUT: Duration = Duration::from_secs(120);

/// How HTTP/2 with prior knowledge begins (RFC 9113 3.4), as far as no request of HTTP/1.1 does.
const PREFACE: &[u8] = b"PRI * HTTP/2.0";

/// How long requests in flight may take when the simulator stops.
const DRAIN: Duration = Duration::from_secs(5);

/// Serves HTTP/1.1, and HTTP/2 with prior knowledge, until `stop` is ready, then lets the requests in flight end.
pub async fn serve(
    listener: TcpListener,
    simulator: Arc<Simulator>,
    stop: impl Future<Output = ()>,
) {
    let mut stop = pin!(stop);
    let mut connections = JoinSet::new();
    let graceful = GracefulShutdown::new();
    loop {
        tokio::select! {
            () = &mut stop => break,
            Some(_) = connections.join_next() => {}
            accepted = listener.accept(), if connections.len() < MAX_CONNECTIONS => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(connection(stream, Arc::clone(&simulator), graceful.watcher()));
                }
                Err(error) => recover(&error).await,
            },
        }
    }
    drop(listener);
    // Connections that are busy after that end with the set of their tasks.
    let _ = timeout(DRAIN, graceful.shutdown()).await;
}

/// One connection, from its first request to its end.
async fn connection(stream: TcpStream, simulator: Arc<Simulator>, graceful: Watcher) {
    // Answers are short, so waiting for more data gains nothing.
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |request| {
        let simulator = Arc::clone(&simulator);
        async move { simulator.answer(request).await }
    });
    let Ok(Ok(is_http2)) = timeout(HEAD_TIMEOUT, begins_http2(&stream)).await else {
        return;
    };
    let stream = TokioIo::new(stream);
    let ended = if is_http2 {
        let connection = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .serve_connection(stream, service);
        graceful.watch(connection).await
    } else {
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_TIMEOUT)
            .half_close(true)
            .serve_connection(stream, service);
        graceful.watch(connection).await
    };
    if let Err(error) = ended {
        debug!(%error, "A connection of the simulator broke");
    }
}

/// Whether a connection begins as one of HTTP/2. What is read stays to be read.
async fn begins_http2(stream: &TcpStream) -> io::Result<bool> {
    let mut begun = [0; PREFACE.len()];
    let mut seen = 0;
    loop {
        let read = stream.peek(&mut begun).await?;
        let begun = begun.get(..read).unwrap_or_default();
        if read == PREFACE.len() || !PREFACE.starts_with(begun) || read == 0 {
            return Ok(begun == PREFACE);
        }
        if read == seen {
            // Bytes that are not read keep the socket readable.
            sleep(Duration::from_millis(5)).await;
        }
        seen = read;
    }
}

/// A connection that ends before it is accepted is ignored; a lack of file descriptors needs a pause.
async fn recover(error: &io::Error) {
    match error.kind() {
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset => {}
        _ => {
            warn!(%error, "The simulator could not accept a connection");
            sleep(Duration::from_millis(100)).await;
        }
    }
}
