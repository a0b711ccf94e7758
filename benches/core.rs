//! What the pure core costs for one request, piece by piece and without a socket: `cargo bench --bench core`.
//!
//! Every piece is checked once before it is measured, so that a number never stands for the wrong outcome.
#![expect(
    clippy::unwrap_used,
    reason = "a benchmark that cannot set up its input says so by stopping"
)]

use std::{
    hint::black_box,
    num::{NonZeroU32, NonZeroUsize},
    sync::Arc,
    time::{Duration, Instant},
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD as BASE64};
use bytes::Bytes;
use criterion::{BatchSize, Criterion, Throughput};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Version, header, request};
use referral_gateway::{
    cache::{self, Lookup, Snapshots},
    metrics::Metrics,
    policy::{
        self, Converted, Expression, IfMatch, Inputs, Names, Policy, Verdict,
        judging::{self, Payload, Received, Stale, UnknownState, UnknownStateFailed},
        repair,
    },
    proxy::{headers, route::Route},
    rate_limit::{Class, Cooldown, Limits, Quota, RateLimit, Terms},
    referral::{EntityTag, Members, ReferralId, Sighting, State},
    tenant::{self, Caller, Tenants},
};
use tikv_jemallocator::Jemalloc;

// The program's own allocator: several of these numbers are mostly allocation.
#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

const ID: &str = "5f1c2d3e-0001-4a4a-9b9b-00000000a001";
const TAG: &str = "\"0a00b1c2-0000-0100-0000-65f01d420000\"";
const LINKS: &str = r#""links": {
    "relatedReferrals": { "uri": "https://api.partner.microsoft.com/v1.0/engagements/referrals?$filter=engagementId eq '7a7a7a7a-0001-4b4b-8c8c-00000000e001'", "method": "GET" },
    "self": { "uri": "https://api.partner.microsoft.com/v1.0/engagements/referrals/5f1c2d3e-0001-4a4a-9b9b-00000000a001", "method": "GET" }
  },"#;
/// A PATCH as a connector sends it.
const CLOSING: &str = r#"[
  { "op": "replace", "path": "/status", "value": "Closed" },
  { "op": "replace", "path": "/substatus", "value": "Lost" },
  { "op": "replace", "path": "/statusReason", "value": "no budget" }
]"#;
const TENANT_HEADER: HeaderName = HeaderName::from_static("x-tenant");

/// Body of a PUT, in bytes.
const PUT: usize = 2500;
/// Answer to a GET, in bytes.
const ANSWER: usize = 2700;
/// Items of a list answer, 55 KB in all.
const ITEMS: usize = 20;

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    judge(&mut criterion);
    expression(&mut criterion);
    members(&mut criterion);
    strip_links(&mut criterion);
    entity_tag(&mut criterion);
    route(&mut criterion);
    header_section(&mut criterion);
    identify(&mut criterion);
    admit(&mut criterion);
    snapshots(&mut criterion);
    sightings(&mut criterion);
    criterion.final_summary();
}

/// A write from its body's bytes to the verdict, where the referral stands being known.
fn judge(criterion: &mut Criterion) {
    let policy = include_str!("../policies/referrals.yaml");
    let policy = Policy::parse(policy, "referrals.yaml").unwrap();
    let (id, from) = (id(), new());
    let headers = put().headers;
    let judge = |body| judged(&policy, policy::Method::Put, &id, &headers, &from, body);
    let (good, bad) = (referral(PUT, "", "synthetic "), referral(PUT, LINKS, "x"));
    assert!(judge(good.as_bytes()).findings().is_empty());
    assert_eq!(
        judge(bad.as_bytes()).leading().unwrap().code,
        "links_present"
    );

    let mut group = criterion.benchmark_group("judge");
    group.throughput(Throughput::Bytes(PUT as u64));
    for (name, body) in [("passes", &good), ("refused for links", &bad)] {
        group.bench_function(name, |bencher| {
            bencher.iter(|| judge(black_box(body.as_bytes())));
        });
    }
    let patch = |body| judged(&policy, policy::Method::Patch, &id, &headers, &from, body);
    let closing = CLOSING.as_bytes();
    assert!(patch(closing).findings().is_empty());
    group.throughput(Throughput::Bytes(closing.len() as u64));
    group.bench_function("a patch passes", |bencher| {
        bencher.iter(|| patch(black_box(closing)));
    });
    group.finish();
}

