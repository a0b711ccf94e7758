//! Which request is which: the ways to spell a referral's path, and what is not let through.

use crate::support::{Gateway, ID, ITEM, LIST, TAG, Upstream, body};

/// Every spelling of the path of the referral [`ID`] that a lenient reader may understand.
fn spellings() -> Vec<String> {
    let mut all: Vec<String> = [
        "/v1.0/engagements/referrals/{id}",
        "/v1/engagements/referrals/{id}",
        "/v2.0/engagements/referrals/{id}",
        "/v1.0/engagments/referrals/{id}",
        "/v1.0/referrals/{id}",
        "/v1/referrals/{id}",
        "/engagements/v1/referrals/{id}",
        "/engagements/v1.0/referrals/{id}",
        "/v1.0/engagements/referrals({id})",
        "/v1.0/engagements/referrals('{id}')",
        "/v1.0/engagements/referrals(%27{id}%27)",
        "/v1.0/engagements/referrals%28{id}%29",
        "/v1.0/referrals('{id}')",
        "/v1.0/engagements/referrals/{id}/",
        "/v1.0/engagements/referrals/{id}//",
        "/v1.0/engagements//referrals/{id}",
        "/v1.0//engagements/referrals///{id}",
        "//v1.0/engagements/referrals/{id}",
        "/V1.0/ENGAGEMENTS/REFERRALS/{id}",
        "/v1.0/Engagements/Referrals/{id}",
        "/v1.0/engagements/%72eferrals/{id}",
        "/v1.0/engagements/%52EFERRALS/{id}",
        "/%76%31.0/engagements/referrals/{id}",
        "/v1.0/engagements/referrals/{id}?api-version=v1.0",
        "/v1.0/engagements/referrals/{id}/?x=/../y",
    ]
    .iter()
    .map(|form| form.replace("{id}", ID))
    .collect();
    all.push(ITEM.replace('-', "%2D"));
    all.push(ITEM.replace('-', "%2d"));
    all.push(format!("{LIST}/{}", ID.to_uppercase()));
    all
}

#[tokio::test]
async fn a_put_is_judged_however_the_path_is_spelt_and_forwarded_as_it_was_spelt() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::with("snapshots: { unknown_state: forward }")
        .start(&upstream)
        .await;

    for path in spellings() {
        let refused = gateway.put(&path, body("Active", "Accepted")).send().await;
        assert_eq!(refused.status, 428, "{path}: {}", refused.text());
        assert_eq!(refused.problem().code, "if_match_missing", "{path}");
    }
    assert!(upstream.seen().is_empty());

    for (number, path) in spellings().iter().enumerate() {
        let call = gateway
            .put(path, r#"{"status":"Active","substatus":"Accepted"}"#)
            .if_match(TAG);
        let answer = call.send().await;
        assert!(!answer.is_ours(), "{path}: {}", answer.text());
        assert_eq!(upstream.seen()[number].target(), *path);
    }
}

#[tokio::test]
async fn the_id_in_the_body_is_compared_with_the_one_in_the_path_however_that_is_spelt() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::with("snapshots: { unknown_state: forward }")
        .start(&upstream)
        .await;

    for path in spellings() {
        let other = gateway
            .put(
                &path,
                r#"{"id":"x","status":"Active","substatus":"Accepted"}"#,
            )
            .if_match(TAG)
            .send()
            .await;
        assert_eq!(other.problem().code, "id_mismatch", "{path}");
        let same = gateway
            .put(&path, body("Active", "Accepted"))
            .if_match(TAG)
            .send()
            .await;
        assert!(!same.is_ours(), "{path}: {}", same.text());
    }
}

#[tokio::test]
async fn a_path_that_two_readers_may_read_differently_is_refused() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start(&upstream).await;
    let tails = [
        "/../referrals/{id}",
        "/./{id}",
        "/{id}/..",
        "/{id}/.",
        "/%2e%2e/referrals/{id}",
        "/%2E./referrals/{id}",
        "/.%2e/x",
        "/%2e/{id}",
        "/x%2f{id}",
        "/%2F{id}",
        "/x%5c{id}",
        "/x\\{id}",
        "/..\\{id}",
        "/{id}%00",
        "/{id}%0a",
        "/{id}%0D%0Ax",
        "/{id}%7f",
        "/{id};a=b",
        "/x;/{id}",
        ";v=1/{id}",
        "/{id}%3bx",
    ];

    for tail in tails {
        let path = format!("{LIST}{}", tail.replace("{id}", ID));
        for method in ["PUT", "PATCH", "GET"] {
            let call = gateway
                .call(method, &path)
                .header("Content-Type", "application/json")
                .if_match(TAG);
            let answer = call.body(body("Active", "Accepted")).send().await;
            assert_eq!(answer.status, 400, "{method} {path}: {}", answer.text());
            let code = answer.problem().code;
            assert!(
                matches!(
                    code.as_str(),
                    "suspicious_path" | "bad_target" | "malformed_request"
                ),
                "{method} {path}: {code}"
            );
        }
    }

    assert!(upstream.seen().is_empty(), "{:?}", upstream.seen());
}

