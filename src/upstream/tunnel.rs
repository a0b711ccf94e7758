//! Asks a proxy for a tunnel (RFC 9110 9.3.6).

use std::io;

use http::{HeaderValue, StatusCode};
use httparse::{EMPTY_HEADER, Response};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

#[cfg(test)]
mod tests;

/// Upper bound of the head of the proxy's answer, interim answers included, in bytes.
const MAX_HEAD: usize = 64 * 1024;
/// How much is looked at in one go, in bytes.
const PIECE: usize = 4096;
/// How every answer begins.
const PROTOCOL: &[u8] = b"HTTP/1.";

/// Any error.
pub(super) type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Why there is no tunnel. No text repeats what the proxy says in its own words: it knows the password.
#[derive(Debug, thiserror::Error)]
pub(super) enum NoTunnel {
    /// It asks for credentials.
    #[error("the proxy wants a user and a password, or other ones ({})", status(*.0))]
    Unauthorized(StatusCode),
    /// It answers with another status than 2xx.
    #[error("the proxy made no tunnel: it answered {}", status(*.0))]
    Refused(StatusCode),
    /// It answers with something else.
    #[error("the proxy's answer is not HTTP/1")]
    NotHttp,
    /// Its answer is too large.
    #[error("the head of the proxy's answer has more than {MAX_HEAD} bytes")]
    TooLarge,
    /// It closes the connection too early.
    #[error("the proxy closed the connection before its answer was complete")]
    Closed,
    /// There is no connection to it.
    #[error("cannot reach the proxy")]
    Unreachable(#[source] BoxError),
    /// The connection to it breaks.
    #[error("the connection to the proxy broke")]
    Broken(#[source] io::Error),
}

impl From<io::Error> for NoTunnel {
    fn from(error: io::Error) -> Self {
        Self::Broken(error)
    }
}

/// A status with the words of its standard, if it has any.
fn status(status: StatusCode) -> String {
    match status.canonical_reason() {
        Some(reason) => format!("{} {reason}", status.as_str()),
        None => status.as_str().to_owned(),
    }
}

/// Makes a connection to a proxy a tunnel to `authority`, a host and a port.
///
/// # Errors
///
/// When the proxy makes none.
pub(super) async fn open(
    stream: &mut TcpStream,
    authority: &str,
    credentials: Option<&HeaderValue>,
) -> Result<(), NoTunnel> {
    let mut request = format!("CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n").into_bytes();
    if let Some(credentials) = credentials {
        request.extend_from_slice(b"Proxy-Authorization: ");
        request.extend_from_slice(credentials.as_bytes());
        request.extend_from_slice(b"\r\n");
    }
    request.extend_from_slice(b"\r\n");
    stream.write_all(&request).await?;
    let mut room = MAX_HEAD;
    loop {
        let head = read_head(stream, room).await?;
        room -= head.len();
        let status = status_of(&head)?;
        match status {
            status if status.is_success() => return Ok(()),
            StatusCode::PROXY_AUTHENTICATION_REQUIRED => {
                return Err(NoTunnel::Unauthorized(status));
            }
            // An interim answer: another one follows (RFC 9110 15.2).
            status if status.is_informational() && status != StatusCode::SWITCHING_PROTOCOLS => {}
            status => return Err(NoTunnel::Refused(status)),
        }
    }
}

/// Reads a head up to its end and not a byte further: what follows may be the tunnel's.
async fn read_head(stream: &mut TcpStream, room: usize) -> Result<Vec<u8>, NoTunnel> {
    let mut head = Vec::new();
    let mut piece = [0; PIECE];
    loop {
        let seen = stream.peek(&mut piece).await?;
        if seen == 0 {
            return Err(NoTunnel::Closed);
        }
        let before = head.len();
        head.extend(piece.iter().take(seen));
        if !head
            .iter()
            .zip(PROTOCOL)
            .all(|(byte, expected)| byte == expected)
        {
            return Err(NoTunnel::NotHttp);
        }
        let end = end_of_head(&head, before);
        head.truncate(end.unwrap_or(head.len()));
        if head.len() > room {
            return Err(NoTunnel::TooLarge);
        }
        // Taken from the socket as well.
        let taken = head.get_mut(before..).unwrap_or_default();
        stream.read_exact(taken).await?;
        if end.is_some() {
            return Ok(head);
        }
    }
}

/// Where the empty line ends that ends a head, unless it ends in the first `before` bytes.
fn end_of_head(head: &[u8], before: usize) -> Option<usize> {
    // The line end before the empty line may stand there.
    let start = before.saturating_sub(2);
    let recent = head.get(start..)?;
    let mut ends = memchr::memchr_iter(b'\n', recent).map(|at| at + start);
    ends.find_map(|end| {
        let rest = head.get(end + 1..)?;
        let length = match rest {
            [b'\n', ..] => 1,
            [b'\r', b'\n', ..] => 2,
            _ => return None,
        };
        Some(end + 1 + length)
    })
}

/// The status of an answer, whose fields mean nothing here.
fn status_of(head: &[u8]) -> Result<StatusCode, NoTunnel> {
    let line = head.split_inclusive(|byte| *byte == b'\n').next();
    let alone = [line.unwrap_or_default(), b"\r\n"].concat();
    let mut fields = [EMPTY_HEADER; 0];
    let mut answer = Response::new(&mut fields);
    let code = match answer.parse(&alone) {
        Ok(_) => answer.code,
        Err(_) => None,
    };
    code.and_then(|code| StatusCode::from_u16(code).ok())
        .ok_or(NoTunnel::NotHttp)
}
