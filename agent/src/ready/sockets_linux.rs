//! The kernel's socket tables of another process's network namespace. Linux only.

use std::collections::HashSet;

/// Socket states of `/proc/net`: a UDP socket that is bound and not connected, a TCP socket that listens.
const UDP_BOUND: &str = "07";
const TCP_LISTEN: &str = "0A";

/// The ports (UDP?, number) on which something listens for others in the network namespace of `pid`;
/// `None` if its tables cannot be read from here.
pub(super) fn listening(pid: u32) -> Option<HashSet<(bool, u16)>> {
    let mut ports = HashSet::new();
    let mut readable = false;
    for (table, udp) in [("udp", true), ("udp6", true), ("tcp", false), ("tcp6", false)] {
        // A kernel without IPv6 has no tables for it.
        if let Ok(text) = std::fs::read_to_string(format!("/proc/{pid}/net/{table}")) {
            readable = true;
            let state = if udp { UDP_BOUND } else { TCP_LISTEN };
            ports.extend(text.lines().skip(1).filter_map(|line| port(line, state)).map(|port| (udp, port)));
        }
    }
    readable.then_some(ports)
}

/// The port of one line, if its socket is in `state` and not bound to loopback.
fn port(line: &str, state: &str) -> Option<u16> {
    let mut fields = line.split_ascii_whitespace();
    let local = fields.nth(1)?;
    if fields.nth(1)? != state {
        return None;
    }
    let (address, port) = local.split_once(':')?;
    if is_loopback(address) { None } else { u16::from_str_radix(port, 16).ok() }
}

/// Addresses are hex words in the machine's byte order.
fn is_loopback(address: &str) -> bool {
    match address.len() {
        8 => u32::from_str_radix(address, 16)
            .is_ok_and(|word| std::net::Ipv4Addr::from(word.to_ne_bytes()).is_loopback()),
        32 => {
            let words: Option<Vec<u32>> =
                (0..4).map(|i| u32::from_str_radix(address.get(8 * i..8 * i + 8)?, 16).ok()).collect();
            words.is_some_and(|words| {
                let mut bytes = [0; 16];
                for (chunk, word) in bytes.chunks_exact_mut(4).zip(words) {
                    chunk.copy_from_slice(&word.to_ne_bytes());
                }
                std::net::Ipv6Addr::from(bytes).to_canonical().is_loopback()
            })
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn lines_of_the_kernel_are_read() {
        let any = "  12: 00000000:1E61 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 24 2 0 0";
        assert_eq!(port(any, UDP_BOUND), Some(7777));
        assert_eq!(port(any, TCP_LISTEN), None);
        let listening =
            "   0: 00000000000000000000000000000000:1F90 00000000000000000000000000000000:0000 0A 0";
        assert_eq!(port(listening, TCP_LISTEN), Some(8080));
    }

    #[cfg(target_endian = "little")]
    #[test]
    fn loopback_does_not_count() {
        assert!(is_loopback("0100007F"));
        assert!(is_loopback("00000000000000000000000001000000"));
        assert!(is_loopback("0000000000000000FFFF00000100007F"));
        assert!(!is_loopback("020011AC"));
    }

    proptest! {
        #[test]
        fn any_line_is_read_without_panic(line in ".{0,200}", address in "[0-9A-Fa-fx]{0,40}") {
            let _ = port(&line, UDP_BOUND);
            let _ = port(&format!("0: {address}:0000 0 {TCP_LISTEN}"), TCP_LISTEN);
        }
    }
}
