//! An upstream of HTTP/2 that breaks.

use std::{collections::VecDeque, io, sync::Arc, time::Duration};

use super::{
    ledger::{Ledger, number},
    script::{self, FAULTS, LARGE, PIECE},
};
use crate::support::{
    Numbers, Upstream,
    origin::{Event, NO_ERROR, Origin, REFUSED_STREAM, origin},
};

/// The streams of a connection.
const STREAMS: u32 = 32;
/// Answers that are held back, so that streams are open when something happens.
const HELD: usize = 4;
/// RFC 9113 7.
const INTERNAL_ERROR: u32 = 2;
/// The most that a stream's number can be.
const ALL: u32 = (1 << 31) - 1;

/// What happens to one request in place of an answer.
#[derive(Debug, Clone, Copy)]
pub(super) enum Fault {
    ResetUnread,
    ResetApplied,
    CutAnswer,
    Refuse,
    Fail,
    GoAway,
    GoAwayTwoSteps,
    GoAwayAndClose,
    /// A reset may overtake what was sent before it.
    GoAwayAndReset,
    Silence,
}

impl Fault {
    /// Those that tell what was processed.
    pub(super) const TELLING: &[Self] = &[
        Self::CutAnswer,
        Self::Refuse,
        Self::Fail,
        Self::GoAway,
        Self::GoAwayTwoSteps,
        Self::GoAwayAndClose,
        Self::Silence,
    ];
    /// All.
    pub(super) const ALL: &[Self] = &[
        Self::ResetUnread,
        Self::ResetApplied,
        Self::CutAnswer,
        Self::Refuse,
        Self::Fail,
        Self::GoAway,
        Self::GoAwayTwoSteps,
        Self::GoAwayAndClose,
        Self::GoAwayAndReset,
        Self::Silence,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::ResetUnread => "reset before the request was read",
            Self::ResetApplied => "reset after it was applied",
            Self::CutAnswer => "RST_STREAM in the answer",
            Self::Refuse => "REFUSED_STREAM",
            Self::Fail => "RST_STREAM in place of an answer",
            Self::GoAway => "GOAWAY",
            Self::GoAwayTwoSteps => "GOAWAY in two steps",
            Self::GoAwayAndClose => "GOAWAY and close",
            Self::GoAwayAndReset => "GOAWAY and reset",
            Self::Silence => "silence",
        }
    }
}

/// How a connection stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Life {
    Open,
    /// The first step of GOAWAY is out; the second follows after so many requests.
    Leaving(usize),
    /// No stream above that is processed, and the other side knows.
    Gone(u32),
    /// Nothing is answered.
    Silent,
    /// It is to be reset.
    Broken,
}

/// A large answer on its way.
struct Sending {
    stream: u32,
    pieces: usize,
    credit: usize,
}

struct Connection {
    origin: Origin,
    ledger: Arc<Ledger>,
    faults: &'static [Fault],
    dice: Numbers,
    life: Life,
    /// The last stream that is processed.
    last: u32,
    /// Streams that were processed, with the number of the write; their answers are to be sent.
    held: VecDeque<(u32, usize)>,
    large: Vec<Sending>,
}

/// The certificate of its authority, and the upstream.
pub(super) async fn upstream(ledger: &Arc<Ledger>, faults: &'static [Fault]) -> (String, Upstream) {
    let ledger = Arc::clone(ledger);
    origin(Some(STREAMS), move |origin, number| {
        let connection = Connection {
            origin,
            ledger: Arc::clone(&ledger),
            faults,
            dice: script::dice(number),
            life: Life::Open,
            last: 0,
            held: VecDeque::new(),
            large: Vec::new(),
        };
        connection.run()
    })
    .await
}

impl Connection {
    async fn run(mut self) -> io::Result<()> {
        let ended = self.live().await;
        let last = match self.life {
            Life::Gone(last) => last,
            _ => ALL,
        };
        for body in self.origin.begun(last) {
            self.ledger.begin(number(body));
        }
        if self.life == Life::Broken {
            self.origin.abort();
        }
        ended
    }

    /// Answers and breaks until the other side has closed, or the connection is to be reset.
    async fn live(&mut self) -> io::Result<()> {
        let mut tick = tokio::time::interval(Duration::from_millis(20));
        while self.life != Life::Broken {
            tokio::select! {
                arrived = self.origin.arrived() => {
                    arrived?;
                    self.step().await?;
                }
                _ = tick.tick() => self.pause().await?,
            }
        }
        Ok(())
    }

    /// Does what follows from the next event.
    async fn step(&mut self) -> io::Result<()> {
        match self.origin.event().await? {
            Event::Request { stream, body } => match number(&body) {
                Some(number) => self.request(stream, number, &body).await,
                None => Ok(()),
            },
            Event::Credit { stream, bytes } => {
                for sending in &mut self.large {
                    if sending.stream == stream {
                        sending.credit += bytes;
                    }
                }
                self.send_large().await
            }
            Event::Reset(stream) => {
                self.held.retain(|(held, _)| *held != stream);
                self.large.retain(|sending| sending.stream != stream);
                Ok(())
            }
        }
    }

