//! muster-cli.
fn main() {}
