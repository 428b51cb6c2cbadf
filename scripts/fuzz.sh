#!/usr/bin/env bash
# Fuzzes every parser of edge and tunnel, or the one named, led by coverage, two at once for each processor:
# scripts/fuzz.sh [SECONDS] [TARGET]
set -euo pipefail
. "$(dirname "$0")/lib.sh"
cd "$REPO_ROOT"

# Inputs that broke a target and are shown whole, most: what CI found is lost with its disk.
MAX_SHOWN=3

seconds="${1:-60}"
only="${2:-}"
[[ "$seconds" =~ ^[1-9][0-9]*$ ]] || die "SECONDS is $seconds; it is how long each target is fuzzed, such as 60"
# A test holds that each target has a directory here, and each directory a target.
targets="$(ls fuzz/corpus)"
[ -z "$only" ] || grep -qx -- "$only" <<<"$targets" || die "TARGET is $only; it is one of: ${targets//$'\n'/ }"

# Of the whole workspace, so that the crates of others have the features that every other build gives them.
build() {
    RUSTC_WORKSPACE_WRAPPER="$REPO_ROOT/scripts/fuzz-rustc.sh" CARGO_INCREMENTAL=0 \
        cargo build --locked --workspace --bin muster-fuzz --features muster-fuzz/fuzzer
}

# fuzz TARGET: its log is target/fuzz/TARGET.log.
fuzz() {
    local target="$1" found="target/fuzz/found/$1" broken="target/fuzz/broken/$1" log="target/fuzz/$1.log" status=0
    # What broke it before may be mended by now.
    rm -rf "$broken"
    mkdir -p "$found" "$broken"
    # What is new goes to the first directory; the corpus in the repository is only read.
    MUSTER_FUZZ_TARGET="$target" target/debug/muster-fuzz "$found" "fuzz/corpus/$target" \
        -max_total_time="$seconds" -max_len=4096 -timeout=30 -rss_limit_mb=2048 -print_final_stats=1 \
        -artifact_prefix="$broken/" >"$log" 2>&1 || status=$?
    [ "$status" -eq 0 ] || { tell_broken "$target" "$broken" "$log"; return 1; }
    # Lines such as "#1234 DONE cov: 56 ft: 78 corp: ...": without a first figure nothing led the way.
    awk -v name="$target" '$2 == "INITED" { from = $4 } $2 == "DONE" { to = $4; ran = substr($1, 2) }
        END { printf "    %-16s %10d inputs, coverage %d to %d\n", name, ran, from, to; exit !(from > 0) }' "$log" || {
        say "$target was not led by coverage; $log says what the fuzzer saw"
        return 1
    }
}

tell_broken() {
    local target="$1" broken="$2" log="$3" input inputs=("$2"/*)
    tail -n 40 "$log" >&2
    say "$target broke. With its input in the corpus \`cargo test -p muster-fuzz\` repeats it; here it is:"
    for input in "${inputs[@]:0:MAX_SHOWN}"; do
        [ -f "$input" ] || continue
        # The name ends in the content's hash.
        printf "base64 -d >fuzz/corpus/%s/%.14s <<<'%s'\n" "$target" "${input##*/}" "$(base64 <"$input" | tr -d '\n')" >&2
    done
}

fuzz_all() {
    local at_once running=0 failed=0 target
    at_once="$(getconf _NPROCESSORS_ONLN)" || return
    # Half the time of a run, for half the inputs: still hundreds of thousands for most.
    at_once=$((2 * at_once))
    for target in "$@"; do
        if [ "$running" -ge "$at_once" ]; then
            wait -n || failed=1
            running=$((running - 1))
        fi
        fuzz "$target" &
        running=$((running + 1))
    done
    for (( ; running > 0; running--)); do wait -n || failed=1; done
    return "$failed"
}

step "set up what is missing" scripts/setup.sh fuzz
step "build the fuzz targets" build
# shellcheck disable=SC2086  # one word each
step "fuzz ${only:-every target} for $seconds s" fuzz_all ${only:-$targets}
