//! The crate's parsers as the fuzz targets have them: each takes any bytes and panics if a promise is broken.
//!
//! For `fuzz/` alone; nothing that runs calls it.

use bytes::BytesMut;
use muster_protocol::edge as wire;
use prost::Message;

use crate::limits::Limits;
use crate::routes::RouteTable;
use crate::saved::Saved;
use crate::trust::Trust;

/// A story of clients, agents and time, against the flows of one worker.
pub fn flows(story: &[u8]) {
    crate::udp::fuzzing::flows(story);
}

/// The file of kept flows.
pub fn kept_flows(file: &[u8]) {
    crate::udp::fuzzing::kept_flows(file);
}

/// What an edge that is replaced says, and the players in it at the next one.
pub fn handover(frames: &[u8]) {
    crate::udp::fuzzing::handed(crate::handover::fuzzing::players(frames));
}

/// A connection's first bytes on a TCP port that asks for proof.
pub fn tcp_preface(bytes: &[u8]) {
    crate::stream::fuzzing::tcp_preface(bytes);
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

/// The file of what an orchestrator said last.
pub fn saved(file: &[u8]) {
    let Some(saved) = Saved::decode(BytesMut::from(file)) else { return };
    let again = saved.encode().expect("it came from fewer bytes than frames may have");
    assert_eq!(Saved::decode(again).as_ref(), Some(&saved));
    if let Err(error) = Trust::from_welcome(&saved.welcome) {
        assert!(!error.to_string().is_empty());
    }
    table(&saved.routes);
}

/// A table of routes as an orchestrator tells it, after another one.
pub fn routes(bytes: &[u8]) {
    if let Ok(told) = wire::RouteTable::decode(bytes) {
        table(&told);
    }
}

fn table(told: &wire::RouteTable) {
    let ports = 20_000..=20_999;
    let table = RouteTable::default().apply(told, &ports);
    assert!(table.routes().keys().all(|key| ports.contains(&key.port)));
    let kept = RouteTable::default().apply(&table.to_wire(), &ports);
    assert_eq!(kept.routes(), table.routes(), "what is kept on disk is what was told");
    let again = table.apply(&wire::RouteTable { full: true, ..told.clone() }, &ports);
    assert!(again.rejected().all(|failure| !failure.code.is_empty() && !failure.detail.is_empty()));
}
