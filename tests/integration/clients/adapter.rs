//! A client as a process that is told by lines what to send, and says by lines what its library gives to its users.

use std::{
    collections::BTreeMap,
    env, fs,
    path::{Path, PathBuf},
    process::{Output, Stdio},
    sync::{Mutex, OnceLock},
};

use base64::{Engine as _, prelude::BASE64_STANDARD as BASE64};
use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout, Command},
};

use crate::support::{tools::tool, within};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scheme {
    Http,
    Https,
}

impl Scheme {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Protocol {
    Http1,
    Http2,
}

impl Protocol {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Http1 => "http1",
            Self::Http2 => "http2",
        }
    }
}

/// What the tests know of a client.
pub(super) struct Client {
    pub(super) name: &'static str,
    /// Its folder below `tests/clients`.
    folder: &'static str,
    /// How it is started; `{folder}` and `{cache}` are replaced.
    start: &'static [&'static str],
    /// A file in the cache without which it is not installed; `{cache}` alone: the folder that its `install` prints.
    needs: &'static str,
    pub(super) speaks: &'static [(Scheme, Protocol)],
    /// It repeats what is answered 429 by itself.
    pub(super) repeats: bool,
    /// It opens connections of its own for each request, or keeps few.
    pub(super) has_no_pool: bool,
    /// How many connections 20 requests at once may open.
    pub(super) at_once: u32,
    /// It has a pager of its own.
    pub(super) has_pager: bool,
    /// At a GOAWAY its HTTP/2 fails without need: httpx always, even without a request; that of the JDK if a request is
    /// under way, and `HttpClient` 5 may forget one that comes at the same moment. So it is stopped over HTTP/1.1 alone.
    pub(super) fails_on_goaway: bool,
}

const CLEAR_1: (Scheme, Protocol) = (Scheme::Http, Protocol::Http1);
const CLEAR_2: (Scheme, Protocol) = (Scheme::Http, Protocol::Http2);
const TLS_1: (Scheme, Protocol) = (Scheme::Https, Protocol::Http1);
const TLS_2: (Scheme, Protocol) = (Scheme::Https, Protocol::Http2);

const fn client(
    name: &'static str,
    folder: &'static str,
    start: &'static [&'static str],
    speaks: &'static [(Scheme, Protocol)],
) -> Client {
    Client {
        name,
        folder,
        start,
        needs: "",
        speaks,
        repeats: false,
        has_no_pool: false,
        at_once: 20,
        has_pager: false,
        fails_on_goaway: false,
    }
}

const PYTHON: &str = "/usr/bin/python3";

