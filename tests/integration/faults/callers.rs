//! Callers of each kind.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use tokio::{
    sync::watch,
    time::{Interval, interval},
};

use super::{
    ledger::{Ledger, Told, mark},
    script::{self, ASKS_LARGE},
};
use crate::support::{Answer, LIST, Numbers, TAG, Wire, caller::Caller, token, wire::Call};

/// The callers of a run.
pub(super) const CALLERS: usize = 200;

/// What a caller does.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Ordinary,
    /// Sends bodies in pieces, with pauses.
    Trickles,
    /// Leaves before it has an answer.
    Leaves,
    /// Asks for large answers and does not read them.
    DoesNotRead,
}

/// A caller with a referral of its own.
pub(super) struct Person {
    kind: Kind,
    address: SocketAddr,
    ledger: Arc<Ledger>,
    dice: Numbers,
    caller: Caller,
    id: String,
    bearer: String,
}

impl Person {
    pub(super) fn new(number: usize, address: SocketAddr, ledger: &Arc<Ledger>) -> Self {
        Self {
            kind: match number {
                0..12 => Kind::Trickles,
                12..24 => Kind::Leaves,
                24..27 => Kind::DoesNotRead,
                _ => Kind::Ordinary,
            },
            address,
            ledger: Arc::clone(ledger),
            dice: script::dice(number),
            caller: Caller::new(address),
            id: format!("5f1c2d3e-0003-4a4a-9b9b-{number:012}"),
            bearer: token(
                &format!("tenant {}", number % 7),
                &format!("caller {number}"),
                "app",
            ),
        }
    }

    /// Writes until it is told to stop.
    pub(super) async fn write_until(mut self, stop: watch::Receiver<bool>) {
        let mut pace = interval(Duration::from_millis(20));
        while !*stop.borrow() {
            match self.kind {
                Kind::Ordinary => self.write(&mut pace).await,
                Kind::Trickles => self.trickle(&mut pace).await,
                Kind::Leaves => self.leave(&mut pace).await,
                Kind::DoesNotRead => self.look_away(&mut pace).await,
            }
        }
    }

    async fn write(&mut self, pace: &mut Interval) {
        let number = self.ledger.ask();
        let (method, call) = match self.dice.below(20) {
            0 => ("PUT", self.put(number, "").without("If-Match")),
            1..4 => ("POST", self.post(number)),
            _ => ("PUT", self.put(number, "")),
        };
        let answer = self.caller.ask(method, &call).await;
        self.tell(number, answer.as_ref());
        if answer.is_none_or(|answer| answer.status != 200) {
            pace.tick().await;
        }
    }

    async fn trickle(&mut self, pace: &mut Interval) {
        let number = self.ledger.ask();
        let (method, call) = match self.dice.below(2) {
            0 => ("PUT", self.put(number, "")),
            _ => ("POST", self.post(number)),
        };
        let Some(mut wire) = self.caller.wire().await else {
            return;
        };
        let bytes = call.bytes();
        for piece in bytes.chunks(bytes.len().div_ceil(4)) {
            // An answer may come before the end.
            wire.send(piece).await.ok();
            pace.tick().await;
        }
        let answer = self.caller.answer(method, wire).await;
        self.tell(number, answer.as_ref());
    }

    async fn leave(&mut self, pace: &mut Interval) {
        let number = self.ledger.ask();
        let call = match self.dice.below(2) {
            0 => self.put(number, ""),
            _ => self.post(number),
        };
        let mut bytes = call.bytes();
        let told = match self.dice.below(2) {
            0 => Told::Left,
            _ => {
                bytes.truncate(bytes.len() - 20);
                Told::LeftEarly
            }
        };
        let mut wire = Wire::open(self.address).await;
        wire.send(bytes).await.ok();
        if self.dice.below(2) == 0 {
            pace.tick().await;
        }
        if self.dice.below(2) == 0 {
            wire.reset();
        }
        self.ledger.tell(number, told, format!("{told:?}"));
        pace.tick().await;
    }

    async fn look_away(&mut self, pace: &mut Interval) {
        let number = self.ledger.ask();
        let wire = self.put(number, ASKS_LARGE).open().await;
        for _ in 0..50 {
            pace.tick().await;
        }
        drop(wire);
        self.ledger
            .tell(number, Told::Left, "Left, unread".to_owned());
    }

    fn put(&self, number: usize, further: &str) -> Call {
        let Self { id, .. } = self;
        let body = format!(
            r#"{{"id":"{id}","name":"{}{further}","status":"Active","substatus":"Accepted"}}"#,
            mark(number)
        );
        self.call("PUT", &format!("{LIST}/{id}"), number, &body)
            .if_match(TAG)
    }

    /// A write whose body passes through as it comes.
    fn post(&self, number: usize) -> Call {
        let body = format!(r#"{{"name":"{}","text":"{:64}"}}"#, mark(number), "");
        self.call("POST", "/v1/other", number, &body)
    }

    fn call(&self, method: &str, target: &str, number: usize, body: &str) -> Call {
        Call::new(self.address, method, target)
            .bearer(&self.bearer)
            .header("client-request-id", &request_id(number))
            .header("Content-Type", "application/json")
            .body(body)
    }

    /// Notes what the caller was told, which must be about this write.
    fn tell(&self, number: usize, answer: Option<&Answer>) {
        let Some(answer) = answer else {
            self.ledger.tell(number, Told::Cut, "cut off".to_owned());
            return;
        };
        let (told, code) = if answer.is_ours() {
            let problem = answer.problem();
            assert_eq!(
                answer.header("client-request-id"),
                Some(request_id(number).as_str())
            );
            (told(answer, &problem.code), problem.code)
        } else {
            assert_eq!(
                (answer.status, answer.text()),
                (200, script::answer(number))
            );
            (Told::Passed, String::new())
        };
        self.ledger
            .tell(number, told, format!("{} {code}", answer.status));
    }
}

fn request_id(number: usize) -> String {
    format!("00000000-0000-4000-8000-{number:012}")
}

fn told(answer: &Answer, code: &str) -> Told {
    let proxy_status = answer.header("proxy-status").unwrap_or_default();
    match (answer.status, code) {
        (502 | 409, "outcome_unknown") if proxy_status.contains("http_response_timeout") => {
            Told::NoAnswer
        }
        (502 | 409, "outcome_unknown") => Told::Unknown,
        (503, "upstream_not_processed") => Told::NotProcessed,
        (502..=504, _) => Told::NothingSent,
        (428, "if_match_missing") | (429, "concurrency_limited") => Told::Refused,
        (status, _) => panic!("a caller was answered {status} {code}"),
    }
}
