//! Lobbies: matches that players choose. They are made, found as the fullest that fits, or joined by code or id; and a server
//! is joined by its id where its fleet allows that.
//!
//! A lobby is a match without a queue, with a part of its own in the record. Whoever gets a seat has a ticket, whichever way
//! they came, so that waiting for a server, session tokens and leaving are the same as for a match of a queue. Every call is
//! one transaction: of two who race for the last seat, one is told that it is full. Seats are sold by `seats`, and what
//! requests look like by themselves is checked by the API.

mod direct;
mod find;
mod guests;
mod join;
mod list;
mod make;
#[cfg(test)]
mod tests;
mod wish;

use muster_protocol::api::lobby_code;
use muster_protocol::id::{MatchId, MatchMark, ServerId, parse_id};
use muster_store::{Database, StoreError, Transaction};

use crate::asker::Made;
use crate::records::{FleetRecord, MatchRecord};
use crate::seats::SellError;
use crate::state::lobbies::{self, MAX_LOBBIES};
use crate::state::{StateError, fleets, matches};

pub use direct::join_server;
pub use find::find;
pub use join::join;
pub use list::{Listed, Search, list};
pub use make::create;
pub(crate) use wish::server_wishes;

/// Seconds after which a client that was refused for want of servers or room may ask again.
pub const RETRY_AFTER_S: u32 = 5;

/// By what a lobby is named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LobbyKey {
    /// Its id.
    Id(MatchId),
    /// Its code, as it is stored.
    Code(String),
}

impl LobbyKey {
    /// Reads an id or a code; `None` if it is neither.
    pub fn parse(text: &str) -> Option<Self> {
        if let Some(code) = lobby_code(text) {
            return Some(Self::Code(code));
        }
        parse_id::<MatchMark>(text).ok().map(Self::Id)
    }
}

impl std::fmt::Display for LobbyKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Id(id) => write!(f, "{id}"),
            Self::Code(code) => f.write_str(code),
        }
    }
}

/// Why nobody got a seat.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LobbyError {
    /// There is no such fleet, or it is being deleted.
    #[error("fleet {0} does not exist; apply it first")]
    UnknownFleet(String),
    /// The fleet's servers are not for lobbies.
    #[error("fleet {0} has no lobbies; set lobbies = true and max_players in its file, and apply it")]
    NoLobbies(String),
    /// The fleet's servers are not joined by id.
    #[error(
        "servers of fleet {0} are not joined by id; set direct_connect = true and max_players in its file, and apply it"
    )]
    NoDirectConnect(String),
    /// The fleet is not in a region that was asked for.
    #[error("fleet {fleet} is not in region {region}; add it to the fleet's regions, or ask for another")]
    UnknownRegion {
        /// Fleet.
        fleet: String,
        /// Region.
        region: String,
    },
    /// No region of the fleet is near enough.
    #[error(
        "no region of fleet {fleet} is within {max_latency_ms} ms; allow more, or state the latency to its regions"
    )]
    TooFar {
        /// Fleet.
        fleet: String,
        /// What was allowed.
        max_latency_ms: u32,
    },
    /// More players come than it may ever hold, or more were to be allowed than the fleet does.
    #[error("{wanted} players are more than the {most} that {of} allows")]
    TooMany {
        /// Players.
        wanted: usize,
        /// Most of them.
        most: u32,
        /// The fleet or lobby.
        of: String,
    },
    /// There is no server, and none can be started.
    #[error("fleet {fleet} has no server for a lobby and can start none: {why}")]
    NoCapacity {
        /// Fleet.
        fleet: String,
        /// In words.
        why: String,
    },
    /// The namespace has as many lobbies as it may have.
    #[error("the namespace has {MAX_LOBBIES} lobbies already")]
    Crowded,
    /// There is no such lobby, or it is over.
    #[error("there is no lobby {0}, or it is over")]
    Unknown(LobbyKey),
    /// No public lobby fits.
    #[error("no public lobby of fleet {0} fits")]
    NoneFits(String),
    /// Too few seats are free.
    #[error("{wanted} players do not fit: {free} of {most} seats are free")]
    Full {
        /// Players who wanted in.
        wanted: usize,
        /// Seats that are free.
        free: usize,
        /// Seats there are.
        most: u32,
    },
    /// The game lets nobody in, or its server is on its way out.
    #[error("it takes no more players: {0}")]
    Closed(&'static str),
    /// Some of the players are in already, others are not.
    #[error("{0} has a seat there already, but not all who ask have")]
    Seated(String),
    /// All who ask have seats there, and nothing shows that this one's is theirs.
    #[error("{0} has a seat there already, and nothing shows that who asks is {0}")]
    Held(String),
    /// There is no such server.
    #[error("there is no server {0}")]
    UnknownServer(ServerId),
    /// The server cannot be joined as it is.
    #[error("server {server} cannot be joined: {why}")]
    ServerState {
        /// Server.
        server: ServerId,
        /// In words.
        why: String,
    },
    /// The idempotency key made a ticket for another request.
    #[error("idempotency_key {0:?} was used for another request; use a new key for a new request")]
    KeyUsed(String),
    /// The store or a record in it failed.
    #[error(transparent)]
    State(#[from] StateError),
}

impl From<Made> for LobbyError {
    fn from(made: Made) -> Self {
        match made {
            Made::Otherwise(key) => Self::KeyUsed(key),
            Made::State(error) => Self::State(error),
        }
    }
}

impl From<StoreError> for LobbyError {
    fn from(error: StoreError) -> Self {
        Self::State(error.into())
    }
}

impl LobbyError {
    /// What it means that seats of `record` were not sold.
    fn unsold(record: &MatchRecord, error: SellError) -> Self {
        match error {
            SellError::Full { wanted, free } => Self::Full { wanted, free, most: record.max_players },
            SellError::Over => Self::Closed("its server is on its way out"),
            SellError::Seated(player) => Self::Seated(player),
            SellError::State(error) => Self::State(error),
        }
    }
}

/// The lobby of `key`, as its match's record; `None` if there is none, or it is over.
///
/// # Errors
/// The store's.
pub async fn get(db: &Database, namespace: &str, key: &LobbyKey) -> Result<Option<MatchRecord>, StateError> {
    db.read("get_lobby", async |mut tx| load(&mut tx, namespace, key).await).await
}

/// As [`get`], in a transaction, and conflicting with its changes.
async fn load(
    tx: &mut Transaction,
    namespace: &str,
    key: &LobbyKey,
) -> Result<Option<MatchRecord>, StateError> {
    match key {
        LobbyKey::Code(code) => lobbies::by_code(tx, namespace, code).await,
        LobbyKey::Id(id) => {
            let found = matches::load(tx, *id).await?;
            Ok(found.filter(|record| record.namespace == namespace && lobbies::under_way(record).is_some()))
        }
    }
}

/// The fleet, if its servers are for lobbies. Does not conflict: what it says now may end a moment later.
async fn fleet(tx: &mut Transaction, namespace: &str, name: &str) -> Result<FleetRecord, LobbyError> {
    let fleet = fleets::peek(tx, namespace, name).await?.filter(|fleet| !fleet.deleting);
    let fleet = fleet.ok_or_else(|| LobbyError::UnknownFleet(name.to_owned()))?;
    if fleet.lobbies { Ok(fleet) } else { Err(LobbyError::NoLobbies(name.to_owned())) }
}
