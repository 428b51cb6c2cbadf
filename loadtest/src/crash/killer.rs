//! Kills processes at random, as a power failure would, and waits until each is back.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde::{Deserialize, Serialize};

use crate::harness::process::Process;
use crate::harness::stack::Stack;

/// Longest time between two kills.
const LONGEST_PAUSE: Duration = Duration::from_millis(2_500);
/// How long an orchestrator may take to stop when asked.
const STOP_GRACE: Duration = Duration::from_secs(15);
/// Longest time that a process stays away.
const LONGEST_AWAY: Duration = Duration::from_millis(700);

/// Which process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Victim {
    /// An orchestrator.
    Orchestrator,
    /// The agent.
    Agent,
    /// The edge.
    Edge,
}

/// A kill, and until when its victim was away.
#[derive(Clone, Copy, Debug)]
pub struct Kill {
    /// Who.
    pub victim: Victim,
    /// When.
    pub at: Instant,
    /// When it did its work again.
    pub back: Instant,
}

/// Kills at random.
pub struct Killer {
    random: StdRng,
    /// What was done.
    pub kills: Vec<Kill>,
}

impl Killer {
    /// What `seed` leads to: the order of victims, and all pauses.
    pub fn new(seed: u64) -> Self {
        Self { random: StdRng::seed_from_u64(seed), kills: Vec::new() }
    }

    /// Kills one process after a random pause, starts it again after another, and waits until it is back.
    pub async fn kill_one(&mut self, stack: &mut Stack) -> anyhow::Result<Victim> {
        let victim = match self.random.random_range(0..10) {
            0..6 => Victim::Orchestrator,
            6..8 => Victim::Agent,
            _ => Victim::Edge,
        };
        tokio::time::sleep(LONGEST_PAUSE.mul_f64(self.random.random())).await;
        // Drawn only where there is a choice, so that a seed means the same without replicas.
        let replicas = stack.orchestrators.len();
        let replica = if replicas > 1 { self.random.random_range(0..replicas) } else { 0 };
        let away = LONGEST_AWAY.mul_f64(self.random.random());
        let process = match victim {
            Victim::Orchestrator => stack.orchestrators.get_mut(replica),
            Victim::Agent => stack.agent.as_mut(),
            Victim::Edge => stack.edge.as_mut(),
        };
        let process: &mut Process = process.ok_or_else(|| anyhow::anyhow!("{victim:?} was never started"))?;
        let at = Instant::now();
        process.kill9().await?;
        tokio::time::sleep(away).await;
        process.restart()?;
        match victim {
            Victim::Orchestrator => stack.wait_for_orchestrator(replica).await?,
            Victim::Agent => drop(stack.wait_for_node().await?),
            Victim::Edge => stack.wait_for_edge().await?,
        }
        self.kills.push(Kill { victim, at, back: Instant::now() });
        Ok(victim)
    }

    /// Stops each orchestrator as an upgrade does, one after the other, and starts it again.
    pub async fn roll(stack: &mut Stack) -> anyhow::Result<()> {
        for number in 0..stack.orchestrators.len() {
            stack.orchestrators[number].stop(STOP_GRACE).await?;
            stack.orchestrators[number].restart()?;
            stack.wait_for_orchestrator(number).await?;
        }
        Ok(())
    }

    /// How often each was killed.
    pub fn count(&self) -> BTreeMap<Victim, usize> {
        let mut count = BTreeMap::new();
        for kill in &self.kills {
            *count.entry(kill.victim).or_default() += 1;
        }
        count
    }
}
