//! What stands in the lab: Muster, its yardsticks, the game server, and players when they are called.
//!
//! Orchestrator and edge are the real programs, joined as anywhere. The agent is the real tunnel's end in a
//! process of its own, and a stand-in for the rest of it: its game server is no container, but a program that
//! sends every packet back, and can keep up.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use muster_protocol::api::{AllocateRequest, PortProtocol, PortSpec, TokenMode};
use muster_protocol::id::ServerId;
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use super::lab::{FIRST_FLOODER, FIRST_PLAYER, HARNESS, Lab, PROXY, PROXY_FOR_HARNESS, Place, SERVERS, at};
use super::parts::{self, BulkPlan, FloodPlan, PlayersPlan, PlayersReport, Seat, TunnelPlan, Watch};
use super::play::{Bulk, Load, Playing, Way};
use super::{nginx, quilkin};
use crate::bench::stand_in::{self, StandIn};
use crate::bench::{BenchOptions, usage};
use crate::harness::process::Process;
use crate::harness::stack::{EdgePlace, REGION, Stack, StackOptions};
use crate::harness::steps::Steps;

const FLEET: &str = "bench";
/// Servers that players are seated on.
const SERVERS_WARM: u32 = 4;
/// Seats claimed of each: as many as one request may name.
pub(super) const SEATS: usize = 1_000;
/// Life of session tokens, in seconds: longer than any run.
const TOKEN_TTL_S: u32 = 86_400;
/// Ports in the lab.
const GAME_PORT: u16 = 7_000;
const BULK_PORT: u16 = 7_010;
const TUNNEL_PORT: u16 = 7_402;
const TUNNEL_BEHIND_PORT: u16 = 7_403;
const IMPAIRED_GAME_PORT: u16 = 7_001;
const NGINX_PORT: u16 = 8_001;
const QUILKIN_PORT: u16 = 8_002;
/// The bad path: what is lost, and how late the rest is, each way.
const LOSS_PCT: f64 = 1.0;
const DELAY_MS: u64 = 20;
/// Addresses that a flood comes from.
const FLOODERS: u32 = 10_000;

/// All of it; stopped when dropped.
pub(super) struct Stage {
    // In the order in which they are to end: the lab last.
    stack: Stack,
    _stand_in: StandIn,
    tunnel: Process,
    /// nginx and quilkin, as far as they are there.
    yardsticks: BTreeMap<Way, Process>,
    impairers: Vec<Process>,
    game: Process,
    seats: Vec<Seat>,
    /// Of the first seat, its port for TCP.
    bulk_seat: Seat,
    servers: Vec<ServerId>,
    identity: PathBuf,
    dir: PathBuf,
    this: PathBuf,
    runs: u32,
    lab: Lab,
}

impl Stage {
    /// Starts everything, and claims the seats.
    pub(super) async fn set_up(options: &BenchOptions, steps: &mut Steps) -> anyhow::Result<Self> {
        // A flow is a socket, of the agent and of the yardsticks; they inherit this.
        let (_, most) = getrlimit(Resource::RLIMIT_NOFILE)?;
        setrlimit(Resource::RLIMIT_NOFILE, most, most)?;
        let dir = options.out.join("run-edge");
        let this = std::env::current_exe().context("cannot find this program's place")?;
        let lab = steps.run("lab", "three network namespaces", Lab::build()).await?;
        let place = EdgePlace {
            through: lab.command(Place::Proxy, []),
            orchestrator: HARNESS,
            public: PROXY,
            metrics: PROXY_FOR_HARNESS,
        };
        let mut stack = Stack::start_orchestrator(
            StackOptions {
                session_token_ttl_s: Some(TOKEN_TTL_S),
                edge_place: Some(place),
                ..StackOptions::new(options.muster.clone(), dir.clone())
            },
            steps,
        )
        .await?;
        let (stand_in, identity) = stand_in::agent_with_tunnel(
            &stack.admin,
            &stack.link_address(),
            REGION,
            "node-1",
            &at(SERVERS, TUNNEL_PORT).to_string(),
        )
        .await?;
        let identity_dir = dir.join("state/agent");
        identity.save(&identity_dir)?;
        steps.run("edge", "start the edge; it joins", stack.start_edge()).await?;
        let claimed = steps.run("seats", "claim servers and seats", claim(&stack)).await?;

        let game = at(SERVERS, GAME_PORT);
        let args = ["echo".to_owned(), game.to_string()];
        let echo = start_part(&lab, &this, Place::Servers, "game", &args, &dir.join("game.log"))?;
        let plan = TunnelPlan {
            identity: identity_dir.clone(),
            listen: at(SERVERS, TUNNEL_PORT),
            servers: claimed.servers.clone(),
            game,
            bulk: at(SERVERS, BULK_PORT),
        };
        let tunnel = start_tunnel(&lab, &this, &dir, &plan)?;
        Ok(Self {
            stack,
            _stand_in: stand_in,
            tunnel,
            yardsticks: BTreeMap::new(),
            impairers: Vec::new(),
            game: echo,
            seats: claimed.seats,
            bulk_seat: claimed.bulk_seat,
            servers: claimed.servers,
            identity: identity_dir,
            dir,
            this,
            runs: 0,
            lab,
        })
    }

