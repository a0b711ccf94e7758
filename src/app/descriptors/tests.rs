use super::*;

#[test]
fn a_limit_is_shared_out_between_callers_the_upstream_and_the_own_listeners() {
    for (limit, max_connections, data, own, upstream) in [
        (usize::MAX, 10_000, 10_000, 128, 1000),
        (65_536, 10_000, 10_000, 128, 1000),
        (11_320, 10_000, 10_000, 128, 1000),
        (11_319, 10_000, 9_999, 128, 1000),
        (4096, 10_000, 2776, 128, 1000),
        (2048, 10_000, 864, 128, 864),
        (1024, 10_000, 416, 64, 416),
        (256, 10_000, 80, 16, 80),
        (128, 10_000, 24, 8, 24),
        // What is set is enough; the upstream gets the rest.
        (128, 5, 5, 8, 43),
        (330, 5, 5, 128, 5),
        (1024, 5, 5, 128, 699),
        // Too few for anything, but never none.
        (72, 10_000, 1, 4, 1),
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
        data: 756,
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
