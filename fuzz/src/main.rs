//! One target under libFuzzer, as `make fuzz` builds it; without the feature `fuzzer`, the list of targets.

#![cfg_attr(feature = "fuzzer", no_main)]

#[cfg(feature = "fuzzer")]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| muster_fuzz::run_chosen(bytes));

#[cfg(not(feature = "fuzzer"))]
fn main() {
    for target in muster_fuzz::TARGETS {
        println!("{}", target.name);
    }
}
