//! A fake agent: echoes the packets of flows it knows, and hands streams to the test.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use muster_protocol::flow::FlowId;
use muster_protocol::fragment::{Rejoined, Rejoiner, split};
use muster_protocol::id::NodeId;
use muster_protocol::stream::{StreamAccepted, StreamOpen, StreamOpened, StreamRefused, stream_opened};
use muster_protocol::tunnel::{Fragment, Header, MAX_HEADER_BYTES, OpenTarget};
use muster_transport::{
    ClientCertificate, FrameReader, FrameWriter, Profile, Role, alpn, listen, peer_identity, server_config,
};
use tokio::sync::mpsc;

use crate::authority::Authority;
use crate::world::within;

/// What it knows and has seen.
#[derive(Default)]
struct State {
    flows: HashSet<FlowId>,
    opens: Vec<(FlowId, OpenTarget)>,
    packets: HashMap<FlowId, Vec<Bytes>>,
    // The newest of datagrams.
    connection: Option<quinn::Connection>,
    closed: Vec<FlowId>,
    /// Connections for datagrams that came and did not break.
    datagrams: Vec<quinn::Connection>,
}

/// A stream the edge asked for and the test has not answered yet.
pub(crate) struct AskedStream {
    pub(crate) open: StreamOpen,
    writer: FrameWriter,
    reader: FrameReader,
}

/// A stream the test has accepted.
pub(crate) struct Stream {
    pub(crate) send: quinn::SendStream,
    pub(crate) receive: quinn::RecvStream,
    pub(crate) first: Bytes,
}

pub(crate) struct Agent {
    pub(crate) node: NodeId,
    pub(crate) address: SocketAddr,
    endpoint: quinn::Endpoint,
    state: Arc<Mutex<State>>,
    streams: mpsc::Receiver<AskedStream>,
}

impl Agent {
    pub(crate) fn start(authority: &Authority, node: NodeId, address: SocketAddr) -> Self {
        let identity = authority.issue(Role::Agent, &node.to_string(), &[]);
        let config = |profile| {
            server_config(&identity, &[alpn::TUNNEL], ClientCertificate::Required, profile).unwrap()
        };
        let datagrams = Arc::new(config(Profile::TunnelDatagrams));
        // Another secret each time: what it was before is not known as its own.
        let endpoint = listen(address, config(Profile::TunnelStreams), &rand::random::<[u8; 32]>()).unwrap();
        let address = endpoint.local_addr().unwrap();
        let state = Arc::new(Mutex::new(State::default()));
        let (sender, streams) = mpsc::channel(64);
        tokio::spawn(accept(endpoint.clone(), datagrams, state.clone(), sender));
        Self { node, address, endpoint, state, streams }
    }

    /// Ends as if killed: its flows are forgotten, its port is free when this returns.
    pub(crate) async fn kill(self) -> (NodeId, SocketAddr) {
        self.endpoint.close(0u32.into(), b"");
        self.endpoint.wait_idle().await;
        let found = (self.node, self.address);
        drop(self);
        within("the agent's port to be free", || async { std::net::UdpSocket::bind(found.1).is_ok() }).await;
        found
    }

    /// Forgets its flows, as it would by restarting behind the same connection.
    pub(crate) fn forget_flows(&self) {
        self.state.lock().unwrap().flows.clear();
    }

    /// Says something on its connection for datagrams, whatever it may be.
    pub(crate) async fn say(&self, header: Header, payload: &[u8]) {
        let mut bytes = BytesMut::new();
        header.encode(&mut bytes);
        bytes.extend_from_slice(payload);
        self.say_bytes(bytes.freeze()).await;
    }

    /// As [`Self::say`], without a header of its own.
    pub(crate) async fn say_bytes(&self, datagram: Bytes) {
        let connection = self.state.lock().unwrap().datagrams.last().cloned().expect("an edge has dialled");
        connection.send_datagram_wait(datagram).await.expect("the edge stays connected");
    }

    /// Flows that packets came on, with their packets.
    pub(crate) fn packets(&self) -> HashMap<FlowId, Vec<Bytes>> {
        self.state.lock().unwrap().packets.clone()
    }

    /// Flows that stand.
    pub(crate) fn flows(&self) -> usize {
        self.state.lock().unwrap().flows.len()
    }

    /// Every OPEN heard.
    pub(crate) fn opens(&self) -> Vec<(FlowId, OpenTarget)> {
        self.state.lock().unwrap().opens.clone()
    }

    /// Says so on the tunnel of datagrams, unasked.
    pub(crate) fn say(&self, header: Header, payload: &[u8]) {
        let connection = self.state.lock().unwrap().connection.clone().expect("an edge has dialled");
        connection.send_datagram(encoded(header, payload)).unwrap();
    }

    /// Every CLOSE heard.
    pub(crate) fn closed(&self) -> Vec<FlowId> {
        self.state.lock().unwrap().closed.clone()
    }

    /// The next stream the edge asks for.
    pub(crate) async fn asked(&mut self) -> AskedStream {
        tokio::time::timeout(crate::world::DEADLINE, self.streams.recv()).await.unwrap().unwrap()
    }
}

impl AskedStream {
    pub(crate) async fn accept(mut self) -> Stream {
        let outcome = stream_opened::Outcome::Accepted(StreamAccepted {});
        self.writer.send(&StreamOpened { outcome: Some(outcome) }).await.unwrap();
        let (receive, first) = self.reader.into_inner();
        Stream { send: self.writer.into_inner(), receive, first }
    }

    /// Answers with what is no answer.
    pub(crate) async fn babble(self, bytes: &[u8]) {
        let mut send = self.writer.into_inner();
        send.write_all(bytes).await.unwrap();
        send.finish().unwrap();
    }

