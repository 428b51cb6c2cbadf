//! Where the SDK endpoint listens: on the containers' gateway, on a port that outlives the agent, so
//! that containers which were told its address reach it after a restart too.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use tokio::net::TcpListener;
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

use super::listener::Bounded;
use super::{SdkState, router};
use crate::runtime::{Gateway, SdkAccess};

/// Host name by which containers reach a host whose bridge is not its own (Docker Desktop).
const HOST_NAME: &str = "host.docker.internal";

/// Why the endpoint does not listen.
#[derive(Debug, thiserror::Error)]
#[error("the SDK endpoint cannot listen on {address}: {source}; free the port or set another `sdk_port`")]
pub(crate) struct SdkError {
    address: SocketAddr,
    source: io::Error,
}

/// The endpoint; it listens once the gateway is known.
pub(crate) struct Endpoint {
    state: SdkState,
    configured_port: u16,
    port_file: PathBuf,
    bound: Mutex<Option<Bound>>,
    cancel: CancellationToken,
}

struct Bound {
    address: SocketAddr,
    stop: CancellationToken,
}

impl Endpoint {
    /// An endpoint that keeps its port in `port_file` if `configured_port` is 0, and ends with `cancel`.
    pub(crate) fn new(
        state: SdkState,
        configured_port: u16,
        port_file: PathBuf,
        cancel: CancellationToken,
    ) -> Self {
        Self { state, configured_port, port_file, bound: Mutex::new(None), cancel }
    }

    /// Listens for containers whose gateway this is, if it does not yet; answers how they reach it.
    pub(crate) async fn ensure(&self, gateway: Gateway) -> Result<SdkAccess, SdkError> {
        let ip = if gateway.is_local { gateway.address } else { IpAddr::V4(Ipv4Addr::LOCALHOST) };
        let mut bound = self.bound.lock().await;
        let address = match &*bound {
            Some(have) if have.address.ip() == ip => have.address,
            _ => {
                if let Some(old) = bound.take() {
                    old.stop.cancel();
                }
                let listener = self.listen(ip).await?;
                let address = listener
                    .local_addr()
                    .map_err(|source| SdkError { address: SocketAddr::new(ip, 0), source })?;
                let stop = self.cancel.child_token();
                self.serve(listener, !gateway.is_local, stop.clone());
                *bound = Some(Bound { address, stop });
                tracing::info!(%address, "SDK endpoint listens");
                address
            }
        };
        Ok(if gateway.is_local {
            SdkAccess { url: format!("http://{address}"), extra_host: None }
        } else {
            SdkAccess {
                url: format!("http://{HOST_NAME}:{}", address.port()),
                extra_host: Some(format!("{HOST_NAME}:host-gateway")),
            }
        })
    }

    async fn listen(&self, ip: IpAddr) -> Result<TcpListener, SdkError> {
        let kept = std::fs::read_to_string(&self.port_file).ok().and_then(|text| text.trim().parse().ok());
        let port = if self.configured_port == 0 { kept.unwrap_or(0) } else { self.configured_port };
        let address = SocketAddr::new(ip, port);
        let listener = match TcpListener::bind(address).await {
            Err(error) if port != 0 && self.configured_port == 0 => {
                tracing::warn!(%address, %error, "the SDK endpoint's port is taken; servers that run already do not reach the new one");
                TcpListener::bind(SocketAddr::new(ip, 0)).await
            }
            other => other,
        }
        .map_err(|source| SdkError { address, source })?;
        if let Ok(address) = listener.local_addr()
            && let Err(error) = std::fs::write(&self.port_file, format!("{}\n", address.port()))
        {
            tracing::warn!(%error, "the SDK endpoint's port could not be kept for the next start");
        }
        Ok(listener)
    }

    fn serve(&self, listener: TcpListener, shared_address: bool, stop: CancellationToken) {
        let server = axum::serve(Bounded::new(listener, shared_address), router(self.state.clone()))
            .with_graceful_shutdown(stop.cancelled_owned());
        tokio::spawn(async move {
            if let Err(error) = server.await {
                tracing::error!(%error, "the SDK endpoint has ended");
            }
        });
    }
}
