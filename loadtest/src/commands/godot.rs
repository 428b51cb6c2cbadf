//! `muster-loadtest godot`: an unmodified Godot game through the whole line, played by headless clients.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use futures_util::TryStreamExt as _;
use muster_loadtest::godot::{Clients, Leftovers, Outcome, summary};
use muster_loadtest::harness::docker::{SERVER_LABEL, containers, docker, require_image};
use muster_loadtest::harness::stack::{REGION, Stack, StackOptions};
use muster_loadtest::harness::steps::{Steps, seconds};
use muster_loadtest::harness::wait::{Look, until};
use muster_loadtest::summary::phases;
use muster_protocol::api::{
    AllocateRequest, Endpoint, FleetSpec, LimitsSpec, LogsQuery, PortProtocol, PortSpec, RegionSpec, Server,
    ServerState, TimeoutsSpec, TokenMode,
};
use muster_protocol::id::ServerId;

use super::{beside, interrupted};

/// The fleet reached by UDP and `ws`, and the one reached by `wss`. The game has one WebSocket port, and a
/// port is plain or TLS, so these are two.
const FLEETS: [&str; 2] = ["godot", "godot-tls"];
const BUILD: &str = "godot:plain";
/// Clients of each kind.
const ENET_CLIENTS: usize = 4;
const WS_CLIENTS: usize = 2;
const WSS_CLIENTS: usize = 2;
/// Memory of a server, in MiB; a headless Godot takes about a third.
const MEMORY_MIB: u32 = 256;
/// Lines of a server's log that are kept after a failure.
const LOG_LINES: u32 = 1_000;
/// How long a server may take to stop.
const STOP_DEADLINE: Duration = Duration::from_secs(30);
/// Exit code of a process that SIGTERM ended.
const SIGTERM_EXIT: i64 = 128 + 15;

/// What to play.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// The program `muster`; the one beside this program if not given
    #[arg(long, value_name = "FILE")]
    muster: Option<PathBuf>,
    /// Image of the game's server, in this machine's Docker
    #[arg(long, default_value = "muster-test/godot-plain:latest")]
    image: String,
    /// Image of the game's client, in this machine's Docker
    #[arg(long, default_value = "muster-test/godot-plain:latest")]
    client_image: String,
    /// Directory for logs
    #[arg(long, value_name = "DIR", default_value = "target/godot/muster")]
    out: PathBuf,
}

/// Plays; fails unless every client got every answer, and all of them its own.
pub(crate) async fn run(options: Options) -> anyhow::Result<ExitCode> {
    for image in [&options.image, &options.client_image] {
        require_image(image).await.context("`make test-godot` sets up what this needs")?;
    }
    println!("\n  An unmodified Godot game, end to end\n");
    let mut steps = Steps::shown();
    let played = tokio::select! {
        played = play(&options, &mut steps) => played,
        // Leaving `play` half-way drops the stack and what Docker is left with.
        () = interrupted() => bail!("interrupted; everything that was started is stopped"),
    };
    let Played { servers, outcomes } =
        played.with_context(|| format!("the logs are in {}", options.out.display()))?;
    print!("{}", phases(steps.done()));
    print!("{}", summary(&outcomes));
    println!();
    for server in &servers {
        println!("  {:<11}{}", server.fleet, start_of(server));
    }
    if outcomes.iter().all(|outcome| outcome.verdict.is_ok()) {
        println!("\n  Every client got every answer, and each its own.\n");
        return Ok(ExitCode::SUCCESS);
    }
    println!("\n  It did not go as it should. Logs: {}\n", options.out.display());
    Ok(ExitCode::FAILURE)
}

struct Played {
    servers: Vec<Server>,
    outcomes: Vec<Outcome>,
}

async fn play(options: &Options, steps: &mut Steps) -> anyhow::Result<Played> {
    let muster = beside(options.muster.clone())?;
    // Before the stack, so that it goes after it: images cannot leave before their containers.
    let mut leftovers = Leftovers::default();
    let stack_options = StackOptions::new(muster, options.out.clone());
    let stack = Stack::start(stack_options, steps).await?;
    steps.run("push", "push the Godot image", stack.push_image(&options.image, BUILD)).await?;
    steps.run("servers", "transfer and load it; two servers become ready", warm_up(&stack)).await?;
    let claimed = steps.run("allocate", "claim both servers", allocate(&stack)).await?;
    let mut endpoints = Vec::new();
    for (id, of_server) in &claimed {
        endpoints.extend(of_server.iter().flat_map(|endpoint| {
            let clients = match (endpoint.protocol, endpoint.url.as_deref()) {
                (PortProtocol::Udp, _) => ENET_CLIENTS,
                (_, Some(url)) if url.starts_with("wss:") => WSS_CLIENTS,
                _ => WS_CLIENTS,
            };
            std::iter::repeat_n(endpoint.clone(), clients)
        }));
        leftovers.images.extend(image_of(*id).await?);
    }
    let clients = ENET_CLIENTS + WS_CLIENTS + WSS_CLIENTS;
    ensure!(endpoints.len() == clients, "the servers have not the ports asked for, but {claimed:?}");
    let authority_pem = stack.player.authority_pem().await?;
    let clients =
        Clients { image: &options.client_image, dir: &options.out, authority_pem: &authority_pem, endpoints };
    let text = format!("{ENET_CLIENTS} play over ENet, {WS_CLIENTS} over ws, {WSS_CLIENTS} over wss");
    let outcomes = steps.run("play", &text, clients.play()).await?;
    if outcomes.iter().any(|outcome| outcome.verdict.is_err()) {
        // What failed is worth more than an orderly end; the stack is dropped, and all goes with it.
        for id in claimed.keys() {
            if let Err(error) = save_log(&stack, *id, &options.out).await {
                eprintln!("cannot get the log of {id}: {error:#}");
            }
        }
        return Ok(Played { servers: Vec::new(), outcomes });
    }
    let stopped = stop_servers(&stack, claimed.keys().copied());
    let servers = steps.run("end", "end both servers by SIGTERM", stopped).await?;
    steps.run("stop", "stop the processes, leave no container", stack.stop(&FLEETS)).await?;
    Ok(Played { servers, outcomes })
}

