//! A whole Muster on this machine: orchestrator, agent and edge as processes, joined and ready.

use std::ffi::OsString;
use std::fs::{File, TryLockError};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use muster_client::{Client, file_digest};
use muster_protocol::api::{
    ApiTokenRequest, Build, BuildRequest, Fleet, FleetSpec, JoinRole, JoinTokenRequest, NodeState, QueueSpec,
    Role, Server, ServerState,
};
use serde::Serialize;

use super::config::{AgentConfig, Api, EdgeConfig, Listen, OrchestratorConfig, metrics_at};
use super::process::Process;
use super::scrape::scrape;
use super::steps::Steps;
use super::wait::{Look, until, when};
use super::{docker, ports};
use crate::report::write_file;

/// The namespace everything is in.
pub const NAMESPACE: &str = "arena/test";
/// The region node and edge are in.
pub const REGION: &str = "local";
/// Silence after which the edge forgets a flow, in seconds: longer than any bot is silent.
pub const EDGE_UDP_IDLE_S: u32 = 10;
/// Connections the edge takes from one address: all bots are at one.
const EDGE_CONNECTIONS_OF_BOTS: u32 = 1_024;
/// Ports an edge may use: three for each of more servers than one machine runs here.
const EDGE_PORTS: u16 = 150;
/// Edges of a stack, at most.
const MOST_EDGES: u16 = 2;
/// How long a process may take until it does its work.
const START_DEADLINE: Duration = Duration::from_secs(30);
/// How long a fleet may take until it is as asked.
pub const FLEET_DEADLINE: Duration = Duration::from_secs(90);
/// How long all servers may take to stop.
const DRAIN_DEADLINE: Duration = Duration::from_mins(1);
/// How long a process may take to stop when asked.
const STOP_GRACE: Duration = Duration::from_secs(15);

/// What to run, and where it keeps things.
#[derive(Clone, Debug)]
pub struct StackOptions {
    /// The program `muster`.
    pub muster: PathBuf,
    /// Directory for state and logs; its state is begun anew.
    pub dir: PathBuf,
    /// CPU the node offers, in thousandths; `None`: what the machine has.
    pub cpu_millis: Option<u32>,
    /// Where the agent looks for Docker; `None`: where it always does.
    pub docker_socket: Option<String>,
    /// The orchestrator's store, `fdb:CLUSTER_FILE`; each stack takes a prefix of its own there. `None`: the
    /// embedded one.
    pub store: Option<String>,
    /// How many orchestrators; more than one needs a `store` that they share.
    pub replicas: u16,
    /// Life of session tokens; `None`: as the orchestrator has it.
    pub session_token_ttl_s: Option<u32>,
    /// Where the edge runs, if not beside everything else on loopback.
    pub edge_place: Option<EdgePlace>,
}

/// Another network than loopback for the edge.
#[derive(Clone, Debug)]
pub struct EdgePlace {
    /// Program and arguments that the edge is started through.
    pub through: (PathBuf, Vec<OsString>),
    /// The orchestrator, as the edge reaches it.
    pub orchestrator: Ipv4Addr,
    /// The edge, as players reach it; it listens on every address of its network.
    pub public: Ipv4Addr,
    /// The edge, as its metrics are reached from here.
    pub metrics: Ipv4Addr,
}

impl StackOptions {
    /// What `muster` does by itself, with state and logs in `dir`.
    pub fn new(muster: PathBuf, dir: PathBuf) -> Self {
        Self {
            muster,
            dir,
            cpu_millis: None,
            docker_socket: None,
            store: None,
            replicas: 1,
            session_token_ttl_s: None,
            edge_place: None,
        }
    }
}

