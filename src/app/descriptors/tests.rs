use super::*;

#[test]
fn a_limit_is_shared_out_between_callers_the_upstream_and_the_own_listeners() {
    for (limit, max_connections, data, own) in [
        (usize::MAX, 10_000, 10_000, 128),
        (65_536, 10_000, 10_000, 128),
        (11_288, 10_000, 10_000, 128),
        (11_287, 10_000, 9_999, 128),
        (4096, 10_000, 2808, 128),
        (2048, 10_000, 880, 128),
        (1024, 10_000, 432, 64),
        (256, 10_000, 96, 16),
        (128, 10_000, 40, 8),
        // What is set is enough, so nothing more is taken.
        (128, 5, 5, 8),
        (298, 5, 5, 128),
        // Too few for anything, but never none.
        (40, 10_000, 1, 4),
        (0, 10_000, 1, 4),
        (usize::MAX, usize::MAX, usize::MAX, 128),
    ] {
        assert_eq!(
            Share::of(limit, max_connections),
            Share { data, own },
            "{limit} {max_connections}"
        );
    }
}

#[test]
fn no_share_is_above_the_limit() {
    for limit in 96..13_000 {
        let Share { data, own } = Share::of(limit, 10_000);
        let upstream = data.min(UPSTREAM_CONNECTIONS);
        assert!(FILES + 2 * own + data + upstream <= limit, "{limit}");
    }
}
