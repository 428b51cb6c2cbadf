//! muster-transport.
