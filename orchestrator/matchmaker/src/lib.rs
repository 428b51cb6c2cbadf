//! Matchmaking, pure: tickets, a queue's definition and the time go in, matches come out.
//!
//! No store, no clock, no randomness: the same goes in, the same comes out. A queue is written as a
//! [`muster_protocol::api::QueueSpec`] and compiled ([`queue`]); tickets wait in a [`Pool`], which forms matches that
//! [`Queue::allows`] and has them join running ones ([`Opening`]) as [`Queue::allows_joining`] says; of a large queue,
//! each pool lets only its own part of them lead ([`parts`]). Why a ticket is not matched, [`explain`] says; what another
//! definition would do for the same players, [`simulate`] does. What becomes of a match, and what is durable, is the
//! orchestrator's.

pub mod explain;
pub mod filter;
pub mod parts;
pub mod queue;
pub mod simulate;
pub mod ticket;

mod agenda;
mod balance;
#[cfg(test)]
mod cases;
#[cfg(test)]
mod complete;
mod filling;
mod form;
mod groups;
mod join;
#[cfg(test)]
mod join_tests;
mod levels;
mod near;
mod needs;
mod opening;
mod openings;
mod pool;
mod quality;
mod relaxing;
mod rules;
mod search;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod willing;

pub use form::{Formed, Offer};
pub use near::MAX_REGIONS;
pub use opening::{Opening, OpeningKey};
pub use pool::Pool;
pub use queue::{DefinitionError, Queue};
pub use relaxing::{MAX_STEPS, Relaxing};
pub use rules::Refusal;
pub use ticket::{Player, Ticket, TicketError, TicketKey};
