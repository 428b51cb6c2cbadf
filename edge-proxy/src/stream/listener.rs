//! Accepting connections of one TCP or WebSocket port, within its bounds.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, warn};

use super::connection::serve;
use super::limits::{ConnectionLimits, MAX_HANDSHAKES_PER_PORT};
use crate::drops::DropReason;
use crate::limits::Guard;
use crate::metrics::{Metrics, Standing};
use crate::routes::Route;
use crate::sockets::tune_connection;
use crate::tls::PlayerTls;
use crate::traffic::Counters;
use crate::trust::Trust;
use crate::tunnel::StreamTunnels;

/// Pause after accepting failed, as it does when the process is out of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What all ports share.
pub(crate) struct StreamSetup {
    /// Tunnel streams to agents.
    pub(crate) tunnels: Arc<StreamTunnels>,
    /// Keys of tokens.
    pub(crate) trust: Arc<ArcSwap<Trust>>,
    /// Bounds on connections.
    pub(crate) limits: ConnectionLimits,
    /// What sources may begin. Touched once per connection.
    pub(crate) guard: Mutex<Guard>,
    /// For ports with TLS.
    pub(crate) tls: PlayerTls,
    /// Longest payload of a client's WebSocket frame, in bytes.
    pub(crate) max_frame_bytes: u64,
    /// How long a connection lives without a byte either way.
    pub(crate) idle: Duration,
    /// What is counted.
    pub(crate) metrics: Metrics,
    /// All connections, to be waited for at the end.
    pub(crate) connections: TaskTracker,
}

/// An open TCP or WebSocket port.
pub(crate) struct StreamListener {
    stop: CancellationToken,
    accepting: JoinHandle<()>,
}

impl StreamListener {
    /// Serves `route` on `listener`.
    ///
    /// # Errors
    /// What the system says of the socket.
    pub(crate) fn start(
        setup: &Arc<StreamSetup>,
        route: Arc<Route>,
        counters: Arc<Counters>,
        listener: std::net::TcpListener,
    ) -> io::Result<Self> {
        let listener = TcpListener::from_std(listener)?;
        let stop = CancellationToken::new();
        let port = Port {
            setup: setup.clone(),
            places: Arc::new(Semaphore::new(setup.limits.per_port())),
            handshakes: Arc::new(Semaphore::new(MAX_HANDSHAKES_PER_PORT)),
            route,
            counters,
            stop: stop.clone(),
        };
        let accepting = tokio::spawn(async move {
            port.stop.run_until_cancelled(port.accept(&listener)).await;
        });
        Ok(Self { stop, accepting })
    }

    /// Ends the port and its connections; when this returns, its socket is closed.
    pub(crate) async fn close(self) {
        self.stop.cancel();
        if self.accepting.await.is_err() {
            warn!("a TCP listener had ended by a panic");
        }
    }
}

struct Port {
    setup: Arc<StreamSetup>,
    places: Arc<Semaphore>,
    handshakes: Arc<Semaphore>,
    route: Arc<Route>,
    counters: Arc<Counters>,
    stop: CancellationToken,
}

impl Port {
    async fn accept(&self, listener: &TcpListener) {
        loop {
            match listener.accept().await {
                Ok((stream, client)) => self.admit(stream, client),
                Err(error) => {
                    warn!(route = %self.route.key, %error, "accepting failed");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    /// Starts serving one connection, or closes it if a bound is reached.
    fn admit(&self, stream: TcpStream, client: SocketAddr) {
        let within = {
            let mut guard = self.setup.guard.lock().unwrap_or_else(PoisonError::into_inner);
            guard.new_flow(Instant::now(), client.ip(), None, self.route.server)
        };
        if let Err(reason) = within {
            self.setup.metrics.drop(reason);
            return;
        }
        let place = self.places.clone().try_acquire_owned();
        let (Ok(place), Some(permit)) = (place, self.setup.limits.admit(client.ip())) else {
            self.setup.metrics.drop(DropReason::ConnectionLimit);
            return;
        };
        let handshake = self.handshakes.clone().try_acquire_owned().ok();
        let Some(handshake) = handshake.and_then(|place| self.setup.limits.handshake(client.ip(), place))
        else {
            self.setup.metrics.drop(DropReason::HandshakeLimit);
            return;
        };
        tune_connection(&stream);
        let (setup, route, counters) = (self.setup.clone(), self.route.clone(), self.counters.clone());
        let stop = self.stop.clone();
        self.setup.connections.spawn(async move {
            let _bounds = (place, permit);
            let _standing = Standing::new(&setup.metrics.connections);
            counters.flow_opened();
            let serving = serve(&setup, &route, &counters, stream, client, handshake);
            match stop.run_until_cancelled(serving).await {
                Some(Ok(())) => {}
                Some(Err(ended)) => {
                    if let Some(reason) = ended.drop_reason() {
                        setup.metrics.drop(reason);
                    }
                    debug!(route = %route.key, %client, %ended, "connection ended");
                }
                None => debug!(route = %route.key, %client, "connection ended with its route"),
            }
            counters.flow_closed();
        });
    }
}
