//! One effect each: what takes time, beside the supervisor's loop. Each ends in an input.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use muster_protocol::agent::{BuildRef, ServerSpec};
use muster_protocol::id::ServerId;
use muster_transport::Backoff;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::EngineStatus;
use crate::images::Images;
use crate::ready;
use crate::reconcile::{ImageError, Input, LaunchError, Probe};
use crate::runtime::{Engine, image_of};

/// Pause before an action says that Docker does not answer, so that asking again is no busy loop.
const ENGINE_PAUSE: Duration = Duration::from_millis(500);
/// Attempts at removing a container.
const REMOVE_ATTEMPTS: u32 = 5;
/// First and longest pause between them.
const REMOVE_PAUSE: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(5));

/// What actions need.
pub(super) struct Running {
    pub(super) launches: Arc<Semaphore>,
    pub(super) stops: Arc<Semaphore>,
    /// Containers that a stop is under way for.
    pub(super) stopping: Arc<Mutex<HashSet<String>>>,
    pub(super) tasks: TaskTracker,
    pub(super) cancel: CancellationToken,
    pub(super) engine: watch::Receiver<EngineStatus>,
    pub(super) images: Arc<Images>,
    pub(super) inputs: mpsc::Sender<Input>,
}

/// A new SDK token: 256 random bits, in hex.
pub(super) fn new_token() -> String {
    rand::random::<[u8; 32]>().iter().fold(String::with_capacity(64), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

impl Running {
    pub(super) fn fetch_image(&self, server: ServerId, build: BuildRef, cancel: CancellationToken) {
        let (images, engine) = (Arc::clone(&self.images), self.engine());
        self.spawn(cancel, async move {
            let result = match engine {
                Some(engine) => images.ensure(&engine, &build).await,
                None => Err(ImageError::EngineDown),
            };
            if result == Err(ImageError::EngineDown) {
                tokio::time::sleep(ENGINE_PAUSE).await;
            }
            Some(Input::Image(server, result))
        });
    }

    pub(super) fn launch(&self, server: ServerId, spec: Box<ServerSpec>, token: String) {
        let (launches, engine) = (Arc::clone(&self.launches), self.engine());
        self.spawn(self.cancel.clone(), async move {
            let _permit = launches.acquire_owned().await.ok()?;
            let result = match engine {
                Some(engine) => engine.launch(&spec, &token).await,
                None => Err(LaunchError::EngineDown),
            };
            if result == Err(LaunchError::EngineDown) {
                tokio::time::sleep(ENGINE_PAUSE).await;
            }
            Some(Input::Launched(server, result))
        });
    }

    pub(super) fn probe(&self, server: ServerId, probe: Probe, cancel: CancellationToken) {
        self.spawn(cancel, async move {
            ready::all_listen(&probe).await;
            Some(Input::PortsListen(server))
        });
    }

    pub(super) fn stop(&self, server: ServerId, container_id: String, grace_ms: u64) {
        if !lock(&self.stopping).insert(container_id.clone()) {
            return;
        }
        let (stops, engine, stopping) = (Arc::clone(&self.stops), self.engine(), Arc::clone(&self.stopping));
        self.spawn(self.cancel.clone(), async move {
            let _permit = stops.acquire_owned().await.ok()?;
            let input = match engine {
                Some(engine) => stop(&engine, server, &container_id, grace_ms).await,
                None => Some(Input::StopFailed(server)),
            };
            lock(&stopping).remove(&container_id);
            input
        });
    }

    pub(super) fn remove(&self, container_id: String) {
        let (stops, engine) = (Arc::clone(&self.stops), self.engine());
        // Not cancelled: what a stopped server leaves goes even while the agent shuts down.
        self.spawn(CancellationToken::new(), async move {
            let _permit = stops.acquire_owned().await.ok()?;
            let engine = engine?;
            let mut backoff = Backoff::new(REMOVE_PAUSE.0, REMOVE_PAUSE.1);
            for _ in 0..REMOVE_ATTEMPTS {
                match engine.remove(&container_id).await {
                    Ok(()) => return None,
                    // It is found again, and removed, when all containers are next looked at.
                    Err(error) => tracing::warn!(container = container_id, %error, "could not remove"),
                }
                tokio::time::sleep(backoff.next(rand::random())).await;
            }
            None
        });
    }

    pub(super) fn clean_images(&self, needed: Vec<BuildRef>) {
        let Some(engine) = self.engine() else { return };
        let images = Arc::clone(&self.images);
        self.spawn(self.cancel.clone(), async move {
            let needed = needed.iter().map(|build| image_of(Some(build))).collect();
            images.clean(&engine, &needed).await;
            None
        });
    }

    fn engine(&self) -> Option<Arc<Engine>> {
        self.engine.borrow().engine()
    }

    fn spawn(&self, cancel: CancellationToken, work: impl Future<Output = Option<Input>> + Send + 'static) {
        let inputs = self.inputs.clone();
        self.tasks.spawn(async move {
            if let Some(Some(input)) = cancel.run_until_cancelled(work).await {
                // Refused only while the agent shuts down.
                let _ = inputs.send(input).await;
            }
        });
    }
}

async fn stop(engine: &Engine, server: ServerId, container_id: &str, grace_ms: u64) -> Option<Input> {
    let failed = |error| {
        tracing::warn!(%server, %error, "could not stop; trying again");
        Some(Input::StopFailed(server))
    };
    if let Err(error) = engine.stop(container_id, grace_ms).await {
        return failed(error);
    }
    // Docker's events say so too; whichever comes first counts.
    match engine.exit_of(container_id).await {
        Ok(Some(exit)) => Some(Input::Exited { server, container_id: container_id.to_owned(), exit }),
        Ok(None) => None,
        Err(error) => failed(error),
    }
}

fn lock(stopping: &Mutex<HashSet<String>>) -> std::sync::MutexGuard<'_, HashSet<String>> {
    stopping.lock().unwrap_or_else(PoisonError::into_inner)
}
