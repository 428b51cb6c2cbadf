#!/usr/bin/env bash
# Everything in one process, for a developer at one terminal.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
cd "$REPO_ROOT"

scripts/setup.sh toolchain docker
cargo build --locked --release -p muster-cli
# exec: Ctrl-C must reach muster itself, which stops what it started.
exec target/release/muster dev "$@"
