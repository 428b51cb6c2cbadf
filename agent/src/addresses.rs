//! Which of this machine's addresses edges are told to dial, if nobody has said.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// An address of the range kept for documentation: asking the system how it would reach it sends
/// nothing, and names the interface of the default route.
const SOMEWHERE_ELSE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), 9);

/// `host:port` of each address worth trying for a tunnel that listens on `listen`, the most preferred first.
pub(crate) async fn advertised(listen: SocketAddr, orchestrators: &[String]) -> Vec<String> {
    if !listen.ip().is_unspecified() {
        return vec![listen.to_string()];
    }
    let mut towards = Vec::new();
    for orchestrator in orchestrators {
        if let Ok(resolved) = tokio::net::lookup_host(orchestrator).await {
            towards.extend(resolved);
        }
    }
    towards.push(SOMEWHERE_ELSE);
    let mut addresses = Vec::new();
    for target in towards {
        if let Some(ip) = source_towards(target)
            && (ip.is_ipv4() || listen.is_ipv6())
        {
            let address = SocketAddr::new(ip, listen.port()).to_string();
            if !addresses.contains(&address) {
                addresses.push(address);
            }
        }
    }
    addresses
}

/// The address packets to `target` would carry as their source.
fn source_towards(target: SocketAddr) -> Option<IpAddr> {
    let any = if target.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let socket = std::net::UdpSocket::bind(any).ok()?;
    socket.connect(target).ok()?;
    socket.local_addr().ok().map(|address| address.ip()).filter(|ip| !ip.is_unspecified())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_way_to_the_orchestrator_comes_first() {
        let listen: SocketAddr = "0.0.0.0:7402".parse().expect("an address");
        let addresses = advertised(listen, &["127.0.0.1:7801".to_owned()]).await;
        assert_eq!(addresses.first().map(String::as_str), Some("127.0.0.1:7402"));
        let fixed: SocketAddr = "10.1.2.3:7402".parse().expect("an address");
        assert_eq!(advertised(fixed, &[]).await, ["10.1.2.3:7402"]);
    }
}
