//! Whether an orchestrator that is not running would get its ports.

use std::io::ErrorKind;
use std::net::{TcpListener, UdpSocket};

use muster_orchestrator::Config;

use super::Verdict;

/// Over a cluster, whether the orchestrator of this machine runs cannot be told from its store.
pub(super) fn check(config: &Config, is_running: bool) -> [(&'static str, Verdict); 2] {
    let is_shared = config.is_shared();
    let of = |what: &str, address: std::net::SocketAddr, bound: std::io::Result<()>| match bound {
        _ if is_running => Verdict::Skipped("the orchestrator runs, and has it".to_owned()),
        Ok(()) => Verdict::Ok(format!("{address} is free")),
        Err(error) if error.kind() == ErrorKind::AddrInUse && is_shared => Verdict::Skipped(format!(
            "{address} is taken: by the orchestrator, if it runs on this machine; else stop what has it, or set {what} \
             to another"
        )),
        Err(error) => {
            Verdict::Problem(format!("{address}: {error}; stop what has it, or set {what} to another"))
        }
    };
    let (api, link) = (config.api.listen, config.link.listen);
    [
        ("api port", of("api.listen", api, TcpListener::bind(api).map(drop))),
        ("link port", of("link.listen", link, UdpSocket::bind(link).map(drop))),
    ]
}
