//! Two ends over real UDP on loopback: who is let in, what framing and settings do.

mod authority;
mod counts;
mod turns;

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use muster_protocol::join::{JoinGranted, JoinRefused, JoinReply, JoinRequest, join_reply::Outcome};
use muster_transport::{
    ClientCertificate, FrameReader, FrameWriter, Identity, JoinError, JoinToken, PeerIdentity, Profile, Role,
    alpn, authority_fingerprint, bind, client_config, dial, join, peer_identity, server_config, server_name,
};

use crate::authority::Authority;

const TIMEOUT: Duration = Duration::from_secs(5);

fn listen(
    identity: &Identity,
    clients: ClientCertificate,
    alpns: &[&[u8]],
    profile: Profile,
) -> (quinn::Endpoint, Vec<String>) {
    let config = server_config(identity, alpns, clients, profile).expect("a configuration");
    let endpoint = bind("127.0.0.1:0".parse().expect("an address"), Some(config)).expect("a socket");
    let address = endpoint.local_addr().expect("bound").to_string();
    (endpoint, vec![address])
}

fn dialler() -> quinn::Endpoint {
    bind("127.0.0.1:0".parse().expect("an address"), None).expect("a socket")
}

/// Takes whoever dials, and says nothing.
fn keep_open(server: quinn::Endpoint) {
    tokio::spawn(async move {
        while let Some(incoming) = server.accept().await {
            tokio::spawn(async move {
                if let Ok(connection) = incoming.await {
                    connection.closed().await;
                }
            });
        }
    });
}

#[tokio::test]
async fn both_ends_know_each_other() {
    let authority = Authority::new();
    let agent = authority.issue(Role::Agent, "node_01a");
    let edge = authority.issue(Role::Edge, "edge_01b");
    let (server, addresses) =
        listen(&agent, ClientCertificate::Required, &[alpn::TUNNEL], Profile::TunnelDatagrams);
    let accepted = tokio::spawn(async move {
        let connection = server.accept().await.expect("open").await.expect("handshake");
        let peer = peer_identity(&connection);
        let datagram = connection.read_datagram().await.expect("a datagram");
        connection.send_datagram(datagram).expect("room");
        connection.closed().await;
        peer
    });
    let config = client_config(&edge, alpn::TUNNEL, Profile::TunnelDatagrams).expect("a configuration");
    let name = server_name(Role::Agent, "node_01a");
    let endpoint = dialler();
    let connection = dial(&endpoint, config, &addresses, &name, TIMEOUT).await.expect("connects");
    assert_eq!(peer_identity(&connection), Some(PeerIdentity { role: Role::Agent, id: "node_01a".into() }));
    connection.send_datagram(Bytes::from_static(b"ping")).expect("room");
    assert_eq!(connection.read_datagram().await.expect("the echo"), Bytes::from_static(b"ping"));
    connection.close(0u32.into(), b"");
    let seen = accepted.await.expect("no panic");
    assert_eq!(seen, Some(PeerIdentity { role: Role::Edge, id: "edge_01b".into() }));
}

#[tokio::test]
async fn another_authoritys_client_and_another_nodes_name_are_refused() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let agent = authority.issue(Role::Agent, "node_01a");
    let (server, addresses) =
        listen(&agent, ClientCertificate::Required, &[alpn::TUNNEL], Profile::TunnelDatagrams);
    keep_open(server);
    let endpoint = dialler();

    // Signed by another CA, though it trusts ours: TLS 1.3 tells the client after its own side is done.
    let mut forged = stranger.issue(Role::Edge, "edge_01x");
    forged.authority = agent.authority.clone();
    let config = client_config(&forged, alpn::TUNNEL, Profile::TunnelStreams).expect("a configuration");
    let name = server_name(Role::Agent, "node_01a");
    if let Ok(connection) = dial(&endpoint, config, &addresses, &name, TIMEOUT).await {
        let closed = tokio::time::timeout(TIMEOUT, connection.closed()).await.expect("refused in time");
        assert!(closed.to_string().contains("certificate"), "{closed}");
    }

    let edge = authority.issue(Role::Edge, "edge_01b");
    let config = client_config(&edge, alpn::TUNNEL, Profile::TunnelStreams).expect("a configuration");
    let other = server_name(Role::Agent, "node_01z");
    let error = dial(&endpoint, config, &addresses, &other, TIMEOUT).await.expect_err("another node");
    assert!(error.to_string().contains("refused"), "{error}");
}