fn judged(
    policy: &Policy,
    method: policy::Method,
    id: &ReferralId,
    headers: &HeaderMap,
    from: &State,
    body: &[u8],
) -> Verdict {
    let settings = judging::Settings {
        unknown_state: UnknownState::Fetch,
        unknown_state_failed: UnknownStateFailed::Refuse,
        stale: Stale::Forward,
    };
    let received = Received {
        method,
        id: Some(id),
        headers: headers.clone(),
        body: Payload::<()>::Whole(Bytes::copy_from_slice(body)),
        context: policy::Context::default(),
    };
    let mut write = received.mend(policy);
    let judged = write.judge(settings).answer_by(Some(from));
    judged.into_parts().0
}

/// What an expression is given in these measurements.
fn expression_inputs<'a>(
    headers: &'a HeaderMap,
    body: &'a str,
    from: &'a State,
    names: &'a Names,
    converted: &'a Converted,
) -> Inputs<'a> {
    Inputs {
        method: "PUT",
        route: "referral_item",
        headers,
        query: None,
        application: "33333333-cccc-4000-8000-000000000003",
        body: Some(black_box(body.as_bytes())),
        referral: Some(from),
        tenant_alias: "contoso",
        tenant_id: "11111111-aaaa-4000-8000-000000000001",
        names,
        converted,
    }
}

/// A rule in CEL on a PUT: compiled once, then for each request with the body's conversion, or on what another rule has
/// converted.
fn expression(criterion: &mut Criterion) {
    let cap = "!has(body.details) || double(body.details.dealValue) <= 1000000.0
        || (has(body.statusReason) && body.statusReason.matches('[a-z]'))";
    let team = "body.customerProfile.team.all(member, member.email.endsWith('@example.com'))";
    let head = "request.method != 'PUT' || 'prefer' in request.headers";
    let body = referral(PUT, "", "synthetic ");
    let (headers, from) = (put().headers, new());

    let mut group = criterion.benchmark_group("expression");
    group.bench_function("compile", |bencher| {
        bencher.iter(|| Expression::compile(black_box(cap)).unwrap());
    });
    for (name, text) in [("a value", cap), ("a loop", team), ("no body", head)] {
        let expression = Expression::compile(text).unwrap();
        let names = Names::from_iter([&expression]);
        let before = Converted::default();
        let converted = expression_inputs(&headers, &body, &from, &names, &before);
        assert_eq!(expression.holds(&converted), Ok(true), "{text}");
        group.bench_function(format!("{name}, with conversion"), |bencher| {
            bencher.iter(|| {
                let converted = Converted::default();
                expression.holds(&expression_inputs(
                    &headers, &body, &from, &names, &converted,
                ))
            });
        });
        group.bench_function(format!("{name}, converted before"), |bencher| {
            bencher.iter(|| expression.holds(black_box(&converted)));
        });
    }
    group.finish();
}

/// The one pass over a body, and what building the whole tree would cost instead.
fn members(criterion: &mut Criterion) {
    let small = referral(PUT, "", "synthetic ");
    let large = referral(1024 * 1024, "", "Größe, 規模, μέγεθος \u{1f600}; ");
    for (size, body) in [("2.5 KB", small), ("1 MiB, not all ASCII", large)] {
        let body = body.as_bytes();
        assert!(Members::read(body).unwrap().status.text().is_some());
        let mut group = criterion.benchmark_group(format!("body of {size}"));
        group.throughput(Throughput::Bytes(body.len() as u64));
        group.bench_function("Members::read", |bencher| {
            bencher.iter(|| Members::read(black_box(body)).is_ok());
        });
        group.bench_function("serde_json::Value, to compare", |bencher| {
            bencher.iter(|| serde_json::from_slice::<serde_json::Value>(black_box(body)).unwrap());
        });
        group.finish();
    }
}

