//! Header of the tunnel's DATAGRAM frames: which flow a UDP packet belongs to, and little else.
//!
//! ```text
//!  0        1                  9
//! +--------+------------------+----------------------------+-------------------------+---------
//! | kind   | flow id (BE u64) | if OPEN: server 16 B,      | if FRAGMENT: packet u16,| payload
//! | +flags |                  |          port index 1 B    | index u8, count u8      |
//! |        |                  | if CLIENT: its address as  |                         |
//! |        |                  |   IPv6 16 B, port u16      |                         |
//! +--------+------------------+----------------------------+-------------------------+---------
//! ```
//! CLIENT only goes with OPEN; an IPv4 address is in its IPv6-mapped form.
//! Flows are opened in band: until the edge has heard from the agent on a flow it sends every packet
//! as OPEN, which names the server; so no packet waits for a round trip and none depends on another
//! arriving. An agent that does not know a flow (it restarted) answers UNKNOWN, and the edge goes back
//! to OPEN. Splitting and rejoining of large packets is done by the ends; this is only the header.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use bytes::{Buf, BufMut, Bytes};

use crate::flow::FlowId;
use crate::id::{ID_BYTES, ServerId, id_bytes, id_from_bytes};

const KIND_MASK: u8 = 0x0f;
const KIND_DATA: u8 = 0x00;
const KIND_OPENED: u8 = 0x01;
const KIND_UNKNOWN: u8 = 0x02;
const KIND_REFUSED: u8 = 0x03;
const KIND_CLOSE: u8 = 0x04;
const FLAG_OPEN: u8 = 0x10;
const FLAG_FRAGMENT: u8 = 0x20;
const FLAG_CLIENT: u8 = 0x40;

const BASE_BYTES: usize = 1 + 8;
const OPEN_BYTES: usize = ID_BYTES + 1;
const CLIENT_BYTES: usize = 16 + 2;
const FRAGMENT_BYTES: usize = 4;

/// Longest header, in bytes: what a sender keeps free in front of a payload.
pub const MAX_HEADER_BYTES: usize = BASE_BYTES + OPEN_BYTES + CLIENT_BYTES + FRAGMENT_BYTES;

/// What OPEN adds: where the flow leads, and whose it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenTarget {
    /// The server.
    pub server: ServerId,
    /// Position of the port in the server's list of ports.
    pub port_index: u8,
    /// Where the client is, if the edge says so. Said again whenever it has moved.
    pub client: Option<SocketAddr>,
}

impl OpenTarget {
    /// Whether `other` leads to the same port, whoever's it is.
    pub fn leads_as(&self, other: &Self) -> bool {
        (self.server, self.port_index) == (other.server, other.port_index)
    }

    fn encoded_len(&self) -> usize {
        OPEN_BYTES + if self.client.is_some() { CLIENT_BYTES } else { 0 }
    }
}

/// Which part of a UDP packet this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fragment {
    /// Number of the packet within its flow and direction; wraps.
    pub packet: u16,
    /// Position of this part, from 0; less than `count`.
    pub index: u8,
    /// Parts of the packet; at least 2.
    pub count: u8,
}

/// Why an agent takes no flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum RefuseReason {
    /// No such server on this node.
    UnknownServer = 1,
    /// The server has no such UDP port.
    UnknownPort = 2,
    /// The node's or server's bound on flows is reached.
    TooManyFlows = 3,
    /// The server's container cannot be reached.
    Unreachable = 4,
}

impl RefuseReason {
    /// Stable name, for metrics and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::UnknownServer => "unknown_server",
            Self::UnknownPort => "unknown_port",
            Self::TooManyFlows => "too_many_flows",
            Self::Unreachable => "unreachable",
        }
    }

    fn from_byte(byte: u8) -> Result<Self, TunnelError> {
        match byte {
            1 => Ok(Self::UnknownServer),
            2 => Ok(Self::UnknownPort),
            3 => Ok(Self::TooManyFlows),
            4 => Ok(Self::Unreachable),
            _ => Err(TunnelError::BadField),
        }
    }
}

/// One header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Header {
    /// A packet, or a part of one, either way. `open` only from edge to agent.
    Data {
        /// The flow.
        flow: FlowId,
        /// Where the flow leads, while the agent may not know it.
        open: Option<OpenTarget>,
        /// Set if the payload is a part of a packet.
        fragment: Option<Fragment>,
    },
    /// Agent to edge: the flow stands; OPEN is no longer needed.
    Opened(FlowId),
    /// Agent to edge: no such flow here; say OPEN again.
    Unknown(FlowId),
    /// Agent to edge: the flow cannot be.
    Refused(FlowId, RefuseReason),
    /// Either way: the sender has dropped the flow (idle, or its server ended).
    Close(FlowId),
}

/// Why bytes are not a tunnel datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TunnelError {
    /// Shorter than its header.
    #[error("tunnel datagram is cut short")]
    Truncated,
    /// A kind or flag of no version known here.
    #[error("tunnel datagram of unknown kind")]
    UnknownKind,
    /// A field has a value it cannot have.
    #[error("tunnel datagram with an impossible field")]
    BadField,
}

impl Header {
    /// The flow the header speaks of.
    pub fn flow(&self) -> FlowId {
        match *self {
            Self::Data { flow, .. }
            | Self::Opened(flow)
            | Self::Unknown(flow)
            | Self::Refused(flow, _)
            | Self::Close(flow) => flow,
        }
    }

