//! Workflows: what they wait for is told, and an operator can hold them.

use muster_protocol::api::{Page, Server, Workflow, WorkflowDetail, WorkflowStatus};
use muster_protocol::problem::ProblemCode;
use serde_json::json;

use crate::pushes::push;
use crate::support::{Bench, Caller, REGION, eventually, fleet};

async fn fleet_workflow(api: &Caller) -> Option<Workflow> {
    let page: Page<Workflow> = api.get("/v1/workflows?kind=fleet").await.ok().await;
    page.items.into_iter().next()
}

async fn servers(api: &Caller) -> usize {
    let page: Page<Server> = api.get("/v1/servers?state=pending").await.ok().await;
    page.items.len()
}

#[tokio::test]
async fn a_fleet_has_a_workflow_that_can_be_paused_and_resumed() {
    let bench = Bench::start().await;
    let api = &bench.admin;
    push(api, "arena:1").await;
    let warm = |warm: u32| {
        let mut spec = fleet("arena", "arena:1");
        spec["regions"] = json!({REGION: {"warm": warm, "max": 9}});
        spec
    };
    api.put("/v1/fleets/arena", warm(1)).await.ok::<serde_json::Value>().await;
    eventually("a server", async || (servers(api).await == 1).then_some(())).await;
    let found = eventually("its workflow", async || fleet_workflow(api).await).await;
    assert_eq!((&*found.key, found.status), ("arena", WorkflowStatus::Running));
    let waits = eventually("what it waits for", async || {
        let waits = fleet_workflow(api).await?.waits_for;
        waits.contains("servers to become ready").then_some(waits)
    });
    assert!(waits.await.starts_with('1'));

    api.post("/v1/workflows/fleet/arena/pause", json!({})).await.done().await;
    let paused = async || (fleet_workflow(api).await?.status == WorkflowStatus::Paused).then_some(());
    eventually("the pause", paused).await;
    api.put("/v1/fleets/arena", warm(3)).await.ok::<serde_json::Value>().await;
    let shown: WorkflowDetail = api.get("/v1/workflows/fleet/arena").await.ok().await;
    assert!(shown.workflow.waits_for.contains("muster workflow resume"), "{}", shown.workflow.waits_for);
    assert!(shown.history.iter().any(|entry| entry.event == "paused"), "{:?}", shown.history);
    assert_eq!(servers(api).await, 1, "a paused fleet starts nothing");
    api.post("/v1/workflows/fleet/arena/resume", json!({})).await.done().await;
    eventually("the servers", async || (servers(api).await == 3).then_some(())).await;
    bench.stop().await;
}

#[tokio::test]
async fn what_cannot_be_done_to_a_workflow_is_told() {
    let bench = Bench::start().await;
    let api = &bench.admin;
    api.get("/v1/workflows/fleet/none").await.problem(ProblemCode::WorkflowUnknown).await;
    api.post("/v1/workflows/fleet/none/retry", json!({})).await.problem(ProblemCode::WorkflowUnknown).await;
    let kept = api.post("/v1/workflows/fleet/none/cancel", json!({})).await;
    assert!(kept.problem(ProblemCode::WorkflowKept).await.fix.contains("muster fleet rm"));
    api.post("/v1/workflows/fleet/none/explode", json!({})).await.problem(ProblemCode::InvalidRequest).await;
    api.get("/v1/workflows?after=nowhere").await.problem(ProblemCode::InvalidRequest).await;
    api.get("/v1/workflows?status=asleep").await.problem(ProblemCode::InvalidRequest).await;
    bench.stop().await;
}

#[tokio::test]
async fn servers_and_machines_say_what_they_wait_for() {
    let bench = Bench::start().await;
    let api = &bench.admin;
    push(api, "arena:1").await;
    let mut spec = fleet("arena", "arena:1");
    spec["regions"] = json!({REGION: {"warm": 1, "max": 1}});
    api.put("/v1/fleets/arena", spec).await.ok::<serde_json::Value>().await;
    // No node has joined, so the server waits; so does the workflow that places it.
    let waits_for = async |api: &Caller, kind: &str, words: &str| {
        eventually(words, async || {
            let page: Page<Workflow> = api.get(&format!("/v1/workflows?kind={kind}")).await.ok().await;
            page.items.iter().any(|found| found.waits_for.contains(words)).then_some(())
        })
        .await;
    };
    let machines = &api.within(Some("muster/machines"));
    waits_for(api, "server", "has no node").await;
    waits_for(machines, "placement", "room for 1 servers").await;
    waits_for(machines, "timers", "whose time comes").await;
    let server: Page<Server> = api.get("/v1/servers").await.ok().await;
    let path = format!("/v1/workflows/server/{}/cancel", server.items[0].id);
    let kept = api.post(&path, json!({})).await.problem(ProblemCode::WorkflowKept).await;
    assert!(kept.fix.contains("muster server stop"), "{}", kept.fix);

    // The namespace is nobody's to make or to use.
    machines.get("/v1/servers").await.problem(ProblemCode::NamespaceUnknown).await;
    let own = api.put("/v1/namespaces/muster/machines", json!({})).await;
    assert!(own.problem(ProblemCode::InvalidRequest).await.detail.contains("Muster's own"));
    bench.stop().await;
}
