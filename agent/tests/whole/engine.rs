//! Without a Docker engine; and what else can be wrong at the start.

use muster_agent::StartError;
use muster_protocol::agent::ServerPhase;
use muster_transport::Role;

use crate::node::Node;

#[tokio::test(flavor = "multi_thread")]
async fn without_docker_the_node_says_so_and_how_to_mend_it() {
    let mut node = Node::new();
    node.config.docker_socket = Some(node.config.state_dir.join("none.sock").display().to_string());
    let _agent = node.start().await;
    let heard = node.orchestrator.hear("hello", |heard| heard.hello.is_some()).await;
    let unable = heard.hello.expect("waited for").unable;
    assert!(unable.contains("none.sock") && unable.contains("start the engine"), "{unable}");
    let spec = node.spec(&[]);
    node.orchestrator.want(vec![spec.clone()]);
    let failed = node.phase(&spec, ServerPhase::Failed).await;
    assert_eq!(failed.failure.expect("failed for a reason").code, "docker_unavailable");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_at_the_start_is_said_with_its_mend() {
    let node = Node::new();
    let taken = std::net::UdpSocket::bind("127.0.0.1:0").expect("a port");
    let mut config = node.config.clone();
    config.tunnel_listen = taken.local_addr().expect("bound");
    let error = muster_agent::start(config).await.err().expect("the port is taken");
    assert!(matches!(error, StartError::Tunnel(_)), "{error}");
    assert!(error.to_string().contains("tunnel_listen"), "{error}");

    let empty = tempfile::tempdir().expect("a directory");
    let mut config = node.config.clone();
    config.state_dir = empty.path().to_owned();
    let error = muster_agent::start(config.clone()).await.err().expect("never joined");
    assert!(error.to_string().contains("join_token"), "{error}");
    config.join_token = Some("nonsense".to_owned());
    let error = muster_agent::start(config.clone()).await.err().expect("no token");
    assert!(error.to_string().contains("muster token create"), "{error}");

    node.authority
        .identity(Role::Edge, "edge_01h455vb4pex5vsknk084sn02q")
        .save(empty.path())
        .expect("writes");
    let error = muster_agent::start(config).await.err().expect("an edge's identity");
    assert!(error.to_string().contains("state_dir"), "{error}");
}
