//! Whether the engine's rows agree with each other, and each of them in words: for `muster store`.
//!
//! Timers, what waits, who is awake and who is set aside follow from the workflows' records. It is given
//! every row and reads nothing itself.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use foundationdb_tuple::{Element, pack, unpack};
use prost::Message;

use crate::address::{Address, ShardIndex};
use crate::keyspace::{self, RowKind};
use crate::records::{
    Envelope, EnvelopeKind, JournalRecord, LeaseRecord, ReplyRecord, Status, WorkerRecord, WorkflowRecord,
};

/// Gathers rows and compares them. Memory is in proportion to the number of workflows.
#[derive(Debug, Default)]
pub struct Check {
    /// Rows that follow from records, and those that are there.
    expected: BTreeSet<Vec<u8>>,
    found: BTreeSet<Vec<u8>>,
    /// What waits with each workflow, as its record says and as there is.
    parked: BTreeMap<Vec<u8>, u64>,
    waiting: BTreeMap<Vec<u8>, u64>,
    /// Signals that wait in a zone, as its number says and as there are.
    counted: BTreeMap<Vec<u8>, i64>,
    there: BTreeMap<Vec<u8>, i64>,
    /// Zones that have rows in an inbox or nudges, and those that are pointed at.
    zones_needed: BTreeSet<Vec<u8>>,
    zones: BTreeSet<Vec<u8>>,
    unreadable: Vec<(Vec<u8>, String)>,
    /// Workflows that cannot be read, or could not when they were set aside: what follows from their records need not be
    /// there.
    aside: BTreeSet<Address>,
    /// Rows that are held, of workflows and of nobody, and the namespaces that are said to have some of nobody's.
    held: Vec<Vec<u8>>,
    of_nobody: BTreeSet<(ShardIndex, String)>,
}

impl Check {
    /// Takes note of a row of the engine.
    pub fn note(&mut self, key: &[u8], value: &Bytes) {
        if let Err(reason) = value_words(key, value) {
            self.unreadable.push((key.to_vec(), format!("cannot be read: {reason}")));
            match RowKind::of(key) {
                // They count, whatever they say.
                Some(RowKind::Inbox | RowKind::Parked | RowKind::Held) => {}
                Some(RowKind::State) => return self.aside.extend(keyspace::split_address(key)),
                _ => return,
            }
        }
        match RowKind::of(key) {
            Some(RowKind::State) => self.workflow(key, value),
            Some(RowKind::Aside) if value == keyspace::UNREADABLE => match keyspace::split_nobody(key) {
                Some(zone) => {
                    self.of_nobody.insert(zone);
                }
                None => self.aside.extend(keyspace::split_address(key)),
            },
            Some(RowKind::Timer | RowKind::Aside | RowKind::Awake) => {
                self.found.insert(key.to_vec());
            }
            Some(RowKind::Held) => self.holds(key),
            Some(RowKind::Parked) => {
                let whose = key[..key.len().saturating_sub(8)].to_vec();
                if let Some(address) = keyspace::split_address(&whose) {
                    self.waits(address.shard(), address.namespace());
                }
                *self.waiting.entry(whose).or_default() += 1;
            }
            Some(kind @ (RowKind::Inbox | RowKind::Nudge)) => {
                self.zones_needed.extend(keyspace::zone_of(key));
                if kind == RowKind::Inbox
                    && let Some((shard, namespace)) = keyspace::inbox_of(key)
                {
                    self.waits(shard, &namespace);
                }
            }
            Some(RowKind::Waiting) => {
                self.counted.insert(key.to_vec(), number(value).unwrap_or(0));
            }
            Some(RowKind::Zone) => {
                self.zones.insert(key.to_vec());
            }
            _ => {}
        }
    }

    fn holds(&mut self, key: &[u8]) {
        self.held.push(key.to_vec());
        if let Some((shard, namespace)) = keyspace::held_of(key) {
            self.waits(shard, &namespace);
        }
    }

    fn waits(&mut self, shard: ShardIndex, namespace: &str) {
        *self.there.entry(keyspace::waiting(shard, namespace)).or_default() += 1;
    }

    fn workflow(&mut self, key: &[u8], value: &Bytes) {
        let (Some(address), Ok(record)) = (keyspace::split_address(key), WorkflowRecord::read(value)) else {
            return;
        };
        let timers = record.timers.iter().map(|timer| keyspace::timer(&address, timer.due_ms, &timer.name));
        self.expected.extend(timers);
        if matches!(record.status(), Status::Dead | Status::Blocked) {
            self.expected.insert(keyspace::aside(&address));
        }
        if record.awake {
            self.expected.insert(keyspace::awake(&address));
        }
        if record.parked > 0 {
            self.parked.insert(keyspace::parked(&address).begin, record.parked);
        }
    }

