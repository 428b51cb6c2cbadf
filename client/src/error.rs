//! What can go wrong with a call, and what to do about it.

use muster_protocol::problem::{Problem, ProblemCode};

/// Why a client cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The URL cannot be used.
    #[error("API URL {url:?} cannot be used: {reason}. Give it as http://host:port or https://host:port")]
    Url {
        /// As given.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The token cannot stand in a header.
    #[error("the API token has characters no token has; give it as `muster token create` printed it")]
    Token,
    /// The namespace is not two names with a slash.
    #[error("namespace {0:?} is not valid; give it as game/environment, such as arena/prod")]
    Namespace(String),
    /// The CA file is no certificate.
    #[error(
        "the CA given is not a PEM certificate ({0}); `curl http://<orchestrator>/v1/ca.pem` gives the right one"
    )]
    Authority(String),
    /// The HTTP stack cannot start.
    #[error(
        "cannot set up the HTTP client: {0}. An https URL needs this system's CA certificates (Debian: ca-certificates) or --ca"
    )]
    Setup(String),
}

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The orchestrator refused, and says why.
    #[error("{}", problem_text(.0))]
    Problem(Box<Problem>),
    /// No answer came, or not all of it.
    #[error("{what}: {reason}. {fix}")]
    Transport {
        /// The call, as `GET http://…`.
        what: String,
        /// What went wrong.
        reason: String,
        /// What to check.
        fix: String,
        /// Whether the request cannot have reached the orchestrator.
        unsent: bool,
    },
    /// Something answered, but not as an orchestrator of this API does.
    #[error(
        "{what}: the answer is not what this API gives ({reason}). Check that the URL is an orchestrator's, and that its version fits this program's"
    )]
    Decode {
        /// The call, as `GET http://…`.
        what: String,
        /// What was found.
        reason: String,
    },
    /// The file to send cannot be read.
    #[error("cannot read {path}: {source}")]
    File {
        /// Which.
        path: String,
        /// Why.
        source: std::io::Error,
    },
}

impl ClientError {
    /// The problem's stable code, if the orchestrator sent one.
    pub fn code(&self) -> Option<ProblemCode> {
        match self {
            Self::Problem(problem) => Some(problem.code),
            _ => None,
        }
    }

    /// Whether the same call may succeed a little later: nobody answered, or the answer says so.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Transport { .. } => true,
            Self::Problem(problem) => {
                problem.retry_after_s.is_some()
                    || matches!(
                        problem.code,
                        ProblemCode::NoCapacity
                            | ProblemCode::StoreUnavailable
                            | ProblemCode::Contention
                            | ProblemCode::NodeUnreachable
                            | ProblemCode::EdgeUnreachable
                    )
            }
            Self::Decode { .. } | Self::File { .. } => false,
        }
    }

    pub(crate) fn transport(what: String, error: &reqwest::Error) -> Self {
        let reason = innermost(error);
        let fix = transport_fix(error.is_connect(), error.is_timeout(), &reason);
        Self::Transport { what, reason, fix: fix.to_owned(), unsent: error.is_connect() }
    }
}

fn problem_text(problem: &Problem) -> String {
    let mut text = format!("{} ({})", problem.detail.trim_end_matches('.'), problem.code.as_str());
    if !problem.fix.is_empty() {
        text.push_str(". ");
        text.push_str(&problem.fix);
    }
    text
}

/// The cause at the bottom: the layers above it only repeat the URL.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
}

fn transport_fix(connect: bool, timeout: bool, reason: &str) -> &'static str {
    if reason.contains("certificate") || reason.contains("UnknownIssuer") {
        "If the API's certificate is signed by Muster's own CA, give that CA (--ca FILE, MUSTER_CA)"
    } else if reason.contains("InvalidContentType") || reason.contains("corrupt message") {
        "The port speaks plain HTTP: give the URL as http://"
    } else if timeout {
        "Check that the orchestrator is not overloaded and that no firewall drops the packets"
    } else if connect {
        "Check that the orchestrator runs and that the URL is right (--url, MUSTER_URL)"
    } else {
        "The connection broke on the way; if the orchestrator was restarted, try again"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_reads_as_what_happened_code_and_fix() {
        let problem =
            Problem::new(ProblemCode::QueueUnknown, "There is no queue \"duel\".", "Apply it first.");
        let error = ClientError::Problem(Box::new(problem));
        assert_eq!(error.to_string(), "There is no queue \"duel\" (queue_unknown). Apply it first.");
        assert_eq!(error.code(), Some(ProblemCode::QueueUnknown));
        assert!(!error.is_transient());
    }

    #[test]
    fn what_may_pass_by_itself_is_transient() {
        let busy = Problem::new(ProblemCode::TooMany, "Too many tickets", "Wait.").retry_after(2);
        assert!(ClientError::Problem(Box::new(busy)).is_transient());
        let empty = Problem::new(ProblemCode::NoCapacity, "None free", "Ask again.");
        assert!(ClientError::Problem(Box::new(empty)).is_transient());
    }

    #[test]
    fn each_kind_of_transport_failure_has_its_own_way_out() {
        assert!(
            transport_fix(true, false, "Connection refused (os error 111)").contains("orchestrator runs")
        );
        assert!(transport_fix(true, false, "invalid peer certificate: UnknownIssuer").contains("--ca"));
        assert!(transport_fix(true, true, "operation timed out").contains("firewall"));
        assert!(transport_fix(false, false, "connection reset").contains("try again"));
    }
}
