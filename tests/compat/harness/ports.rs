//! Ports that nobody listens on.

use std::net::TcpListener;
use std::sync::atomic::{AtomicU16, Ordering};

/// Below the range that the kernel hands out by itself, so that no outgoing connection takes one.
const FIRST: u16 = 20_000;
const LAST: u16 = 32_000;

static NEXT: AtomicU16 = AtomicU16::new(0);

/// The first of `count` free ports in a row, on all of the loopback addresses used here.
pub fn free(count: u16) -> u16 {
    // Processes that test at the same time start at different places.
    let start = (std::process::id() % 500) as u16 * 24;
    for _ in 0..LAST - FIRST {
        let port = FIRST + (start + NEXT.fetch_add(count, Ordering::Relaxed)) % (LAST - FIRST - count);
        if (port..port + count).all(is_free) {
            return port;
        }
    }
    panic!("no {count} free ports in a row");
}

fn is_free(port: u16) -> bool {
    ["127.0.0.1", "127.0.0.2"].iter().all(|host| TcpListener::bind((*host, port)).is_ok())
}
