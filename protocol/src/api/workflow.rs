//! Workflows: what the orchestrator does over time, and what each waits for.

use serde::{Deserialize, Serialize};

/// Where a workflow stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum WorkflowStatus {
    /// It takes what comes.
    Running,
    /// Its last transition failed; it is tried again.
    Failing,
    /// Somebody paused it; what comes waits.
    Paused,
    /// It failed too often, or for good; what comes waits.
    Dead,
    /// This installation has no code for it; what comes waits.
    Blocked,
    /// Over.
    Finished,
    /// Over: somebody cancelled it, and what it had done was undone.
    Cancelled,
    /// Over: it failed, and what it had done was undone.
    Failed,
}

impl WorkflowStatus {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Running,
        Self::Failing,
        Self::Paused,
        Self::Dead,
        Self::Blocked,
        Self::Finished,
        Self::Cancelled,
        Self::Failed,
    ];

    /// As in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Failing => "failing",
            Self::Paused => "paused",
            Self::Dead => "dead",
            Self::Blocked => "blocked",
            Self::Finished => "finished",
            Self::Cancelled => "cancelled",
            Self::Failed => "failed",
        }
    }
}

/// A workflow (`GET /v1/workflows`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Workflow {
    /// What it does: `fleet`, …
    pub kind: String,
    /// Which of its kind: of a fleet, its name.
    pub key: String,
    /// Where it stands.
    pub status: WorkflowStatus,
    /// In words: what it waits for.
    pub waits_for: String,
    /// Why it fails, is dead or is blocked; empty otherwise.
    pub reason: String,
    /// Failed attempts at what is to happen next.
    pub attempts: u32,
    /// Transitions so far.
    pub revision: u64,
    /// Version of the code that wrote its state.
    pub version: u32,
    /// Signals that wait with it because it cannot take them now.
    pub waiting_signals: u64,
    /// When it began.
    pub created_at_ms: u64,
    /// When its last transition was.
    pub changed_at_ms: u64,
    /// Timers that are set.
    pub timers: Vec<WorkflowTimer>,
}

/// A timer of a workflow.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct WorkflowTimer {
    /// Name; those that begin with `~` are the engine's own.
    pub name: String,
    /// When it is due.
    pub due_at_ms: u64,
}

/// A workflow with what it did (`GET /v1/workflows/{kind}/{key}`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct WorkflowDetail {
    /// As it stands.
    #[serde(flatten)]
    pub workflow: Workflow,
    /// Its last transitions, the oldest first.
    pub history: Vec<WorkflowTransition>,
    /// What it has done step by step, if it is of that style.
    pub steps: Vec<WorkflowStep>,
}

/// A transition of a workflow.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct WorkflowTransition {
    /// When.
    pub at_ms: u64,
    /// What happened.
    pub event: String,
    /// What was wrong; empty if nothing was.
    pub outcome: String,
}

/// A step of a workflow.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct WorkflowStep {
    /// Number, from 1.
    pub number: u32,
    /// `step`, `transact`, `sleep` or `receive`.
    pub what: String,
    /// Name.
    pub name: String,
    /// Whether it is done.
    pub done: bool,
    /// Whether it was undone.
    pub undone: bool,
    /// Why it failed, if it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed: Option<String>,
    /// Failed attempts.
    pub attempts: u32,
    /// When it was last noted.
    pub at_ms: u64,
}

/// What an operator can do to a workflow (`POST /v1/workflows/{kind}/{key}/{action}`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum WorkflowAction {
    /// Take nothing until resumed.
    Pause,
    /// Go on after a pause.
    Resume,
    /// Try again now what failed.
    Retry,
    /// Stop, and undo what was done.
    Cancel,
}

impl WorkflowAction {
    /// As in the path.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pause => "pause",
            Self::Resume => "resume",
            Self::Retry => "retry",
            Self::Cancel => "cancel",
        }
    }
}
