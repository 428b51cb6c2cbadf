//! Who asks for a seat in a lobby or on a server: their ticket before it has one, and where they would play.

use std::collections::BTreeMap;

use muster_protocol::api::PartyMember;
use muster_protocol::id::TicketId;
use muster_store::Transaction;

use super::LobbyError;
use crate::asker::Asker;
use crate::random;
use crate::records::{FleetRecord, TicketMember, TicketRecord};
use crate::seats::Newcomer;

/// Who asks.
#[derive(Clone, Copy)]
pub(super) struct Guests<'a> {
    pub(super) namespace: &'a str,
    pub(super) player: &'a str,
    pub(super) party: &'a [PartyMember],
    pub(super) idempotency_key: Option<&'a str>,
    pub(super) asker: &'a Asker,
    /// The ticket they get.
    pub(super) ticket: TicketId,
}

impl<'a> Guests<'a> {
    pub(super) fn new(
        namespace: &'a str,
        (player, party): (&'a str, &'a [PartyMember]),
        idempotency_key: Option<&'a String>,
        asker: &'a Asker,
    ) -> Self {
        let idempotency_key = idempotency_key.map(String::as_str);
        Self { namespace, player, party, idempotency_key, asker, ticket: random::id() }
    }

    pub(super) fn count(&self) -> usize {
        1 + self.party.len()
    }

    /// The ticket that the request's idempotency key made before. Conflicts with others who use the key.
    pub(super) async fn made_before(&self, tx: &mut Transaction) -> Result<Option<TicketRecord>, LobbyError> {
        Ok(self.asker.made_before(tx, self.namespace, self.idempotency_key).await?)
    }

    /// Their ticket, without seats.
    pub(super) fn ticket(&self, fleet: &str, now_ms: u64) -> TicketRecord {
        let members = self.party.iter().map(|member| member.player.as_str());
        let members = std::iter::once(self.player).chain(members);
        TicketRecord {
            id: Some(self.ticket.into()),
            namespace: self.namespace.to_owned(),
            fleet: fleet.to_owned(),
            player: self.player.to_owned(),
            created_at_ms: now_ms,
            members: members
                .map(|player| TicketMember { player: player.to_owned(), ..TicketMember::default() })
                .collect(),
            idempotency_key: self.idempotency_key.unwrap_or_default().to_owned(),
            token_sha256: self.asker.token_sha256.clone(),
            request_sha256: self.asker.request_sha256.clone(),
            ..TicketRecord::default()
        }
    }

    /// They, as those to whom seats are sold.
    pub(super) fn newcomer(&self, fleet: &str, now_ms: u64) -> Newcomer {
        Newcomer { before: None, ticket: self.ticket(fleet, now_ms), team: String::new() }
    }
}

/// Where they would play.
#[derive(Clone, Copy)]
pub(super) struct Wanted<'a> {
    /// Best first; empty: any of the fleet's.
    pub(super) regions: &'a [String],
    pub(super) latencies_ms: &'a BTreeMap<String, u32>,
    pub(super) max_latency_ms: Option<u32>,
}

impl Wanted<'_> {
    /// The fleet's regions where they would, nearest first; in the order they were named where no latency tells.
    pub(super) fn regions_of(&self, fleet: &FleetRecord, spread: u16) -> Result<Vec<String>, LobbyError> {
        if let Some(region) = self.regions.iter().find(|region| !fleet.regions.contains_key(*region)) {
            return Err(LobbyError::UnknownRegion { fleet: fleet.name.clone(), region: region.clone() });
        }
        let mut order: Vec<String> = self.regions.to_vec();
        if order.is_empty() {
            order.extend(fleet.regions.keys().cloned());
            let first = usize::from(spread) % order.len().max(1);
            order.rotate_left(first);
        }
        let latency = |region: &String| self.latencies_ms.get(region).copied().unwrap_or(u32::MAX);
        order.retain(|region| self.max_latency_ms.is_none_or(|most| latency(region) <= most));
        order.sort_by_key(latency);
        match self.max_latency_ms {
            Some(max_latency_ms) if order.is_empty() => {
                Err(LobbyError::TooFar { fleet: fleet.name.clone(), max_latency_ms })
            }
            _ => Ok(order),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::records::RegionTarget;

    #[test]
    fn regions_are_tried_from_the_nearest_on() {
        let target = RegionTarget { warm: 1, max: 4 };
        let regions = ["ap", "eu", "us"].map(|region| (region.to_owned(), target)).into();
        let fleet = FleetRecord { name: "arena".into(), regions, ..FleetRecord::default() };
        let latencies_ms = BTreeMap::from([("eu".to_owned(), 90), ("us".to_owned(), 20)]);
        let (none, nowhere) = (BTreeMap::new(), Vec::new());
        let of = |regions: &[&str], latencies_ms, max_latency_ms| {
            let regions: Vec<String> = regions.iter().map(|region| (*region).to_owned()).collect();
            Wanted { regions: &regions, latencies_ms, max_latency_ms }.regions_of(&fleet, 1)
        };
        assert_eq!(of(&[], &latencies_ms, None), Ok(vec!["us".into(), "eu".into(), "ap".into()]));
        assert_eq!(of(&[], &latencies_ms, Some(90)), Ok(vec!["us".into(), "eu".into()]));
        assert_eq!(of(&["ap", "eu"], &none, None), Ok(vec!["ap".into(), "eu".into()]));
        assert_eq!(of(&[], &none, None), Ok(vec!["eu".into(), "us".into(), "ap".into()]), "from anywhere on");
        assert!(matches!(of(&["ap"], &latencies_ms, Some(90)), Err(LobbyError::TooFar { .. })));
        assert!(matches!(of(&["mars"], &none, None), Err(LobbyError::UnknownRegion { .. })));
        let wanted = Wanted { regions: &nowhere, latencies_ms: &none, max_latency_ms: None };
        assert_eq!(wanted.regions_of(&FleetRecord::default(), 3), Ok(Vec::new()));
    }
}
