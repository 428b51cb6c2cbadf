//! The state machine of one server, pure: a record, an event and the time give a changed record and
//! effects.
//!
//! States go forward only; an event that comes late or twice changes nothing. What the record implies
//! (indices, counters, promised resources) is not an effect: `state::servers` derives it.

use muster_protocol::agent::{ServerPhase, ServerReport};
use muster_protocol::id::{EdgeId, MatchId, NodeId, SeatId};

use crate::records::{
    Backfill, Goal, Id, Port, PortProtocol, ServerExit, ServerRecord, ServerState, StateEntry,
};

/// Longest tail of a log that a record keeps, in bytes.
pub const MAX_LOG_TAIL_BYTES: usize = 8 * 1024;
/// Longest text of a reason's detail, in bytes.
pub const MAX_DETAIL_BYTES: usize = 2 * 1024;
/// How much earlier than the drain deadline, by this clock, an agent may stop a server because of it.
pub const DEADLINE_TOLERANCE_MS: u64 = 5_000;
/// Most connected seats a record keeps.
pub const MAX_SEATS: usize = 1_000;

/// What can happen to a server.
#[derive(Clone, Debug)]
pub enum Event<'a> {
    /// It cannot be placed yet; why.
    Unplaced(&'a str),
    /// A node and edge ports were found.
    Placed {
        /// The node.
        node: NodeId,
        /// Its ports, with their numbers on the edges.
        ports: Vec<Port>,
    },
    /// Its agent said what is.
    Reported(&'a ServerReport),
    /// An edge serves its ports.
    RoutesApplied(EdgeId),
    /// An edge cannot serve one of its ports.
    RouteFailed {
        /// Protocol of the port.
        protocol: PortProtocol,
        /// Number on the edge.
        edge_port: u16,
        /// Stable code.
        code: &'a str,
        /// What happened and what mends it.
        detail: &'a str,
    },
    /// These edges of its region are connected: is it ready?
    CheckReady(&'a [EdgeId]),
    /// A match takes it.
    Claimed(MatchId),
    /// Seats of its match were given up, or more were sold: it is told.
    SeatsChanged {
        /// Whether anybody is to come.
        sold: bool,
    },
    /// It is to finish; whoever plays may play on for a while.
    Drain {
        /// Stable code of why.
        reason: &'a str,
    },
    /// It is to stop now.
    Stop {
        /// Stable code of why.
        reason: &'a str,
    },
    /// The time to finish may be over.
    DrainDeadline,
    /// Its agent knows no container of it any more.
    ContainerLost,
    /// Its node is given up.
    NodeLost,
}

/// What follows from a transition, besides the record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// It failed before a match had it: the fleet backs off.
    CountFailure {
        /// How long it had been ready, milliseconds; `None` if it never was.
        ready_for_ms: Option<u64>,
    },
    /// A port is not to be given out for a while.
    Quarantine {
        /// Protocol.
        protocol: PortProtocol,
        /// Number on the edges.
        edge_port: u16,
    },
    /// Its match is over.
    EndMatch,
    /// Whether others may join its match is another than it was: it has said so, or is on its way out.
    Backfill,
    /// The agent may forget it.
    LetForget,
}

/// Why an event is refused where silence would mislead its sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Only a ready server can be claimed.
    #[error("the server is not ready")]
    NotReady,
}

/// Applies `event` to `record` at `now_ms`.
///
/// # Errors
/// [`Refused`] for a claim of a server that is not ready; the record is unchanged.
pub fn apply(record: &mut ServerRecord, event: &Event<'_>, now_ms: u64) -> Result<Vec<Effect>, Refused> {
    let state = record.state();
    if state.is_final() {
        return after_the_end(event);
    }
    let mut effects = Vec::new();
    match event {
        Event::Unplaced(why) => {
            if state == ServerState::Pending {
                record.detail = clip(why, MAX_DETAIL_BYTES);
            }
        }
        Event::Placed { node, ports } => {
            if state == ServerState::Pending {
                record.node = Some((*node).into());
                record.ports.clone_from(ports);
                record.holds_resources = true;
                record.generation += 1;
                enter(record, ServerState::Placing, now_ms);
            }
        }
        Event::Reported(report) => reported(record, report, now_ms, &mut effects),
        Event::RoutesApplied(edge) => {
            let edge = Id::from(*edge);
            if record.holds_resources && !record.routed_edges.contains(&edge) {
                record.routed_edges.push(edge);
            }
        }
        Event::RouteFailed { protocol, edge_port, code, detail } => {
            effects.push(Effect::Quarantine { protocol: *protocol, edge_port: *edge_port });
            if state.is_unclaimed() {
                fail(record, code, detail, now_ms, &mut effects);
            } else {
                record.detail = clip(detail, MAX_DETAIL_BYTES);
            }
        }
        Event::CheckReady(edges) => {
            let routed = record.ports.is_empty()
                || (!edges.is_empty()
                    && edges.iter().all(|edge| record.routed_edges.contains(&(*edge).into())));
            if state == ServerState::Starting && record.agent_ready_at_ms > 0 && routed {
                enter(record, ServerState::Ready, now_ms);
            }
        }
        Event::Claimed(match_id) => {
            if state != ServerState::Ready {
                return Err(Refused::NotReady);
            }
            record.r#match = Some((*match_id).into());
            record.generation += 1;
            enter(record, ServerState::Allocated, now_ms);
        }
        Event::SeatsChanged { sold } => {
            record.generation += 1;
            // Whoever is on the way has as long to come as the first who were.
            if *sold && record.idle_since_ms > 0 {
                record.idle_since_ms = now_ms;
            }
        }
        Event::Drain { reason } => drain(record, reason, now_ms),
        Event::Stop { reason } => stop(record, reason, now_ms, &mut effects),
        Event::DrainDeadline => {
            if record.goal() == Goal::Drain && record.drain_deadline_ms <= now_ms {
                set_goal(record, Goal::Stop);
                "its time to finish is over; it is being stopped".clone_into(&mut record.detail);
            }
        }
        Event::ContainerLost => container_lost(record, now_ms, &mut effects),
        Event::NodeLost => {
            if record.node.is_some() {
                lose(
                    record,
                    "node_lost",
                    "its node was out of reach for longer than node_loss_timeout_s",
                    now_ms,
                    &mut effects,
                );
            }
        }
    }
    let leaves = state == ServerState::Allocated && record.state() == ServerState::Draining;
    if leaves && !effects.contains(&Effect::Backfill) {
        effects.push(Effect::Backfill);
    }
    Ok(effects)
}

