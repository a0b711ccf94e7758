//! What the gateway knows of a referral, from whom it learnt it, and who may profit from that.

use std::{
    collections::BTreeMap,
    io::Write as _,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU16, Ordering},
    },
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use http::Response;
use hyper::body::Frame;
use tokio::sync::watch;

use crate::support::{
    Answer, Gateway, ID, ITEM, LIST, Reply, TAG, Upstream, at_once, body, referral, reply, token,
    token::{TENANT, signed},
    upstream::{full, json, piped},
    within,
};

/// `{"id":"<ID>","status":"Active","substatus":"Accepted","eTag":"<TAG, its quotes escaped>"}`, packed.
const IN_BROTLI: &str = "G4cAABwHbqw8q0LQqT0LIrelTua3+/dxo3Sj5R/AGbIzREqnTicHzD98frkkgQcACaS5jYFH3UqNF72/d2pbh81jCaDi4SE9ewqaAVrqVnkvxDbTOmACe13x4HQTkDpMAASFtJ5to9MNYNLlBw==";
const OLD: &str = "\"0a00b1c2-0000-0100-0000-000000000000\"";

/// Whether a PUT that closes the referral passes without asking the upstream for its state.
async fn is_known(gateway: &Gateway, upstream: &Upstream, tag: &str) -> bool {
    let before = upstream.count("GET");
    let answer = gateway
        .put(ITEM, body("Closed", "Won"))
        .if_match(tag)
        .send()
        .await;
    assert!(!answer.is_ours(), "{}", answer.text());
    upstream.count("GET") == before
}

fn plain(status: u16, headers: &[(&str, &str)], body: impl Into<bytes::Bytes>) -> Option<Reply> {
    let builder = headers.iter().fold(
        Response::builder().status(status),
        |builder, (name, value)| builder.header(*name, *value),
    );
    Some(builder.body(full(body)).unwrap())
}

#[tokio::test]
async fn what_a_get_showed_need_not_be_asked_again() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start(&upstream).await;

    assert_eq!(gateway.get(ITEM).send().await.status, 200);

    assert!(is_known(&gateway, &upstream, TAG).await);
    assert_eq!(upstream.applied().len(), 1);
}

#[tokio::test]
async fn a_known_state_refuses_without_asking() {
    let upstream = Upstream::start().await;
    upstream.hold(ID, "Closed", "Won", TAG);
    let gateway = Gateway::start(&upstream).await;
    gateway.get(ITEM).send().await;

    let answer = gateway
        .put(ITEM, body("Active", "Accepted"))
        .if_match(TAG)
        .send()
        .await;

    assert_eq!(
        (answer.status, answer.problem().code.as_str()),
        (409, "transition_not_allowed")
    );
    assert_eq!((upstream.count("GET"), upstream.count("PUT")), (1, 0));
}

#[tokio::test]
async fn a_list_whose_items_have_tags_teaches_them() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start(&upstream).await;

    assert_eq!(
        gateway.get(&format!("{LIST}?$top=10")).send().await.status,
        200
    );

    assert!(is_known(&gateway, &upstream, TAG).await);
}

#[tokio::test]
async fn a_list_without_tags_teaches_nothing_and_does_no_harm() {
    let text = format!(
        r#"{{"@odata.count":1,"value":[{{"id":"{ID}","status":"New","substatus":"Pending"}}]}}"#
    );
    let upstream = Upstream::with(move |seen| {
        let text = text.clone();
        async move { (seen.target.path() == LIST).then(|| json(200, text)) }
    })
    .await;
    let gateway = Gateway::start(&upstream).await;

    gateway.get(LIST).send().await;

    assert!(!is_known(&gateway, &upstream, TAG).await);
}

#[tokio::test]
async fn the_answer_to_a_put_teaches_the_next_tag_and_the_old_one_is_forgotten() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start(&upstream).await;
    let gets = || upstream.count("GET");

    let first = gateway
        .put(ITEM, body("Active", "Accepted"))
        .if_match(TAG)
        .send()
        .await;
    assert_eq!((first.status, gets()), (200, 1));
    let next = upstream.tag(ID);
    let second = gateway
        .put(ITEM, referral::of(ID, "Closed", "Won", &next))
        .if_match(&next)
        .send()
        .await;
    assert_eq!((second.status, gets()), (200, 1));

    let stale = gateway
        .put(ITEM, body("Closed", "Won"))
        .if_match(TAG)
        .send()
        .await;
    assert_eq!((stale.status, gets()), (412, 2));
}

#[tokio::test]
async fn the_answer_to_a_post_teaches() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start(&upstream).await;

    let made = gateway
        .call("POST", LIST)
        .header("Content-Type", "application/json")
        .body(r#"{"name":"x"}"#)
        .send()
        .await
        .json();
    let (id, tag) = (made["id"].as_str().unwrap(), made["eTag"].as_str().unwrap());
    let path = format!("{LIST}/{id}");
    let answer = gateway
        .put(&path, referral::of(id, "Active", "Accepted", tag))
        .if_match(tag)
        .send()
        .await;

    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(upstream.count("GET"), 0);
}

#[tokio::test]
async fn a_tag_is_learnt_from_the_header_or_from_the_body() {
    let with = referral::shown(ID, "Active", "Accepted", TAG);
    let without = with.replace("\"eTag\"", "\"other\"");
    for (name, headers, text, known) in [
        ("body only", vec![], with.clone(), true),
        ("header only", vec![("ETag", TAG)], without.clone(), true),
        (
            "two headers",
            vec![("ETag", TAG), ("ETag", "\"other\"")],
            with.clone(),
            false,
        ),
        ("both", vec![("ETag", TAG)], with.clone(), true),
        ("neither", vec![], without, false),
        (
            "they differ",
            vec![("ETag", "\"other\"")],
            with.clone(),
            true,
        ),
        (
            "shouted",
            vec![],
            with.replace("\"eTag\"", "\"ETag\""),
            true,
        ),
    ] {
        let once = Arc::new(AtomicBool::new(true));
        let upstream = Upstream::with(move |_| {
            let mut headers = headers.clone();
            let text = text.clone();
            let first = once.swap(false, Ordering::SeqCst);
            async move {
                if !headers.iter().any(|(name, _)| *name == "Content-Type") {
                    headers.push(("Content-Type", "application/json"));
                }
                first.then(|| plain(200, &headers, text)).flatten()
            }
        })
        .await;
        let gateway = Gateway::start(&upstream).await;
        gateway.get(ITEM).send().await;

        assert_eq!(is_known(&gateway, &upstream, TAG).await, known, "{name}");
    }
}

