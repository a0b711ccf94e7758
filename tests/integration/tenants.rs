//! Whose quota a request spends, and that nobody can spend another's.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, SystemTime},
};

use http::Response;
use tokio::sync::watch;

use crate::support::{
    Answer, Gateway, ID, ITEM, LIST, Reply, TAG, Upstream, body, reply, token,
    token::{Issuer, TENANT, signed, usual},
    upstream::full,
};

/// Reads are few and hardly come back; writes are plenty.
const FEW_READS: &str = "rate_limit:
  reads: { per_minute: 1, burst: 3 }
  writes: { per_minute: 600000, burst: 100000 }
";

/// Lets the upstream prove a credential by a write, which spends no read.
async fn prove(gateway: &Gateway, token: &str) {
    let call = gateway
        .call("POST", LIST)
        .header("Content-Type", "application/json")
        .body("{}")
        .bearer(token);
    assert_eq!(call.send().await.status, 201);
}

async fn read(gateway: &Gateway, token: &str) -> Answer {
    gateway.get(ITEM).bearer(token).send().await
}

/// How many of `number` reads pass.
async fn passing(gateway: &Gateway, token: &str, number: usize) -> usize {
    let mut passed = 0;
    for _ in 0..number {
        passed += usize::from(read(gateway, token).await.status == 200);
    }
    passed
}

fn seconds(answer: &Answer) -> u64 {
    answer
        .header("retry-after")
        .unwrap_or_else(|| panic!("no Retry-After: {answer:?}"))
        .parse()
        .unwrap()
}

#[tokio::test]
async fn a_burst_passes_and_then_the_tenant_has_to_wait() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::with(FEW_READS).start(&upstream).await;
    let mine = usual();
    prove(&gateway, &mine).await;

    assert_eq!(passing(&gateway, &mine, 3).await, 3);
    let answer = read(&gateway, &mine).await;

    assert_eq!(
        (answer.status, answer.problem().code.as_str()),
        (429, "rate_limited")
    );
    assert!(
        answer.text().contains(
            "The rate limit of this tenant is exceeded (rate_limit.reads: 1 per minute, burst 3)."
        ),
        "{}",
        answer.text()
    );
    assert!((1..=60).contains(&seconds(&answer)), "{answer:?}");
    assert!(
        answer
            .header("ratelimit-limit")
            .unwrap()
            .parse::<u64>()
            .is_ok()
    );
    assert_eq!(answer.header("ratelimit-remaining"), Some("0"));
    assert!(
        answer
            .header("ratelimit-reset")
            .unwrap()
            .parse::<u64>()
            .unwrap()
            >= 1
    );
    assert_eq!(upstream.count("GET"), 3);
    gateway
        .until_metric(
            "ratelimit_decisions_total",
            &[("class", "reads"), ("outcome", "limited")],
            1.0,
        )
        .await;
}

#[tokio::test]
async fn each_limit_is_as_set_for_all_tenants_and_for_one() {
    let ample = "{ per_minute: 600000, burst: 100000 }";
    let few = "{ per_minute: 2, burst: 3 }";
    for (few_of, other, limited, free) in [
        ("reads", "writes", "GET", "DELETE"),
        ("writes", "reads", "DELETE", "GET"),
    ] {
        let all = format!("rate_limit: {{ {few_of}: {few}, {other}: {ample} }}\n");
        let one = format!(
            "rate_limit: {{ reads: {ample}, writes: {ample} }}
tenants: {{ known: {{ contoso: {{ id: {TENANT}, rate_limit: {{ {few_of}: {few} }} }} }} }}
"
        );
        for settings in [all, one] {
            let upstream = Upstream::start().await;
            let gateway = Gateway::with(&settings).start(&upstream).await;
            let send = async |method| gateway.call(method, ITEM).send().await;
            // The upstream proves the credential by what is not limited here.
            assert!(send(free).await.status < 300, "{settings}");

            for _ in 0..3 {
                assert!(send(limited).await.status < 300, "{settings}");
            }
            let answer = send(limited).await;
            assert_eq!(answer.status, 429, "{settings}");
            assert_eq!(answer.header("ratelimit-limit"), Some("3"), "{settings}");
            let wait = seconds(&answer);
            assert!((16..=30).contains(&wait), "{wait} s with {settings}");
            assert!(send(free).await.status < 300, "{settings}");
        }
    }
}

