use super::*;

#[test]
fn one_event_a_minute_is_logged_with_the_number_of_all() {
    let start = Instant::now();
    let mut pace = Pace::default();
    let mut logged = Vec::new();
    for second in [0, 1, 59, 60, 61, 119, 120, 500] {
        if let Some(events) = pace.event(start + Duration::from_secs(second)) {
            logged.push((second, events));
        }
    }
    assert_eq!(logged, [(0, 1), (60, 3), (120, 3), (500, 1)]);
}