#[tokio::test]
async fn a_packed_answer_is_understood_and_relayed_as_it_came() {
    let text = referral::shown(ID, "Active", "Accepted", TAG);
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    gzip.write_all(text.as_bytes()).unwrap();
    let mut zlib = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::default());
    zlib.write_all(text.as_bytes()).unwrap();
    let mut raw = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::default());
    raw.write_all(text.as_bytes()).unwrap();
    let gzip = gzip.finish().unwrap();
    let brotli = BASE64.decode(IN_BROTLI).unwrap();

    for (coding, packed, is_understood) in [
        ("gzip", gzip.clone(), true),
        ("x-gzip", gzip.clone(), true),
        ("GZIP", gzip.clone(), true),
        ("deflate", zlib.finish().unwrap(), true),
        ("br", brotli.clone(), true),
        ("identity", text.clone().into_bytes(), true),
        // Some servers send it without the wrapping that HTTP asks for.
        ("deflate", raw.finish().unwrap(), true),
        // What is not understood passes as well, and teaches nothing.
        ("gzip", gzip[..gzip.len() - 9].to_vec(), false),
        ("br", brotli[..brotli.len() - 1].to_vec(), false),
        ("gzip, br", brotli, false),
        ("zstd", text.clone().into_bytes(), false),
    ] {
        let sent = packed.clone();
        let upstream = Upstream::with(move |seen| {
            let sent = sent.clone();
            async move {
                let asked = seen.header("accept-encoding").as_deref() == Some(coding);
                asked
                    .then(|| {
                        plain(
                            200,
                            &[
                                ("Content-Type", "application/json"),
                                ("Content-Encoding", coding),
                            ],
                            sent,
                        )
                    })
                    .flatten()
            }
        })
        .await;
        let gateway = Gateway::with("upstream: { rewrite_urls: false }")
            .start(&upstream)
            .await;

        let answer = gateway
            .get(ITEM)
            .header("Accept-Encoding", coding)
            .send()
            .await;

        assert_eq!(
            (answer.header("content-encoding"), &answer.body),
            (Some(coding), &packed)
        );
        let is_known = is_known(&gateway, &upstream, TAG).await;
        assert_eq!(is_known, is_understood, "{coding}");
    }
}

#[tokio::test]
async fn an_unknown_state_is_asked_for_once_with_the_callers_own_credentials() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start(&upstream).await;
    let mine = token("t", "me", "app");

    let answer = gateway
        .put(ITEM, body("Closed", "Won"))
        .if_match(TAG)
        .bearer(&mine)
        .header("Cookie", "session=1")
        .header("client-request-id", "request-1")
        .header("MS-RequestId", "request-2")
        .header("MS-CorrelationId", "correlation-1")
        .header("Accept-Encoding", "gzip")
        .header("X-Note", "of the write alone")
        .send()
        .await;

    assert_eq!(answer.status, 200, "{}", answer.text());
    let get = upstream.only("GET");
    assert_eq!(get.header("authorization"), Some(format!("Bearer {mine}")));
    assert_eq!(get.header("cookie").as_deref(), Some("session=1"));
    // The service takes two requests with one id for the same one.
    let put = upstream.only("PUT");
    for (name, of_the_write) in [
        ("client-request-id", "request-1"),
        ("ms-requestid", "request-2"),
    ] {
        assert_eq!(put.header(name).as_deref(), Some(of_the_write));
        let own = get.header(name).unwrap();
        assert!(own.len() == 36 && own != of_the_write, "{name}: {own}");
    }
    assert_ne!(get.header("client-request-id"), get.header("ms-requestid"));
    assert_eq!(
        get.header("ms-correlationid").as_deref(),
        Some("correlation-1")
    );
    assert_eq!(get.target.path(), ITEM);
    assert_eq!(get.header("accept-encoding").as_deref(), Some("identity"));
    assert_eq!(get.header("accept").as_deref(), Some("application/json"));
    assert!(get.body.is_empty());
    for name in [
        "if-match",
        "content-type",
        "content-length",
        "transfer-encoding",
        "if-none-match",
        "range",
        "x-note",
    ] {
        assert_eq!(get.header(name), None, "{name}");
    }
    assert_eq!(upstream.seen()[1].method, "PUT");
}

#[tokio::test]
async fn twenty_writes_at_once_ask_once() {
    let (go, held) = watch::channel(false);
    let upstream = Upstream::with(move |seen| {
        let mut held = held.clone();
        async move {
            if seen.method == "GET" {
                held.wait_for(|go| *go).await.ok();
            }
            None
        }
    })
    .await;
    let gateway = Gateway::start(&upstream).await;

    let write = || gateway.put(ITEM, body("Closed", "Won")).if_match(TAG);
    let calls = at_once((0..20).map(|_| write()));
    // All of them have looked for the state, and so wait for the same answer.
    gateway
        .until_metric("snapshot_lookups_total", &[("result", "unproven")], 20.0)
        .await;
    upstream.arrived("GET", 1).await;
    go.send(true).unwrap();
    let mut statuses = calls.join_all().await;

    statuses.sort_unstable();
    assert_eq!(statuses[0], 200);
    assert!(
        statuses[1..].iter().all(|status| *status == 412),
        "{statuses:?}"
    );
    assert_eq!(
        (
            upstream.count("GET"),
            upstream.count("PUT"),
            upstream.applied().len()
        ),
        (1, 20, 1)
    );
}

#[tokio::test]
async fn writes_of_different_callers_ask_apart() {
    let (go, held) = watch::channel(false);
    let upstream = Upstream::with(move |seen| {
        let mut held = held.clone();
        async move {
            if seen.method == "GET" {
                held.wait_for(|go| *go).await.ok();
            }
            None
        }
    })
    .await;
    let gateway = Gateway::start(&upstream).await;

    let write = || gateway.put(ITEM, body("Closed", "Won")).if_match(TAG);
    let signatures = ["one", "two"].into_iter();
    let calls =
        at_once(signatures.map(|signature| write().bearer(&signed(TENANT, "o", "a", signature))));
    upstream.arrived("GET", 2).await;
    go.send(true).unwrap();
    calls.join_all().await;

    assert_eq!(upstream.count("GET"), 2);
}

#[tokio::test]
async fn the_first_of_the_coalesced_may_leave_without_harm_to_the_others() {
    let (go, held) = watch::channel(false);
    let upstream = Upstream::with(move |seen| {
        let mut held = held.clone();
        async move {
            if seen.method == "GET" {
                held.wait_for(|go| *go).await.ok();
            }
            None
        }
    })
    .await;
    let gateway = Gateway::start(&upstream).await;

    let first = gateway
        .put(ITEM, body("Closed", "Won"))
        .if_match(TAG)
        .open()
        .await;
    upstream.arrived("GET", 1).await;
    let mut second = gateway
        .put(ITEM, body("Closed", "Lost"))
        .if_match(TAG)
        .open()
        .await;
    gateway
        .until_metric("http_requests_in_flight", &[], 2.0)
        .await;
    first.reset();
    gateway
        .until_metric("http_requests_in_flight", &[], 1.0)
        .await;
    go.send(true).unwrap();

    assert_eq!(second.answer("PUT").await.status, 200);
    assert_eq!(upstream.applied(), [body("Closed", "Lost").into_bytes()]);
}

#[tokio::test]
async fn a_stale_tag_is_left_to_the_upstream() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start(&upstream).await;

    let answer = gateway
        .put(ITEM, referral::of(ID, "New", "Pending", OLD))
        .if_match(OLD)
        .send()
        .await;

    assert_eq!(answer.status, 412);
    assert!(!answer.is_ours());
    assert_eq!(answer.json()["error"]["innerError"]["code"], "99918");
    assert_eq!((upstream.count("GET"), upstream.count("PUT")), (1, 1));
}

