//! A list of prefixes, made so that whether it has an address is found in a few steps however long it is. Pure.

use std::net::IpAddr;

use muster_protocol::prefix::{IpPrefix, PrefixError};

/// Addresses as ranges of numbers, sorted, none touching another.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Ranges(Vec<(u128, u128)>);

impl Ranges {
    /// The addresses of all of `prefixes`.
    pub(super) fn parse(prefixes: &[String]) -> Result<Self, PrefixError> {
        let mut ranges = Vec::with_capacity(prefixes.len());
        for text in prefixes {
            let range = text.parse::<IpPrefix>()?.range();
            ranges.push((*range.start(), *range.end()));
        }
        ranges.sort_unstable();
        let mut merged: Vec<(u128, u128)> = Vec::with_capacity(ranges.len());
        for (first, last) in ranges {
            match merged.last_mut() {
                Some((_, end)) if first <= end.saturating_add(1) => *end = last.max(*end),
                _ => merged.push((first, last)),
            }
        }
        Ok(Self(merged))
    }

    /// Whether `address` is one of them.
    pub(super) fn has(&self, address: IpAddr) -> bool {
        let number = IpPrefix::number(address);
        let behind = self.0.partition_point(|(first, _)| *first <= number);
        behind.checked_sub(1).is_some_and(|at| number <= self.0[at].1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ranges(prefixes: &[&str]) -> Ranges {
        Ranges::parse(&prefixes.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>()).unwrap()
    }

    #[test]
    fn prefixes_within_and_beside_each_other_are_one_range() {
        let ranges = ranges(&["10.1.0.0/16", "10.0.0.0/8", "11.0.0.0/8", "2001:db8::/32"]);
        assert_eq!(ranges.0.len(), 2);
        let has = |text: &str| ranges.has(text.parse().unwrap());
        assert!(has("10.0.0.0") && has("10.1.2.3") && has("11.255.255.255") && has("2001:db8::1"));
        assert!(!has("9.255.255.255") && !has("12.0.0.0") && !has("2001:db9::1") && !has("::"));
        assert!(!Ranges::default().has(IpAddr::from([10, 0, 0, 1])));
    }

    proptest! {
        /// However they overlap, the list has what one of its prefixes has.
        #[test]
        fn a_list_is_the_sum_of_its_prefixes(
            parts in proptest::collection::vec((any::<u8>(), 24u8..=32), 0..8), probe in any::<u8>(), next in 0u8..2,
        ) {
            let prefixes: Vec<String> = parts
                .iter()
                .map(|(last, bits)| {
                    let last = if *bits == 24 { 0 } else { last & (u8::MAX << (32 - bits)) };
                    format!("10.0.0.{last}/{bits}")
                })
                .collect();
            let probe = IpAddr::from([10, 0, next, probe]);
            let one_has = prefixes.iter().any(|text| {
                text.parse::<IpPrefix>().unwrap().range().contains(&IpPrefix::number(probe))
            });
            prop_assert_eq!(Ranges::parse(&prefixes).unwrap().has(probe), one_has);
        }
    }
}
