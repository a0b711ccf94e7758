//! A real nginx between the gateway and a scripted upstream.

use std::{
    fs,
    net::{SocketAddr, TcpListener, TcpStream},
    path::Path,
    process::{Child, Stdio},
    thread,
};

use tempfile::TempDir;

use super::{Upstream, eventually, tls, tools::tool};

/// How often another port is tried.
const ATTEMPTS: usize = 10;

/// What is particular to one nginx.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Options {
    /// It speaks HTTP/1.1 alone.
    pub(crate) is_http1: bool,
    /// Directives of the top level.
    pub(crate) main: &'static str,
    /// Directives for HTTP.
    pub(crate) http: &'static str,
}

/// An nginx that is up; it ends with the test.
pub(crate) struct Nginx {
    process: Child,
    folder: TempDir,
    address: SocketAddr,
    /// The certificate of the authority that signed its own, as PEM.
    pub(crate) authority: String,
}

impl Nginx {
    /// Starts one in front of that upstream and waits until it is up.
    pub(crate) async fn start(upstream: &Upstream, options: Options) -> Self {
        for _ in 0..ATTEMPTS {
            let mut nginx = Self::spawn(upstream.address, options);
            let mut is_up = false;
            eventually("nginx to be up, or to end", async || {
                is_up = TcpStream::connect(nginx.address).is_ok();
                is_up || nginx.process.try_wait().unwrap().is_some()
            })
            .await;
            // Somebody else may have taken the port meanwhile.
            if is_up && nginx.process.try_wait().unwrap().is_none() {
                return nginx;
            }
        }
        panic!("nginx does not start");
    }

    fn spawn(upstream: SocketAddr, options: Options) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let address = free_address();
        let server = tls::Server::new();
        let (certificate, key) = server.pem();
        let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
        write("certificate.pem", &certificate);
        write("key.pem", &key);
        write(
            "nginx.conf",
            &configuration(folder.path(), address, upstream, options),
        );
        let process = tool("nginx")
            .arg("-p")
            .arg(folder.path())
            .args(["-e", "error.log", "-c", "nginx.conf"])
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Self {
            process,
            folder,
            address,
            authority: server.authority,
        }
    }

    /// Its URL.
    pub(crate) fn url(&self) -> String {
        format!("https://{}", self.address)
    }

    /// Starts workers anew and lets the old ones end what they do, and waits until the new ones are there.
    pub(crate) async fn reload(&self) {
        let began = |log: &str| log.matches("start worker process ").count();
        let before = began(&self.log());
        self.signal("HUP");
        eventually("new workers", async || began(&self.log()) > before).await;
    }

    /// What it has logged.
    fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("error.log")).unwrap()
    }

    fn signal(&self, name: &str) -> bool {
        let pid = self.process.id().to_string();
        let status = tool("kill").args(["-s", name, &pid]).status();
        status.is_ok_and(|status| status.success())
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("nginx says:\n{}", self.log());
        }
        // The master ends its workers; nothing would, were it killed.
        self.signal("TERM");
        self.process.wait().ok();
    }
}

fn free_address() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap()
}

fn configuration(
    folder: &Path,
    address: SocketAddr,
    upstream: SocketAddr,
    options: Options,
) -> String {
    let folder = folder.display();
    let Options {
        is_http1,
        main,
        http,
    } = options;
    let http2 = if is_http1 { "" } else { " http2" };
    // Root cannot give the folder to anybody else, who could not enter it.
    format!(
        "daemon off;
user root;
pid {folder}/pid;
error_log {folder}/error.log notice;
worker_processes 1;
{main}
events {{ worker_connections 2048; }}
http {{
    access_log off;
    client_body_temp_path {folder}/client;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    scgi_temp_path {folder}/scgi;
    uwsgi_temp_path {folder}/uwsgi;
    {http}
    upstream origin {{
        server {upstream};
        keepalive 64;
    }}
    server {{
        listen {address} ssl{http2};
        ssl_certificate {folder}/certificate.pem;
        ssl_certificate_key {folder}/key.pem;
        location / {{
            proxy_pass http://origin;
            proxy_http_version 1.1;
            proxy_set_header Connection \"\";
            proxy_next_upstream off;
        }}
    }}
}}
"
    )
}