#[tokio::test]
async fn a_stale_tag_is_refused_here_when_so_set() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::with("snapshots: { stale: refuse }")
        .start(&upstream)
        .await;

    let answer = gateway
        .put(ITEM, referral::of(ID, "Closed", "Won", OLD))
        .if_match(OLD)
        .send()
        .await;

    assert_eq!(
        (answer.status, answer.problem().code.as_str()),
        (412, "stale_etag")
    );
    assert_eq!(upstream.count("PUT"), 0);
    let record = gateway
        .record("the decision", |line| !line["verdict"].is_null())
        .await;
    assert_eq!(
        (&record["rule"], &record["code"], &record["unjudged"]),
        (&"".into(), &"stale_etag".into(), &"stale_etag".into())
    );
}

#[tokio::test]
async fn no_412_comes_from_memory_alone() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::with("snapshots: { stale: refuse }")
        .start(&upstream)
        .await;
    gateway.get(ITEM).send().await;

    // The referral has changed back since; the gateway remembers another tag but must ask.
    upstream.hold(ID, "Active", "Accepted", OLD);
    let answer = gateway
        .put(ITEM, referral::of(ID, "Closed", "Won", OLD))
        .if_match(OLD)
        .send()
        .await;

    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(upstream.count("GET"), 2);
}