#[tokio::test]
async fn an_address_that_is_silent_does_not_keep_the_next_waiting() {
    let authority = Authority::new();
    let agent = authority.issue(Role::Agent, "node_01a");
    let (server, addresses) =
        listen(&agent, ClientCertificate::Required, &[alpn::TUNNEL], Profile::TunnelDatagrams);
    keep_open(server);
    // Bound, and never answers.
    let silent = std::net::UdpSocket::bind("127.0.0.1:0").expect("bound");
    let edge = authority.issue(Role::Edge, "edge_01b");
    let config = client_config(&edge, alpn::TUNNEL, Profile::TunnelStreams).expect("a configuration");
    let name = server_name(Role::Agent, "node_01a");
    let both = [silent.local_addr().expect("bound").to_string(), addresses[0].clone()];
    // The silent one alone would be waited for beyond every patience.
    let long = Duration::from_hours(1);
    let connection = tokio::time::timeout(TIMEOUT, dial(&dialler(), config, &both, &name, long)).await;
    connection.expect("the second is not kept waiting").expect("connects");
}

/// Listens until the runtime it is in ends, and accepts whoever comes.
fn listen_at(address: SocketAddr, agent: Identity, secret: &[u8]) -> SocketAddr {
    let server = server_config(&agent, &[alpn::TUNNEL], ClientCertificate::Required, Profile::TunnelStreams)
        .expect("TLS");
    let endpoint = muster_transport::listen(address, server, secret).expect("bound");
    let bound = endpoint.local_addr().expect("bound");
    tokio::spawn(async move {
        let mut held = Vec::new();
        while let Some(incoming) = endpoint.accept().await {
            let connection = incoming.await.expect("handshake");
            let (send, _) = connection.accept_bi().await.expect("a stream");
            FrameWriter::new(send).finish();
            held.push(connection);
        }
    });
    bound
}

#[test]
fn whoever_was_connected_to_a_listener_that_died_is_told_by_the_next() {
    let authority = Authority::new();
    let runtime =
        || tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("one");
    let agent = authority.issue(Role::Agent, "node_01a");
    let first = runtime();
    let any = "127.0.0.1:0".parse().expect("an address");
    let address = {
        let _entered = first.enter();
        listen_at(any, agent.clone(), b"secret")
    };
    let client = runtime();
    let connection = client.block_on(async {
        let edge = authority.issue(Role::Edge, "edge_01b");
        let config = client_config(&edge, alpn::TUNNEL, Profile::TunnelStreams).expect("a configuration");
        let name = server_name(Role::Agent, "node_01a");
        let connection =
            dial(&dialler(), config, &[address.to_string()], &name, TIMEOUT).await.expect("connects");
        // Answered: both sides are through with the handshake.
        let (mut send, mut receive) = connection.open_bi().await.expect("a stream");
        send.write_all(b"hello").await.expect("sent");
        receive.read_to_end(1).await.expect("answered");
        connection
    });
    // As by kill -9: nobody says goodbye.
    first.shutdown_timeout(TIMEOUT);
    let second = runtime();
    {
        let _entered = second.enter();
        listen_at(address, agent, b"secret");
    }
    let closed = client.block_on(connection.closed());
    assert!(matches!(closed, quinn::ConnectionError::Reset), "{closed}: silence would be a timeout");
}