/// All clients, in the order of their tests.
pub(super) const CLIENTS: &[Client] = &[
    Client {
        has_no_pool: true,
        ..client(
            "curl",
            "curl",
            &["bash", "{folder}/adapter"],
            &[CLEAR_1, CLEAR_2, TLS_1, TLS_2],
        )
    },
    client(
        "requests",
        "python",
        &[PYTHON, "-B", "{folder}/requests_session.py"],
        &[CLEAR_1, TLS_1],
    ),
    client(
        "urllib3",
        "python",
        &[PYTHON, "-B", "{folder}/urllib3_pool.py"],
        &[CLEAR_1, TLS_1],
    ),
    client(
        "aiohttp",
        "python",
        &[PYTHON, "-B", "{folder}/aiohttp_session.py"],
        &[CLEAR_1, TLS_1],
    ),
    Client {
        fails_on_goaway: true,
        ..client(
            "httpx",
            "python",
            &[PYTHON, "-B", "{folder}/httpx_client.py"],
            &[CLEAR_1, CLEAR_2, TLS_1, TLS_2],
        )
    },
    Client {
        needs: "bin/python",
        repeats: true,
        ..client(
            "azure-core",
            "python",
            &["{cache}/bin/python", "-B", "{folder}/azure_pipeline.py"],
            &[TLS_1],
        )
    },
    client(
        "fetch",
        "node",
        &["node", "{folder}/fetch.mjs"],
        &[CLEAR_1, TLS_1],
    ),
    client(
        "node https",
        "node",
        &["node", "{folder}/https.mjs"],
        &[CLEAR_1, TLS_1],
    ),
    client(
        "node http2",
        "node",
        &["node", "{folder}/http2.mjs"],
        &[CLEAR_2, TLS_2],
    ),
    Client {
        needs: "node_modules/axios",
        ..client(
            "axios",
            "node",
            &["node", "{folder}/axios.mjs", "{cache}"],
            &[CLEAR_1, TLS_1],
        )
    },
    Client {
        needs: "node_modules/got",
        // Without an agent, Node 18 keeps no connection.
        has_no_pool: true,
        repeats: false,
        ..client(
            "got",
            "node",
            &["node", "{folder}/got.mjs", "{cache}"],
            &[CLEAR_1, TLS_1],
        )
    },
    Client {
        needs: "node_modules/@azure-rest/core-client",
        repeats: true,
        ..client(
            "azure-rest",
            "node",
            &["node", "{folder}/azure.mjs", "{cache}"],
            &[TLS_1],
        )
    },
    Client {
        needs: "node_modules/@microsoft/microsoft-graph-client",
        repeats: true,
        has_pager: true,
        // Over http it sends no token.
        ..client(
            "graph",
            "node",
            &["node", "{folder}/graph.mjs", "{cache}"],
            &[TLS_1],
        )
    },
    Client {
        needs: "node_modules/@microsoft/kiota-http-fetchlibrary",
        repeats: true,
        ..client(
            "kiota",
            "node",
            &["node", "{folder}/kiota.mjs", "{cache}"],
            &[CLEAR_1, TLS_1],
        )
    },
    Client {
        needs: "Jdk/key",
        fails_on_goaway: true,
        ..client(
            "jdk",
            "java",
            &["bash", "{folder}/start", "Jdk"],
            &[CLEAR_1, TLS_2],
        )
    },
    Client {
        needs: "OkHttp/key",
        ..client(
            "okhttp",
            "java",
            &["bash", "{folder}/start", "OkHttp"],
            &[CLEAR_1, CLEAR_2, TLS_1, TLS_2],
        )
    },
    Client {
        needs: "Hc5/key",
        repeats: true,
        ..client(
            "httpclient",
            "java",
            &["bash", "{folder}/start", "Hc5"],
            &[CLEAR_1, TLS_1],
        )
    },
    Client {
        needs: "Hc5Async/key",
        fails_on_goaway: true,
        ..client(
            "httpclient async",
            "java",
            &["bash", "{folder}/start", "Hc5Async"],
            &[CLEAR_2, TLS_2],
        )
    },
    Client {
        needs: "adapter",
        ..client(
            "go",
            "go",
            &["env", "{cache}/adapter"],
            &[CLEAR_1, TLS_1, TLS_2],
        )
    },
    client(
        "ruby",
        "ruby",
        &["ruby", "{folder}/adapter.rb"],
        &[CLEAR_1, TLS_1],
    ),
    client(
        "php",
        "php",
        &["php", "{folder}/adapter.php"],
        &[CLEAR_1, TLS_1, TLS_2],
    ),
    Client {
        has_no_pool: true,
        ..client(
            "perl",
            "perl",
            &["perl", "{folder}/adapter.pl"],
            &[CLEAR_1, TLS_1],
        )
    },
    Client {
        needs: "adapter",
        ..client(
            "reqwest",
            "reqwest",
            &["env", "{cache}/adapter"],
            &[CLEAR_1, CLEAR_2, TLS_1, TLS_2],
        )
    },
];

impl Client {
    pub(super) fn named(name: &str) -> &'static Self {
        CLIENTS.iter().find(|client| client.name == name).unwrap()
    }

    fn folder(&self) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("tests/clients")
            .join(self.folder)
    }

    /// Installs the clients of its folder, once in a run, and gives their cache. An error is why it is not installed.
    fn installed(&self) -> Result<PathBuf, String> {
        static INSTALLED: OnceLock<Mutex<BTreeMap<&'static str, (PathBuf, String)>>> =
            OnceLock::new();
        let mut installed = INSTALLED.get_or_init(Mutex::default).lock().unwrap();
        let (cache, said) = installed.entry(self.folder).or_insert_with(|| {
            let install = self.folder().join("install");
            let own = || cache().join(self.folder);
            if !install.is_file() {
                return (own(), String::new());
            }
            let Output { stdout, stderr, .. } = tool("bash").arg(install).output().unwrap();
            let printed = String::from_utf8_lossy(&stdout).trim().to_owned();
            let cache = if printed.is_empty() {
                own()
            } else {
                PathBuf::from(printed)
            };
            (cache, String::from_utf8_lossy(&stderr).into_owned())
        });
        match self.needs.is_empty() || cache.join(self.needs).exists() {
            true => Ok(cache.clone()),
            false => {
                let own = format!("skipped: {}: ", self.name);
                let mut said = said.lines();
                let missing = said.clone().find(|line| line.starts_with(&own));
                Err(missing
                    .or_else(|| said.next_back())
                    .unwrap_or("not installed")
                    .to_owned())
            }
        }
    }
}

fn cache() -> PathBuf {
    let home = || PathBuf::from(env::var_os("HOME").unwrap()).join(".cache");
    let cache = env::var_os("XDG_CACHE_HOME").map_or_else(home, PathBuf::from);
    cache.join("referral-gateway-clients")
}

/// How a client is started.
pub(super) struct Started<'a> {
    pub(super) base: &'a str,
    pub(super) token: &'a str,
    pub(super) authority: Option<&'a Path>,
    pub(super) protocol: Protocol,
    /// A folder for what it may write.
    pub(super) home: &'a Path,
}

/// A running client.
pub(super) struct Adapter {
    name: &'static str,
    child: Child,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
    errors: PathBuf,
}

