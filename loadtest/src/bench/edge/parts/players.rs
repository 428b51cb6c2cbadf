//! Players: paced packets of many flows, each from an address of its own, and what came back of them.
//!
//! Not woken by what comes: it looks every 100 µs. When a packet came back is what the kernel says,
//! so that this program's own waiting is no part of a latency.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{bail, ensure};
use muster_protocol::preface::{Answer, decode_answer, encode_preface};
use nix::sys::prctl::set_timerslack;
use serde::{Deserialize, Serialize};

use super::account::{Account, Reading, Watch};
use super::pace::Pace;
use super::udp::{Received, Udp, now_ns};
use crate::latency::Latencies;
use crate::report::write_file;

/// Pause between two looks at what is due and what came.
const TICK: Duration = Duration::from_micros(100);
/// How often a preface or a first packet is repeated until it is answered.
const REPEAT_EVERY: Duration = Duration::from_millis(200);
/// How long all flows may take to stand.
const CONNECT_DEADLINE: Duration = Duration::from_secs(30);
/// How long it is silent after the last packet, or the last answer, until no more are waited for.
const DRAIN: Duration = Duration::from_millis(500);
/// How long answers are waited for after the last packet, at most: what is late is not lost.
const LONGEST_DRAIN: Duration = Duration::from_secs(5);
/// A flow without an answer for this long at the end is lost.
const LOST_AFTER: Duration = Duration::from_secs(1);
/// Bytes before the filling: run, flow, number, time.
const HEAD_BYTES: usize = 8 + 4 + 8 + 8;

/// Where a player plays, and with what proof.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(in crate::bench::edge) struct Seat {
    /// Where its packets go.
    pub(in crate::bench::edge) to: SocketAddrV4,
    /// What it shows first, if it must.
    pub(in crate::bench::edge) token: Option<String>,
}

/// What to play.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(in crate::bench::edge) struct PlayersPlan {
    /// The players.
    pub(in crate::bench::edge) seats: Vec<Seat>,
    /// Address of the first player; the others' follow.
    pub(in crate::bench::edge) first_source: Ipv4Addr,
    /// Packets a second, of all players together.
    pub(in crate::bench::edge) rate: f64,
    /// Bytes of a packet's payload.
    pub(in crate::bench::edge) payload: usize,
    /// How long to play, in seconds.
    pub(in crate::bench::edge) seconds: f64,
    /// Whom to look at meanwhile.
    pub(in crate::bench::edge) watch: Watch,
    /// File that is made when all flows stand and the play begins.
    pub(in crate::bench::edge) began: PathBuf,
}

/// What came of it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(in crate::bench::edge) struct PlayersReport {
    /// Packets sent.
    pub(in crate::bench::edge) sent: u64,
    /// Packets that came back to whom they belong.
    pub(in crate::bench::edge) returned: u64,
    /// Packets that came to another player than their own, or other than they were.
    pub(in crate::bench::edge) mixed: u64,
    /// Packets that were due but not sent, because this program was late.
    pub(in crate::bench::edge) skipped: u64,
    /// Of those sent, packets that the system did not take.
    pub(in crate::bench::edge) refused: u64,
    /// From sending to the kernel's having it back, in microseconds.
    pub(in crate::bench::edge) p50_us: u64,
    pub(in crate::bench::edge) p99_us: u64,
    pub(in crate::bench::edge) longest_us: u64,
    /// What the machine did meanwhile.
    pub(in crate::bench::edge) account: Account,
    /// Flows that no answer came to in the last second.
    pub(in crate::bench::edge) lost_flows: u64,
    /// The longest time that any other flow was without an answer, in milliseconds.
    pub(in crate::bench::edge) longest_gap_ms: f64,
}

impl PlayersReport {
    /// Packets both ways.
    pub(in crate::bench::edge) fn packets(&self) -> u64 {
        self.sent + self.returned
    }

    /// Packets that went out and did not come back.
    pub(in crate::bench::edge) fn lost(&self) -> u64 {
        self.sent.saturating_sub(self.returned + self.refused)
    }

    /// What the machine did, and what was lost, as a line for people.
    pub(in crate::bench::edge) fn line(&self) -> String {
        let lost = format!("lost {} of {}", self.lost(), self.sent);
        let own = if self.refused == 0 { String::new() } else { format!(", not taken {}", self.refused) };
        format!("{lost}{own}; {}", self.account.line(self.packets()))
    }
}

/// Plays.
pub(super) fn run(plan: &PlayersPlan) -> anyhow::Result<PlayersReport> {
    ensure!(plan.payload >= HEAD_BYTES, "a payload has at least {HEAD_BYTES} bytes");
    ensure!(!plan.seats.is_empty(), "nobody plays");
    // Otherwise a pause of 100 µs takes 150.
    set_timerslack(1_000)?;
    let mut players = Players {
        udp: Udp::bind(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0))?,
        plan,
        run: rand::random(),
        packet: vec![b'.'; plan.payload],
    };
    players.connect("be proven", Players::prove)?;
    players.connect("have a first answer", Players::first)?;
    write_file(&plan.began, "all flows stand")?;
    players.play()
}

