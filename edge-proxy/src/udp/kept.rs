//! What is kept of proven flows beyond the process, so that an edge that was killed knows its players again.
//!
//! A client that cannot be changed says its token once. So a proven flow is written down before its client
//! is told that it stands, and struck out when it goes; flows of `open` ports need no proof and are not
//! kept. Each has a slot of its own in one file, and a change is one slot written. Here is what is in a
//! slot and which are free; reading and writing are `kept_file`'s. Pure: no clock, no I/O.

use std::collections::HashMap;
use std::hash::Hasher;
use std::net::{IpAddr, SocketAddr, SocketAddrV6};
use std::num::NonZeroU32;

use bytes::{Buf, BufMut};
use muster_protocol::flow::FlowId;
use muster_protocol::id::{ID_BYTES, ServerId, id_bytes, id_from_bytes};
use siphasher::sip::SipHasher24;

/// Bytes of a slot: a whole number of them is a page, so that a kill leaves each as it was or as it is to be.
pub(super) const SLOT_BYTES: usize = 128;
const CHECKSUM_BYTES: usize = 8;
const FAMILY_NONE: u8 = 0;
const FAMILY_V4: u8 = 4;
const FAMILY_V6: u8 = 6;

/// Key of the checksums, and of the hashes that tokens are recognised by. Made with the file, and secret.
pub(crate) type KeptKey = [u8; 16];
/// A slot's content.
pub(super) type SlotBytes = [u8; SLOT_BYTES];

/// A flow's slot. The file begins with something else, so there is no slot 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Slot(NonZeroU32);

impl Slot {
    /// The slot numbered `number`, from 1.
    pub(super) fn new(number: u32) -> Option<Self> {
        NonZeroU32::new(number).map(Self)
    }

    /// Where it begins in the file, in bytes.
    pub(super) fn offset(self) -> u64 {
        u64::from(self.0.get()) * SLOT_BYTES as u64
    }
}

/// What is kept of a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct KeptFlow {
    pub(crate) id: FlowId,
    pub(crate) server: ServerId,
    pub(crate) port_index: u8,
    pub(crate) port: u16,
    pub(crate) client: SocketAddr,
    pub(crate) local_ip: Option<IpAddr>,
    pub(crate) proof: u64,
}

impl KeptFlow {
    /// The slot that holds it.
    pub(super) fn encode(&self, key: &KeptKey) -> SlotBytes {
        let mut bytes = [0; SLOT_BYTES];
        let mut out = &mut bytes[..SLOT_BYTES - CHECKSUM_BYTES];
        out.put_u64(self.id.0);
        out.put_slice(&id_bytes(&self.server));
        out.put_u8(self.port_index);
        out.put_u16(self.port);
        put_ip(&mut out, Some(self.client.ip()));
        out.put_u16(self.client.port());
        out.put_u32(if let SocketAddr::V6(v6) = self.client { v6.scope_id() } else { 0 });
        put_ip(&mut out, self.local_ip);
        out.put_u64(self.proof);
        Self::put_checksum(key, &mut bytes);
        bytes
    }

    /// Makes the slot's checksum that of its content.
    pub(super) fn put_checksum(key: &KeptKey, bytes: &mut SlotBytes) {
        let sum = sum(key, &bytes[..SLOT_BYTES - CHECKSUM_BYTES]);
        bytes[SLOT_BYTES - CHECKSUM_BYTES..].copy_from_slice(&sum.to_be_bytes());
    }

    /// What [`KeptFlow::encode`] wrote; `None` if the slot is empty or damaged.
    pub(super) fn decode(key: &KeptKey, bytes: &SlotBytes) -> Option<Self> {
        let (mut fields, mut checksum) = bytes.split_at(SLOT_BYTES - CHECKSUM_BYTES);
        if checksum.get_u64() != sum(key, fields) {
            return None;
        }
        let id = FlowId(fields.get_u64());
        let mut server = [0; ID_BYTES];
        fields.copy_to_slice(&mut server);
        let (port_index, port) = (fields.get_u8(), fields.get_u16());
        let (ip, client_port, scope) = (take_ip(&mut fields).ok()??, fields.get_u16(), fields.get_u32());
        let client = match ip {
            IpAddr::V4(ip) => (ip, client_port).into(),
            IpAddr::V6(ip) => SocketAddrV6::new(ip, client_port, 0, scope).into(),
        };
        let (local_ip, proof) = (take_ip(&mut fields).ok()?, fields.get_u64());
        Some(Self { id, server: id_from_bytes(server), port_index, port, client, local_ip, proof })
    }
}

