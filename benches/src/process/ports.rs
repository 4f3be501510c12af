//! Ports that nobody listens on, so that a run disturbs no other server of the machine.

use std::io;
use std::net::{Ipv4Addr, TcpListener};

/// First port tried; below the range from which Linux picks ports for outgoing connections.
const FIRST: u16 = 20_911;
/// Distance of the ports tried: room for a server with its neighbouring ports.
const STRIDE: u16 = 500;

/// The first port `base` at which `base + offset` is free for all `offsets`.
pub fn free_base(offsets: &[i32]) -> io::Result<u16> {
    let bases = (FIRST..32_000).step_by(STRIDE.into());
    let free = |base: &u16| offsets.iter().all(|offset| is_free(i32::from(*base) + offset));
    bases.into_iter().find(free).ok_or_else(|| io::ErrorKind::AddrInUse.into())
}

fn is_free(port: i32) -> bool {
    u16::try_from(port).is_ok_and(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_base_with_a_taken_neighbour_is_passed_over() {
        let base = free_base(&[0, 7]).expect("some port is free");
        let _taken = TcpListener::bind((Ipv4Addr::LOCALHOST, base + 7)).expect("free");
        assert_ne!(free_base(&[0, 7]).expect("some port is free"), base);
        assert!(!is_free(70_000));
        assert!(!is_free(-1));
    }
}
