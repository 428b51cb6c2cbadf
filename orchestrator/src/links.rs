//! Who is connected now: the links of agents and edges, and what they last said of themselves.
//!
//! The only state an orchestrator has outside the store, and nothing is decided by it that must survive
//! a restart: agents and edges connect again and say again what is. An entry lives as long as its
//! session; a second link of the same id replaces the first. A machine linked to another replica is not
//! here: which one has it, its record says.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use muster_protocol::id::{EdgeId, NodeId};
use muster_protocol::peer::HeardReport;

use crate::metrics;

mod ended;
mod pace;
mod sweep;

pub(crate) use ended::Ended;
pub(crate) use pace::pause_after;
pub(crate) use sweep::sweep;
#[cfg(test)]
pub(crate) use sweep::{Registry, pass as sweep_pass};

/// Agents and edges connected at a time, together. A further one is refused until others leave.
pub const MAX_LINKS: usize = 4_096;

/// What is known of a connected agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentStatus {
    /// Its node's region.
    pub region: String,
    /// When the link came up, Unix milliseconds.
    pub since_ms: u64,
    /// When it last said anything, Unix milliseconds.
    pub last_seen_ms: u64,
    /// CPU its containers use, in thousandths.
    pub cpu_millis: u32,
    /// Memory its containers use.
    pub memory_bytes: u64,
    /// Containers it runs.
    pub containers: u32,
    /// Empty, or why it can start nothing now.
    pub unable: String,
}

/// What is known of a connected edge.
#[derive(Clone, Debug, PartialEq)]
pub struct EdgeStatus {
    /// Its region.
    pub region: String,
    /// When the link came up, Unix milliseconds.
    pub since_ms: u64,
    /// When it last said anything, Unix milliseconds.
    pub last_seen_ms: u64,
    /// UDP flows and open connections through it.
    pub flows: u32,
    /// What it reported last.
    pub reports: Reports,
}

/// The last two reports of an edge's link: how much there is, and how much more it became.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Reports {
    /// The newest.
    pub latest: Option<Arc<HeardReport>>,
    /// The one before.
    pub earlier: Option<Arc<HeardReport>>,
}

/// The registry. Calls are short and never wait.
#[derive(Default)]
pub struct Links {
    tables: Mutex<Tables>,
}

#[derive(Default)]
struct Tables {
    agents: HashMap<NodeId, Entry<AgentStatus>>,
    edges: HashMap<EdgeId, Entry<EdgeStatus>>,
    /// Agents whose hello is being written, which takes as long as it names servers.
    greeting: HashMap<NodeId, usize>,
    closed: bool,
}

struct Entry<T> {
    /// The store's number of the link: tells links of the same id apart, and which is the newer.
    session: u64,
    connection: quinn::Connection,
    status: T,
}

/// Why a link is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LinkRefused {
    /// There are [`MAX_LINKS`] already.
    #[error("this orchestrator holds {MAX_LINKS} links already; add an orchestrator or remove nodes")]
    TooMany,
    /// The orchestrator is shutting down.
    #[error("the orchestrator is shutting down; dial again")]
    ShuttingDown,
    /// A newer link of the same id is there already.
    #[error("replaced by a newer link of the same id")]
    Superseded,
}

impl Links {
    /// An empty registry.
    pub fn new() -> Self {
        Self::default()
    }

    /// Enters the link of agent `id`, closing an earlier one. `session` is the store's number of the link.
    /// The entry stays until the guard is dropped.
    ///
    /// # Errors
    /// [`LinkRefused`].
    pub fn add_agent(
        self: &Arc<Self>,
        id: NodeId,
        session: u64,
        connection: quinn::Connection,
        status: AgentStatus,
    ) -> Result<AgentLink, LinkRefused> {
        let mut tables = self.lock();
        tables.admit(tables.agents.get(&id).map(|entry| entry.session), session)?;
        replace(&mut tables.agents, id, Entry { session, connection, status });
        metrics::agents_connected(tables.agents.len());
        Ok(AgentLink { links: self.clone(), id, session })
    }

