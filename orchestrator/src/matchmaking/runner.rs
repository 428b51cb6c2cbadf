//! The matchmaker of one queue, or of a part of it: serve matches that wait, take in the news, form matches, commit
//! them, sleep until there is something to do.
//!
//! Of a queue in several parts the first's does what one is enough for: it serves the matches that wait, writes how the
//! queue does, forgets old news, and decides about the parts.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt, stream};
use muster_engine::Clock;
use muster_matchmaker::{Formed, Offer, OpeningKey, Queue};
use muster_protocol::id::TicketId;
use muster_store::{Database, Watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::commit::{Committed, Making, commit_group, commit_join};
use super::memory::{Memory, ticket_id};
use super::opening::match_id;
use super::outlook::{self, Outlook};
use super::parting;
use super::waiting::assign_waiting;
use super::waits::Waits;
use crate::records::{QueueMode, QueueStatusRecord, TicketState};
use crate::state::{StateError, news, parts, queues, tickets};
use crate::{keyspace, metrics, wake};

/// Looks again after this even if nothing was watched to change.
const TICK: Duration = Duration::from_secs(5);
/// Most matches formed in one pass.
const MAX_MATCHES_PER_PASS: usize = 2_000;
/// Matches committed at the same time: they share the store's group commit.
const CONCURRENT_COMMITS: usize = 256;
/// Expected waits are written again after this, if they changed.
const STATUS_EVERY_MS: u64 = 10_000;
/// Tickets that have waited longest, of which it is told if no region is near enough to them.
const LOOKED_AT_FOR_REGIONS: usize = 1_000;

/// What a pass did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Pass {
    /// Matches that got a server.
    pub(crate) assigned: usize,
    /// Matches that wait for one.
    pub(crate) waiting: usize,
    /// Groups that joined a match that runs.
    pub(crate) joined: usize,
    /// Groups one of whose tickets another had taken, or whose match had changed.
    pub(crate) stale: usize,
}

/// What comes after a pass.
pub(crate) struct Next {
    /// Armed before anything was read, so that what changes after is not missed.
    watches: Vec<Watch>,
    /// When there is something to do although nothing changes.
    due_ms: Option<u64>,
}

/// Makes the matches of one queue, or of a part of it.
pub(crate) struct Matchmaker {
    db: Database,
    namespace: String,
    queue: String,
    part: usize,
    /// Unset before the first pass, and after one that failed.
    memory: Option<Memory>,
    status_ms: u64,
    /// When the parts were last thought about.
    parted_ms: u64,
}

/// Runs the matchmaker of a part of a queue until the queue or the part is gone, or `shutdown`.
pub(super) async fn run(
    db: Database,
    (namespace, queue, part): (String, String, usize),
    clock: Arc<dyn Clock>,
    shutdown: CancellationToken,
) {
    let mut matchmaker = Matchmaker::of_part(db, namespace.clone(), queue.clone(), part);
    loop {
        let began = Instant::now();
        let (watches, tick) = match matchmaker.pass(clock.now_ms()).await {
            Ok(None) => return,
            Ok(Some((did, next))) => {
                if did != Pass::default() {
                    tracing::debug!(namespace, queue, part, ?did, "matchmaking pass");
                }
                let due =
                    next.due_ms.map(|due_ms| Duration::from_millis(due_ms.saturating_sub(clock.now_ms())));
                (next.watches, due.unwrap_or(TICK).min(TICK))
            }
            Err(error) => {
                tracing::warn!(namespace, queue, part, %error, "matchmaking pass failed");
                (Vec::new(), wake::AFTER_FAILURE)
            }
        };
        metrics::pass("matchmaking", began.elapsed());
        if !wake::breathe_and_sleep(&shutdown, began, watches, tick).await {
            return;
        }
    }
}

