//! Words for where a server is and what it waits for, pure.

use crate::records::{Goal, ServerRecord, ServerState};
use crate::state::regions::RegionMachines;

/// Why `record` is where it is. `machines` are those of its region, if they were looked up: they say
/// what a server that waits for edges waits for.
pub fn explain(record: &ServerRecord, machines: Option<&RegionMachines>) -> String {
    let region = &record.region;
    match record.state() {
        ServerState::Pending if record.detail.is_empty() => "waits for a node to be chosen".to_owned(),
        ServerState::Placing => "placed; its agent has not answered yet".to_owned(),
        ServerState::Pulling => "its agent fetches the image".to_owned(),
        ServerState::Starting if record.agent_ready_at_ms > 0 => match machines {
            Some(machines) if !machines.edges.iter().any(|edge| edge.connected) => format!(
                "ready, but no edge of region {region} is connected to open its ports; start one, or see why it \
                 cannot reach the orchestrator"
            ),
            _ => format!("ready; waits for the edges of region {region} to open its ports"),
        },
        ServerState::Starting => {
            "its container starts; it is ready once it says so (SDK) or its ports answer".to_owned()
        }
        ServerState::Ready => "warm: waits to be claimed".to_owned(),
        ServerState::Allocated if record.detail.is_empty() => match record.match_id() {
            Some(match_id) => format!("claimed by {match_id}"),
            None => "claimed".to_owned(),
        },
        ServerState::Draining if record.goal() == Goal::Drain => {
            format!("told to finish ({}); stopped when its time is over", record.reason)
        }
        ServerState::Draining => format!("being stopped ({})", record.reason),
        ServerState::Stopped if record.detail.is_empty() => format!("over ({})", record.reason),
        _ => record.detail.clone(),
    }
}
