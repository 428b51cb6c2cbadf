//! Asking a workflow and waiting for its answer, which leaves only with the commit that gives it.
//!
//! The question is a signal; the answer a row that the asker watches. An asker that goes away leaves a row,
//! which is cleared with others of its time.

use std::time::Duration;

use bytes::Bytes;
use muster_store::{Database, StoreError};
use prost::Message;

use crate::address::Address;
use crate::clock::Clock;
use crate::error::{AskError, SendError};
use crate::keyspace;
use crate::kind::Kind;
use crate::members::reply_bucket;
use crate::records::{Envelope, ReplyRecord};
use crate::send;

/// Asks the workflow at `address` and waits for at most `timeout`.
///
/// # Errors
/// [`AskError`]. After [`AskError::TimedOut`] the question may still be taken.
pub async fn ask<K: Kind, A: Message + Default>(
    db: &Database,
    clock: &dyn Clock,
    address: &Address,
    question: &K::Signal,
    timeout: Duration,
) -> Result<A, AskError> {
    let payload = send::payload("signal", question)?;
    let key = keyspace::reply(reply_bucket(clock.now_ms()), rand::random());
    let waiting = async {
        let mut watch = db
            .run("engine_ask", async |mut tx| {
                let reply_key = Bytes::copy_from_slice(&key);
                let envelope = Envelope { reply_key, ..send::signal_of(payload.clone()) };
                send::try_send(&mut tx, address, envelope).await?;
                Ok::<_, SendError>(tx.watch(&key))
            })
            .await?;
        loop {
            let changed = watch.changed().await;
            let answer = db
                .run("engine_fetch_reply", async |mut tx| {
                    let row = tx.get(&key).await?;
                    if row.is_some() {
                        tx.clear(&key);
                    }
                    Ok::<_, StoreError>(row)
                })
                .await?;
            match answer {
                Some(row) => return Ok::<_, AskError>(row),
                None => changed?,
            }
            watch = db.watch(&key).await?;
        }
    };
    let row = match tokio::time::timeout(timeout, waiting).await {
        Ok(answered) => answered?,
        Err(_) => return Err(AskError::TimedOut(address.clone())),
    };
    let not_an_answer = |error: prost::DecodeError| AskError::NotAnAnswer {
        address: address.clone(),
        reason: error.to_string(),
    };
    let reply = ReplyRecord::decode(row).map_err(not_an_answer)?;
    if !reply.refused.is_empty() {
        return Err(AskError::Refused { address: address.clone(), reason: reply.refused });
    }
    A::decode(reply.payload).map_err(not_an_answer)
}
