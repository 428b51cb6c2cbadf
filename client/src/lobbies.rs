//! Lobbies: make, list, show, find, join. Leaving one is withdrawing the ticket.

use std::collections::BTreeMap;

use muster_protocol::api::{FindLobbyRequest, JoinRequest, Lobby, LobbyRequest, Page, Ticket};
use reqwest::Method;

use crate::{Client, ClientError};

/// Which public lobbies to list; what is left out does not filter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LobbyFilter {
    /// Of this fleet.
    pub fleet: Option<String>,
    /// In this region of it.
    pub region: Option<String>,
    /// With all of these tags.
    pub tags: BTreeMap<String, String>,
    /// Only those that take players.
    pub open: bool,
    /// From after this place on: the previous page's `next`.
    pub after: Option<String>,
}

impl LobbyFilter {
    fn query(&self) -> Vec<(String, String)> {
        let named = [("fleet", &self.fleet), ("region", &self.region), ("after", &self.after)];
        let named = named.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value.clone()?)));
        let tags = self.tags.iter().map(|(name, value)| (format!("tag.{name}"), value.clone()));
        let open = self.open.then(|| ("open".to_owned(), "true".to_owned()));
        named.chain(tags).chain(open).collect()
    }
}

impl Client {
    /// Makes a lobby: the ticket of who makes it.
    pub async fn create_lobby(&self, request: &LobbyRequest) -> Result<Ticket, ClientError> {
        self.call(Method::POST, &["lobbies"]).json(request).read().await
    }

    /// Public lobbies of the namespace.
    pub async fn lobbies(&self, filter: &LobbyFilter) -> Result<Page<Lobby>, ClientError> {
        self.call(Method::GET, &["lobbies"]).query(&filter.query()).read().await
    }

    /// A lobby, by its code or id.
    pub async fn lobby(&self, lobby: &str) -> Result<Lobby, ClientError> {
        self.call(Method::GET, &["lobbies", lobby]).read().await
    }

    /// Joins the fullest public lobby that fits.
    pub async fn find_lobby(&self, request: &FindLobbyRequest) -> Result<Ticket, ClientError> {
        self.call(Method::POST, &["lobbies", "find"]).json(request).read().await
    }

    /// Joins a lobby, by its code or id.
    pub async fn join_lobby(&self, lobby: &str, request: &JoinRequest) -> Result<Ticket, ClientError> {
        self.call(Method::POST, &["lobbies", lobby, "join"]).json(request).read().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_out_does_not_filter() {
        assert_eq!(LobbyFilter::default().query(), []);
        let filter = LobbyFilter {
            fleet: Some("arena".into()),
            tags: [("map".to_owned(), "dust".to_owned())].into(),
            open: true,
            ..LobbyFilter::default()
        };
        let query = filter.query();
        let texts: Vec<_> = query.iter().map(|(name, value)| format!("{name}={value}")).collect();
        assert_eq!(texts, ["fleet=arena", "tag.map=dust", "open=true"]);
    }
}
