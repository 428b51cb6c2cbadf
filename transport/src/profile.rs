//! Transport settings by what a connection carries, in one place so that their reasons stand side by side.

use std::sync::Arc;
use std::time::Duration;

use quinn::congestion::CubicConfig;
use quinn::{AckFrequencyConfig, EndpointConfig, IdleTimeout, MtuDiscoveryConfig, TransportConfig, VarInt};

use crate::congestion::{Provisioned, TunnelRate};

/// What a connection carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    /// Control messages, image transfers and logs between orchestrator and agent or edge.
    Link,
    /// Players' UDP packets, as DATAGRAM frames.
    TunnelDatagrams,
    /// Players' TCP and WebSocket connections, one stream each.
    TunnelStreams,
}

/// A link without a sign of life for this long is down.
const LINK_IDLE: Duration = Duration::from_secs(6);
/// A tunnel without a sign of life for this long is down: players wait for whoever is behind it. It is counted from the
/// first packet that nobody answered, which is a keep-alive's time later, and both together are to be within 2 s.
const TUNNEL_IDLE: Duration = Duration::from_millis(1_600);
/// Keep-alives in that time. All but one may be lost before a connection is given up; and a peer that has been started
/// again answers the next one with a reset, so that is how soon it is known.
const KEEP_ALIVES: u32 = 6;
/// Streams a peer may have open at once on a link: requests for blobs and logs.
const LINK_STREAMS: u32 = 256;
/// Streams an edge may have open at once to one agent: players' connections.
const TUNNEL_STREAMS: u32 = 8_192;
/// Unread bytes held per stream. 256 KiB carry 50 Mbit/s at 40 ms, more than a game's TCP asks for.
const STREAM_WINDOW: u32 = 256 * 1024;
/// Unread bytes held per connection of streams.
const STREAMS_WINDOW: u32 = 64 * 1024 * 1024;
/// Datagrams received and not yet taken by the process.
const DATAGRAM_RECEIVE_BUFFER: usize = 2 * 1024 * 1024;
/// Game packets are never retransmitted, so acknowledgements only serve loss detection and the
/// window: one for this many packets is enough, and costs a twentieth.
const ACK_EVERY: u32 = 20;

/// Largest UDP payload of a tunnel's packet: ten of them, which quinn sends by one system call, are just within the 64 KiB
/// that the system takes at once; of larger ones it would take none. What the path between two machines carries is found out
/// by probes; a path of ordinary frames loses some twenty of these in its first seconds, and nothing else.
const JUMBO_BYTES: u16 = 6_550;

/// Takes packets as large as jumbo frames in. To be set at both ends of a tunnel.
pub(crate) fn take_jumbo(config: &mut EndpointConfig) {
    config.max_udp_payload_size(JUMBO_BYTES).expect("more than 1,200 and less than 65,527");
}

impl Profile {
    /// How connections of this kind are carried. Those of players' UDP packets are provisioned for `rate`, each way; the
    /// others do not ask.
    pub fn transport(self, rate: TunnelRate) -> Arc<TransportConfig> {
        let mut config = TransportConfig::default();
        let idle = if self == Self::Link { LINK_IDLE } else { TUNNEL_IDLE };
        let timeout = IdleTimeout::try_from(idle).expect("seconds fit a QUIC timeout");
        config.max_idle_timeout(Some(timeout)).keep_alive_interval(Some(idle / KEEP_ALIVES));
        config.max_concurrent_uni_streams(VarInt::from_u32(0));
        match self {
            Self::Link => {
                config.max_concurrent_bidi_streams(VarInt::from_u32(LINK_STREAMS));
                config.datagram_receive_buffer_size(None);
                config.congestion_controller_factory(Arc::new(CubicConfig::default()));
            }
            Self::TunnelStreams => {
                config.max_concurrent_bidi_streams(VarInt::from_u32(TUNNEL_STREAMS));
                config.stream_receive_window(VarInt::from_u32(STREAM_WINDOW));
                config.receive_window(VarInt::from_u32(STREAMS_WINDOW));
                config.datagram_receive_buffer_size(None);
            }
            Self::TunnelDatagrams => set_datagrams(&mut config, rate),
        }
        Arc::new(config)
    }
}

fn set_datagrams(config: &mut TransportConfig, rate: TunnelRate) {
    config.max_concurrent_bidi_streams(VarInt::from_u32(0));
    config.datagram_send_buffer_size(rate.buffer_bytes());
    config.datagram_receive_buffer_size(Some(DATAGRAM_RECEIVE_BUFFER));
    config.congestion_controller_factory(Arc::new(Provisioned::new(rate)));
    let mut mtu = MtuDiscoveryConfig::default();
    mtu.upper_bound(JUMBO_BYTES);
    config.mtu_discovery_config(Some(mtu));
    let mut acks = AckFrequencyConfig::default();
    acks.ack_eliciting_threshold(VarInt::from_u32(ACK_EVERY));
    config.ack_frequency_config(Some(acks));
}
