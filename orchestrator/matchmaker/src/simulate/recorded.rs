//! A line of a recorded population as a ticket of a queue, or what is wrong with the line. That the line is JSON is
//! for whoever reads the file.

use muster_protocol::api::{MAX_LATENCIES, MAX_PLAYER_BYTES, RecordedTicket};

use super::{Arrival, MAX_TIME_MS};
use crate::filter::{Filter, FilterError};
use crate::queue::Queue;
use crate::ticket::{Player, Ticket, TicketError, TicketKey};

/// What is wrong with a recorded ticket, with the field's name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordedError {
    /// It came, or left, later than time goes here.
    #[error("{field}: {ms} is later than {MAX_TIME_MS}, the latest there is")]
    Time {
        /// The field.
        field: &'static str,
        /// Its value.
        ms: u64,
    },
    /// It left before it came.
    #[error("left_ms: {left_ms} is before entered_ms, {entered_ms}")]
    LeftBefore {
        /// When it left.
        left_ms: u64,
        /// When it came.
        entered_ms: u64,
    },
    /// A player's name is empty or too long.
    #[error("players[{at}].player: a name has 1 to {MAX_PLAYER_BYTES} bytes, not {bytes}")]
    Name {
        /// Which player, from 0.
        at: usize,
        /// How long it is.
        bytes: usize,
    },
    /// What a player says of themselves is not what the queue declares.
    #[error("players[{at}].attributes: {error}")]
    Attributes {
        /// Which player, from 0.
        at: usize,
        /// What is wrong.
        error: TicketError,
    },
    /// Too many regions.
    #[error("latencies_ms: at most {MAX_LATENCIES} regions, not {0}")]
    Latencies(usize),
    /// Its filter is none.
    #[error("filter: {0}")]
    Filter(FilterError),
    /// The queue does not admit its block list.
    #[error("blocks: {0}")]
    Blocks(TicketError),
    /// The queue does not admit its party.
    #[error("players: {0}")]
    Players(TicketError),
}

impl Queue {
    /// A line of a recorded population as an arrival of this queue.
    ///
    /// # Errors
    /// [`RecordedError`]: the first thing that is wrong with the line.
    pub fn recorded(&self, key: TicketKey, line: &RecordedTicket) -> Result<Arrival, RecordedError> {
        let times = [("entered_ms", Some(line.entered_ms)), ("left_ms", line.left_ms)];
        for (field, ms) in times {
            if let Some(ms) = ms.filter(|ms| *ms > MAX_TIME_MS) {
                return Err(RecordedError::Time { field, ms });
            }
        }
        if let Some(left_ms) = line.left_ms.filter(|left_ms| *left_ms < line.entered_ms) {
            return Err(RecordedError::LeftBefore { left_ms, entered_ms: line.entered_ms });
        }
        if line.latencies_ms.len() > MAX_LATENCIES {
            return Err(RecordedError::Latencies(line.latencies_ms.len()));
        }
        // Before its players are looked at, whose number is not bounded yet.
        if line.players.len() > self.largest_party() {
            let error =
                TicketError::PartyTooLarge { size: line.players.len(), largest: self.largest_party() };
            return Err(RecordedError::Players(error));
        }
        let mut players = Vec::with_capacity(line.players.len());
        for (at, player) in line.players.iter().enumerate() {
            let (name, bytes) = (player.player.clone(), player.player.len());
            if bytes == 0 || bytes > MAX_PLAYER_BYTES {
                return Err(RecordedError::Name { at, bytes });
            }
            let attributes = self.attributes(&player.attributes);
            let attributes = attributes.map_err(|error| RecordedError::Attributes { at, error })?;
            players.push(Player { name, attributes });
        }
        let filter = match line.filter.as_str() {
            "" => None,
            text => Some(Filter::compile(text, self.schema()).map_err(RecordedError::Filter)?),
        };
        let ticket = Ticket {
            key,
            players,
            latencies_ms: line.latencies_ms.clone(),
            entered_ms: line.entered_ms,
            priority: line.priority,
            filter,
            blocks: line.blocks.iter().cloned().collect(),
        };
        self.admits(&ticket).map_err(|error| match error {
            TicketError::TooManyBlocks => RecordedError::Blocks(error),
            error => RecordedError::Players(error),
        })?;
        Ok(Arrival { ticket, leaves_ms: line.left_ms })
    }
}
