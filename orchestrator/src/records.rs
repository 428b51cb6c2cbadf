//! What the store keeps: the messages of `proto/records.proto`, and how they meet the API's types.
//!
//! Values only. Which key holds what is in `keyspace`; reading and writing, with indices, counters and
//! revisions, is in `state`.

mod queue;
mod ticket;

use muster_engine::WorkerId;
use muster_protocol::{agent as wire, api};
use type_safe_id::{StaticType, TypeSafeId};
use uuid::Uuid;

#[allow(missing_docs, clippy::pedantic, unreachable_pub, reason = "generated from documented .proto files")]
mod generated {
    include!(concat!(env!("OUT_DIR"), "/records.rs"));
}

pub(crate) use generated::muster::backup::v1 as backup_frames;
pub use generated::muster::records::v1::*;

/// Bytes in a mebibyte: the API counts memory in MiB, records in bytes.
const MIB: u64 = 1024 * 1024;

impl Id {
    /// The id's 128 bits.
    pub fn uuid(self) -> Uuid {
        Uuid::from_u64_pair(self.high, self.low)
    }

    /// As a typed id; the field it stands in says of which type.
    pub fn typed<T: StaticType>(self) -> TypeSafeId<T> {
        TypeSafeId::from_uuid(self.uuid())
    }
}

impl<T: StaticType> From<TypeSafeId<T>> for Id {
    fn from(id: TypeSafeId<T>) -> Self {
        let (high, low) = id.uuid().as_u64_pair();
        Self { high, low }
    }
}

/// `id` as a typed id; the nil id where it is unset, which no record refers to.
pub(crate) fn typed<T: StaticType>(id: Option<Id>) -> TypeSafeId<T> {
    id.unwrap_or_default().typed()
}

macro_rules! own_id {
    ($($record:ty => $id:ident;)*) => {$(
        impl $record {
            /// Its id, typed.
            pub fn typed_id(&self) -> muster_protocol::id::$id {
                typed(self.id)
            }
        }
    )*};
}

own_id! {
    ServerRecord => ServerId;
    NodeRecord => NodeId;
    EdgeRecord => EdgeId;
    TicketRecord => TicketId;
    MatchRecord => MatchId;
    MatchSeat => SeatId;
    ApiTokenRecord => ApiTokenId;
    JoinTokenRecord => JoinTokenId;
    UploadRecord => UploadId;
}

macro_rules! same_variants {
    ($($record:ident <=> $api:ident { $($variant:ident),* })*) => {$(
        impl From<$record> for api::$api {
            fn from(value: $record) -> Self {
                match value { $($record::$variant => Self::$variant),* }
            }
        }

        impl From<api::$api> for $record {
            fn from(value: api::$api) -> Self {
                match value { $(api::$api::$variant => Self::$variant),* }
            }
        }
    )*};
}

same_variants! {
    ServerState <=> ServerState {
        Pending, Placing, Pulling, Starting, Ready, Allocated, Draining, Stopped, Failed
    }
    TicketState <=> TicketState { Searching, Matched, Assigned, Cancelled, Expired, Failed }
    PortProtocol <=> PortProtocol { Udp, Tcp, Ws }
    TokenMode <=> TokenMode { Preface, Open, Claim }
    ApiRole <=> Role { Client, Deploy, Admin }
    JoinRole <=> JoinRole { Agent, Edge }
    QueueMode <=> QueueMode { Open, Paused, Draining }
    TicketPriority <=> Priority { Low, Normal, High }
}

impl ServerState {
    /// Whether the server is over.
    pub fn is_final(self) -> bool {
        api::ServerState::from(self).is_final()
    }

    /// Whether the server is on its way to ready.
    pub fn is_coming(self) -> bool {
        self.is_unclaimed() && self != Self::Ready
    }

    /// Whether the server is on its way to ready, or ready, and no match has it.
    pub fn is_unclaimed(self) -> bool {
        matches!(self, Self::Pending | Self::Placing | Self::Pulling | Self::Starting | Self::Ready)
    }
}

impl TicketState {
    /// Whether nothing more will come.
    pub fn is_final(self) -> bool {
        api::TicketState::from(self).is_final()
    }
}

impl ServerRecord {
    /// Node it is or was placed on.
    pub fn node_id(&self) -> Option<muster_protocol::id::NodeId> {
        self.node.map(Id::typed)
    }

    /// Match that claimed it.
    pub fn match_id(&self) -> Option<muster_protocol::id::MatchId> {
        self.r#match.map(Id::typed)
    }

