//! One test's node: an agent with a state directory, an orchestrator, a Docker network and image of its
//! own. What it has made in Docker goes when it is dropped, and nothing else.

use std::net::SocketAddr;
use std::process::Command;

use muster_agent::{Agent, Config};
use muster_protocol::agent::{
    BuildRef, PortProtocol, ServerGoal, ServerLimits, ServerPhase, ServerPort, ServerReport, ServerSpec,
};
use muster_protocol::id::{EdgeId, NodeId, ServerId};
use muster_transport::{Identity, Profile, Role, alpn, bind, client_config, dial, server_name};

use crate::authority::Authority;
use crate::game::{self, Build};
use crate::orchestrator::{Orchestrator, PATIENCE};

pub(crate) struct Node {
    pub(crate) authority: Authority,
    pub(crate) config: Config,
    pub(crate) id: NodeId,
    pub(crate) orchestrator: Orchestrator,
    pub(crate) build: Build,
    images: Vec<String>,
    _state: tempfile::TempDir,
}

impl Node {
    /// A node that has joined; its agent is started by [`Node::start`].
    pub(crate) fn new() -> Self {
        let authority = Authority::new();
        let id = NodeId::new();
        let state = tempfile::tempdir().expect("a directory");
        authority.identity(Role::Agent, &id.to_string()).save(state.path()).expect("writes");
        let orchestrator = Orchestrator::start(&authority.identity(Role::Orchestrator, "orchestrator"));
        let config = Config {
            state_dir: state.path().to_owned(),
            region: "test".to_owned(),
            orchestrator: vec![orchestrator.address.to_string()],
            tunnel_listen: "127.0.0.1:0".parse().expect("an address"),
            network: format!("muster-agent-test-{}", id.to_string().trim_start_matches("node_")),
            ..Config::default()
        };
        let build = game::build(&id.to_string());
        orchestrator.offer(&build.reference.digest, build.archive.clone());
        let mut node = Self { authority, config, id, orchestrator, build, images: Vec::new(), _state: state };
        let reference = node.build.reference.clone();
        node.will_load(&reference);
        node
    }

    pub(crate) async fn start(&self) -> Agent {
        muster_agent::start(self.config.clone()).await.expect("starts")
    }

    /// The image of `build` goes with this node.
    pub(crate) fn will_load(&mut self, build: &BuildRef) {
        self.images.push(image(build));
    }

    /// A server of this node's build that behaves as `args` say, with a UDP and a TCP port.
    pub(crate) fn spec(&self, args: &[&str]) -> ServerSpec {
        let port = |name: &str, protocol: PortProtocol, container_port| ServerPort {
            name: name.to_owned(),
            protocol: protocol.into(),
            container_port,
        };
        ServerSpec {
            server_id: ServerId::new().to_string(),
            generation: 1,
            goal: ServerGoal::Run.into(),
            namespace: "arena/test".to_owned(),
            fleet: "duel".to_owned(),
            build: Some(self.build.reference.clone()),
            ports: vec![port("game", PortProtocol::Udp, 7777), port("chat", PortProtocol::Tcp, 7778)],
            args: args.iter().map(|&arg| arg.to_owned()).collect(),
            limits: Some(ServerLimits {
                cpu_millis: 500,
                memory_bytes: 64 << 20,
                pids: 32,
                read_only_root: true,
            }),
            stop_grace_ms: 5_000,
            ready_timeout_ms: 60_000,
            region: "test".to_owned(),
            ..Default::default()
        }
    }

    /// Wants these servers and waits until the last one is ready.
    pub(crate) async fn run(&self, servers: &[ServerSpec]) -> ServerReport {
        self.orchestrator.want(servers.to_vec());
        let mut last = ServerReport::default();
        for server in servers {
            last = self.phase(server, ServerPhase::Ready).await;
        }
        last
    }

    /// Waits until the server is in `phase`.
    pub(crate) async fn phase(&self, server: &ServerSpec, phase: ServerPhase) -> ServerReport {
        self.orchestrator
            .report(&server.server_id, phase.as_str_name(), |report| {
                assert!(
                    report.phase() <= phase || report.phase() == ServerPhase::Stopping,
                    "waiting for {phase:?}: {report:#?}"
                );
                report.phase() == phase
            })
            .await
    }

    /// A connection to the agent's tunnel, as `identity`.
    pub(crate) async fn tunnel_as(
        &self,
        agent: SocketAddr,
        identity: &Identity,
        profile: Profile,
    ) -> quinn::Connection {
        tunnel_to(self.id, agent, identity, profile).await
    }

    /// A connection to the agent's tunnel, as some edge.
    pub(crate) async fn tunnel(&self, agent: &Agent, profile: Profile) -> quinn::Connection {
        let edge = self.authority.identity(Role::Edge, &EdgeId::new().to_string());
        self.tunnel_as(agent.tunnel_address(), &edge, profile).await
    }

    /// This node's containers, running or not.
    pub(crate) fn containers(&self) -> Vec<String> {
        docker(&[
            "ps",
            "--all",
            "--quiet",
            "--no-trunc",
            "--filter",
            &format!("label=muster.node={}", self.id),
        ])
        .lines()
        .map(str::to_owned)
        .collect()
    }

    /// Waits until this node has `count` containers.
    pub(crate) async fn until_containers(&self, count: usize) {
        let began = std::time::Instant::now();
        while self.containers().len() != count {
            assert!(began.elapsed() < PATIENCE, "wanted {count} containers: {:?}", self.containers());
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        for container in self.containers() {
            docker(&["rm", "--force", "--volumes", &container]);
        }
        // The one that plays a foreign container, if a test did not come to its end.
        docker(&["rm", "--force", &self.config.network]);
        docker(&["network", "rm", &self.config.network]);
        for image in &self.images {
            docker(&["image", "rm", "--force", image]);
        }
    }
}

/// A connection to the tunnel of `node`'s agent, as `identity`.
pub(crate) async fn tunnel_to(
    node: NodeId,
    agent: SocketAddr,
    identity: &Identity,
    profile: Profile,
) -> quinn::Connection {
    tunnel_by(node, agent, client_config(identity, alpn::TUNNEL, profile).expect("usable")).await
}

/// A connection to the tunnel of `node`'s agent, made as `config` says.
pub(crate) async fn tunnel_by(
    node: NodeId,
    agent: SocketAddr,
    config: quinn::ClientConfig,
) -> quinn::Connection {
    let endpoint = bind("127.0.0.1:0".parse().expect("an address"), None).expect("a socket");
    let name = server_name(Role::Agent, &node.to_string());
    dial(&endpoint, config, &[agent.to_string()], &name, PATIENCE).await.expect("connects")
}

/// The image of a pushed build in Docker.
pub(crate) fn image(build: &BuildRef) -> String {
    format!("muster/build:{}", &build.digest["sha256:".len()..][..24])
}

/// What the `docker` command answers; nothing if it fails.
pub(crate) fn docker(args: &[&str]) -> String {
    let output =
        Command::new("docker").args(args).output().expect("docker is installed; `make test` sees to it");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}
