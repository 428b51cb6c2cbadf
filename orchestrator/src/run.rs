//! Starting and stopping an orchestrator.
//!
//! What can be wrong on a machine is found here, in the order in which it would be met, and each fault is
//! told with what mends it. When [`start`] returns, the API and the link listener take connections.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use metrics_exporter_prometheus::PrometheusHandle;
use muster_engine::{Engine, SystemClock, WorkerId};
use muster_store::{Database, OpenError, OpenOptions};
use muster_transport::{ClientCertificate, Profile, TlsError, alpn};
use quinn::{Endpoint, VarInt};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::api::{self, ApiServer, ServeError};
use crate::app::App;
use crate::authority::AuthorityError;
use crate::blobs::{BlobError, Blobs};
use crate::config::{Config, ConfigError};
use crate::installation::{self, ADMIN_TOKEN_FILE, InstallationError};
use crate::lifecycle::{self, StepError};
use crate::links::Links;
use crate::replicas::{self, Peers};
use crate::{clock, links, listener, metrics, reconcile, workflows};

/// File under `data_dir` that is the embedded store.
pub const STORE_FILE: &str = "store.redb";
/// How long the links' ends and the loops may take at a shutdown.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(5);
/// How long peers may take to confirm that their connections are closed.
const GOODBYE: Duration = Duration::from_millis(500);

