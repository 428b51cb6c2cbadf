//! Targets of what the protocol crate shows, one per file.

pub(crate) mod beacon;
pub(crate) mod fragments;
pub(crate) mod frames;
pub(crate) mod id;
pub(crate) mod ip_prefix;
pub(crate) mod messages;
pub(crate) mod preface;
pub(crate) mod session_token;
pub(crate) mod tunnel_header;