/// Orchestrators, agent and edge; all of it is gone when this is dropped.
pub struct Stack {
    /// The orchestrators, at least one.
    pub orchestrators: Vec<Process>,
    /// The agent, once started.
    pub agent: Option<Process>,
    /// The edge, once started.
    pub edge: Option<Process>,
    /// With the admin token, in the namespace, at the first orchestrator; as the other clients.
    pub admin: Client,
    /// With a token that may deploy.
    pub studio: Client,
    /// With a token as game clients carry it.
    pub player: Client,
    options: StackOptions,
    /// The store, as the orchestrator was told of it; `None` for the embedded one.
    store: Option<String>,
    /// Where each orchestrator's API is.
    urls: Vec<String>,
    /// Where agents and edges are told to dial: the first orchestrator, which tells them of the others.
    link_port: u16,
    agent_metrics_port: u16,
    edge_metrics_port: u16,
    /// The first edge's first port; the second edge's follow those of the first.
    edge_port_first: u16,
    /// The agent's id, which its containers are labelled with.
    node: Option<String>,
    /// Keeps a second run out of the directory.
    _lock: File,
}

impl Stack {
    /// Starts an orchestrator on an empty store, and makes namespace and tokens.
    pub async fn start_orchestrator(options: StackOptions, steps: &mut Steps) -> anyhow::Result<Self> {
        steps.run("orchestrator", "start the orchestrator", Self::bring_up(options)).await
    }

    /// Starts orchestrator, agent and edge, and waits until they serve the region.
    pub async fn start(options: StackOptions, steps: &mut Steps) -> anyhow::Result<Self> {
        let mut stack = Self::start_orchestrator(options, steps).await?;
        steps.run("agent", "start the agent; it joins and finds Docker", stack.start_agent()).await?;
        steps.run("edge", "start the edge; it joins", stack.start_edge()).await?;
        Ok(stack)
    }

    async fn bring_up(options: StackOptions) -> anyhow::Result<Self> {
        let lock = lock(&options.dir)?;
        let state = options.dir.join("state");
        if state.exists() {
            std::fs::remove_dir_all(&state).with_context(|| format!("cannot empty {}", state.display()))?;
        }
        let store = options.store.as_ref();
        let store =
            store.map(|cluster| format!("{cluster}?prefix=muster-test/{:016x}/", rand::random::<u64>()));
        ensure!(
            options.replicas == 1 || store.is_some(),
            "several orchestrators need a store that they share"
        );
        let (mut first, api_port, link_port) = start_orchestrator(&options, 0, store.as_deref())?;
        let url = format!("http://127.0.0.1:{api_port}");
        let token_file = data_dir(&options, 0).join("admin-token");
        let admin = until("the orchestrator to answer", START_DEADLINE, async || {
            first.check_alive()?;
            let Ok(token) = std::fs::read_to_string(&token_file) else {
                return Ok(Look::NotYet("it has not written its admin token".to_owned()));
            };
            let client = Client::new(&url, Some(token.trim()), Some(NAMESPACE), None)?;
            Ok(match client.status().await {
                Ok(_) => Look::Holds(client),
                Err(error) => Look::NotYet(error.to_string()),
            })
        })
        .await?;
        let (mut orchestrators, mut urls) = (vec![first], vec![url.clone()]);
        for number in 1..options.replicas {
            let (process, api_port, _) = start_orchestrator(&options, number, store.as_deref())?;
            orchestrators.push(process);
            urls.push(format!("http://127.0.0.1:{api_port}"));
        }
        let (game, environment) = NAMESPACE.split_once('/').expect("a constant with a slash");
        admin.create_namespace(game, environment).await?;
        let studio = client_of(&admin, &url, Role::Deploy).await?;
        let player = client_of(&admin, &url, Role::Client).await?;
        let mut stack = Self {
            orchestrators,
            agent: None,
            edge: None,
            admin,
            studio,
            player,
            options,
            store,
            urls,
            link_port,
            agent_metrics_port: ports::free_tcp()?,
            edge_metrics_port: ports::free_tcp()?,
            edge_port_first: ports::free_range(MOST_EDGES * EDGE_PORTS)?,
            node: None,
            _lock: lock,
        };
        for number in 0..stack.orchestrators.len() {
            stack.wait_for_orchestrator(number).await?;
        }
        Ok(stack)
    }

