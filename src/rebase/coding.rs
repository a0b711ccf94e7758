//! Content codings (RFC 9110 8.4): decodes a body piece by piece, with bounded memory.

use std::io::Write as _;

use brotli_decompressor::{BrotliDecompressStream, BrotliResult, BrotliState, StandardAlloc};
use bytes::{Buf as _, Bytes};
use flate2::{Decompress, FlushDecompress, Status, write::MultiGzDecoder};
use http::{HeaderMap, header};

use crate::body;

/// How a body is coded (RFC 9110 8.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Coding {
    /// No coding
    Identity,
    /// gzip
    Gzip,
    /// zlib, called deflate by HTTP
    Deflate,
    /// Brotli
    Brotli,
}

impl Coding {
    /// The coding of an answer; `None` if it is not supported.
    pub fn of(headers: &HeaderMap) -> Option<Self> {
        let mut values = headers.get_all(header::CONTENT_ENCODING).iter();
        let Some(value) = values.next() else {
            return Some(Self::Identity);
        };
        if values.next().is_some() {
            return None;
        }
        match &*value.as_bytes().to_ascii_lowercase() {
            b"identity" => Some(Self::Identity),
            b"gzip" | b"x-gzip" => Some(Self::Gzip),
            b"deflate" => Some(Self::Deflate),
            b"br" => Some(Self::Brotli),
            _ => None,
        }
    }
}

/// The body decoded; `None` if it is broken or decodes to more than `most` bytes.
pub fn decode(coding: Coding, body: Bytes, most: usize) -> Option<Bytes> {
    if coding == Coding::Identity {
        return Some(body);
    }
    let (mut decoder, mut decoded) = (Decoder::of(coding), Vec::new());
    decoder.take(body);
    while decoder.decode(&mut decoded).ok()? {
        if decoded.len() > most {
            return None;
        }
    }
    decoder.finish(&mut decoded).ok()?;
    (decoded.len() <= most).then(|| decoded.into())
}

/// Decodes a body. At one time it makes some [`STEP`] bytes, whatever a few coded ones stand for.
pub(super) struct Decoder {
    /// What was taken and is not decoded yet.
    input: Bytes,
    has_begun: bool,
    method: Method,
}

enum Method {
    Identity,
    Gzip(Box<MultiGzDecoder<Vec<u8>>>),
    Deflate(Box<Deflate>),
    Brotli(Box<Brotli>),
}

/// `deflate` is the zlib format (RFC 9110 8.4.1.2), but some servers send the bare one. The first two bytes tell.
struct Deflate {
    state: Option<Decompress>,
    /// The first byte, while it is alone.
    first: Option<u8>,
    has_ended: bool,
    /// More comes without further input.
    has_more: bool,
}

struct Brotli {
    state: BrotliState<StandardAlloc, StandardAlloc, StandardAlloc>,
    written: usize,
    has_ended: bool,
    /// More comes without further input.
    has_more: bool,
}

/// How much is decoded at one time, in bytes.
const STEP: usize = 32 * 1024;

impl Decoder {
    pub(super) fn of(coding: Coding) -> Self {
        let method = match coding {
            Coding::Identity => Method::Identity,
            Coding::Gzip => Method::Gzip(Box::new(MultiGzDecoder::new(Vec::new()))),
            Coding::Deflate => Method::Deflate(Box::new(Deflate {
                state: None,
                first: None,
                has_ended: false,
                has_more: false,
            })),
            Coding::Brotli => {
                let alloc = StandardAlloc::default;
                Method::Brotli(Box::new(Brotli {
                    // RFC 7932 alone: the format has an extension with windows of 1 GiB.
                    state: BrotliState::new_strict(alloc(), alloc(), alloc()),
                    written: 0,
                    has_ended: false,
                    has_more: false,
                }))
            }
        };
        Self {
            input: Bytes::new(),
            has_begun: false,
            method,
        }
    }

    /// Takes a piece, once the one before is decoded.
    pub(super) fn take(&mut self, piece: Bytes) {
        self.has_begun |= !piece.is_empty();
        self.input = piece;
    }

    /// Whether all that was taken is decoded.
    pub(super) fn is_drained(&self) -> bool {
        let has_more = match &self.method {
            Method::Deflate(deflate) => deflate.has_more,
            Method::Brotli(brotli) => brotli.has_more,
            Method::Identity | Method::Gzip(_) => false,
        };
        self.input.is_empty() && !has_more
    }

