use super::*;

#[test]
fn a_limit_is_shared_out_between_callers_the_upstream_and_the_own_listeners() {
    for (limit, max_connections, data, own, upstream) in [
        (usize::MAX, 10_000, 10_000, 128, 1000),
        (65_536, 10_000, 10_000, 128, 1000),
        (11_288, 10_000, 10_000, 128, 1000),
        (11_287, 10_000, 9_999, 128, 1000),
        (4096, 10_000, 2808, 128, 1000),
        (2048, 10_000, 880, 128, 880),
        (1024, 10_000, 432, 64, 432),
        (256, 10_000, 96, 16, 96),
        (128, 10_000, 40, 8, 40),
        // What is set is enough; the upstream gets the rest.
        (128, 5, 5, 8, 75),
        (298, 5, 5, 128, 5),
        (1024, 5, 5, 128, 731),
        // Too few for anything, but never none.
        (40, 10_000, 1, 4, 1),
        (0, 10_000, 1, 4, 1),
        (usize::MAX, usize::MAX, usize::MAX, 128, 1),
    ] {
        let share = Share {
            data,
            own,
            upstream,
        };
        assert_eq!(
            Share::of(limit, max_connections, 1000),
            share,
            "{limit} {max_connections}"
        );
    }
    // Fewer connections to the upstream leave more for callers.
    let share = Share {
        data: 788,
        own: 60,
        upstream: 20,
    };
    assert_eq!(Share::of(960, 10_000, 20), share);
}

#[test]
fn no_share_is_above_the_limit() {
    for limit in 96..13_000 {
        let Share {
            data,
            own,
            upstream,
        } = Share::of(limit, 10_000, 1000);
        assert!(FILES + 2 * own + data + upstream <= limit, "{limit}");
    }
}
