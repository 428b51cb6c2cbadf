//! Joining over real QUIC: what lets a machine in, and what each refusal says.

use std::time::Duration;

use muster_protocol::agent::{AgentMessage, ToAgent, agent_message};
use muster_protocol::api::JoinRole;
use muster_transport::{JoinError, JoinToken, Role, alpn};

use crate::clock;
use crate::state;
use crate::testing::{Bench, REGION, agent_hello, eventually, soon};

fn refusal<T>(result: Result<T, JoinError>) -> (String, String) {
    match result {
        Err(JoinError::Refused { code, detail }) => (code, detail),
        Err(other) => panic!("another error: {other}"),
        Ok(_) => panic!("let in"),
    }
}

#[tokio::test]
async fn a_token_lets_one_machine_in_and_names_it() {
    let bench = Bench::start().await;
    let token = bench.join_token(JoinRole::Agent, clock::now_ms()).await;
    let identity = bench.join(&token, Role::Agent, REGION, &[]).await.expect("let in");
    let node = identity.id.parse().expect("a node's id");
    let record = bench.app.db.read("test", async |mut tx| state::nodes::load(&mut tx, node).await).await;
    let record = record.expect("readable").expect("recorded");
    assert_eq!((record.name.as_str(), record.region.as_str()), ("box-1", REGION));
    assert!(!record.connected);

    let (code, detail) = refusal(bench.join(&token, Role::Agent, REGION, &[]).await);
    assert_eq!(code, "join_token_used");
    assert!(detail.contains("muster token create --join agent --region eu"), "{detail}");
    bench.stop().await;
}

#[tokio::test]
async fn two_machines_with_one_token_are_one_machine() {
    let bench = Bench::start().await;
    let token = bench.join_token(JoinRole::Agent, clock::now_ms()).await;
    let (one, two) = tokio::join!(
        bench.join(&token, Role::Agent, REGION, &[]),
        bench.join(&token, Role::Agent, REGION, &[])
    );
    assert_eq!([one.is_ok(), two.is_ok()].iter().filter(|in_| **in_).count(), 1);
    let refused = if one.is_ok() { two } else { one };
    assert_eq!(refusal(refused).0, "join_token_used");
    bench.stop().await;
}

#[tokio::test]
async fn what_is_wrong_with_a_token_is_said_and_does_not_use_it_up() {
    let bench = Bench::start().await;
    let token = bench.join_token(JoinRole::Agent, clock::now_ms()).await;

    let mut forged = token.secret.clone();
    forged.pop();
    let forged = JoinToken { secret: forged, fingerprint: token.fingerprint };
    assert_eq!(refusal(bench.join(&forged, Role::Agent, REGION, &[]).await).0, "join_token_invalid");

    let (code, detail) = refusal(bench.join(&token, Role::Edge, REGION, &[]).await);
    assert_eq!(code, "join_role_wrong");
    assert!(detail.contains("make one for an edge"), "{detail}");

    let (code, detail) = refusal(bench.join(&token, Role::Agent, "us", &[]).await);
    assert_eq!(code, "join_region_wrong");
    assert!(detail.contains("\"eu\"") && detail.contains("\"us\""), "{detail}");

    let names = ["edge.example.com".to_owned()];
    assert_eq!(refusal(bench.join(&token, Role::Agent, REGION, &names).await).0, "host_name_invalid");

    let expired = bench.join_token(JoinRole::Agent, clock::now_ms() - 120_000).await;
    assert_eq!(refusal(bench.join(&expired, Role::Agent, REGION, &[]).await).0, "join_token_expired");

    bench.join(&token, Role::Agent, REGION, &[]).await.expect("the token is still good");
    bench.stop().await;
}

#[tokio::test]
async fn an_edge_may_be_called_what_players_call_it_but_not_what_we_are_called() {
    let bench = Bench::start().await;
    let token = bench.join_token(JoinRole::Edge, clock::now_ms()).await;
    let ours = ["orchestrator.muster".to_owned()];
    assert_eq!(refusal(bench.join(&token, Role::Edge, REGION, &ours).await).0, "host_name_invalid");
    let theirs = ["edge.example.com".to_owned(), "192.0.2.7".to_owned()];
    let identity = bench.join(&token, Role::Edge, REGION, &theirs).await.expect("let in");
    assert!(identity.id.starts_with("edge_"));
    bench.stop().await;
}

#[tokio::test]
async fn a_machine_does_not_show_its_secret_to_another_orchestrator() {
    let bench = Bench::start().await;
    let mut token = bench.join_token(JoinRole::Agent, clock::now_ms()).await;
    token.fingerprint[0] ^= 1;
    let error = bench.join(&token, Role::Agent, REGION, &[]).await.err().expect("not trusted");
    assert!(!matches!(error, JoinError::Refused { .. }), "{error}");
    token.fingerprint[0] ^= 1;
    bench.join(&token, Role::Agent, REGION, &[]).await.expect("the token was not used up");
    bench.stop().await;
}

#[tokio::test]
async fn strangers_who_say_nothing_do_not_keep_machines_out() {
    let bench = Bench::start().await;
    let identity = bench.machine(Role::Agent).await;
    let token = bench.join_token(JoinRole::Agent, clock::now_ms()).await;
    let mut silent = Vec::new();
    for _ in 0..crate::listener::MAX_JOINING {
        silent.push(bench.dial_as(&identity, alpn::JOIN).await);
    }
    let refused = eventually("a place to be missing", async || {
        let connection = bench.dial_as(&identity, alpn::JOIN).await;
        let closed = tokio::time::timeout(Duration::from_millis(200), connection.closed()).await;
        silent.push(connection);
        closed.ok()
    })
    .await;
    assert!(refused.to_string().contains("too many machines join"), "{refused}");
    let (_connection, mut writer, mut reader) = bench.control(&identity).await;
    let body = Some(agent_message::Body::Hello(agent_hello()));
    writer.send(&AgentMessage { body }).await.expect("sent");
    let welcome: Option<ToAgent> = soon("a welcome", reader.recv()).await.expect("readable");
    assert!(welcome.is_some(), "links are taken all the while");
    // Those who say nothing lose their places, and who has a token joins.
    eventually("a place", async || bench.join(&token, Role::Agent, REGION, &[]).await.ok()).await;
    bench.stop().await;
}
