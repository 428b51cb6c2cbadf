//! A fake orchestrator: welcomes edges, sends them the routes it has, and keeps what they say.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use muster_protocol::edge::{
    EdgeHello, EdgeLimits, EdgeMessage, EdgeReport, EdgeWelcome, RouteTable, RoutesApplied, ToEdge,
    edge_message, to_edge,
};
use muster_transport::{
    ClientCertificate, FrameReader, FrameWriter, Profile, Role, alpn, bind, peer_identity, server_config,
};
use tokio::sync::watch;

use crate::authority::Authority;
use crate::world::within;

#[derive(Default)]
struct Heard {
    hellos: Vec<EdgeHello>,
    applied: Vec<RoutesApplied>,
    report: Option<EdgeReport>,
}

pub(crate) struct Orchestrator {
    pub(crate) address: SocketAddr,
    endpoint: quinn::Endpoint,
    routes: watch::Sender<RouteTable>,
    limits: watch::Sender<EdgeLimits>,
    heard: Arc<Mutex<Heard>>,
}

impl Orchestrator {
    pub(crate) fn start(authority: &Authority, address: SocketAddr) -> Self {
        let identity = authority.issue(Role::Orchestrator, "orchestrator", &[]);
        let config =
            server_config(&identity, &[alpn::LINK], ClientCertificate::Required, Profile::Link).unwrap();
        let endpoint = bind(address, Some(config)).unwrap();
        let address = endpoint.local_addr().unwrap();
        let (routes, current) = watch::channel(RouteTable { revision: 0, full: true, ..Default::default() });
        let (limits, limits_now) = watch::channel(EdgeLimits::default());
        let heard = Arc::new(Mutex::new(Heard::default()));
        let welcome = EdgeWelcome {
            token_keys: vec![authority.token_key()],
            flow_key: vec![9; 16].into(),
            ..Default::default()
        };
        tokio::spawn(accept(endpoint.clone(), welcome, (current, limits_now), heard.clone()));
        Self { address, endpoint, routes, limits, heard }
    }

    /// Sends a table, and waits for what the edge says of it.
    pub(crate) async fn apply(&self, table: RouteTable) -> RoutesApplied {
        let revision = table.revision;
        self.routes.send_replace(table);
        self.applied(|applied| applied.revision == revision).await
    }

    /// Sends limits.
    pub(crate) fn limit(&self, limits: EdgeLimits) {
        self.limits.send_replace(limits);
    }

    /// Waits for the edge to say something of its routes that `is` true of.
    pub(crate) async fn applied(&self, is: impl Fn(&RoutesApplied) -> bool) -> RoutesApplied {
        let find = || self.heard.lock().unwrap().applied.iter().find(|applied| is(applied)).cloned();
        within("the edge to answer the routes", || async { find().is_some() }).await;
        find().unwrap()
    }

    /// The first hello, once it is there.
    pub(crate) async fn hello(&self) -> EdgeHello {
        within("a hello", || async { !self.heard.lock().unwrap().hellos.is_empty() }).await;
        self.heard.lock().unwrap().hellos[0].clone()
    }

    /// The newest report.
    pub(crate) fn report(&self) -> Option<EdgeReport> {
        self.heard.lock().unwrap().report.clone()
    }

    /// Ends, leaving its port free.
    pub(crate) async fn kill(self) -> SocketAddr {
        self.endpoint.close(0u32.into(), b"");
        self.endpoint.wait_idle().await;
        let address = self.address;
        drop(self);
        within("the orchestrator's port to be free", || async { std::net::UdpSocket::bind(address).is_ok() })
            .await;
        address
    }
}

async fn accept(
    endpoint: quinn::Endpoint,
    welcome: EdgeWelcome,
    told: (watch::Receiver<RouteTable>, watch::Receiver<EdgeLimits>),
    heard: Arc<Mutex<Heard>>,
) {
    while let Some(incoming) = endpoint.accept().await {
        let Ok(connection) = incoming.await else { continue };
        assert_eq!(peer_identity(&connection).unwrap().role, Role::Edge);
        let (welcome, told, heard) = (welcome.clone(), told.clone(), heard.clone());
        tokio::spawn(async move {
            // Ends when the connection does.
            let _ = serve(connection, welcome, told, heard).await;
        });
    }
}

async fn serve(
    connection: quinn::Connection,
    welcome: EdgeWelcome,
    (mut routes, mut limits): (watch::Receiver<RouteTable>, watch::Receiver<EdgeLimits>),
    heard: Arc<Mutex<Heard>>,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let (send, receive) = connection.accept_bi().await?;
    let (mut writer, mut reader) = (FrameWriter::new(send), FrameReader::new(receive));
    writer.send(&ToEdge { body: Some(to_edge::Body::Welcome(welcome)) }).await?;
    loop {
        let held_to = limits.borrow_and_update().clone();
        writer.send(&ToEdge { body: Some(to_edge::Body::Limits(held_to)) }).await?;
        let table = routes.borrow_and_update().clone();
        writer.send(&ToEdge { body: Some(to_edge::Body::Routes(table)) }).await?;
        loop {
            tokio::select! {
                changed = routes.changed() => { changed?; break }
                changed = limits.changed() => { changed?; break }
                message = reader.recv::<EdgeMessage>() => {
                    let Some(message) = message? else { return Ok(()) };
                    let mut heard = heard.lock().unwrap();
                    match message.body.expect("a body") {
                        edge_message::Body::Hello(hello) => heard.hellos.push(hello),
                        edge_message::Body::Applied(applied) => heard.applied.push(applied),
                        edge_message::Body::Report(report) => heard.report = Some(report),
                    }
                }
            }
        }
    }
}