    /// `client`, but at each of the orchestrators.
    pub fn at_each(&self, client: &Client) -> anyhow::Result<Vec<Client>> {
        self.urls.iter().map(|url| Ok(client.at(url)?)).collect()
    }

    /// Starts the agent, and waits until the node can be used.
    pub async fn start_agent(&mut self) -> anyhow::Result<()> {
        self.launch_agent().await?;
        self.node = Some(self.wait_for_node().await?);
        Ok(())
    }

    /// Starts the agent without waiting for anything.
    pub async fn launch_agent(&mut self) -> anyhow::Result<()> {
        let state_dir = self.options.dir.join("state/agent");
        let config = AgentConfig {
            state_dir: &state_dir,
            region: REGION,
            name: "node-1",
            orchestrator: [format!("127.0.0.1:{}", self.link_port)],
            join_token: self.join_token(JoinRole::Agent).await?,
            tunnel_listen: format!("127.0.0.1:{}", ports::free_udp()?),
            cpu_millis: self.options.cpu_millis,
            docker_socket: self.options.docker_socket.as_deref(),
            metrics: metrics_at(self.agent_metrics_at()),
        };
        self.agent = Some(start_process(&self.options, ("agent", "agent"), &config, None)?);
        Ok(())
    }

    /// Waits until the node is ready; its id.
    pub async fn wait_for_node(&mut self) -> anyhow::Result<String> {
        let (admin, agent) = (&self.admin, &mut self.agent);
        until("the node to be ready", START_DEADLINE, async || {
            agent.as_mut().map_or(Ok(()), Process::check_alive)?;
            let nodes = match admin.nodes(None).await {
                Ok(nodes) => nodes.items,
                Err(error) if error.is_transient() => return Ok(Look::NotYet(error.to_string())),
                Err(error) => return Err(error.into()),
            };
            Ok(match nodes.first() {
                Some(node) if node.state == NodeState::Ready => Look::Holds(node.id.to_string()),
                Some(node) => Look::NotYet(format!("it is {}: {}", node.state.as_str(), node.explanation)),
                None => Look::NotYet("no node has joined".to_owned()),
            })
        })
        .await
    }

    /// Starts the edge, and waits until it is connected and the region is served.
    pub async fn start_edge(&mut self) -> anyhow::Result<()> {
        self.edge = Some(self.launch_edge(1, self.edge_metrics_at()).await?);
        self.wait_for_edge().await
    }

    /// Starts a second edge of the region, and waits until both are connected.
    pub async fn start_second_edge(&mut self) -> anyhow::Result<Process> {
        let metrics = SocketAddrV4::new(Ipv4Addr::LOCALHOST, ports::free_tcp()?);
        let mut second = self.launch_edge(2, metrics).await?;
        let admin = &self.admin;
        until("both edges to be connected", START_DEADLINE, async || {
            second.check_alive()?;
            let edges = admin.edges(None).await?.items;
            let connected = edges.iter().filter(|edge| edge.connected).count();
            Ok(when(connected == 2, || format!("{connected} are")))
        })
        .await?;
        Ok(second)
    }

    async fn launch_edge(&self, number: u16, metrics: SocketAddrV4) -> anyhow::Result<Process> {
        let first = self.edge_port_first + (number - 1) * EDGE_PORTS;
        let program = if number == 1 { "edge".to_owned() } else { format!("edge-{number}") };
        let state_dir = self.options.dir.join("state").join(&program);
        let place = self.options.edge_place.as_ref();
        let loopback = Ipv4Addr::LOCALHOST;
        let orchestrator = place.map_or(loopback, |place| place.orchestrator);
        let config = EdgeConfig {
            state_dir: &state_dir,
            region: REGION,
            name: &format!("edge-{number}"),
            orchestrator: [format!("{orchestrator}:{}", self.link_port)],
            join_token: self.join_token(JoinRole::Edge).await?,
            listen_ip: place.map_or(loopback, |_| Ipv4Addr::UNSPECIFIED),
            public_host: place.map_or(loopback, |place| place.public),
            port_first: first,
            port_last: first + EDGE_PORTS - 1,
            beacon_port: 0,
            udp_idle_timeout_s: EDGE_UDP_IDLE_S,
            max_connections_per_address: EDGE_CONNECTIONS_OF_BOTS,
            metrics: metrics_at(metrics),
        };
        let through = place.map(|place| place.through.clone());
        start_process(&self.options, ("edge", &program), &config, through)
    }

