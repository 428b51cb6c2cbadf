#!/usr/bin/env bash
# Ten simulated minutes of the engine's life, and of a whole installation's, for each of many seeds; every promise must
# hold for each.
#
#   scripts/simulate.sh [SEEDS]    1,000 if not given; MUSTER_SEED=n tries one again
set -euo pipefail
. "$(dirname "$0")/lib.sh"
cd "$REPO_ROOT"

export MUSTER_SEEDS="${1:-1000}"
engine=(-p muster-engine --test simulation)
installation=(-p muster-orchestrator --lib)

step "set up what is missing" scripts/setup.sh toolchain
step "build the simulations" cargo test --locked --release "${engine[@]}" "${installation[@]}" --no-run
step "simulate $MUSTER_SEEDS seeds of the engine" \
    cargo test --locked --release "${engine[@]}" -- --nocapture every_promise
step "simulate $MUSTER_SEEDS seeds of a whole installation" \
    cargo test --locked --release "${installation[@]}" -- --nocapture simulation::every_promise
