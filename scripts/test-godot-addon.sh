#!/usr/bin/env bash
# The Godot addon's unit tests, on the real engine. They play orchestrator and agent themselves, so nothing of Muster
# has to be built.
#
#   scripts/test-godot-addon.sh [--only NAME]
set -euo pipefail
. "$(dirname "$0")/lib.sh"
cd "$REPO_ROOT"

IMAGE=muster-test/godot:4
# The tests take a quarter of a minute; an engine that hangs is ended.
DEADLINE_S=240

# A copy: the engine writes its caches into the project it runs.
work="$REPO_ROOT/target/godot/addon"
log="$work/import.log"

copy_project() {
    rm -rf "$work"
    mkdir -p "$work/protocol"
    cp -R sdk-godot "$work/"
    rm -rf "$work/sdk-godot/.godot"
    cp -R protocol/vectors "$work/protocol/"
}

# in_engine ARGUMENT...: Godot without a screen, on the copy.
in_engine() {
    timeout "$DEADLINE_S" docker run --rm --init --user "$(id -u):$(id -g)" --env HOME=/tmp \
        --volume "$work":/repo "$IMAGE" godot --headless --path /repo/sdk-godot "$@"
}

# The engine has to know the addon's classes before anything can name them.
import_project() {
    copy_project
    run_logged "$log" in_engine --import
}

run_tests() {
    in_engine res://tests/main.tscn -- "$@" 2>&1 | tee "$work/tests.log" | grep -E '^(ok|FAILED|SCRIPT ERROR|[0-9]+ tests)' ||
        return
    # A script that breaks off is a failure, though the engine goes on.
    ! grep -q '^SCRIPT ERROR' "$work/tests.log"
}

step "set up what is missing" scripts/setup.sh docker godot
step "import the addon's project" import_project
step "run the addon's tests (log: target/godot/addon/tests.log)" run_tests "$@"
