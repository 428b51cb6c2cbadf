//! What goes wrong in the Rust client, by the codes of the conformance protocol.

use muster_client::ClientError;
use muster_protocol::api::Ticket;
use muster_protocol::preface::Refusal;
use muster_protocol::problem::Problem;
use serde_json::{Value, json};

use crate::link::LinkError;

/// A code, and a text for the developer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) code: String,
    message: String,
    retry_after_s: Option<u32>,
    /// HTTP status, if a problem document says what is wrong.
    status: Option<u16>,
}

impl Fault {
    pub(super) fn new(code: &str, message: impl Into<String>) -> Self {
        Self { code: code.to_owned(), message: message.into(), retry_after_s: None, status: None }
    }

    pub(super) fn of_problem(problem: &Problem) -> Self {
        Self {
            code: problem.code.as_str().to_owned(),
            message: format!("{} {}", problem.detail, problem.fix),
            retry_after_s: problem.retry_after_s,
            status: Some(problem.status),
        }
    }

    pub(super) fn bad_answer(url: &str, status: u16) -> Self {
        let message =
            format!("{url}: the answer (status {status}) is not what Muster gives. Check the address.");
        Self::new("bad_answer", message)
    }

    pub(super) fn no(kind: &str, name: &str) -> Self {
        Self::new("invalid_argument", format!("There is no {kind} {name:?}; open it first."))
    }

    pub(super) fn timed_out(what: &str) -> Self {
        Self::new(
            "timeout",
            format!("{what}: no answer in time. Check the address, and that no firewall drops the packets."),
        )
    }

    pub(super) fn ended(code: &str, ticket: &Ticket) -> Self {
        Self::new(code, format!("The ticket is {}: {}", ticket.state.as_str(), ticket.explanation))
    }

    #[expect(clippy::needless_pass_by_value, reason = "handed to map_err")]
    pub(super) fn of(error: ClientError) -> Self {
        let message = error.to_string();
        match &error {
            ClientError::Problem(problem) => Self { message, ..Self::of_problem(problem) },
            ClientError::Transport { reason, .. }
                if reason.contains("certificate") || reason.contains("UnknownIssuer") =>
            {
                Self::new("tls_untrusted", message)
            }
            ClientError::Transport { unsent: true, .. } => Self::new("unreachable", message),
            ClientError::Transport { .. } => Self::new("connection_lost", message),
            ClientError::Decode { .. } | ClientError::File { .. } => Self::new("bad_answer", message),
        }
    }

    /// Why a link was not made.
    #[expect(clippy::needless_pass_by_value, reason = "handed to map_err")]
    pub(super) fn of_link(error: anyhow::Error) -> Self {
        use tokio_tungstenite::tungstenite::Error as WsError;
        let message =
            format!("{error:#}. Check that the edge runs; reading the ticket again gives a new token");
        if let Some(LinkError::Refused(refusal)) = error.downcast_ref::<LinkError>() {
            return Self::new(refused_code(*refusal), message);
        }
        if error.downcast_ref::<LinkError>().is_some() {
            return Self::new("timeout", message);
        }
        if let Some(WsError::Http(answer)) = error.downcast_ref::<WsError>() {
            let code = match answer.status().as_u16() {
                401 => "refused_untrusted",
                403 => "refused_wrong_port",
                503 => "refused_unavailable",
                _ => "bad_answer",
            };
            return Self::new(code, message);
        }
        if message.contains("certificate")
            || message.contains("UnknownIssuer")
            || message.contains("needs the CA")
        {
            return Self::new("tls_untrusted", message);
        }
        match error.downcast_ref::<std::io::Error>().map(std::io::Error::kind) {
            Some(std::io::ErrorKind::ConnectionRefused) => Self::new("unreachable", message),
            _ => Self::new("connection_lost", message),
        }
    }

    /// HTTP status, if a problem document says what is wrong.
    pub(super) fn status(&self) -> Option<u16> {
        self.status
    }

    /// Whether another edge, or a moment, may help.
    pub(super) fn is_passing(&self) -> bool {
        matches!(self.code.as_str(), "refused_unavailable" | "timeout" | "unreachable" | "connection_lost")
    }

    /// Whether a new token may help.
    pub(super) fn is_stale(&self) -> bool {
        matches!(self.code.as_str(), "refused_expired" | "refused_untrusted")
    }

    pub(super) fn to_json(&self) -> Value {
        let mut error = json!({"code": self.code, "message": self.message});
        if let Some(seconds) = self.retry_after_s {
            error["retry_after_s"] = json!(seconds);
        }
        error
    }
}

/// A refusal's code, by the golden vectors' names.
pub(super) fn refused_code(refusal: Refusal) -> &'static str {
    match refusal {
        Refusal::Malformed => "refused_malformed",
        Refusal::Untrusted => "refused_untrusted",
        Refusal::Expired => "refused_expired",
        Refusal::WrongPort => "refused_wrong_port",
        Refusal::Unavailable => "refused_unavailable",
    }
}
