//! Being told to stop. On Unix by SIGTERM or SIGINT, elsewhere by Ctrl-C.

use std::io;

/// Installs the handlers; the future ends when the server is told to stop, with the reason.
#[cfg(unix)]
pub(crate) fn told() -> io::Result<impl Future<Output = &'static str>> {
    use tokio::signal::unix::{SignalKind, signal};
    // Process 1 has no default handlers: without these a container's server could only be killed.
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => "SIGTERM",
            _ = interrupt.recv() => "SIGINT",
        }
    })
}

/// Installs the handler; the future ends when the server is told to stop, with the reason.
#[cfg(not(unix))]
pub(crate) fn told() -> io::Result<impl Future<Output = &'static str>> {
    Ok(async {
        // Without a handler there is nothing to wait for: the console then ends the process itself.
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
        "Ctrl-C"
    })
}
