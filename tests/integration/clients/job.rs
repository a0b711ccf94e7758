//! The job of every client, and how far its outcome may differ behind the gateway.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{Adapter, Got};

/// One step: its name, and what the client got.
pub(super) type Step = (&'static str, Got);

pub(super) struct Job<'a> {
    adapter: Adapter,
    base: &'a str,
    /// Whether it sends more than anybody takes.
    sends_too_much: bool,
    steps: Vec<Step>,
}

const ITEM: &str = "/v1.0/engagements/referrals/5f1c2d3e-0001-4a4a-9b9b-00000000a001";
/// One that the simulator changes alone, and the gateway does not let anybody change.
const GUARDED: &str = "/v1.0/engagements/referrals/5f1c2d3e-0002-4a4a-9b9b-00000000a002";
const LIST: &str = "/v1.0/engagements/referrals";
const JSON: (&str, &str) = ("Content-Type", "application/json");

/// A body that neither side judges by its contents but by its size.
const BIG: usize = 800 * 1024;
/// More than both sides take.
const TOO_BIG: usize = 3 * 1024 * 1024;

impl<'a> Job<'a> {
    pub(super) fn new(adapter: Adapter, base: &'a str, sends_too_much: bool) -> Self {
        Self {
            adapter,
            base,
            sends_too_much,
            steps: Vec::new(),
        }
    }

    /// One request.
    async fn step(
        &mut self,
        name: &'static str,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<&[u8]>,
    ) -> Got {
        let url = format!("{}{path}", self.base);
        let mut got = self.adapter.tell(1, method, &url, headers, body).await;
        let got = got.pop().unwrap();
        self.steps.push((name, got.clone()));
        got
    }

    /// A PUT of a referral with this `If-Match`.
    async fn put(
        &mut self,
        name: &'static str,
        path: &str,
        tag: Option<&str>,
        body: &Value,
    ) -> Got {
        let body = body.to_string();
        let mut headers = vec![JSON];
        headers.extend(tag.map(|tag| ("If-Match", tag)));
        self.step(name, "PUT", path, &headers, Some(body.as_bytes()))
            .await
    }

    async fn patch(
        &mut self,
        name: &'static str,
        more: &[(&str, &str)],
        operations: &Value,
    ) -> Got {
        let body = operations.to_string();
        let headers: Vec<_> = [JSON].iter().chain(more).copied().collect();
        self.step(name, "PATCH", ITEM, &headers, Some(body.as_bytes()))
            .await
    }

    /// Runs the job, and says what the client got at each step.
    pub(super) async fn run(mut self) -> Vec<Step> {
        let filter = "?$filter=status%20eq%20'New'&$orderby=createdDateTime%20desc&$top=3";
        self.step("list", "GET", &format!("{LIST}{filter}"), &[], None)
            .await;
        let guarded = self.step("get", "GET", GUARDED, &[], None).await.json();
        let tag = guarded["eTag"].as_str().unwrap_or_default().to_owned();
        self.put(
            "put without a tag",
            GUARDED,
            None,
            &with(&guarded, "Active", "Accepted", false),
        )
        .await;
        self.put(
            "put with links",
            GUARDED,
            Some(&tag),
            &with(&guarded, "Active", "Accepted", true),
        )
        .await;
        self.put(
            "put of a bad substatus",
            GUARDED,
            Some(&tag),
            &with(&guarded, "Active", "Won", false),
        )
        .await;

        let read = self
            .step("get another", "GET", ITEM, &[], None)
            .await
            .json();
        let tag = read["eTag"].as_str().unwrap_or_default().to_owned();
        let good = with(&read, "Active", "Accepted", false);
        let put = self.put("put", ITEM, Some(&tag), &good).await.json();
        self.put("put of a stale tag", ITEM, Some(&tag), &good)
            .await;
        let tag = put["eTag"].as_str().unwrap_or_default().to_owned();

        let name = json!([{ "op": "replace", "path": "/name", "value": "Renamed" }]);
        self.patch("patch", &[("If-Match", &tag)], &name).await;
        self.patch(
            "patch with a representation",
            &[("Prefer", "return=representation")],
            &name,
        )
        .await;
        let mut new = read.clone();
        if let Value::Object(members) = &mut new {
            members.retain(|name, _| {
                !["id", "eTag", "links", "status", "substatus", "engagementId"]
                    .contains(&name.as_str())
                    && !name.starts_with('@')
                    && !name.ends_with("DateTime")
            });
        }
        let new = new.to_string();
        self.step("post", "POST", LIST, &[JSON], Some(new.as_bytes()))
            .await;
        let notes =
            json!([{ "op": "replace", "path": "/details/notes", "value": "x".repeat(BIG) }]);
        self.patch("patch of 800 KB", &[], &notes).await;
        self.patch(
            "patch of notes",
            &[],
            &json!([{ "op": "replace", "path": "/details/notes", "value": "short" }]),
        )
        .await;

        let url = format!("{}{ITEM}", self.base);
        let at_once = self.adapter.tell(20, "GET", &url, &[], None).await;
        let mut statuses = BTreeMap::new();
        for got in &at_once {
            *statuses.entry(got.status()).or_insert(0) += 1;
        }
        let status = if statuses == BTreeMap::from([(200, 20)]) {
            200
        } else {
            0
        };
        let about = BTreeMap::from([("statuses".to_owned(), format!("{statuses:?}"))]);
        self.steps.push((
            "20 at once",
            Got::Answer {
                status,
                headers: about,
                body: Vec::new(),
            },
        ));

        if self.sends_too_much {
            let large = json!([{ "op": "replace", "path": "/name", "value": "x".repeat(TOO_BIG) }])
                .to_string();
            self.step(
                "patch of 3 MB",
                "PATCH",
                ITEM,
                &[JSON],
                Some(large.as_bytes()),
            )
            .await;
        }
        let read = self.step("get again", "GET", ITEM, &[], None).await.json();
        let tag = read["eTag"].as_str().unwrap_or_default().to_owned();
        self.put(
            "put of a bad transition",
            ITEM,
            Some(&tag),
            &with(&read, "New", "Pending", false),
        )
        .await;
        let Self { adapter, steps, .. } = self;
        adapter.end().await;
        steps
    }
}