#[tokio::test]
async fn reads_and_writes_are_counted_apart() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::with(FEW_READS).start(&upstream).await;
    let mine = usual();
    prove(&gateway, &mine).await;
    assert_eq!(passing(&gateway, &mine, 5).await, 3);

    prove(&gateway, &mine).await;
    for method in ["HEAD", "OPTIONS"] {
        assert_eq!(
            gateway.call(method, ITEM).send().await.status,
            429,
            "{method} is a read"
        );
    }
    for method in ["PATCH", "DELETE"] {
        assert_eq!(
            gateway.call(method, ITEM).body("{}").send().await.status,
            204,
            "{method} is a write"
        );
    }
}

#[tokio::test]
async fn a_refused_put_spends_a_write_and_a_limited_one_is_not_judged() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::with("rate_limit: { writes: { per_minute: 1, burst: 2 } }")
        .start(&upstream)
        .await;

    let mut answers = Vec::new();
    for _ in 0..3 {
        answers.push(gateway.put(ITEM, "{}").send().await.status);
    }

    assert_eq!(answers, [428, 428, 429]);
    let limited = gateway.put(ITEM, "{}").send().await.text();
    let told = "The rate limit of this unproven credential is exceeded (rate_limit.writes: 1 per minute, burst 2).";
    assert!(limited.contains(told), "{limited}");
}

#[tokio::test]
async fn a_fetch_of_the_state_is_never_refused_for_the_limit() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::with(FEW_READS).start(&upstream).await;
    let mine = usual();
    prove(&gateway, &mine).await;
    assert_eq!(passing(&gateway, &mine, 4).await, 3);
    // The tag is another than the one the reads showed.
    let tag = "\"fresh\"";
    upstream.hold(ID, "Active", "Accepted", tag);

    let answer = gateway
        .put(ITEM, r#"{"status":"Closed","substatus":"Won"}"#)
        .if_match(tag)
        .send()
        .await;

    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(upstream.count("GET"), 4);
}

#[tokio::test]
async fn a_fetch_of_the_state_counts_as_a_read() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::with(FEW_READS).start(&upstream).await;
    let mine = usual();
    prove(&gateway, &mine).await;

    let answer = gateway
        .put(ITEM, body("Closed", "Won"))
        .if_match(TAG)
        .bearer(&mine)
        .send()
        .await;

    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(upstream.count("GET"), 1);
    assert_eq!(passing(&gateway, &mine, 3).await, 2);
}

