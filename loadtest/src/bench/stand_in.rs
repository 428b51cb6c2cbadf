//! Stand-ins for an agent and an edge: they join and speak the link protocols as the real ones do, but
//! run no container and open no port. A server is ready as soon as it is wanted.
//!
//! For benchmarks of the orchestrator alone, with more servers than one machine has room for
//! containers. Tests may stand them beside what they try, and never in its place: what these say is not true.

use std::collections::HashMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::bail;
use muster_client::Client;
use muster_protocol::agent::{
    AgentHello, AgentMessage, DesiredServers, NodeCapacity, NodeUsage, ServerExit, ServerGoal, ServerPhase,
    ServerReport, ServerSpec, ToAgent, agent_message, to_agent,
};
use muster_protocol::api::{
    BuildRequest, FleetSpec, JoinRole, JoinTokenRequest, PortProtocol, PortSpec, RegionSpec, TokenMode,
};
use muster_protocol::edge::{
    EdgeHello, EdgeMessage, EdgeReport, RoutesApplied, ToEdge, edge_message, to_edge,
};
use muster_transport::{
    FrameReader, FrameWriter, Identity, JoinToken, Profile, Role, alpn, bind, client_config, dial, join,
    server_name,
};
use prost::Message;
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinHandle;

use crate::harness::specs::arena_fleet;

/// Tag of the build whose containers are not run.
const BUILD_TAG: &str = "arena:bench";
/// How often a link says that it is there.
const HEARTBEAT: Duration = Duration::from_secs(2);
/// How long the orchestrator may take to answer a dial.
const DIAL_TIMEOUT: Duration = Duration::from_secs(10);
/// Ports the edge says it has; none is opened.
const EDGE_PORTS: std::ops::RangeInclusive<u32> = 10_000..=60_000;
/// What a node says it has: room for as many servers as the orchestrator places on one node.
const CAPACITY: NodeCapacity = NodeCapacity { cpu_millis: 64_000_000, memory_bytes: 1 << 50 };

/// Pause before a link that broke is dialled again.
const REDIAL: Duration = Duration::from_millis(100);
/// Messages of the orchestrator that wait to be answered.
const INBOX: usize = 64;

/// A stand-in; its link ends when this is dropped. A link that breaks is dialled again, as a real machine does.
///
/// It has a runtime of its own, as a machine would: thousands of players in this process must not keep it from
/// its link.
pub struct StandIn {
    life: JoinHandle<()>,
    _runtime: OwnRuntime,
}

impl StandIn {
    /// An error if it ended.
    pub(super) async fn check_alive(&mut self) -> anyhow::Result<()> {
        if !self.life.is_finished() {
            return Ok(());
        }
        (&mut self.life).await?;
        bail!("a stand-in ended")
    }
}

/// A runtime that may be dropped within another.
struct OwnRuntime(Option<Runtime>);

impl OwnRuntime {
    fn new() -> std::io::Result<Self> {
        Ok(Self(Some(Builder::new_multi_thread().worker_threads(1).enable_all().build()?)))
    }

    fn spawn<T: Send + 'static>(&self, task: impl Future<Output = T> + Send + 'static) -> JoinHandle<T> {
        self.0.as_ref().expect("there until it is dropped").spawn(task)
    }
}

impl Drop for OwnRuntime {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            // Waiting for it is not allowed in here, and nothing of it is worth waiting for.
            runtime.shutdown_background();
        }
    }
}

/// What has joined, and can dial.
struct Member {
    runtime: OwnRuntime,
    dialler: Dialler,
}

/// Dials the orchestrator's link.
struct Dialler {
    endpoint: quinn::Endpoint,
    config: quinn::ClientConfig,
    orchestrators: Vec<String>,
}

impl Member {
    /// Joins the orchestrator at `orchestrator` as `role` with a fresh token.
    async fn join(
        admin: &Client,
        orchestrator: &str,
        role: Role,
        region: &str,
        name: &str,
    ) -> anyhow::Result<(Self, Identity)> {
        let join_role = if role == Role::Agent { JoinRole::Agent } else { JoinRole::Edge };
        let request = JoinTokenRequest { role: join_role, region: region.to_owned(), ttl_s: 600 };
        let token: JoinToken = admin.create_join_token(&request).await?.token.parse()?;
        let runtime = OwnRuntime::new()?;
        let orchestrators = vec![orchestrator.to_owned()];
        let (region, name) = (region.to_owned(), name.to_owned());
        let joined = runtime.spawn(async move {
            let identity = join(&orchestrators, &token, role, &region, &name, &[]).await?;
            let endpoint = bind("0.0.0.0:0".parse().expect("a literal address"), None)?;
            let config = client_config(&identity, alpn::LINK, Profile::Link)?;
            anyhow::Ok((Dialler { endpoint, config, orchestrators }, identity))
        });
        let (dialler, identity) = joined.await??;
        Ok((Self { runtime, dialler }, identity))
    }

