//! The whole line on real parts: real processes, real containers, players at the edge.
//!
//! Needs Docker, the example image and the built program `muster`; `make test` sets all of it up.

mod backup;
mod bad_input;
mod failover;
mod failures;
mod full_disk;
mod lobbies;
mod play;
mod seats;
mod support;
