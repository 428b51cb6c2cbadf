//! What is there after the crashes: read from the API and from Docker.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Context as _;
use muster_client::ClientError;
use muster_protocol::problem::ProblemCode;

use super::ledger::{Ledger, Reality};
use super::load::seen;
use crate::harness::docker;
use crate::harness::stack::Stack;
use crate::harness::wait::{Look, until};

/// How long things may take to come to rest: the last servers to stop, the last matches to be served.
const REST_DEADLINE: Duration = Duration::from_mins(3);

/// Reads what is there.
pub async fn look(stack: &Stack, ledger: &Ledger, queue: &str, fleet: &str) -> anyhow::Result<Reality> {
    let mut reality = Reality { version: stack.studio.queue(queue).await?.version, ..Reality::default() };
    for id in ledger.ticket_ids() {
        match stack.player.ticket(&id.parse().context("the ledger holds ids of tickets")?).await {
            Ok(ticket) => drop(reality.tickets.insert(id, seen(&ticket))),
            Err(ClientError::Problem(problem)) if problem.code == ProblemCode::TicketUnknown => {}
            Err(error) => return Err(error.into()),
        }
    }
    reality.made.insert("namespace", namespaces(stack).await?);
    reality.made.insert("token", tokens(stack).await?);
    for server in stack.servers(fleet).await?.into_iter().filter(|server| !server.state.is_final()) {
        let held = server.ports.iter().filter(|port| port.edge_port > 0);
        // Two protocols that are both TCP underneath share one space of ports.
        let space = |protocol: &str| if protocol == "udp" { "udp" } else { "tcp" };
        let held = held.map(|port| format!("{}/{}", space(port.protocol.as_str()), port.edge_port)).collect();
        reality.servers.insert(server.id.to_string(), held);
    }
    reality.containers = labelled(stack).await?;
    Ok(reality)
}

/// Waits until nothing is under way any more: each container is of a live server, and each live server
/// stands where it is to stand.
pub async fn come_to_rest(stack: &Stack, fleet: &str) -> anyhow::Result<()> {
    until("everything to come to rest", REST_DEADLINE, async || {
        let servers = match stack.servers(fleet).await {
            Ok(servers) => servers,
            Err(error) => return Ok(Look::NotYet(error.to_string())),
        };
        let live: BTreeMap<String, _> = servers
            .iter()
            .filter(|server| !server.state.is_final())
            .map(|server| (server.id.to_string(), server.state.as_str()))
            .collect();
        let moving: Vec<_> =
            live.iter().filter(|(_, state)| !matches!(**state, "ready" | "allocated")).collect();
        let stray: Vec<String> =
            labelled(stack).await?.into_iter().filter(|server| !live.contains_key(server)).collect();
        Ok(if moving.is_empty() && stray.is_empty() {
            Look::Holds(())
        } else {
            Look::NotYet(format!("servers move: {moving:?}; containers of no live server: {stray:?}"))
        })
    })
    .await
}

/// The server that each of the node's containers is labelled with.
async fn labelled(stack: &Stack) -> anyhow::Result<Vec<String>> {
    let Some(node) = stack.node() else { return Ok(Vec::new()) };
    let filter = format!("label={}={node}", docker::NODE_LABEL);
    let format = format!("{{{{.Label \"{}\"}}}}", docker::SERVER_LABEL);
    let listed = docker::docker(&["ps", "--all", "--filter", &filter, "--format", &format]).await?;
    Ok(listed.lines().map(str::to_owned).collect())
}

async fn namespaces(stack: &Stack) -> anyhow::Result<Vec<String>> {
    let (mut names, mut after) = (Vec::new(), None);
    loop {
        let page = stack.admin.namespaces(after.as_deref()).await?;
        names.extend(page.items.into_iter().map(|namespace| namespace.name));
        after = page.next;
        if after.is_none() {
            return Ok(names);
        }
    }
}

async fn tokens(stack: &Stack) -> anyhow::Result<Vec<String>> {
    let (mut names, mut after) = (Vec::new(), None);
    loop {
        let page = stack.admin.tokens(after.as_deref()).await?;
        names.extend(page.items.into_iter().map(|token| token.name));
        after = page.next;
        if after.is_none() {
            return Ok(names);
        }
    }
}
