//! What the edges of a region are to serve, as the link's messages say it.
//!
//! Regions have many servers, and each that comes or goes makes the links of all their edges look. What a server's routes
//! say stays the same while it has them, but for where its node's tunnel ends; so only those are read that are not known.

use std::collections::{BTreeMap, BTreeSet};

use muster_protocol::edge as wire;
use muster_protocol::id::{NodeId, ServerId};
use muster_store::Transaction;

use super::{StateError, desired::wire_protocol, kv, nodes, servers};
use crate::keyspace;
use crate::records::TokenMode;

/// Most servers of a region that have routes.
pub const MAX_ROUTED_SERVERS: usize = 50_000;

/// What makes the routes of a region, and is enough to know which of them are known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Routed {
    /// Servers with routes.
    pub servers: BTreeSet<ServerId>,
    /// Where the tunnels of the region's nodes end.
    pub tunnels: BTreeMap<NodeId, Vec<String>>,
}

/// Servers of a region that have routes, and those routes, sorted by server, that are not known by `known`. Changes with
/// [`keyspace::region_revision`]; read both in one transaction, or the revision first. Does not conflict.
pub async fn routes_for_region(
    tx: &mut Transaction,
    region: &str,
    known: &Routed,
) -> Result<(Routed, Vec<wire::Route>), StateError> {
    let nodes = nodes::list_in_region(tx, region).await?;
    let tunnels = nodes.into_iter().map(|node| (node.typed_id(), node.tunnel_addresses)).collect();
    let mut routed = Routed { tunnels, servers: BTreeSet::new() };
    let have_moved = routed.tunnels != known.tunnels;
    let mut routes = Vec::new();
    for key in kv::scan_keys(tx, &keyspace::servers_routed(region), MAX_ROUTED_SERVERS).await? {
        let Some(id) = keyspace::last_id(&key) else { continue };
        if !have_moved && known.servers.contains(&id) {
            routed.servers.insert(id);
            continue;
        }
        let Some(record) = servers::peek(tx, id).await? else { continue };
        let Some(node) = record.node_id() else { continue };
        routed.servers.insert(id);
        let addresses = routed.tunnels.get(&node).cloned().unwrap_or_default();
        for (index, port) in record.ports.iter().enumerate() {
            routes.push(wire::Route {
                key: Some(wire::RouteKey {
                    edge_port: port.edge_port,
                    protocol: wire_protocol(port.protocol()).into(),
                }),
                server_id: id.to_string(),
                port_name: port.name.clone(),
                port_index: index as u32,
                token_mode: match port.token_mode() {
                    TokenMode::Open => wire::TokenMode::Open,
                    TokenMode::Preface => wire::TokenMode::Preface,
                    TokenMode::Claim => wire::TokenMode::Claim,
                }
                .into(),
                tls: port.tls,
                proxy_protocol: port.proxy_protocol,
                node_id: node.to_string(),
                tunnel_addresses: addresses.clone(),
            });
        }
    }
    Ok((routed, routes))
}