impl Pass {
    /// Counts an outcome; how long those had searched whom it was for, in milliseconds.
    fn note(&mut self, committed: Committed) -> Vec<u64> {
        let (count, waits_ms) = match committed {
            Committed::Assigned(waits_ms) => (&mut self.assigned, waits_ms),
            Committed::Waiting(waits_ms) => (&mut self.waiting, waits_ms),
            Committed::Joined(waits_ms) => (&mut self.joined, waits_ms),
            Committed::Stale | Committed::Closed => (&mut self.stale, Vec::new()),
        };
        *count += 1;
        waits_ms
    }
}

/// What can be committed side by side: new matches each by itself, those who join the same match in their order.
fn one_after_the_other(formed: Vec<Formed>) -> Vec<Vec<Formed>> {
    let (joining, made): (Vec<Formed>, Vec<Formed>) =
        formed.into_iter().partition(|formed| formed.joins.is_some());
    let mut groups: Vec<Vec<Formed>> = made.into_iter().map(|formed| vec![formed]).collect();
    let mut by_match: BTreeMap<Option<OpeningKey>, Vec<Formed>> = BTreeMap::new();
    for formed in joining {
        by_match.entry(formed.joins).or_default().push(formed);
    }
    groups.extend(by_match.into_values());
    groups
}

impl Matchmaker {
    /// The matchmaker of a queue's first part, which is all of most queues.
    #[cfg(test)]
    pub(crate) fn new(db: Database, namespace: String, queue: String) -> Self {
        Self::of_part(db, namespace, queue, 0)
    }

    /// The matchmaker of a part of a queue, which has not looked yet.
    pub(crate) fn of_part(db: Database, namespace: String, queue: String, part: usize) -> Self {
        Self { db, namespace, queue, part, memory: None, status_ms: 0, parted_ms: 0 }
    }

    /// One pass over the queue. `None` if there is no such queue, or no such part of it. After one that failed, everything is read anew.
    pub(crate) async fn pass(&mut self, now_ms: u64) -> Result<Option<(Pass, Next)>, StateError> {
        let memory = self.memory.take();
        let Some((mut memory, did, next)) = self.pass_with(memory, now_ms).await? else { return Ok(None) };
        let forgettable = memory.forgettable(now_ms);
        if let Some(until) = forgettable.filter(|_| self.is_first()) {
            let (namespace, queue) = (&self.namespace, &self.queue);
            self.db
                .run("forget_news", async |mut tx| {
                    news::forget(&mut tx, &keyspace::ticket_news(namespace, queue), &until.tickets);
                    news::forget(&mut tx, &keyspace::match_news(namespace, queue), &until.matches);
                    Ok::<_, StateError>(())
                })
                .await?;
        }
        self.memory = Some(memory);
        Ok(Some((did, next)))
    }

    fn is_first(&self) -> bool {
        self.part == 0
    }

    async fn pass_with(
        &mut self,
        memory: Option<Memory>,
        now_ms: u64,
    ) -> Result<Option<(Memory, Pass, Next)>, StateError> {
        let (db, namespace, queue) = (self.db.clone(), &self.namespace, &self.queue);
        let found = db.read("queue", async |mut tx| {
            let Some(record) = queues::peek(&mut tx, namespace, queue).await? else { return Ok(None) };
            Ok::<_, StateError>(Some((record, parts::peek(&mut tx, namespace, queue).await?)))
        });
        let Some((record, parts)) = found.await? else { return Ok(None) };
        if self.part >= parts.count() {
            return Ok(None);
        }
        let mut did = Pass::default();
        if self.is_first() {
            did.assigned = assign_waiting(&db, namespace, &record.fleet, now_ms).await?;
        }
        let mut memory = match memory {
            Some(mut memory) if memory.is_current(&record, now_ms) => {
                memory.record = record;
                memory.lead(parts);
                memory
            }
            before => {
                let waits = before.map_or_else(Waits::default, |memory| memory.waits);
                Memory::read(&db, record, (parts, self.part), waits, now_ms).await?
            }
        };
        let (outlook, watches) = self.look(&mut memory, now_ms).await?;
        memory.expire(now_ms);
        if self.is_first() {
            self.report(&memory, &outlook, now_ms).await?;
            self.decide_parts(&mut memory, now_ms).await?;
        }
        let mut due_ms = None;
        if memory.record.mode() != QueueMode::Paused {
            let offers = share_of(outlook.offers, memory.parts.count());
            let formed = memory.pool.form(now_ms, &offers, MAX_MATCHES_PER_PASS);
            self.commit(&mut memory, formed, outlook.backfill, &mut did, now_ms).await?;
            due_ms = memory.pool.next_due_ms();
        }
        metrics::matches(did.assigned, did.waiting, did.joined, did.stale);
        Ok(Some((memory, did, Next { watches, due_ms })))
    }

