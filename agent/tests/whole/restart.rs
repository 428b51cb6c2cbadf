//! Agents and orchestrators come and go; games stay.

use muster_protocol::agent::{ServerGoal, ServerPhase, ServerSpec};
use muster_transport::{Profile, Role};

use crate::node::{Node, docker};
use crate::tunnel::Edge;

#[tokio::test(flavor = "multi_thread")]
async fn a_restarted_agent_adopts_its_containers_without_an_orchestrator() {
    let mut node = Node::new();
    let agent = node.start().await;
    let stays = node.spec(&["sdk-first", "sdk"]);
    let dies = node.spec(&[]);
    node.run(&[stays.clone(), dies.clone()]).await;
    let before = node.orchestrator.heard().reports;
    node.orchestrator.stop();
    // As a crash would leave it.
    drop(agent);
    docker(&["kill", &before[&dies.server_id].container_id]);

    let agent = node.start().await;
    let mut edge = Edge::new(node.tunnel(&agent, Profile::TunnelDatagrams).await);
    // The server is reached before any orchestrator is back, and reaches the SDK endpoint.
    let answer = edge.until_answered(&stays, 0, b"call GET /v1/server").await;
    let answer = String::from_utf8_lossy(&answer);
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains(&stays.server_id), "{answer}");

    let identity = node.authority.identity(Role::Orchestrator, "orchestrator");
    node.orchestrator.start_again(&identity).await;
    let kept = node.phase(&stays, ServerPhase::Ready).await;
    let old = &before[&stays.server_id];
    assert_eq!(
        (&kept.container_id, kept.ready_at_ms, kept.running_at_ms, kept.uses_sdk),
        (&old.container_id, old.ready_at_ms, old.running_at_ms, true)
    );
    let over = node.phase(&dies, ServerPhase::Exited).await;
    assert_eq!(over.exit.map(|exit| exit.code), Some(137));

    // And it still takes orders.
    let stop = ServerSpec { generation: 2, goal: ServerGoal::Stop.into(), ..stays.clone() };
    node.orchestrator.want(vec![stop]);
    node.phase(&stays, ServerPhase::Exited).await;
    node.until_containers(1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_has_lost_its_state_adopts_by_labels() {
    let node = Node::new();
    let agent = node.start().await;
    let spec = node.spec(&[]);
    let before = node.run(std::slice::from_ref(&spec)).await;
    agent.shutdown().await;
    std::fs::remove_file(node.config.state_dir.join("servers.bin")).expect("was written");
    let _agent = node.start().await;
    let heard = node.orchestrator.hear("a second hello", |heard| heard.hellos == 2).await;
    drop(heard);
    let after = node.phase(&spec, ServerPhase::Ready).await;
    assert_eq!(after.container_id, before.container_id);
    assert_eq!(node.containers().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_removed_by_hand_is_reported_as_lost() {
    let node = Node::new();
    let agent = node.start().await;
    let spec = node.spec(&[]);
    let before = node.run(std::slice::from_ref(&spec)).await;
    agent.shutdown().await;
    docker(&["rm", "--force", &before.container_id]);
    let _agent = node.start().await;
    let failed = node.phase(&spec, ServerPhase::Failed).await;
    assert_eq!(failed.failure.expect("failed for a reason").code, "container_lost");
}
