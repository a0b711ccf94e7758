//! PUT, PATCH and POST as a caller sees them.

use serde_json::{Value, json};

use super::{ACTIVE, LIST, NEW, deal, get, send, simulator, try_send};

#[tokio::test]
async fn a_put_needs_the_current_entity_tag() {
    let simulator = simulator();
    let mut referral = get(&simulator, ACTIVE).await;
    let current = referral.etag();
    referral.body["status"] = json!("Closed");
    referral.body["substatus"] = json!("Won");

    for headers in [&[][..], &[("if-match", "\"stale\"")], &[("if-match", "*x")]] {
        let answer = send(&simulator, "PUT", ACTIVE, headers, &referral.body).await;
        assert_eq!(answer.status, 412);
        assert_eq!(answer.body["error"]["code"], "preconditionFailed");
        assert_eq!(answer.body["error"]["target"], "ETag");
        assert_eq!(answer.body["error"]["innerError"]["code"], "99918");
        assert_eq!(get(&simulator, ACTIVE).await.etag(), current);
    }

    let headers = [("IF-Match", current.as_str())];
    let put = send(&simulator, "PUT", ACTIVE, &headers, &referral.body).await;
    assert_eq!(put.status, 200);
    assert_eq!(put.body["substatus"], "Won");
    assert_eq!(put.body["updatedDateTime"], "2025-06-15T15:06:40Z");
    assert!(put.body["links"].is_object());
    assert_ne!(put.etag(), current);
    assert!(put.etag().contains("-684ee1800000"), "{}", put.etag());
    assert_eq!(put.header("etag"), Some(put.etag().as_str()));

    let again = send(&simulator, "PUT", ACTIVE, &headers, &referral.body).await;
    assert_eq!(again.status, 412, "the tag was good for one write");
}

#[tokio::test]
async fn a_put_replaces_all_but_what_the_service_owns() {
    let simulator = simulator();
    let before = get(&simulator, ACTIVE).await;
    let sent = json!({ "id": "other", "eTag": "x", "Name": "renamed", "links": {}, "more": 1 });
    let put = send(&simulator, "PUT", ACTIVE, &[("if-match", "*")], &sent).await;

    assert_eq!(put.status, 200);
    for name in [
        "id",
        "engagementId",
        "createdDateTime",
        "status",
        "substatus",
        "type",
        "links",
    ] {
        assert_eq!(put.body[name], before.body[name], "{name}");
    }
    assert_eq!(put.body["name"], "renamed");
    assert_eq!(put.body["more"], 1);
    assert_eq!(put.body["details"], Value::Null);
    assert_eq!(put.body["team"], json!([]));
}

#[tokio::test]
async fn a_put_that_no_page_forbids_is_accepted() {
    let simulator = simulator();
    for (status, substatus) in [
        ("New", "Won"),
        ("Closed", "Pending"),
        ("Active", "Accepted"),
    ] {
        let sent = json!({ "status": status, "substatus": substatus, "links": null });
        let put = send(&simulator, "PUT", NEW, &[("if-match", "*")], &sent).await;
        assert_eq!(put.status, 200);
        assert_eq!(put.body["substatus"], substatus);
    }
}

#[tokio::test]
async fn a_bad_body_is_400_and_changes_nothing() {
    let simulator = simulator();
    let before = get(&simulator, NEW).await.body;
    for body in [
        "",
        "x",
        "[]",
        "7",
        "{\"name\": \"x\",}",
        r#"{"status":"Open"}"#,
        r#"{"status":"new"}"#,
        r#"{"status":null}"#,
        r#"{"substatus":"Error"}"#,
        r#"{"type":1}"#,
        r#"{"qualification":"x"}"#,
    ] {
        let headers = [("if-match", "*")];
        let put = try_send(&simulator, "PUT", NEW, &headers, body)
            .await
            .expect("an answer");
        assert_eq!(put.status, 400, "{body}");
        assert_eq!(put.body["error"]["code"], "invalidRequest", "{body}");
    }
    assert_eq!(get(&simulator, NEW).await.body, before);

    let form = [("content-type", "application/x-www-form-urlencoded")];
    assert_eq!(
        send(&simulator, "PUT", NEW, &form, &json!({})).await.status,
        415
    );
}

#[tokio::test]
async fn a_patch_answers_204_or_the_referral() {
    let simulator = simulator();
    let before = get(&simulator, ACTIVE).await.etag();
    let close = json!([
        { "op": "replace", "path": "/status", "value": "Closed" },
        { "op": "replace", "path": "/substatus", "value": "Lost" },
    ]);
    let answer = send(&simulator, "PATCH", ACTIVE, &[], &close).await;
    assert_eq!((answer.status, &answer.body), (204, &Value::Null));
    assert!(answer.header("request-id").is_some());
    assert_eq!(answer.header("etag"), None);

    let register = json!([{ "op": "add", "path": "/registrations/-", "value": { "type": "A" } }]);
    let prefer = [("prefer", "respond-async, return=representation")];
    let target = format!("{ACTIVE}//");
    let answer = send(&simulator, "PATCH", &target, &prefer, &register).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.body["substatus"], "Lost");
    assert_eq!(answer.body["registrations"], json!([{ "type": "A" }]));

    let stale = [("if-match", before.as_str())];
    assert_eq!(
        send(&simulator, "PATCH", ACTIVE, &stale, &close)
            .await
            .status,
        412
    );
}

#[tokio::test]
async fn a_patch_reaches_nothing_that_the_service_owns() {
    let simulator = simulator();
    let before = get(&simulator, NEW).await.body;
    let patch = json!([
        { "op": "replace", "path": "/id", "value": "other" },
        { "op": "add", "path": "/eTag", "value": "other" },
        { "op": "add", "path": "/links", "value": {} },
    ]);
    let prefer = [("prefer", "return=representation")];
    let after = send(&simulator, "PATCH", NEW, &prefer, &patch).await.body;
    assert_eq!(after["id"], before["id"]);
    assert_eq!(after["links"], before["links"]);
    assert_ne!(after["eTag"], "other");

    let remove = json!([{ "op": "remove", "path": "/status" }]);
    assert_eq!(
        send(&simulator, "PATCH", NEW, &[], &remove).await.status,
        400
    );
    let unknown = json!({ "status": "Open" });
    assert_eq!(
        send(&simulator, "PATCH", NEW, &[], &unknown).await.status,
        400
    );
}

#[tokio::test]
async fn a_created_referral_is_active_and_can_be_read() {
    let simulator = simulator();
    let created = send(&simulator, "POST", LIST, &[], &deal()).await;
    assert_eq!(created.status, 200);
    assert_eq!(created.body["status"], "Active");
    assert_eq!(created.body["substatus"], "Accepted");

    let id = created.body["id"].as_str().expect("an id");
    let read = get(&simulator, &format!("{LIST}('{id}')")).await;
    assert_eq!(read.etag(), created.etag());

    for name in ["type", "customerProfile", "consent", "details"] {
        let mut deal = deal();
        deal[name] = Value::Null;
        let refused = send(&simulator, "POST", LIST, &[], &deal).await;
        assert_eq!(refused.status, 400, "{name}");
    }
}
