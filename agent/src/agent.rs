//! Puts the parts together, and takes them apart again.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use muster_protocol::id::NodeId;
use muster_protocol::token::TokenVerifier;
use muster_transport::{
    Backoff, DialError, Identity, IdentityError, JoinError, JoinToken, JoinTokenError, Orchestrators, Role,
    TunnelRate, bind, join,
};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use crate::config::{Config, ConfigError};
use crate::images::Images;
use crate::link::{self, Link, NodeFacts, Reports};
use crate::routes::Routes;
use crate::sdk::{Endpoint, Registry, SdkState};
use crate::state_file::StateDir;
use crate::supervisor::{EngineStatus, EngineWatch, MAX_INPUTS, Parts, Supervisor, WindDown};
use crate::tunnel::{Tunnel, TunnelBindError};
use crate::{addresses, metrics};

/// How long joining goes on while no orchestrator answers: as long as one may take to come up.
const JOIN_PATIENCE: Duration = Duration::from_mins(1);
/// First and longest pause between attempts at joining.
const JOIN_PAUSE: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(3));
/// Time tasks have to end at shutdown.
const SHUTDOWN_PATIENCE: Duration = Duration::from_secs(5);
/// Time servers have to end when all of them are stopped.
const STOP_PATIENCE: Duration = Duration::from_secs(30);

