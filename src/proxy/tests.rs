//! Small steps of the way.

use std::pin::pin;

use super::*;

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
