//! Arena: an example game server for UDP, TCP and WebSocket that uses Muster's SDK endpoint.
//!
//! Small on purpose, but a real server: a 20 Hz world, state per player keyed by the transport's
//! peer, and answers from which a client can tell that a packet was lost or a session mixed with
//! another's. It is not part of Muster: it knows only environment variables and plain HTTP.

mod config;
mod sdk;
mod stop;
mod tcp;
mod udp;
mod wire;
mod world;
mod ws;

use std::process::ExitCode;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use tokio::net::{TcpListener, UdpSocket};

use crate::config::Config;
use crate::sdk::Sdk;
use crate::world::{Departure, TICK, World};

/// What every transport needs: the world, and the SDK to tell of seats.
#[derive(Clone)]
struct Arena {
    world: Arc<Mutex<World>>,
    sdk: Sdk,
}

impl Arena {
    /// Plays one message of `peer`; the answer to send, or `None` for what is no message of this game.
    fn play(&self, peer: world::Peer, bytes: &[u8]) -> Option<Vec<u8>> {
        let message = wire::decode(bytes)?;
        let mut world = self.world.lock().expect("no holder of the lock panics");
        let turn = world.receive(peer, message, Instant::now())?;
        drop(world);
        if let Some(arrival) = &turn.arrival {
            println!("join player={} peer={peer} seat={}", arrival.player, arrival.seat_text());
            self.sdk.seat(arrival.seat.as_deref(), true);
        }
        Some(wire::encode(&turn.state))
    }

    /// The connection of `peer` is over.
    fn leave(&self, peer: world::Peer) {
        let departure = self.world.lock().expect("no holder of the lock panics").leave(peer);
        if let Some(departure) = departure {
            self.left(&departure);
        }
    }

    fn left(&self, departure: &Departure) {
        println!("leave player={} packets={} why={}", departure.player, departure.packets, departure.why);
        self.sdk.seat(departure.seat.as_deref(), false);
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let config = match Config::from_env(|name| std::env::var(name).ok()) {
        Ok(config) => config,
        Err(message) => {
            eprintln!("error: {message}");
            return ExitCode::from(2);
        }
    };
    if let Some(code) = config.exit_at_start {
        eprintln!("error: told to exit with code {code} by ARENA_EXIT_AT_START");
        return ExitCode::from(code);
    }
    match serve(config).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn serve(config: Config) -> std::io::Result<()> {
    let told = stop::told()?;
    let udp = UdpSocket::bind(("0.0.0.0", config.udp_port)).await?;
    let tcp = TcpListener::bind(("0.0.0.0", config.tcp_port)).await?;
    let ws = TcpListener::bind(("0.0.0.0", config.ws_port)).await?;
    println!("listening udp={} tcp={} ws={}", config.udp_port, config.tcp_port, config.ws_port);

    let arena = Arena { world: Arc::new(Mutex::new(World::default())), sdk: Sdk::start(config.sdk) };
    arena.sdk.ready();
    tokio::select! {
        result = udp::serve(udp, arena.clone()) => result,
        () = tcp::serve(tcp, arena.clone()) => Ok(()),
        () = ws::serve(ws, arena.clone()) => Ok(()),
        () = run_world(arena) => Ok(()),
        signal = told => {
            println!("stop signal={signal}");
            Ok(())
        }
    }
}

async fn run_world(arena: Arena) {
    let mut ticks = tokio::time::interval(TICK);
    loop {
        ticks.tick().await;
        let departed = arena.world.lock().expect("no holder of the lock panics").tick(Instant::now());
        for departure in &departed {
            arena.left(departure);
        }
    }
}
