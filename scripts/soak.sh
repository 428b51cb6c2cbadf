#!/usr/bin/env bash
# The edge at a steady load for long: its memory and the agent's have to stay flat, and no packet may come to
# another player than its own.
#
#   scripts/soak.sh [SECONDS]
set -euo pipefail
. "$(dirname "$0")/lib.sh"
cd "$REPO_ROOT"

step "set up what is missing" scripts/setup.sh toolchain
step "build muster and its load test" cargo build --locked --release -p muster-cli -p muster-loadtest
exec target/release/muster-loadtest edge-soak --seconds "${1:-3600}"
