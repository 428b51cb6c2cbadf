//! Accepting connections of one TCP or WebSocket port, within its bounds.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, warn};

use super::connection::serve;
use super::limits::{ConnectionLimits, MAX_HANDSHAKES_PER_PORT};
use super::proof::Proofs;
use super::throttle::Throttle;
use crate::drops::DropReason;
use crate::metrics::{Metrics, Standing};
use crate::routes::Route;
use crate::sockets::tune_connection;
use crate::tls::PlayerTls;
use crate::traffic::Counters;
use crate::tunnel::StreamTunnels;

/// Pause after accepting failed, as it does when the process is out of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What all ports share.
pub(crate) struct StreamSetup {
    /// Tunnel streams to agents.
    pub(crate) tunnels: Arc<StreamTunnels>,
    /// What tokens are checked by.
    pub(crate) proofs: Proofs,
    /// Bounds on connections.
    pub(crate) limits: ConnectionLimits,
    /// What the operator lets clients begin and send.
    pub(crate) throttle: Throttle,
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
    port: Arc<Port>,
    socket: State,
}

/// What becomes of those who knock.
enum State {
    /// They are taken in.
    Accepting { stop: CancellationToken, task: JoinHandle<TcpListener> },
    /// They wait in the socket.
    Paused(std::net::TcpListener),
    /// Another edge has the socket.
    Released,
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
        let port = Arc::new(Port {
            setup: setup.clone(),
            places: Arc::new(Semaphore::new(setup.limits.per_port())),
            handshakes: Arc::new(Semaphore::new(MAX_HANDSHAKES_PER_PORT)),
            route,
            counters,
            stop: CancellationToken::new(),
        });
        Ok(Self { socket: State::accept(&port, listener)?, port })
    }

    /// Ends the port and its connections; when this returns, its socket is closed.
    pub(crate) async fn close(self) {
        self.port.stop.cancel();
        self.socket.stop().await;
    }

    /// Takes nobody in until [`StreamListener::resume`]; connections go on. Returns the socket once more.
    ///
    /// # Errors
    /// What the system says of the socket.
    pub(crate) async fn pause(&mut self) -> io::Result<std::net::TcpListener> {
        let listener = std::mem::replace(&mut self.socket, State::Released).stop().await;
        let listener = listener.ok_or_else(|| io::Error::other("the port has ended"))?;
        let another = listener.try_clone();
        self.socket = State::Paused(listener);
        another
    }

    /// Goes on after [`StreamListener::pause`].
    pub(crate) fn resume(&mut self) {
        let State::Paused(listener) = std::mem::replace(&mut self.socket, State::Released) else { return };
        match State::accept(&self.port, listener) {
            Ok(accepting) => self.socket = accepting,
            Err(error) => warn!(route = %self.port.route.key, %error, "the port takes nobody in any more"),
        }
    }

    /// Leaves the socket to another edge for good; connections go on.
    pub(crate) fn release(&mut self) {
        self.socket = State::Released;
    }
}

impl State {
    fn accept(port: &Arc<Port>, listener: std::net::TcpListener) -> io::Result<Self> {
        let listener = TcpListener::from_std(listener)?;
        let stop = port.stop.child_token();
        let (port, until) = (port.clone(), stop.clone());
        let task = tokio::spawn(async move {
            until.run_until_cancelled(port.accept(&listener)).await;
            listener
        });
        Ok(Self::Accepting { stop, task })
    }

    /// Takes nobody in any more. Returns the socket, unless another edge has it or it is lost.
    async fn stop(self) -> Option<std::net::TcpListener> {
        match self {
            Self::Accepting { stop, task } => {
                stop.cancel();
                let listener =
                    task.await.inspect_err(|_| warn!("a TCP listener had ended by a panic")).ok()?;
                listener.into_std().ok()
            }
            Self::Paused(listener) => Some(listener),
            Self::Released => None,
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

    fn drop(&self, reason: DropReason) {
        self.setup.metrics.drop(reason);
        self.counters.dropped(reason);
    }

    /// Starts serving one connection, or closes it if a bound is reached.
    fn admit(&self, stream: TcpStream, client: SocketAddr) {
        if let Err(reason) = self.setup.throttle.newcomer(Instant::now(), client.ip()) {
            self.drop(reason);
            return;
        }
        let place = self.places.clone().try_acquire_owned();
        let (Ok(place), Some(permit)) = (place, self.setup.limits.admit(client.ip())) else {
            self.drop(DropReason::ConnectionLimit);
            return;
        };
        let handshake = self.handshakes.clone().try_acquire_owned().ok();
        let Some(handshake) = handshake.and_then(|place| self.setup.limits.handshake(client.ip(), place))
        else {
            self.drop(DropReason::HandshakeLimit);
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
                        counters.dropped(reason);
                    }
                    debug!(route = %route.key, %client, %ended, "connection ended");
                }
                None => debug!(route = %route.key, %client, "connection ended with its route"),
            }
            counters.flow_closed();
        });
    }
}
