//! One target under libFuzzer, as `make fuzz` builds it; without `--cfg fuzzing`, the list of targets.

#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| muster_fuzz::run_chosen(bytes));

#[cfg(not(fuzzing))]
fn main() {
    for target in muster_fuzz::TARGETS {
        println!("{}", target.name);
    }
}