fn after_the_end(event: &Event<'_>) -> Result<Vec<Effect>, Refused> {
    match event {
        Event::Claimed(_) => Err(Refused::NotReady),
        Event::Reported(report) if matches!(report.phase(), ServerPhase::Exited | ServerPhase::Failed) => {
            Ok(vec![Effect::LetForget])
        }
        _ => Ok(Vec::new()),
    }
}

fn reported(record: &mut ServerRecord, report: &ServerReport, now_ms: u64, effects: &mut Vec<Effect>) {
    if record.node.is_none() {
        return;
    }
    if !report.container_id.is_empty() {
        record.container_id = clip(&report.container_id, 128);
    }
    if report.running_at_ms > 0 {
        record.container_started_ms = report.running_at_ms;
    }
    record.uses_sdk |= report.uses_sdk;
    let seats = report.connected_seats.iter().filter_map(|seat| seat.parse::<SeatId>().ok());
    record.connected_seats = seats.take(MAX_SEATS).map(Id::from).collect();
    let backfill = Backfill::from(report.backfill());
    if backfill != Backfill::Unsaid && backfill != record.backfill() {
        record.set_backfill(backfill);
        effects.push(Effect::Backfill);
    }
    let state = record.state();
    match report.phase() {
        ServerPhase::Pulling if state == ServerState::Placing => enter(record, ServerState::Pulling, now_ms),
        ServerPhase::Starting if matches!(state, ServerState::Placing | ServerState::Pulling) => {
            enter(record, ServerState::Starting, now_ms);
        }
        ServerPhase::Ready => {
            if matches!(state, ServerState::Placing | ServerState::Pulling) {
                enter(record, ServerState::Starting, now_ms);
            }
            if record.agent_ready_at_ms == 0 {
                record.agent_ready_at_ms = now_ms;
            }
        }
        ServerPhase::Exited => return exited(record, report, now_ms, effects),
        ServerPhase::Failed => {
            let failure = report.failure.clone().unwrap_or_default();
            keep_exit(record, report);
            effects.push(Effect::LetForget);
            return if record.goal() == Goal::Stop {
                end(record, ServerState::Stopped, now_ms, effects);
            } else {
                let code = if failure.code.is_empty() { "failed" } else { &failure.code };
                fail(record, code, &failure.detail, now_ms, effects);
            };
        }
        _ => {}
    }
    if report.shutdown_requested && record.goal() != Goal::Stop {
        if record.state().is_unclaimed() {
            // It would be replaced at once: count it, so that a server that does nothing else backs off.
            effects.push(Effect::CountFailure { ready_for_ms: ready_for(record, now_ms) });
        }
        "the server asked to be shut down".clone_into(&mut record.detail);
        "shutdown_requested".clone_into(&mut record.reason);
        set_goal(record, Goal::Stop);
        if record.state() != ServerState::Draining {
            enter(record, ServerState::Draining, now_ms);
        }
    }
}