#[cfg(test)]
impl KeptFlow {
    /// Flow number `number` of a `client`, through the port of that number, to a server of its own.
    pub(super) fn example(number: u16, client: &str) -> Self {
        let client: SocketAddr = client.parse().expect("an address");
        Self {
            id: FlowId(u64::from(number)),
            server: ServerId::new(),
            port_index: 1,
            port: number,
            client,
            local_ip: Some(client.ip()),
            proof: 42,
        }
    }
}

/// A slot whose checksum is right and whose content is not: another version's.
struct Damaged;

/// One slot to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SlotWrite {
    pub(super) slot: Slot,
    pub(super) bytes: SlotBytes,
}

impl SlotWrite {
    /// The slot's place among those that [`KeptFlows::new`] is given.
    #[cfg(test)]
    pub(super) fn place(&self) -> usize {
        self.slot.0.get() as usize - 1
    }
}

/// The kept flows of one worker.
pub(crate) struct KeptFlows {
    key: KeptKey,
    capacity: u32,
    // Slots ever used; those above are free.
    used: u32,
    free: Vec<Slot>,
    // Of the process before, by the port that they wait for.
    waiting: HashMap<u16, Vec<(Slot, KeptFlow)>>,
    writes: Vec<SlotWrite>,
}

impl KeptFlows {
    /// Keeps nothing.
    pub(crate) fn none() -> Self {
        Self::new(KeptKey::default(), 0, Vec::new())
    }

    /// Of at most `capacity` flows. `found` are the slots of the process before, from slot 1 on, with what was
    /// readable in them; those beyond the capacity are not taken over.
    pub(crate) fn new(key: KeptKey, capacity: usize, found: Vec<Option<KeptFlow>>) -> Self {
        let capacity = u32::try_from(capacity).unwrap_or(u32::MAX - 1);
        let mut kept = Self { key, capacity, used: 0, free: vec![], waiting: HashMap::new(), writes: vec![] };
        for flow in found {
            let Some(slot) = kept.unused() else { break };
            match flow {
                Some(flow) => kept.waiting.entry(flow.port).or_default().push((slot, flow)),
                None => kept.free.push(slot),
            }
        }
        kept
    }

    /// What a token is recognised by, here and after a restart.
    pub(crate) fn token_hash(&self, token: &str) -> u64 {
        let mut hasher = SipHasher24::new_with_key(&self.key);
        // Apart from what checksums are made of.
        hasher.write(b"token");
        hasher.write(token.as_bytes());
        hasher.finish()
    }

    /// Keeps `flow`, in `slot` if it has one already. `None` if there is no room: the flow is not kept.
    pub(crate) fn keep(&mut self, slot: Option<Slot>, flow: &KeptFlow) -> Option<Slot> {
        let slot = slot.or_else(|| self.free.pop()).or_else(|| self.unused())?;
        self.writes.push(SlotWrite { slot, bytes: flow.encode(&self.key) });
        Some(slot)
    }

    /// Strikes out the flow in `slot`.
    pub(crate) fn strike(&mut self, slot: Slot) {
        self.writes.push(SlotWrite { slot, bytes: [0; SLOT_BYTES] });
        self.free.push(slot);
    }

    /// The flows of the process before that came through `port`. Each is the caller's to go on with, or to strike.
    pub(crate) fn take_waiting(&mut self, port: u16) -> Vec<(Slot, KeptFlow)> {
        self.waiting.remove(&port).unwrap_or_default()
    }

    /// Strikes out what still waits for its port.
    pub(crate) fn give_up_waiting(&mut self) {
        for (slot, _) in std::mem::take(&mut self.waiting).into_values().flatten() {
            self.strike(slot);
        }
    }

    /// What is to be written, in this order.
    pub(crate) fn take_writes(&mut self) -> Vec<SlotWrite> {
        std::mem::take(&mut self.writes)
    }

    fn unused(&mut self) -> Option<Slot> {
        let next = self.used.checked_add(1).filter(|next| *next <= self.capacity)?;
        self.used = next;
        Slot::new(next)
    }
}

fn sum(key: &KeptKey, bytes: &[u8]) -> u64 {
    let mut hasher = SipHasher24::new_with_key(key);
    hasher.write(bytes);
    hasher.finish()
}

