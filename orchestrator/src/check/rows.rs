//! One row of the store in words, whatever kind it is.

use std::fmt::Debug;

use foundationdb_tuple::{Element, unpack};
use muster_store::Bytes;
use prost::Message;

use crate::keyspace::Prefix;
use crate::records::{
    ApiTokenRecord, AuthorityRecord, BuildRecord, EdgeFlowsRecord, EdgeLimitsRecord, EdgePortRecord,
    EdgeRecord, FleetHealthRecord, FleetRecord, FlowKeyRecord, JoinTokenRecord, LiveServer, MatchRecord,
    MatchSeats, NamespaceRecord, NodeRecord, PlacedServer, PlayerSeat, Pod, PublicLobby, QueuePartsRecord,
    QueueRecord, QueueStatusRecord, QueueVersionRecord, RecordedTicketRecord, ReplicaRecord, SearchingTicket,
    ServerRecord, SigningKeyRecord, TagRecord, TicketRecord, UploadRecord,
};
use crate::state::kv;

/// A row, to be shown to a person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Its kind; `?` if this version knows none.
    pub kind: String,
    /// The rest of its key.
    pub key: String,
    /// Its value. Secrets are not shown.
    pub value: String,
}

impl Row {
    /// The row at `key` with `value`.
    pub fn of(key: &Bytes, value: &Bytes) -> Self {
        let prefix = Prefix::of(key);
        if prefix == Some(Prefix::Engine)
            && let Ok((kind, key, value)) = muster_engine::check::describe(key, value)
        {
            return Self { kind: format!("Engine {kind}"), key, value };
        }
        let kind = prefix.map_or_else(|| "?".to_owned(), |prefix| format!("{prefix:?}"));
        let value = match prefix.map(|prefix| describe(prefix, value)) {
            Some(Ok(words)) => words,
            Some(Err(why)) => format!("unreadable ({why}): {}", hex(value)),
            None => hex(value),
        };
        Self { kind, key: key_words(key), value }
    }
}

/// Bytes in hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// The elements of a key behind its first, or all of it in hexadecimal.
fn key_words(key: &[u8]) -> String {
    let Ok(elements) = unpack::<Vec<Element<'_>>>(key) else { return hex(key) };
    let words = elements.iter().skip(1).map(|element| match element {
        Element::String(text) => text.to_string(),
        Element::Int(number) => number.to_string(),
        Element::Uuid(id) => id.to_string(),
        Element::Bytes(bytes) => hex(bytes),
        other => format!("{other:?}"),
    });
    words.collect::<Vec<_>>().join(" / ")
}

fn read<M: Message + Default + Debug>(value: &Bytes) -> Result<String, String> {
    M::decode(&value[..]).map(|record| format!("{record:?}")).map_err(|error| error.to_string())
}

/// That there is a record, without what it holds.
fn secret<M: Message + Default>(value: &Bytes) -> Result<String, String> {
    M::decode(&value[..]).map_err(|error| error.to_string())?;
    Ok(format!("(secret, {} bytes)", value.len()))
}

/// The value of a row of a kind, in words. Keys and hashes of tokens are not shown.
///
/// # Errors
/// Why it is none.
pub fn describe(prefix: Prefix, value: &Bytes) -> Result<String, String> {
    match prefix {
        Prefix::Authority => secret::<AuthorityRecord>(value),
        Prefix::SigningKey => secret::<SigningKeyRecord>(value),
        Prefix::FlowKey => secret::<FlowKeyRecord>(value),
        Prefix::ApiToken => secret::<ApiTokenRecord>(value),
        Prefix::JoinToken => secret::<JoinTokenRecord>(value),
        Prefix::Namespace => read::<NamespaceRecord>(value),
        Prefix::Upload => read::<UploadRecord>(value),
        Prefix::Build => read::<BuildRecord>(value),
        Prefix::Tag => read::<TagRecord>(value),
        Prefix::Fleet => read::<FleetRecord>(value),
        Prefix::FleetHealth => read::<FleetHealthRecord>(value),
        Prefix::Server => read::<ServerRecord>(value),
        Prefix::ServerPod => read::<Pod>(value),
        Prefix::ServerLive => read::<LiveServer>(value),
        Prefix::ServerOnNode => read::<PlacedServer>(value),
        Prefix::Node => read::<NodeRecord>(value),
        Prefix::Edge => read::<EdgeRecord>(value),
        Prefix::EdgePort => read::<EdgePortRecord>(value),
        Prefix::EdgeFlows => read::<EdgeFlowsRecord>(value),
        Prefix::EdgeLimits => read::<EdgeLimitsRecord>(value),
        Prefix::Replica => read::<ReplicaRecord>(value),
        Prefix::Queue => read::<QueueRecord>(value),
        Prefix::QueueParts => read::<QueuePartsRecord>(value),
        Prefix::QueueVersion => read::<QueueVersionRecord>(value),
        Prefix::QueueStatus => read::<QueueStatusRecord>(value),
        Prefix::Ticket => read::<TicketRecord>(value),
        Prefix::TicketRecorded => read::<RecordedTicketRecord>(value),
        Prefix::TicketSearching | Prefix::TicketNews => read::<SearchingTicket>(value),
        Prefix::Match => read::<MatchRecord>(value),
        Prefix::MatchSeats => read::<MatchSeats>(value),
        Prefix::PlayerSeat => read::<PlayerSeat>(value),
        Prefix::LobbyPublic => read::<PublicLobby>(value),
        Prefix::ServerCount
        | Prefix::TicketCount
        | Prefix::NodeReserved
        | Prefix::FleetCount
        | Prefix::QueueCount
        | Prefix::RecordedCount
        | Prefix::LobbyCount
        | Prefix::Revision => {
            if value.len() == size_of::<i64>() {
                Ok(kv::number(value).to_string())
            } else {
                Err(format!("a number has 8 bytes, this has {}", value.len()))
            }
        }
        Prefix::FleetDirty
        | Prefix::MatchOpen
        | Prefix::MatchNews
        | Prefix::FleetPass
        | Prefix::ServerByNamespace
        | Prefix::ServerWarm
        | Prefix::ServerPending
        | Prefix::ServerRouted
        | Prefix::ServerAwaitingRoutes
        | Prefix::ServerForget
        | Prefix::NodeByRegion
        | Prefix::EdgeByRegion
        | Prefix::MatchWaiting
        | Prefix::TicketIdempotency
        | Prefix::PlayerTicket
        | Prefix::LobbyCode
        | Prefix::Timer
        | Prefix::Restoring
        | Prefix::Engine => Ok(hex(value)),
    }
}