/// A referral as it was read, with another status, and with its links or without them.
fn with(read: &Value, status: &str, substatus: &str, has_links: bool) -> Value {
    let mut body = read.clone();
    body["status"] = json!(status);
    body["substatus"] = json!(substatus);
    if let (Value::Object(members), false) = (&mut body, has_links) {
        members.remove("links");
    }
    body
}

/// The steps that the gateway refuses: status and code. All others have the outcome that they have without it.
const REFUSED: &[(&str, u16, &str)] = &[
    ("put without a tag", 428, "if_match_missing"),
    ("put with links", 422, "links_present"),
    ("put of a bad substatus", 422, "substatus_not_allowed"),
    ("put of a bad transition", 409, "transition_not_allowed"),
    ("patch of 3 MB", 413, "body_too_large"),
];

/// Compares the steps behind the gateway with those at the simulator.
#[track_caller]
pub(super) fn compare(about: &str, expected: &[Step], got: &[Step]) {
    let alone: BTreeMap<_, _> = expected.iter().map(|(name, got)| (*name, got)).collect();
    let nothing = Got::Nothing("not asked".to_owned());
    assert!(expected.len() + 1 >= got.len(), "{about}");
    for (name, got) in got {
        let expected = *alone.get(name).unwrap_or(&&nothing);
        let about = format!("{about}: {name}: {}, alone {}", short(got), short(expected));
        if let Some((_, status, code)) = REFUSED.iter().find(|(refused, ..)| refused == name) {
            assert_eq!(got.status(), *status, "{about}");
            assert_eq!(got.json()["error"]["innerError"]["code"], *code, "{about}");
            continue;
        }
        assert_eq!(got.status(), expected.status(), "{about}");
        assert!(matches!(got.status(), 200..=299 | 412), "{about}");
        assert_eq!(bare(got.json()), bare(expected.json()), "{about}");
        // A client that logs them finds them in each answer, also of the gateway.
        for field in ["request-id", "timestamp"] {
            assert_eq!(
                got.header(field).is_some(),
                expected.header(field).is_some(),
                "{about}"
            );
        }
    }
}

/// What does not depend on the place and the time.
fn bare(mut value: Value) -> Value {
    match &mut value {
        Value::Object(members) => {
            members.retain(|name, _| {
                ![
                    "@odata.context",
                    "@odata.nextLink",
                    "uri",
                    "eTag",
                    "id",
                    "engagementId",
                    "date",
                    "requestId",
                    "client-request-id",
                ]
                .contains(&name.as_str())
                    && !name.ends_with("DateTime")
            });
            for value in members.values_mut() {
                *value = bare(value.take());
            }
        }
        Value::Array(items) => {
            for item in items {
                *item = bare(item.take());
            }
        }
        _ => {}
    }
    value
}

fn short(got: &Got) -> String {
    let text = match got {
        Got::Nothing(why) => format!("nothing ({why})"),
        Got::Answer {
            status,
            headers,
            body,
        } => {
            format!("{status} {headers:?} {}", String::from_utf8_lossy(body))
        }
    };
    text.chars().take(600).collect()
}
