//! What is handed over, as frames and back. Pure: what makes no sense in a frame is left out, as one version may not
//! know what another says.

use std::time::Duration;

use muster_protocol::flow::FlowId;
use muster_protocol::handover::{Claim, Flow};

use super::{HandedClaim, HandedFlow};

impl HandedClaim {
    pub(super) fn to_frame(self) -> Claim {
        Claim {
            port: u32::from(self.port),
            address: self.ip.to_string(),
            seat_id: self.seat.to_string(),
            proof: self.proof,
            age_ms: self.age.as_millis() as u64,
        }
    }

    pub(super) fn from_frame(claim: &Claim) -> Option<Self> {
        Some(Self {
            port: u16::try_from(claim.port).ok()?,
            ip: claim.address.parse().ok()?,
            seat: claim.seat_id.parse().ok()?,
            proof: claim.proof,
            age: Duration::from_millis(claim.age_ms),
        })
    }
}

impl HandedFlow {
    pub(super) fn to_frame(self) -> Flow {
        Flow {
            port: u32::from(self.port),
            id: self.id.0,
            server_id: self.server.to_string(),
            port_index: u32::from(self.port_index),
            client: self.client.to_string(),
            local_ip: self.local_ip.map(|ip| ip.to_string()).unwrap_or_default(),
        }
    }

    pub(super) fn from_frame(flow: &Flow) -> Option<Self> {
        Some(Self {
            port: u16::try_from(flow.port).ok()?,
            id: FlowId(flow.id),
            server: flow.server_id.parse().ok()?,
            port_index: u8::try_from(flow.port_index).ok()?,
            client: flow.client.parse().ok()?,
            local_ip: flow.local_ip.parse().ok(),
        })
    }
}

#[cfg(test)]
mod tests {
    use muster_protocol::id::{SeatId, ServerId};

    use super::*;

    #[test]
    fn what_is_handed_over_comes_back() {
        for client in ["10.0.0.1:9000", "[::ffff:10.0.0.1]:9000", "[fe80::1%3]:9000"] {
            let client: std::net::SocketAddr = client.parse().unwrap();
            for local_ip in [None, Some(client.ip())] {
                let flow = HandedFlow {
                    port: 20_000,
                    id: FlowId(u64::MAX),
                    server: ServerId::new(),
                    port_index: 255,
                    client,
                    local_ip,
                };
                assert_eq!(HandedFlow::from_frame(&flow.to_frame()), Some(flow));
            }
            let age = Duration::from_secs(9);
            let claim = HandedClaim { port: 1, ip: client.ip(), seat: SeatId::new(), proof: 7, age };
            assert_eq!(HandedClaim::from_frame(&claim.to_frame()), Some(claim));
        }
        assert_eq!(HandedFlow::from_frame(&Flow::default()), None);
        assert_eq!(HandedClaim::from_frame(&Claim { port: 70_000, ..Claim::default() }), None);
    }
}