    /// Starts the next edge in the place of the one that runs. Returns the one before, which ends when its last connection
    /// has.
    pub fn replace_edge(&mut self) -> anyhow::Result<Process> {
        let before = self.edge.take().context("an edge runs")?;
        let next = before.start_another(&["--take-over".into(), "true".into()])?;
        self.edge = Some(next);
        Ok(before)
    }

    /// Waits until an edge is connected.
    pub async fn wait_for_edge(&mut self) -> anyhow::Result<()> {
        let (admin, edge) = (&self.admin, &mut self.edge);
        until("the edge to be connected", START_DEADLINE, async || {
            edge.as_mut().map_or(Ok(()), Process::check_alive)?;
            Ok(match admin.edges(None).await {
                Ok(edges) => when(edges.items.iter().any(|edge| edge.connected), || "none is".to_owned()),
                Err(error) if error.is_transient() => Look::NotYet(error.to_string()),
                Err(error) => return Err(error.into()),
            })
        })
        .await
    }

    /// Waits until an orchestrator answers, as after a restart.
    pub async fn wait_for_orchestrator(&mut self, number: usize) -> anyhow::Result<()> {
        let (admin, orchestrator) = (self.admin.at(&self.urls[number])?, &mut self.orchestrators[number]);
        until("the orchestrator to answer", START_DEADLINE, async || {
            orchestrator.check_alive()?;
            Ok(match admin.status().await {
                Ok(_) => Look::Holds(()),
                Err(error) => Look::NotYet(error.to_string()),
            })
        })
        .await
    }

    async fn join_token(&self, role: JoinRole) -> anyhow::Result<String> {
        let request = JoinTokenRequest { role, region: REGION.to_owned(), ttl_s: 600 };
        Ok(self.admin.create_join_token(&request).await?.token)
    }

    /// What the agent shows at `/metrics`.
    pub async fn agent_metrics(&self) -> anyhow::Result<String> {
        scrape(self.agent_metrics_at()).await.context("the agent's metrics")
    }

    /// What the edge shows at `/metrics`.
    pub async fn edge_metrics(&self) -> anyhow::Result<String> {
        scrape(self.edge_metrics_at()).await.context("the edge's metrics")
    }

    fn agent_metrics_at(&self) -> SocketAddrV4 {
        SocketAddrV4::new(Ipv4Addr::LOCALHOST, self.agent_metrics_port)
    }

    fn edge_metrics_at(&self) -> SocketAddrV4 {
        let place = self.options.edge_place.as_ref();
        SocketAddrV4::new(place.map_or(Ipv4Addr::LOCALHOST, |place| place.metrics), self.edge_metrics_port)
    }

    /// The URL of the API.
    pub fn url(&self) -> &str {
        self.admin.url()
    }

    /// Runs `muster store check` on the orchestrator's store, which must not be in use if it is embedded.
    ///
    /// # Errors
    /// What it found, in its words.
    pub async fn check_store(&self) -> anyhow::Result<()> {
        let mut command = tokio::process::Command::new(&self.options.muster);
        command.args(["store", "check", "--data-dir"]).arg(self.options.dir.join("state/orchestrator"));
        command.args(self.store.iter().flat_map(|store| ["--store", store]));
        let output = command.kill_on_drop(true).output().await.context("cannot run `muster store check`")?;
        let said = [output.stdout, output.stderr].concat();
        anyhow::ensure!(
            output.status.success(),
            "the store's records do not agree:\n{}",
            String::from_utf8_lossy(&said)
        );
        Ok(())
    }

