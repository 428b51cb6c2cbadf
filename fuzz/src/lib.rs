//! Fuzz targets: every parser that strangers reach at the edge and on the tunnel.
//!
//! A target takes any bytes and panics if one of its parser's promises is broken. `cargo test` replays the
//! corpus and changes it a little; `make fuzz` lets coverage lead the way, for as long as you like. The targets
//! of what is private to a crate are in that crate's `fuzzing` module. QUIC, TLS and the grammars of HTTP and X.509
//! are libraries', and fuzzed there. The header of PROXY protocol is only written.

mod mutate;
mod targets;

use std::path::{Path, PathBuf};
use std::sync::LazyLock;

pub use mutate::Mutator;

/// Names the target that `make fuzz` runs.
const CHOICE: &str = "MUSTER_FUZZ_TARGET";

/// One parser under fuzz.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Its name, and that of its directory in `corpus/`.
    pub name: &'static str,
    /// Takes any bytes; panics if a promise is broken.
    pub run: fn(&[u8]),
}

/// All targets.
pub const TARGETS: &[Target] = &[
    Target { name: "agent_flows", run: muster_agent::fuzzing::agent_flows },
    Target { name: "beacon", run: targets::beacon::run },
    Target { name: "edge_limits", run: muster_edge_proxy::fuzzing::limits },
    Target { name: "flows", run: muster_edge_proxy::fuzzing::flows },
    Target { name: "fragments", run: targets::fragments::run },
    Target { name: "frames", run: targets::frames::run },
    Target { name: "handover", run: muster_edge_proxy::fuzzing::handover },
    Target { name: "http_head", run: muster_edge_proxy::fuzzing::http_head },
    Target { name: "id", run: targets::id::run },
    Target { name: "ip_prefix", run: targets::ip_prefix::run },
    Target { name: "kept_flows", run: muster_edge_proxy::fuzzing::kept_flows },
    Target { name: "messages", run: targets::messages::run },
    Target { name: "peer", run: muster_transport::fuzzing::peer },
    Target { name: "preface", run: targets::preface::run },
    Target { name: "routes", run: muster_edge_proxy::fuzzing::routes },
    Target { name: "saved", run: muster_edge_proxy::fuzzing::saved },
    Target { name: "session_token", run: targets::session_token::run },
    Target { name: "tunnel_header", run: targets::tunnel_header::run },
    Target { name: "websocket_frames", run: muster_edge_proxy::fuzzing::websocket_frames },
];

/// The directory of `target`'s corpus.
pub fn corpus(target: &Target) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target.name)
}

/// Runs the target that the environment names on `bytes`.
///
/// # Panics
/// None is named, none is called so, or a promise is broken.
pub fn run_chosen(bytes: &[u8]) {
    static CHOSEN: LazyLock<Target> = LazyLock::new(|| {
        let name = std::env::var(CHOICE).unwrap_or_default();
        let found = TARGETS.iter().find(|target| target.name == name);
        *found.unwrap_or_else(|| panic!("{CHOICE} is {name:?}, which is no target; see `make fuzz`"))
    });
    (CHOSEN.run)(bytes);
}