/// The fleet of a Godot server, with as many warm in the one region as there may be at all.
fn fleet(name: &str, warm: u32) -> FleetSpec {
    let port = |name: &str, protocol, port, tls| PortSpec {
        name: name.to_owned(),
        protocol,
        port,
        token: TokenMode::Open,
        tls,
        proxy_protocol: false,
    };
    let ports = if name == FLEETS[0] {
        vec![port("enet", PortProtocol::Udp, 7777, false), port("web", PortProtocol::Ws, 7778, false)]
    } else {
        vec![port("web", PortProtocol::Ws, 7778, true)]
    };
    FleetSpec {
        name: name.to_owned(),
        build: BUILD.to_owned(),
        lobbies: false,
        direct_connect: false,
        max_players: 0,
        ports,
        regions: BTreeMap::from([(REGION.to_owned(), RegionSpec { warm, max: 1 })]),
        limits: LimitsSpec { memory_mib: MEMORY_MIB, ..LimitsSpec::default() },
        env: BTreeMap::new(),
        args: Vec::new(),
        timeouts: TimeoutsSpec::default(),
        backfill: false,
    }
}

async fn warm_up(stack: &Stack) -> anyhow::Result<()> {
    for name in FLEETS {
        stack.studio.apply_fleet(&fleet(name, 1)).await?;
    }
    for name in FLEETS {
        stack.wait_for_warm(name).await?;
    }
    Ok(())
}

/// Claims a server of each fleet; where it is reached.
async fn allocate(stack: &Stack) -> anyhow::Result<BTreeMap<ServerId, Vec<Endpoint>>> {
    let mut claimed = BTreeMap::new();
    for name in FLEETS {
        let request =
            AllocateRequest { regions: Vec::new(), players: vec!["everybody".to_owned()], data: None };
        let allocated = stack.studio.allocate(name, &request).await?;
        let seat = allocated.seats.into_iter().next().context("the allocation has no seat")?;
        claimed.insert(allocated.server_id, seat.endpoints);
    }
    Ok(claimed)
}

/// The images, by name, that the containers of a server run.
async fn image_of(id: ServerId) -> anyhow::Result<Vec<String>> {
    let mut images = Vec::new();
    for container in containers(SERVER_LABEL, &id.to_string()).await? {
        images.push(docker(&["inspect", "--format", "{{.Config.Image}}", &container]).await?);
    }
    Ok(images)
}

/// Stops the servers, and wants them to have ended by SIGTERM: Godot handles no signal, so this holds
/// only if its container has an init process.
async fn stop_servers(stack: &Stack, ids: impl Iterator<Item = ServerId>) -> anyhow::Result<Vec<Server>> {
    for name in FLEETS {
        // Nothing warm: a stopped server would be replaced at once.
        stack.studio.apply_fleet(&fleet(name, 0)).await?;
    }
    let mut servers = Vec::new();
    for id in ids {
        stack.studio.stop_server(&id, true).await?;
        let server = until("the server to stop", STOP_DEADLINE, async || {
            let server = stack.studio.server(&id).await?;
            Ok(if server.state.is_final() {
                Look::Holds(server)
            } else {
                Look::NotYet(format!("it is {}: {}", server.state.as_str(), server.explanation))
            })
        })
        .await?;
        let exit = server.exit.as_ref().context("a stopped server does not say how it ended")?;
        ensure!(
            server.state == ServerState::Stopped && exit.code == SIGTERM_EXIT,
            "{id} is {} with exit code {} where SIGTERM ends it with {SIGTERM_EXIT}; the end of its log:\n{}",
            server.state.as_str(),
            exit.code,
            exit.log_tail
        );
        servers.push(server);
    }
    Ok(servers)
}

/// Writes what a server has printed to a file beside the clients' logs.
async fn save_log(stack: &Stack, id: ServerId, dir: &Path) -> anyhow::Result<()> {
    let query = LogsQuery { follow: false, tail: LOG_LINES };
    let pieces: Vec<_> = stack.studio.logs(&id, &query).await?.try_collect().await?;
    Ok(std::fs::write(dir.join(format!("{id}.log")), pieces.concat())?)
}

/// How long a server was in each state until it was ready, in words.
fn start_of(server: &Server) -> String {
    let entered: Vec<_> =
        server.entered_ms.iter().filter(|(state, _)| **state <= ServerState::Ready).collect();
    let took = entered.windows(2).map(|pair| {
        let took = Duration::from_millis(pair[1].1.saturating_sub(*pair[0].1));
        format!("{} {}", pair[0].0.as_str(), seconds(took))
    });
    took.collect::<Vec<_>>().join(", ")
}
