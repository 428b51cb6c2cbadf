//! What a tunnel's connection carries, to be seen on each of its packets: in the first byte of the connection id that
//! the packet goes to.
//!
//! An agent reads players' packets on a thread of their own, and a connection of streams is not to take that
//! thread's time. Whose a packet is has to be known before it is opened, and what QUIC would say it with (ALPN,
//! certificate) is said later, and once. So the dialler marks the id that it picks for the listener's first packet, and
//! the listener the ids that it picks for itself. They are otherwise random, and as long as QUIC asks for. A mark
//! says where the work is done and nothing more: it is not authenticated, and no right may depend on it.

use std::sync::Arc;
use std::time::Duration;

use quinn::ConnectionId;
use quinn_proto::{
    ConnectionIdGenerator, HashedConnectionIdGenerator, InvalidCid, RandomConnectionIdGenerator,
};

use crate::profile::Profile;

/// First byte of a connection of players' UDP packets.
const DATAGRAMS: u8 = 0xda;
/// First byte of a connection of players' streams.
const STREAMS: u8 = 0x57;
/// Length of the ids that a dialler picks for its listener: the longest there is.
const ID_BYTES: usize = 20;
/// Where the id begins that a packet goes to: behind its first byte, or in one of a handshake, which is known by this bit,
/// behind version and length as well.
const ID_AT: usize = 1;
const LONG_ID_AT: usize = 6;
const LONG: u8 = 0x80;

impl Profile {
    /// What the dialler of a tunnel says it will carry, by the id it has picked
    /// ([`quinn::Incoming::orig_dst_cid`]). Streams, unless it says otherwise: so an id without a mark, or with one of a
    /// version not known here, keeps nobody's packets waiting.
    pub fn announced(picked: &ConnectionId) -> Self {
        Self::marked(picked.first())
    }

    fn marked(mark: Option<&u8>) -> Self {
        if mark == Some(&DATAGRAMS) { Self::TunnelDatagrams } else { Self::TunnelStreams }
    }

    fn mark(self) -> Option<u8> {
        match self {
            Self::Link => None,
            Self::TunnelDatagrams => Some(DATAGRAMS),
            Self::TunnelStreams => Some(STREAMS),
        }
    }

    /// Has connections of `config` say what they carry, if they are a tunnel's.
    pub(crate) fn announce(self, config: &mut quinn::ClientConfig) {
        let Some(mark) = self.mark() else { return };
        config.initial_dst_cid_provider(Arc::new(move || {
            let mut id = [0; ID_BYTES];
            id.copy_from_slice(&RandomConnectionIdGenerator::new(ID_BYTES).generate_cid());
            id[0] = mark;
            ConnectionId::new(&id)
        }));
    }
}

/// Whether `packet`, as it came off the socket, goes to a connection of `profile`.
pub(crate) fn bears_mark_of(profile: Profile, packet: &[u8]) -> bool {
    let at = if packet.first().is_some_and(|first| first & LONG != 0) { LONG_ID_AT } else { ID_AT };
    Profile::marked(packet.get(at)) == profile
}

/// Picks a listener's own ids: as `ids` does, behind a mark.
pub(crate) struct Marked {
    mark: u8,
    ids: HashedConnectionIdGenerator,
}

impl Marked {
    pub(crate) fn new(profile: Profile, ids: HashedConnectionIdGenerator) -> Self {
        Self { mark: profile.mark().unwrap_or(STREAMS), ids }
    }
}

impl ConnectionIdGenerator for Marked {
    fn generate_cid(&mut self) -> ConnectionId {
        let mut id = [0; ID_BYTES];
        let (length, picked) = (self.cid_len(), self.ids.generate_cid());
        id[0] = self.mark;
        id[1..length].copy_from_slice(&picked);
        ConnectionId::new(&id[..length])
    }

    fn validate(&self, id: &ConnectionId) -> Result<(), InvalidCid> {
        match id.split_first() {
            Some((mark, rest)) if *mark == self.mark => self.ids.validate(&ConnectionId::new(rest)),
            _ => Err(InvalidCid),
        }
    }

    fn cid_len(&self) -> usize {
        1 + self.ids.cid_len()
    }

    fn cid_lifetime(&self) -> Option<Duration> {
        self.ids.cid_lifetime()
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

    #[test]
    fn a_listeners_own_ids_bear_its_mark_and_are_known_again() {
        for profile in [Profile::TunnelDatagrams, Profile::TunnelStreams] {
            let ids = |key| Marked::new(profile, HashedConnectionIdGenerator::from_key(key));
            let id = ids(7).generate_cid();
            assert_eq!(Profile::announced(&id), profile);
            assert_eq!(id.len(), ids(7).cid_len());
            assert!(ids(7).validate(&id).is_ok() && ids(8).validate(&id).is_err());
            let short = [&[0x40], &id[..], &[0; 20]].concat();
            let long = [&[0xc0, 0, 0, 0, 1, id.len() as u8], &id[..], &[0; 20]].concat();
            assert!(bears_mark_of(profile, &short) && bears_mark_of(profile, &long));
        }
        for cut in 0..=ID_AT {
            assert!(bears_mark_of(Profile::TunnelStreams, &[0xc0; LONG_ID_AT][..cut]), "{cut}");
        }
    }
}
