//! An orchestrator's end of the link, over real QUIC: it says what a test wants and keeps what it hears.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use muster_protocol::agent::{
    AgentHello, AgentMessage, AgentWelcome, BlobReply, BlobRequest, DesiredServers, LogChunk, LogsRequest,
    NodeUsage, ServerFailure, ServerReport, ServerSpec, ToAgent, TokenKey, agent_message, blob_reply,
    log_chunk, to_agent,
};
use muster_protocol::token::TokenSigner;
use muster_transport::{
    ClientCertificate, FrameReader, FrameWriter, Identity, PeerIdentity, Profile, alpn, bind, peer_identity,
    server_config,
};
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

/// How long anything a test waits for may take. Generous: the machine may be busy with other tests.
pub(crate) const PATIENCE: Duration = Duration::from_secs(90);

/// What has been heard of an agent.
#[derive(Clone, Default)]
pub(crate) struct Heard {
    pub(crate) hello: Option<AgentHello>,
    pub(crate) hellos: usize,
    pub(crate) peer: Option<PeerIdentity>,
    pub(crate) usage: Option<NodeUsage>,
    pub(crate) reports: HashMap<String, ServerReport>,
    /// Every report in the order it came.
    pub(crate) history: Vec<ServerReport>,
    /// Offset and digest of every request for a blob.
    pub(crate) blob_requests: Vec<(u64, String)>,
}

/// How blobs are sent.
#[derive(Default)]
struct Blobs {
    by_digest: HashMap<String, Vec<u8>>,
    /// Break off after so many bytes, once each.
    cuts: Vec<usize>,
}

pub(crate) struct Orchestrator {
    pub(crate) address: SocketAddr,
    pub(crate) signer: TokenSigner,
    endpoint: Option<quinn::Endpoint>,
    heard: watch::Sender<Heard>,
    control: Arc<Mutex<Option<mpsc::UnboundedSender<ToAgent>>>>,
    connection: Arc<Mutex<Option<quinn::Connection>>>,
    blobs: Arc<Mutex<Blobs>>,
    /// Said to every agent that connects, as a full state.
    desired: Arc<Mutex<Option<Vec<ServerSpec>>>>,
    task: tokio::task::JoinHandle<()>,
}

/// An Ed25519 key pair that signs nothing but the tests' tokens: seed of RFC 8032's first test vector.
const TOKEN_KEY: &str = "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60\
                         d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|i| u8::from_str_radix(&text[i..i + 2], 16).expect("hex")).collect()
}

impl Orchestrator {
    pub(crate) fn start(identity: &Identity) -> Self {
        let any = "127.0.0.1:0".parse().expect("an address");
        Self::listen(identity, any).expect("any port will do")
    }

