//! Every key of the engine: one list of prefixes, one function a key.
//!
//! Keys are tuples in FoundationDB's encoding, under [`ROOT`], which belongs to the engine alone. What is
//! hot lies under its shard, so that a cluster can spread it. The numbers are part of the stored format:
//! they are added to, never changed or used again.

use foundationdb_tuple::{Element, pack, unpack};
use muster_store::{VERSIONSTAMP_BYTES, prefix_end};

use crate::address::{Address, ShardIndex};

/// First element of every key of the engine; those of others are smaller.
pub const ROOT: u16 = 100;

macro_rules! row_kinds {
    ($($(#[$doc:meta])* $name:ident = $number:literal,)+) => {
        /// Second element of every key: which kind of row it is.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u16)]
        pub(crate) enum RowKind {
            $($(#[$doc])* $name = $number,)+
        }

        impl RowKind {
            const ALL: &[Self] = &[$(Self::$name),+];
        }
    };
}

row_kinds! {
    /// A workflow.
    State = 1,
    /// What came for the workflows of a namespace.
    Inbox = 2,
    /// That a namespace may have something in an inbox.
    Zone = 3,
    /// A number that is added to when something comes.
    Bell = 4,
    /// What is due when.
    Timer = 5,
    /// Who does the work of a shard.
    Lease = 6,
    /// A worker.
    Worker = 7,
    /// What became of a step.
    Journal = 8,
    /// An answer.
    Reply = 9,
    /// That a workflow is dead or blocked, or cannot be read.
    Aside = 10,
    /// What waits with a workflow.
    Parked = 11,
    /// That a workflow of the steps style is awake.
    Awake = 12,
    /// A number that is added to when a worker comes or goes.
    Members = 13,
    /// That a workflow is to look at its matters.
    Nudge = 14,
    /// How many signals wait for the workflows of a namespace, in its inbox and with them.
    Waiting = 15,
    /// What came for a workflow that cannot be read.
    Held = 16,
}

impl RowKind {
    /// The kind of the row at `key`; `None` if this version knows none.
    pub(crate) fn of(key: &[u8]) -> Option<Self> {
        Self::ALL.iter().copied().find(|kind| key.starts_with(&pack(&(ROOT, *kind as u16))))
    }
}

/// Begin, included, and end, excluded, of a range of keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct KeyRange {
    pub(crate) begin: Vec<u8>,
    pub(crate) end: Vec<u8>,
}

impl KeyRange {
    fn under(prefix: Vec<u8>) -> Self {
        let end = prefix_end(&prefix);
        Self { begin: prefix, end }
    }

    /// The part from `key` on, that key excluded.
    pub(crate) fn after(mut self, key: &[u8]) -> Self {
        self.begin = self.begin.max(muster_store::successor(key));
        self
    }
}

/// The record of a workflow.
pub(crate) fn state(address: &Address) -> Vec<u8> {
    of_workflow(RowKind::State, address)
}

/// The records of a shard's workflows.
pub(crate) fn states(shard: ShardIndex) -> KeyRange {
    KeyRange::under(pack(&(ROOT, RowKind::State as u16, u16::from(shard))))
}

/// The records of a namespace's workflows in a shard; of one `kind` if given.
pub(crate) fn states_of(shard: ShardIndex, namespace: &str, kind: Option<&str>) -> KeyRange {
    let prefix = (ROOT, RowKind::State as u16, u16::from(shard), namespace);
    KeyRange::under(match kind {
        None => pack(&prefix),
        Some(kind) => pack(&(ROOT, RowKind::State as u16, u16::from(shard), namespace, kind)),
    })
}

/// What came for the workflows of a namespace in a shard, in the order it came.
pub(crate) fn inbox(shard: ShardIndex, namespace: &str) -> KeyRange {
    KeyRange::under(pack(&(ROOT, RowKind::Inbox as u16, u16::from(shard), namespace)))
}

/// A new row of an inbox and where its versionstamp goes. `order` sorts the rows of one transaction.
pub(crate) fn inbox_row(shard: ShardIndex, namespace: &str, order: u64) -> (Vec<u8>, usize) {
    let mut key = pack(&(ROOT, RowKind::Inbox as u16, u16::from(shard), namespace));
    let hole = key.len();
    key.extend_from_slice(&[0; VERSIONSTAMP_BYTES]);
    key.extend_from_slice(&order.to_be_bytes());
    (key, hole)
}

/// Says that a workflow is to look at its matters: one row, however often that is said.
pub(crate) fn nudge(address: &Address) -> Vec<u8> {
    of_workflow(RowKind::Nudge, address)
}

/// The nudged workflows of a namespace in a shard.
pub(crate) fn nudges(shard: ShardIndex, namespace: &str) -> KeyRange {
    KeyRange::under(pack(&(ROOT, RowKind::Nudge as u16, u16::from(shard), namespace)))
}

/// How many signals wait for the workflows of a namespace in a shard.
pub(crate) fn waiting(shard: ShardIndex, namespace: &str) -> Vec<u8> {
    pack(&(ROOT, RowKind::Waiting as u16, u16::from(shard), namespace))
}

/// Says that a namespace may have something in a shard's inbox, or be nudged there.
pub(crate) fn zone(shard: ShardIndex, namespace: &str) -> Vec<u8> {
    pack(&(ROOT, RowKind::Zone as u16, u16::from(shard), namespace))
}

/// The pointer to the zone that a row of an inbox, or a nudge, lies in.
pub(crate) fn zone_of(key: &[u8]) -> Option<Vec<u8>> {
    if let Some(address) = split_address(key) {
        return Some(zone(address.shard(), address.namespace()));
    }
    let (shard, namespace) = inbox_of(key)?;
    Some(zone(shard, &namespace))
}

/// The shard and namespace of an [`inbox_row`].
pub(crate) fn inbox_of(key: &[u8]) -> Option<(ShardIndex, String)> {
    let (_, _, shard, namespace) = unpack::<(u16, u16, u16, String)>(without_stamp(key)?).ok()?;
    Some((ShardIndex::try_from(shard).ok()?, namespace))
}

/// The namespaces that may have something in a shard's inbox.
pub(crate) fn zones(shard: ShardIndex) -> KeyRange {
    KeyRange::under(pack(&(ROOT, RowKind::Zone as u16, u16::from(shard))))
}

/// The namespace of a [`zone`].
pub(crate) fn zone_namespace(key: &[u8]) -> Option<String> {
    match unpack::<Vec<Element<'_>>>(key).ok()?.as_slice() {
        [_, _, _, Element::String(namespace)] => Some(namespace.to_string()),
        _ => None,
    }
}

/// Is added to by whoever writes into a shard's inbox.
pub(crate) fn bell(shard: ShardIndex) -> Vec<u8> {
    pack(&(ROOT, RowKind::Bell as u16, u16::from(shard)))
}

/// A timer.
pub(crate) fn timer(address: &Address, due_ms: u64, name: &str) -> Vec<u8> {
    let shard = u16::from(address.shard());
    pack(&(
        ROOT,
        RowKind::Timer as u16,
        shard,
        due_ms,
        address.namespace(),
        address.kind(),
        address.key(),
        name,
    ))
}

/// The timers of a shard, those due first first.
pub(crate) fn timers(shard: ShardIndex) -> KeyRange {
    KeyRange::under(pack(&(ROOT, RowKind::Timer as u16, u16::from(shard))))
}

/// What a [`timer`] says: when it is due, of whom, which.
pub(crate) fn split_timer(key: &[u8]) -> Option<(u64, Address, String)> {
    match unpack::<Vec<Element<'_>>>(key).ok()?.as_slice() {
        [
            _,
            _,
            _,
            Element::Int(due),
            Element::String(namespace),
            Element::String(kind),
            Element::String(key),
            Element::String(name),
        ] => Some((u64::try_from(*due).ok()?, Address::new(namespace, kind, key).ok()?, name.to_string())),
        _ => None,
    }
}

/// Who does the work of a shard.
pub(crate) fn lease(shard: ShardIndex) -> Vec<u8> {
    pack(&(ROOT, RowKind::Lease as u16, u16::from(shard)))
}

/// The leases of all shards.
pub(crate) fn leases() -> KeyRange {
    KeyRange::under(pack(&(ROOT, RowKind::Lease as u16)))
}

/// The shard of a [`lease`].
pub(crate) fn lease_shard(key: &[u8]) -> Option<ShardIndex> {
    let (_, _, shard) = unpack::<(u16, u16, u16)>(key).ok()?;
    ShardIndex::try_from(shard).ok()
}

/// A worker; its id is the end of the key.
pub(crate) fn worker(id: &[u8]) -> Vec<u8> {
    let mut key = pack(&(ROOT, RowKind::Worker as u16));
    key.extend_from_slice(id);
    key
}

/// All workers.
pub(crate) fn workers() -> KeyRange {
    KeyRange::under(pack(&(ROOT, RowKind::Worker as u16)))
}

/// The id in a [`worker`] key.
pub(crate) fn worker_id(key: &[u8]) -> Option<[u8; 16]> {
    key.get(key.len().checked_sub(16)?..)?.try_into().ok()
}

/// Is added to when a worker comes or goes, or hands over.
pub(crate) fn members() -> Vec<u8> {
    pack(&(ROOT, RowKind::Members as u16))
}

/// What became of a step.
pub(crate) fn step(address: &Address, number: u32) -> Vec<u8> {
    let mut key = of_workflow(RowKind::Journal, address);
    key.extend_from_slice(&number.to_be_bytes());
    key
}

/// What became of all steps of a workflow.
pub(crate) fn journal(address: &Address) -> KeyRange {
    KeyRange::under(of_workflow(RowKind::Journal, address))
}

/// An answer. Replies of one `bucket` of time are removed together.
pub(crate) fn reply(bucket: u64, request: [u8; 16]) -> Vec<u8> {
    let mut key = pack(&(ROOT, RowKind::Reply as u16, bucket));
    key.extend_from_slice(&request);
    key
}

/// The answers of the buckets before `bucket`.
pub(crate) fn replies_before(bucket: u64) -> KeyRange {
    KeyRange {
        begin: pack(&(ROOT, RowKind::Reply as u16)),
        end: pack(&(ROOT, RowKind::Reply as u16, bucket)),
    }
}

/// Says that a workflow is dead or blocked, its value the [`crate::Status`] in one byte, or that its record cannot be
/// read, its value [`UNREADABLE`].
pub(crate) fn aside(address: &Address) -> Vec<u8> {
    of_workflow(RowKind::Aside, address)
}

/// Value of an [`aside`] of a workflow whose record cannot be read; no [`crate::Status`] has this number.
pub(crate) const UNREADABLE: &[u8] = &[u8::MAX];

/// Says that a namespace has signals in a shard of which not even their workflow can be read, its value
/// [`UNREADABLE`]. They are [`held_for_nobody`].
pub(crate) fn aside_of_nobody(shard: ShardIndex, namespace: &str) -> Vec<u8> {
    of_nobody(RowKind::Aside, shard, namespace)
}

/// Shard and namespace of an [`aside_of_nobody`], or of a row of [`held_for_nobody`].
pub(crate) fn split_nobody(key: &[u8]) -> Option<(ShardIndex, String)> {
    let key = if RowKind::of(key) == Some(RowKind::Held) { without_stamp(key)? } else { key };
    let (_, _, shard, namespace, kind, name) = unpack::<(u16, u16, u16, String, String, String)>(key).ok()?;
    let shard = ShardIndex::try_from(shard).ok()?;
    (kind.is_empty() && name.is_empty()).then_some((shard, namespace))
}

/// The workflows of a shard that are dead or blocked, or cannot be read.
pub(crate) fn asides(shard: ShardIndex) -> KeyRange {
    KeyRange::under(pack(&(ROOT, RowKind::Aside as u16, u16::from(shard))))
}

/// What waits with a workflow.
pub(crate) fn parked(address: &Address) -> KeyRange {
    KeyRange::under(of_workflow(RowKind::Parked, address))
}

/// What waits with the workflows of a namespace in a shard.
pub(crate) fn parked_in(shard: ShardIndex, namespace: &str) -> KeyRange {
    KeyRange::under(pack(&(ROOT, RowKind::Parked as u16, u16::from(shard), namespace)))
}

/// One of what waits with a workflow.
pub(crate) fn parked_row(address: &Address, number: u64) -> Vec<u8> {
    let mut key = of_workflow(RowKind::Parked, address);
    key.extend_from_slice(&number.to_be_bytes());
    key
}

/// All that is held for a workflow that cannot be read, in the order it came.
pub(crate) fn held(address: &Address) -> KeyRange {
    KeyRange::under(of_workflow(RowKind::Held, address))
}

/// All that is held of a namespace in a shard.
pub(crate) fn held_in(shard: ShardIndex, namespace: &str) -> KeyRange {
    KeyRange::under(pack(&(ROOT, RowKind::Held as u16, u16::from(shard), namespace)))
}

/// What is held of a namespace's signals of which not even their workflow can be read.
pub(crate) fn held_for_nobody(shard: ShardIndex, namespace: &str) -> KeyRange {
    KeyRange::under(of_nobody(RowKind::Held, shard, namespace))
}

/// Where the row of an inbox at `key` is held: its versionstamp and order go along, so that it is put back in its place.
/// `None` if `key` is none of an inbox.
pub(crate) fn held_row(address: Option<&Address>, key: &[u8]) -> Option<Vec<u8>> {
    let (shard, namespace) = inbox_of(key)?;
    let mut held = match address {
        Some(address) => of_workflow(RowKind::Held, address),
        None => of_nobody(RowKind::Held, shard, &namespace),
    };
    held.extend_from_slice(&key[key.len() - STAMPED..]);
    Some(held)
}

/// The row of an inbox that [`held_row`] holds at `key`; `None` for a nudge.
pub(crate) fn inbox_of_held(key: &[u8]) -> Option<Vec<u8>> {
    let (shard, namespace) = held_of(key)?;
    let mut inbox = inbox(shard, &namespace).begin;
    inbox.extend_from_slice(&key[key.len() - STAMPED..]);
    Some(inbox)
}

/// Shard and namespace of a [`held_row`]; `None` for a nudge.
pub(crate) fn held_of(key: &[u8]) -> Option<(ShardIndex, String)> {
    // Only a nudge is a tuple to its end.
    if split_address(key).is_some() {
        return None;
    }
    let (_, _, shard, namespace, _, _) =
        unpack::<(u16, u16, u16, String, String, String)>(without_stamp(key)?).ok()?;
    Some((ShardIndex::try_from(shard).ok()?, namespace))
}

/// The workflow for which the row at `key` is held; `None` if it is nobody's.
pub(crate) fn held_for(key: &[u8]) -> Option<Address> {
    split_address(key).or_else(|| split_address(without_stamp(key)?))
}

/// Says that a workflow that cannot be read is to look at its matters once it can.
pub(crate) fn held_nudge(address: &Address) -> Vec<u8> {
    of_workflow(RowKind::Held, address)
}

/// Says that a workflow of the steps style is awake.
pub(crate) fn awake(address: &Address) -> Vec<u8> {
    of_workflow(RowKind::Awake, address)
}

/// The workflows of the steps style of a shard that are awake.
pub(crate) fn awakes(shard: ShardIndex) -> KeyRange {
    KeyRange::under(pack(&(ROOT, RowKind::Awake as u16, u16::from(shard))))
}

/// The workflow that a [`state`], [`nudge`], [`aside`], [`awake`] or [`held_nudge`] key is of.
pub(crate) fn split_address(key: &[u8]) -> Option<Address> {
    match unpack::<Vec<Element<'_>>>(key).ok()?.as_slice() {
        [_, _, _, Element::String(namespace), Element::String(kind), Element::String(key)] => {
            Address::new(namespace, kind, key).ok()
        }
        _ => None,
    }
}

