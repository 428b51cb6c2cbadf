//! Docker's errors, sorted by what can be done about them.

use bollard::errors::Error;

/// What Docker, or the way to it, answered.
#[derive(Debug, thiserror::Error)]
#[error("{}", describe(.0))]
pub(crate) struct EngineError(#[from] Error);

impl EngineError {
    /// The engine did not answer at all.
    pub(crate) fn is_down(&self) -> bool {
        !matches!(
            self.0,
            Error::DockerResponseServerError { .. }
                | Error::DockerStreamError { .. }
                | Error::DockerContainerWaitError { .. }
                | Error::JsonDataError { .. }
                | Error::JsonSerdeError { .. }
        )
    }

    /// The engine failed at something that was asked rightly, or something was in the way that is
    /// about to go: it may work next time.
    pub(crate) fn may_pass(&self) -> bool {
        self.is_conflict() || self.status().is_some_and(|status| status >= 500)
    }

    /// What was named is not there.
    pub(crate) fn is_not_found(&self) -> bool {
        self.status() == Some(404)
    }

    /// What was to be made is there, or is being removed.
    pub(crate) fn is_conflict(&self) -> bool {
        self.status() == Some(409)
    }

    fn status(&self) -> Option<u16> {
        match self.0 {
            Error::DockerResponseServerError { status_code, .. } => Some(status_code),
            _ => None,
        }
    }
}

fn describe(error: &Error) -> String {
    match error {
        Error::DockerResponseServerError { message, .. } => message.trim().to_owned(),
        Error::SocketNotFoundError(path) => {
            format!("there is no Docker socket at {path}; {FIX}")
        }
        Error::RequestTimeoutError => format!("Docker does not answer in time; {FIX}"),
        Error::DockerStreamError { error } => error.clone(),
        other => {
            // The cause says whether it is a missing socket or a missing permission.
            let mut text = other.to_string();
            let mut cause = std::error::Error::source(other);
            while let Some(inner) = cause {
                text = format!("{text}: {inner}");
                cause = inner.source();
            }
            format!("{text}; {FIX}")
        }
    }
}

const FIX: &str = "start the engine (`systemctl start docker`, or Docker Desktop), let this user reach its \
                   socket (group `docker`), or set `docker_socket`";