/// The repair of a referral sent back as a GET gave it.
fn strip_links(criterion: &mut Criterion) {
    let [links, plain] = [LINKS, ""].map(|links| referral(3000, links, "synthetic "));
    let mended = repair::strip_links(links.as_bytes()).unwrap();
    assert!(Members::read(&mended.body).is_ok() && mended.cuts.len() == 1);
    assert!(repair::strip_links(plain.as_bytes()).is_none());

    let mut group = criterion.benchmark_group("repair::strip_links, 3 KB");
    group.throughput(Throughput::Bytes(3000));
    for (name, body) in [("links", &links), ("nothing to cut", &plain)] {
        group.bench_function(name, |bencher| {
            bencher.iter(|| repair::strip_links(black_box(body.as_bytes())));
        });
    }
    group.finish();
}

fn entity_tag(criterion: &mut Criterion) {
    let headers = put().headers;
    assert!(IfMatch::of(&headers).tag().is_some());

    let mut group = criterion.benchmark_group("entity tag");
    group.bench_function("EntityTag::parse", |bencher| {
        bencher.iter(|| EntityTag::parse(black_box(TAG.as_bytes())).is_some());
    });
    group.bench_function("IfMatch::of", |bencher| {
        bencher.iter(|| IfMatch::of(black_box(&headers)).tag().is_some());
    });
    group.finish();
}

fn route(criterion: &mut Criterion) {
    let plain = format!("/v1.0/engagements/referrals/{ID}");
    let odd = format!("/V1.0//Engagements/%72eferrals('{ID}')/");
    let other = "/v1/customers/11111111-aaaa-4000-8000-000000000001/orders".to_owned();
    for (path, item) in [(&plain, true), (&odd, true), (&other, false)] {
        let route = Route::of(&Method::PUT, path).unwrap();
        assert_eq!(route.id().is_some(), item, "{path}");
    }

    let mut group = criterion.benchmark_group("Route::of");
    for (name, path) in [("plain", plain), ("odd", odd), ("another API", other)] {
        group.bench_function(name, |bencher| {
            bencher.iter(|| Route::of(&Method::PUT, black_box(&path)));
        });
    }
    group.finish();
}

fn header_section(criterion: &mut Criterion) {
    let head = put();
    let limits = headers::Limits {
        max_bytes: 32 * 1024,
        max_fields: 100,
    };
    headers::admit(&head, limits).unwrap();

    let mut group = criterion.benchmark_group("header section");
    group.bench_function("admit", |bencher| {
        bencher.iter(|| headers::admit(black_box(&head), limits).is_ok());
    });
    group.bench_function("admit, to_upstream", |bencher| {
        let pass = |head: &mut request::Parts| {
            let admitted = headers::admit(head, limits).is_ok();
            headers::to_upstream(&mut head.headers, Version::HTTP_11);
            admitted
        };
        bencher.iter_batched_ref(|| head.clone(), pass, BatchSize::SmallInput);
    });
    group.finish();
}

fn identify(criterion: &mut Criterion) {
    let tenants = tenants();
    let stranger = put().headers;
    let mut known = stranger.clone();
    known.insert(header::AUTHORIZATION, bearer("a second user"));
    tenants.prove(&tenants.identify(&known).unwrap());

    let mut group = criterion.benchmark_group("Tenants::identify");
    for (name, headers, proven) in [("proven", &known, true), ("not proven", &stranger, false)] {
        assert_eq!(tenants.identify(headers).unwrap().proven, proven);
        group.bench_function(name, |bencher| {
            bencher.iter(|| tenants.identify(black_box(headers)).is_ok());
        });
    }
    group.finish();
}

/// From the lookup of the tenant to the permit given back, while no quota is ever spent.
fn admit(criterion: &mut Criterion) {
    let tenants = tenants();
    let mut group = criterion.benchmark_group("RateLimit::admit");
    for many in [1, 100_000] {
        let terms = terms(many);
        let rate_limit = RateLimit::new(Instant::now());
        let admit = |caller| rate_limit.admit(&terms, caller, Class::Writes, Instant::now());
        let callers: Vec<Caller> = (0..many).map(|at| named(&tenants, at)).collect();
        for caller in &callers {
            admit(caller).unwrap();
        }
        assert_eq!(rate_limit.tracked(), many);
        let mut next = callers.iter().cycle();
        group.bench_function(format!("tenants: {many}"), |bencher| {
            bencher.iter(|| admit(next.next().unwrap()).is_ok());
        });
    }
    group.finish();
}

