//! How a link ended: for the other side as a QUIC close code, for our log and metrics as a word.

use muster_transport::FrameIoError;
use quinn::{Connection, ConnectionError, VarInt};

use super::LinkRefused;
use crate::lifecycle::StepError;
use crate::state::StateError;

/// Why a link is over. The numbers of [`Ended::code`] are part of the protocol.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Ended {
    #[error("the orchestrator shuts down")]
    ShuttingDown,
    #[error("replaced by a newer link of the same id")]
    Replaced,
    #[error("another orchestrator has a newer link, or this one stood still for too long; dial again")]
    WrittenOff,
    #[error("nothing was heard for too long")]
    Silent,
    #[error("messages were not taken as fast as they arose; dial again and resync")]
    Behind,
    #[error("not the messages that belong here: {0}")]
    Protocol(String),
    #[error("this id is unknown here; remove the identity.* files of its state directory and join again")]
    Unknown,
    #[error("the certificate is not that of an agent or edge")]
    NoPeer,
    #[error("too many machines join at once; try again")]
    Busy,
    #[error(transparent)]
    Refused(#[from] LinkRefused),
    #[error("the store cannot be used: {0}")]
    Unavailable(#[from] StateError),
    #[error("closed by the other side")]
    Left,
    #[error("closed here: replaced by a newer link, or the orchestrator shuts down")]
    ClosedHere,
    #[error("{0}")]
    Lost(ConnectionError),
}

impl Ended {
    /// QUIC application close code.
    pub(crate) fn code(&self) -> u32 {
        match self {
            Self::ShuttingDown | Self::Left | Self::ClosedHere => 0,
            Self::Replaced | Self::Refused(LinkRefused::Superseded) => 1,
            Self::WrittenOff | Self::Silent | Self::Lost(_) => 2,
            Self::Behind => 3,
            Self::Protocol(_) => 4,
            Self::Unknown | Self::NoPeer => 5,
            Self::Busy | Self::Refused(_) | Self::Unavailable(_) => 6,
        }
    }

    /// For metrics.
    pub(crate) fn word(&self) -> &'static str {
        match self {
            Self::ShuttingDown => "shutdown",
            Self::Replaced => "replaced",
            Self::WrittenOff => "written_off",
            Self::Silent => "silent",
            Self::Behind => "behind",
            Self::Protocol(_) => "protocol",
            Self::Unknown => "unknown_id",
            Self::NoPeer => "no_peer",
            Self::Busy => "busy",
            Self::Refused(_) => "refused",
            Self::Unavailable(_) => "unavailable",
            Self::Left => "left",
            Self::ClosedHere => "closed_here",
            Self::Lost(_) => "lost",
        }
    }

    /// Closes `connection`, telling the other side why.
    pub(crate) fn close(&self, connection: &Connection) {
        connection.close(VarInt::from_u32(self.code()), self.to_string().as_bytes());
    }

    /// Why a connection is gone: that it was closed here, or what the other side or the network did.
    pub(crate) fn of_connection(error: ConnectionError) -> Self {
        match error {
            ConnectionError::LocallyClosed => Self::ClosedHere,
            ConnectionError::ApplicationClosed(_) => Self::Left,
            ConnectionError::TimedOut => Self::Silent,
            other => Self::Lost(other),
        }
    }

    /// What a failed read or write means for the link.
    pub(crate) fn of_frame(error: FrameIoError, connection: &Connection) -> Self {
        match (error, connection.close_reason()) {
            (_, Some(reason)) => Self::of_connection(reason),
            (error, None) => Self::Protocol(error.to_string()),
        }
    }
}

impl From<StepError> for Ended {
    fn from(error: StepError) -> Self {
        match error {
            StepError::Superseded(_) => Self::WrittenOff,
            StepError::State(error) => Self::Unavailable(error),
            StepError::Unknown(_) => Self::Unknown,
            other @ StepError::NotAServer(_) => Self::Protocol(other.to_string()),
        }
    }
}