    /// Another one in the place of one that has stopped, once its port is free.
    pub(crate) async fn start_again(&mut self, identity: &Identity) {
        let began = std::time::Instant::now();
        *self = loop {
            match Self::listen(identity, self.address) {
                Ok(orchestrator) => break orchestrator,
                Err(error) => assert!(began.elapsed() < PATIENCE, "the port is never free: {error}"),
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        };
    }

    fn listen(identity: &Identity, address: SocketAddr) -> std::io::Result<Self> {
        let config = server_config(identity, &[alpn::LINK], ClientCertificate::Required, Profile::Link)
            .expect("usable");
        let endpoint = bind(address, Some(config))?;
        let mut orchestrator = Self {
            address: endpoint.local_addr().expect("bound"),
            signer: TokenSigner::new("test", &unhex(TOKEN_KEY)).expect("a key"),
            endpoint: Some(endpoint.clone()),
            heard: watch::Sender::default(),
            control: Arc::default(),
            connection: Arc::default(),
            blobs: Arc::default(),
            desired: Arc::default(),
            task: tokio::spawn(async {}),
        };
        let session = Session {
            heard: orchestrator.heard.clone(),
            control: Arc::clone(&orchestrator.control),
            connection: Arc::clone(&orchestrator.connection),
            blobs: Arc::clone(&orchestrator.blobs),
            desired: Arc::clone(&orchestrator.desired),
            key: orchestrator.signer.public_key().to_vec(),
        };
        orchestrator.task = tokio::spawn(async move {
            while let Some(incoming) = endpoint.accept().await {
                if let Ok(connection) = incoming.await {
                    tokio::spawn(session.clone().run(connection));
                }
            }
        });
        Ok(orchestrator)
    }

    /// Gone, as if killed.
    pub(crate) fn stop(&mut self) {
        self.task.abort();
        *self.control.lock().expect("whole") = None;
        *self.connection.lock().expect("whole") = None;
        if let Some(endpoint) = self.endpoint.take() {
            endpoint.close(0u8.into(), b"gone");
        }
    }

    /// Wants exactly these servers, now and of whoever connects.
    pub(crate) fn want(&self, servers: Vec<ServerSpec>) {
        *self.desired.lock().expect("whole") = Some(servers.clone());
        self.say(DesiredServers { full: true, servers, forget: Vec::new() });
    }

    /// Says a change, if an agent is there to hear it.
    pub(crate) fn say(&self, desired: DesiredServers) {
        if let Some(control) = &*self.control.lock().expect("whole") {
            let _ = control.send(ToAgent { body: Some(to_agent::Body::Desired(desired)) });
        }
    }

    pub(crate) fn offer(&self, digest: &str, blob: Vec<u8>) {
        self.blobs.lock().expect("whole").by_digest.insert(digest.to_owned(), blob);
    }

    pub(crate) fn cut_transfers_after(&self, bytes: &[usize]) {
        self.blobs.lock().expect("whole").cuts = bytes.to_vec();
    }

    pub(crate) fn heard(&self) -> Heard {
        self.heard.borrow().clone()
    }

    /// Waits until what was heard satisfies `enough`.
    pub(crate) async fn hear(&self, what: &str, enough: impl Fn(&Heard) -> bool) -> Heard {
        let mut heard = self.heard.subscribe();
        let result = timeout(PATIENCE, heard.wait_for(|heard| enough(heard))).await;
        match result {
            Ok(heard) => heard.expect("the sender lives").clone(),
            Err(late) => panic!("never heard: {what} ({late}); last reports: {:#?}", self.heard().reports),
        }
    }

    /// Waits until the newest report of `server` satisfies `enough`.
    pub(crate) async fn report(
        &self,
        server: &str,
        what: &str,
        enough: impl Fn(&ServerReport) -> bool,
    ) -> ServerReport {
        let heard = self.hear(what, |heard| heard.reports.get(server).is_some_and(&enough)).await;
        heard.reports[server].clone()
    }

    /// Asks for a server's log; each item is a chunk, or why there is none.
    pub(crate) async fn logs(&self, server: &str, follow: bool, tail_lines: u32) -> Logs {
        let connection = self.connection.lock().expect("whole").clone().expect("an agent is there");
        let (send, receive) = connection.open_bi().await.expect("opens");
        let mut writer = FrameWriter::new(send);
        let request = LogsRequest { server_id: server.to_owned(), follow, tail_lines };
        writer.send(&request).await.expect("sends");
        writer.finish();
        Logs { reader: FrameReader::new(receive) }
    }
}

pub(crate) struct Logs {
    reader: FrameReader,
}

impl Logs {
    pub(crate) async fn next(&mut self) -> Option<Result<String, ServerFailure>> {
        let chunk =
            timeout(PATIENCE, self.reader.recv::<LogChunk>()).await.expect("in time").expect("whole")?;
        Some(match chunk.body.expect("set") {
            log_chunk::Body::Output(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
            log_chunk::Body::Refused(failure) => Err(failure),
        })
    }
}

#[derive(Clone)]
struct Session {
    heard: watch::Sender<Heard>,
    control: Arc<Mutex<Option<mpsc::UnboundedSender<ToAgent>>>>,
    connection: Arc<Mutex<Option<quinn::Connection>>>,
    blobs: Arc<Mutex<Blobs>>,
    desired: Arc<Mutex<Option<Vec<ServerSpec>>>>,
    key: Vec<u8>,
}

impl Session {
    async fn run(self, connection: quinn::Connection) {
        let Ok((send, receive)) = connection.accept_bi().await else { return };
        let (mut writer, mut reader) = (FrameWriter::new(send), FrameReader::new(receive));
        let Ok(Some(AgentMessage { body: Some(agent_message::Body::Hello(hello)) })) = reader.recv().await
        else {
            return;
        };
        let peer = peer_identity(&connection);
        self.heard.send_modify(|heard| {
            heard
                .reports
                .extend(hello.servers.iter().map(|report| (report.server_id.clone(), report.clone())));
            heard.hellos += 1;
            heard.hello = Some(hello);
            heard.peer = peer;
        });
        let (control, mut orders) = mpsc::unbounded_channel();
        let key = TokenKey { key_id: "test".to_owned(), public_key: self.key.clone().into() };
        let welcome = AgentWelcome { token_keys: vec![key], ..Default::default() };
        let _ = control.send(ToAgent { body: Some(to_agent::Body::Welcome(welcome)) });
        {
            // Under the lock, so that no wish of the test falls between the two.
            let desired = self.desired.lock().expect("whole");
            if let Some(servers) = desired.clone() {
                let full = DesiredServers { full: true, servers, forget: Vec::new() };
                let _ = control.send(ToAgent { body: Some(to_agent::Body::Desired(full)) });
            }
            *self.control.lock().expect("whole") = Some(control);
        }
        *self.connection.lock().expect("whole") = Some(connection.clone());
        loop {
            tokio::select! {
                Some(order) = orders.recv() => {
                    if writer.send(&order).await.is_err() { return }
                }
                message = reader.recv::<AgentMessage>() => match message {
                    Ok(Some(AgentMessage { body: Some(body) })) => self.keep(body),
                    _ => return,
                },
                stream = connection.accept_bi() => match stream {
                    Ok((send, receive)) => { tokio::spawn(self.clone().blob(send, receive)); }
                    Err(_) => return,
                },
            }
        }
    }

