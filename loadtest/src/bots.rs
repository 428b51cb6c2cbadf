//! Many bots at once: who plays over what, started together, waited for together.

use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use muster_client::Client;
use muster_protocol::api::PortProtocol;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::bot::{self, BotOutcome, BotPlan, Progress, Way};

/// Most bots of one run: each needs a socket and a connection to the API.
pub const MAX_PLAYERS: usize = 10_000;

/// What bots play over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocols {
    /// All over one.
    One(PortProtocol),
    /// In turn over each.
    Mix,
}

impl Protocols {
    /// The protocols played.
    pub fn list(self) -> &'static [PortProtocol] {
        match self {
            Self::One(PortProtocol::Udp) => &[PortProtocol::Udp],
            Self::One(PortProtocol::Tcp) => &[PortProtocol::Tcp],
            Self::One(PortProtocol::Ws) => &[PortProtocol::Ws],
            Self::Mix => &[PortProtocol::Udp, PortProtocol::Tcp, PortProtocol::Ws],
        }
    }

    /// What the bot with this number plays over.
    pub fn of(self, number: usize) -> PortProtocol {
        self.list()[number % self.list().len()]
    }
}

impl FromStr for Protocols {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "udp" => Ok(Self::One(PortProtocol::Udp)),
            "tcp" => Ok(Self::One(PortProtocol::Tcp)),
            "ws" => Ok(Self::One(PortProtocol::Ws)),
            "mix" => Ok(Self::Mix),
            _ => Err(format!("{text:?} is not udp, tcp, ws or mix")),
        }
    }
}

/// A run of bots.
#[derive(Clone, Debug)]
pub struct BotsPlan {
    /// Client with the token and namespace of the players.
    pub client: Client,
    /// How they come to their matches.
    pub way: Way,
    /// How many, at most [`MAX_PLAYERS`].
    pub players: usize,
    /// What they play over.
    pub protocols: Protocols,
    /// How long each plays.
    pub play: Duration,
    /// Messages per second of each.
    pub rate: f64,
    /// Text that makes every message longer.
    pub pad: String,
    /// How long a match may take.
    pub match_deadline: Duration,
    /// CA that `wss` endpoints are checked against; without it the one the API tells.
    pub authority_pem: Option<Vec<u8>>,
}

/// Bots under way.
pub struct Bots {
    bots: JoinSet<BotOutcome>,
    progress: watch::Receiver<Progress>,
}

impl Bots {
    /// Starts them all.
    pub async fn start(plan: &BotsPlan) -> anyhow::Result<Self> {
        let authority_pem = match &plan.authority_pem {
            Some(pem) => pem.clone(),
            None => {
                plan.client.authority_pem().await.context("cannot get the CA's certificate")?.into_bytes()
            }
        };
        let authority_pem: Arc<[u8]> = authority_pem.into();
        let (sender, progress) = watch::channel(Progress::default());
        let began = Instant::now();
        let mut bots = JoinSet::new();
        for number in 0..plan.players.min(MAX_PLAYERS) {
            let bot = BotPlan {
                client: plan.client.clone(),
                way: plan.way.clone(),
                player: format!("bot-{number:04}"),
                protocol: plan.protocols.of(number),
                play: plan.play,
                rate: plan.rate,
                pad: plan.pad.clone(),
                match_deadline: plan.match_deadline,
                authority_pem: Some(Arc::clone(&authority_pem)),
                began,
            };
            bots.spawn(bot::run(bot, sender.clone()));
        }
        Ok(Self { bots, progress })
    }

    /// How far they are.
    pub fn progress(&self) -> watch::Receiver<Progress> {
        self.progress.clone()
    }

    /// Waits for all of them; ordered by name.
    pub async fn finish(self) -> anyhow::Result<Vec<BotOutcome>> {
        let mut outcomes = Vec::new();
        let mut bots = self.bots;
        while let Some(outcome) = bots.join_next().await {
            outcomes.push(outcome.context("a bot panicked")?);
        }
        outcomes.sort_by(|one, other| one.player.cmp(&other.player));
        Ok(outcomes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mix_is_even() {
        let mix: Protocols = "mix".parse().expect("known");
        for protocol in mix.list() {
            assert_eq!((0..60).filter(|number| mix.of(*number) == *protocol).count(), 20);
        }
        assert_eq!("tcp".parse(), Ok(Protocols::One(PortProtocol::Tcp)));
        assert!("quic".parse::<Protocols>().is_err());
    }
}
