//! The state machine of one server, by tables: where each event leads from each state.

use muster_protocol::agent::{self as wire, ServerPhase, ServerReport};
use muster_protocol::id::{EdgeId, MatchId, NodeId, SeatId, ServerId};
use proptest::prelude::*;

use super::machine::{Effect, Event, MAX_LOG_TAIL_BYTES, Refused, apply};
use crate::records::{Backfill, Goal, Port, PortProtocol, ServerRecord, ServerState};

use ServerState::{Allocated, Draining, Failed, Placing, Pulling, Ready, Starting, Stopped};

fn ports() -> Vec<Port> {
    vec![Port { name: "game".into(), edge_port: 7_001, container_port: 7_000, ..Default::default() }]
}

/// Ids that a server meets on its way.
struct Cast {
    node: NodeId,
    edge: EdgeId,
    match_id: MatchId,
}

impl Cast {
    fn new() -> Self {
        Self { node: NodeId::new(), edge: EdgeId::new(), match_id: MatchId::new() }
    }

    /// A server taken to `state` the usual way.
    fn server(&self, state: ServerState) -> ServerRecord {
        let mut record = ServerRecord {
            id: Some(ServerId::new().into()),
            region: "eu".into(),
            drain_s: 60,
            ports: ports(),
            ..Default::default()
        };
        let edges = [self.edge];
        let (pulling, starting) = (report(ServerPhase::Pulling), report(ServerPhase::Starting));
        let ready = report(ServerPhase::Ready);
        let steps: [(ServerState, Vec<Event<'_>>); 6] = [
            (Placing, vec![Event::Placed { node: self.node, ports: ports() }]),
            (Pulling, vec![Event::Reported(&pulling)]),
            (Starting, vec![Event::Reported(&starting)]),
            (
                Ready,
                vec![Event::Reported(&ready), Event::RoutesApplied(self.edge), Event::CheckReady(&edges)],
            ),
            (Allocated, vec![Event::Claimed(self.match_id)]),
            (Draining, vec![Event::Drain { reason: "rollout" }]),
        ];
        for (at, (reached, events)) in steps.into_iter().enumerate() {
            if reached > state {
                break;
            }
            for event in events {
                apply(&mut record, &event, 1_000 + at as u64).expect("the usual way");
            }
            assert_eq!(record.state(), reached);
        }
        assert_eq!(record.state(), state);
        record
    }
}

fn report(phase: ServerPhase) -> ServerReport {
    let container_id = if phase == ServerPhase::Pulling { String::new() } else { "c0ffee".to_owned() };
    ServerReport { phase: phase.into(), container_id, ..Default::default() }
}

fn exit(code: i64, out_of_memory: bool) -> ServerReport {
    let exit = wire::ServerExit { code, out_of_memory, log_tail: "the end".into() };
    ServerReport { exit: Some(exit), ..report(ServerPhase::Exited) }
}

#[test]
fn the_usual_way_is_timestamped() {
    let record = Cast::new().server(Allocated);
    let entered: Vec<_> = record.entered.iter().map(|entry| (entry.state(), entry.at_ms)).collect();
    assert_eq!(
        entered,
        [(Placing, 1_000), (Pulling, 1_001), (Starting, 1_002), (Ready, 1_003), (Allocated, 1_004)]
    );
    assert!(record.holds_resources);
}

#[test]
fn an_exit_ends_each_state_in_its_own_way() {
    // (state, exit code) -> (end, reason, counted as a failure of the fleet)
    let cases = [
        (Placing, 0, Failed, "exited_before_ready", true),
        (Pulling, 1, Failed, "exited_before_ready", true),
        (Starting, 0, Failed, "exited_before_ready", true),
        (Ready, 0, Failed, "exited_unclaimed", true),
        (Allocated, 0, Stopped, "finished", false),
        (Allocated, 139, Failed, "crashed", false),
        (Draining, 0, Stopped, "rollout", false),
        (Draining, 1, Failed, "crashed", false),
    ];
    let cast = Cast::new();
    for (from, code, end, reason, counted) in cases {
        let mut record = cast.server(from);
        let effects = apply(&mut record, &Event::Reported(&exit(code, false)), 2_000).expect("a report");
        assert_eq!((record.state(), record.reason.as_str()), (end, reason), "{from:?} {code}");
        assert!(!record.holds_resources);
        let counts = effects.iter().any(|effect| matches!(effect, Effect::CountFailure { .. }));
        assert_eq!(counts, counted, "{from:?} {code}");
        assert!(effects.contains(&Effect::LetForget));
        assert_eq!(effects.contains(&Effect::EndMatch), from >= Allocated);
        assert_eq!(record.exit.expect("kept").log_tail, "the end");
    }
}

#[test]
fn running_out_of_memory_is_named_whatever_the_state() {
    let cast = Cast::new();
    for from in [Starting, Ready, Allocated, Draining] {
        let mut record = cast.server(from);
        apply(&mut record, &Event::Reported(&exit(137, true)), 2_000).expect("a report");
        assert_eq!((record.state(), record.reason.as_str()), (Failed, "out_of_memory"), "{from:?}");
        assert!(record.detail.contains("raise limits.memory_mib"));
    }
}

#[test]
fn a_stop_ends_at_once_what_the_agent_never_had_and_asks_for_the_rest() {
    let cast = Cast::new();
    for from in [ServerState::Pending, Placing] {
        let mut record = cast.server(from);
        apply(&mut record, &Event::Stop { reason: "asked" }, 2_000).expect("stops");
        assert_eq!((record.state(), record.reason.as_str()), (Stopped, "asked"), "{from:?}");
    }
    for from in [Pulling, Starting, Ready, Allocated, Draining] {
        let mut record = cast.server(from);
        let before = record.generation;
        apply(&mut record, &Event::Stop { reason: "asked" }, 2_000).expect("stops");
        assert_eq!((record.state(), record.goal()), (Draining, Goal::Stop), "{from:?}");
        assert!(record.generation > before, "the agent has to hear of it");
        assert!(record.holds_resources, "until it has ended");
        apply(&mut record, &Event::Reported(&exit(143, false)), 2_001).expect("a report");
        assert_eq!((record.state(), record.reason.as_str()), (Stopped, "asked"), "{from:?}");
    }
}

#[test]
fn only_a_claimed_server_drains_and_its_deadline_stops_it() {
    let cast = Cast::new();
    for from in [Placing, Starting, Ready] {
        let mut record = cast.server(from);
        apply(&mut record, &Event::Drain { reason: "asked" }, 2_000).expect("nothing");
        assert_eq!(record.state(), from);
    }
    let mut record = cast.server(Allocated);
    apply(&mut record, &Event::Drain { reason: "asked" }, 2_000).expect("drains");
    assert_eq!((record.state(), record.goal(), record.drain_deadline_ms), (Draining, Goal::Drain, 62_000));
    apply(&mut record, &Event::Drain { reason: "again" }, 9_000).expect("nothing");
    assert_eq!(record.drain_deadline_ms, 62_000, "asking again does not prolong it");
    apply(&mut record, &Event::DrainDeadline, 61_999).expect("too early");
    assert_eq!(record.goal(), Goal::Drain);
    apply(&mut record, &Event::DrainDeadline, 62_000).expect("due");
    assert_eq!(record.goal(), Goal::Stop);
}

#[test]
fn an_agent_may_stop_a_server_at_its_deadline_before_it_is_due_here() {
    let cast = Cast::new();
    for (at_ms, end) in [(50_000, Failed), (60_000, Stopped), (70_000, Stopped)] {
        let mut record = cast.server(Allocated);
        apply(&mut record, &Event::Drain { reason: "rollout" }, 2_000).expect("drains");
        apply(&mut record, &Event::Reported(&exit(143, false)), at_ms).expect("a report");
        assert_eq!(record.state(), end, "deadline 62,000, stopped {at_ms}");
    }
}

#[test]
fn only_a_ready_server_can_be_claimed_and_only_once() {
    let cast = Cast::new();
    for state in (0..9).filter_map(|number| ServerState::try_from(number).ok()) {
        let mut record = if state.is_final() { ended(&cast, state) } else { cast.server(state) };
        let before = record.clone();
        let claimed = apply(&mut record, &Event::Claimed(MatchId::new()), 2_000);
        if state == Ready {
            assert_eq!(claimed, Ok(vec![]));
        } else {
            assert_eq!(claimed, Err(Refused::NotReady), "{state:?}");
            assert_eq!(record, before);
        }
    }
}

fn ended(cast: &Cast, state: ServerState) -> ServerRecord {
    let mut record = cast.server(Allocated);
    let code = i64::from(state == Failed);
    apply(&mut record, &Event::Reported(&exit(code, false)), 1_500).expect("a report");
    assert_eq!(record.state(), state);
    record
}

#[test]
fn readiness_needs_the_agent_and_every_connected_edge() {
    let cast = Cast::new();
    let other = EdgeId::new();
    let mut record = cast.server(Starting);
    let mut step = |event: &Event<'_>| {
        apply(&mut record, event, 2_000).expect("no claim");
        record.state()
    };
    assert_eq!(step(&Event::RoutesApplied(cast.edge)), Starting);
    assert_eq!(step(&Event::CheckReady(&[cast.edge])), Starting, "the agent has not said so");
    assert_eq!(step(&Event::Reported(&report(ServerPhase::Ready))), Starting);
    assert_eq!(step(&Event::CheckReady(&[])), Starting, "no edge is connected");
    assert_eq!(step(&Event::CheckReady(&[cast.edge, other])), Starting, "one edge is missing");
    assert_eq!(step(&Event::CheckReady(&[cast.edge])), Ready);
}

