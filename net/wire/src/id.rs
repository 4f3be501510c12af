//! The server's message id (RocketMQ: offsetMsgId): where a record lies, as text that clients decode.
//!
//!     upper-case hex of: store host address (4 or 16 bytes) · port (i32) · physical offset (i64)
//!
//! 10.0.0.2:10911, physical offset 1000:
//!     0A000002 00002A9F 00000000000003E8
//!
//! Clients connect to the host inside it, so it must be the broker's reachable address.
//! Not here: a client's own id (property UNIQ_KEY), an opaque string to us.
//! Source: `common/.../message/MessageDecoder.java` (`createMessageId`, `decodeMessageId`).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Of an id with an IPv6 address.
const BYTES_MAX: usize = 28;

/// Appends the id of the record at `physical_offset` of the broker at `store_host`: 32 characters, or 56 for IPv6.
pub fn push(store_host: SocketAddr, physical_offset: i64, out: &mut String) {
    let mut bytes = [0; BYTES_MAX];
    let ip_len = match store_host.ip().to_canonical() {
        IpAddr::V4(ip) => put(&mut bytes, 0, &ip.octets()),
        IpAddr::V6(ip) => put(&mut bytes, 0, &ip.octets()),
    };
    let port_end = put(&mut bytes, ip_len, &u32::from(store_host.port()).to_be_bytes());
    let end = put(&mut bytes, port_end, &physical_offset.to_be_bytes());
    push_hex(&bytes[..end], out);
}

/// The host and the physical offset that an id names; `None` if it is no such id.
pub fn parse(id: &str) -> Option<(SocketAddr, i64)> {
    let mut bytes = [0u8; BYTES_MAX];
    let digits = id.as_bytes();
    let (pairs, []) = digits.as_chunks::<2>() else { return None };
    let bytes = bytes.get_mut(..pairs.len())?;
    for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
        let digit = |letter: u8| char::from(letter).to_digit(16);
        *byte = u8::try_from(digit(*high)? << 4 | digit(*low)?).ok()?;
    }
    let (ip, rest) = match bytes.len() {
        16 => bytes.split_first_chunk::<4>().map(|(ip, rest)| (IpAddr::V4(Ipv4Addr::from(*ip)), rest))?,
        28 => bytes.split_first_chunk::<16>().map(|(ip, rest)| (IpAddr::V6(Ipv6Addr::from(*ip)), rest))?,
        _ => return None,
    };
    let (port, offset) = rest.split_first_chunk::<4>()?;
    let port = u16::try_from(u32::from_be_bytes(*port)).ok()?;
    Some((SocketAddr::new(ip, port), i64::from_be_bytes(*offset.first_chunk()?)))
}

/// Puts `part` at `at`, and gives where it ends.
fn put(bytes: &mut [u8; BYTES_MAX], at: usize, part: &[u8]) -> usize {
    let end = at + part.len();
    bytes[at..end].copy_from_slice(part);
    end
}

fn push_hex(bytes: &[u8], out: &mut String) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    let mut digits = [0; 2 * BYTES_MAX];
    let digits = &mut digits[..bytes.len() * 2];
    for (pair, byte) in digits.as_chunks_mut::<2>().0.iter_mut().zip(bytes) {
        *pair = [HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]];
    }
    out.push_str(std::str::from_utf8(digits).expect("hexadecimal digits are text"));
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn text(host: &str, offset: i64) -> String {
        let mut out = String::new();
        push(host.parse().unwrap(), offset, &mut out);
        out
    }

    #[test]
    fn the_worked_example_is_written_and_read() {
        let id = "0A00000200002A9F00000000000003E8";
        assert_eq!(text("10.0.0.2:10911", 1000), id);
        assert_eq!(parse(id), Some(("10.0.0.2:10911".parse().unwrap(), 1000)));
        assert_eq!(parse(&id.to_lowercase()), parse(id));
    }

    #[test]
    fn an_ipv4_address_in_an_ipv6_coat_is_written_as_ipv4() {
        assert_eq!(text("[::ffff:10.0.0.2]:10911", 1000), text("10.0.0.2:10911", 1000));
        assert_eq!(text("[2001:db8::1]:1", 2).len(), 56);
    }

    #[test]
    fn what_is_no_id_is_refused() {
        for text in [
            "",
            "0A00000200002A9F00000000000003E",
            "0A00000200002A9F00000000000003E8FF",
            "0A00000200012A9F00000000000003E8",
            "0A00000200002A9F00000000000003EG",
            "0A00000200002A9F00000000000003中",
            "+A00000200002A9F00000000000003E8",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_place_comes_back_as_it_was(ip: IpAddr, port: u16, offset: i64) {
            let mut out = String::new();
            push(SocketAddr::new(ip, port), offset, &mut out);
            prop_assert_eq!(parse(&out), Some((SocketAddr::new(ip.to_canonical(), port), offset)));
        }

        #[test]
        fn no_text_makes_the_parser_panic(text in ".{0,60}") {
            let _ = parse(&text);
        }
    }
}
