//! Players' traffic through the tunnel, from an edge that is the test's own.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use muster_agent::ContainerReach;
use muster_protocol::agent::{ServerGoal, ServerPhase, ServerSpec};
use muster_protocol::flow::FlowId;
use muster_protocol::stream::{StreamOpen, StreamOpened, stream_opened::Outcome};
use muster_protocol::tunnel::{Fragment, Header, OpenTarget, RefuseReason};
use muster_transport::{FrameReader, FrameWriter, Profile, Role};
use tokio::time::timeout;

use crate::node::Node;
use crate::orchestrator::PATIENCE;

/// How long to wait before a packet counts as lost and is sent again, as a game would.
const RESEND: Duration = Duration::from_millis(200);

/// An edge's end of one datagram connection.
pub(crate) struct Edge {
    pub(crate) connection: quinn::Connection,
    next_flow: u64,
    parts: Vec<Option<Bytes>>,
}

impl Edge {
    pub(crate) fn new(connection: quinn::Connection) -> Self {
        Self { connection, next_flow: 1, parts: Vec::new() }
    }

    /// Sends one packet of `flow`, in parts if it has to be.
    pub(crate) fn send(&self, flow: FlowId, open: Option<OpenTarget>, payload: &[u8]) {
        let limit = self.connection.max_datagram_size().expect("datagrams are on");
        let header = |fragment| Header::Data { flow, open, fragment };
        if header(None).encoded_len() + payload.len() <= limit {
            return self.datagram(header(None), payload);
        }
        let part = |index, count| header(Some(Fragment { packet: 9, index, count }));
        let size = limit - part(0, 2).encoded_len();
        let chunks: Vec<_> = payload.chunks(size).collect();
        for (index, chunk) in chunks.iter().enumerate() {
            self.datagram(part(index as u8, chunks.len() as u8), chunk);
        }
    }

    pub(crate) fn datagram(&self, header: Header, payload: &[u8]) {
        let mut datagram = BytesMut::new();
        header.encode(&mut datagram);
        datagram.put_slice(payload);
        self.connection.send_datagram(datagram.freeze()).expect("sent");
    }

    /// The next datagram, headers of parts and their payload included.
    pub(crate) async fn next(&self) -> Option<(Header, Bytes)> {
        let mut datagram = timeout(RESEND, self.connection.read_datagram()).await.ok()?.expect("connected");
        let header = Header::decode(&mut datagram).expect("a tunnel datagram");
        Some((header, datagram))
    }

    /// The next whole packet of `flow`.
    pub(crate) async fn packet(&mut self, flow: FlowId) -> Option<Bytes> {
        loop {
            match self.next().await? {
                (Header::Data { flow: of, fragment: None, .. }, payload) if of == flow => {
                    return Some(payload);
                }
                (Header::Data { flow: of, fragment: Some(part), .. }, payload) if of == flow => {
                    self.parts.resize(usize::from(part.count), None);
                    self.parts[usize::from(part.index)] = Some(payload);
                    if self.parts.iter().all(Option::is_some) {
                        return Some(self.parts.drain(..).flatten().flatten().collect());
                    }
                }
                _ => {}
            }
        }
    }

    /// Sends `payload` on a new flow until there is an answer.
    pub(crate) async fn until_answered(
        &mut self,
        server: &ServerSpec,
        port_index: u8,
        payload: &[u8],
    ) -> Bytes {
        let flow = FlowId(self.next_flow);
        self.next_flow += 1;
        self.exchange(flow, Some(target(server, port_index)), payload, |_| true).await
    }

    /// Sends `payload` on `flow` until it comes back.
    pub(crate) async fn echo(&mut self, flow: FlowId, open: Option<OpenTarget>, payload: &[u8]) {
        self.exchange(flow, open, payload, |answer| answer == payload).await;
    }

    /// The address under which the server sees `flow`.
    pub(crate) async fn address(&mut self, flow: FlowId, open: Option<OpenTarget>) -> SocketAddr {
        let parse = |answer: &[u8]| std::str::from_utf8(answer).ok().and_then(|text| text.parse().ok());
        let answer = self.exchange(flow, open, b"who am i", |answer| parse(answer).is_some()).await;
        parse(&answer).expect("just parsed")
    }

    /// Has the server make a request of the SDK endpoint, as `text` says, until the response has all of `wanted` in it.
    pub(crate) async fn call(
        &mut self,
        flow: FlowId,
        open: Option<OpenTarget>,
        text: &str,
        wanted: [&str; 2],
    ) {
        let is_wanted = |answer: &[u8]| {
            let answer = String::from_utf8_lossy(answer);
            wanted.iter().all(|wanted| answer.contains(wanted))
        };
        self.exchange(flow, open, format!("call {text}").as_bytes(), is_wanted).await;
    }

