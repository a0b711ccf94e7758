//! The referrals at the start: synthetic, and the same for the same seed.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use super::{random::Random, store::Store};

/// 2024-03-01T08:00:00.1234567Z, the creation of the first referral.
const FIRST: Duration = Duration::new(1_709_280_000, 123_456_700);

/// The time between two creations.
const PERIOD: Duration = Duration::new(3 * 3600 + 7 * 60, 37_010_000);

/// The time from the creation of a referral to its last change.
const AGE: Duration = Duration::new(954_945, 918_713_300);

const STATES: [(&str, &str); 7] = [
    ("New", "Pending"),
    ("Active", "Accepted"),
    ("Closed", "Won"),
    ("New", "Received"),
    ("Closed", "Lost"),
    ("Closed", "Declined"),
    ("Closed", "Expired"),
];
const KINDS: [(&str, &str, &str); 4] = [
    ("Independent", "SalesQualified", "Incoming"),
    ("Independent", "MarketingQualified", "Incoming"),
    ("Shared", "SalesQualified", "Incoming"),
    ("Shared", "None", "Outgoing"),
];
const DEALS: [&str; 5] = [
    "Warehouse rollout",
    "Move to the cloud",
    "Tills for all shops",
    "Call centre",
    "Data platform",
];
const CUSTOMERS: [&str; 5] = [
    "Example Bakery",
    "Sample Shipping",
    "Specimen Books",
    "Placeholder Foods",
    "Mockup Motors",
];
const PLACES: [(&str, &str, &str); 5] = [
    ("Springfield", "98000", "US"),
    ("Musterstadt", "12345", "DE"),
    ("Exempleville", "75000", "FR"),
    ("Sampleton", "AB1 2CD", "GB"),
    ("Példafalva", "1000", "HU"),
];
const PEOPLE: [(&str, &str); 4] = [
    ("Pat", "pat@example.com"),
    ("Kim", "kim@example.com"),
    ("Sam", "sam@example.com"),
    ("Alex", "alex@example.com"),
];
const SIZES: [&str; 3] = ["1to9employees", "10to50employees", "51to250employees"];

/// A store with `count` referrals. The first three have fixed ids and states.
pub(super) fn store(seed: u64, count: usize, capacity: usize) -> Store {
    let mut random = Random::new(seed);
    let referrals: Vec<_> = (0..count.min(capacity))
        .map(|place| referral(place, &mut random))
        .collect();
    let mut store = Store::new(random, capacity);
    for (referral, created, updated) in referrals {
        if let Value::Object(members) = referral
            && store.insert(members, created, updated).is_err()
        {
            // The store is full, and no more fit.
            break;
        }
    }
    store
}

fn referral(place: usize, random: &mut Random) -> (Value, SystemTime, SystemTime) {
    let is_fixed = place < 3;
    let number = place + 1;
    let (status, substatus) = match STATES.get(place) {
        Some(state) if is_fixed => *state,
        _ => random.one_of(STATES),
    };
    let later = u32::try_from(place).unwrap_or(u32::MAX);
    let created = UNIX_EPOCH + FIRST + PERIOD.saturating_mul(later);
    let mut updated = created + AGE;
    if !is_fixed {
        updated += Duration::from_micros(random.below(20 * 86_400 * 1_000_000));
    }
    let id = match is_fixed {
        true => format!("5f1c2d3e-{number:04x}-4a4a-9b9b-00000000a{number:03x}"),
        false => random.guid(),
    };
    // Two referrals belong to one engagement: the partner's and the customer's side.
    let engagement = place / 2 + 1;
    let (kind, qualification, direction) = random.one_of(KINDS);
    let (city, postal_code, country) = random.one_of(PLACES);
    let (first_name, email) = random.one_of(PEOPLE);
    let solution = format!("SOL-{:05}-TST", 1 + random.below(40));
    let reason = (status == "Closed").then_some("synthetic");
    let cents = 100_000 + random.below(9_900_000);

    let members = json!({
        "id": id,
        "engagementId": format!("7a7a7a7a-{engagement:04x}-4b4b-8c8c-00000000e{engagement:03x}"),
        "organizationId": "aaaaaaaa-0001-4000-8000-00000000f001",
        "organizationName": "Northwind Services",
        "name": random.one_of(DEALS),
        "externalReferenceId": null,
        "expirationDateTime": null,
        "status": status,
        "substatus": substatus,
        "statusReason": reason,
        "qualification": qualification,
        "type": kind,
        "direction": direction,
        "target": [{ "type": "SolutionProfile", "id": solution }],
        "customerProfile": {
            "name": random.one_of(CUSTOMERS),
            "address": {
                "addressLine1": "1 Sample Street", "city": city, "state": null,
                "postalCode": postal_code, "country": country, "region": null,
            },
            "size": random.one_of(SIZES),
            "team": [],
            "ids": [{ "profileType": "External", "id": format!("EXT-{number}") }],
        },
        "consent": {
            "consentToToShareInfoWithOthers": true,
            "consentToContact": true,
            "consentToShareReferralWithMicrosoftSellers": random.below(2) == 0,
        },
        "details": {
            "notes": "synthetic",
            "dealValue": cents as f64 / 100.0,
            "currency": "USD",
            "closingDateTime": "2024-06-30T00:00:00Z",
            "requirements": {
                "industries": [],
                "products": [{ "id": "Azure" }],
                "services": [],
                "solutions": [{ "id": solution, "name": null, "type": "Name" }],
            },
        },
        "team": [{
            "firstName": first_name, "lastName": "Example", "phoneNumber": "000", "email": email,
        }],
        "inviteContext": { "notes": null, "invitedBy": { "organizationId": "msft" } },
    });
    (members, created, updated)
}

#[cfg(test)]
mod tests {
    use super::store;

    #[test]
    fn the_same_seed_gives_the_same_referrals() {
        let all = |seed: u64| format!("{:?}", store(seed, 20, 20).all());
        assert_eq!(all(1), all(1));
        assert_ne!(all(1), all(2));
    }

    #[test]
    fn the_first_three_referrals_are_there_whatever_the_seed() {
        let store = store(99, 10, 10);
        for (id, status, substatus) in [
            ("5f1c2d3e-0001-4a4a-9b9b-00000000a001", "New", "Pending"),
            ("5f1c2d3e-0002-4a4a-9b9b-00000000a002", "Active", "Accepted"),
            ("5f1c2d3e-0003-4a4a-9b9b-00000000a003", "Closed", "Won"),
        ] {
            let referral = store.get(id).expect("a referral");
            assert_eq!(referral.text("/status"), Some(status));
            assert_eq!(referral.text("/substatus"), Some(substatus));
        }
        let first = store.all().first().expect("a referral");
        assert_eq!(first.etag, "\"0a00b1c2-0000-0100-0000-65f01d420000\"");
        let updated = first.text("/updatedDateTime");
        assert_eq!(updated, Some("2024-03-12T09:15:46.04217Z"));
    }

    #[test]
    fn no_more_is_seeded_than_there_may_be() {
        assert_eq!(store(1, 10, 4).all().len(), 4);
    }
}