fn snapshots(criterion: &mut Criterion) {
    let settings = cache::Settings {
        max_entries: 100_000,
        // Long enough that nothing has to be written again while it is measured.
        max_age: Duration::from_secs(24 * 3600),
        scope: cache::Scope::Principal,
    };
    let snapshots = Snapshots::new(&settings, &Arc::new(Metrics::new()));
    let caller = named(&tenants(), 0);
    let (id, state) = (id(), new());
    let tag = EntityTag::parse(TAG.as_bytes()).unwrap();
    assert!(snapshots.learn(&caller, &id, &tag.into(), &state));
    assert!(!snapshots.learn(&caller, &id, &tag.into(), &state));
    let found = snapshots.look_up(&caller, &id, tag);
    assert!(matches!(found, Lookup::Known(..)));

    let mut group = criterion.benchmark_group("Snapshots");
    group.bench_function("look_up, known", |bencher| {
        bencher.iter(|| snapshots.look_up(&caller, black_box(&id), tag));
    });
    group.bench_function("learn, unchanged", |bencher| {
        let tags = tag.into();
        bencher.iter(|| snapshots.learn(&caller, black_box(&id), &tags, &state));
    });
    group.finish();
}

fn sightings(criterion: &mut Criterion) {
    let one = referral(ANSWER, LINKS, "synthetic ");
    let list = format!("{{\"value\":[{}]}}", vec![one.as_str(); ITEMS].join(","));
    assert!(Sighting::of_one(one.as_bytes()).unwrap().tag.is_some());
    assert_eq!(Sighting::of_list(list.as_bytes()).len(), ITEMS);

    let mut group = criterion.benchmark_group("Sighting");
    group.throughput(Throughput::Bytes(one.len() as u64));
    group.bench_function("of_one, 2.7 KB", |bencher| {
        bencher.iter(|| Sighting::of_one(black_box(one.as_bytes())));
    });
    group.throughput(Throughput::Bytes(list.len() as u64));
    group.bench_function("of_list, 55 KB", |bencher| {
        bencher.iter(|| Sighting::of_list(black_box(list.as_bytes())));
    });
    group.finish();
}

fn id() -> ReferralId {
    ReferralId::parse(ID).unwrap()
}

fn new() -> State {
    State {
        status: "New".into(),
        substatus: Some("Received".into()),
    }
}

/// A referral as clients write it, with `links` or without, made `size` bytes long by notes of this text.
fn referral(size: usize, links: &str, notes: &str) -> String {
    let tag = serde_json::to_string(TAG).unwrap();
    let around = |notes: &str| {
        format!(
            r#"{{
  "id": "{ID}",
  "engagementId": "7a7a7a7a-0001-4b4b-8c8c-00000000e001",
  "organizationId": "8b8b8b8b-0001-4c4c-9d9d-00000000f001",
  "organizationName": "Example Consulting",
  "name": "Warehouse rollout",
  "externalReferenceId": "CRM-004711",
  "createdDateTime": "2024-03-01T08:00:00.1234567Z",
  "updatedDateTime": "2024-03-02T09:30:00.7654321Z",
  "expirationDateTime": "2024-03-15T00:00:00Z",
  "status": "Active",
  "substatus": "Accepted",
  "statusReason": "The customer asked for a first meeting.",
  "qualification": "SalesQualified",
  "type": "Independent",
  "target": [{{ "type": "BusinessProfileLocation", "id": "9c9c9c9c-0001-4d4d-8e8e-00000000a101" }}],
  "customerProfile": {{
    "name": "Example Bakery",
    "address": {{ "addressLine1": "1 Example Street", "addressLine2": "", "city": "Springfield", "state": "WA", "postalCode": "00000", "country": "US" }},
    "size": "10to50employees",
    "team": [
      {{ "contactPreference": {{ "locale": "en-us", "disableNotifications": false }}, "firstName": "Pat", "lastName": "Example", "phoneNumber": "000", "email": "pat@example.com" }},
      {{ "contactPreference": {{ "locale": "en-us", "disableNotifications": false }}, "firstName": "Kim", "lastName": "Example", "phoneNumber": "000", "email": "kim@example.com" }}
    ],
    "ids": []
  }},
  "consent": {{ "consentToToShareInfoWithOthers": true, "consentToContact": true }},
  {links}
  "details": {{
    "notes": "{notes}",
    "dealValue": 12500.50,
    "currency": "USD",
    "closingDateTime": "2024-06-30T00:00:00Z",
    "requirements": {{
      "industries": [{{ "id": "Retail", "categories": [] }}],
      "products": [{{ "id": "Dynamics365" }}],
      "services": [{{ "id": "Deployment" }}],
      "solutions": []
    }}
  }},
  "team": [],
  "inviteContext": {{ "notes": "", "invitedBy": {{ "organizationId": "" }} }},
  "eTag": {tag}
}}"#
        )
    };
    let room = size.checked_sub(around("").len()).unwrap();
    let mut filling = notes.repeat(room / notes.len());
    filling.push_str(&".".repeat(room - filling.len()));
    around(&filling)
}

