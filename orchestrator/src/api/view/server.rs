//! A server, as the API tells it.

use std::collections::BTreeMap;

use muster_protocol::api;
use muster_protocol::id::SeatId;

use crate::records::{Id, MatchRecord, Port, ServerRecord};

/// A server, with why it is where it is, the match that claimed it and the flows that its edges report.
pub(crate) fn server(
    record: ServerRecord,
    explanation: String,
    claimed_by: Option<&MatchRecord>,
    flows: u32,
) -> api::Server {
    let seats = claimed_by.map(|claimed| seats(claimed, &record.connected_seats)).unwrap_or_default();
    let mut entered_ms = BTreeMap::new();
    for entry in &record.entered {
        // A state entered twice counts from the first time.
        entered_ms.entry(entry.state().into()).or_insert(entry.at_ms);
    }
    api::Server {
        id: record.typed_id(),
        state: record.state().into(),
        node: record.node_id(),
        match_id: record.match_id(),
        entered_ms,
        container_started_ms: Some(record.container_started_ms).filter(|at| *at > 0),
        ports: record.ports.iter().map(port).collect(),
        seats,
        flows,
        exit: record.exit.map(|exit| api::ServerExit {
            code: exit.code,
            out_of_memory: exit.out_of_memory,
            log_tail: exit.log_tail,
        }),
        namespace: record.namespace,
        fleet: record.fleet,
        region: record.region,
        build_digest: record.build_digest,
        explanation,
        reason: record.reason,
    }
}

fn seats(claimed_by: &MatchRecord, connected: &[Id]) -> Vec<api::Seat> {
    let seat = |seat: &crate::records::MatchSeat| {
        let id: SeatId = seat.typed_id();
        api::Seat {
            id,
            player: seat.player.clone(),
            connected: connected.contains(&Id::from(id)),
            dropped_at_ms: Some(seat.dropped_at_ms).filter(|at| *at > 0),
            kept_until_ms: Some(seat.kept_until_ms).filter(|at| *at > 0),
        }
    };
    claimed_by.seats.iter().map(seat).collect()
}

fn port(port: &Port) -> api::ServerPort {
    api::ServerPort {
        name: port.name.clone(),
        protocol: port.protocol().into(),
        container_port: port.container_port as u16,
        edge_port: port.edge_port as u16,
        token: port.token_mode().into(),
        tls: port.tls,
    }
}

#[cfg(test)]
mod tests {
    use muster_protocol::id::ServerId;

    use super::*;
    use crate::records::{MatchSeat, ServerState, StateEntry};

    #[test]
    fn a_server_says_who_is_connected_and_since_when_it_is_what() {
        let (here, away) = (SeatId::new(), SeatId::new());
        let claimed = MatchRecord {
            seats: vec![
                MatchSeat { id: Some(here.into()), player: "ann".into(), ..MatchSeat::default() },
                MatchSeat { id: Some(away.into()), player: "bob".into(), ..MatchSeat::default() },
            ],
            ..MatchRecord::default()
        };
        let entry = |state: ServerState, at_ms| StateEntry { state: state.into(), at_ms };
        let record = ServerRecord {
            id: Some(ServerId::new().into()),
            state: ServerState::Allocated.into(),
            entered: vec![
                entry(ServerState::Pending, 1),
                entry(ServerState::Ready, 5),
                entry(ServerState::Ready, 9),
            ],
            connected_seats: vec![here.into()],
            ..ServerRecord::default()
        };
        let server = server(record, String::new(), Some(&claimed), 3);
        assert_eq!(server.state, api::ServerState::Allocated);
        assert_eq!(server.entered_ms[&api::ServerState::Ready], 5);
        assert_eq!(server.seats.iter().map(|seat| seat.connected).collect::<Vec<_>>(), [true, false]);
        assert_eq!((server.flows, server.node, server.container_started_ms), (3, None, None));
    }
}
