//! The gateway under a service manager: sockets that it opens, and what it is told. The tools are systemd's own.

use std::{net::TcpListener, os::unix::net::UnixDatagram, process::Stdio, time::Duration};

use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};

use crate::support::{
    DEADLINE, Gateway, ITEM, Upstream, gateway::program, page::root, tools::tool, wire::Call,
    within,
};

/// A port that was free a moment ago.
fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

/// `systemd-socket-activate` with the gateway, which starts at the first connection.
fn activated(upstream: &Upstream, options: &[&str], flags: &[&str]) -> tokio::process::Child {
    let mut command = tokio::process::Command::from(tool("systemd-socket-activate"));
    command
        .args(options)
        .arg(program())
        .args(["run", "--upstream", &upstream.url(), "--log-format", "json"])
        .args(["--listen", "127.0.0.1:0", "--telemetry", "127.0.0.1:0"])
        .args(["--admin", "127.0.0.1:0"])
        .args(flags)
        .env_clear()
        .kill_on_drop(true)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command.spawn().unwrap()
}

async fn ready<R: tokio::io::AsyncRead + Unpin>(lines: &mut Lines<BufReader<R>>) -> Value {
    within("Ready", async {
        loop {
            let line = lines.next_line().await.unwrap().unwrap();
            let line: Value = serde_json::from_str(&line).unwrap_or_default();
            if line["message"] == "Ready" {
                return line;
            }
        }
    })
    .await
}

/// Connects until somebody listens, and asks nothing.
async fn knock(port: u16) -> tokio::net::TcpStream {
    let mut stream = None;
    crate::support::eventually("a listener", async || {
        stream = tokio::net::TcpStream::connect(("127.0.0.1", port))
            .await
            .ok();
        stream.is_some()
    })
    .await;
    stream.unwrap()
}

#[tokio::test]
async fn a_socket_of_the_service_manager_takes_the_place_of_an_address() {
    let upstream = Upstream::start().await;
    let (data, telemetry) = (free_port(), free_port());
    let at = |port: u16| format!("127.0.0.1:{port}");
    let options = [
        "-l",
        &at(data),
        "-l",
        &at(telemetry),
        "--fdname=data:telemetry",
    ];
    let mut child = activated(&upstream, &options, &[]);
    // The connection that starts it is served.
    let stream = knock(data).await;
    let mut wire = crate::support::Wire::new(stream);
    let call = Call::new(format!("127.0.0.1:{data}").parse().unwrap(), "GET", ITEM);
    let answer = call.on(&mut wire).await;
    assert_eq!(answer.status, 200);
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let ready = ready(&mut lines).await;
    assert_eq!(ready["listen"], at(data));
    assert_eq!(ready["telemetry"], at(telemetry));
    let probe = Call::new(at(telemetry).parse().unwrap(), "GET", "/readyz");
    assert_eq!(probe.send().await.status, 200);
}

#[tokio::test]
async fn a_single_socket_is_for_data_whatever_its_name() {
    let upstream = Upstream::start().await;
    let port = free_port();
    let address = format!("127.0.0.1:{port}");
    let options = ["-l", &address, "--fdname=referral-gateway.socket"];
    let mut child = activated(&upstream, &options, &[]);
    let _stream = knock(port).await;
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert_eq!(ready(&mut lines).await["listen"], address);
}

#[tokio::test]
async fn a_socket_that_cannot_be_used_is_told_with_the_remedy() {
    let upstream = Upstream::start().await;
    let other = format!("127.0.0.1:{}", free_port());
    for (more, expected) in [
        (
            &["-l", &other, "--fdname=data:web"][..],
            "socket 1 of the service manager is named `web`; name each by FileDescriptorName=: data, telemetry or admin",
        ),
        (
            &["-l", &other, "--fdname=data:data"],
            "two sockets of the service manager are named `data`; give each listener one",
        ),
        (
            &["--datagram"],
            "socket 0 of the service manager; write a TCP address as ListenStream=, and leave Accept= off",
        ),
        (
            &["--fdname=admin"],
            "which is not loopback, and no token protects it; change ListenStream=, or set admin.token_file",
        ),
    ] {
        let port = free_port();
        let address = match expected.starts_with("which") {
            true => format!("0.0.0.0:{port}"),
            false => format!("127.0.0.1:{port}"),
        };
        let mut options = vec!["-l", &address];
        options.extend(more);
        let child = activated(&upstream, &options, &[]);
        let knocking = if more.contains(&"--datagram") {
            let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
            tokio::spawn(async move {
                let mut tick = tokio::time::interval(Duration::from_millis(50));
                loop {
                    tick.tick().await;
                    socket.send_to(b"x", ("127.0.0.1", port)).ok();
                }
            })
        } else {
            tokio::spawn(async move {
                let mut tick = tokio::time::interval(Duration::from_millis(50));
                let mut streams = Vec::new();
                loop {
                    tick.tick().await;
                    streams.extend(tokio::net::TcpStream::connect(("127.0.0.1", port)).await);
                }
            })
        };
        let ended = within("the end", child.wait_with_output()).await.unwrap();
        knocking.abort();
        let said = String::from_utf8(ended.stderr).unwrap();
        assert_eq!(ended.status.code(), Some(1), "{more:?}: {said}");
        assert!(said.contains(expected), "{more:?}: {said}");
    }
}