    /// Enters the link of edge `id`, closing an earlier one. `session` is the store's number of the link.
    /// The entry stays until the guard is dropped.
    ///
    /// # Errors
    /// [`LinkRefused`].
    pub fn add_edge(
        self: &Arc<Self>,
        id: EdgeId,
        session: u64,
        connection: quinn::Connection,
        region: &str,
        now_ms: u64,
    ) -> Result<EdgeLink, LinkRefused> {
        let mut tables = self.lock();
        tables.admit(tables.edges.get(&id).map(|entry| entry.session), session)?;
        let status = EdgeStatus {
            region: region.to_owned(),
            since_ms: now_ms,
            last_seen_ms: now_ms,
            flows: 0,
            reports: Reports::default(),
        };
        replace(&mut tables.edges, id, Entry { session, connection, status });
        metrics::edges_connected(tables.edges.len());
        Ok(EdgeLink { links: self.clone(), id, session })
    }

    /// Notes that a hello of agent `id` is being written, until the guard is dropped.
    pub(crate) fn greet_agent(self: &Arc<Self>, id: NodeId) -> Greeting {
        *self.lock().greeting.entry(id).or_default() += 1;
        Greeting { links: self.clone(), id }
    }

    /// Whether agent `id` is connected, or its hello is being written.
    pub(crate) fn knows_agent(&self, id: NodeId) -> bool {
        let tables = self.lock();
        tables.agents.contains_key(&id) || tables.greeting.contains_key(&id)
    }

    /// What agent `id` last said; `None` if it is not connected.
    pub fn agent(&self, id: NodeId) -> Option<AgentStatus> {
        self.lock().agents.get(&id).map(|entry| entry.status.clone())
    }

    /// What edge `id` last said; `None` if it is not connected.
    pub fn edge(&self, id: EdgeId) -> Option<EdgeStatus> {
        self.lock().edges.get(&id).map(|entry| entry.status.clone())
    }

    /// Every connected agent.
    pub fn agents(&self) -> Vec<(NodeId, AgentStatus)> {
        self.lock().agents.iter().map(|(id, entry)| (*id, entry.status.clone())).collect()
    }

    /// Every connected edge.
    pub fn edges(&self) -> Vec<(EdgeId, EdgeStatus)> {
        self.lock().edges.iter().map(|(id, entry)| (*id, entry.status.clone())).collect()
    }

    /// Closes the link of agent `id` if it is that of `session` or an older one: the store has written it off, or
    /// another replica has a newer one.
    pub(crate) fn drop_agent(&self, id: NodeId, session: u64) {
        drop_link(&self.lock().agents, id, session);
    }

    /// As [`Links::drop_agent`], of an edge.
    pub(crate) fn drop_edge(&self, id: EdgeId, session: u64) {
        drop_link(&self.lock().edges, id, session);
    }

    /// The connection to agent `id`, for a request of its own stream.
    pub(crate) fn agent_connection(&self, id: NodeId) -> Option<quinn::Connection> {
        self.lock().agents.get(&id).map(|entry| entry.connection.clone())
    }

    /// Whether the orchestrator is shutting down.
    pub(crate) fn is_closed(&self) -> bool {
        self.lock().closed
    }

