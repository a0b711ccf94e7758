//! URLs of the service in answers lead their callers to the gateway, and every other byte stays.

use std::{
    io::Write as _,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use http::Response;
use hyper::body::Frame;
use rustls::version::TLS13;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::support::{
    Gateway, ID, ITEM, LIST, Reply, TAG, Upstream, Wire, before, body, eventually,
    referral::shown,
    tls::Authority,
    upstream::{full, piped},
    wire::Call,
    within,
};

const SERVICE: &str = "https://api.partner.microsoft.com";

/// An answer of JSON with these fields.
fn json(status: u16, fields: &[(&str, &str)], body: impl Into<Bytes>) -> Reply {
    let answer = Response::builder()
        .status(status)
        .header("Content-Type", "application/json");
    let answer = fields
        .iter()
        .fold(answer, |answer, (name, value)| answer.header(*name, *value));
    answer.body(full(body)).unwrap()
}

fn base(gateway: &Gateway) -> String {
    format!("http://{}", gateway.address)
}

fn gzip(text: &str) -> Vec<u8> {
    let mut coder = GzEncoder::new(Vec::new(), Compression::default());
    coder.write_all(text.as_bytes()).unwrap();
    coder.finish().unwrap()
}

/// How many URLs were re-based, and how many answers were not for this reason.
async fn counted(gateway: &Gateway, reason: &str) -> (f64, f64) {
    (
        gateway.metric("url_rewrites_total", &[]).await,
        gateway
            .metric("url_rewrites_skipped_total", &[("reason", reason)])
            .await,
    )
}

#[tokio::test]
async fn a_referral_names_the_gateway_as_its_caller_has_called_it() {
    let upstream = Upstream::with(async |_| {
        Some(json(
            200,
            &[("ETag", TAG)],
            shown(ID, "Active", "Accepted", TAG),
        ))
    })
    .await;
    let gateway = Gateway::start(&upstream).await;

    for host in [
        gateway.address.to_string(),
        "Gateway.example:4280".to_owned(),
        "gw".to_owned(),
    ] {
        let answer = gateway.get(ITEM).set("Host", &host).send().await;

        let expected =
            shown(ID, "Active", "Accepted", TAG).replace(SERVICE, &format!("http://{host}"));
        assert_eq!(answer.text(), expected);
        assert_eq!(answer.header("etag"), Some(TAG));
        assert_eq!(
            answer.head.all("content-length"),
            [expected.len().to_string()]
        );
        assert_eq!(answer.header("transfer-encoding"), None);
    }
    assert_eq!(counted(&gateway, "coding").await, (6.0, 0.0));
}

#[tokio::test]
async fn over_tls_links_say_https() {
    let upstream = Upstream::start().await;
    let authority = Authority::new("A root");
    let pair = authority.issue(&["localhost"]);
    let gateway = Gateway::with("tls: { cert_file: '@/tls.crt', key_file: '@/tls.key' }")
        .file("tls.crt", &pair.certificate)
        .file("tls.key", &pair.key)
        .start(&upstream)
        .await;
    let stream = TcpStream::connect(gateway.address).await.unwrap();
    let connector = TlsConnector::from(Arc::new(authority.client(&TLS13)));
    let stream = connector
        .connect("localhost".try_into().unwrap(), stream)
        .await
        .unwrap();

    let mut wire = Wire::new(stream);
    wire.send(Call::new(gateway.address, "GET", ITEM).bytes())
        .await
        .unwrap();

    let self_link = format!("https://{}/v1.0/engagments/referrals/{ID}", gateway.address);
    assert_eq!(
        wire.answer("GET").await.json()["links"]["self"]["uri"],
        self_link
    );
}

#[tokio::test]
async fn the_setting_turns_it_off_or_fixes_the_origin_and_a_reload_changes_it() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::with("upstream: { rewrite_urls: false }")
        .start(&upstream)
        .await;
    let as_shown = shown(ID, "Active", "Accepted", TAG);
    assert_eq!(gateway.get(ITEM).send().await.text(), as_shown);

    gateway.replace_settings("upstream: { rewrite_urls: 'https://gateway.example' }");

    let expected = as_shown.replace(SERVICE, "https://gateway.example");
    eventually("the fixed origin", async || {
        gateway.get(ITEM).send().await.text() == expected
    })
    .await;
}

