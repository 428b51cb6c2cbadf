#!/usr/bin/env bash
# Every test: unit, integration on a real Docker engine, end to end, an unmodified Godot game, and the Unity package.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
cd "$REPO_ROOT"

step "set up what is missing" scripts/setup.sh toolchain docker
step "build the example game server's image" scripts/image.sh muster-example/arena:latest
# Tests run the real programs, so these exist before any test does.
step "build the programs under test" cargo build --locked --workspace --bins
step "run the Rust tests" cargo test --locked --workspace
step "SDK conformance of the Rust client" target/debug/muster-loadtest sdk-conformance --muster target/debug/muster \
    --out target/sdk-conformance/rust --driver "target/debug/muster-loadtest sdk-driver"
# It makes network namespaces.
if [ "$(id -u)" = 0 ] && [ -x /usr/sbin/ip ]; then
    step "soak the edge for two minutes" target/debug/muster-loadtest edge-soak --seconds 120 --rate 2000 \
        --muster target/debug/muster --out target/soak
else
    say "soak of the edge: skipped, it takes root and iproute2 (as root: apt-get install iproute2)"
fi
step "run the Godot test" scripts/test-godot.sh
step "run the Unity test" scripts/test-unity.sh
