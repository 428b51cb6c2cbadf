//! Every key of the store: one list of prefixes here, one function per key in the files below.
//!
//! Keys are tuples in FoundationDB's encoding, which sorts as the tuples do. The numbers of [`Prefix`]
//! are part of the stored format: they are added to, never changed or used again. This module makes
//! keys and ranges and takes ids out of them; it reads and writes nothing.
//!
//! What is spread over a cluster and what is not: the engine's rows lie under their shards, 64 of them. Rows here do
//! not. Ids begin with the time they were made, and so do timers and news, so that the newest rows of a kind lie side by side:
//! on a cluster each kind is written at one place that moves on, and kinds are at different places. A counter is one key. So
//! what one storage server takes bounds how many tickets an installation takes a second, and more servers do not
//! raise it. To spread timers alone would not: the record of the same ticket is written at one place as well. See
//! ARCHITECTURE.md for what it would take.

mod builds;
mod fleets;
mod installation;
mod lobbies;
mod machines;
mod matchmaking;
mod revisions;
mod servers;
mod time;

pub use builds::*;
pub use fleets::*;
pub use installation::*;
pub use lobbies::*;
pub use machines::*;
pub use matchmaking::*;
pub use revisions::*;
pub use servers::*;
pub use time::*;

use foundationdb_tuple::{Element, Subspace, TuplePack, Uuid, unpack};
use type_safe_id::{StaticType, TypeSafeId};

macro_rules! prefixes {
    ($($(#[$doc:meta])* $name:ident = $number:literal,)+) => {
        /// First element of every key: which kind of row it is.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        #[repr(u16)]
        pub enum Prefix {
            $($(#[$doc])* $name = $number,)+
        }

        impl Prefix {
            /// Every kind of row.
            pub const ALL: &[Self] = &[$(Self::$name),+];
        }
    };
}

prefixes! {
    /// The CA.
    Authority = 1,
    /// A key of session tokens.
    SigningKey = 2,
    /// The key of a region's flow ids.
    FlowKey = 3,
    /// A namespace.
    Namespace = 4,
    /// An API token, hashed.
    ApiToken = 5,
    /// A join token, hashed.
    JoinToken = 6,
    /// There while a restore is under way; see [`crate::backup`].
    Restoring = 7,
    /// An upload under way.
    Upload = 10,
    /// A build.
    Build = 11,
    /// A tag.
    Tag = 12,
    /// A fleet.
    Fleet = 20,
    /// How a fleet does in a region.
    FleetHealth = 21,
    /// Written by no version any more.
    FleetDirty = 22,
    /// Written by no version any more.
    FleetPass = 23,
    /// Number of fleets of a namespace.
    FleetCount = 24,
    /// A server.
    Server = 30,
    /// What a server is made of.
    ServerPod = 31,
    /// Index: servers of a namespace.
    ServerByNamespace = 32,
    /// Index: servers that are not over.
    ServerLive = 33,
    /// Index: servers that can be claimed.
    ServerWarm = 34,
    /// Index: servers that wait for a node.
    ServerPending = 35,
    /// Index: servers whose ports edges serve.
    ServerRouted = 36,
    /// Index: servers that wait for edges.
    ServerAwaitingRoutes = 37,
    /// Index: servers of a node.
    ServerOnNode = 38,
    /// Index: servers an agent may forget.
    ServerForget = 39,
    /// Number of servers in a state.
    ServerCount = 40,
    /// A node.
    Node = 50,
    /// Index: nodes of a region.
    NodeByRegion = 51,
    /// What a node has promised.
    NodeReserved = 52,
    /// An edge.
    Edge = 53,
    /// Index: edges of a region.
    EdgeByRegion = 54,
    /// A port of a region that is not free.
    EdgePort = 55,
    /// Flows of a server through an edge.
    EdgeFlows = 56,
    /// A running orchestrator.
    Replica = 57,
    /// A queue.
    Queue = 60,
    /// How a queue does.
    QueueStatus = 61,
    /// A ticket.
    Ticket = 62,
    /// Index: tickets that search.
    TicketSearching = 63,
    /// Number of tickets in a state.
    TicketCount = 64,
    /// A match.
    Match = 65,
    /// Index: matches that wait for a server.
    MatchWaiting = 66,
    /// Number of queues of a namespace.
    QueueCount = 67,
    /// What happened to searching tickets, in the order of commits; see [`crate::matchmaking`].
    TicketNews = 68,
    /// The ticket that an idempotency key made.
    TicketIdempotency = 69,
    /// A ticket in a queue's recording.
    TicketRecorded = 70,
    /// Number of tickets in a queue's recording.
    RecordedCount = 71,
    /// Index: seats of players who were there, while their matches go on.
    PlayerSeat = 74,
    /// Index: matches that their queue fills.
    MatchOpen = 72,
    /// What happened to matches that their queue fills, in the order of commits; see [`crate::matchmaking`].
    MatchNews = 73,
    /// Index: the lobby of a code.
    LobbyCode = 75,
    /// Index: lobbies that are listed and found.
    LobbyPublic = 76,
    /// Number of lobbies of a namespace.
    LobbyCount = 77,
    /// The parts of a queue.
    QueueParts = 78,
    /// Seats of a match that its record has no room for.
    MatchSeats = 79,
    /// What is to be done at a time.
    Timer = 80,
    /// Index: tickets that a backend asked for, by their players, while they are under way.
    PlayerTicket = 82,
    /// A version of a queue's definition.
    QueueVersion = 83,
    /// A number that is added to when what it stands for changes, to be watched.
    Revision = 90,
    /// A row of the engine, which keeps its own list of what follows.
    Engine = 100,
    /// What sources may send to the edges of a region.
    EdgeLimits = 101,
}

impl Prefix {
    /// The kind of row at `key`; `None` if this version knows none.
    pub fn of(key: &[u8]) -> Option<Self> {
        if muster_engine::check::is_row(key) {
            return Some(Self::Engine);
        }
        let number = match unpack::<Vec<Element<'_>>>(key).ok()?.first()? {
            Element::Int(number) => u16::try_from(*number).ok()?,
            _ => return None,
        };
        Self::ALL.iter().copied().find(|prefix| *prefix as u16 == number)
    }
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
    use muster_protocol::id::{MatchId, NodeId, SeatId, ServerId, TicketId};

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
            Timer::SeatRelease(MatchId::new(), SeatId::new()),
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
