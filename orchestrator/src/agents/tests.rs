//! Fake agents over real QUIC: what they are told, what their reports do, what they fetch and relay.

use bytes::Bytes;
use futures_util::TryStreamExt;
use muster_protocol::agent::{
    AgentMessage, BlobReply, BlobRequest, DesiredServers, LogChunk, LogsRequest, NodeUsage, ServerExit,
    ServerFailure, ServerGoal, ServerPhase, ServerReport, ToAgent, agent_message, blob_reply, log_chunk,
    to_agent,
};
use muster_protocol::id::{NodeId, ServerId, UploadId};
use muster_transport::{FrameReader, FrameWriter, Identity, Role};
use quinn::{Connection, ConnectionError};

use super::logs::{self, LogsError};
use crate::blobs::Digest;
use crate::installation::FIRST_NAMESPACE;
use crate::records::ServerState;
use crate::testing::{Bench, agent_hello, eventually, soon};
use crate::{clock, lifecycle, state};

/// An agent that has said hello and been welcomed.
struct FakeAgent {
    node: NodeId,
    connection: Connection,
    writer: FrameWriter,
    reader: FrameReader,
}

impl FakeAgent {
    async fn connect(bench: &Bench, identity: &Identity, servers: Vec<ServerReport>) -> Self {
        let (connection, mut writer, mut reader) = bench.control(identity).await;
        let mut hello = agent_hello();
        hello.servers = servers;
        say(&mut writer, agent_message::Body::Hello(hello)).await;
        let first: Option<ToAgent> = soon("a welcome", reader.recv()).await.expect("readable");
        let Some(to_agent::Body::Welcome(welcome)) = first.and_then(|message| message.body) else {
            panic!("the first message is the welcome");
        };
        assert_eq!(welcome.token_keys.len(), 1);
        let node = identity.id.parse().expect("a node's id");
        Self { node, connection, writer, reader }
    }

    /// The next message that says what is wanted.
    async fn told(&mut self) -> DesiredServers {
        let message: Option<ToAgent> =
            soon("word of what is wanted", self.reader.recv()).await.expect("readable");
        match message.and_then(|message| message.body) {
            Some(to_agent::Body::Desired(desired)) => desired,
            other => panic!("not what is wanted: {other:?}"),
        }
    }

    async fn report(&mut self, report: ServerReport) {
        say(&mut self.writer, agent_message::Body::Report(report)).await;
    }
}

async fn say(writer: &mut FrameWriter, body: agent_message::Body) {
    writer.send(&AgentMessage { body: Some(body) }).await.expect("sent");
}

fn report(server: ServerId, generation: u64, phase: ServerPhase) -> ServerReport {
    let at = clock::now_ms();
    ServerReport {
        server_id: server.to_string(),
        generation,
        phase: phase.into(),
        container_id: "c0ffee".into(),
        pulling_at_ms: at,
        starting_at_ms: if phase == ServerPhase::Pulling { 0 } else { at },
        ..Default::default()
    }
}

async fn is_connected(bench: &Bench, node: NodeId) -> bool {
    let read = bench.app.db.read("test", async |mut tx| state::nodes::load(&mut tx, node).await).await;
    read.expect("readable").expect("there").connected
}

#[tokio::test]
async fn an_agent_is_told_what_is_wanted_and_its_reports_move_the_server() {
    let bench = Bench::start().await;
    let identity = bench.machine(Role::Agent).await;
    let mut agent = FakeAgent::connect(&bench, &identity, Vec::new()).await;
    assert!(is_connected(&bench, agent.node).await);
    let desired = agent.told().await;
    assert!(desired.full && desired.servers.is_empty());

    let server = bench.placed_server(agent.node, 20_000).await;
    let desired = agent.told().await;
    assert!(!desired.full);
    assert_eq!(desired.servers[0].server_id, server.to_string());
    assert_eq!(desired.servers[0].goal(), ServerGoal::Run);

    agent.report(report(server, 1, ServerPhase::Pulling)).await;
    bench.server_in(server, ServerState::Pulling).await;
    agent.report(report(server, 1, ServerPhase::Starting)).await;
    let record = bench.server_in(server, ServerState::Starting).await;
    assert_eq!(record.container_id, "c0ffee");

    let now_ms = clock::now_ms();
    let stopped = lifecycle::stop_server(&bench.app.db, FIRST_NAMESPACE, server, "asked", true, now_ms).await;
    let generation = stopped.expect("written").expect("there").generation;
    let desired = agent.told().await;
    assert_eq!((desired.full, desired.servers[0].goal()), (false, ServerGoal::Stop));
    assert_eq!(desired.servers[0].generation, generation);

    let exit = ServerExit { code: 143, out_of_memory: false, log_tail: "bye".into() };
    let exited = ServerReport { exit: Some(exit), ..report(server, generation, ServerPhase::Exited) };
    agent.report(exited).await;
    bench.server_in(server, ServerState::Stopped).await;
    let desired = agent.told().await;
    assert_eq!(desired.forget, [server.to_string()]);
    bench.stop().await;
}

