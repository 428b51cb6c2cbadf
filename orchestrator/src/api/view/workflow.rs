//! Workflows as the API tells them.

use muster_engine::inspect::Workflow as Found;
use muster_engine::{JournalRecord, Status};
use muster_protocol::api::{
    Workflow, WorkflowDetail, WorkflowStatus, WorkflowStep, WorkflowTimer, WorkflowTransition,
};

/// Both lists of where a workflow can stand.
const STATUSES: [(Status, WorkflowStatus); 8] = [
    (Status::Running, WorkflowStatus::Running),
    (Status::Failing, WorkflowStatus::Failing),
    (Status::Paused, WorkflowStatus::Paused),
    (Status::Dead, WorkflowStatus::Dead),
    (Status::Blocked, WorkflowStatus::Blocked),
    (Status::Finished, WorkflowStatus::Finished),
    (Status::Cancelled, WorkflowStatus::Cancelled),
    (Status::Failed, WorkflowStatus::Failed),
];

/// The engine's word for it.
pub(crate) fn engine_status(status: WorkflowStatus) -> Status {
    STATUSES.iter().find(|(_, api)| *api == status).map_or(Status::Running, |(engine, _)| *engine)
}

/// A workflow at `now_ms`.
pub(crate) fn workflow(found: &Found, now_ms: u64) -> Workflow {
    let record = &found.record;
    let status = STATUSES.iter().find(|(engine, _)| *engine == record.status());
    Workflow {
        kind: found.address.kind().to_owned(),
        key: found.address.key().to_owned(),
        status: status.map_or(WorkflowStatus::Running, |(_, api)| *api),
        waits_for: found.waits_for(now_ms),
        reason: record.reason.clone(),
        attempts: record.attempts,
        revision: record.revision,
        version: record.version,
        waiting_signals: record.parked,
        created_at_ms: record.created_ms,
        changed_at_ms: record.changed_ms,
        timers: record
            .timers
            .iter()
            .map(|timer| WorkflowTimer { name: timer.name.clone(), due_at_ms: timer.due_ms })
            .collect(),
    }
}

/// A workflow with what it did.
pub(crate) fn workflow_detail(
    found: &Found,
    steps: Vec<(u32, JournalRecord)>,
    now_ms: u64,
) -> WorkflowDetail {
    let history = found.record.history.iter();
    WorkflowDetail {
        workflow: workflow(found, now_ms),
        history: history
            .map(|entry| WorkflowTransition {
                at_ms: entry.at_ms,
                event: entry.event.clone(),
                outcome: entry.outcome.clone(),
            })
            .collect(),
        steps: steps
            .into_iter()
            .map(|(number, step)| WorkflowStep {
                number,
                what: step.what,
                name: step.name,
                done: step.done,
                undone: step.undone,
                failed: step.failed,
                attempts: step.attempts,
                at_ms: step.at_ms,
            })
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_status_has_its_word() {
        for status in WorkflowStatus::ALL {
            assert_eq!(engine_status(status).word(), status.as_str());
        }
    }
}