    fn keep(&self, body: agent_message::Body) {
        self.heard.send_modify(|heard| match body {
            agent_message::Body::Report(report) => {
                heard.history.push(report.clone());
                heard.reports.insert(report.server_id.clone(), report);
            }
            agent_message::Body::Usage(usage) => heard.usage = Some(usage),
            agent_message::Body::Hello(_) => panic!("a second hello"),
        });
    }

    async fn blob(self, send: quinn::SendStream, receive: quinn::RecvStream) {
        let Ok(Some(request)) = FrameReader::new(receive).recv::<BlobRequest>().await else { return };
        self.heard.send_modify(|heard| heard.blob_requests.push((request.offset, request.digest.clone())));
        let (blob, cut) = {
            let mut blobs = self.blobs.lock().expect("whole");
            let blob = blobs.by_digest.get(&request.digest).cloned();
            let cut = if blobs.cuts.is_empty() { None } else { Some(blobs.cuts.remove(0)) };
            (blob, cut)
        };
        let mut writer = FrameWriter::new(send);
        let Some(blob) = blob else {
            let refused = ServerFailure {
                code: "image_fetch_failed".to_owned(),
                detail: "no such build; push it again".to_owned(),
            };
            let outcome = Some(blob_reply::Outcome::Refused(refused));
            let _ = writer.send(&BlobReply { outcome }).await;
            writer.finish();
            return;
        };
        let outcome = Some(blob_reply::Outcome::SizeBytes(blob.len() as u64));
        if writer.send(&BlobReply { outcome }).await.is_err() {
            return;
        }
        let rest = &blob[request.offset as usize..];
        let mut send = writer.into_inner();
        // An early end: the agent has everything so far, and not the whole.
        let length = cut.map_or(rest.len(), |bytes| bytes.min(rest.len()));
        let _ = send.write_all(&rest[..length]).await;
        let _ = send.finish();
        let _ = send.stopped().await;
    }
}
