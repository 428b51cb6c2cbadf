//! Docker, as far as a game server needs it: containers, their network, their images, their ends.
//!
//! It carries out and observes; what should be done is decided in `reconcile`. It touches only what
//! carries this node's label.

mod container;
mod deaths;
mod error;
mod events;
mod image;
mod logs;
mod network;
mod observe;

use std::sync::Arc;
use std::time::Duration;

use bollard::query_parameters::{
    CreateContainerOptionsBuilder, RemoveContainerOptionsBuilder, StopContainerOptionsBuilder,
};
use bollard::{API_DEFAULT_VERSION, Docker};
use muster_protocol::agent::ServerSpec;

use crate::config::{Config, ContainerReach};
use crate::failure;
use crate::reconcile::{Container, LaunchError, ObservedStatus};

pub(crate) use container::SdkAccess;
pub(crate) use deaths::Deaths;
pub(crate) use error::EngineError;
pub(crate) use events::Died;
pub(crate) use image::{LoadError, image_of};
pub(crate) use network::Gateway;
pub(crate) use observe::Found;

/// Time Docker has to answer an ordinary request, in seconds. A loaded engine may take tens.
const REQUEST_TIMEOUT_S: u64 = 120;
/// Time Docker has to answer whether it is there.
const PING_TIMEOUT: Duration = Duration::from_secs(5);
/// Attempts at a launch that Docker itself fails at (5xx).
const LAUNCH_ATTEMPTS: u32 = 3;
/// Pause between them.
const LAUNCH_PAUSE: Duration = Duration::from_millis(500);
/// Longest grace passed on to Docker, in seconds; a day is more than any drain.
const MAX_GRACE_S: u64 = 86_400;

/// A Docker engine that answered.
pub(crate) struct Engine {
    docker: Docker,
    node: String,
    network: network::Network,
    reach: ContainerReach,
    sdk: SdkAccess,
    deaths: Arc<Deaths>,
}

/// An engine that answers, before it is known how containers reach the SDK endpoint.
pub(crate) struct Connected {
    docker: Docker,
    network: network::Network,
}

impl Connected {
    /// Connects to the configured engine and sees to the containers' network.
    pub(crate) async fn open(config: &Config) -> Result<Self, EngineError> {
        let docker = match config.docker_socket.as_deref() {
            None => Docker::connect_with_defaults(),
            Some(host) if host.contains("://") => Docker::connect_with_host(host),
            Some(path) => Docker::connect_with_local(path, REQUEST_TIMEOUT_S, API_DEFAULT_VERSION),
        }?;
        // Also finds out which version of the API both speak.
        let docker = match tokio::time::timeout(PING_TIMEOUT, docker.negotiate_version()).await {
            Ok(negotiated) => negotiated?,
            Err(_) => return Err(bollard::errors::Error::RequestTimeoutError.into()),
        };
        let network = network::ensure(&docker, &config.network).await?;
        Ok(Self { docker, network })
    }

    /// The host's end of the containers' network.
    pub(crate) fn gateway(&self) -> Gateway {
        self.network.gateway
    }

    /// The engine, whose containers reach the SDK endpoint by `sdk`, and which knows and remembers `deaths`.
    pub(crate) fn engine(self, node: &str, config: &Config, sdk: SdkAccess, deaths: Arc<Deaths>) -> Engine {
        let reach = match config.container_reach {
            // The bridge's own address is this machine's only where the bridge is this machine's.
            ContainerReach::Auto if self.network.gateway.is_local => ContainerReach::Bridge,
            ContainerReach::Auto => ContainerReach::Published,
            chosen => chosen,
        };
        Engine { docker: self.docker, node: node.to_owned(), network: self.network, reach, sdk, deaths }
    }
}

