#!/usr/bin/env bash
# Every benchmark, or the one named; figures go to the terminal and to target/bench/*.json.
#
#   scripts/bench.sh [all|store|engine|matchmaking|alloc|start|edge] [OPTION...]
set -euo pipefail
. "$(dirname "$0")/lib.sh"
cd "$REPO_ROOT"

what="${1:-all}"
step "set up what is missing" scripts/setup.sh toolchain bench
step "build muster and its load test" cargo build --locked --release -p muster-cli -p muster-loadtest
# The others run no container.
case "$what" in all | start)
    step "set up Docker" scripts/setup.sh docker
    step "build the example game server's image" scripts/image.sh muster-example/arena:latest
    ;;
esac
exec target/release/muster-loadtest bench "$what" --out target/bench "${@:2}"