    /// Starts what Muster is compared with. quilkin is left out where it is not installed.
    pub(super) async fn add_yardsticks(&mut self) -> anyhow::Result<()> {
        let game = at(SERVERS, GAME_PORT);
        let nginx = nginx::start(&self.lab, &self.dir, at(PROXY, NGINX_PORT), game).await?;
        self.yardsticks.insert(Way::Nginx, nginx);
        if let Some(program) = quilkin::find() {
            let quilkin = quilkin::start(&self.lab, &program, &self.dir, QUILKIN_PORT, game)?;
            self.yardsticks.insert(Way::Quilkin, quilkin);
        } else {
            eprintln!(
                "  quilkin {} is not installed and is left out; `scripts/setup.sh quilkin` installs it",
                quilkin::VERSION
            );
        }
        Ok(())
    }

    /// Starts quilkin anew, if it is there: it keeps the threads of flows that are long gone, one each.
    pub(super) async fn restart_quilkin(&mut self) -> anyhow::Result<()> {
        let Some(quilkin) = self.yardsticks.get_mut(&Way::Quilkin) else { return Ok(()) };
        quilkin.kill9().await?;
        quilkin.restart()
    }

    /// The proxies there are, ours first.
    pub(super) fn proxies(&self) -> Vec<Way> {
        [Way::Muster].into_iter().chain(self.yardsticks.keys().copied()).collect()
    }

    /// Plays over `way`, with the players behind the first `skip`.
    pub(super) async fn play(&mut self, way: Way, load: Load, skip: usize) -> anyhow::Result<PlayersReport> {
        self.start_players(way, load, skip)?.report().await
    }

    /// Begins to play; what came of it is told when it is over.
    pub(super) fn start_players(&mut self, way: Way, load: Load, skip: usize) -> anyhow::Result<Playing> {
        self.runs += 1;
        let began = self.file("players", "began");
        // Of an earlier run.
        let _ = std::fs::remove_file(&began);
        let plain = |to: SocketAddrV4| vec![Seat { to, token: None }; load.flows];
        let seats = match way {
            Way::Muster => {
                ensure!(skip + load.flows <= self.seats.len(), "there are {} seats", self.seats.len());
                self.seats[skip..skip + load.flows].to_vec()
            }
            Way::Direct => plain(at(SERVERS, GAME_PORT)),
            Way::Nginx => plain(at(PROXY, NGINX_PORT)),
            Way::Quilkin => plain(at(PROXY, QUILKIN_PORT)),
            Way::DirectImpaired => plain(at(SERVERS, IMPAIRED_GAME_PORT)),
        };
        let plan = PlayersPlan {
            seats,
            first_source: Ipv4Addr::from(u32::from(FIRST_PLAYER) + skip as u32),
            rate: load.rate,
            payload: load.payload,
            seconds: load.seconds,
            watch: self.watch(way),
            began: began.clone(),
        };
        let (plan_file, report) = (self.file("players", "plan"), self.file("players", "report"));
        parts::write(&plan_file, &plan)?;
        let args = ["players".to_owned(), text(&plan_file), text(&report)];
        let log = self.dir.join("players.log");
        let process = start_part(&self.lab, &self.this, Place::Players, "players", &args, &log)?;
        Ok(Playing::new(process, began, report, load.seconds))
    }

    /// Starts the game server's end of bulk flows; it is there until what is returned is dropped.
    pub(super) fn start_bulk_server(&self) -> anyhow::Result<Process> {
        let args = ["bulk-server".to_owned(), at(SERVERS, BULK_PORT).to_string()];
        let log = self.dir.join("bulk-server.log");
        start_part(&self.lab, &self.this, Place::Servers, "bulk server", &args, &log)
    }

