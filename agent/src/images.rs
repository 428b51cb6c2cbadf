//! Images of builds on this node: there if a server needs them, gone some time after none does.

mod cache;
mod part_file;
mod transfer;

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use muster_protocol::agent::BuildRef;
use muster_transport::Backoff;
use tokio::sync::{Semaphore, watch};

use crate::failure;
use crate::reconcile::ImageError;
use crate::runtime::{Engine, EngineError, LoadError, image_of};
use cache::Cache;
use transfer::Transfer;

/// Images fetched at once: more would only share the same line and disk.
const MAX_FETCHES: usize = 2;
/// Attempts at a pull or a load that Docker itself fails at.
const ATTEMPTS: u32 = 3;
/// First and longest pause between attempts.
const PAUSE: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(10));

/// The images of one node.
pub(crate) struct Images {
    transfer: Transfer,
    cache: Cache,
    fetches: Semaphore,
    /// One fetch per image at a time; whoever comes second finds it there.
    under_way: Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>,
}

impl Images {
    /// Images that are transferred through `dir` and take at most `cache_bytes` in Docker.
    pub(crate) fn new(
        dir: PathBuf,
        cache_bytes: u64,
        link: watch::Receiver<Option<quinn::Connection>>,
    ) -> Self {
        Self {
            cache: Cache::new(dir.clone(), cache_bytes),
            transfer: Transfer::new(dir, link),
            fetches: Semaphore::new(MAX_FETCHES),
            under_way: Mutex::default(),
        }
    }

    /// Sees to it that Docker has the build's image. Waits as long as the orchestrator is away; cancel
    /// by dropping.
    pub(crate) async fn ensure(&self, engine: &Engine, build: &BuildRef) -> Result<(), ImageError> {
        let name = image_of(Some(build));
        if engine.has_image(build).await.map_err(|error| engine_error(&error))? {
            self.cache.touch(build);
            return Ok(());
        }
        let turn = Arc::clone(self.lock().entry(name.clone()).or_default());
        let result = {
            let _turn = turn.lock().await;
            self.fetch(engine, build).await
        };
        // The last one to leave takes the entry away.
        drop(turn);
        self.lock().retain(|_, turn| Arc::strong_count(turn) > 1);
        if result.is_ok() {
            self.cache.touch(build);
        }
        result
    }

    /// Removes images until what is left fits, the least recently used first, none that `needed` names.
    pub(crate) async fn clean(&self, engine: &Engine, needed: &HashSet<String>) {
        if let Err(error) = self.cache.clean(engine, needed).await {
            tracing::warn!(%error, "could not clean up images");
        }
    }

    async fn fetch(&self, engine: &Engine, build: &BuildRef) -> Result<(), ImageError> {
        if engine.has_image(build).await.map_err(|error| engine_error(&error))? {
            return Ok(());
        }
        let _permit = self.fetches.acquire().await.expect("the semaphore is never closed");
        if build.digest.is_empty() { pull(engine, build).await } else { self.transfer(engine, build).await }
    }

    async fn transfer(&self, engine: &Engine, build: &BuildRef) -> Result<(), ImageError> {
        let archive = self.transfer.fetch(build).await.map_err(ImageError::Failed)?;
        let mut backoff = Backoff::new(PAUSE.0, PAUSE.1);
        let mut attempt = 1;
        let result = loop {
            match engine.load_image(build, &archive).await {
                Ok(()) => break Ok(()),
                Err(LoadError::Engine(error)) if error.is_down() => break Err(ImageError::EngineDown),
                Err(LoadError::Invalid(what)) => {
                    break Err(ImageError::Failed(failure::image_invalid(&what)));
                }
                Err(error) if attempt == ATTEMPTS => {
                    break Err(ImageError::Failed(failure::image_fetch_failed(&format!(
                        "Docker could not load the image: {error}; free disk space on this node or look at Docker's log"
                    ))));
                }
                Err(error) => {
                    tracing::warn!(digest = build.digest, %error, "loading an image failed; trying again");
                    attempt += 1;
                    tokio::time::sleep(backoff.next(rand::random())).await;
                }
            }
        };
        // While the engine is away the archive is worth keeping: it is whole.
        if result != Err(ImageError::EngineDown) {
            self.transfer.discard(build);
        }
        result
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Arc<tokio::sync::Mutex<()>>>> {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn pull(engine: &Engine, build: &BuildRef) -> Result<(), ImageError> {
    let mut backoff = Backoff::new(PAUSE.0, PAUSE.1);
    let mut attempt = 1;
    loop {
        match engine.pull_image(&build.reference).await {
            Ok(()) => return Ok(()),
            Err(error) if error.is_down() => return Err(ImageError::EngineDown),
            Err(error) if attempt == ATTEMPTS || error.is_not_found() => {
                return Err(ImageError::Failed(failure::image_fetch_failed(&format!(
                    "{} cannot be pulled: {error}; check the reference, that this node reaches the registry, \
                     and that it is logged in there, or push the image with `muster build push`",
                    build.reference
                ))));
            }
            Err(error) => {
                tracing::warn!(reference = build.reference, %error, "pulling failed; trying again");
                attempt += 1;
                tokio::time::sleep(backoff.next(rand::random())).await;
            }
        }
    }
}

fn engine_error(error: &EngineError) -> ImageError {
    if error.is_down() {
        ImageError::EngineDown
    } else {
        ImageError::Failed(failure::image_fetch_failed(&format!("Docker failed: {error}; look at its log")))
    }
}
