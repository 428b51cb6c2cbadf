//! Players play: over every protocol, and on through the loss of what they do not talk to.

use std::collections::BTreeMap;
use std::time::Duration;

use muster_loadtest::bot::BotOutcome;
use muster_loadtest::bots::{Bots, Protocols};
use muster_loadtest::harness::docker::{SERVER_LABEL, containers, docker};
use muster_loadtest::harness::stack::Stack;
use muster_loadtest::report::Report;
use muster_loadtest::summary;
use muster_protocol::api::{PortProtocol, ServerState, TicketRequest, TicketState};

use crate::support::{FLEET, MATCH_PLAYERS, QUEUE, bots, open_for_players, options, stack};

/// How long the orchestrator is away while players play: longer than a link takes to be found dead.
const AWAY: Duration = Duration::from_secs(7);
/// How long bots may take until all of them play.
const PLAYING_DEADLINE: Duration = Duration::from_mins(2);

pub(crate) fn assert_flawless(outcomes: &[BotOutcome], protocols: Protocols) {
    let report = Report::new(outcomes, protocols.list());
    assert!(report.ok, "{report:#?}\n{}", summary::failures(outcomes));
    for bot in outcomes {
        let sessions = bot.exchange.as_ref().map_or(0, muster_loadtest::exchange::Exchange::sessions);
        assert_eq!(sessions, 1, "{} was another peer to its server half-way", bot.player);
    }
}

/// Players come, play and leave, and miss nothing.
pub(crate) async fn play(stack: &Stack, players: usize, protocols: Protocols) {
    let plan = bots(stack, players, protocols, 3);
    let outcomes = Bots::start(&plan).await.expect("bots start").finish().await.expect("bots end");
    assert_flawless(&outcomes, protocols);
}

