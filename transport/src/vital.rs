//! Threads that a process is of no use without.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread::{self, JoinHandle};
use std::{io, process};

/// Starts a thread called `name`. If it fails or panics, the process ends with it, as by a crash: it would be taken for one
/// that carries players' packets and carry none, and whoever supervises it starts it again. What it leaves behind is what
/// kill -9 leaves, which is made for that.
///
/// # Errors
/// What the system says, such as too many threads.
pub fn spawn_vital(
    name: String,
    work: impl FnOnce() -> io::Result<()> + Send + 'static,
) -> io::Result<JoinHandle<()>> {
    thread::Builder::new().name(name.clone()).spawn(move || {
        // Nothing is looked at again after a panic.
        match catch_unwind(AssertUnwindSafe(work)) {
            Ok(Ok(())) => return,
            Ok(Err(error)) => tracing::error!(thread = name, %error, "the process ends: this thread failed"),
            Err(_) => tracing::error!(thread = name, "the process ends: this thread panicked"),
        }
        process::abort()
    })
}