    /// When it first entered `state`, if it has.
    pub fn entered_ms(&self, state: ServerState) -> Option<u64> {
        self.entered.iter().find(|entry| entry.state() == state).map(|entry| entry.at_ms)
    }
}

impl NodeRecord {
    /// The replica that has its link, or had it last; `None` if that was before there were replicas.
    pub fn replica(&self) -> Option<WorkerId> {
        replica(&self.link_replica)
    }
}

impl EdgeRecord {
    /// The replica that has its link, or had it last; `None` if that was before there were replicas.
    pub fn replica(&self) -> Option<WorkerId> {
        replica(&self.link_replica)
    }
}

fn replica(bytes: &[u8]) -> Option<WorkerId> {
    Some(WorkerId::from_bytes(bytes.try_into().ok()?))
}

impl MatchRecord {
    /// Its server, once assigned.
    pub fn server_id(&self) -> Option<muster_protocol::id::ServerId> {
        self.server.map(Id::typed)
    }

    /// Its tickets, each once.
    pub fn tickets(&self) -> Vec<muster_protocol::id::TicketId> {
        let mut seen = std::collections::BTreeSet::new();
        let tickets = self.seats.iter().filter_map(|seat| seat.ticket);
        tickets.filter(|ticket| seen.insert(ticket.uuid())).map(Id::typed).collect()
    }

    /// Whether `seat` is there and `ticket`'s.
    pub fn holds(&self, ticket: Option<Id>, seat: Option<Id>) -> bool {
        self.seats.iter().any(|held| held.id == seat && held.ticket == ticket)
    }

    /// How many more seats it has to sell.
    pub fn free_seats(&self) -> usize {
        (self.max_players as usize).saturating_sub(self.seats.len())
    }
}

impl MatchRecord {
    /// Whether its queue has others join it: it runs, somebody has a seat in it, and others are free.
    pub fn is_open(&self) -> bool {
        let runs = self.state() == MatchState::Assigned && self.ended_at_ms == 0;
        let has_room = !self.seats.is_empty() && self.free_seats() > 0;
        self.opening.is_some() && runs && has_room && !self.queue.is_empty()
    }

    /// Has its queue fill it as `server`, which is its, says: not at all if that is on its way out; as before if it has not
    /// said.
    pub fn open_as(&mut self, server: &ServerRecord, now_ms: u64) {
        let since_ms = self.opening.map_or(now_ms, |opening| opening.since_ms);
        let open = |priority: TicketPriority| MatchOpening { since_ms, priority: priority.into() };
        match server.backfill().wanted() {
            _ if server.state() != ServerState::Allocated => self.opening = None,
            Some(wanted) => self.opening = wanted.map(open),
            None => {}
        }
    }
}

impl Backfill {
    /// Whether, and how much, others are wanted; `None` if that has not been said.
    pub fn wanted(self) -> Option<Option<TicketPriority>> {
        match self {
            Self::Unsaid => None,
            Self::Closed => Some(None),
            Self::Low => Some(Some(TicketPriority::Low)),
            Self::Normal => Some(Some(TicketPriority::Normal)),
            Self::High => Some(Some(TicketPriority::High)),
        }
    }
}

impl From<wire::Backfill> for Backfill {
    fn from(value: wire::Backfill) -> Self {
        match value {
            wire::Backfill::Unspecified => Self::Unsaid,
            wire::Backfill::Closed => Self::Closed,
            wire::Backfill::Low => Self::Low,
            wire::Backfill::Normal => Self::Normal,
            wire::Backfill::High => Self::High,
        }
    }
}

impl FleetRecord {
    /// How long a dropped player's seat is kept, in milliseconds.
    pub fn reconnect_ms(&self) -> u64 {
        u64::from(self.reconnect_s.unwrap_or(api::DEFAULT_RECONNECT_S)) * 1_000
    }

    /// How long the seat of a player who has not come yet is held, in milliseconds; `None`: while the match goes on.
    pub fn connect_ms(&self) -> Option<u64> {
        let connect_s = self.connect_s.unwrap_or(api::DEFAULT_CONNECT_S);
        (connect_s > 0).then(|| u64::from(connect_s) * 1_000)
    }