#[test]
fn a_server_without_ports_needs_no_edge() {
    let cast = Cast::new();
    let mut record = cast.server(ServerState::Pending);
    apply(&mut record, &Event::Placed { node: cast.node, ports: vec![] }, 1_000).expect("placed");
    apply(&mut record, &Event::Reported(&report(ServerPhase::Ready)), 1_001).expect("reported");
    apply(&mut record, &Event::CheckReady(&[]), 1_002).expect("checked");
    assert_eq!(record.state(), Ready);
}

#[test]
fn a_port_an_edge_cannot_open_fails_what_nobody_has_claimed() {
    let cast = Cast::new();
    let failed = Event::RouteFailed {
        protocol: PortProtocol::Udp,
        edge_port: 7_001,
        code: "port_taken",
        detail: "in use",
    };
    for from in [Placing, Starting, Ready, Allocated, Draining] {
        let mut record = cast.server(from);
        let effects = apply(&mut record, &failed, 2_000).expect("a failure");
        assert!(effects.contains(&Effect::Quarantine { protocol: PortProtocol::Udp, edge_port: 7_001 }));
        if from < Allocated {
            assert_eq!((record.state(), record.reason.as_str()), (Failed, "port_taken"), "{from:?}");
        } else {
            assert_eq!(record.state(), from, "players may be on it");
        }
    }
}

