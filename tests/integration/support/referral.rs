//! Referrals as the service shows them and as clients send them.

/// The id of the referral most tests use.
pub(crate) const ID: &str = "5f1c2d3e-0001-4a4a-9b9b-00000000a001";

/// Its path.
pub(crate) const ITEM: &str = "/v1.0/engagements/referrals/5f1c2d3e-0001-4a4a-9b9b-00000000a001";

/// The path of the collection.
pub(crate) const LIST: &str = "/v1.0/engagements/referrals";

/// Its entity tag, quotes included.
pub(crate) const TAG: &str = "\"0a00b1c2-0000-0100-0000-65f01d420000\"";

/// A body that every rule accepts for the referral [`ID`] at [`TAG`].
pub(crate) fn body(status: &str, substatus: &str) -> String {
    of(ID, status, substatus, TAG)
}

/// A body for the referral `id` at `tag`.
pub(crate) fn of(id: &str, status: &str, substatus: &str, tag: &str) -> String {
    let tag = serde_json::to_string(tag).unwrap();
    format!(
        r#"{{"id":"{id}","engagementId":"7a7a7a7a-0001-4b4b-8c8c-00000000e001","status":"{status}","substatus":"{substatus}","details":{{"notes":"synthetic","dealValue":12500.50}},"team":[],"eTag":{tag}}}"#
    )
}

/// A referral as the service shows it, `links` and all.
pub(crate) fn shown(id: &str, status: &str, substatus: &str, tag: &str) -> String {
    let tag = serde_json::to_string(tag).unwrap();
    format!(
        r#"{{
  "@odata.context": "https://api.partner.microsoft.com/v1.0/engagments/referrals/$metadata#Referrals/$entity",
  "id": "{id}",
  "engagementId": "7a7a7a7a-0001-4b4b-8c8c-00000000e001",
  "name": "Warehouse rollout",
  "createdDateTime": "2024-03-01T08:00:00.1234567Z",
  "status": "{status}",
  "substatus": "{substatus}",
  "customerProfile": {{ "name": "Example Bakery", "address": {{ "city": "Springfield", "country": "US" }}, "team": [], "ids": [] }},
  "details": {{ "notes": "synthetic", "dealValue": 12500.50, "currency": "USD" }},
  "team": [{{ "firstName": "Pat", "lastName": "Example", "phoneNumber": "000", "email": "pat@example.com" }}],
  "links": {{
    "self": {{ "uri": "https://api.partner.microsoft.com/v1.0/engagments/referrals/{id}", "method": "GET" }}
  }},
  "eTag": {tag}
}}"#
    )
}

/// A body from a short form, in which the first `@` stands for a status and substatus that fit.
pub(crate) fn text(form: &str) -> String {
    form.replacen('@', r#""status":"Active","substatus":"Accepted""#, 1)
}
