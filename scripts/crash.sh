#!/usr/bin/env bash
# Processes killed at random under load; nothing acknowledged may be lost, nothing may be there twice.
#
#   scripts/crash.sh KILLS SEED STORE    an empty one is its default
set -euo pipefail
. "$(dirname "$0")/lib.sh"
cd "$REPO_ROOT"

image=muster-example/arena:latest
features=()
args=()
[ -z "${1:-}" ] || args+=(--kills "$1")
[ -z "${2:-}" ] || args+=(--seed "$2")
if [ -n "${3:-}" ]; then
    fdb_environment
    args+=(--store "$3")
    features=(--features "muster-cli/$FDB_FEATURE")
fi
step "set up what is missing" scripts/setup.sh toolchain docker
step "build muster and its load test" cargo build --locked --release -p muster-cli -p muster-loadtest "${features[@]}"
step "build the example game server's image" scripts/image.sh "$image"
mkdir -p target/crash
exec target/release/muster-loadtest crash --muster target/release/muster --image "$image" \
    --report target/crash/report.json "${args[@]}"
