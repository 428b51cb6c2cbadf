//! Where a player connects: one endpoint per port and edge, with the session tokens minted for it.
//!
//! Tokens are made whenever they are read, so that none lies in the store and a client that asks again
//! gets one with its whole life ahead. Pure: the edges, the signer and the time are passed in.

use muster_protocol::api::{Endpoint, PortProtocol, TokenMode};
use muster_protocol::id::{SeatId, id_bytes};
use muster_protocol::token::{SessionClaims, TokenError, TokenSigner};
use sha2::{Digest as _, Sha256};

use crate::records::{EdgeRecord, Port, ServerRecord};

/// A seat, and what its session tokens say.
#[derive(Clone, Copy)]
pub(crate) struct SeatAt<'a> {
    /// Server it is on.
    pub(crate) server: &'a ServerRecord,
    /// The seat.
    pub(crate) seat: SeatId,
    /// Who has it.
    pub(crate) player: &'a str,
}

/// Why no token could be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a session token cannot be signed: {0}")]
pub(crate) struct EndpointError(#[from] TokenError);

/// The endpoints of a seat: by port in the server's order, and within a port the preferred edge first.
///
/// `edges` are those of the server's region. Those that serve the server's ports and are connected come
/// before the others, and among equals a hash of the seat decides, so that players spread over the edges
/// and each keeps theirs. Tokens are valid from `now_ms` for `ttl_ms`.
pub(crate) fn endpoints(
    at: SeatAt<'_>,
    edges: &[EdgeRecord],
    signer: &TokenSigner,
    now_ms: u64,
    ttl_ms: u64,
) -> Result<Vec<Endpoint>, EndpointError> {
    let edges = in_order_of_preference(at, edges);
    let expires_at_ms = now_ms.saturating_add(ttl_ms);
    let mut endpoints = Vec::with_capacity(at.server.ports.len() * edges.len());
    for port in &at.server.ports {
        let token = match port.token_mode().into() {
            TokenMode::Open => None,
            TokenMode::Preface | TokenMode::Claim => {
                Some(signer.sign(&claims(at, port, now_ms, expires_at_ms))?)
            }
        };
        endpoints.extend(edges.iter().map(|edge| endpoint(edge, port, token.as_deref(), expires_at_ms)));
    }
    Ok(endpoints)
}

fn claims(at: SeatAt<'_>, port: &Port, now_ms: u64, expires_at_ms: u64) -> SessionClaims {
    SessionClaims {
        namespace: at.server.namespace.clone(),
        server: at.server.typed_id(),
        port: port.name.clone(),
        seat: at.seat,
        player: at.player.to_owned(),
        issued_at_ms: now_ms,
        expires_at_ms,
    }
}

fn endpoint(edge: &EdgeRecord, port: &Port, token: Option<&str>, expires_at_ms: u64) -> Endpoint {
    let protocol: PortProtocol = port.protocol().into();
    let number = port.edge_port as u16;
    Endpoint {
        port_name: port.name.clone(),
        protocol,
        host: edge.public_host.clone(),
        port: number,
        url: (protocol == PortProtocol::Ws).then(|| url(&edge.public_host, number, port.tls, token)),
        tls: port.tls,
        token_mode: port.token_mode().into(),
        token: token.map(str::to_owned),
        token_expires_at_ms: token.map(|_| expires_at_ms),
    }
}

/// A session token is letters, digits, `-`, `_` and `.`, so it needs no escaping.
fn url(host: &str, port: u16, tls: bool, token: Option<&str>) -> String {
    let scheme = if tls { "wss" } else { "ws" };
    let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
    let query = token.map(|token| format!("?token={token}")).unwrap_or_default();
    format!("{scheme}://{host}:{port}/{query}")
}

fn in_order_of_preference<'a>(at: SeatAt<'_>, edges: &'a [EdgeRecord]) -> Vec<&'a EdgeRecord> {
    let mut ordered: Vec<&EdgeRecord> = edges.iter().collect();
    ordered.sort_by_cached_key(|edge| {
        let serves = edge.connected && edge.id.is_some_and(|id| at.server.routed_edges.contains(&id));
        (!serves, !edge.connected, spread(at.seat, edge))
    });
    ordered
}

/// Rendezvous hashing: an edge that comes or goes moves only the players it gains or loses.
fn spread(seat: SeatId, edge: &EdgeRecord) -> [u8; 8] {
    let mut hasher = Sha256::new();
    hasher.update(id_bytes(&seat));
    hasher.update(id_bytes(&edge.typed_id()));
    let hash: [u8; 32] = hasher.finalize().into();
    let mut first = [0; 8];
    first.copy_from_slice(&hash[..8]);
    first
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use muster_protocol::id::{EdgeId, ServerId};
    use muster_protocol::token::TokenVerifier;
    use pasetors::keys::{AsymmetricKeyPair, Generate};
    use pasetors::version4::V4;

    use super::*;
    use crate::records::{PortProtocol as Protocol, TokenMode as Mode};

    fn signer() -> TokenSigner {
        let pair = AsymmetricKeyPair::<V4>::generate().expect("randomness");
        TokenSigner::new("k1", pair.secret.as_bytes()).expect("a key")
    }

    fn edge(host: &str, connected: bool) -> EdgeRecord {
        EdgeRecord {
            id: Some(EdgeId::new().into()),
            public_host: host.to_owned(),
            connected,
            ..EdgeRecord::default()
        }
    }

    fn port(name: &str, protocol: Protocol, mode: Mode, tls: bool, edge_port: u32) -> Port {
        Port {
            name: name.to_owned(),
            protocol: protocol.into(),
            container_port: 7000,
            token_mode: mode.into(),
            tls,
            edge_port,
            ..Port::default()
        }
    }

    fn server(edges: &[EdgeRecord]) -> ServerRecord {
        ServerRecord {
            id: Some(ServerId::new().into()),
            namespace: "arena/prod".into(),
            region: "local".into(),
            ports: vec![
                port("game", Protocol::Udp, Mode::Preface, false, 20_000),
                port("web", Protocol::Ws, Mode::Preface, true, 20_001),
                port("free", Protocol::Tcp, Mode::Open, false, 20_002),
                port("voice", Protocol::Udp, Mode::Claim, false, 20_003),
            ],
            routed_edges: edges.iter().filter_map(|edge| edge.id).collect(),
            ..ServerRecord::default()
        }
    }

    fn of(server: &ServerRecord, seat: SeatId, edges: &[EdgeRecord]) -> Vec<Endpoint> {
        endpoints(SeatAt { server, seat, player: "ann" }, edges, &signer(), 60_000, 600_000).expect("signed")
    }

    #[test]
    fn every_port_has_every_edge() {
        let edges = [edge("a.example", true), edge("2001:db8::1", true)];
        let endpoints = of(&server(&edges), SeatId::new(), &edges);
        let names: Vec<&str> = endpoints.iter().map(|endpoint| endpoint.port_name.as_str()).collect();
        assert_eq!(names, ["game", "game", "web", "web", "free", "free", "voice", "voice"]);
        assert!(endpoints[4].token.is_none() && endpoints[4].token_expires_at_ms.is_none());
        assert!(endpoints[0].url.is_none() && endpoints[0].token.is_some());
        let urls: Vec<&str> = endpoints.iter().filter_map(|endpoint| endpoint.url.as_deref()).collect();
        assert!(
            urls.iter().any(|url| url.starts_with("wss://a.example:20001/?token=v4.public.")),
            "{urls:?}"
        );
        assert!(urls.iter().any(|url| url.starts_with("wss://[2001:db8::1]:20001/?token=")), "{urls:?}");
    }

    #[test]
    fn a_token_opens_its_port_and_seat() {
        let edges = [edge("a.example", true)];
        let server = server(&edges);
        let seat = SeatId::new();
        let signer = signer();
        let endpoints =
            endpoints(SeatAt { server: &server, seat, player: "ann" }, &edges, &signer, 60_000, 600_000)
                .expect("signed");
        let verifier = TokenVerifier::new([("k1", signer.public_key().as_slice())]).expect("a key");
        for endpoint in [&endpoints[0], &endpoints[1], &endpoints[3]] {
            let token = endpoint.token.as_deref().expect("a port that asks for proof");
            let claims = verifier.verify(token, 60_000).expect("valid");
            assert_eq!(claims.port, endpoint.port_name);
            assert_eq!((claims.seat, claims.server), (seat, server.typed_id()));
            assert_eq!(claims.player, "ann");
            assert_eq!(Some(claims.expires_at_ms), endpoint.token_expires_at_ms);
        }
    }

    #[test]
    fn players_spread_and_each_keeps_their_edge() {
        let edges: Vec<EdgeRecord> = (0..3).map(|n| edge(&format!("e{n}"), true)).collect();
        let server = server(&edges);
        let mut counts: BTreeMap<String, u32> = BTreeMap::new();
        for _ in 0..300 {
            let seat = SeatId::new();
            let first = of(&server, seat, &edges)[0].host.clone();
            let mut reversed = edges.clone();
            reversed.reverse();
            assert_eq!(of(&server, seat, &reversed)[0].host, first);
            // Another edge's going does not move the player.
            let without: Vec<EdgeRecord> = reversed
                .into_iter()
                .filter(|edge| edge.public_host == first || edge.public_host == "e0")
                .collect();
            assert_eq!(of(&server, seat, &without)[0].host, first);
            *counts.entry(first).or_default() += 1;
        }
        // Of 300 fair draws among three, under 50 for one has a probability below 1e-9.
        assert!(counts.len() == 3 && counts.values().all(|count| *count >= 50), "{counts:?}");
    }

    #[test]
    fn an_edge_that_serves_comes_before_one_that_does_not() {
        let (good, late, gone) = (edge("good", true), edge("late", true), edge("gone", false));
        let server = server(&[good.clone(), gone.clone()]);
        for _ in 0..20 {
            let edges = [gone.clone(), late.clone(), good.clone()];
            let hosts: Vec<String> =
                of(&server, SeatId::new(), &edges)[..3].iter().map(|at| at.host.clone()).collect();
            assert_eq!(hosts, ["good", "late", "gone"]);
        }
    }

    #[test]
    fn without_an_edge_there_is_nowhere_to_connect() {
        assert!(of(&server(&[]), SeatId::new(), &[]).is_empty());
    }
}
