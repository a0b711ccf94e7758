//! How answers show a referral: alone, and as an item of a list.

use serde_json::{Value, json};

use super::{resource::Members, store::Referral};

const HOST: &str = "https://api.partner.microsoft.com";

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