#[tokio::test]
async fn a_caller_who_may_not_see_the_referral_is_told_so_by_the_upstream() {
    for status in [401, 403, 404] {
        let upstream = Upstream::with(move |_| async move {
            plain(
                status,
                &[
                    ("WWW-Authenticate", "Bearer"),
                    ("Request-ID", "r-1"),
                    ("Content-Type", "application/json"),
                ],
                r#"{"error":{"code":"x"}}"#,
            )
        })
        .await;
        let gateway = Gateway::start(&upstream).await;

        let answer = gateway
            .put(ITEM, body("Closed", "Won"))
            .if_match(TAG)
            .send()
            .await;

        assert_eq!(
            (answer.status, answer.text().as_str()),
            (status, r#"{"error":{"code":"x"}}"#)
        );
        assert_eq!(answer.header("request-id"), Some("r-1"));
        assert!(!answer.is_ours());
        assert_eq!(upstream.count("PUT"), 0);
    }
}

/// An upstream that answers a request of this method with this status once, after `armed` was set.
async fn once(method: &'static str, status: u16, armed: &Arc<AtomicBool>) -> Upstream {
    let armed = Arc::clone(armed);
    Upstream::with(move |seen| {
        let sprung = seen.method == method && armed.swap(false, Ordering::SeqCst);
        async move { sprung.then(|| reply(status, "")) }
    })
    .await
}

#[tokio::test]
async fn only_a_404_to_the_fetch_of_a_state_forgets_the_referral() {
    for (status, is_known_afterwards) in [(404, false), (403, true)] {
        let armed = Arc::new(AtomicBool::new(false));
        let upstream = once("GET", status, &armed).await;
        let gateway = Gateway::start(&upstream).await;
        gateway.get(ITEM).send().await;

        // Nothing is known of this version, so the gateway asks.
        armed.store(true, Ordering::SeqCst);
        let answer = gateway
            .put(ITEM, body("Closed", "Won"))
            .if_match(OLD)
            .send()
            .await;
        assert_eq!((answer.status, upstream.count("PUT")), (status, 0));

        let is_known = is_known(&gateway, &upstream, TAG).await;
        assert_eq!(is_known, is_known_afterwards, "{status}");
    }
}

#[tokio::test]
async fn who_only_claims_to_be_a_caller_makes_nothing_forgotten() {
    // Nobody verifies its signature: a service may say that a referral is not there before it looks at the credential.
    let forged = signed(
        TENANT,
        "22222222-bbbb-4000-8000-000000000002",
        "33333333-cccc-4000-8000-000000000003",
        "forged",
    );
    for (method, status) in [
        ("DELETE", 404),
        ("DELETE", 503),
        ("DELETE", 412),
        ("GET", 404),
    ] {
        let armed = Arc::new(AtomicBool::new(false));
        let upstream = once(method, status, &armed).await;
        let gateway = Gateway::start(&upstream).await;
        gateway.get(ITEM).send().await;

        armed.store(true, Ordering::SeqCst);
        let attack = gateway.call(method, ITEM).bearer(&forged).send().await;
        assert_eq!(attack.status, status);
        assert!(
            is_known(&gateway, &upstream, TAG).await,
            "{method} {status}"
        );
    }
    // The same of the gateway's own GET for a write that names an unknown version.
    let armed = Arc::new(AtomicBool::new(false));
    let upstream = once("GET", 404, &armed).await;
    let gateway = Gateway::start(&upstream).await;
    gateway.get(ITEM).send().await;
    armed.store(true, Ordering::SeqCst);
    let put = gateway.put(ITEM, body("Closed", "Won")).if_match(OLD);
    assert_eq!(put.bearer(&forged).send().await.status, 404);
    assert!(is_known(&gateway, &upstream, TAG).await);
}

#[tokio::test]
async fn a_200_to_the_fetch_of_a_state_proves_the_credential() {
    let armed = Arc::new(AtomicBool::new(true));
    // The write itself is refused, and so proves nothing.
    let upstream = once("PUT", 400, &armed).await;
    let gateway = Gateway::start(&upstream).await;
    let answer = gateway
        .put(ITEM, body("Closed", "Won"))
        .if_match(TAG)
        .send()
        .await;
    assert_eq!((answer.status, upstream.count("GET")), (400, 1));

    assert!(is_known(&gateway, &upstream, TAG).await);
}

#[tokio::test]
async fn a_401_to_the_fetch_of_a_state_ends_the_proof() {
    let armed = Arc::new(AtomicBool::new(false));
    let upstream = once("GET", 401, &armed).await;
    let gateway = Gateway::start(&upstream).await;
    gateway.get(ITEM).send().await;

    armed.store(true, Ordering::SeqCst);
    let answer = gateway
        .put(ITEM, body("Closed", "Won"))
        .if_match(OLD)
        .send()
        .await;
    assert_eq!((answer.status, upstream.count("PUT")), (401, 0));

    assert!(!is_known(&gateway, &upstream, TAG).await);
}

#[tokio::test]
async fn the_fetch_of_a_state_ends_in_time_however_its_answer_drips() {
    let upstream = Upstream::with(|_| async {
        let (sender, body) = piped();
        tokio::spawn(async move {
            let mut tick = tokio::time::interval(Duration::from_millis(20));
            while sender.send(Ok(Frame::data(" ".into()))).await.is_ok() {
                tick.tick().await;
            }
        });
        Some(Response::new(body))
    })
    .await;
    let gateway = Gateway::with("upstream: { connect_timeout: 500ms, response_timeout: 500ms }")
        .start(&upstream)
        .await;

    let call = gateway.put(ITEM, body("Closed", "Won")).if_match(TAG);
    let answer = within("the end of the fetch", call.send()).await;

    assert_eq!(
        (answer.status, answer.problem().code.as_str()),
        (503, "state_unknown")
    );
    assert!(
        answer.text().contains("did not answer in time"),
        "{}",
        answer.text()
    );
    assert_eq!(upstream.count("PUT"), 0);
}

/// Sends a PUT that needs the state to a gateway whose upstream answers everything like that.
async fn needing(status: u16, headers: &[(&'static str, &'static str)], text: &str) -> Answer {
    let (headers, text) = (headers.to_vec(), text.to_owned());
    let upstream = Upstream::with(move |_| {
        let (mut headers, text) = (headers.clone(), text.clone());
        headers.push(("Content-Type", "application/json"));
        async move { plain(status, &headers, text) }
    })
    .await;
    let gateway = Gateway::start(&upstream).await;

    let answer = gateway
        .put(ITEM, body("Closed", "Won"))
        .if_match(TAG)
        .send()
        .await;

    let wrong = upstream
        .seen()
        .iter()
        .any(|seen| seen.method != "GET" || seen.target() != ITEM);
    assert!(!wrong, "{:?}", upstream.seen());
    answer
}

#[tokio::test]
async fn a_write_is_refused_for_now_when_its_state_is_not_shown() {
    let good = referral::shown(ID, "Active", "Accepted", TAG);
    for (status, headers, seconds) in [
        (500, vec![], None),
        (503, vec![], None),
        (302, vec![("Location", "/elsewhere")], None),
        (429, vec![("Retry-After", "7")], Some("7")),
        (429, vec![("Retry-After", "7, 9")], Some("9")),
        (429, vec![("Retry-After", "6.5")], Some("7")),
        (
            429,
            vec![("Retry-After", "7"), ("Retry-After", "9")],
            Some("9"),
        ),
        (429, vec![("Retry-After", "soon")], Some("5")),
        (206, vec![], None),
        (202, vec![], None),
        (304, vec![("ETag", TAG)], None),
    ] {
        let answer = needing(status, &headers, &good).await;

        assert_eq!(answer.status, 503, "{status}: {}", answer.text());
        assert_eq!(answer.problem().code, "state_unknown", "{status}");
        let retry_after = answer.header("retry-after").expect("Retry-After");
        assert!(retry_after.parse::<u64>().unwrap() >= 1, "{status}");
        assert!(
            seconds.is_none_or(|seconds| seconds == retry_after),
            "{retry_after}"
        );
    }
}

#[tokio::test]
async fn a_write_is_refused_for_now_when_its_state_cannot_be_read() {
    let good = referral::shown(ID, "Active", "Accepted", TAG);
    for (name, text) in [
        ("garbage", "<html>".to_owned()),
        ("nothing", String::new()),
        ("truncated", good[..100].to_owned()),
        ("an array", format!("[{good}]")),
        ("another referral", good.replace("a001\"", "a002\"")),
        ("no id", good.replace("\"id\"", "\"xd\"")),
        ("no status", good.replace("\"status\"", "\"xtatus\"")),
        (
            "an unknown status",
            good.replace("\"Active\"", "\"Engaged\""),
        ),
        ("no tag", good.replace("\"eTag\"", "\"xTag\"")),
        (
            "two tags",
            good.replace("\"eTag\"", "\"eTag\":\"x\",\"eTag\""),
        ),
        (
            "two statuses",
            good.replace("\"substatus\"", "\"Status\":\"New\",\"substatus\""),
        ),
    ] {
        let answer = needing(200, &[], &text).await;

        assert_eq!(answer.status, 503, "{name}: {}", answer.text());
        assert_eq!(answer.problem().code, "state_unknown", "{name}");
        assert!(answer.header("retry-after").is_some());
    }

    let without = good.replace("\"eTag\"", "\"xTag\"");
    for second in ["\"other\"", TAG, "W/\"x\"", "x"] {
        for text in [&good, &without] {
            let twice = needing(200, &[("ETag", TAG), ("ETag", second)], text).await;
            assert_eq!(twice.status, 503, "two tags in the header: {second}");
        }
    }
}

/// A proxy on the way that compresses may change the tag in the header section.
#[tokio::test]
async fn a_state_is_known_under_the_tag_of_the_header_and_that_of_the_body() {
    let good = referral::shown(ID, "Active", "Accepted", TAG);
    for text in [good.clone(), format!("\u{feff}{good}")] {
        for named in [TAG, "\"one-gzip\""] {
            let page = text.clone();
            let upstream = Upstream::with(move |seen| {
                let page = page.clone();
                async move {
                    match seen.method == "GET" {
                        true => plain(200, &[("ETag", "\"one-gzip\"")], page),
                        false => Some(reply(200, "{}")),
                    }
                }
            })
            .await;
            let gateway = Gateway::start(&upstream).await;
            let write = |status, substatus| {
                let call = gateway.put(ITEM, body(status, substatus));
                call.without("etag").if_match(named)
            };

            // Closed may follow Active, New may not: the state is known.
            let allowed = write("Closed", "Won").send().await;
            assert_eq!(allowed.status, 200, "{named}: {}", allowed.text());
            let refused = write("New", "Pending").send().await;
            assert_eq!(refused.problem().code, "transition_not_allowed", "{named}");
            assert_eq!(upstream.count("PUT"), 1);
        }
    }
}

#[tokio::test]
async fn the_gateways_own_get_is_not_sent_during_a_cooldown_of_reads() {
    let upstream = Upstream::with(|seen| async move {
        (seen.method == "GET")
            .then(|| plain(429, &[("Retry-After", "57")], "slowly"))
            .flatten()
    })
    .await;
    let gateway = Gateway::start(&upstream).await;
    assert_eq!(gateway.get(ITEM).send().await.status, 429);

    for _ in 0..10 {
        let call = gateway.put(ITEM, body("Closed", "Won"));
        let answer = call.if_match(TAG).send().await;
        assert_eq!(answer.status, 503, "{}", answer.text());
        assert_eq!(answer.problem().code, "state_unknown");
        let wait: u32 = answer.header("retry-after").unwrap().parse().unwrap();
        assert!((20..=57).contains(&wait), "{wait}");
        assert!(answer.text().contains("the cooldown is not over"));
    }

    assert_eq!((upstream.count("GET"), upstream.count("PUT")), (1, 0));
}

#[tokio::test]
async fn a_write_whose_state_cannot_be_learnt_passes_when_so_set() {
    let upstream =
        Upstream::with(|seen| async move { (seen.method == "GET").then(|| reply(500, "")) }).await;
    let gateway = Gateway::with("snapshots: { unknown_state_failed: forward }")
        .start(&upstream)
        .await;

    let answer = gateway
        .put(ITEM, body("New", "Pending"))
        .if_match(TAG)
        .send()
        .await;

    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!((upstream.count("GET"), upstream.count("PUT")), (1, 1));
    let refused = gateway
        .put(ITEM, body("New", "Won"))
        .if_match(TAG)
        .send()
        .await;
    assert_eq!(refused.status, 422, "the other rules hold nevertheless");
}

#[tokio::test]
async fn an_unknown_state_is_not_asked_for_when_so_set() {
    let upstream = Upstream::start().await;
    let forward = Gateway::with("snapshots: { unknown_state: forward }")
        .start(&upstream)
        .await;
    assert_eq!(
        forward
            .put(ITEM, body("Closed", "Won"))
            .if_match(TAG)
            .send()
            .await
            .status,
        200
    );
    assert_eq!((upstream.count("GET"), upstream.count("PUT")), (0, 1));

    let upstream = Upstream::start().await;
    let refuse = Gateway::with("snapshots: { unknown_state: refuse }")
        .start(&upstream)
        .await;
    let answer = refuse
        .put(ITEM, body("Closed", "Won"))
        .if_match(TAG)
        .send()
        .await;
    assert_eq!(
        (answer.status, answer.problem().code.as_str()),
        (503, "state_unknown")
    );
    assert!(answer.header("retry-after").is_some());
    assert!(upstream.seen().is_empty());
}

#[tokio::test]
async fn what_is_known_is_forgotten_when_it_may_have_changed() {
    let gone = |status: u16| (status, "PUT");
    for (status, method) in [
        gone(200),
        gone(204),
        gone(404),
        gone(410),
        gone(412),
        gone(500),
        gone(503),
        gone(0),
        (404, "GET"),
        (410, "GET"),
        (204, "PATCH"),
        (204, "DELETE"),
    ] {
        let armed = Arc::new(AtomicBool::new(false));
        let trap = Arc::clone(&armed);
        let upstream = Upstream::with(move |seen| {
            let sprung = seen.method == method && trap.swap(false, Ordering::SeqCst);
            async move {
                match status {
                    _ if !sprung => None,
                    0 => std::future::pending().await,
                    200 => plain(200, &[("Content-Type", "application/json")], "{}"),
                    status => Some(reply(status, "")),
                }
            }
        })
        .await;
        let gateway = Gateway::with("upstream: { response_timeout: 1s }")
            .start(&upstream)
            .await;
        gateway.get(ITEM).send().await;
        armed.store(true, Ordering::SeqCst);

        let call = match method {
            "PUT" => gateway.put(ITEM, body("Active", "Accepted")).if_match(TAG),
            _ => gateway.call(method, ITEM).body("{}"),
        };
        let answer = call.send().await;
        assert_eq!(
            answer.status,
            match (status, method) {
                (0, "PUT") => 502,
                (0, _) => 409,
                (status, _) => status,
            },
            "{method} {status}: {}",
            answer.text()
        );
        assert!(!armed.load(Ordering::SeqCst));

        assert!(
            !is_known(&gateway, &upstream, TAG).await,
            "{method} {status}"
        );
    }
}

#[tokio::test]
async fn a_write_that_was_refused_upstream_for_other_reasons_is_not_forgotten() {
    let status = Arc::new(AtomicU16::new(0));
    let answer = Arc::clone(&status);
    let upstream = Upstream::with(move |seen| {
        let status = answer.load(Ordering::SeqCst);
        async move { (status > 0 && seen.method == "PUT").then(|| reply(status, "")) }
    })
    .await;
    let gateway = Gateway::start(&upstream).await;
    gateway.get(ITEM).send().await;

    status.store(400, Ordering::SeqCst);
    assert_eq!(
        gateway
            .put(ITEM, body("Active", "Accepted"))
            .if_match(TAG)
            .send()
            .await
            .status,
        400
    );
    status.store(0, Ordering::SeqCst);

    assert!(is_known(&gateway, &upstream, TAG).await);
}

/// An upstream that knows only tokens with a genuine signature, or `good` among them.
async fn strict(good: &Arc<Mutex<Vec<String>>>) -> Upstream {
    let good = Arc::clone(good);
    let upstream = Upstream::with(move |seen| {
        let sent = seen.header("authorization").unwrap_or_default();
        let known = good
            .lock()
            .unwrap()
            .iter()
            .any(|token| sent == format!("Bearer {token}"));
        async move { (!known).then(|| reply(401, "who are you?")) }
    })
    .await;
    upstream.hold(ID, "Closed", "Declined", TAG);
    upstream
}

#[tokio::test]
async fn a_forged_token_profits_from_nothing_that_its_owner_learnt() {
    for scope in ["principal", "tenant"] {
        let mine = token(TENANT, "me", "app");
        let upstream = strict(&Arc::new(Mutex::new(vec![mine.clone()]))).await;
        let gateway = Gateway::with(&format!("snapshots: {{ scope: {scope} }}"))
            .start(&upstream)
            .await;
        assert_eq!(gateway.get(ITEM).bearer(&mine).send().await.status, 200);

        let forged = signed(TENANT, "me", "app", "forged");
        for (status, substatus) in [
            ("Active", "Accepted"),
            ("Closed", "Declined"),
            ("Closed", "Won"),
        ] {
            let answer = gateway
                .put(ITEM, body(status, substatus))
                .if_match(TAG)
                .bearer(&forged)
                .send()
                .await;
            assert_eq!(
                (answer.status, answer.text().as_str()),
                (401, "who are you?"),
                "{scope}"
            );
        }
        assert_eq!(upstream.count("PUT"), 0);

        // Nor does it spoil what the owner learnt.
        let gets = upstream.count("GET");
        let answer = gateway
            .put(ITEM, body("Active", "Accepted"))
            .if_match(TAG)
            .bearer(&mine)
            .send()
            .await;
        assert_eq!((answer.status, upstream.count("GET")), (409, gets));
    }
}

#[tokio::test]
async fn another_cookie_is_another_credential() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start(&upstream).await;
    gateway
        .get(ITEM)
        .without("Authorization")
        .header("Cookie", "a=1")
        .send()
        .await;

    let answer = gateway
        .put(ITEM, body("Closed", "Won"))
        .if_match(TAG)
        .without("Authorization")
        .header("Cookie", "a=2")
        .send()
        .await;

    assert_eq!((answer.status, upstream.count("GET")), (200, 2));
}