/// Why an orchestrator does not start. Nothing runs then, and nothing was lost.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration contradicts itself.
    #[error("configuration: {0}")]
    Config(#[from] ConfigError),
    /// `data_dir` cannot be made or written.
    #[error(
        "data_dir {path} cannot be written: {source}; make it a directory that this user may write, or set \
         data_dir to another"
    )]
    DataDir {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The disk of `data_dir` has no room.
    #[error("the disk of data_dir {path} is full; free some space, or set data_dir to one on another disk")]
    DiskFull {
        /// The directory.
        path: PathBuf,
    },
    /// The store cannot be opened: it is in use, damaged, or the disk does not let us.
    #[error(transparent)]
    Store(#[from] OpenError),
    /// The installation in the store cannot be made or used.
    #[error(transparent)]
    Installation(#[from] InstallationError),
    /// The directories of the builds cannot be used.
    #[error(transparent)]
    Blobs(#[from] BlobError),
    /// No certificate for the links.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
    /// No TLS for the links.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// Another program has the links' port.
    #[error("link.listen {0} is taken by another program; stop that one, or set link.listen to another port")]
    LinkTaken(SocketAddr),
    /// The links' address cannot be listened on.
    #[error(
        "cannot listen on link.listen {address}: {source}; set link.listen to an address of this machine"
    )]
    LinkListen {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The API cannot be served.
    #[error(transparent)]
    Api(#[from] ServeError),
    /// What the store holds cannot be taken up.
    #[error(transparent)]
    Recovery(#[from] StepError),
}

/// A running orchestrator. Dropped without [`Orchestrator::shutdown`] it goes on until its runtime ends.
pub struct Orchestrator {
    app: Arc<App>,
    api: ApiServer,
    endpoint: Endpoint,
    link_address: SocketAddr,
    stop: CancellationToken,
    tasks: TaskTracker,
    engine: Engine,
}

/// Starts an orchestrator in this runtime. `metrics` renders `/metrics`, if the caller has installed a
/// recorder.
///
/// # Errors
/// [`StartError`], whose text names the way out.
pub async fn start(config: Config, metrics: Option<PrometheusHandle>) -> Result<Orchestrator, StartError> {
    config.validate()?;
    metrics::describe();
    let data_dir = config.data_dir.clone();
    prepare(&data_dir).map_err(|source| data_dir_error(&data_dir, source))?;
    let db =
        Database::open_location(&config.store.0, &data_dir.join(STORE_FILE), OpenOptions::default()).await?;
    match assemble(config, metrics, db.clone()).await {
        Ok(orchestrator) => Ok(orchestrator),
        Err(error) => {
            // So that the next attempt of this process finds the file free.
            db.shutdown().await;
            Err(error)
        }
    }
}

async fn assemble(
    config: Config,
    metrics: Option<PrometheusHandle>,
    db: Database,
) -> Result<Orchestrator, StartError> {
    let now_ms = clock::now_ms();
    let authority = Arc::new(installation::open(&db, &config.data_dir, now_ms).await?);
    let blobs = Blobs::open(&config.data_dir)?;
    let identity = authority.orchestrator_identity(now_ms)?;
    let server = muster_transport::server_config(
        &identity,
        &[alpn::JOIN, alpn::LINK, alpn::PEER],
        ClientCertificate::Optional,
        Profile::Link,
    )?;
    let secret = authority.restart_secret(config.link.listen);
    let (endpoint, link_address) = bind(config.link.listen, server, &secret)?;
    let client = muster_transport::client_config(&identity, alpn::PEER, Profile::Link)?;
    let bound = Some(link_address).filter(|address| !address.ip().is_unspecified());
    let advertised = config.link.advertise.clone().or_else(|| bound.map(|address| address.to_string()));
    let app = Arc::new(App {
        db,
        links: Arc::new(Links::new()),
        blobs,
        peers: Peers::new(endpoint.clone(), client),
        replica: WorkerId::random(),
        link_address: advertised.unwrap_or_default(),
        authority,
        ticket_limits: api::TicketLimits::new(&config.api),
        config: Arc::new(config),
        started: Instant::now(),
        started_at_ms: now_ms,
        metrics,
    });
    let is_alone = !app.config.is_shared();
    let loss_timeout_ms = app.config.node_loss_timeout_ms();
    lifecycle::orchestrator_started(&app.db, is_alone, now_ms, loss_timeout_ms).await?;
    let api = ApiServer::start(&app.config.api, &app.authority, api::router(app.clone()), now_ms)?;
    let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
    tasks.spawn(listener::accept(app.clone(), endpoint.clone(), stop.clone(), tasks.clone()));
    tasks.spawn(links::sweep(app.clone(), stop.clone()));
    workflows::nudge_all(&app.db).await.map_err(StepError::from)?;
    let engine = workflows::start(&app.db, app.replica, is_alone, app.config.retention_ms(), &api.url());
    replicas::announce(&app).await.map_err(StepError::from)?;
    tasks.spawn(replicas::keep(app.clone(), stop.clone()));
    tasks.spawn(replicas::mirror(app.clone(), stop.clone()));
    reconcile::spawn(&app.db, engine.shards(), Arc::new(SystemClock), &stop, &tasks);
    let data_dir = app.config.data_dir.display();
    tracing::info!(api = %api.url(), link = %link_address, %data_dir, "orchestrator started");
    Ok(Orchestrator { app, api, endpoint, link_address, stop, tasks, engine })
}

impl Orchestrator {
    /// The store, for programs that measure what lies below the API.
    pub fn db(&self) -> &Database {
        &self.app.db
    }

    /// URL that programs on this machine reach the API by.
    pub fn api_url(&self) -> String {
        self.api.url()
    }

    /// Where the API listens.
    pub fn api_addr(&self) -> SocketAddr {
        self.api.address()
    }

    /// Where agents and edges connect (UDP).
    pub fn link_addr(&self) -> SocketAddr {
        self.link_address
    }

    /// The file that holds the first admin token, as long as nobody has moved it.
    pub fn admin_token_path(&self) -> PathBuf {
        self.app.config.data_dir.join(ADMIN_TOKEN_FILE)
    }

    /// Stops: takes no more requests, tells agents and edges, ends the loops, closes the store. Games and
    /// players' connections go on. Returns when all that is done.
    pub async fn shutdown(self) {
        tracing::info!("orchestrator stops");
        self.stop.cancel();
        self.app.links.close();
        self.endpoint.close(VarInt::from_u32(0), b"the orchestrator shuts down");
        self.api.shutdown().await;
        self.tasks.close();
        let done = async {
            self.engine.stop().await;
            replicas::withdraw(&self.app).await;
            self.tasks.wait().await;
        };
        if tokio::time::timeout(SHUTDOWN_TIMEOUT, done).await.is_err() {
            tracing::warn!(
                tasks = self.tasks.len(),
                "some tasks did not end in time; the store is closed anyway"
            );
        }
        // The goodbyes are sent already; that a peer which is dead itself does not confirm its own matters to nobody.
        let _ = tokio::time::timeout(GOODBYE, self.endpoint.wait_idle()).await;
        self.app.db.clone().shutdown().await;
    }
}

/// Makes `data_dir`, for this user only since it will hold keys, and checks that it can be written.
fn prepare(data_dir: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(data_dir)?;
    let probe = data_dir.join(".write-check");
    fs::write(&probe, b"x")?;
    fs::remove_file(&probe)
}

fn data_dir_error(path: &Path, source: io::Error) -> StartError {
    let path = path.to_owned();
    match source.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => StartError::DiskFull { path },
        _ => StartError::DataDir { path, source },
    }
}

fn bind(
    address: SocketAddr,
    server: quinn::ServerConfig,
    secret: &[u8],
) -> Result<(Endpoint, SocketAddr), StartError> {
    let failed = |source: io::Error| {
        if source.kind() == io::ErrorKind::AddrInUse {
            StartError::LinkTaken(address)
        } else {
            StartError::LinkListen { address, source }
        }
    };
    let endpoint = muster_transport::listen(address, server, secret).map_err(failed)?;
    let bound = endpoint.local_addr().map_err(failed)?;
    Ok((endpoint, bound))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_told_apart_from_a_forbidden_one() {
        let of = |kind| data_dir_error(Path::new("state"), io::Error::from(kind)).to_string();
        assert!(of(io::ErrorKind::StorageFull).contains("free some space"));
        assert!(of(io::ErrorKind::PermissionDenied).contains("this user may write"));
    }
}
