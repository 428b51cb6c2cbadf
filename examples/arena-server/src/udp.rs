//! UDP: one message per datagram, one answer to each.

use tokio::net::UdpSocket;

use crate::Arena;
use crate::wire::MAX_MESSAGE_BYTES;
use crate::world::Peer;

/// Serves datagrams until the socket fails.
pub(crate) async fn serve(socket: UdpSocket, arena: Arena) -> std::io::Result<()> {
    let mut buffer = vec![0; MAX_MESSAGE_BYTES];
    loop {
        let (length, address) = match socket.recv_from(&mut buffer).await {
            Ok(received) => received,
            // A client that closed its socket is told of by ICMP; that is no fault of ours.
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => continue,
            Err(error) => return Err(error),
        };
        if let Some(answer) = arena.play(Peer::Udp(address), &buffer[..length]) {
            // Datagrams may be lost; one that cannot be sent now is.
            let _ = socket.send_to(&answer, address).await;
        }
    }
}
