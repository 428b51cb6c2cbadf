//! QUIC under a loop of one's own: what one turn gives to a connection leaves, however much it is.

use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use mio::{Events, Poll, Token};
use muster_protocol::flow::FlowId;
use muster_protocol::tunnel::Header;
use muster_transport::{
    Batch, Change, ClientCertificate, ConnectionId, Identity, Packer, Profile, Quic, Role, alpn, bind,
    client_config, server_config, server_name,
};

use crate::authority::Authority;

/// Longest that anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long a wait for packets is at most.
const LOOK: Duration = Duration::from_millis(10);
/// Bytes of a packet; and packets of a turn, twice what a connection's buffer of 512 KiB holds.
const PACKET: usize = 1_000;
const PACKETS: u64 = 1_100;

/// Who listens, reads all, and answers nothing.
fn listen(agent: &Identity) -> SocketAddr {
    let profile = Profile::TunnelDatagrams;
    let config = server_config(agent, &[alpn::TUNNEL], ClientCertificate::Required, profile).expect("TLS");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let endpoint = {
        let _entered = runtime.enter();
        bind("127.0.0.1:0".parse().expect("an address"), Some(config)).expect("a socket")
    };
    let address = endpoint.local_addr().expect("bound");
    // It ends with the process.
    thread::spawn(move || {
        runtime.block_on(async {
            while let Some(incoming) = endpoint.accept().await {
                let connection = incoming.await.expect("a handshake");
                while connection.read_datagram().await.is_ok() {}
            }
        });
    });
    address
}

/// Gives `quic` its turns until `is` says yes.
fn drive(poll: &mut Poll, quic: &mut Quic, mut is: impl FnMut(&mut Quic) -> bool) {
    let (mut events, mut batch, end) = (Events::with_capacity(8), Batch::new(), Instant::now() + PATIENCE);
    while !is(quic) {
        assert!(Instant::now() < end, "it took more than {} s", PATIENCE.as_secs());
        poll.poll(&mut events, Some(LOOK)).expect("can wait");
        let now = Instant::now();
        for index in 0..quic.sockets() {
            // Nothing more has come if it fails.
            while quic.receive(now, index, &mut batch).is_ok_and(|more| more) {}
        }
        quic.flush(now);
    }
}

fn connected(poll: &mut Poll, quic: &mut Quic, id: ConnectionId) {
    drive(poll, quic, |quic| {
        let changes = quic.take_changes();
        changes.iter().any(|change| matches!(change, Change::Connected(it) if *it == id))
    });
}

#[test]
fn a_turn_that_brings_more_than_the_buffer_holds_is_sent_whole() {
    let authority = Authority::new();
    let (agent, edge) = (authority.issue(Role::Agent, "node_01a"), authority.issue(Role::Edge, "edge_01b"));
    let address = listen(&agent);
    let mut poll = Poll::new().expect("a poll");
    let mut quic = Quic::dialling(poll.registry(), Token(0)).expect("sockets");
    let config = client_config(&edge, alpn::TUNNEL, Profile::TunnelDatagrams).expect("TLS");
    let name = server_name(Role::Agent, "node_01a");
    let id = quic.connect(Instant::now(), config, address, &name).expect("can be dialled");
    connected(&mut poll, &mut quic, id);

    let (mut packer, payload) = (Packer::default(), [7; PACKET]);
    for turn in 1..=3 {
        let now = Instant::now();
        let header = Header::Data { flow: FlowId(turn), open: None, fragment: None };
        for _ in 0..PACKETS {
            packer.append(&mut quic, now, id, header, &payload, || 0).expect("it stands");
        }
        quic.flush(now);
        assert_eq!(quic.given(id), Some(turn * PACKETS));
        drive(&mut poll, &mut quic, |quic| quic.has_sent(id, turn * PACKETS));
        let counts = quic.counts(id).expect("it stands");
        assert_eq!(counts.dropped, 0, "in turn {turn}; {counts:?}");
    }
}
