//! Prefixes of IP addresses, as lists of who may and may not send are made of.
//!
//! Text form: an address and the number of its bits that count, `198.51.100.0/24`; an address alone is that one.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::ops::RangeInclusive;
use std::str::FromStr;

/// Bits of an IPv6 address.
const V6_BITS: u32 = 128;
/// Bits of an IPv4 address.
const V4_BITS: u32 = 32;
/// Most digits of a number of bits.
const BITS_DIGITS: usize = 3;

/// Addresses that begin alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IpPrefix {
    base: IpAddr,
    bits: u8,
}

/// A text that is no prefix.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PrefixError {
    /// No address, or no number of bits behind the slash.
    #[error("{0:?} is no address and no prefix; write 198.51.100.7 or 198.51.100.0/24")]
    Malformed(String),
    /// More bits than the address has.
    #[error("{text:?} has more than {most} bits; an address of its kind has no more")]
    TooLong {
        /// As given.
        text: String,
        /// Bits of such an address.
        most: u8,
    },
    /// Bits are set that do not count: one of the two numbers is not what was meant.
    #[error("{text:?} has bits set behind the first {bits}; write {base}/{bits}, or more bits")]
    BitsBehind {
        /// As given.
        text: String,
        /// Its number of bits.
        bits: u8,
        /// The address without the bits behind.
        base: IpAddr,
    },
}

impl IpPrefix {
    /// The addresses, as numbers of IPv6 addresses; an IPv4 address is the one that maps to it.
    pub fn range(&self) -> RangeInclusive<u128> {
        let (base, bits) = match self.base {
            IpAddr::V4(v4) => (v4.to_ipv6_mapped(), u32::from(self.bits) + V6_BITS - V4_BITS),
            IpAddr::V6(v6) => (v6, u32::from(self.bits)),
        };
        let behind = u128::MAX.checked_shr(bits).unwrap_or(0);
        let first = u128::from(base);
        first..=first | behind
    }

    /// The number by which [`IpPrefix::range`] has `address`.
    pub fn number(address: IpAddr) -> u128 {
        u128::from(match address {
            IpAddr::V4(v4) => v4.to_ipv6_mapped(),
            IpAddr::V6(v6) => v6,
        })
    }
}

impl FromStr for IpPrefix {
    type Err = PrefixError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let malformed = || PrefixError::Malformed(text.to_owned());
        let (address, bits) = text.split_once('/').map_or((text, None), |(a, b)| (a, Some(b)));
        let address: IpAddr = address.parse().map_err(|_| malformed())?;
        let most = if address.is_ipv4() { V4_BITS } else { V6_BITS } as u8;
        let digits = |text: &str| text.len() <= BITS_DIGITS && text.bytes().all(|byte| byte.is_ascii_digit());
        if !bits.is_none_or(digits) {
            return Err(malformed());
        }
        let bits: u8 = bits.map_or(Ok(most), str::parse).map_err(|_| malformed())?;
        if bits > most {
            return Err(PrefixError::TooLong { text: text.to_owned(), most });
        }
        let behind =
            IpPrefix::number(address) & u128::MAX.checked_shr(V6_BITS - u32::from(most - bits)).unwrap_or(0);
        if behind != 0 {
            let base = Ipv6Addr::from(IpPrefix::number(address) ^ behind);
            let base = if address.is_ipv4() { IpAddr::V6(base).to_canonical() } else { base.into() };
            return Err(PrefixError::BitsBehind { text: text.to_owned(), bits, base });
        }
        Ok(Self { base: address, bits })
    }
}

impl fmt::Display for IpPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.base, self.bits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn has(prefix: &str, address: &str) -> bool {
        let prefix: IpPrefix = prefix.parse().expect("a prefix");
        prefix.range().contains(&IpPrefix::number(address.parse().expect("an address")))
    }

    #[test]
    fn a_prefix_has_what_begins_like_it() {
        assert!(has("198.51.100.0/24", "198.51.100.255"));
        assert!(has("198.51.100.0/24", "::ffff:198.51.100.1"), "seen through a v6 socket");
        assert!(!has("198.51.100.0/24", "198.51.101.0"));
        assert!(has("198.51.100.7", "198.51.100.7") && !has("198.51.100.7", "198.51.100.8"));
        assert!(has("0.0.0.0/0", "255.255.255.255") && !has("0.0.0.0/0", "2001:db8::1"));
        assert!(has("2001:db8::/32", "2001:db8:ffff::1") && !has("2001:db8::/32", "2001:db9::"));
        assert!(has("::/0", "10.0.0.1"), "everything");
    }

    #[test]
    fn what_is_none_is_told() {
        let error = |text: &str| text.parse::<IpPrefix>().expect_err("no prefix").to_string();
        assert!(error("10.0.0").contains("198.51.100.0/24"));
        assert!(error("10.0.0.0/x").contains("no prefix"));
        for bits in ["", "+8", "08000", "8 ", "300"] {
            assert!(error(&format!("10.0.0.0/{bits}")).contains("no prefix"), "{bits:?}");
        }
        assert!(error("10.0.0.0/33").contains("32 bits"));
        assert!(error("10.0.0.1/8").contains("write 10.0.0.0/8"), "{}", error("10.0.0.1/8"));
        assert!(error("2001:db8::1/32").contains("write 2001:db8::/32"));
    }

    proptest! {
        #[test]
        fn any_text_is_taken(text in "[0-9a-f.:/x]{0,24}") {
            if let Ok(prefix) = text.parse::<IpPrefix>() {
                prop_assert_eq!(prefix.to_string().parse(), Ok(prefix));
                prop_assert!(prefix.range().start() <= prefix.range().end());
            }
        }
    }
}
