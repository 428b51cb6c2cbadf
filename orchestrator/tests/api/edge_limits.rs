//! What sources may send to a region's edges: set, shown, and told to the edges.

use muster_protocol::api::{EdgeLimits, Rates};
use muster_protocol::problem::ProblemCode;
use serde_json::{Value, json};

use crate::machines::{Machines, Servers};
use crate::support::{Bench, REGION, eventually};

fn path(region: &str) -> String {
    format!("/v1/regions/{region}/limits")
}

#[tokio::test]
async fn limits_are_told_to_edges_that_are_there_and_to_those_that_come() {
    let bench = Bench::start().await;
    let api = &bench.admin;
    let none: Value = api.get(&path(REGION)).await.ok().await;
    assert_eq!(none, json!({}), "nothing is limited, and nothing is said");
    let here = Machines::start(&bench, Servers::Ready).await;
    let set = EdgeLimits {
        address: Rates { packets_per_s: 2_000, new_flows_per_s: 50, ..Rates::default() },
        deny: vec!["203.0.113.0/24".into()],
        ..EdgeLimits::default()
    };
    let asked = json!({
        "address": {"packets_per_s": 2_000, "new_flows_per_s": 50}, "deny": ["203.0.113.0/24"],
    });
    let answered: EdgeLimits = api.put(&path(REGION), asked).await.ok().await;
    assert_eq!(answered, set);
    assert_eq!(api.get(&path(REGION)).await.ok::<EdgeLimits>().await, set);
    let told = |machines: &Machines, packets: u32| {
        let address = machines.limits().map(|limits| limits.address.unwrap_or_default());
        (address?.packets_per_s == packets).then_some(())
    };
    eventually("the edge to be told", async || told(&here, 2_000)).await;
    assert_eq!(here.limits().expect("told").deny, set.deny);

    let later = Machines::start(&bench, Servers::Ready).await;
    eventually("one that comes later to be told", async || told(&later, 2_000)).await;
    api.put(&path(REGION), json!({})).await.ok::<EdgeLimits>().await;
    eventually("both to hear that they are lifted", async || told(&here, 0).and(told(&later, 0))).await;
    assert_eq!(api.get(&path(REGION)).await.ok::<Value>().await, json!({}));
    bench.stop().await;
}

#[tokio::test]
async fn limits_that_cannot_be_meant_change_nothing() {
    let bench = Bench::start().await;
    let api = &bench.admin;
    let good = json!({"token": {"bytes_per_s": 200_000}});
    api.put(&path(REGION), good.clone()).await.ok::<Value>().await;
    let bad = json!({"allow": ["10.0.0.0/8"], "deny": ["10.0.0.1/8", "everybody"]});
    let problem = api.put(&path(REGION), bad).await.problem(ProblemCode::InvalidSpec).await;
    for told in ["deny[0]", "10.0.0.0/8", "deny[1]", "everybody"] {
        assert!(problem.detail.contains(told), "{told}: {}", problem.detail);
    }
    let misspelt = json!({"adress": {"packets_per_s": 1}});
    let problem = api.put(&path(REGION), misspelt).await.problem(ProblemCode::InvalidRequest).await;
    assert!(problem.detail.contains("adress"), "{}", problem.detail);
    api.put(&path("no region"), json!({})).await.problem(ProblemCode::InvalidRequest).await;
    let shown: Value = api.get(&path(REGION)).await.ok().await;
    assert_eq!(shown["token"]["bytes_per_s"], good["token"]["bytes_per_s"]);
    // What is not there can be lifted all the same.
    api.put(&path("elsewhere"), json!({})).await.ok::<Value>().await;
    bench.stop().await;
}
