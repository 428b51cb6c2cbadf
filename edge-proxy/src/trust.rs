//! What the edge takes on trust from the orchestrator: whose tokens count, and the key of flow ids.
//!
//! Immutable and replaced whole; readers keep the one they loaded. It checks tokens, and knows nothing
//! of how they arrive.

use muster_protocol::edge::EdgeWelcome;
use muster_protocol::flow::FlowKey;
use muster_protocol::id::SeatId;
use muster_protocol::preface::Refusal;
use muster_protocol::token::TokenVerifier;

use crate::routes::Route;

/// The keys of a welcome.
#[derive(Clone, Default)]
pub(crate) struct Trust {
    verifier: TokenVerifier,
    /// The region's key for flow ids.
    pub(crate) flow_key: FlowKey,
}

/// A welcome whose keys are none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TrustError {
    #[error("a session-token key is no Ed25519 key")]
    TokenKey,
    #[error("the flow key is not 16 bytes long")]
    FlowKey,
}

impl Trust {
    /// The keys that `welcome` names.
    pub(crate) fn from_welcome(welcome: &EdgeWelcome) -> Result<Self, TrustError> {
        let keys = welcome.token_keys.iter().map(|key| (key.key_id.as_str(), &key.public_key[..]));
        Ok(Self {
            verifier: TokenVerifier::new(keys).map_err(|_| TrustError::TokenKey)?,
            flow_key: FlowKey::try_from(&welcome.flow_key[..]).map_err(|_| TrustError::FlowKey)?,
        })
    }

    /// The seat that `token` opens on `route` at `now_ms` (Unix milliseconds).
    pub(crate) fn check(&self, route: &Route, token: &str, now_ms: u64) -> Result<SeatId, Refusal> {
        let claims = self.verifier.verify(token, now_ms)?;
        if claims.server == route.server && claims.port == route.port_name {
            Ok(claims.seat)
        } else {
            Err(Refusal::WrongPort)
        }
    }
}
