//! A caller that keeps its connection.

use std::net::SocketAddr;

use tokio::net::TcpStream;

use super::{Answer, Wire, wire::Call, within};

/// A caller with a connection that it opens again when it is closed.
pub(crate) struct Caller {
    wire: Option<Wire>,
    address: SocketAddr,
}

impl Caller {
    pub(crate) fn new(address: SocketAddr) -> Self {
        Self {
            wire: None,
            address,
        }
    }

    /// The kept connection, or a new one; none when the gateway is gone.
    pub(crate) async fn wire(&mut self) -> Option<Wire> {
        match self.wire.take() {
            Some(wire) => Some(wire),
            None => Some(Wire::new(TcpStream::connect(self.address).await.ok()?)),
        }
    }

    /// The answer, or none when the connection ends before it is whole.
    pub(crate) async fn ask(&mut self, method: &str, call: &Call) -> Option<Answer> {
        let mut wire = self.wire().await?;
        wire.send(call.bytes()).await.ok()?;
        self.answer(method, wire).await
    }

    /// The answer to what was sent on `wire`, which is kept.
    pub(crate) async fn answer(&mut self, method: &str, mut wire: Wire) -> Option<Answer> {
        let answer = within("an answer", wire.try_answer(method)).await.ok()?;
        if answer
            .header("connection")
            .is_none_or(|value| !value.eq_ignore_ascii_case("close"))
        {
            self.wire = Some(wire);
        }
        Some(answer)
    }
}
