//! Getting a connection to one agent, however long it takes.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;
use std::{future, io};

use muster_protocol::id::NodeId;
use muster_transport::{Backoff, DialError, Role, bind, dial_address, dial_each, server_name};
use tokio::sync::watch;
use tracing::{debug, info, warn};

/// How long one address of an agent may take to answer.
pub(crate) const DIAL_TIMEOUT: Duration = Duration::from_secs(2);
/// Waits between attempts. Players wait too, so the cap is low.
const FIRST_WAIT: Duration = Duration::from_millis(50);
const LONGEST_WAIT: Duration = Duration::from_secs(1);
/// Failures in a row that come of an agent's start, and are no operator's concern.
const UNREMARKABLE: u32 = 4;

/// A QUIC endpoint that only dials, to either address family if the machine has both.
pub(crate) fn client_endpoint() -> io::Result<quinn::Endpoint> {
    let any = |ip: IpAddr| SocketAddr::new(ip, 0);
    bind(any(Ipv6Addr::UNSPECIFIED.into()), None).or_else(|_| bind(any(Ipv4Addr::UNSPECIFIED.into()), None))
}

/// A way of connecting.
pub(crate) trait Connect: Send + Sync + 'static {
    /// What comes of it.
    type Connection: Send + 'static;

    /// A connection to `address`, which shows the certificate of `name`, within [`DIAL_TIMEOUT`].
    fn attempt(
        &self,
        address: SocketAddr,
        name: String,
    ) -> impl Future<Output = Result<Self::Connection, DialError>> + Send + 'static;
}

/// Connections of quinn's own making.
pub(crate) struct ByEndpoint {
    pub(crate) endpoint: quinn::Endpoint,
    pub(crate) config: quinn::ClientConfig,
}

impl Connect for ByEndpoint {
    type Connection = quinn::Connection;

    fn attempt(
        &self,
        address: SocketAddr,
        name: String,
    ) -> impl Future<Output = Result<quinn::Connection, DialError>> + Send + 'static {
        let (endpoint, config) = (self.endpoint.clone(), self.config.clone());
        async move { dial_address(&endpoint, config, address, &name, DIAL_TIMEOUT).await }
    }
}

/// Dials one agent.
pub(crate) struct Dialer<C> {
    connect: C,
    node: NodeId,
    addresses: watch::Receiver<Vec<String>>,
    backoff: Backoff,
}

impl<C: Connect> Dialer<C> {
    /// A dialler of `node`'s agent at whatever `addresses` says at the time.
    pub(crate) fn new(connect: C, node: NodeId, addresses: watch::Receiver<Vec<String>>) -> Self {
        Self { connect, node, addresses, backoff: Backoff::new(FIRST_WAIT, LONGEST_WAIT) }
    }

    /// A connection to the agent, which has shown this node's certificate. Tries until there is one.
    pub(crate) async fn connect(&mut self) -> C::Connection {
        let name = server_name(Role::Agent, &self.node.to_string());
        let mut failures = 0_u32;
        loop {
            let addresses = self.addresses.borrow_and_update().clone();
            let attempt = |address| {
                let attempt = self.connect.attempt(address, name.clone());
                async move { attempt.await.map(|connection| (address, connection)) }
            };
            match dial_each(&addresses, attempt).await {
                Ok((address, connection)) => {
                    self.backoff.reset();
                    info!(node = %self.node, %address, "tunnel is up");
                    return connection;
                }
                Err(error) if failures == UNREMARKABLE => {
                    warn!(node = %self.node, %error, "the agent is not reached, and dialled until it is");
                }
                Err(error) => debug!(node = %self.node, %error, "tunnel is not up yet"),
            }
            failures = failures.saturating_add(1);
            let wait = self.backoff.next(rand::random());
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = changed(&mut self.addresses) => {}
            }
        }
    }
}

/// Waits for new addresses; forever once there can be none.
async fn changed(addresses: &mut watch::Receiver<Vec<String>>) {
    if addresses.changed().await.is_err() {
        future::pending::<()>().await;
    }
}
