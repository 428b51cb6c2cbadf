#!/usr/bin/env bash
# Fuzzes every parser of edge and tunnel, or the one named, led by coverage: scripts/fuzz.sh [SECONDS] [TARGET]
set -euo pipefail
. "$(dirname "$0")/lib.sh"
cd "$REPO_ROOT"

seconds="${1:-60}"
only="${2:-}"
[[ "$seconds" =~ ^[1-9][0-9]*$ ]] || die "SECONDS is $seconds; it is how long each target is fuzzed, such as 60"

# The list is asked for first: the program that fuzzes comes to stand in the place of the one that lists.
build() {
    cargo build --locked --workspace --bin muster-fuzz && targets="$(target/debug/muster-fuzz)" || return
    # Of the whole workspace, so that the crates of others have the features that every other build gives them.
    RUSTC_WORKSPACE_WRAPPER="$REPO_ROOT/scripts/fuzz-rustc.sh" cargo build --locked --workspace --bin muster-fuzz \
        --features muster-fuzz/fuzzer || return
    mkdir -p target/fuzz && cp target/debug/muster-fuzz target/fuzz/muster-fuzz
}

fuzz() {
    local target="$1" found="target/fuzz/found/$1" broken="target/fuzz/broken/$1"
    mkdir -p "$found" "$broken"
    # What is new goes to the first directory; the corpus in the repository is only read.
    MUSTER_FUZZ_TARGET="$target" target/fuzz/muster-fuzz "$found" "fuzz/corpus/$target" \
        -max_total_time="$seconds" -max_len=4096 -timeout=10 -rss_limit_mb=2048 -print_final_stats=1 \
        -artifact_prefix="$broken/" >"target/fuzz/$target.log" 2>&1 || {
        tail -n 30 "target/fuzz/$target.log"
        say "$target broke: copy what is in $broken into fuzz/corpus/$target, and \`cargo test -p muster-fuzz\` repeats it"
        return 1
    }
    sed -n 's/^stat::number_of_executed_units: */    inputs: /p' "target/fuzz/$target.log"
}

targets=""
step "set up what is missing" scripts/setup.sh fuzz
step "build the targets" build
[ -z "$only" ] || grep -qx -- "$only" <<<"$targets" || die "TARGET is $only; it is one of: ${targets//$'\n'/ }"
for target in ${only:-$targets}; do
    step "fuzz $target for $seconds s" fuzz "$target"
done
