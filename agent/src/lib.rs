//! Muster's agent: runs game servers on one machine, and is their way to the players.
//!
//! It holds the link to the orchestrator (`link`), decides what has to happen (`reconcile`, pure), has
//! Docker do it (`supervisor`, `runtime`, `images`), finds out when servers are ready (`ready`), talks
//! with them (`sdk`), and puts players' packets through to them (`tunnel`). It keeps no game state and
//! makes no placement decisions; with every orchestrator gone it goes on with what it knows.

#![forbid(unsafe_code)]

mod addresses;
mod agent;
mod clock;
pub mod config;
mod failure;
#[doc(hidden)]
pub mod fuzzing;
mod images;
mod link;
mod metrics;
mod ready;
pub mod reconcile;
mod routes;
mod runtime;
mod sdk;
mod state_file;
mod supervisor;
mod tunnel;

pub use agent::{Agent, StartError, start};
pub use config::{Config, ConfigError, ContainerReach};
pub use tunnel::{TunnelAlone, TunnelBindError};
