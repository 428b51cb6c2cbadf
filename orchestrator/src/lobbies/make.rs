//! Making a lobby: on a warm server of the nearest region that has one, or where one will be started.

use muster_protocol::api::{LOBBY_CODE_ALPHABET, LOBBY_CODE_LETTERS, LobbyRequest, LobbySpec, Visibility};
use muster_protocol::id::MatchId;
use muster_store::{Database, Transaction};

use super::guests::{Guests, Wanted};
use super::{LobbyError, fleet};
use crate::asker::Asker;
use crate::lifecycle::claim_warm;
use crate::matchmaking::{MATCH_WAIT_MS, outlook_of_fleet};
use crate::random;
use crate::records::{FleetRecord, Lobby, MatchRecord, MatchState, ServerRecord, TicketRecord};
use crate::seats;
use crate::state::lobbies::{self, MAX_LOBBIES};
use crate::state::{matches, tickets};

/// Codes tried before giving up: with [`MAX_LOBBIES`] taken of 148 million, the first is free as good as always.
const MAX_CODES: usize = 16;

/// Makes a lobby and seats who asks in it: their ticket, which is assigned if a server was warm, and otherwise waits for
/// one. A ticket that the request's idempotency key made before is answered as it is.
///
/// # Errors
/// [`LobbyError`]; nothing is made then.
pub async fn create(
    db: &Database,
    namespace: &str,
    request: &LobbyRequest,
    asker: &Asker,
    now_ms: u64,
) -> Result<TicketRecord, LobbyError> {
    let who = (request.player.as_str(), request.party.as_slice());
    let guests = Guests::new(namespace, who, request.idempotency_key.as_ref(), asker);
    let wanted =
        Wanted { regions: &request.regions, latencies_ms: &request.latencies_ms, max_latency_ms: None };
    let match_id = random::id();
    db.run("create_lobby", async |mut tx| {
        if let Some(made) = guests.made_before(&mut tx).await? {
            return Ok(made);
        }
        let fleet = fleet(&mut tx, namespace, &request.fleet).await?;
        let regions = wanted.regions_of(&fleet, random::spread())?;
        make(&mut tx, &fleet, &regions, (match_id, &request.lobby), &guests, now_ms).await
    })
    .await
}

/// Makes a lobby of `spec` in one of `regions`, which are the fleet's, best first.
pub(super) async fn make(
    tx: &mut Transaction,
    fleet: &FleetRecord,
    regions: &[String],
    (match_id, spec): (MatchId, &LobbySpec),
    guests: &Guests<'_>,
    now_ms: u64,
) -> Result<TicketRecord, LobbyError> {
    let most = spec.max_players.unwrap_or(fleet.max_players);
    let too_many = |wanted, most, of| LobbyError::TooMany { wanted, most, of };
    if most > fleet.max_players {
        return Err(too_many(most as usize, fleet.max_players, format!("fleet {}", fleet.name)));
    }
    if guests.count() > most as usize {
        return Err(too_many(guests.count(), most, "the lobby".to_owned()));
    }
    // Without conflict, so that those who make lobbies do not contend: the bound may be passed by as many as race.
    if lobbies::count(tx, &fleet.namespace).await? >= MAX_LOBBIES {
        return Err(LobbyError::Crowded);
    }
    let (region, server) = place(tx, fleet, regions, match_id, now_ms).await?;
    let mut ticket = seats::seated(&guests.ticket(&fleet.name, now_ms), match_id, "", now_ms);
    let mut record = MatchRecord {
        id: Some(match_id.into()),
        namespace: fleet.namespace.clone(),
        fleet: fleet.name.clone(),
        region,
        state: MatchState::Waiting.into(),
        deadline_ms: now_ms + MATCH_WAIT_MS,
        created_at_ms: now_ms,
        max_players: most,
        lobby: Some(lobby(spec, free_code(tx, &fleet.namespace).await?, guests.player)),
        ..MatchRecord::default()
    };
    if let Some(server) = server {
        record.set_state(MatchState::Assigned);
        record.server = server.id;
        record.assigned_at_ms = now_ms;
        seats::assign_ticket(&mut ticket, server.id, now_ms);
    }
    record.seats = seats::of_ticket(&ticket).collect();
    matches::save(tx, None, &record);
    tickets::save(tx, None, &ticket);
    Ok(ticket)
}

fn lobby(spec: &LobbySpec, code: String, owner: &str) -> Lobby {
    Lobby {
        name: spec.name.clone(),
        code,
        public: spec.visibility == Visibility::Public,
        config: if spec.config.is_null() { String::new() } else { spec.config.to_string() },
        tags: spec.tags.clone(),
        owner: owner.to_owned(),
        ..Lobby::default()
    }
}

/// A warm server in the first of `regions` that has one; otherwise the first where one is coming or can be started.
async fn place(
    tx: &mut Transaction,
    fleet: &FleetRecord,
    regions: &[String],
    match_id: MatchId,
    now_ms: u64,
) -> Result<(String, Option<ServerRecord>), LobbyError> {
    for region in regions {
        let claimed = claim_warm(tx, &fleet.namespace, &fleet.name, region, match_id, now_ms).await?;
        if let Some(server) = claimed {
            return Ok((region.clone(), Some(server)));
        }
    }
    let outlook = outlook_of_fleet(tx, fleet, regions, now_ms).await?;
    let room =
        |region: &&String| outlook.offers.iter().any(|offer| offer.region == **region && offer.capacity > 0);
    match regions.iter().find(room) {
        Some(region) => Ok((region.clone(), None)),
        None => {
            Err(LobbyError::NoCapacity { fleet: fleet.name.clone(), why: outlook.waiting_for.join("; ") })
        }
    }
}

/// A code that no lobby of the namespace has.
async fn free_code(tx: &mut Transaction, namespace: &str) -> Result<String, LobbyError> {
    for _ in 0..MAX_CODES {
        let letters = std::iter::repeat_with(|| {
            let at = usize::from(random::spread()) % LOBBY_CODE_ALPHABET.len();
            char::from(LOBBY_CODE_ALPHABET[at])
        });
        let code: String = letters.take(LOBBY_CODE_LETTERS).collect();
        if lobbies::is_free(tx, namespace, &code).await? {
            return Ok(code);
        }
    }
    Err(LobbyError::Crowded)
}
