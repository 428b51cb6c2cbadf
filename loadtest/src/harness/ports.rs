//! Ports nobody uses now. Somebody may take one in between: whoever binds it must say so clearly.

use std::net::{Ipv4Addr, TcpListener, UdpSocket};

use anyhow::bail;

/// Where ranges are looked for: below what systems hand out by themselves.
const RANGE_FIRST: u16 = 20_000;
const RANGE_LAST: u16 = 31_000;
/// Ranges tried before giving up.
const MAX_TRIES: u32 = 200;

/// A free TCP port on loopback.
pub fn free_tcp() -> anyhow::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

/// A free UDP port on loopback.
pub fn free_udp() -> anyhow::Result<u16> {
    Ok(UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

/// The first of `count` neighbouring ports that are free for UDP and TCP.
pub fn free_range(count: u16) -> anyhow::Result<u16> {
    for _ in 0..MAX_TRIES {
        let first = rand::random_range(RANGE_FIRST..RANGE_LAST - count);
        if (first..first + count).all(is_free) {
            return Ok(first);
        }
    }
    bail!("found no {count} free ports in a row between {RANGE_FIRST} and {RANGE_LAST}")
}

fn is_free(port: u16) -> bool {
    UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port)).is_ok()
        && TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).is_ok()
}
