//! A flood: prefaces with tokens that nobody signed, from many forged addresses.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::{Duration, Instant};

use muster_protocol::preface::encode_preface;
use serde::{Deserialize, Serialize};

use super::pace::Pace;
use super::udp::{Udp, now_ns};

/// Pause between two looks at what is due.
const TICK: Duration = Duration::from_micros(100);

/// What to send.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(in crate::bench::edge) struct FloodPlan {
    /// Where to.
    pub(in crate::bench::edge) to: SocketAddrV4,
    /// A token that looks right until its signature is checked.
    pub(in crate::bench::edge) token: String,
    /// First of the source addresses.
    pub(in crate::bench::edge) first_source: Ipv4Addr,
    /// How many source addresses there are.
    pub(in crate::bench::edge) sources: u32,
    /// Prefaces per second.
    pub(in crate::bench::edge) rate: f64,
    /// For how long, in seconds.
    pub(in crate::bench::edge) seconds: f64,
}

/// Sends it.
pub(super) fn run(plan: &FloodPlan) -> anyhow::Result<()> {
    let mut udp = Udp::bind(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0))?;
    let preface = encode_preface(&plan.token);
    let (began, end) = (Instant::now(), Duration::from_secs_f64(plan.seconds));
    let mut pace = Pace::new(now_ns(), plan.rate);
    let mut sent = 0_u32;
    while began.elapsed() < end {
        for _ in 0..pace.take(now_ns()) {
            let source = Ipv4Addr::from(u32::from(plan.first_source) + sent % plan.sources.max(1));
            // A flood does not care.
            let _ = udp.send(source, plan.to, &preface);
            sent = sent.wrapping_add(1);
        }
        // Refusals are taken, so that they do not fill the socket.
        udp.drain(|_| {})?;
        std::thread::sleep(TICK);
    }
    Ok(())
}
