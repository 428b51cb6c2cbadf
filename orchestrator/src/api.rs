//! x
mod credentials;
mod extract;
mod image;
mod middleware;
pub(crate) mod problem;
mod serve;
mod validate;