    /// Rows that do not agree, and what is wrong with each.
    pub fn findings(mut self) -> Vec<(Vec<u8>, String)> {
        let mut findings = std::mem::take(&mut self.unreadable);
        for key in self.expected.difference(&self.found).filter(|key| !self.is_aside(key)) {
            findings
                .push((key.clone(), "is missing, though its workflow's record says it is there".to_owned()));
        }
        for key in self.found.difference(&self.expected).filter(|key| !self.is_aside(key)) {
            findings.push((key.clone(), "is there, though its workflow's record does not say so".to_owned()));
        }
        for key in &self.held {
            let is_aside = match keyspace::held_for(key) {
                Some(address) => self.aside.contains(&address),
                None => keyspace::split_nobody(key).is_some_and(|zone| self.of_nobody.contains(&zone)),
            };
            if !is_aside {
                let what = "is held, though whose it is is not set aside, and nobody will give it back";
                findings.push((key.clone(), what.to_owned()));
            }
        }
        // The other way round is no fault: a zone is pointed at for a while after its last row was taken.
        for key in self.zones_needed.difference(&self.zones) {
            let what = "is missing, though signals or nudges wait in its zone, which nobody will look at";
            findings.push((key.clone(), what.to_owned()));
        }
        // Fewer than there are is what an older release leaves, which counts none of what it sends.
        for (key, counted) in &self.counted {
            let there = self.there.get(key).copied().unwrap_or(0);
            if *counted > there {
                findings.push((key.clone(), format!("it says that {counted} signals wait, and {there} do")));
            }
        }
        let parked = self.parked.keys().chain(self.waiting.keys()).collect::<BTreeSet<_>>();
        for key in parked.into_iter().filter(|key| !self.is_aside(key)) {
            let (says, are) = (self.parked.get(key).unwrap_or(&0), self.waiting.get(key).unwrap_or(&0));
            if says != are {
                findings.push((key.clone(), format!("{are} signals wait, and the record says {says}")));
            }
        }
        findings
    }

    /// Whether the row at `key` follows from the record of a workflow that is set aside as unreadable.
    fn is_aside(&self, key: &[u8]) -> bool {
        let timer = || keyspace::split_timer(key).map(|(_, address, _)| address);
        keyspace::split_address(key).or_else(timer).is_some_and(|address| self.aside.contains(&address))
    }
}

/// Whether `key` is one of the engine's.
pub fn is_row(key: &[u8]) -> bool {
    key.starts_with(&pack(&(keyspace::ROOT,)))
}

/// A row of the engine in words: what kind it is, the rest of its key, and its value.
///
/// # Errors
/// Why it cannot be read.
pub fn describe(key: &[u8], value: &Bytes) -> Result<(String, String, String), String> {
    let kind = RowKind::of(key).ok_or_else(|| "no kind of row this version knows".to_owned())?;
    Ok((format!("{kind:?}"), key_words(key), value_words(key, value)?))
}

/// The elements of a key behind its kind; what is no tuple, in hexadecimal.
fn key_words(key: &[u8]) -> String {
    // Some keys end with bytes that are no tuple: the versionstamp and order of inbox rows, numbers, ids.
    for raw in [0, 8, 16, 18, 4] {
        let Some(at) = key.len().checked_sub(raw) else { continue };
        if let Ok(elements) = unpack::<Vec<Element<'_>>>(&key[..at]) {
            let tail = hex(&key[at..]);
            let words = elements.iter().skip(2).map(|element| match element {
                Element::String(text) => text.to_string(),
                Element::Int(number) => number.to_string(),
                other => format!("{other:?}"),
            });
            return words.chain((raw > 0).then_some(tail)).collect::<Vec<_>>().join(" ");
        }
    }
    hex(key)
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn number(value: &Bytes) -> Result<i64, String> {
    let number = value.as_ref().try_into().map_err(|_| format!("{} bytes, not 8", value.len()))?;
    Ok(i64::from_le_bytes(number))
}