    /// Sends `payload` on `flow` until there is an answer as wanted; others answer earlier packets.
    async fn exchange(
        &mut self,
        flow: FlowId,
        open: Option<OpenTarget>,
        payload: &[u8],
        wanted: impl Fn(&[u8]) -> bool,
    ) -> Bytes {
        let exchange = async {
            loop {
                self.send(flow, open, payload);
                while let Some(answer) = self.packet(flow).await {
                    if wanted(&answer) {
                        return answer;
                    }
                }
            }
        };
        timeout(PATIENCE, exchange).await.expect("no answer in time")
    }

    /// Sends a packet until a header other than data comes back.
    pub(crate) async fn verdict(&self, flow: FlowId, open: Option<OpenTarget>) -> Header {
        let asking = async {
            loop {
                self.send(flow, open, b"knock");
                if let Some((header, _)) = self.next().await
                    && !matches!(header, Header::Data { .. })
                {
                    return header;
                }
            }
        };
        timeout(PATIENCE, asking).await.expect("no verdict in time")
    }
}

pub(crate) fn target(server: &ServerSpec, port_index: u8) -> OpenTarget {
    OpenTarget { server: server.server_id.parse().expect("an id"), port_index, client: None }
}

#[tokio::test(flavor = "multi_thread")]
async fn udp_goes_through_and_keeps_its_address_when_the_edge_changes() {
    let node = Node::new();
    let agent = node.start().await;
    let spec = node.spec(&[]);
    node.run(std::slice::from_ref(&spec)).await;
    let mut edge = Edge::new(node.tunnel(&agent, Profile::TunnelDatagrams).await);
    let (flow, open) = (FlowId(77), target(&spec, 0));

    assert_eq!(edge.verdict(flow, None).await, Header::Unknown(flow));
    assert_eq!(edge.verdict(flow, Some(open)).await, Header::Opened(flow));
    edge.echo(flow, None, b"hello").await;
    let large: Vec<u8> = (0..60_000_u32).map(|i| i as u8).collect();
    edge.echo(flow, None, &large).await;
    edge.echo(flow, None, b"").await;

    // Two flows are two players; one flow over another edge is the same one.
    let address = edge.address(flow, None).await;
    let mut other_edge = Edge::new(node.tunnel(&agent, Profile::TunnelDatagrams).await);
    assert_ne!(other_edge.address(FlowId(78), Some(open)).await, address);
    assert_eq!(other_edge.address(flow, Some(open)).await, address);
    // The edge it has left cannot end it; the one it is on can.
    edge.datagram(Header::Close(flow), b"");
    assert_eq!(edge.verdict(FlowId(79), None).await, Header::Unknown(FlowId(79)), "the close has been read");
    other_edge.echo(flow, None, b"still here").await;
    other_edge.datagram(Header::Close(flow), b"");
    assert_eq!(other_edge.verdict(flow, None).await, Header::Unknown(flow));

    // Junk harms nobody.
    edge.connection.send_datagram(Bytes::from_static(&[0xff, 1, 2])).expect("sent");
    edge.echo(FlowId(80), Some(open), b"after junk").await;

    let elsewhere = OpenTarget { server: muster_protocol::id::ServerId::new(), port_index: 0, client: None };
    let refused = Header::Refused(FlowId(81), RefuseReason::UnknownServer);
    assert_eq!(edge.verdict(FlowId(81), Some(elsewhere)).await, refused);
    let refused = Header::Refused(FlowId(82), RefuseReason::UnknownPort);
    assert_eq!(edge.verdict(FlowId(82), Some(target(&spec, 1))).await, refused, "a TCP port");
    assert_eq!(edge.verdict(FlowId(82), Some(target(&spec, 9))).await, refused, "no port");

    // The server's end is its flows' end.
    let stop = ServerSpec { generation: 2, goal: ServerGoal::Stop.into(), ..spec.clone() };
    node.orchestrator.want(vec![stop]);
    let closed = async {
        loop {
            if let Some((Header::Close(flow), _)) = edge.next().await {
                return flow;
            }
        }
    };
    assert_eq!(timeout(PATIENCE, closed).await.expect("told in time"), FlowId(80));
    node.phase(&spec, ServerPhase::Exited).await;
}

