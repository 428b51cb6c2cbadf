//! Makes `--cfg fuzzing`, which `make fuzz` sets, a condition that the compiler knows of.

fn main() {
    println!("cargo::rustc-check-cfg=cfg(fuzzing)");
}