struct Players<'a> {
    udp: Udp,
    plan: &'a PlayersPlan,
    /// Tells this run's packets from an earlier one's.
    run: u64,
    packet: Vec<u8>,
}

/// One flow, as far as it has been played.
#[derive(Clone)]
struct Heard {
    last_ns: u64,
    longest_gap_ns: u64,
}

impl Players<'_> {
    /// Repeats `step` for each player until it says yes for all.
    fn connect(
        &mut self,
        what: &str,
        step: fn(&mut Self, waiting: &[usize]) -> anyhow::Result<Vec<usize>>,
    ) -> anyhow::Result<()> {
        let began = Instant::now();
        let mut waiting: Vec<usize> = (0..self.plan.seats.len()).collect();
        while !waiting.is_empty() {
            if began.elapsed() > CONNECT_DEADLINE {
                bail!("{} of {} players did not {what} in time", waiting.len(), self.plan.seats.len());
            }
            let done = step(self, &waiting)?;
            waiting.retain(|player| done.binary_search(player).is_err());
        }
        Ok(())
    }

    /// Sends the prefaces of those who wait; who need not show one or was accepted is done.
    fn prove(&mut self, waiting: &[usize]) -> anyhow::Result<Vec<usize>> {
        let mut done = Vec::new();
        for player in waiting {
            let seat = &self.plan.seats[*player];
            match &seat.token {
                Some(token) => {
                    // One that the system does not take is repeated.
                    let _ = self.udp.send(self.source(*player), seat.to, &encode_preface(token));
                }
                None => done.push(*player),
            }
        }
        if done.len() == waiting.len() {
            return Ok(done);
        }
        let mut refused = None;
        let first = self.plan.first_source;
        self.collect(|packet| match decode_answer(packet.payload) {
            Some(Answer::Accepted) => done.push(player_at(first, packet.to)),
            // The edge may not have its routes yet, or not the time; whatever else it says is said for good.
            Some(Answer::Refused(refusal)) => refused = Some(refusal),
            None => {}
        })?;
        if let Some(refusal) = refused {
            bail!("a token was refused: {}", refusal.as_str());
        }
        done.sort_unstable();
        Ok(done)
    }

    /// Sends a packet of those who wait; who hears it again is done.
    fn first(&mut self, waiting: &[usize]) -> anyhow::Result<Vec<usize>> {
        for player in waiting {
            self.stamp(*player, 0);
            // A table of neighbours that is not filled yet refuses; the packet is repeated.
            let _ = self.udp.send(self.source(*player), self.plan.seats[*player].to, &self.packet);
        }
        let (mut done, first, run) = (Vec::new(), self.plan.first_source, self.run);
        self.collect(|packet| {
            let own = Stamp::read(packet.payload).is_some_and(|stamp| stamp.run == run);
            done.extend(own.then(|| player_at(first, packet.to)));
        })?;
        done.sort_unstable();
        Ok(done)
    }

    /// Takes what comes for [`REPEAT_EVERY`].
    fn collect(&mut self, mut take: impl FnMut(Received<'_>)) -> anyhow::Result<()> {
        let began = Instant::now();
        while began.elapsed() < REPEAT_EVERY {
            self.udp.drain(&mut take)?;
            std::thread::sleep(TICK);
        }
        Ok(())
    }

    fn play(&mut self) -> anyhow::Result<PlayersReport> {
        let (mut report, mut latencies) = (PlayersReport::default(), Latencies::default());
        // It takes a while, in which nothing may be due yet.
        let (before, mut cores) = (Reading::take(&self.plan.watch), None);
        let began_ns = now_ns();
        let mut flows = vec![Heard { last_ns: began_ns, longest_gap_ns: 0 }; self.plan.seats.len()];
        let play = Duration::from_secs_f64(self.plan.seconds);
        let (began, mut pace) = (Instant::now(), Pace::new(began_ns, self.plan.rate));
        let mut last_sent_ns = began_ns;
        // When the last packet was due, or the last answer came, whichever was later.
        let mut last = play;
        while began.elapsed() < (last + DRAIN).min(play + LONGEST_DRAIN) {
            if began.elapsed() < play {
                for _ in 0..pace.take(now_ns()) {
                    report.sent += 1;
                    let player = (report.sent % flows.len() as u64) as usize;
                    last_sent_ns = self.stamp(player, report.sent);
                    // What the system does not take is lost, as it would be for a player.
                    let sent = self.udp.send(self.source(player), self.plan.seats[player].to, &self.packet);
                    report.refused += u64::from(sent.is_err());
                }
            } else if cores.is_none() {
                cores = Some(before.cores_until_now());
            }
            let (first, run, length) = (self.plan.first_source, self.run, self.plan.payload);
            let came = self.udp.drain(|packet| {
                let Some(stamp) = Stamp::read(packet.payload).filter(|stamp| stamp.run == run) else {
                    return;
                };
                let player = player_at(first, packet.to);
                let flow = flows.get_mut(player).filter(|_| player as u32 == stamp.player);
                let Some(flow) = flow.filter(|_| packet.payload.len() == length) else {
                    report.mixed += 1;
                    return;
                };
                if stamp.number > 0 {
                    report.returned += 1;
                    latencies.record(packet.at_ns.saturating_sub(stamp.sent_ns) / 1_000);
                    flow.hear(packet.at_ns);
                }
            })?;
            if came > 0 {
                last = last.max(began.elapsed());
            }
            std::thread::sleep(TICK);
        }
        report.account = before.until_now(&self.plan.watch, cores.unwrap_or_default());
        report.skipped = pace.skipped();
        (report.p50_us, report.p99_us) = (latencies.percentile(50.0), latencies.percentile(99.0));
        report.longest_us = latencies.percentile(100.0);
        let is_lost =
            |flow: &&Heard| last_sent_ns.saturating_sub(flow.last_ns) > LOST_AFTER.as_nanos() as u64;
        report.lost_flows = flows.iter().filter(is_lost).count() as u64;
        let gaps = flows.iter().filter(|flow| !is_lost(flow)).map(|flow| flow.longest_gap_ns);
        report.longest_gap_ms = gaps.max().unwrap_or(0) as f64 / 1e6;
        Ok(report)
    }

    /// Makes the packet `player`'s, of now.
    fn stamp(&mut self, player: usize, number: u64) -> u64 {
        let sent_ns = now_ns();
        Stamp { run: self.run, player: player as u32, number, sent_ns }.write(&mut self.packet);
        sent_ns
    }

    fn source(&self, player: usize) -> Ipv4Addr {
        Ipv4Addr::from(u32::from(self.plan.first_source) + player as u32)
    }
}

