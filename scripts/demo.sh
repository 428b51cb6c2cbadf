#!/usr/bin/env bash
# The whole line on this machine: orchestrator, agent and edge as processes, bots as players.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
cd "$REPO_ROOT"

image=muster-example/arena:latest
step "set up what is missing" scripts/setup.sh toolchain docker
step "build muster and its load test" cargo build --locked --release -p muster-cli -p muster-loadtest
step "build the example game server's image" scripts/image.sh "$image"
mkdir -p target/demo
exec target/release/muster-loadtest demo --muster target/release/muster --image "$image" \
    --report target/demo/report.json "$@"