fn exited(record: &mut ServerRecord, report: &ServerReport, now_ms: u64, effects: &mut Vec<Effect>) {
    keep_exit(record, report);
    effects.push(Effect::LetForget);
    let exit = record.exit.clone().unwrap_or_default();
    let claimed = matches!(record.state(), ServerState::Allocated | ServerState::Draining);
    if exit.out_of_memory {
        let detail =
            "it used more memory than its limit and was killed; raise limits.memory_mib or find the leak";
        return fail(record, "out_of_memory", detail, now_ms, effects);
    }
    // The agent keeps the deadline by its own clock, and may have stopped it before ours was due.
    let overdue = record.goal() == Goal::Drain
        && now_ms.saturating_add(DEADLINE_TOLERANCE_MS) >= record.drain_deadline_ms;
    if record.goal() == Goal::Stop || overdue || (claimed && exit.code == 0) {
        if record.reason.is_empty() {
            "finished".clone_into(&mut record.reason);
        }
        record.detail = format!("exited with code {}", exit.code);
        return end(record, ServerState::Stopped, now_ms, effects);
    }
    let (code, when) = match record.state() {
        ServerState::Allocated | ServerState::Draining => ("crashed", "while it was claimed"),
        ServerState::Ready => ("exited_unclaimed", "while it waited to be claimed"),
        _ => ("exited_before_ready", "before it was ready"),
    };
    let detail = format!(
        "it exited with code {} {when}; the end of its log says more: muster server logs {}",
        exit.code,
        record.typed_id()
    );
    fail(record, code, &detail, now_ms, effects);
}

fn drain(record: &mut ServerRecord, reason: &str, now_ms: u64) {
    // Only a claimed server can have players to wait for; what is draining has its deadline already.
    if record.state() == ServerState::Allocated {
        reason.clone_into(&mut record.reason);
        record.drain_deadline_ms = now_ms + u64::from(record.drain_s) * 1_000;
        set_goal(record, Goal::Drain);
        enter(record, ServerState::Draining, now_ms);
    }
}

fn stop(record: &mut ServerRecord, reason: &str, now_ms: u64, effects: &mut Vec<Effect>) {
    match record.state() {
        // The agent has said nothing of it, so there is nothing to wait for.
        ServerState::Pending | ServerState::Placing => {
            reason.clone_into(&mut record.reason);
            "stopped before it was started".clone_into(&mut record.detail);
            end(record, ServerState::Stopped, now_ms, effects);
        }
        ServerState::Draining if record.goal() == Goal::Stop => {}
        _ => {
            reason.clone_into(&mut record.reason);
            set_goal(record, Goal::Stop);
            if record.state() != ServerState::Draining {
                enter(record, ServerState::Draining, now_ms);
            }
        }
    }
}

fn container_lost(record: &mut ServerRecord, now_ms: u64, effects: &mut Vec<Effect>) {
    // Before there is a container the agent simply begins again.
    if !record.container_id.is_empty() {
        let detail =
            "its agent no longer has its container: it was removed outside Muster, or the machine restarted";
        lose(record, "container_lost", detail, now_ms, effects);
    }
}

/// The end of a server through no fault of its own.
fn lose(record: &mut ServerRecord, code: &str, detail: &str, now_ms: u64, effects: &mut Vec<Effect>) {
    if record.goal() == Goal::Stop {
        return end(record, ServerState::Stopped, now_ms, effects);
    }
    code.clone_into(&mut record.reason);
    record.detail = clip(detail, MAX_DETAIL_BYTES);
    end(record, ServerState::Failed, now_ms, effects);
}

fn fail(record: &mut ServerRecord, code: &str, detail: &str, now_ms: u64, effects: &mut Vec<Effect>) {
    if record.state().is_unclaimed() {
        effects.push(Effect::CountFailure { ready_for_ms: ready_for(record, now_ms) });
    }
    record.reason = clip(code, 64);
    record.detail = clip(detail, MAX_DETAIL_BYTES);
    end(record, ServerState::Failed, now_ms, effects);
}

fn end(record: &mut ServerRecord, state: ServerState, now_ms: u64, effects: &mut Vec<Effect>) {
    record.holds_resources = false;
    record.connected_seats.clear();
    enter(record, state, now_ms);
    if record.r#match.is_some() {
        effects.push(Effect::EndMatch);
    }
}

fn enter(record: &mut ServerRecord, state: ServerState, now_ms: u64) {
    record.set_state(state);
    record.entered.push(StateEntry { state: state.into(), at_ms: now_ms });
    if !state.is_final() && state != ServerState::Draining {
        record.detail.clear();
    }
}

fn set_goal(record: &mut ServerRecord, goal: Goal) {
    record.set_goal(goal);
    record.generation += 1;
}

fn ready_for(record: &ServerRecord, now_ms: u64) -> Option<u64> {
    record.entered_ms(ServerState::Ready).map(|at| now_ms.saturating_sub(at))
}

fn keep_exit(record: &mut ServerRecord, report: &ServerReport) {
    if let Some(exit) = &report.exit {
        record.exit = Some(ServerExit {
            code: exit.code,
            out_of_memory: exit.out_of_memory,
            log_tail: clip_front(&exit.log_tail, MAX_LOG_TAIL_BYTES),
        });
    }
}

/// The first `limit` bytes of `text`, or fewer so as not to cut a character.
fn clip(text: &str, limit: usize) -> String {
    text[..text.floor_char_boundary(limit)].to_owned()
}

/// The last `limit` bytes of `text`, or fewer so as not to cut a character.
fn clip_front(text: &str, limit: usize) -> String {
    text[text.ceil_char_boundary(text.len().saturating_sub(limit))..].to_owned()
}