    /// Where state and logs are.
    pub fn dir(&self) -> &Path {
        &self.options.dir
    }

    /// Host and port at which agents and edges dial the orchestrator.
    pub fn link_address(&self) -> String {
        format!("127.0.0.1:{}", self.link_port)
    }

    /// Saves `image` from Docker, uploads it, and registers it under `tag` (`name:tag`).
    pub async fn push_image(&self, image: &str, tag: &str) -> anyhow::Result<Build> {
        docker::require_image(image).await?;
        let archive = self.options.dir.join("state/image.tar");
        docker::save(image, &archive).await?;
        let digest = file_digest(&archive).await?;
        self.studio.upload_file(&archive, &digest, |_| {}).await?;
        std::fs::remove_file(&archive)?;
        let request = BuildRequest { digest: Some(digest), reference: None, tags: vec![tag.to_owned()] };
        Ok(self.studio.create_build(&request).await?)
    }

    /// Applies a fleet, and waits until its warm servers are ready.
    pub async fn apply_fleet(&self, spec: &FleetSpec) -> anyhow::Result<Fleet> {
        self.studio.apply_fleet(spec).await?;
        self.wait_for_warm(&spec.name).await
    }

    /// Waits until the fleet `name` has its warm servers ready in all regions.
    pub async fn wait_for_warm(&self, name: &str) -> anyhow::Result<Fleet> {
        until("the fleet to be warm", FLEET_DEADLINE, async || {
            let fleet = match self.studio.fleet(name).await {
                Ok(fleet) => fleet,
                Err(error) if error.is_transient() => return Ok(Look::NotYet(error.to_string())),
                Err(error) => return Err(error.into()),
            };
            let warm = fleet
                .spec
                .regions
                .iter()
                .all(|(region, spec)| fleet.regions.get(region).is_some_and(|is| is.ready >= spec.warm));
            Ok(if warm {
                Look::Holds(fleet)
            } else {
                Look::NotYet(format!("it stands at {:?}, waiting for {:?}", fleet.regions, fleet.waiting_for))
            })
        })
        .await
    }

    /// Applies a queue.
    pub async fn apply_queue(&self, spec: &QueueSpec) -> anyhow::Result<()> {
        self.studio.apply_queue(spec).await?;
        Ok(())
    }

    /// Every server there is or was of a fleet.
    pub async fn servers(&self, fleet: &str) -> anyhow::Result<Vec<Server>> {
        let mut filter = muster_client::ServerFilter { fleet: Some(fleet.to_owned()), ..Default::default() };
        let mut servers = Vec::new();
        loop {
            let page = self.studio.servers(&filter).await?;
            servers.extend(page.items);
            if page.next.is_none() {
                return Ok(servers);
            }
            filter.after = page.next;
        }
    }

    /// Containers of this stack's node, running or not.
    pub async fn containers(&self) -> anyhow::Result<Vec<String>> {
        match &self.node {
            Some(node) => docker::containers(docker::NODE_LABEL, node).await,
            None => Ok(Vec::new()),
        }
    }

    /// The agent's id, once it has joined.
    pub fn node(&self) -> Option<&str> {
        self.node.as_deref()
    }

    /// Stops everything as an operator would: queues, the servers of `fleets`, then the processes.
    ///
    /// # Errors
    /// If a container is left, or a process had to be killed.
    pub async fn stop(mut self, fleets: &[&str]) -> anyhow::Result<()> {
        for queue in self.studio.queues(None).await?.items {
            self.studio.delete_queue(&queue.spec.name).await?;
        }
        for fleet in fleets {
            for server in self.servers(fleet).await? {
                let playing = matches!(server.state, ServerState::Allocated | ServerState::Draining);
                if playing {
                    self.studio.stop_server(&server.id, true).await?;
                }
            }
            self.studio.delete_fleet(fleet).await?;
        }
        until("all containers to be gone", DRAIN_DEADLINE, async || {
            let left = self.containers().await?;
            Ok(when(left.is_empty(), || format!("{} are left", left.len())))
        })
        .await?;
        let machines = [self.edge.as_mut(), self.agent.as_mut()].into_iter().flatten();
        for process in machines.chain(&mut self.orchestrators) {
            process.stop(STOP_GRACE).await?;
        }
        let _ = std::fs::remove_dir_all(self.options.dir.join("state"));
        Ok(())
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        // The agent first: it would start again what is taken from it.
        self.agent = None;
        if let Some(node) = &self.node {
            docker::remove_containers_blocking(node);
        }
    }
}

