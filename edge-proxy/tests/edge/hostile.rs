//! Clients that mean harm to others: floods that are to keep players out, and packets that are to make the edge a flood.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::time::Instant;

use muster_protocol::agent::PortProtocol::Udp;
use muster_protocol::beacon;
use muster_protocol::edge::RouteTable;
use muster_protocol::edge::TokenMode::{Claim, Open, Preface};
use muster_protocol::flow::{FlowId, MAX_SERVER_FLOWS};
use muster_protocol::id::{SeatId, ServerId};
use muster_protocol::preface::{Answer, encode_claim, encode_preface};
use rand::rngs::StdRng;
use rand::{Rng, RngExt, SeedableRng};

use crate::authority::unix_ms;
use crate::udp::Player;
use crate::world::{DEADLINE, World, address_of};

/// Sources of the flood that send between two packets of a player; a port's buffer holds as many.
const AT_ONCE: u32 = 64;

/// Source number `number` of a flood, which has one packet to send.
fn forged(number: u32) -> UdpSocket {
    let [_, a, b, c] = number.to_be_bytes();
    UdpSocket::bind(SocketAddr::from(([127, 64 + a, b, c.max(1)], 0))).expect("all of 127/8 is this machine")
}

/// The flow that carried `packet`.
fn flow_of(world: &World, packet: &[u8]) -> FlowId {
    let packets = world.agent.packets();
    let of = packets.iter().find(|(_, packets)| packets.iter().any(|it| it[..] == *packet));
    *of.expect("it came").0
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_from_forged_sources_on_an_open_port_keeps_nobody_out() {
    let world = World::new().await;
    let routes = vec![world.route(Udp, Open), world.route(Udp, Preface)];
    let (open, preface) = (address_of(&routes[0]), address_of(&routes[1]));
    let table = RouteTable { revision: 1, full: true, routes, remove: vec![] };
    assert_eq!(world.orchestrator.apply(table).await.failures, []);
    let (player, proven) = (Player::new(open).await, Player::new(preface).await);
    let token = world.authority.token(world.server, "game", SeatId::new());
    assert_eq!(proven.ask(&token).await, Answer::Accepted);
    player.until_echoed(b"I play").await;
    proven.until_echoed(b"I have a seat").await;
    let flows = [flow_of(&world, b"I play"), flow_of(&world, b"I have a seat")];

    // The server answers each of them, so that they look like players. It goes on until it has cost the first of them its place.
    let began = Instant::now();
    for number in 0.. {
        forged(number).send_to(b"forged", open).expect("it is sent");
        if number % AT_ONCE == 0 {
            player.until_echoed(&number.to_be_bytes()).await;
            if !world.agent.closed().is_empty() {
                break;
            }
            assert!(began.elapsed() < DEADLINE, "{} flows, and still room", world.agent.flows());
        }
    }
    let newcomer = Player::at([127, 0, 0, 9], open).await;
    let (coming, playing) = (newcomer.until_echoed(b"let me in"), async {
        loop {
            player.until_echoed(b"I still play").await;
        }
    });
    tokio::select! {
        () = coming => {}
        () = playing => {}
    }
    proven.until_echoed(b"and here I am").await;
    let closed = world.agent.closed();
    assert!(!flows.iter().any(|flow| closed.contains(flow)), "who plays, or is proven, stays");
    let stand = world.agent.flows();
    assert!(stand <= MAX_SERVER_FLOWS as usize, "{stand} flows are more than an agent takes");
    world.edge.shutdown().await;
}

/// What somebody sends who wants the edge to send more to another. None of it proves anything.
fn hostile_packet(random: &mut StdRng, worthless: &[Vec<u8>]) -> Vec<u8> {
    let mut packet = worthless[random.random_range(0..worthless.len())].clone();
    match random.random_range(0..6) {
        0 => {
            packet.resize(random.random_range(0..1_400), 0);
            random.fill_bytes(&mut packet);
        }
        1 => packet.truncate(random.random_range(0..=packet.len())),
        2 => packet.extend_from_slice(&[0; 100]),
        3 => {
            let at = random.random_range(0..packet.len());
            packet[at] = random.random();
        }
        _ => {}
    }
    packet
}

/// Bytes that have come to `source`.
fn heard(source: &UdpSocket) -> usize {
    let (mut buffer, mut bytes) = ([0; 2_048], 0);
    loop {
        match source.recv(&mut buffer) {
            Ok(length) => bytes += length,
            Err(error) => {
                assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
                return bytes;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_who_has_proven_nothing_hears_more_bytes_than_they_sent() {
    const SOURCES: u8 = 32;
    const ROUNDS: u8 = 24;
    let world = World::new().await;
    let routes = vec![world.route(Udp, Preface), world.route(Udp, Claim)];
    let (preface, claim) = (address_of(&routes[0]), address_of(&routes[1]));
    let table = RouteTable { revision: 1, full: true, routes, remove: vec![] };
    assert_eq!(world.orchestrator.apply(table).await.failures, []);
    let tokens = [
        String::new(),
        "v4.public.nonsense".to_owned(),
        world.authority.token_until(world.server, "game", SeatId::new(), unix_ms() - 1_000),
        world.authority.token(ServerId::new(), "game", SeatId::new()),
    ];
    let proofs = |token: &String| [encode_preface(token), encode_claim(token)];
    let mut worthless: Vec<_> = tokens.iter().flat_map(proofs).collect();
    worthless.push(beacon::encode_request(b"nonce"));
    let seed = rand::random();
    let mut random = StdRng::seed_from_u64(seed);
    for (edge, last) in [
        (preface, encode_preface(&tokens[1])),
        (claim, encode_claim(&tokens[1])),
        (world.edge.beacon_address(), beacon::encode_request(b"the last")),
    ] {
        let sources: Vec<_> = (1..=SOURCES)
            .map(|number| {
                let source =
                    UdpSocket::bind(SocketAddr::from(([127, 0, 1, number], 0))).expect("this machine");
                source.set_nonblocking(true).expect("can be set");
                source
            })
            .collect();
        let (mut sent, mut back) = (vec![0; sources.len()], vec![0; sources.len()]);
        for round in 1..=ROUNDS {
            for (source, sent) in sources.iter().zip(&mut sent) {
                let packet = hostile_packet(&mut random, &worthless);
                source.send_to(&packet, edge).expect("it is sent");
                *sent += packet.len();
            }
            // Once this is answered all before it has been looked at; from an address of its own, since bad tokens silence one.
            let bystander = Player::at([127, 0, 2, round], edge).await;
            bystander.send(&last).await;
            bystander.receive().await;
            for (source, back) in sources.iter().zip(&mut back) {
                *back += heard(source);
            }
            let more = sent.iter().zip(&back).any(|(sent, back)| back > sent);
            assert!(!more, "seed {seed}: {back:?} bytes for {sent:?}");
        }
        assert!(back.iter().any(|back| *back > 0), "seed {seed}: nothing was answered at all");
    }
    world.edge.shutdown().await;
}