    /// Begins a bulk flow by TCP, of so many bytes a second each way.
    pub(super) fn start_bulk(&mut self, bytes_per_s: u64) -> anyhow::Result<Bulk> {
        self.runs += 1;
        let [began, over, report] = ["began", "over", "report"].map(|what| self.file("bulk", what));
        for file in [&began, &over] {
            // Of an earlier run.
            let _ = std::fs::remove_file(file);
        }
        let Seat { to, token } = self.bulk_seat.clone();
        let plan = BulkPlan { to, token, bytes_per_s, began: began.clone(), over: over.clone() };
        let plan_file = self.file("bulk", "plan");
        parts::write(&plan_file, &plan)?;
        let args = ["bulk".to_owned(), text(&plan_file), text(&report)];
        let log = self.dir.join("bulk.log");
        let process = start_part(&self.lab, &self.this, Place::Players, "bulk", &args, &log)?;
        Ok(Bulk::new(Playing::new(process, began, report, 0.0), over))
    }

    /// Begins a flood of bogus tokens to the players' port of Muster.
    pub(super) fn start_flood(&mut self, rate: f64, seconds: f64) -> anyhow::Result<Process> {
        let seat = self.seats.first().context("there are seats")?;
        let token = seat.token.as_ref().context("the seats have tokens")?;
        let plan = FloodPlan {
            to: seat.to,
            token: bogus(token),
            first_source: FIRST_FLOODER,
            sources: FLOODERS,
            rate,
            seconds,
        };
        let file = self.file("flood", "plan");
        parts::write(&file, &plan)?;
        let log = self.dir.join("flood.log");
        start_part(&self.lab, &self.this, Place::Players, "flood", &["flood".to_owned(), text(&file)], &log)
    }

    /// Puts the bad path before the agent's tunnel, and another before the game server.
    pub(super) async fn impair(&mut self) -> anyhow::Result<()> {
        self.tunnel.kill9().await?;
        let plan = TunnelPlan { listen: at(SERVERS, TUNNEL_BEHIND_PORT), ..self.tunnel_plan() };
        self.tunnel = start_tunnel(&self.lab, &self.this, &self.dir, &plan)?;
        for (listen, to) in [(TUNNEL_PORT, TUNNEL_BEHIND_PORT), (IMPAIRED_GAME_PORT, GAME_PORT)] {
            let args = [
                "impairer".to_owned(),
                at(SERVERS, listen).to_string(),
                at(SERVERS, to).to_string(),
                LOSS_PCT.to_string(),
                DELAY_MS.to_string(),
            ];
            let log = self.dir.join("impairer.log");
            self.impairers.push(start_part(&self.lab, &self.this, Place::Servers, "impairer", &args, &log)?);
        }
        Ok(())
    }

    /// Takes the bad path away.
    pub(super) async fn mend(&mut self) -> anyhow::Result<()> {
        for mut impairer in self.impairers.drain(..) {
            impairer.kill9().await?;
        }
        self.tunnel.kill9().await?;
        self.tunnel = start_tunnel(&self.lab, &self.this, &self.dir, &self.tunnel_plan())?;
        Ok(())
    }

    /// Kills the edge and starts it again at once.
    pub(super) async fn kill_edge(&mut self) -> anyhow::Result<()> {
        let edge = self.stack.edge.as_mut().context("the edge runs")?;
        edge.kill9().await?;
        edge.restart()
    }

    /// Starts the next edge in the place of the one that runs, which is returned, and ends by itself when its players
    /// are the next one's.
    pub(super) fn replace_edge(&mut self) -> anyhow::Result<Process> {
        self.stack.replace_edge()
    }

    /// Memory that the proxy of `way` holds, in bytes, and the agent behind it.
    pub(super) fn memory(&self, way: Way) -> anyhow::Result<BTreeMap<String, u64>> {
        let watched = self.watch(way).programs.into_iter();
        watched.map(|(name, pid)| Ok((name, usage::resident_bytes(pid)?))).collect()
    }

    /// An error if something that should run does not.
    pub(super) fn check_alive(&mut self) -> anyhow::Result<()> {
        let edge = self.stack.edge.iter_mut();
        edge.chain([&mut self.tunnel])
            .chain(self.yardsticks.values_mut())
            .chain(&mut self.impairers)
            .try_for_each(Process::check_alive)
    }

    /// What the edge shows at `/metrics`: where packets were dropped, if any were.
    pub(super) async fn edge_metrics(&self) -> anyhow::Result<String> {
        self.stack.edge_metrics().await
    }

