//! Keeps hold of Docker: connects, looks around, passes on what ends, and begins again when Docker goes.

use std::sync::Arc;
use std::time::Duration;

use futures_util::TryStreamExt;
use muster_transport::Backoff;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, MissedTickBehavior, interval, interval_at};

use crate::clock::now_ms;
use crate::config::Config;
use crate::metrics;
use crate::reconcile::Input;
use crate::runtime::{Connected, Deaths, Died, Engine, EngineError, Found};
use crate::sdk::{Endpoint, Registry};

/// First and longest pause between attempts at connecting.
const PAUSE: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(5));
/// How often all containers are looked at although nothing was heard: events can be lost.
const LOOK_EVERY: Duration = Duration::from_mins(1);
/// Ends looked into at once.
const MAX_EXITS: usize = 8;
/// How far back events are asked for: what happened while looking around is told twice, not never.
const OVERLAP_MS: u64 = 2_000;
/// How often the kernel is asked for its count of those it killed for want of memory.
const COUNT_EVERY: Duration = Duration::from_secs(1);

/// How Docker is.
#[derive(Clone)]
pub(crate) enum EngineStatus {
    /// Nobody has tried yet.
    Unknown,
    /// It answers.
    Up(Arc<Engine>),
    /// It does not; why, and what to do.
    Down(String),
}

impl EngineStatus {
    /// The engine, if it answers.
    pub(crate) fn engine(&self) -> Option<Arc<Engine>> {
        match self {
            Self::Up(engine) => Some(Arc::clone(engine)),
            Self::Unknown | Self::Down(_) => None,
        }
    }

    /// Empty, or why no container can be started.
    pub(crate) fn unable(&self) -> &str {
        match self {
            Self::Up(_) => "",
            Self::Unknown => "the Docker engine has not been tried yet",
            Self::Down(why) => why,
        }
    }
}

/// The task that keeps hold of Docker.
pub(crate) struct EngineWatch {
    pub(crate) config: Config,
    pub(crate) node: String,
    pub(crate) sdk: Endpoint,
    pub(crate) registry: Arc<Registry>,
    pub(crate) status: watch::Sender<EngineStatus>,
    pub(crate) inputs: mpsc::Sender<Input>,
    pub(crate) deaths: Arc<Deaths>,
}

impl EngineWatch {
    /// Runs until dropped.
    pub(crate) async fn run(self) {
        let mut backoff = Backoff::new(PAUSE.0, PAUSE.1);
        loop {
            let why = match self.connect().await {
                Ok(engine) => {
                    backoff.reset();
                    match self.follow(&Arc::new(engine)).await {
                        Ok(()) => "Docker has closed its event stream; is it restarting?".to_owned(),
                        Err(error) => error.to_string(),
                    }
                }
                Err(why) => why,
            };
            self.down(why).await;
            tokio::time::sleep(backoff.next(rand::random())).await;
        }
    }

    async fn connect(&self) -> Result<Engine, String> {
        let connected = Connected::open(&self.config).await.map_err(|error| error.to_string())?;
        let sdk = self.sdk.ensure(connected.gateway()).await.map_err(|error| error.to_string())?;
        Ok(connected.engine(&self.node, &self.config, sdk, Arc::clone(&self.deaths)))
    }

    async fn down(&self, why: String) {
        metrics::engine_up(false);
        let news = self.status.send_if_modified(|status| {
            let news = status.unable() != why;
            *status = EngineStatus::Down(why.clone());
            news
        });
        if news {
            tracing::error!(why, "no container can be started on this node");
        }
        let _ = self.inputs.send(Input::EngineDown).await;
    }

    /// Passes on what happens until Docker goes away.
    async fn follow(&self, engine: &Arc<Engine>) -> Result<(), EngineError> {
        let since_s = now_ms().saturating_sub(OVERLAP_MS) / 1000;
        tracing::info!("Docker answers");
        metrics::engine_up(true);
        // First: what comes of looking around needs the engine.
        self.status.send_replace(EngineStatus::Up(Arc::clone(engine)));
        self.deaths.look();
        self.look_around(engine).await?;
        let events = engine.events(since_s).try_for_each_concurrent(
            MAX_EXITS,
            |Died { server, container_id }| async move {
                if let Some(exit) = engine.exit_of(&container_id).await? {
                    let _ = self.inputs.send(Input::Exited { server, container_id, exit }).await;
                }
                Ok(())
            },
        );
        let mut looks = interval_at(Instant::now() + LOOK_EVERY, LOOK_EVERY);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut counts = interval(COUNT_EVERY);
        counts.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut events = std::pin::pin!(events);
        loop {
            tokio::select! {
                ended = &mut events => return ended,
                _ = counts.tick() => self.deaths.look(),
                _ = looks.tick() => self.look_around(engine).await?,
            }
        }
    }

    async fn look_around(&self, engine: &Engine) -> Result<(), EngineError> {
        let as_of_ms = now_ms();
        let found = engine.look_around().await?;
        let mut observed = Vec::with_capacity(found.len());
        for Found { observed: one, token } in found {
            if let (Ok(server), Some(token)) = (one.spec.server_id.parse(), token) {
                self.registry.admit_found(server, &token);
            }
            observed.push(one);
        }
        let _ = self.inputs.send(Input::EngineUp { observed, as_of_ms }).await;
        Ok(())
    }
}
