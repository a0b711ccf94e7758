//! Follows the frames of an HTTP/2 connection, as far as the pool must know them (RFC 9113 4.1).

/// What a frame tells the pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Frame {
    /// The other side's settings; `None` if they do not name `SETTINGS_MAX_CONCURRENT_STREAMS` (6.5.2).
    Settings {
        /// The streams that may be open at once.
        max_streams: Option<u32>,
    },
    /// The other side processes no more than the streams that it knows (6.8).
    GoAway,
    /// A PING that asks for an answer (6.7).
    Ping,
    /// `RST_STREAM`: one side gives a stream up (6.4).
    Reset,
    /// Any other frame.
    Other,
}

/// Follows frames in bytes that are cut anywhere. Bytes that are no frames are not noticed: the one who reads them refuses
/// them.
#[derive(Debug, Default)]
pub struct Frames {
    /// The bytes of the frame's head so far, the last one lowest.
    head: u128,
    /// The number of bytes in `head`.
    got: usize,
    /// Bytes of the payload that have not come.
    left: usize,
    /// The bytes of the current setting so far.
    setting: u64,
    /// The number of bytes in `setting`.
    got_of_setting: usize,
    max_streams: Option<u32>,
}

/// The length of a frame's head, in bytes.
const HEAD: usize = 9;
/// The length of one setting, in bytes.
const SETTING: usize = 6;
const RESET: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GO_AWAY: u8 = 7;
const ACK: u8 = 1;
const MAX_CONCURRENT_STREAMS: u64 = 3;

/// The length of what a client writes before its first frame (3.4), in bytes.
const PREFACE: usize = 24;

impl Frames {
    /// Follows what a client writes.
    pub fn of_client() -> Self {
        Self {
            got: HEAD,
            left: PREFACE,
            ..Self::default()
        }
    }

    /// Follows the next bytes; `tell` hears of each frame that is complete.
    pub fn feed(&mut self, bytes: &[u8], mut tell: impl FnMut(Frame)) {
        let mut rest = bytes;
        loop {
            while self.got < HEAD {
                let Some((byte, after)) = rest.split_first() else {
                    return;
                };
                self.head = self.head << 8 | u128::from(*byte);
                self.got += 1;
                rest = after;
                if self.got == HEAD {
                    self.left = usize::try_from(self.head >> 48).unwrap_or(usize::MAX);
                }
            }
            let (payload, after) = rest.split_at(self.left.min(rest.len()));
            if self.is_settings() {
                self.read_settings(payload);
            }
            self.left -= payload.len();
            rest = after;
            if self.left > 0 {
                return;
            }
            tell(self.frame());
            *self = Self::default();
        }
    }

    fn kind(&self) -> u8 {
        (self.head >> 40 & 0xff) as u8
    }

    fn is_ack(&self) -> bool {
        let flags = (self.head >> 32 & 0xff) as u8;
        flags & ACK != 0
    }

    /// Settings of the other side, not its acknowledgement of ours.
    fn is_settings(&self) -> bool {
        self.kind() == SETTINGS && !self.is_ack()
    }

    fn read_settings(&mut self, payload: &[u8]) {
        for byte in payload {
            self.setting = self.setting << 8 | u64::from(*byte);
            self.got_of_setting += 1;
            if self.got_of_setting == SETTING {
                if self.setting >> 32 == MAX_CONCURRENT_STREAMS {
                    self.max_streams = Some((self.setting & 0xffff_ffff) as u32);
                }
                (self.setting, self.got_of_setting) = (0, 0);
            }
        }
    }

    fn frame(&self) -> Frame {
        match self.kind() {
            _ if self.is_settings() => Frame::Settings {
                max_streams: self.max_streams,
            },
            GO_AWAY => Frame::GoAway,
            RESET => Frame::Reset,
            PING if !self.is_ack() => Frame::Ping,
            _ => Frame::Other,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).expect("a short one");
        let [_, length @ ..] = length.to_be_bytes();
        let mut bytes = length.to_vec();
        bytes.extend([kind, flags, 0, 0, 0, 1]);
        bytes.extend(payload);
        bytes
    }

    fn setting(id: u16, value: u32) -> Vec<u8> {
        [&id.to_be_bytes()[..], &value.to_be_bytes()[..]].concat()
    }

    fn followed<'b>(pieces: impl IntoIterator<Item = &'b [u8]>) -> Vec<Frame> {
        let (mut frames, mut told) = (Frames::default(), Vec::new());
        for piece in pieces {
            frames.feed(piece, |frame| told.push(frame));
        }
        told
    }

    fn settings(max_streams: impl Into<Option<u32>>) -> Frame {
        Frame::Settings {
            max_streams: max_streams.into(),
        }
    }

    /// Frames of each kind, and what they tell.
    fn conversation() -> (Vec<u8>, Vec<Frame>) {
        let bytes = [
            frame(
                4,
                0,
                &[setting(1, 7), setting(3, 20), setting(4, 9)].concat(),
            ),
            frame(4, 1, &[]),
            frame(0, 0, &[3; 300]),
            frame(4, 0, &setting(0x103, 5)),
            frame(6, 0, &[0; 8]),
            frame(6, 1, &[0; 8]),
            frame(3, 0, &[0; 4]),
            frame(4, 0, &[setting(3, 9), setting(3, 0)].concat()),
            frame(7, 0, &[0; 8]),
            frame(1, 5, &[]),
            frame(4, 0, &setting(3, u32::MAX)),
        ];
        let told = vec![
            settings(20),
            Frame::Other,
            Frame::Other,
            settings(None),
            Frame::Ping,
            Frame::Other,
            Frame::Reset,
            // The last one counts.
            settings(0),
            Frame::GoAway,
            Frame::Other,
            settings(u32::MAX),
        ];
        (bytes.concat(), told)
    }

    #[test]
    fn each_frame_is_told_when_it_is_complete() {
        let (bytes, told) = conversation();
        assert_eq!(followed([&bytes[..]]), told);
        assert_eq!(followed(bytes.chunks(1)), told);
        let (last, cut) = bytes.split_last().expect("some");
        assert_eq!(followed([cut]).len(), told.len() - 1, "without {last}");
    }

    #[test]
    fn a_client_writes_a_preface_first() {
        let (frames, told) = conversation();
        let bytes = [&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..], &frames].concat();
        let mut followed = Vec::new();
        let mut client = Frames::of_client();
        for piece in bytes.chunks(5) {
            client.feed(piece, |frame| followed.push(frame));
        }
        assert_eq!(followed, [&[Frame::Other], &told[..]].concat());
    }

    proptest! {
        #[test]
        fn cuts_change_nothing(cut in 1_usize..400) {
            let (bytes, told) = conversation();
            prop_assert_eq!(followed(bytes.chunks(cut)), told);
        }

        #[test]
        fn any_bytes_are_followed_to_their_end(bytes: Vec<u8>) {
            followed(bytes.chunks(7));
        }
    }
}