#[tokio::test]
async fn what_an_agent_says_at_its_hello_counts_and_what_it_lost_is_lost() {
    let bench = Bench::start().await;
    let identity = bench.machine(Role::Agent).await;
    let node = identity.id.parse().expect("a node's id");
    let kept = bench.placed_server(node, 20_000).await;
    let lost = bench.placed_server(node, 20_001).await;
    // Both run; then the agent is away and comes back with one of them.
    let mut agent = FakeAgent::connect(
        &bench,
        &identity,
        vec![report(kept, 1, ServerPhase::Starting), report(lost, 1, ServerPhase::Starting)],
    )
    .await;
    bench.server_in(lost, ServerState::Starting).await;
    agent.told().await;
    agent.connection.close(0u32.into(), b"away");
    eventually("the link's end in the store", async || (!is_connected(&bench, node).await).then_some(()))
        .await;
    assert_eq!(bench.server(lost).await.state(), ServerState::Starting, "a lost link loses no server");

    let mut agent = FakeAgent::connect(&bench, &identity, vec![report(kept, 1, ServerPhase::Starting)]).await;
    bench.server_in(lost, ServerState::Failed).await;
    let desired = agent.told().await;
    assert!(desired.full);
    let told: Vec<_> = desired.servers.iter().map(|spec| spec.server_id.clone()).collect();
    assert_eq!(told, [kept.to_string()]);
    bench.stop().await;
}

#[tokio::test]
async fn usage_is_known_while_the_link_is_up() {
    let bench = Bench::start().await;
    let identity = bench.machine(Role::Agent).await;
    let mut agent = FakeAgent::connect(&bench, &identity, Vec::new()).await;
    let usage = NodeUsage { cpu_millis: 250, memory_bytes: 7, containers: 3, unable: "no Docker".into() };
    say(&mut agent.writer, agent_message::Body::Usage(usage)).await;
    let links = &bench.app.links;
    let status =
        eventually("the usage", async || links.agent(agent.node).filter(|status| status.cpu_millis > 0))
            .await;
    assert_eq!((status.cpu_millis, status.memory_bytes, status.containers), (250, 7, 3));
    eventually("the reason in the store", async || {
        let read = bench.app.db.read("test", async |mut tx| state::nodes::load(&mut tx, agent.node).await);
        read.await.expect("readable").filter(|node| node.unable == "no Docker")
    })
    .await;
    agent.connection.close(0u32.into(), b"away");
    eventually("the end", async || links.agent(agent.node).is_none().then_some(())).await;
    bench.stop().await;
}

#[tokio::test]
async fn a_second_link_of_a_node_takes_the_place_of_the_first() {
    let bench = Bench::start().await;
    let identity = bench.machine(Role::Agent).await;
    let first = FakeAgent::connect(&bench, &identity, Vec::new()).await;
    let mut second = FakeAgent::connect(&bench, &identity, Vec::new()).await;
    let closed = soon("the first to be closed", first.connection.closed()).await;
    let ConnectionError::ApplicationClosed(close) = closed else { panic!("closed by {closed}") };
    assert_eq!(u64::from(close.error_code), 1);
    // Only the listener and the second session are left: the first has written its end, if it has one.
    eventually("the first session to end", async || (bench.tasks.len() == 2).then_some(())).await;
    assert!(is_connected(&bench, second.node).await);
    assert!(bench.app.links.agent(second.node).is_some());
    assert!(second.told().await.full);
    bench.stop().await;
}

#[tokio::test]
async fn a_link_without_a_heartbeat_is_closed() {
    let bench = Bench::start().await;
    let identity = bench.machine(Role::Agent).await;
    let agent = FakeAgent::connect(&bench, &identity, Vec::new()).await;
    // QUIC keeps the connection alive, but the agent itself says nothing.
    let closed = soon("the link to be closed", agent.connection.closed()).await;
    let ConnectionError::ApplicationClosed(close) = closed else { panic!("closed by {closed}") };
    assert_eq!(u64::from(close.error_code), 2);
    eventually("the end in the store", async || (!is_connected(&bench, agent.node).await).then_some(()))
        .await;
    bench.stop().await;
}

