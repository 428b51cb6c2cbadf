//! PROXY protocol v2: how a server behind the edge learns its player's address, where its fleet asks for it.
//!
//! The header comes before the connection's first byte, once. Only its `PROXY` command over TCP is made. Pure.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
const VERSION_2_PROXY: u8 = 0x21;
const TCP_OVER_IPV4: u8 = 0x11;
const TCP_OVER_IPV6: u8 = 0x21;

/// The header for a connection from `client` to `edge`. Where the two are of different families, both are given
/// as IPv6 addresses.
pub(super) fn header(client: SocketAddr, edge: SocketAddr) -> Vec<u8> {
    let mut out = SIGNATURE.to_vec();
    out.push(VERSION_2_PROXY);
    match (client.ip().to_canonical(), edge.ip().to_canonical()) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            out.extend_from_slice(&[TCP_OVER_IPV4, 0, 12]);
            out.extend_from_slice(&from.octets());
            out.extend_from_slice(&to.octets());
        }
        (from, to) => {
            out.extend_from_slice(&[TCP_OVER_IPV6, 0, 36]);
            out.extend_from_slice(&v6(from).octets());
            out.extend_from_slice(&v6(to).octets());
        }
    }
    out.extend_from_slice(&client.port().to_be_bytes());
    out.extend_from_slice(&edge.port().to_be_bytes());
    out
}

fn v6(ip: IpAddr) -> Ipv6Addr {
    match ip {
        IpAddr::V4(v4) => v4.to_ipv6_mapped(),
        IpAddr::V6(v6) => v6,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(client: &str, edge: &str) -> Vec<u8> {
        header(client.parse().unwrap(), edge.parse().unwrap())
    }

    #[test]
    fn it_is_what_the_specification_says() {
        let expected = b"\x0d\x0a\x0d\x0a\x00\x0d\x0a\x51\x55\x49\x54\x0a\x21\x11\x00\x0c\
                         \xc6\x33\x64\x07\xc0\x00\x02\x01\x9c\x40\x4e\x20";
        assert_eq!(of("198.51.100.7:40000", "192.0.2.1:20000"), expected);
        assert_eq!(of("[::ffff:198.51.100.7]:40000", "[::ffff:192.0.2.1]:20000"), expected);
        let v6 = of("[2001:db8::1]:40000", "192.0.2.1:20000");
        assert_eq!((v6.len(), &v6[13..16]), (16 + 36, &[0x21, 0, 36][..]));
        assert_eq!(&v6[16..32], "2001:db8::1".parse::<Ipv6Addr>().unwrap().octets());
        assert_eq!(&v6[32..48], "::ffff:192.0.2.1".parse::<Ipv6Addr>().unwrap().octets());
    }
}