    /// Bytes [`Header::encode`] writes.
    pub fn encoded_len(&self) -> usize {
        match self {
            Self::Data { open, fragment, .. } => {
                BASE_BYTES
                    + open.map_or(0, |target| target.encoded_len())
                    + if fragment.is_some() { FRAGMENT_BYTES } else { 0 }
            }
            Self::Refused(..) => BASE_BYTES + 1,
            Self::Opened(_) | Self::Unknown(_) | Self::Close(_) => BASE_BYTES,
        }
    }

    /// Appends the header to `out`; the payload follows it.
    pub fn encode(&self, out: &mut impl BufMut) {
        match *self {
            Self::Data { flow, open, fragment } => {
                let client = open.and_then(|target| target.client);
                let flags = if open.is_some() { FLAG_OPEN } else { 0 }
                    | if client.is_some() { FLAG_CLIENT } else { 0 }
                    | if fragment.is_some() { FLAG_FRAGMENT } else { 0 };
                out.put_u8(KIND_DATA | flags);
                out.put_u64(flow.0);
                if let Some(target) = open {
                    out.put_slice(&id_bytes(&target.server));
                    out.put_u8(target.port_index);
                }
                if let Some(client) = client {
                    out.put_slice(&mapped(client.ip()).octets());
                    out.put_u16(client.port());
                }
                if let Some(part) = fragment {
                    out.put_u16(part.packet);
                    out.put_u8(part.index);
                    out.put_u8(part.count);
                }
            }
            Self::Opened(flow) => put_plain(out, KIND_OPENED, flow),
            Self::Unknown(flow) => put_plain(out, KIND_UNKNOWN, flow),
            Self::Close(flow) => put_plain(out, KIND_CLOSE, flow),
            Self::Refused(flow, reason) => {
                put_plain(out, KIND_REFUSED, flow);
                out.put_u8(reason as u8);
            }
        }
    }

    /// Reads the header off the front of `datagram`; what stays is the payload.
    ///
    /// # Errors
    /// [`TunnelError`] for anything [`Header::encode`] cannot have written.
    pub fn decode(datagram: &mut Bytes) -> Result<Self, TunnelError> {
        if datagram.len() < BASE_BYTES {
            return Err(TunnelError::Truncated);
        }
        let first = datagram.get_u8();
        let flow = FlowId(datagram.get_u64());
        let (kind, flags) = (first & KIND_MASK, first & !KIND_MASK);
        if kind == KIND_DATA {
            if flags & !(FLAG_OPEN | FLAG_FRAGMENT | FLAG_CLIENT) != 0 {
                return Err(TunnelError::UnknownKind);
            }
            let (opens, says_whose) = (flags & FLAG_OPEN != 0, flags & FLAG_CLIENT != 0);
            if says_whose && !opens {
                return Err(TunnelError::BadField);
            }
            let open = if opens { Some(take_open(datagram, says_whose)?) } else { None };
            let fragment = if flags & FLAG_FRAGMENT != 0 { Some(take_fragment(datagram)?) } else { None };
            return Ok(Self::Data { flow, open, fragment });
        }
        if flags != 0 {
            return Err(TunnelError::UnknownKind);
        }
        let header = match kind {
            KIND_OPENED => Self::Opened(flow),
            KIND_UNKNOWN => Self::Unknown(flow),
            KIND_CLOSE => Self::Close(flow),
            KIND_REFUSED => {
                let reason = datagram.try_get_u8().map_err(|_| TunnelError::Truncated)?;
                Self::Refused(flow, RefuseReason::from_byte(reason)?)
            }
            _ => return Err(TunnelError::UnknownKind),
        };
        if datagram.is_empty() { Ok(header) } else { Err(TunnelError::BadField) }
    }
}

fn put_plain(out: &mut impl BufMut, kind: u8, flow: FlowId) {
    out.put_u8(kind);
    out.put_u64(flow.0);
}

fn take_open(datagram: &mut Bytes, says_whose: bool) -> Result<OpenTarget, TunnelError> {
    if datagram.len() < OPEN_BYTES + if says_whose { CLIENT_BYTES } else { 0 } {
        return Err(TunnelError::Truncated);
    }
    let mut server = [0; ID_BYTES];
    datagram.copy_to_slice(&mut server);
    let (server, port_index) = (id_from_bytes(server), datagram.get_u8());
    let client = says_whose.then(|| {
        let ip = IpAddr::from(Ipv6Addr::from(datagram.get_u128())).to_canonical();
        SocketAddr::new(ip, datagram.get_u16())
    });
    Ok(OpenTarget { server, port_index, client })
}

fn mapped(ip: IpAddr) -> Ipv6Addr {
    match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped(),
        IpAddr::V6(ip) => ip,
    }
}

fn take_fragment(datagram: &mut Bytes) -> Result<Fragment, TunnelError> {
    if datagram.len() < FRAGMENT_BYTES {
        return Err(TunnelError::Truncated);
    }
    let part = Fragment { packet: datagram.get_u16(), index: datagram.get_u8(), count: datagram.get_u8() };
    if part.count < 2 || part.index >= part.count { Err(TunnelError::BadField) } else { Ok(part) }
}
