//! What others are told of a server, and what is kept of it for the agent's next run.

use muster_protocol::agent::{ServerGoal, ServerPhase, ServerReport, ServerSpec};
use muster_protocol::id::ServerId;

use super::super::{Container, Effect, ServerView};
use super::{Seats, Server, State};

impl Server {
    /// The server as an earlier run of the agent left it. Where its container stands is for
    /// [`Server::observed`] or [`Server::not_observed`] to say.
    pub(in crate::reconcile) fn restore(
        id: ServerId,
        spec: ServerSpec,
        report: ServerReport,
        now: u64,
    ) -> Self {
        let mut server = Self::new(id, spec, now);
        let (seats, backfill) = (Seats::restore(&report), report.backfill());
        let has_container = !report.container_id.is_empty();
        server.state = match report.phase() {
            ServerPhase::Exited | ServerPhase::Failed => State::Ended,
            ServerPhase::Ready if has_container => State::Ready,
            ServerPhase::Stopping if has_container => State::Stopping { retry_at_ms: None },
            ServerPhase::Starting if has_container => State::Starting { since_ms: now },
            _ => State::Waiting,
        };
        // Until Docker has been looked at, nobody knows.
        server.remains = has_container && server.state == State::Ended;
        server.container =
            has_container.then(|| Container { id: report.container_id, pid: None, ports: Vec::new() });
        server.pulling_at_ms = report.pulling_at_ms;
        server.starting_at_ms = report.starting_at_ms;
        server.running_at_ms = report.running_at_ms;
        server.ready_at_ms = report.ready_at_ms;
        server.ended_at_ms = report.ended_at_ms;
        server.exit = report.exit;
        server.failure = report.failure;
        (server.seats, server.backfill) = (seats, backfill);
        server.shutdown_requested = report.shutdown_requested;
        server.lobby = report.lobby;
        server.uses_sdk = report.uses_sdk;
        server
    }

    /// Pushes report and view if they changed; answers whether the report did.
    pub(in crate::reconcile) fn tell(&mut self, out: &mut Vec<Effect>) -> bool {
        let report = self.report();
        let changed = self.told.as_ref() != Some(&report);
        if changed {
            out.push(Effect::Report(Box::new(report.clone())));
            self.told = Some(report);
        }
        let view = self.view();
        if self.shown.as_ref() != Some(&view) {
            out.push(Effect::Show(self.id, Box::new(view.clone())));
            self.shown = Some(view);
        }
        changed
    }

    pub(in crate::reconcile) fn report(&self) -> ServerReport {
        let phase = match self.state {
            State::Waiting | State::Fetching => ServerPhase::Pulling,
            State::Launching | State::Starting { .. } => ServerPhase::Starting,
            State::Ready => ServerPhase::Ready,
            State::Stopping { .. } => ServerPhase::Stopping,
            State::Ended if self.failure.is_some() => ServerPhase::Failed,
            State::Ended => ServerPhase::Exited,
        };
        ServerReport {
            server_id: self.spec.server_id.clone(),
            generation: self.spec.generation,
            phase: phase.into(),
            container_id: self.container_id().unwrap_or_default().to_owned(),
            pulling_at_ms: self.pulling_at_ms,
            starting_at_ms: self.starting_at_ms,
            running_at_ms: self.running_at_ms,
            ready_at_ms: self.ready_at_ms,
            ended_at_ms: self.ended_at_ms,
            exit: self.exit.clone(),
            failure: self.failure.clone(),
            connected_seats: self.seats.connected(),
            released_seats: self.seats.released(),
            backfill: self.backfill.into(),
            shutdown_requested: self.shutdown_requested,
            uses_sdk: self.uses_sdk,
            lobby: self.lobby.clone(),
        }
    }

    fn view(&self) -> ServerView {
        let draining = self.goal() != ServerGoal::Run;
        let state = match self.state {
            State::Stopping { .. } | State::Ended => "stopping",
            State::Ready if draining => "draining",
            State::Ready if self.spec.allocation.is_some() => "allocated",
            State::Ready => "ready",
            _ => "starting",
        };
        ServerView {
            closed_seats: self.seats.closed(),
            ..ServerView::new(&self.spec, state, draining, self.seats.connected())
        }
    }
}
