//! Lobbies on real servers: bots join by code, the fullest is found, full is refused, and a server is joined by its id.

use std::time::Duration;

use muster_client::ClientError;
use muster_loadtest::bot::Way;
use muster_loadtest::bots::{Bots, Protocols};
use muster_loadtest::harness::stack::Stack;
use muster_loadtest::harness::wait::{Look, until};
use muster_protocol::api::{
    FindLobbyRequest, JoinRequest, Lobby, LobbyRequest, LobbySpec, MAX_WAIT_S, Server, ServerState, Ticket,
    TicketState, Visibility,
};
use muster_protocol::problem::ProblemCode;

use crate::play::{all_playing, assert_flawless};
use crate::support::{FLEET, bots, open_for_players, options, printed, stack};

/// How long the fleet may take to have a warm server again.
const WARM_DEADLINE: Duration = Duration::from_mins(1);

/// A lobby on a server.
async fn make(stack: &Stack, player: &str, lobby: LobbySpec) -> Ticket {
    let request =
        LobbyRequest { fleet: FLEET.to_owned(), player: player.to_owned(), lobby, ..LobbyRequest::default() };
    let made = stack.player.create_lobby(&request).await.expect("made");
    assigned(stack, made).await
}

async fn assigned(stack: &Stack, mut ticket: Ticket) -> Ticket {
    while !ticket.state.is_final() {
        let waited = stack.player.wait_ticket(&ticket.id, ticket.state, MAX_WAIT_S).await;
        ticket = waited.expect("the orchestrator answers");
    }
    assert_eq!(ticket.state, TicketState::Assigned, "{}", ticket.explanation);
    ticket
}

fn lobby(ticket: &Ticket) -> &Lobby {
    ticket.lobby.as_ref().expect("a lobby's ticket")
}

async fn join(stack: &Stack, code: &str, player: &str) -> Result<Ticket, ClientError> {
    stack.player.join_lobby(code, &JoinRequest::new(player)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn bots_join_by_code_until_the_lobby_is_full_and_leave_it_again() {
    let stack = stack(options("lobbies")).await;
    open_for_players(&stack).await;
    let spec = LobbySpec { visibility: Visibility::Private, max_players: Some(5), ..LobbySpec::default() };
    let host = make(&stack, "host", spec).await;
    let code = lobby(&host).code.clone();
    let server = host.assignment.as_ref().expect("assigned").server_id;

    let mut plan = bots(&stack, 3, Protocols::Mix, 8);
    plan.way = Way::Lobby(code.clone());
    let running = Bots::start(&plan).await.expect("bots start");
    all_playing(&running, 3).await;
    // One seat is left, and two want it.
    let (one, other) = tokio::join!(join(&stack, &code, "one"), join(&stack, &code, "other"));
    let (won, lost) = match (one, other) {
        (Ok(won), Err(lost)) | (Err(lost), Ok(won)) => (won, lost),
        both => panic!("one wins: {both:?}"),
    };
    assert_eq!(lost.code(), Some(ProblemCode::LobbyFull), "{lost}");
    assert_eq!(assigned(&stack, won).await.assignment.map(|at| at.server_id), Some(server));
    assert_eq!(lobby(&stack.player.ticket(&host.id).await.expect("there")).players, 5);

    let outcomes = running.finish().await.expect("bots end");
    assert_flawless(&outcomes, Protocols::Mix);
    assert!(outcomes.iter().all(|bot| bot.server == Some(server)), "all on the lobby's server");
    // They have left, and there is room again.
    let left = stack.player.lobby(&code).await.expect("it goes on");
    assert_eq!((left.players, left.open), (2, true));
    join(&stack, &code, "late").await.expect("there is room");
    let shown = printed(&stack, &["lobby", "show", &code]).await;
    assert!(shown.contains("3 of 5") && shown.contains("private"), "{shown}");
    assert!(printed(&stack, &["lobby", "ls"]).await.contains("private ones are not listed"));
    stack.stop(&[FLEET]).await.expect("everything stops in order");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_fullest_is_found_and_a_server_is_joined_by_its_id() {
    let stack = stack(options("lobbies-found")).await;
    open_for_players(&stack).await;
    let public = || LobbySpec { max_players: Some(3), ..LobbySpec::default() };
    let first = make(&stack, "first", public()).await;
    let second = make(&stack, "second", public()).await;
    join(&stack, &lobby(&second).code, "third").await.expect("joined");
    let find = async |player: &str| {
        let request = FindLobbyRequest {
            fleet: FLEET.to_owned(),
            player: player.to_owned(),
            ..FindLobbyRequest::default()
        };
        stack.player.find_lobby(&request).await
    };
    let found = find("fourth").await.expect("found");
    assert_eq!(lobby(&found).id, lobby(&second).id, "the fullest that fits");
    let found = find("fifth").await.expect("found");
    assert_eq!(lobby(&found).id, lobby(&first).id, "the other is full");

    let ready = until("a warm server", WARM_DEADLINE, async || {
        let servers = stack.servers(FLEET).await?;
        let found = servers.into_iter().find(|server| server.state == ServerState::Ready);
        Ok(found.map_or_else(|| Look::NotYet("all are claimed".to_owned()), Look::Holds))
    });
    let ready: Server = ready.await.expect("the fleet keeps some");
    let joined = stack.player.join_server(&ready.id, &JoinRequest::new("sixth")).await.expect("joined");
    let at = joined.assignment.expect("assigned at once");
    assert_eq!((at.server_id, joined.lobby), (ready.id, None));
    let beside = stack.player.join_server(&ready.id, &JoinRequest::new("seventh")).await.expect("joined");
    assert_eq!(beside.assignment.map(|other| other.match_id), Some(at.match_id));
    stack.stop(&[FLEET]).await.expect("everything stops in order");
}