#[tokio::test]
async fn no_detour_brings_an_unguarded_put_to_the_upstream() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start(&upstream).await;
    let paths = [
        "/x/../v1.0/engagements/referrals/{id}",
        "/x/%2e%2e/v1.0/engagements/referrals/{id}",
        "/v1.0/x/../engagements/referrals/{id}",
        "/./v1.0/engagements/referrals/{id}",
        "/v1.0/engagements/./referrals/{id}",
        "/v1.0/engagements/x/../referrals/{id}",
        "/v1.0/engagements\\referrals\\{id}",
        "/v1.0%2fengagements%2freferrals%2f{id}",
        "/v1.0/engagements%2freferrals/{id}",
        "/v1.0/engagements/referrals%2f{id}",
        "/v1.0/engagements;x/referrals/{id}",
        "/v1.0/engagements/referrals;x/{id}",
        "/v1.0;x=y/engagements/referrals/{id}",
        "/v1.0/engagements/referrals/%7b{id}%7d",
        "/v1.0/engagements/%2572eferrals/{id}",
        "/v1.0/engagements/referrals/%252e%252e/{id}",
        "/engagements/referrals/{id}?api-version=v1.0",
        "/referrals/v1.0/engagements/referrals/{id}",
        "/referrals/v2/referrals/{id}",
        "/v1.0/engagements/referrals ({id})",
        "/v1.0/engagements/referrals%20/{id}",
        "/v1.0/engagements/referrals/{id}/team",
        "/v1.0/engagements/referrals('{id}')/team",
        "/v1.0/engagements/referrals({id})()",
        "/v1.0/engagements/referrals(id='{id}')",
        "/v1.0/engagements/referrals()/{id}",
        "http:/v1.0/engagements/referrals/{id}",
        "v1.0/engagements/referrals/{id}",
        "/v1.0/engagements/referrals/{id}#x",
        "/v1.0/engagements/referrals/{id}\t",
    ];

    for path in paths {
        let path = path.replace("{id}", ID);
        let answer = gateway
            .put(&path, r#"{"links":{},"status":"New","substatus":"Won"}"#)
            .send()
            .await;
        assert!(
            (400..=501).contains(&answer.status),
            "{path}: {}",
            answer.status
        );
    }

    assert!(
        upstream.seen().is_empty(),
        "{:?}",
        upstream
            .seen()
            .iter()
            .map(|seen| seen.target())
            .collect::<Vec<_>>()
    );
}

#[tokio::test]
async fn a_write_below_the_referrals_that_is_no_known_route_is_not_found() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start(&upstream).await;

    for path in ["/team", "/links", "/x/y", "/$ref", "/registrations/0"] {
        let path = format!("{ITEM}{path}");
        for method in ["PUT", "PATCH", "POST", "DELETE"] {
            let answer = gateway
                .call(method, &path)
                .header("Content-Type", "application/json")
                .body("{}")
                .send()
                .await;
            assert_eq!(answer.status, 404, "{method} {path}");
            assert_eq!(answer.problem().code, "unknown_referral_route");
        }
        assert_eq!(upstream.count("GET"), 0);
    }
    assert!(upstream.seen().is_empty());

    let read = gateway.get(&format!("{ITEM}/team")).send().await;
    assert!(!read.is_ours());
    assert_eq!(upstream.only("GET").target(), format!("{ITEM}/team"));
}

#[tokio::test]
async fn methods_that_a_route_does_not_have_are_refused_with_those_it_has() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start(&upstream).await;

    for (method, path, has, not) in [
        ("POST", ITEM, "PUT", "POST"),
        ("PUT", LIST, "POST", "PUT"),
        ("PATCH", LIST, "POST", "PATCH"),
        ("DELETE", LIST, "GET", "DELETE"),
        ("TRACE", ITEM, "GET", "TRACE"),
        ("TRACE", "/anything", "GET", "TRACE"),
    ] {
        let answer = gateway
            .call(method, path)
            .header("Content-Type", "application/json")
            .body("{}")
            .send()
            .await;
        assert_eq!(answer.status, 405, "{method} {path}: {}", answer.text());
        let problem = answer.problem();
        assert_eq!(problem.code, "method_not_allowed");
        let told = format!("does not support the method {method}.");
        let message = problem.value["error"]["message"].as_str();
        assert!(message.unwrap().contains(&told), "{message:?}");
        let allow: Vec<_> = answer
            .header("allow")
            .expect("Allow")
            .split(',')
            .map(str::trim)
            .collect();
        assert!(
            allow.contains(&has) && !allow.contains(&not),
            "{method} {path}: {allow:?}"
        );
    }
    let connect = gateway
        .call("CONNECT", "example.com:443")
        .set("Host", "example.com:443")
        .send()
        .await;
    assert_eq!(
        (connect.status, connect.problem().code.as_str()),
        (405, "method_not_allowed")
    );

    assert!(upstream.seen().is_empty());
}

