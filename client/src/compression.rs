//! Bodies made smaller by their producer and larger again by their consumer. The broker keeps what it got.
//!
//! The form is in three bits of the record's `sysFlag`, next to the bit that says *compressed*:
//!
//! ```text
//! 0x001  compressed       0x100  LZ4 frame    0x200  Zstandard    0x300, and 0x000 from old clients: zlib
//! ```
//!
//! Java, Go and C++ of before 5.0 know zlib alone, so it is the default. Each form is a feature of this crate; none needs C.
//!
//! Invariants
//!  1. A body is compressed only if it gets smaller by it.
//!  2. Decompressing makes at most [`BODY_BYTES_UNPACKED_MAX`] bytes, whatever the body claims.
//!
//! Source: `common/.../compression/CompressorFactory.java`, `common/.../sysflag/MessageSysFlag.java`.

use crate::limits::BODY_BYTES_UNPACKED_MAX;
use ringmq_wire::record::sys_flag::{
    COMPRESSED, COMPRESSION_LZ4, COMPRESSION_MASK, COMPRESSION_ZLIB, COMPRESSION_ZSTD,
};
use std::io::{self, Read};

/// How a producer compresses bodies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Compression {
    /// Understood by every client.
    #[cfg(feature = "zlib")]
    Zlib,
    /// The frame format of LZ4; fast. Java from 5.0 on.
    #[cfg(feature = "lz4")]
    Lz4,
    /// Zstandard; small. Java from 5.0 on.
    #[cfg(feature = "zstd")]
    Zstd,
}

/// The form that producers use unless they are told otherwise.
pub(crate) fn default_form() -> Option<Compression> {
    #[cfg(feature = "zlib")]
    return Some(Compression::Zlib);
    #[cfg(not(feature = "zlib"))]
    None
}

/// A body made smaller, with the bits that say how. `None` if it would not get smaller.
pub(crate) fn compress(form: Compression, body: &[u8]) -> Option<(Vec<u8>, i32)> {
    let (packed, bits): (io::Result<Vec<u8>>, i32) = match form {
        #[cfg(feature = "zlib")]
        Compression::Zlib => (zlib::pack(body), COMPRESSION_ZLIB),
        #[cfg(feature = "lz4")]
        Compression::Lz4 => (lz4::pack(body), COMPRESSION_LZ4),
        #[cfg(feature = "zstd")]
        Compression::Zstd => (zstd::pack(body), COMPRESSION_ZSTD),
    };
    let packed = packed.ok().filter(|packed| packed.len() < body.len())?;
    Some((packed, COMPRESSED | bits))
}

/// The body as its producer had it; `None` if it is that already.
pub(crate) fn decompress(sys_flag: i32, body: &[u8]) -> Option<io::Result<Vec<u8>>> {
    if sys_flag & COMPRESSED == 0 {
        return None;
    }
    Some(match sys_flag & COMPRESSION_MASK {
        _ if body.is_empty() => Err(io::ErrorKind::UnexpectedEof.into()),
        0 | COMPRESSION_ZLIB => zlib::unpack(body),
        COMPRESSION_LZ4 => lz4::unpack(body),
        COMPRESSION_ZSTD => zstd::unpack(body),
        other => Err(io::Error::other(format!("compression {other:#x} is not known"))),
    })
}

/// Everything that `reader` gives, if that is not too much.
#[cfg(any(feature = "zlib", feature = "lz4", feature = "zstd"))]
fn read_bounded(reader: impl Read) -> io::Result<Vec<u8>> {
    let mut body = Vec::new();
    reader.take(BODY_BYTES_UNPACKED_MAX as u64 + 1).read_to_end(&mut body)?;
    if body.len() > BODY_BYTES_UNPACKED_MAX {
        return Err(io::Error::other(format!("the body is larger than {BODY_BYTES_UNPACKED_MAX} bytes")));
    }
    Ok(body)
}

#[cfg(feature = "zlib")]
mod zlib {
    use super::*;

    /// Level 5, as Java's.
    const LEVEL: flate2::Compression = flate2::Compression::new(5);

    pub fn pack(body: &[u8]) -> io::Result<Vec<u8>> {
        let mut packed = Vec::new();
        flate2::read::ZlibEncoder::new(body, LEVEL).read_to_end(&mut packed)?;
        Ok(packed)
    }

    pub fn unpack(body: &[u8]) -> io::Result<Vec<u8>> {
        read_bounded(flate2::read::ZlibDecoder::new(body))
    }
}

#[cfg(feature = "lz4")]
mod lz4 {
    use super::*;
    use std::io::Write;

    pub fn pack(body: &[u8]) -> io::Result<Vec<u8>> {
        let mut encoder = lz4_flex::frame::FrameEncoder::new(Vec::new());
        encoder.write_all(body)?;
        encoder.finish().map_err(io::Error::other)
    }

