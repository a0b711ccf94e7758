//! What every request passes before anything is decided about it, in a running gateway and in [`crate::offline`].

use http::{HeaderMap, HeaderValue, Method, header, request};

use super::{headers, max_forwards, route::Route};
use crate::{
    policy::{self, Policy, Verdict},
    problem::Problem,
    tenant::{Caller, RepeatedCredential, Tenants},
};

/// Finds route and caller of a request, and refuses what no policy can judge: suspicious paths, bad header sections,
/// batches, repeated credentials. `on_route` sees the route as soon as it is known.
pub fn check(
    head: &request::Parts,
    limits: headers::Limits,
    tenants: &Tenants,
    on_route: impl FnOnce(&Route),
) -> Result<(Route, Caller), Problem> {
    let route = Route::of(&head.method, head.uri.path())?;
    on_route(&route);
    headers::admit(head, limits)?;
    if matches!(route, Route::Other | Route::Create) && headers::is_batch(head) {
        return Err(Problem::BatchNotSupported);
    }
    let caller = tenants
        .identify(&head.headers)
        .map_err(|RepeatedCredential| Problem::RepeatedCredential)?;
    Ok((route, caller))
}

/// Makes the header section the one to send, before anything is judged.
pub fn prepare(head: &mut request::Parts, request_id: &HeaderValue) {
    let version = head.version;
    headers::to_upstream(&mut head.headers, version);
    headers::add_request_id(&mut head.headers, request_id);
    max_forwards::count_down(head);
}

/// The policy that judges a request, and as which method; `None` if no rule looks at it. `alias` is that of the
/// tenant that the token names.
pub fn judged_by<'p, 'a>(
    policy: &'p Policy,
    alias: impl FnOnce() -> Option<&'a str>,
    method: &Method,
    route: &Route,
) -> Option<(policy::Method, &'p Policy)> {
    let method = match (route, method) {
        (Route::Item(_), &Method::PUT) => policy::Method::Put,
        (Route::Item(_), &Method::PATCH) => policy::Method::Patch,
        (Route::Create, &Method::POST) => policy::Method::Post,
        _ => return None,
    };
    let policy = policy.of(alias());
    policy.judges(method).then_some((method, policy))
}

/// Tells the downstream what was mended, and what it is warned of.
pub fn annotate(headers: &mut HeaderMap, verdict: &Verdict) {
    if !verdict.repairs().is_empty() {
        let names: Vec<_> = verdict
            .repairs()
            .iter()
            .map(|(_, repair)| repair.as_str())
            .collect();
        if let Ok(value) = names.join(", ").parse() {
            headers.insert(headers::REPAIRED, value);
        }
    }
    for finding in verdict.warnings() {
        // A document's own message may hold any letter, a header's text may not.
        let plain = |letter| match letter {
            '\\' | '"' => '\'',
            ' '..='~' => letter,
            _ => '?',
        };
        let text: String = finding.message.chars().map(plain).collect();
        // RFC 7234 5.5: 299 is a lasting warning of no particular kind.
        let value = format!("299 {} \"{}: {text}\"", headers::PSEUDONYM, finding.code);
        if let Ok(value) = value.parse() {
            headers.append(header::WARNING, value);
        }
    }
}
