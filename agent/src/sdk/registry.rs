//! Which SDK token is whose, and what each server is shown of itself.

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use muster_protocol::id::ServerId;
use sha2::{Digest, Sha256};
use tokio::sync::watch;

use crate::reconcile::ServerView;

/// A digest of a token: looked up in its place, so that the time a look-up takes says nothing of tokens.
type TokenKey = [u8; 32];

/// Tokens and views of this node's servers.
#[derive(Default)]
pub(crate) struct Registry {
    table: RwLock<Table>,
}

#[derive(Default)]
struct Table {
    by_token: HashMap<TokenKey, ServerId>,
    servers: HashMap<ServerId, Entry>,
}

struct Entry {
    token: Option<TokenKey>,
    view: watch::Sender<ServerView>,
}

impl Registry {
    /// From now on `token` speaks for `server`; an earlier one does not any more.
    pub(crate) fn admit(&self, server: ServerId, token: &str) {
        let key: TokenKey = Sha256::digest(token).into();
        let mut table = self.write();
        let entry = table.servers.entry(server).or_insert_with(Entry::new);
        if let Some(old) = entry.token.replace(key) {
            table.by_token.remove(&old);
        }
        table.by_token.insert(key, server);
    }

    /// The same for a token found in a running container: one announced by a launch is newer.
    pub(crate) fn admit_found(&self, server: ServerId, token: &str) {
        if self.read().servers.get(&server).is_none_or(|entry| entry.token.is_none()) {
            self.admit(server, token);
        }
    }

    /// What `server` is shown of itself from now on.
    pub(crate) fn show(&self, server: ServerId, view: ServerView) {
        self.write().servers.entry(server).or_insert_with(Entry::new).view.send_replace(view);
    }

    /// The server is over; its token speaks for nobody.
    pub(crate) fn forget(&self, server: &ServerId) {
        let mut table = self.write();
        if let Some(token) = table.servers.remove(server).and_then(|entry| entry.token) {
            table.by_token.remove(&token);
        }
    }

    /// Who `token` speaks for.
    pub(super) fn whose(&self, token: &str) -> Option<(ServerId, watch::Receiver<ServerView>)> {
        let key: TokenKey = Sha256::digest(token).into();
        let table = self.read();
        let server = *table.by_token.get(&key)?;
        Some((server, table.servers.get(&server)?.view.subscribe()))
    }

    // A panic elsewhere cannot leave the table half changed in a way that matters: at worst a token
    // without a server, which speaks for nobody.
    fn read(&self) -> RwLockReadGuard<'_, Table> {
        self.table.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Table> {
        self.table.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entry {
    fn new() -> Self {
        Self { token: None, view: watch::Sender::new(ServerView::default()) }
    }
}
