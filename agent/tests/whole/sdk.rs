//! What a server says and hears by the SDK endpoint.

use futures_util::StreamExt;
use muster_protocol::agent::{
    AllocatedSeat, Allocation, Backfill, Lobby, ServerGoal, ServerPhase, ServerReport, ServerSpec,
};
use muster_protocol::flow::FlowId;
use muster_protocol::id::{SeatId, ServerId};
use muster_protocol::token::SessionClaims;
use muster_protocol::tunnel::{Header, OpenTarget};
use muster_transport::Profile;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

use crate::node::{Node, docker};
use crate::orchestrator::PATIENCE;
use crate::tunnel::{Edge, target};

fn claims(server: &str, seat: SeatId) -> SessionClaims {
    let now_ms =
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_millis()
            as u64;
    SessionClaims {
        namespace: "arena/test".into(),
        server: server.parse().expect("an id"),
        port: "game".into(),
        seat,
        player: "ada".into(),
        issued_at_ms: now_ms,
        expires_at_ms: now_ms + 60_000,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_uses_the_sdk_says_itself_when_it_is_ready() {
    let node = Node::new();
    let agent = node.start().await;
    let spec = node.spec(&["sdk-first", "sdk"]);
    let ready = node.run(std::slice::from_ref(&spec)).await;
    assert!(ready.uses_sdk);
    let mut edge = Edge::new(node.tunnel(&agent, Profile::TunnelDatagrams).await);
    let mut call = async |text: String| {
        let answer = edge.until_answered(&spec, 0, format!("call {text}").as_bytes()).await;
        String::from_utf8_lossy(&answer).into_owned()
    };
    let seat = SeatId::new();

    // Seats: by token before the allocation is known, by id only after.
    let by_id = format!("POST /v1/seats/connected {{\"seat\":\"{seat}\"}}");
    let refused = call(by_id.clone()).await;
    assert!(refused.starts_with("HTTP/1.1 409") && refused.contains("server_state"), "{refused}");
    let token = node.orchestrator.signer.sign(&claims(&spec.server_id, seat)).expect("signs");
    let taken = call(format!("POST /v1/seats/connected {{\"token\":\"{token}\"}}")).await;
    assert!(taken.starts_with("HTTP/1.1 200") && taken.contains("\"ada\""), "{taken}");
    let seats = vec![seat.to_string()];
    node.orchestrator.report(&spec.server_id, "the seat", |report| report.connected_seats == seats).await;
    let foreign = claims(&ServerId::new().to_string(), seat);
    let other = node.orchestrator.signer.sign(&foreign).expect("signs");
    let refused = call(format!("POST /v1/seats/connected {{\"token\":\"{other}\"}}")).await;
    assert!(refused.starts_with("HTTP/1.1 403"), "{refused}");

    let gone = call(format!("POST /v1/seats/disconnected {{\"seat\":\"{seat}\"}}")).await;
    assert!(gone.starts_with("HTTP/1.1 200"), "{gone}");
    node.orchestrator.report(&spec.server_id, "no seat", |report| report.connected_seats.is_empty()).await;

    // Who is gone for good does not come back by the same token.
    let released = call(format!("POST /v1/seats/released {{\"token\":\"{token}\"}}")).await;
    assert!(released.starts_with("HTTP/1.1 200"), "{released}");
    node.orchestrator.report(&spec.server_id, "a free seat", |report| report.released_seats == seats).await;
    let refused = call(format!("POST /v1/seats/connected {{\"token\":\"{token}\"}}")).await;
    assert!(refused.starts_with("HTTP/1.1 403") && refused.contains("was given up"), "{refused}");

    // Whether others may join, which it may say again.
    for (text, said) in [
        ("POST /v1/backfill {\"priority\":\"high\"}", Backfill::High),
        ("POST /v1/backfill {}", Backfill::Normal),
        ("DELETE /v1/backfill", Backfill::Closed),
    ] {
        let answer = call(text.to_owned()).await;
        assert!(answer.starts_with("HTTP/1.1 204"), "{answer}");
        node.orchestrator.report(&spec.server_id, "its wish", |report| report.backfill() == said).await;
    }
    let refused = call("POST /v1/backfill {\"priority\":\"urgent\"}".to_owned()).await;
    assert!(refused.starts_with("HTTP/1.1 400") && refused.contains("high"), "{refused}");

    // Bad requests get problems, not silence.
    for (text, status, code) in [
        ("POST /v1/seats/connected {}", "400", "invalid_request"),
        ("GET /v1/nothing", "404", "not_found"),
        ("GET /v1/ready", "405", "method_not_allowed"),
    ] {
        let answer = call(text.to_owned()).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")) && answer.contains(code), "{answer}");
    }
    let large = call(format!("POST /v1/seats/connected {{\"seat\":\"{}\"}}", "x".repeat(20_000))).await;
    assert!(large.starts_with("HTTP/1.1 413") && large.contains("too_large"), "{large}");

    // A lobby is changed once there is one, part by part.
    let refused = call("PUT /v1/lobby {\"open\":false}".to_owned()).await;
    assert!(refused.starts_with("HTTP/1.1 409") && refused.contains("no lobby"), "{refused}");
    let lobby = Lobby { code: "KQXBTZ".into(), open: true, max_players: 4, ..Lobby::default() };
    let allocation = Allocation { match_id: "match_1".into(), lobby: Some(lobby), ..Allocation::default() };
    node.orchestrator.want(vec![ServerSpec { generation: 2, allocation: Some(allocation), ..spec.clone() }]);
    node.orchestrator.report(&spec.server_id, "the lobby taken in", |report| report.generation == 2).await;
    let shown = call("GET /v1/server".to_owned()).await;
    assert!(shown.contains("\"code\":\"KQXBTZ\"") && shown.contains("\"visibility\":\"private\""), "{shown}");
    for body in ["{\"open\":false}", "{\"tags\":{\"map\":\"ice\"},\"config\":{\"round\":2}}"] {
        let taken = call(format!("PUT /v1/lobby {body}")).await;
        assert!(taken.starts_with("HTTP/1.1 204"), "{taken}");
    }
    let whole = |report: &ServerReport| {
        report.lobby.as_ref().is_some_and(|wish| {
            wish.open == Some(false) && wish.config.as_deref() == Some("{\"round\":2}") && wish.name.is_none()
        })
    };
    node.orchestrator.report(&spec.server_id, "what it wants of its lobby", whole).await;
    let refused = call("PUT /v1/lobby {\"nmae\":\"x\"}".to_owned()).await;
    assert!(refused.starts_with("HTTP/1.1 4") && refused.contains("nmae"), "{refused}");

    call("POST /v1/shutdown".to_owned()).await;
    node.orchestrator.report(&spec.server_id, "a wish to stop", |report| report.shutdown_requested).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn events_tell_of_allocation_and_drain_and_need_the_servers_token() {
    let node = Node::new();
    let _agent = node.start().await;
    let spec = node.spec(&[]);
    let ready = node.run(std::slice::from_ref(&spec)).await;
    let environment =
        docker(&["inspect", "--format", "{{range .Config.Env}}{{println .}}{{end}}", &ready.container_id]);
    let variable = |name: &str| {
        let entry = environment.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        entry.unwrap_or_else(|| panic!("{name} in {environment}")).to_owned()
    };
    assert_eq!(variable("MUSTER_PORT_GAME"), "7777");
    let url = variable("MUSTER_SDK_URL").replace("http://", "ws://") + "/v1/events";
    let request = |token: &str| {
        let mut request = url.as_str().into_client_request().expect("a URL");
        let value = format!("Bearer {token}").parse().expect("a header");
        request.headers_mut().insert("authorization", value);
        request
    };
    assert!(tokio_tungstenite::connect_async(request("wrong")).await.is_err());
    let token = variable("MUSTER_SERVER_TOKEN");
    let (mut events, _) = tokio_tungstenite::connect_async(request(&token)).await.expect("connects");
    let mut next = async || {
        loop {
            let message = tokio::time::timeout(PATIENCE, events.next()).await.expect("in time");
            let message = message.expect("open").expect("whole");
            if message.is_text() {
                let text = message.into_text().expect("text");
                return serde_json::from_str::<serde_json::Value>(&text).expect("JSON");
            }
        }
    };
    let first = next().await;
    assert_eq!((&first["type"], &first["state"]), (&"state".into(), &"ready".into()), "{first}");

    let seat = AllocatedSeat { seat_id: SeatId::new().to_string(), player: "ada".into(), team: "red".into() };
    let allocation = Allocation {
        match_id: "match_1".into(),
        seats: vec![seat.clone()],
        data: r#"{"map":"dust"}"#.into(),
        lobby: None,
    };
    let allocated = ServerSpec { generation: 2, allocation: Some(allocation), ..spec.clone() };
    node.orchestrator.want(vec![allocated.clone()]);
    let event = next().await;
    assert_eq!(event["type"], "allocated", "{event}");
    assert_eq!((&event["data"]["map"], &event["seats"][0]["seat"]), (&"dust".into(), &seat.seat_id.into()));
    assert_eq!(event["seats"][0]["team"], "red", "{event}");

    let draining = ServerSpec {
        generation: 3,
        goal: ServerGoal::Drain.into(),
        drain_deadline_ms: u64::MAX,
        ..allocated
    };
    node.orchestrator.want(vec![draining]);
    let event = next().await;
    assert_eq!((&event["type"], &event["deadline_ms"]), (&"draining".into(), &u64::MAX.into()), "{event}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_stops_calling_health_is_unhealthy() {
    let node = Node::new();
    let _agent = node.start().await;
    // It calls health once, then never again.
    let spec = ServerSpec { health_timeout_ms: 3_000, ..node.spec(&["sdk"]) };
    node.orchestrator.want(vec![spec.clone()]);
    let failed = node.phase(&spec, ServerPhase::Failed).await;
    assert_eq!(failed.failure.expect("failed for a reason").code, "unhealthy");
    assert_eq!(failed.exit.map(|exit| exit.code), Some(0), "it was stopped gracefully");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_is_told_where_its_udp_players_are() {
    let node = Node::new();
    let agent = node.start().await;
    let spec = node.spec(&["sdk"]);
    node.run(std::slice::from_ref(&spec)).await;
    let mut edge = Edge::new(node.tunnel(&agent, Profile::TunnelDatagrams).await);
    let at = |client: &str| {
        let client = Some(client.parse().expect("an address"));
        Some(OpenTarget { client, ..target(&spec, 0) })
    };
    let (ada, ben) = (FlowId(1), FlowId(2));
    let ask = |port: &str| format!("GET /v1/players/{port}");
    let of = async |edge: &mut Edge, flow, open| edge.address(flow, open).await.port().to_string();
    let (adas, bens) = (
        of(&mut edge, ada, at("198.51.100.7:50000")).await,
        of(&mut edge, ben, Some(target(&spec, 0))).await,
    );
    let (of_ada, of_ben) = (ask(&adas), ask(&bens));
    let nobody = |port: &str| format!("no player plays from port {port} ");

    for place in ["198.51.100.7:50000", "[2001:db8::7]:50001"] {
        let told = format!("{{\"address\":\"{place}\"}}");
        edge.call(ada, at(place), &of_ada, ["HTTP/1.1 200", &told]).await;
        edge.call(ben, None, &of_ada, ["HTTP/1.1 200", &told]).await;
    }
    edge.call(ben, None, &of_ben, ["HTTP/1.1 404", &nobody(&bens)]).await;
    edge.call(ben, None, &ask("many"), ["HTTP/1.1 400", "recvfrom"]).await;
    edge.datagram(Header::Close(ada), b"");
    edge.call(ben, None, &of_ada, ["HTTP/1.1 404", &nobody(&adas)]).await;
}
