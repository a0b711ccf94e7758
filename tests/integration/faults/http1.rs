//! An upstream of HTTP/1.1 that breaks.

use std::sync::Arc;

use super::{
    ledger::{Ledger, number},
    script::{self, FAULTS, LARGE, PIECE},
};
use crate::support::{Numbers, Upstream, Wire};

/// What happens to one request in place of an answer.
#[derive(Debug, Clone, Copy)]
enum Fault {
    ResetUnread,
    ResetApplied,
    CutAnswer,
    CloseAfterAnswer,
    ResetAfterAnswer,
    Silence,
}

impl Fault {
    const ALL: [Self; 6] = [
        Self::ResetUnread,
        Self::ResetApplied,
        Self::CutAnswer,
        Self::CloseAfterAnswer,
        Self::ResetAfterAnswer,
        Self::Silence,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::ResetUnread => "reset before the request was read",
            Self::ResetApplied => "reset after it was applied",
            Self::CutAnswer => "reset in the answer",
            Self::CloseAfterAnswer => "close after the answer",
            Self::ResetAfterAnswer => "reset after the answer",
            Self::Silence => "silence",
        }
    }
}

pub(super) async fn upstream(ledger: &Arc<Ledger>) -> Upstream {
    let ledger = Arc::clone(ledger);
    Upstream::raw(move |wire, number| {
        let mut line = Line {
            wire,
            ledger: Arc::clone(&ledger),
        };
        let mut dice = script::dice(number);
        async move {
            // How a connection ends is seen at its other end.
            while let Some(true) = line.exchange(&mut dice).await {}
            line.wire.reset();
        }
    })
    .await
}

struct Line {
    wire: Wire,
    ledger: Arc<Ledger>,
}

impl Line {
    /// One request and what follows; whether the connection is still open.
    async fn exchange(&mut self, dice: &mut Numbers) -> Option<bool> {
        let fault = (dice.below(FAULTS) == 0).then(|| Fault::ALL[dice.below(Fault::ALL.len())]);
        if let Some(fault @ Fault::ResetUnread) = fault {
            self.wire.head().await.ok()?;
            self.ledger.fault(fault.name());
            return Some(false);
        }
        let (_, body) = self.wire.request().await.ok()?;
        let number = number(&body)?;
        self.ledger.open(number);
        let Some(fault) = fault else {
            self.ledger.apply(number);
            self.answer(number, &body).await?;
            return Some(true);
        };
        self.ledger.fault(fault.name());
        match fault {
            Fault::ResetUnread => {}
            Fault::ResetApplied => self.ledger.apply(number),
            Fault::CutAnswer => {
                self.ledger.apply(number);
                self.ledger.cut(number);
                let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n{number}");
                self.wire.send(answer).await.ok()?;
            }
            Fault::CloseAfterAnswer => {
                self.ledger.apply(number);
                self.answer(number, &body).await?;
                self.wire.half_close().await;
            }
            Fault::ResetAfterAnswer => {
                self.ledger.apply(number);
                self.answer(number, &body).await?;
            }
            Fault::Silence => {
                if dice.below(2) == 0 {
                    self.ledger.apply(number);
                }
                while self.wire.some().await.is_ok_and(|bytes| !bytes.is_empty()) {}
            }
        }
        Some(false)
    }

    async fn answer(&mut self, number: usize, body: &[u8]) -> Option<()> {
        let answer = script::answer(number);
        let pieces = if script::is_large(body) { LARGE } else { 0 };
        let length = answer.len() + pieces * PIECE.len();
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{answer}");
        self.wire.send(head).await.ok()?;
        for _ in 0..pieces {
            self.wire.send(PIECE).await.ok()?;
        }
        Some(())
    }
}
