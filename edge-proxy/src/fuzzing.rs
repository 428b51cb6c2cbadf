//! The crate's parsers as the fuzz targets have them: each takes any bytes and panics if a promise is broken.
//!
//! For `fuzz/` alone; nothing that runs calls it.

use muster_protocol::edge as wire;
use prost::Message;

use crate::limits::Limits;
use crate::routes::RouteTable;

/// A story of clients, agents and time, against the flows of one worker.
pub fn flows(story: &[u8]) {
    crate::udp::fuzzing::flows(story);
}

/// A slot of the file of kept flows.
pub fn kept_flow(slot: &[u8]) {
    crate::udp::fuzzing::kept_flow(slot);
}

/// The head of a WebSocket's request.
pub fn http_head(bytes: &[u8]) {
    crate::stream::fuzzing::http_head(bytes);
}

/// The frames of a WebSocket's client.
pub fn websocket_frames(bytes: &[u8]) {
    crate::stream::fuzzing::websocket_frames(bytes);
}

/// Limits as an orchestrator tells them.
pub fn limits(bytes: &[u8]) {
    let Ok(told) = wire::EdgeLimits::decode(bytes) else { return };
    match Limits::from_wire(&told) {
        Ok(limits) => assert_eq!(Limits::from_wire(&told), Ok(limits)),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

/// A table of routes as an orchestrator tells it, after another one.
pub fn routes(bytes: &[u8]) {
    let Ok(told) = wire::RouteTable::decode(bytes) else { return };
    let ports = 20_000..=20_999;
    let table = RouteTable::default().apply(&told, &ports);
    assert!(table.routes().keys().all(|key| ports.contains(&key.port)));
    let kept = RouteTable::default().apply(&table.to_wire(), &ports);
    assert_eq!(kept.routes(), table.routes(), "what is kept on disk is what was told");
    let again = table.apply(&wire::RouteTable { full: true, ..told }, &ports);
    assert!(again.rejected().all(|failure| !failure.code.is_empty() && !failure.detail.is_empty()));
}
