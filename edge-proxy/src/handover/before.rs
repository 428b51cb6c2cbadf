//! The next edge's end: asking the one before, and taking what it hands over.

use std::io;
use std::path::Path;

use muster_protocol::edge::EdgeReport;
use muster_protocol::handover::{
    FromBefore, FromNext, Serving, SocketUse, Take, from_before::Body, from_next,
};
use tokio::net::UnixStream;
use tokio::time::timeout;

use super::channel::Channel;
use super::{DOOR_FILE, Handed, HandedClaim, HandedFlow, HandoverError, PATIENCE};

/// The edge that runs in our place.
pub(crate) struct Before {
    channel: Channel,
}

impl Before {
    /// The edge that runs in `state_dir`; `None` if none does.
    pub(crate) async fn find(state_dir: &Path) -> Result<Option<Self>, HandoverError> {
        match UnixStream::connect(state_dir.join(DOOR_FILE)).await {
            Ok(stream) => Ok(Some(Self { channel: Channel::new(stream) })),
            Err(error)
                if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) =>
            {
                Ok(None)
            }
            Err(source) => Err(HandoverError::Ask { dir: state_dir.display().to_string(), source }),
        }
    }

    /// Takes everything. From now on players' packets wait in the sockets.
    pub(crate) async fn take(&mut self) -> Result<Handed, HandoverError> {
        let version = env!("CARGO_PKG_VERSION").to_owned();
        self.say(from_next::Body::Take(Take { version })).await?;
        let mut handed = Handed::default();
        loop {
            match self.heard().await? {
                Body::Socket(socket) => {
                    let descriptor = self.channel.descriptor().map_err(broken)?;
                    let Ok(port) = u16::try_from(socket.port) else { continue };
                    match socket.r#use() {
                        SocketUse::Udp => drop(handed.udp.insert(port, descriptor.into())),
                        SocketUse::Tcp => drop(handed.tcp.insert(port, descriptor.into())),
                        SocketUse::Beacon => handed.beacon = Some(descriptor.into()),
                        SocketUse::Unspecified => {}
                    }
                }
                Body::Claim(claim) => handed.players.claims.extend(HandedClaim::from_frame(&claim)),
                Body::Flow(flow) => handed.players.flows.extend(HandedFlow::from_frame(&flow)),
                Body::Handed(_) => return Ok(handed),
                Body::Released(_) | Body::Report(_) => {
                    return Err(broken("it spoke out of turn"));
                }
            }
        }
    }

    /// Says that we serve, and waits until the one before has let go.
    pub(crate) async fn serving(&mut self) -> Result<(), HandoverError> {
        self.say(from_next::Body::Serving(Serving {})).await?;
        match self.heard().await? {
            Body::Released(_) => Ok(()),
            _ => Err(broken("it spoke out of turn")),
        }
    }

    /// Who is still there; `None` once nobody is.
    pub(crate) async fn report(&mut self) -> Option<EdgeReport> {
        loop {
            let said = self.channel.receive::<FromBefore>().await.ok()??;
            if let Some(Body::Report(report)) = said.body {
                return Some(report);
            }
        }
    }

    async fn say(&self, body: from_next::Body) -> Result<(), HandoverError> {
        let said = FromNext { body: Some(body) };
        timeout(PATIENCE, self.channel.send(&said, None)).await.map_err(broken)?.map_err(broken)
    }

    /// What it says next; what this version does not know is passed over.
    async fn heard(&mut self) -> Result<Body, HandoverError> {
        loop {
            let heard = timeout(PATIENCE, self.channel.receive::<FromBefore>()).await.map_err(broken)?;
            let said = heard.map_err(broken)?;
            if let Some(body) = said.ok_or_else(|| broken("it broke off"))?.body {
                return Ok(body);
            }
        }
    }
}

fn broken(error: impl std::fmt::Display) -> HandoverError {
    HandoverError::Broken(error.to_string())
}