    pub fn unpack(body: &[u8]) -> io::Result<Vec<u8>> {
        read_bounded(lz4_flex::frame::FrameDecoder::new(body))
    }
}

#[cfg(feature = "zstd")]
mod zstd {
    use super::*;
    use ruzstd::decoding::StreamingDecoder;
    use ruzstd::encoding::{CompressionLevel, compress_to_vec};

    pub fn pack(body: &[u8]) -> io::Result<Vec<u8>> {
        Ok(compress_to_vec(body, CompressionLevel::Fastest))
    }

    pub fn unpack(body: &[u8]) -> io::Result<Vec<u8>> {
        read_bounded(StreamingDecoder::new(body).map_err(io::Error::other)?)
    }
}

/// Stands for a form that this build leaves out.
macro_rules! left_out {
    ($($feature:literal $name:ident)*) => {
        $(#[cfg(not(feature = $feature))]
        mod $name {
            pub fn unpack(_: &[u8]) -> std::io::Result<Vec<u8>> {
                Err(std::io::Error::other(concat!("ringmq-client was built without the feature `", $feature, "`")))
            }
        })*
    };
}
left_out! { "zlib" zlib "lz4" lz4 "zstd" zstd }

#[cfg(test)]
mod tests {
    use super::*;

    fn forms() -> Vec<Compression> {
        vec![
            #[cfg(feature = "zlib")]
            Compression::Zlib,
            #[cfg(feature = "lz4")]
            Compression::Lz4,
            #[cfg(feature = "zstd")]
            Compression::Zstd,
        ]
    }

    /// Bytes that look like nothing.
    fn noise(bytes: usize) -> Vec<u8> {
        let mut random = crate::rules::random::Random::new(1);
        (0..bytes).map(|_| random.next() as u8).collect()
    }

    #[test]
    fn a_body_comes_back_and_was_smaller_meanwhile() {
        let body = b"four boxes, ".repeat(1000);
        for form in forms() {
            let (packed, bits) = compress(form, &body).expect("it gets smaller");
            assert!(packed.len() < body.len() / 4, "{form:?}: {}", packed.len());
            assert_eq!(decompress(bits, &packed).unwrap().unwrap(), body, "{form:?}");
        }
    }

    #[test]
    fn a_body_that_would_not_get_smaller_stays_as_it_is() {
        for form in forms() {
            assert_eq!(compress(form, &noise(5000)), None, "{form:?}");
            assert_eq!(compress(form, b""), None, "{form:?}");
        }
        assert!(decompress(0, b"plain").is_none());
    }

    /// What Java 5.3.3's compressors make of "four boxes, " twenty times, by `client/tests/golden/Bodies.java`; zlib also
    /// as clients from before the bits existed send it.
    #[test]
    fn bodies_that_java_compressed_are_read() {
        const ZLIB: &str = "785e4bcb2f2d5248caaf482dd651481b016c00886855b5";
        for (is_here, bits, hex) in [
            (cfg!(feature = "zlib"), COMPRESSION_ZLIB, ZLIB),
            (cfg!(feature = "zlib"), 0, ZLIB),
            (
                cfg!(feature = "lz4"),
                COMPRESSION_LZ4,
                "04224d1860707316000000cf666f757220626f7865732c200c00cc507865732c2000000000",
            ),
            (
                cfg!(feature = "zstd"),
                COMPRESSION_ZSTD,
                "28b52ffd00589c000060666f757220626f7865732c200100e1532509010000",
            ),
        ] {
            let (pairs, _) = hex.as_bytes().as_chunks::<2>();
            let byte = |pair: &[u8; 2]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
            let packed: Vec<u8> = pairs.iter().map(byte).collect();
            let unpacked = decompress(COMPRESSED | bits, &packed).unwrap();
            match is_here {
                true => assert_eq!(unpacked.unwrap(), b"four boxes, ".repeat(20), "{bits:#x}"),
                false => {
                    assert!(unpacked.unwrap_err().to_string().contains("without the feature"), "{bits:#x}")
                }
            }
        }
    }

    #[test]
    fn what_is_no_compressed_body_is_an_error_and_not_more() {
        for bits in [0, COMPRESSION_ZLIB, COMPRESSION_LZ4, COMPRESSION_ZSTD, 0x700] {
            for body in [&b""[..], b"plain text", &noise(1000)] {
                assert!(decompress(COMPRESSED | bits, body).unwrap().is_err(), "{bits:#x}");
            }
        }
    }

    #[test]
    fn a_small_body_that_unpacks_to_too_much_is_refused() {
        let bomb = vec![0; BODY_BYTES_UNPACKED_MAX + 1];
        for form in forms() {
            let (packed, bits) = compress(form, &bomb).expect("zeros get smaller");
            let error = decompress(bits, &packed).unwrap().unwrap_err();
            assert!(error.to_string().contains("larger than"), "{form:?}: {error}");
        }
    }
}
