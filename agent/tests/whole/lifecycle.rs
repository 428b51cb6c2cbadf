//! From wanted to ready to over, and everything that can go wrong between.

use muster_protocol::agent::{DesiredServers, ServerGoal, ServerLimits, ServerPhase, ServerSpec};

use crate::node::{Node, docker};

#[tokio::test(flavor = "multi_thread")]
async fn a_server_becomes_ready_is_limited_and_stops_within_its_grace() {
    let node = Node::new();
    let agent = node.start().await;
    let spec = node.spec(&[]);
    let ready = node.run(std::slice::from_ref(&spec)).await;
    assert_eq!(agent.node_id(), node.id);
    assert!(!ready.uses_sdk);
    let stamps = [ready.pulling_at_ms, ready.starting_at_ms, ready.ready_at_ms].map(|stamp| stamp != 0);
    assert_eq!((stamps, ready.running_at_ms != 0), ([true; 3], true), "{ready:?}");

    let inspect = |format: &str| docker(&["inspect", "--format", format, &ready.container_id]);
    for (format, value) in [
        ("{{.HostConfig.NanoCpus}}", "500000000"),
        ("{{.HostConfig.Memory}}", "67108864"),
        ("{{.HostConfig.MemorySwap}}", "67108864"),
        ("{{.HostConfig.PidsLimit}}", "32"),
        ("{{.HostConfig.CapDrop}}", "[ALL]"),
        ("{{.HostConfig.SecurityOpt}}", "[no-new-privileges]"),
        ("{{.HostConfig.ReadonlyRootfs}}", "true"),
        ("{{.HostConfig.PortBindings}}", "map[]"),
        ("{{len .NetworkSettings.Ports}}", "0"),
        ("{{.HostConfig.LogConfig}}", "{json-file map[max-file:2 max-size:10m]}"),
        ("{{index .Config.Labels \"muster.server\"}}", spec.server_id.as_str()),
        ("{{index .Config.Labels \"muster.namespace\"}}", "arena/test"),
    ] {
        assert_eq!(inspect(format), value, "{format}");
    }
    let icc = "{{index .Options \"com.docker.network.bridge.enable_icc\"}}";
    assert_eq!(docker(&["network", "inspect", "--format", icc, &node.config.network]), "false");

    let stop = ServerSpec { generation: 2, goal: ServerGoal::Stop.into(), ..spec.clone() };
    node.orchestrator.want(vec![stop]);
    let over = node.phase(&spec, ServerPhase::Exited).await;
    assert_eq!((over.exit.as_ref().map(|exit| exit.code), over.generation), (Some(0), 2), "{over:?}");
    // Kept until its end is recorded, then gone.
    assert_eq!(node.containers().len(), 1);
    let forget = vec![spec.server_id.clone()];
    node.orchestrator.say(DesiredServers { full: false, servers: Vec::new(), forget });
    node.until_containers(0).await;
    agent.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_that_fail_say_why() {
    let node = Node::new();
    let _agent = node.start().await;
    let leaves = node.spec(&["exit=3"]);
    let hungry = ServerSpec {
        limits: Some(ServerLimits { memory_bytes: 16 << 20, ..node.spec(&[]).limits.expect("set") }),
        ..node.spec(&["eat"])
    };
    let silent = ServerSpec { ready_timeout_ms: 1_500, ..node.spec(&["silent"]) };
    let shy = ServerSpec { ready_timeout_ms: 1_500, ..node.spec(&["sdk-first"]) };
    let greedy = ServerSpec {
        limits: Some(ServerLimits { cpu_millis: 4_000_000, ..node.spec(&[]).limits.expect("set") }),
        ..node.spec(&[])
    };
    let nothing = ServerSpec { build: None, ..node.spec(&[]) };
    node.orchestrator
        .want([&leaves, &hungry, &silent, &shy, &greedy, &nothing].into_iter().cloned().collect());
    let failed = async |spec: &ServerSpec, code: &str, fix: &str| {
        let report = node.phase(spec, ServerPhase::Failed).await;
        let failure = report.failure.clone().expect("failed for a reason");
        assert_eq!(failure.code, code, "{report:?}");
        assert!(failure.detail.contains(fix), "{}", failure.detail);
        report.exit.unwrap_or_default()
    };
    let exit = failed(&leaves, "exited_before_ready", "exit code 3").await;
    assert_eq!((exit.code, exit.out_of_memory), (3, false));
    assert!(exit.log_tail.contains("leaving at once"), "{}", exit.log_tail);
    let exit = failed(&hungry, "exited_before_ready", "raise the fleet's memory limit").await;
    assert_eq!((exit.code, exit.out_of_memory), (137, true));
    failed(&silent, "ready_timeout", "listen on 0.0.0.0").await;
    failed(&shy, "ready_timeout", "call it once players may connect").await;
    failed(&greedy, "container_create_failed", "check the fleet's limits").await;
    failed(&nothing, "spec_invalid", "names no build").await;
    node.orchestrator.want(Vec::new());
    node.until_containers(0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stubborn_server_is_killed_after_its_grace_and_an_unnamed_one_is_stopped() {
    let node = Node::new();
    let _agent = node.start().await;
    let stubborn = ServerSpec { stop_grace_ms: 1_000, ..node.spec(&["stubborn"]) };
    let unnamed = node.spec(&[]);
    node.run(&[stubborn.clone(), unnamed]).await;
    let foreign = docker(&[
        "create",
        "--name",
        &node.config.network,
        "--label",
        "muster.node=another",
        &crate::node::image(&node.build.reference),
    ]);
    let stop = ServerSpec { generation: 2, goal: ServerGoal::Stop.into(), ..stubborn.clone() };
    node.orchestrator.want(vec![stop]);
    let over = node.phase(&stubborn, ServerPhase::Exited).await;
    assert_eq!(over.exit.map(|exit| (exit.code, exit.out_of_memory)), Some((137, false)));
    node.until_containers(1).await;
    let still = docker(&["inspect", "--format", "{{.State.Status}}", &foreign]);
    docker(&["rm", &foreign]);
    assert_eq!(still, "created", "a container that is not this node's was touched");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_draining_server_is_stopped_at_its_deadline_and_not_before() {
    let node = Node::new();
    let _agent = node.start().await;
    let spec = node.spec(&[]);
    node.run(std::slice::from_ref(&spec)).await;
    let drain = |generation, drain_deadline_ms| ServerSpec {
        generation,
        goal: ServerGoal::Drain.into(),
        drain_deadline_ms,
        ..spec.clone()
    };
    let far = u64::try_from(
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_millis(),
    )
    .expect("fits")
        + 3_600_000;
    node.orchestrator.want(vec![drain(2, far)]);
    // It has heard of the goal, and goes on.
    let heard =
        node.orchestrator.report(&spec.server_id, "generation 2", |report| report.generation == 2).await;
    assert_eq!(heard.phase(), ServerPhase::Ready);
    // An older wish that comes late changes nothing.
    node.orchestrator.say(DesiredServers { full: false, servers: vec![spec.clone()], forget: Vec::new() });
    node.orchestrator.want(vec![drain(3, 1)]);
    let over = node.phase(&spec, ServerPhase::Exited).await;
    assert_eq!((over.generation, over.exit.map(|exit| exit.code)), (3, Some(0)));
}

#[tokio::test(flavor = "multi_thread")]
async fn logs_are_followed_live_and_refused_with_a_reason() {
    let node = Node::new();
    let _agent = node.start().await;
    let spec = node.spec(&["count"]);
    node.run(std::slice::from_ref(&spec)).await;
    let mut past = node.orchestrator.logs(&spec.server_id, false, 1_000).await;
    let first = past.next().await.expect("a chunk").expect("output");
    assert!(first.contains("game starts"), "{first}");
    while past.next().await.is_some() {}
    let mut live = node.orchestrator.logs(&spec.server_id, true, 0).await;
    let number =
        |line: String| line.trim().trim_start_matches("line ").parse::<u32>().expect("a counted line");
    let one = number(live.next().await.expect("a chunk").expect("output"));
    let two = number(live.next().await.expect("a chunk").expect("output"));
    assert_eq!(two, one + 1);
    let mut none = node.orchestrator.logs("srv_01h455vb4pex5vsknk084sn02q", true, 10).await;
    let refusal = none.next().await.expect("an answer").expect_err("no such server");
    assert_eq!(refusal.code, "no_logs");
}
