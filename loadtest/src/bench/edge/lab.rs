//! Three network namespaces, joined by cables: players, proxy, game server.
//!
//! ```text
//!   players ──── proxy ──── servers      proxy ──── this machine: orchestrator, harness
//! ```
//! The layout in which every proxy works alike, and no packet takes a short way over loopback. The proxy's
//! namespace also forwards, so that players reach the server without any proxy: the direct path that latencies
//! are compared with. Proxies run on the first core alone; everything else is kept off it.

use std::ffi::OsString;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::{Path, PathBuf};
use std::thread::available_parallelism;

use anyhow::{Context as _, bail, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::process::Command;

/// Where Debian puts the program that makes namespaces.
const IP: &str = "/usr/sbin/ip";
/// Where Debian puts the program that keeps a process on a core.
const TASKSET: &str = "/usr/bin/taskset";

/// The proxy, as players reach it.
pub(super) const PROXY: Ipv4Addr = Ipv4Addr::new(10, 213, 0, 1);
/// The machine of agent and game server.
pub(super) const SERVERS: Ipv4Addr = Ipv4Addr::new(10, 213, 0, 6);
/// This machine, as the proxy reaches it.
pub(super) const HARNESS: Ipv4Addr = Ipv4Addr::new(10, 213, 0, 9);
/// The proxy, as this machine reaches it.
pub(super) const PROXY_FOR_HARNESS: Ipv4Addr = Ipv4Addr::new(10, 213, 0, 10);
/// The first player's address; those behind it are players' too, 16,000 of them.
pub(super) const FIRST_PLAYER: Ipv4Addr = Ipv4Addr::new(10, 213, 64, 1);
/// The first of the addresses that a flood comes from.
pub(super) const FIRST_FLOODER: Ipv4Addr = Ipv4Addr::new(10, 213, 128, 1);

/// Which namespace a process lives in, and on which cores.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// The players' machine.
    Players,
    /// The proxy's machine, on the first core.
    Proxy,
    /// The game server's machine.
    Servers,
}

/// The namespaces; gone when this is dropped, once their processes are.
pub(super) struct Lab {
    prefix: String,
    /// Cores of everything but the proxy, as `taskset` is told.
    others: String,
}

impl Lab {
    /// Builds it.
    ///
    /// # Errors
    /// What is missing: root, programs, cores.
    pub(super) async fn build() -> anyhow::Result<Self> {
        ensure!(
            nix::unistd::geteuid().is_root(),
            "this benchmark makes network namespaces, which needs root; run it with sudo"
        );
        for (program, package) in [(IP, "iproute2"), (TASKSET, "util-linux")] {
            ensure!(Path::new(program).is_file(), "{program} is not there (Debian: package {package})");
        }
        let cores = available_parallelism()?.get();
        ensure!(cores >= 2, "this benchmark needs two cores: one is the proxy's alone");
        let lab =
            Self { prefix: format!("muster{}", std::process::id()), others: format!("1-{}", cores - 1) };
        lab.connect().await.context("cannot build the namespaces")?;
        Ok(lab)
    }

    async fn connect(&self) -> anyhow::Result<()> {
        let [players, proxy, servers] = [Place::Players, Place::Proxy, Place::Servers].map(|p| self.name(p));
        let outside = &self.prefix;
        let lines = [
            format!("netns add {players}"),
            format!("netns add {proxy}"),
            format!("netns add {servers}"),
            format!("-n {players} link add proxy type veth peer name players netns {proxy}"),
            format!("-n {servers} link add proxy type veth peer name servers netns {proxy}"),
            format!("link add {outside} type veth peer name outside netns {proxy}"),
            format!("-n {players} addr add 10.213.0.2/30 dev proxy"),
            format!("-n {proxy} addr add {PROXY}/30 dev players"),
            format!("-n {proxy} addr add 10.213.0.5/30 dev servers"),
            format!("-n {servers} addr add {SERVERS}/30 dev proxy"),
            format!("addr add {HARNESS}/30 dev {outside}"),
            format!("-n {proxy} addr add {PROXY_FOR_HARNESS}/30 dev outside"),
            format!("-n {players} link set lo up"),
            format!("-n {proxy} link set lo up"),
            format!("-n {servers} link set lo up"),
            format!("-n {players} link set proxy up"),
            format!("-n {proxy} link set players up"),
            format!("-n {proxy} link set servers up"),
            format!("-n {servers} link set proxy up"),
            format!("link set {outside} up"),
            format!("-n {proxy} link set outside up"),
            // Every address of these is a player's, or a flooder's, without being set one by one.
            format!("-n {players} route add local 10.213.64.0/18 dev lo"),
            format!("-n {players} route add local 10.213.128.0/18 dev lo"),
            format!("-n {players} route add default via {PROXY}"),
            format!("-n {proxy} route add 10.213.64.0/18 via 10.213.0.2"),
            format!("-n {proxy} route add 10.213.128.0/18 via 10.213.0.2"),
            format!("-n {servers} route add default via 10.213.0.5"),
        ];
        for line in &lines {
            ip(&line.split(' ').collect::<Vec<_>>()).await?;
        }
        let forward = "echo 1 >/proc/sys/net/ipv4/ip_forward";
        ip(&["netns", "exec", &proxy, "sh", "-c", forward]).await
    }

    /// The program and arguments that run `command`, a program and its arguments, at `place`.
    pub(super) fn command(
        &self,
        place: Place,
        command: impl IntoIterator<Item = OsString>,
    ) -> (PathBuf, Vec<OsString>) {
        let cores = if place == Place::Proxy { "0" } else { &self.others };
        let through = ["netns", "exec", &self.name(place), TASKSET, "-c", cores].map(OsString::from);
        (PathBuf::from(IP), through.into_iter().chain(command).collect())
    }

    fn name(&self, place: Place) -> String {
        let place = match place {
            Place::Players => "players",
            Place::Proxy => "proxy",
            Place::Servers => "servers",
        };
        format!("{}-{place}", self.prefix)
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        let ip = |words: &[&str]| std::process::Command::new(IP).args(words).output();
        for place in [Place::Players, Place::Proxy, Place::Servers] {
            let name = self.name(place);
            // What the killed left behind, as nginx does its worker, would keep the namespace, and this machine's
            // address in it.
            let left = ip(&["netns", "pids", &name]).map(|output| output.stdout).unwrap_or_default();
            for pid in String::from_utf8_lossy(&left).lines().filter_map(|line| line.trim().parse().ok()) {
                // One that has just ended by itself needs no signal.
                let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
            }
            // One that was never made needs no removing.
            let _ = ip(&["netns", "del", &name]);
        }
        // The others go with their namespaces, once the last process there is gone; this one is in the next lab's way.
        let _ = ip(&["link", "del", &self.prefix]);
    }
}

/// The address and port as everything here speaks of them.
pub(super) fn at(address: Ipv4Addr, port: u16) -> SocketAddrV4 {
    SocketAddrV4::new(address, port)
}

async fn ip(words: &[&str]) -> anyhow::Result<()> {
    let output = Command::new(IP).args(words).kill_on_drop(true).output().await?;
    if !output.status.success() {
        bail!("`ip {}`: {}", words.join(" "), String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}
