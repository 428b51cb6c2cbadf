//! The link to the orchestrator: dialled for ever, and nothing here stops when it is down.

mod logs;
mod reports;
mod session;
mod usage;

use std::sync::Arc;
use std::time::Duration;

use muster_protocol::agent::NodeCapacity;
use muster_protocol::token::TokenVerifier;
use muster_transport::{
    Backoff, Identity, Orchestrators, Profile, Role, TlsError, alpn, client_config, dial, server_name,
};
use quinn::{Connection, Endpoint};
use tokio::sync::{mpsc, watch};

use crate::metrics;
use crate::reconcile::Input;
use crate::state_file::StateDir;
use crate::supervisor::EngineStatus;

pub(crate) use reports::Reports;
pub(crate) use session::verifier;
pub(crate) use usage::{capacity, host_name};

/// First and longest pause between attempts at dialling.
const PAUSE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(3));
/// Time one address has to answer.
const DIAL_TIMEOUT: Duration = Duration::from_secs(3);

/// What the orchestrator is told of this node once.
#[derive(Clone)]
pub(crate) struct NodeFacts {
    pub(crate) region: String,
    pub(crate) name: String,
    pub(crate) tunnel_addresses: Vec<String>,
    pub(crate) capacity: NodeCapacity,
}

/// The task that holds the link.
pub(crate) struct Link {
    pub(crate) facts: NodeFacts,
    pub(crate) orchestrators: Orchestrators,
    pub(crate) endpoint: Endpoint,
    pub(crate) state: StateDir,
    pub(crate) reports: Arc<Reports>,
    pub(crate) inputs: mpsc::Sender<Input>,
    pub(crate) engine: watch::Receiver<EngineStatus>,
    pub(crate) containers: watch::Receiver<u32>,
    /// The keys the orchestrator last sent.
    pub(crate) keys: watch::Sender<Arc<TokenVerifier>>,
    /// The link while it stands, for image transfers.
    pub(crate) connection: watch::Sender<Option<Connection>>,
}

impl Link {
    /// Runs until dropped.
    pub(crate) async fn run(mut self, identity: Identity) -> Result<(), TlsError> {
        let config = client_config(&identity, alpn::LINK, Profile::Link)?;
        let name = server_name(Role::Orchestrator, "orchestrator");
        let mut backoff = Backoff::new(PAUSE.0, PAUSE.1);
        // So that the first hello knows whether this node can do anything.
        let _ = self.engine.wait_for(|engine| !matches!(engine, EngineStatus::Unknown)).await;
        loop {
            let addresses = self.orchestrators.in_turn();
            match dial(&self.endpoint, config.clone(), &addresses, &name, DIAL_TIMEOUT).await {
                Ok(connection) => {
                    tracing::info!(orchestrator = %connection.remote_address(), "link is up");
                    metrics::link_up(true);
                    self.connection.send_replace(Some(connection.clone()));
                    let ended = session::run(&mut self, &connection, &mut backoff).await;
                    self.connection.send_replace(None);
                    metrics::link_up(false);
                    connection.close(0u8.into(), b"session ended");
                    tracing::warn!(why = %ended, "link is down; servers go on, dialling again");
                }
                Err(error) => tracing::warn!(%error, "no orchestrator reached; dialling again"),
            }
            tokio::time::sleep(backoff.next(rand::random())).await;
        }
    }
}
