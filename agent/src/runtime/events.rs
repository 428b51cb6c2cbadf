//! What Docker says happens to this node's containers, as it happens.

use std::collections::HashMap;

use bollard::query_parameters::EventsOptionsBuilder;
use futures_util::{Stream, StreamExt};
use muster_protocol::id::ServerId;

use super::container::{LABEL_NODE, LABEL_SERVER};
use super::{Engine, EngineError};

/// A container's process has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Died {
    /// The server.
    pub(crate) server: ServerId,
    /// Docker's id.
    pub(crate) container_id: String,
}

impl Engine {
    /// The ends of this node's containers, from `since_s` (Unix seconds) on. Ends when the engine does.
    pub(crate) fn events(&self, since_s: u64) -> impl Stream<Item = Result<Died, EngineError>> + use<> {
        let filters = HashMap::from([
            ("type".to_owned(), vec!["container".to_owned()]),
            ("event".to_owned(), vec!["die".to_owned()]),
            ("label".to_owned(), vec![format!("{LABEL_NODE}={}", self.node)]),
        ]);
        let options = EventsOptionsBuilder::default().since(&since_s.to_string()).filters(&filters).build();
        self.docker.events(Some(options)).filter_map(|message| async move {
            let message = match message {
                Ok(message) => message,
                Err(error) => return Some(Err(error.into())),
            };
            let actor = message.actor?;
            let container_id = actor.id?;
            let server = actor.attributes?.get(LABEL_SERVER)?.parse().ok()?;
            Some(Ok(Died { server, container_id }))
        })
    }
}
