//! The target that the environment names, under libFuzzer: what `make fuzz` builds and runs.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| muster_fuzz::run_chosen(bytes));
