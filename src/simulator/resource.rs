//! The members of a referral, and who may set them.

use serde_json::{Map, Value, json};

use super::answer::Refusal;

pub(super) type Members = Map<String, Value>;

/// The members that a writer may set, each with its value when a PUT leaves it out.
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

/// The value of a member that a PUT leaves out.
#[derive(Clone, Copy)]
enum Blank {
    Null,
    List,
    Absent,
    Kept,
}

/// The members that only the service sets; a writer's value is dropped.
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

/// PUT and POST do not change these, PATCH does.
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

/// The service's spelling of a member: ASP.NET compares names without case.
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

/// A body that must be an object, with the service's spelling of its members.
pub(super) fn object(body: Value) -> Result<Members, Refusal> {
    match body {
        Value::Object(members) => Ok(members
            .into_iter()
            .map(|(name, value)| (member(&name).to_owned(), value))
            .collect()),
        _ => Err(Refusal::invalid("body", "the body is not an object")),
    }
}

/// A referral after a PUT.
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

/// A referral after a PATCH, which can change everything but the members of the service.
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

/// The referral that a POST creates; its partner has accepted it.
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

/// Refuses a member with a value outside of its list.
pub(super) fn check(referral: &Members) -> Result<(), Refusal> {
    for (name, values) in ENUMS {
        let Some(value) = referral.get(name) else {
            continue;
        };
        if !value.as_str().is_some_and(|value| values.contains(&value)) {
            let message = format!("{name} must be one of {}", values.join(", "));
            return Err(Refusal::invalid(name, message));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::member;

    #[test]
    fn a_member_is_known_in_any_case() {
        assert_eq!(member("ETAG"), "eTag");
        assert_eq!(member("SubStatus"), "substatus");
        assert_eq!(member("Unheard"), "Unheard");
    }
}
