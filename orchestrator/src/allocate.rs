//! Claiming a warm server by request, without a queue.
//!
//! One serializable transaction that touches few keys and scans nothing: it looks at a couple of warm
//! servers from a random place on, takes one, and writes the match. Starting servers to replace it is the
//! fleet's reconciler's.

use muster_protocol::id::{MatchId, SeatMark};
use muster_store::{Database, StoreError};
use rand::seq::SliceRandom;

use crate::lifecycle::claim_warm;
use crate::metrics;
use crate::random;
use crate::records::{MatchRecord, MatchSeat, MatchState, ServerRecord};
use crate::state::{StateError, fleets, matches};

/// Most players named in one allocation.
pub const MAX_PLAYERS: usize = muster_protocol::api::MAX_PLAYERS as usize;
/// Longest data handed to a server with its allocation, in bytes.
pub const MAX_DATA_BYTES: usize = 16 * 1024;

/// A server claimed by request.
#[derive(Clone, Debug, PartialEq)]
pub struct Allocation {
    /// The match made for it, with a seat for every player named, in their order.
    pub match_record: MatchRecord,
    /// The server.
    pub server: ServerRecord,
}

/// Why no server was claimed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AllocateError {
    /// There is no such fleet, or it is being deleted.
    #[error("fleet {0} does not exist; apply it first")]
    UnknownFleet(String),
    /// The fleet is not in a region that was asked for.
    #[error("fleet {fleet} is not in region {region}; add it to the fleet's regions, or ask for another")]
    UnknownRegion {
        /// Fleet.
        fleet: String,
        /// Region.
        region: String,
    },
    /// No server is warm there.
    #[error(
        "fleet {fleet} has no ready server in {regions}; try again in a moment, or raise warm (muster fleet ls \
         says what it waits for)"
    )]
    NoCapacity {
        /// Fleet.
        fleet: String,
        /// Regions looked in.
        regions: String,
    },
    /// More than [`MAX_PLAYERS`] players, or more than [`MAX_DATA_BYTES`] of data.
    #[error("at most {MAX_PLAYERS} players and {MAX_DATA_BYTES} bytes of data can go with an allocation")]
    TooLarge,
    /// The store or a record in it failed.
    #[error(transparent)]
    State(#[from] StateError),
}

impl From<StoreError> for AllocateError {
    fn from(error: StoreError) -> Self {
        Self::State(error.into())
    }
}

/// Claims a warm server of `fleet` in the first of `regions` that has one; with none named, in any. Sells
/// a seat to each of `players` and hands `data` to the server.
///
/// # Errors
/// [`AllocateError`]; nothing is claimed then.
pub async fn allocate(
    db: &Database,
    namespace: &str,
    fleet: &str,
    regions: &[String],
    players: &[String],
    data: &str,
    now_ms: u64,
) -> Result<Allocation, AllocateError> {
    if players.len() > MAX_PLAYERS || data.len() > MAX_DATA_BYTES {
        return Err(AllocateError::TooLarge);
    }
    let outcome = db
        .run("allocate", async |mut tx| {
            // Without conflict: a fleet that changes meanwhile may still give the server it has.
            let record = fleets::peek(&mut tx, namespace, fleet).await?.filter(|record| !record.deleting);
            let record = record.ok_or_else(|| AllocateError::UnknownFleet(fleet.to_owned()))?;
            if let Some(region) = regions.iter().find(|region| !record.regions.contains_key(*region)) {
                return Err(AllocateError::UnknownRegion { fleet: fleet.to_owned(), region: region.clone() });
            }
            let mut order: Vec<&String> = regions.iter().collect();
            if order.is_empty() {
                order.extend(record.regions.keys());
                order.shuffle(&mut rand::rng());
            }
            let match_id = random::id();
            for region in &order {
                if let Some(server) = claim_warm(&mut tx, namespace, fleet, region, match_id, now_ms).await? {
                    let mut match_record = claimed(match_id, &server, players, data, now_ms);
                    if record.direct_connect {
                        match_record.max_players = record.max_players;
                    }
                    matches::save(&mut tx, None, &match_record);
                    return Ok(Allocation { match_record, server });
                }
            }
            let regions = order.iter().map(|region| region.as_str()).collect::<Vec<_>>().join(", ");
            Err(AllocateError::NoCapacity { fleet: fleet.to_owned(), regions })
        })
        .await;
    metrics::allocated(match &outcome {
        Ok(_) => "claimed",
        Err(AllocateError::NoCapacity { .. }) => "no_capacity",
        Err(_) => "refused",
    });
    outcome
}

fn claimed(
    match_id: MatchId,
    server: &ServerRecord,
    players: &[String],
    data: &str,
    now_ms: u64,
) -> MatchRecord {
    MatchRecord {
        id: Some(match_id.into()),
        namespace: server.namespace.clone(),
        fleet: server.fleet.clone(),
        region: server.region.clone(),
        state: MatchState::Assigned.into(),
        seats: players
            .iter()
            .map(|player| MatchSeat {
                id: Some(random::id::<SeatMark>().into()),
                player: player.clone(),
                ..MatchSeat::default()
            })
            .collect(),
        data: data.to_owned(),
        server: server.id,
        created_at_ms: now_ms,
        assigned_at_ms: now_ms,
        ..Default::default()
    }
}