/// What the users of a library get.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Got {
    Answer {
        status: u16,
        headers: BTreeMap<String, String>,
        body: Vec<u8>,
    },
    /// The library gives no answer, and says this.
    Nothing(String),
}

impl Got {
    pub(super) fn status(&self) -> u16 {
        match self {
            Self::Answer { status, .. } => *status,
            Self::Nothing(_) => 0,
        }
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        match self {
            Self::Answer { headers, .. } => headers.get(name).map(String::as_str),
            Self::Nothing(_) => None,
        }
    }

    pub(super) fn json(&self) -> Value {
        match self {
            Self::Answer { body, .. } => serde_json::from_slice(body).unwrap_or(Value::Null),
            Self::Nothing(_) => Value::Null,
        }
    }
}

impl Adapter {
    /// Starts a client; an error is why it is not installed.
    pub(super) async fn start(
        client: &'static Client,
        started: &Started<'_>,
    ) -> Result<Option<Self>, String> {
        // It may take minutes, in which the services of this and other tests have to answer.
        let installing = tokio::task::spawn_blocking(|| client.installed());
        let cache = installing.await.unwrap()?;
        let filled = |word: &str| {
            let word = word.replace("{folder}", client.folder().to_str().unwrap());
            word.replace("{cache}", cache.to_str().unwrap())
        };
        let (program, arguments) = client.start.split_first().unwrap();
        let program = filled(program);
        // What is not Debian's stands in the cache.
        let mut command = match program.strip_prefix(cache.to_str().unwrap()) {
            Some(_) => {
                let mut command = tool("env");
                command.arg(program);
                command
            }
            None => tool(&program),
        };
        let errors = started.home.join("errors");
        command.args(arguments.iter().map(|word| filled(word)));
        command.env_clear();
        for name in ["PATH", "HOME", "XDG_CACHE_HOME"] {
            command.envs(env::var_os(name).map(|value| (name, value)));
        }
        command
            .env("BASE", started.base)
            .env("TOKEN", started.token)
            .env("PROTOCOL", started.protocol.as_str());
        if let Some(authority) = started.authority {
            for name in [
                "CA_FILE",
                "NODE_EXTRA_CA_CERTS",
                "SSL_CERT_FILE",
                "REQUESTS_CA_BUNDLE",
                "CURL_CA_BUNDLE",
                "PERL_LWP_SSL_CA_FILE",
            ] {
                command.env(name, authority);
            }
        }
        let mut command = Command::from(command);
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(fs::File::create(&errors).unwrap())
            .kill_on_drop(true);
        let mut child = command.spawn().unwrap();
        Ok(Some(Self {
            name: client.name,
            input: child.stdin.take().unwrap(),
            output: BufReader::new(child.stdout.take().unwrap()).lines(),
            child,
            errors,
        }))
    }

    /// Tells it to send a request so many times at once.
    pub(super) async fn tell(
        &mut self,
        times: usize,
        method: &str,
        url: &str,
        headers: &[(&str, &str)],
        body: Option<&[u8]>,
    ) -> Vec<Got> {
        let fields: String = headers
            .iter()
            .map(|(name, value)| format!("{name}: {value}\n"))
            .collect();
        let body = body.map_or_else(|| "-".to_owned(), |body| BASE64.encode(body));
        let line = format!(
            "{times}\t{method}\t{url}\t{}\t{body}\n",
            BASE64.encode(fields)
        );
        self.input.write_all(line.as_bytes()).await.unwrap();
        self.input.flush().await.unwrap();
        let mut got = Vec::new();
        while got.len() < times {
            let what = format!("an answer of {} to {method} {url}", self.name);
            let line = within(&what, self.output.next_line()).await;
            match line.unwrap() {
                Some(line) => got.push(parse(&line)),
                None => panic!("the client ended: {}", self.said()),
            }
        }
        got
    }

    /// What it has said on standard error.
    pub(super) fn said(&self) -> String {
        fs::read_to_string(&self.errors).unwrap_or_default()
    }

    /// Waits for its end, which the end of its input asks for.
    pub(super) async fn end(self) {
        let Self {
            mut child, input, ..
        } = self;
        drop(input);
        within("the end of the client", child.wait()).await.unwrap();
    }
}

fn parse(line: &str) -> Got {
    let mut parts = line.split('\t');
    let first = parts.next().unwrap();
    let decoded = |text: Option<&str>| match text {
        None | Some("-" | "") => Vec::new(),
        Some(text) => BASE64.decode(text).unwrap(),
    };
    let second = decoded(parts.next());
    let text = String::from_utf8_lossy(&second);
    if first == "ERROR" {
        return Got::Nothing(text.into_owned());
    }
    let headers = text.lines().filter_map(|line| line.split_once(": "));
    Got::Answer {
        status: first
            .parse()
            .unwrap_or_else(|_| panic!("not an answer: {line}")),
        headers: headers
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect(),
        body: decoded(parts.next()),
    }
}
