//! Compiles the store's records and the frames of backups with protox, so that no system `protoc` is needed.

use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=proto");
    let descriptors = protox::compile(["proto/records.proto", "proto/backup.proto"], ["proto"])?;
    prost_build::Config::new().btree_map(["."]).include_file("records.rs").compile_fds(descriptors)?;
    Ok(())
}
