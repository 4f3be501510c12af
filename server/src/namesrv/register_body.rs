//! The body of a registration: checked, unfolded, read.
//!
//! A broker may fold it (`compressedRegister`) into a zlib stream. Brokers of RocketMQ 5.3 then still say
//! `compressed=false`, so the first byte decides as well: JSON begins with `{`, zlib with 0x78.
//!
//! Invariants
//!  1. What is unfolded is bounded by [`REGISTER_BODY_BYTES_MAX`], whatever the stream declares.
//!
//! Not here: the layout of both forms (`ringmq_wire::request::registration`).
//!
//! Source: `RegisterBrokerBody.java`, `DefaultRequestProcessor.java` (`checksum`).

use std::io::Read;

use flate2::read::ZlibDecoder;
use ringmq_wire::json;
use ringmq_wire::request::registration::{RegisterBroker, Registration};

use super::limits::REGISTER_BODY_BYTES_MAX;

/// First byte of a zlib stream with the usual window.
const ZLIB: u8 = 0x78;

/// Why a body cannot be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum BodyError {
    #[error("crc32 not match")]
    Checksum,
    #[error("body cannot be unfolded: {0}")]
    Unfold(std::io::Error),
    #[error("body unfolds to more than {max} bytes")]
    TooLarge { max: usize },
    #[error(transparent)]
    Read(#[from] json::BodyError),
}

/// Reads the body that came with a registration.
pub(super) fn read(header: &RegisterBroker<'_>, body: &[u8]) -> Result<Registration, BodyError> {
    if !header.body_is_intact(body) {
        return Err(BodyError::Checksum);
    }
    if header.compressed || body.first() == Some(&ZLIB) {
        Ok(Registration::read_packed(&unfold(body, REGISTER_BODY_BYTES_MAX)?)?)
    } else {
        Ok(Registration::read(body)?)
    }
}

fn unfold(body: &[u8], max: usize) -> Result<Vec<u8>, BodyError> {
    let mut unfolded = Vec::new();
    let mut bounded = ZlibDecoder::new(body).take(max as u64 + 1);
    bounded.read_to_end(&mut unfolded).map_err(BodyError::Unfold)?;
    if unfolded.len() > max { Err(BodyError::TooLarge { max }) } else { Ok(unfolded) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn folded(plain: &[u8]) -> Vec<u8> {
        let mut folded = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::default());
        folded.write_all(plain).unwrap();
        folded.finish().unwrap()
    }

    #[test]
    fn a_small_body_that_unfolds_to_much_is_refused() {
        let folded = folded(&[0; 10_000]);
        assert!(folded.len() < 100);
        assert_eq!(unfold(&folded, 10_000).unwrap().len(), 10_000);
        assert!(matches!(unfold(&folded, 9_999), Err(BodyError::TooLarge { max: 9_999 })));
    }

    #[test]
    fn what_is_no_stream_is_refused() {
        assert!(matches!(unfold(b"{}", 100), Err(BodyError::Unfold(_))));
    }
}