#[tokio::test]
async fn methods_are_told_apart_by_case_and_unknown_ones_refused() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start(&upstream).await;

    for method in [
        "put", "Put", "pUT", "patch", "get", "PROPFIND", "LOCK", "PUTT", "X-PUT", "M-SEARCH",
    ] {
        for path in [ITEM, LIST, "/anything"] {
            let answer = gateway
                .call(method, path)
                .header("Content-Type", "application/json")
                .body("{}")
                .send()
                .await;
            assert_eq!(answer.status, 501, "{method} {path}: {}", answer.text());
            assert_eq!(answer.problem().code, "unknown_method");
        }
    }

    assert!(upstream.seen().is_empty());
}

#[tokio::test]
async fn a_batch_is_refused() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start(&upstream).await;

    for path in [
        "/v1.0/$batch",
        "/v1.0/engagements/$batch",
        "/v1.0/engagements/referrals/$batch",
        "/v1.0/%24batch",
        "/V1.0/$BATCH",
        "/$batch",
        "/v1.0/$batch/",
        "/engagements/v1/$batch?x=y",
    ] {
        let answer = gateway
            .call("POST", path)
            .header("Content-Type", "application/json")
            .body("{}")
            .send()
            .await;
        assert_eq!(answer.status, 501, "{path}: {}", answer.text());
        assert_eq!(answer.problem().code, "batch_not_supported");
    }

    assert!(upstream.seen().is_empty());
}

#[tokio::test]
async fn a_header_that_names_another_method_or_url_is_refused_everywhere() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start(&upstream).await;

    for (name, code) in [
        ("X-HTTP-Method-Override", "method_override"),
        ("x-http-method-override", "method_override"),
        ("X-HTTP-Method", "method_override"),
        ("X-Method-Override", "method_override"),
        ("X-Original-URL", "url_override"),
        ("X-Rewrite-URL", "url_override"),
    ] {
        for (method, path) in [
            ("POST", LIST),
            ("GET", ITEM),
            ("PATCH", ITEM),
            ("POST", "/anything"),
            ("PUT", ITEM),
        ] {
            let answer = gateway
                .call(method, path)
                .header("Content-Type", "application/json")
                .header(name, "PUT")
                .body("{}")
                .send()
                .await;
            assert_eq!(
                answer.status,
                400,
                "{name} on {method} {path}: {}",
                answer.text()
            );
            assert_eq!(answer.problem().code, code, "{name} on {method} {path}");
        }
    }

    assert!(upstream.seen().is_empty());
}

#[tokio::test]
async fn a_field_name_that_a_lenient_reader_takes_for_a_guarded_one_is_refused() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start(&upstream).await;

    for name in [
        "If_Match",
        "if_match",
        "Content_Length",
        "Transfer_Encoding",
        "Content_Type",
        "X_HTTP_Method_Override",
    ] {
        let answer = gateway
            .put(ITEM, body("Active", "Accepted"))
            .if_match(TAG)
            .header(name, "1")
            .send()
            .await;
        assert_eq!(answer.status, 400, "{name}: {}", answer.text());
        let code = answer.problem().code;
        assert!(
            matches!(code.as_str(), "ambiguous_field_name" | "method_override"),
            "{name}: {code}"
        );
    }

    assert!(upstream.seen().is_empty());
}

#[tokio::test]
async fn two_credentials_are_one_too_many() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start(&upstream).await;

    let answer = gateway
        .get(ITEM)
        .header("authorization", "Bearer another")
        .send()
        .await;

    assert_eq!(
        (answer.status, answer.problem().code.as_str()),
        (400, "repeated_credential")
    );
    assert!(upstream.seen().is_empty());
}

