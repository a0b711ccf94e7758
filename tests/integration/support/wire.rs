//! HTTP/1.1 as bytes: what a test sends is exactly what it wrote, and what it reads is what came.

use std::{
    io::{self, ErrorKind},
    net::SocketAddr,
};

use serde_json::Value;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::TcpStream,
    task::JoinSet,
};

use super::{DEADLINE, within};

/// A connection and what was read from it too far.
#[derive(Debug)]
pub(crate) struct Wire<S = TcpStream> {
    stream: S,
    buffer: Vec<u8>,
}

/// The head of a message: its first line and its fields, in the order they came.
#[derive(Debug, Clone, Default)]
pub(crate) struct Head {
    pub(crate) line: String,
    pub(crate) fields: Vec<(String, String)>,
}

impl Head {
    fn parse(text: &str) -> Self {
        let mut lines = text.split("\r\n");
        let line = lines.next().unwrap_or_default().to_owned();
        let fields = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
            .collect();
        Self { line, fields }
    }

    /// The first field of that name.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        self.all(name).first().copied()
    }

    /// Every field of that name.
    pub(crate) fn all(&self, name: &str) -> Vec<&str> {
        self.fields
            .iter()
            .filter(|(n, _)| n.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
            .collect()
    }

    fn is_chunked(&self) -> bool {
        self.field("transfer-encoding")
            .is_some_and(|value| value.eq_ignore_ascii_case("chunked"))
    }

    fn length(&self) -> Option<usize> {
        self.field("content-length")
            .and_then(|value| value.parse().ok())
    }
}

/// An answer, read to its end.
#[derive(Debug, Clone, Default)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: Head,
    pub(crate) body: Vec<u8>,
    pub(crate) trailers: Vec<(String, String)>,
}

impl Answer {
    /// The first header field of that name.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.field(name)
    }

    /// The body as text.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    pub(crate) fn json(&self) -> Value {
        match serde_json::from_slice(&self.body) {
            Ok(value) => value,
            Err(error) => panic!("{error} in {self:?}"),
        }
    }

    /// Whether the gateway gave this answer itself.
    pub(crate) fn is_ours(&self) -> bool {
        self.header("proxy-status")
            .is_some_and(|value| value.starts_with("referral-gateway;"))
    }

    /// The answer as one of the gateway's own, every promise about their form checked.
    pub(crate) fn problem(&self) -> Problem {
        let value = self.json();
        let code = value["error"]["innerError"]["code"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        let seen = format!("{self:?}\n{}", self.text());
        assert!(self.is_ours(), "no Proxy-Status of ours: {seen}");
        let details = format!("details=\"{code}\"");
        assert!(
            self.header("proxy-status").unwrap().contains(&details),
            "{seen}"
        );
        assert_eq!(
            value["type"],
            format!("urn:referral-gateway:{code}"),
            "{seen}"
        );
        assert_eq!(value["status"], self.status, "{seen}");
        assert_eq!(
            value["instance"].as_str(),
            self.header("client-request-id"),
            "{seen}"
        );
        assert_eq!(value["help"], format!("docs/errors.md#{code}"), "{seen}");
        // The service names its answers so, and clients log it.
        assert_eq!(
            self.header("request-id"),
            self.header("client-request-id"),
            "{seen}"
        );
        let timestamp = self.header("timestamp").unwrap_or_default();
        assert!(
            humantime::parse_rfc3339(timestamp).is_ok(),
            "{timestamp}: {seen}"
        );
        let date = self.header("date").unwrap_or_default();
        assert!(httpdate::parse_http_date(date).is_ok(), "{seen}");
        let may_wait = matches!(self.status, 429 | 503);
        assert!(
            may_wait || self.header("retry-after").is_none(),
            "some clients repeat whatever has Retry-After: {seen}"
        );
        assert!(
            value["title"].is_string() && value["detail"].is_string(),
            "{seen}"
        );
        let message = value["error"]["message"].as_str().unwrap_or_default();
        assert!((1..=1024).contains(&message.len()), "{seen}");
        let expected = match self.status {
            _ if code == "outcome_unknown" => "serviceNotAvailable",
            412 | 428 => "preconditionFailed",
            404 => "itemNotFound",
            429 | 502..=504 => "serviceNotAvailable",
            500 => "generalException",
            _ => "invalidRequest",
        };
        assert_eq!(value["error"]["code"], expected, "{seen}");
        assert_eq!(self.header("cache-control"), Some("no-store"), "{seen}");
        assert!(
            self.header("via")
                .is_some_and(|via| via.ends_with("referral-gateway")),
            "{seen}"
        );
        assert!(
            self.header("content-type")
                .is_some_and(|value| value.contains("json")),
            "{seen}"
        );
        Problem { code, value }
    }
}

/// An answer of the gateway's own.
#[derive(Debug)]
pub(crate) struct Problem {
    pub(crate) code: String,
    pub(crate) value: Value,
}

