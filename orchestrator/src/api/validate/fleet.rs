//! Checks of fleet specifications and of allocation requests.

use std::collections::BTreeMap;

use muster_protocol::api::{
    AllocateRequest, FleetSpec, LimitsSpec, MAX_PLAYERS, MAX_PORTS, MAX_WARM, PortProtocol, PortSpec,
    RegionSpec, TimeoutsSpec, TokenMode,
};
use muster_protocol::problem::ProblemCode;

use super::{Faults, MAX_REGIONS, build, ticket};
use crate::allocate::MAX_DATA_BYTES;
use crate::api::problem::ApiProblem;

/// Most servers of one fleet in one region.
pub(crate) const MAX_SERVERS: u32 = 10_000;
/// Most CPU of one server, in thousandths.
pub(crate) const MAX_CPU_MILLIS: u32 = 1_024_000;
/// Least CPU of one server, in thousandths: under it Docker's scheduler cannot share fairly.
pub(crate) const MIN_CPU_MILLIS: u32 = 10;
/// Least memory of one server, in MiB: Docker refuses less.
pub(crate) const MIN_MEMORY_MIB: u32 = 6;
/// Most memory of one server, in MiB.
pub(crate) const MAX_MEMORY_MIB: u32 = 16 * 1024 * 1024;
/// Most processes and threads of one server.
pub(crate) const MAX_PIDS: u32 = 1_000_000;
/// Most variables of a fleet's environment.
pub(crate) const MAX_ENV: usize = 256;
/// Most arguments of a fleet's servers.
pub(crate) const MAX_ARGS: usize = 256;
/// Most bytes of environment and arguments together.
pub(crate) const MAX_ENV_ARGS_BYTES: usize = 48 * 1024;
/// Longest timeout, in seconds: a week.
pub(crate) const MAX_TIMEOUT_S: u32 = 7 * 86_400;
/// Environment variables that begin so are Muster's own.
const OWN_ENV: &str = "MUSTER_";

/// Checks a fleet's specification against itself, the limits, and the name it is applied under.
pub(crate) fn fleet_spec(path_name: &str, spec: &FleetSpec) -> Result<(), ApiProblem> {
    let mut faults = Faults::default();
    faults.name("name", &spec.name);
    faults.check(
        spec.name == path_name,
        "name",
        format_args!("{:?} differs from {path_name:?} in the path", spec.name),
    );
    faults.check(
        build::is_digest(&spec.build) || build::is_tag(&spec.build),
        "build",
        format_args!("{:?} is neither a tag (name:tag) nor a digest (sha256:…)", spec.build),
    );
    ports(&mut faults, &spec.ports);
    regions(&mut faults, &spec.regions);
    limits(&mut faults, &spec.limits);
    environment(&mut faults, &spec.env, &spec.args);
    timeouts(&mut faults, &spec.timeouts);
    faults.check(
        spec.max_players <= MAX_PLAYERS,
        "max_players",
        format_args!("{} is over the limit of {MAX_PLAYERS}", spec.max_players),
    );
    faults.check(
        spec.max_players > 0 || !(spec.lobbies || spec.direct_connect),
        "max_players",
        "0; say how many players a server that is joined by lobby or id takes",
    );
    faults.into_result(ProblemCode::InvalidSpec)
}

