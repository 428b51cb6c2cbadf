//! `muster lobby`: make, list, find and join lobbies as a game client would.

use std::collections::BTreeMap;
use std::time::Duration;

use clap::{Args, Subcommand};
use muster_client::LobbyFilter;
use muster_protocol::api::{
    FindLobbyRequest, JoinRequest, Lobby, LobbyRequest, LobbySpec, PartyMember, Ticket, Visibility,
};

use super::{Ops, ticket};
use crate::{context, output};

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Make a lobby, and wait for its server
    Create {
        /// Fleet whose servers host it
        fleet: String,
        #[command(flatten)]
        guests: Guests,
        #[command(flatten)]
        place: Place,
        #[command(flatten)]
        like: Like,
        /// Seconds to wait for the server
        #[arg(long, default_value_t = 60)]
        wait: u64,
    },
    /// List public lobbies
    Ls {
        /// Only of this fleet
        #[arg(long)]
        fleet: Option<String>,
        /// Only in this region of the fleet
        #[arg(long, requires = "fleet")]
        region: Option<String>,
        /// Only with this tag, NAME=VALUE; may be given several times
        #[arg(long, value_name = "NAME=VALUE", value_parser = tag)]
        tag: Vec<(String, String)>,
        /// Also those that take nobody
        #[arg(long, short)]
        all: bool,
    },
    /// Show a lobby
    Show {
        /// Its code or id
        lobby: String,
    },
    /// Join the fullest public lobby that fits, and wait for its server
    Find {
        /// Fleet
        fleet: String,
        #[command(flatten)]
        guests: Guests,
        #[command(flatten)]
        before: Before,
        #[command(flatten)]
        place: Place,
        /// Farthest region, in milliseconds
        #[arg(long, value_name = "MS")]
        max_latency: Option<u32>,
        /// Tag it must have, NAME=VALUE; may be given several times
        #[arg(long, value_name = "NAME=VALUE", value_parser = tag)]
        tag: Vec<(String, String)>,
        /// Make one if none fits
        #[arg(long)]
        create: bool,
        /// Seconds to wait for the server
        #[arg(long, default_value_t = 60)]
        wait: u64,
    },
    /// Join a lobby, and wait for its server
    Join {
        /// Its code or id
        lobby: String,
        #[command(flatten)]
        guests: Guests,
        #[command(flatten)]
        before: Before,
        /// Seconds to wait for the server
        #[arg(long, default_value_t = 60)]
        wait: u64,
    },
}

/// Who comes.
#[derive(Args)]
pub(crate) struct Guests {
    /// Player's name
    #[arg(long, default_value = "cli")]
    player: String,
    /// A player who comes along; may be given several times
    #[arg(long = "with", value_name = "PLAYER")]
    party: Vec<String>,
    /// Any text that nobody guesses: the same request sent again with it is answered with the same ticket
    #[arg(long, value_name = "TEXT")]
    idempotency_key: Option<String>,
}

/// What shows that a seat is theirs already.
#[derive(Args)]
pub(crate) struct Before {
    /// Token of a ticket that the players had before, to have its seats again; may be given several times. With a token of
    /// the API that is not of role client none is needed
    #[arg(long = "previous-token", value_name = "TOKEN")]
    previous_tokens: Vec<String>,
}

impl Guests {
    fn party(&self) -> Vec<PartyMember> {
        let members = self.party.iter().cloned();
        members.map(|player| PartyMember { player, ..PartyMember::default() }).collect()
    }

    /// They join.
    pub(super) fn request(&self, before: Before) -> JoinRequest {
        let Before { previous_tokens } = before;
        let idempotency_key = self.idempotency_key.clone();
        JoinRequest {
            party: self.party(),
            previous_tokens,
            idempotency_key,
            ..JoinRequest::new(&self.player)
        }
    }
}

/// Where it is to be.
#[derive(Args)]
pub(crate) struct Place {
    /// A region it may be in; may be given several times, best first
    #[arg(long)]
    region: Vec<String>,
    /// Round trip to a region, REGION=MILLISECONDS; may be given several times
    #[arg(long, value_name = "REGION=MS", value_parser = ticket::latency)]
    latency: Vec<(String, u32)>,
}

/// What it is to be like.
#[derive(Args)]
pub(crate) struct Like {
    /// Name that other players see
    #[arg(long, default_value = "")]
    name: String,
    /// Not listed and not found: joined by its code or id
    #[arg(long)]
    private: bool,
    /// Most players; as many as the fleet allows if not given
    #[arg(long)]
    max_players: Option<u32>,
    /// JSON for the game
    #[arg(long, value_name = "JSON", value_parser = json)]
    config: Option<serde_json::Value>,
    /// What it can be searched by, NAME=VALUE; may be given several times
    #[arg(long, value_name = "NAME=VALUE", value_parser = tag)]
    tag: Vec<(String, String)>,
}

