//! The simulator as a caller sees it.

#![expect(
    clippy::indexing_slicing,
    reason = "a member that is not there reads as null"
)]

mod writes;

use std::{
    collections::HashSet,
    num::NonZeroU32,
    sync::Arc,
    time::{Duration, Instant, UNIX_EPOCH},
};

use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::oneshot,
    time::timeout,
};

use super::{MAX_BODY, Reset, Settings, Simulator, serve};

const LIST: &str = "/v1.0/engagements/referrals";
const NEW: &str = "/v1.0/engagements/referrals/5f1c2d3e-0001-4a4a-9b9b-00000000a001";
const ACTIVE: &str = "/v1.0/engagements/referrals/5f1c2d3e-0002-4a4a-9b9b-00000000a002";

struct Answer {
    status: u16,
    headers: HeaderMap,
    body: Value,
}

impl Answer {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    fn etag(&self) -> String {
        self.body["eTag"].as_str().unwrap_or_default().to_owned()
    }

    fn items(&self) -> &[Value] {
        self.body["value"].as_array().map_or(&[], Vec::as_slice)
    }
}

fn simulator() -> Simulator {
    let settings = Settings::default();
    Simulator {
        clock: || UNIX_EPOCH + Duration::from_secs(1_750_000_000),
        ..Simulator::new(settings)
    }
}

async fn try_send(
    simulator: &Simulator,
    method: &str,
    target: &str,
    headers: &[(&str, &str)],
    body: impl Into<Bytes>,
) -> Result<Answer, Reset> {
    let mut request = Request::builder().method(method).uri(target);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Full::new(body.into())).expect("a request");
    let (head, body) = simulator.answer(request).await?.into_parts();
    let body = body.collect().await.expect("a whole body").to_bytes();
    Ok(Answer {
        status: head.status.as_u16(),
        headers: head.headers,
        body: match body.is_empty() {
            true => Value::Null,
            false => serde_json::from_slice(&body).expect("JSON"),
        },
    })
}

async fn send(
    simulator: &Simulator,
    method: &str,
    target: &str,
    headers: &[(&str, &str)],
    body: &Value,
) -> Answer {
    try_send(simulator, method, target, headers, body.to_string())
        .await
        .expect("an answer")
}

async fn get(simulator: &Simulator, target: &str) -> Answer {
    try_send(simulator, "GET", target, &[], "")
        .await
        .expect("an answer")
}

fn deal() -> Value {
    json!({
        "name": "Synthetic deal", "type": "Independent", "qualification": "SalesQualified",
        "status": "New", "substatus": "Pending",
        "customerProfile": { "name": "Example Bakery" },
        "consent": { "consentToContact": true },
        "details": { "dealValue": 10 },
    })
}

#[tokio::test]
async fn one_referral_has_its_links_and_its_entity_tag() {
    let answer = get(&simulator(), NEW).await;

    assert_eq!(answer.status, 200);
    assert_eq!(answer.body["status"], "New");
    assert_eq!(
        answer.etag(),
        "\"0a00b1c2-0000-0100-0000-65f01d420000\"",
        "its quotes are inside"
    );
    assert_eq!(answer.header("etag"), Some(answer.etag().as_str()));
    let link = answer.body["links"]["self"]["uri"].as_str();
    assert!(link.is_some_and(|link| link.contains("/engagments/referrals/5f1c2d3e-0001")));
    assert!(answer.body["@odata.context"].is_string());
    assert!(answer.header("request-id").is_some());
}

#[tokio::test]
async fn request_ids_come_back_as_sent() {
    let names = ["client-request-id", "ms-requestid", "ms-correlationid"];
    let headers = names.map(|name| (name, "11111111-2222-4333-8444-555555555555"));
    let answer = send(&simulator(), "GET", NEW, &headers, &Value::Null).await;
    for (name, value) in headers {
        assert_eq!(answer.header(name), Some(value), "{name}");
    }
}

