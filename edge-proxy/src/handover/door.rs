//! The running edge's end: where the next edge asks, and how it is given everything.

use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use muster_protocol::edge::EdgeReport;
use muster_protocol::handover::{
    FromBefore, FromNext, Handed as HandedFrame, Released, Socket, SocketUse, from_before::Body, from_next,
};
use tokio::net::{UnixListener, UnixStream};
use tokio::time::timeout;
use tracing::{info, warn};

use super::channel::Channel;
use super::{DOOR_FILE, Handed, PATIENCE, STANDSTILL};

/// Only the user that the edge runs as may ask.
const DOOR_MODE: u32 = 0o600;
/// How long the next edge may take to get ready, which is mostly dialling agents, from coming to the door to asking.
const PREPARING: Duration = Duration::from_secs(30);

/// Where the next edge asks.
pub(crate) struct Door {
    listener: UnixListener,
}

/// The next edge, which has asked.
pub(crate) struct Successor {
    channel: Channel,
}

impl Door {
    /// Opens it in the state directory, in the place of one that an edge left there.
    pub(crate) fn open(state_dir: &Path) -> io::Result<Self> {
        let path = state_dir.join(DOOR_FILE);
        if let Err(error) = std::fs::remove_file(&path)
            && error.kind() != io::ErrorKind::NotFound
        {
            return Err(error);
        }
        let listener = UnixListener::bind(&path)?;
        std::fs::set_permissions(&path, PermissionsExt::from_mode(DOOR_MODE))?;
        Ok(Self { listener })
    }

    /// Waits until an edge asks to take over.
    pub(crate) async fn asked(&self) -> Successor {
        loop {
            match self.listener.accept().await {
                Ok((stream, _)) => match hear(stream).await {
                    Ok(successor) => return successor,
                    Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                        info!("an edge came to take over, and went without asking; its own log says why");
                    }
                    Err(error) => warn!(%error, "somebody asked to take over, and not in the right way"),
                },
                Err(error) => {
                    warn!(%error, "the next edge cannot ask to take over now");
                    tokio::time::sleep(PATIENCE).await;
                }
            }
        }
    }
}

/// Hears whether it is the next edge, of the same user.
async fn hear(stream: UnixStream) -> io::Result<Successor> {
    let (theirs, ours) = (stream.peer_cred()?.uid(), rustix::process::geteuid().as_raw());
    if theirs != ours && theirs != 0 {
        return Err(io::ErrorKind::PermissionDenied.into());
    }
    let mut channel = Channel::new(stream);
    match timeout(PREPARING, channel.receive::<FromNext>()).await??.and_then(|said| said.body) {
        Some(from_next::Body::Take(take)) => {
            info!(version = take.version, "the next edge takes over");
            Ok(Successor { channel })
        }
        Some(from_next::Body::Serving(_)) => Err(io::ErrorKind::InvalidData.into()),
        None => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

impl Successor {
    /// Gives it everything; returns when it serves.
    ///
    /// # Errors
    /// It did not come to that within the time that players can wait.
    pub(crate) async fn give(&mut self, handed: &Handed) -> io::Result<()> {
        timeout(STANDSTILL, self.give_all(handed)).await?
    }

    async fn give_all(&mut self, handed: &Handed) -> io::Result<()> {
        let udp = handed.udp.iter().map(|(port, socket)| (SocketUse::Udp, *port, socket.as_fd()));
        let tcp = handed.tcp.iter().map(|(port, socket)| (SocketUse::Tcp, *port, socket.as_fd()));
        let beacon = handed.beacon.iter().map(|socket| (SocketUse::Beacon, 0, socket.as_fd()));
        for (r#use, port, descriptor) in udp.chain(tcp).chain(beacon) {
            let socket = Socket { r#use: r#use.into(), port: u32::from(port) };
            self.say(Body::Socket(socket), Some(descriptor)).await?;
        }
        for claim in &handed.players.claims {
            self.say(Body::Claim(claim.to_frame()), None).await?;
        }
        for flow in &handed.players.flows {
            self.say(Body::Flow(flow.to_frame()), None).await?;
        }
        self.say(Body::Handed(HandedFrame {}), None).await?;
        match self.channel.receive::<FromNext>().await?.and_then(|said| said.body) {
            Some(from_next::Body::Serving(_)) => Ok(()),
            Some(from_next::Body::Take(_)) => Err(io::ErrorKind::InvalidData.into()),
            None => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }

    /// Lets go: the next edge has everything for good.
    pub(crate) async fn release(&mut self) -> io::Result<()> {
        self.say(Body::Released(Released {}), None).await
    }

    /// Tells it who is still here, so that it reports them.
    pub(crate) async fn report(&mut self, report: EdgeReport) -> io::Result<()> {
        self.say(Body::Report(report), None).await
    }

    /// Waits until it is gone: it says nothing any more.
    pub(crate) async fn gone(&mut self) {
        while let Ok(Some(_)) = self.channel.receive::<FromNext>().await {}
    }

    async fn say(&self, body: Body, descriptor: Option<std::os::fd::BorrowedFd<'_>>) -> io::Result<()> {
        self.channel.send(&FromBefore { body: Some(body) }, descriptor).await
    }
}
