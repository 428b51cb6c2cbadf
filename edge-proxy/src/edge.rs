//! Putting an edge together, and taking it apart.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use muster_protocol::edge::{EdgeHello, EdgeReport};
use muster_transport::{
    Identity, IdentityError, JoinError, JoinToken, JoinTokenError, Orchestrators, Profile, Role, TunnelRate,
    alpn, client_config, join,
};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

use crate::beacon::Beacon;
use crate::config::{Config, ConfigError};
use crate::handover::{Before, Door, HandoverError, Successor};
use crate::limits::{CurrentLimits, Sources};
use crate::link::{Link, REPORT_EVERY};
use crate::listeners::Listeners;
use crate::metrics::{self, Metrics};
use crate::serving::{Serving, ServingSetup};
use crate::sockets::{BindError, bind_udp};
use crate::state_lock::{StateLock, StateLockError};
use crate::stream::{ConnectionLimits, Proofs, StreamSetup, Throttle};
use crate::tls::{PlayerTls, TlsError};
use crate::traffic::Traffic;
use crate::trust::Trust;
use crate::tunnel::{StreamTunnels, client_endpoint};
use crate::udp::{UdpWorkers, WorkerSetup};

/// How long ending connections get to say so.
const FAREWELL: Duration = Duration::from_millis(200);