/// An orchestrator that knows one secret.
async fn serve_joins(server: quinn::Endpoint, authority: Authority, secret: &'static str) {
    while let Some(incoming) = server.accept().await {
        let connection = incoming.await.expect("handshake");
        assert_eq!(peer_identity(&connection), None, "a joining node has no certificate");
        let (send, receive) = connection.accept_bi().await.expect("a stream");
        let request: JoinRequest = FrameReader::new(receive).recv().await.expect("a frame").expect("one");
        let outcome = if request.token == secret {
            let issued = authority.issue(Role::Agent, "node_01c");
            Outcome::Granted(JoinGranted {
                id: issued.id.clone(),
                certificate: issued.certificate.to_vec().into(),
                authority: issued.authority.to_vec().into(),
            })
        } else {
            Outcome::Refused(JoinRefused { code: "join_token_invalid".into(), detail: "unknown".into() })
        };
        let mut writer = FrameWriter::new(send);
        writer.send(&JoinReply { outcome: Some(outcome) }).await.expect("sent");
        writer.finish();
        connection.closed().await;
    }
}

#[tokio::test]
async fn joining_checks_both_sides() {
    let authority = Authority::new();
    let orchestrator = authority.issue(Role::Orchestrator, "orchestrator");
    let fingerprint = authority_fingerprint(&orchestrator.authority);
    let alpns: [&[u8]; 2] = [alpn::JOIN, alpn::LINK];
    let (server, addresses) = listen(&orchestrator, ClientCertificate::Optional, &alpns, Profile::Link);
    tokio::spawn(serve_joins(server, authority, "s3cret"));

    let token = JoinToken { secret: "s3cret".into(), fingerprint };
    let token: JoinToken = token.to_string().parse().expect("its own text");
    let identity = join(&addresses, &token, Role::Agent, "local", "here", &[]).await.expect("joins");
    assert_eq!((identity.id.as_str(), identity.region.as_str()), ("node_01c", "local"));

    let dir = tempfile::tempdir().expect("a directory");
    assert!(Identity::load(dir.path()).expect("readable").is_none());
    identity.save(dir.path()).expect("kept");
    let loaded = Identity::load(dir.path()).expect("readable").expect("there");
    assert_eq!((loaded.id, loaded.certificate), (identity.id, identity.certificate));

    let wrong = JoinToken { secret: "guess".into(), fingerprint };
    let error = join(&addresses, &wrong, Role::Agent, "local", "here", &[]).await;
    assert!(matches!(error, Err(JoinError::Refused { code, .. }) if code == "join_token_invalid"));

    // Another CA behind that address: the secret is never shown to it.
    let elsewhere = JoinToken { secret: "s3cret".into(), fingerprint: [0; 32] };
    let error = join(&addresses, &elsewhere, Role::Agent, "local", "here", &[]).await;
    assert!(matches!(error, Err(JoinError::Dial(_))), "{:?}", error.err());
}

#[test]
fn text_that_is_no_join_token_says_how_to_get_one() {
    for text in ["", "muster-join", "muster-join.x.y", "other.x.00", "muster-join..00"] {
        let error = text.parse::<JoinToken>().expect_err(text);
        assert!(error.to_string().contains("muster token create"), "{error}");
    }
}

#[tokio::test]
async fn a_listener_knows_before_the_handshake_what_a_connection_will_carry() {
    let authority = Authority::new();
    let (agent, edge) = (authority.issue(Role::Agent, "node_01a"), authority.issue(Role::Edge, "edge_01b"));
    let (server, addresses) =
        listen(&agent, ClientCertificate::Required, &[alpn::TUNNEL], Profile::TunnelDatagrams);
    let name = server_name(Role::Agent, "node_01a");
    let mut picked = Vec::new();
    for profile in [Profile::TunnelDatagrams, Profile::TunnelStreams, Profile::TunnelDatagrams] {
        let config = client_config(&edge, alpn::TUNNEL, profile).expect("a configuration");
        let client = dialler();
        let taken_in = async {
            let incoming = server.accept().await.expect("open");
            let id = incoming.orig_dst_cid();
            (id, incoming.await.expect("handshake"))
        };
        let (dialled, (id, _accepted)) =
            tokio::join!(dial(&client, config, &addresses, &name, TIMEOUT), taken_in);
        dialled.expect("connects");
        assert_eq!(Profile::announced(&id), profile);
        assert!(!picked.contains(&id), "ids are never the same twice");
        picked.push(id);
    }
}
