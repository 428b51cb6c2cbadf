//! The configuration files of the processes, as far as the harness sets them.
//!
//! Written out here and not taken from the programs' own types: the harness knows no more of them than
//! an operator does.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::Path;

use serde::Serialize;

#[derive(Serialize)]
pub(super) struct OrchestratorConfig<'a> {
    pub(super) data_dir: &'a Path,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) store: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) session_token_ttl_s: Option<u32>,
    pub(super) api: Api,
    pub(super) link: Listen,
}

/// The API. All players of a load test come from one address and with one token.
#[derive(Serialize)]
pub(super) struct Api {
    pub(super) listen: String,
    pub(super) tickets_per_s_per_address: u32,
    pub(super) tickets_per_s_per_token: u32,
    pub(super) ticket_calls_per_s_per_address: u32,
    pub(super) ticket_calls_per_s_per_token: u32,
}

#[derive(Serialize)]
pub(super) struct Listen {
    pub(super) listen: String,
}

/// A process's `[metrics]`: tables come last in TOML.
#[derive(Serialize)]
pub(super) struct Metrics {
    pub(super) listen: String,
}

#[derive(Serialize)]
pub(super) struct AgentConfig<'a> {
    pub(super) state_dir: &'a Path,
    pub(super) region: &'a str,
    pub(super) name: &'a str,
    pub(super) orchestrator: [String; 1],
    pub(super) join_token: String,
    pub(super) tunnel_listen: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) cpu_millis: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) docker_socket: Option<&'a str>,
    pub(super) metrics: Metrics,
}

#[derive(Serialize)]
pub(super) struct EdgeConfig<'a> {
    pub(super) state_dir: &'a Path,
    pub(super) region: &'a str,
    pub(super) name: &'a str,
    pub(super) orchestrator: [String; 1],
    pub(super) join_token: String,
    pub(super) listen_ip: Ipv4Addr,
    pub(super) public_host: Ipv4Addr,
    pub(super) port_first: u16,
    pub(super) port_last: u16,
    pub(super) beacon_port: u16,
    pub(super) udp_idle_timeout_s: u32,
    pub(super) max_connections_per_address: u32,
    pub(super) metrics: Metrics,
}

/// Metrics on `address`.
pub(super) fn metrics_at(address: SocketAddrV4) -> Metrics {
    Metrics { listen: address.to_string() }
}
