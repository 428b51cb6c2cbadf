//! Flow ids: what names one client's talk with one server port, on the edge, in the tunnel and on the agent.
//!
//! An id is a keyed hash of what the flow is, not a counter: two edges of a region that see the same
//! seat, or one edge before and after a restart, arrive at the same id, and so at the same peer
//! address at the game server. The key is the region's, so a client cannot aim at another's id.

use std::hash::Hasher;
use std::net::SocketAddr;

use siphasher::sip::SipHasher24;

use crate::id::{SeatId, ServerId, id_bytes};

/// Name of a flow; 64 bits, opaque.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FlowId(pub u64);

/// Flows that an agent holds to one server, at most. An edge takes fewer of one port, so that a flood is met where it is known
/// who has proven themselves.
pub const MAX_SERVER_FLOWS: u32 = 4_096;

/// The region's key for flow ids.
pub type FlowKey = [u8; 16];

/// Who a flow belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlowOwner {
    /// The holder of a seat: the same flow from whatever address it comes.
    Seat(SeatId),
    /// On an `open` port there is only the client's address to go by.
    Address(SocketAddr),
}

/// The id of `owner`'s flow to port `port_index` of `server`.
pub fn flow_id(key: &FlowKey, server: &ServerId, port_index: u8, owner: FlowOwner) -> FlowId {
    let mut hasher = SipHasher24::new_with_key(key);
    hasher.write(&id_bytes(server));
    hasher.write(&[port_index]);
    match owner {
        FlowOwner::Seat(seat) => {
            hasher.write(&[0]);
            hasher.write(&id_bytes(&seat));
        }
        FlowOwner::Address(address) => {
            // A v4 address seen through a v6 socket is the same client.
            match address.ip().to_canonical() {
                std::net::IpAddr::V4(ip) => {
                    hasher.write(&[4]);
                    hasher.write(&ip.octets());
                }
                std::net::IpAddr::V6(ip) => {
                    hasher.write(&[6]);
                    hasher.write(&ip.octets());
                }
            }
            hasher.write(&address.port().to_be_bytes());
        }
    }
    FlowId(hasher.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: FlowKey = [7; 16];

    #[test]
    fn a_seat_keeps_its_flow_and_others_get_others() {
        let (server, seat) = (ServerId::new(), SeatId::new());
        let mine = flow_id(&KEY, &server, 0, FlowOwner::Seat(seat));
        assert_eq!(mine, flow_id(&KEY, &server, 0, FlowOwner::Seat(seat)));
        assert_ne!(mine, flow_id(&KEY, &server, 1, FlowOwner::Seat(seat)));
        assert_ne!(mine, flow_id(&KEY, &server, 0, FlowOwner::Seat(SeatId::new())));
        assert_ne!(mine, flow_id(&[8; 16], &server, 0, FlowOwner::Seat(seat)));
    }

    #[test]
    fn a_mapped_address_is_the_same_client() {
        let server = ServerId::new();
        let of =
            |text: &str| flow_id(&KEY, &server, 0, FlowOwner::Address(text.parse().expect("an address")));
        assert_eq!(of("10.0.0.1:9000"), of("[::ffff:10.0.0.1]:9000"));
        assert_ne!(of("10.0.0.1:9000"), of("10.0.0.1:9001"));
    }
}
