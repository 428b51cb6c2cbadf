//! Asking a process to stop: SIGTERM where there is such a thing, an end without asking elsewhere.

use tokio::process::{Child, Command};

/// Keeps a Ctrl-C at the terminal from reaching the child: who started it stops it, in order.
#[cfg(unix)]
pub(super) fn shield(command: &mut Command) {
    command.process_group(0);
}

/// Asks `child` to stop.
#[cfg(unix)]
pub(super) fn terminate(child: &mut Child) {
    use nix::sys::signal::{Signal, kill};
    use nix::unistd::Pid;
    if let Some(pid) = child.id().and_then(|pid| i32::try_from(pid).ok()) {
        // A process that has just ended by itself needs no signal.
        let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
    }
}

/// Keeps a Ctrl-C at the terminal from reaching the child: not here.
#[cfg(not(unix))]
pub(super) fn shield(_command: &mut Command) {}

/// Ends `child`: there is nothing gentler here.
#[cfg(not(unix))]
pub(super) fn terminate(child: &mut Child) {
    let _ = child.start_kill();
}
