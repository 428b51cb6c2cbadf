//! Compiles the `.proto` files with protox, so that no system `protoc` is needed.

use std::error::Error;

const PROTOS: [&str; 6] = [
    "proto/join.proto",
    "proto/agent_link.proto",
    "proto/edge_link.proto",
    "proto/handover.proto",
    "proto/peer_link.proto",
    "proto/tunnel.proto",
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=proto");
    let descriptors = protox::compile(PROTOS, ["proto"])?;
    prost_build::Config::new().bytes(["."]).include_file("messages.rs").compile_fds(descriptors)?;
    Ok(())
}
