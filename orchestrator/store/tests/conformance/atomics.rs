//! Atomic operations, compared with what FoundationDB documents of them.

use muster_store::{AtomicOp, Database, StoreError, Transaction};

use crate::support::{get, set, write};

pub(crate) async fn addition_reads_back_inside_and_after(database: &Database) {
    let added = database.run("add", async |mut tx: Transaction| {
        tx.atomic_add(b"n", 5);
        tx.atomic_add(b"n", -2);
        assert_eq!(tx.get(b"n").await?.as_deref(), Some(&3i64.to_le_bytes()[..]));
        tx.set(b"m", &1i64.to_le_bytes());
        tx.atomic_add(b"m", 1);
        Ok::<_, StoreError>(())
    });
    added.await.unwrap();
    assert_eq!(get(database, b"n").await, Some(3i64.to_le_bytes().to_vec()));
    assert_eq!(get(database, b"m").await, Some(2i64.to_le_bytes().to_vec()));
}

type Case = (AtomicOp, Option<&'static [u8]>, &'static [u8], Option<&'static [u8]>);

pub(crate) async fn each_operation_is_foundationdbs(database: &Database) {
    use AtomicOp::{Add, ByteMax, ByteMin, CompareAndClear, Max, Min};
    let cases: [Case; 21] = [
        (Add, None, &[1, 2], Some(&[1, 2])),
        (Add, Some(&[255, 0]), &[1, 0], Some(&[0, 1])),
        (Add, Some(&[255]), &[1, 0], Some(&[0, 1])),
        (Add, Some(&[255, 9, 9]), &[1, 0], Some(&[0, 10])),
        (Add, Some(&[255, 255]), &[1, 0], Some(&[0, 0])),
        (Max, None, &[7], Some(&[7])),
        (Max, Some(&[0, 2]), &[255, 1], Some(&[0, 2])),
        (Max, Some(&[1]), &[0, 1], Some(&[0, 1])),
        (Max, Some(&[9, 9]), &[3], Some(&[9])),
        (Min, None, &[7], Some(&[7])),
        (Min, Some(&[0, 2]), &[255, 1], Some(&[255, 1])),
        (Min, Some(&[1]), &[0, 1], Some(&[1, 0])),
        (Min, Some(&[9, 9]), &[30], Some(&[9])),
        (ByteMax, None, b"a", Some(b"a")),
        (ByteMax, Some(b"ab"), b"b", Some(b"b")),
        (ByteMax, Some(b"b"), b"ab", Some(b"b")),
        (ByteMin, None, b"a", Some(b"a")),
        (ByteMin, Some(b"ab"), b"b", Some(b"ab")),
        (CompareAndClear, None, b"a", None),
        (CompareAndClear, Some(b"a"), b"a", None),
        (CompareAndClear, Some(b"a"), b"b", Some(b"a")),
    ];
    for (op, base, operand, expected) in cases {
        write(database, |tx| {
            tx.clear(b"k");
            if let Some(base) = base {
                tx.set(b"k", base);
            }
        })
        .await;
        // Inside the transaction, over what the database holds and over an own write; and after it.
        let inside = database.run("inside", async |mut tx: Transaction| {
            tx.atomic(op, b"k", operand);
            if let Some(base) = base {
                tx.set(b"own", base);
            } else {
                tx.clear(b"own");
            }
            tx.atomic(op, b"own", operand);
            let found = (tx.get(b"k").await?, tx.get(b"own").await?);
            Ok::<_, StoreError>(found)
        });
        let (held, own) = inside.await.unwrap();
        let told = format!("{op:?} of {base:?} and {operand:?}");
        assert_eq!(held.as_deref(), expected, "{told}, read inside");
        assert_eq!(own.as_deref(), expected, "{told}, over an own write");
        assert_eq!(get(database, b"k").await.as_deref(), expected, "{told}");
    }
}

pub(crate) async fn operations_of_many_transactions_all_count(database: &Database) {
    const TASKS: u8 = 16;
    const EACH: u8 = 10;
    set(database, b"low", &[u8::MAX]).await;
    let mut tasks = tokio::task::JoinSet::new();
    for task in 0..TASKS {
        let database = database.clone();
        tasks.spawn(async move {
            for round in 0..EACH {
                write(&database, |tx| {
                    tx.atomic_add(b"sum", 1);
                    tx.atomic(AtomicOp::Max, b"high", &[task * EACH + round]);
                    tx.atomic(AtomicOp::Min, b"low", &[task * EACH + round]);
                })
                .await;
            }
        });
    }
    tasks.join_all().await;
    let sum = i64::from(TASKS) * i64::from(EACH);
    assert_eq!(get(database, b"sum").await, Some(sum.to_le_bytes().to_vec()));
    assert_eq!(get(database, b"high").await, Some(vec![TASKS * EACH - 1]));
    assert_eq!(get(database, b"low").await, Some(vec![0]));
}