fn value_words(key: &[u8], value: &Bytes) -> Result<String, String> {
    fn read<M: Message + Default>(value: &Bytes) -> Result<M, String> {
        M::decode(value.clone()).map_err(|error| error.to_string())
    }
    Ok(match RowKind::of(key) {
        None => return Err("no kind of row this version knows".to_owned()),
        Some(RowKind::State) => {
            let record = WorkflowRecord::read(value)?;
            let at = format!("version {} revision {}", record.version, record.revision);
            format!(
                "{} {at}, {} bytes of state, {}",
                record.status().word(),
                record.state.len(),
                record.reason
            )
        }
        Some(RowKind::Held) if keyspace::held_of(key).is_none() => "nudged".to_owned(),
        Some(RowKind::Inbox | RowKind::Parked | RowKind::Held) => {
            let envelope: Envelope = read(value)?;
            let whose = envelope.address.clone().and_then(|address| Address::try_from(address).ok());
            let whose = whose.map(|address| format!(" for {address}")).unwrap_or_default();
            let kind = EnvelopeKind::try_from(envelope.kind)
                .map_or("unknown".to_owned(), |kind| format!("{kind:?}"));
            format!("{kind}{whose}, {} bytes", envelope.payload.len())
        }
        Some(RowKind::Lease) => format!("{:?}", read::<LeaseRecord>(value)?),
        Some(RowKind::Worker) => format!("{:?}", read::<WorkerRecord>(value)?),
        Some(RowKind::Journal) => {
            let step: JournalRecord = read(value)?;
            format!("{} {:?} done {} attempts {}", step.what, step.name, step.done, step.attempts)
        }
        Some(RowKind::Reply) => format!("{} bytes", read::<ReplyRecord>(value)?.payload.len()),
        Some(RowKind::Bell | RowKind::Members | RowKind::Waiting) => number(value)?.to_string(),
        Some(RowKind::Zone | RowKind::Timer | RowKind::Aside | RowKind::Awake | RowKind::Nudge) => hex(value),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::records::TimerEntry;

    fn address() -> Address {
        Address::new("arena/prod", "fleet", "duel").expect("valid")
    }

    fn record() -> WorkflowRecord {
        let timers = vec![TimerEntry { name: "retry".to_owned(), due_ms: 5 }];
        WorkflowRecord { timers, parked: 1, status: Status::Dead.into(), ..WorkflowRecord::default() }
    }

    fn rows() -> Vec<(Vec<u8>, Bytes)> {
        vec![
            (keyspace::state(&address()), record().encode_to_vec().into()),
            (keyspace::timer(&address(), 5, "retry"), Bytes::new()),
            (keyspace::aside(&address()), Bytes::from_static(&[3])),
            (keyspace::parked_row(&address(), 0), Envelope::default().encode_to_vec().into()),
        ]
    }

    #[test]
    fn what_waits_in_a_zone_that_nobody_will_look_at_is_told() {
        let (shard, namespace) = (address().shard(), address().namespace().to_owned());
        let (inbox, _) = keyspace::inbox_row(shard, &namespace, 7);
        let (zone, envelope) =
            (keyspace::zone(shard, &namespace), Bytes::from(Envelope::default().encode_to_vec()));
        for (key, value) in [(inbox, envelope), (keyspace::nudge(&address()), Bytes::new())] {
            let mut check = Check::default();
            check.note(&key, &value);
            let findings = check.findings();
            assert!(findings.len() == 1 && findings[0].0 == zone, "{findings:?}");
            let mut check = Check::default();
            check.note(&key, &value);
            check.note(&zone, &Bytes::new());
            assert_eq!(check.findings(), []);
        }
    }

    #[test]
    fn a_number_of_those_who_wait_that_is_too_high_is_told() {
        let (shard, namespace) = (address().shard(), address().namespace().to_owned());
        let envelope = Bytes::from(Envelope::default().encode_to_vec());
        let findings = |says: i64| {
            let mut check = Check::default();
            for (key, value) in rows() {
                check.note(&key, &value);
            }
            check.note(&keyspace::inbox_row(shard, &namespace, 7).0, &envelope);
            check.note(&keyspace::zone(shard, &namespace), &Bytes::new());
            check.note(&keyspace::waiting(shard, &namespace), &Bytes::from(says.to_le_bytes().to_vec()));
            check.findings()
        };
        // One in the inbox, and one with its workflow.
        assert_eq!(findings(2), []);
        assert_eq!(findings(-4), []);
        let found = findings(3);
        assert!(found.len() == 1 && found[0].1 == "it says that 3 signals wait, and 2 do", "{found:?}");
    }

    #[test]
    fn rows_that_agree_are_not_told_and_each_that_is_missing_is() {
        let findings = |rows: Vec<(Vec<u8>, Bytes)>| {
            let mut check = Check::default();
            for (key, value) in &rows {
                check.note(key, value);
            }
            check.findings()
        };
        assert_eq!(findings(rows()), []);
        for without in 0..rows().len() {
            let mut rows = rows();
            rows.remove(without);
            assert!(!findings(rows).is_empty(), "row {without} was not missed");
        }
        let unreadable = vec![(keyspace::state(&address()), Bytes::from_static(b"\xff"))];
        assert_eq!(findings(unreadable).len(), 1);
    }

    #[test]
    fn every_row_can_be_told_in_words() {
        let (inbox, _) = keyspace::inbox_row(3, "arena/prod", 9);
        let mut rows = rows();
        rows.push((inbox, Envelope::default().encode_to_vec().into()));
        rows.push((keyspace::worker(&[7; 16]), Bytes::new()));
        rows.push((keyspace::bell(3), Bytes::from_static(&[1, 0, 0, 0, 0, 0, 0, 0])));
        for (key, value) in rows {
            assert!(is_row(&key));
            let (kind, rest, words) = describe(&key, &value).expect("readable");
            assert!(!kind.is_empty() && !rest.is_empty(), "{kind} {rest} {words}");
        }
    }
}