    /// Decodes a part of what was taken; `false` if there is none.
    pub(super) fn decode(&mut self, into: &mut Vec<u8>) -> Result<bool, body::Error> {
        if self.is_drained() {
            return Ok(false);
        }
        let before = into.len();
        let used = match &mut self.method {
            Method::Identity => {
                into.extend_from_slice(&self.input);
                self.input.len()
            }
            Method::Gzip(gzip) => {
                let used = gzip.write(&self.input).map_err(|_| body::Error::Coding)?;
                into.append(gzip.get_mut());
                used
            }
            Method::Deflate(deflate) => deflate.decode(&self.input, into)?,
            Method::Brotli(brotli) => brotli.decode(&self.input, into)?,
        };
        // Nothing moves: it would never end.
        if used == 0 && into.len() == before && !self.input.is_empty() {
            return Err(body::Error::Coding);
        }
        self.input.advance(used);
        Ok(true)
    }

    /// The body has ended: the rest of what it decodes to.
    pub(super) fn finish(&mut self, into: &mut Vec<u8>) -> Result<(), body::Error> {
        if !self.has_begun {
            // No body at all, whatever its coding.
            return Ok(());
        }
        match &mut self.method {
            Method::Identity => {}
            Method::Gzip(gzip) => {
                gzip.try_finish().map_err(|_| body::Error::Coding)?;
                into.append(gzip.get_mut());
            }
            Method::Deflate(deflate) if deflate.has_ended => {}
            Method::Brotli(brotli) if brotli.has_ended => {}
            Method::Deflate(_) | Method::Brotli(_) => return Err(body::Error::Coding),
        }
        Ok(())
    }
}

impl Deflate {
    /// Decodes a part of the input, and returns how much of it was used.
    fn decode(&mut self, input: &[u8], into: &mut Vec<u8>) -> Result<usize, body::Error> {
        if self.has_ended {
            return Err(body::Error::Coding);
        }
        let Some(state) = &mut self.state else {
            return self.begin(input, into);
        };
        into.reserve(STEP);
        let (before, made) = (state.total_in(), into.len());
        let status = state
            .decompress_vec(input, into, FlushDecompress::None)
            .map_err(|_| body::Error::Coding)?;
        self.has_ended = status == Status::StreamEnd;
        // The library may hold decoded bytes back for which there was no room.
        self.has_more = !self.has_ended && into.len() > made && into.len() == into.capacity();
        usize::try_from(state.total_in() - before).map_err(|_| body::Error::Coding)
    }

    /// Finds out which format it is.
    fn begin(&mut self, input: &[u8], into: &mut Vec<u8>) -> Result<usize, body::Error> {
        let (first, second) = match (self.first, input) {
            (Some(first), [second, ..]) => (first, *second),
            (None, [first, second, ..]) => (*first, *second),
            (None, [first]) => {
                self.first = Some(*first);
                return Ok(1);
            }
            (_, []) => return Ok(0),
        };
        // RFC 1950 2.2: method 8, and a multiple of 31.
        let is_zlib = first & 0x0f == 8 && (u16::from(first) * 256 + u16::from(second)) % 31 == 0;
        let mut state = Decompress::new(is_zlib);
        if self.first.is_some() {
            // It has taken one byte and made nothing.
            let made = state.decompress_vec(&[first], into, FlushDecompress::None);
            made.map_err(|_| body::Error::Coding)?;
        }
        self.state = Some(state);
        self.decode(input, into)
    }
}

impl Brotli {
    /// Decodes a part of the input, and returns how much of it was used.
    fn decode(&mut self, input: &[u8], into: &mut Vec<u8>) -> Result<usize, body::Error> {
        if self.has_ended {
            return Err(body::Error::Coding);
        }
        let before = into.len();
        into.resize(before + STEP, 0);
        let (mut available, mut used) = (input.len(), 0);
        let (mut room, mut made) = (STEP, before);
        let result = BrotliDecompressStream(
            &mut available,
            &mut used,
            input,
            &mut room,
            &mut made,
            into,
            &mut self.written,
            &mut self.state,
        );
        into.truncate(made);
        self.has_more = matches!(result, BrotliResult::NeedsMoreOutput);
        match result {
            BrotliResult::ResultSuccess => self.has_ended = true,
            BrotliResult::NeedsMoreInput | BrotliResult::NeedsMoreOutput => {}
            BrotliResult::ResultFailure => return Err(body::Error::Coding),
        }
        Ok(used)
    }
}
