//! What one transaction sees and does, and its limits.

use muster_store::limits::{KEYSPACE_END, MAX_KEY_BYTES, MAX_TRANSACTION_BYTES, MAX_VALUE_BYTES};
use muster_store::{Database, StoreError, Transaction};

use crate::support::get;

async fn put(database: &Database, rows: &[(&str, &str)]) {
    database
        .run("put", async |mut tx| {
            for (key, value) in rows {
                tx.set(key.as_bytes(), value.as_bytes());
            }
            Ok::<_, StoreError>(())
        })
        .await
        .unwrap();
}

/// Rows as text, for comparing.
async fn range(tx: &mut Transaction, begin: &str, end: &str, limit: usize, reverse: bool) -> Vec<String> {
    tx.get_range(begin.as_bytes(), end.as_bytes(), limit, reverse)
        .await
        .unwrap()
        .into_iter()
        .map(|(key, value)| format!("{}={}", String::from_utf8_lossy(&key), String::from_utf8_lossy(&value)))
        .collect()
}

pub(crate) async fn reads_its_own_writes_in_points_and_ranges(database: &Database) {
    put(database, &[("a", "1"), ("b", "2"), ("c", "3"), ("d", "4")]).await;
    database
        .run("own", async |mut tx| {
            tx.set(b"b", b"B");
            tx.clear(b"c");
            tx.set(b"e", b"5");
            assert_eq!(tx.get(b"b").await?.as_deref(), Some(&b"B"[..]));
            assert_eq!(tx.get(b"c").await?, None);
            assert_eq!(range(&mut tx, "a", "z", 10, false).await, ["a=1", "b=B", "d=4", "e=5"]);
            assert_eq!(range(&mut tx, "a", "z", 3, true).await, ["e=5", "d=4", "b=B"]);
            assert_eq!(range(&mut tx, "b", "d", 10, false).await, ["b=B"]);
            tx.clear_range(b"a", b"d");
            tx.set(b"aa", b"6");
            assert_eq!(range(&mut tx, "a", "z", 10, false).await, ["aa=6", "d=4", "e=5"]);
            assert_eq!(range(&mut tx, "a", "z", 1, false).await, ["aa=6"]);
            assert_eq!(range(&mut tx, "a", "a", 10, false).await, [""; 0]);
            assert_eq!(range(&mut tx, "a", "z", 0, false).await, [""; 0]);
            Ok::<_, StoreError>(())
        })
        .await
        .unwrap();
    database
        .read("after", async |mut tx| {
            assert_eq!(range(&mut tx, "", "z", 10, false).await, ["aa=6", "d=4", "e=5"]);
            Ok::<_, StoreError>(())
        })
        .await
        .unwrap();
}

pub(crate) async fn long_ranges_come_whole_and_in_order(database: &Database) {
    let keys: Vec<String> = (0..5000).map(|n| format!("k{n:05}")).collect();
    database
        .run("fill", async |mut tx| {
            for key in &keys {
                tx.set(key.as_bytes(), b"v");
            }
            Ok::<_, StoreError>(())
        })
        .await
        .unwrap();
    for reverse in [false, true] {
        let found = database
            .run("scan", async |mut tx| {
                // Own writes at both ends and in the middle of a chunk.
                tx.clear(b"k02000");
                tx.set(b"k02000x", b"v");
                tx.get_range(b"k", b"l", usize::MAX, reverse).await
            })
            .await
            .unwrap();
        let mut expected: Vec<String> = keys.iter().filter(|key| *key != "k02000").cloned().collect();
        expected.push("k02000x".to_owned());
        expected.sort();
        if reverse {
            expected.reverse();
        }
        let found: Vec<String> =
            found.into_iter().map(|(key, _)| String::from_utf8(key.to_vec()).unwrap()).collect();
        // The first pass commits its writes, so the second finds the same rows.
        assert_eq!(found, expected);
    }
}

pub(crate) async fn an_error_of_the_body_writes_nothing(database: &Database) {
    let result: Result<(), StoreError> = database
        .run("refused", async |mut tx| {
            tx.set(b"a", b"1");
            Err(StoreError::InvertedRange)
        })
        .await;
    assert_eq!(result, Err(StoreError::InvertedRange));
    assert_eq!(get(database, b"a").await, None);
}

