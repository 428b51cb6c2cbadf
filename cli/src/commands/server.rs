//! `muster server`: list, show, join, stop, and follow the log of servers.

use std::io::Write;

use clap::Subcommand;
use futures_util::StreamExt;
use muster_client::ServerFilter;
use muster_protocol::api::{LogsQuery, Seat, Server, ServerState};
use muster_protocol::id::{ServerId, ServerMark, parse_id};

use super::{Ops, lobby, ticket};
use crate::{context, output};

#[derive(Subcommand)]
pub(crate) enum Command {
    /// List servers
    Ls {
        /// Only of this fleet
        #[arg(long)]
        fleet: Option<String>,
        /// Only in this region
        #[arg(long)]
        region: Option<String>,
        /// Only in this state
        #[arg(long, value_parser = state)]
        state: Option<ServerState>,
        /// Also servers that are over
        #[arg(long, short)]
        all: bool,
    },
    /// Show one server: why it is where it is, and what it took to get there
    Show {
        /// Its id
        #[arg(value_parser = parse_id::<ServerMark>)]
        id: ServerId,
    },
    /// Print a server's log
    Logs {
        /// Its id
        #[arg(value_parser = parse_id::<ServerMark>)]
        id: ServerId,
        /// Go on with what comes
        #[arg(long, short)]
        follow: bool,
        /// Lines of the past to begin with
        #[arg(long, default_value_t = 100)]
        tail: u32,
    },
    /// Join a server, of a fleet that allows it, as a game client would
    Join {
        /// Its id
        #[arg(value_parser = parse_id::<ServerMark>)]
        id: ServerId,
        #[command(flatten)]
        guests: lobby::Guests,
        #[command(flatten)]
        before: lobby::Before,
    },
    /// Stop a server: it drains first if players may be on it
    Stop {
        /// Its id
        #[arg(value_parser = parse_id::<ServerMark>)]
        id: ServerId,
        /// At once, players or not
        #[arg(long)]
        force: bool,
    },
}

fn state(text: &str) -> Result<ServerState, String> {
    ServerState::ALL.into_iter().find(|state| state.as_str() == text).ok_or_else(|| {
        format!("no such state; the states are {}", output::list(ServerState::ALL.map(ServerState::as_str)))
    })
}

pub(crate) async fn run(ops: &Ops, command: Command) -> anyhow::Result<()> {
    match command {
        Command::Ls { fleet, region, state, all } => {
            list(ops, ServerFilter { fleet, region, state, after: None }, all).await
        }
        Command::Show { id } => show(ops, &ops.client.server(&id).await?),
        Command::Logs { id, follow, tail } => logs(ops, &id, &LogsQuery { follow, tail }).await,
        Command::Join { id, guests, before } => {
            ticket::show(ops, &ops.client.join_server(&id, &guests.request(before)).await?)
        }
        Command::Stop { id, force } => {
            ops.client.stop_server(&id, force).await?;
            let how = if force { "is told to stop at once" } else { "is told to stop" };
            output::done(ops.json, &id, how)
        }
    }
}

async fn list(ops: &Ops, filter: ServerFilter, all: bool) -> anyhow::Result<()> {
    let mut servers = context::all(async |after| {
        let filter = ServerFilter { after: after.map(str::to_owned), ..filter.clone() };
        ops.client.servers(&filter).await
    })
    .await?;
    if !all && filter.state.is_none() {
        servers.retain(|server| !server.state.is_final());
    }
    let rows = servers
        .iter()
        .map(|server| {
            vec![
                server.id.to_string(),
                server.fleet.clone(),
                server.region.clone(),
                server.state.as_str().to_owned(),
                server.entered_ms.get(&server.state).map_or_else(String::new, |at| output::ago(*at)),
                server.seats.len().to_string(),
                server.flows.to_string(),
                ports(server),
                server.explanation.clone(),
            ]
        })
        .collect();
    let headers = ["server", "fleet", "region", "state", "for", "seats", "flows", "edge ports", "why"];
    let empty = "no servers; --all shows those that are over, `muster fleet ls` what is wanted";
    output::table(ops.json, &servers, &headers, rows, empty)
}

fn ports(server: &Server) -> String {
    output::list(server.ports.iter().map(|port| {
        let protocol = match (port.protocol.as_str(), port.tls) {
            ("ws", true) => "wss",
            (_, true) => "tls",
            (protocol, false) => protocol,
        };
        // Ports are given out with the node.
        let number = if port.edge_port == 0 { "-".to_owned() } else { port.edge_port.to_string() };
        format!("{}={number}/{protocol}", port.name)
    }))
}

fn show(ops: &Ops, server: &Server) -> anyhow::Result<()> {
    let exit = server.exit.as_ref();
    let lines = [
        ("server", server.id.to_string()),
        ("namespace", server.namespace.clone()),
        ("fleet", server.fleet.clone()),
        ("region", server.region.clone()),
        ("node", server.node.map(|node| node.to_string()).unwrap_or_default()),
        ("build", server.build_digest.clone()),
        ("state", server.state.as_str().to_owned()),
        ("why", server.explanation.clone()),
        ("phases", phases(server)),
        ("ports", ports(server)),
        ("match", server.match_id.map(|id| id.to_string()).unwrap_or_default()),
        ("seats", output::list(server.seats.iter().map(seat))),
        ("flows", server.flows.to_string()),
        (
            "exit",
            exit.map(|exit| {
                format!("code {}{}", exit.code, if exit.out_of_memory { ", out of memory" } else { "" })
            })
            .unwrap_or_default(),
        ),
        ("last lines", exit.map(|exit| exit.log_tail.clone()).unwrap_or_default()),
    ];
    output::details(ops.json, server, &lines)
}

fn seat(seat: &Seat) -> String {
    match seat.kept_until_ms {
        _ if seat.connected => format!("{} (connected)", seat.player),
        Some(until_ms) => {
            let how = if seat.dropped_at_ms.is_some() { "dropped out" } else { "not there yet" };
            format!("{} ({how}, kept for {})", seat.player, output::until(until_ms))
        }
        None => seat.player.clone(),
    }
}

/// Each state entered, with the time it took to leave it.
fn phases(server: &Server) -> String {
    let mut entered: Vec<_> = server.entered_ms.iter().map(|(state, at)| (*at, *state)).collect();
    entered.sort();
    let spans = entered.iter().enumerate().map(|(index, (at, state))| match entered.get(index + 1) {
        Some((next, _)) => format!("{} {}", state.as_str(), output::span(next.saturating_sub(*at))),
        None => format!("{} since {}", state.as_str(), output::ago(*at)),
    });
    output::list(spans)
}

async fn logs(ops: &Ops, id: &ServerId, query: &LogsQuery) -> anyhow::Result<()> {
    let mut stream = ops.client.logs(id, query).await?;
    let mut out = std::io::stdout();
    while let Some(piece) = stream.next().await {
        let piece = piece?;
        let written = if ops.json {
            let text = String::from_utf8_lossy(&piece);
            writeln!(out, "{}", serde_json::json!({ "output": text })).and_then(|()| out.flush())
        } else {
            out.write_all(&piece).and_then(|()| out.flush())
        };
        match written {
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => return Ok(()),
            other => other?,
        }
    }
    Ok(())
}