    /// Closes every link and takes no more.
    pub(crate) fn close(&self) {
        let mut tables = self.lock();
        tables.closed = true;
        let agents = tables.agents.values().map(|entry| &entry.connection);
        for connection in agents.chain(tables.edges.values().map(|entry| &entry.connection)) {
            Ended::ShuttingDown.close(connection);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Tables> {
        // Every change is complete before the lock is let go, so a panic elsewhere leaves it whole.
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tables {
    /// Whether the link `session` may be entered where that of `present` is, if any.
    fn admit(&self, present: Option<u64>, session: u64) -> Result<(), LinkRefused> {
        match present {
            _ if self.closed => Err(LinkRefused::ShuttingDown),
            Some(present) if present > session => Err(LinkRefused::Superseded),
            None if self.agents.len() + self.edges.len() >= MAX_LINKS => Err(LinkRefused::TooMany),
            _ => Ok(()),
        }
    }
}

fn replace<I: Eq + Hash, T>(table: &mut HashMap<I, Entry<T>>, id: I, entry: Entry<T>) {
    if let Some(earlier) = table.insert(id, entry) {
        Ended::Replaced.close(&earlier.connection);
    }
}

fn drop_link<I: Eq + Hash, T>(table: &HashMap<I, Entry<T>>, id: I, session: u64) {
    if let Some(entry) = table.get(&id).filter(|entry| entry.session <= session) {
        Ended::WrittenOff.close(&entry.connection);
    }
}

/// A hello being written.
pub(crate) struct Greeting {
    links: Arc<Links>,
    id: NodeId,
}

impl Drop for Greeting {
    fn drop(&mut self) {
        let mut tables = self.links.lock();
        if let Some(count) = tables.greeting.get_mut(&self.id) {
            *count -= 1;
            if *count == 0 {
                tables.greeting.remove(&self.id);
            }
        }
    }
}

/// The entry of one agent's session.
pub struct AgentLink {
    links: Arc<Links>,
    id: NodeId,
    session: u64,
}

impl AgentLink {
    /// Notes that the agent said something at `now_ms`.
    pub fn seen(&self, now_ms: u64) {
        self.update(|status| status.last_seen_ms = now_ms);
    }

    /// Changes what is known of the agent, unless a newer session has taken over.
    pub fn update(&self, change: impl FnOnce(&mut AgentStatus)) {
        let mut tables = self.links.lock();
        if let Some(entry) = tables.agents.get_mut(&self.id).filter(|entry| entry.session == self.session) {
            change(&mut entry.status);
        }
    }
}

impl Drop for AgentLink {
    fn drop(&mut self) {
        let mut tables = self.links.lock();
        if tables.agents.get(&self.id).is_some_and(|entry| entry.session == self.session) {
            tables.agents.remove(&self.id);
            metrics::agents_connected(tables.agents.len());
        }
    }
}

/// The entry of one edge's session.
pub struct EdgeLink {
    links: Arc<Links>,
    id: EdgeId,
    session: u64,
}

impl EdgeLink {
    /// Notes that the edge said something at `now_ms`.
    pub fn seen(&self, now_ms: u64) {
        self.update(|status| status.last_seen_ms = now_ms);
    }

    /// Takes over what the edge reports, and how many flows that are.
    pub fn report(&self, flows: u32, report: HeardReport) {
        self.update(|status| {
            status.flows = flows;
            status.reports.earlier = status.reports.latest.replace(Arc::new(report));
        });
    }

    fn update(&self, change: impl FnOnce(&mut EdgeStatus)) {
        let mut tables = self.links.lock();
        if let Some(entry) = tables.edges.get_mut(&self.id).filter(|entry| entry.session == self.session) {
            change(&mut entry.status);
        }
    }
}

impl Drop for EdgeLink {
    fn drop(&mut self) {
        let mut tables = self.links.lock();
        if tables.edges.get(&self.id).is_some_and(|entry| entry.session == self.session) {
            tables.edges.remove(&self.id);
            metrics::edges_connected(tables.edges.len());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_two_links_of_one_id_the_newer_stays_whichever_comes_first() {
        let mut tables = Tables::default();
        assert_eq!(tables.admit(None, 5), Ok(()));
        assert_eq!(tables.admit(Some(5), 6), Ok(()));
        assert_eq!(tables.admit(Some(6), 5), Err(LinkRefused::Superseded));
        tables.closed = true;
        assert_eq!(tables.admit(Some(5), 6), Err(LinkRefused::ShuttingDown));
    }
}
