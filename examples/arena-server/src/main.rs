//! arena-server.
fn main() {}