/// Waits until all of `count` bots have had their first answer.
pub(crate) async fn all_playing(running: &Bots, count: usize) {
    let mut progress = running.progress();
    let playing = progress.wait_for(|progress| progress.playing == count || progress.finished > 0);
    let seen =
        *tokio::time::timeout(PLAYING_DEADLINE, playing).await.expect("bots come to play").expect("bots run");
    assert_eq!(seen.playing, count, "{seen:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn bots_play_over_all_protocols_and_nothing_stays() {
    let stack = stack(options("all-protocols")).await;
    open_for_players(&stack).await;
    play(&stack, 12, Protocols::Mix).await;
    for (metrics, prefix) in [
        (stack.edge_metrics().await.expect("served"), "muster_edge_"),
        (stack.agent_metrics().await.expect("served"), "muster_agent_"),
    ] {
        assert!(metrics.lines().any(|line| line.starts_with("# HELP") && line.contains(prefix)), "{metrics}");
    }
    let node = stack.node().expect("the agent has joined").to_owned();
    stack.stop(&[FLEET]).await.expect("everything stops in order");
    let left = containers(muster_loadtest::harness::docker::NODE_LABEL, &node).await.expect("Docker answers");
    assert_eq!(left, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn large_datagrams_arrive_whole() {
    let stack = stack(options("large-datagrams")).await;
    open_for_players(&stack).await;
    let udp = Protocols::One(PortProtocol::Udp);
    let mut plan = bots(&stack, MATCH_PLAYERS as usize, udp, 2);
    // Over every path's MTU, so the tunnel has to split it, both ways.
    plan.pad = "x".repeat(6_000);
    let outcomes = Bots::start(&plan).await.expect("bots start").finish().await.expect("bots end");
    assert_flawless(&outcomes, udp);
    stack.stop(&[FLEET]).await.expect("everything stops in order");
}

#[tokio::test(flavor = "multi_thread")]
async fn games_do_not_notice_that_the_orchestrator_is_killed() {
    let mut stack = stack(options("kill9-orchestrator")).await;
    open_for_players(&stack).await;
    let running = Bots::start(&bots(&stack, 12, Protocols::Mix, 12)).await.expect("bots start");
    all_playing(&running, 12).await;
    // Acknowledged just before the kill: it must be there after it.
    let request = TicketRequest::new(QUEUE, "early");
    let early = stack.player.create_ticket(&request).await.expect("acknowledged");
    stack.orchestrators[0].kill9().await.expect("killed");
    tokio::time::sleep(AWAY).await;
    stack.orchestrators[0].restart().expect("started again");
    stack.wait_for_orchestrator(0).await.expect("it comes back");
    let outcomes = running.finish().await.expect("bots end");
    assert_flawless(&outcomes, Protocols::Mix);

    let kept = stack.player.ticket(&early.id).await.expect("the ticket is still there");
    assert_eq!((kept.state, kept.player.as_str()), (TicketState::Searching, "early"));
    stack.player.cancel_ticket(&early.id).await.expect("it is open, so it can be withdrawn");
    stack.wait_for_node().await.expect("the agent connects again");
    stack.wait_for_edge().await.expect("the edge connects again");
    play(&stack, 12, Protocols::Mix).await;
    stack.stop(&[FLEET]).await.expect("everything stops in order");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edge_is_replaced_under_its_players() {
    let mut stack = stack(options("replaced-edge")).await;
    open_for_players(&stack).await;
    let running = Bots::start(&bots(&stack, 12, Protocols::Mix, 12)).await.expect("bots start");
    all_playing(&running, 12).await;
    let mut before = stack.replace_edge().expect("the next edge starts");
    // Nobody notices: not one packet is lost, and no server sees another peer.
    assert_flawless(&running.finish().await.expect("bots end"), Protocols::Mix);
    let ended = before.wait(PLAYING_DEADLINE).await.expect("the edge before ends by itself");
    assert!(ended.success(), "{ended}: {}", before.log_tail());
    stack.wait_for_edge().await.expect("the next edge is connected");
    stack.edge_metrics().await.expect("the next edge shows its metrics where the one before did");
    play(&stack, 12, Protocols::Mix).await;
    stack.stop(&[FLEET]).await.expect("everything stops in order");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_agent_takes_its_containers_up_again() {
    let mut stack = stack(options("kill9-agent")).await;
    open_for_players(&stack).await;
    let udp = Protocols::One(PortProtocol::Udp);
    let running = Bots::start(&bots(&stack, 8, udp, 15)).await.expect("bots start");
    all_playing(&running, 8).await;
    let before = claimed(&stack).await;
    assert_eq!(before.len(), 2, "two matches: {before:?}");
    let agent = stack.agent.as_mut().expect("runs");
    agent.kill9().await.expect("killed");
    agent.restart().expect("started again");
    stack.wait_for_node().await.expect("the agent connects again");

    // Packets are lost while nobody carries them, but the same servers play on with the same players.
    for bot in running.finish().await.expect("bots end") {
        assert_eq!(bot.failure, None, "{}", bot.player);
        let exchange = bot.exchange.expect("it has played");
        assert_eq!(exchange.mixed(), 0, "{}: {:?}", bot.player, exchange.last_mix());
        let last = exchange.unanswered().last().unwrap_or(0);
        let sent = exchange.sent() as u32;
        assert!(last + 40 < sent, "{}: {last} of {sent} was not answered", bot.player);
    }
    assert_eq!(claimed(&stack).await, before, "the same containers, not started again");
    play(&stack, 12, Protocols::Mix).await;
    stack.stop(&[FLEET]).await.expect("everything stops in order");
}

/// Claimed servers with their containers and when these were started.
async fn claimed(stack: &Stack) -> BTreeMap<String, String> {
    let mut claimed = BTreeMap::new();
    for server in stack.servers(FLEET).await.expect("listed") {
        if server.state == ServerState::Allocated {
            let id = server.id.to_string();
            let ids = containers(SERVER_LABEL, &id).await.expect("Docker answers");
            assert_eq!(ids.len(), 1, "one container of {id}");
            let started = docker(&["inspect", "--format", "{{.Id}} {{.State.StartedAt}}", &ids[0]]).await;
            claimed.insert(id, started.expect("Docker answers"));
        }
    }
    claimed
}
