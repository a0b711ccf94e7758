//! Small steps of the way.

use std::pin::pin;

use super::{outcome::waiting_time, *};

#[tokio::test]
async fn a_panic_costs_one_request() {
    let told = caught(pin!(async {
        assert_eq!(1, 2, "on purpose");
    }))
    .await;
    assert!(told.is_err_and(|text| text.contains("on purpose")));
    assert_eq!(caught(pin!(async { 3 })).await, Ok(3));
}

#[test]
fn the_room_for_bodies_is_bounded_and_free_again_when_they_are_gone() {
    use super::bodies::Rooms;
    use crate::tenant::Payer;

    let rooms = Rooms::default();
    let unproven = Payer::Unproven(1);
    for _ in 0..3 {
        let mut held: Vec<_> = (0..64).map(|_| rooms.enter(unproven)).collect();
        for held in &mut held {
            assert!(held.add(1 << 20).is_ok());
        }
        let mut more = rooms.enter(unproven);
        assert!(matches!(more.add(1), Err(Problem::TooManyBodies)));
        // Bodies of proven callers have room of their own.
        let mut proven: Vec<_> = (0..96).map(|_| rooms.enter(Payer::Tenant)).collect();
        for held in &mut proven {
            assert!(held.add(1 << 20).is_ok());
        }
        let mut more = rooms.enter(Payer::Tenant);
        assert!(matches!(more.add(1), Err(Problem::TooManyBodies)));
    }
}

#[test]
fn retry_after_is_seconds_or_a_date() {
    let read = |text: &str| waiting_time(&HeaderValue::from_str(text).expect("a value"));
    assert_eq!(read("57"), Some(Duration::from_secs(57)));
    assert_eq!(read("Wed, 21 Oct 2015 07:28:00 GMT"), Some(Duration::ZERO));
    let soon = httpdate::fmt_http_date(std::time::SystemTime::now() + Duration::from_secs(100));
    assert!(read(&soon).is_some_and(|wait| (90..=100).contains(&wait.as_secs())));
    for text in ["", "-1", "soon", "1.5"] {
        assert_eq!(read(text), None, "{text}");
    }
}
