//! A mixed load: requests that pass, that each side refuses, and that fail.

use crate::support::{
    Gateway, ID, ITEM, LIST, Upstream, eventually, referral, reply, token, upstream::json,
};

/// The settings of the gateway with TLS.
pub(super) const SECURE: &str = "tls: { cert_file: '@/tls.crt', key_file: '@/tls.key' }
downstream: { max_connections: 1 }
";

/// The settings of the gateway under load. The time-out is longer than the time between two scrapes, so that one of them
/// meets a request that is under way.
pub(super) const SETTINGS: &str = "upstream: { response_timeout: 3s }
rate_limit: { concurrency: 100 }
tenants:
  known:
    contoso: { id: t1 }
    fabrikam: { id: t2, rate_limit: { reads: { per_minute: 1, burst: 1 } } }
";

/// An upstream with the faults that the load asks for by path or header.
pub(super) async fn faulty_upstream() -> Upstream {
    Upstream::with(|seen| async move {
        match seen.target.path() {
            "/hung" => std::future::pending().await,
            "/broken" => Some(reply(500, "")),
            "/throttled" => {
                let mut reply = reply(429, "");
                reply
                    .headers_mut()
                    .insert("retry-after", "60".parse().unwrap());
                Some(reply)
            }
            "/partial" => Some(json(206, "{".to_owned())),
            // It overwrites whatever it has.
            _ if seen.header("x-ignore-tag").is_some() => Some(json(
                200,
                referral::shown(ID, "Active", "Accepted", "\"overwritten\""),
            )),
            _ => None,
        }
    })
    .await
}

/// All that can happen to requests, once. `round` tells the calls of one round from those of another.
pub(super) async fn load(gateway: &Gateway, secure: &Gateway, upstream: &Upstream, round: u32) {
    let tenant = |tid: &str| token(tid, &format!("user {round}"), "app");
    let (contoso, fabrikam, throttled) = (tenant("t1"), tenant("t2"), tenant("t3"));
    let tag = upstream.tag(ID);
    let put = |text: String, tag: &str| gateway.put(ITEM, text).if_match(tag);
    let good = || referral::of(ID, "Active", "Accepted", &tag);
    let with_links = good().replacen('{', "{\"links\":{},", 1);
    let with_comma = good().replacen("[]", "[1,]", 1);
    let ignored = put(good(), &tag).bearer(&contoso);
    let ignored = ignored.header("x-ignore-tag", "1");
    let backwards = put(referral::of(ID, "New", "Pending", &tag), &tag);
    let accepted = r#"{"status":"Active","substatus":"Accepted"}"#;
    let post = gateway.call("POST", LIST).body(r#"{"name":"n"}"#);
    let post = post.header("Content-Type", "application/json");
    let looped = ["1.1 referral-gateway"; 4].join(", ");

    for _ in 0..2 {
        gateway.get(ITEM).bearer(&fabrikam).send().await;
    }
    for (call, status) in [
        // What passes, and a transition that does not.
        (gateway.get(ITEM).bearer(&contoso), 200),
        (gateway.get(LIST).bearer(&contoso), 200),
        (post, 201),
        (gateway.patch(ITEM, accepted).if_match(&tag), 204),
        (backwards, 409),
        (put(with_links, &tag).bearer(&contoso), 200),
        // From here on the tag is outdated.
        (ignored, 200),
        (put(good(), &tag).bearer(&contoso), 412),
        (put(good(), "\"unheard-of\""), 412),
        (put(with_comma, &tag), 412),
        // What the policy refuses at once.
        (gateway.put(ITEM, good()), 428),
        (put(good(), "unquoted"), 428),
        // What limits hold back: that of the tenant, whose credential is proven by now, and Microsoft's.
        (gateway.get(ITEM).bearer(&fabrikam), 429),
        (gateway.get("/throttled").bearer(&throttled), 429),
        (gateway.get("/anything").bearer(&throttled), 429),
        // Faults of the service, of the gateway, and of a caller.
        (gateway.get("/partial"), 206),
        (gateway.get("/broken"), 500),
        (gateway.get("/hung"), 504),
        (gateway.get(ITEM).header("Via", &looped), 502),
        (gateway.get(ITEM).set("Host", "a b"), 400),
    ] {
        let answer = call.send().await;
        assert_eq!(answer.status, status, "{call:?}: {}", answer.text());
    }
    // A page whose name was made to resolve to the admin listener.
    let page = gateway.admin("GET", "/status").set("Host", "evil.example");
    assert_eq!(page.send().await.status, 403);
    // A caller in clear text where TLS is asked for, then one more caller than there are places.
    secure.raw("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let open = async |number: f64| {
        let labels = [("side", "downstream")];
        secure
            .until_metric("connections_open", &labels, number)
            .await;
    };
    open(0.0).await;
    let only = secure.wire().await;
    open(1.0).await;
    let another = secure.wire().await;
    let refused = [("code", "too_many_connections")];
    eventually("a refused connection", async || {
        secure.metric("own_failures_total", &refused).await > f64::from(round)
    })
    .await;
    drop((only, another));
    for (settings, succeeded) in [("not settings", 0.0), (SETTINGS, 1.0)] {
        gateway.replace_settings(settings);
        gateway.signal("HUP");
        gateway
            .until_metric(
                "config_last_reload_successful",
                &[("what", "settings")],
                succeeded,
            )
            .await;
    }
}
