//! The searching tickets of one queue in memory, and the matches that it fills, as the store has them: read whole once, and
//! then by the news.
//!
//! Every ticket that begins to search, and every one that is withdrawn, leaves a row of news whose key sorts by the
//! order of commits ([`crate::keyspace::ticket_news_row`]); what a matchmaker has not read yet lies behind its
//! cursor, and none is missed, however the clocks of those who write differ. That a ticket was matched is told only
//! where the queue is in parts: a matchmaker knows what it matched itself, and what another matched meanwhile it learns
//! at the latest when its own match of that ticket is refused.
//! Of the matches that a queue fills every change is news; who sits in one is read when it comes.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use muster_matchmaker::parts::Parts;
use muster_matchmaker::{Pool, Ticket, TicketKey};
use muster_protocol::id::{MatchId, TicketId};
use muster_store::{Database, Transaction};
use uuid::Uuid;

use super::candidate::candidate;
use super::compiled::compile;
use super::opening::{opening, opening_key};
use super::waits::Waits;
use crate::keyspace;
use crate::records::{QueueRecord, SearchingTicket};
use crate::state::tickets::{self, News, Told};
use crate::state::{StateError, matches, news};

/// Rows read in one transaction.
const PAGE: usize = 2_000;
/// Most matches that a queue fills at a time; of those beyond nobody joins until others are full or over.
const MAX_OPENINGS: usize = 20_000;
/// Matches read at the same time: each with its tickets, one after the other.
const CONCURRENT_READS: usize = 64;
/// News is kept in the store for this long after it was read here: another matchmaker of the queue, which takes over,
/// reads it from where the whole was read. Longer than any reading of the whole takes.
pub(super) const NEWS_KEPT_MS: u64 = 60_000;
/// A memory that has not been brought up to date for this long is read anew: half of what news is kept.
const STALE_AFTER_MS: u64 = NEWS_KEPT_MS / 2;
/// Marks of where the news ended when it was read, each at least this long after the one before.
const MARK_EVERY_MS: u64 = 10_000;

/// One queue's tickets.
pub(super) struct Memory {
    pub(super) record: QueueRecord,
    pub(super) pool: Pool,
    /// How long players have to accept, in milliseconds; 0: they are not asked.
    pub(super) accept_ms: u64,
    /// The queue's parts, and how many it is fixed to; 0: as many as its tickets need.
    pub(super) parts: Parts,
    pub(super) fixed_parts: usize,
    /// Which of the parts leads here.
    part: usize,
    /// Tickets that cannot be matched as the queue is defined.
    pub(super) unfit: BTreeMap<TicketKey, String>,
    /// How long those had waited that were matched, here or, in a queue in parts, elsewhere.
    pub(super) waits: Waits,
    expiries: BTreeSet<(u64, TicketKey)>,
    cursor: Cursor,
    marks: VecDeque<(u64, Cursor)>,
    read_ms: u64,
}

/// Up to where the news was read: that of tickets, and that of matches.
#[derive(Clone, Debug)]
pub(super) struct Cursor {
    pub(super) tickets: Bytes,
    pub(super) matches: Bytes,
}

/// A page of news.
pub(super) struct Page {
    tickets: Vec<News>,
    matches: Vec<(Bytes, MatchId)>,
    /// Whether there may be more.
    pub(super) more: bool,
}

/// The id that a key in the pool stands for.
pub(super) fn ticket_id(key: TicketKey) -> TicketId {
    TicketId::from_uuid(Uuid::from_u128(key))
}

impl Memory {
    /// Reads the tickets of the queue that `record` is of whole, of which those of `part` are led here.
    pub(super) async fn read(
        db: &Database,
        record: QueueRecord,
        (parts, part): (Parts, usize),
        waits: Waits,
        now_ms: u64,
    ) -> Result<Self, StateError> {
        let (namespace, queue) = (record.namespace.clone(), record.name.clone());
        // The end of the news first: a ticket that comes while the whole is read is in it, or behind that end, or both.
        let cursor = db
            .read("matchmaker_takes_over", async |mut tx| {
                let tickets = news::end(&mut tx, &keyspace::ticket_news(&namespace, &queue)).await?;
                let matches = news::end(&mut tx, &keyspace::match_news(&namespace, &queue)).await?;
                Ok::<_, StateError>(Cursor { tickets, matches })
            })
            .await?;
        let compiled = compile(&record)?;
        let spec = &compiled.spec;
        let accept_ms = u64::from(spec.accept_s) * 1_000;
        let mut memory = Self {
            record,
            pool: Pool::new(compiled.queue.clone()),
            accept_ms,
            fixed_parts: spec.parts as usize,
            parts: Parts::default(),
            part,
            unfit: BTreeMap::new(),
            waits,
            expiries: BTreeSet::new(),
            cursor,
            marks: VecDeque::new(),
            read_ms: now_ms,
        };
        memory.lead(parts);
        let mut after: Option<Bytes> = None;
        loop {
            let page = db
                .read("matchmaker_reads", async |mut tx| {
                    tickets::searching(&mut tx, &namespace, &queue, after.as_deref(), PAGE).await
                })
                .await?;
            let Some((last, ..)) = page.last() else { break };
            after = Some(last.clone());
            for (_, ticket, row) in page {
                memory.learn(ticket, &Told::Searches(row));
            }
        }
        let mut after: Option<Bytes> = None;
        while memory.pool.openings() < MAX_OPENINGS {
            let page = db
                .read("matchmaker_reads", async |mut tx| {
                    matches::open(&mut tx, &namespace, &queue, after.as_deref(), PAGE).await
                })
                .await?;
            let Some((last, _)) = page.last() else { break };
            after = Some(last.clone());
            memory.look_at(db, page.into_iter().map(|(_, match_id)| match_id).collect()).await?;
        }
        Ok(memory)
    }