impl Problem {
    /// The codes of all findings, in the order given.
    pub(crate) fn findings(&self) -> Vec<&str> {
        let findings = self.value["error"]["innerError"]["findings"].as_array();
        findings
            .into_iter()
            .flatten()
            .filter_map(|finding| finding["code"].as_str())
            .collect()
    }

    /// The finding with this code.
    pub(crate) fn finding(&self, code: &str) -> &Value {
        let findings = self.value["error"]["innerError"]["findings"].as_array();
        match findings
            .into_iter()
            .flatten()
            .find(|finding| finding["code"] == code)
        {
            Some(finding) => finding,
            None => panic!("no finding {code} in {:#}", self.value),
        }
    }
}

impl Wire {
    pub(crate) async fn open(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self::new(stream)
    }

    /// Closes the connection with a reset.
    pub(crate) fn reset(self) {
        socket2::SockRef::from(&self.stream)
            .set_linger(Some(std::time::Duration::ZERO))
            .unwrap();
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Wire<S> {
    pub(crate) fn new(stream: S) -> Self {
        Self {
            stream,
            buffer: Vec::new(),
        }
    }

    /// What it reads from and writes to.
    pub(crate) fn stream(&self) -> &S {
        &self.stream
    }

    /// Sends bytes as they are.
    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.stream.write_all(bytes.as_ref()).await
    }

    /// Says that nothing more will be sent.
    pub(crate) async fn half_close(&mut self) {
        self.stream.shutdown().await.unwrap();
    }

    /// Carries everything from here to there and back, until both sides have had enough.
    pub(crate) async fn tunnel(mut self, target: SocketAddr) {
        let mut there = TcpStream::connect(target).await.unwrap();
        there.write_all(&self.buffer).await.ok();
        // How a tunnel ends is seen at its ends.
        tokio::io::copy_bidirectional(&mut self.stream, &mut there)
            .await
            .ok();
    }

    /// The next bytes, or none at the end.
    pub(crate) async fn some(&mut self) -> io::Result<Vec<u8>> {
        if self.buffer.is_empty() {
            self.fill().await?;
        }
        Ok(std::mem::take(&mut self.buffer))
    }

    /// Everything up to the end of the connection, whichever way it ends.
    pub(crate) async fn rest(&mut self) -> Vec<u8> {
        let end = async { while let Ok(1..) = self.fill().await {} };
        if tokio::time::timeout(DEADLINE, end).await.is_err() {
            panic!("the connection was not closed after: {}", self.leftover());
        }
        std::mem::take(&mut self.buffer)
    }

    /// Waits until the other side has closed, and says whether nothing more came before.
    pub(crate) async fn is_closed(&mut self) -> bool {
        self.rest().await.is_empty()
    }

    async fn fill(&mut self) -> io::Result<usize> {
        // Straight into the buffer: a piece of its own would be part of every future that waits for this one.
        self.buffer.reserve(16 * 1024);
        self.stream.read_buf(&mut self.buffer).await
    }

    async fn more(&mut self) -> io::Result<()> {
        match self.fill().await? {
            0 => Err(ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }

    async fn until(&mut self, end: &[u8]) -> io::Result<Vec<u8>> {
        loop {
            if let Some(at) = self
                .buffer
                .windows(end.len())
                .position(|window| window == end)
            {
                let rest = self.buffer.split_off(at + end.len());
                return Ok(std::mem::replace(&mut self.buffer, rest));
            }
            self.more().await?;
        }
    }

    /// Reads exactly that many bytes.
    pub(crate) async fn exactly(&mut self, length: usize) -> io::Result<Vec<u8>> {
        while self.buffer.len() < length {
            self.more().await?;
        }
        let rest = self.buffer.split_off(length);
        Ok(std::mem::replace(&mut self.buffer, rest))
    }

    /// Reads the head of a message, as text.
    pub(crate) async fn head_text(&mut self) -> io::Result<String> {
        let bytes = self.until(b"\r\n\r\n").await?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Reads the head of a message.
    pub(crate) async fn head(&mut self) -> io::Result<Head> {
        Ok(Head::parse(&self.head_text().await?))
    }

    async fn chunked(&mut self) -> io::Result<(Vec<u8>, Vec<(String, String)>)> {
        let mut body = Vec::new();
        loop {
            let line = self.until(b"\r\n").await?;
            let digits = String::from_utf8_lossy(&line);
            let digits = digits
                .trim()
                .split(';')
                .next()
                .unwrap_or_default()
                .to_owned();
            let length = usize::from_str_radix(&digits, 16)
                .map_err(|_| io::Error::from(ErrorKind::InvalidData))?;
            if length == 0 {
                let mut trailers = String::new();
                loop {
                    match self.until(b"\r\n").await? {
                        line if line == b"\r\n" => {
                            return Ok((body, Head::parse(&format!("\r\n{trailers}")).fields));
                        }
                        line => trailers.push_str(&String::from_utf8_lossy(&line)),
                    }
                }
            }
            body.extend(self.exactly(length).await?);
            self.until(b"\r\n").await?;
        }
    }

    /// Reads a whole request: its head as text and its body.
    pub(crate) async fn request(&mut self) -> io::Result<(String, Vec<u8>)> {
        let text = self.head_text().await?;
        let head = Head::parse(&text);
        let body = if head.is_chunked() {
            self.chunked().await?.0
        } else {
            self.exactly(head.length().unwrap_or_default()).await?
        };
        Ok((text, body))
    }

    /// Reads a whole answer to a request with `method`; interim answers are skipped.
    pub(crate) async fn try_answer(&mut self, method: &str) -> io::Result<Answer> {
        loop {
            let head = self.head().await?;
            let status = head.line.get(9..12).and_then(|text| text.parse().ok());
            let status =
                status.ok_or_else(|| io::Error::other(format!("no status in {:?}", head.line)))?;
            let (body, trailers) = match status {
                100 | 102..=199 => continue,
                101 | 204 | 304 => (Vec::new(), Vec::new()),
                _ if method == "HEAD" => (Vec::new(), Vec::new()),
                _ if head.is_chunked() => self.chunked().await?,
                _ => match head.length() {
                    Some(length) => (self.exactly(length).await?, Vec::new()),
                    None => {
                        while self.fill().await? > 0 {}
                        (std::mem::take(&mut self.buffer), Vec::new())
                    }
                },
            };
            return Ok(Answer {
                status,
                head,
                body,
                trailers,
            });
        }
    }

    /// Reads a whole answer, which must come.
    pub(crate) async fn answer(&mut self, method: &str) -> Answer {
        match within("an answer", self.try_answer(method)).await {
            Ok(answer) => answer,
            Err(error) => panic!(
                "{error} instead of an answer to {method}; read so far: {:?}",
                self.leftover()
            ),
        }
    }

    /// Reads an answer of which only the end matters, whatever the method was.
    pub(crate) async fn rest_of_answer(&mut self) {
        within("an answer", self.head()).await.unwrap();
    }

    fn leftover(&self) -> String {
        String::from_utf8_lossy(&self.buffer).into_owned()
    }
}

/// One request, written field by field as given.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    address: SocketAddr,
    method: String,
    target: String,
    fields: Vec<(String, String)>,
    body: Option<Vec<u8>>,
}

/// Sends calls, none of which waits for another. Gives the statuses of their answers.
pub(crate) fn at_once(calls: impl IntoIterator<Item = Call>) -> JoinSet<u16> {
    let calls = calls.into_iter();
    calls.map(async |call| call.send().await.status).collect()
}

impl Call {
    pub(crate) fn new(address: SocketAddr, method: &str, target: &str) -> Self {
        let fields = vec![
            ("Host".to_owned(), address.to_string()),
            (
                "Authorization".to_owned(),
                format!("Bearer {}", super::token::usual()),
            ),
        ];
        Self {
            address,
            method: method.to_owned(),
            target: target.to_owned(),
            fields,
            body: None,
        }
    }

    /// Adds a field, after those already there.
    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.fields.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Puts a field in the place of all of that name.
    pub(crate) fn set(self, name: &str, value: &str) -> Self {
        self.without(name).header(name, value)
    }

    /// Takes away every field of that name.
    pub(crate) fn without(mut self, name: &str) -> Self {
        self.fields.retain(|(n, _)| !n.eq_ignore_ascii_case(name));
        self
    }

    /// Names the entity tag the caller holds.
    pub(crate) fn if_match(self, tag: &str) -> Self {
        self.header("If-Match", tag)
    }

    /// Uses another token.
    pub(crate) fn bearer(self, token: &str) -> Self {
        self.set("Authorization", &format!("Bearer {token}"))
    }

    /// Sends that body, its length declared.
    pub(crate) fn body(mut self, body: impl AsRef<[u8]>) -> Self {
        self.body = Some(body.as_ref().to_vec());
        self
    }

    /// The request as bytes.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut text = format!("{} {} HTTP/1.1\r\n", self.method, self.target);
        for (name, value) in &self.fields {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        let framed = self
            .fields
            .iter()
            .any(|(name, _)| name.eq_ignore_ascii_case("transfer-encoding"));
        if let (Some(body), false) = (&self.body, framed) {
            text.push_str(&format!("Content-Length: {}\r\n", body.len()));
        }
        text.push_str("\r\n");
        let mut bytes = text.into_bytes();
        bytes.extend(self.body.iter().flatten());
        bytes
    }

    /// Sends the request on a connection of its own and reads the answer.
    pub(crate) async fn send(&self) -> Answer {
        let mut wire = self.open().await;
        wire.answer(&self.method).await
    }

    /// Sends the request on a connection of its own and hands that over.
    pub(crate) async fn open(&self) -> Wire {
        let mut wire = Wire::open(self.address).await;
        // An answer may come, and the connection be closed, before all has been sent.
        wire.send(self.bytes()).await.ok();
        wire
    }

    /// Sends the request on a connection that is there already and reads the answer.
    pub(crate) async fn on(&self, wire: &mut Wire) -> Answer {
        wire.send(self.bytes()).await.unwrap();
        wire.answer(&self.method).await
    }
}
