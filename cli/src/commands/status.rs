//! `muster status`: how the installation is.

use super::Ops;
use crate::output;

pub(crate) async fn run(ops: &Ops) -> anyhow::Result<()> {
    let status = ops.client.status().await?;
    let counts = |pairs: Vec<(&str, u32)>| {
        output::list(pairs.into_iter().filter(|(_, n)| *n > 0).map(|(state, n)| format!("{n} {state}")))
    };
    let or_none = |text: String| if text.is_empty() { "none".to_owned() } else { text };
    let lines = [
        (
            "orchestrator",
            format!(
                "{} at {}, up {}",
                status.version,
                ops.client.url(),
                output::span(status.uptime_s * 1_000)
            ),
        ),
        ("orchestrators", status.orchestrators.to_string()),
        ("store", status.store.clone()),
        ("nodes", format!("{} of {} ready", status.nodes_ready, status.nodes)),
        ("edges", format!("{} of {} connected", status.edges_connected, status.edges)),
        ("servers", or_none(counts(status.servers.iter().map(|(state, n)| (state.as_str(), *n)).collect()))),
        ("tickets", or_none(counts(status.tickets.iter().map(|(state, n)| (state.as_str(), *n)).collect()))),
        ("problems", or_none(status.problems.join("\n"))),
    ];
    output::details(ops.json, &status, &lines)
}
