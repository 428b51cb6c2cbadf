//! Every reason the edge has not to pass something on. Each drop is counted under exactly one; how is `tally`'s.

macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)*) => {
        /// Why a packet, a flow or a connection went no further.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum DropReason { $($(#[$doc])* $name,)* }

        impl DropReason {
            /// All of them, in the order of their numbers.
            pub(crate) const ALL: &[Self] = &[$(Self::$name,)*];
            /// How many there are.
            pub(crate) const COUNT: usize = Self::ALL.len();

            /// Stable name, for metrics and logs.
            pub(crate) fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }
        }
    };
}

reasons! {
    /// A packet from an address without a flow on a port that asks for proof.
    Unproven = "unproven",
    /// From an address that the operator has denied.
    Denied = "denied",
    /// More packets from an address than its limit.
    AddressPackets = "address_packets",
    /// More bytes from an address than its limit.
    AddressBytes = "address_bytes",
    /// More new flows and connections from an address than its limit.
    AddressNewFlows = "address_new_flows",
    /// More packets from a network than its limit.
    NetworkPackets = "network_packets",
    /// More bytes from a network than its limit.
    NetworkBytes = "network_bytes",
    /// More new flows and connections from a network than its limit.
    NetworkNewFlows = "network_new_flows",
    /// More packets on a flow than its limit.
    TokenPackets = "token_packets",
    /// More bytes on a flow than its limit.
    TokenBytes = "token_bytes",
    /// A flow that began or moved more often than its limit.
    TokenNewFlows = "token_new_flows",
    /// More packets to a server than its limit.
    ServerPackets = "server_packets",
    /// More bytes to a server than its limit.
    ServerBytes = "server_bytes",
    /// More new flows and connections to a server than its limit.
    ServerNewFlows = "server_new_flows",
    /// The system had no room for a packet to a players' port or to the beacon: they come faster than they are read.
    PortFull = "port_full",
    /// What came to the beacon and is no request.
    BeaconMalformed = "beacon_malformed",
    /// More latency beacons from an address than are answered.
    BeaconLimited = "beacon_limited",
    /// A preface from a source that has shown too many bad ones.
    SourceLimited = "source_limited",
    /// More prefaces to check than the edge has time for.
    CheckLimited = "check_limited",
    /// The token is no token.
    TokenMalformed = "token_malformed",
    /// The token is signed by no key known here.
    TokenUntrusted = "token_untrusted",
    /// The token's time is over.
    TokenExpired = "token_expired",
    /// The token is for another server or port.
    TokenWrongPort = "token_wrong_port",
    /// A claim while another seat's of the same address has not been used.
    ClaimPending = "claim_pending",
    /// More claims that have not been used than are kept.
    ClaimsFull = "claims_full",
    /// The table of flows is full and holds nothing to evict.
    FlowTableFull = "flow_table_full",
    /// A flow of an open port that made room for another.
    FlowEvicted = "flow_evicted",
    /// The agent took no such flow or connection.
    AgentRefused = "agent_refused",
    /// No tunnel to the agent stands.
    AgentUnreachable = "agent_unreachable",
    /// The packet is too large for the tunnel even in parts.
    Oversize = "oversize",
    /// A packet made room for newer ones before the tunnel sent it.
    TunnelFull = "tunnel_full",
    /// The system had no room for a QUIC packet from an agent.
    TunnelSocketFull = "tunnel_socket_full",
    /// A datagram from an agent made room for newer ones before it was read.
    TunnelUnread = "tunnel_unread",
    /// What came to the tunnel's sockets and is of no tunnel: a QUIC packet of no connection, or a datagram on a
    /// connection that carries nothing.
    TunnelStray = "tunnel_stray",
    /// Parts of a packet came, but not all of them in time.
    PartsMissing = "parts_missing",
    /// What came through the tunnel is no tunnel datagram.
    TunnelMalformed = "tunnel_malformed",
    /// A packet from an agent for a flow that is not, or not that agent's.
    UnknownFlow = "unknown_flow",
    /// The system did not take a packet for a client.
    ClientSend = "client_send",
    /// An answer to a token or to a beacon that the system did not take, or that is longer than what it answers.
    AnswerUnsent = "answer_unsent",
    /// A connection over the bound of its port or of its source.
    ConnectionLimit = "connection_limit",
    /// A connection while as many of its port or source as may have yet to prove themselves.
    HandshakeLimit = "handshake_limit",
    /// A connection whose preface, TLS handshake or HTTP head took too long.
    HandshakeTimeout = "handshake_timeout",
    /// A connection whose first bytes are not what its port speaks.
    HandshakeMalformed = "handshake_malformed",
    /// A connection whose client sent a WebSocket frame that is too large, or none.
    WebSocketFrame = "websocket_frame",
}

impl From<muster_protocol::preface::Refusal> for DropReason {
    fn from(refusal: muster_protocol::preface::Refusal) -> Self {
        use muster_protocol::preface::Refusal;
        match refusal {
            Refusal::Malformed => Self::TokenMalformed,
            Refusal::Untrusted => Self::TokenUntrusted,
            Refusal::Expired => Self::TokenExpired,
            Refusal::WrongPort => Self::TokenWrongPort,
            Refusal::Unavailable => Self::AgentRefused,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn each_reason_has_a_name_of_its_own() {
        let names: BTreeSet<_> = DropReason::ALL.iter().map(|reason| reason.as_str()).collect();
        assert_eq!(names.len(), DropReason::ALL.len());
    }
}
