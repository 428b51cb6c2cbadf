//! Seats: asked for in each of the ways there are, and waited for.

use std::time::{Duration, Instant};

use muster_client::{Client, LobbyFilter};
use muster_protocol::api::{JoinRequest, Ticket, TicketState};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::fault::Fault;
use super::{Match, Shared, client, lock, say, text};

/// One long poll, in seconds: as often as an explanation is looked at.
const POLL_S: u32 = 1;
/// Pause before a poll that failed is tried again.
const AGAIN: Duration = Duration::from_millis(250);

fn body<T: DeserializeOwned>(request: &Value) -> Result<T, Fault> {
    serde_json::from_value(request["request"].clone()).map_err(|error| {
        Fault::new("invalid_argument", format!("The request is not of the API's shape: {error}."))
    })
}

/// Asks for a seat, in one of the ways there are.
pub(super) async fn ask(things: &Shared, request: &Value) -> Result<Value, Fault> {
    let game = client(things, request)?;
    let player = text(&request["request"], "player");
    if player.is_empty() {
        return Err(Fault::new(
            "invalid_argument",
            "The player's name is empty. Give the studio's name for them.",
        ));
    }
    let client = &game.client;
    let ticket = match text(request, "call") {
        "match.find" => client.create_ticket(&body(request)?).await,
        "lobby.create" => client.create_lobby(&body(request)?).await,
        "lobby.find" => client.find_lobby(&body(request)?).await,
        "lobby.join" => client.join_lobby(text(request, "lobby"), &body::<JoinRequest>(request)?).await,
        _ => {
            let id = text(request, "server_id").parse();
            let id =
                id.map_err(|_| Fault::new("invalid_argument", "That is no server's id; it is as srv_…"))?;
            client.join_server(&id, &body(request)?).await
        }
    }
    .map_err(Fault::of)?;
    let answer = json!({"ticket": ticket});
    let made = Match { client: game.client.clone(), authority: game.authority.clone(), ticket };
    lock(things).matches.insert(text(request, "match").to_owned(), made);
    Ok(answer)
}

pub(super) async fn lobby(things: &Shared, request: &Value) -> Result<Value, Fault> {
    let client = client(things, request)?.client.clone();
    match text(request, "call") {
        "lobby.read" => {
            let lobby = client.lobby(text(request, "lobby")).await.map_err(Fault::of)?;
            Ok(json!({"lobby": lobby}))
        }
        "lobby.list" => {
            let mut filter = LobbyFilter {
                fleet: request["fleet"].as_str().map(str::to_owned),
                tags: serde_json::from_value(request["tags"].clone()).unwrap_or_default(),
                open: request["open"] == true,
                ..LobbyFilter::default()
            };
            let mut lobbies = Vec::new();
            loop {
                let page = client.lobbies(&filter).await.map_err(Fault::of)?;
                lobbies.extend(page.items);
                if page.next.is_none() {
                    return Ok(json!({"lobbies": lobbies}));
                }
                filter.after = page.next;
            }
        }
        _ => ask(things, request).await,
    }
}

/// The client and the ticket of a match, as it was told last.
pub(super) fn found(things: &Shared, name: &str) -> Result<(Client, Ticket), Fault> {
    let things = lock(things);
    let found = things.matches.get(name).ok_or_else(|| Fault::no("match", name))?;
    Ok((found.client.clone(), found.ticket.clone()))
}

/// Keeps what was told, and tells what is news of it.
fn keep(things: &Shared, name: &str, ticket: &Ticket) {
    let mut things = lock(things);
    let Some(of) = things.matches.get_mut(name) else { return };
    let is_news = of.ticket.state != ticket.state || of.ticket.explanation != ticket.explanation;
    of.ticket = ticket.clone();
    if is_news {
        say(
            &json!({"event": "progress", "match": name, "state": ticket.state, "explanation": ticket.explanation}),
        );
    }
}

pub(super) async fn of_match(things: &Shared, request: &Value, timeout: Duration) -> Result<Value, Fault> {
    let name = text(request, "match");
    let (client, ticket) = found(things, name)?;
    match text(request, "call") {
        "match.wait" => wait(things, name, timeout).await,
        "match.read" => {
            let ticket = client.ticket(&ticket.id).await.map_err(Fault::of)?;
            keep(things, name, &ticket);
            Ok(json!({"ticket": ticket}))
        }
        "match.cancel" => client.cancel_ticket(&ticket.id).await.map(|()| json!({})).map_err(Fault::of),
        "match.accept" => client.accept_ticket(&ticket.id).await.map(|_| json!({})).map_err(Fault::of),
        "match.decline" => client.decline_ticket(&ticket.id).await.map(|_| json!({})).map_err(Fault::of),
        "match.explain" => {
            let explained = client.explain_ticket(&ticket.id).await.map_err(Fault::of)?;
            Ok(json!({"words": explained.words}))
        }
        other => Err(Fault::new("unsupported", format!("This driver has no call {other:?}."))),
    }
}

async fn wait(things: &Shared, name: &str, timeout: Duration) -> Result<Value, Fault> {
    let began = Instant::now();
    loop {
        let (client, ticket) = found(things, name)?;
        match ticket.state {
            TicketState::Assigned => return Ok(json!({"ticket": ticket})),
            TicketState::Failed => return Err(Fault::ended("match_failed", &ticket)),
            TicketState::Expired => return Err(Fault::ended("match_expired", &ticket)),
            TicketState::Cancelled => return Err(Fault::ended("match_cancelled", &ticket)),
            TicketState::Searching | TicketState::Matched => {}
        }
        let left = timeout.saturating_sub(began.elapsed());
        if left.is_zero() {
            return Err(Fault::timed_out("waiting for a match"));
        }
        let poll = tokio::time::timeout(left, client.wait_ticket(&ticket.id, ticket.state, POLL_S)).await;
        match poll {
            Err(_) => {}
            Ok(Ok(ticket)) => keep(things, name, &ticket),
            Ok(Err(error)) if error.is_transient() => tokio::time::sleep(AGAIN.min(left)).await,
            Ok(Err(error)) => return Err(Fault::of(error)),
        }
    }
}
