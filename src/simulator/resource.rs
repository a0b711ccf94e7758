//! What a referral is: its members, who may set them, and how it is shown.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Map, Value, json};

use super::{answer::Refusal, store::Referral};

pub(super) type Members = Map<String, Value>;

const HOST: &str = "https://api.partner.microsoft.com";

/// What a writer may set, with the value of a referral that does not have it.
const WRITABLE: [(&str, Blank); 16] = [
    ("name", Blank::Null),
    ("externalReferenceId", Blank::Null),
    ("expirationDateTime", Blank::Null),
    ("status", Blank::Kept),
    ("substatus", Blank::Kept),
    ("statusReason", Blank::Null),
    ("qualification", Blank::Kept),
    ("type", Blank::Kept),
    ("target", Blank::List),
    ("customerProfile", Blank::Null),
    ("consent", Blank::Null),
    ("details", Blank::Null),
    ("team", Blank::List),
    ("inviteContext", Blank::Null),
    ("campaignId", Blank::Absent),
    ("salesStage", Blank::Absent),
];

/// What a member is when a PUT leaves it out.
#[derive(Clone, Copy)]
enum Blank {
    Null,
    List,
    Absent,
    Kept,
}

/// What only the service sets: a writer's value is dropped.
const OWNED: [&str; 16] = [
    "@odata.context",
    "acceptedDateTime",
    "closedDateTime",
    "createdDateTime",
    "direction",
    "eTag",
    "engagementId",
    "id",
    "isSpam",
    "links",
    "organizationId",
    "organizationName",
    "quality",
    "registrationStatus",
    "tags",
    "updatedDateTime",
];

/// A PUT or a POST does not reach these, a PATCH does.
const REGISTRATIONS: &str = "registrations";

const ENUMS: [(&str, &[&str]); 4] = [
    ("status", &["None", "New", "Active", "Closed"]),
    (
        "substatus",
        &[
            "None", "Pending", "Received", "Accepted", "Won", "Lost", "Declined", "Expired",
        ],
    ),
    ("type", &["Shared", "Independent"]),
    (
        "qualification",
        &["None", "Direct", "MarketingQualified", "SalesQualified"],
    ),
];

/// The service's spelling of a member: readers of ASP.NET do not look at the case.
pub(super) fn member(name: &str) -> &str {
    WRITABLE
        .iter()
        .map(|(known, _)| *known)
        .chain(OWNED)
        .chain([REGISTRATIONS])
        .find(|known| known.eq_ignore_ascii_case(name))
        .unwrap_or(name)
}

/// Whether a referral can have this member.
pub(super) fn is_member(name: &str) -> bool {
    WRITABLE.iter().any(|(known, _)| *known == name)
        || OWNED.contains(&name)
        || name == REGISTRATIONS
}

/// A body that has to be an object, with the service's spelling of its members.
pub(super) fn object(body: Value) -> Result<Members, Refusal> {
    match body {
        Value::Object(members) => Ok(members
            .into_iter()
            .map(|(name, value)| (member(&name).to_owned(), value))
            .collect()),
        _ => Err(Refusal::invalid("body", "the body is not an object")),
    }
}

/// What a PUT makes of a referral.
pub(super) fn replaced(stored: &Members, mut sent: Members) -> Members {
    for (name, blank) in WRITABLE {
        if sent.contains_key(name) {
            continue;
        }
        let value = match blank {
            Blank::Null => Some(Value::Null),
            Blank::List => Some(json!([])),
            Blank::Absent => None,
            Blank::Kept => stored.get(name).cloned(),
        };
        if let Some(value) = value {
            sent.insert(name.to_owned(), value);
        }
    }
    keep(stored, &mut sent, REGISTRATIONS);
    patched(stored, sent)
}

/// What a PATCH makes of a referral: everything, but for what the service owns.
pub(super) fn patched(stored: &Members, mut proposed: Members) -> Members {
    for name in OWNED {
        keep(stored, &mut proposed, name);
    }
    proposed
}

fn keep(stored: &Members, proposed: &mut Members, name: &str) {
    match stored.get(name) {
        Some(value) => proposed.insert(name.to_owned(), value.clone()),
        None => proposed.remove(name),
    };
}

