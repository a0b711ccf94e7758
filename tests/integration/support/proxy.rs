//! A proxy as companies have them: asked by CONNECT for a tunnel, it makes one or says no.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use super::Upstream;

/// A proxy that remembers what it was asked.
#[derive(Debug)]
pub(crate) struct Proxy {
    listener: Upstream,
    heads: Arc<Mutex<Vec<String>>>,
}

impl Proxy {
    /// Makes every tunnel that is asked for, and lets each end at `target`, whatever name was asked for.
    pub(crate) async fn to(target: SocketAddr) -> Self {
        Self::answering("HTTP/1.1 200 Connection established\r\n\r\n", target).await
    }

    /// Answers every request with these bytes, and goes on as a tunnel to `target`.
    pub(crate) async fn answering(answer: &str, target: SocketAddr) -> Self {
        Self::start(answer, Some(target)).await
    }

    /// Answers every request with these bytes; the connection is closed then, if the other side does not do so
    /// before.
    pub(crate) async fn saying(answer: &str) -> Self {
        Self::start(answer, None).await
    }

    async fn start(answer: &str, target: Option<SocketAddr>) -> Self {
        let answer: Arc<str> = answer.into();
        let heads = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&heads);
        let listener = Upstream::raw(move |mut wire, _| {
            let (seen, answer) = (Arc::clone(&seen), Arc::clone(&answer));
            async move {
                let Ok(head) = wire.head_text().await else {
                    return;
                };
                seen.lock().unwrap().push(head);
                // Whoever asked may have left.
                wire.send(&*answer).await.ok();
                match target {
                    Some(target) => wire.tunnel(target).await,
                    None if answer.is_empty() => drop(wire.is_closed().await),
                    None => {}
                }
            }
        })
        .await;
        Self { listener, heads }
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.listener.address
    }

    /// The heads of all requests so far.
    pub(crate) fn heads(&self) -> Vec<String> {
        self.heads.lock().unwrap().clone()
    }
}
