//! The fleet and queue specifications that demo, benchmarks and tests begin from.

use std::collections::BTreeMap;

use muster_protocol::api::{
    FleetSpec, LimitsSpec, PortProtocol, PortSpec, QueueSpec, RegionSpec, TimeoutsSpec, TokenMode,
};

/// Most players of one arena that is joined as a lobby, or by its id.
pub const ARENA_PLAYERS: u32 = 8;
/// CPU of one arena, in thousandths: a match of four needs far less.
pub const ARENA_CPU_MILLIS: u32 = 100;
/// Memory of one arena, in MiB.
pub const ARENA_MEMORY_MIB: u32 = 64;

/// A fleet of the example server, on all three protocols, tokens wanted.
pub fn arena_fleet(name: &str, build: &str, region: &str, warm: u32, max: u32) -> FleetSpec {
    let port = |name: &str, protocol, port| PortSpec {
        name: name.to_owned(),
        protocol,
        port,
        token: TokenMode::Preface,
        tls: false,
        proxy_protocol: false,
    };
    FleetSpec {
        name: name.to_owned(),
        build: build.to_owned(),
        lobbies: true,
        direct_connect: true,
        max_players: ARENA_PLAYERS,
        ports: vec![
            port("game-udp", PortProtocol::Udp, 7777),
            port("game-tcp", PortProtocol::Tcp, 7778),
            // Over TLS, as players outside would.
            PortSpec { tls: true, ..port("game-ws", PortProtocol::Ws, 7779) },
        ],
        regions: BTreeMap::from([(region.to_owned(), RegionSpec { warm, max })]),
        limits: LimitsSpec {
            cpu_millis: ARENA_CPU_MILLIS,
            memory_mib: ARENA_MEMORY_MIB,
            pids: 32,
            read_only_root: true,
        },
        env: BTreeMap::new(),
        args: Vec::new(),
        timeouts: TimeoutsSpec { stop_grace_s: 5, ..TimeoutsSpec::default() },
        backfill: false,
    }
}

/// A queue that makes matches of `players` on `fleet`.
pub fn queue(name: &str, fleet: &str, players: u32) -> QueueSpec {
    QueueSpec { ticket_ttl_s: 120, ..QueueSpec::simple(name, fleet, players) }
}
