//! Keys of fleets and their health.

use foundationdb_tuple::pack;

use super::{KeyRange, Prefix};

/// [`crate::records::FleetRecord`].
pub fn fleet(namespace: &str, fleet: &str) -> Vec<u8> {
    pack(&(Prefix::Fleet as u16, namespace, fleet))
}

/// Every fleet of a namespace.
pub fn fleets(namespace: &str) -> KeyRange {
    KeyRange::under(&(Prefix::Fleet as u16, namespace))
}

/// Every fleet of every namespace.
pub fn all_fleets() -> KeyRange {
    KeyRange::under(&(Prefix::Fleet as u16,))
}

/// [`crate::records::FleetHealthRecord`].
pub fn fleet_health(namespace: &str, fleet: &str, region: &str) -> Vec<u8> {
    pack(&(Prefix::FleetHealth as u16, namespace, fleet, region))
}

/// Health of a fleet in all regions.
pub fn fleet_healths(namespace: &str, fleet: &str) -> KeyRange {
    KeyRange::under(&(Prefix::FleetHealth as u16, namespace, fleet))
}

/// Number of fleets of a namespace.
pub fn fleet_count(namespace: &str) -> Vec<u8> {
    pack(&(Prefix::FleetCount as u16, namespace))
}
