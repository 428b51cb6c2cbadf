//! Random transactions against a `BTreeMap`: every read and the final content must agree, also
//! after closing and opening again.

#![allow(clippy::unwrap_used, reason = "a failed test is how a test speaks")]

use std::collections::BTreeMap;

use muster_store::{Database, OpenOptions, StoreError, Transaction};
use proptest::prelude::*;

type Model = BTreeMap<Vec<u8>, Vec<u8>>;

#[derive(Debug, Clone)]
enum Op {
    Set(Vec<u8>, Vec<u8>),
    Clear(Vec<u8>),
    ClearRange(Vec<u8>, Vec<u8>),
    Add(Vec<u8>, i64),
    Get(Vec<u8>),
    Range(Vec<u8>, Vec<u8>, usize, bool),
}

fn key() -> impl Strategy<Value = Vec<u8>> {
    // Few and short, so that they meet.
    proptest::collection::vec(0u8..4, 0..3)
}

fn bounds() -> impl Strategy<Value = (Vec<u8>, Vec<u8>)> {
    (key(), key()).prop_map(|(a, b)| if a <= b { (a, b) } else { (b, a) })
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        4 => (key(), proptest::collection::vec(any::<u8>(), 0..12)).prop_map(|(k, v)| Op::Set(k, v)),
        1 => key().prop_map(Op::Clear),
        1 => bounds().prop_map(|(a, b)| Op::ClearRange(a, b)),
        2 => (key(), any::<i64>()).prop_map(|(k, n)| Op::Add(k, n)),
        2 => key().prop_map(Op::Get),
        2 => (bounds(), 0usize..6, any::<bool>()).prop_map(|((a, b), n, r)| Op::Range(a, b, n, r)),
    ]
}

/// What FoundationDB's addition makes of a value.
fn added(value: Option<&Vec<u8>>, delta: i64) -> Vec<u8> {
    let mut number = value.cloned().unwrap_or_default();
    number.resize(8, 0);
    i64::from_le_bytes(number.try_into().unwrap()).wrapping_add(delta).to_le_bytes().to_vec()
}

async fn apply(tx: &mut Transaction, model: &mut Model, ops: &[Op]) -> Result<(), StoreError> {
    for op in ops {
        match op {
            Op::Set(key, value) => {
                tx.set(key, value);
                model.insert(key.clone(), value.clone());
            }
            Op::Clear(key) => {
                tx.clear(key);
                model.remove(key);
            }
            Op::ClearRange(begin, end) => {
                tx.clear_range(begin, end);
                model.retain(|key, _| key < begin || key >= end);
            }
            Op::Add(key, delta) => {
                tx.atomic_add(key, *delta);
                let sum = added(model.get(key), *delta);
                model.insert(key.clone(), sum);
            }
            Op::Get(key) => assert_eq!(tx.get(key).await?.map(|v| v.to_vec()), model.get(key).cloned()),
            Op::Range(begin, end, limit, reverse) => {
                let found = tx.get_range(begin, end, *limit, *reverse).await?;
                let mut expected: Vec<_> = model.range(begin.clone()..end.clone()).collect();
                if *reverse {
                    expected.reverse();
                }
                expected.truncate(*limit);
                let found: Vec<_> = found.iter().map(|(k, v)| (k.to_vec(), v.to_vec())).collect();
                let expected: Vec<_> = expected.into_iter().map(|(k, v)| (k.clone(), v.clone())).collect();
                assert_eq!(found, expected);
            }
        }
    }
    Ok(())
}

async fn content(database: &Database) -> Model {
    database
        .read("content", async |mut tx: Transaction| tx.get_range(b"", b"\xff", usize::MAX, false).await)
        .await
        .unwrap()
        .into_iter()
        .map(|(k, v)| (k.to_vec(), v.to_vec()))
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn agrees_with_a_map(
        transactions in proptest::collection::vec(
            (proptest::collection::vec(op(), 1..12), proptest::bool::weighted(0.2)), 1..12),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("store");
        let mut model = Model::new();
        runtime.block_on(async {
            let database = Database::open(&path, OpenOptions::default()).unwrap();
            for (ops, abandon) in &transactions {
                let result = database
                    .run("random", async |mut tx| {
                        let mut after = model.clone();
                        apply(&mut tx, &mut after, ops).await?;
                        // Any error will do: nothing of the transaction may stay.
                        if *abandon { Err(StoreError::InvertedRange) } else { Ok(after) }
                    })
                    .await;
                match result {
                    Ok(after) => model = after,
                    Err(error) => assert_eq!((error, *abandon), (StoreError::InvertedRange, true)),
                }
                assert_eq!(content(&database).await, model);
            }
            database.shutdown().await;
        });
        let database = Database::open(&path, OpenOptions::default()).unwrap();
        prop_assert_eq!(runtime.block_on(content(&database)), model);
    }
}
