//! Real clients, unmodified, in front of the gateway: one job for all of them, over http and https, compared with the same
//! job against the simulator alone.
//!
//! The clients stand in `tests/clients`, as adapters that do what they are told line by line. `./tests/run` installs them.
//! One that it could not install is named in its output; a test for it says so too, and proves nothing.

use std::{net::SocketAddr, path::PathBuf};

use rustls::version::{TLS12, TLS13};
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    task::{JoinSet, LocalSet},
};
use tokio_rustls::TlsAcceptor;

use self::{
    adapter::{Adapter, Client, Got, Protocol, Scheme, Started},
    job::Job,
};
use crate::support::{
    Gateway,
    gateway::Simulator,
    tls::{Authority, Pair},
    token::usual,
};

mod adapter;
mod answers;
mod job;
mod stop;
mod walk;

/// Where the requests of a client go.
struct Place {
    base: String,
    /// The authority to trust.
    authority: Option<PathBuf>,
    folder: tempfile::TempDir,
}

impl Place {
    fn new(base: String, authority: Option<&Authority>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = authority.map(|authority| {
            let file = folder.path().join("ca.pem");
            std::fs::write(&file, &authority.pem).unwrap();
            file
        });
        Self {
            base,
            authority: file,
            folder,
        }
    }

    /// A client that talks to this place.
    async fn start(&self, client: &'static Client, protocol: Protocol) -> Option<Adapter> {
        let token = usual();
        let started = Started {
            base: &self.base,
            token: &token,
            authority: self.authority.as_deref(),
            protocol,
            home: self.folder.path(),
        };
        let started = Adapter::start(client, &started).await;
        started.unwrap_or_else(|missing| {
            // `tests/run` says so as well.
            assert!(
                missing.starts_with("skipped:"),
                "{}: {missing}",
                client.name
            );
            eprintln!("{missing}");
            None
        })
    }
}

/// An authority, and what it has issued for this machine.
struct Trust {
    authority: Authority,
    pair: Pair,
}

impl Trust {
    fn new() -> Self {
        let authority = Authority::new("Clients of a test");
        let pair = authority.issue(&["localhost", "127.0.0.1"]);
        Self { authority, pair }
    }
}

/// The gateway in front of that URL, reached by this scheme.
async fn gateway(settings: &str, scheme: Scheme, trust: &Trust, url: &str) -> (Gateway, Place) {
    let tls = match scheme {
        Scheme::Http => "",
        Scheme::Https => "tls: { cert_file: '@/tls.crt', key_file: '@/tls.key' }",
    };
    let gateway = Gateway::with(&format!("{tls}\n{settings}"))
        .file("tls.crt", &trust.pair.certificate)
        .file("tls.key", &trust.pair.key)
        .start_at(url)
        .await;
    let place = match scheme {
        Scheme::Http => Place::new(format!("http://{}", gateway.address), None),
        Scheme::Https => {
            let base = format!("https://localhost:{}", gateway.address.port());
            Place::new(base, Some(&trust.authority))
        }
    };
    (gateway, place)
}

/// The simulator itself; over https behind a tunnel that speaks TLS.
async fn simulator_alone(
    address: SocketAddr,
    scheme: Scheme,
    protocol: Protocol,
    trust: &Trust,
) -> Place {
    if scheme == Scheme::Http {
        return Place::new(format!("http://{address}"), None);
    }
    let protocols: &[&str] = match protocol {
        Protocol::Http1 => &["http/1.1"],
        Protocol::Http2 => &["h2"],
    };
    let acceptor = TlsAcceptor::from(trust.pair.server(&[&TLS13, &TLS12], protocols));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                stream.set_nodelay(true).ok();
                let mut here = acceptor.accept(stream).await.ok()?;
                let mut there = TcpStream::connect(address).await.ok()?;
                there.set_nodelay(true).ok();
                copy_bidirectional(&mut here, &mut there).await.ok()
            });
        }
    });
    Place::new(format!("https://localhost:{port}"), Some(&trust.authority))
}

/// Does something with each client, with so many of them at once.
async fn each<F: Future<Output = ()> + 'static>(at_once: usize, work: fn(&'static Client) -> F) {
    let all = async {
        let (mut running, mut failed) = (JoinSet::new(), 0);
        for client in adapter::CLIENTS {
            if running.len() == at_once {
                failed += usize::from(running.join_next().await.unwrap().is_err());
            }
            running.spawn_local(work(client));
        }
        while let Some(done) = running.join_next().await {
            failed += usize::from(done.is_err());
        }
        assert_eq!(failed, 0, "clients failed; each has said why");
    };
    LocalSet::new().run_until(all).await;
}

/// Runs the whole job by one client, in each way that it speaks.
async fn run(name: &str) {
    let client = Client::named(name);
    for &(scheme, protocol) in client.speaks {
        let about = format!("{name} over {} and {}", scheme.as_str(), protocol.as_str());
        let trust = Trust::new();
        let witness = Simulator::start().await;
        let alone = simulator_alone(witness.address, scheme, protocol, &trust).await;
        let Some(adapter) = alone.start(client, protocol).await else {
            return;
        };
        let expected = Job::new(adapter, &alone.base, false).run().await;

        let simulator = Simulator::start().await;
        let url = format!("http://{}", simulator.address);
        let (gateway, place) = gateway("", scheme, &trust, &url).await;
        let Some(adapter) = place.start(client, protocol).await else {
            return;
        };
        let got = Job::new(adapter, &place.base, true).run().await;
        job::compare(&about, &expected, &got);
        let connections = [("side", "downstream"), ("outcome", "accepted")];
        let connections = gateway.metric("connections_total", &connections).await;
        assert!(
            client.has_no_pool || connections <= f64::from(client.at_once + 8),
            "{about}: {connections} connections"
        );
    }
}

/// One test for each client.
macro_rules! clients {
    ($($test:ident = $name:literal,)+) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $test() {
            run($name).await;
        }
    )+

    #[test]
    fn every_client_has_a_test() {
        let tested = [$($name),+];
        let names: Vec<_> = adapter::CLIENTS.iter().map(|client| client.name).collect();
        assert_eq!(names, tested);
    }};
}

clients! {
    curl_does_its_job = "curl",
    requests_does_its_job = "requests",
    urllib3_does_its_job = "urllib3",
    aiohttp_does_its_job = "aiohttp",
    httpx_does_its_job = "httpx",
    azure_core_does_its_job = "azure-core",
    fetch_does_its_job = "fetch",
    node_https_does_its_job = "node https",
    node_http2_does_its_job = "node http2",
    axios_does_its_job = "axios",
    got_does_its_job = "got",
    azure_rest_does_its_job = "azure-rest",
    graph_does_its_job = "graph",
    kiota_does_its_job = "kiota",
    jdk_does_its_job = "jdk",
    okhttp_does_its_job = "okhttp",
    httpclient_does_its_job = "httpclient",
    httpclient_async_does_its_job = "httpclient async",
    go_does_its_job = "go",
    ruby_does_its_job = "ruby",
    php_does_its_job = "php",
    perl_does_its_job = "perl",
    reqwest_does_its_job = "reqwest",
}