/// What a POST makes: the referral of a partner who has accepted it.
pub(super) fn created(mut sent: Members, owned: Members) -> Result<Members, Refusal> {
    for name in ["type", "customerProfile", "consent", "details"] {
        if sent.get(name).is_none_or(Value::is_null) {
            return Err(Refusal::invalid("body", format!("{name} is required")));
        }
    }
    check(&sent)?;
    if matches!(
        sent.get("status").and_then(Value::as_str),
        None | Some("New")
    ) {
        sent.insert("status".to_owned(), json!("Active"));
        sent.insert("substatus".to_owned(), json!("Accepted"));
    }
    let mut stored = owned;
    stored.insert("substatus".to_owned(), json!("None"));
    stored.insert("qualification".to_owned(), json!("None"));
    Ok(replaced(&stored, sent))
}

/// Whether every member with a closed list of values has one of them.
pub(super) fn check(referral: &Members) -> Result<(), Refusal> {
    for (name, values) in ENUMS {
        let Some(value) = referral.get(name) else {
            continue;
        };
        if !value.as_str().is_some_and(|value| values.contains(&value)) {
            let message = format!("{name} has to be one of {}", values.join(", "));
            return Err(Refusal::invalid(name, message));
        }
    }
    Ok(())
}

/// A referral as an answer to GET.
pub(super) fn in_get_answer(referral: &Referral) -> Value {
    let context = format!("{HOST}/v1.0/engagments/referrals/$metadata#Referrals/$entity");
    let mut shown = in_write_answer(referral);
    if let Value::Object(members) = &mut shown {
        members.insert("@odata.context".to_owned(), json!(context));
    }
    shown
}

/// A referral as an answer to a write. The path of its links is misspelt in the documents, too.
pub(super) fn in_write_answer(referral: &Referral) -> Value {
    let base = format!("{HOST}/v1.0/engagments/referrals");
    let engagement = referral.text("/engagementId").unwrap_or_default();
    let related = format!("{base}?$filter=engagementId eq '{engagement}'");
    Value::Object(with_links(referral, &base, &related, true))
}

/// A referral as an item of a list: the links are spelt right, and there is no entity tag.
pub(super) fn in_list(referral: &Referral) -> Members {
    listed(referral, false)
}

/// The named members of a referral, as an item of a list.
pub(super) fn selected(referral: &Referral, names: &[String]) -> Members {
    let mut item = listed(referral, true);
    item.retain(|name, _| names.contains(name));
    item
}

fn listed(referral: &Referral, etag: bool) -> Members {
    let base = format!("{HOST}/v1.0/engagements/referrals");
    let engagement = referral.text("/engagementId").unwrap_or_default();
    let related = format!("{base}?$filter=engagementId eq {engagement}");
    with_links(referral, &base, &related, etag)
}

fn with_links(referral: &Referral, base: &str, related: &str, etag: bool) -> Members {
    let id = referral.text("/id").unwrap_or_default();
    let mut shown = referral.members().clone();
    let links = json!({
        "relatedReferrals": { "uri": related, "method": "GET" },
        "self": { "uri": format!("{base}/{id}"), "method": "GET" },
    });
    shown.insert("links".to_owned(), links);
    if etag {
        shown.insert("eTag".to_owned(), json!(referral.etag));
    }
    shown
}

/// A time as real bodies have it: at most seven digits of the second, and no zeros at the end.
pub(super) fn time_text(time: SystemTime) -> String {
    let text = humantime::format_rfc3339_nanos(time).to_string();
    let Some((whole, fraction)) = text.split_once('.') else {
        return text;
    };
    let digits = fraction.get(..7).unwrap_or_default().trim_end_matches('0');
    match digits {
        "" => format!("{whole}Z"),
        digits => format!("{whole}.{digits}Z"),
    }
}

/// The whole seconds of a time, as an entity tag holds them.
pub(super) fn unix_seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::{member, time_text};

    #[test]
    fn a_time_has_at_most_seven_digits_and_no_zeros_at_the_end() {
        for (nanos, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (42_170_000, "1970-01-01T00:00:00.04217Z"),
            (123_456_799, "1970-01-01T00:00:00.1234567Z"),
            (50, "1970-01-01T00:00:00Z"),
        ] {
            assert_eq!(time_text(UNIX_EPOCH + Duration::from_nanos(nanos)), text);
        }
    }

    #[test]
    fn a_member_is_known_in_any_case() {
        assert_eq!(member("ETAG"), "eTag");
        assert_eq!(member("SubStatus"), "substatus");
        assert_eq!(member("Unheard"), "Unheard");
    }
}
