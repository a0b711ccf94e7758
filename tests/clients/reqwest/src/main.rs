//! reqwest 0.12 with rustls. `../install` of this folder builds it.
//!
//! reqwest throws nothing on 4xx and 5xx, so nothing is lost, as long as nobody calls `error_for_status`. It has no
//! base URL. `rustls-tls` trusts a list that is built in, and no variable adds to it: only `add_root_certificate` does.

use std::{env, error::Error, fs, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use reqwest::{Certificate, Client, Method};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, stdin, stdout};
use tokio::task::JoinSet;

type Fault = Box<dyn Error + Send + Sync>;

#[tokio::main]
async fn main() -> Result<(), Fault> {
    let client = client()?;
    let mut lines = BufReader::new(stdin()).lines();
    while let Some(line) = lines.next_line().await? {
        let (times, rest) = line.split_once('\t').ok_or("no tab")?;
        let mut tasks = JoinSet::new();
        for _ in 0..times.parse()? {
            let (client, rest) = (client.clone(), rest.to_owned());
            tasks.spawn(async move { answer(&client, &rest).await });
        }
        while let Some(answer) = tasks.join_next().await {
            stdout().write_all((answer? + "\n").as_bytes()).await?;
            stdout().flush().await?;
        }
    }
    Ok(())
}

fn client() -> Result<Client, Fault> {
    let mut builder = Client::builder().timeout(Duration::from_secs(60));
    let is_tls = env::var("BASE")?.starts_with("https:");
    match (env::var("PROTOCOL").as_deref(), is_tls) {
        (Ok("http2"), false) => builder = builder.http2_prior_knowledge(),
        // Over TLS, ALPN finds HTTP/2.
        (Ok("http2"), true) => {}
        _ => builder = builder.http1_only(),
    }
    if let Ok(file) = env::var("CA_FILE") {
        builder = builder.add_root_certificate(Certificate::from_pem(&fs::read(file)?)?);
    }
    Ok(builder.build()?)
}

/// The line for the test.
async fn answer(client: &Client, request: &str) -> String {
    match send(client, request).await {
        Ok(line) => line,
        Err(error) => {
            // The text of a reqwest error says little; its sources say why.
            let mut texts = Vec::new();
            if error.is::<reqwest::Error>() {
                texts.push("reqwest::Error".to_owned());
            }
            let mut next: Option<&dyn Error> = Some(&*error);
            while let Some(error) = next {
                texts.push(error.to_string());
                next = error.source();
            }
            let text = texts.join(" ");
            format!("ERROR\t{}", STANDARD.encode(text))
        }
    }
}

async fn send(client: &Client, request: &str) -> Result<String, Fault> {
    let fields: Vec<&str> = request.split('\t').collect();
    let [method, url, headers, body] = fields[..] else {
        return Err("not five fields".into());
    };
    if method == "WALK" {
        return Err("no pager".into());
    }
    let mut request = client.request(Method::from_bytes(method.as_bytes())?, url);
    let headers = String::from_utf8(STANDARD.decode(headers)?)?;
    let fields: Vec<_> = headers
        .lines()
        .filter_map(|line| line.split_once(": "))
        .collect();
    if let Ok(token) = env::var("TOKEN") {
        // A second `Authorization` is added, it does not replace the first.
        if !fields
            .iter()
            .any(|(name, _)| name.eq_ignore_ascii_case("authorization"))
        {
            request = request.bearer_auth(token);
        }
    }
    for (name, value) in fields {
        request = request.header(name, value);
    }
    if body != "-" {
        request = request.body(STANDARD.decode(body)?);
    }
    let answer = request.send().await?;
    let status = answer.status().as_u16();
    let mut headers = Vec::new();
    for (name, value) in answer.headers() {
        headers.extend_from_slice(name.as_str().as_bytes());
        headers.extend_from_slice(b": ");
        headers.extend_from_slice(value.as_bytes());
        headers.push(b'\n');
    }
    let body = answer.bytes().await?;
    let body = if body.is_empty() {
        "-".to_owned()
    } else {
        STANDARD.encode(body)
    };
    Ok(format!("{status}\t{}\t{body}", STANDARD.encode(headers)))
}