impl Heard {
    fn hear(&mut self, at_ns: u64) {
        self.longest_gap_ns = self.longest_gap_ns.max(at_ns.saturating_sub(self.last_ns));
        self.last_ns = self.last_ns.max(at_ns);
    }
}

/// Which player has `address`; one that does not exist if none has.
fn player_at(first: Ipv4Addr, address: Ipv4Addr) -> usize {
    u32::from(address).wrapping_sub(u32::from(first)) as usize
}

/// What a packet says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    run: u64,
    player: u32,
    /// Counted from 1; 0 is a packet before the play.
    number: u64,
    sent_ns: u64,
}

impl Stamp {
    fn write(&self, packet: &mut [u8]) {
        packet[..8].copy_from_slice(&self.run.to_be_bytes());
        packet[8..12].copy_from_slice(&self.player.to_be_bytes());
        packet[12..20].copy_from_slice(&self.number.to_be_bytes());
        packet[20..HEAD_BYTES].copy_from_slice(&self.sent_ns.to_be_bytes());
    }

    fn read(packet: &[u8]) -> Option<Self> {
        let (run, rest) = packet.split_first_chunk()?;
        let (player, rest) = rest.split_first_chunk()?;
        let (number, rest) = rest.split_first_chunk()?;
        Some(Self {
            run: u64::from_be_bytes(*run),
            player: u32::from_be_bytes(*player),
            number: u64::from_be_bytes(*number),
            sent_ns: u64::from_be_bytes(*rest.first_chunk()?),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_is_read_as_it_was_written() {
        let stamp = Stamp { run: 1 << 60, player: 7, number: 9, sent_ns: u64::MAX - 1 };
        let mut packet = vec![0; 100];
        stamp.write(&mut packet);
        assert_eq!(Stamp::read(&packet), Some(stamp));
        assert_eq!(Stamp::read(&packet[..HEAD_BYTES - 1]), None);
    }

    #[test]
    fn the_longest_gap_of_a_flow_is_kept() {
        let mut flow = Heard { last_ns: 10, longest_gap_ns: 0 };
        for at in [20, 50, 40, 60] {
            flow.hear(at);
        }
        assert_eq!((flow.last_ns, flow.longest_gap_ns), (60, 30));
    }

    #[test]
    fn addresses_and_players_are_one_to_one() {
        let first = Ipv4Addr::new(10, 213, 64, 1);
        assert_eq!(player_at(first, Ipv4Addr::new(10, 213, 64, 1)), 0);
        assert_eq!(player_at(first, Ipv4Addr::new(10, 213, 65, 2)), 257);
        assert!(player_at(first, Ipv4Addr::new(10, 213, 64, 0)) > 1 << 30);
    }
}
