//! muster-loadtest.
fn main() {}
