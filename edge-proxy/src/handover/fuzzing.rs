//! Fuzz target of what one edge says to the next.

use bytes::BytesMut;
use muster_protocol::framing::{decode, take_frame};
use muster_protocol::handover::{FromBefore, FromNext, from_before::Body};

use super::{HandedClaim, HandedFlow, Players};

/// Frame after frame, as either end hears them. Answers with the players in them.
pub(crate) fn players(bytes: &[u8]) -> Players {
    let (mut read, mut players) = (BytesMut::from(bytes), Players::default());
    while let Ok(Some(payload)) = take_frame(&mut read) {
        let _ = decode::<FromNext>(payload.clone());
        match decode::<FromBefore>(payload).ok().and_then(|said| said.body) {
            Some(Body::Claim(claim)) => players.claims.extend(HandedClaim::from_frame(&claim)),
            Some(Body::Flow(flow)) => players.flows.extend(HandedFlow::from_frame(&flow)),
            _ => {}
        }
    }
    for claim in &players.claims {
        assert_eq!(HandedClaim::from_frame(&claim.to_frame()), Some(*claim));
    }
    for flow in &players.flows {
        assert_eq!(HandedFlow::from_frame(&flow.to_frame()), Some(*flow));
    }
    players
}
