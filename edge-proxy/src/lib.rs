//! muster-edge-proxy.
