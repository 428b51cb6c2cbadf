//! Two loops of QUIC's on loopback, turned by hand: whatever one gives and the other does not get is counted somewhere.

use std::net::UdpSocket;
use std::time::{Duration, Instant};

use bytes::Bytes;
use mio::{Poll, Token};
use muster_transport::{
    Batch, Beside, Change, ClientCertificate, ConnectionId, Counts, Profile, Quic, Role, alpn, client_config,
    server_config, server_name,
};

use crate::authority::Authority;

const DEADLINE: Duration = Duration::from_secs(20);
const NODE: &str = "node_01a";
/// Bytes of each datagram.
const BYTES: usize = 1_000;
/// More of them than are kept for who does not take them.
const UNTAKEN: u64 = 4_000;
/// More of them than any window holds, and so than a connection sends to who acknowledges nothing.
const UNACKNOWLEDGED: u64 = 300_000;
/// No more of them than this wait to be sent, at the rate that a tunnel is provisioned for by default.
const MOST_WAITING: u64 = 512 * 1024 / BYTES as u64;

struct End {
    quic: Quic,
    // Its sockets are registered there.
    _poll: Poll,
    batch: Batch,
}

impl End {
    fn new(quic: Quic, poll: Poll) -> Self {
        Self { quic, _poll: poll, batch: Batch::new() }
    }

    fn turn(&mut self) {
        let now = Instant::now();
        for index in 0..self.quic.sockets() {
            // Until nothing is there.
            while self.quic.receive(now, index, &mut self.batch).is_ok() {}
        }
        self.quic.flush(now);
    }

    fn connected(&mut self) -> Option<ConnectionId> {
        self.quic.take_changes().into_iter().next().map(|change| match change {
            Change::Connected(id) => id,
            Change::Lost(_, why, _) => panic!("not connected: {why}"),
        })
    }

    fn lost(&mut self) -> Option<Counts> {
        self.quic.take_changes().into_iter().find_map(|change| match change {
            Change::Lost(_, _, counts) => Some(counts),
            Change::Connected(_) => None,
        })
    }

    fn give(&mut self, id: ConnectionId, count: u64) {
        for _ in 0..count {
            self.quic.send(Instant::now(), id, Bytes::from_static(&[7; BYTES])).expect("it stands");
        }
    }

    fn counts(&mut self, id: ConnectionId) -> Counts {
        self.quic.counts(id).expect("it is there")
    }

    fn sent(&self, id: ConnectionId) -> u64 {
        self.quic.stats(id).expect("it is there").frame_tx.datagram
    }

    fn received(&self, id: ConnectionId) -> u64 {
        self.quic.stats(id).expect("it is there").frame_rx.datagram
    }
}

/// Both ends of a connection, and who has the streams' packets of the one that listens.
fn connected() -> ([(End, ConnectionId); 2], Beside) {
    let authority = Authority::new();
    let (agent, edge) = (authority.issue(Role::Agent, NODE), authority.issue(Role::Edge, "edge_01b"));
    let (profile, required) = (Profile::TunnelDatagrams, ClientCertificate::Required);
    let server = server_config(&agent, &[alpn::TUNNEL], required, profile).expect("a configuration");
    // A port that was free a moment ago.
    let free = UdpSocket::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a free port");
    let poll = Poll::new().expect("a poll");
    let (quic, beside) =
        Quic::listening(poll.registry(), Token(0), free, server, b"secret").expect("a socket");
    let mut listening = End::new(quic, poll);
    let poll = Poll::new().expect("a poll");
    let quic = Quic::dialling(poll.registry(), Token(0)).expect("sockets");
    let mut dialling = End::new(quic, poll);
    let client = client_config(&edge, alpn::TUNNEL, profile).expect("a configuration");
    let name = server_name(Role::Agent, NODE);
    dialling.quic.connect(Instant::now(), client, free, &name).expect("it can be dialled");
    let (mut dialled, mut taken_in) = (None, None);
    within(|| {
        dialling.turn();
        listening.turn();
        dialled = dialled.or(dialling.connected());
        taken_in = taken_in.or(listening.connected());
        dialled.is_some() && taken_in.is_some()
    });
    let ids = (dialled.expect("connected"), taken_in.expect("connected"));
    ([(dialling, ids.0), (listening, ids.1)], beside)
}

fn within(mut is: impl FnMut() -> bool) {
    let end = Instant::now() + DEADLINE;
    while !is() {
        assert!(Instant::now() < end, "not within {} s", DEADLINE.as_secs());
        std::thread::yield_now();
    }
}

#[test]
fn what_is_not_taken_in_time_is_counted_where_it_came() {
    let ([(mut dialling, out), (mut listening, back)], _beside) = connected();
    for _ in 0..UNTAKEN / 100 {
        dialling.give(out, 100);
        let before = dialling.sent(out);
        within(|| {
            dialling.turn();
            listening.turn();
            // What a system under load lost does not come any more.
            listening.received(back) == dialling.sent(out) || dialling.counts(out).lost > 0
        });
        assert!(dialling.sent(out) > before);
    }
    let mut taken = 0;
    while listening.quic.take().is_some() {
        taken += 1;
    }
    let unread = listening.counts(back).unread;
    assert!(taken > 0 && unread > 0, "{taken} taken, {unread} not");
    assert_eq!(taken + unread, listening.received(back));
    assert_eq!(dialling.counts(out).dropped, 0);
}

#[test]
fn what_the_path_does_not_take_is_counted_while_it_does_not_and_at_the_end() {
    let ([(mut dialling, out), (mut listening, _)], _beside) = connected();
    // Nobody acknowledges anything, so that the buffer is never empty again.
    let mut given = 0;
    while dialling.counts(out).dropped == 0 {
        assert!(given < UNACKNOWLEDGED, "none was dropped");
        dialling.give(out, 100);
        given += 100;
    }
    let (sent, dropped) = (dialling.sent(out), dialling.counts(out).dropped);
    let waiting = given - sent - dropped;
    assert!(waiting > 0 && waiting <= MOST_WAITING, "{sent} sent, {dropped} dropped, {waiting} waiting");

    listening.quic.close_all(Instant::now(), 0, "enough");
    listening.quic.flush(Instant::now());
    let mut counts = None;
    within(|| {
        dialling.turn();
        counts = counts.or(dialling.lost());
        counts.is_some()
    });
    let counts = counts.expect("it is lost");
    assert_eq!(counts.dropped, given - dialling.sent(out), "what waited was never sent");
}

#[test]
fn what_is_of_no_connection_is_counted() {
    let ([(mut dialling, _), (listening, back)], _beside) = connected();
    let address = listening.quic.remote_address(back).expect("it stands");
    assert_eq!(dialling.quic.take_strays(), 0);
    let stranger = UdpSocket::bind("127.0.0.1:0").expect("a free port");
    for junk in [&b"hello"[..], &[0x40; 40], &[0xff; 1_200]] {
        stranger.send_to(junk, address).expect("loopback takes it");
    }
    let mut strays = 0;
    within(|| {
        dialling.turn();
        strays += dialling.quic.take_strays();
        strays >= 3
    });
    assert_eq!(strays, 3);
}
