//! What a tunnel's connection is to carry, said before its handshake: in the first byte of the connection id that its
//! dialler picks for the listener's first packet.
//!
//! An agent reads players' packets on a thread of their own, and a connection of streams is not to take that
//! thread's time. Which of the two comes has to be known before the connection is taken in, and what QUIC would say it
//! with (ALPN, certificate) is said later. The id is otherwise random, and at least as long as QUIC asks for. It
//! is a hint on where the work is best done and nothing more: it is not authenticated, and nothing may depend on it.

use std::sync::Arc;

use quinn::ConnectionId;
use quinn_proto::{ConnectionIdGenerator, RandomConnectionIdGenerator};

use crate::profile::Profile;

/// First byte of a connection of players' UDP packets.
const DATAGRAMS: u8 = 0xda;
/// First byte of a connection of players' streams.
const STREAMS: u8 = 0x57;
/// Length of the ids: the longest there is.
const ID_BYTES: usize = 20;

impl Profile {
    /// What the dialler of a tunnel says it will carry, by the id it has picked
    /// ([`quinn::Incoming::orig_dst_cid`]). Streams, unless it says otherwise: so an id without a mark, or with one of a
    /// version not known here, keeps nobody's packets waiting.
    pub fn announced(picked: &ConnectionId) -> Self {
        if picked.first() == Some(&DATAGRAMS) { Self::TunnelDatagrams } else { Self::TunnelStreams }
    }

    /// Has connections of `config` say what they carry, if they are a tunnel's.
    pub(crate) fn announce(self, config: &mut quinn::ClientConfig) {
        let mark = match self {
            Self::Link => return,
            Self::TunnelDatagrams => DATAGRAMS,
            Self::TunnelStreams => STREAMS,
        };
        config.initial_dst_cid_provider(Arc::new(move || {
            let mut id = [0; ID_BYTES];
            id.copy_from_slice(&RandomConnectionIdGenerator::new(ID_BYTES).generate_cid());
            id[0] = mark;
            ConnectionId::new(&id)
        }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_bears_no_known_mark_is_taken_for_streams() {
        for first in 0..=u8::MAX {
            let said = Profile::announced(&ConnectionId::new(&[first, 0, 0, 0, 0, 0, 0, 0]));
            assert_eq!(said == Profile::TunnelDatagrams, first == DATAGRAMS, "{first}");
        }
        assert_eq!(Profile::announced(&ConnectionId::new(&[])), Profile::TunnelStreams);
    }
}
