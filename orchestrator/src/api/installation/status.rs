//! `GET /v1/status`: the installation at a glance, and what is wrong with it.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use muster_protocol::api::{NodeState, Status};
use muster_store::{StoreLocation, Transaction};

use crate::api::auth::{Admin, Grant};
use crate::api::problem::ApiResult;
use crate::api::view;
use crate::app::App;
use crate::lifecycle::standing::waiting_for;
use crate::state::regions::RegionMachines;
use crate::state::{self, StateError};
use crate::{check, clock, config};

/// Most problems that are listed; the rest are counted.
const MAX_PROBLEMS: usize = 50;

/// How the installation is
#[utoipa::path(get, path = "/v1/status", tag = "installation", responses((status = 200, body = Status)))]
pub(super) async fn show_status(
    State(app): State<Arc<App>>,
    _grant: Grant<Admin>,
) -> ApiResult<Json<Status>> {
    let now_ms = clock::now_ms();
    let uptime_s = app.started.elapsed().as_secs();
    let status = app
        .db
        .read("status", async |mut tx| {
            let regions = state::regions::list(&mut tx).await?;
            let machines = regions.values();
            let nodes: Vec<_> = machines.clone().flat_map(|region| &region.nodes).collect();
            let edges: Vec<_> = machines.flat_map(|region| &region.edges).collect();
            let is_ready = |node: &&&_| view::node_state(node).0 == NodeState::Ready;
            let servers = state::servers::totals(&mut tx, None).await?;
            let tickets = state::tickets::totals(&mut tx, None).await?;
            Ok::<_, StateError>(Status {
                version: env!("CARGO_PKG_VERSION").to_owned(),
                now_ms,
                uptime_s,
                orchestrators: state::replicas::live(&mut tx).await?.len() as u32,
                store: store_text(&app.config),
                nodes_ready: nodes.iter().filter(is_ready).count() as u32,
                nodes: nodes.len() as u32,
                edges_connected: edges.iter().filter(|edge| edge.connected).count() as u32,
                edges: edges.len() as u32,
                servers: servers.into_iter().map(|(state, count)| (state.into(), count)).collect(),
                tickets: tickets.into_iter().map(|(state, count)| (state.into(), count)).collect(),
                problems: problems(&mut tx, &regions, now_ms).await?,
            })
        })
        .await?;
    Ok(Json(status))
}

fn store_text(config: &config::Config) -> String {
    match &config.store.0 {
        StoreLocation::Embedded => format!("embedded, in {}", config.data_dir.display()),
        StoreLocation::Cluster { file, prefix } => {
            format!("FoundationDB, by {}, under {prefix:?}", file.display())
        }
    }
}

type Regions = std::collections::BTreeMap<String, RegionMachines>;

async fn problems(tx: &mut Transaction, regions: &Regions, now_ms: u64) -> Result<Vec<String>, StateError> {
    let machines = machine_problems(regions);
    let mut problems = machines.clone();
    problems.extend(check::stuck(tx, MAX_PROBLEMS, now_ms).await?);
    for namespace in state::namespaces::list(tx).await? {
        for fleet in state::fleets::list(tx, &namespace.name).await? {
            let waiting_for = waiting_for(tx, &namespace.name, &fleet.name, None, now_ms).await?;
            // What a region lacks is said once, not again for each of its fleets.
            let own = waiting_for.into_iter().filter(|reason| !machines.contains(reason));
            problems
                .extend(own.map(|reason| format!("fleet {} of {}: {reason}", fleet.name, namespace.name)));
        }
    }
    if problems.len() > MAX_PROBLEMS {
        let more = problems.len() - MAX_PROBLEMS;
        problems.truncate(MAX_PROBLEMS);
        problems.push(format!("and {more} more; see `muster fleet ls` and `muster node ls`"));
    }
    Ok(problems)
}

fn machine_problems(regions: &Regions) -> Vec<String> {
    if regions.is_empty() {
        return vec![
            "no machine has joined; make tokens with `muster token create --join agent --region NAME` and \
             `… --join edge …`"
                .to_owned(),
        ];
    }
    let mut problems = Vec::new();
    for (name, machines) in regions {
        problems.extend(machines.obstacle(name));
        for node in &machines.nodes {
            let (state, why) = view::node_state(node);
            if state != NodeState::Ready {
                problems.push(format!("node {} ({name}) is {}: {why}", node.name, state.as_str()));
            }
        }
        for edge in machines.edges.iter().filter(|edge| !edge.connected) {
            problems.push(format!(
                "edge {} ({name}) is not connected; start it, or see why it cannot reach the orchestrator",
                edge.name
            ));
        }
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::records::{EdgeRecord, NodeRecord};

    #[test]
    fn an_empty_installation_says_how_to_begin() {
        assert!(machine_problems(&Regions::new())[0].contains("--join agent"));
    }

    #[test]
    fn every_machine_that_is_away_is_named() {
        let machines = RegionMachines {
            nodes: vec![
                NodeRecord { name: "n1".into(), connected: true, ..NodeRecord::default() },
                NodeRecord { name: "n2".into(), ..NodeRecord::default() },
            ],
            edges: vec![EdgeRecord { name: "e1".into(), ..EdgeRecord::default() }],
        };
        let problems = machine_problems(&Regions::from([("eu".to_owned(), machines)]));
        for part in ["no edge of region eu", "node n2 (eu) is disconnected", "edge e1 (eu) is not connected"]
        {
            assert!(problems.iter().any(|problem| problem.contains(part)), "{part} in {problems:?}");
        }
        assert_eq!(problems.len(), 3);
    }
}
