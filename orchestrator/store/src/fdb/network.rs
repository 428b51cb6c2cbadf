//! The client library's network thread: started once in a process, and never stopped.
//!
//! The library can neither be started twice nor stopped while any of its objects lives; a process that
//! ends takes the thread with it.

use std::sync::OnceLock;

use foundationdb::api::{FdbApiBuilder, NetworkAutoStop};

/// Version of the C API this driver is written for.
const API_VERSION: i32 = 730;

static NETWORK: OnceLock<Result<NetworkAutoStop, String>> = OnceLock::new();

/// Starts the thread unless it runs.
pub(super) fn start() -> Result<(), String> {
    let started = NETWORK.get_or_init(|| {
        let say = |error: foundationdb::FdbError| {
            format!("the client library does not start: {} ({})", error.message(), error.code())
        };
        let network = FdbApiBuilder::default().set_runtime_version(API_VERSION).build().map_err(say)?;
        #[expect(
            unsafe_code,
            reason = "the library's contract: the network is booted once, which the lock sees to"
        )]
        // SAFETY: `get_or_init` runs this once in the process, and nothing else boots the network. Its
        // guard lives in a static, so it is not stopped while objects of the library exist.
        let guard = unsafe { network.boot() }.map_err(say)?;
        Ok(guard)
    });
    started.as_ref().map(drop).map_err(Clone::clone)
}
