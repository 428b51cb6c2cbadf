//! Measuring the round trip to each region against its edges' beacons, as a game client does.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use muster_protocol::api::{Beacon, Region};
use muster_protocol::beacon;
use tokio::net::UdpSocket;

/// Requests per beacon; the quickest answer counts.
const TRIES: u32 = 3;
/// How long one answer may take; a region further away is no place to play.
const ANSWER_TIMEOUT: Duration = Duration::from_millis(500);
/// Beacons asked per region.
const MAX_BEACONS: usize = 4;

/// Round trips in whole milliseconds, at least 1, by region; regions that do not answer are left out.
pub async fn measure(regions: &[Region]) -> BTreeMap<String, u32> {
    let measured = futures_util::future::join_all(regions.iter().map(async |region| {
        let beacons = region.beacons.iter().take(MAX_BEACONS);
        let trips = futures_util::future::join_all(beacons.map(round_trip)).await;
        let best = trips.into_iter().flatten().min()?;
        Some((region.name.clone(), (best.as_micros().div_ceil(1_000) as u32).max(1)))
    }));
    measured.await.into_iter().flatten().collect()
}

async fn round_trip(target: &Beacon) -> Option<Duration> {
    let socket = connect_udp(&target.host, target.port).await.ok()?;
    let mut best = None;
    for _ in 0..TRIES {
        let nonce: [u8; 8] = rand::random();
        let sent = Instant::now();
        socket.send(&beacon::encode_request(&nonce)).await.ok()?;
        if tokio::time::timeout(ANSWER_TIMEOUT, answer(&socket, &nonce)).await.is_ok() {
            best = best.into_iter().chain([sent.elapsed()]).min();
        }
    }
    best
}

async fn answer(socket: &UdpSocket, nonce: &[u8]) {
    let mut buffer = [0; beacon::MAX_BYTES];
    loop {
        match socket.recv(&mut buffer).await {
            Ok(length) if beacon::decode_answer(&buffer[..length]) == Some(nonce) => return,
            Ok(_) => {}
            // Nobody listens there (ICMP); the timeout ends the wait.
            Err(_) => std::future::pending().await,
        }
    }
}

/// A socket that talks to `host:port` alone.
pub(crate) async fn connect_udp(host: &str, port: u16) -> std::io::Result<UdpSocket> {
    let target = tokio::net::lookup_host((host, port))
        .await?
        .next()
        .ok_or_else(|| std::io::Error::other(format!("{host} has no address")))?;
    let local = if target.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let socket = UdpSocket::bind(local).await?;
    socket.connect(target).await?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn regions_that_answer_are_measured_and_the_silent_left_out() {
        let edge = UdpSocket::bind("127.0.0.1:0").await.expect("loopback");
        let silent = UdpSocket::bind("127.0.0.1:0").await.expect("loopback");
        let region = |name: &str, socket: &UdpSocket| Region {
            name: name.to_owned(),
            served: true,
            beacons: vec![Beacon {
                host: "127.0.0.1".into(),
                port: socket.local_addr().expect("bound").port(),
            }],
        };
        let regions = [region("near", &edge), region("gone", &silent)];
        let server = async {
            let mut packet = [0; beacon::MAX_BYTES];
            loop {
                let (length, from) = edge.recv_from(&mut packet).await.expect("loopback");
                assert!(beacon::answer_in_place(&mut packet[..length]));
                edge.send_to(&packet[..length], from).await.expect("loopback");
            }
        };
        let measured = tokio::select! {
            measured = measure(&regions) => measured,
            () = server => unreachable!("serves for ever"),
        };
        assert_eq!(measured.keys().collect::<Vec<_>>(), ["near"]);
    }
}