#[tokio::test]
async fn the_socket_of_a_service_manager_outlives_the_gateway() {
    let upstream = Upstream::start().await;
    let holder = r#"
import os, signal, socket, sys
held = socket.create_server(("127.0.0.1", 0))
child = os.fork()
if child == 0:
    os.dup2(held.fileno(), 3)
    os.set_inheritable(3, True)
    os.environ.update(LISTEN_FDS="1", LISTEN_PID=str(os.getpid()), LISTEN_FDNAMES="data")
    os.execv(sys.argv[1], sys.argv[1:])
address = held.getsockname()
with socket.create_connection(address, 20) as first:
    first.sendall(b"GET /x HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    print(first.makefile("rb").readline().decode().strip(), flush=True)
os.kill(child, signal.SIGTERM)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
# Who comes now waits in the queue for the next start.
with socket.create_connection(address, 5) as late:
    late.sendall(b"hello")
    held.settimeout(5)
    with held.accept()[0] as taken:
        print(taken.recv(5).decode(), flush=True)
"#;
    let mut command = tokio::process::Command::from(tool("/usr/bin/python3"));
    command
        .args(["-c", holder])
        .arg(program())
        .args(["run", "--upstream", &upstream.url(), "--log-level", "error"])
        .args(["--telemetry", "127.0.0.1:0", "--admin", "127.0.0.1:0"])
        .kill_on_drop(true);
    let ended = within("the holder", command.output()).await.unwrap();
    let said = String::from_utf8(ended.stdout).unwrap();
    let errors = String::from_utf8_lossy(&ended.stderr);
    let (first, rest) = said.split_once('\n').unwrap_or_else(|| panic!("{errors}"));
    assert!(first.starts_with("HTTP/1.1 "), "{said}");
    assert_eq!(rest, "0\nhello\n", "{errors}");
}

#[tokio::test]
async fn the_service_manager_is_told_of_start_reload_and_end() {
    let upstream = Upstream::start().await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(DEADLINE)).unwrap();
    let next = || {
        let mut bytes = [0; 4096];
        let length = socket.recv(&mut bytes).unwrap();
        String::from_utf8_lossy(&bytes[..length]).into_owned()
    };
    let mut gateway = Gateway::with("log: { level: info }")
        .environment("NOTIFY_SOCKET", path.to_str().unwrap())
        .start(&upstream)
        .await;
    let listen = gateway.address;
    assert_eq!(
        next(),
        format!("READY=1\nSTATUS=Ready on {listen}; policy referrals\n")
    );
    gateway.signal("HUP");
    let told = next();
    assert!(told.starts_with("RELOADING=1\nMONOTONIC_USEC="), "{told}");
    assert_eq!(next(), "READY=1\n");
    gateway.replace_settings("wrong: 1");
    assert!(next().starts_with("RELOADING=1\n"));
    assert_eq!(next(), "READY=1\n", "it goes on with what it had");
    gateway.signal("TERM");
    assert_eq!(next(), "STOPPING=1\nSTATUS=Finishing open requests\n");
    assert_eq!(gateway.exit().await.code(), Some(0));
}

#[test]
fn the_units_use_what_the_gateway_offers() {
    let unit =
        |name: &str| std::fs::read_to_string(root().join("deploy/systemd").join(name)).unwrap();
    let service = unit("referral-gateway.service");
    assert!(service.contains("\nType=notify\n"), "{service}");
    let socket = unit("referral-gateway.socket");
    for line in ["ListenStream=127.0.0.1:4280", "FileDescriptorName=data"] {
        assert!(socket.lines().any(|known| known == line), "{line}");
    }
    assert!(!socket.contains("\nAccept=yes"), "{socket}");
}