/// A client with a new token of `role` in the namespace, at `url`.
pub(crate) async fn client_of(admin: &Client, url: &str, role: Role) -> anyhow::Result<Client> {
    let request = ApiTokenRequest {
        role,
        namespace: Some(NAMESPACE.to_owned()),
        name: format!("load test, {}", role.as_str()),
        ttl_s: None,
    };
    let token = admin.create_token(&request).await?.token.context("the new API token has no text")?;
    Ok(Client::new(url, Some(&token), None, None)?)
}

/// Takes the directory for this run; the system gives it back when the process ends, however it does.
fn lock(dir: &Path) -> anyhow::Result<File> {
    std::fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
    let path = dir.join("lock");
    let file = File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            bail!("another run uses {}; wait until it ends, or choose another directory", dir.display())
        }
        Err(TryLockError::Error(error)) => {
            Err(error).with_context(|| format!("cannot lock {}", path.display()))
        }
    }
}

fn data_dir(options: &StackOptions, number: u16) -> PathBuf {
    let suffix = if number == 0 { String::new() } else { format!("-{}", number + 1) };
    options.dir.join(format!("state/orchestrator{suffix}"))
}

/// Starts an orchestrator; with the ports of its API and its links.
fn start_orchestrator(
    options: &StackOptions,
    number: u16,
    store: Option<&str>,
) -> anyhow::Result<(Process, u16, u16)> {
    let data_dir = data_dir(options, number);
    let (api_port, link_port) = (ports::free_tcp()?, ports::free_udp()?);
    let elsewhere = options.edge_place.is_some();
    let link_ip = if elsewhere { Ipv4Addr::UNSPECIFIED } else { Ipv4Addr::LOCALHOST };
    let config = OrchestratorConfig {
        data_dir: &data_dir,
        store,
        session_token_ttl_s: options.session_token_ttl_s,
        api: Api {
            listen: format!("127.0.0.1:{api_port}"),
            tickets_per_s_per_address: 0,
            tickets_per_s_per_token: 0,
            ticket_calls_per_s_per_address: 0,
            ticket_calls_per_s_per_token: 0,
        },
        link: Listen { listen: format!("{link_ip}:{link_port}") },
    };
    let file = data_dir.with_extension("toml");
    write_file(&file, &toml::to_string(&config)?)?;
    let name = data_dir.file_name().expect("it was made of a name").to_string_lossy().into_owned();
    let args: [OsString; 3] = ["orchestrator".into(), "--config".into(), file.into()];
    let log = options.dir.join(format!("{name}.log"));
    Ok((Process::start(&name, &options.muster, &args, &log)?, api_port, link_port))
}

/// Starts `muster COMMAND` under a name, through another program if one is given.
fn start_process(
    options: &StackOptions,
    (command, name): (&str, &str),
    config: &impl Serialize,
    through: Option<(PathBuf, Vec<OsString>)>,
) -> anyhow::Result<Process> {
    let file = options.dir.join(format!("state/{name}.toml"));
    write_file(&file, &toml::to_string(config)?)?;
    let own: [OsString; 3] = [command.into(), "--config".into(), file.into()];
    let (program, args) = match through {
        Some((program, before)) => {
            (program, before.into_iter().chain([options.muster.clone().into()]).chain(own).collect())
        }
        None => (options.muster.clone(), own.to_vec()),
    };
    Process::start(name, &program, &args, &options.dir.join(format!("{name}.log")))
}
