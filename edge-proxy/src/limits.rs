//! What the operator lets sources send: rates, who is exempt from them, and who is not let in.
//!
//! Immutable and replaced whole when the orchestrator says other limits (`current`); `guard` holds what comes against
//! them, with the memory of `buckets`. How many connections there may be at once is `stream::limits`'.

mod buckets;
mod current;
mod guard;
mod lists;

use std::net::IpAddr;

use muster_protocol::api::MAX_PREFIXES;
use muster_protocol::edge as wire;
use muster_protocol::prefix::PrefixError;

pub(crate) use buckets::LEAST_BURST_BYTES;
pub(crate) use current::CurrentLimits;
pub(crate) use guard::{Guard, Sources};
use lists::Ranges;

/// How much there may be per second; 0 is no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Rates {
    pub(crate) packets: u32,
    pub(crate) bytes: u64,
    pub(crate) new_flows: u32,
}

/// The limits. The default has none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Limits {
    pub(crate) address: Rates,
    pub(crate) network: Rates,
    pub(crate) token: Rates,
    pub(crate) server: Rates,
    allow: Ranges,
    deny: Ranges,
    // Whether there is anything to look at at all.
    any: bool,
}

/// Limits that make no sense here.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum LimitsError {
    #[error(transparent)]
    Prefix(#[from] PrefixError),
    #[error("a list has more than {MAX_PREFIXES} prefixes")]
    TooMany,
}

impl Limits {
    /// What `limits` say.
    pub(crate) fn from_wire(limits: &wire::EdgeLimits) -> Result<Self, LimitsError> {
        if limits.allow.len().max(limits.deny.len()) > MAX_PREFIXES {
            return Err(LimitsError::TooMany);
        }
        let rates = |rates: Option<wire::Rates>| {
            let wire::Rates { packets_per_s, bytes_per_s, new_flows_per_s } = rates.unwrap_or_default();
            Rates { packets: packets_per_s, bytes: bytes_per_s, new_flows: new_flows_per_s }
        };
        Ok(Self {
            address: rates(limits.address),
            network: rates(limits.network),
            token: rates(limits.token),
            server: rates(limits.server),
            allow: Ranges::parse(&limits.allow)?,
            deny: Ranges::parse(&limits.deny)?,
            any: *limits != wire::EdgeLimits::default(),
        })
    }
}

impl Limits {
    /// Whether nothing is taken from `source`.
    fn denies(&self, source: IpAddr) -> bool {
        self.deny.has(source) && !self.allow.has(source)
    }

    /// At most so many packets per second from an address.
    pub(crate) fn of_address(packets: u32) -> Self {
        Self { address: Rates { packets, ..Rates::default() }, any: true, ..Self::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_that_make_no_sense_are_told() {
        let bad = wire::EdgeLimits { deny: vec!["10.0.0.1/8".into()], ..Default::default() };
        assert!(Limits::from_wire(&bad).unwrap_err().to_string().contains("10.0.0.0/8"));
        let many =
            wire::EdgeLimits { allow: vec!["10.0.0.1".into(); MAX_PREFIXES + 1], ..Default::default() };
        assert_eq!(Limits::from_wire(&many), Err(LimitsError::TooMany));
        assert_eq!(Limits::from_wire(&wire::EdgeLimits::default()), Ok(Limits::default()));
    }
}
