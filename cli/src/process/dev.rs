//! `muster dev`: orchestrator, agent and edge in one process, for a developer at one terminal.
//!
//! State lies in `./.muster`, so the second start knows what the first did. What ops commands need to
//! reach it is left in `.muster/client.toml`, where they find it by themselves.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow};
use clap::Args;
use metrics_exporter_prometheus::PrometheusHandle;
use muster_agent::Agent;
use muster_client::Client;
use muster_edge_proxy::Edge;
use muster_orchestrator::{OpenError, Orchestrator, StartError};
use muster_protocol::api::{ApiTokenRequest, JoinRole, JoinTokenRequest, Role};
use muster_transport::Identity;

use super::{block_on, until_stopped};
use crate::context::{CLIENT_FILE, ClientFile, DEV_DIR};
use crate::telemetry::{self, LogConfig};

/// The one region of a development stack.
const REGION: &str = "local";
/// The namespace that a development stack works in.
const NAMESPACE: &str = "default/dev";
/// Seconds in which the agent and the edge have joined.
const JOIN_TTL_S: u64 = 300;
/// File of the client token within the state directory, so that restarts keep it.
const CLIENT_TOKEN_FILE: &str = "client-token";

/// Options of `muster dev`.
#[derive(Args)]
pub(crate) struct Options {
    /// State directory
    #[arg(long, default_value = DEV_DIR, value_name = "DIR")]
    state: PathBuf,
    /// Port of the HTTP API; the link, tunnel and beacon take the three after it
    #[arg(long, default_value_t = 7400, value_parser = clap::value_parser!(u16).range(1..=65_532))]
    port: u16,
    /// First port for players; a hundred are taken from here on
    #[arg(long, default_value_t = 20_000, value_parser = clap::value_parser!(u16).range(1..=65_436))]
    players_from: u16,
    /// Address that players reach this machine by
    #[arg(long, default_value = "127.0.0.1")]
    host: String,
    /// Docker's socket
    #[arg(long, env = "MUSTER_DOCKER_SOCKET", value_name = "SOCKET")]
    docker_socket: Option<String>,
    /// Log level, or directives as `info,muster_agent=debug`
    #[arg(long, default_value = "warn", env = "MUSTER_LOG_LEVEL")]
    log_level: String,
}

/// How often the recorder hears of what the edge has counted.
const COUNTS_EVERY: Duration = Duration::from_secs(1);
/// Ports players get on a development machine.
const PLAYER_PORTS: u16 = 100;

pub(crate) fn run(options: Options) -> anyhow::Result<()> {
    telemetry::start_logs(&LogConfig { level: options.log_level.clone(), json: false })?;
    let metrics = telemetry::start_metrics()?;
    block_on(async move {
        check_ports(options.port)?;
        let stack = start(&options, metrics).await?;
        print_welcome(&stack, &options);
        print_problems(&stack.client).await?;
        until_stopped().await?;
        eprintln!("\nstopping the servers and everything else …");
        stack.stop().await;
        eprintln!("stopped; `muster dev` goes on from {}", options.state.display());
        Ok(())
    })
}

struct Stack {
    orchestrator: Orchestrator,
    agent: Agent,
    edge: Edge,
    client: Client,
    client_token: String,
}

impl Stack {
    /// Outer parts first: nothing then speaks to what is gone.
    async fn stop(self) {
        self.edge.shutdown().await;
        // A developer who presses Ctrl-C wants no containers left behind.
        self.agent.shutdown_and_stop_servers().await;
        self.orchestrator.shutdown().await;
    }
}

async fn start(options: &Options, metrics: PrometheusHandle) -> anyhow::Result<Stack> {
    let orchestrator = start_orchestrator(options, metrics).await?;
    let admin_file = orchestrator.admin_token_path();
    let admin_token = std::fs::read_to_string(&admin_file).with_context(|| {
        format!("cannot read {}; remove {} to begin anew", admin_file.display(), options.state.display())
    })?;
    let url = orchestrator.api_url();
    let client = Client::new(&url, Some(&admin_token), Some(NAMESPACE), None)?;
    let (game, environment) = NAMESPACE.split_once('/').context("the namespace is a literal with a slash")?;
    client.create_namespace(game, environment).await?;
    let agent = start_agent(options, &client).await?;
    let edge = start_edge(options, &client).await?;
    let client_token = client_token(options, &client).await?;
    let file = ClientFile { url, token: admin_token.trim().to_owned(), namespace: NAMESPACE.to_owned() };
    write_private(&options.state.join(CLIENT_FILE), &toml::to_string(&file)?)?;
    await_links(&client).await?;
    Ok(Stack { orchestrator, agent, edge, client, client_token })
}