/// Why an agent did not start. Each says what mends it.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration cannot work.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The state directory cannot be used.
    #[error("state directory {path}: {source}; set `state_dir` to one that this user can write")]
    StateDir {
        /// The directory.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// The identity kept in the state directory cannot be used.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The state directory holds the identity of something else.
    #[error(
        "the state directory holds the identity of {id}, which is no agent's; give the agent a `state_dir` of its own"
    )]
    ForeignIdentity {
        /// Whose it is.
        id: String,
    },
    /// There is neither an identity nor a token to get one with.
    #[error(
        "this node has not joined yet and has no `join_token`; make one with `muster token create --join agent --region REGION`"
    )]
    NoJoinToken,
    /// The token is none.
    #[error(transparent)]
    JoinToken(#[from] JoinTokenError),
    /// Joining failed.
    #[error(transparent)]
    Join(#[from] JoinError),
    /// The tunnel cannot listen.
    #[error(transparent)]
    Tunnel(#[from] TunnelBindError),
    /// There is no socket to dial the orchestrator from.
    #[error("no UDP socket for the link: {0}")]
    LinkSocket(std::io::Error),
}

/// A running agent. Dropping it stops it at once, as a crash would; containers go on in any case.
pub struct Agent {
    node: NodeId,
    tunnel: SocketAddr,
    wind_down: WindDown,
    tasks: TaskTracker,
    link: CancellationToken,
    cancel: CancellationToken,
    _stop_on_drop: DropGuard,
}

impl Agent {
    /// This node's id.
    pub fn node_id(&self) -> NodeId {
        self.node
    }

    /// Where the tunnel listens.
    pub fn tunnel_address(&self) -> SocketAddr {
        self.tunnel
    }

    /// Stops every server, each with its grace, and then the agent: for a development stack, which
    /// leaves nothing behind. Servers that take longer than 30 s are left running.
    pub async fn shutdown_and_stop_servers(self) {
        // Without its link nobody wants the servers back.
        self.link.cancel();
        self.wind_down.begin.cancel();
        if tokio::time::timeout(STOP_PATIENCE, self.wind_down.done.cancelled()).await.is_err() {
            tracing::warn!("some servers did not stop in time and are left running");
        }
        self.shutdown().await;
    }

    /// Stops the agent, after what it knows is on disk. Containers go on; the next start adopts them.
    pub async fn shutdown(self) {
        self.cancel.cancel();
        self.tasks.close();
        if tokio::time::timeout(SHUTDOWN_PATIENCE, self.tasks.wait()).await.is_err() {
            tracing::warn!("some of the agent's tasks did not end in time");
        }
    }
}

/// Starts an agent: joins if it has not yet, binds the tunnel, adopts what runs. A missing Docker engine
/// or, once joined, a missing orchestrator are no errors: both are waited for while the rest works.
///
/// # Errors
/// [`StartError`], with what mends it.
pub async fn start(config: Config) -> Result<Agent, StartError> {
    config.validate()?;
    metrics::describe();
    let state = StateDir::open(&config.state_dir)
        .map_err(|source| StartError::StateDir { path: config.state_dir.display().to_string(), source })?;
    let name = if config.name.is_empty() { link::host_name() } else { config.name.clone() };
    let identity = identity(&config, &name).await?;
    let node: NodeId =
        identity.id.parse().map_err(|_| StartError::ForeignIdentity { id: identity.id.clone() })?;

    let routes = Arc::new(Routes::default());
    let tunnel = Tunnel::start(
        config.tunnel_listen,
        &identity,
        TunnelRate::from_mbit(config.tunnel_rate_mbit),
        Arc::clone(&routes),
    )?;
    let tunnel_address = tunnel.address();
    let any = if config.tunnel_listen.is_ipv6() { "[::]:0" } else { "0.0.0.0:0" };
    let link_endpoint =
        bind(any.parse().expect("a literal address"), None).map_err(StartError::LinkSocket)?;
    let facts = NodeFacts {
        region: if identity.region.is_empty() { config.region.clone() } else { identity.region.clone() },
        name,
        tunnel_addresses: if config.tunnel_advertise.is_empty() {
            addresses::advertised(tunnel_address, &config.orchestrator).await
        } else {
            config.tunnel_advertise.clone()
        },
        capacity: link::capacity(&config),
    };

    let (cancel, wind_down) = (CancellationToken::new(), WindDown::default());
    let tasks = TaskTracker::new();
    let (inputs, inbox) = mpsc::channel(MAX_INPUTS);
    let (engine, engine_status) = watch::channel(EngineStatus::Unknown);
    let (containers, container_count) = watch::channel(0);
    let (connection, link_connection) = watch::channel(None);
    let (keys, token_keys) = watch::channel(Arc::new(kept_keys(&state)));
    let reports = Arc::new(Reports::default());
    let registry = Arc::new(Registry::default());
    let images = Arc::new(Images::new(
        state.images(),
        config.image_cache_mib.saturating_mul(1 << 20),
        link_connection,
    ));

    let sdk = Endpoint::new(
        SdkState {
            registry: Arc::clone(&registry),
            keys: token_keys,
            routes: Arc::clone(&routes),
            inputs: inputs.clone(),
        },
        config.sdk_port,
        state.sdk_port(),
        cancel.clone(),
    );
    let supervisor = Supervisor::new(
        Parts {
            state: state.clone(),
            routes,
            reports: Arc::clone(&reports),
            registry: Arc::clone(&registry),
            images,
            engine: engine_status.clone(),
            containers,
            inputs: inputs.clone(),
        },
        tasks.clone(),
        wind_down.clone(),
        cancel.clone(),
    );
    let link = Link {
        facts,
        orchestrators: Orchestrators::new(
            &config.orchestrator,
            &state.load_welcome().orchestrators,
            rand::random(),
        ),
        endpoint: link_endpoint,
        state,
        reports,
        inputs: inputs.clone(),
        engine: engine_status,
        containers: container_count,
        keys,
        connection,
    };
    let watch = EngineWatch {
        config,
        node: identity.id.clone(),
        sdk,
        registry,
        status: engine,
        inputs,
        deaths: Arc::default(),
    };

    tasks.spawn(supervisor.run(inbox));
    tasks.spawn(tunnel.run(cancel.clone()));
    spawn(&tasks, &cancel, watch.run());
    let link_cancel = cancel.child_token();
    spawn(&tasks, &link_cancel, async move {
        if let Err(error) = link.run(identity).await {
            tracing::error!(%error, "this node's certificate cannot be used for the link");
        }
    });
    tracing::info!(%node, tunnel = %tunnel_address, "agent is up");
    let stop_on_drop = cancel.clone().drop_guard();
    Ok(Agent {
        node,
        tunnel: tunnel_address,
        wind_down,
        tasks,
        link: link_cancel,
        cancel,
        _stop_on_drop: stop_on_drop,
    })
}

fn spawn(tasks: &TaskTracker, cancel: &CancellationToken, work: impl Future<Output = ()> + Send + 'static) {
    let cancel = cancel.clone();
    tasks.spawn(async move {
        let _ = cancel.run_until_cancelled(work).await;
    });
}

/// The identity kept in the state directory, or a new one.
async fn identity(config: &Config, name: &str) -> Result<Identity, StartError> {
    if let Some(identity) = Identity::load(&config.state_dir)? {
        if identity.role != Role::Agent {
            return Err(StartError::ForeignIdentity { id: identity.id });
        }
        return Ok(identity);
    }
    let token: JoinToken = config.join_token.as_deref().ok_or(StartError::NoJoinToken)?.parse()?;
    let began = Instant::now();
    let mut backoff = Backoff::new(JOIN_PAUSE.0, JOIN_PAUSE.1);
    let identity = loop {
        match join(&config.orchestrator, &token, Role::Agent, &config.region, name, &[]).await {
            Err(JoinError::Dial(error)) if may_come_up(&error) && began.elapsed() < JOIN_PATIENCE => {
                tracing::warn!(%error, "no orchestrator to join; trying again");
                tokio::time::sleep(backoff.next(rand::random())).await;
            }
            other => break other?,
        }
    };
    identity.save(&config.state_dir)?;
    Ok(identity)
}

/// Whether waiting can help: somebody who answers and is refused by TLS is the wrong one for good.
fn may_come_up(error: &DialError) -> bool {
    match error {
        DialError::Unresolved(_) | DialError::Timeout { .. } => true,
        DialError::Refused { source, .. } => !matches!(
            source,
            quinn::ConnectionError::TransportError(_) | quinn::ConnectionError::ConnectionClosed(_)
        ),
        DialError::NoAddress | DialError::Connect { .. } => false,
    }
}

/// The keys that the last run was told of.
fn kept_keys(state: &StateDir) -> TokenVerifier {
    link::verifier(&state.load_welcome()).unwrap_or_default()
}
