//! What the edges of a region are to serve, whole, as the link's messages say it.

use muster_protocol::edge as wire;
use muster_store::Transaction;

use super::{StateError, desired::wire_protocol, kv, nodes, servers};
use crate::keyspace;
use crate::records::TokenMode;

/// Most servers of a region that have routes.
pub const MAX_ROUTED_SERVERS: usize = 50_000;

/// Every route of a region, sorted by server. Changes with [`keyspace::region_revision`]; read both in
/// one transaction, or the revision first. Does not conflict.
pub async fn routes_for_region(tx: &mut Transaction, region: &str) -> Result<Vec<wire::Route>, StateError> {
    let mut routes = Vec::new();
    let mut machines = std::collections::BTreeMap::new();
    for key in kv::scan_keys(tx, &keyspace::servers_routed(region), MAX_ROUTED_SERVERS).await? {
        let Some(id) = keyspace::last_id(&key) else { continue };
        let Some(record) = servers::peek(tx, id).await? else { continue };
        let Some(node) = record.node_id() else { continue };
        let addresses = match machines.entry(node.uuid()) {
            std::collections::btree_map::Entry::Occupied(known) => known.into_mut(),
            std::collections::btree_map::Entry::Vacant(unknown) => {
                let found = nodes::peek(tx, node).await?;
                unknown.insert(found.map(|node| node.tunnel_addresses).unwrap_or_default())
            }
        };
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
    Ok(routes)
}
