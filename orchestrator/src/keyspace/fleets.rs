//! Keys of fleets, their health and the marks of their reconciler.

use foundationdb_tuple::{pack, unpack};

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

/// Set while a fleet is to be looked at by its reconciler.
pub fn fleet_dirty(namespace: &str, fleet: &str) -> Vec<u8> {
    pack(&(Prefix::FleetDirty as u16, namespace, fleet))
}

/// Every fleet to be looked at.
pub fn fleets_dirty() -> KeyRange {
    KeyRange::under(&(Prefix::FleetDirty as u16,))
}

/// Namespace and fleet of a [`fleet_dirty`] key.
pub fn split_fleet_dirty(key: &[u8]) -> Option<(String, String)> {
    unpack::<(u16, String, String)>(key).ok().map(|(_, namespace, fleet)| (namespace, fleet))
}

/// Read and written by every pass over a fleet, so that of two at once one loses.
pub fn fleet_pass(namespace: &str, fleet: &str) -> Vec<u8> {
    pack(&(Prefix::FleetPass as u16, namespace, fleet))
}

/// Number of fleets of a namespace.
pub fn fleet_count(namespace: &str) -> Vec<u8> {
    pack(&(Prefix::FleetCount as u16, namespace))
}
