#!/usr/bin/env bash
# The compiler as `make fuzz` has it for our own crates, by RUSTC_WORKSPACE_WRAPPER: what it makes tells the fuzzer
# which way an input took. Crates of others are those of every other build, so that there are no two of them.
#
# On the stable compiler: what libFuzzer needs of it are stable options. Those of sanitizers are not, and there is
# next to no unsafe code here that one would watch.
set -euo pipefail

case " $* " in
# Build scripts are programs of their own, without a fuzzer; and not every call compiles something.
*' --crate-name build_script_'* | *' --print'* | *' -vV '*) exec "$@" ;;
esac
# Optimised code has no checks of its own accord, and the checks are half of what is looked for.
exec "$@" -Copt-level=2 -Cdebug-assertions=on -Coverflow-checks=on -Ccodegen-units=1 -Cpasses=sancov-module \
    -Cllvm-args=-sanitizer-coverage-level=4 -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
    -Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares
