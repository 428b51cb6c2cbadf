//! The client library's network thread: started once in a process, stopped when the process exits.
//!
//! The library can neither be started twice nor used after it was stopped, so its thread outlives every
//! database. A process that exits while the thread runs may crash in the library's own clean-up;
//! therefore it is stopped before that, by a handler of the C library.

use std::sync::{Mutex, Once, PoisonError};

use foundationdb::api::{FdbApiBuilder, NetworkAutoStop};

/// Version of the C API this driver is written for.
const API_VERSION: i32 = 730;

static START: Once = Once::new();
static NETWORK: Mutex<Option<Result<NetworkAutoStop, String>>> = Mutex::new(None);

/// Starts the thread unless it runs.
pub(super) fn start() -> Result<(), String> {
    START.call_once(|| {
        let booted = boot();
        *NETWORK.lock().unwrap_or_else(PoisonError::into_inner) = Some(booted);
    });
    match &*NETWORK.lock().unwrap_or_else(PoisonError::into_inner) {
        Some(Ok(_)) => Ok(()),
        Some(Err(reason)) => Err(reason.clone()),
        None => Err("the process exits".to_owned()),
    }
}

fn boot() -> Result<NetworkAutoStop, String> {
    let say = |error: foundationdb::FdbError| {
        format!("the client library does not start: {} ({})", error.message(), error.code())
    };
    let network = FdbApiBuilder::default().set_runtime_version(API_VERSION).build().map_err(say)?;
    #[expect(unsafe_code, reason = "the library's contract: booted once, stopped before the process ends")]
    // SAFETY: `start` runs this once in the process and nothing else boots the network. The guard, which
    // stops it, lives in a static and is dropped by `stop` alone.
    let guard = unsafe { network.boot() }.map_err(say)?;
    Ok(guard)
}

/// Has the thread stopped when the process exits. To be called again after the library was used: handlers
/// run in the reverse order of their registration, and the library registers the clean-up of what it makes
/// as it makes it, which must not come first.
pub(super) fn stop_at_exit() {
    #[expect(unsafe_code, reason = "the C library's own way to be called at exit")]
    // SAFETY: `stop` is a function of the program, takes no argument and does not unwind.
    let refused = unsafe { libc::atexit(stop) } != 0;
    if refused {
        tracing::warn!("the FoundationDB client is not stopped at exit, which may crash the process then");
    }
}

/// Stops the thread and waits for it. On a thread of its own: what the library keeps for the thread that
/// exits is gone by now.
extern "C" fn stop() {
    let network = NETWORK.lock().unwrap_or_else(PoisonError::into_inner).take();
    let stopper = std::thread::Builder::new().name("fdb-stop".to_owned()).spawn(move || drop(network));
    if let Ok(stopper) = stopper {
        // It panics only if the library refuses to stop, and then there is nothing left to do.
        let _ = stopper.join();
    }
}
