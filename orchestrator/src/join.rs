//! Joining, the orchestrator's side: a one-time token becomes an id and a certificate.
//!
//! The token is used up and the node or edge recorded in one transaction, and only then is the
//! certificate sent. If the reply is lost, so is the token; a new one is cheaper than a second machine
//! that passes for the first.

pub mod token;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use muster_protocol::api::{JoinRole, is_name};
use muster_protocol::id::{EdgeId, NodeId};
use muster_protocol::join::{JoinGranted, JoinRefused, JoinReply, JoinRequest, join_reply::Outcome};
use muster_store::StoreError;
use muster_transport::{FrameReader, FrameWriter, Role};

use crate::app::App;
use crate::authority::AuthorityError;
use crate::config::ApiTls;
use crate::state::{self, StateError};
use crate::{clock, metrics};
use token::{JoinRefusal, Shown};

/// How long a joining machine may take from its connection to its request.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
/// How long it may take to get the reply and close.
const REPLY_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest name of a machine that is kept, in bytes; the rest is cut off.
const MAX_MACHINE_NAME_BYTES: usize = 128;

/// Why a machine did not join.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Refused(#[from] JoinRefusal),
    #[error("the role {0:?} cannot join; it is agent or edge")]
    Role(String),
    #[error("{0:?} is no name of a region; use 1 to 63 of a-z, 0-9 and -")]
    Region(String),
    #[error("an agent needs no host names in its certificate; leave them out")]
    HostNames,
    #[error("the host name {0:?} is the API's own; an edge needs another")]
    ApiHostName(String),
    #[error(transparent)]
    Authority(#[from] AuthorityError),
    #[error("the orchestrator cannot use its store ({0}); join again, with a new token if this one is used")]
    State(#[from] StateError),
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::State(error.into())
    }
}

impl Failure {
    fn code(&self) -> &'static str {
        match self {
            Self::Refused(refusal) => refusal.code(),
            Self::Role(_) => "join_role_wrong",
            Self::Region(_) => "join_region_wrong",
            Self::HostNames | Self::ApiHostName(_) => "host_name_invalid",
            Self::Authority(error) => match error {
                AuthorityError::HostName(_) | AuthorityError::TooManyHostNames(_) => "host_name_invalid",
                AuthorityError::Request(_) => "certificate_request_invalid",
                _ => "internal",
            },
            Self::State(_) => "store_unavailable",
        }
    }
}

/// Answers the one request of a joining machine.
pub(crate) async fn serve(app: Arc<App>, connection: quinn::Connection) {
    let remote = connection.remote_address();
    let received = tokio::time::timeout(REQUEST_TIMEOUT, async {
        let (send, receive) = connection.accept_bi().await.ok()?;
        let request: JoinRequest = FrameReader::new(receive).recv().await.ok()??;
        Some((send, request))
    });
    let Ok(Some((send, request))) = received.await else {
        tracing::debug!(%remote, "a joining machine sent no request");
        return;
    };
    let outcome = match grant(&app, &request, clock::now_ms()).await {
        Ok(granted) => {
            tracing::info!(%remote, id = granted.id, region = request.region, "joined");
            metrics::joined("granted");
            Outcome::Granted(granted)
        }
        Err(failure) => {
            tracing::warn!(%remote, region = request.region, code = failure.code(), %failure, "join refused");
            metrics::joined(failure.code());
            Outcome::Refused(JoinRefused { code: failure.code().to_owned(), detail: failure.to_string() })
        }
    };
    let mut writer = FrameWriter::new(send);
    if writer.send(&JoinReply { outcome: Some(outcome) }).await.is_ok() {
        writer.finish();
        // The machine closes once it has the reply; closing first would cut it off.
        let _ = tokio::time::timeout(REPLY_TIMEOUT, connection.closed()).await;
    }
}

async fn grant(app: &App, request: &JoinRequest, now_ms: u64) -> Result<JoinGranted, Failure> {
    let role = match request.role.as_str() {
        "agent" => JoinRole::Agent,
        "edge" => JoinRole::Edge,
        other => return Err(Failure::Role(other.chars().take(MAX_MACHINE_NAME_BYTES).collect())),
    };
    if !is_name(&request.region) {
        return Err(Failure::Region(request.region.chars().take(MAX_MACHINE_NAME_BYTES).collect()));
    }
    check_host_names(app, role, &request.host_names)?;
    let shown = Shown::parse(&request.token)
        .ok_or_else(|| JoinRefusal::Invalid { role: role.as_str(), region: request.region.clone() })?;
    let (node, edge) = (NodeId::new(), EdgeId::new());
    let (tls_role, id) = match role {
        JoinRole::Agent => (Role::Agent, node.to_string()),
        JoinRole::Edge => (Role::Edge, edge.to_string()),
    };
    // Signed before the token is used up: a request that cannot be signed must not cost the token.
    let certificate = app.authority.sign_request(
        &request.certificate_request,
        tls_role,
        &id,
        &request.host_names,
        now_ms,
    )?;
    let name = machine_name(&request.name, &id);
    app.db
        .run("join", async |mut tx| {
            let record = state::join_tokens::load(&mut tx, shown.id).await?;
            shown.admit(record.as_ref(), role, &request.region, now_ms)?;
            if let Some(mut record) = record {
                record.used_at_ms = now_ms;
                state::join_tokens::save(&mut tx, &record);
            }
            match role {
                JoinRole::Agent => state::nodes::create(&mut tx, node, &name, &request.region, now_ms),
                JoinRole::Edge => state::edges::create(&mut tx, edge, &name, &request.region, now_ms),
            }
            Ok::<_, Failure>(())
        })
        .await?;
    Ok(JoinGranted {
        id,
        certificate: certificate.to_vec().into(),
        authority: app.authority.certificate().to_vec().into(),
    })
}

/// Host names are for edges, which show their certificate to players, and must not be those under which
/// clients trust the API.
fn check_host_names(app: &App, role: JoinRole, host_names: &[String]) -> Result<(), Failure> {
    if role == JoinRole::Agent && !host_names.is_empty() {
        return Err(Failure::HostNames);
    }
    if app.config.api.tls == Some(ApiTls::Own) {
        let own = |name: &&String| app.config.api.names.iter().any(|own| own.eq_ignore_ascii_case(name));
        if let Some(name) = host_names.iter().find(own) {
            return Err(Failure::ApiHostName(name.clone()));
        }
    }
    Ok(())
}

fn machine_name(name: &str, id: &str) -> String {
    let name: String = name.chars().filter(|letter| !letter.is_control()).collect();
    if name.is_empty() {
        return id.to_owned();
    }
    let mut end = name.len().min(MAX_MACHINE_NAME_BYTES);
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    name[..end].to_owned()
}