    /// Changes the queue's parts, if it is time to think about them and others are better.
    async fn decide_parts(&mut self, memory: &mut Memory, now_ms: u64) -> Result<(), StateError> {
        if now_ms < self.parted_ms + parting::EVERY_MS {
            return Ok(());
        }
        self.parted_ms = now_ms;
        if let Some(parts) = parting::change(&self.db, memory).await? {
            tracing::info!(self.namespace, self.queue, parts = parts.count(), "the queue's parts change");
            memory.lead(parts);
        }
        Ok(())
    }

    /// Takes the news in, and looks where matches could be played.
    async fn look(&self, memory: &mut Memory, now_ms: u64) -> Result<(Outlook, Vec<Watch>), StateError> {
        let mut matches = BTreeSet::new();
        loop {
            let (seen, record) = (&*memory, &memory.record);
            let (news, outlook, watches) = self
                .db
                .read("matchmaking_view", async |mut tx| {
                    let watches = vec![
                        tx.watch(&keyspace::queue_revision(&record.namespace, &record.name)),
                        tx.watch(&keyspace::fleet_revision(&record.namespace, &record.fleet)),
                        tx.watch(&keyspace::machines_revision()),
                    ];
                    let news = seen.next_news(&mut tx).await?;
                    let outlook = outlook::of_queue(&mut tx, record, now_ms).await?;
                    Ok::<_, StateError>((news, outlook, watches))
                })
                .await?;
            let more = news.more;
            memory.take(news, &mut matches, now_ms);
            if !more {
                memory.look_at(&self.db, matches).await?;
                return Ok((outlook, watches));
            }
        }
    }

    /// Commits what was formed. Those of a match that another was quicker to spoil search on.
    async fn commit(
        &self,
        memory: &mut Memory,
        formed: Vec<Formed>,
        backfill: bool,
        did: &mut Pass,
        now_ms: u64,
    ) -> Result<(), StateError> {
        let record = memory.record.clone();
        let is_shared = memory.parts.count() > 1;
        let queue = memory.pool.queue().clone();
        let max_players = u32::try_from(queue.sizes().1).unwrap_or(u32::MAX);
        let accept_ms = memory.accept_ms;
        let making = Making { record: &record, accept_ms, max_players, backfill, is_shared };
        let commits = one_after_the_other(formed).into_iter().map(|group| {
            let (making, queue) = (&making, &queue);
            async move {
                let mut outcomes = Vec::with_capacity(group.len());
                for formed in group {
                    outcomes.push((self.commit_one(making, queue, &formed, now_ms).await?, formed));
                }
                Ok::<_, StateError>(outcomes)
            }
        });
        let (mut spoilt, mut reread) = (Vec::new(), BTreeSet::new());
        let mut commits = stream::iter(commits).buffer_unordered(CONCURRENT_COMMITS);
        while let Some(outcomes) = commits.next().await {
            for (committed, formed) in outcomes? {
                let waits_ms = did.note(committed.clone());
                for wait_ms in &waits_ms {
                    memory.waits.note(*wait_ms);
                }
                if matches!(committed, Committed::Stale | Committed::Closed) {
                    spoilt.extend(formed.members.iter().map(|(key, _)| *key));
                }
                if let Some(key) = formed.joins {
                    match committed {
                        // It is in the pool with those who were to join.
                        Committed::Stale => _ = reread.insert(match_id(key)),
                        // What made it another is news.
                        Committed::Closed => _ = memory.pool.close(key),
                        _ => {}
                    }
                }
            }
        }
        drop(commits);
        memory.look_at(&self.db, reread).await?;
        for key in spoilt {
            let ticket = ticket_id(key);
            let found = self.db.read("spoilt", async |mut tx| tickets::peek(&mut tx, ticket).await).await?;
            if let Some(found) = found.filter(|found| found.state() == TicketState::Searching) {
                memory.take_back(ticket, &found.searching());
            }
        }
        Ok(())
    }

