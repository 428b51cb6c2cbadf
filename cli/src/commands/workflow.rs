//! `muster workflow`: what the orchestrator does over time, what it waits for, and what to do about it.

use clap::Subcommand;
use muster_client::WorkflowFilter;
use muster_protocol::api::{Workflow, WorkflowAction, WorkflowDetail, WorkflowStatus};

use super::Ops;
use crate::{context, output};

/// Which workflow.
#[derive(clap::Args)]
pub(crate) struct Which {
    /// Its kind: fleet, …
    kind: String,
    /// Which of its kind: of a fleet, its name
    key: String,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// List workflows and what each waits for
    Ls {
        /// Only of this kind
        #[arg(long)]
        kind: Option<String>,
        /// Only those that stand so: running, failing, paused, dead, blocked, finished, cancelled, failed
        #[arg(long, value_parser = status)]
        status: Option<WorkflowStatus>,
    },
    /// Show one workflow: where it stands, and what it waits for
    Show(Which),
    /// Show what a workflow did: its last transitions, and its steps
    History(Which),
    /// Have a workflow take nothing until it is resumed
    Pause(Which),
    /// Let a paused workflow go on
    Resume(Which),
    /// Try again now what failed, after what was wrong has been mended
    Retry(Which),
    /// Stop a workflow and undo what it did
    Cancel(Which),
}

fn status(text: &str) -> Result<WorkflowStatus, String> {
    WorkflowStatus::ALL.into_iter().find(|status| status.as_str() == text).ok_or_else(|| {
        let all = output::list(WorkflowStatus::ALL.map(WorkflowStatus::as_str));
        format!("no such status; the statuses are {all}")
    })
}

pub(crate) async fn run(ops: &Ops, command: Command) -> anyhow::Result<()> {
    match command {
        Command::Ls { kind, status } => list(ops, WorkflowFilter { kind, status, after: None }).await,
        Command::Show(which) => show(ops, &ops.client.workflow(&which.kind, &which.key).await?),
        Command::History(which) => history(ops, &ops.client.workflow(&which.kind, &which.key).await?),
        Command::Pause(which) => act(ops, &which, WorkflowAction::Pause, "is told to pause").await,
        Command::Resume(which) => act(ops, &which, WorkflowAction::Resume, "is told to go on").await,
        Command::Retry(which) => act(ops, &which, WorkflowAction::Retry, "is tried again").await,
        Command::Cancel(which) => act(ops, &which, WorkflowAction::Cancel, "is told to stop").await,
    }
}

async fn act(ops: &Ops, which: &Which, action: WorkflowAction, what: &str) -> anyhow::Result<()> {
    ops.client.act_on_workflow(&which.kind, &which.key, action).await?;
    output::done(ops.json, &format!("{} {}", which.kind, which.key), what)
}

async fn list(ops: &Ops, filter: WorkflowFilter) -> anyhow::Result<()> {
    let mut workflows = context::all(async |after| {
        let filter = WorkflowFilter { after: after.map(str::to_owned), ..filter.clone() };
        ops.client.workflows(&filter).await
    })
    .await?;
    workflows.sort_by(|a, b| (&a.kind, &a.key).cmp(&(&b.kind, &b.key)));
    let rows = workflows
        .iter()
        .map(|workflow| {
            vec![
                workflow.kind.clone(),
                workflow.key.clone(),
                workflow.status.as_str().to_owned(),
                output::ago(workflow.changed_at_ms),
                workflow.revision.to_string(),
                workflow.waits_for.clone(),
            ]
        })
        .collect();
    let headers = ["kind", "key", "status", "since", "transitions", "waits for"];
    let empty = "no workflows; a fleet has one: `muster fleet apply -f FILE`";
    output::table(ops.json, &workflows, &headers, rows, empty)
}

fn show(ops: &Ops, detail: &WorkflowDetail) -> anyhow::Result<()> {
    let Workflow { kind, key, status, waits_for, reason, attempts, revision, version, .. } = &detail.workflow;
    let timers = detail.workflow.timers.iter().map(|timer| format!("{} at {}", timer.name, timer.due_at_ms));
    let lines = [
        ("kind", kind.clone()),
        ("key", key.clone()),
        ("status", status.as_str().to_owned()),
        ("waits for", waits_for.clone()),
        ("reason", reason.clone()),
        ("failed attempts", attempts.to_string()),
        ("transitions", revision.to_string()),
        ("code version", version.to_string()),
        ("signals waiting", detail.workflow.waiting_signals.to_string()),
        ("timers", output::list(timers)),
    ];
    output::details(ops.json, detail, &lines)
}

fn history(ops: &Ops, detail: &WorkflowDetail) -> anyhow::Result<()> {
    let transitions = detail.history.iter().map(|entry| {
        let outcome = if entry.outcome.is_empty() { "ok" } else { &entry.outcome };
        vec![output::ago(entry.at_ms), entry.event.clone(), outcome.to_owned()]
    });
    let steps = detail.steps.iter().map(|step| {
        let outcome = match (&step.failed, step.undone, step.done) {
            (_, true, _) => "undone".to_owned(),
            (Some(why), ..) => format!("failed: {why}"),
            (None, _, true) => "done".to_owned(),
            (None, _, false) => format!("under way, {} attempts failed", step.attempts),
        };
        vec![output::ago(step.at_ms), format!("{} {} {}", step.number, step.what, step.name), outcome]
    });
    let rows = transitions.chain(steps).collect();
    output::table(ops.json, detail, &["ago", "what", "outcome"], rows, "nothing happened yet")
}