#[tokio::test]
async fn a_known_tenant_has_limits_and_a_name_of_its_own() {
    let upstream = Upstream::start().await;
    let settings = format!(
        "rate_limit:
  reads: {{ per_minute: 600000, burst: 100000 }}
  writes: {{ per_minute: 600000, burst: 100000 }}
tenants:
  known:
    contoso: {{ id: \"{TENANT}\", rate_limit: {{ reads: {{ per_minute: 1, burst: 2 }} }} }}
"
    );
    let gateway = Gateway::with(&settings).start(&upstream).await;
    let (known, other) = (usual(), token("another", "o", "a"));
    prove(&gateway, &known).await;
    prove(&gateway, &other).await;

    assert_eq!(passing(&gateway, &known, 4).await, 2);
    assert_eq!(passing(&gateway, &other, 4).await, 4);
    assert_eq!(
        gateway
            .metric("tenant_requests_total", &[("tenant", "contoso")])
            .await as usize,
        5
    );
    assert_eq!(
        gateway
            .metric("tenant_requests_total", &[("tenant", "_other")])
            .await as usize,
        5
    );
    assert!(!gateway.metrics().await.contains(TENANT));
}

#[tokio::test]
async fn all_credentials_of_a_tenant_share_its_quota() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::with(FEW_READS).start(&upstream).await;
    let tokens = [
        token(TENANT, "a", "x"),
        token(TENANT, "b", "x"),
        token(TENANT, "b", "y"),
    ];
    for token in &tokens {
        prove(&gateway, token).await;
    }

    let mut passed = 0;
    for token in &tokens {
        passed += passing(&gateway, token, 3).await;
    }

    assert_eq!(passed, 3);
}

#[tokio::test]
async fn a_configured_header_names_the_tenant_of_a_request_without_a_token() {
    let upstream = Upstream::start().await;
    let settings = "tenants:
  header: X-Tenant
  known:
    contoso: { id: contoso-id }
    fabrikam: { id: fabrikam-id }
";
    let gateway = Gateway::with(settings).start(&upstream).await;

    gateway
        .get("/anything")
        .without("Authorization")
        .header("X-Tenant", "contoso-id")
        .send()
        .await;
    gateway
        .get("/anything")
        .without("Authorization")
        .header("X-Tenant", "contoso-id")
        .send()
        .await;
    gateway
        .get("/anything")
        .bearer(&token("fabrikam-id", "o", "a"))
        .header("X-Tenant", "contoso-id")
        .send()
        .await;

    gateway
        .until_metric("tenant_requests_total", &[("tenant", "contoso")], 2.0)
        .await;
    gateway
        .until_metric("tenant_requests_total", &[("tenant", "fabrikam")], 1.0)
        .await;
}

/// An upstream that holds what comes until it is told to let go.
async fn holding() -> (Upstream, watch::Sender<bool>) {
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
    (upstream, go)
}

#[tokio::test]
async fn a_known_tenant_may_have_more_or_fewer_requests_under_way() {
    for own in [1, 3] {
        let (upstream, go) = holding().await;
        let settings = format!(
            "rate_limit: {{ concurrency: 2 }}
tenants: {{ known: {{ contoso: {{ id: {TENANT}, rate_limit: {{ concurrency: {own} }} }} }} }}
"
        );
        let gateway = Gateway::with(&settings).start(&upstream).await;
        prove(&gateway, &usual()).await;

        let mut held = Vec::new();
        for number in 1..=own {
            held.push(gateway.get(ITEM).open().await);
            upstream.arrived("GET", number).await;
        }
        let further = gateway.get(ITEM).send().await;
        assert_eq!(
            (further.status, further.problem().code.as_str()),
            (429, "concurrency_limited"),
            "{own}"
        );
        go.send(true).unwrap();
    }
}

#[tokio::test]
async fn only_so_many_requests_of_a_tenant_are_under_way_at_once() {
    let (upstream, go) = holding().await;
    let gateway = Gateway::with("rate_limit: { concurrency: 2 }")
        .start(&upstream)
        .await;
    let (mine, other) = (usual(), token("another", "o", "a"));
    prove(&gateway, &mine).await;

    let mut first = gateway.get(ITEM).open().await;
    let second = gateway.get(ITEM).open().await;
    upstream.arrived("GET", 2).await;
    let third = gateway.get(ITEM).send().await;
    assert_eq!(
        (third.status, third.problem().code.as_str()),
        (429, "concurrency_limited")
    );
    let mut stranger = gateway.get(ITEM).bearer(&other).open().await;
    upstream.arrived("GET", 3).await;

    // Who leaves makes room.
    second.reset();
    gateway
        .until_metric("http_requests_in_flight", &[], 2.0)
        .await;
    let mut fourth = gateway.get(ITEM).open().await;
    upstream.arrived("GET", 4).await;
    go.send(true).unwrap();
    for wire in [&mut first, &mut stranger, &mut fourth] {
        assert_eq!(wire.answer("GET").await.status, 200);
    }
}

/// An upstream that knows only the tokens with a genuine signature.
async fn strict() -> Upstream {
    let genuine = signed("", "", "", "genuine")
        .rsplit('.')
        .next()
        .unwrap()
        .to_owned();
    Upstream::with(move |seen| {
        let known = seen
            .header("authorization")
            .is_some_and(|sent| sent.ends_with(&genuine));
        async move { (!known).then(|| reply(401, "who are you?")) }
    })
    .await
}

#[tokio::test]
async fn a_forged_token_does_not_spend_the_tenants_quota() {
    let upstream = strict().await;
    let gateway = Gateway::with(FEW_READS).start(&upstream).await;
    let mine = usual();
    prove(&gateway, &mine).await;

    let mut limited = 0;
    for _ in 0..8 {
        limited += usize::from(
            read(&gateway, &signed(TENANT, "me", "app", "forged"))
                .await
                .status
                == 429,
        );
    }
    assert_eq!(
        limited, 5,
        "a credential that is not proven has a bucket of its own"
    );
    for number in 0..8 {
        read(
            &gateway,
            &signed(TENANT, "me", "app", &format!("forged {number}")),
        )
        .await;
    }

    assert_eq!(passing(&gateway, &mine, 3).await, 3);
}

#[tokio::test]
async fn all_unproven_credentials_together_are_bounded() {
    let upstream = strict().await;
    let gateway = Gateway::with(FEW_READS).start(&upstream).await;
    let mine = usual();
    prove(&gateway, &mine).await;

    let mut passed = 0;
    for number in 0..60 {
        let forged = signed(&format!("tenant {number}"), "o", "a", "forged");
        passed += usize::from(read(&gateway, &forged).await.status == 401);
    }

    // Ten times the default burst, and what came back in the meantime.
    assert!((30..=40).contains(&passed), "{passed}");
    assert_eq!(passing(&gateway, &mine, 3).await, 3);
}

#[tokio::test]
async fn tenants_beyond_the_bound_share_one_bucket() {
    let upstream = Upstream::start().await;
    let settings = FEW_READS.to_owned() + "  max_tenants: 2\n";
    let gateway = Gateway::with(&settings).start(&upstream).await;

    let mut passed = 0;
    for number in 0..8 {
        let token = token(&format!("tenant {number}"), "o", "a");
        prove(&gateway, &token).await;
        passed += passing(&gateway, &token, 3).await;
    }

    assert!((6..=9).contains(&passed), "{passed} of 24 passed");
}

#[tokio::test]
async fn forgetting_a_tenant_does_not_refill_its_bucket() {
    let upstream = Upstream::start().await;
    let settings = FEW_READS.to_owned() + "  max_tenants: 4\n";
    let gateway = Gateway::with(&settings).start(&upstream).await;
    let mine = usual();
    prove(&gateway, &mine).await;
    assert_eq!(passing(&gateway, &mine, 4).await, 3);

    for number in 0..40 {
        let token = token(&format!("tenant {number}"), "o", "a");
        prove(&gateway, &token).await;
        read(&gateway, &token).await;
    }

    assert_eq!(passing(&gateway, &mine, 2).await, 0);
}

/// An upstream that answers reads of the usual tenant with this, once.
async fn throttling(status: u16, retry_after: Option<String>) -> Upstream {
    let times = Arc::new(AtomicUsize::new(0));
    Upstream::with(move |seen| {
        let retry_after = retry_after.clone();
        let mine = seen.header("authorization") == Some(format!("Bearer {}", usual()));
        let first = mine
            && seen.method == "GET"
            && seen.target.path() == LIST
            && times.fetch_add(1, Ordering::SeqCst) == 0;
        async move {
            let reply: Option<Reply> = first.then(|| {
                let builder = Response::builder().status(status);
                let lines = retry_after.iter().flat_map(|value| value.split('\n'));
                let builder =
                    lines.fold(builder, |builder, line| builder.header("Retry-After", line));
                builder
                    .body(full(r#"{ "statusCode": 429, "message": "slow down" }"#))
                    .unwrap()
            });
            reply
        }
    })
    .await
}

#[tokio::test]
async fn a_tenant_that_the_upstream_throttles_is_held_back_and_no_other() {
    let upstream = throttling(429, Some("57".to_owned())).await;
    let gateway = Gateway::start(&upstream).await;
    let (mine, other) = (usual(), token("another", "o", "a"));
    prove(&gateway, &mine).await;
    prove(&gateway, &other).await;

    let theirs = gateway.get(LIST).send().await;
    assert_eq!(
        (theirs.status, theirs.text().as_str()),
        (429, r#"{ "statusCode": 429, "message": "slow down" }"#)
    );
    assert_eq!(theirs.header("retry-after"), Some("57"));
    assert!(!theirs.is_ours());
    let asked = upstream.seen().len();

    let ours = gateway.get(ITEM).send().await;
    assert_eq!(
        (ours.status, ours.problem().code.as_str()),
        (429, "cooling_down")
    );
    assert!((1..=57).contains(&seconds(&ours)), "{ours:?}");
    assert_eq!(upstream.seen().len(), asked);
    assert_eq!(gateway.metric("cooldowns_active", &[]).await as usize, 1);
    let throttled = [("route", "referral_list")];
    let throttled = gateway.metric("upstream_throttled_total", &throttled).await;
    assert_eq!(throttled as usize, 1);
    gateway
        .record("the wait", |line| {
            (&line["wait_s"], &line["status"]) == (&57.into(), &429.into())
        })
        .await;

    prove(&gateway, &mine).await;
    assert_eq!(read(&gateway, &other).await.status, 200);
}

#[tokio::test]
async fn how_long_a_tenant_is_held_back_is_as_the_upstream_says_and_bounded() {
    let in_an_hour = httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(3600));
    for (status, retry_after, held_back) in [
        (429, Some("5000"), Some(41..=50)),
        (429, Some(in_an_hour.as_str()), Some(41..=50)),
        (429, None, Some(1..=20)),
        (429, Some("soon"), Some(1..=20)),
        (429, Some("-5"), Some(1..=20)),
        (429, Some("99999999999999999999999999"), Some(41..=50)),
        (429, Some("Fri, 31 Dec 9999 23:59:59 GMT"), Some(41..=50)),
        (429, Some("44.5"), Some(41..=45)),
        (429, Some("45, 45"), Some(41..=45)),
        (429, Some("10, 45"), Some(41..=45)),
        (429, Some("45\n10"), Some(41..=45)),
        (503, Some("30"), Some(21..=30)),
        (503, None, None),
        (500, Some("30"), None),
        (200, Some("30"), None),
    ] {
        let upstream = throttling(status, retry_after.map(str::to_owned)).await;
        let settings = "rate_limit: { cooldown: { default: 20s, max: 50s } }";
        let gateway = Gateway::with(settings).start(&upstream).await;
        prove(&gateway, &usual()).await;
        assert_eq!(gateway.get(LIST).send().await.status, status);

        let answer = gateway.get(ITEM).send().await;
        match held_back {
            None => assert_eq!(answer.status, 200, "{status} {retry_after:?}"),
            Some(range) => {
                assert_eq!(answer.status, 429, "{status} {retry_after:?}");
                assert!(
                    range.contains(&seconds(&answer)),
                    "{status} {retry_after:?}: {}",
                    seconds(&answer)
                );
            }
        }
    }
}

#[tokio::test]
async fn a_cooldown_ends() {
    let upstream = throttling(429, Some("1".to_owned())).await;
    let gateway = Gateway::start(&upstream).await;
    prove(&gateway, &usual()).await;
    assert_eq!(gateway.get(LIST).send().await.status, 429);

    crate::support::eventually("a read to pass", async || {
        gateway.get(ITEM).send().await.status == 200
    })
    .await;

    gateway.until_metric("cooldowns_active", &[], 0.0).await;
}

#[tokio::test]
async fn a_throttled_write_does_not_hold_back_reads() {
    let throttle = Arc::new(Mutex::new(true));
    let once = Arc::clone(&throttle);
    let upstream = Upstream::with(move |seen| {
        let first = seen.method == "PUT" && std::mem::replace(&mut *once.lock().unwrap(), false);
        async move { first.then(|| reply(429, "")) }
    })
    .await;
    let gateway = Gateway::start(&upstream).await;
    gateway.get(ITEM).send().await;

    let theirs = gateway
        .put(ITEM, body("Closed", "Won"))
        .if_match(TAG)
        .send()
        .await;
    assert!(theirs.status == 429 && !theirs.is_ours());
    let ours = gateway
        .put(ITEM, body("Closed", "Won"))
        .if_match(TAG)
        .send()
        .await;
    assert_eq!(
        (ours.status, ours.problem().code.as_str()),
        (429, "cooling_down")
    );
    assert_eq!(gateway.get(ITEM).send().await.status, 200);
    assert_eq!(upstream.count("PUT"), 1);
}

#[tokio::test]
async fn an_unproven_credential_cannot_bring_a_cooldown_on_the_tenant() {
    let genuine = usual();
    let upstream = Upstream::with(move |seen| {
        let mine = seen.header("authorization") == Some(format!("Bearer {genuine}"));
        async move { (!mine).then(|| reply(429, "")) }
    })
    .await;
    let gateway = Gateway::start(&upstream).await;
    prove(&gateway, &usual()).await;

    assert_eq!(
        read(&gateway, &signed(TENANT, "me", "app", "forged"))
            .await
            .status,
        429
    );

    assert_eq!(read(&gateway, &usual()).await.status, 200);
}

/// A gateway that knows the issuer's keys, and a tenant by name.
async fn verifying(issuer: &Issuer, upstream: &Upstream) -> Gateway {
    let settings = format!(
        "{FEW_READS}tenants:\n  jwks_file: \"@/keys.json\"\n  known: {{ contoso: {{ id: \"{TENANT}\" }} }}\n"
    );
    Gateway::with(&settings)
        .file("keys.json", &issuer.key_set())
        .start(upstream)
        .await
}

/// An upstream that accepts no token but these.
async fn accepting(tokens: &[&String]) -> Upstream {
    let good: Vec<String> = tokens
        .iter()
        .map(|token| format!("Bearer {token}"))
        .collect();
    Upstream::with(move |seen| {
        let is_good = seen
            .header("authorization")
            .is_some_and(|sent| good.contains(&sent));
        async move { (!is_good).then(|| reply(401, "who are you?")) }
    })
    .await
}

#[tokio::test]
async fn a_verified_token_draws_from_its_tenants_bucket_at_once() {
    let issuer = Issuer::new();
    let upstream = Upstream::start().await;
    let gateway = verifying(&issuer, &upstream).await;

    let mut answers = Vec::new();
    for user in ["a", "b", "c", "d"] {
        answers.push(
            read(&gateway, &issuer.token(TENANT, user, "1"))
                .await
                .status,
        );
    }

    assert_eq!(answers, [200, 200, 200, 429]);
    let other = issuer.token("another", "a", "1");
    assert_eq!(passing(&gateway, &other, 4).await, 3);
    gateway
        .until_metric("tenant_requests_total", &[("tenant", "contoso")], 4.0)
        .await;
}

#[tokio::test]
async fn a_token_that_does_not_verify_names_no_tenant_whatever_the_service_says() {
    let issuer = Issuer::new();
    let upstream = Upstream::start().await;
    let gateway = verifying(&issuer, &upstream).await;
    let forged = Issuer::new().token(TENANT, "a", "1");

    // The service answers 200, and the gateway never says 401 in its place.
    assert_eq!(passing(&gateway, &forged, 5).await, 3);

    let unsigned = token(TENANT, "a", "app");
    assert_eq!(passing(&gateway, &unsigned, 5).await, 3);
    assert_eq!(
        passing(&gateway, &issuer.token(TENANT, "a", "1"), 5).await,
        3
    );
    gateway
        .until_metric("tenant_requests_total", &[("tenant", "contoso")], 5.0)
        .await;
    gateway
        .record("a hint that the file may be old", |line| {
            line["message"]
                .as_str()
                .is_some_and(|text| text.contains("tenants.jwks_file does not verify"))
        })
        .await;
}

#[tokio::test]
async fn a_verified_token_is_told_nothing_before_the_service_accepts_it() {
    let issuer = Issuer::new();
    let (mine, stale) = (
        issuer.token(TENANT, "a", "1"),
        issuer.token(TENANT, "a", "2"),
    );
    let upstream = accepting(&[&mine]).await;
    upstream.hold(ID, "Closed", "Declined", TAG);
    let gateway = verifying(&issuer, &upstream).await;
    assert_eq!(read(&gateway, &mine).await.status, 200);
    let reopen = async |token: &str| {
        let put = gateway.put(ITEM, body("Active", "Accepted"));
        put.if_match(TAG).bearer(token).send().await
    };

    let answer = reopen(&stale).await;

    assert_eq!(
        (answer.status, answer.text().as_str()),
        (401, "who are you?")
    );
    let gets = upstream.count("GET");
    let answer = reopen(&mine).await;
    assert_eq!((answer.status, upstream.count("GET")), (409, gets));
    assert_eq!(upstream.count("PUT"), 0);
}

#[tokio::test]
async fn a_verified_token_that_the_service_refuses_stops_spending_its_tenants_quota() {
    let issuer = Issuer::new();
    let mine = issuer.token(TENANT, "a", "1");
    let for_another_service = issuer.token(TENANT, "a", "2");
    let upstream = accepting(&[&mine]).await;
    let gateway = verifying(&issuer, &upstream).await;

    let mut answers = Vec::new();
    for _ in 0..5 {
        answers.push(read(&gateway, &for_another_service).await.status);
    }

    assert_eq!(answers, [401, 401, 401, 401, 429]);
    assert_eq!(passing(&gateway, &mine, 3).await, 2);
}
