#!/usr/bin/env bash
# Ten simulated minutes of the engine's life for each of many seeds; every promise must hold for each.
#
#   scripts/simulate.sh [SEEDS]    1,000 if not given; MUSTER_SEED=n tries one again
set -euo pipefail
. "$(dirname "$0")/lib.sh"
cd "$REPO_ROOT"

step "set up what is missing" scripts/setup.sh toolchain
step "build the simulation" cargo test --locked --release -p muster-engine --test simulation --no-run
export MUSTER_SEEDS="${1:-1000}"
step "simulate $MUSTER_SEEDS seeds" \
    cargo test --locked --release -p muster-engine --test simulation -- --nocapture every_promise