/// Bytes that a row of an inbox ends with: versionstamp and order.
const STAMPED: usize = VERSIONSTAMP_BYTES + size_of::<u64>();

fn without_stamp(key: &[u8]) -> Option<&[u8]> {
    key.get(..key.len().checked_sub(STAMPED)?)
}

/// No workflow's kind is empty.
fn of_nobody(kind: RowKind, shard: ShardIndex, namespace: &str) -> Vec<u8> {
    pack(&(ROOT, kind as u16, u16::from(shard), namespace, "", ""))
}

fn of_workflow(kind: RowKind, address: &Address) -> Vec<u8> {
    let shard = u16::from(address.shard());
    pack(&(ROOT, kind as u16, shard, address.namespace(), address.kind(), address.key()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(key: &str) -> Address {
        Address::new("arena/prod", "fleet", key).expect("valid")
    }

    #[test]
    fn keys_come_apart_again() {
        let duel = address("duel");
        assert_eq!(split_address(&state(&duel)), Some(duel.clone()));
        assert_eq!(split_address(&aside(&duel)), Some(duel.clone()));
        assert_eq!(split_address(&awake(&duel)), Some(duel.clone()));
        assert_eq!(split_timer(&timer(&duel, 77, "retry")), Some((77, duel, "retry".to_owned())));
        assert_eq!(zone_namespace(&zone(3, "arena/prod")), Some("arena/prod".to_owned()));
        assert_eq!(lease_shard(&lease(63)), Some(63));
        assert_eq!(worker_id(&worker(&[7; 16])), Some([7; 16]));
    }

    #[test]
    fn one_workflows_rows_are_no_other_ones() {
        let (duel, other) = (address("duel"), address("duel-2"));
        let range = parked(&duel);
        let within = |key: &[u8]| range.begin.as_slice() <= key && key < range.end.as_slice();
        assert!(within(&parked_row(&duel, u64::MAX)));
        assert!(!within(&parked_row(&other, 0)));
        let (first, hole) = inbox_row(1, "a", 0);
        assert_eq!(first.len(), hole + VERSIONSTAMP_BYTES + 8);
        let zone = inbox(1, "a");
        assert!(zone.begin < first && first < zone.end);
        assert!(inbox_row(1, "ab", 0).0 >= zone.end);
    }

    #[test]
    fn what_is_held_goes_back_to_where_it_was() {
        let duel = address("duel");
        let (mut inbox, hole) = inbox_row(duel.shard(), duel.namespace(), 9);
        inbox[hole] = 7;
        for whose in [Some(&duel), None] {
            let held = held_row(whose, &inbox).expect("a row of an inbox");
            assert_eq!(RowKind::of(&held), Some(RowKind::Held));
            assert_eq!(inbox_of_held(&held), Some(inbox.clone()));
            assert_eq!(held_of(&held), Some((duel.shard(), duel.namespace().to_owned())));
            assert_eq!(held_for(&held).as_ref(), whose);
            assert_eq!(split_nobody(&held).is_some(), whose.is_none());
        }
        let nudged = held_nudge(&duel);
        assert_eq!((inbox_of_held(&nudged), held_for(&nudged)), (None, Some(duel.clone())));
        assert_eq!(split_nobody(&aside_of_nobody(3, "a")), Some((3, "a".to_owned())));
        assert_eq!(split_nobody(&aside(&duel)), None);
        assert_eq!(held_row(Some(&duel), &state(&duel)), None);
    }

    #[test]
    fn timers_sort_by_when_they_are_due() {
        let mut last = Vec::new();
        for due in [0, 1, 255, 256, 1 << 32, u64::MAX >> 1] {
            let key = timer(&address("duel"), due, "x");
            assert!(key > last);
            last = key;
        }
    }

    #[test]
    fn rows_of_the_engine_begin_with_its_root() {
        let all = KeyRange::under(pack(&(ROOT,)));
        for key in [state(&address("x")), bell(0), members(), lease(0), reply(1, [0; 16])] {
            assert!(all.begin <= key && key < all.end);
        }
    }
}