#[test]
fn a_lost_node_or_container_ends_a_server_without_blame() {
    let cast = Cast::new();
    let lost: [(Event<'_>, &str); 2] =
        [(Event::NodeLost, "node_lost"), (Event::ContainerLost, "container_lost")];
    for (event, reason) in lost {
        for from in [Starting, Ready, Allocated, Draining] {
            let mut record = cast.server(from);
            let effects = apply(&mut record, &event, 2_000).expect("lost");
            assert_eq!((record.state(), record.reason.as_str()), (Failed, reason), "{from:?}");
            assert!(!effects.iter().any(|effect| matches!(effect, Effect::CountFailure { .. })));
        }
    }
    let mut pulling = cast.server(Pulling);
    apply(&mut pulling, &Event::ContainerLost, 2_000).expect("nothing");
    assert_eq!(pulling.state(), Pulling, "there was no container yet: the agent begins again");
    let mut pending = cast.server(ServerState::Pending);
    apply(&mut pending, &Event::NodeLost, 2_000).expect("nothing");
    assert_eq!(pending.state(), ServerState::Pending);
}

#[test]
fn whether_others_may_join_is_what_the_server_said_last_until_it_is_on_its_way_out() {
    let cast = Cast::new();
    let mut record = cast.server(Allocated);
    let mut told = |said: wire::Backfill| {
        let said = ServerReport { backfill: said.into(), ..report(ServerPhase::Ready) };
        let effects = apply(&mut record, &Event::Reported(&said), 2_000).expect("a report");
        (record.backfill(), effects.contains(&Effect::Backfill))
    };
    assert_eq!(told(wire::Backfill::Unspecified), (Backfill::Unsaid, false));
    assert_eq!(told(wire::Backfill::High), (Backfill::High, true));
    assert_eq!(told(wire::Backfill::High), (Backfill::High, false), "said again");
    assert_eq!(told(wire::Backfill::Unspecified), (Backfill::High, false), "an agent that knows less");
    assert_eq!(told(wire::Backfill::Closed), (Backfill::Closed, true));
    let effects = apply(&mut record, &Event::Drain { reason: "rollout" }, 2_000).expect("drains");
    assert_eq!(effects, [Effect::Backfill]);
}

#[test]
fn a_server_that_asks_to_be_shut_down_is_stopped() {
    let cast = Cast::new();
    let asks = ServerReport { shutdown_requested: true, ..report(ServerPhase::Ready) };
    for (from, counted) in [(Ready, true), (Allocated, false), (Draining, false)] {
        let mut record = cast.server(from);
        let effects = apply(&mut record, &Event::Reported(&asks), 2_000).expect("asks");
        assert_eq!((record.state(), record.goal()), (Draining, Goal::Stop), "{from:?}");
        let counts = effects.iter().any(|effect| matches!(effect, Effect::CountFailure { .. }));
        assert_eq!((counts, effects.contains(&Effect::Backfill)), (counted, from == Allocated), "{from:?}");
        let generation = record.generation;
        apply(&mut record, &Event::Reported(&asks), 2_001).expect("asks again");
        assert_eq!(record.generation, generation);
    }
}

#[test]
fn what_an_agent_sends_is_bounded() {
    let cast = Cast::new();
    let mut record = cast.server(Allocated);
    let mut flood = exit(1, false);
    flood.exit.as_mut().expect("an exit").log_tail = "ü".repeat(MAX_LOG_TAIL_BYTES);
    flood.connected_seats = (0..2_000).map(|_| SeatId::new().to_string()).collect();
    flood.container_id = "c".repeat(100_000);
    apply(&mut record, &Event::Reported(&flood), 2_000).expect("a report");
    assert!(record.exit.expect("kept").log_tail.len() <= MAX_LOG_TAIL_BYTES);
    assert!(record.container_id.len() <= 128);
}

/// Any event, by number.
fn event<'a>(number: u8, cast: &Cast, reports: &'a [ServerReport], edges: &'a [EdgeId]) -> Event<'a> {
    match number {
        0 => Event::Placed { node: cast.node, ports: ports() },
        1 => Event::RoutesApplied(cast.edge),
        2 => Event::CheckReady(edges),
        3 => Event::Claimed(cast.match_id),
        4 => Event::Drain { reason: "drain" },
        5 => Event::Stop { reason: "stop" },
        6 => Event::DrainDeadline,
        7 => Event::ContainerLost,
        8 => Event::NodeLost,
        9 => Event::Unplaced("no room"),
        10 => {
            Event::RouteFailed { protocol: PortProtocol::Udp, edge_port: 1, code: "port_taken", detail: "" }
        }
        other => Event::Reported(&reports[usize::from(other - 11)]),
    }
}

proptest! {
    /// Whatever happens in whatever order: states go forward only, each is entered once, resources are
    /// held exactly from placement to end, what is over stays as it is, and saying a thing twice in a row
    /// changes nothing the second time.
    #[test]
    fn states_only_go_forward(numbers in proptest::collection::vec(0u8..18, 0..40)) {
        let cast = Cast::new();
        let edges = [cast.edge];
        let reports = [
            report(ServerPhase::Pulling), report(ServerPhase::Starting), report(ServerPhase::Ready),
            report(ServerPhase::Stopping), report(ServerPhase::Failed), exit(0, false), exit(1, true),
        ];
        let mut record = cast.server(ServerState::Pending);
        for (at, number) in numbers.into_iter().enumerate() {
            let before = record.clone();
            let event = event(number, &cast, &reports, &edges);
            let now_ms = 2_000 + at as u64;
            let _ = apply(&mut record, &event, now_ms);
            prop_assert!(record.state() >= before.state());
            let held = !record.state().is_final() && record.state() != ServerState::Pending;
            prop_assert_eq!(record.holds_resources, held);
            if before.state().is_final() {
                prop_assert_eq!(&record, &before);
            }
            let mut states: Vec<_> = record.entered.iter().map(|entry| entry.state).collect();
            let all = states.len();
            states.dedup();
            prop_assert_eq!(states.len(), all, "a state was entered twice");
            let once = record.clone();
            let _ = apply(&mut record, &event, now_ms);
            prop_assert_eq!(&record, &once);
        }
    }
}