fn put_ip(out: &mut impl BufMut, ip: Option<IpAddr>) {
    let mut octets = [0; 16];
    let family = match ip {
        None => FAMILY_NONE,
        Some(IpAddr::V4(v4)) => {
            octets[..4].copy_from_slice(&v4.octets());
            FAMILY_V4
        }
        Some(IpAddr::V6(v6)) => {
            octets = v6.octets();
            FAMILY_V6
        }
    };
    out.put_u8(family);
    out.put_slice(&octets);
}

fn take_ip(bytes: &mut impl Buf) -> Result<Option<IpAddr>, Damaged> {
    let family = bytes.get_u8();
    let mut octets = [0; 16];
    bytes.copy_to_slice(&mut octets);
    let [a, b, c, d, ..] = octets;
    match family {
        FAMILY_NONE => Ok(None),
        FAMILY_V4 => Ok(Some(IpAddr::from([a, b, c, d]))),
        FAMILY_V6 => Ok(Some(IpAddr::from(octets))),
        _ => Err(Damaged),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const KEY: KeptKey = [3; 16];

    fn flow(number: u16, client: &str) -> KeptFlow {
        KeptFlow::example(number, client)
    }

    #[test]
    fn a_slot_holds_every_kind_of_address() {
        for client in ["10.0.0.1:9000", "[2001:db8::1]:9000", "[::ffff:10.0.0.1]:9000", "[fe80::1%3]:9000"] {
            for local_ip in [None, flow(1, client).local_ip] {
                let flow = KeptFlow { local_ip, ..flow(1, client) };
                assert_eq!(KeptFlow::decode(&KEY, &flow.encode(&KEY)), Some(flow), "{client}");
            }
        }
        assert_eq!(KeptFlow::decode(&KEY, &[0; SLOT_BYTES]), None);
    }

    #[test]
    fn a_struck_slot_is_used_again_and_written_last_what_it_holds_last() {
        let mut kept = KeptFlows::new(KEY, 2, vec![]);
        let (a, b, c) = (flow(1, "10.0.0.1:1"), flow(2, "10.0.0.1:2"), flow(3, "10.0.0.1:3"));
        let slot = kept.keep(None, &a).unwrap();
        let other = kept.keep(None, &b).unwrap();
        assert_ne!(slot, other);
        assert_eq!(kept.keep(None, &c), None, "two are as many as there may be");
        kept.strike(slot);
        assert_eq!(kept.keep(None, &c), Some(slot));
        let last = kept.take_writes().into_iter().rfind(|write| write.slot == slot).unwrap();
        assert_eq!(KeptFlow::decode(&KEY, &last.bytes), Some(c));
    }

    #[test]
    fn what_waits_is_had_by_its_port_or_given_up() {
        let (a, b) = (flow(1, "10.0.0.1:1"), flow(2, "10.0.0.1:2"));
        let mut kept = KeptFlows::new(KEY, 10, vec![Some(a), None, Some(b)]);
        let [(slot, found)] = kept.take_waiting(1)[..] else { panic!("one flow waits for port 1") };
        assert_eq!((slot.offset(), found), (128, a));
        assert!(kept.take_waiting(1).is_empty());
        kept.give_up_waiting();
        let struck = SlotWrite { slot: Slot::new(3).unwrap(), bytes: [0; SLOT_BYTES] };
        assert_eq!(kept.take_writes(), [struck]);
        assert_eq!(KeptFlows::new(KEY, 1, vec![Some(a), Some(b)]).waiting.len(), 1, "no more than fit");
    }

    #[test]
    fn a_token_is_known_by_the_key() {
        let of = |key| KeptFlows::new(key, 1, vec![]).token_hash("v4.public.abc");
        assert_eq!(of(KEY), of(KEY));
        assert_ne!(of(KEY), of([4; 16]));
    }

    proptest! {
        /// A flow read from a file that was changed would let somebody in without a proof.
        #[test]
        fn a_changed_slot_is_empty(at in 0..SLOT_BYTES, bit in 0u8..8) {
            let mut bytes = flow(1, "10.0.0.1:9000").encode(&KEY);
            bytes[at] ^= 1 << bit;
            prop_assert_eq!(KeptFlow::decode(&KEY, &bytes), None);
        }

        #[test]
        fn any_bytes_are_taken(bytes in any::<[u8; 32]>(), fill in any::<u8>()) {
            let mut slot = [fill; SLOT_BYTES];
            slot[..32].copy_from_slice(&bytes);
            KeptFlow::put_checksum(&KEY, &mut slot);
            if let Some(flow) = KeptFlow::decode(&KEY, &slot) {
                prop_assert_eq!(KeptFlow::decode(&KEY, &flow.encode(&KEY)), Some(flow));
            }
        }
    }
}