    async fn commit_one(
        &self,
        making: &Making<'_>,
        queue: &Queue,
        formed: &Formed,
        now_ms: u64,
    ) -> Result<Committed, StateError> {
        let team = |team: usize| queue.team_name(team).to_owned();
        let members: Vec<(TicketId, String)> =
            formed.members.iter().map(|(key, at)| (ticket_id(*key), team(*at))).collect();
        match formed.joins {
            None => commit_group(&self.db, making, &formed.region, &members, now_ms).await,
            Some(opening) => {
                let beside: Vec<TicketId> = formed.beside.iter().map(|key| ticket_id(*key)).collect();
                commit_join(&self.db, making, (match_id(opening), &beside), &members, now_ms).await
            }
        }
    }

    /// Writes what is in the way of the queue's matches, if it is news, and from time to time what may be expected.
    async fn report(&mut self, memory: &Memory, outlook: &Outlook, now_ms: u64) -> Result<(), StateError> {
        let mut waiting_for = outlook.waiting_for.clone();
        if memory.record.mode() == QueueMode::Paused {
            waiting_for
                .push(format!("the queue is paused; `muster queue resume {}` lets it go on", self.queue));
        }
        let regions: Vec<&str> = outlook.offers.iter().map(|offer| offer.region.as_str()).collect();
        if !regions.is_empty() && memory.pool.any_out_of_reach(&regions, LOOKED_AT_FOR_REGIONS) {
            waiting_for.push(format!(
                "some players are over the queue's latency limit to every region that is served ({}); raise the limit, \
                 or serve a region nearer to them",
                regions.join(", ")
            ));
        }
        if let Some(reason) = memory.unfit.values().next() {
            waiting_for.push(format!(
                "{} tickets cannot be matched as the queue is defined now, the first because {reason}",
                memory.unfit.len()
            ));
        }
        let (namespace, queue) = (&self.namespace, &self.queue);
        let known = self
            .db
            .read("queue_status", async |mut tx| queues::status(&mut tx, namespace, queue).await)
            .await?;
        let expected = memory.waits.expected();
        let status = QueueStatusRecord {
            waiting_for,
            wait_p50_ms: expected.p50_ms,
            wait_p90_ms: expected.p90_ms,
            waits: expected.of,
        };
        let is_due = self.status_ms + STATUS_EVERY_MS <= now_ms && expected.of > 0;
        if known == status || (known.waiting_for == status.waiting_for && !is_due) {
            return Ok(());
        }
        self.status_ms = now_ms;
        // A matchmaker that has matched nobody yet knows less than the one before it.
        let status = if expected.of > 0 {
            status
        } else {
            QueueStatusRecord { waiting_for: status.waiting_for, ..known }
        };
        self.db
            .run("queue_status", async |mut tx| queues::set_status(&mut tx, namespace, queue, &status).await)
            .await
    }
}

/// What one of several parts may take of what regions have room for: a share, so that all of them together do not take
/// much more than there is, and at least one match, so that none goes without.
fn share_of(mut offers: Vec<Offer>, parts: usize) -> Vec<Offer> {
    let parts = parts as u32;
    for offer in &mut offers {
        offer.capacity = offer.capacity.div_ceil(parts);
    }
    offers
}
