//! Listing public lobbies, page by page.

use std::collections::BTreeMap;

use muster_store::{Bytes, Database, Transaction};

use super::find::has_tags;
use crate::keyspace::{self, KeyRange};
use crate::records::MatchRecord;
use crate::state::lobbies::public;
use crate::state::{StateError, lobbies, matches};

/// Most lobbies looked at for one page; filters that pass few give a short page with a place to go on from.
const MAX_LOOKED_AT: usize = 2_000;
/// Lobbies read from the index at a time.
const BATCH: usize = 200;

/// Which lobbies are listed; what is left out does not filter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Search {
    /// Of this fleet.
    pub fleet: Option<String>,
    /// In this region of it.
    pub region: Option<String>,
    /// With all of these tags.
    pub tags: BTreeMap<String, String>,
    /// Only those that take players.
    pub open: bool,
}

/// A page.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Listed {
    /// Their matches' records.
    pub lobbies: Vec<MatchRecord>,
    /// Where the next page begins; `None`: this was the last.
    pub next: Option<Bytes>,
}

/// At most `limit` public lobbies, those after the place `after`: by fleet and region, and there those that take fewest
/// players first. A lobby that fills up while pages are read moves, and may be missed or be there twice.
///
/// # Errors
/// The store's.
pub async fn list(
    db: &Database,
    namespace: &str,
    search: &Search,
    after: Option<&[u8]>,
    limit: usize,
) -> Result<Listed, StateError> {
    let range = keyspace::lobbies_public(namespace, search.fleet.as_deref(), search.region.as_deref());
    let range = match after {
        Some(key) => range.after(key),
        None => range,
    };
    db.read("list_lobbies", async |mut tx| page(&mut tx, &range, search, limit).await).await
}

async fn page(
    tx: &mut Transaction,
    range: &KeyRange,
    search: &Search,
    limit: usize,
) -> Result<Listed, StateError> {
    let mut listed = Listed::default();
    let mut rest = range.clone();
    for _ in 0..MAX_LOOKED_AT / BATCH {
        let rows = public(tx, &rest, BATCH).await?;
        let is_end = rows.len() < BATCH;
        for row in rows {
            if listed.lobbies.len() == limit {
                return Ok(listed);
            }
            if has_tags(&row.tags, &search.tags)
                && (row.takes > 0 || !search.open)
                && let Some(record) = matches::peek(tx, row.id).await?
                && lobbies::under_way(&record).is_some()
            {
                listed.lobbies.push(record);
            }
            rest = rest.after(&row.key);
            listed.next = Some(row.key);
        }
        if is_end {
            listed.next = None;
            return Ok(listed);
        }
    }
    Ok(listed)
}
