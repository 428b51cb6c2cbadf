//! `muster queue history`, and what goes back to an older version: the versions of a queue's definition that are kept.

use anyhow::anyhow;
use muster_protocol::api::{QueueSpec, QueueVersion};

use super::super::Ops;
use super::definition;
use crate::output;

/// Lists the versions, the newest first.
pub(super) async fn list(ops: &Ops, name: &str) -> anyhow::Result<()> {
    let kept = ops.client.queue_versions(name).await?.items;
    let rows = kept
        .iter()
        .map(|version| {
            let by = version.applied_by.map(|token| token.to_string());
            vec![version.version.to_string(), output::ago(version.applied_at_ms), by.unwrap_or_default()]
        })
        .collect();
    output::table(ops.json, &kept, &["version", "applied", "with token"], rows, "no versions are kept")
}

/// Shows the definition of a version.
pub(super) async fn show(ops: &Ops, name: &str, version: u64) -> anyhow::Result<()> {
    let found = pick(ops.client.queue_versions(name).await?.items, name, Some(version))?;
    if ops.json { output::json(&found) } else { output::line(&definition::toml(&found.spec)?) }
}

/// The definition of an older version; the one before the last if none is named.
pub(super) async fn older(ops: &Ops, name: &str, version: Option<u64>) -> anyhow::Result<QueueSpec> {
    Ok(pick(ops.client.queue_versions(name).await?.items, name, version)?.spec)
}

/// Of versions, the newest first, the one of a number or the one before the last.
fn pick(kept: Vec<QueueVersion>, name: &str, version: Option<u64>) -> anyhow::Result<QueueVersion> {
    let numbers = output::list(kept.iter().map(|kept| kept.version));
    let found = match version {
        Some(version) => kept.into_iter().find(|kept| kept.version == version),
        None => kept.into_iter().nth(1),
    };
    found.ok_or_else(|| match version {
        Some(version) => anyhow!("version {version} of queue {name} is not kept; there are {numbers}"),
        None => anyhow!("queue {name} has no older version; there are {numbers}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_picked_or_told_to_be_gone() {
        let version = |version| QueueVersion {
            version,
            spec: QueueSpec::simple("duel", "arena", version as u32),
            applied_at_ms: 0,
            applied_by: None,
        };
        let kept = || vec![version(9), version(8), version(7)];
        assert_eq!(pick(kept(), "duel", Some(7)).expect("kept").version, 7);
        assert_eq!(pick(kept(), "duel", None).expect("kept").version, 8);
        let gone = pick(kept(), "duel", Some(3)).expect_err("gone").to_string();
        assert!(gone.contains("version 3") && gone.contains("9, 8, 7"), "{gone}");
        assert!(pick(vec![version(1)], "duel", None).is_err());
    }
}