impl Engine {
    /// Creates and starts the container of `spec`, whose image is present; answers how it is then.
    pub(crate) async fn launch(
        &self,
        spec: &ServerSpec,
        token: &str,
    ) -> Result<(Container, ObservedStatus), LaunchError> {
        let mut attempt = 1;
        loop {
            match self.launch_once(spec, token).await {
                Err(Launch::Engine(error)) if error.is_down() => return Err(LaunchError::EngineDown),
                Err(Launch::Engine(error)) if attempt < LAUNCH_ATTEMPTS && error.may_pass() => {
                    tracing::warn!(server = spec.server_id, %error, "launch failed; trying again");
                    attempt += 1;
                    tokio::time::sleep(LAUNCH_PAUSE).await;
                }
                Err(Launch::Engine(error)) => {
                    let failure = failure::container_create_failed(&error.to_string());
                    return Err(LaunchError::Failed { failure, container_id: None });
                }
                Err(Launch::Start(container_id, error)) => {
                    let failure = failure::container_start_failed(&error.to_string());
                    return Err(LaunchError::Failed { failure, container_id: Some(container_id) });
                }
                Err(Launch::ImageGone) => return Err(LaunchError::ImageGone),
                Ok(launched) => return Ok(launched),
            }
        }
    }

    async fn launch_once(
        &self,
        spec: &ServerSpec,
        token: &str,
    ) -> Result<(Container, ObservedStatus), Launch> {
        let published = self.reach == ContainerReach::Published;
        let body = container::body(spec, &self.node, &self.network.id, published, &self.sdk, token);
        let name = container::name(&spec.server_id);
        let options = || Some(CreateContainerOptionsBuilder::default().name(&name).build());
        let created =
            match self.docker.create_container(options(), body.clone()).await.map_err(EngineError::from) {
                Err(error) if error.is_conflict() => {
                    // An attempt whose answer was lost. Its token is not the one announced: begin anew.
                    self.remove(&name).await?;
                    self.docker.create_container(options(), body).await.map_err(EngineError::from)
                }
                other => other,
            };
        let container_id = match created {
            Ok(created) => created.id,
            Err(error) if error.is_not_found() => return Err(Launch::ImageGone),
            Err(error) => return Err(Launch::Engine(error)),
        };
        if let Err(error) = self.docker.start_container(&container_id, None).await.map_err(EngineError::from)
        {
            return Err(if error.is_down() {
                Launch::Engine(error)
            } else {
                Launch::Start(container_id, error)
            });
        }
        Ok(self.look_at(&container_id, spec).await?)
    }

    /// SIGTERM, `grace_ms` (in whole seconds, rounded up), SIGKILL. Returns when the process has ended;
    /// a container that has ended already, or is gone, is stopped.
    pub(crate) async fn stop(&self, container_id: &str, grace_ms: u64) -> Result<(), EngineError> {
        self.deaths.will_be_ours(container_id);
        let grace_s = grace_ms.div_ceil(1000).min(MAX_GRACE_S);
        let options = StopContainerOptionsBuilder::default().t(grace_s as i32).build();
        let patient = self.docker.clone().with_timeout(Duration::from_secs(REQUEST_TIMEOUT_S + grace_s));
        match patient.stop_container(container_id, Some(options)).await.map_err(EngineError::from) {
            Err(error) if error.is_not_found() => Ok(()),
            other => other,
        }
    }

    /// Removes a container, running or not; one that is gone is removed.
    pub(crate) async fn remove(&self, container_id: &str) -> Result<(), EngineError> {
        self.deaths.will_be_ours(container_id);
        let options = RemoveContainerOptionsBuilder::default().force(true).v(true).build();
        match self.docker.remove_container(container_id, Some(options)).await.map_err(EngineError::from) {
            // 409: a removal is under way already.
            Err(error) if error.is_not_found() || error.is_conflict() => Ok(()),
            other => other,
        }
    }
}

/// Where a launch failed.
enum Launch {
    ImageGone,
    Start(String, EngineError),
    Engine(EngineError),
}

impl From<EngineError> for Launch {
    fn from(error: EngineError) -> Self {
        Self::Engine(error)
    }
}
