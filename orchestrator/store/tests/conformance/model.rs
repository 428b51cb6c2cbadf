//! Random transactions, one after the other, against a `BTreeMap`: every read and the content after
//! each must agree.

use std::collections::BTreeMap;

use muster_store::limits::KEYSPACE_END;
use muster_store::{AtomicOp, Database, StoreError, Transaction};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

type Model = BTreeMap<Vec<u8>, Vec<u8>>;

/// Transactions; each is compared whole.
const TRANSACTIONS: u64 = 120;

/// Few and short, so that they meet.
fn key(random: &mut StdRng) -> Vec<u8> {
    (0..random.random_range(0..3)).map(|_| random.random_range(0..4)).collect()
}

fn bounds(random: &mut StdRng) -> (Vec<u8>, Vec<u8>) {
    let (a, b) = (key(random), key(random));
    if a <= b { (a, b) } else { (b, a) }
}

fn value(random: &mut StdRng) -> Vec<u8> {
    (0..random.random_range(0..12)).map(|_| random.random()).collect()
}

/// What FoundationDB's addition makes of a value.
fn added(value: Option<&Vec<u8>>, delta: i64) -> Vec<u8> {
    let mut number = value.cloned().unwrap_or_default();
    number.resize(8, 0);
    i64::from_le_bytes(number.try_into().unwrap()).wrapping_add(delta).to_le_bytes().to_vec()
}

/// One operation on both.
async fn step(tx: &mut Transaction, model: &mut Model, random: &mut StdRng) -> Result<(), StoreError> {
    match random.random_range(0..13) {
        0..4 => {
            let (key, value) = (key(random), value(random));
            tx.set(&key, &value);
            model.insert(key, value);
        }
        4 => {
            let key = key(random);
            tx.clear(&key);
            model.remove(&key);
        }
        5 => {
            let (begin, end) = bounds(random);
            tx.clear_range(&begin, &end);
            model.retain(|key, _| *key < begin || *key >= end);
        }
        6 | 7 => {
            let (key, delta) = (key(random), random.random());
            tx.atomic_add(&key, delta);
            let sum = added(model.get(&key), delta);
            model.insert(key, sum);
        }
        8 => {
            let (key, value) = (key(random), value(random));
            tx.atomic(AtomicOp::ByteMax, &key, &value);
            let entry = model.entry(key).or_default();
            *entry = std::mem::take(entry).max(value);
        }
        9 | 10 => {
            let key = key(random);
            assert_eq!(tx.get(&key).await?.map(|v| v.to_vec()), model.get(&key).cloned());
        }
        _ => {
            let ((begin, end), limit, reverse) = (bounds(random), random.random_range(0..6), random.random());
            let found = tx.get_range(&begin, &end, limit, reverse).await?;
            let mut expected: Vec<_> = model.range(begin..end).map(|(k, v)| (k.clone(), v.clone())).collect();
            if reverse {
                expected.reverse();
            }
            expected.truncate(limit);
            let found: Vec<_> = found.iter().map(|(k, v)| (k.to_vec(), v.to_vec())).collect();
            assert_eq!(found, expected);
        }
    }
    Ok(())
}

pub(crate) async fn agrees_with_a_map(database: &Database) {
    let mut model = Model::new();
    for seed in 0..TRANSACTIONS {
        let mut random = StdRng::seed_from_u64(seed);
        let (steps, abandon) = (random.random_range(1..12), random.random_bool(0.2));
        let ran = database.run("random", async |mut tx: Transaction| {
            let (mut random, mut after) = (StdRng::seed_from_u64(seed << 32), model.clone());
            for _ in 0..steps {
                step(&mut tx, &mut after, &mut random).await?;
            }
            // Any error will do: nothing of the transaction may stay.
            if abandon { Err(StoreError::InvertedRange) } else { Ok(after) }
        });
        match ran.await {
            Ok(after) => model = after,
            Err(error) => assert_eq!((error, abandon), (StoreError::InvertedRange, true), "seed {seed}"),
        }
        let content = crate::support::rows(database, b"", KEYSPACE_END).await;
        assert_eq!(content.into_iter().collect::<Model>(), model, "seed {seed}");
    }
}