#[tokio::test]
async fn what_is_forwarded_is_the_target_as_the_client_wrote_it() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start(&upstream).await;
    let targets = [
        "/",
        "/v1.0/engagements/referrals?$filter=status%20eq%20'New'",
        "/v1.0/engagements/referrals?%24filter=status+eq+%27New%27&$top=10",
        "/v1.0/engagements/referrals$filter=engagementId%20eq%20'1'",
        "/v1.0/engagements/referrals5f1c2d3e",
        "/v1.0/engagements//referrals",
        "/v1.0/engagements/referrals/",
        "/v1.0/referrals?$skiptoken=k1%2fAbC%3d",
        "/v1.0/engagements/referrals?x=../..&y=a%2Fb;c\\d",
        "/v1.0/$metadata",
        "/anything/else?a=b?c=d&&e",
        "/pricing/%c3%a9/x%2fy/../z;p=1",
        "/tilde~/!$&'()*+,;=:@",
        "/?",
        "/x?",
    ];

    for (number, target) in targets.into_iter().enumerate() {
        let answer = gateway.get(target).send().await;
        assert!(!answer.is_ours(), "{target}: {}", answer.text());
        assert_eq!(upstream.seen()[number].target(), target);
    }
}

#[tokio::test]
async fn other_methods_pass_to_where_they_belong() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start(&upstream).await;
    let calls = [
        ("POST", LIST, " {} ", 201),
        ("PATCH", ITEM, "[\n]", 204),
        (
            "PATCH",
            "/v1.0/engagements/referrals/5f1c2d3e-0001-4a4a-9b9b-00000000a001//",
            "[ ]",
            204,
        ),
        ("DELETE", ITEM, "[1,]", 204),
        ("POST", "/anything", "[1,]", 200),
        ("PUT", "/anything", "[1,]", 200),
        ("DELETE", "/anything", "[1,]", 200),
        ("OPTIONS", "/anything", "[1,]", 200),
    ];

    for (number, (method, path, body, status)) in calls.into_iter().enumerate() {
        let answer = gateway
            .call(method, path)
            .header("Content-Type", "application/json")
            .body(body)
            .send()
            .await;
        assert_eq!(answer.status, status, "{method} {path}: {}", answer.text());
        let seen = &upstream.seen()[number];
        assert_eq!(
            (
                seen.method.as_str(),
                seen.target().as_str(),
                seen.body.as_slice()
            ),
            (method, path, body.as_bytes())
        );
    }
}

#[tokio::test]
async fn the_authority_of_a_target_never_chooses_where_we_connect() {
    let upstream = Upstream::start().await;
    let elsewhere = Upstream::start().await;
    let gateway = Gateway::start(&upstream).await;

    let host = gateway.address.to_string();
    let same = gateway.get(&format!("http://{host}{ITEM}")).send().await;
    assert_eq!(same.status, 200, "{}", same.text());
    assert_eq!(upstream.only("GET").target.path(), ITEM);
    assert_eq!(
        upstream.only("GET").header("host").unwrap(),
        upstream.address.to_string()
    );

    let judged = gateway
        .put(&format!("HTTP://{host}{ITEM}"), body("Active", "Accepted"))
        .send()
        .await;
    assert_eq!(judged.status, 428, "{}", judged.text());

    let named = elsewhere.address.to_string();
    let differs = gateway.get(&format!("http://{named}{ITEM}")).send().await;
    assert_eq!(
        (differs.status, differs.problem().code.as_str()),
        (400, "host_mismatch")
    );
    let agrees = gateway
        .get(&format!("http://{named}{ITEM}"))
        .set("Host", &named)
        .send()
        .await;
    assert!(matches!(agrees.status, 200 | 400), "{}", agrees.status);
    assert!(elsewhere.seen().is_empty());
    assert_eq!(elsewhere.connections(), 0);
}

#[tokio::test]
async fn a_host_must_be_there_once_and_well_formed() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start(&upstream).await;

    for hosts in [
        vec![],
        vec!["a", "a"],
        vec!["a", "b"],
        vec!["a b"],
        vec!["a/b"],
        vec!["user@a"],
        vec!["a, b"],
        vec!["a:port"],
        vec!["http://a"],
        vec!["a?b"],
        vec!["a#b"],
        vec!["[::1"],
    ] {
        let call = hosts
            .iter()
            .fold(gateway.get(ITEM).without("Host"), |call, host| {
                call.header("Host", host)
            });
        let answer = call.send().await;
        assert_eq!(answer.status, 400, "{hosts:?}: {}", answer.text());
        answer.problem();
    }
    assert!(upstream.seen().is_empty());

    for host in [
        "api.partner.microsoft.com",
        "a:80",
        "[::1]:4280",
        "127.0.0.1",
    ] {
        let answer = gateway.get(ITEM).set("Host", host).send().await;
        assert_eq!(answer.status, 200, "{host}: {}", answer.text());
    }
}
