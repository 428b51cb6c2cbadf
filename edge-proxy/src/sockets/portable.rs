//! Socket options where Linux's are not there: developers' machines. `linux` is the twin.
#![allow(clippy::unnecessary_wraps, reason = "the twin can fail")]

use std::io;

use socket2::Socket;

/// One worker listens; nothing to share.
pub(super) fn set_reuse_port(_socket: &Socket) -> io::Result<()> {
    Ok(())
}

/// Replies larger than the path's MTU are dropped here: fragmenting them is left to Linux.
pub(crate) fn allow_fragmentation(_socket: &Socket) -> io::Result<()> {
    Ok(())
}