#[tokio::test]
async fn the_next_links_lead_through_all_items() {
    let simulator = simulator();
    for (query, wanted, pages) in [
        ("", 128, 2),
        ("?$orderby=updatedDateTime%20desc", 128, 2),
        ("?$top=100", 100, 1),
        ("?$top=110", 110, 2),
        ("?$skip=20&$top=200", 108, 2),
        ("?$skip=28", 100, 1),
        ("?$skip=500", 0, 1),
        ("?$top=0", 0, 1),
        (
            "?$filter=createdDateTime%20ge%202024-03-01T00:00:00Z",
            128,
            2,
        ),
    ] {
        let mut ids = HashSet::new();
        let mut seen_pages = 0;
        let mut next = Some(format!("{LIST}{query}"));
        while let Some(target) = next {
            let page = get(&simulator, &target).await;
            assert_eq!(page.status, 200, "{target}");
            assert_eq!(page.body["@odata.count"], page.items().len(), "{target}");
            for item in page.items() {
                assert_eq!(item.get("eTag"), None);
                ids.insert(item["id"].as_str().unwrap_or_default().to_owned());
            }
            seen_pages += 1;
            next = page.body["@odata.nextLink"].as_str().map(|link| {
                let path = link.strip_prefix("http://api.partner.microsoft.com");
                let path = path.expect("the documented host");
                assert!(
                    path.starts_with("/v1.0/referrals?$skiptoken=k1%2f"),
                    "{link}"
                );
                path.to_owned()
            });
        }
        assert_eq!((ids.len(), seen_pages), (wanted, pages), "{query}");
    }
}

#[tokio::test]
async fn a_list_is_filtered_ordered_and_cut_down() {
    let simulator = simulator();

    // As one client library writes it, and as another does.
    for query in [
        "%24filter=status+eq+%27New%27",
        "$filter=status%20eq%20'New'",
    ] {
        let page = get(&simulator, &format!("{LIST}?{query}")).await;
        assert!(!page.items().is_empty());
        assert!(page.items().iter().all(|item| item["status"] == "New"));
    }

    let page = get(
        &simulator,
        &format!("{LIST}?$orderby=createdDateTime+desc&$top=2"),
    )
    .await;
    let times: Vec<_> = page
        .items()
        .iter()
        .map(|item| item["createdDateTime"].as_str())
        .collect();
    assert_eq!(times.len(), 2);
    assert!(times.is_sorted_by(|one, other| one > other), "{times:?}");

    let page = get(
        &simulator,
        &format!("{LIST}?$select=id,eTag&$top=1&$count=true"),
    )
    .await;
    assert_eq!(page.body["@odata.count"], 128);
    let first = page
        .items()
        .first()
        .and_then(Value::as_object)
        .expect("an item");
    assert_eq!(first.keys().collect::<Vec<_>>(), ["eTag", "id"]);
}

#[tokio::test]
async fn a_bad_option_is_400() {
    let simulator = simulator();
    for query in [
        "$filter=name%20eq%20'x'",
        "$orderby=name",
        "$orderby=createdDateTime+down",
        "$top=-1",
        "$skip=x",
        "$count=1",
        "$select=nothing",
        "$search=x",
        "$top=1&$top=2",
        "$orderby=createdDateTime,updatedDateTime,createdDateTime",
        "$skiptoken=x",
        "$skiptoken=k1%2fAbC%3d",
        "$filter=%ff",
    ] {
        let answer = get(&simulator, &format!("{LIST}?{query}")).await;
        assert_eq!(answer.status, 400, "{query}");
        assert_eq!(answer.body["error"]["code"], "invalidRequest", "{query}");
    }
    assert_eq!(
        get(&simulator, &format!("{LIST}?unheard=1")).await.status,
        200
    );
}

#[tokio::test]
async fn what_is_not_there_is_404_or_405() {
    let simulator = simulator();
    for (method, target, status) in [
        ("GET", "/", 404),
        ("GET", "/v1.0/engagements/referrals/unknown", 404),
        ("PUT", "/v1.0/engagements/referrals/unknown", 404),
        ("PATCH", "/v1.0/engagements/referrals/unknown", 404),
        ("DELETE", NEW, 405),
        ("POST", NEW, 405),
        ("PUT", LIST, 405),
    ] {
        let answer = send(&simulator, method, target, &[], &json!({})).await;
        assert_eq!(answer.status, status, "{method} {target}");
        assert_eq!(answer.header("allow").is_some(), status == 405);
    }
}