/// Time in which agent and edge have found their orchestrator; without Docker the node stays unable.
const LINKS_PATIENCE: Duration = Duration::from_secs(5);
/// Pause between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Waits until the node can take servers and the edge is there, so that the first command works.
async fn await_links(client: &Client) -> anyhow::Result<()> {
    let deadline = Instant::now() + LINKS_PATIENCE;
    while Instant::now() < deadline {
        let status = client.status().await?;
        if status.nodes_ready > 0 && status.edges_connected > 0 {
            break;
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    Ok(())
}

/// What is wrong, such as a missing Docker engine, and what mends it.
async fn print_problems(client: &Client) -> anyhow::Result<()> {
    for problem in client.status().await?.problems {
        println!("! {problem}");
    }
    Ok(())
}

fn loopback(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

async fn start_orchestrator(options: &Options, metrics: PrometheusHandle) -> anyhow::Result<Orchestrator> {
    let mut config =
        muster_orchestrator::Config { data_dir: options.state.join("orchestrator"), ..Default::default() };
    config.api.listen = loopback(options.port);
    config.link.listen = loopback(options.port + 1);
    muster_orchestrator::start(config, Some(metrics)).await.map_err(|error| match error {
        StartError::Store(OpenError::InUse { .. }) => anyhow!(
            "`muster dev` runs with the state in {} already; stop that one with Ctrl-C, or give this one another \
             --state, --port and --players-from",
            options.state.display()
        ),
        other => anyhow::Error::new(other).context("the orchestrator cannot start"),
    })
}

/// Finds a taken port before anything is started, while the flag that mends it can be named.
fn check_ports(first: u16) -> anyhow::Result<()> {
    let taken = |port: u16, what: &str| {
        anyhow!(
            "port {port} of this machine, for {what}, is taken, perhaps by another `muster dev`; stop that one, or \
             give this one another --port: it takes four ports from there"
        )
    };
    std::net::TcpListener::bind(loopback(first)).map_err(|_| taken(first, "the API"))?;
    for (port, what) in [(first + 1, "the link"), (first + 2, "the tunnel"), (first + 3, "the beacon")] {
        std::net::UdpSocket::bind(loopback(port)).map_err(|_| taken(port, what))?;
    }
    Ok(())
}

async fn start_agent(options: &Options, client: &Client) -> anyhow::Result<Agent> {
    let state_dir = options.state.join("agent");
    let join_token = join_token(client, &state_dir, JoinRole::Agent).await?;
    let config = muster_agent::Config {
        state_dir,
        region: REGION.to_owned(),
        orchestrator: vec![loopback(options.port + 1).to_string()],
        join_token,
        tunnel_listen: loopback(options.port + 2),
        tunnel_advertise: vec![loopback(options.port + 2).to_string()],
        docker_socket: options.docker_socket.clone(),
        ..Default::default()
    };
    muster_agent::start(config).await.context("the agent cannot start")
}

async fn start_edge(options: &Options, client: &Client) -> anyhow::Result<Edge> {
    let state_dir = options.state.join("edge");
    let join_token = join_token(client, &state_dir, JoinRole::Edge).await?;
    let config = muster_edge_proxy::Config {
        state_dir,
        region: REGION.to_owned(),
        orchestrator: vec![loopback(options.port + 1).to_string()],
        join_token,
        public_host: options.host.clone(),
        port_first: options.players_from,
        port_last: options.players_from.saturating_add(PLAYER_PORTS - 1),
        beacon_port: options.port + 3,
        // Whoever tries a game out, and all their bots, are at one address.
        max_connections_per_address: muster_edge_proxy::Config::default().max_connections_per_port,
        ..Default::default()
    };
    let edge = muster_edge_proxy::start(config).await.context("the edge cannot start")?;
    // The orchestrator shows the metrics here, and asks nobody before.
    let (tell_counts, mut due) = (edge.count_teller(), tokio::time::interval(COUNTS_EVERY));
    tokio::spawn(async move {
        loop {
            due.tick().await;
            tell_counts();
        }
    });
    Ok(edge)
}

/// A token to join with, unless an earlier start has joined.
async fn join_token(client: &Client, state_dir: &Path, role: JoinRole) -> anyhow::Result<Option<String>> {
    if Identity::load(state_dir)?.is_some() {
        return Ok(None);
    }
    let request = JoinTokenRequest { role, region: REGION.to_owned(), ttl_s: JOIN_TTL_S };
    Ok(Some(client.create_join_token(&request).await?.token))
}

/// The token for game clients, the same at every start.
async fn client_token(options: &Options, client: &Client) -> anyhow::Result<String> {
    let path = options.state.join(CLIENT_TOKEN_FILE);
    if let Ok(token) = std::fs::read_to_string(&path) {
        return Ok(token.trim().to_owned());
    }
    let request = ApiTokenRequest {
        role: Role::Client,
        namespace: Some(NAMESPACE.to_owned()),
        name: "game clients of muster dev".to_owned(),
        ttl_s: None,
    };
    let token = client.create_token(&request).await?.token.context("a new token comes with its text")?;
    write_private(&path, &token)?;
    Ok(token)
}

/// Writes a file that only its owner reads.
fn write_private(path: &Path, text: &str) -> anyhow::Result<()> {
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let written =
        options.open(path).and_then(|mut file| std::io::Write::write_all(&mut file, text.as_bytes()));
    written.with_context(|| format!("cannot write {}", path.display()))
}

fn print_welcome(stack: &Stack, options: &Options) {
    let url = stack.orchestrator.api_url();
    let last = options.players_from.saturating_add(PLAYER_PORTS - 1);
    println!(
        "\
Muster is up, all in this process. Ctrl-C stops it and the servers it runs.

  API          {url}   (OpenAPI: {url}/v1/openapi.json)
  metrics      {url}/metrics
  players      {host}, ports {first}-{last}, region {REGION}, beacon UDP {beacon}
  namespace    {NAMESPACE}
  state        {state}

In another terminal, in this directory:

  muster build push my-game:latest
  muster fleet apply -f fleet.toml
  muster queue apply -f queue.toml
  muster status

A game client asks for a match with the client token:

  curl -s {url}/v1/tickets \\
    -H 'Authorization: Bearer {token}' \\
    -H 'Content-Type: application/json' \\
    -d '{{\"queue\": \"quick\", \"player\": \"me\", \"latencies_ms\": {{\"{REGION}\": 5}}}}'
",
        host = options.host,
        first = options.players_from,
        beacon = options.port + 3,
        state = options.state.display(),
        token = stack.client_token,
    );
}