#[tokio::test]
async fn the_scope_says_who_shares_what_was_learnt() {
    for (scope, other, gets) in [
        ("principal", token(TENANT, "you", "app"), 3),
        ("principal", token(TENANT, "me", "other app"), 3),
        ("principal", signed(TENANT, "me", "app", "renewed"), 2),
        ("tenant", token(TENANT, "you", "app"), 2),
        ("tenant", token("another tenant", "me", "app"), 3),
    ] {
        let upstream = Upstream::start().await;
        upstream.hold(
            "5f1c2d3e-0001-4a4a-9b9b-00000000a002",
            "New",
            "Pending",
            OLD,
        );
        let gateway = Gateway::with(&format!("snapshots: {{ scope: {scope} }}"))
            .start(&upstream)
            .await;
        gateway
            .get(ITEM)
            .bearer(&token(TENANT, "me", "app"))
            .send()
            .await;
        // The other is proven, but by another referral.
        gateway
            .get(&format!("{LIST}/5f1c2d3e-0001-4a4a-9b9b-00000000a002"))
            .bearer(&other)
            .send()
            .await;

        let answer = gateway
            .put(ITEM, body("Closed", "Won"))
            .if_match(TAG)
            .bearer(&other)
            .send()
            .await;

        assert_eq!(
            (answer.status, upstream.count("GET")),
            (200, gets),
            "{scope}"
        );
    }
}

