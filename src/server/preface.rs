//! The first bytes of a connection, which tell HTTP/1.1 from HTTP/2.

/// The first bytes of an HTTP/2 connection with prior knowledge (RFC 9113 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The protocol of a connection.
#[derive(Clone, Copy)]
pub(super) enum Protocol {
    Http1,
    Http2,
}

impl Protocol {
    /// The protocol of a connection that begins with these bytes; `None` if more are needed.
    pub(super) fn of(begun: &[u8]) -> Option<Self> {
        let same = begun
            .iter()
            .zip(PREFACE)
            .take_while(|(one, other)| one == other)
            .count();
        if same == PREFACE.len() {
            return Some(Self::Http2);
        }
        (same < begun.len()).then_some(Self::Http1)
    }
}
