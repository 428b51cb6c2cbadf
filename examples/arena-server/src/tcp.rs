//! TCP: each message behind its length, two bytes big-endian.

use std::io;

use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

use crate::Arena;
use crate::world::Peer;

/// Pause after a connection could not be taken (out of file descriptors), so as not to spin.
const ACCEPT_PAUSE: std::time::Duration = std::time::Duration::from_millis(50);

/// Accepts connections for ever.
pub(crate) async fn serve(listener: TcpListener, arena: Arena) {
    loop {
        match listener.accept().await {
            Ok((stream, address)) => {
                let arena = arena.clone();
                tokio::spawn(async move {
                    let peer = Peer::Tcp(address);
                    // However a connection ends, its player is gone.
                    let _ = talk(stream, peer, &arena).await;
                    arena.leave(peer);
                });
            }
            Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
        }
    }
}

async fn talk(stream: TcpStream, peer: Peer, arena: &Arena) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let (read, mut write) = stream.into_split();
    let mut read = BufReader::new(read);
    let mut message = Vec::new();
    loop {
        let length = read.read_u16().await?;
        message.resize(usize::from(length), 0);
        read.read_exact(&mut message).await?;
        if let Some(answer) = arena.play(peer, &message) {
            let length = u16::try_from(answer.len()).map_err(io::Error::other)?;
            let mut frame = length.to_be_bytes().to_vec();
            frame.extend_from_slice(&answer);
            write.write_all(&frame).await?;
        }
    }
}