#[tokio::test]
async fn a_401_ends_the_proof_wherever_it_comes_from() {
    for path in [LIST, "/anything"] {
        let mine = token(TENANT, "me", "app");
        let good = Arc::new(Mutex::new(vec![mine.clone()]));
        let upstream = strict(&good).await;
        let gateway = Gateway::start(&upstream).await;
        gateway.get(ITEM).bearer(&mine).send().await;

        good.lock().unwrap().clear();
        assert_eq!(gateway.get(path).bearer(&mine).send().await.status, 401);

        let answer = gateway
            .put(ITEM, body("Active", "Accepted"))
            .if_match(TAG)
            .bearer(&mine)
            .send()
            .await;
        assert_eq!(
            (answer.status, answer.text().as_str()),
            (401, "who are you?"),
            "{path}"
        );
    }
}

#[tokio::test]
async fn a_2xx_elsewhere_proves_nothing_nor_does_one_to_options() {
    for (method, path) in [("GET", "/anything"), ("OPTIONS", ITEM)] {
        let upstream =
            Upstream::with(
                |seen| async move { (seen.method == "OPTIONS").then(|| reply(200, "")) },
            )
            .await;
        let gateway = Gateway::start(&upstream).await;
        gateway.get(ITEM).send().await;
        let renewed = signed(
            TENANT,
            "22222222-bbbb-4000-8000-000000000002",
            "33333333-cccc-4000-8000-000000000003",
            "renewed",
        );
        let elsewhere = gateway.call(method, path).bearer(&renewed).send().await;
        assert_eq!(elsewhere.status, 200);
        let gets = upstream.count("GET");

        let answer = gateway
            .put(ITEM, body("Closed", "Won"))
            .if_match(TAG)
            .bearer(&renewed)
            .send()
            .await;

        assert_eq!((answer.status, upstream.count("GET")), (200, gets + 1));
    }
}

#[tokio::test]
async fn what_was_learnt_under_one_spelling_of_the_path_holds_for_all() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start(&upstream).await;
    gateway
        .get(&format!("/v1.0/referrals('{ID}')"))
        .send()
        .await;

    assert!(is_known(&gateway, &upstream, TAG).await);
}

#[tokio::test]
async fn an_answer_about_another_referral_teaches_nothing_about_the_one_asked_for() {
    let other = "5f1c2d3e-0001-4a4a-9b9b-00000000a002";
    let first = Arc::new(AtomicBool::new(true));
    let upstream = Upstream::with(move |_| {
        let first = first.swap(false, Ordering::SeqCst);
        async move { first.then(|| json(200, referral::shown(other, "Active", "Accepted", TAG))) }
    })
    .await;
    let gateway = Gateway::start(&upstream).await;
    gateway.get(ITEM).send().await;

    assert!(!is_known(&gateway, &upstream, TAG).await);
}

#[tokio::test]
async fn no_more_referrals_are_remembered_than_set() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::with("snapshots: { max_entries: 3 }")
        .start(&upstream)
        .await;
    for number in 0..10 {
        let id = format!("5f1c2d3e-0002-4a4a-9b9b-{number:012}");
        upstream.hold(&id, "Active", "Accepted", TAG);
        let read = gateway.get(&format!("{LIST}/{id}")).send().await;
        assert_eq!(read.status, 200);
    }

    gateway.until_metric("snapshot_entries", &[], 3.0).await;
    let updates = gateway.metric("snapshot_updates_total", &[]).await;
    assert_eq!(updates as usize, 10, "each of them was learnt");
}

#[tokio::test]
async fn what_is_known_is_forgotten_with_age() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::with("snapshots: { max_age: 1s }")
        .start(&upstream)
        .await;
    assert_eq!(gateway.get(ITEM).send().await.status, 200);
    gateway
        .until_metric("snapshot_evictions_total", &[("cause", "age")], 1.0)
        .await;

    assert!(!is_known(&gateway, &upstream, TAG).await);
}

#[tokio::test]
async fn the_state_is_not_asked_for_when_no_rule_needs_it() {
    let upstream = Upstream::start().await;
    let document = "name: small
rules:
  - { id: well-formed, check: well_formed, on: [PUT], mode: enforce }
  - { id: if-match, check: if_match, on: [PUT], mode: enforce }
states:
  New:    { next: [New, Active, Closed], substatus: [Pending, Received] }
  Active: { next: [Active, Closed], substatus: [Accepted] }
  Closed: { next: [Closed], substatus: [Won, Lost, Declined, Expired], substatus_may_change: false }
";
    let gateway = Gateway::policy(document).start(&upstream).await;

    let answer = gateway
        .put(ITEM, body("New", "Pending"))
        .if_match(TAG)
        .send()
        .await;

    assert_eq!((answer.status, upstream.count("GET")), (200, 0));
}

#[tokio::test]
async fn a_rule_that_only_watches_holds_nothing_up() {
    let shipped = include_str!("../../policies/referrals.yaml");
    for mode in ["audit", "warn"] {
        for status in [401, 403, 404, 429, 500, 503] {
            let upstream = Upstream::with(move |seen| async move {
                (seen.method == "GET").then(|| reply(status, "no"))
            })
            .await;
            let gateway =
                Gateway::policy(&shipped.replace("mode: enforce", &format!("mode: {mode}")))
                    .settings("snapshots: { unknown_state_failed: refuse, stale: refuse }")
                    .start(&upstream)
                    .await;

            let answer = gateway
                .put(ITEM, body("Closed", "Won"))
                .if_match(TAG)
                .send()
                .await;

            assert_eq!(answer.status, 200, "{mode} {status}: {}", answer.text());
            assert_eq!(upstream.applied().len(), 1, "{mode} {status}");
        }
    }
}

#[tokio::test]
async fn a_refusal_for_want_of_the_state_is_recorded_and_heeds_the_services_wish_to_wait() {
    let upstream = Upstream::with(|seen| async move {
        (seen.method == "GET")
            .then(|| plain(429, &[("Retry-After", "7")], "slowly"))
            .flatten()
    })
    .await;
    let gateway = Gateway::start(&upstream).await;

    let answer = gateway
        .put(ITEM, body("Closed", "Won"))
        .if_match(TAG)
        .header("client-request-id", "in-want")
        .send()
        .await;

    assert_eq!(
        (answer.status, answer.problem().code.as_str()),
        (503, "state_unknown")
    );
    assert_eq!(answer.header("retry-after"), Some("7"));
    let record = gateway
        .record("the decision", |line| {
            line.to_string().contains("in-want") && !line["verdict"].is_null()
        })
        .await;
    assert_eq!(
        (&record["verdict"], &record["unjudged"], &record["code"]),
        (
            &"refuse".into(),
            &"state_unknown".into(),
            &"state_unknown".into()
        )
    );
    let unjudged = [("rule", "transition"), ("verdict", "unjudged")];
    assert_eq!(
        gateway.metric("policy_decisions_total", &unjudged).await as usize,
        1
    );

    let throttled = [("route", "referral_item")];
    let throttled = gateway.metric("upstream_throttled_total", &throttled).await;
    assert_eq!(throttled as usize, 1);

    let read = gateway.get(ITEM).send().await;
    assert_eq!(
        (read.status, read.problem().code.as_str()),
        (429, "cooling_down")
    );
    assert_eq!(upstream.count("GET"), 1);
}