pub(crate) async fn open_stream(
    connection: &quinn::Connection,
    server_id: &str,
    port_index: u32,
) -> (Outcome, FrameWriter, FrameReader) {
    let (send, receive) = connection.open_bi().await.expect("opens");
    let (mut writer, mut reader) = (FrameWriter::new(send), FrameReader::new(receive));
    let request = StreamOpen {
        server_id: server_id.to_owned(),
        port_index,
        client_address: "192.0.2.7:50000".into(),
        seat_id: String::new(),
    };
    writer.send(&request).await.expect("sends");
    let opened = timeout(PATIENCE, reader.recv::<StreamOpened>()).await.expect("in time").expect("whole");
    (opened.and_then(|opened| opened.outcome).expect("an outcome"), writer, reader)
}

#[tokio::test(flavor = "multi_thread")]
async fn tcp_goes_through_and_each_direction_ends_by_itself() {
    let node = Node::new();
    let agent = node.start().await;
    let spec = node.spec(&[]);
    node.run(std::slice::from_ref(&spec)).await;
    let connection = node.tunnel(&agent, Profile::TunnelStreams).await;

    // The server answers only once it has seen the end of what it reads.
    let (outcome, writer, reader) = open_stream(&connection, &spec.server_id, 1).await;
    assert!(matches!(outcome, Outcome::Accepted(_)), "{outcome:?}");
    let sent: Vec<u8> = (0..300_000_u32).map(|i| (i / 7) as u8).collect();
    let mut send = writer.into_inner();
    send.write_all(&sent).await.expect("sends");
    send.finish().expect("open");
    let (mut receive, first) = reader.into_inner();
    let rest = timeout(PATIENCE, receive.read_to_end(1 << 20)).await.expect("in time").expect("whole");
    let answer = [&first[..], &rest].concat();
    assert_eq!(answer, [&sent[..], b"|300000"].concat());

    let unknown = muster_protocol::id::ServerId::new().to_string();
    for (server, port, code) in [
        (unknown.as_str(), 1, "unknown_server"),
        (&spec.server_id, 0, "unknown_port"),
        (&spec.server_id, 7, "unknown_port"),
    ] {
        match open_stream(&connection, server, port).await.0 {
            Outcome::Refused(refused) => assert_eq!(refused.code, code, "{}", refused.detail),
            Outcome::Accepted(_) => panic!("port {port} of {server} was opened"),
        }
    }

    // A connection ends with its server.
    let (_, _writer, reader) = open_stream(&connection, &spec.server_id, 1).await;
    let (mut receive, _) = reader.into_inner();
    node.orchestrator.want(Vec::new());
    let ended = timeout(PATIENCE, receive.read_to_end(16)).await.expect("in time");
    assert!(ended.is_err() || ended.is_ok_and(|bytes| bytes.is_empty()));
    node.until_containers(0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_edges_may_open_tunnels() {
    let node = Node::new();
    let agent = node.start().await;
    for (role, id) in [(Role::Agent, "node_01h455vb4pex5vsknk084sn02q"), (Role::Orchestrator, "orchestrator")]
    {
        let identity = node.authority.identity(role, id);
        let connection = node.tunnel_as(agent.tunnel_address(), &identity, Profile::TunnelDatagrams).await;
        let closed = timeout(PATIENCE, connection.closed()).await.expect("closed in time");
        assert!(matches!(closed, quinn::ConnectionError::ApplicationClosed(_)), "{closed}");
    }
    // Nor may an edge of somebody else's authority.
    let stranger = crate::authority::Authority::new().identity(Role::Edge, "edge_01h455vb4pex5vsknk084sn02q");
    let stranger = muster_transport::Identity {
        authority: node.authority.identity(Role::Edge, "edge_x").authority,
        ..stranger
    };
    let connection = node.tunnel_as(agent.tunnel_address(), &stranger, Profile::TunnelDatagrams).await;
    let closed = timeout(PATIENCE, connection.closed()).await.expect("closed in time");
    assert!(matches!(closed, quinn::ConnectionError::ConnectionClosed(_)), "{closed}");
    // It may be at making its network still: that has to end before the network is cleaned up.
    agent.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_the_bridge_cannot_be_reached_ports_are_published_on_loopback() {
    let mut node = Node::new();
    node.config.container_reach = ContainerReach::Published;
    let agent = node.start().await;
    let spec = node.spec(&[]);
    let ready = node.run(std::slice::from_ref(&spec)).await;
    let ports = crate::node::docker(&["port", &ready.container_id]);
    assert!(
        ports.lines().count() == 2 && ports.lines().all(|line| line.contains("-> 127.0.0.1:")),
        "{ports}"
    );
    let mut edge = Edge::new(node.tunnel(&agent, Profile::TunnelDatagrams).await);
    assert_eq!(edge.until_answered(&spec, 0, b"by loopback").await, &b"by loopback"[..]);
}