fn ports(faults: &mut Faults, ports: &[PortSpec]) {
    faults.check(!ports.is_empty(), "ports", "none; name at least one port that players connect to");
    faults.check(
        ports.len() <= MAX_PORTS,
        "ports",
        format_args!("{} are over the limit of {MAX_PORTS}", ports.len()),
    );
    faults.unique("ports[].name", ports.iter().map(|port| port.name.as_str()));
    let mut numbers = BTreeMap::new();
    for (index, port) in ports.iter().enumerate() {
        faults.name(&format!("ports[{index}].name"), &port.name);
        let field = format!("ports[{index}].port");
        faults.check(
            (1..=u32::from(u16::MAX)).contains(&port.port),
            &field,
            format_args!("{} is no port; use 1 to 65535", port.port),
        );
        // A WebSocket is TCP to the container, so the two share their numbers.
        let transport = if port.protocol == PortProtocol::Udp { "udp" } else { "tcp" };
        if let Some(other) = numbers.insert((transport, port.port), index) {
            faults.add(&field, format_args!("{transport} {} is also that of ports[{other}]", port.port));
        }
        faults.check(
            !port.tls || port.protocol != PortProtocol::Udp,
            &format!("ports[{index}].tls"),
            "is for tcp and ws ports, and this one is udp; what a game encrypts itself passes through",
        );
        faults.check(
            !port.proxy_protocol || port.protocol != PortProtocol::Udp,
            &format!("ports[{index}].proxy_protocol"),
            "is for tcp and ws ports, and this one is udp",
        );
        faults.check(
            port.token != TokenMode::Claim || port.protocol == PortProtocol::Udp,
            &format!("ports[{index}].token"),
            format_args!(
                "claim is for udp ports only, and this one is {}; use preface",
                port.protocol.as_str()
            ),
        );
    }
}

fn regions(faults: &mut Faults, regions: &BTreeMap<String, RegionSpec>) {
    faults.check(
        !regions.is_empty(),
        "regions",
        "none; name at least one, such as {\"local\": {\"warm\": 1}}",
    );
    faults.check(
        regions.len() <= MAX_REGIONS,
        "regions",
        format_args!("{} are over the limit of {MAX_REGIONS}", regions.len()),
    );
    for (name, region) in regions {
        faults.name("regions", name);
        faults.within(&format!("regions.{name}.max"), region.max, 1, MAX_SERVERS);
        let field = format!("regions.{name}.warm");
        faults.check(
            region.warm <= MAX_WARM,
            &field,
            format_args!("{} is over the limit of {MAX_WARM}", region.warm),
        );
        faults.check(
            region.warm <= region.max,
            &field,
            format_args!("{} is over the region's max of {}", region.warm, region.max),
        );
    }
}

fn limits(faults: &mut Faults, limits: &LimitsSpec) {
    faults.within("limits.cpu_millis", limits.cpu_millis, MIN_CPU_MILLIS, MAX_CPU_MILLIS);
    faults.within("limits.memory_mib", limits.memory_mib, MIN_MEMORY_MIB, MAX_MEMORY_MIB);
    faults.within("limits.pids", limits.pids, 1, MAX_PIDS);
}

fn environment(faults: &mut Faults, env: &BTreeMap<String, String>, args: &[String]) {
    faults.check(env.len() <= MAX_ENV, "env", format_args!("{} are over the limit of {MAX_ENV}", env.len()));
    faults.check(
        args.len() <= MAX_ARGS,
        "args",
        format_args!("{} are over the limit of {MAX_ARGS}", args.len()),
    );
    let bytes = env.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>()
        + args.iter().map(String::len).sum::<usize>();
    faults.check(
        bytes <= MAX_ENV_ARGS_BYTES,
        "env and args",
        format_args!("{bytes} bytes are over the limit of {MAX_ENV_ARGS_BYTES}"),
    );
    for (name, value) in env {
        faults.check(
            is_env_name(name),
            "env",
            format_args!("{name:?} is no variable name; use letters, digits and _, not a digit first"),
        );
        faults.check(
            !name.starts_with(OWN_ENV),
            "env",
            format_args!("{name:?} begins with {OWN_ENV}, which is Muster's own; choose another name"),
        );
        faults.check(!value.contains('\0'), &format!("env.{name}"), "holds a NUL character");
    }
    for (index, arg) in args.iter().enumerate() {
        faults.check(!arg.contains('\0'), &format!("args[{index}]"), "holds a NUL character");
    }
}