#[tokio::test]
async fn each_look_for_a_state_is_counted_by_its_result() {
    for (settings, shown, tag, result) in [
        ("", "Active", TAG, "hit"),
        ("", "Active", OLD, "moved_on"),
        ("snapshots: { stale: refuse }", "Active", OLD, "moved_on"),
        ("", "Odd", TAG, "failed"),
        (
            "snapshots: { unknown_state_failed: forward }",
            "Odd",
            TAG,
            "failed",
        ),
        (
            "snapshots: { unknown_state: forward }",
            "Active",
            OLD,
            "not_asked",
        ),
        (
            "snapshots: { unknown_state: refuse }",
            "Active",
            OLD,
            "not_asked",
        ),
    ] {
        let upstream = Upstream::start().await;
        upstream.hold(ID, shown, "Accepted", TAG);
        let gateway = Gateway::with(settings).start(&upstream).await;
        let counts = async || {
            let mut counts = BTreeMap::new();
            for result in [
                "hit",
                "miss",
                "unproven",
                "fetched",
                "moved_on",
                "failed",
                "not_asked",
            ] {
                let count = gateway
                    .metric("snapshot_lookups_total", &[("result", result)])
                    .await;
                if count > 0.0 {
                    counts.insert(result, count as usize);
                }
            }
            counts
        };
        gateway.get(ITEM).send().await;
        assert_eq!(counts().await, BTreeMap::new(), "{settings} {result}");

        gateway
            .put(ITEM, body("Active", "Accepted"))
            .if_match(tag)
            .send()
            .await;

        let expected = match result {
            "hit" => BTreeMap::from([("hit", 1)]),
            _ => BTreeMap::from([("miss", 1), (result, 1)]),
        };
        assert_eq!(counts().await, expected, "{settings} {result}");
    }

    let upstream = Upstream::start().await;
    let gateway = Gateway::start(&upstream).await;
    assert!(!is_known(&gateway, &upstream, TAG).await);
    for result in ["unproven", "fetched"] {
        let count = gateway
            .metric("snapshot_lookups_total", &[("result", result)])
            .await;
        assert_eq!(count as usize, 1, "{result}");
    }
    let fetched = [("from", "fetch")];
    let fetched = gateway.metric("snapshot_updates_total", &fetched).await;
    assert_eq!(fetched as usize, 1);
}

#[tokio::test]
async fn only_an_answer_that_asks_to_wait_holds_reads_back() {
    for (status, retry_after, is_held) in [
        (500, None, false),
        (500, Some("5"), false),
        (503, None, false),
        (503, Some("5"), true),
        (429, None, true),
    ] {
        let upstream = Upstream::with(move |seen| async move {
            let is_own = seen.header("ms-correlationid").as_deref() == Some("own");
            let headers: Vec<_> = retry_after
                .map(|value| ("Retry-After", value))
                .into_iter()
                .collect();
            is_own.then(|| plain(status, &headers, "")).flatten()
        })
        .await;
        let gateway = Gateway::start(&upstream).await;
        gateway.get(ITEM).send().await;
        let put = gateway.put(ITEM, body("Closed", "Won")).if_match(OLD);
        let answer = put.header("MS-CorrelationId", "own").send().await;
        assert_eq!(answer.status, 503, "{}", answer.text());

        let read = gateway.get(ITEM).send().await;
        assert_eq!(
            read.status,
            if is_held { 429 } else { 200 },
            "{status} {retry_after:?}"
        );
    }
}

