//! What all of one simulated world share: chance, time, network, who plays where, and what was seen to break.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use muster_engine::{Clock, TokioClock};
use muster_protocol::agent::DesiredServers;
use muster_protocol::id::{MatchId, ServerId, TicketId};
use muster_store::{CommitFaults, Database};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::time::Instant;

use super::judge;
use super::network::Network;
use super::node::Node;
use super::replica::Replica;

/// Players who came less than this ago may not have been heard of.
const JUST_CAME: Duration = Duration::from_secs(10);

/// How often players look whether it is time to do something else.
const LOOK_UP: Duration = Duration::from_secs(1);

/// A bug that is planted, to see that it is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Planted {
    Nothing,
    /// Now and then a commit is made although what it read has changed.
    ConflictsUnseen,
    /// What changed is taken for everything that is wanted.
    PartTakenForWhole,
}

impl Planted {
    /// A bad day of the store, with the planted bug if it is one of the store's.
    pub(super) fn bad_day(self) -> CommitFaults {
        CommitFaults {
            conflict: 0.04,
            too_old: 0.01,
            unknown_lost: 0.02,
            unknown_done: 0.02,
            unknown_late: 0.02,
            stall: 0.02,
            blind: if self == Self::ConflictsUnseen { 0.3 } else { 0.0 },
            delay: Duration::from_millis(4_500),
        }
    }

    /// What an agent hears of `wanted`.
    pub(super) fn said(self, wanted: DesiredServers) -> DesiredServers {
        let full = wanted.full || self == Self::PartTakenForWhole;
        DesiredServers { full, ..wanted }
    }
}

/// Chance, all of it from one seed.
pub(super) struct Chance(Mutex<StdRng>);

impl Chance {
    pub(super) fn new(seed: u64) -> Self {
        Self(Mutex::new(StdRng::seed_from_u64(seed)))
    }

    pub(super) fn of(&self, range: Range<u64>) -> u64 {
        self.0.lock().expect("whole").random_range(range)
    }

    pub(super) fn millis(&self, range: Range<u64>) -> Duration {
        Duration::from_millis(self.of(range))
    }

    pub(super) fn happens(&self, share: f64) -> bool {
        self.0.lock().expect("whole").random_bool(share)
    }

    /// One of several; `None` if there is none.
    pub(super) fn pick<'a, T>(&self, of: &'a [T]) -> Option<&'a T> {
        if of.is_empty() { None } else { of.get(self.of(0..of.len() as u64) as usize) }
    }
}

/// A game under way.
struct Game {
    of: MatchId,
    players: u32,
    since: Instant,
}

/// What a player knows of an acknowledged ticket.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Known {
    /// It was told to be cancelled.
    pub(super) cancelled: bool,
    /// The server it was told.
    pub(super) server: Option<ServerId>,
}

/// One simulated world.
pub(super) struct Stage {
    pub(super) db: Database,
    pub(super) chance: Arc<Chance>,
    pub(super) network: Arc<Network>,
    pub(super) base: TokioClock,
    pub(super) planted: Planted,
    pub(super) replicas: Mutex<Vec<Arc<Replica>>>,
    pub(super) nodes: Mutex<Vec<Arc<Node>>>,
    /// Servers an operator stopped without waiting for anybody.
    pub(super) forced: Mutex<BTreeSet<ServerId>>,
    pub(super) tickets: Mutex<BTreeMap<TicketId, Known>>,
    games: Mutex<BTreeMap<ServerId, Game>>,
    /// The evening is over: players go home.
    late: AtomicBool,
    names: AtomicU64,
    broken: Mutex<Vec<String>>,
}

impl Stage {
    pub(super) fn new(seed: u64, planted: Planted) -> Arc<Self> {
        let chance = Arc::new(Chance::new(seed));
        Arc::new(Self {
            db: Database::memory(seed),
            network: Arc::new(Network::new(chance.clone())),
            chance,
            base: TokioClock::new(1_000_000_000),
            planted,
            replicas: Mutex::default(),
            nodes: Mutex::default(),
            forced: Mutex::default(),
            tickets: Mutex::default(),
            games: Mutex::default(),
            late: AtomicBool::default(),
            names: AtomicU64::default(),
            broken: Mutex::default(),
        })
    }

    /// The time that machines' clocks show, Unix milliseconds.
    pub(super) fn now_ms(&self) -> u64 {
        self.base.now_ms()
    }

    /// Any replica that lives.
    pub(super) fn any_replica(&self) -> Option<Arc<Replica>> {
        self.chance.pick(&self.replicas.lock().expect("whole")).cloned()
    }

    /// A name that no other player has.
    pub(super) fn unique_name(&self) -> String {
        format!("only-{}", self.names.fetch_add(1, Ordering::Relaxed))
    }

    /// The node on which a server's container runs.
    pub(super) fn host(&self, server: ServerId) -> Option<Arc<Node>> {
        self.nodes.lock().expect("whole").iter().find(|node| node.running().contains(&server)).cloned()
    }

    /// Notes a promise that was broken.
    pub(super) fn broken(&self, what: String) {
        let mut broken = self.broken.lock().expect("whole");
        if !broken.contains(&what) {
            broken.push(what);
        }
    }

    pub(super) fn all_broken(&self) -> Vec<String> {
        self.broken.lock().expect("whole").clone()
    }

    /// A player comes to a server, for a match.
    pub(super) fn join(&self, server: ServerId, of: MatchId) {
        let mut games = self.games.lock().expect("whole");
        let game = games.entry(server).or_insert_with(|| Game { of, players: 0, since: Instant::now() });
        game.players += 1;
        if game.of != of {
            let other = game.of;
            drop(games);
            self.broken(format!("{server} is claimed twice: by {of} and {other}"));
        }
    }

    /// A player leaves. Returns whether it was the last.
    pub(super) fn leave(&self, server: ServerId) -> bool {
        let mut games = self.games.lock().expect("whole");
        let Some(game) = games.get_mut(&server) else { return false };
        game.players -= 1;
        let last = game.players == 0;
        if last {
            games.remove(&server);
        }
        last
    }

    /// Whether the game of a server goes on.
    pub(super) fn goes_on(&self, server: ServerId) -> bool {
        self.games.lock().expect("whole").contains_key(&server)
    }

    /// Sends the players home, those too who would come back.
    pub(super) fn end_evening(&self) {
        self.late.store(true, Ordering::Relaxed);
    }

    /// Waits for so long, until the evening is over, or `ends`.
    pub(super) async fn linger(&self, time: Duration, ends: impl Fn() -> bool) {
        let end = Instant::now() + time;
        while Instant::now() < end && !self.late.load(Ordering::Relaxed) && !ends() {
            tokio::time::sleep(LOOK_UP).await;
        }
    }

    /// How many games are under way.
    pub(super) fn games(&self) -> usize {
        self.games.lock().expect("whole").len()
    }

    /// A server's process has ended: nobody plays there any more.
    pub(super) fn over(&self, server: ServerId) {
        self.games.lock().expect("whole").remove(&server);
    }

    /// A container is being stopped: if people play there, somebody must have had a right to.
    pub(super) fn stopped(self: &Arc<Self>, server: ServerId, by: &'static str) {
        let games = self.games.lock().expect("whole");
        if games.get(&server).is_some_and(|game| game.since.elapsed() > JUST_CAME) {
            let stage = self.clone();
            tokio::spawn(async move { judge::a_stop(&stage, server, by).await });
        }
    }
}