#[tokio::test]
async fn memory_is_bounded() {
    let settings = Settings {
        max_referrals: 129,
        ..Settings::default()
    };
    let simulator = Simulator::new(settings);
    assert_eq!(
        send(&simulator, "POST", LIST, &[], &deal()).await.status,
        200
    );
    assert_eq!(
        send(&simulator, "POST", LIST, &[], &deal()).await.status,
        507
    );

    let large = json!({ "name": "x".repeat(MAX_BODY) });
    assert_eq!(
        send(&simulator, "PATCH", NEW, &[], &large).await.status,
        413
    );

    let half = json!([{ "op": "add", "path": "/team/-", "value": "x".repeat(MAX_BODY / 2) }]);
    assert_eq!(send(&simulator, "PATCH", NEW, &[], &half).await.status, 204);
    assert_eq!(send(&simulator, "PATCH", NEW, &[], &half).await.status, 413);
}

#[tokio::test]
async fn a_tenant_over_its_limit_is_told_when_to_come_back() {
    let settings = Settings {
        reads_per_minute: NonZeroU32::new(1),
        ..Settings::default()
    };
    let simulator = Simulator::new(settings);
    assert_eq!(get(&simulator, NEW).await.status, 200);

    let answer = get(&simulator, NEW).await;
    assert_eq!(answer.status, 429);
    assert_eq!(answer.body["statusCode"], 429);
    let seconds = answer
        .header("retry-after")
        .and_then(|text| text.parse().ok());
    assert!(seconds.is_some_and(|seconds: u64| (1..=60).contains(&seconds)));

    // {"tid":"t-2"}
    let token = [("authorization", "Bearer e30.eyJ0aWQiOiJ0LTIifQ.x")];
    let other = send(&simulator, "GET", NEW, &token, &Value::Null).await;
    assert_eq!(other.status, 200, "another tenant is not held back");
}

#[tokio::test]
async fn a_request_goes_wrong_as_it_asks() {
    let simulator = simulator();
    let fault = async |fault: &str| {
        let headers = [("simulator-fault", fault), ("if-match", "*")];
        let body = r#"{"name":"renamed"}"#;
        try_send(&simulator, "PUT", NEW, &headers, body).await
    };
    let name = async || get(&simulator, NEW).await.body["name"].clone();
    let before = name().await;

    for (wanted, status) in [
        ("status=503", 503),
        ("status=503, retry-after=7", 503),
        ("status=429", 429),
        ("status=401", 401),
        ("nonsense", 400),
    ] {
        let answer = fault(wanted).await.expect("an answer");
        assert_eq!(answer.status, status);
        let has_time = wanted.contains("retry-after") || status == 429;
        assert_eq!(answer.header("retry-after").is_some(), has_time, "{wanted}");
    }
    assert_eq!(fault("reset").await.err(), Some(Reset));
    assert_eq!(name().await, before, "nothing was done so far");

    assert_eq!(fault("reset-after").await.err(), Some(Reset));
    assert_eq!(name().await, "renamed", "only the answer was lost");

    let start = Instant::now();
    let answer = fault("delay=50ms").await.expect("an answer");
    assert_eq!(answer.status, StatusCode::OK);
    assert!(start.elapsed() >= Duration::from_millis(50));
}

#[tokio::test]
async fn simulators_with_one_seed_answer_alike() {
    let (one, other) = (simulator(), simulator());
    let all = async |simulator: &Simulator| {
        send(simulator, "POST", LIST, &[], &deal()).await;
        get(simulator, &format!("{LIST}?$skip=100&$select=id,name,eTag"))
            .await
            .body
    };
    assert_eq!(all(&one).await, all(&other).await);
}

#[tokio::test]
async fn it_serves_a_socket_until_it_is_told_to_stop() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let (stop, stopped) = oneshot::channel::<()>();
    let stopped = async move { drop(stopped.await) };
    let server = tokio::spawn(serve(listener, Arc::new(simulator()), stopped));

    let ask = async |headers: &str| {
        let mut stream = TcpStream::connect(address).await.expect("a connection");
        let request = format!("GET {NEW} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n");
        stream.write_all(request.as_bytes()).await.expect("sent");
        stream.shutdown().await.expect("half closed");
        let mut answer = String::new();
        let read = stream.read_to_string(&mut answer);
        timeout(Duration::from_secs(10), read)
            .await
            .expect("in time")
            .expect("an end");
        answer
    };
    assert!(ask("").await.starts_with("HTTP/1.1 200 OK\r\n"));
    assert_eq!(ask("Simulator-Fault: reset\r\n").await, "");

    let idle = TcpStream::connect(address).await.expect("a connection");
    drop(stop);
    timeout(Duration::from_secs(10), server)
        .await
        .expect("in time")
        .expect("no panic");
    assert!(TcpStream::connect(address).await.is_err());
    drop(idle);
}