    /// Lives as `life` says.
    fn live<L: Future<Output = ()> + Send + 'static>(self, life: impl FnOnce(Dialler) -> L) -> StandIn {
        let life = self.runtime.spawn(life(self.dialler));
        StandIn { life, _runtime: self.runtime }
    }
}

impl Dialler {
    async fn dial(&self) -> anyhow::Result<Link> {
        let peer = server_name(Role::Orchestrator, "orchestrator");
        let connection =
            dial(&self.endpoint, self.config.clone(), &self.orchestrators, &peer, DIAL_TIMEOUT).await?;
        let (send, receive) = connection.open_bi().await?;
        Ok(Link {
            reader: FrameReader::new(receive),
            writer: FrameWriter::new(send),
            _connection: connection,
        })
    }
}

struct Link {
    reader: FrameReader,
    writer: FrameWriter,
    /// Closes when the last handle goes.
    _connection: quinn::Connection,
}

impl Link {
    /// Says `hello`, and then what `answer` has to say to each message, and to a heartbeat's time, which is none.
    async fn converse<I, O>(self, hello: O, mut answer: impl FnMut(Option<I>) -> Vec<O>) -> anyhow::Result<()>
    where
        I: Message + Default,
        O: Message,
    {
        let Self { mut reader, mut writer, _connection } = self;
        writer.send(&hello).await?;
        let (messages, mut inbox) = tokio::sync::mpsc::channel(INBOX);
        // Reading on its own: a frame half read must not be dropped for a heartbeat.
        let reading = async move {
            while let Some(message) = reader.recv::<I>().await? {
                if messages.send(message).await.is_err() {
                    break;
                }
            }
            anyhow::Ok(())
        };
        let telling = async move {
            let mut heartbeat = tokio::time::interval(HEARTBEAT);
            loop {
                let message = tokio::select! {
                    _ = heartbeat.tick() => None,
                    message = inbox.recv() => match message {
                        None => return anyhow::Ok(()),
                        message => message,
                    },
                };
                for said in answer(message) {
                    writer.send(&said).await?;
                }
            }
        };
        tokio::select! { read = reading => read, told = telling => told }
    }
}

/// Joins as a node whose tunnel nobody dials: the stand-in edge has no players.
pub(super) async fn agent(
    admin: &Client,
    orchestrator: &str,
    region: &str,
    name: &str,
) -> anyhow::Result<StandIn> {
    let (stand_in, _) = agent_with_tunnel(admin, orchestrator, region, name, "127.0.0.1:9").await?;
    Ok(stand_in)
}

/// Joins as a node that says its tunnel is at `tunnel`; who is to be that tunnel's end needs the identity.
pub async fn agent_with_tunnel(
    admin: &Client,
    orchestrator: &str,
    region: &str,
    name: &str,
    tunnel: &str,
) -> anyhow::Result<(StandIn, Identity)> {
    let (member, identity) = Member::join(admin, orchestrator, Role::Agent, region, name).await?;
    let hello = AgentHello {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        region: region.to_owned(),
        hostname: name.to_owned(),
        tunnel_addresses: vec![tunnel.to_owned()],
        capacity: Some(CAPACITY),
        ..AgentHello::default()
    };
    let stand_in = member.live(|dialler| async move {
        let mut told = Told::default();
        loop {
            let hello = AgentHello { servers: told.all(), ..hello.clone() };
            if let Ok(link) = dialler.dial().await {
                // However it ends, another follows.
                let _ = run_agent(link, hello, &mut told).await;
            }
            tokio::time::sleep(REDIAL).await;
        }
    });
    Ok((stand_in, identity))
}

async fn run_agent(link: Link, hello: AgentHello, told: &mut Told) -> anyhow::Result<()> {
    let says = |body| AgentMessage { body: Some(body) };
    link.converse(says(agent_message::Body::Hello(hello)), |message: Option<ToAgent>| match message {
        None => vec![says(agent_message::Body::Usage(NodeUsage::default()))],
        Some(ToAgent { body: Some(to_agent::Body::Desired(desired)) }) => {
            let reports = told.take(&desired, now_ms()).into_iter();
            reports.map(|report| says(agent_message::Body::Report(report))).collect()
        }
        Some(_) => Vec::new(),
    })
    .await
}

/// What the orchestrator was told of each server last.
#[derive(Default)]
struct Told(HashMap<String, ServerReport>);

impl Told {
    /// All of it, as a new link begins with.
    fn all(&self) -> Vec<ServerReport> {
        self.0.values().cloned().collect()
    }

