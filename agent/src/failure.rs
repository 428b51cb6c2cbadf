//! Every reason why a server could not be run, as a stable code and a sentence that names the way out.

use muster_protocol::agent::{ServerExit, ServerFailure};

fn failure(code: &str, detail: String) -> ServerFailure {
    ServerFailure { code: code.to_owned(), detail }
}

/// The specification contradicts itself.
pub(crate) fn spec_invalid(what: &str) -> ServerFailure {
    failure("spec_invalid", format!("{what}; correct the fleet's specification and apply it again"))
}

/// Docker does not answer.
pub(crate) fn docker_unavailable(reason: &str) -> ServerFailure {
    failure("docker_unavailable", reason.to_owned())
}

/// The image's bytes could not be had.
pub(crate) fn image_fetch_failed(what: &str) -> ServerFailure {
    failure("image_fetch_failed", what.to_owned())
}

/// Docker does not take the bytes for an image.
pub(crate) fn image_invalid(what: &str) -> ServerFailure {
    failure(
        "image_invalid",
        format!("Docker cannot load this build as an image: {what}; push the output of `docker save IMAGE`"),
    )
}

/// Docker refuses to create the container.
pub(crate) fn container_create_failed(what: &str) -> ServerFailure {
    failure(
        "container_create_failed",
        format!(
            "Docker did not create the container: {what}; check the fleet's limits, ports and environment"
        ),
    )
}

/// Docker cannot run the image's program.
pub(crate) fn container_start_failed(what: &str) -> ServerFailure {
    failure(
        "container_start_failed",
        format!(
            "Docker did not start the container: {what}; check that the image's entry point exists, is \
             executable and, in an image without a C library, linked statically"
        ),
    )
}

/// The container was there and is not any more, and nobody here removed it.
pub(crate) fn container_lost() -> ServerFailure {
    failure(
        "container_lost",
        "the server's container no longer exists; it was removed from outside Muster".to_owned(),
    )
}

/// The process ended before the server was ready.
pub(crate) fn exited_before_ready(exit: &ServerExit) -> ServerFailure {
    let why = if exit.out_of_memory {
        "ran out of memory".to_owned()
    } else {
        format!("ended with exit code {}", exit.code)
    };
    let fix = if exit.out_of_memory {
        "raise the fleet's memory limit"
    } else {
        "its last lines of log say why; run the image by hand with the same arguments"
    };
    failure("exited_before_ready", format!("the server {why} before it was ready; {fix}"))
}

/// The server did not become ready in time.
pub(crate) fn ready_timeout(timeout_ms: u64, uses_sdk: bool, ports: &[String]) -> ServerFailure {
    let what = if uses_sdk {
        "it has used the SDK but never called ready; call it once players may connect".to_owned()
    } else {
        format!(
            "not all its ports listen ({}); listen on 0.0.0.0 on these ports, or call ready by the SDK",
            ports.join(", ")
        )
    };
    failure("ready_timeout", format!("the server was not ready within {timeout_ms} ms: {what}"))
}

/// The server stopped calling health.
pub(crate) fn unhealthy(timeout_ms: u64) -> ServerFailure {
    failure(
        "unhealthy",
        format!(
            "the server made no health call for {timeout_ms} ms; its main loop hangs, or the fleet's health \
             timeout is too short for it"
        ),
    )
}