pub(crate) async fn limits_are_refused_with_their_name(database: &Database) {
    let long_key = vec![1u8; MAX_KEY_BYTES + 1];
    let long_value = vec![1u8; MAX_VALUE_BYTES + 1];
    let refusal = async |write: &dyn Fn(&mut Transaction)| {
        database
            .run("limit", async |mut tx: Transaction| {
                tx.set(b"before", b"1");
                write(&mut tx);
                tx.set(b"after", b"1");
                Ok::<_, StoreError>(())
            })
            .await
            .unwrap_err()
    };
    let key_too_large = StoreError::KeyTooLarge { length: MAX_KEY_BYTES + 1 };
    assert_eq!(refusal(&|tx| tx.set(&long_key, b"")).await, key_too_large);
    assert_eq!(refusal(&|tx| tx.clear(&long_key)).await, key_too_large);
    assert_eq!(refusal(&|tx| tx.atomic_add(&long_key, 1)).await, key_too_large);
    assert_eq!(refusal(&|tx| drop(tx.watch(&long_key))).await, key_too_large);
    assert_eq!(
        refusal(&|tx| tx.set(b"k", &long_value)).await,
        StoreError::ValueTooLarge { length: MAX_VALUE_BYTES + 1 }
    );
    assert_eq!(refusal(&|tx| tx.clear_range(b"b", b"a")).await, StoreError::InvertedRange);
    assert_eq!(refusal(&|tx| tx.add_read_conflict_range(b"b", b"a")).await, StoreError::InvertedRange);
    assert_eq!(refusal(&|tx| tx.set(KEYSPACE_END, b"")).await, StoreError::KeyOutsideKeyspace);
    assert_eq!(refusal(&|tx| tx.clear_range(b"", b"\xfe\x00")).await, StoreError::KeyOutsideKeyspace);
    let value = vec![0u8; MAX_VALUE_BYTES];
    let many = refusal(&|tx| {
        for n in 0..=(MAX_TRANSACTION_BYTES / MAX_VALUE_BYTES) as u32 {
            tx.set(&n.to_be_bytes(), &value);
        }
    })
    .await;
    assert_eq!(many, StoreError::TransactionTooLarge);
    assert_eq!(get(database, b"before").await, None, "a refused transaction writes nothing");

    let read = database.read("read", async |mut tx: Transaction| tx.get(&long_key).await).await;
    assert_eq!(read.unwrap_err(), key_too_large);
    let read =
        database.read("read", async |mut tx: Transaction| tx.get_range(b"b", b"a", 1, false).await).await;
    assert_eq!(read.unwrap_err(), StoreError::InvertedRange);
}

pub(crate) async fn the_largest_key_and_value_fit(database: &Database) {
    let key = vec![1u8; MAX_KEY_BYTES];
    let value = vec![2u8; MAX_VALUE_BYTES];
    database
        .run("largest", async |mut tx| {
            tx.set(&key, &value);
            tx.set(b"", b"the empty key is a key");
            let rows = tx.get_range(&key, KEYSPACE_END, 1, false).await?;
            assert_eq!(rows.len(), 1);
            Ok::<_, StoreError>(())
        })
        .await
        .unwrap();
    assert_eq!(get(database, &key).await, Some(value));
    assert!(get(database, b"").await.is_some());
}

pub(crate) async fn a_read_only_transaction_may_not_write(database: &Database) {
    let result = database
        .read("write", async |mut tx| {
            tx.set(b"a", b"1");
            Ok::<_, StoreError>(())
        })
        .await;
    assert_eq!(result, Err(StoreError::WriteInReadOnly));
    assert_eq!(get(database, b"a").await, None);
}

pub(crate) async fn a_transaction_kept_past_its_closure_is_an_error(database: &Database) {
    let kept = std::sync::Mutex::new(Vec::new());
    let result = database
        .run("kept", async |mut tx| {
            tx.set(b"a", b"1");
            kept.lock().unwrap().push(tx);
            Ok::<_, StoreError>(())
        })
        .await;
    assert_eq!(result, Err(StoreError::TransactionEscaped));
    assert_eq!(get(database, b"a").await, None);
}

pub(crate) async fn after_shutdown_clones_answer_closed(database: &Database) {
    let clone = database.clone();
    database.clone().shutdown().await;
    let result = clone
        .run("late", async |mut tx| {
            tx.set(b"a", b"1");
            Ok::<_, StoreError>(())
        })
        .await;
    assert_eq!(result, Err(StoreError::Closed));
}