/// Why an edge does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration contradicts itself.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The state directory cannot be had.
    #[error(transparent)]
    StateDir(#[from] StateLockError),
    /// The identity on disk cannot be used.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The identity on disk is another kind of process's.
    #[error("{0} holds the identity of an {1}; give the edge a state_dir of its own")]
    ForeignIdentity(String, Role),
    /// There is no identity, and nothing to get one with.
    #[error(
        "this edge has not joined yet; make a token with `muster token create --join edge --region {0}` and set \
         join_token in the edge's configuration"
    )]
    NoJoinToken(String),
    /// `join_token` is none.
    #[error("join_token: {0}")]
    JoinToken(#[from] JoinTokenError),
    /// The orchestrator did not take it in.
    #[error(transparent)]
    Join(#[from] JoinError),
    /// The identity's TLS cannot be set up.
    #[error("the edge's identity is not usable: {0}; remove it from state_dir and join again")]
    IdentityTls(#[from] muster_transport::TlsError),
    /// Players' TLS cannot be set up.
    #[error("{0}")]
    PlayerTls(String),
    /// The edge that runs in the state directory handed nothing over.
    #[error(transparent)]
    Handover(#[from] HandoverError),
    /// The beacon's port cannot be had.
    #[error("the latency beacon cannot listen: {0} (key: beacon_port)")]
    Beacon(String),
    /// The system gives no socket or thread.
    #[error("the system gives no socket or thread: {0}")]
    Io(#[from] io::Error),
}

impl From<TlsError> for StartError {
    fn from(error: TlsError) -> Self {
        Self::PlayerTls(error.to_string())
    }
}

impl From<BindError> for StartError {
    fn from(error: BindError) -> Self {
        Self::Beacon(error.to_string())
    }
}

/// A running edge. Dropping it does not end it; [`Edge::shutdown`] does.
pub struct Edge {
    id: String,
    config: Config,
    // Until another edge has it.
    beacon: Option<UdpSocket>,
    beacon_address: SocketAddr,
    traffic: Arc<Traffic>,
    metrics: Metrics,
    stop: CancellationToken,
    tasks: TaskTracker,
    serving: Serving,
    endpoint: quinn::Endpoint,
    // Hears of those who play through the edge before, until the end.
    _before: DropGuard,
    // The edge that has taken over.
    successor: Option<Successor>,
    // Until another edge has it.
    lock: Option<StateLock>,
}

/// Starts an edge: joins if it never has, serves the routes of its last run if there are any, and keeps a
/// link to the orchestrator from then on. Returns once the beacon answers; the link may come later. With `take_over` it
/// goes on with sockets and players of the edge that runs in its state directory.
///
/// # Errors
/// [`StartError`], which names what to mend.
pub async fn start(config: Config) -> Result<Edge, StartError> {
    config.validate()?;
    metrics::describe();
    let mut before = if config.take_over { Before::find(&config.state_dir).await? } else { None };
    // The edge before has it until we serve.
    let own_lock = if before.is_none() { Some(StateLock::take(&config.state_dir)?) } else { None };
    let identity = identity(&config).await?;
    metrics::introduce(&identity.id, &identity.region);
    let metrics = Metrics::new();
    let trust = Arc::new(ArcSwap::from_pointee(Trust::default()));
    let traffic = Arc::new(Traffic::new(metrics.counts()));
    let limits = CurrentLimits::default();
    // Said early where it can be; the edge before has the port as long as it has not handed it over.
    let own_beacon = if before.is_none() { Some(bind_beacon(&config, None)?) } else { None };
    let endpoint = client_endpoint()?;
    let mut datagrams = client_config(&identity, alpn::TUNNEL, Profile::TunnelDatagrams)?;
    let rate = TunnelRate::from_mbit(config.tunnel_rate_mbit);
    datagrams.transport_config(Profile::TunnelDatagrams.transport(rate));
    let worker = WorkerSetup {
        number: 0,
        pin: config.pin_udp_workers,
        client: datagrams,
        trust: trust.clone(),
        kept: PathBuf::new(),
        room: (config.max_flows as usize).into(),
        idle: config.udp_idle(),
        limits: limits.shared(),
        sources: Sources::new(Instant::now()),
        traffic: traffic.clone(),
        metrics: metrics.clone(),
    };
    let udp = UdpWorkers::start(config.state_dir.clone(), config.udp_workers(), worker)?;
    let tls = PlayerTls::new(&config, &identity)?;
    let streams = Arc::new(StreamSetup {
        tunnels: StreamTunnels::new(
            endpoint.clone(),
            client_config(&identity, alpn::TUNNEL, Profile::TunnelStreams)?,
            metrics.clone(),
        ),
        proofs: Proofs::new(trust.clone(), Instant::now()),
        throttle: Throttle::new(limits.clone(), Instant::now()),
        limits: ConnectionLimits::new(
            config.max_connections_per_port as usize,
            config.max_connections_per_address as usize,
        ),
        tls: tls.clone(),
        max_frame_bytes: u64::from(config.max_websocket_frame_bytes),
        idle: config.stream_idle(),
        metrics: metrics.clone(),
        connections: TaskTracker::new(),
    });
    let setup = ServingSetup {
        state_dir: config.state_dir.clone(),
        ports: config.port_first..=config.port_last,
        listeners: Listeners::new(config.listen_ip, udp, streams, traffic.clone()),
        trust,
        limits: limits.clone(),
        metrics: metrics.clone(),
    };
    let (serving, handed_beacon) = Serving::start(setup, before.as_mut()).await?;
    let beacon = match own_beacon.map_or_else(|| bind_beacon(&config, handed_beacon), Ok) {
        Ok(beacon) => beacon,
        Err(error) => {
            serving.shutdown().await;
            return Err(error.into());
        }
    };
    if let Some(before) = &mut before
        && let Err(error) = before.serving().await
    {
        serving.shutdown().await;
        return Err(error.into());
    }
    let lock = own_lock.or_else(|| retake(&config));
    let answering = Beacon::new(beacon.try_clone()?, limits.shared(), metrics.clone())?;
    let beacon_address = answering.local_addr()?;

    let link = Link {
        endpoint: endpoint.clone(),
        client: client_config(&identity, alpn::LINK, Profile::Link)?,
        orchestrators: Orchestrators::new(
            &config.orchestrator,
            &crate::saved::orchestrators(&config.state_dir),
            rand::random(),
        ),
        hello: hello(&config, beacon_address),
        serving: serving.link(),
        traffic: traffic.clone(),
        metrics: metrics.clone(),
    };
    let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
    tasks.spawn(stop.clone().run_until_cancelled_owned(link.run()));
    tasks.spawn(stop.clone().run_until_cancelled_owned(answering.run()));
    tasks.spawn(stop.clone().run_until_cancelled_owned(tls.follow_files(config.clone())));
    // Beyond the time at which this edge is taken over: it goes on to report them, too.
    let hearing = CancellationToken::new();
    if let Some(before) = before {
        tokio::spawn(hearing.clone().run_until_cancelled_owned(hear_reports(before, traffic.clone())));
    }
    tasks.close();
    info!(edge = identity.id, region = identity.region, beacon = %beacon_address, "edge is up");
    Ok(Edge {
        id: identity.id,
        config,
        beacon: Some(beacon),
        beacon_address,
        traffic,
        metrics,
        stop,
        tasks,
        serving,
        endpoint,
        _before: hearing.drop_guard(),
        successor: None,
        lock,
    })
}

/// The state directory, after another edge has let it go. Without it an edge serves all the same.
fn retake(config: &Config) -> Option<StateLock> {
    let lock = StateLock::take(&config.state_dir);
    lock.inspect_err(|error| warn!(%error, "nothing keeps another edge from starting in the same place")).ok()
}

/// The beacon's socket: `handed` if it is the one that is to be.
fn bind_beacon(config: &Config, handed: Option<UdpSocket>) -> Result<UdpSocket, BindError> {
    let address = SocketAddr::new(config.listen_ip, config.beacon_port);
    let is_that = |socket: &UdpSocket| {
        let local = socket.local_addr().ok();
        local.is_some_and(|local| local.ip() == address.ip() && [0, local.port()].contains(&address.port()))
    };
    handed.filter(is_that).map_or_else(|| bind_udp(address), Ok)
}

/// Counts those who still play through the edge before, until nobody does.
async fn hear_reports(mut before: Before, traffic: Arc<Traffic>) {
    while let Some(report) = before.report().await {
        traffic.note_before(report);
    }
    traffic.note_before(EdgeReport::default());
    info!("nobody plays through the edge before any more");
}

/// Tells the `next` edge who still plays here, until it is gone.
async fn tell_until_gone(mut next: Successor, traffic: &Traffic) {
    let mut report = tokio::time::interval(REPORT_EVERY);
    loop {
        tokio::select! {
            _ = report.tick() => {
                if next.report(traffic.report()).await.is_err() {
                    return;
                }
            }
            () = next.gone() => return,
        }
    }
}

impl Edge {
    /// The edge's id, `edge_…`.
    pub fn edge_id(&self) -> &str {
        &self.id
    }

    /// Where the latency beacon listens.
    pub fn beacon_address(&self) -> SocketAddr {
        self.beacon_address
    }

    /// Tells the installed recorder what was counted since this was last called: to be called whenever its metrics
    /// are about to be shown.
    pub fn count_teller(&self) -> impl Fn() + Clone + Send + Sync + 'static {
        let metrics = self.metrics.clone();
        move || metrics.tell_counts()
    }

    /// Waits until another edge has taken over in this one's place; forever if none does. After that nothing new is
    /// taken in here: call [`Edge::drain`], and [`Edge::shutdown`] then.
    pub async fn handed_over(&mut self) {
        let door = match Door::open(&self.config.state_dir) {
            Ok(door) => door,
            Err(error) => {
                warn!(%error, "no other edge can take over from this one; an upgrade has to restart it");
                return std::future::pending().await;
            }
        };
        loop {
            let mut successor = door.asked().await;
            let Some(mut standstill) = self.serving.freeze().await else {
                return std::future::pending().await;
            };
            standstill.handed.beacon = self.beacon.as_ref().and_then(|beacon| beacon.try_clone().ok());
            let given = match successor.give(&standstill.handed).await {
                Ok(()) => {
                    self.lock = None;
                    successor.release().await
                }
                Err(error) => Err(error),
            };
            match given {
                Ok(()) => {
                    standstill.release();
                    // Link, beacon and certificates are the next edge's.
                    self.stop.cancel();
                    self.beacon = None;
                    self.successor = Some(successor);
                    info!("another edge has taken over");
                    return;
                }
                Err(error) => {
                    self.lock = self.lock.take().or_else(|| retake(&self.config));
                    warn!(%error, "the other edge did not take over; this one goes on");
                }
            }
        }
    }

    /// After [`Edge::handed_over`]: goes on with the connections that stand until the last has ended, or
    /// `drain_timeout_s` has passed. Tells the next edge of them for as long as that is there.
    pub async fn drain(&mut self) {
        let (successor, traffic) = (self.successor.take(), self.traffic.clone());
        let alone = CancellationToken::new();
        let reporting = async {
            if let Some(next) = successor {
                tell_until_gone(next, &traffic).await;
                alone.cancel();
            }
            std::future::pending::<()>().await;
        };
        let (longest, idle) = (self.config.drain_timeout(), self.config.udp_idle());
        let drained = self.serving.drained(longest, idle, alone.cancelled());
        tokio::select! {
            () = reporting => {}
            () = drained => {}
        }
    }

    /// Closes everything and returns when it is closed. UDP flows stand at the agents, so that players who
    /// go on sending find their place again when the edge is back.
    pub async fn shutdown(self) {
        self.stop.cancel();
        self.tasks.wait().await;
        self.serving.shutdown().await;
        self.endpoint.close(0u32.into(), b"edge is shutting down");
        // Peers that do not hear it notice by themselves.
        let _ = tokio::time::timeout(FAREWELL, self.endpoint.wait_idle()).await;
    }
}

/// The identity on disk, or a new one from the orchestrator.
async fn identity(config: &Config) -> Result<Identity, StartError> {
    if let Some(identity) = Identity::load(&config.state_dir)? {
        if identity.role != Role::Edge {
            return Err(StartError::ForeignIdentity(config.state_dir.display().to_string(), identity.role));
        }
        return Ok(identity);
    }
    let Some(token) = &config.join_token else {
        return Err(StartError::NoJoinToken(config.region.clone()));
    };
    let token: JoinToken = token.parse()?;
    let names = [config.public_host.clone()];
    let identity =
        join(&config.orchestrator, &token, Role::Edge, &config.region, &config.display_name(), &names)
            .await?;
    identity.save(&config.state_dir)?;
    info!(edge = identity.id, "joined");
    Ok(identity)
}

fn hello(config: &Config, beacon: SocketAddr) -> EdgeHello {
    EdgeHello {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        region: config.region.clone(),
        hostname: config.display_name(),
        public_host: config.public_host.clone(),
        port_first: u32::from(config.port_first),
        port_last: u32::from(config.port_last),
        beacon_port: u32::from(beacon.port()),
        tls_certificate_given: config.tls_certificate.is_some(),
    }
}
