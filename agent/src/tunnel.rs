//! The agent's end of the tunnel: what edges send for this node's servers, and what servers answer.
//!
//! Edges dial, with a certificate of their role; a UDP packet is a DATAGRAM frame, a TCP or WebSocket
//! connection a stream. Who may play is the edge's to know: here a packet is only put where it belongs.
//! Packets have a thread of their own (`worker`); streams run beside everything else that the agent does.

mod alone;
mod flow;
mod flows;
mod socket;
mod streams;
mod to_edge;
mod worker;

use std::net::SocketAddr;
use std::sync::Arc;
use std::thread;

use muster_transport::{Identity, TlsError};
use tokio::runtime::{Builder, Handle, LocalOptions};
use tokio::sync::oneshot;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::metrics::TunnelMetrics;
use crate::routes::Routes;
pub use alone::TunnelAlone;
use worker::Setup;

/// The tunnel's listening end, as the rest of the agent sees it. Dropping it ends it.
pub(crate) struct Tunnel {
    address: SocketAddr,
    stop: DropGuard,
    ended: oneshot::Receiver<()>,
}

/// Why the tunnel cannot listen.
#[derive(Debug, thiserror::Error)]
pub enum TunnelBindError {
    /// The certificate cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The address cannot be had.
    #[error(
        "the tunnel cannot listen on UDP {address}: {source}; free the port or set another `tunnel_listen`"
    )]
    Bind {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// There is no thread for it.
    #[error("no thread for the tunnel: {0}; raise the limits on this user's threads and open files")]
    Thread(std::io::Error),
}

impl Tunnel {
    /// Takes edges in on `address` from now on. Streams are served on the runtime that this is called within.
    pub(crate) async fn start(
        address: SocketAddr,
        identity: Identity,
        routes: Arc<Routes>,
    ) -> Result<Self, TunnelBindError> {
        let metrics = Arc::new(TunnelMetrics::new());
        let setup = Setup { address, identity, routes, metrics, ordinary: Handle::current() };
        let (started, ready) = oneshot::channel();
        let (ending, ended) = oneshot::channel();
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let work = move || {
            let runtime = Builder::new_current_thread().enable_all().build_local(LocalOptions::default());
            // That nobody waits any more is fine, here and below: both are told by `stop`.
            match runtime {
                Ok(runtime) => runtime.block_on(worker::run(setup, started, stopped)),
                Err(error) => {
                    let _ = started.send(Err(TunnelBindError::Thread(error)));
                }
            }
            let _ = ending.send(());
        };
        thread::Builder::new().name("agent-udp".to_owned()).spawn(work).map_err(TunnelBindError::Thread)?;
        let gone = || TunnelBindError::Thread(std::io::Error::other("it ended before it began"));
        let address = ready.await.map_err(|_| gone())??;
        Ok(Self { address, stop: stop.drop_guard(), ended })
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Lasts until `cancel`, and until edges have been told and the socket is closed.
    pub(crate) async fn run(mut self, cancel: CancellationToken) {
        let early = cancel.run_until_cancelled(&mut self.ended).await;
        let ended = if let Some(ended) = early {
            tracing::error!("the thread of players' packets ended by itself; restart the agent");
            ended
        } else {
            drop(self.stop);
            self.ended.await
        };
        if ended.is_err() {
            tracing::error!("the thread of players' packets ended by a panic; restart the agent");
        }
    }
}
