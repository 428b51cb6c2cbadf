//! WebSocket: one message per text or binary frame; the answer comes as the same kind.

use futures_util::{SinkExt, StreamExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error, Message, Utf8Bytes};

use crate::Arena;
use crate::wire::MAX_MESSAGE_BYTES;
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
                    let peer = Peer::Ws(address);
                    // However a connection ends, its player is gone.
                    let _ = talk(stream, peer, &arena).await;
                    arena.leave(peer);
                });
            }
            Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
        }
    }
}

async fn talk(stream: TcpStream, peer: Peer, arena: &Arena) -> Result<(), Error> {
    stream.set_nodelay(true)?;
    let limits = WebSocketConfig::default()
        .max_message_size(Some(MAX_MESSAGE_BYTES))
        .max_frame_size(Some(MAX_MESSAGE_BYTES));
    let mut socket = tokio_tungstenite::accept_async_with_config(stream, Some(limits)).await?;
    while let Some(message) = socket.next().await {
        let answer = match message? {
            Message::Text(text) => arena
                .play(peer, text.as_bytes())
                .and_then(|answer| Utf8Bytes::try_from(answer).ok())
                .map(Message::Text),
            Message::Binary(bytes) => arena.play(peer, &bytes).map(Message::binary),
            // Pings are answered by the library.
            Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => None,
            Message::Close(_) => break,
        };
        if let Some(answer) = answer {
            socket.send(answer).await?;
        }
    }
    Ok(())
}
