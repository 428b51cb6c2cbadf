//! Records of queues, and what was applied.

use muster_matchmaker::parts::{Group, Parts};
use muster_protocol::api::QueueSpec;
use muster_protocol::id::ApiTokenId;

use super::{PartGroup, QueuePartsRecord, QueueRecord, QueueStatusRecord, QueueVersionRecord};
use crate::state::StateError;

impl QueueRecord {
    /// The record of a queue as `spec` asks for it.
    pub fn from_spec(namespace: &str, spec: &QueueSpec) -> Self {
        Self {
            namespace: namespace.to_owned(),
            name: spec.name.clone(),
            fleet: spec.fleet.clone(),
            players: spec.players,
            regions: spec.regions.clone(),
            max_latency_ms: spec.max_latency_ms,
            ticket_ttl_s: spec.ticket_ttl_s,
            spec_json: serde_json::to_string(spec).expect("names and finite numbers are JSON"),
            ..Self::default()
        }
    }

    /// What was applied, as the API says it.
    ///
    /// # Errors
    /// [`StateError::Newer`].
    pub fn to_spec(&self) -> Result<QueueSpec, StateError> {
        if !self.spec_json.is_empty() {
            return parsed(&self.name, &self.spec_json);
        }
        Ok(QueueSpec {
            regions: self.regions.clone(),
            max_latency_ms: self.max_latency_ms,
            ticket_ttl_s: self.ticket_ttl_s,
            ..QueueSpec::simple(&self.name, &self.fleet, self.players)
        })
    }
}

fn parsed(queue: &str, spec_json: &str) -> Result<QueueSpec, StateError> {
    serde_json::from_str(spec_json)
        .map_err(|error| StateError::Newer { what: format!("queue {queue}"), reason: error.to_string() })
}

impl QueueVersionRecord {
    /// A version of `queue`, applied with the token `by` if that is known.
    pub fn of_queue(queue: &QueueRecord, by: Option<ApiTokenId>) -> Result<Self, StateError> {
        // An older version wrote some fields only.
        let spec = queue.to_spec()?;
        Ok(Self {
            version: queue.version,
            spec_json: serde_json::to_string(&spec).expect("names and finite numbers are JSON"),
            applied_at_ms: queue.updated_at_ms,
            applied_by: by.map(Into::into),
        })
    }

    /// What was applied, as the API says it; it is a version of `queue`.
    ///
    /// # Errors
    /// [`StateError::Newer`].
    pub fn to_spec(&self, queue: &str) -> Result<QueueSpec, StateError> {
        parsed(queue, &self.spec_json)
    }
}

impl QueueStatusRecord {
    /// How long half of the tickets matched lately, and nine of ten, had waited at most, in milliseconds; `None` before
    /// the first.
    pub fn expected_waits_ms(&self) -> (Option<u64>, Option<u64>) {
        let known = |wait_ms| (self.waits > 0).then_some(wait_ms);
        (known(self.wait_p50_ms), known(self.wait_p90_ms))
    }
}

impl QueuePartsRecord {
    /// The parts it says.
    pub fn to_parts(&self) -> Parts {
        let group = |group: &PartGroup| Group { regions: group.regions.clone(), cuts: group.cuts.clone() };
        Parts::new(self.groups.iter().map(group).collect())
    }
}

impl From<&Parts> for QueuePartsRecord {
    fn from(parts: &Parts) -> Self {
        let group = |group: &Group| PartGroup { regions: group.regions.clone(), cuts: group.cuts.clone() };
        Self { groups: parts.groups().iter().map(group).collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_applied_is_read_back_whoever_wrote_it() {
        let spec = QueueSpec { max_latency_ms: 80, fill_wait_s: 3, ..QueueSpec::simple("duel", "arena", 2) };
        let record = QueueRecord::from_spec("arena/prod", &spec);
        assert_eq!(record.to_spec(), Ok(spec.clone()));
        let older = QueueRecord { spec_json: String::new(), ..record.clone() };
        assert_eq!(older.to_spec(), Ok(QueueSpec { fill_wait_s: 0, ..spec }));
        let newer =
            QueueRecord { spec_json: record.spec_json.replace("fill_wait_s", "fill_slowly"), ..record };
        assert!(
            newer.to_spec().expect_err("newer").to_string().contains("queue duel was written by a newer")
        );
    }

    #[test]
    fn parts_survive_the_record() {
        let group = |region: &str, cuts| Group { regions: vec![region.to_owned()], cuts };
        let parts = Parts::new(vec![group("eu", vec![900.0, 1_200.5]), group("", Vec::new())]);
        assert_eq!(QueuePartsRecord::from(&parts).to_parts(), parts);
        assert_eq!(
            QueuePartsRecord::default().to_parts(),
            Parts::default(),
            "a queue without a row is one part"
        );
    }
}
