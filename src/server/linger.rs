//! Closes connections so that the answer arrives although the other side still sends (RFC 9112 9.6).

use std::{io, time::Duration};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    sync::watch,
    time::{sleep, timeout},
};

use super::{Phase, socket::Socket, stopping};

/// The longest time that the other side is listened to.
const LINGER: Duration = Duration::from_secs(20);
/// The same when the program is ending.
const LINGER_AT_END: Duration = Duration::from_secs(1);
/// The longest pause between two pieces.
const PAUSE: Duration = Duration::from_secs(5);
/// How long a caller that is not served is listened to.
pub(super) const TURNED_AWAY: Duration = Duration::from_secs(1);
/// How much is read and dropped in one go, in bytes.
const PIECE: usize = 8 * 1024;
/// How much is read and dropped at all, in bytes.
const MAX_DROPPED: usize = 256 * 1024 * 1024;

/// Says that nothing more will be sent, and drops what comes until the other side closes: for a bounded time, and up to a
/// bounded amount.
pub(super) async fn linger(mut stream: Socket, phase: &mut watch::Receiver<Phase>) {
    let at_end = async {
        stopping(phase).await;
        sleep(LINGER_AT_END).await;
    };
    tokio::select! {
        _ = timeout(LINGER, close(&mut stream)) => {}
        () = at_end => {}
    }
}

/// Answers a connection that is not served.
pub(super) async fn turn_away(mut stream: Socket, answer: &[u8]) {
    let answering = async {
        stream.write_all(answer).await?;
        close(&mut stream).await
    };
    let _ = timeout(TURNED_AWAY, answering).await;
}

async fn close(stream: &mut Socket) -> io::Result<()> {
    stream.shutdown().await?;
    // Not in the future of each connection, which is kept while the connection is idle.
    let (mut piece, mut dropped) = (vec![0; PIECE], 0);
    while let Ok(read) = timeout(PAUSE, stream.read(&mut piece)).await {
        let read = read?;
        dropped += read;
        if read == 0 || dropped > MAX_DROPPED {
            break;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    #[tokio::test]
    async fn an_idle_connection_keeps_no_room_for_what_it_may_drop() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let stream = TcpStream::connect(address).await.expect("it listens");
        let (_end, mut phase) = watch::channel(Phase::Serving);

        let size = size_of_val(&linger(Socket::Clear(stream), &mut phase));

        assert!(size < PIECE, "{size} bytes");
    }
}
