//! Finding a lobby: the fullest public one that fits, so that lobbies fill up before new ones are begun.

use std::collections::BTreeMap;

use muster_protocol::api::{FindLobbyRequest, LobbySpec};
use muster_protocol::id::MatchId;
use muster_store::{Database, Transaction};

use super::guests::{Guests, Wanted};
use super::join::{self, Entry};
use super::{LobbyError, fleet, make};
use crate::asker::Asker;
use crate::keyspace;
use crate::random;
use crate::records::{FleetRecord, TicketRecord};
use crate::state::lobbies::public;
use crate::state::{StateError, matches};

/// Lobbies with room looked at in one region; they are looked at fullest first, and only tags pass them over.
const MAX_LOOKED_AT: usize = 500;
/// Those that fit among which a search chooses at most, once others have taken what it wanted.
const MAX_CHOICE: usize = 16;
/// Attempts in which a lobby is made only if none that fits has come meanwhile.
const CAREFUL_ATTEMPTS: u32 = 3;

/// Seats who asks in the fullest public lobby that fits, the nearest of those as full; makes one if there is none and the
/// request says so. Otherwise as [`super::create`].
///
/// # Errors
/// [`LobbyError`]; nothing is written then.
pub async fn find(
    db: &Database,
    namespace: &str,
    request: &FindLobbyRequest,
    asker: &Asker,
    now_ms: u64,
) -> Result<TicketRecord, LobbyError> {
    let who = (request.player.as_str(), request.party.as_slice());
    let guests = Guests::new(namespace, who, request.idempotency_key.as_ref(), asker);
    let wanted = Wanted {
        regions: &request.regions,
        latencies_ms: &request.latencies_ms,
        max_latency_ms: request.max_latency_ms,
    };
    let create = request.create.as_ref().map(|spec| {
        let tags = request.tags.clone().into_iter().chain(spec.tags.clone()).collect();
        LobbySpec { tags, ..spec.clone() }
    });
    let match_id = random::id();
    let mut attempt = 0;
    db.run("find_lobby", |mut tx| {
        attempt += 1;
        let (guests, wanted, create) = (&guests, &wanted, &create);
        async move {
            if let Some(made) = guests.made_before(&mut tx).await? {
                return Ok(made);
            }
            let fleet = fleet(&mut tx, namespace, &request.fleet).await?;
            let regions = wanted.regions_of(&fleet, random::spread())?;
            let search = Search { fleet: &fleet, regions: &regions, tags: &request.tags, attempt };
            if let Some(found) = search.enter(&mut tx, guests, now_ms).await? {
                return Ok(found);
            }
            match create {
                None => Err(LobbyError::NoneFits(fleet.name)),
                Some(spec) => {
                    search.stay_careful(&mut tx, guests);
                    make::make(&mut tx, &fleet, &regions, (match_id, spec), guests, now_ms).await
                }
            }
        }
    })
    .await
}

struct Search<'a> {
    fleet: &'a FleetRecord,
    /// Where to look, nearest first.
    regions: &'a [String],
    tags: &'a BTreeMap<String, String>,
    /// Counts from 1: the transaction is made again if others were quicker.
    attempt: u32,
}

impl Search<'_> {
    /// Seats them in one that fits, if one does.
    async fn enter(
        &self,
        tx: &mut Transaction,
        guests: &Guests<'_>,
        now_ms: u64,
    ) -> Result<Option<TicketRecord>, LobbyError> {
        let mut fitting = self.fitting(tx, guests.count()).await?;
        // All who search at once would want the same one, and only one of them gets in at a time. So whoever was too slow
        // looks at ever more of those that fit, and takes one by chance.
        let choice = (1 << (self.attempt - 1).min(8)).min(MAX_CHOICE).min(fitting.len());
        fitting.truncate(choice.max(1));
        let first = usize::from(random::spread()) % fitting.len().max(1);
        fitting.rotate_left(first);
        for (_, _, id) in fitting {
            let Some(record) = matches::load(tx, id).await? else { continue };
            match join::enter(tx, &record, guests, now_ms).await? {
                Entry::Seated(ticket) => return Ok(Some(*ticket)),
                // The index is of the same moment, but says nothing of the server.
                Entry::Refused(_) => {}
            }
        }
        Ok(None)
    }

    /// Those with room for `players` and the tags that are wanted: the fullest first, of those as full the nearest.
    async fn fitting(
        &self,
        tx: &mut Transaction,
        players: usize,
    ) -> Result<Vec<(u32, usize, MatchId)>, StateError> {
        let mut fitting = Vec::new();
        for (near, region) in self.regions.iter().enumerate() {
            let found = public(tx, &self.room_in(region, players), MAX_LOOKED_AT).await?;
            let fits = found.iter().filter(|lobby| has_tags(&lobby.tags, self.tags));
            fitting.extend(fits.take(MAX_CHOICE).map(|lobby| (lobby.takes, near, lobby.id)));
        }
        fitting.sort_by_key(|(takes, near, id)| (*takes, *near, id.uuid()));
        Ok(fitting)
    }

    fn room_in(&self, region: &str, players: usize) -> keyspace::KeyRange {
        keyspace::lobbies_with_room(&self.fleet.namespace, &self.fleet.name, region, players as u32)
    }

    /// Makes what was found, that nothing fits, count as read: of two who find nothing at once, the second finds what the
    /// first made. Not for ever, since lobbies that others fill are in the same ranges.
    fn stay_careful(&self, tx: &mut Transaction, guests: &Guests<'_>) {
        if self.attempt <= CAREFUL_ATTEMPTS {
            for region in self.regions {
                let range = self.room_in(region, guests.count());
                tx.add_read_conflict_range(&range.begin, &range.end);
            }
        }
    }
}

/// Whether all of `wanted` are among `tags`.
pub(super) fn has_tags(tags: &BTreeMap<String, String>, wanted: &BTreeMap<String, String>) -> bool {
    wanted.iter().all(|(name, value)| tags.get(name) == Some(value))
}
