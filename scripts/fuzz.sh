#!/usr/bin/env bash
# Fuzzes every parser of edge and tunnel, or the one named, led by coverage: scripts/fuzz.sh [SECONDS] [TARGET]
#
# On the stable compiler: what libFuzzer needs of it are stable options. Those of sanitizers are not, and there
# is next to no unsafe code here that one would watch.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
cd "$REPO_ROOT"

seconds="${1:-60}"
only="${2:-}"
[[ "$seconds" =~ ^[0-9]+$ ]] || die "SECONDS is $seconds; it is how long each target is fuzzed, such as 60"
host="$(rustc -vV | sed -n 's/^host: //p')"
coverage="-Cpasses=sancov-module -Ccodegen-units=1 -Cdebug-assertions -Cllvm-args=-sanitizer-coverage-level=4"
coverage="$coverage -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table"
coverage="$coverage -Cllvm-args=-sanitizer-coverage-trace-compares"

build() {
    # With --target the options are not those of build scripts, which have no fuzzer to be linked with.
    RUSTFLAGS="--cfg fuzzing $coverage" cargo build --locked --release --target "$host" --target-dir target/fuzz \
        -p muster-fuzz --bin muster-fuzz
}

fuzz() {
    local target="$1" found="target/fuzz/found/$1" broken="target/fuzz/broken/$1"
    mkdir -p "$found" "$broken"
    # What is new goes to the first directory; the corpus in the repository is only read.
    MUSTER_FUZZ_TARGET="$target" "target/fuzz/$host/release/muster-fuzz" "$found" "fuzz/corpus/$target" \
        -max_total_time="$seconds" -max_len=4096 -timeout=10 -rss_limit_mb=2048 -print_final_stats=1 \
        -artifact_prefix="$broken/" >"target/fuzz/$target.log" 2>&1 || {
        tail -n 30 "target/fuzz/$target.log"
        say "$target broke: copy what is in $broken into fuzz/corpus/$target, and \`cargo test -p muster-fuzz\` repeats it"
        return 1
    }
    sed -n 's/^stat::number_of_executed_units: */    inputs: /p' "target/fuzz/$target.log"
}

step "build the targets" build
for target in $(cargo run --locked --quiet -p muster-fuzz); do
    if [ -z "$only" ] || [ "$only" = "$target" ]; then
        step "fuzz $target for $seconds s" fuzz "$target"
    fi
done