    /// What was applied, as the API says it.
    pub fn to_spec(&self) -> api::FleetSpec {
        let pod = self.pod.clone().unwrap_or_default();
        let regions = self.regions.iter();
        api::FleetSpec {
            name: self.name.clone(),
            build: self.build.clone(),
            lobbies: self.lobbies,
            direct_connect: self.direct_connect,
            max_players: self.max_players,
            ports: pod.ports.iter().map(Port::to_spec).collect(),
            regions: regions
                .map(|(name, target)| (name.clone(), api::RegionSpec { warm: target.warm, max: target.max }))
                .collect(),
            limits: api::LimitsSpec {
                cpu_millis: pod.cpu_millis,
                memory_mib: (pod.memory_bytes / MIB) as u32,
                pids: pod.pids,
                read_only_root: pod.read_only_root,
            },
            env: pod.env,
            args: pod.args,
            timeouts: api::TimeoutsSpec {
                ready_s: pod.ready_timeout_s,
                stop_grace_s: pod.stop_grace_s,
                idle_s: pod.idle_s,
                drain_s: pod.drain_s,
                health_s: pod.health_s,
                reconnect_s: self.reconnect_s.unwrap_or(api::DEFAULT_RECONNECT_S),
                connect_s: self.connect_s.unwrap_or(api::DEFAULT_CONNECT_S),
            },
            backfill: self.backfill,
        }
    }
}

impl Pod {
    /// The pod that `spec` asks for, with the build it names resolved to `build`.
    pub fn from_spec(spec: &api::FleetSpec, build: &BuildRecord) -> Self {
        Self {
            build_digest: build.digest.clone(),
            build_reference: build.reference.clone(),
            build_size_bytes: build.size_bytes,
            ports: spec.ports.iter().map(Port::from_spec).collect(),
            env: spec.env.clone(),
            args: spec.args.clone(),
            cpu_millis: spec.limits.cpu_millis,
            memory_bytes: u64::from(spec.limits.memory_mib) * MIB,
            pids: spec.limits.pids,
            read_only_root: spec.limits.read_only_root,
            ready_timeout_s: spec.timeouts.ready_s,
            stop_grace_s: spec.timeouts.stop_grace_s,
            idle_s: spec.timeouts.idle_s,
            drain_s: spec.timeouts.drain_s,
            health_s: spec.timeouts.health_s,
        }
    }
}

impl Port {
    fn from_spec(spec: &api::PortSpec) -> Self {
        Self {
            name: spec.name.clone(),
            protocol: PortProtocol::from(spec.protocol).into(),
            container_port: spec.port,
            token_mode: TokenMode::from(spec.token).into(),
            tls: spec.tls,
            edge_port: 0,
            proxy_protocol: spec.proxy_protocol,
        }
    }

    fn to_spec(&self) -> api::PortSpec {
        api::PortSpec {
            name: self.name.clone(),
            protocol: self.protocol().into(),
            port: self.container_port,
            token: self.token_mode().into(),
            tls: self.tls,
            proxy_protocol: self.proxy_protocol,
        }
    }
}

#[cfg(test)]
mod tests {
    use muster_protocol::id::ServerId;

    use super::*;

    #[test]
    fn ids_survive_the_record() {
        let id = ServerId::new();
        assert_eq!(Id::from(id).typed::<muster_protocol::id::ServerMark>(), id);
    }

    #[test]
    fn a_fleet_says_what_was_applied() {
        let spec = api::FleetSpec {
            name: "arena".into(),
            build: "arena:1".into(),
            lobbies: true,
            direct_connect: true,
            max_players: 8,
            ports: vec![api::PortSpec {
                name: "game".into(),
                protocol: api::PortProtocol::Ws,
                port: 7000,
                token: api::TokenMode::Open,
                tls: true,
                proxy_protocol: true,
            }],
            regions: [("eu".to_owned(), api::RegionSpec { warm: 2, max: 9 })].into(),
            limits: api::LimitsSpec { cpu_millis: 250, memory_mib: 64, pids: 32, read_only_root: true },
            env: [("MODE".to_owned(), "duel".to_owned())].into(),
            args: vec!["--fast".into()],
            timeouts: api::TimeoutsSpec {
                ready_s: 1,
                stop_grace_s: 2,
                idle_s: 3,
                drain_s: 4,
                health_s: 5,
                reconnect_s: 6,
                connect_s: 7,
            },
            backfill: true,
        };
        let build = BuildRecord { digest: "sha256:aa".into(), size_bytes: 7, ..Default::default() };
        let record = FleetRecord {
            name: "arena".into(),
            build: "arena:1".into(),
            lobbies: true,
            direct_connect: true,
            max_players: 8,
            pod: Some(Pod::from_spec(&spec, &build)),
            regions: [("eu".to_owned(), RegionTarget { warm: 2, max: 9 })].into(),
            reconnect_s: Some(6),
            connect_s: Some(7),
            backfill: true,
            ..Default::default()
        };
        assert_eq!(record.to_spec(), spec);
    }
}
