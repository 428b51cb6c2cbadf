//! Fleets and queues: applying, changing, deleting, and specifications that cannot be.

use muster_protocol::api::{Fleet, Page, Queue, QueueVersion};
use muster_protocol::problem::ProblemCode;
use serde_json::{Value, json};

use crate::pushes::push;
use crate::support::{Bench, REGION, eventually, fleet, queue};

#[tokio::test]
async fn a_fleet_is_applied_changed_and_deleted() {
    let bench = Bench::start().await;
    let api = &bench.admin;
    let digest = push(api, "arena:1").await;
    let made: Fleet = api.put("/v1/fleets/arena", fleet("arena", "arena:1")).await.ok().await;
    assert_eq!((made.version, made.build_digest.as_str()), (1, digest.as_str()));
    assert_eq!(made.spec.limits.pids, 256, "what is left out has its default");
    assert!(made.waiting_for.iter().any(|why| why.contains("no node")), "{:?}", made.waiting_for);
    // The same again changes nothing; a change counts up.
    let same: Fleet = api.put("/v1/fleets/arena", fleet("arena", "arena:1")).await.ok().await;
    assert_eq!(same.version, 1);
    let mut changed = fleet("arena", &digest);
    changed["env"] = json!({"LEVEL": "dust"});
    let changed: Fleet = api.put("/v1/fleets/arena", changed).await.ok().await;
    assert_eq!((changed.version, changed.build_digest), (2, digest));
    let shown: Fleet = api.get("/v1/fleets/arena").await.ok().await;
    assert_eq!(shown.spec, changed.spec);
    let page: Page<Fleet> = api.get("/v1/fleets").await.ok().await;
    assert_eq!(page.items.len(), 1);
    assert_eq!(page.items[0].spec, shown.spec);

    api.delete("/v1/fleets/arena").await.done().await;
    eventually("the fleet to be gone", async || {
        (api.get("/v1/fleets/arena").await.status() == 404).then_some(())
    })
    .await;
    api.delete("/v1/fleets/arena").await.problem(ProblemCode::FleetUnknown).await;
    bench.stop().await;
}

#[tokio::test]
async fn a_fleet_of_nothing_names_what_is_missing() {
    let bench = Bench::start().await;
    let api = &bench.admin;
    let answer = api.put("/v1/fleets/arena", fleet("arena", "arena:9")).await;
    let problem = answer.problem(ProblemCode::BuildUnknown).await;
    assert!(problem.detail.contains("arena:9") && problem.fix.contains("muster build push"));
    api.get("/v1/fleets/arena").await.problem(ProblemCode::FleetUnknown).await;
    bench.stop().await;
}

#[tokio::test]
async fn every_fault_of_a_specification_is_told_at_once() {
    let bench = Bench::start().await;
    let api = &bench.admin;
    push(api, "arena:1").await;
    let mut spec = fleet("arena", "arena:1");
    spec["ports"][1]["port"] = json!(0);
    spec["ports"][2]["name"] = json!("game");
    spec["regions"] = json!({REGION: {"warm": 9, "max": 3}});
    spec["limits"]["memory_mib"] = json!(0);
    spec["env"] = json!({"MUSTER_REGION": "mars"});
    let problem = api.put("/v1/fleets/arena", spec).await.problem(ProblemCode::InvalidSpec).await;
    for field in ["ports[1].port", "ports[].name", "regions.local.warm", "limits.memory_mib", "env"] {
        assert!(problem.detail.contains(field), "wanted {field} in {}", problem.detail);
    }
    // What JSON itself cannot hold, or what has no such field, is told by serde's words.
    for (path, value) in [("/ports/0/port", json!(-1)), ("/ports/0/protocol", json!("sctp"))] {
        let mut spec = fleet("arena", "arena:1");
        *spec.pointer_mut(path).expect("there") = value;
        let answer = api.put("/v1/fleets/arena", spec).await;
        answer.problem(ProblemCode::InvalidRequest).await;
    }
    let mut typo = fleet("arena", "arena:1");
    typo["regons"] = json!({});
    let problem = api.put("/v1/fleets/arena", typo).await.problem(ProblemCode::InvalidRequest).await;
    assert!(problem.detail.contains("regons"), "{}", problem.detail);
    let answer = api.put("/v1/fleets/other", fleet("arena", "arena:1")).await;
    answer.problem(ProblemCode::InvalidSpec).await;
    bench.stop().await;
}

