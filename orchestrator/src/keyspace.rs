//! Every key of the store: one list of prefixes here, one function per key in the files below.
//!
//! Keys are tuples in FoundationDB's encoding, which sorts as the tuples do. The numbers of [`Prefix`]
//! are part of the stored format: they are added to, never changed or used again. This module makes
//! keys and ranges and takes ids out of them; it reads and writes nothing.

mod builds;
mod fleets;
mod installation;
mod machines;
mod matchmaking;
mod revisions;
mod servers;
mod time;

pub use builds::*;
pub use fleets::*;
pub use installation::*;
pub use machines::*;
pub use matchmaking::*;
pub use revisions::*;
pub use servers::*;
pub use time::*;

use foundationdb_tuple::{Subspace, TuplePack, Uuid, unpack};
use type_safe_id::{StaticType, TypeSafeId};

/// First element of every key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
enum Prefix {
    // The installation.
    Authority = 1,
    SigningKey = 2,
    FlowKey = 3,
    Namespace = 4,
    ApiToken = 5,
    JoinToken = 6,
    // Builds.
    Upload = 10,
    Build = 11,
    Tag = 12,
    // Fleets.
    Fleet = 20,
    FleetHealth = 21,
    FleetDirty = 22,
    FleetPass = 23,
    FleetCount = 24,
    // Servers.
    Server = 30,
    ServerPod = 31,
    ServerByNamespace = 32,
    ServerLive = 33,
    ServerWarm = 34,
    ServerPending = 35,
    ServerRouted = 36,
    ServerAwaitingRoutes = 37,
    ServerOnNode = 38,
    ServerForget = 39,
    ServerCount = 40,
    // Machines.
    Node = 50,
    NodeByRegion = 51,
    NodeReserved = 52,
    Edge = 53,
    EdgeByRegion = 54,
    EdgePort = 55,
    // Matchmaking.
    Queue = 60,
    QueueStatus = 61,
    Ticket = 62,
    TicketSearching = 63,
    TicketCount = 64,
    Match = 65,
    MatchWaiting = 66,
    QueueCount = 67,
    // Time.
    Timer = 80,
    // Revisions: numbers that are added to whenever what they stand for changes, to be watched.
    Revision = 90,
}

/// Begin, included, and end, excluded, of a range of keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyRange {
    /// First key.
    pub begin: Vec<u8>,
    /// First key beyond.
    pub end: Vec<u8>,
}

impl KeyRange {
    fn under<T: TuplePack>(prefix: &T) -> Self {
        let (begin, end) = Subspace::from(prefix).range();
        Self { begin, end }
    }

    /// The part behind `key`, as a page that ended with it goes on.
    #[must_use]
    pub fn after(mut self, key: &[u8]) -> Self {
        let mut next = key.to_vec();
        next.push(0);
        self.begin = self.begin.max(next);
        self
    }

    /// The part from `key` on.
    #[must_use]
    pub fn from(mut self, key: Vec<u8>) -> Self {
        self.begin = self.begin.max(key);
        self
    }

    /// The part before `key`.
    #[must_use]
    pub fn until(mut self, key: Vec<u8>) -> Self {
        self.end = self.end.min(key);
        self
    }
}

fn id<T: StaticType>(id: TypeSafeId<T>) -> Uuid {
    id.uuid()
}

/// The id a key ends with: ids are the last element of every index of things. `None` if the key is
/// not one of an index.
pub fn last_id<T: StaticType>(key: &[u8]) -> Option<TypeSafeId<T>> {
    // A UUID is its type code and 16 bytes, unescaped, so the tail of the key is the whole of it.
    let bytes: [u8; 16] = key.get(key.len().checked_sub(16)?..)?.try_into().ok()?;
    Some(TypeSafeId::from_uuid(Uuid::from_bytes(bytes)))
}

/// The text a key ends with: names are the last element of every list of named things.
pub fn last_name(key: &[u8], range: &KeyRange) -> Option<String> {
    // The range begins with the prefix and one zero byte.
    let prefix = range.begin.len().checked_sub(1)?;
    unpack::<(String,)>(key.get(prefix..)?).ok().map(|(name,)| name)
}

#[cfg(test)]
mod tests {
    use muster_protocol::id::{MatchId, NodeId, ServerId, TicketId};

    use super::*;
    use crate::records::{PortProtocol, ServerState};

    #[test]
    fn timers_sort_by_due_time_and_read_back() {
        let timers = [
            Timer::TicketExpiry(TicketId::new()),
            Timer::TicketRemoval(TicketId::new()),
            Timer::MatchDeadline(MatchId::new()),
            Timer::MatchRemoval(MatchId::new()),
            Timer::DrainDeadline(ServerId::new()),
            Timer::ServerRemoval(ServerId::new()),
            Timer::NodeLoss(NodeId::new()),
            Timer::FleetRetry("arena/prod".into(), "duel".into()),
            Timer::PortRelease("eu".into(), PortProtocol::Udp, 7_000),
            Timer::PortRelease("eu".into(), PortProtocol::Tcp, 7_000),
        ];
        let mut last = Vec::new();
        for (at, what) in timers.iter().enumerate() {
            // Steps across the lengths of encoded integers.
            let due = 1u64 << (at * 5);
            let key = timer(due, what);
            assert!(key > last, "{what:?}");
            assert_eq!(split_timer(&key), Some((due, what.clone())));
            let range = timers_due(due);
            assert!(range.begin <= key && key < range.end);
            assert!(timers_due(due - 1).end <= key);
            last = key;
        }
    }

    #[test]
    fn ids_and_names_come_back_out_of_keys() {
        let server = ServerId::new();
        assert_eq!(last_id(&server_pending("eu", server)), Some(server));
        assert_eq!(last_id(&server_warm("a/b", "f", "eu", server)), Some(server));
        assert_eq!(
            split_server_live(&server_live("a/b", "f", "eu", server)),
            Some(("a/b".into(), "f".into(), "eu".into(), server))
        );
        let range = fleets("a/b");
        assert_eq!(last_name(&fleet("a/b", "duel"), &range), Some("duel".into()));
        assert_eq!(
            split_server_count(&server_count("a/b", "f", "eu", ServerState::Failed)),
            Some(("a/b".into(), "f".into(), "eu".into(), ServerState::Failed))
        );
    }

    #[test]
    fn warm_servers_are_found_from_their_spread_on() {
        let server = ServerId::new();
        let key = server_warm("a/b", "f", "eu", server);
        let bytes = server.uuid().into_bytes();
        let spread = u16::from_be_bytes([bytes[14], bytes[15]]);
        assert!(server_warm_from("a/b", "f", "eu", spread) <= key);
        if let Some(next) = spread.checked_add(1) {
            assert!(server_warm_from("a/b", "f", "eu", next) > key);
        }
        let range = servers_warm("a/b", "f", "eu");
        assert!(range.begin <= key && key < range.end);
    }

    #[test]
    fn one_fleets_range_holds_no_other_fleets_keys() {
        let range = servers_live("a/b", "duel");
        let other = server_live("a/b", "duel-2", "eu", ServerId::new());
        assert!(other < range.begin || other >= range.end);
    }
}