    async fn request(&mut self, stream: u32, number: usize, body: &[u8]) -> io::Result<()> {
        match self.life {
            Life::Silent | Life::Broken => {
                self.ledger.open(number);
                Ok(())
            }
            Life::Open if self.dice.below(FAULTS) == 0 => {
                let fault = self.faults[self.dice.below(self.faults.len())];
                self.fail(fault, stream, number).await
            }
            Life::Open | Life::Leaving(_) | Life::Gone(_) => {
                self.process_or_deny(stream, number, body).await
            }
        }
    }

    async fn process_or_deny(&mut self, stream: u32, number: usize, body: &[u8]) -> io::Result<()> {
        match self.life {
            Life::Gone(last) if stream > last => {
                self.ledger.deny(number);
                Ok(())
            }
            _ => self.process(stream, number, body).await,
        }
    }

    async fn process(&mut self, stream: u32, number: usize, body: &[u8]) -> io::Result<()> {
        self.apply(stream, number);
        if script::is_large(body) {
            self.origin.begin_answer(stream).await?;
            self.large.push(Sending {
                stream,
                pieces: LARGE,
                credit: self.origin.window,
            });
            return self.send_large().await;
        }
        self.held.push_back((stream, number));
        while self.held.len() > HELD {
            self.answer_one().await?;
        }
        match self.life {
            Life::Leaving(0) => self.leave().await,
            Life::Leaving(left) => {
                self.life = Life::Leaving(left - 1);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn open(&mut self, stream: u32, number: usize) {
        self.ledger.open(number);
        self.last = self.last.max(stream);
    }

    fn apply(&mut self, stream: u32, number: usize) {
        self.open(stream, number);
        self.ledger.apply(number);
    }

    async fn fail(&mut self, fault: Fault, stream: u32, number: usize) -> io::Result<()> {
        if matches!(fault, Fault::Silence) && !self.ledger.may_fall_silent() {
            return self.process(stream, number, b"").await;
        }
        self.ledger.fault(fault.name());
        match fault {
            Fault::ResetUnread => {
                self.open(stream, number);
                self.life = Life::Broken;
                Ok(())
            }
            Fault::ResetApplied => {
                self.apply(stream, number);
                self.life = Life::Broken;
                Ok(())
            }
            Fault::CutAnswer => {
                self.apply(stream, number);
                self.ledger.cut(number);
                self.origin.begin_answer(stream).await?;
                self.origin.data(stream, b"{", false).await?;
                self.origin.reset(stream, INTERNAL_ERROR).await
            }
            Fault::Refuse => {
                self.ledger.deny(number);
                self.origin.reset(stream, REFUSED_STREAM).await
            }
            Fault::Fail => {
                self.open(stream, number);
                self.origin.reset(stream, INTERNAL_ERROR).await
            }
            Fault::GoAway => {
                self.leave().await?;
                self.process_or_deny(stream, number, b"").await
            }
            Fault::GoAwayTwoSteps => {
                self.life = Life::Leaving(HELD);
                self.origin.go_away(ALL, NO_ERROR).await?;
                self.process(stream, number, b"").await
            }
            Fault::GoAwayAndClose => {
                self.leave_with(stream, number).await?;
                self.origin.close().await
            }
            Fault::GoAwayAndReset => {
                self.leave_with(stream, number).await?;
                self.life = Life::Broken;
                Ok(())
            }
            Fault::Silence => {
                self.open(stream, number);
                self.origin.is_silent = true;
                self.life = Life::Silent;
                Ok(())
            }
        }
    }

    /// The same with the answers to all that was processed.
    async fn leave_with(&mut self, stream: u32, number: usize) -> io::Result<()> {
        self.leave().await?;
        self.process_or_deny(stream, number, b"").await?;
        self.answer_all().await
    }

    /// Says that nothing above the last stream is processed.
    async fn leave(&mut self) -> io::Result<()> {
        self.life = Life::Gone(self.last);
        self.origin.go_away(self.last, NO_ERROR).await
    }

    /// Nothing has come for a while.
    async fn pause(&mut self) -> io::Result<()> {
        match self.life {
            Life::Silent | Life::Broken => Ok(()),
            Life::Leaving(_) => {
                self.answer_all().await?;
                self.leave().await
            }
            Life::Open | Life::Gone(_) => self.answer_all().await,
        }
    }

    async fn answer_all(&mut self) -> io::Result<()> {
        while !self.held.is_empty() {
            self.answer_one().await?;
        }
        Ok(())
    }

    async fn answer_one(&mut self) -> io::Result<()> {
        if let Some((stream, number)) = self.held.pop_front() {
            self.origin.begin_answer(stream).await?;
            let answer = script::answer(number);
            self.origin.data(stream, answer.as_bytes(), true).await?;
        }
        Ok(())
    }

    async fn send_large(&mut self) -> io::Result<()> {
        for sending in &mut self.large {
            while sending.pieces > 0 && sending.credit >= PIECE.len() {
                sending.pieces -= 1;
                sending.credit -= PIECE.len();
                let is_last = sending.pieces == 0;
                self.origin.data(sending.stream, &PIECE, is_last).await?;
            }
        }
        self.large.retain(|sending| sending.pieces > 0);
        Ok(())
    }
}
