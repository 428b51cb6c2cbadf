//! What sources may send to the edges of a region.

use muster_protocol::api;
use muster_protocol::edge as wire;
use muster_store::Transaction;

use super::{StateError, kv};
use crate::keyspace;
use crate::records::{EdgeLimitsRecord, EdgeRates};

/// Most regions that have limits.
pub const MAX_LIMITED_REGIONS: usize = 1_000;

/// The limits of a region; none if nobody has set any.
pub async fn load(tx: &mut Transaction, region: &str) -> Result<EdgeLimitsRecord, StateError> {
    Ok(kv::load(tx, &keyspace::edge_limits(region)).await?.unwrap_or_default())
}

/// As [`load`], without conflicting. Changes with [`keyspace::region_revision`].
pub async fn peek(tx: &mut Transaction, region: &str) -> Result<EdgeLimitsRecord, StateError> {
    Ok(kv::peek(tx, &keyspace::edge_limits(region)).await?.unwrap_or_default())
}

/// Regions that have limits, at most [`MAX_LIMITED_REGIONS`]. Does not conflict.
pub async fn count(tx: &mut Transaction) -> Result<usize, StateError> {
    let range = keyspace::all_edge_limits();
    Ok(kv::scan_keys(tx, &range, MAX_LIMITED_REGIONS).await?.len())
}

/// Sets the limits of a region. Its edges are told.
pub fn set(tx: &mut Transaction, region: &str, limits: &api::EdgeLimits) {
    let (key, record) = (keyspace::edge_limits(region), EdgeLimitsRecord::from(limits));
    if record == EdgeLimitsRecord::default() {
        tx.clear(&key);
    } else {
        kv::save(tx, &key, &record);
    }
    kv::bump(tx, &keyspace::region_revision(region));
}

impl From<&api::EdgeLimits> for EdgeLimitsRecord {
    fn from(limits: &api::EdgeLimits) -> Self {
        let rates = |rates: api::Rates| {
            let api::Rates { packets_per_s, bytes_per_s, new_flows_per_s } = rates;
            (!rates.is_none()).then_some(EdgeRates { packets_per_s, bytes_per_s, new_flows_per_s })
        };
        Self {
            address: rates(limits.address),
            network: rates(limits.network),
            token: rates(limits.token),
            server: rates(limits.server),
            allow: limits.allow.clone(),
            deny: limits.deny.clone(),
        }
    }
}

impl EdgeLimitsRecord {
    /// As it was set.
    pub fn to_api(&self) -> api::EdgeLimits {
        let rates = |rates: Option<EdgeRates>| {
            let EdgeRates { packets_per_s, bytes_per_s, new_flows_per_s } = rates.unwrap_or_default();
            api::Rates { packets_per_s, bytes_per_s, new_flows_per_s }
        };
        api::EdgeLimits {
            address: rates(self.address),
            network: rates(self.network),
            token: rates(self.token),
            server: rates(self.server),
            allow: self.allow.clone(),
            deny: self.deny.clone(),
        }
    }

    /// As edges are told.
    pub fn to_wire(&self) -> wire::EdgeLimits {
        let rates = |rates: Option<EdgeRates>| {
            rates.map(|EdgeRates { packets_per_s, bytes_per_s, new_flows_per_s }| wire::Rates {
                packets_per_s,
                bytes_per_s,
                new_flows_per_s,
            })
        };
        wire::EdgeLimits {
            address: rates(self.address),
            network: rates(self.network),
            token: rates(self.token),
            server: rates(self.server),
            allow: self.allow.clone(),
            deny: self.deny.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use muster_protocol::prefix::IpPrefix;
    use muster_store::limits::MAX_VALUE_BYTES;
    use prost::Message;

    use super::*;

    #[test]
    fn the_longest_lists_fit_a_value() {
        let longest = "ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255/128";
        assert!(longest.parse::<IpPrefix>().is_ok());
        let list = vec![longest.to_owned(); api::MAX_PREFIXES];
        let limits = api::EdgeLimits { allow: list.clone(), deny: list, ..api::EdgeLimits::default() };
        assert!(EdgeLimitsRecord::from(&limits).encoded_len() + 1_000 <= MAX_VALUE_BYTES);
    }

    #[test]
    fn limits_say_what_was_set() {
        let rates = |n: u32| api::Rates {
            packets_per_s: n,
            bytes_per_s: u64::from(n) * 1_000,
            new_flows_per_s: n + 1,
        };
        let limits = api::EdgeLimits {
            address: rates(1),
            network: rates(2),
            token: rates(3),
            server: rates(4),
            allow: vec!["10.0.0.1".into()],
            deny: vec!["10.0.0.0/8".into()],
        };
        let record = EdgeLimitsRecord::from(&limits);
        assert_eq!(record.to_api(), limits);
        let told = record.to_wire();
        let packets = |rates: Option<wire::Rates>| rates.map(|rates| rates.packets_per_s);
        let all = [told.address, told.network, told.token, told.server].map(packets);
        assert_eq!(all, [1, 2, 3, 4].map(Some));
        assert_eq!((told.allow, told.deny), (limits.allow, limits.deny));
        assert_eq!(EdgeLimitsRecord::from(&api::EdgeLimits::default()), EdgeLimitsRecord::default());
    }
}