impl Like {
    fn spec(self) -> LobbySpec {
        LobbySpec {
            name: self.name,
            visibility: if self.private { Visibility::Private } else { Visibility::Public },
            max_players: self.max_players,
            config: self.config.unwrap_or_default(),
            tags: self.tag.into_iter().collect(),
        }
    }
}

fn tag(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("give NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

fn json(text: &str) -> Result<serde_json::Value, String> {
    serde_json::from_str(text).map_err(|error| format!("this is no JSON: {error}"))
}

pub(crate) async fn run(ops: &Ops, command: Command) -> anyhow::Result<()> {
    match command {
        Command::Create { fleet, guests, place, like, wait } => {
            let request = LobbyRequest {
                fleet,
                party: guests.party(),
                player: guests.player,
                idempotency_key: guests.idempotency_key,
                regions: place.region,
                latencies_ms: place.latency.into_iter().collect(),
                lobby: like.spec(),
            };
            let made = ops.client.create_lobby(&request).await?;
            if let Some(lobby) = &made.lobby {
                // Others can join while its server starts.
                eprintln!("lobby {}", lobby.code);
            }
            seated(ops, made, wait).await
        }
        Command::Ls { fleet, region, tag, all } => {
            let tags = tag.into_iter().collect();
            list(ops, LobbyFilter { fleet, region, tags, open: !all, after: None }).await
        }
        Command::Show { lobby } => show(ops, &ops.client.lobby(&lobby).await?),
        Command::Find { fleet, guests, before, place, max_latency, tag, create, wait } => {
            let request = FindLobbyRequest {
                fleet,
                party: guests.party(),
                player: guests.player,
                idempotency_key: guests.idempotency_key,
                regions: place.region,
                latencies_ms: place.latency.into_iter().collect(),
                max_latency_ms: max_latency,
                tags: tag.into_iter().collect(),
                create: create.then(LobbySpec::default),
                previous_tokens: before.previous_tokens,
            };
            let found = ops.client.find_lobby(&request).await?;
            seated(ops, found, wait).await
        }
        Command::Join { lobby, guests, before, wait } => {
            let joined = ops.client.join_lobby(&lobby, &guests.request(before)).await?;
            seated(ops, joined, wait).await
        }
    }
}

async fn seated(ops: &Ops, ticket: Ticket, wait: u64) -> anyhow::Result<()> {
    ticket::show(ops, &ticket::await_end(ops, ticket, Duration::from_secs(wait)).await?)
}

async fn list(ops: &Ops, filter: LobbyFilter) -> anyhow::Result<()> {
    let lobbies = context::all(async |after| {
        let filter = LobbyFilter { after: after.map(str::to_owned), ..filter.clone() };
        ops.client.lobbies(&filter).await
    })
    .await?;
    let rows = lobbies
        .iter()
        .map(|lobby| {
            vec![
                lobby.code.clone(),
                lobby.name.clone(),
                lobby.fleet.clone(),
                lobby.region.clone(),
                lobby.state.as_str().to_owned(),
                format!("{}/{}", lobby.players, lobby.max_players),
                tags(&lobby.tags),
            ]
        })
        .collect();
    let headers = ["code", "name", "fleet", "region", "state", "players", "tags"];
    let empty = "no lobbies; --all shows those that take nobody, private ones are not listed";
    output::table(ops.json, &lobbies, &headers, rows, empty)
}

fn tags(tags: &BTreeMap<String, String>) -> String {
    output::list(tags.iter().map(|(name, value)| format!("{name}={value}")))
}

fn show(ops: &Ops, lobby: &Lobby) -> anyhow::Result<()> {
    let config = if lobby.config.is_null() { String::new() } else { lobby.config.to_string() };
    let lines = [
        ("lobby", lobby.id.to_string()),
        ("code", lobby.code.clone()),
        ("name", lobby.name.clone()),
        ("fleet", lobby.fleet.clone()),
        ("region", lobby.region.clone()),
        ("state", lobby.state.as_str().to_owned()),
        ("open", if lobby.open { "yes" } else { "no" }.to_owned()),
        ("visibility", lobby.visibility.as_str().to_owned()),
        ("players", format!("{} of {}", lobby.players, lobby.max_players)),
        ("owner", lobby.owner.clone()),
        ("tags", tags(&lobby.tags)),
        ("config", config),
        ("server", lobby.server_id.map(|id| id.to_string()).unwrap_or_default()),
        ("made", format!("{} ago", output::ago(lobby.created_at_ms))),
    ];
    output::details(ops.json, lobby, &lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_and_configurations_are_read_or_refused() {
        assert_eq!(tag("map=a=b"), Ok(("map".to_owned(), "a=b".to_owned())));
        assert!(tag("map").is_err());
        assert_eq!(json("{\"a\": 1}"), Ok(serde_json::json!({"a": 1})));
        assert!(json("{").expect_err("cut off").contains("no JSON"));
    }
}