fn is_env_name(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

fn timeouts(faults: &mut Faults, timeouts: &TimeoutsSpec) {
    faults.within("timeouts.ready_s", timeouts.ready_s, 1, MAX_TIMEOUT_S);
    faults.within("timeouts.stop_grace_s", timeouts.stop_grace_s, 0, MAX_TIMEOUT_S);
    faults.within("timeouts.idle_s", timeouts.idle_s, 0, MAX_TIMEOUT_S);
    faults.within("timeouts.drain_s", timeouts.drain_s, 0, MAX_TIMEOUT_S);
    faults.within("timeouts.health_s", timeouts.health_s, 0, MAX_TIMEOUT_S);
    faults.within("timeouts.reconnect_s", timeouts.reconnect_s, 0, MAX_TIMEOUT_S);
    faults.within("timeouts.connect_s", timeouts.connect_s, 0, MAX_TIMEOUT_S);
}

/// Checks the regions that a request names.
pub(super) fn region_names(faults: &mut Faults, regions: &[String]) {
    faults.check(
        regions.len() <= MAX_REGIONS,
        "regions",
        format_args!("{} are over the limit of {MAX_REGIONS}", regions.len()),
    );
    faults.unique("regions", regions.iter().map(String::as_str));
    for (index, region) in regions.iter().enumerate() {
        faults.name(&format!("regions[{index}]"), region);
    }
}

/// Checks what an allocation asks for.
pub(crate) fn allocate_request(request: &AllocateRequest) -> Result<(), ApiProblem> {
    let mut faults = Faults::default();
    region_names(&mut faults, &request.regions);
    faults.check(
        request.players.len() <= MAX_PLAYERS as usize,
        "players",
        format_args!("{} are over the limit of {MAX_PLAYERS}", request.players.len()),
    );
    faults.unique("players", request.players.iter().map(String::as_str));
    for (index, player) in request.players.iter().enumerate() {
        ticket::player(&mut faults, &format!("players[{index}]"), player);
    }
    let data = request.data.as_deref().unwrap_or_default();
    faults.check(
        data.len() <= MAX_DATA_BYTES,
        "data",
        format_args!("{} bytes are over the limit of {MAX_DATA_BYTES}", data.len()),
    );
    faults.into_result(ProblemCode::InvalidRequest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn valid() -> FleetSpec {
        FleetSpec {
            name: "arena".into(),
            build: "arena:1.0".into(),
            lobbies: true,
            direct_connect: true,
            max_players: 8,
            ports: vec![port("game", PortProtocol::Udp, 7777), port("web", PortProtocol::Ws, 7777)],
            regions: BTreeMap::from([("local".into(), RegionSpec { warm: 1, max: 4 })]),
            limits: LimitsSpec::default(),
            env: BTreeMap::from([("LEVEL".into(), "dust".into())]),
            args: vec!["--fast".into()],
            timeouts: TimeoutsSpec::default(),
            backfill: false,
        }
    }

    fn port(name: &str, protocol: PortProtocol, port: u32) -> PortSpec {
        PortSpec {
            name: name.into(),
            protocol,
            port,
            token: TokenMode::Preface,
            tls: false,
            proxy_protocol: false,
        }
    }

    fn fault(change: impl FnOnce(&mut FleetSpec)) -> String {
        let mut spec = valid();
        change(&mut spec);
        let problem = fleet_spec("arena", &spec).expect_err("the change makes it invalid");
        assert_eq!(problem.code(), ProblemCode::InvalidSpec);
        problem.problem().detail.clone()
    }

    #[test]
    fn a_sound_specification_passes() {
        assert_eq!(fleet_spec("arena", &valid()), Ok(()));
    }

    #[test]
    fn every_field_has_its_fault() {
        let cases: Vec<(&str, String)> = vec![
            ("name: \"Arena\" is no name", fault(|s| s.name = "Arena".into())),
            ("differs from \"arena\" in the path", fault(|s| s.name = "other".into())),
            ("max_players: 0; say how many", fault(|s| s.max_players = 0)),
            ("max_players: 1001 is over", fault(|s| s.max_players = 1_001)),
            ("build: \"arena\" is neither", fault(|s| s.build = "arena".into())),
            ("ports: none", fault(|s| s.ports.clear())),
            ("ports[1].port: 0 is no port", fault(|s| s.ports[1].port = 0)),
            ("ports[1].port: 65536 is no port", fault(|s| s.ports[1].port = 65_536)),
            ("ports[].name: \"game\" is there twice", fault(|s| s.ports[1].name = "game".into())),
            ("ports[0].tls: is for tcp and ws ports", fault(|s| s.ports[0].tls = true)),
            ("ports[0].proxy_protocol: is for tcp", fault(|s| s.ports[0].proxy_protocol = true)),
            ("ports[1].token: claim is for udp ports only", fault(|s| s.ports[1].token = TokenMode::Claim)),
            (
                "ports[1].port: udp 7777 is also that of ports[0]",
                fault(|s| s.ports[1].protocol = PortProtocol::Udp),
            ),
            ("regions: none", fault(|s| s.regions.clear())),
            (
                "regions: \"EU\" is no name",
                fault(|s| {
                    s.regions.insert("EU".into(), RegionSpec { warm: 0, max: 1 });
                }),
            ),
            (
                "regions.local.warm: 5 is over the region's max of 4",
                fault(|s| {
                    s.regions.insert("local".into(), RegionSpec { warm: 5, max: 4 });
                }),
            ),
            (
                "regions.local.max: 0 is outside",
                fault(|s| {
                    s.regions.insert("local".into(), RegionSpec { warm: 0, max: 0 });
                }),
            ),
            ("limits.cpu_millis: 0 is outside", fault(|s| s.limits.cpu_millis = 0)),
            ("limits.memory_mib: 0 is outside", fault(|s| s.limits.memory_mib = 0)),
            ("limits.pids: 0 is outside", fault(|s| s.limits.pids = 0)),
            (
                "env: \"1ST\" is no variable name",
                fault(|s| {
                    s.env.insert("1ST".into(), String::new());
                }),
            ),
            (
                "env: \"MUSTER_REGION\" begins with MUSTER_",
                fault(|s| {
                    s.env.insert("MUSTER_REGION".into(), "mars".into());
                }),
            ),
            ("args[0]: holds a NUL", fault(|s| s.args = vec!["\0".into()])),
            ("timeouts.ready_s: 0 is outside", fault(|s| s.timeouts.ready_s = 0)),
        ];
        for (expected, detail) in cases {
            assert!(detail.contains(expected), "wanted {expected:?} in {detail:?}");
        }
    }

    #[test]
    fn many_faults_are_told_at_once() {
        let detail = fault(|s| {
            s.build = String::new();
            s.limits.pids = 0;
            s.regions.clear();
        });
        for field in ["build:", "limits.pids:", "regions:"] {
            assert!(detail.contains(field), "{detail}");
        }
    }

    #[test]
    fn websocket_and_tcp_share_their_numbers_and_udp_does_not() {
        let mut spec = valid();
        spec.ports = vec![port("a", PortProtocol::Tcp, 80), port("b", PortProtocol::Ws, 80)];
        let problem = fleet_spec("arena", &spec).expect_err("both are TCP in the container");
        assert!(problem.problem().detail.contains("tcp 80 is also that of ports[0]"));
    }

    #[test]
    fn an_allocation_names_players_once() {
        let request = AllocateRequest {
            regions: vec!["local".into()],
            players: vec!["ann".into(), "ann".into(), String::new()],
            data: Some("x".repeat(MAX_DATA_BYTES + 1)),
        };
        let detail = allocate_request(&request).expect_err("three faults").problem().detail.clone();
        for field in ["players: \"ann\" is there twice", "players[2]:", "data:"] {
            assert!(detail.contains(field), "{detail}");
        }
    }
}