    /// What to report after the orchestrator said `desired`.
    fn take(&mut self, desired: &DesiredServers, now_ms: u64) -> Vec<ServerReport> {
        for id in &desired.forget {
            self.0.remove(id);
        }
        desired.servers.iter().filter_map(|spec| self.report(spec, now_ms)).collect()
    }

    fn report(&mut self, spec: &ServerSpec, now_ms: u64) -> Option<ServerReport> {
        let phase = if spec.goal() == ServerGoal::Run { ServerPhase::Ready } else { ServerPhase::Exited };
        let known = self.0.get(&spec.server_id);
        if known.is_some_and(|known| known.generation == spec.generation && known.phase() == phase) {
            return None;
        }
        let ended = phase == ServerPhase::Exited;
        let report = ServerReport {
            server_id: spec.server_id.clone(),
            generation: spec.generation,
            phase: phase.into(),
            container_id: "none".to_owned(),
            pulling_at_ms: now_ms,
            starting_at_ms: now_ms,
            running_at_ms: now_ms,
            ready_at_ms: now_ms,
            ended_at_ms: if ended { now_ms } else { 0 },
            exit: ended.then(ServerExit::default),
            ..ServerReport::default()
        };
        self.0.insert(spec.server_id.clone(), report.clone());
        Some(report)
    }
}

/// Joins as an edge.
pub(super) async fn edge(
    admin: &Client,
    orchestrator: &str,
    region: &str,
    name: &str,
) -> anyhow::Result<StandIn> {
    let (member, _) = Member::join(admin, orchestrator, Role::Edge, region, name).await?;
    let hello = EdgeHello {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        region: region.to_owned(),
        hostname: name.to_owned(),
        public_host: "127.0.0.1".to_owned(),
        port_first: *EDGE_PORTS.start(),
        port_last: *EDGE_PORTS.end(),
        beacon_port: 9,
        tls_certificate_given: false,
    };
    Ok(member.live(|dialler| async move {
        loop {
            if let Ok(link) = dialler.dial().await {
                let _ = run_edge(link, hello.clone()).await;
            }
            tokio::time::sleep(REDIAL).await;
        }
    }))
}

async fn run_edge(link: Link, hello: EdgeHello) -> anyhow::Result<()> {
    let says = |body| EdgeMessage { body: Some(body) };
    link.converse(says(edge_message::Body::Hello(hello)), |message: Option<ToEdge>| match message {
        None => vec![says(edge_message::Body::Report(EdgeReport::default()))],
        Some(ToEdge { body: Some(to_edge::Body::Routes(table)) }) => {
            let (revision, failures) = (table.revision, Vec::new());
            vec![says(edge_message::Body::Applied(RoutesApplied { revision, failures }))]
        }
        Some(_) => Vec::new(),
    })
    .await
}

/// The build whose containers are not run.
pub fn build() -> BuildRequest {
    BuildRequest {
        digest: None,
        reference: Some("bench.example/arena:1".to_owned()),
        tags: vec![BUILD_TAG.to_owned()],
    }
}

/// A fleet of that build with one port, of so many servers in each of `regions`, at least one.
pub fn fleet(name: &str, regions: &[&str], warm: u32, max: u32) -> FleetSpec {
    let mut spec = arena_fleet(name, BUILD_TAG, regions[0], warm, max);
    spec.ports = vec![PortSpec {
        name: "game-udp".to_owned(),
        protocol: PortProtocol::Udp,
        port: 7777,
        token: TokenMode::Preface,
        tls: false,
        proxy_protocol: false,
    }];
    spec.regions = regions.iter().map(|region| ((*region).to_owned(), RegionSpec { warm, max })).collect();
    // Nobody plays here: without this the claimed servers would be taken for deserted.
    spec.timeouts.idle_s = 0;
    spec
}

fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(id: &str, generation: u64, goal: ServerGoal) -> ServerSpec {
        ServerSpec { server_id: id.into(), generation, goal: goal.into(), ..ServerSpec::default() }
    }

    #[test]
    fn a_server_is_ready_when_wanted_and_over_when_not_and_each_is_said_once() {
        let mut told = Told::default();
        let want = |servers: Vec<ServerSpec>| DesiredServers { full: false, servers, forget: Vec::new() };
        let phases = |reports: Vec<ServerReport>| reports.iter().map(ServerReport::phase).collect::<Vec<_>>();
        let run = want(vec![spec("a", 1, ServerGoal::Run)]);
        assert_eq!(phases(told.take(&run, 5)), [ServerPhase::Ready]);
        assert_eq!(phases(told.take(&run, 6)), []);
        // A claim counts the generation up; the agent answers for the new one.
        assert_eq!(phases(told.take(&want(vec![spec("a", 2, ServerGoal::Run)]), 7)), [ServerPhase::Ready]);
        assert_eq!(phases(told.take(&want(vec![spec("a", 3, ServerGoal::Stop)]), 8)), [ServerPhase::Exited]);
    }
}