#[tokio::test]
async fn a_text_that_names_the_service_stays() {
    let text = format!(
        r#"{{"details":{{"notes":"{SERVICE}/v1.0/x"}},"uri":"{SERVICE}","x":"\"@odata.nextLink\":\"{SERVICE}/y\""}}"#
    );
    let sent = text.clone();
    let upstream = Upstream::with(move |_| {
        let answer = json(200, &[], sent.clone());
        async move { Some(answer) }
    })
    .await;
    let gateway = Gateway::start(&upstream).await;

    assert_eq!(gateway.get(ITEM).send().await.text(), text);
    assert_eq!(counted(&gateway, "context").await, (0.0, 0.0));
}

#[tokio::test]
async fn what_is_no_json_stays() {
    let text = format!(r#"{{"@odata.nextLink":"{SERVICE}/x"}}"#);
    let sent = text.clone();
    let upstream = Upstream::with(move |_| {
        let answer = Response::builder()
            .header("Content-Type", "text/plain")
            .body(full(sent.clone()));
        async move { Some(answer.unwrap()) }
    })
    .await;
    let gateway = Gateway::start(&upstream).await;

    assert_eq!(gateway.get("/anything").send().await.text(), text);
}

#[tokio::test]
async fn the_place_of_a_new_referral_is_at_the_gateway() {
    let upstream = Upstream::with(async |_| {
        let location = format!("{SERVICE}/v1.0/engagements/referrals/{ID}");
        let fields = [
            ("Location", location.as_str()),
            ("Content-Location", "/relative"),
        ];
        Some(json(201, &fields, shown(ID, "New", "Pending", TAG)))
    })
    .await;
    let gateway = Gateway::start(&upstream).await;

    let call = gateway
        .call("POST", LIST)
        .header("Content-Type", "application/json");
    let answer = call.body(r#"{"name":"x"}"#).send().await;

    let expected = format!("{}/v1.0/engagements/referrals/{ID}", base(&gateway));
    assert_eq!(
        (answer.status, answer.header("location")),
        (201, Some(&*expected))
    );
    assert_eq!(answer.header("content-location"), Some("/relative"));
}

#[tokio::test]
async fn head_tells_no_length_that_get_would_not_have() {
    let upstream = Upstream::with(async |seen| {
        let text = if seen.method == "HEAD" {
            String::new()
        } else {
            shown(ID, "Active", "Accepted", TAG)
        };
        let length = shown(ID, "Active", "Accepted", TAG).len().to_string();
        Some(json(
            200,
            &[("Content-Length", &length), ("ETag", TAG)],
            text,
        ))
    })
    .await;
    let gateway = Gateway::start(&upstream).await;

    let answer = gateway.call("HEAD", ITEM).send().await;

    assert_eq!((answer.status, answer.header("etag")), (200, Some(TAG)));
    assert_eq!(answer.header("content-length"), None);
}

#[tokio::test]
async fn a_large_list_begins_to_flow_at_once() {
    let (sender, list) = piped();
    let list = Arc::new(std::sync::Mutex::new(Some(list)));
    let upstream = Upstream::streaming(move |_| {
        let list = list.lock().unwrap().take().unwrap();
        async move {
            let answer = Response::builder().header("Content-Type", "application/json");
            answer
                .header("Content-Length", "100000000")
                .body(list)
                .unwrap()
        }
    })
    .await;
    let gateway = Gateway::start(&upstream).await;
    let before = gateway.memory("VmRSS");
    let piece = |number: usize| {
        let link = format!(
            r#"{{"links":{{"self":{{"uri":"~/{number:05}"}}}},"x":"{}"}},"#,
            "y".repeat(9940)
        );
        link.replace('~', SERVICE)
    };

    let mut wire = gateway.get(LIST).open().await;
    sender.send(Ok(Frame::data(piece(0).into()))).await.unwrap();
    let head = within("the head", wire.head()).await.unwrap();
    assert_eq!(head.field("content-length"), None);
    assert_eq!(head.field("transfer-encoding"), Some("chunked"));
    let first = within("the first piece", wire.some()).await.unwrap();
    let link = format!(r#""uri":"{}/00000""#, base(&gateway));
    assert!(String::from_utf8_lossy(&first).contains(&link));

    // Much more than may be held, none of which is.
    tokio::spawn(async move {
        for number in 1..5000 {
            if sender
                .send(Ok(Frame::data(piece(number).into())))
                .await
                .is_err()
            {
                return;
            }
        }
    });
    let mut bytes = 0;
    while bytes < 40_000_000 {
        bytes += within("more", wire.some()).await.unwrap().len();
    }
    assert!(gateway.memory("VmRSS") < before + 20_000, "{bytes}");
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_not_made_whole() {
    for length in [500, 500_000] {
        let upstream = Upstream::raw(move |mut wire, _| async move {
            if wire.request().await.is_ok() {
                let head = format!("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n");
                wire.send(format!("{head}{{\"@odata.nextLink\":\"{SERVICE}/x\"")).await.ok();
            }
        })
        .await;
        let gateway = Gateway::start(&upstream).await;

        let mut wire = gateway.get("/v1.0/other").open().await;
        let sent = String::from_utf8(wire.rest().await).unwrap();
        assert!(sent.starts_with("HTTP/1.1 200 OK"), "{sent}");
        let begun = format!("{{\"@odata.nextLink\":\"{}/x\"", base(&gateway));
        assert!(
            sent.contains(&begun) && !sent.ends_with("0\r\n\r\n"),
            "{sent}"
        );
        gateway
            .until_metric("upstream_errors_total", &[("kind", "body")], 1.0)
            .await;
    }
}

#[tokio::test]
async fn a_coded_answer_comes_without_its_coding_unless_its_caller_forbids_it() {
    let text = shown(ID, "Active", "Accepted", TAG);
    let coded = gzip(&text);
    let sent = coded.clone();
    let upstream = Upstream::with(move |_| {
        let fields = [
            ("Content-Encoding", "gzip"),
            ("ETag", TAG),
            ("Vary", "Accept-Encoding"),
        ];
        let answer = json(200, &fields, sent.clone());
        async move { Some(answer) }
    })
    .await;
    let gateway = Gateway::start(&upstream).await;

    let answer = gateway
        .get(ITEM)
        .header("Accept-Encoding", "gzip")
        .send()
        .await;
    assert_eq!(answer.header("content-encoding"), None);
    assert_eq!(answer.text(), text.replace(SERVICE, &base(&gateway)));
    assert_eq!(
        (answer.header("etag"), answer.header("vary")),
        (Some(TAG), Some("Accept-Encoding"))
    );
    assert_eq!(
        answer.head.all("content-length"),
        [answer.body.len().to_string()]
    );
    assert_eq!(
        upstream.seen()[0].header("accept-encoding").as_deref(),
        Some("gzip")
    );

    let answer = gateway
        .get(ITEM)
        .header("Accept-Encoding", "gzip, identity;q=0")
        .send()
        .await;
    assert_eq!(
        (answer.header("content-encoding"), &answer.body),
        (Some("gzip"), &coded)
    );
    assert_eq!(counted(&gateway, "coding").await, (2.0, 1.0));
}

#[tokio::test]
async fn a_body_that_is_not_coded_as_it_says_breaks_off() {
    let upstream = Upstream::with(async |_| {
        Some(json(
            200,
            &[("Content-Encoding", "gzip")],
            "not gzip at all",
        ))
    })
    .await;
    let gateway = Gateway::start(&upstream).await;

    let mut wire = gateway.get("/v1.0/other").open().await;
    within("the end", wire.try_answer("GET")).await.unwrap_err();

    assert_eq!(
        gateway
            .get("/v1.0/other")
            .open()
            .await
            .rest()
            .await
            .windows(4)
            .filter(|text| text == b"gzip")
            .count(),
        0
    );
}

#[tokio::test]
async fn the_gateway_learns_what_the_service_has_sent() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start(&upstream).await;
    gateway.get(ITEM).send().await;

    let answer = gateway
        .put(ITEM, body("Active", "Accepted"))
        .if_match(TAG)
        .send()
        .await;

    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(upstream.count("GET"), 1, "the state was known");
}

#[tokio::test]
async fn a_walk_over_a_thousand_pages_ends_where_it_should() {
    const PAGES: usize = 1000;
    let strange = Arc::new(AtomicUsize::new(0));
    let counts = Arc::clone(&strange);
    let upstream = Upstream::with(move |seen| {
        let counts = Arc::clone(&counts);
        async move {
            // The path and the token of the first page, or what the link before has said, letter by letter.
            let target = seen.target();
            let page = match target.strip_prefix("/v1.0/referrals?$skiptoken=k%2fA%3d") {
                Some(page) => page.parse().unwrap(),
                None => {
                    counts.fetch_add(usize::from(target != LIST), Ordering::SeqCst);
                    0
                }
            };
            let items = format!(r#"{{"id":"{page}","links":{{"self":{{"uri":"{SERVICE}/{page}"}}}}}}"#);
            let next = match page + 1 < PAGES {
                true => format!(r#","@odata.nextLink":"http://api.partner.microsoft.com/v1.0/referrals?$skiptoken=k%2fA%3d{}""#, page + 1),
                false => String::new(),
            };
            Some(json(200, &[], format!(r#"{{"@odata.context":"{SERVICE}/$metadata","value":[{items}]{next}}}"#)))
        }
    })
    .await;
    let gateway = Gateway::start(&upstream).await;

    let mut wire = gateway.wire().await;
    let (mut target, mut pages) = (LIST.to_owned(), 0);
    loop {
        let answer = gateway.get(&target).on(&mut wire).await.json();
        assert_eq!(answer["value"][0]["id"], pages.to_string());
        pages += 1;
        let Some(next) = answer["@odata.nextLink"].as_str() else {
            break;
        };
        target = next.strip_prefix(&base(&gateway)).unwrap().to_owned();
    }

    assert_eq!((pages, upstream.seen().len()), (PAGES, PAGES));
    assert_eq!(strange.load(Ordering::SeqCst), 0);
    assert_eq!(
        counted(&gateway, "context").await,
        (3.0 * 1000.0 - 1.0, 0.0)
    );
}

#[tokio::test]
async fn a_small_answer_that_drips_is_passed_on_as_it_comes() {
    let (sender, body) = piped();
    let body = Arc::new(std::sync::Mutex::new(Some(body)));
    let upstream = Upstream::streaming(move |_| {
        let body = body.lock().unwrap().take().unwrap();
        async move {
            let answer = Response::builder().header("Content-Type", "application/json");
            answer.header("Content-Length", "60").body(body).unwrap()
        }
    })
    .await;
    let gateway = Gateway::start(&upstream).await;

    let mut wire = gateway.get("/v1.0/other").open().await;
    sender
        .send(Ok(Frame::data("{\"a\":".into())))
        .await
        .unwrap();
    // Sooner than the pause at which the gateway would give the answer up.
    let soon = Duration::from_secs(15);
    let head = before(soon, "the head", wire.head()).await.unwrap();
    let first = within("the first piece", wire.some()).await.unwrap();

    assert_eq!(head.field("transfer-encoding"), Some("chunked"));
    assert!(String::from_utf8_lossy(&first).contains("{\"a\":"));
}

#[tokio::test]
async fn an_empty_answer_stays_empty() {
    let upstream =
        Upstream::with(async |_| Some(json(200, &[("Content-Encoding", "gzip")], ""))).await;
    let gateway = Gateway::start(&upstream).await;

    let answer = gateway.get("/v1.0/other").send().await;

    assert_eq!((answer.status, answer.text().as_str()), (200, ""));
    assert_eq!(answer.header("content-length"), Some("0"));
}
