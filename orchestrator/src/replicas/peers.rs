//! Asking another replica: one connection to each, made when it is first needed.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use muster_engine::WorkerId;
use muster_protocol::peer::{PeerReply, PeerRequest, peer_request::Body};
use muster_store::Database;
use muster_transport::{FrameIoError, FrameReader, FrameWriter, Role};
use quinn::{ClientConfig, Connection, Endpoint};

use crate::state::{self, StateError};

/// How long one address of a replica may take to answer.
const DIAL_TIMEOUT: Duration = Duration::from_secs(3);
/// How long a request may take to be granted.
const REPLY_TIMEOUT: Duration = Duration::from_secs(10);
/// Connections kept; beyond, all are let go and made anew as they are needed.
const MAX_CONNECTIONS: usize = 256;

/// Why another replica did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PeerError {
    /// It has not said where it is, or is gone.
    #[error("the orchestrator {0} that has it is gone; ask again once its machines have dialled another")]
    Unknown(WorkerId),
    /// It does not answer.
    #[error(
        "the orchestrator at {address} does not answer: {why}; check that the orchestrators reach each other's \
         link.advertise"
    )]
    Unreached {
        /// Its link address.
        address: String,
        /// Why.
        why: String,
    },
    /// It refused.
    #[error("{0}")]
    Refused(String),
    /// The store cannot say where it is.
    #[error(transparent)]
    State(#[from] StateError),
}

/// The connections to other replicas.
pub(crate) struct Peers {
    endpoint: Endpoint,
    client: ClientConfig,
    connections: Mutex<HashMap<WorkerId, Connection>>,
}

impl Peers {
    /// None yet; `client` is how this replica dials another, from `endpoint`.
    pub(crate) fn new(endpoint: Endpoint, client: ClientConfig) -> Self {
        Self { endpoint, client, connections: Mutex::default() }
    }

    /// A stream to `replica` on which `body` is granted, with what came behind the grant still unread.
    ///
    /// # Errors
    /// [`PeerError`].
    pub(crate) async fn ask(
        &self,
        db: &Database,
        replica: WorkerId,
        body: Body,
    ) -> Result<(FrameWriter, FrameReader), PeerError> {
        let read = db.read("replica", async |mut tx| state::replicas::peek(&mut tx, replica).await);
        let record = read.await?.ok_or(PeerError::Unknown(replica))?;
        let address = record.link_address;
        let unreached = |why: String| PeerError::Unreached { address: address.clone(), why };
        let connection = self.connection(replica, &address).await?;
        let asked = tokio::time::timeout(REPLY_TIMEOUT, async {
            let (send, receive) = connection.open_bi().await.map_err(|error| error.to_string())?;
            let (mut writer, mut reader) = (FrameWriter::new(send), FrameReader::new(receive));
            let words = |error: FrameIoError| error.to_string();
            writer.send(&PeerRequest { body: Some(body) }).await.map_err(words)?;
            let reply = reader.recv::<PeerReply>().await.map_err(words)?;
            Ok((writer, reader, reply))
        });
        let (writer, reader, reply) = match asked.await {
            Ok(Ok(asked)) => asked,
            Ok(Err(why)) => return Err(unreached(why)),
            Err(_) => return Err(unreached(format!("no reply within {} s", REPLY_TIMEOUT.as_secs()))),
        };
        let reply = reply.ok_or_else(|| unreached("it ended the stream".to_owned()))?;
        match reply.refused {
            None => Ok((writer, reader)),
            Some(refused) => Err(PeerError::Refused(refused.detail)),
        }
    }

    async fn connection(&self, replica: WorkerId, address: &String) -> Result<Connection, PeerError> {
        let known = self.lock().get(&replica).filter(|known| known.close_reason().is_none()).cloned();
        if let Some(connection) = known {
            return Ok(connection);
        }
        let name = muster_transport::server_name(Role::Orchestrator, Role::Orchestrator.as_str());
        let addresses = std::slice::from_ref(address);
        let dialled =
            muster_transport::dial(&self.endpoint, self.client.clone(), addresses, &name, DIAL_TIMEOUT).await;
        let connection = dialled
            .map_err(|error| PeerError::Unreached { address: address.clone(), why: error.to_string() })?;
        let mut connections = self.lock();
        if connections.len() >= MAX_CONNECTIONS {
            connections.clear();
        }
        connections.insert(replica, connection.clone());
        Ok(connection)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<WorkerId, Connection>> {
        // Every change is one call, so a panic elsewhere leaves the map whole.
        self.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
