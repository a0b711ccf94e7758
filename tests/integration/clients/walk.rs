//! Each client walks over a thousand pages by the links that the service writes.

use percent_encoding::percent_decode_str;

use super::{Client, Got, Trust, each, gateway};
use crate::support::{LIST, Upstream, upstream::full};

const PAGES: usize = 1000;
const NEXT: &str = "/v1.0/referrals?$skiptoken=k%2fA%3d";
const DECODED: &str = "/v1.0/referrals?$skiptoken=k/A=";

/// A service whose list has so many pages, of one referral each.
async fn paged() -> Upstream {
    Upstream::with(async |seen| {
        let target = seen.target();
        // Python's clients code other letters than the service does.
        let target = percent_decode_str(&target).decode_utf8_lossy().into_owned();
        let page = match target.strip_prefix(DECODED) {
            Some(page) => page.parse().unwrap(),
            None => 0,
        };
        let next = match page + 1 < PAGES {
            true => format!(r#","@odata.nextLink":"http://api.partner.microsoft.com{NEXT}{}""#, page + 1),
            false => String::new(),
        };
        let body = format!(r#"{{"@odata.context":"http://api.partner.microsoft.com/v1.0/$metadata#Referrals","value":[{{"id":"{page}"}}]{next}}}"#);
        let answer = http::Response::builder().header("Content-Type", "application/json");
        Some(answer.body(full(body)).unwrap())
    })
    .await
}

async fn walk(client: &'static Client) {
    let upstream = paged().await;
    let &(scheme, protocol) = client.speaks.last().unwrap();
    let settings = "rate_limit: { reads: { per_minute: 6000000, burst: 1000000 } }";
    let (_gateway, place) = gateway(settings, scheme, &Trust::new(), &upstream.url()).await;
    let Some(mut adapter) = place.start(client, protocol).await else {
        return;
    };
    let mut url = format!("{}{LIST}", place.base);
    if client.has_pager {
        let got = adapter.tell(1, "WALK", &url, &[], None).await;
        assert_eq!(
            got[0].header("items"),
            Some("1000"),
            "{}: {got:?}",
            client.name
        );
    } else {
        let mut pages = 0;
        loop {
            let got = adapter.tell(1, "GET", &url, &[], None).await;
            let Got::Answer { status: 200, .. } = &got[0] else {
                panic!("{}: page {pages}: {got:?}", client.name);
            };
            let page = got[0].json();
            assert_eq!(page["value"][0]["id"], pages.to_string(), "{}", client.name);
            pages += 1;
            match page["@odata.nextLink"].as_str() {
                Some(next) => next.clone_into(&mut url),
                None => break,
            }
        }
        assert_eq!(pages, PAGES, "{}", client.name);
    }
    assert_eq!(upstream.count("GET"), PAGES, "{}", client.name);
    adapter.end().await;
}

#[tokio::test]
async fn every_client_walks_to_the_last_page() {
    each(3, walk).await;
}
