//! Edges: what each connected one routes, what it could not, and the traffic it sees.
//!
//! A session sends its region's limits and routes and writes what the edge answers; what follows for a server is
//! `lifecycle`'s to decide.

mod flows;
pub(crate) mod reports;
mod routes;
mod session;
#[cfg(test)]
mod tests;

#[cfg(test)]
pub(crate) use flows::{Flows, record as record_flows};
#[cfg(test)]
pub(crate) use routes::{MAX_UNANSWERED, Told};
pub(crate) use session::serve;
#[cfg(test)]
pub(crate) use session::{read_wanted, record_answers};
