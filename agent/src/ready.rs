//! Whether a server that uses no SDK is ready: its ports listen.
//!
//! On Linux the kernel's socket tables of the container say so without a packet being sent. Where they
//! cannot be read, a TCP port is tried by connecting, and a UDP port counts as listening while the
//! container runs: nothing can be told of it from outside.

#[cfg_attr(target_os = "linux", path = "ready/sockets_linux.rs")]
#[cfg_attr(not(target_os = "linux"), path = "ready/sockets_portable.rs")]
mod sockets;

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};

use crate::reconcile::Probe;

/// Pause between looks while most servers become ready.
const PAUSE: Duration = Duration::from_millis(20);
/// Pause once a server takes longer than [`SLOW_AFTER`].
const SLOW_PAUSE: Duration = Duration::from_millis(200);
/// When a server counts as a slow starter.
const SLOW_AFTER: Duration = Duration::from_secs(10);
/// Time a port has to take a connection.
const CONNECT: Duration = Duration::from_millis(500);
/// How long a connection has to stay open to count: Docker's proxy takes one and closes it again when
/// nothing listens behind it.
const STAYS_OPEN: Duration = Duration::from_millis(100);

/// Returns once all ports listen.
pub(crate) async fn all_listen(probe: &Probe) {
    let began = Instant::now();
    while !listen_now(probe).await {
        sleep(if began.elapsed() < SLOW_AFTER { PAUSE } else { SLOW_PAUSE }).await;
    }
}

async fn listen_now(probe: &Probe) -> bool {
    if let Some(listening) = probe.pid.and_then(sockets::listening) {
        return probe.ports.iter().all(|port| listening.contains(&(port.udp, port.container_port)));
    }
    for port in probe.ports.iter().filter(|port| !port.udp) {
        if !takes_connections(port.address).await {
            return false;
        }
    }
    true
}

async fn takes_connections(address: SocketAddr) -> bool {
    let Ok(Ok(mut stream)) = timeout(CONNECT, TcpStream::connect(address)).await else { return false };
    match timeout(STAYS_OPEN, stream.read(&mut [0; 1])).await {
        // Closed at once.
        Ok(Ok(0) | Err(_)) => false,
        // It speaks first, or waits for us to.
        Ok(Ok(_)) | Err(_) => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reconcile::ProbePort;

    fn probe(address: SocketAddr) -> Probe {
        Probe { pid: None, ports: vec![ProbePort { udp: false, container_port: 1, address }] }
    }

    #[tokio::test]
    async fn a_port_that_only_a_proxy_holds_open_does_not_count() {
        let proxy = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("binds");
        let address = proxy.local_addr().expect("has one");
        let closing = tokio::spawn(async move {
            while let Ok((stream, _)) = proxy.accept().await {
                drop(stream);
            }
        });
        assert!(!listen_now(&probe(address)).await);
        closing.abort();
        let _ = closing.await;
        assert!(!listen_now(&probe(address)).await);
        let _server = tokio::net::TcpListener::bind(address).await.expect("binds");
        assert!(listen_now(&probe(address)).await);
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn this_process_is_seen_to_listen() {
        let tcp = tokio::net::TcpListener::bind("0.0.0.0:0").await.expect("binds");
        let udp = tokio::net::UdpSocket::bind("[::]:0").await.expect("binds");
        let local = tokio::net::UdpSocket::bind("127.0.0.1:0").await.expect("binds");
        let port = |address: std::io::Result<SocketAddr>| address.expect("has one").port();
        let listening = sockets::listening(std::process::id()).expect("readable");
        assert!(listening.contains(&(false, port(tcp.local_addr()))));
        assert!(listening.contains(&(true, port(udp.local_addr()))));
        // Nobody outside the container reaches its loopback.
        assert!(!listening.contains(&(true, port(local.local_addr()))));
    }
}
