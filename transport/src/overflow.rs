//! What found no room in a socket's buffer, and was lost before anybody here saw it. Linux counts that for each socket and tells
//! who asks; elsewhere nobody does.

use socket2::Socket;

/// Packets that `socket` has lost so since it was made, modulo 2^32; 0 where the system does not say.
#[cfg(target_os = "linux")]
pub(crate) fn overflowed(socket: &Socket) -> u32 {
    use std::os::fd::AsRawFd;

    /// `SO_MEMINFO` of the kernel's `asm-generic/socket.h`, which the C library does not name.
    const SO_MEMINFO: libc::c_int = 55;
    const WORDS: usize = libc::SK_MEMINFO_DROPS as usize + 1;
    let mut words = [0_u32; WORDS];
    let mut length = size_of_val(&words) as libc::socklen_t;
    // SAFETY: both outlive the call, and `words` is as long as said.
    let done = unsafe {
        let (fd, room) = (socket.as_raw_fd(), words.as_mut_ptr().cast());
        libc::getsockopt(fd, libc::SOL_SOCKET, SO_MEMINFO, room, &raw mut length)
    };
    // A kernel that does not know it leaves them as they are.
    if done == 0 { words[WORDS - 1] } else { 0 }
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn overflowed(_socket: &Socket) -> u32 {
    0
}
