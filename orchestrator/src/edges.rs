//! Edges: what each connected one routes, what it could not, and the traffic it sees.
//!
//! A session sends its region's routes and writes what the edge answers; what follows for a server is
//! `lifecycle`'s to decide.

mod routes;
mod session;
#[cfg(test)]
mod tests;

pub(crate) use session::serve;