#[tokio::test]
async fn a_queue_fills_a_fleet_that_is_there() {
    let bench = Bench::start().await;
    let api = &bench.admin;
    let problem =
        api.put("/v1/queues/duel", queue("duel", "arena", 2)).await.problem(ProblemCode::FleetUnknown).await;
    assert!(problem.detail.contains("arena") && problem.fix.contains("muster fleet apply"));
    push(api, "arena:1").await;
    api.put("/v1/fleets/arena", fleet("arena", "arena:1")).await.done().await;
    let made: Queue = api.put("/v1/queues/duel", queue("duel", "arena", 2)).await.ok().await;
    assert_eq!((made.version, made.spec.ticket_ttl_s, made.searching), (1, 300, 0));
    let changed: Queue = api.put("/v1/queues/duel", queue("duel", "arena", 4)).await.ok().await;
    assert_eq!((changed.version, changed.spec.players), (2, 4));
    let kept: Page<QueueVersion> = api.get("/v1/queues/duel/versions").await.ok().await;
    assert_eq!(kept.items.iter().map(|kept| kept.version).collect::<Vec<_>>(), [2, 1]);
    assert_eq!(kept.items[1].spec, made.spec);
    assert!(kept.items.iter().all(|kept| kept.applied_by.is_some()), "{:?}", kept.items);
    let shown: Queue = api.get("/v1/queues/duel").await.ok().await;
    assert_eq!(shown.spec, changed.spec);
    let page: Page<Queue> = api.get("/v1/queues").await.ok().await;
    assert_eq!(page.items.len(), 1);

    // Nobody serves the region: the queue says so, with the way out.
    let waiting = eventually("the matchmaker to say what is missing", async || {
        let queue: Queue = api.get("/v1/queues/duel").await.ok().await;
        queue.waiting_for.into_iter().find(|why| why.contains(REGION))
    })
    .await;
    assert!(waiting.contains("no node"), "{waiting}");

    let mut elsewhere = queue("duel", "arena", 2);
    elsewhere["regions"] = json!(["mars"]);
    let problem = api.put("/v1/queues/duel", elsewhere).await.problem(ProblemCode::InvalidSpec).await;
    assert!(problem.detail.contains("mars") && problem.detail.contains(REGION), "{}", problem.detail);
    let bad = json!({"name": "duel", "fleet": "arena", "players": 0, "ticket_ttl_s": 0});
    let problem = api.put("/v1/queues/duel", bad).await.problem(ProblemCode::InvalidSpec).await;
    assert!(problem.detail.contains("players") && problem.detail.contains("ticket_ttl_s"));

    let problem = api.delete("/v1/fleets/arena").await.problem(ProblemCode::FleetInUse).await;
    assert!(problem.fix.contains("muster queue rm duel"));
    api.delete("/v1/queues/duel").await.done().await;
    api.get("/v1/queues/duel").await.problem(ProblemCode::QueueUnknown).await;
    api.delete("/v1/queues/duel").await.problem(ProblemCode::QueueUnknown).await;
    api.delete("/v1/fleets/arena").await.done().await;
    bench.stop().await;
}

#[tokio::test]
async fn lists_come_in_pages() {
    let bench = Bench::start().await;
    let api = &bench.admin;
    push(api, "arena:1").await;
    for name in ["a", "b", "c"] {
        api.put(&format!("/v1/fleets/{name}"), fleet(name, "arena:1")).await.done().await;
    }
    let first: Page<Fleet> = api.get("/v1/fleets?limit=2").await.ok().await;
    let after = first.next.expect("a third");
    let second: Page<Fleet> = api.get(&format!("/v1/fleets?limit=2&after={after}")).await.ok().await;
    let names: Vec<String> =
        first.items.into_iter().chain(second.items).map(|fleet| fleet.spec.name).collect();
    assert_eq!(names, ["a", "b", "c"]);
    for query in ["limit=0", "limit=100000", "limit=x", "afer=a"] {
        let answer = api.get(&format!("/v1/fleets?{query}")).await;
        answer.problem(ProblemCode::InvalidRequest).await;
    }
    let unknown: Value = api.get("/v1/servers?fleet=none").await.ok().await;
    assert_eq!(unknown["items"], json!([]));
    bench.stop().await;
}
