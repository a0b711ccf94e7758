//! What the pool hears of an HTTP/2 connection does not depend on how its bytes are cut, and is what a reader of whole
//! frames sees.
#![no_main]

use libfuzzer_sys::fuzz_target;
use referral_gateway::upstream::{Frame, Frames};

/// Reads whole frames, and what is told of each (RFC 9113 4.1, 6.5.1).
fn plain(mut bytes: &[u8]) -> Vec<Frame> {
    let mut told = Vec::new();
    while let [a, b, c, kind, flags, _, _, _, _, rest @ ..] = bytes {
        let length = usize::from(*a) << 16 | usize::from(*b) << 8 | usize::from(*c);
        let Some((payload, after)) = rest.split_at_checked(length) else {
            break;
        };
        told.push(match (kind, flags & 1) {
            (4, 0) => Frame::Settings {
                max_streams: payload
                    .chunks_exact(6)
                    .filter(|setting| setting[..2] == [0, 3])
                    .map(|setting| {
                        u32::from_be_bytes([setting[2], setting[3], setting[4], setting[5]])
                    })
                    .last(),
            },
            (7, _) => Frame::GoAway,
            (6, 0) => Frame::Ping,
            (3, _) => Frame::Reset,
            _ => Frame::Other,
        });
        bytes = after;
    }
    told
}

/// What is told of bytes that come in pieces.
fn followed(mut frames: Frames, bytes: &[u8], cuts: &[u8]) -> Vec<Frame> {
    let (mut rest, mut told) = (bytes, Vec::new());
    for &cut in cuts {
        let (piece, after) = rest.split_at(usize::from(cut).min(rest.len()));
        frames.feed(piece, |frame| told.push(frame));
        rest = after;
    }
    frames.feed(rest, |frame| told.push(frame));
    told
}

fuzz_target!(|input: (Vec<u8>, Vec<u8>)| {
    let (bytes, cuts) = input;
    let expected = plain(&bytes);
    assert_eq!(followed(Frames::default(), &bytes, &cuts), expected);
    // A client's preface stands before its first frame.
    let bytes = [&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..], &bytes].concat();
    let expected = [&[Frame::Other], &expected[..]].concat();
    assert_eq!(followed(Frames::of_client(), &bytes, &cuts), expected);
});