    pub(crate) async fn refuse(mut self) {
        let refused = StreamRefused { code: "connect_failed".into(), detail: "refused".into() };
        let outcome = Some(stream_opened::Outcome::Refused(refused));
        self.writer.send(&StreamOpened { outcome }).await.unwrap();
        self.writer.finish();
    }
}

impl Stream {
    /// Reads until there are `length` bytes.
    pub(crate) async fn read(&mut self, length: usize) -> Vec<u8> {
        let mut bytes = std::mem::take(&mut self.first).to_vec();
        while bytes.len() < length {
            let chunk = self.receive.read_chunk(64 * 1024, true).await.unwrap().expect("not the end yet");
            bytes.extend_from_slice(&chunk.bytes);
        }
        bytes
    }

    /// Whether what it reads next is that the connection broke.
    pub(crate) async fn breaks(&mut self) -> bool {
        let end = tokio::time::timeout(crate::world::DEADLINE, self.receive.read_chunk(1, true)).await;
        matches!(end.expect("an end in time"), Err(quinn::ReadError::Reset(_)))
    }

    /// Reads until the end.
    pub(crate) async fn read_to_end(&mut self) -> Vec<u8> {
        let mut bytes = std::mem::take(&mut self.first).to_vec();
        while let Some(chunk) = self.receive.read_chunk(64 * 1024, true).await.unwrap() {
            bytes.extend_from_slice(&chunk.bytes);
        }
        bytes
    }
}

async fn accept(
    endpoint: quinn::Endpoint,
    datagrams: Arc<quinn::ServerConfig>,
    state: Arc<Mutex<State>>,
    streams: mpsc::Sender<AskedStream>,
) {
    while let Some(incoming) = endpoint.accept().await {
        let is_of_datagrams = Profile::announced(&incoming.orig_dst_cid()) == Profile::TunnelDatagrams;
        let accepted =
            if is_of_datagrams { incoming.accept_with(datagrams.clone()) } else { incoming.accept() };
        let Ok(accepted) = accepted else { continue };
        let Ok(connection) = accepted.await else { continue };
        assert_eq!(peer_identity(&connection).unwrap().role, Role::Edge);
        if is_of_datagrams {
            tokio::spawn(serve_datagrams(connection, state.clone()));
        } else {
            tokio::spawn(serve_streams(connection, streams.clone()));
        }
    }
}

async fn serve_streams(connection: quinn::Connection, streams: mpsc::Sender<AskedStream>) {
    while let Ok((send, receive)) = connection.accept_bi().await {
        let (writer, mut reader) = (FrameWriter::new(send), FrameReader::new(receive));
        let Ok(Some(open)) = reader.recv::<StreamOpen>().await else { continue };
        if streams.send(AskedStream { open, writer, reader }).await.is_err() {
            return;
        }
    }
}

fn encoded(header: Header, payload: &[u8]) -> Bytes {
    let mut bytes = BytesMut::new();
    header.encode(&mut bytes);
    bytes.extend_from_slice(payload);
    bytes.freeze()
}

async fn serve_datagrams(connection: quinn::Connection, state: Arc<Mutex<State>>) {
    state.lock().unwrap().connection = Some(connection.clone());
    let mut rejoiner = Rejoiner::default();
    let mut split_number = 0;
    state.lock().unwrap().datagrams.push(connection.clone());
    while let Ok(mut datagram) = connection.read_datagram().await {
        let mut out = Vec::new();
        {
            let mut state = state.lock().unwrap();
            match Header::decode(&mut datagram).unwrap() {
                Header::Data { flow, open, fragment } => {
                    if let Some(target) = open {
                        state.opens.push((flow, target));
                        if state.flows.insert(flow) {
                            out.push((Header::Opened(flow), Bytes::new()));
                        }
                    }
                    if !state.flows.contains(&flow) {
                        out.push((Header::Unknown(flow), Bytes::new()));
                    } else if let Some(packet) = whole(&mut rejoiner, flow, fragment, datagram) {
                        state.packets.entry(flow).or_default().push(packet.clone());
                        split_number += 1;
                        out.extend(echo(&connection, flow, &packet, split_number));
                    }
                }
                Header::Close(flow) => {
                    state.flows.remove(&flow);
                    state.closed.push(flow);
                }
                other => panic!("an edge says no such thing: {other:?}"),
            }
        }
        for (header, payload) in out {
            if connection.send_datagram(encoded(header, &payload)).is_err() {
                return;
            }
        }
    }
}

fn whole(rejoiner: &mut Rejoiner, flow: FlowId, part: Option<Fragment>, bytes: Bytes) -> Option<Bytes> {
    match part {
        None => Some(bytes),
        Some(part) => match rejoiner.push(Instant::now(), flow, part, &bytes) {
            Rejoined::Whole(packet) => Some(packet),
            Rejoined::Waiting => None,
            Rejoined::Misfit => panic!("the edge splits consistently"),
        },
    }
}

fn echo(connection: &quinn::Connection, flow: FlowId, packet: &Bytes, number: u16) -> Vec<(Header, Bytes)> {
    let room = connection.max_datagram_size().unwrap() - MAX_HEADER_BYTES;
    if packet.len() <= room {
        return vec![(Header::Data { flow, open: None, fragment: None }, packet.clone())];
    }
    let parts: Vec<_> = split(packet, room).unwrap().map(Bytes::copy_from_slice).collect();
    let count = parts.len() as u8;
    (0..count)
        .zip(parts)
        .map(|(index, part)| {
            let fragment = Some(Fragment { packet: number, index, count });
            (Header::Data { flow, open: None, fragment }, part)
        })
        .collect()
}