    /// Reads matches anew: how far the queue fills them, and with whom.
    pub(super) async fn look_at(
        &mut self,
        db: &Database,
        matches: BTreeSet<MatchId>,
    ) -> Result<(), StateError> {
        let queue = self.pool.queue().clone();
        let read = |match_id: MatchId| {
            let queue = &queue;
            async move {
                let found =
                    db.read("opening", async |mut tx| opening(&mut tx, queue, match_id).await).await?;
                Ok::<_, StateError>((match_id, found))
            }
        };
        let mut found = stream::iter(matches.into_iter().map(read)).buffer_unordered(CONCURRENT_READS);
        while let Some(read) = found.next().await {
            let (match_id, found) = read?;
            match found.filter(|_| self.pool.openings() < MAX_OPENINGS) {
                Some(opening) => self.pool.open(opening),
                None => self.pool.close(opening_key(match_id)).is_some(),
            };
        }
        Ok(())
    }

    /// Whether this is still what the store says, but for the news: the definition is the same, and no news can have
    /// been removed that was not read.
    pub(super) fn is_current(&self, record: &QueueRecord, now_ms: u64) -> bool {
        self.record.version == record.version
            && self.record.created_at_ms == record.created_at_ms
            && now_ms.saturating_sub(self.read_ms) < STALE_AFTER_MS
    }

    /// Lets its own tickets lead by `parts` from now on.
    pub(super) fn lead(&mut self, parts: Parts) {
        if self.parts != parts {
            self.pool.lead(parts.clone(), self.part);
            self.parts = parts;
        }
    }

    /// Reads a page of news.
    pub(super) async fn next_news(&self, tx: &mut Transaction) -> Result<Page, StateError> {
        let (namespace, queue) = (&self.record.namespace, &self.record.name);
        let tickets = tickets::news(tx, namespace, queue, &self.cursor.tickets, PAGE).await?;
        let matches = matches::news(tx, namespace, queue, &self.cursor.matches, PAGE).await?;
        let more = tickets.len() == PAGE || matches.len() == PAGE;
        Ok(Page { tickets, matches, more })
    }

    /// Takes news in. Matches that there is news of are added to `matches`, to be read.
    pub(super) fn take(&mut self, page: Page, matches: &mut BTreeSet<MatchId>, now_ms: u64) {
        self.read_ms = now_ms;
        for news in page.tickets {
            self.learn(news.ticket, &news.told);
            self.cursor.tickets = news.key;
        }
        for (key, match_id) in page.matches {
            matches.insert(match_id);
            self.cursor.matches = key;
        }
        if self.marks.back().is_none_or(|(at_ms, _)| at_ms + MARK_EVERY_MS <= now_ms) {
            self.marks.push_back((now_ms, self.cursor.clone()));
        }
    }

    /// What is told of a ticket: it searches, or it does no more.
    fn learn(&mut self, ticket: TicketId, told: &Told) {
        let row = match told {
            Told::Searches(row) => row,
            Told::Matched(at_ms) => {
                // What was matched here has left the pool, and was noted then.
                if let Some(other) = self.forget(ticket) {
                    self.waits.note(at_ms.saturating_sub(other.entered_ms));
                }
                return;
            }
            Told::Withdrawn => return drop(self.forget(ticket)),
        };
        // It was found to fit.
        drop(self.fitting(ticket, row).map(|ticket| self.pool.insert(ticket)));
    }

    fn forget(&mut self, ticket: TicketId) -> Option<Ticket> {
        let key = ticket.uuid().as_u128();
        self.unfit.remove(&key);
        self.pool.remove(key)
    }

    /// A ticket that a match was formed of, and refused, searches on.
    pub(super) fn take_back(&mut self, ticket: TicketId, row: &SearchingTicket) {
        // It was found to fit.
        drop(self.fitting(ticket, row).map(|ticket| self.pool.put_back(ticket)));
    }

    /// The ticket that a row is of, if it can be matched as the queue is defined.
    fn fitting(&mut self, ticket: TicketId, row: &SearchingTicket) -> Option<Ticket> {
        let key = ticket.uuid().as_u128();
        if row.expires_at_ms > 0 {
            self.expiries.insert((row.expires_at_ms, key));
        }
        match candidate(self.pool.queue(), ticket, row) {
            Ok(ticket) => Some(ticket),
            Err(reason) => {
                self.unfit.insert(key, reason);
                None
            }
        }
    }

    /// Lets go of tickets whose time is over.
    pub(super) fn expire(&mut self, now_ms: u64) {
        while let Some((at_ms, key)) = self.expiries.first().copied()
            && at_ms <= now_ms
        {
            self.expiries.pop_first();
            self.pool.remove(key);
            self.unfit.remove(&key);
        }
    }

    /// The news that everybody has read by now, up to the key given, once more of it is there.
    pub(super) fn forgettable(&mut self, now_ms: u64) -> Option<Cursor> {
        let mut until = None;
        while let Some((at_ms, _)) = self.marks.front()
            && at_ms + NEWS_KEPT_MS <= now_ms
        {
            until = self.marks.pop_front().map(|(_, cursor)| cursor);
        }
        until
    }
}