/// The head of a PUT as an HTTP library sends it.
fn put() -> request::Parts {
    let (head, ()) = Request::put(format!("/v1.0/engagements/referrals/{ID}"))
        .header(header::HOST, "127.0.0.1:4280")
        .header(header::USER_AGENT, "python-requests/2.31.0")
        .header(header::ACCEPT_ENCODING, "gzip, deflate")
        .header(header::ACCEPT, "*/*")
        .header(header::CONNECTION, "keep-alive")
        .header(header::AUTHORIZATION, bearer("a user"))
        .header(header::CONTENT_TYPE, "application/json; charset=utf-8")
        .header(header::CONTENT_LENGTH, PUT)
        .header(header::IF_MATCH, TAG)
        .header("client-request-id", "0f0f0f0f-0001-4e4e-8f8f-00000000c001")
        .header("prefer", "return=representation")
        .body(())
        .unwrap()
        .into_parts();
    head
}

/// A token of 1.2 KB in the shape of Entra ID's, signed by nobody.
fn bearer(user: &str) -> HeaderValue {
    let head = r#"{"typ":"JWT","alg":"RS256","x5t":"synthetic-key-000000000000","kid":"synthetic-key-000000000000"}"#;
    let claims = serde_json::json!({
        "aud": "https://api.partner.microsoft.com",
        "iss": "https://sts.windows.net/11111111-aaaa-4000-8000-000000000001/",
        "iat": 1_709_280_000, "nbf": 1_709_280_000, "exp": 4_102_444_800_u64,
        "acr": "1", "aio": "synthetic-000000000000000000000000000000", "amr": ["pwd", "mfa"],
        "appid": "33333333-cccc-4000-8000-000000000003", "appidacr": "1",
        "name": "Pat Example", "oid": user, "scp": "user_impersonation",
        "sub": "synthetic-subject-0000000000000000000000000",
        "tid": "11111111-aaaa-4000-8000-000000000001",
        "upn": "pat@example.com", "uti": "synthetic-0000000000", "rh": "synthetic-00000", "ver": "1.0",
    });
    let token = [
        BASE64.encode(head),
        BASE64.encode(claims.to_string()),
        BASE64.encode([0; 256]),
    ];
    let token = token.join(".");
    assert_eq!(token.len() / 100, 12);
    format!("Bearer {token}").parse().unwrap()
}

fn tenants() -> Tenants {
    Tenants::new(&tenant::Settings {
        header: Some(TENANT_HEADER),
        key_set: None,
        known: Vec::new(),
    })
}

/// A caller without a token, of the tenant that its header names.
fn named(tenants: &Tenants, tenant: usize) -> Caller {
    let headers = HeaderMap::from_iter([(TENANT_HEADER, HeaderValue::from(tenant))]);
    tenants.identify(&headers).unwrap()
}

/// Limits that are never reached.
fn terms(max_tenants: usize) -> Terms {
    let quota = Quota {
        per_minute: NonZeroU32::MAX,
        burst: NonZeroU32::MAX,
    };
    let settings = referral_gateway::rate_limit::Settings {
        default: Limits {
            reads: quota,
            writes: quota,
            concurrency: NonZeroU32::MAX,
        },
        known: Vec::new(),
        max_tenants: NonZeroUsize::new(max_tenants).unwrap(),
        cooldown: Cooldown {
            default: Duration::from_secs(30),
            max: Duration::from_secs(300),
        },
    };
    Terms::new(&settings, [])
}