#[tokio::test]
async fn a_node_that_is_not_on_record_is_told_to_join_again() {
    let bench = Bench::start().await;
    // Its certificate is from the same authority, but the store has been set back.
    let stranger = Bench::start().await;
    let mut identity = bench.machine(Role::Agent).await;
    let theirs = stranger.machine(Role::Agent).await;
    let request = {
        let key = rcgen::KeyPair::try_from(&theirs.key).expect("a key");
        rcgen::CertificateParams::default().serialize_request(&key).expect("a request").der().to_vec()
    };
    let unknown = NodeId::new().to_string();
    identity.certificate = bench
        .app
        .authority
        .sign_request(&request, Role::Agent, &unknown, &[], clock::now_ms())
        .expect("signed");
    identity.key = theirs.key.clone_key();
    let (connection, mut writer, _reader) = bench.control(&identity).await;
    say(&mut writer, agent_message::Body::Hello(agent_hello())).await;
    let closed = soon("the link to be closed", connection.closed()).await;
    let ConnectionError::ApplicationClosed(close) = closed else { panic!("closed by {closed}") };
    assert_eq!(u64::from(close.error_code), 5);
    assert!(String::from_utf8_lossy(&close.reason).contains("join again"));
    stranger.stop().await;
    bench.stop().await;
}

#[tokio::test]
async fn an_orchestrators_certificate_is_no_agents() {
    let bench = Bench::start().await;
    let identity = bench.app.authority.orchestrator_identity(clock::now_ms()).expect("signed");
    let connection = bench.dial(&identity).await;
    let closed = soon("the link to be closed", connection.closed()).await;
    let ConnectionError::ApplicationClosed(close) = closed else { panic!("closed by {closed}") };
    assert_eq!(u64::from(close.error_code), 5);
    bench.stop().await;
}

async fn request_blob(agent: &FakeAgent, digest: &str, offset: u64) -> (blob_reply::Outcome, Vec<u8>) {
    let (send, receive) = agent.connection.open_bi().await.expect("a stream");
    let (mut writer, mut reader) = (FrameWriter::new(send), FrameReader::new(receive));
    writer.send(&BlobRequest { digest: digest.to_owned(), offset }).await.expect("sent");
    writer.finish();
    let reply: Option<BlobReply> = soon("a reply", reader.recv()).await.expect("readable");
    let (mut receive, behind) = reader.into_inner();
    let mut bytes = behind.to_vec();
    bytes.extend(soon("the bytes", receive.read_to_end(usize::MAX)).await.expect("readable"));
    (reply.and_then(|reply| reply.outcome).expect("an outcome"), bytes)
}

#[tokio::test]
async fn a_build_is_served_from_where_a_transfer_got_to() {
    let bench = Bench::start().await;
    // More than one read from disk, so that the pieces have to fit.
    let archive: Vec<u8> = (0..700_000u32).flat_map(u32::to_le_bytes).collect();
    let (digest, size, upload) = (Digest::of(&archive), archive.len() as u64, UploadId::new());
    bench.app.blobs.upload_append(upload, size, 0, Bytes::from(archive.clone())).await.expect("held");
    bench.app.blobs.upload_finish(upload, size, digest).await.expect("whole");
    let identity = bench.machine(Role::Agent).await;
    let agent = FakeAgent::connect(&bench, &identity, Vec::new()).await;
    for offset in [0, 1_234_567, size] {
        let (outcome, bytes) = request_blob(&agent, &digest.to_string(), offset).await;
        assert_eq!(outcome, blob_reply::Outcome::SizeBytes(size));
        assert!(bytes == archive[offset as usize..], "other bytes from {offset} on");
    }
    let unknown = Digest::of(b"another").to_string();
    for (digest, offset, code) in [
        (unknown.as_str(), 0, "build_unknown"),
        ("../../etc/passwd", 0, "digest_invalid"),
        (digest.to_string().as_str(), size + 1, "offset_invalid"),
    ] {
        let (outcome, bytes) = request_blob(&agent, digest, offset).await;
        let blob_reply::Outcome::Refused(refused) = outcome else { panic!("served {digest}") };
        assert_eq!((refused.code.as_str(), bytes.len()), (code, 0));
    }
    bench.stop().await;
}

/// Answers one request for a log with `chunks`, and gives the request.
async fn serve_log(agent: &FakeAgent, chunks: &[log_chunk::Body]) -> LogsRequest {
    let (send, receive) = soon("a stream", agent.connection.accept_bi()).await.expect("a stream");
    let (mut writer, mut reader) = (FrameWriter::new(send), FrameReader::new(receive));
    let request: Option<LogsRequest> = soon("a request", reader.recv()).await.expect("readable");
    for body in chunks {
        writer.send(&LogChunk { body: Some(body.clone()) }).await.expect("sent");
    }
    writer.finish();
    request.expect("a request")
}