#[tokio::test]
async fn an_answer_that_is_too_large_tells_nothing() {
    // The padding stands in front, so that a reader of the first part would find no referral either.
    let large = || {
        let state = referral::of(ID, "Active", "Accepted", TAG);
        state.replacen('{', &format!(r#"{{"note":"{}","#, "n".repeat(1 << 20)), 1)
    };
    let upstream = Upstream::with(move |seen| async move {
        (seen.header("x-large").is_some()
            || seen.method == "GET" && seen.header("ms-correlationid").as_deref() == Some("large"))
        .then(|| json(200, large()))
    })
    .await;
    let gateway = Gateway::start(&upstream).await;

    // The gateway's own GET.
    let answer = gateway
        .put(ITEM, body("Closed", "Won"))
        .if_match(TAG)
        .header("MS-CorrelationId", "large")
        .send()
        .await;
    assert_eq!(
        (answer.status, answer.problem().code.as_str()),
        (503, "state_unknown")
    );
    assert_eq!(upstream.count("PUT"), 0);

    // An accepted write: what was known is forgotten.
    gateway.get(ITEM).send().await;
    let asked = upstream.count("GET");
    let write = || gateway.put(ITEM, body("Closed", "Won")).if_match(TAG);
    let answer = write().header("X-Large", "1").send().await;
    assert_eq!((answer.status, upstream.count("GET")), (200, asked));
    write().header("X-Large", "1").send().await;
    assert_eq!(upstream.count("GET"), asked + 1);
}

#[tokio::test]
async fn a_rule_that_could_not_look_does_not_count_as_passed() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start(&upstream).await;

    gateway.put(ITEM, "{").if_match(TAG).send().await;

    for (rule, verdict) in [
        ("well-formed", "deny"),
        ("if-match", "pass"),
        ("links-removed", "unjudged"),
        ("transition", "unjudged"),
    ] {
        let labels = [("rule", rule), ("verdict", verdict)];
        assert_eq!(
            gateway.metric("policy_decisions_total", &labels).await as usize,
            1,
            "{rule}"
        );
    }
}

#[tokio::test]
async fn an_accepted_write_leaves_nothing_known_that_its_answer_does_not_tell() {
    for text in ["", "{}", "not json"] {
        let upstream = Upstream::with(move |seen| async move {
            (seen.method == "PUT")
                .then(|| plain(200, &[("Content-Type", "application/json")], text))
                .flatten()
        })
        .await;
        let gateway = Gateway::start(&upstream).await;
        gateway.get(ITEM).send().await;
        assert!(is_known(&gateway, &upstream, TAG).await, "{text:?}");

        assert!(!is_known(&gateway, &upstream, TAG).await, "{text:?}");
    }
}

#[tokio::test]
async fn the_fetch_of_a_state_is_sent_again_where_a_kept_connection_broke() {
    let upstream = Upstream::raw(|mut wire, _| async move {
        // One answer for each connection; the next request gets none.
        let Ok((head, _)) = wire.request().await else {
            return;
        };
        let is_referral = head.contains(ITEM);
        let text = referral::of(ID, "Active", "Accepted", TAG);
        let close = if is_referral { "Connection: close\r\n" } else { "" };
        let answer = format!(
            "HTTP/1.1 200 OK\r\n{close}Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{text}",
            text.len()
        );
        wire.send(answer).await.ok();
        if !is_referral {
            wire.request().await.ok();
        }
    })
    .await;
    let gateway = Gateway::start(&upstream).await;
    gateway.get("/other").send().await;

    let answer = gateway
        .put(ITEM, body("Closed", "Won"))
        .if_match(TAG)
        .send()
        .await;
    assert_eq!(answer.status, 200, "{}", answer.text());
}

#[tokio::test]
async fn an_accepted_write_whose_answer_breaks_off_leaves_nothing_known() {
    let upstream = Upstream::with(|seen| async move {
        (seen.method == "PUT").then(|| {
            let (pieces, body) = piped();
            tokio::spawn(async move {
                pieces.send(Ok(Frame::data("{".into()))).await.ok();
                pieces
                    .send(Err(std::io::ErrorKind::Other.into()))
                    .await
                    .ok();
            });
            Response::new(body)
        })
    })
    .await;
    let gateway = Gateway::start(&upstream).await;
    gateway.get(ITEM).send().await;

    let put = gateway.put(ITEM, body("Closed", "Won")).if_match(TAG);
    let mut open = put.open().await;
    open.rest().await;
    gateway
        .record("the broken answer", |line| line["method"] == "PUT")
        .await;

    let asked = upstream.count("GET");
    let put = gateway.put(ITEM, body("Closed", "Won")).if_match(TAG);
    put.open().await.rest().await;
    assert_eq!(upstream.count("GET"), asked + 1);
}

#[tokio::test]
async fn a_write_whose_answer_names_the_version_known_already_forgets_nothing() {
    let upstream = Upstream::with(|seen| async move {
        let headers = [("Content-Type", "application/json"), ("ETag", TAG)];
        (seen.method == "PUT")
            .then(|| plain(200, &headers, "{}"))
            .flatten()
    })
    .await;
    let gateway = Gateway::start(&upstream).await;
    gateway.get(ITEM).send().await;

    assert!(is_known(&gateway, &upstream, TAG).await);
    assert!(is_known(&gateway, &upstream, TAG).await);
}

#[tokio::test]
async fn an_answer_that_comes_in_pieces_teaches_as_a_whole() {
    let once = Arc::new(AtomicBool::new(true));
    let upstream = Upstream::with(move |_| {
        let first = once.swap(false, Ordering::SeqCst);
        async move {
            let (sender, body) = piped();
            tokio::spawn(async move {
                for piece in referral::shown(ID, "Active", "Accepted", TAG).split_inclusive(',') {
                    let piece = Frame::data(piece.to_owned().into());
                    sender.send(Ok(piece)).await.ok();
                    tokio::task::yield_now().await;
                }
            });
            first.then(|| Response::new(body))
        }
    })
    .await;
    let gateway = Gateway::start(&upstream).await;
    gateway.get(ITEM).send().await;

    assert!(is_known(&gateway, &upstream, TAG).await);
}

#[tokio::test]
async fn an_answer_with_two_codings_teaches_nothing() {
    let once = Arc::new(AtomicBool::new(true));
    let upstream = Upstream::with(move |_| {
        let first = once.swap(false, Ordering::SeqCst);
        let headers = [("Content-Encoding", "identity"); 2];
        let text = referral::shown(ID, "Active", "Accepted", TAG);
        async move { first.then(|| plain(200, &headers, text)).flatten() }
    })
    .await;
    let gateway = Gateway::start(&upstream).await;
    gateway.get(ITEM).send().await;

    assert!(!is_known(&gateway, &upstream, TAG).await);
}

#[tokio::test]
async fn an_answer_that_is_not_json_by_its_own_account_teaches_nothing() {
    for (kind, is_understood) in [
        ("application/json;charset=utf-8", true),
        ("application/vnd.partner+JSON", true),
        ("text/html", false),
        ("application/jsonp", false),
        ("json", false),
    ] {
        let once = Arc::new(AtomicBool::new(true));
        let upstream = Upstream::with(move |_| {
            let first = once.swap(false, Ordering::SeqCst);
            let text = referral::shown(ID, "Active", "Accepted", TAG);
            async move {
                first
                    .then(|| plain(200, &[("Content-Type", kind)], text))
                    .flatten()
            }
        })
        .await;
        let gateway = Gateway::start(&upstream).await;
        gateway.get(ITEM).send().await;

        let is_known = is_known(&gateway, &upstream, TAG).await;
        assert_eq!(is_known, is_understood, "{kind}");
    }
    let text = referral::shown(ID, "Active", "Accepted", TAG);
    let html = Upstream::with(move |_| {
        let text = text.clone();
        async move { plain(200, &[("Content-Type", "text/html")], text) }
    })
    .await;
    let gateway = Gateway::start(&html).await;
    let call = gateway.put(ITEM, body("Closed", "Won")).if_match(TAG);
    assert_eq!(call.send().await.problem().code, "state_unknown");
}

#[tokio::test]
async fn an_answer_to_a_query_that_may_change_members_teaches_nothing() {
    for (target, teaches) in [
        (format!("{ITEM}?$select=id,status"), false),
        (format!("{ITEM}?x"), false),
        (format!("{LIST}?$apply=compute(name%20as%20status)"), false),
        (format!("{LIST}?$top=1&$expand=team"), false),
        (
            format!("{LIST}?$Top=1&%24filter=x&$orderby=y&$count=true"),
            true,
        ),
    ] {
        let upstream = Upstream::start().await;
        let gateway = Gateway::start(&upstream).await;
        assert_eq!(gateway.get(&target).send().await.status, 200, "{target}");

        assert_eq!(
            is_known(&gateway, &upstream, TAG).await,
            teaches,
            "{target}"
        );
    }
}

#[tokio::test]
async fn a_412_is_counted_by_whether_what_is_known_predicted_it() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::with("snapshots: { unknown_state: forward }")
        .start(&upstream)
        .await;
    let put = async |tag| {
        let call = gateway.put(ITEM, body("Closed", "Won")).if_match(tag);
        call.send().await.status
    };
    let counted = async || {
        let mut counts = Vec::new();
        for (name, labels) in [
            ("precondition_failures_total", &[("predicted", "yes")][..]),
            ("precondition_failures_total", &[("predicted", "no")]),
            ("precondition_ignored_total", &[]),
        ] {
            counts.push(gateway.metric(name, labels).await as usize);
        }
        counts
    };

    // Nothing is known of the referral.
    assert_eq!((put(OLD).await, counted().await), (412, vec![0, 1, 0]));
    gateway.get(ITEM).send().await;
    assert_eq!((put(OLD).await, counted().await), (412, vec![1, 1, 0]));
    gateway.get(ITEM).send().await;
    upstream.hold(ID, "Active", "Accepted", "\"moved on\"");
    assert_eq!((put(TAG).await, counted().await), (412, vec![1, 2, 0]));

    // A service that takes a write to any version.
    let taking =
        Upstream::with(|seen| async move { (seen.method == "PUT").then(|| reply(204, "")) }).await;
    let gateway = Gateway::with("snapshots: { unknown_state: forward }")
        .start(&taking)
        .await;
    for (tag, ignored) in [(TAG, 0.0), (OLD, 1.0)] {
        gateway.get(ITEM).send().await;
        let call = gateway.put(ITEM, body("Closed", "Won")).if_match(tag);
        assert_eq!(call.send().await.status, 204);
        let count = gateway.metric("precondition_ignored_total", &[]).await;
        assert_eq!(count, ignored, "{tag}");
    }
}

#[tokio::test]
async fn only_news_counts_as_an_update() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start(&upstream).await;
    for _ in 0..3 {
        gateway.get(LIST).send().await;
    }

    let updates = gateway
        .metric("snapshot_updates_total", &[("from", "list")])
        .await;
    assert_eq!(updates as usize, 1);
}
