//! Answering another replica: streams to the agents linked here, the builds held here, and what edges linked here
//! reported.

use std::sync::Arc;
use std::time::Duration;

use muster_protocol::agent::ServerFailure;
use muster_protocol::id::{EdgeId, NodeId};
use muster_protocol::peer::{PeerReply, PeerRequest, peer_request::Body};
use muster_transport::{FrameReader, FrameWriter};
use quinn::{Connection, RecvStream, SendStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::agents;
use crate::app::App;
use crate::links::{Links, Reports};

/// Requests of one replica answered at a time.
const MAX_REQUESTS: usize = 128;
/// How long the request may take to come after its stream was opened, and the agent's stream to open.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

/// Answers what the replica at the other end of `connection` asks, until it is gone.
pub(crate) async fn serve(app: Arc<App>, connection: Connection) {
    tracing::debug!(remote = %connection.remote_address(), "another orchestrator connected");
    let places = Arc::new(Semaphore::new(MAX_REQUESTS));
    // Dropped with this future, and the requests with it.
    let mut requests = JoinSet::new();
    loop {
        let place = places.clone().acquire_owned().await.expect("the semaphore is never closed");
        let Ok((send, receive)) = connection.accept_bi().await else { return };
        while requests.try_join_next().is_some() {}
        let app = app.clone();
        requests.spawn(async move {
            answer(&app, send, receive).await;
            drop(place);
        });
    }
}

async fn answer(app: &App, send: SendStream, receive: RecvStream) {
    let mut reader = FrameReader::new(receive);
    let mut writer = FrameWriter::new(send);
    let request = tokio::time::timeout(REQUEST_TIMEOUT, reader.recv::<PeerRequest>()).await;
    let Ok(Ok(Some(request))) = request else { return };
    match request.body {
        Some(Body::Build(_)) => {
            if writer.send(&PeerReply { refused: None }).await.is_ok() {
                agents::serve_build(&app.blobs, writer, reader).await;
            }
        }
        Some(Body::NodeId(node)) => match open(&app.links, &node).await {
            Ok(agent) => {
                if writer.send(&PeerReply { refused: None }).await.is_ok() {
                    relay(agent, writer, reader).await;
                }
            }
            Err(refused) => refuse(writer, refused).await,
        },
        Some(Body::EdgeId(edge)) => {
            if let Some(status) = edge.parse::<EdgeId>().ok().and_then(|id| app.links.edge(id)) {
                send_reports(writer, status.reports).await;
            } else {
                let detail = format!("the edge {edge} has just lost its link; ask again once it is back");
                refuse(writer, ServerFailure { code: "edge_not_connected".to_owned(), detail }).await;
            }
        }
        None => {
            let detail = "it is of an older version that does not know this request; upgrade it".to_owned();
            refuse(writer, ServerFailure { code: "request_unknown".to_owned(), detail }).await;
        }
    }
}

async fn send_reports(mut writer: FrameWriter, reports: Reports) {
    // An error says that the asker has gone.
    if writer.send(&PeerReply { refused: None }).await.is_err() {
        return;
    }
    for heard in [reports.latest, reports.earlier].into_iter().flatten() {
        if writer.send(&*heard).await.is_err() {
            return;
        }
    }
    writer.finish();
}

async fn refuse(mut writer: FrameWriter, refused: ServerFailure) {
    // An error says that the asker has gone.
    let _ = writer.send(&PeerReply { refused: Some(refused) }).await;
    writer.finish();
}

/// A stream to the agent of `node`, which is linked here.
async fn open(links: &Links, node: &str) -> Result<(SendStream, RecvStream), ServerFailure> {
    let connection = node.parse::<NodeId>().ok().and_then(|node| links.agent_connection(node));
    let connection = connection.ok_or_else(|| ServerFailure {
        code: "node_not_connected".to_owned(),
        detail: format!("the node {node} has just lost its link; ask again once it is back"),
    })?;
    match tokio::time::timeout(REQUEST_TIMEOUT, connection.open_bi()).await {
        Ok(Ok(streams)) => Ok(streams),
        _ => Err(ServerFailure {
            code: "node_busy".to_owned(),
            detail: format!("the node {node} serves as many logs as it can; close another reader"),
        }),
    }
}

/// Passes on what either side says, until the agent has said all, or one of them is gone.
async fn relay(agent: (SendStream, RecvStream), writer: FrameWriter, reader: FrameReader) {
    let (mut to_agent, mut from_agent) = agent;
    let mut to_peer = writer.into_inner();
    let (mut from_peer, first) = reader.into_inner();
    let asking = async {
        // A failure shows at the other copy, which is what ends the relay.
        if to_agent.write_all(&first).await.is_ok() {
            let _ = tokio::io::copy(&mut from_peer, &mut to_agent).await;
        }
        let _ = to_agent.finish();
        std::future::pending::<()>().await;
    };
    let gone = to_peer.stopped();
    tokio::select! {
        _ = gone => {}
        () = asking => {}
        _ = async {
            let _ = tokio::io::copy(&mut from_agent, &mut to_peer).await;
            to_peer.finish()
        } => {}
    }
}