#[tokio::test]
async fn a_log_is_relayed_from_the_agent() {
    let bench = Bench::start().await;
    let identity = bench.machine(Role::Agent).await;
    let agent = FakeAgent::connect(&bench, &identity, Vec::new()).await;
    let server = ServerId::new();
    let output = |text: &'static str| log_chunk::Body::Output(Bytes::from_static(text.as_bytes()));

    // Asked for at the replica that has the link, and at another one.
    let other = bench.replica().await;
    for app in [&bench.app, &other.app] {
        let read = async {
            let log = logs::read(app, agent.node, server, true, 50).await.expect("flowing");
            log.try_collect::<Vec<Bytes>>().await.expect("to its end").concat()
        };
        let chunks = [output("one\n"), output("two\n")];
        let (request, text) = tokio::join!(serve_log(&agent, &chunks), soon("the log", read));
        assert_eq!(text, b"one\ntwo\n");
        assert_eq!((request.server_id, request.follow, request.tail_lines), (server.to_string(), true, 50));

        let refused = ServerFailure { code: "unknown_server".into(), detail: "not here".into() };
        let refusal = [log_chunk::Body::Refused(refused)];
        let (_, error) =
            tokio::join!(serve_log(&agent, &refusal), logs::read(app, agent.node, server, false, u32::MAX));
        assert!(matches!(error.err(), Some(LogsError::Refused { code, .. }) if code == "unknown_server"));

        let absent = NodeId::new();
        let error = logs::read(app, absent, server, false, 1).await.err().expect("not connected");
        assert!(error.to_string().contains(&absent.to_string()), "{error}");
    }
    other.stop_replica().await;
    bench.stop().await;
}

#[tokio::test]
async fn a_reader_that_leaves_ends_the_agents_stream_through_another_replica_too() {
    let bench = Bench::start().await;
    let identity = bench.machine(Role::Agent).await;
    let agent = FakeAgent::connect(&bench, &identity, Vec::new()).await;
    let other = bench.replica().await;
    let (streams, log) = tokio::join!(
        soon("a stream", agent.connection.accept_bi()),
        logs::read(&other.app, agent.node, ServerId::new(), true, 1)
    );
    let (send, _receive) = streams.expect("a stream");
    drop(log.expect("flowing"));
    // A quiet log: nothing is written that would fail.
    soon("the stream to be given up", send.stopped()).await.expect("stopped");
    other.stop_replica().await;
    bench.stop().await;
}

#[tokio::test]
async fn a_build_pushed_to_one_replica_is_served_by_another() {
    let bench = Bench::start().await;
    let archive = b"an archive".repeat(100_000);
    let (digest, size, upload) = (Digest::of(&archive), archive.len() as u64, UploadId::new());
    bench.app.blobs.upload_append(upload, size, 0, Bytes::from(archive.clone())).await.expect("held");
    bench.app.blobs.upload_finish(upload, size, digest).await.expect("whole");
    let other = bench.replica().await;
    let workers = [bench.worker(), other.worker()];
    eventually("both to be known", async || {
        let live = bench.app.db.read("test", async |mut tx| state::replicas::live(&mut tx).await).await;
        (live.expect("readable").len() == 2).then_some(())
    })
    .await;
    let identity = bench.machine(Role::Agent).await;
    let agent = FakeAgent::connect(&other, &identity, Vec::new()).await;
    let (outcome, bytes) = request_blob(&agent, &digest.to_string(), 7).await;
    assert_eq!(outcome, blob_reply::Outcome::SizeBytes(size));
    assert!(bytes == archive[7..]);
    assert_eq!(other.app.blobs.size(&digest).await.expect("readable"), Some(size), "it is here now");
    let (outcome, _) = request_blob(&agent, &Digest::of(b"another").to_string(), 0).await;
    assert!(matches!(outcome, blob_reply::Outcome::Refused(refused) if refused.code == "build_unknown"));
    for worker in workers {
        worker.stop().await;
    }
    other.stop_replica().await;
    bench.stop().await;
}

#[tokio::test]
async fn what_an_older_link_said_is_not_written_once_there_is_a_newer_one_elsewhere() {
    let bench = Bench::start().await;
    let other = bench.replica().await;
    let identity = bench.machine(Role::Agent).await;
    let mut old = FakeAgent::connect(&bench, &identity, Vec::new()).await;
    let server = bench.placed_server(old.node, 20_100).await;
    // This replica stands still; the agent dials another one and says there what is.
    let starting = report(server, 1, ServerPhase::Starting);
    let _new = FakeAgent::connect(&other, &identity, vec![starting]).await;
    bench.server_in(server, ServerState::Starting).await;
    let late = ServerReport {
        phase: ServerPhase::Exited.into(),
        exit: Some(ServerExit { code: 1, ..Default::default() }),
        ..report(server, 1, ServerPhase::Exited)
    };
    old.report(late).await;
    let closed = soon("the old link to be closed", old.connection.closed()).await;
    assert!(closed.to_string().contains("dial again"), "{closed}");
    assert_eq!(bench.server(server).await.state(), ServerState::Starting);
    other.stop_replica().await;
    bench.stop().await;
}