    /// The programs on `way`, and a process in each of the networks but the players'.
    fn watch(&self, way: Way) -> Watch {
        let edge = self.stack.edge.as_ref();
        let proxy = match way {
            Way::Muster => edge,
            Way::Nginx | Way::Quilkin => self.yardsticks.get(&way),
            Way::Direct | Way::DirectImpaired => None,
        };
        let agent = (way == Way::Muster).then_some(&self.tunnel);
        let programs = [(PROXY_NAME, proxy), (AGENT_NAME, agent), (GAME_NAME, Some(&self.game))];
        let pids = |of: &[(&str, Option<&Process>)]| {
            let pid =
                |(name, process): &(&str, Option<&Process>)| Some(((*name).to_owned(), (*process)?.pid()?));
            of.iter().filter_map(pid).collect()
        };
        let networks = [("proxy's", edge), ("servers'", Some(&self.game))];
        Watch { programs: pids(&programs), networks: pids(&networks) }
    }

    fn tunnel_plan(&self) -> TunnelPlan {
        TunnelPlan {
            identity: self.identity.clone(),
            listen: at(SERVERS, TUNNEL_PORT),
            servers: self.servers.clone(),
            game: at(SERVERS, GAME_PORT),
            bulk: at(SERVERS, BULK_PORT),
        }
    }

    fn file(&self, part: &str, what: &str) -> PathBuf {
        self.dir.join(format!("{part}-{}.{what}.json", self.runs))
    }
}

/// Name of the proxy's process among the watched.
pub(super) const PROXY_NAME: &str = "proxy";
/// Name of the agent's process among the watched.
pub(super) const AGENT_NAME: &str = "agent";

/// Name of the game server's process among the watched.
pub(super) const GAME_NAME: &str = "game";

/// What was claimed.
struct Claimed {
    servers: Vec<ServerId>,
    /// Their ports for UDP.
    seats: Vec<Seat>,
    /// Of the first seat, its port for TCP.
    bulk_seat: Seat,
}

/// Claims all servers, with all their seats.
async fn claim(stack: &Stack) -> anyhow::Result<Claimed> {
    stack.studio.create_build(&stand_in::build()).await?;
    let mut fleet = stand_in::fleet(FLEET, &[REGION], SERVERS_WARM, SERVERS_WARM);
    fleet.ports.push(PortSpec {
        name: "bulk-tcp".to_owned(),
        protocol: PortProtocol::Tcp,
        port: BULK_PORT.into(),
        token: TokenMode::Preface,
        tls: false,
        proxy_protocol: false,
    });
    stack.apply_fleet(&fleet).await?;
    let (mut servers, mut seats, mut bulk_seat) = (Vec::new(), Vec::new(), None);
    for number in 0..SERVERS_WARM {
        let players = (0..SEATS).map(|player| format!("player-{number}-{player:04}")).collect();
        let request = AllocateRequest { regions: Vec::new(), players, data: None };
        let claimed = stack.studio.allocate(FLEET, &request).await?;
        servers.push(claimed.server_id);
        for endpoint in claimed.seats.into_iter().flat_map(|seat| seat.endpoints) {
            let seat = Seat { to: at(endpoint.host.parse()?, endpoint.port), token: endpoint.token };
            match endpoint.protocol {
                PortProtocol::Udp => seats.push(seat),
                _ => bulk_seat = bulk_seat.or(Some(seat)),
            }
        }
    }
    let bulk_seat = bulk_seat.context("a seat has an endpoint for TCP")?;
    Ok(Claimed { servers, seats, bulk_seat })
}

fn start_tunnel(lab: &Lab, this: &Path, dir: &Path, plan: &TunnelPlan) -> anyhow::Result<Process> {
    let file = dir.join("tunnel.plan.json");
    parts::write(&file, plan)?;
    let args = ["tunnel".to_owned(), text(&file)];
    start_part(lab, this, Place::Servers, "tunnel", &args, &dir.join("tunnel.log"))
}

fn start_part(
    lab: &Lab,
    this: &Path,
    place: Place,
    name: &str,
    args: &[String],
    log: &Path,
) -> anyhow::Result<Process> {
    let command = [this.into(), "edge-part".into()].into_iter();
    let (program, args) = lab.command(place, command.chain(args.iter().map(OsString::from)));
    Process::start(name, &program, &args, log)
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

/// `token` with another signature: it looks right until that is checked, which is what costs most.
fn bogus(token: &str) -> String {
    let other = |byte: char| if byte == 'A' { 'B' } else { 'A' };
    // Near the end, but not in the last characters, whose bits may be filling.
    let at = token.len().saturating_sub(20);
    token.char_indices().map(|(index, byte)| if index == at { other(byte) } else { byte }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bogus_token_differs_in_one_place() {
        let token = "v4.public.aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
        let other = bogus(token);
        assert_eq!(other.len(), token.len());
        assert_eq!(token.bytes().zip(other.bytes()).filter(|(one, two)| one != two).count(), 1);
    }
}
