//! What every part of the orchestrator works with: the store, the links, the archives, the authority.
//!
//! Made once at the start and shared; holds no state of its own.

use std::sync::Arc;
use std::time::Instant;

use metrics_exporter_prometheus::PrometheusHandle;
use muster_engine::WorkerId;
use muster_store::Database;

use crate::api::TicketLimits;
use crate::authority::Authority;
use crate::blobs::Blobs;
use crate::config::Config;
use crate::links::Links;
use crate::replicas::Peers;

/// The parts of a running orchestrator.
pub struct App {
    /// The store: everything that must survive.
    pub db: Database,
    /// Who is connected.
    pub links: Arc<Links>,
    /// Build archives and uploads.
    pub blobs: Blobs,
    /// The other replicas.
    pub(crate) peers: Peers,
    /// Certificates and session tokens.
    pub authority: Arc<Authority>,
    /// How fast game clients may ask for matches.
    pub(crate) ticket_limits: TicketLimits,
    /// As validated at the start.
    pub config: Arc<Config>,
    /// Which replica this is: its worker of the engine.
    pub replica: WorkerId,
    /// Where machines and other replicas reach this one's links, `host:port`; empty if that was not said, as one
    /// that is alone need not.
    pub link_address: String,
    /// When this process started the orchestrator.
    pub started: Instant,
    /// The same, Unix milliseconds: what was last heard before it counts from here on.
    pub started_at_ms: u64,
    /// Renders `/metrics`; `None` if the caller installed no recorder.
    pub metrics: Option<PrometheusHandle>,
}
