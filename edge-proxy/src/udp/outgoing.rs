//! Packets on their way to clients: gathered for a turn, then sent by as few system calls as there are ports.

use std::io;
use std::net::{IpAddr, SocketAddr};

use bytes::Bytes;

use super::by_port::ByPort;
use super::hot_loop::Port;
use super::port::send_many;
use crate::drops::DropReason;
use crate::sockets::ManySender;
use crate::tally::Tally;

/// Packets of a port that wait for the turn's end; more of them leave earlier.
const MOST_WAITING: usize = 64;

/// A packet to a client.
pub(crate) struct ToClient {
    /// Who gets it.
    pub(crate) client: SocketAddr,
    /// Which of our addresses it leaves from, if that is known.
    pub(crate) local_ip: Option<IpAddr>,
    /// The packet.
    pub(crate) payload: Bytes,
}

/// What a turn sends to clients.
pub(crate) struct Outgoing {
    sender: ManySender,
    // Ports that have something waiting.
    ports: Vec<u16>,
}

impl Outgoing {
    /// Nothing yet.
    pub(crate) fn new() -> Self {
        Self { sender: ManySender::new(), ports: Vec::new() }
    }

    /// `packet` leaves through port `number` at the end of the turn.
    pub(crate) fn add(&mut self, number: u16, port: &mut Port, packet: ToClient, turn: &mut Tally) {
        if port.waiting.is_empty() {
            self.ports.push(number);
        }
        port.waiting.push(packet);
        if port.waiting.len() >= MOST_WAITING {
            send_waiting(&mut self.sender, port, turn);
        }
    }

    /// The end of the turn, which counts in `turn`.
    pub(crate) fn send(&mut self, ports: &mut ByPort<Port>, turn: &mut Tally) {
        for number in self.ports.drain(..) {
            if let Some(port) = ports.get_mut(number) {
                send_waiting(&mut self.sender, port, turn);
            }
        }
    }
}

fn send_waiting(sender: &mut ManySender, port: &mut Port, turn: &mut Tally) {
    let (mut rest, mut tally) = (&port.waiting[..], Tally::default());
    while let Some(first) = rest.first() {
        let local_ip = first.local_ip;
        let alike = rest.iter().take_while(|packet| packet.local_ip == local_ip);
        let alike = alike.map(|packet| (packet.client, &packet.payload[..]));
        let done = match send_many(&port.socket, sender, local_ip, alike) {
            Ok(sent) => {
                rest[..sent].iter().for_each(|packet| tally.to_clients.note(packet.payload.len()));
                sent
            }
            Err(error) => {
                // What finds no room now finds none for those behind it either; anything else is about this one.
                let lost = if error.kind() == io::ErrorKind::WouldBlock { rest.len() } else { 1 };
                tally.drop_many(DropReason::ClientSend, lost as u64);
                lost
            }
        };
        // A sender that sent nothing and has no reason is none; the packet is not tried for ever.
        rest = &rest[done.clamp(1, rest.len())..];
    }
    port.waiting.clear();
    port.counters.publish(&tally);
    turn.add(&tally);
}
